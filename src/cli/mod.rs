//! The command line tool.
//!
//! ```text
//! args -> one command -> source | log       a file or a journal's directory, to read or to write
//!                     -> output | input     documents out, documents in; line: their JSON form
//! ```
//!
//! Data goes to stdout only, everything else to stderr. Reading commands take no lock. A closed pipe ends
//! a reading command quietly; a writing command finishes its work on the store first.

mod args;
mod cursor;
mod damage;
mod discard;
mod error;
mod examine;
mod exec;
mod feed;
mod file;
mod follow;
mod import;
mod input;
mod line;
mod log;
mod manual;
mod open;
mod output;
mod owed;
mod part;
mod progress;
mod push;
mod repair;
mod replay;
mod seen;
mod show;
mod snapshot;
mod source;
mod stat;
mod tail;
mod take;
mod units;
mod verify;

use std::process::ExitCode;

use args::{Command, Snapshots};
use error::{Code, Failure};

/// Runs the command that the arguments name.
pub(crate) fn main() -> ExitCode {
    let done = match args::parse() {
        Command::Stat(args) => stat::run(&args),
        Command::Push(args) => push::run(&args),
        Command::Pop(args) => take::pop(&args),
        Command::Peek(args) => show::peek(&args),
        Command::Read(args) => show::read(&args),
        Command::Remove(args) => take::remove(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Tail(args) => tail::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Repair(args) => repair::run(&args),
        Command::Export(args) => replay::export(&args),
        Command::Import(args) => import::run(&args),
        Command::Snapshot(Snapshots::List(args)) => snapshot::list(&args),
        Command::Discard(args) => discard::run(&args),
        Command::Owed(args) => owed::run(&args),
        Command::Completions { shell } => manual::completions(shell),
        Command::Man { command } => manual::man(&command),
    };
    match done {
        Ok(()) | Err(Failure::Closed) => ExitCode::SUCCESS,
        Err(Failure::Quiet(code)) => code.into(),
        Err(Failure::Told(report)) => {
            report.tell();
            report.code.into()
        }
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> ExitCode {
        ExitCode::from(code as u8)
    }
}

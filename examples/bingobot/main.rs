//! A bingo bot whose only state is its events: a chat in the terminal, or one fed through a pipe.
//!
//! ```sh
//! cargo run --features serde --example bingobot               # plays from the journal in ./bingo
//! cargo run --features serde --example bingobot -- --demo     # plays a round by itself
//! ```
//!
//! Kill it at any moment and start it again: it is where its last answer was.
//!
//! `event.rs` and `game.rs` are the game and know no file; `bot.rs` is the seam to the journal; here is the
//! chat.

mod bot;
mod card;
mod event;
mod game;

use std::env;
use std::error::Error as _;
use std::ffi::OsString;
use std::io::{self, BufRead, ErrorKind, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use documentbuffer::Accept;
use documentbuffer::journal::Error;

use bot::{Bot, BotError, Command, HELP};
use event::Version;

const USAGE: &str = "\
usage: bingobot [--demo] [--go-on] [--first] [DIRECTORY]

DIRECTORY is the journal (bingo); it is made if it is not there.
--demo   play a round without anybody typing, and end
--go-on  if the journal's end is damaged, play on from the events before the damage; the rest is kept in
         its file
--first  write events as the first version of this bot did: numbers were drawn, not called
In the chat:";

/// No line of the chat needs more.
const MAX_LINE: u64 = 256;

/// Two players and this seed have a winner after four calls.
const DEMO_SEED: u64 = 154_422;

struct Arguments {
    demo: bool,
    accept: Accept,
    version: Version,
    path: PathBuf,
}

fn main() -> ExitCode {
    let Some(arguments) = arguments(env::args_os().skip(1)) else {
        eprintln!("{USAGE}\n{HELP}");
        return ExitCode::from(2);
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever listened has gone. All that was answered is in the log.
        Err(BotError::Talk(e)) if e.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(e) => {
            complain(&arguments.path, &e);
            ExitCode::FAILURE
        }
    }
}

fn arguments(given: impl Iterator<Item = OsString>) -> Option<Arguments> {
    // A person is there to decide what becomes of an end that may be damage. A bot that must come up alone
    // would take Accept::Any, which keeps a copy too.
    let mut arguments = Arguments {
        demo: false,
        accept: Accept::NoSuspect,
        version: Version::Second,
        path: PathBuf::from("bingo"),
    };
    let mut paths = 0;
    for argument in given {
        match argument.to_str() {
            Some("--demo") => arguments.demo = true,
            Some("--first") => arguments.version = Version::First,
            Some("--go-on") => arguments.accept = Accept::Any,
            Some(option) if option.starts_with('-') => return None,
            _ => {
                arguments.path = argument.into();
                paths += 1;
            }
        }
    }
    (paths <= 1).then_some(arguments)
}

fn complain(path: &Path, error: &BotError) {
    eprint!("bingobot: {}: {error}", path.display());
    let mut source = error.source();
    while let Some(inner) = source {
        eprint!(": {inner}");
        source = inner.source();
    }
    eprintln!();
    if let BotError::Log(Error::Suspect { .. }) = error {
        eprintln!(
            "bingobot: look at it with docbuf verify, or play on from the events before it with --go-on"
        );
    }
}

fn run(arguments: &Arguments) -> Result<(), BotError> {
    let open = |version| Bot::open(&arguments.path, arguments.accept, version);
    // The demo is played by both versions.
    let first = arguments.demo || arguments.version == Version::First;
    let mut bot = open(if first {
        Version::First
    } else {
        Version::Second
    })?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}", bot.greeting(&arguments.path))?;
    if arguments.demo {
        demo(&mut bot, &mut out)?;
        // Dropped and not closed, as a crash would leave it.
        drop(bot);
        writeln!(
            out,
            "-- the bot is gone without a word; its second version takes the journal up"
        )?;
        bot = open(Version::Second)?;
        writeln!(out, "{}", bot.greeting(&arguments.path))?;
        say(&mut bot, "state", &mut out)?;
    } else {
        talk(
            &mut bot,
            io::stdin().lock(),
            &mut out,
            io::stdin().is_terminal(),
        )?;
    }
    bot.finish()
}

/// Answers line by line until the input ends.
fn talk(
    bot: &mut Bot,
    mut input: impl BufRead,
    out: &mut impl Write,
    prompt: bool,
) -> Result<(), BotError> {
    let mut line = Vec::new();
    loop {
        if prompt {
            write!(out, "> ")?;
            out.flush()?;
        }
        line.clear();
        if input
            .by_ref()
            .take(MAX_LINE + 1)
            .read_until(b'\n', &mut line)?
            == 0
        {
            return Ok(());
        }
        if line.len() as u64 > MAX_LINE && !line.ends_with(b"\n") {
            input.skip_until(b'\n')?;
            writeln!(out, "no: a line has at most {MAX_LINE} bytes")?;
            continue;
        }
        match str::from_utf8(&line).map(str::trim) {
            Err(e) => writeln!(
                out,
                "no: byte {} of that line is not UTF-8",
                e.valid_up_to() + 1
            )?,
            Ok("") => {}
            Ok(text) => {
                if answer(bot, text, out)? == Some(Command::Quit) {
                    return Ok(());
                }
            }
        }
        out.flush()?;
    }
}

/// Answers one line; returns the command, if it was one.
fn answer(bot: &mut Bot, text: &str, out: &mut impl Write) -> Result<Option<Command>, BotError> {
    match Command::parse(text) {
        Ok(command) => {
            writeln!(out, "{}", bot.answer(&command)?)?;
            Ok(Some(command))
        }
        Err(why) => {
            writeln!(out, "no: {why}")?;
            Ok(None)
        }
    }
}

/// A round in a few commands, wherever the game stands.
fn demo(bot: &mut Bot, out: &mut impl Write) -> Result<(), BotError> {
    if !bot.state().has_players() {
        say(bot, "join alice", out)?;
        say(bot, "join bob", out)?;
    }
    if !bot.state().is_running() {
        say(bot, &format!("start {DEMO_SEED}"), out)?;
    }
    for _ in 0..6 {
        if bot.state().is_running() {
            say(bot, "call", out)?;
        }
    }
    say(bot, "undo", out)?;
    say(bot, "call", out)?;
    say(bot, "state", out)
}

fn say(bot: &mut Bot, text: &str, out: &mut impl Write) -> Result<(), BotError> {
    writeln!(out, "> {text}")?;
    answer(bot, text, out).map(drop)
}

//! The command line: what can be asked for. Help texts stand on the fields.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{
    ArgGroup, Args, ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum,
};
use clap_complete::Shell;

use super::line::Form;
use super::units;

/// All exit codes, at the foot of every help page and in the manual.
pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed
  2  wrong command line
  3  damaged
  4  locked by another process
  5  empty: there was no document
  6  an expectation did not hold; nothing was changed";

const EXAMPLES: &str = "\
Examples:
  docbuf push bot.log 'first document'     put a document on top
  docbuf tail -f bot.log                   the last documents, and those to come
  docbuf pop bot.log                       print the newest and remove it
  docbuf verify bot.log                    check every record
  docbuf export bot.log | docbuf import copy.log
  docbuf repair damaged.log -o mended.log  save what is intact
  docbuf tail -f bot.journal               a journal's directory, as a file
  docbuf discard bot.journal --before 500  give old documents up";

/// Looks into document buffers and journals, mends them, and moves documents in and out.
///
/// FILE is a document buffer, or the directory of a journal. In a journal, positions go on counting from
/// what was discarded.
#[derive(Parser)]
#[command(
    name = "docbuf",
    version,
    before_help = EXAMPLES,
    after_help = EXIT_CODES,
    arg_required_else_help = true,
    max_term_width = 100
)]
struct Cli {
    /// Colour in help and usage messages (NO_COLOR is honoured)
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: ColorChoice,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
pub(super) enum Command {
    Stat(Stat),
    Push(Push),
    Pop(Pop),
    Peek(Peek),
    Read(Read),
    Remove(Remove),
    Replay(Replay),
    Tail(Tail),
    Verify(Verify),
    Repair(Repair),
    Export(Export),
    Import(Import),
    #[command(subcommand)]
    Snapshot(Snapshots),
    Discard(Discard),
    Owed(Owed),
    /// Print a completion script for a shell
    #[command(after_help = EXIT_CODES)]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, of docbuf or of one of its commands
    #[command(after_help = EXIT_CODES)]
    Man {
        /// The command, as it is called: `snapshot list`
        command: Vec<String>,
    },
}

/// How documents are printed.
#[derive(Args)]
pub(super) struct Print {
    /// One JSON object per line
    #[arg(long)]
    pub(super) json: bool,
    /// How payloads stand in JSON
    #[arg(long, value_name = "FORM", default_value = "auto", requires = "json")]
    pub(super) payload: Form,
    /// End each document with a NUL byte instead of a newline
    #[arg(long, conflicts_with = "json")]
    pub(super) null: bool,
    /// The bytes as they are, also to a terminal
    #[arg(long, conflicts_with = "json")]
    pub(super) raw: bool,
}

/// The largest document that is let through.
#[derive(Args)]
pub(super) struct Limit {
    /// Refuse documents of more than SIZE (B, KiB, MiB, GiB)
    #[arg(long = "max-doc-size", value_name = "SIZE", default_value = "64MiB", value_parser = units::size)]
    pub(super) bytes: usize,
}

/// What all writing commands take.
#[derive(Args)]
pub(super) struct Write {
    /// Wait up to DURATION (ms, s, m, h) where another process writes; without it, fail at once with code 4
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    pub(super) wait: Option<Duration>,
    /// Write although intact documents lie behind a damaged record; they are copied to a file beside it, or
    /// stay where they are in a journal
    #[arg(long)]
    pub(super) accept_suspect: bool,
    /// Only if there are exactly N documents, with those that a journal has discarded; else change nothing, code 6
    #[arg(long, value_name = "N")]
    pub(super) expect: Option<u64>,
}

/// Print counts, sizes and how the file ends
#[derive(Args)]
#[command(after_help = EXIT_CODES, before_help = "Examples:\n  docbuf stat bot.log\n  docbuf stat --json bot.journal")]
pub(super) struct Stat {
    /// The document buffer, or the directory of a journal
    pub(super) file: PathBuf,
    /// One JSON object
    #[arg(long)]
    pub(super) json: bool,
}

/// Append documents: arguments, or standard input
///
/// Without DOC, --lines, --null or --json, standard input is one document. FILE is created if it does not
/// exist; in an empty directory a journal is begun. Documents given as arguments go in all or not at all.
#[derive(Args)]
#[command(after_help = EXIT_CODES, before_help = "\
Examples:
  docbuf push bot.log 'a document' 'another'
  generate | docbuf push bot.log                one document
  generate | docbuf push bot.log --lines        one document per line
  docbuf push bot.log --expect 12 'the 13th'    only if there are 12")]
#[command(group = ArgGroup::new("form").args(["lines", "null", "json", "docs"]))]
pub(super) struct Push {
    /// The document buffer, or the directory of a journal
    pub(super) file: PathBuf,
    /// Documents
    #[arg(value_name = "DOC")]
    pub(super) docs: Vec<OsString>,
    /// One document per line of standard input
    #[arg(long)]
    pub(super) lines: bool,
    /// One document per NUL-ended piece of standard input
    #[arg(long)]
    pub(super) null: bool,
    /// One JSON line per document, as export writes them
    #[arg(long)]
    pub(super) json: bool,
    /// When documents are made to survive power loss
    #[arg(long, value_name = "WHEN", default_value = "batch")]
    pub(super) sync: Sync,
    /// Print the position of each document once it is as safe as --sync makes it
    #[arg(long)]
    pub(super) ack: bool,
    #[command(flatten)]
    pub(super) limit: Limit,
    #[command(flatten)]
    pub(super) write: Write,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Sync {
    /// When the operating system likes; they survive the end of the process
    Never,
    /// At the end, and after every 8 MiB or second of input
    Batch,
    /// After every document
    Each,
}

/// Print the newest documents, newest first, and remove them
///
/// The output is written and flushed before anything is removed: on a full disk or a closed pipe nothing
/// is removed, and the code is 1.
#[derive(Args)]
#[command(after_help = EXIT_CODES, before_help = "Examples:\n  docbuf pop bot.log\n  docbuf pop bot.log -n 3 --json")]
pub(super) struct Pop {
    /// The document buffer, or the directory of a journal
    pub(super) file: PathBuf,
    /// At most N documents
    #[arg(short, value_name = "N", default_value_t = 1)]
    pub(super) n: u64,
    #[command(flatten)]
    pub(super) print: Print,
    #[command(flatten)]
    pub(super) limit: Limit,
    #[command(flatten)]
    pub(super) write: Write,
}

/// Print the newest document
#[derive(Args)]
#[command(after_help = EXIT_CODES, before_help = "Examples:\n  docbuf peek bot.log\n  docbuf peek bot.log --json --payload json")]
pub(super) struct Peek {
    /// The document buffer, or the directory of a journal
    pub(super) file: PathBuf,
    #[command(flatten)]
    pub(super) print: Print,
    #[command(flatten)]
    pub(super) limit: Limit,
}

/// Print the newest documents, newest first
///
/// Holds the documents that it prints in memory; `replay -r` does not.
#[derive(Args)]
#[command(after_help = EXIT_CODES, before_help = "Examples:\n  docbuf read bot.log -n 5")]
pub(super) struct Read {
    /// The document buffer, or the directory of a journal
    pub(super) file: PathBuf,
    /// At most N documents
    #[arg(short, value_name = "N", default_value_t = 10)]
    pub(super) n: u64,
    #[command(flatten)]
    pub(super) print: Print,
    #[command(flatten)]
    pub(super) limit: Limit,
}

/// Remove the newest documents
///
/// Asks first where standard input is a terminal.
#[derive(Args)]
#[command(after_help = EXIT_CODES, before_help = "\
Examples:
  docbuf remove bot.log -n 3            the newest three
  docbuf remove bot.log --after 100     all but the oldest hundred
  docbuf remove bot.log -n 3 --dry-run")]
#[command(group = ArgGroup::new("what").args(["n", "after"]).required(true))]
pub(super) struct Remove {
    /// The document buffer, or the directory of a journal
    pub(super) file: PathBuf,
    /// The newest N documents; where there are fewer, nothing, and code 6
    #[arg(short, value_name = "N")]
    pub(super) n: Option<u64>,
    /// All but the oldest LEN documents; in a journal, those from position LEN on
    #[arg(long, value_name = "LEN")]
    pub(super) after: Option<u64>,
    /// Only say what would be removed
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub(super) yes: bool,
    #[command(flatten)]
    pub(super) write: Write,
}

/// Print documents from the oldest to the newest
#[derive(Args)]
#[command(after_help = EXIT_CODES, before_help = "\
Examples:
  docbuf replay bot.log
  docbuf replay bot.log --from 100 --to 200 --json
  docbuf replay bot.journal --from 100                a journal, from position 100
  docbuf replay bot.log -r -n 5                       newest first
  docbuf replay bot.log --exec 'jq -c .user'          a command for each document")]
pub(super) struct Replay {
    /// The document buffer, or the directory of a journal
    pub(super) file: PathBuf,
    #[command(flatten)]
    pub(super) range: Range,
    /// At most N documents
    #[arg(short, value_name = "N")]
    pub(super) n: Option<u64>,
    /// Newest first
    #[arg(short, long)]
    pub(super) reverse: bool,
    /// Run CMD in the shell for each document, with the document on its standard input and its position in
    /// DOCBUF_POSITION; stop at the first that fails
    #[arg(long, value_name = "CMD", conflicts_with_all = ["null", "raw"])]
    pub(super) exec: Option<String>,
    #[command(flatten)]
    pub(super) print: Print,
    #[command(flatten)]
    pub(super) limit: Limit,
}

/// Positions, counted from 0 at the oldest.
#[derive(Args)]
pub(super) struct Range {
    /// Begin with position P; without it, with the oldest document
    #[arg(long, value_name = "P")]
    pub(super) from: Option<u64>,
    /// End before position P
    #[arg(long, value_name = "P")]
    pub(super) to: Option<u64>,
}

/// Print the last documents, oldest of them first, and follow
///
/// With -f, documents that another process removes are told: on stderr, and with --json as
/// {"v":1,"cut_back_to":N}. What is printed then begins with position N again. A journal is followed over
/// its segments; where documents are discarded before they were printed, following ends with code 1.
#[derive(Args)]
#[command(after_help = EXIT_CODES, before_help = "Examples:\n  docbuf tail bot.log -n 20\n  docbuf tail -f bot.journal --json\n  docbuf tail bot.journal --cursor seen.cursor | ./consumer")]
pub(super) struct Tail {
    /// The document buffer, or the directory of a journal
    pub(super) file: PathBuf,
    /// The last N documents
    #[arg(short, value_name = "N", default_value_t = 10)]
    pub(super) n: u64,
    /// Wait for more, until stopped
    #[arg(short, long)]
    pub(super) follow: bool,
    /// Print what comes behind the place that FILE keeps (all, while there is no FILE), and keep there how far
    /// this came. After a kill some documents may come again; none is left out
    #[arg(long, value_name = "FILE", conflicts_with = "n")]
    pub(super) cursor: Option<PathBuf>,
    #[command(flatten)]
    pub(super) print: Print,
    #[command(flatten)]
    pub(super) limit: Limit,
}

/// Check every record; never writes
///
/// Code 0 where the end is clean, unterminated, or in progress: a living writer is at it. Code 3 where it
/// is torn (a write that a crash cut short; the next writer goes on before it), suspect (intact documents
/// behind a bad record: damage, or leftovers), or where the header is gone. Of a journal every segment is
/// read, and everything that is wrong is told with its file, its position and what to do.
#[derive(Args)]
#[command(after_help = EXIT_CODES, before_help = "Examples:\n  docbuf verify bot.log\n  docbuf verify --json bot.journal")]
pub(super) struct Verify {
    /// The document buffer, or the directory of a journal
    pub(super) file: PathBuf,
    /// One JSON object
    #[arg(long)]
    pub(super) json: bool,
}

/// Copy every intact document to a new file, and list what was left out
///
/// FILE is not changed, and NEW must not exist. Documents behind damage may be such that had been removed
/// before: they are counted apart. FILE may be a segment of a journal, but not a journal's directory.
#[derive(Args)]
#[command(after_help = EXIT_CODES, before_help = "\
Examples:
  docbuf repair damaged.log -o mended.log
  docbuf repair damaged.log --dry-run           only list what would be left out
  docbuf repair crashed.log --in-place-tail     cut a torn tail off")]
#[command(group = ArgGroup::new("to").args(["output", "in_place_tail"]))]
pub(super) struct Repair {
    /// The damaged document buffer, or one segment of a journal
    pub(super) file: PathBuf,
    /// The new file
    #[arg(short, long, value_name = "NEW", required_unless_present_any = ["in_place_tail", "dry_run"])]
    pub(super) output: Option<PathBuf>,
    /// Cut a torn tail off FILE itself, and do nothing else
    #[arg(long)]
    pub(super) in_place_tail: bool,
    /// Only the documents before the damage
    #[arg(long, conflicts_with = "in_place_tail")]
    pub(super) before_damage: bool,
    /// Write nothing, only say what would be done
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub(super) yes: bool,
    /// Wait up to DURATION (ms, s, m, h) where another process writes
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    pub(super) wait: Option<Duration>,
}

/// Print all documents as JSON lines, for import
///
/// Every byte string comes back through import exactly as it was.
#[derive(Args)]
#[command(after_help = EXIT_CODES, before_help = "\
Examples:
  docbuf export bot.log > bot.jsonl
  docbuf export bot.journal --from 1000 > new.jsonl
  docbuf export bot.log --payload json | jq .payload")]
pub(super) struct Export {
    /// The document buffer, or the directory of a journal
    pub(super) file: PathBuf,
    #[command(flatten)]
    pub(super) range: Range,
    /// How payloads stand in JSON
    #[arg(long, value_name = "FORM", default_value = "auto")]
    pub(super) payload: Form,
    #[command(flatten)]
    pub(super) limit: Limit,
}

/// Append documents from JSON lines, as export prints them
///
/// Synced after every 8 MiB or second. Stops at the first line that is no document, and keeps those
/// before it. FILE is created if it does not exist; in an empty directory a journal is begun.
#[derive(Args)]
#[command(after_help = EXIT_CODES, before_help = "\
Examples:
  docbuf import copy.log bot.jsonl
  docbuf import copy.log --resume bot.jsonl     go on after an import that was stopped
  docbuf import copy.log --from 1000 bot.jsonl  skip 1000 lines")]
pub(super) struct Import {
    /// The document buffer, or the directory of a journal
    pub(super) file: PathBuf,
    /// The lines; standard input without it, or with -
    pub(super) input: Option<PathBuf>,
    /// Skip the first N lines
    #[arg(long, value_name = "N", conflicts_with = "resume")]
    pub(super) from: Option<u64>,
    /// Skip as many lines as FILE has documents (in a journal: ever had, up to its end); the last of both
    /// must be the same, else code 6
    #[arg(long)]
    pub(super) resume: bool,
    #[command(flatten)]
    pub(super) limit: Limit,
    #[command(flatten)]
    pub(super) write: Write,
}

/// What programs have made of a journal so far
#[derive(Subcommand)]
#[command(after_help = EXIT_CODES, before_help = "Examples:\n  docbuf snapshot list bot.journal")]
pub(super) enum Snapshots {
    List(SnapshotList),
}

/// List the snapshots in a journal's directory, newest first
///
/// By what their names say: none is opened, and none is checked against the journal.
#[derive(Args)]
#[command(after_help = EXIT_CODES, before_help = "\
Examples:
  docbuf snapshot list bot.journal
  docbuf snapshot list bot.journal --json")]
pub(super) struct SnapshotList {
    /// The journal's directory
    pub(super) dir: PathBuf,
    /// One JSON object per line
    #[arg(long)]
    pub(super) json: bool,
}

/// Give the oldest documents of a journal up
///
/// By whole segments, and never more than was asked for: a segment goes only if all of its documents stand
/// before POSITION, and the newest one stays. Prints the first position that is kept. Asks first where
/// standard input is a terminal. Where damage keeps the journal from being opened, what lies before it goes
/// too, but only if POSITION lies behind the damage, and with --yes where nobody can be asked.
#[derive(Args)]
#[command(after_help = EXIT_CODES, before_help = "\
Examples:
  docbuf discard bot.journal --before 1000 --dry-run
  docbuf discard bot.journal --before 1000")]
pub(super) struct Discard {
    /// The journal's directory
    pub(super) dir: PathBuf,
    /// The first position that is still needed
    #[arg(long, value_name = "POSITION")]
    pub(super) before: u64,
    /// Only say what would go
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub(super) yes: bool,
    #[command(flatten)]
    pub(super) write: Write,
}

/// List what a write-behind journal still owes
///
/// Of counters: each sum is frozen (with the sink, or to be given to it again), pending (comes behind that), or
/// parked (the sink refused it). Of a chain's edge: the newest write of each key, pending or parked. A program
/// that is adding to it may be ahead.
#[derive(Args)]
#[command(after_help = EXIT_CODES, before_help = "\
Examples:
  docbuf owed views/owed
  docbuf owed --json views/owed")]
pub(super) struct Owed {
    /// The journal's directory
    pub(super) dir: PathBuf,
    /// One JSON object per line: v, key, state, and reason where it is parked; of counters sum (a string
    /// beyond 64 bits), of an edge op and bytes
    #[arg(long)]
    pub(super) json: bool,
}

/// The grammar, for the manual and for completions.
pub(super) fn grammar() -> clap::Command {
    Cli::command()
}

/// Reads the process's arguments; leaves with code 2 where they are wrong, and with 0 after help.
pub(super) fn parse() -> Command {
    let matches = grammar().color(wanted_color()).get_matches();
    match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli.command,
        Err(error) => error.exit(),
    }
}

/// `--color` as far as it can be known before parsing: parsing itself prints help and errors.
fn wanted_color() -> ColorChoice {
    let mut args = std::env::args_os().skip(1).take_while(|arg| arg != "--");
    let mut wanted = ColorChoice::Auto;
    while let Some(arg) = args.next() {
        let when = match arg.to_str() {
            Some("--color") => args.next(),
            Some(arg) => arg.strip_prefix("--color=").map(OsString::from),
            None => None,
        };
        let when = when.and_then(|when| ColorChoice::from_str(when.to_str()?, false).ok());
        wanted = when.unwrap_or(wanted);
    }
    wanted
}

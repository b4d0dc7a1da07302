//! `verify` of a file: checks every record, beside whoever writes, and never writes itself.

use std::path::Path;
use std::thread;

use documentbuffer::{Again, End, Error, OpenError, Recovery, Scan};

use super::args::Verify;
use super::error::{self, Code, Failure, Result};
use super::examine::{self, LOOK_EVERY, LOOKS};
use super::file;
use super::open;
use super::output::Out;
use super::progress::Progress;
use super::stat::Report;

/// Looks in a row that must find the same before a tail that has moved is taken to stand.
const STILL: u32 = 5;

/// What was found.
enum Verdict {
    /// The end is good, or bad while nobody writes.
    Settled(Recovery),
    /// Good so far; a living writer is at the tail.
    InProgress(Recovery),
}

pub(super) fn run(args: &Verify) -> Result<()> {
    let path = &args.file;
    if path.is_dir() {
        return examine::run(args);
    }
    let verdict = judge(path)?;
    let printed = print(args, &verdict);
    let damaged = match &verdict {
        Verdict::Settled(recovery) => damage(path, recovery),
        Verdict::InProgress(_) => Ok(()),
    };
    match (printed, damaged) {
        // Nobody reads it, but the code may still be asked for.
        (Ok(()) | Err(Failure::Closed), damaged) => damaged,
        (failed, _) => failed,
    }
}

fn judge(path: &Path) -> Result<Verdict> {
    let mut watch = Watch::default();
    loop {
        match watch.read(path) {
            Ok(Some(verdict)) => return Ok(verdict),
            Ok(None) => watch.moved = true,
            Err(Trouble::Store(error)) => {
                if !watch.is_passing(path, &error) {
                    return Err(Failure::library(path, &error));
                }
                watch.wait();
            }
            Err(Trouble::Told(failure)) => return Err(failure),
        }
    }
}

enum Trouble {
    Store(Error),
    Told(Failure),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        Trouble::Store(error)
    }
}

/// What has been seen of a writer so far.
#[derive(Default)]
struct Watch {
    looks: u32,
    moved: bool,
}

impl Watch {
    fn wait(&mut self) {
        self.looks += 1;
        thread::sleep(LOOK_EVERY);
    }

    /// A writer makes a file shorter, and a new one is without a header for a moment.
    fn is_passing(&self, path: &Path, error: &Error) -> bool {
        let passing = match error {
            Error::Shrunk { .. } => true,
            Error::Corrupt { .. } | Error::Foreign { .. } => self.moved || open::is_written(path),
            _ => false,
        };
        passing && self.looks < LOOKS
    }

    /// Reads the log, and while its end is bad, once more; `None` where it was cut back meanwhile.
    fn read(&mut self, path: &Path) -> Result<Option<Verdict>, Trouble> {
        let file = open::file(path).map_err(Trouble::Told)?;
        let mut scan = Scan::new(file).map_err(|OpenError { error, .. }| error)?;
        let mut progress = Progress::new(scan.store_len(), true);
        let mut still = 0;
        loop {
            while let Some(document) = scan.next()? {
                progress.at(document.offset);
            }
            let recovery = file::recovery(&scan)?;
            if matches!(recovery.end, End::Clean | End::Unterminated) {
                return Ok(Some(Verdict::Settled(recovery)));
            }
            if self.looks >= LOOKS {
                return Ok(Some(Verdict::InProgress(recovery)));
            }
            // Asked before and after the next look: a writer that has gone by then has left what that
            // look finds, and who held the lock for a moment only was none.
            let was_locked = open::is_locked(path) == Some(true);
            self.wait();
            let len = scan.store_len();
            let again = scan.again()?;
            let is_locked = open::is_locked(path) == Some(true);
            match again {
                Again::Same if scan.store_len() == len => still += 1,
                Again::Same | Again::More => (still, self.moved) = (0, true),
                _ => return Ok(None),
            }
            let same = scan.recovery().is_some_and(|now| now.end == recovery.end);
            if same && still > 0 && was_locked && is_locked {
                return Ok(Some(Verdict::InProgress(recovery)));
            }
            let enough = if self.moved { STILL } else { 1 };
            if same && still >= enough && !was_locked {
                return Ok(Some(Verdict::Settled(recovery)));
            }
        }
    }
}

fn print(args: &Verify, verdict: &Verdict) -> Result<()> {
    let path = &args.file;
    let (recovery, result) = match verdict {
        Verdict::Settled(recovery) => (recovery, None),
        Verdict::InProgress(recovery) => (recovery, Some("in progress")),
    };
    let mut out = Out::text();
    if args.json {
        let mut report = Report::new(path, recovery, open::is_locked(path));
        report.result = result.or(Some(report.end()));
        out.json(&report)?;
    } else {
        let result = match result {
            Some(result) => format!(
                "{result}: another process is writing at offset {}",
                recovery.offset
            ),
            None => recovery.end.to_string(),
        };
        let (documents, bytes) = (recovery.documents, recovery.bytes);
        let name = error::shown(path);
        out.print(&format!(
            "{name}: {documents} documents of {bytes} bytes are intact; the end is {result}\n"
        ))?;
    }
    out.flush()
}

/// What to say of a bad end: what a crash leaves, or damage.
fn damage(path: &Path, recovery: &Recovery) -> Result<()> {
    let name = error::shown(path);
    match recovery.end {
        End::Torn { offset, reason } => Err(Failure::of(
            path,
            Code::Damaged,
            format!("torn at offset {offset}: {reason}; a crash in the middle of a write leaves that"),
        )
        .next(format!(
            "the next writer goes on before it; to cut it off now: docbuf repair {name} --in-place-tail"
        ))),
        End::Suspect { offset, records } => Err(Failure::of(
            path,
            Code::Damaged,
            format!("bad record at offset {offset} with {records} intact documents behind it: damage, or leftovers of a crash"),
        )
        .next(format!("save what is intact: docbuf repair {name} -o NEW"))),
        _ => Ok(()),
    }
}

//! What a command ends with: an exit code, a sentence, and what to do next.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use documentbuffer::{Error, Reason};

/// Exit codes; 0 is done. Most of what is wrong with a command line the argument parser tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    Failed = 1,
    Usage = 2,
    Damaged = 3,
    Locked = 4,
    Empty = 5,
    Expectation = 6,
}

/// Why a command did not do all of its work.
pub(super) enum Failure {
    /// Nobody reads our output any more.
    Closed,
    /// Everything that there is to say has been said.
    Quiet(Code),
    /// To be told on stderr.
    Told(Box<Report>),
}

pub(super) type Result<T, E = Failure> = std::result::Result<T, E>;

pub(super) struct Report {
    pub(super) code: Code,
    file: Option<PathBuf>,
    message: String,
    next: Option<String>,
}

impl Report {
    pub(super) fn tell(&self) {
        tell(self.file.as_deref(), &self.message);
        if let Some(next) = &self.next {
            // Nothing can be done about a stderr that does not take it.
            let _ = writeln!(io::stderr(), "  {next}");
        }
    }
}

impl Failure {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Failure {
        Failure::Told(Box::new(Report {
            code,
            file: None,
            message: message.into(),
            next: None,
        }))
    }

    pub(super) fn of(path: &Path, code: Code, message: impl Into<String>) -> Failure {
        let mut failure = Failure::new(code, message);
        if let Failure::Told(report) = &mut failure {
            report.file = Some(path.to_owned());
        }
        failure
    }

    /// Adds what to do next.
    pub(super) fn next(mut self, next: impl Into<String>) -> Failure {
        if let Failure::Told(report) = &mut self {
            report.next = Some(next.into());
        }
        self
    }

    /// An error of the operating system about `path`.
    pub(super) fn io(path: &Path, doing: &str, source: &io::Error) -> Failure {
        let failure = Failure::of(path, Code::Failed, format!("cannot {doing}: {source}"));
        match source.kind() {
            io::ErrorKind::NotFound => {
                failure.next("check the path; push and import create a file")
            }
            io::ErrorKind::PermissionDenied => failure.next("check the permissions of the file"),
            _ => failure,
        }
    }

    /// An error of the library about `path`.
    pub(super) fn library(path: &Path, error: &Error) -> Failure {
        let name = shown(path);
        let of = |code, message: String| Failure::of(path, code, message);
        match error {
            Error::Io { action, offset, source, .. } => {
                let mut doing = action.to_string();
                if let Some(offset) = offset {
                    let _ = write!(doing, " at offset {offset}");
                }
                Failure::io(path, &doing, source)
            }
            Error::Full { offset, source } => full(path, Some(*offset), source),
            Error::Foreign { .. } => of(Code::Damaged, "not a document buffer, or its header is destroyed".into())
                .next(format!("if it was one, its documents may be there yet: docbuf repair {name} -o NEW")),
            Error::Corrupt {
                reason: Reason::Header,
                ..
            } => of(Code::Damaged, "its header is destroyed".into()).next(format!(
                "its documents may be there yet: docbuf repair {name} -o NEW"
            )),
            Error::Corrupt { offset, reason } => {
                of(Code::Damaged, format!("damaged at offset {offset}: {reason}")).next(mend(path, path))
            }
            Error::Suspect { offset, records } => of(
                Code::Damaged,
                format!("damaged at offset {offset}, with {records} intact documents behind it: refused to write over them"),
            )
            .next(format!("{}; or go on before the damage with --accept-suspect", mend(path, path))),
            Error::Unsupported { what, number, .. } => {
                of(Code::Failed, format!("{what} {number} is newer than this docbuf")).next("use a newer docbuf")
            }
            Error::TooLarge { len, max } => too_large(path, *len, *max),
            Error::Locked { .. } => locked(path),
            Error::NotAFile { .. } => of(Code::Failed, "not a file".into()),
            Error::PositionMismatch { expected, actual } => expectation(path, *expected, *actual),
            Error::Shrunk { .. } => of(Code::Failed, "became shorter while it was read: another process removes documents".into())
                .next("run the command again"),
            _ => {
                let mut message = error.to_string();
                if let Some(source) = std::error::Error::source(error) {
                    let _ = write!(message, ": {source}");
                }
                of(Code::Failed, message)
            }
        }
    }
}

pub(super) fn full(path: &Path, offset: Option<u64>, source: &io::Error) -> Failure {
    let place = offset.map(|offset| format!(" at offset {offset}"));
    let place = place.unwrap_or_default();
    Failure::of(path, Code::Failed, format!("no room{place}: {source}"))
        .next("make room on the device; what was stored before is intact")
}

pub(super) fn too_large(path: &Path, len: u64, max: u64) -> Failure {
    let message = format!("a document of {len} bytes is over the limit of {max}");
    Failure::of(path, Code::Failed, message)
        .next("raise the limit with --max-doc-size (the format's own is 268435455 bytes)")
}

pub(super) fn locked(path: &Path) -> Failure {
    Failure::of(
        path,
        Code::Locked,
        "locked: another process is writing to it",
    )
    .next("wait for it with --wait 10s; reading commands work meanwhile")
}

pub(super) fn expectation(path: &Path, expected: u64, actual: u64) -> Failure {
    let message =
        format!("expected {expected} documents, but there are {actual}; nothing was changed");
    Failure::of(path, Code::Expectation, message).next(format!("look: docbuf tail {}", shown(path)))
}

pub(super) fn empty(path: &Path) -> Failure {
    Failure::of(path, Code::Empty, "empty: it holds no document")
        .next(format!("put one in: docbuf push {} DOCUMENT", shown(path)))
}

/// What to do about damage in `file`, which is `path`, or in that directory.
pub(super) fn mend(path: &Path, file: &Path) -> String {
    let (path, file) = (shown(path), shown(file));
    format!("look: docbuf verify {path}; save what is intact: docbuf repair {file} -o NEW")
}

/// Something worth knowing that is no failure.
pub(super) fn note(path: &Path, message: &str) {
    tell(Some(path), &format!("note: {message}"));
}

fn tell(file: Option<&Path>, message: &str) {
    let mut err = io::stderr().lock();
    // Nothing can be done about a stderr that does not take it.
    let _ = match file {
        Some(file) => writeln!(err, "docbuf: {}: {message}", shown(file)),
        None => writeln!(err, "docbuf: {message}"),
    };
}

/// A path as a person may see it on a terminal.
pub(super) fn shown(path: &Path) -> String {
    let mut text = String::new();
    for c in path.to_string_lossy().chars() {
        if c.is_control() {
            text.extend(c.escape_default());
        } else {
            text.push(c);
        }
    }
    text
}

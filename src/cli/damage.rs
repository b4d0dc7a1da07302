//! What is wrong with a journal, in words: the file, the position, what to do.

use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread;

use documentbuffer::Reason;
use documentbuffer::journal::{self, Error, Reader, SegmentInfo};

use super::error::{self, Code, Failure};
use super::file;
use super::open;
use super::part::{self, Span};

/// How often a journal that changes under our eyes is looked at anew.
pub(super) const ATTEMPTS: u32 = 64;

/// Damage, or files that are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) file: PathBuf,
    /// The first document that is concerned, where that is known.
    pub(super) position: Option<u64>,
    pub(super) message: String,
    pub(super) remedy: String,
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Failure {
        Failure::of(&problem.file, Code::Damaged, problem.message).next(problem.remedy)
    }
}

/// An error of the journal in the directory `path`, met while the document at `at` was read.
pub(super) fn failure_at(path: &Path, error: &Error, at: Option<u64>) -> Failure {
    let problem = Problem::of(path, &Span::default(), error, at);
    match problem.or_else(|| cut_short(path, error, at)) {
        Some(problem) => problem.into(),
        None => failure(path, error),
    }
}

/// A reader that has met the end of a file too early does not know whether it was cut just now.
fn cut_short(path: &Path, error: &Error, at: Option<u64>) -> Option<Problem> {
    let Error::Segment { file, source, .. } = error else {
        return None;
    };
    if !matches!(**source, documentbuffer::Error::Shrunk { .. }) {
        return None;
    }
    let error = short(&Reader::open(path).ok()?, Some(file)).ok()??;
    let mut problem = Problem::of(path, &Span::default(), &error, None)?;
    if let Some(at) = at.filter(|at| problem.position > Some(*at)) {
        let _ = write!(problem.message, "; read up to position {at}");
    }
    Some(problem)
}

/// An error of the journal in the directory `path`.
pub(super) fn failure(path: &Path, error: &Error) -> Failure {
    if let Some(problem) = Problem::of(path, &Span::default(), error, None) {
        return problem.into();
    }
    let failed = |message: String| Failure::of(path, Code::Failed, message);
    match error {
        Error::Io { file, source, .. }
            if source.kind() == ErrorKind::NotFound && is_segment(file) =>
        {
            Failure::of(
                file,
                Code::Failed,
                "gone while it was read: another process cuts back or discards documents",
            )
            .next("run the command again")
        }
        Error::Io {
            action,
            file,
            source,
        } => Failure::io(file, &action.to_string(), source),
        Error::Segment { file, source, .. } => Failure::library(file, source),
        Error::Full { file, source } => error::full(file, None, source),
        Error::Failed { cause } => failure(path, cause),
        Error::Locked { .. } => error::locked(path),
        Error::NotFound { .. } => failed("holds no journal".to_owned())
            .next("check the path; push and import begin a journal in an empty directory"),
        Error::TooLarge { len, max } => error::too_large(path, *len, *max),
        Error::PositionMismatch { expected, actual } => error::expectation(path, *expected, *actual),
        Error::Discarded { position, first } => failed(format!(
            "position {position} was discarded: the oldest that is kept is {first}"
        ))
        .next(format!("begin there: docbuf replay {} --from {first}", error::shown(path))),
        Error::CutBack { to } => failed(format!(
            "cut back to position {to} while it was read: another process removes documents"
        ))
        .next("run the command again"),
        Error::Suspect {
            file,
            offset,
            records,
        } => Failure::of(
            file,
            Code::Damaged,
            format!("damaged at offset {offset}, with {records} intact documents behind it: refused to go on without them"),
        )
        .next(format!(
            "{}; or go on in a new segment, which leaves this one as it is, with --accept-suspect",
            error::mend(path, file)
        )),
        _ => failed(in_full(error)),
    }
}

fn is_segment(file: &Path) -> bool {
    let name = file.file_name().and_then(|name| name.to_str());
    name.is_some_and(part::is_segment)
}

/// An error with what caused it.
fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let _ = write!(text, ": {error}");
        source = error.source();
    }
    text
}

/// The name of the segment that a problem is with.
pub(super) fn segment(error: &Error) -> Option<String> {
    let file = match error {
        Error::Segment { file, source, .. } if is_damage(source) => file,
        Error::Missing { file, .. }
        | Error::Truncated { file, .. }
        | Error::Misplaced { file, .. }
        | Error::OtherJournal { file } => file,
        _ => return None,
    };
    Some(file.file_name()?.to_str()?.to_owned())
}

fn is_damage(error: &documentbuffer::Error) -> bool {
    use documentbuffer::Error;
    matches!(error, Error::Corrupt { .. } | Error::Foreign { .. })
}

/// Whether a segment ends before the next one continues it.
fn is_short(segment: &SegmentInfo) -> bool {
    let len = fs::metadata(&segment.file).map(|about| about.len());
    segment.sealed && len.is_ok_and(|len| len < segment.bytes)
}

/// What is wrong with the newest segment that ends before the next one continues it; of all, or of those
/// that `file` names.
pub(super) fn short(reader: &Reader, file: Option<&Path>) -> journal::Result<Option<Error>> {
    let segments = settled(|| reader.segments())?;
    let mut segments = segments.into_iter().rev();
    let short =
        segments.find(|segment| file.is_none_or(|file| segment.file == file) && is_short(segment));
    Ok(short.map(|segment| Error::Truncated {
        position: segment.base.saturating_add(intact(&segment)),
        until: segment.base.saturating_add(segment.documents),
        file: segment.file,
    }))
}

/// Documents that a segment cut short has left.
fn intact(segment: &SegmentInfo) -> u64 {
    let scan = open::scan(&segment.file);
    let left = scan.map(|mut scan| file::read(&mut scan).map_or(0, |left| left.documents));
    left.unwrap_or(0).min(segment.documents)
}

/// Position of the first document that the segment whose documents begin at `base` does not give.
pub(super) fn first_unread(reader: &Reader, base: u64) -> Option<u64> {
    let mut replay = reader.replay(base).ok()?;
    while let Ok(Some(_)) = replay.next() {}
    Some(replay.position())
}

/// The first document behind the segment `name` of a span, as far as its segments can be told.
fn first_behind(path: &Path, span: &Span, name: &str) -> Option<u64> {
    let mut behind = span.above(name);
    loop {
        let segments = behind.reader(path).and_then(|reader| reader.segments());
        match segments {
            Ok(segments) => return segments.first().map(|first| first.base),
            Err(error) => {
                let bad = segment(&error).filter(|name| behind.contains(name))?;
                behind = behind.below(&bad);
            }
        }
    }
}

impl Problem {
    /// What is wrong with the segments of `span`, where `error` says that something is; `at` is the document
    /// that could not be read.
    pub(super) fn of(path: &Path, span: &Span, error: &Error, at: Option<u64>) -> Option<Problem> {
        let name = segment(error)?;
        let behind = || first_behind(path, span, &name);
        let new = |file: &Path, position, message, remedy| Problem {
            file: file.to_owned(),
            position,
            message,
            remedy,
        };
        Some(match error {
            Error::Segment { file, base, source } => {
                let behind = behind();
                let position = at.or(Some(*base).filter(|base| *base > 0));
                let message = damaged(source, *base, at, behind);
                new(file, position, message, give_up(path, file, behind))
            }
            Error::Missing { file, until } => new(
                file,
                None,
                format!("missing, and with it the documents up to position {until}"),
                format!("put it back, or {}", discard(path, *until)),
            ),
            Error::Truncated {
                file,
                position,
                until,
            } => new(
                file,
                Some(*position),
                format!("cut short: the documents from position {position} up to {until} are gone"),
                give_up(path, file, Some(*until)),
            ),
            Error::Misplaced { file, named, says } => new(
                file,
                None,
                format!("named as segment {named}, but is segment {says}"),
                format!("name it {says:020}.segment where no other has that name, or move it away"),
            ),
            Error::OtherJournal { file } => new(
                file,
                None,
                "not what the segment behind it continues: one of the two is of another journal, or of a copy that went its own way".to_owned(),
                "move the one away that does not belong here, and put back what it has replaced".to_owned(),
            ),
            _ => return None,
        })
    }
}

fn damaged(
    source: &documentbuffer::Error,
    base: u64,
    at: Option<u64>,
    behind: Option<u64>,
) -> String {
    use documentbuffer::Error;
    let mut text = match source {
        Error::Corrupt { offset, reason } if *reason != Reason::Header => {
            format!("damaged at offset {offset}: {reason}")
        }
        _ => "its header is destroyed".to_owned(),
    };
    let _ = match (at, behind) {
        (Some(at), _) => write!(text, "; document {at} cannot be read"),
        (None, _) if base > 0 => write!(text, "; its documents begin at position {base}"),
        (None, Some(behind)) => write!(
            text,
            "; documents before position {behind} cannot be reached"
        ),
        (None, None) => Ok(()),
    };
    text
}

/// What to do about a segment that cannot be read to its end.
fn give_up(path: &Path, file: &Path, behind: Option<u64>) -> String {
    let name = error::shown(file);
    let save =
        format!("put back a copy, or save what is intact in it: docbuf repair {name} -o NEW");
    match behind {
        Some(behind) => format!("{save}; then {}", discard(path, behind)),
        None => format!("{save}; then move it away: the journal ends before it"),
    }
}

fn discard(path: &Path, position: u64) -> String {
    let name = error::shown(path);
    format!(
        "give up what lies before position {position}: docbuf discard {name} --before {position}"
    )
}

/// Repeats what failed only because another process has removed a file, or cut something away.
pub(super) fn settled<T>(mut look: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    for _ in 1..ATTEMPTS {
        match look() {
            Err(error) if is_passing(&error) => thread::yield_now(),
            done => return done,
        }
    }
    look()
}

pub(super) fn is_passing(error: &Error) -> bool {
    match error {
        Error::Io { source, .. } => source.kind() == ErrorKind::NotFound,
        Error::Segment { source, .. } => {
            matches!(**source, documentbuffer::Error::Shrunk { .. })
        }
        Error::CutBack { .. } => true,
        _ => false,
    }
}

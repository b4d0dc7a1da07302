//! What can go wrong with a journal, in numbers.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::Arc;

use super::snapshot::{IgnoredSnapshot, SnapshotError};
use crate::buffer;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the directory was asked to do when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Opening the directory, or taking its lock.
    Open,
    /// Listing its files.
    List,
    /// Making a file.
    Create,
    /// Opening a file for reading.
    Read,
    /// Opening a file for writing.
    Write,
    /// Giving a file its final name.
    Rename,
    /// Removing a file.
    Remove,
    /// Making names durable.
    Sync,
    /// Starting the committer's thread.
    Spawn,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Action::Open => "open",
            Action::List => "list",
            Action::Create => "create",
            Action::Read => "read",
            Action::Write => "write",
            Action::Rename => "rename",
            Action::Remove => "remove",
            Action::Sync => "sync",
            Action::Spawn => "start a thread for",
        })
    }
}

/// What a journal, a reader of one, or an opening can fail with.
///
/// On any error nothing has moved, and the call may be repeated, but after [`Error::Failed`] and
/// [`Error::Closed`], which are final for the handle.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The directory failed.
    Io {
        /// What it was asked to do.
        action: Action,
        /// The file, or the directory itself.
        file: PathBuf,
        /// What it answered.
        source: Arc<io::Error>,
    },
    /// A segment failed, or is damaged.
    Segment {
        /// Its file.
        file: PathBuf,
        /// Position of its first document.
        base: u64,
        /// What is wrong.
        source: Arc<buffer::Error>,
    },
    /// There is no room. Nothing was appended and nothing is lost: free some, and append again.
    Full {
        /// The file that could not grow.
        file: PathBuf,
        /// What the store answered.
        source: Arc<io::Error>,
    },
    /// A sync failed, or a name may or may not stand: nothing more is believed. Open the journal again.
    Failed {
        /// What failed first.
        cause: Arc<Error>,
    },
    /// The journal was closed.
    Closed,
    /// Another process or handle writes this journal.
    Locked {
        /// The directory.
        directory: PathBuf,
    },
    /// The path names something that is no directory.
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// The directory holds no journal, and none was to be made.
    NotFound {
        /// The directory.
        directory: PathBuf,
    },
    /// A document over the limit.
    TooLarge {
        /// Its length in bytes.
        len: u64,
        /// [`Options::max_document`](super::Options::max_document).
        max: u64,
    },
    /// [`append_at`](super::Journal::append_at) met another position.
    PositionMismatch {
        /// The position that the caller expected to get.
        expected: u64,
        /// The next free position.
        actual: u64,
    },
    /// A position beyond the end.
    BeyondEnd {
        /// The position.
        position: u64,
        /// Where the journal ends.
        end: u64,
    },
    /// A position before the first that is kept: it was discarded.
    Discarded {
        /// The position.
        position: u64,
        /// The first position that is kept.
        first: u64,
    },
    /// What was read, or was to be read on from, has been cut away since.
    CutBack {
        /// Up to here the journal is still what was read.
        to: u64,
    },
    /// The cursor is of another journal.
    ForeignCursor,
    /// A segment that others build on is not there.
    Missing {
        /// Its file.
        file: PathBuf,
        /// Documents up to this position are gone with it.
        until: u64,
    },
    /// A segment whose file has the name of another.
    Misplaced {
        /// The file.
        file: PathBuf,
        /// The number that its name says.
        named: u64,
        /// The number that it says itself.
        says: u64,
    },
    /// A segment of another journal.
    OtherJournal {
        /// The file.
        file: PathBuf,
    },
    /// A segment ends before the next one continues it.
    Truncated {
        /// The file.
        file: PathBuf,
        /// Position of the first document that is not there.
        position: u64,
        /// Position from which on there are documents again.
        until: u64,
    },
    /// The live segment ends at a damaged record with intact documents behind it, and the caller asked to
    /// be told.
    Suspect {
        /// The file.
        file: PathBuf,
        /// Where the bad record begins.
        offset: u64,
        /// Intact documents seen behind it.
        records: u64,
    },
    /// The documents are written in another codec.
    Codec {
        /// The journal's.
        found: String,
        /// The caller's.
        wanted: String,
    },
    /// A snapshot could not be written, or the snapshots could not be listed.
    Snapshot {
        /// What went wrong.
        source: Arc<SnapshotError>,
    },
    /// Documents that the state needs were discarded, and no snapshot stands for them. No part of a state
    /// is ever made.
    NoSnapshot {
        /// The first position that is kept.
        first: u64,
        /// What snapshots there are, and why none of them helps.
        ignored: Arc<[IgnoredSnapshot]>,
    },
    /// An event could not be encoded, decoded or applied.
    Event {
        /// Its position, where it has one.
        position: Option<u64>,
        /// What went wrong.
        reason: String,
    },
}

impl Error {
    pub(super) fn io(action: Action, file: PathBuf, source: io::Error) -> Error {
        if is_full(source.kind()) {
            let source = Arc::new(source);
            return Error::Full { file, source };
        }
        Error::Io {
            action,
            file,
            source: Arc::new(source),
        }
    }

    pub(super) fn segment(file: PathBuf, base: u64, source: buffer::Error) -> Error {
        match source {
            buffer::Error::Full { source, .. } => Error::Full {
                file,
                source: Arc::new(source),
            },
            buffer::Error::TooLarge { len, max } => Error::TooLarge { len, max },
            source => Error::Segment {
                file,
                base,
                source: Arc::new(source),
            },
        }
    }

    /// The error that every later call gets.
    pub(super) fn last(self) -> Error {
        match self {
            Error::Failed { .. } | Error::Closed => self,
            other => Error::Failed {
                cause: Arc::new(other),
            },
        }
    }

    /// Whether it may be no more than that the journal changed meanwhile.
    pub(super) fn may_pass(&self) -> bool {
        self.is_not_found() || matches!(self, Error::Missing { .. } | Error::CutBack { .. })
    }

    /// Whether the file is not there.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Error::Io { source, .. } if source.kind() == ErrorKind::NotFound)
    }
}

impl From<SnapshotError> for Error {
    fn from(source: SnapshotError) -> Error {
        Error::Snapshot {
            source: Arc::new(source),
        }
    }
}

fn is_full(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
    )
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io { action, file, .. } => write!(f, "cannot {action} {}", file.display()),
            Error::Segment { file, base, .. } => write!(
                f,
                "segment {} (documents from position {base} on)",
                file.display()
            ),
            Error::Full { file, .. } => write!(
                f,
                "no room for {}: nothing is lost; free some, and append again",
                file.display()
            ),
            Error::Failed { .. } => f.write_str(
                "an earlier failure left unknown what is durable: open the journal again",
            ),
            Error::Closed => f.write_str("the journal is closed"),
            Error::Locked { directory } => write!(
                f,
                "{} is locked: another process or handle writes this journal",
                directory.display()
            ),
            Error::NotADirectory { path } => {
                write!(f, "{} is no directory: a journal is one", path.display())
            }
            Error::NotFound { directory } => {
                write!(f, "{} holds no journal", directory.display())
            }
            Error::TooLarge { len, max } => {
                write!(f, "a document of {len} bytes is over the limit of {max}")
            }
            Error::PositionMismatch { expected, actual } => {
                write!(f, "expected position {expected}, but the next is {actual}")
            }
            Error::BeyondEnd { position, end } => {
                write!(f, "position {position} is beyond the end, {end}")
            }
            Error::Discarded { position, first } => write!(
                f,
                "position {position} was discarded: the first that is kept is {first}"
            ),
            Error::CutBack { to } => {
                write!(
                    f,
                    "cut back to position {to}: what was read behind it is void"
                )
            }
            Error::ForeignCursor => {
                f.write_str("the cursor is of another journal: go on from a position instead")
            }
            other => other.fmt_damage(f),
        }
    }
}

impl Error {
    fn fmt_damage(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Missing { file, until } => write!(
                f,
                "segment {} is missing, and with it documents up to position {until}: put it back, or discard up to there",
                file.display()
            ),
            Error::Misplaced { file, named, says } => write!(
                f,
                "{} is named segment {named}, but is segment {says}: rename it, or move it away",
                file.display()
            ),
            Error::OtherJournal { file } => write!(
                f,
                "{} belongs to another journal: move it away",
                file.display()
            ),
            Error::Truncated {
                file,
                position,
                until,
            } => write!(
                f,
                "{} ends early: documents {position} to {until} are gone; restore it from a copy, or discard up to there",
                file.display()
            ),
            Error::Suspect {
                file,
                offset,
                records,
            } => write!(
                f,
                "{} ends at a bad record at offset {offset} with {records} intact documents behind it",
                file.display()
            ),
            Error::Codec { found, wanted } => write!(
                f,
                "the documents are written in {found:?}, not in {wanted:?}: use that codec"
            ),
            Error::Snapshot { .. } => f.write_str("the snapshots could not be used"),
            Error::NoSnapshot { first, ignored } => {
                write!(
                    f,
                    "documents before position {first} were discarded, and no snapshot stands for them: put one back"
                )?;
                for ignored in ignored.iter() {
                    write!(f, "; {ignored}")?;
                }
                Ok(())
            }
            Error::Event {
                position: Some(position),
                reason,
            } => write!(f, "document {position}: {reason}"),
            Error::Event { reason, .. } => f.write_str(reason),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } | Error::Full { source, .. } => Some(source.as_ref()),
            Error::Segment { source, .. } => Some(source.as_ref()),
            Error::Failed { cause } => Some(cause.as_ref()),
            Error::Snapshot { source } => Some(source.as_ref()),
            _ => None,
        }
    }
}

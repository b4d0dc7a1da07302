//! Why a snapshot is not used, and what keeping them can fail with.

use std::fmt;
use std::io;

use crate::buffer::{self, End};

/// Why a snapshot is not used. It is a cache: the log alone says the same.
#[derive(Debug)]
#[non_exhaustive]
pub enum BadSnapshot {
    /// It was removed after it was listed.
    Gone,
    /// Nothing was ever written to it, or nothing is left.
    Empty,
    /// It ends, or is damaged, before all that was written to it.
    Torn {
        /// The end that was met.
        end: End,
    },
    /// It is whole, but has less state than its head claims.
    Short {
        /// Bytes of state that the head claims.
        claimed: u64,
        /// At most so many are there.
        present: u64,
    },
    /// It is not a snapshot.
    Foreign {
        /// Its first bytes (zeros where it has fewer than eight).
        found: [u8; 8],
    },
    /// It is whole, but one of its documents is none that this layout describes.
    Malformed {
        /// Which, counted from 0.
        document: u64,
    },
    /// Its head has the layout of a newer version of this crate.
    Future {
        /// The layout's number.
        layout: u32,
    },
    /// Its records are those of a newer version of this crate.
    FutureFormat(buffer::Error),
    /// Its head disagrees with its name.
    Misnamed {
        /// Position in the head.
        position: u64,
        /// Schema in the head.
        schema: u32,
    },
    /// It was taken of another journal.
    OtherJournal {
        /// Which.
        journal: u128,
    },
    /// There is no memory for its state.
    OutOfMemory {
        /// How many bytes were asked for.
        bytes: u64,
    },
    /// Its state has another form, by the program's number for it.
    OtherSchema {
        /// The number that was asked for.
        wanted: u32,
    },
    /// Its state is written in another codec.
    OtherCodec {
        /// The snapshot's.
        found: String,
        /// The one that was asked for.
        wanted: String,
    },
    /// The codec made no state of it.
    Undecodable {
        /// Why.
        reason: String,
    },
    /// The log ends before the event that it was taken behind.
    Ahead {
        /// Where the log ends.
        end: u64,
    },
    /// The event that it was taken behind was cut away.
    CutAway,
    /// Events that it lacks were discarded.
    Discarded {
        /// The first position that is kept.
        first: u64,
    },
    /// It could not be read; it may be good.
    Failed(SnapshotError),
}

/// A snapshot that was not used, and why.
#[derive(Debug)]
#[non_exhaustive]
pub struct IgnoredSnapshot {
    /// Name of its file.
    pub name: String,
    /// Events in it, by its name.
    pub position: u64,
    /// The program's number for the form of its state, by its name.
    pub schema: u32,
    /// Why it was not used.
    pub reason: BadSnapshot,
}

impl fmt::Display for IgnoredSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.reason)
    }
}

impl BadSnapshot {
    pub(super) fn foreign(bytes: &[u8]) -> BadSnapshot {
        let mut found = [0; 8];
        for (to, from) in found.iter_mut().zip(bytes) {
            *to = *from;
        }
        BadSnapshot::Foreign { found }
    }

    /// What an error of the buffer means, met before or in this document.
    pub(super) fn of(name: &str, document: u64, error: buffer::Error) -> BadSnapshot {
        use buffer::Error;
        match error {
            Error::Foreign { found } => BadSnapshot::Foreign { found },
            Error::Unsupported { .. } => BadSnapshot::FutureFormat(error),
            Error::Corrupt { offset, reason } => BadSnapshot::Torn {
                end: End::Torn { offset, reason },
            },
            Error::TooLarge { .. } => BadSnapshot::Malformed { document },
            Error::OutOfMemory { bytes } => BadSnapshot::OutOfMemory {
                bytes: bytes as u64,
            },
            source => BadSnapshot::Failed(SnapshotError::buffer(name, source)),
        }
    }
}

impl fmt::Display for BadSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadSnapshot::Gone => f.write_str("the snapshot has been removed"),
            BadSnapshot::Empty => f.write_str("the snapshot is empty"),
            BadSnapshot::Torn { end } => write!(f, "the snapshot is not whole: {end}"),
            BadSnapshot::Short { claimed, present } => write!(
                f,
                "the snapshot claims {claimed} bytes of state, but at most {present} are there"
            ),
            BadSnapshot::Foreign { found } => write!(
                f,
                "not a snapshot (it begins with {})",
                found.escape_ascii()
            ),
            BadSnapshot::Malformed { document } => {
                write!(
                    f,
                    "document {document} of the snapshot does not belong there"
                )
            }
            BadSnapshot::Future { layout } => write!(
                f,
                "the snapshot's layout {layout} is newer than this version of documentbuffer"
            ),
            BadSnapshot::FutureFormat(error) => write!(f, "cannot read the snapshot: {error}"),
            BadSnapshot::Misnamed { position, schema } => write!(
                f,
                "the snapshot is of position {position} and schema {schema}, which its name is not"
            ),
            BadSnapshot::OtherJournal { journal } => {
                write!(f, "the snapshot is of another journal, {journal:032x}")
            }
            BadSnapshot::OutOfMemory { bytes } => {
                write!(f, "no memory for {bytes} bytes of a snapshot")
            }
            BadSnapshot::OtherSchema { wanted } => {
                write!(f, "the snapshot is not of schema {wanted}")
            }
            BadSnapshot::OtherCodec { found, wanted } => {
                write!(f, "the snapshot is written in {found:?}, not in {wanted:?}")
            }
            BadSnapshot::Undecodable { reason } => {
                write!(f, "the snapshot cannot be decoded: {reason}")
            }
            BadSnapshot::Ahead { end } => {
                write!(f, "the snapshot is ahead of the log, which ends at {end}")
            }
            BadSnapshot::CutAway => f.write_str("the snapshot is of a branch that was cut away"),
            BadSnapshot::Discarded { first } => write!(
                f,
                "the snapshot is too old: the first event that is kept is {first}"
            ),
            BadSnapshot::Failed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BadSnapshot {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            BadSnapshot::FutureFormat(error) => std::error::Error::source(error),
            BadSnapshot::Failed(error) => std::error::Error::source(error),
            _ => None,
        }
    }
}

/// What a directory was asked to do for a snapshot when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SnapshotStep {
    /// [`Directory::list`](crate::store::Directory::list).
    List,
    /// [`Directory::create`](crate::store::Directory::create).
    Create,
    /// [`Store::sync`](crate::store::Store::sync) of the new file.
    Sync,
    /// [`Directory::rename`](crate::store::Directory::rename) to the final name.
    Rename,
    /// [`Directory::read`](crate::store::Directory::read), or measuring what it gave.
    Read,
    /// [`Directory::remove`](crate::store::Directory::remove).
    Remove,
    /// [`Directory::sync`](crate::store::Directory::sync).
    SyncDirectory,
}

impl fmt::Display for SnapshotStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SnapshotStep::List => "list snapshots",
            SnapshotStep::Create => "create snapshot",
            SnapshotStep::Sync => "sync snapshot",
            SnapshotStep::Rename => "give its name to snapshot",
            SnapshotStep::Read => "read snapshot",
            SnapshotStep::Remove => "remove snapshot",
            SnapshotStep::SyncDirectory => "sync the directory of snapshots",
        })
    }
}

/// What keeping snapshots can fail with. The log is not touched by it.
#[derive(Debug)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The directory, or a file in it, failed.
    Io {
        /// What it was asked to do.
        step: SnapshotStep,
        /// Name of the file; empty where it is about all of them.
        name: String,
        /// What it answered.
        source: io::Error,
    },
    /// The document buffer that a snapshot is in failed.
    Buffer {
        /// Name of the file.
        name: String,
        /// How.
        source: buffer::Error,
    },
    /// The name of the state's encoding is over the limit; nothing was written.
    CodecName {
        /// Its length in bytes.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// Nobody said how the state is written; nothing was.
    NoCodec,
    /// The state cannot be written so that it can be read; nothing was written.
    State {
        /// Why.
        reason: String,
    },
}

impl SnapshotError {
    pub(crate) fn io(step: SnapshotStep, name: &str, source: io::Error) -> SnapshotError {
        let name = name.to_owned();
        SnapshotError::Io { step, name, source }
    }

    pub(super) fn buffer(name: &str, source: buffer::Error) -> SnapshotError {
        let name = name.to_owned();
        SnapshotError::Buffer { name, source }
    }
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SnapshotError::Io { step, name, .. } if name.is_empty() => {
                write!(f, "cannot {step}")
            }
            SnapshotError::Io { step, name, .. } => write!(f, "cannot {step} {name}"),
            SnapshotError::Buffer { name, .. } => write!(f, "snapshot {name} failed"),
            SnapshotError::CodecName { len, max } => {
                write!(
                    f,
                    "the codec's name has {len} bytes, over the limit of {max}"
                )
            }
            SnapshotError::NoCodec => {
                f.write_str("no codec for snapshots: name one when the state is opened")
            }
            SnapshotError::State { reason } => {
                write!(
                    f,
                    "the state cannot be written so that it can be read: {reason}"
                )
            }
        }
    }
}

impl std::error::Error for SnapshotError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SnapshotError::Io { source, .. } => Some(source),
            SnapshotError::Buffer { source, .. } => Some(source),
            SnapshotError::CodecName { .. }
            | SnapshotError::NoCodec
            | SnapshotError::State { .. } => None,
        }
    }
}

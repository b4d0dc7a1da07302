//! What can go wrong, in numbers.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::report::{End, Reason};

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the store was asked to do when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Opening a file by its path.
    Open,
    /// Taking the exclusive right to write.
    Lock,
    /// Moving to an offset.
    Seek,
    /// Reading bytes.
    Read,
    /// Writing bytes.
    Write,
    /// [`Write::flush`](std::io::Write::flush).
    Flush,
    /// [`Store::sync`](crate::Store::sync). Final for the buffer that met it.
    Sync,
    /// [`Store::set_len`](crate::Store::set_len).
    SetLen,
    /// [`Store::preserve`](crate::Store::preserve).
    Preserve,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Action::Open => "open",
            Action::Lock => "lock",
            Action::Seek => "seek",
            Action::Read => "read",
            Action::Write => "write",
            Action::Flush => "flush",
            Action::Sync => "sync",
            Action::SetLen => "set the length",
            Action::Preserve => "keep a copy of what lies behind the end",
        })
    }
}

/// What of the format is newer than this version of the crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Feature {
    /// The format version in the header.
    Version,
    /// Flag bits in the header.
    Flags,
    /// The code of a control record.
    ControlCode,
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Feature::Version => "format version",
            Feature::Flags => "header flags",
            Feature::ControlCode => "control code",
        })
    }
}

/// What a buffer, a scan or an opening can fail with.
///
/// On any error nothing has moved: no document has left the buffer, and the call may be repeated, except
/// after a failed sync and after [`Error::IgnoresSeek`], which are final for the handle.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The store failed.
    Io {
        /// What it was asked to do.
        action: Action,
        /// Where in the store, if at a place.
        offset: Option<u64>,
        /// The file, where one was opened by its path.
        path: Option<PathBuf>,
        /// What it answered.
        source: io::Error,
    },
    /// The store has no room (device full, quota, file size limit). Popping makes room.
    Full {
        /// Where the write began.
        offset: u64,
        /// What the store answered.
        source: io::Error,
    },
    /// The store holds something that is not a document buffer. It was not written to.
    Foreign {
        /// Its first bytes (zeros where it has fewer than eight).
        found: [u8; 8],
    },
    /// Written by a newer version of this crate.
    Unsupported {
        /// What is newer.
        what: Feature,
        /// Its number.
        number: u32,
        /// Where it stands.
        offset: u64,
    },
    /// A record that was whole when it was written is not any more.
    Corrupt {
        /// Where it begins.
        offset: u64,
        /// What is wrong with it.
        reason: Reason,
    },
    /// A document over the limit; nothing was changed, or, when reading, it is still in the store.
    TooLarge {
        /// Its length in bytes.
        len: u64,
        /// The limit: [`Options::max_document`](crate::Options::max_document) or the format's.
        max: u64,
    },
    /// [`push_at`](crate::DocumentBuffer::push_at) met another number of documents.
    PositionMismatch {
        /// How many the caller expected.
        expected: u64,
        /// How many there are.
        actual: u64,
    },
    /// Another handle has the exclusive right to write.
    Locked {
        /// The file, where one was opened by its path.
        path: Option<PathBuf>,
    },
    /// The path names a directory, or something else that is no file.
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The store is a segment of a journal, or holds batches as one does, which taking documents back would
    /// break. It was not written to: open the directory that it is in, as a journal; [`Scan`](super::Scan)
    /// reads it.
    Segment,
    /// The end is a bad record with intact documents behind it, and the caller asked to be told.
    Suspect {
        /// Where the bad record begins.
        offset: u64,
        /// Intact documents seen within 1 MiB behind it.
        records: u64,
    },
    /// The end is not clean, and the caller asked for nothing less.
    NotClean {
        /// The end that was met.
        end: End,
    },
    /// An earlier sync failed, or the store ignored a seek: this handle writes no more. Open the store
    /// again, and push again what is missing.
    Poisoned {
        /// The kind of the error that was reported then.
        kind: io::ErrorKind,
    },
    /// The buffer was opened bare: it does not know how to sync its store.
    NoSync,
    /// A write did not land where the seek before it went: a file opened for appending does that.
    IgnoresSeek {
        /// Where the store should stand after the write.
        expected: u64,
        /// Where it stood.
        found: u64,
    },
    /// The store became shorter under the buffer's feet.
    Shrunk {
        /// Where bytes were expected.
        offset: u64,
        /// How long the store is now.
        len: u64,
    },
    /// Memory could not be had.
    OutOfMemory {
        /// How many bytes were asked for.
        bytes: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io {
                action,
                offset,
                path,
                ..
            } => fmt_io(f, *action, *offset, path.as_ref()),
            Error::Full { offset, .. } => write!(
                f,
                "no room in the store at offset {offset}: free some, or pop documents"
            ),
            Error::Foreign { found } => write!(
                f,
                "not a document buffer (it begins with {}): choose another store, or initialize this one",
                found.escape_ascii()
            ),
            Error::Unsupported {
                what,
                number,
                offset,
            } => write!(
                f,
                "{what} {number} at offset {offset} is newer than this version of documentbuffer: use a newer one"
            ),
            Error::Corrupt { offset, reason } => write!(
                f,
                "damaged record at offset {offset}: {reason}; open the store again to go on before it, or salvage what is intact"
            ),
            Error::TooLarge { len, max } => {
                write!(f, "a document of {len} bytes is over the limit of {max}")
            }
            Error::PositionMismatch { expected, actual } => {
                write!(f, "expected {expected} documents, but there are {actual}")
            }
            Error::Segment => f.write_str(
                "a segment of a journal: open the directory that it is in, as a journal",
            ),
            Error::Locked { path } => {
                let name = path.as_ref().map(|p| p.display().to_string());
                let name = name.as_deref().unwrap_or("the store");
                write!(f, "{name} is locked by another handle: only one may write")
            }
            Error::NotAFile { path } => write!(f, "{} is not a file", path.display()),
            Error::Suspect { offset, records } => write!(
                f,
                "bad record at offset {offset} with {records} intact documents behind it: salvage them before writing over them"
            ),
            Error::NotClean { end } => write!(f, "the log does not end cleanly: {end}"),
            Error::Poisoned { kind } => write!(
                f,
                "this handle writes no more after an earlier failure ({kind}): open the store again and push again what is missing"
            ),
            Error::NoSync => {
                f.write_str("this buffer was opened bare and cannot sync: open it over a Store")
            }
            Error::IgnoresSeek { expected, found } => write!(
                f,
                "a write landed elsewhere: the store stands at {found} and not at {expected}; do not open the file for appending"
            ),
            Error::Shrunk { offset, len } => write!(
                f,
                "the store became shorter: nothing at offset {offset}, its length is {len}"
            ),
            Error::OutOfMemory { bytes } => write!(f, "no memory for {bytes} bytes"),
        }
    }
}

fn fmt_io(
    f: &mut fmt::Formatter<'_>,
    action: Action,
    offset: Option<u64>,
    path: Option<&PathBuf>,
) -> fmt::Result {
    write!(f, "cannot {action}")?;
    if let Some(path) = path {
        write!(f, " {}", path.display())?;
    }
    offset.map_or(Ok(()), |offset| write!(f, " at offset {offset}"))
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } | Error::Full { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl Error {
    pub(crate) fn io(action: Action, offset: Option<u64>, source: io::Error) -> Error {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        match (action, offset, source.kind()) {
            (Action::Write, Some(offset), StorageFull | QuotaExceeded | FileTooLarge) => {
                Error::Full { offset, source }
            }
            (Action::Lock, _, io::ErrorKind::WouldBlock) => Error::Locked { path: None },
            _ => Error::Io {
                action,
                offset,
                path: None,
                source,
            },
        }
    }

    /// Names the file in errors that can.
    pub(crate) fn at_path(mut self, name: &std::path::Path) -> Error {
        match &mut self {
            Error::Io { path, .. } | Error::Locked { path } => *path = Some(name.to_owned()),
            _ => {}
        }
        self
    }
}

/// An opening that failed, and the store it was for, unchanged.
pub struct OpenError<S> {
    /// Why.
    pub error: Error,
    /// The store, handed back.
    pub store: S,
}

/// A close that failed, and the buffer with everything still in it.
pub struct CloseError<S> {
    /// Why.
    pub error: Error,
    /// The buffer, handed back: repeat the close, or take the store with
    /// [`into_inner`](crate::DocumentBuffer::into_inner).
    pub buffer: crate::DocumentBuffer<S>,
}

macro_rules! carries_error {
    ($name:ident) => {
        impl<S> fmt::Debug for $name<S> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name))
                    .field("error", &self.error)
                    .finish_non_exhaustive()
            }
        }

        impl<S> fmt::Display for $name<S> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.error.fmt(f)
            }
        }

        impl<S> std::error::Error for $name<S> {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                std::error::Error::source(&self.error)
            }
        }

        impl<S> From<$name<S>> for Error {
            fn from(failed: $name<S>) -> Error {
                failed.error
            }
        }
    };
}

carries_error!(OpenError);
carries_error!(CloseError);

//! What can go wrong with a lock of readers and writers.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a guard is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// It lets others read beside it.
    Read,
    /// It is alone.
    Write,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Read => "read",
            Side::Write => "write",
        })
    }
}

/// Why a guard was not given. Nothing is held then, and nothing waits.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// Its time was over before it could be given.
    TimedOut {
        /// What was asked for.
        asked: Side,
        /// For how long it was waited.
        after: Duration,
    },
    /// This thread holds a guard already, so it would wait for itself.
    Nested {
        /// What it holds.
        holds: Side,
        /// What it asked for.
        asked: Side,
    },
    /// A file of the lock failed.
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
}

impl Error {
    pub(super) fn io(what: &'static str, path: &Path, source: io::Error) -> Error {
        Error::Io {
            what,
            path: path.to_path_buf(),
            source: Arc::new(source),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::TimedOut { asked, after } => {
                write!(
                    f,
                    "no right to {asked} within {after:?}: others read or write yet"
                )
            }
            Error::Nested { holds, asked } => {
                let holds = match holds {
                    Side::Read => "reads",
                    Side::Write => "writes",
                };
                write!(
                    f,
                    "this thread {holds}, and would wait for itself to {asked}: let go of the guard first"
                )
            }
            Error::Io { what, path, source } => {
                let path = path.display();
                write!(f, "cannot {what} {path}: {source}")?;
                match source.kind() {
                    io::ErrorKind::NotFound => write!(f, "; its directory must be there"),
                    io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                        write!(f, "; readers too need the right to write there")
                    }
                    io::ErrorKind::Unsupported => {
                        write!(f, "; it needs a file system with locks of files")
                    }
                    _ => Ok(()),
                }
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(&**source),
            _ => None,
        }
    }
}

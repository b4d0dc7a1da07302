//! What the system says, as an error of a lease that says what to do.

use std::io::{self, ErrorKind};
use std::path::Path;

use crate::lease::{Error, Kind, Result};

/// What became of doing that with the file or directory at `path`.
pub(super) fn doing<R>(lease: &str, what: &str, path: &Path, done: io::Result<R>) -> Result<R> {
    done.map_err(|error| failed(lease, what, path, error))
}

pub(super) fn failed(lease: &str, what: &str, path: &Path, error: io::Error) -> Error {
    let (kind, advice) = match error.kind() {
        ErrorKind::PermissionDenied => (
            Kind::Permanent,
            "; give this process the right to write in that directory and to its files",
        ),
        ErrorKind::ReadOnlyFilesystem => (
            Kind::Permanent,
            "; mount it for writing, or use another directory",
        ),
        ErrorKind::NotADirectory | ErrorKind::IsADirectory | ErrorKind::AlreadyExists => {
            (Kind::Permanent, "; use a directory of its own")
        }
        ErrorKind::NotFound => (
            Kind::Permanent,
            "; the directory is made if need be, the one that it is in must be there",
        ),
        ErrorKind::Unsupported => (
            Kind::Permanent,
            "; it needs a file system with locks of files",
        ),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => (Kind::Transient, "; make room there"),
        _ => (Kind::Transient, ""),
    };
    let path = path.display();
    let message = format!("cannot {what} {path}: {error}{advice}");
    Error::new(kind, lease, message).source(error)
}

//! What the system says, as an error of a tier that says what to do.

use std::io::{self, ErrorKind};
use std::path::Path;

use super::Root;
use crate::tier::{Error, Kind};

pub(super) trait Failing {
    /// The name of the tier.
    fn named(&self) -> &str;

    /// What became of doing that with the file at `path`.
    fn doing<R>(&self, what: &str, path: &Path, done: io::Result<R>) -> Result<R, Error> {
        done.map_err(|error| failed(self.named(), what, path, error))
    }

    /// The file at `path` is damaged, or none of ours.
    fn corrupt(&self, path: &Path, why: &str) -> Error {
        let path = path.display();
        let why = format!("{path}: {why}; a put replaces it, a removal removes it");
        Error::new(Kind::Corrupt, self.named(), why)
    }

    fn no_memory(&self, path: &Path, bytes: u64) -> Error {
        let path = path.display();
        let why = format!("{path}: no memory for {bytes} bytes");
        Error::new(Kind::Transient, self.named(), why)
    }
}

impl Failing for Root {
    fn named(&self) -> &str {
        &self.name
    }
}

/// As an error of the tier of that name.
pub(super) fn failed(tier: &str, what: &str, path: &Path, error: io::Error) -> Error {
    let (kind, advice) = match error.kind() {
        ErrorKind::PermissionDenied => (
            Kind::Permanent,
            "; give this process the right to write in that directory and all below",
        ),
        ErrorKind::ReadOnlyFilesystem => (
            Kind::Permanent,
            "; mount it for writing, or use another directory",
        ),
        ErrorKind::NotADirectory | ErrorKind::IsADirectory | ErrorKind::AlreadyExists => {
            (Kind::Permanent, "; use a directory of its own")
        }
        ErrorKind::NotFound => (Kind::Permanent, "; the directory must be there"),
        ErrorKind::Unsupported => (
            Kind::Permanent,
            "; it needs a file system with locks of files",
        ),
        ErrorKind::FileTooLarge | ErrorKind::InvalidInput => (Kind::Permanent, ""),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => (Kind::Transient, "; make room there"),
        _ => (Kind::Transient, ""),
    };
    let path = path.display();
    let message = format!("cannot {what} {path}: {error}{advice}");
    Error::new(kind, tier, message).source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_whether_to_try_again_and_what_to_do() {
        let path = Path::new("there");
        for (error, kind, advice) in [
            (ErrorKind::StorageFull, Kind::Transient, "make room"),
            (ErrorKind::QuotaExceeded, Kind::Transient, "make room"),
            (
                ErrorKind::PermissionDenied,
                Kind::Permanent,
                "right to write",
            ),
            (ErrorKind::ReadOnlyFilesystem, Kind::Permanent, "mount it"),
            (ErrorKind::NotADirectory, Kind::Permanent, "of its own"),
            (ErrorKind::Interrupted, Kind::Transient, "cannot open there"),
        ] {
            let failed = failed("file", "open", path, error.into());
            assert_eq!(failed.kind(), kind, "{failed}");
            assert!(failed.to_string().contains(advice), "{failed}");
            assert!(!failed.is_unknown());
        }
    }
}

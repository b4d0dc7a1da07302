//! What redb says, as an error of a tier that says what to do.

use std::io::{self, ErrorKind};

use crate::tier::{Error, Kind};

/// As an error of the tier of that name, of which that could not be done.
pub(super) fn failed(tier: &str, error: impl Into<::redb::Error>, what: &str) -> Error {
    let error = error.into();
    let (kind, advice) = match &error {
        ::redb::Error::Io(error) => of_io(error),
        ::redb::Error::DatabaseAlreadyOpen => (Kind::Transient, "; share one in a process"),
        // Of a failure before it.
        ::redb::Error::PreviousIo | ::redb::Error::DatabaseClosed => {
            (Kind::Closed, "; open it anew")
        }
        ::redb::Error::TableTypeMismatch { .. }
        | ::redb::Error::TypeDefinitionChanged { .. }
        | ::redb::Error::TableIsMultimap(_) => {
            (Kind::Permanent, "; give this tier a table of its own")
        }
        _ => (Kind::Permanent, ""),
    };
    let why = format!("{what}: {error}{advice}");
    Error::new(kind, tier, why).source(error)
}

fn of_io(error: &io::Error) -> (Kind, &'static str) {
    match error.kind() {
        ErrorKind::InvalidData => (Kind::Permanent, "; it is no redb file, or is damaged"),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => (
            Kind::Permanent,
            "; give this process the right to write there",
        ),
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory => {
            (Kind::Permanent, "")
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => (Kind::Transient, "; make room there"),
        _ => (Kind::Transient, ""),
    }
}

//! What can go wrong with owed writes, apart from what their tier says.

use std::fmt;

use crate::durability::Durability;
use crate::tier;
use crate::write_behind;

/// What opening, closing and tending owed writes can fail with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The journal failed, is damaged, or is none of owed writes.
    Journal(write_behind::Error),
    /// More was to be promised than the tier below keeps once it has a write.
    KeepsLess {
        /// What was to be promised.
        promised: Durability,
        /// What the tier keeps.
        kept: Durability,
    },
    /// A durability was asked for that needs a journal, and there is none.
    NoJournal,
    /// There is no tokio runtime here.
    NoRuntime,
    /// They were closed.
    Closed,
    /// The tier could not be closed.
    Tier(tier::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Journal(error) => error.fmt(f),
            Error::KeepsLess { promised, kept } => write!(
                f,
                "a write would be acknowledged as {promised:?}, and the tier below keeps it as {kept:?} \
                 only: ask for less, or put a tier there that keeps more"
            ),
            Error::NoJournal => {
                f.write_str("to acknowledge more than Memory takes a journal: Options::journal")
            }
            Error::NoRuntime => f.write_str("owed writes are delivered by tokio: open them in it"),
            Error::Closed => f.write_str("the owed writes were closed"),
            Error::Tier(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Journal(error) => Some(error),
            Error::Tier(error) => Some(error),
            _ => None,
        }
    }
}

impl From<write_behind::Error> for Error {
    fn from(error: write_behind::Error) -> Error {
        match error {
            write_behind::Error::Closed => Error::Closed,
            error => Error::Journal(error),
        }
    }
}

impl From<crate::journal::Error> for Error {
    fn from(error: crate::journal::Error) -> Error {
        Error::Journal(error.into())
    }
}

//! What can go wrong with a cache that refreshes itself.

use std::fmt;

use crate::tier::{self, BadKey};

/// An error of user code.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What building, starting and using it can fail with. A failed refresh is none of these: it is counted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// Its size would be 0 items.
    Size,
    /// Its period would be 0.
    Period,
    /// No refresh could run: its parallelism would be 0.
    Parallelism,
    /// The limit lets nothing begin, or is none.
    Rate,
    /// It was started before.
    Started,
    /// It was shut down.
    Stopped,
    /// There is no tokio runtime here, or one that tells no time.
    NoRuntime,
    /// An id is too long.
    Id(BadKey),
    /// The store could not be read.
    Store(tier::Error),
    /// It was shut down before all was in the store.
    Unsaved {
        /// Items whose last state, or removal, is not there.
        items: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::Size => "a cache of 0 items holds nothing: Options::size",
            Error::Period => "a period of 0 never ends: Options::period",
            Error::Parallelism => {
                "with a parallelism of 0 nothing is refreshed: Options::parallelism"
            }
            Error::Rate => "a limit of 0, or over a time of 0, is no rate: Options::rate",
            Error::Started => "it was started before: once is enough",
            Error::Stopped => "it was shut down: make a new one",
            Error::NoRuntime => {
                "items are refreshed by tokio: start it in a runtime whose time is enabled"
            }
            Error::Id(bad) => return bad.fmt(f),
            Error::Store(error) => return error.fmt(f),
            Error::Unsaved { items } => {
                return write!(f, "the store lacks the last state of {items} items");
            }
        })
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Id(bad) => Some(bad),
            Error::Store(error) => Some(error),
            _ => None,
        }
    }
}

impl From<BadKey> for Error {
    fn from(bad: BadKey) -> Error {
        Error::Id(bad)
    }
}

impl From<tier::Error> for Error {
    fn from(error: tier::Error) -> Error {
        Error::Store(error)
    }
}

//! Why there is no answer.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::readers;
use crate::contain::Panicked;
use crate::tier::BadKey;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why there is no answer, or why it is a stale one. All who waited for one creation get the same.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The creator failed, now or at the last try.
    Failed {
        /// What it failed with.
        source: Arc<dyn StdError + Send + Sync>,
        /// The creator is not called again before so long.
        again: Duration,
    },
    /// The creator panicked.
    Panicked {
        /// The creator is not called again before so long.
        again: Duration,
    },
    /// Whoever created was dropped before it was done: its thread or its runtime has ended.
    Abandoned,
    /// Nobody was done creating within the time that a caller waits.
    TimedOut {
        /// How long that is.
        waited: Duration,
    },
    /// A creation took longer than it may.
    Overdue {
        /// How long it may take.
        limit: Duration,
    },
    /// A creator asked for the very key that it creates.
    Reentered,
    /// Another process holds the lease of the key, and made no value within the time that a caller waits.
    Leased {
        /// How long that is.
        waited: Duration,
    },
    /// The key is too long for a tier.
    Key(BadKey),
    /// The lock of a [`Swap`](super::Swap) was not given.
    Lock(readers::Error),
    /// A [`Swap`](super::Swap)'s getter finds nothing, right after the creator has made it.
    NotMade,
    /// There is no tokio runtime to create in.
    NoRuntime,
}

impl Error {
    pub(super) fn failed(source: Box<dyn StdError + Send + Sync>) -> Error {
        Error::Failed {
            source: source.into(),
            again: Duration::ZERO,
        }
    }

    pub(super) fn panicked(_: Panicked) -> Error {
        Error::Panicked {
            again: Duration::ZERO,
        }
    }

    /// The same, told that so long no creator is called.
    pub(super) fn again_after(&self, delay: Duration) -> Error {
        match self {
            Error::Failed { source, .. } => Error::Failed {
                source: source.clone(),
                again: delay,
            },
            Error::Panicked { .. } => Error::Panicked { again: delay },
            other => other.clone(),
        }
    }

    /// How long no creator is called, where this is known.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Error::Failed { again, .. } | Error::Panicked { again } => Some(*again),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Failed { source, again } => {
                write!(f, "the creator failed: {source}; again after {again:?}")
            }
            Error::Panicked { again } => write!(f, "the creator panicked; again after {again:?}"),
            Error::Abandoned => write!(f, "who created was ended before it was done; ask again"),
            Error::TimedOut { waited } => {
                write!(f, "no value after {waited:?}; it is still being created")
            }
            Error::Overdue { limit } => {
                write!(
                    f,
                    "the creation took longer than {limit:?}, and counts as failed"
                )
            }
            Error::Reentered => write!(
                f,
                "a creator asked for the key that it creates, and would wait for itself"
            ),
            Error::Leased { waited } => write!(
                f,
                "no value after {waited:?}; another process holds the lease and creates it"
            ),
            Error::Key(error) => error.fmt(f),
            Error::Lock(error) => error.fmt(f),
            Error::NotMade => write!(
                f,
                "the getter finds nothing, and the creator has just made it: they do not mean the same place"
            ),
            Error::NoRuntime => write!(f, "no tokio runtime: call it inside one"),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Error::Failed { source, .. } => {
                let source: &(dyn StdError + 'static) = source.as_ref();
                Some(source)
            }
            Error::Key(error) => Some(error),
            Error::Lock(error) => Some(error),
            _ => None,
        }
    }
}

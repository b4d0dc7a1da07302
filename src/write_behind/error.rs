//! What can go wrong with counters.

use std::fmt;
use std::sync::Arc;

use super::batch::{Forked, MAX_KEY};
use super::sink::SinkError;
use crate::journal;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a call of counters can fail with; nothing that was added is lost by any of them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// They were stopped: nothing was added.
    Stopped,
    /// They were closed.
    Closed,
    /// So many keys are owed that no new one is taken: the sink lags behind, or
    /// [`Options::max_keys`](super::Options::max_keys) is too small. Nothing was added.
    Full {
        /// How many.
        keys: usize,
    },
    /// A key over [`MAX_KEY`]; nothing was added.
    KeyTooLong {
        /// How long it is.
        bytes: usize,
    },
    /// The sink had not answered when the time was over. What it was given is still owed.
    Deadline,
    /// They have no journal to be made durable in.
    NoJournal,
    /// The sink called [`sync`](super::Counters::sync) while it was called by it.
    Reentrant,
    /// The sink failed; what it was given is still owed, and comes again.
    Sink(SinkError),
    /// The sink panicked; what it was given is still owed, and comes again.
    Panicked {
        /// What it said.
        message: String,
    },
    /// Sink and journal do not belong together. What is added is still journaled, and nothing is delivered.
    Forked(Box<Forked>),
    /// The journal failed.
    Journal(Arc<journal::Error>),
    /// The journal holds something that these counters did not write.
    Damaged {
        /// Position of the document.
        position: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The journal is that of other counters.
    OtherName {
        /// Theirs.
        found: String,
        /// The caller's.
        wanted: String,
    },
    /// A thread could not be started.
    Spawn(Arc<std::io::Error>),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Stopped => f.write_str("the counters were stopped"),
            Error::Closed => f.write_str("the counters were closed"),
            Error::Full { keys } => write!(
                f,
                "{keys} keys are owed already: sync, or allow more with Options::max_keys"
            ),
            Error::KeyTooLong { bytes } => {
                write!(f, "a key has at most {MAX_KEY} bytes, this has {bytes}")
            }
            Error::Deadline => f.write_str("the sink had not answered when the time was over"),
            Error::NoJournal => {
                f.write_str("these counters have no journal: give them one with Options::journal")
            }
            Error::Reentrant => f.write_str("a sink cannot sync the counters that call it"),
            Error::Sink(error) => write!(f, "the sink failed, and the batch comes again: {error}"),
            Error::Panicked { message } => {
                write!(f, "the sink panicked, and the batch comes again: {message}")
            }
            Error::Forked(forked) => write!(
                f,
                "{forked}; put the right one back, or go on with Options::adopt"
            ),
            Error::Journal(error) => write!(f, "the journal failed: {error}"),
            Error::Damaged { position, reason } => write!(
                f,
                "document {position} of the journal is none of these counters: {reason}"
            ),
            Error::OtherName { found, wanted } => write!(
                f,
                "the journal belongs to the counters {found:?}, and not to {wanted:?}"
            ),
            Error::Spawn(error) => write!(f, "no thread could be started: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Sink(error) => Some(error),
            Error::Forked(forked) => Some(&**forked),
            Error::Journal(error) => Some(&**error),
            Error::Spawn(error) => Some(&**error),
            _ => None,
        }
    }
}

impl From<journal::Error> for Error {
    fn from(error: journal::Error) -> Error {
        Error::Journal(Arc::new(error))
    }
}

//! What can go wrong with a lease.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{MAX_KEY, MAX_TIME};

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The same call may succeed later.
    Transient,
    /// The same call fails again.
    Permanent,
    /// The key is too long.
    Key,
    /// The time is zero, or too long.
    Time,
    /// What was given back or was to be renewed is of another lease.
    Foreign,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Transient => "transient",
            Kind::Permanent => "permanent",
            Kind::Key => "bad key",
            Kind::Time => "bad time",
            Kind::Foreign => "foreign",
        })
    }
}

/// A failure of a lease: of what kind, of which one, and what it says. "Somebody else holds it" is none.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: Kind,
    lease: String,
    message: String,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// A failure of that kind, of the lease of that name.
    pub fn new(kind: Kind, lease: impl Into<String>, message: impl Into<String>) -> Error {
        Error(Arc::new(Inner {
            kind,
            lease: lease.into(),
            message: message.into(),
            source: None,
        }))
    }

    /// With what it comes from.
    #[must_use]
    pub fn source(mut self, source: impl StdError + Send + Sync + 'static) -> Error {
        Arc::make_mut(&mut self.0).source = Some(Arc::new(source));
        self
    }

    /// Of what kind it is.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The lease that failed.
    pub fn lease(&self) -> &str {
        &self.0.lease
    }

    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        self.0.kind == Kind::Transient
    }

    /// What was taken from another lease.
    pub(super) fn foreign(lease: &str) -> Error {
        let why = "it is held of another lease: give it to the one that it was taken from";
        Error::new(Kind::Foreign, lease, why)
    }
}

/// Refuses what no lease takes: a key of more than [`MAX_KEY`] bytes, a time of less than a microsecond or
/// more than [`MAX_TIME`].
///
/// # Errors
///
/// [`Kind::Key`], [`Kind::Time`].
pub fn check(lease: &str, key: &str, time: Duration) -> Result<()> {
    if key.len() > MAX_KEY {
        let bytes = key.len();
        let why = format!("a key has at most {MAX_KEY} bytes, this has {bytes}");
        return Err(Error::new(Kind::Key, lease, why));
    }
    check_time(lease, time)
}

pub(super) fn check_time(lease: &str, time: Duration) -> Result<()> {
    if time < Duration::from_micros(1) {
        let why = format!("a time of {time:?}: it would be over before it is held");
        return Err(Error::new(Kind::Time, lease, why));
    }
    if time > MAX_TIME {
        let why = format!("a time of {time:?}: take it for {MAX_TIME:?} at most, and renew it");
        return Err(Error::new(Kind::Time, lease, why));
    }
    Ok(())
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("lease", &self.0.lease)
            .field("message", &self.0.message)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, message, .. } = &*self.0;
        write!(f, "{}: {message} ({kind})", self.0.lease)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let source = self.0.source.as_deref()?;
        Some(source)
    }
}

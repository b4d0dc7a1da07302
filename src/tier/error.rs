//! What can go wrong with a tier.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The same call may succeed later.
    Transient,
    /// Too many calls: the same one may succeed later, but not at once.
    Throttled,
    /// The same call fails again.
    Permanent,
    /// The tier cannot do that.
    Unsupported,
    /// The tier was closed.
    Closed,
    /// What the tier holds under that key is damaged.
    Corrupt,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Transient => "transient",
            Kind::Throttled => "throttled",
            Kind::Permanent => "permanent",
            Kind::Unsupported => "unsupported",
            Kind::Closed => "closed",
            Kind::Corrupt => "corrupt",
        })
    }
}

/// A failure of a tier: of what kind, in which tier, and what it says.
///
/// On an error nothing was changed, unless [`is_unknown`](Error::is_unknown).
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: Kind,
    tier: String,
    message: String,
    unknown: bool,
    retry_after: Option<Duration>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// A failure of that kind, in the tier of that name.
    pub fn new(kind: Kind, tier: impl Into<String>, message: impl Into<String>) -> Error {
        Error(Arc::new(Inner {
            kind,
            tier: tier.into(),
            message: message.into(),
            unknown: false,
            retry_after: None,
            source: None,
        }))
    }

    fn with(mut self, change: impl FnOnce(&mut Inner)) -> Error {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// With what it comes from.
    #[must_use]
    pub fn source(self, source: impl StdError + Send + Sync + 'static) -> Error {
        self.with(|inner| inner.source = Some(Arc::new(source)))
    }

    /// A write that may have been made, or may yet be.
    #[must_use]
    pub fn unknown(self) -> Error {
        self.with(|inner| inner.unknown = true)
    }

    /// Not to be repeated before so long.
    #[must_use]
    pub fn retry_after(self, delay: Duration) -> Error {
        self.with(|inner| inner.retry_after = Some(delay))
    }

    /// Of what kind it is.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The tier that failed.
    pub fn tier(&self) -> &str {
        &self.0.tier
    }

    /// Whether the write that failed may have been made all the same, or may yet be.
    pub fn is_unknown(&self) -> bool {
        self.0.unknown
    }

    /// How long to wait at least before the same call is made again.
    pub fn delay(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self.0.kind, Kind::Transient | Kind::Throttled)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("tier", &self.0.tier)
            .field("message", &self.0.message)
            .field("unknown", &self.0.unknown)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, message, .. } = &*self.0;
        write!(f, "{}: {message} ({kind}", self.0.tier)?;
        if self.0.unknown {
            write!(f, "; it may have been written")?;
        }
        match self.0.retry_after {
            Some(delay) => write!(f, "; again after {delay:?})"),
            None => write!(f, ")"),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let source = self.0.source.as_deref()?;
        Some(source)
    }
}

//! What a creator makes, and what a caller gets.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::Guard;

use super::error::Error;
use crate::generation::Token;

/// What a creator has made: a value, or that there is none.
///
/// A creator returns a plain value, or one of these to say more of it.
///
/// # Examples
///
/// ```
/// use documentbuffer::dogpile::Created;
/// use std::time::Duration;
///
/// let quote = Created::new(71).expires(Duration::from_secs(5));
/// let missing = Created::<u32>::gone();
/// # drop((quote, missing));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created<V> {
    pub(super) value: Option<V>,
    /// Wall time in microseconds since 1970.
    pub(super) at: Option<u64>,
    pub(super) expiry: Option<Duration>,
    pub(super) keep: bool,
}

impl<V> Created<V> {
    /// This value, made now.
    pub fn new(value: V) -> Created<V> {
        Created::only(Some(value))
    }

    /// There is none. This too is an answer: it replaces the value, and is kept for its own time, see
    /// [`Options::gone`](super::Options::gone).
    pub fn gone() -> Created<V> {
        Created::only(None)
    }

    fn only(value: Option<V>) -> Created<V> {
        Created {
            value,
            at: None,
            expiry: None,
            keep: true,
        }
    }

    /// Made at that time, in microseconds since 1970. One of 0 is no value at all; one in the future counts
    /// as now, and as expired if it is further ahead than the expiry is long.
    #[must_use]
    pub fn at(mut self, micros: u64) -> Created<V> {
        self.at = Some(micros);
        self
    }

    /// To be made anew after so long, instead of [`Options::new`](super::Options::new)'s.
    #[must_use]
    pub fn expires(mut self, after: Duration) -> Created<V> {
        self.expiry = Some(after);
        self
    }

    /// For those who asked by now, and not kept.
    #[must_use]
    pub fn passing(mut self) -> Created<V> {
        self.keep = false;
        self
    }
}

impl<V> From<V> for Created<V> {
    fn from(value: V) -> Created<V> {
        Created::new(value)
    }
}

/// A value and what is known of it.
#[derive(Debug)]
pub(super) struct Kept<V> {
    pub(super) value: Option<V>,
    /// When it was made, in microseconds since 1970; 0 where nobody knows.
    pub(super) created: u64,
    /// When it was first seen here, on the monotonic clock, and how old it was then.
    pub(super) seen: Duration,
    pub(super) before: Duration,
    pub(super) expiry: Duration,
    pub(super) hard: Duration,
    /// How long it took to make it.
    pub(super) took: Duration,
    /// It is stale, whatever its age.
    pub(super) expired: AtomicBool,
    pub(super) keep: bool,
    /// It is no longer true when this is dead.
    pub(super) view: Option<Token>,
}

impl<V> Kept<V> {
    pub(super) fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.seen).saturating_add(self.before)
    }

    /// With an expiry of zero it never is, however coarse the clock.
    pub(super) fn is_fresh(&self, age: Duration) -> bool {
        age <= self.expiry && !self.expiry.is_zero() && !self.expired.load(Ordering::Relaxed)
    }
}

/// How good an answer is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Freshness {
    /// It was made within its expiry.
    Fresh,
    /// It is older, and is being made anew.
    Stale,
    /// It is older, and could not be made anew.
    StaleOnError(Error),
}

pub(super) enum Held<V> {
    /// The one that the dogpile keeps.
    Guard(Guard<Option<Arc<Kept<V>>>>),
    /// One that is shared by those who waited for it.
    Shared(Arc<Kept<V>>),
    /// One that the caller's getter gave. In a box, so that an answer is small: it is moved more often than made.
    Own(Box<Kept<V>>),
}

impl<V> Held<V> {
    pub(super) fn kept(&self) -> Option<&Kept<V>> {
        match self {
            Held::Guard(guard) => guard.as_deref(),
            Held::Shared(kept) => Some(kept),
            Held::Own(kept) => Some(kept),
        }
    }

    /// As old as it is at that time.
    pub(super) fn answer(self, now: Duration, freshness: Freshness) -> Answer<V> {
        Answer {
            age: self.kept().map_or(Duration::ZERO, |kept| kept.age(now)),
            held: self,
            freshness,
        }
    }
}

/// What a caller gets: a value or that there is none, how old it is, and how good.
///
/// It lends the value; [`into_value`](Answer::into_value) takes it out.
pub struct Answer<V> {
    pub(super) held: Held<V>,
    pub(super) age: Duration,
    pub(super) freshness: Freshness,
}

impl<V> Answer<V> {
    /// The value; none where the creator said that it is [gone](Created::gone).
    pub fn value(&self) -> Option<&V> {
        self.held.kept().and_then(|kept| kept.value.as_ref())
    }

    /// The value for itself.
    pub fn into_value(self) -> Option<V>
    where
        V: Clone,
    {
        match self.held {
            Held::Own(kept) => kept.value,
            Held::Shared(kept) => match Arc::try_unwrap(kept) {
                Ok(kept) => kept.value,
                Err(kept) => kept.value.clone(),
            },
            Held::Guard(guard) => guard.as_deref().and_then(|kept| kept.value.clone()),
        }
    }

    /// How long ago it was made.
    pub fn age(&self) -> Duration {
        self.age
    }

    /// When it was made, in microseconds since 1970.
    pub fn created(&self) -> u64 {
        self.held.kept().map_or(0, |kept| kept.created)
    }

    /// How good it is.
    pub fn freshness(&self) -> &Freshness {
        &self.freshness
    }

    /// Whether it was made within its expiry.
    pub fn is_fresh(&self) -> bool {
        matches!(self.freshness, Freshness::Fresh)
    }

    /// What the creator failed with, where it did.
    pub fn error(&self) -> Option<&Error> {
        match &self.freshness {
            Freshness::StaleOnError(error) => Some(error),
            _ => None,
        }
    }
}

impl<V: fmt::Debug> fmt::Debug for Answer<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("value", &self.value())
            .field("age", &self.age)
            .field("freshness", &self.freshness)
            .finish()
    }
}

//! What a sink is given, and how it knows what it was given already.

use std::fmt;
use std::sync::Arc;

use crc32fast::Hasher;

/// Bytes that a key has at most.
pub const MAX_KEY: usize = 1 << 16;

/// Which batch of a writer: its number, counted from 1, and 64 random bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) number: u64,
    pub(super) nonce: u64,
}

/// The name of a batch, which a sink keeps in the transaction that applies it.
///
/// The writer's id is drawn when its journal is begun, the nonce when the batch is. So of two journals that
/// were one, each gives the same number to another batch, and is found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The journal that it comes from: 128 random bits.
    pub writer: u128,
    /// Its number there, counted from 1.
    pub number: u64,
    /// Random bits of its own.
    pub nonce: u64,
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stamp {
            writer,
            number,
            nonce,
        } = self;
        write!(f, "batch {number} ({nonce:016x}) of writer {writer:032x}")
    }
}

/// What a sink that keeps stamps does with a batch: see [`Batch::judge`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Apply it, and keep its stamp in the same transaction.
    Apply,
    /// It was applied before: there is nothing to do.
    Duplicate,
    /// Sink and journal do not belong together.
    Forked(Forked),
}

/// The sink stands at neither the last batch that was settled nor at the one that is not.
///
/// One of the two is a copy or a backup, or the journal was deleted. Nothing was applied. What to do is for a
/// person to decide: put the right one back, or go on with
/// [`Options::adopt`](super::Options::adopt).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Forked {
    /// The last batch that the sink knows.
    pub held: Option<Stamp>,
    /// The batch that the sink would have to stand at.
    pub expected: Option<Stamp>,
    /// The batch that was refused.
    pub offered: Stamp,
}

impl fmt::Display for Forked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.held {
            Some(held) => write!(f, "the sink stands at {held}, ")?,
            None => f.write_str("the sink has no batch, ")?,
        }
        match &self.expected {
            Some(expected) => write!(f, "the journal at {expected}: ")?,
            None => write!(f, "the journal begins with {}: ", self.offered)?,
        }
        f.write_str("one of them is a copy, a backup or new")
    }
}

impl std::error::Error for Forked {}

/// Sums to be added to what a sink has; cheap to clone, and the sink's own.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch(Arc<Inner>);

#[derive(Debug, PartialEq)]
struct Inner {
    name: Box<str>,
    stamp: Option<Stamp>,
    after: Option<Stamp>,
    adopt: bool,
    deltas: Arc<[(Box<str>, i64)]>,
}

impl Batch {
    pub(super) fn new(
        name: &str,
        stamp: Option<Stamp>,
        after: Option<Stamp>,
        adopt: bool,
        deltas: Arc<[(Box<str>, i64)]>,
    ) -> Batch {
        Batch(Arc::new(Inner {
            name: name.into(),
            stamp,
            after,
            adopt,
            deltas,
        }))
    }

    /// The name of the counters: a sink keeps one stamp for each.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its stamp; none where there is no journal, and so no proof against adding twice.
    pub fn stamp(&self) -> Option<Stamp> {
        self.0.stamp
    }

    /// Keys, in order, and what is to be added to each, be it 0.
    pub fn deltas(&self) -> impl ExactSizeIterator<Item = (&str, i64)> {
        self.0.deltas.iter().map(|(key, delta)| (&**key, *delta))
    }

    /// How many keys it has; at least one.
    #[allow(clippy::len_without_is_empty, reason = "no batch is empty")]
    pub fn len(&self) -> usize {
        self.0.deltas.len()
    }

    /// What is to be done with it where `held` is the last stamp that the sink kept for this
    /// [`name`](Batch::name), read in the transaction that applies it.
    ///
    /// # Examples
    ///
    /// ```
    /// use documentbuffer::write_behind::{Batch, SinkError, Stamp, Verdict};
    ///
    /// fn apply(batch: Batch, held: Option<Stamp>) -> Result<(), SinkError> {
    ///     match batch.judge(held) {
    ///         Verdict::Apply => { /* add batch.deltas(), keep batch.stamp(), commit */ Ok(()) }
    ///         Verdict::Duplicate => Ok(()),
    ///         Verdict::Forked(forked) => Err(forked.into()),
    ///     }
    /// }
    /// ```
    pub fn judge(&self, held: Option<Stamp>) -> Verdict {
        let Some(offered) = self.0.stamp else {
            return Verdict::Apply;
        };
        if held == Some(offered) {
            return Verdict::Duplicate;
        }
        if held == self.0.after || self.0.adopt {
            return Verdict::Apply;
        }
        Verdict::Forked(Forked {
            held,
            expected: self.0.after,
            offered,
        })
    }
}

/// A checksum of a batch's contents: what is frozen is frozen as it was.
pub(super) fn check(deltas: &[(Box<str>, i64)]) -> u32 {
    let mut hasher = Hasher::new();
    for (key, delta) in deltas {
        hasher.update(&(key.len() as u64).to_le_bytes());
        hasher.update(key.as_bytes());
        hasher.update(&delta.to_le_bytes());
    }
    hasher.finalize()
}

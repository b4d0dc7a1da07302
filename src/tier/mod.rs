//! Tiers: stores of values by key, fast or slow, behind one trait.
//!
//! ```text
//!   leaves:  memory, file, redb                            hold entries
//!   layers:  bounded, guarded, metered, timeout, logged    a tier around another
//!   chain:   tiers from fast to slow, as one tier (the module of that name)
//! ```
//!
//! | module | feature | what | durable on return |
//! |---|---|---|---|
//! | `memory` | `memory` | as many entries as fit, the rest gives way | nothing |
//! | [`file`](mod@file) | `tier` | a file for each key, shared by processes | written, or synced |
//! | `redb` | `redb` | a table in a redb file; writers share a sync | synced |
//! | [`bounded`] | `tier` | a limit in bytes, the least recently used goes | as within |
//! | [`timeout`] | `tier` | a deadline for each call, the order of writes kept | as within |
//! | [`guarded`] | `tier` | writes take turns; what is computed is stored only if nothing was written since | as within |
//! | [`metered`] | `tier` | calls counted and timed | as within |
//! | `facade` | `metrics` | what was counted, told to the crate `metrics` | |
//! | `logged` | `tracing` | calls told to the crate `tracing` | as within |
//! | `conformance` | `testing` | what every tier promises, as one call | |
//!
//! Around each other, from the outside: `Guard`, `Logged`, `Metered`, `Bounded`, `Timeout`, leaf. Then what is logged
//! and measured is what a caller sees, and each removal that makes room has a deadline of its own.
//!
//! A tier answers [`get`](Tier::get) and [`write`](Tier::write), and says what it can and what it keeps
//! ([`Capabilities`]). "Absent" and "empty" are different answers, and removing what is absent succeeds
//! everywhere. Who writes a tier of their own runs `conformance` (feature `testing`) over it.

pub mod bounded;
mod boxed;
#[cfg(feature = "testing")]
pub mod conformance;
mod entry;
mod error;
#[cfg(feature = "metrics")]
pub mod facade;
pub mod file;
pub mod guarded;
pub(crate) mod judge;
mod key;
#[cfg(feature = "tracing")]
pub mod logged;
#[cfg(feature = "memory")]
pub mod memory;
pub mod metered;
#[cfg(feature = "redb")]
pub mod redb;
pub mod timeout;
mod turns;

pub use boxed::BoxTier;
pub use entry::{Applied, Entry, Listed, Op, Page, Version, When};
pub use error::{Error, Kind, Result};
pub use key::{BadKey, Key, KeyBuf, MAX_KEY};

use std::sync::Arc;

use bytes::Bytes;

use crate::durability::Durability;

/// What a tier can do, and what it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// What has survived when a write returns.
    pub durability: Durability,
    /// Conditions other than [`When::Always`] are checked and the change made in one step. Without it they are
    /// [unsupported](Kind::Unsupported), or made in two, and who writes past this tier can come in between.
    pub conditions: bool,
    /// It remembers removals for a while, so that [`When::Newer`] holds against what was removed too.
    pub tombstones: bool,
    /// It takes [`Op::Merge`], likewise in one step.
    pub merge: bool,
    /// It lists its keys.
    pub scan: bool,
}

impl Default for Capabilities {
    /// Memory, and nothing else.
    fn default() -> Capabilities {
        Capabilities {
            durability: Durability::Memory,
            conditions: false,
            tombstones: false,
            merge: false,
            scan: false,
        }
    }
}

impl Capabilities {
    /// What a tier can that keeps so much, and nothing else.
    pub fn new(durability: Durability) -> Capabilities {
        Capabilities {
            durability,
            ..Capabilities::default()
        }
    }

    /// Whether what it holds outlives this process.
    pub fn outlives(&self) -> bool {
        self.durability > Durability::Memory
    }
}

/// A store of values by key.
///
/// All calls may run at once. A future that is dropped may or may not have had its effect. What is durable
/// when a write returns says [`Capabilities::durability`].
pub trait Tier: Send + Sync + 'static {
    /// Its name, for messages and metrics.
    fn name(&self) -> &str;

    /// What it can do; the same for its whole life.
    fn capabilities(&self) -> Capabilities;

    /// The entry under that key; none where there is none, or its expiry has passed.
    ///
    /// # Errors
    ///
    /// Of any [`Kind`]; [`Kind::Corrupt`] where something is there that cannot be read.
    fn get(&self, key: Key<'_>) -> impl Future<Output = Result<Option<Entry>>> + Send;

    /// Changes what is under that key, on that condition, in one step.
    ///
    /// # Errors
    ///
    /// [`Kind::Unsupported`] for a condition or a merge that it cannot do. On any error nothing was changed,
    /// unless it says that this is [unknown](Error::is_unknown).
    fn write(
        &self,
        key: Key<'_>,
        op: Op,
        when: When,
    ) -> impl Future<Output = Result<Applied>> + Send;

    /// Lists about `limit` entries, from the beginning or from where a page before said. What is written
    /// meanwhile may be listed or not.
    ///
    /// # Errors
    ///
    /// [`Kind::Unsupported`] where it cannot.
    fn scan(
        &self,
        from: Option<&Bytes>,
        limit: usize,
    ) -> impl Future<Output = Result<Page>> + Send {
        let _ = (from, limit);
        async { Err(Error::new(Kind::Unsupported, self.name(), "it cannot list")) }
    }

    /// Ends its background work. Every other call may be answered with [`Kind::Closed`] from then on.
    ///
    /// # Errors
    ///
    /// What could not be ended well.
    fn close(&self) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }
}

impl<T: Tier> Tier for Arc<T> {
    fn name(&self) -> &str {
        T::name(self)
    }

    fn capabilities(&self) -> Capabilities {
        T::capabilities(self)
    }

    fn get(&self, key: Key<'_>) -> impl Future<Output = Result<Option<Entry>>> + Send {
        T::get(self, key)
    }

    fn write(
        &self,
        key: Key<'_>,
        op: Op,
        when: When,
    ) -> impl Future<Output = Result<Applied>> + Send {
        T::write(self, key, op, when)
    }

    fn scan(
        &self,
        from: Option<&Bytes>,
        limit: usize,
    ) -> impl Future<Output = Result<Page>> + Send {
        T::scan(self, from, limit)
    }

    fn close(&self) -> impl Future<Output = Result<()>> + Send {
        T::close(self)
    }
}

/// Shorter calls, on every tier.
pub trait TierExt: Tier {
    /// The value under that key.
    ///
    /// # Errors
    ///
    /// As [`Tier::get`]; a key that is too long is refused.
    fn value(&self, key: &str) -> impl Future<Output = Result<Option<Bytes>>> + Send {
        async move { Ok(self.get(Key::new(key)?).await?.map(|entry| entry.value)) }
    }

    /// Puts a value under that key, whatever is there.
    ///
    /// # Errors
    ///
    /// As [`Tier::write`]; a key that is too long is refused.
    fn put(
        &self,
        key: &str,
        value: impl Into<Bytes> + Send,
    ) -> impl Future<Output = Result<()>> + Send {
        async move {
            let op = Op::Put(Entry::new(value));
            self.write(Key::new(key)?, op, When::Always).await.map(drop)
        }
    }

    /// Removes what is under that key, if anything is.
    ///
    /// # Errors
    ///
    /// As [`Tier::write`]; a key that is too long is refused.
    fn remove(&self, key: &str) -> impl Future<Output = Result<()>> + Send {
        async move {
            let op = Op::Remove(Version::NONE);
            self.write(Key::new(key)?, op, When::Always).await.map(drop)
        }
    }
}

impl<T: Tier> TierExt for T {}

//! Tiers that know which answers are old: what was computed from a view of them is stored only if nothing was
//! written since.

use std::sync::Arc;

use bytes::Bytes;

use super::{Applied, Capabilities, Entry, Key, Op, Page, Result, Tier, When};
use crate::generation::{Generations, View};

/// A tier all of whose writes pass through one [`Generations`].
///
/// Whoever computes a value takes a token of its key (or a mark of all keys) first, and stores the value through
/// this trait. A chain is one; [`Guard`] makes one of any tier.
pub trait Guarded: Tier {
    /// Who may store what under which key.
    fn generations(&self) -> &Generations;

    /// Makes a change that was computed from that view, if nothing was written under the key since; `None` where
    /// something was, or is being written. What is durable on return is as in [`Tier::write`].
    ///
    /// # Errors
    ///
    /// As [`Tier::write`].
    fn land(
        &self,
        view: impl Into<View> + Send,
        key: Key<'_>,
        op: Op,
        when: When,
    ) -> impl Future<Output = Result<Option<Applied>>> + Send;
}

impl<T: Guarded> Guarded for Arc<T> {
    fn generations(&self) -> &Generations {
        T::generations(self)
    }

    fn land(
        &self,
        view: impl Into<View> + Send,
        key: Key<'_>,
        op: Op,
        when: When,
    ) -> impl Future<Output = Result<Option<Applied>>> + Send {
        T::land(self, view, key, op, when)
    }
}

/// Another tier, whose writes take turns by key and kill what was computed from older views.
///
/// It reaches as far as the writes that pass through it: clones are the same guard, two guards around one tier
/// are not. A write whose caller is dropped gives its turn up; whether the tier has made it is as open as there.
/// What is durable, and all the rest, is as in the tier itself.
///
/// # Examples
///
/// ```
/// use documentbuffer::tier::guarded::{Guard, Guarded};
/// use documentbuffer::tier::{Entry, Key, Op, TierExt, When};
/// # use documentbuffer::tier::{Applied, Capabilities, KeyBuf, Result, Tier};
/// # use std::{collections::HashMap, sync::Mutex};
/// # #[derive(Default)]
/// # struct Map(Mutex<HashMap<KeyBuf, Entry>>);
/// # impl Tier for Map {
/// #     fn name(&self) -> &str { "map" }
/// #     fn capabilities(&self) -> Capabilities { Capabilities::default() }
/// #     async fn get(&self, key: Key<'_>) -> Result<Option<Entry>> {
/// #         Ok(self.0.lock().expect("no panic").get(key.as_str()).cloned())
/// #     }
/// #     async fn write(&self, key: Key<'_>, op: Op, _: When) -> Result<Applied> {
/// #         let mut map = self.0.lock().expect("no panic");
/// #         match op {
/// #             Op::Put(entry) => drop(map.insert(key.into(), entry)),
/// #             _ => drop(map.remove(key.as_str())),
/// #         }
/// #         Ok(Applied::Done)
/// #     }
/// # }
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// # runtime.block_on(async {
/// let tier = Guard::new(Map::default());
/// let token = tier.generations().token("alice");
/// let computed = Op::Put(Entry::new("3 cards")); // ... and meanwhile:
/// tier.remove("alice").await?;
/// assert!(tier.land(token, Key::new("alice")?, computed, When::Always).await?.is_none());
/// assert_eq!(tier.value("alice").await?, None);
/// # Ok::<(), documentbuffer::tier::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Guard<T> {
    tier: Arc<T>,
    generations: Generations,
}

impl<T: Tier> Guard<T> {
    /// A guard around that tier.
    pub fn new(tier: T) -> Guard<T> {
        Guard {
            tier: Arc::new(tier),
            generations: Generations::new(),
        }
    }

    /// The tier within.
    pub fn inner(&self) -> &T {
        &self.tier
    }
}

impl<T> Clone for Guard<T> {
    fn clone(&self) -> Guard<T> {
        Guard {
            tier: self.tier.clone(),
            generations: self.generations.clone(),
        }
    }
}

impl<T: Tier> Tier for Guard<T> {
    fn name(&self) -> &str {
        self.tier.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.tier.capabilities()
    }

    fn get(&self, key: Key<'_>) -> impl Future<Output = Result<Option<Entry>>> + Send {
        self.tier.get(key)
    }

    async fn write(&self, key: Key<'_>, op: Op, when: When) -> Result<Applied> {
        let turn = self.generations.write(key.as_str()).await;
        let made = self.tier.write(key, op, when).await;
        drop(turn);
        made
    }

    fn scan(
        &self,
        from: Option<&Bytes>,
        limit: usize,
    ) -> impl Future<Output = Result<Page>> + Send {
        self.tier.scan(from, limit)
    }

    fn close(&self) -> impl Future<Output = Result<()>> + Send {
        self.tier.close()
    }
}

impl<T: Tier> Guarded for Guard<T> {
    fn generations(&self) -> &Generations {
        &self.generations
    }

    async fn land(
        &self,
        view: impl Into<View> + Send,
        key: Key<'_>,
        op: Op,
        when: When,
    ) -> Result<Option<Applied>> {
        let Some(turn) = self.generations.write_if(view, key.as_str()) else {
            return Ok(None);
        };
        let turn = turn.await;
        let made = self.tier.write(key, op, when).await;
        drop(turn);
        made.map(Some)
    }
}

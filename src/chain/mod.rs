//! Tiers from fast to slow, as one.
//!
//! ```text
//!   get    asks from the fastest down, and answers with the first live entry; a copy goes up behind the answer
//!   write  takes the key's turn, and goes through all levels before it returns
//!
//!   level 0   the fastest          holds what the truth holds, or nothing
//!   ...
//!   last      the truth            decides
//! ```
//!
//! A chain is a tier, so chains are levels of chains. The last level is the truth: a write is made when it is
//! made there, and what it says is absent is absent. The levels above only spare asking it.
//!
//! # What is promised
//!
//! For each key, of the writes through one chain:
//!
//! * A read that begins after a write returned Ok finds that write or a later one, never an older value, and
//!   after a removal nothing. This holds whatever was under way at the same time: reads that began before,
//!   copies up however late, levels that evict, callers that were dropped, levels that fail, and chains as
//!   levels of chains.
//! * It holds after the death of the process too, as far as the truth keeps what it acknowledged.
//! * Writes of a key take place in the order in which they were asked for: at the first poll, or, where so
//!   many are under way that they wait ([`Builder::writes`]), at the poll that finds room.
//! * A write belongs to nobody's future: once begun it goes on to its end, whoever is dropped.
//! * While a write is under way, a read may find the old value after another found the new one.
//!
//! # How a write goes through the levels
//!
//! Under the key's turn ([`Generations`]), and with every copy up that is on its way already dead:
//!
//! 1. Levels above the truth whose contents outlive the process are emptied of the key. One that cannot be
//!    ends the write with an error, and nothing has changed below. So a crash from here on finds the old
//!    value in the truth alone, or the new one there: no level above has an older one to come back with.
//! 2. The truth is written. Where it fails, the old value stays; where the outcome is unknown, all above are
//!    emptied, and the key is not copied up before a later call of the truth has shown that the write is over.
//! 3. The levels above get the new entry, the nearest to the truth first. One that fails is emptied of the
//!    key instead; where this fails too, the key is *suspect* there, and reads pass the level over until a
//!    copy up or a write succeeds. The write is Ok: nothing is lost, and no old value can be seen. Who set
//!    [`on_error`](Builder::on_error) is told.
//!
//! A removal empties all levels above, from the fastest down, and then the truth; so does a merge that the
//! truth can do itself, since its sum is known there only. Conditions are the truth's too; what it cannot do
//! in one step is done in two, a read and a write, under the turn: other processes are not kept out then, and
//! [`Capabilities`] say so.
//!
//! Suspects are kept in memory, 65,536 for each level; beyond that all of the level is passed over until
//! [`Chain::repair`] has emptied it.
//!
//! # Edges
//!
//! An edge between two levels is *through*: a write waits for the level below it. For one that is *behind*, put a
//! [`Behind`](crate::write_behind::behind::Behind) there: it acknowledges once the write is in its journal, owes
//! it to the tier below, and answers reads with what it owes before that has arrived. It is a level like any
//! other, and mostly the last. No edge acknowledges more than what lies under it keeps: both refuse to be built.
//!
//! # What it asks of its tiers
//!
//! * Of two writes of a key, one begun after the other returned, the later one stands in the end, also where
//!   the earlier one's outcome was unknown. (Whoever adds a time limit keeps such keys in order.)
//! * A call ends, some day: a write that never does holds its key's turn for ever. Give slow tiers a time
//!   limit.
//! * No tier calls back into the chain it stands in.
//!
//! # Examples
//!
//! ```
//! use documentbuffer::chain::Chain;
//! use documentbuffer::tier::{BoxTier, Tier, TierExt};
//! # use documentbuffer::tier::{Applied, Capabilities, Entry, Key, KeyBuf, Op, Result, When};
//! # #[derive(Default)]
//! # struct Map(std::sync::Mutex<std::collections::HashMap<KeyBuf, Entry>>);
//! # impl Tier for Map {
//! #     fn name(&self) -> &str { "map" }
//! #     fn capabilities(&self) -> Capabilities { Capabilities::default() }
//! #     async fn get(&self, key: Key<'_>) -> Result<Option<Entry>> {
//! #         Ok(self.0.lock().expect("a map").get(key.as_str()).cloned())
//! #     }
//! #     async fn write(&self, key: Key<'_>, op: Op, _: When) -> Result<Applied> {
//! #         let mut map = self.0.lock().expect("a map");
//! #         if let Op::Put(entry) = op { map.insert(key.into(), entry); } else { map.remove(key.as_str()); }
//! #         Ok(Applied::Done)
//! #     }
//! # }
//! # let (memory, disk) = (Map::default(), Map::default());
//! # let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
//! # runtime.block_on(async {
//! let chain = Chain::new().tier(memory).tier(disk).build()?;
//! chain.put("alice", "3 cards").await?;
//! assert_eq!(chain.value("alice").await?.as_deref(), Some(&b"3 cards"[..]));
//! chain.remove("alice").await?;
//! assert_eq!(chain.value("alice").await?, None);
//! chain.close().await?;
//! # Ok::<(), documentbuffer::tier::Error>(())
//! # })?;
//! # Ok::<(), documentbuffer::tier::Error>(())
//! ```

mod contain;

mod end;
mod fill;
mod level;
mod options;
mod report;
mod state;
mod version;
mod write;

pub use level::LevelStats;
pub use options::{Builder, NoTier, Overstated, Refusal, Refused, check_edge};
pub use report::{Attempt, CloseError, Failure, LevelReport, LevelState, WriteError};

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;

use crate::generation::{Generations, View, Write};
use crate::tier::guarded::Guarded;
use crate::tier::{Applied, BoxTier, Capabilities, Entry, Key, KeyBuf, Kind, Op, Page, Result};
use crate::tier::{Tier, When};
use level::count;
use state::{Core, Look};

/// Tiers from fast to slow, as one; its fastest is of type `F`. Cheap to clone: all clones are the same chain.
///
/// It needs a tokio runtime for writes, for copies up and to be closed. Durable when a write returns is what
/// [`Capabilities`] say: what the truth keeps, or less where a level above it that outlives the process keeps
/// less. Dropping the handles closes nothing: what is under way goes on to its end, as long as the runtime does.
pub struct Chain<F: Tier = BoxTier> {
    /// The tier of level 0, its type known.
    first: Arc<F>,
    core: Arc<Core>,
}

impl Chain {
    /// Begins a chain, of no tier yet.
    #[allow(clippy::new_ret_no_self)]
    pub fn new() -> Builder<NoTier> {
        Builder::new()
    }

    /// Begins a chain of these tiers, from the fastest down, for chains that are put together while the
    /// program runs.
    pub fn boxed(tiers: impl IntoIterator<Item = BoxTier>) -> Builder<BoxTier> {
        Builder::new().tiers(tiers)
    }
}

impl<F: Tier> Chain<F> {
    /// Gives this fence to the versions from now on: the number of the lease under which is written. Without
    /// one the versions go on behind the newest that was seen.
    pub fn set_fence(&self, fence: u64) {
        self.core.versions.set_fence(fence);
    }

    /// What each level did, from the fastest down.
    pub fn stats(&self) -> Vec<LevelStats> {
        self.core.levels().map(|level| level.stats()).collect()
    }

    /// Takes out of the levels what they must not answer with: each suspect key, and all that a level holds
    /// where it is suspended as a whole. Of the truth it ends what is unknown.
    ///
    /// Suspects go by themselves when their key is read or written; a suspended level is repaired here only.
    /// Of a level, and of a truth, that is suspended no call that was given up may be under way any more.
    ///
    /// # Errors
    ///
    /// The first of those met; what could be repaired is. [`Kind::Unsupported`] of a suspended level that
    /// cannot list its keys.
    pub async fn repair(&self) -> Result<()> {
        let permit = self.permit().await?;
        let core = self.core.clone();
        let repairing = self.core.runtime()?.spawn(async move {
            let repaired = core.repair().await;
            drop(permit);
            repaired
        });
        repairing.await.unwrap_or_else(|_| Err(self.lost()))
    }

    /// Room for one write more; it is under way until the permit goes.
    async fn permit(&self) -> Result<OwnedSemaphorePermit> {
        self.core.check_open()?;
        let permit = self.core.writes.permits.clone().acquire_owned().await;
        // It may have been closed meanwhile.
        self.core.check_open()?;
        permit.map_err(|_| self.core.error(Kind::Closed, "the chain is closed"))
    }

    /// Has a change go on to its end, and waits for it.
    async fn begin(
        &self,
        runtime: Handle,
        permit: OwnedSemaphorePermit,
        turn: Write,
        (key, op, when): (Key<'_>, Op, When),
    ) -> Result<Applied> {
        let (core, key) = (self.core.clone(), KeyBuf::from(key));
        let writing = runtime.spawn(async move {
            let made = core.change(key, op, when, turn.await).await;
            drop(permit);
            made
        });
        writing.await.unwrap_or_else(|_| Err(self.lost()))
    }

    fn lost(&self) -> crate::tier::Error {
        let lost = self
            .core
            .error(Kind::Permanent, "its task ended before it did");
        lost.unknown()
    }
}

impl<F: Tier> Tier for Chain<F> {
    fn name(&self) -> &str {
        &self.core.name
    }

    /// What the truth can. `durability` is the least of the truth's and of those levels that outlive the
    /// process. Conditions and merges work on any truth; only where it can do them itself are other processes
    /// kept out.
    fn capabilities(&self) -> Capabilities {
        self.core.can
    }

    /// The entry under that key: the first live one from the fastest level down.
    ///
    /// A level that fails is passed over, and counted. What is found is copied up behind the answer.
    ///
    /// # Errors
    ///
    /// The truth's, where no level has the key and the truth failed; [`Kind::Closed`].
    async fn get(&self, key: Key<'_>) -> Result<Option<Entry>> {
        let core = &self.core;
        core.check_open()?;
        let top = core.top();
        if core.passes_over(0, top, key) {
            return Box::pin(core.descend(key, Look::Passed)).await;
        }
        let answer = self.first.get(key).await;
        if core.is_hit(&answer) {
            // Handed on as it is: this is the path that must cost nothing.
            count(&top.counts.hits);
            return answer;
        }
        // Boxed, so that a hit carries none of it.
        Box::pin(core.descend(key, core.seen(top, answer))).await
    }

    /// Changes what is under that key in all levels, on that condition of the truth.
    ///
    /// From the first poll that finds room for it (see [`Builder::writes`]) it goes on to its end, whether or
    /// not it is polled again.
    ///
    /// # Errors
    ///
    /// What ended it; its source is a [`WriteError`] that says what each level has, once a level was asked to
    /// change. Where it [is unknown](crate::tier::Error::is_unknown) the truth did not say whether it was made.
    async fn write(&self, key: Key<'_>, op: Op, when: When) -> Result<Applied> {
        let runtime = self.core.runtime()?;
        let permit = self.permit().await?;
        let turn = self.core.generations.write(key.as_str());
        self.begin(runtime, permit, turn, (key, op, when)).await
    }

    /// Lists what the truth holds.
    async fn scan(&self, from: Option<&Bytes>, limit: usize) -> Result<Page> {
        self.core.check_open()?;
        self.core.truth.tier.scan(from, limit).await
    }

    /// Refuses new calls, waits for writes and copies up that are under way, and closes all levels. All who
    /// close it get the same answer.
    ///
    /// # Errors
    ///
    /// A [`CloseError`] is its source where some levels could not be closed; all were asked.
    async fn close(&self) -> Result<()> {
        self.core.close().await
    }
}

impl<F: Tier> Guarded for Chain<F> {
    /// Those of all writes through the chain; patterns above it share them.
    fn generations(&self) -> &Generations {
        &self.core.generations
    }

    /// As a write, of which it is judged when there is room for it (see [`Builder::writes`]) whether the view is
    /// old. From then on it goes to its end, whether or not it is polled again.
    async fn land(
        &self,
        view: impl Into<View> + Send,
        key: Key<'_>,
        op: Op,
        when: When,
    ) -> Result<Option<Applied>> {
        let view = view.into();
        let runtime = self.core.runtime()?;
        // First: who had a place among the turns already would hold up those who have the room.
        let permit = self.permit().await?;
        match self.core.generations.write_if(view, key.as_str()) {
            Some(turn) => {
                let made = self.begin(runtime, permit, turn, (key, op, when)).await;
                made.map(Some)
            }
            None => Ok(None),
        }
    }
}

impl<F: Tier> Clone for Chain<F> {
    fn clone(&self) -> Chain<F> {
        Chain {
            first: self.first.clone(),
            core: self.core.clone(),
        }
    }
}

impl<F: Tier> fmt::Debug for Chain<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let levels: Vec<&str> = self.core.levels().map(|level| level.name()).collect();
        f.debug_struct("Chain")
            .field("name", &self.core.name)
            .field("levels", &levels)
            .finish_non_exhaustive()
    }
}

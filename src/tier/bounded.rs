//! A limit for a tier that has none: who was asked for least recently goes.

mod checkpoint;
mod ledger;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::turns::{Turn, Turns};
use super::{
    Applied, Capabilities, Entry, Error, Key, KeyBuf, Kind, Op, Page, Result, Tier, Version, When,
};
use ledger::Ledger;

/// Bytes that a capacity has at least.
pub const MIN_CAPACITY: u64 = 10;
/// Entries of a page when it is read what is there.
const PAGE: usize = 1024;
/// As if it had never been: it leaves no tombstone.
const REMOVE: Op = Op::Remove(Version::NONE);
/// Bytes of a sum.
const SUM: u64 = 8;

/// At most so many bytes of keys and values in another tier, exactly the least recently used of them gone.
///
/// A hit and a put make a key the most recent one. When a put leaves no byte of the capacity, the oldest
/// entries are removed from the tier, after the write, until a tenth of the capacity is free or only the new
/// one is left. Only a put does that. An entry counts once its write has succeeded, with the bytes of its key
/// too; a write whose outcome is unknown counts as if it had, so that the limit holds.
///
/// A removal that fails does not fail the put: it is counted, and repeated with the next put. Each put repeats
/// until the first one that fails. Once what waits for its removal is as much as the capacity, puts are
/// refused until the tier takes removals again, so that it never holds more than twice the capacity (and what
/// is being written).
///
/// What others write into the tier past this layer counts from the first hit on. What is durable, which
/// conditions it takes, and all the rest is as in the tier itself. Removals of this layer leave no tombstone.
///
/// # Examples
///
/// ```
/// use documentbuffer::tier::bounded::Bounded;
/// use documentbuffer::tier::TierExt;
/// # use documentbuffer::tier::BoxTier;
/// # use documentbuffer::tier::{Applied, Capabilities, Entry, Key, KeyBuf, Op, Result, When, Tier};
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
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// # runtime.block_on(async {
/// # let tier = Map::default();
/// let bounded = Bounded::open(tier, 20).await?;
/// bounded.put("a", "1234567").await?;
/// bounded.put("b", "1234567").await?;
/// bounded.value("a").await?; // Now `b` is the older one.
/// bounded.put("c", "1234567").await?;
/// assert_eq!(bounded.value("b").await?, None);
/// assert_eq!(bounded.used(), 16);
/// # Ok::<(), documentbuffer::tier::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The rule is that of the LRU manager of `pressly/chainstore`, with three differences: keys count, a value
/// that is larger than the capacity is refused before anything is written (there it is written and removed,
/// and the one before it is gone), and what was there before a restart counts.
#[derive(Debug)]
pub struct Bounded<T> {
    tier: T,
    capacity: u64,
    ledger: Mutex<Ledger>,
    /// Bytes of what is to be removed, as the ledger has them.
    owed: Arc<AtomicU64>,
    /// The writes of a key, and its removal by this layer, go one by one.
    turns: Turns,
    evicted: AtomicU64,
    failed: AtomicU64,
}

/// What a [`Bounded`] has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BoundedStats {
    /// Bytes of the keys and values that stay.
    pub used: u64,
    /// Entries that stay.
    pub entries: usize,
    /// Bytes of those that are to be removed and are not yet.
    pub owed: u64,
    /// Entries removed to make room.
    pub evicted: u64,
    /// Removals that failed; each is repeated.
    pub failed: u64,
}

impl<T: Tier> Bounded<T> {
    /// So many bytes at most in that tier. What is there already counts, in the order of its
    /// [`scan`](Tier::scan) (the first is the oldest) if it has one, else from the first hit on;
    /// [`restore`](Bounded::restore) brings the order of an earlier life. Nothing is removed before the first put.
    ///
    /// # Errors
    ///
    /// [`Kind::Permanent`] for a capacity below [`MIN_CAPACITY`]. What the scan failed with.
    pub async fn open(tier: T, capacity: u64) -> Result<Bounded<T>> {
        if capacity < MIN_CAPACITY {
            let why = format!("a capacity of {capacity} bytes: it needs at least {MIN_CAPACITY}");
            return Err(Error::new(Kind::Permanent, tier.name(), why));
        }
        let mut ledger = Ledger::new(capacity);
        if tier.capabilities().scan {
            let mut from = None;
            loop {
                let page = tier.scan(from.as_ref(), PAGE).await?;
                for line in page.listed {
                    let key = line.key.as_key().as_str();
                    let bytes = line.bytes.saturating_add(key.len() as u64);
                    ledger.keep(&line.key, bytes);
                }
                from = page.next;
                if from.is_none() {
                    break;
                }
            }
        }
        Ok(Bounded {
            tier,
            capacity,
            owed: ledger.owed(),
            ledger: Mutex::new(ledger),
            turns: Turns::default(),
            evicted: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        })
    }

    /// The tier within.
    pub fn inner(&self) -> &T {
        &self.tier
    }

    /// Bytes of keys and values that it holds at most.
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Bytes of the keys and values that stay.
    pub fn used(&self) -> u64 {
        self.ledger().used()
    }

    /// What it has done.
    pub fn stats(&self) -> BoundedStats {
        let ledger = self.ledger();
        BoundedStats {
            used: ledger.used(),
            entries: ledger.len(),
            owed: self.owed.load(Ordering::Relaxed),
            evicted: self.evicted.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }

    /// Its keys in their order, as a document: about 20 bytes and the key for each. To be kept where it
    /// survives, and given to [`restore`](Bounded::restore) of a later life.
    pub fn checkpoint(&self) -> Bytes {
        let lines = self.ledger().lines();
        checkpoint::write(&lines)
    }

    /// Takes over the order of a [`checkpoint`](Bounded::checkpoint); how many keys of it were. To be called
    /// right after opening: what came since, and what it does not know, counts as more recent.
    ///
    /// Where the tier was scanned, only what was found there is taken over; else all of it is believed, and
    /// what is no longer there goes when its time comes.
    ///
    /// # Errors
    ///
    /// [`Kind::Corrupt`] for bytes that are no whole checkpoint; then nothing changed.
    pub fn restore(&self, document: &[u8]) -> Result<usize> {
        let Some(lines) = checkpoint::read(document) else {
            let why = "these bytes are no checkpoint of an order, or are damaged";
            return Err(Error::new(Kind::Corrupt, self.name(), why));
        };
        let believed = !self.tier.capabilities().scan;
        let mut ledger = self.ledger();
        // From the newest to the oldest: each goes behind all others.
        let taken = lines.iter().rev();
        let taken = taken.filter(|(key, bytes)| ledger.is_older(key, *bytes, believed));
        Ok(taken.count())
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn permanent(&self, why: String) -> Error {
        Error::new(Kind::Permanent, self.name(), why)
    }

    /// Bytes that the key will have.
    fn bytes(&self, key: Key<'_>, value: u64) -> Result<u64> {
        let bytes = value.saturating_add(key.as_str().len() as u64);
        if bytes > self.capacity {
            let capacity = self.capacity;
            let why = format!("key and value have {bytes} bytes, the capacity is {capacity}");
            return Err(self.permanent(why));
        }
        Ok(bytes)
    }

    /// Makes room where so much waits for its removal that no more may.
    async fn pay(&self) -> Result<()> {
        if self.owed.load(Ordering::Relaxed) < self.capacity {
            return Ok(());
        }
        self.catch_up().await;
        if self.owed.load(Ordering::Relaxed) < self.capacity {
            return Ok(());
        }
        let why = "what makes room is still to be removed";
        Err(Error::new(Kind::Transient, self.name(), why))
    }

    async fn grow(&self, key: Key<'_>, bytes: u64, op: Op, when: When) -> Result<Applied> {
        self.pay().await?;
        let turn = self.turns.take(key).await;
        // Until the answer is there, the write may have been made.
        let mut write = Unanswered {
            bounded: self,
            key,
            bytes: Some(bytes),
        };
        let applied = self.tier.write(key, op, when).await;
        if !applied.as_ref().is_err_and(Error::is_unknown) {
            write.bytes = None;
        }
        drop(write);
        if applied
            .as_ref()
            .is_ok_and(|applied| *applied == Applied::Done)
        {
            let (full, behind) = {
                let mut ledger = self.ledger();
                ledger.put(key, bytes);
                (ledger.is_full(), ledger.is_behind())
            };
            drop(turn);
            self.make_room(full, behind).await;
        }
        applied
    }

    /// Removes what is to go, up to the first that fails: the oldest, and what was put off.
    async fn make_room(&self, full: bool, behind: bool) {
        let fine = !full || self.evict().await;
        if fine && (behind || full && self.ledger().is_behind()) {
            self.catch_up().await;
        }
    }

    async fn remove(&self, key: Key<'_>, op: Op, when: When) -> Result<Applied> {
        let _turn = self.turns.take(key).await;
        let applied = self.tier.write(key, op, when).await?;
        if applied == Applied::Done {
            self.ledger().forget(key);
        }
        Ok(applied)
    }

    /// Removes the oldest until there is room. What somebody is writing just now is put off, and so is all
    /// from the first on that fails. Whether none did.
    async fn evict(&self) -> bool {
        let mut fine = true;
        while let Some(mut victim) = self.oldest() {
            if fine && victim.turn.is_some() {
                let removed = self.tier.write(victim.key.as_key(), REMOVE, When::Always);
                victim.gone = self.evicted(removed.await);
                fine = victim.gone;
            }
        }
        fine
    }

    fn oldest(&self) -> Option<Victim<'_, T>> {
        let mut ledger = self.ledger();
        let (key, bytes) = ledger.oldest()?;
        let turn = self.turns.try_take(key.as_key());
        Some(Victim {
            bounded: self,
            key,
            bytes,
            turn,
            gone: false,
        })
    }

    /// Removes what was put off, each once, up to the first that fails. Whether none did.
    async fn catch_up(&self) -> bool {
        while let Some(mut claim) = self.claim() {
            claim.turn = Some(self.turns.take(claim.key.as_key()).await);
            // It may have been written or removed since.
            if !self.ledger().is_owed(&claim.key) {
                continue;
            }
            let removed = self.tier.write(claim.key.as_key(), REMOVE, When::Always);
            claim.gone = self.evicted(removed.await);
            if !claim.gone {
                return false;
            }
        }
        true
    }

    fn claim(&self) -> Option<Claim<'_, T>> {
        let key = self.ledger().claim()?;
        Some(Claim {
            bounded: self,
            key,
            turn: None,
            gone: false,
        })
    }

    /// Counts what became of a removal. Whether it was made.
    fn evicted(&self, removed: Result<Applied>) -> bool {
        let count = match &removed {
            Ok(_) => &self.evicted,
            Err(_) => &self.failed,
        };
        count.fetch_add(1, Ordering::Relaxed);
        removed.is_ok()
    }

    /// A hit of a key that nobody counted: it is looked up again in its turn, and counted if it is there. If
    /// somebody has its turn, they are writing or removing it, and count it as it is then.
    async fn adopt(&self, key: Key<'_>, hit: Option<Entry>) -> Result<Option<Entry>> {
        let Some(_turn) = self.turns.try_take(key) else {
            return Ok(hit);
        };
        let found = self.tier.get(key).await?;
        if let Some(entry) = &found {
            let bytes = key.as_str().len() as u64;
            let bytes = bytes.saturating_add(entry.value.len() as u64);
            self.ledger().adopt(key, bytes);
        }
        Ok(found)
    }
}

/// A write without an answer; if it goes so, it counts.
struct Unanswered<'a, T: Tier> {
    bounded: &'a Bounded<T>,
    key: Key<'a>,
    bytes: Option<u64>,
}

impl<T: Tier> Drop for Unanswered<'_, T> {
    fn drop(&mut self) {
        if let Some(bytes) = self.bytes {
            self.bounded.ledger().perhaps(self.key, bytes);
        }
    }
}

/// The oldest key, in the hands of who removes it, with its turn; if it is let go before it is gone, it is put off.
struct Victim<'a, T: Tier> {
    bounded: &'a Bounded<T>,
    key: KeyBuf,
    bytes: u64,
    turn: Option<Turn>,
    gone: bool,
}

impl<T: Tier> Drop for Victim<'_, T> {
    fn drop(&mut self) {
        let mut ledger = self.bounded.ledger();
        match self.gone {
            true => ledger.paid(self.bytes),
            false => ledger.put_off(self.key.clone(), self.bytes),
        }
    }
}

/// A key that was put off, and that one caller is about to remove; if it is let go before that, another may.
/// Its turn passes on once the account is right.
struct Claim<'a, T: Tier> {
    bounded: &'a Bounded<T>,
    key: KeyBuf,
    turn: Option<Turn>,
    gone: bool,
}

impl<T: Tier> Drop for Claim<'_, T> {
    fn drop(&mut self) {
        let mut ledger = self.bounded.ledger();
        match self.gone {
            true => ledger.settle(&self.key),
            false => ledger.unclaim(&self.key),
        }
    }
}

impl<T: Tier> Tier for Bounded<T> {
    fn name(&self) -> &str {
        self.tier.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.tier.capabilities()
    }

    async fn get(&self, key: Key<'_>) -> Result<Option<Entry>> {
        let found = self.tier.get(key).await?;
        if found.is_none() || self.ledger().touch(key) {
            return Ok(found);
        }
        self.adopt(key, found).await
    }

    /// As in the tier within; then, if it was a put that left no room, the removals that make some.
    ///
    /// # Errors
    ///
    /// [`Kind::Permanent`], before anything is written, for an entry that is larger than the capacity.
    /// [`Kind::Transient`] while nothing can be removed. Else what the tier within fails with.
    async fn write(&self, key: Key<'_>, op: Op, when: When) -> Result<Applied> {
        let value = match &op {
            Op::Put(entry) => entry.value.len() as u64,
            Op::Merge(_) => SUM,
            Op::Remove(_) => return self.remove(key, op, when).await,
        };
        let bytes = self.bytes(key, value)?;
        self.grow(key, bytes, op, when).await
    }

    async fn scan(&self, from: Option<&Bytes>, limit: usize) -> Result<Page> {
        self.tier.scan(from, limit).await
    }

    async fn close(&self) -> Result<()> {
        self.tier.close().await
    }
}

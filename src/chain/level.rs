//! One level of a chain: a tier, what it is counted for, and which of its keys are in doubt.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::tier::{BoxTier, Capabilities, Key, KeyBuf, Tier};

#[derive(Debug)]
pub(super) struct Level {
    pub(super) tier: BoxTier,
    pub(super) can: Capabilities,
    pub(super) counts: Counts,
    pub(super) doubts: Doubts,
}

impl Level {
    pub(super) fn new(tier: BoxTier, most_doubts: usize) -> Level {
        Level {
            can: tier.capabilities(),
            tier,
            counts: Counts::default(),
            doubts: Doubts::new(most_doubts),
        }
    }

    pub(super) fn name(&self) -> &str {
        self.tier.name()
    }

    pub(super) fn stats(&self) -> LevelStats {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts {
            hits,
            misses,
            errors,
            filled,
            skipped,
            refused,
        } = &self.counts;
        let doubts = self.doubts.lock();
        LevelStats {
            name: self.name().to_owned(),
            hits: get(hits),
            misses: get(misses),
            errors: get(errors),
            filled: get(filled),
            skipped: get(skipped),
            refused: get(refused),
            suspects: doubts.keys.len(),
            suspended: doubts.all,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) hits: AtomicU64,
    pub(super) misses: AtomicU64,
    pub(super) errors: AtomicU64,
    pub(super) filled: AtomicU64,
    pub(super) skipped: AtomicU64,
    pub(super) refused: AtomicU64,
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What a level did since the chain was built.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LevelStats {
    /// The name of its tier.
    pub name: String,
    /// Reads that it answered.
    pub hits: u64,
    /// Reads for which it had nothing.
    pub misses: u64,
    /// Calls that failed.
    pub errors: u64,
    /// Entries copied up into it.
    pub filled: u64,
    /// Copies up left out since too many were under way.
    pub skipped: u64,
    /// Copies up that were refused: their key was written meanwhile, or the level has it as new by now.
    pub refused: u64,
    /// Keys that are not read from it, since it may hold an old value; of the last level, keys that are
    /// not copied up, since the outcome of a write is unknown.
    pub suspects: usize,
    /// Whether this holds for all its keys, since there were too many.
    pub suspended: bool,
}

/// Keys of which a level may hold what it must not answer with.
#[derive(Debug)]
pub(super) struct Doubts {
    /// How many there are, or more; a read looks further only where it is not 0.
    any: AtomicUsize,
    most: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    keys: HashSet<KeyBuf>,
    all: bool,
    /// There were too many since a repair of all began.
    again: bool,
}

impl Doubts {
    fn new(most: usize) -> Doubts {
        Doubts {
            any: AtomicUsize::new(0),
            most,
            held: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, held: &Held) {
        let any = held.keys.len() + usize::from(held.all);
        self.any.store(any, Ordering::Release);
    }

    pub(super) fn has(&self, key: Key<'_>) -> bool {
        self.any.load(Ordering::Acquire) != 0 && {
            let held = self.lock();
            held.all || held.keys.contains(key.as_str())
        }
    }

    /// Whether every key is in doubt.
    pub(super) fn all(&self) -> bool {
        self.any.load(Ordering::Acquire) != 0 && self.lock().all
    }

    pub(super) fn add(&self, key: &KeyBuf) {
        let mut held = self.lock();
        if held.keys.len() < self.most {
            held.keys.insert(key.clone());
        } else if !held.keys.contains(key) {
            held.again = held.all;
            held.all = true;
        }
        self.set(&held);
    }

    pub(super) fn remove(&self, key: &KeyBuf) {
        if self.any.load(Ordering::Acquire) != 0 {
            let mut held = self.lock();
            held.keys.remove(key);
            self.set(&held);
        }
    }

    /// The keys that are in doubt.
    pub(super) fn keys(&self) -> Vec<KeyBuf> {
        self.lock().keys.iter().cloned().collect()
    }

    /// All keys are about to be cleared: what comes into doubt from now on is remembered by key.
    pub(super) fn begin_all(&self) {
        let mut held = self.lock();
        held.keys.clear();
        held.again = false;
        self.set(&held);
    }

    /// No key is in doubt any more.
    pub(super) fn forget_all(&self) {
        self.begin_all();
        self.end_all();
    }

    /// All keys were cleared; false where too many came into doubt meanwhile.
    pub(super) fn end_all(&self) -> bool {
        let mut held = self.lock();
        held.all = held.again;
        self.set(&held);
        !held.all
    }
}

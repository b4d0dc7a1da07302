//! Who holds how many bytes, in the order of use; and who is to go. Pure: nothing is removed from here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lru::LruCache;

use crate::tier::{Key, KeyBuf};

/// What stays, and what is to go. A key is in one of them at most.
#[derive(Debug)]
pub(super) struct Ledger {
    capacity: u64,
    stays: LruCache<KeyBuf, u64>,
    used: u64,
    /// Chosen for removal, and put off; the oldest choice is the last of them.
    goes: LruCache<KeyBuf, Owed>,
    /// Bytes of those, and of what is being removed.
    owed: Arc<AtomicU64>,
    /// How many of them somebody is about to remove.
    claimed: usize,
}

#[derive(Debug)]
struct Owed {
    bytes: u64,
    claimed: bool,
}

impl Ledger {
    pub(super) fn new(capacity: u64) -> Ledger {
        Ledger {
            capacity,
            stays: LruCache::unbounded(),
            used: 0,
            goes: LruCache::unbounded(),
            owed: Arc::default(),
            claimed: 0,
        }
    }

    pub(super) fn used(&self) -> u64 {
        self.used
    }

    /// Those bytes, to be read without a lock.
    pub(super) fn owed(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.owed)
    }

    /// Only under the lock.
    fn owe(&self, change: impl FnOnce(u64) -> u64) {
        let owed = change(self.owed.load(Ordering::Relaxed));
        self.owed.store(owed, Ordering::Relaxed);
    }

    pub(super) fn len(&self) -> usize {
        self.stays.len()
    }

    /// The key has so many bytes, and is the most recent one.
    pub(super) fn put(&mut self, key: Key<'_>, bytes: u64) {
        if let Some(held) = self.stays.get_mut(key.as_str()) {
            self.used = self.used.saturating_sub(*held).saturating_add(bytes);
            *held = bytes;
            return;
        }
        // One that was to go stays now.
        let key = match self.take_owed(key.as_str()) {
            Some((key, _)) => key,
            None => KeyBuf::from(key),
        };
        self.stays.push(key, bytes);
        self.used = self.used.saturating_add(bytes);
    }

    /// As [`put`](Ledger::put), of a key that is at hand.
    pub(super) fn keep(&mut self, key: &KeyBuf, bytes: u64) {
        self.put(key.as_key(), bytes);
    }

    /// The key may have so many bytes: the larger number counts.
    pub(super) fn perhaps(&mut self, key: Key<'_>, bytes: u64) {
        let held = self.stays.peek(key.as_str()).copied();
        let owed = self.goes.peek(key.as_str()).map(|owed| owed.bytes);
        let before = held.or(owed).unwrap_or_default();
        self.put(key, bytes.max(before));
    }

    /// A hit: the key is the most recent one. Whether it is known.
    pub(super) fn touch(&mut self, key: Key<'_>) -> bool {
        self.stays.promote(key.as_str()) || self.goes.contains(key.as_str())
    }

    /// A hit of a key that was not known.
    pub(super) fn adopt(&mut self, key: Key<'_>, bytes: u64) {
        if !self.touch(key) {
            self.put(key, bytes);
        }
    }

    /// It was removed.
    pub(super) fn forget(&mut self, key: Key<'_>) {
        if let Some(bytes) = self.stays.pop(key.as_str()) {
            self.used = self.used.saturating_sub(bytes);
        }
        self.take_owed(key.as_str());
    }

    fn take_owed(&mut self, key: &str) -> Option<(KeyBuf, Owed)> {
        if self.goes.is_empty() {
            return None;
        }
        let (key, owed) = self.goes.pop_entry(key)?;
        self.owe(|all| all.saturating_sub(owed.bytes));
        self.claimed -= usize::from(owed.claimed);
        Some((key, owed))
    }

    /// Whether no byte is left.
    pub(super) fn is_full(&self) -> bool {
        self.used >= self.capacity
    }

    /// The oldest key, unless a tenth of the capacity is free or it is the most recent one too. It is owed from
    /// now on, until it is [`paid`](Ledger::paid) or [`put off`](Ledger::put_off).
    pub(super) fn oldest(&mut self) -> Option<(KeyBuf, u64)> {
        let room = self.capacity.div_ceil(10);
        if self.capacity.saturating_sub(self.used) >= room || self.stays.len() < 2 {
            return None;
        }
        let (key, bytes) = self.stays.pop_lru()?;
        self.used = self.used.saturating_sub(bytes);
        self.owe(|all| all.saturating_add(bytes));
        Some((key, bytes))
    }

    /// It is gone.
    pub(super) fn paid(&mut self, bytes: u64) {
        self.owe(|all| all.saturating_sub(bytes));
    }

    /// It is to be removed later, after all others that are.
    pub(super) fn put_off(&mut self, key: KeyBuf, bytes: u64) {
        let claimed = false;
        self.goes.push(key, Owed { bytes, claimed });
    }

    /// Whether there are keys to remove that nobody is about to.
    pub(super) fn is_behind(&self) -> bool {
        self.goes.len() > self.claimed
    }

    /// A key to remove that nobody else is about to: the one whose last attempt is the longest ago.
    pub(super) fn claim(&mut self) -> Option<KeyBuf> {
        if self.goes.len() == self.claimed {
            return None;
        }
        // Those that are claimed are in front, unless one was just given back.
        let (key, _) = self.goes.iter().rev().find(|(_, owed)| !owed.claimed)?;
        let key = key.clone();
        let owed = self.goes.get_mut(&key)?;
        owed.claimed = true;
        self.claimed += 1;
        Some(key)
    }

    /// Whether it is still to go.
    pub(super) fn is_owed(&self, key: &KeyBuf) -> bool {
        self.goes.contains(key)
    }

    /// It is gone.
    pub(super) fn settle(&mut self, key: &KeyBuf) {
        self.take_owed(key.as_key().as_str());
    }

    /// It is not gone: it is tried again after all the others.
    pub(super) fn unclaim(&mut self, key: &KeyBuf) {
        if let Some(owed) = self.goes.get_mut(key) {
            self.claimed -= usize::from(owed.claimed);
            owed.claimed = false;
        }
    }

    /// From the oldest to the most recent one.
    pub(super) fn lines(&self) -> Vec<(KeyBuf, u64)> {
        let lines = self.stays.iter().rev();
        lines.map(|(key, bytes)| (key.clone(), *bytes)).collect()
    }

    /// It is older than all that stay; if it was not known, only where that is `believed`. Whether it stays.
    pub(super) fn is_older(&mut self, key: &KeyBuf, bytes: u64, believed: bool) -> bool {
        let known = self.stays.contains(key);
        if !known && (!believed || self.goes.contains(key)) {
            return false;
        }
        if !known {
            self.put(key.as_key(), bytes);
        }
        self.stays.demote(key);
        true
    }
}

//! Entries in memory, as many as fit; those that are asked for least give way.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use super::judge::{Held, Verdict, is_blind, judge};
use super::{
    Applied, Capabilities, Entry, Error, Key, KeyBuf, Kind, Listed, Op, Page, Result, Tier, When,
};
use crate::clock::{Clock, SystemClock};
use crate::durability::Durability;

/// Below so many bytes all are in one part; from there on in that many.
const ONE_PART: u64 = 1 << 20;
const PARTS: usize = 16;
/// Writers of one key take turns; so many keys may be written at once.
const STRIPES: usize = 64;

/// Entries in memory, in so many bytes of keys and values.
///
/// What is asked for often stays, what is asked for least gives way (the crate `quick_cache`). An entry may
/// go at any time, and one that is larger than its share is not kept at all: that is 97 % of a capacity below
/// 1 MiB, and 6 % of any other, which is divided into 16 parts. Such a put succeeds, and the key is absent
/// then. About 150 bytes of bookkeeping for each entry are not counted.
///
/// It keeps the [`Bytes`] that it is given, and hands out more of the same: nothing is copied, and a part of
/// a larger buffer holds the whole buffer.
///
/// Nothing is durable. It takes all conditions and merges, remembers no removals (of an entry that is over it
/// remembers the version, as long as it is there), and lists its keys.
///
/// # Examples
///
/// ```
/// use documentbuffer::tier::memory::Memory;
/// use documentbuffer::tier::TierExt;
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// # runtime.block_on(async {
/// let memory = Memory::new(64 << 20);
/// memory.put("score", "7").await?;
/// assert_eq!(memory.value("score").await?.as_deref(), Some(&b"7"[..]));
/// assert_eq!(memory.bytes(), 6);
/// # Ok::<(), documentbuffer::tier::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Memory {
    name: String,
    cache: Cache<KeyBuf, Entry, Bytewise>,
    /// Held while a key is looked up and changed: one of them for each key.
    stripes: [Mutex<()>; STRIPES],
    hasher: DefaultHashBuilder,
    clock: Arc<dyn Clock>,
}

/// The bytes of key and value; never 0, since what weighs nothing is never evicted.
#[derive(Clone, Debug)]
struct Bytewise;

impl Weighter<KeyBuf, Entry> for Bytewise {
    fn weight(&self, key: &KeyBuf, entry: &Entry) -> u64 {
        let bytes = key.as_key().as_str().len() + entry.value.len();
        (bytes as u64).max(1)
    }
}

impl Memory {
    /// Empty, for so many bytes of keys and values; its name is `memory`.
    pub fn new(bytes: u64) -> Memory {
        let parts = if bytes < ONE_PART { 1 } else { PARTS };
        let least = 32 * parts;
        let items = usize::try_from(bytes / 256).unwrap_or(usize::MAX);
        let mut options = OptionsBuilder::new();
        options
            .shards(parts)
            .estimated_items_capacity(items.clamp(least, 1 << 24))
            .weight_capacity(bytes);
        let cache = match options.build() {
            Ok(options) => Cache::with_options(
                options,
                Bytewise,
                DefaultHashBuilder::default(),
                DefaultLifecycle::default(),
            ),
            // Only for options that were not set.
            Err(_) => Cache::with_weighter(least, bytes, Bytewise),
        };
        Memory {
            name: String::from("memory"),
            cache,
            stripes: [const { Mutex::new(()) }; STRIPES],
            hasher: DefaultHashBuilder::default(),
            clock: Arc::new(SystemClock::new()),
        }
    }

    /// With that name.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Memory {
        self.name = name.into();
        self
    }

    /// With that clock, by which entries are over.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Memory {
        self.clock = clock;
        self
    }

    /// Bytes of the keys and values that it holds now.
    pub fn bytes(&self) -> u64 {
        self.cache.weight()
    }

    /// Entries that it holds now, those that are over among them.
    pub fn len(&self) -> usize {
        self.cache.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.cache.is_empty()
    }

    fn change(&self, key: Key<'_>, op: Op, when: When) -> Result<Applied> {
        let stripe = self.hasher.hash_one(key.as_str()) as usize % STRIPES;
        let _turn = self.stripes[stripe]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let held = match is_blind(&op, when) {
            true => None,
            false => self.cache.get(key.as_str()).map(Held::Entry),
        };
        let now = || self.clock.wall_micros();
        match judge(&self.name, held.as_ref(), op, when, now)? {
            Verdict::Refuse(applied) => return Ok(applied),
            Verdict::Put(entry) => {
                // The first clone of some buffers allocates: here, and not in a hit.
                drop(entry.value.clone());
                self.cache.insert(KeyBuf::from(key), entry);
            }
            Verdict::Remove(_) => drop(self.cache.remove(key.as_str())),
        }
        Ok(Applied::Done)
    }
}

impl Tier for Memory {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            conditions: true,
            merge: true,
            scan: true,
            ..Capabilities::new(Durability::Memory)
        }
    }

    async fn get(&self, key: Key<'_>) -> Result<Option<Entry>> {
        let held = self.cache.get(key.as_str());
        Ok(held.filter(|entry| entry.expiry.is_none() || entry.is_live(self.clock.wall_micros())))
    }

    async fn write(&self, key: Key<'_>, op: Op, when: When) -> Result<Applied> {
        self.change(key, op, when)
    }

    /// In the order of the keys. Each page looks at every entry: few large ones are better than many small.
    async fn scan(&self, from: Option<&Bytes>, limit: usize) -> Result<Page> {
        let after = match from.map(|from| std::str::from_utf8(from)).transpose() {
            Ok(after) => after,
            Err(_) => {
                let why = "this is not where a page of this tier ended";
                return Err(Error::new(Kind::Permanent, &self.name, why));
            }
        };
        let now = self.clock.wall_micros();
        let limit = limit.max(1);
        // The first so many keys behind; a key that moved while it was looked for is there once.
        let mut first = BTreeMap::new();
        let mut more = false;
        for (key, entry) in self.cache.iter() {
            let behind = after.is_none_or(|after| key.as_key().as_str() > after);
            if behind && entry.is_live(now) {
                first.insert(key, entry);
            }
            if first.len() > limit {
                first.pop_last();
                more = true;
            }
        }
        let last = first.last_key_value().filter(|_| more);
        let next = last.map(|(key, _)| Bytes::copy_from_slice(key.as_key().as_str().as_bytes()));
        let listed = first.into_iter();
        let listed =
            listed.map(|(key, entry)| Listed::new(key, entry.value.len() as u64, entry.version));
        Ok(Page::new(listed.collect(), next))
    }
}

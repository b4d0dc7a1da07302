//! One object for each key, as long as anybody holds it.

use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

const SHARDS: usize = 32;

/// One object for each key, as long as anybody holds it: two who ask for a key at the same time get the same.
///
/// It is for locks, dogpiles and whatever else is to be shared by those who work on one key, without keeping one for
/// every key there ever was: memory is taken for the keys that are held. Clones are the same registry.
///
/// The Python original calls it `NameRegistry`, and makes its objects under one lock for all keys.
///
/// # Examples
///
/// ```
/// use documentbuffer::dogpile::{Dogpile, Registry};
/// use std::time::Duration;
///
/// let registry = Registry::new();
/// let new = |_: &String| Dogpile::<u32>::new(Duration::from_secs(60));
/// let alice = registry.get("alice".to_owned(), new);
/// let again = registry.get("alice".to_owned(), new);
/// alice.get(|| Ok::<_, std::io::Error>(3))?;
/// assert!(again.stats().creations == 1 && registry.len() == 1);
/// drop((alice, again));
/// assert!(registry.is_empty());
/// # Ok::<(), documentbuffer::dogpile::Error>(())
/// ```
pub struct Registry<K, T> {
    inner: Arc<Inner<K, T>>,
}

struct Inner<K, T> {
    shards: Vec<Mutex<HashTable<Listed<K, T>>>>,
    hasher: RandomState,
}

/// A key in the table, which keeps nothing alive.
struct Listed<K, T> {
    key: K,
    hash: u64,
    slot: Weak<Slot<K, T>>,
}

struct Slot<K, T> {
    object: OnceLock<T>,
    hash: u64,
    inner: Arc<Inner<K, T>>,
}

impl<K, T> Inner<K, T> {
    fn shard(&self, hash: u64) -> MutexGuard<'_, HashTable<Listed<K, T>>> {
        // The table takes the upper bits and the lowest; these are between.
        let at = (hash >> 32) as usize % SHARDS;
        self.shards[at]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K, T> Registry<K, T> {
    /// Nobody holds anything yet.
    pub fn new() -> Registry<K, T> {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Registry {
            inner: Arc::new(Inner {
                shards,
                hasher: RandomState::new(),
            }),
        }
    }

    /// Keys that somebody holds.
    pub fn len(&self) -> usize {
        let shards = self.inner.shards.iter();
        let shards = shards.map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner));
        shards.map(|shard| shard.len()).sum()
    }

    /// Whether nobody holds anything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K: Eq + Hash, T> Registry<K, T> {
    /// The object of that key; made now, if nobody holds it.
    ///
    /// Only one caller makes it, under no lock that another key needs; the others wait for it, as long as that takes.
    /// What they would have made it with is ignored. It must not ask for its own key.
    ///
    /// # Panics
    ///
    /// As `make` does; the next caller makes it then.
    pub fn get(&self, key: K, make: impl FnOnce(&K) -> T) -> Registered<K, T>
    where
        K: Clone,
    {
        let slot = self.slot(&key, K::clone);
        slot.object.get_or_init(|| make(&key));
        Registered { slot }
    }

    /// The same by a borrowed key, which is only copied where nobody holds it.
    ///
    /// # Panics
    ///
    /// As `make` does; the next caller makes it then.
    pub fn get_ref<Q>(&self, key: &Q, make: impl FnOnce(&Q) -> T) -> Registered<K, T>
    where
        K: std::borrow::Borrow<Q>,
        Q: ?Sized + Eq + Hash + ToOwned<Owned = K>,
    {
        let slot = self.slot(key, Q::to_owned);
        slot.object.get_or_init(|| make(key));
        Registered { slot }
    }

    fn slot<Q>(&self, key: &Q, own: impl FnOnce(&Q) -> K) -> Arc<Slot<K, T>>
    where
        K: std::borrow::Borrow<Q>,
        Q: ?Sized + Eq + Hash,
    {
        let hash = self.inner.hasher.hash_one(key);
        let mut shard = self.inner.shard(hash);
        let found = shard.find_mut(hash, |listed| {
            listed.hash == hash && listed.key.borrow() == key
        });
        if let Some(slot) = found.as_ref().and_then(|listed| listed.slot.upgrade()) {
            return slot;
        }
        let slot = Arc::new(Slot {
            object: OnceLock::new(),
            hash,
            inner: self.inner.clone(),
        });
        let weak = Arc::downgrade(&slot);
        match found {
            // Its last holder is just letting it go.
            Some(listed) => listed.slot = weak,
            None => {
                let key = own(key);
                let listed = Listed {
                    key,
                    hash,
                    slot: weak,
                };
                shard.insert_unique(hash, listed, |listed| listed.hash);
            }
        }
        slot
    }
}

impl<K, T> Drop for Slot<K, T> {
    fn drop(&mut self) {
        let own: *const Slot<K, T> = self;
        let mut shard = self.inner.shard(self.hash);
        let is_own = |listed: &Listed<K, T>| std::ptr::eq(listed.slot.as_ptr(), own);
        let listed = match shard.entry(self.hash, is_own, |listed| listed.hash) {
            Entry::Occupied(listed) => Some(listed.remove().0),
            Entry::Vacant(_) => None,
        };
        drop(shard);
        // The key is the user's.
        drop(listed);
    }
}

/// An object of a [`Registry`]: it stays the one of its key as long as this, or a clone, is held.
pub struct Registered<K, T> {
    slot: Arc<Slot<K, T>>,
}

impl<K, T> Deref for Registered<K, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // Nobody gets one of these before its object is there.
        self.slot.object.wait()
    }
}

impl<K, T> Clone for Registered<K, T> {
    fn clone(&self) -> Registered<K, T> {
        Registered {
            slot: self.slot.clone(),
        }
    }
}

impl<K, T: fmt::Debug> fmt::Debug for Registered<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registered").field(&**self).finish()
    }
}

impl<K, T> Clone for Registry<K, T> {
    fn clone(&self) -> Registry<K, T> {
        Registry {
            inner: self.inner.clone(),
        }
    }
}

impl<K, T> Default for Registry<K, T> {
    fn default() -> Registry<K, T> {
        Registry::new()
    }
}

impl<K, T> fmt::Debug for Registry<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("keys", &self.len())
            .finish()
    }
}

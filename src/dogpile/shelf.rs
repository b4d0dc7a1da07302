//! Where the values of all keys lie, and the dogpiles of those keys that are asked for.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use lru::LruCache;

use super::answer::{Created, Held};
use super::options::Options;
use super::registry::{Registered, Registry};
use super::shared::Shared;
use super::stats::{Counts, count};
use crate::clock::Clock;
use crate::lease::BoxLease;
use crate::tier::Key;
use crate::tier::guarded::Guarded;

/// Keys of which something is remembered between two calls.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");

/// The dogpile of a key.
pub(super) type Place = Registered<String, Arc<Shared<Bytes>>>;

pub(super) struct Shelf<T> {
    pub(super) tier: Arc<T>,
    options: Options,
    pub(super) clock: Arc<dyn Clock>,
    places: Registry<String, Arc<Shared<Bytes>>>,
    remembered: Mutex<LruCache<String, Place>>,
    pub(super) lease: Option<(BoxLease, Duration)>,
    pub(super) counts: Arc<Counts>,
}

impl<T: Guarded> Shelf<T> {
    pub(super) fn new(tier: T, options: Options) -> Shelf<T> {
        Shelf {
            tier: Arc::new(tier),
            clock: options.runtime_clock(),
            options,
            places: Registry::new(),
            remembered: Mutex::new(LruCache::new(REMEMBERED)),
            lease: None,
            counts: Arc::default(),
        }
    }

    /// Another one over the same tier.
    pub(super) fn under(&self, lease: BoxLease, time: Duration) -> Shelf<T> {
        Shelf {
            tier: self.tier.clone(),
            options: self.options.clone(),
            clock: self.clock.clone(),
            places: Registry::new(),
            remembered: Mutex::new(LruCache::new(REMEMBERED)),
            lease: Some((lease, time)),
            counts: self.counts.clone(),
        }
    }

    pub(super) fn place(&self, key: &str) -> Place {
        self.places.get_ref(key, |_| {
            let shared = Shared::new(self.options.clone(), self.clock.clone());
            Arc::new(shared.counting(self.counts.clone()))
        })
    }

    pub(super) fn remember(&self, key: &str, place: &Place) {
        let remembered = self.remembered.lock();
        let mut remembered = remembered.unwrap_or_else(PoisonError::into_inner);
        let old = remembered.push(key.to_owned(), place.clone());
        drop(remembered);
        drop(old);
    }

    /// What the tier has, or that there is none as far as is known.
    pub(super) async fn look(&self, place: &Shared<Bytes>, key: Key<'_>) -> Option<Held<Bytes>> {
        match self.tier.get(key).await {
            Ok(Some(entry)) => place.stamped(Created::new(entry.value).at(entry.created)),
            Ok(None) => place.kept_none(),
            Err(_) => {
                count(&self.counts.tier_errors);
                None
            }
        }
    }
}

impl<T> fmt::Debug for Shelf<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelf")
            .field("options", &self.options)
            .field("keys", &self.places.len())
            .finish_non_exhaustive()
    }
}

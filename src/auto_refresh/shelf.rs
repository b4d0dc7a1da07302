//! Where items outlive the process.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

use super::error::BoxError;
use crate::generation::Mark;
use crate::tier::guarded::Guarded;
use crate::tier::{self, Applied, Entry, KeyBuf, Kind, Op, Version, When};

/// Keys that are listed at once.
const PAGE: usize = 1000;

/// An item as the store has it.
pub(super) struct Loaded<V> {
    pub(super) value: Arc<V>,
    pub(super) terminal: bool,
}

/// What became of a write.
pub(super) enum Saved<V> {
    /// It was made.
    Made,
    /// Somebody else wrote in between, and this is there now.
    Other(Option<Loaded<V>>),
}

pub(super) type Future<'a, T> = Pin<Box<dyn std::future::Future<Output = T> + Send + 'a>>;

/// A store of items, of whatever tier.
pub(super) trait Shelf<V>: Send + Sync {
    /// What is computed from now on is stored only if nobody else has written since.
    fn mark(&self) -> Mark;

    /// Stores an item, or removes it, if nobody has written since that moment.
    fn save<'a>(
        &'a self,
        id: &'a str,
        value: Option<Arc<V>>,
        view: Option<Mark>,
    ) -> Future<'a, tier::Result<Saved<V>>>;
}

pub(super) type Encode<V> = dyn Fn(&V) -> Bytes + Send + Sync;
pub(super) type Decode<V> = dyn Fn(Bytes) -> Result<V, BoxError> + Send + Sync;

pub(super) struct Codec<V, T> {
    pub(super) tier: T,
    pub(super) encode: Box<Encode<V>>,
    pub(super) decode: Box<Decode<V>>,
    pub(super) terminal: Option<fn(&V) -> bool>,
}

impl<V: Send + Sync + 'static, T: Guarded> Codec<V, T> {
    pub(super) async fn load(&self, key: &KeyBuf) -> tier::Result<Option<Loaded<V>>> {
        let Some(entry) = self.tier.get(key.as_key()).await? else {
            return Ok(None);
        };
        let value = (self.decode)(entry.value).map_err(|error| {
            let message = format!("item {key} cannot be decoded: {error}");
            tier::Error::new(Kind::Corrupt, self.tier.name(), message)
        })?;
        let terminal = self.terminal.is_some_and(|is| is(&value));
        let value = Arc::new(value);
        Ok(Some(Loaded { value, terminal }))
    }

    /// The keys it holds, the one that was written last at the end.
    pub(super) async fn keys(&self) -> tier::Result<Vec<KeyBuf>> {
        let (mut keys, mut from) = (Vec::new(), None);
        loop {
            let page = self.tier.scan(from.as_ref(), PAGE).await?;
            keys.extend(page.listed.into_iter().map(|it| (it.version, it.key)));
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        keys.sort_by_key(|(version, _): &(Version, KeyBuf)| *version);
        Ok(keys.into_iter().map(|(_, key)| key).collect())
    }
}

impl<V: Send + Sync + 'static, T: Guarded> Shelf<V> for Codec<V, T> {
    fn mark(&self) -> Mark {
        self.tier.generations().mark()
    }

    fn save<'a>(
        &'a self,
        id: &'a str,
        value: Option<Arc<V>>,
        view: Option<Mark>,
    ) -> Future<'a, tier::Result<Saved<V>>> {
        Box::pin(async move {
            let key = KeyBuf::new(id)?;
            let op = match &value {
                Some(value) => Op::Put(Entry::new((self.encode)(value))),
                None => Op::Remove(Version::NONE),
            };
            let written = match view {
                Some(view) => {
                    self.tier
                        .land(&view, key.as_key(), op, When::Always)
                        .await?
                }
                None => Some(self.tier.write(key.as_key(), op, When::Always).await?),
            };
            match written {
                Some(Applied::Done) => Ok(Saved::Made),
                _ => Ok(Saved::Other(self.load(&key).await?)),
            }
        })
    }
}

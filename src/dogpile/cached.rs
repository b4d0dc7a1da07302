//! Values by key in a tier, made by one creator at a time.

use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::result::Result as StdResult;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::answer::{Answer, Created};
use super::create::Creation;
use super::error::{Error, Result};
use super::options::Options;
use super::shelf::Shelf;
use super::stats::Stats;
use crate::lease::{BoxLease, Lease};
use crate::tier::guarded::Guarded;
use crate::tier::{self, Key, KeyBuf, Op, Version, When};

/// Values by key in a tier, each made by one creator at a time. Cheap to clone: all clones are the same.
///
/// The tier keeps the value and [when it was made](crate::tier::Entry::created); an entry without that time is taken
/// for none. Over a [`Chain`](crate::chain) the value that is stale in memory is shown while the new one is made and
/// written through to the truth. Any other tier is put into a [`Guard`](crate::tier::guarded::Guard), which must then
/// be what everybody writes through.
///
/// A value is stored only if nothing was written under its key since its making began, so what is
/// [removed](Cached::remove) stays removed. What is durable when a call returns is what the tier
/// [keeps](crate::tier::Capabilities::durability) of a write: those who wait for a value get it when it is stored. An
/// error of the tier fails no call; it is [counted](Stats::tier_errors), and the value goes to those who asked.
///
/// "There is none" ([`Created::gone`]), the delays after failures, and what was [expired](Cached::expire) are
/// remembered in this process, for the 4,096 keys of which this was of use last.
///
/// Processes that share the tier each make a value, unless they share a [lease](Cached::lease) too.
///
/// # Examples
///
/// ```
/// use documentbuffer::dogpile::{Cached, Options};
/// use documentbuffer::tier::guarded::Guard;
/// # use documentbuffer::tier::{Applied, Capabilities, Entry, Key, KeyBuf, Op, Result, Tier, When};
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
/// use std::time::Duration;
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
/// # runtime.block_on(async {
/// # let tier = Map::default();
/// let cards = Cached::new(Guard::new(tier), Options::new(Duration::from_secs(60)));
/// for _ in 0..3 {
///     let answer = cards.get("alice", || async { Ok::<_, std::io::Error>("3 cards") }).await?;
///     assert_eq!(answer.value().map(|value| &value[..]), Some(&b"3 cards"[..]));
/// }
/// assert_eq!(cards.stats().creations, 1);
/// # Ok::<(), documentbuffer::dogpile::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Cached<T> {
    shelf: Arc<Shelf<T>>,
}

impl<T: Guarded> Cached<T> {
    /// Values in that tier, on those terms. Its clock is tokio's, unless the options say another.
    pub fn new(tier: T, options: Options) -> Cached<T> {
        Cached {
            shelf: Arc::new(Shelf::new(tier, options)),
        }
    }

    /// Creates only under that lease of the key, taken for so long and renewed as long as the creator runs.
    ///
    /// Who does not get it takes the stale value, or, where there is none, waits for what the holder makes, and looks
    /// every now and then. What is stored has the fence of the lease as the first part of its [`Version`], and a tier that
    /// checks conditions refuses what comes later from a holder whose time is over. Where the lease itself fails, it is
    /// created without: it only saves work.
    ///
    /// To be said before it is used: places that others hold at this moment do not know of it.
    #[must_use]
    pub fn lease(self, lease: impl Lease, time: Duration) -> Cached<T> {
        let shelf = self.shelf.under(BoxLease::new(lease), time);
        Cached {
            shelf: Arc::new(shelf),
        }
    }

    /// The value under that key, made if need be; as [`AsyncDogpile::get`](super::AsyncDogpile::get).
    ///
    /// The creator is called in a task of its own. In a tier, a value that is [good for a time of its
    /// own](Created::expires) is absent after that, and never stale.
    ///
    /// # Errors
    ///
    /// As [`AsyncDogpile::get`](super::AsyncDogpile::get); [`Error::Key`]; [`Error::Leased`].
    pub async fn get<F, I, E>(
        &self,
        key: &str,
        creator: impl FnOnce() -> F + Send + 'static,
    ) -> Result<Answer<Bytes>>
    where
        F: Future<Output = StdResult<I, E>> + Send + 'static,
        I: Into<Bytes> + Send + 'static,
        E: Into<Box<dyn StdError + Send + Sync>> + Send + 'static,
    {
        let creator = || {
            let made = creator();
            async { made.await.map(|value| Created::new(value.into())) }
        };
        self.get_created(key, |_| creator()).await
    }

    /// The same, with a creator that says more of what it has made, and is told the fence of its lease.
    ///
    /// # Errors
    ///
    /// As [`get`](Cached::get).
    pub async fn get_created<F, E>(
        &self,
        key: &str,
        creator: impl FnOnce(Option<u64>) -> F + Send + 'static,
    ) -> Result<Answer<Bytes>>
    where
        F: Future<Output = StdResult<Created<Bytes>, E>> + Send + 'static,
        E: Into<Box<dyn StdError + Send + Sync>> + Send + 'static,
    {
        let owned = KeyBuf::new(key).map_err(Error::Key)?;
        let place = self.shelf.place(key);
        let look = || self.shelf.look(&place, owned.as_key());
        let view = || Some(self.shelf.tier.generations().token(key));
        let create = |elected, shows| {
            let creation = Creation {
                shelf: self.shelf.clone(),
                place: place.clone(),
                key: owned.clone(),
                shows,
            };
            creation.run(elected, creator)
        };
        place.drive_async(look, view, create).await
    }

    /// Removes what is under that key. Who asks from now on gets a value whose making began after this.
    ///
    /// # Errors
    ///
    /// The tier's.
    pub async fn remove(&self, key: &str) -> tier::Result<()> {
        let op = Op::Remove(Version::NONE);
        let removed = self
            .shelf
            .tier
            .write(Key::new(key)?, op, When::Always)
            .await;
        removed.map(drop)
    }

    /// What is under that key counts as stale from now on, in this process: the next caller makes it anew, and the
    /// others take it meanwhile.
    pub fn expire(&self, key: &str) {
        let place = self.shelf.place(key);
        place.expire();
        self.shelf.remember(key, &place);
    }

    /// Whether somebody in this process creates under that key at this moment.
    pub fn is_creating(&self, key: &str) -> bool {
        self.shelf.place(key).is_creating()
    }

    /// The tier within.
    pub fn tier(&self) -> &T {
        &self.shelf.tier
    }

    /// What it has done, for all keys.
    pub fn stats(&self) -> Stats {
        self.shelf.counts.read()
    }
}

/// A function that makes a value, as one that looks into a tier first: the guide's decorator. See [`Cached`].
///
/// # Examples
///
/// ```
/// use documentbuffer::dogpile::{Options, cached};
/// # use documentbuffer::tier::guarded::Guard;
/// # use documentbuffer::tier::{Applied, Capabilities, Entry, Key, Op, Result, Tier, When};
/// # struct Null;
/// # impl Tier for Null {
/// #     fn name(&self) -> &str { "null" }
/// #     fn capabilities(&self) -> Capabilities { Capabilities::default() }
/// #     async fn get(&self, _: Key<'_>) -> Result<Option<Entry>> { Ok(None) }
/// #     async fn write(&self, _: Key<'_>, _: Op, _: When) -> Result<Applied> { Ok(Applied::Done) }
/// # }
/// # let tier = Guard::new(Null);
/// use std::time::Duration;
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
/// # runtime.block_on(async {
/// let hourly = Options::new(Duration::from_secs(3600));
/// let slow = cached(tier, "stuff", hourly, || async { Ok::<_, std::io::Error>("from afar") });
/// assert!(slow().await?.is_fresh());
/// # Ok::<(), documentbuffer::dogpile::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn cached<T, C, F, I, E>(
    tier: T,
    key: impl Into<String>,
    options: Options,
    creator: C,
) -> impl Fn() -> Pin<Box<dyn Future<Output = Result<Answer<Bytes>>> + Send>> + Clone + Send + Sync
where
    T: Guarded,
    C: Fn() -> F + Clone + Send + Sync + 'static,
    F: Future<Output = StdResult<I, E>> + Send + 'static,
    I: Into<Bytes> + Send + 'static,
    E: Into<Box<dyn StdError + Send + Sync>> + Send + 'static,
{
    let (cached, key) = (Cached::new(tier, options), key.into());
    move || {
        let (cached, key, creator) = (cached.clone(), key.clone(), creator.clone());
        Box::pin(async move { cached.get(&key, creator).await })
    }
}

impl<T> Clone for Cached<T> {
    fn clone(&self) -> Cached<T> {
        Cached {
            shelf: self.shelf.clone(),
        }
    }
}

impl<T> fmt::Debug for Cached<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached")
            .field("shelf", &self.shelf)
            .finish_non_exhaustive()
    }
}

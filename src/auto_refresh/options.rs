//! What can be chosen when a cache is built.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::batch::{Action, Batch, Item, Response};
use super::error::{BoxError, Error};
use super::rate::{Rate, RateLimit};
use super::shared::{Batcher, Callbacks, Core, Settings};
use super::shelf::{Codec, Decode, Encode, Shelf};
use super::{AutoRefresh, Handle};
use crate::clock::Clock;
use crate::clock::runtime::RuntimeClock;
use crate::tier::guarded::Guarded;

/// The longest of all delays: with what is added at random it is still a time.
const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// How a cache refreshes itself.
///
/// # Examples
///
/// ```
/// use documentbuffer::auto_refresh::{Batch, Options, RateLimit};
/// use std::time::Duration;
///
/// let jobs = Options::new("jobs")
///     .size(10_000)
///     .period(Duration::from_secs(30))
///     .parallelism(8)
///     .rate(RateLimit::per_second(50).burst(10))
///     .batches_of(100)
///     .build(async |jobs: Batch<String>| {
///         // Asks the service for the state of all of them, and says which have another one.
///         Ok::<_, std::io::Error>(jobs.iter().map(|job| job.update("done".to_owned())).collect())
///     });
/// # assert!(jobs.is_ok());
/// ```
#[must_use]
pub struct Options<V> {
    settings: Settings,
    rate: Option<RateLimit>,
    batcher: Option<Box<Batcher<V>>>,
    terminal: Option<fn(&V) -> bool>,
    clock: Option<Arc<dyn Clock>>,
}

impl<V> fmt::Debug for Options<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("settings", &self.settings)
            .field("rate", &self.rate)
            .finish_non_exhaustive()
    }
}

impl<V: Send + Sync + 'static> Options<V> {
    /// The defaults: 1,000 items, a period of 10 s, 4 refreshes at once and any number a second, batches of one
    /// item, delays of 0.1 s to a minute after failures, no refresh on creation. The name is for metrics.
    pub fn new(name: impl Into<String>) -> Options<V> {
        Options {
            settings: Settings {
                name: name.into(),
                size: 1000,
                period: Duration::from_secs(10),
                parallelism: 4,
                shortest: Duration::from_millis(100),
                longest: Duration::from_secs(60),
                on_create: false,
                seed: None,
            },
            rate: None,
            batcher: None,
            terminal: None,
            clock: None,
        }
    }

    /// It holds so many items at most; whoever creates one more evicts the one that was not used for the
    /// longest time. A size of 0 is refused.
    pub fn size(mut self, items: usize) -> Options<V> {
        self.settings.size = items;
        self
    }

    /// So much time passes between a cycle's having queued its batches and the next cycle. 0 is refused.
    pub fn period(mut self, period: Duration) -> Options<V> {
        self.settings.period = period;
        self
    }

    /// So many batches are refreshed at once, 1,024 at most, and as many items written to the store. 0 is refused.
    pub fn parallelism(mut self, batches: usize) -> Options<V> {
        self.settings.parallelism = batches.min(1024);
        self
    }

    /// Batches begin no faster than that. They wait in the queue, and what waits there costs nothing of it.
    pub fn rate(mut self, limit: RateLimit) -> Options<V> {
        self.rate = Some(limit);
        self
    }

    /// An item whose refresh failed is not refreshed for so long, whoever asks; for twice as long after the next
    /// failure, up to `longest`. Up to as much again is added at random.
    pub fn delays(mut self, shortest: Duration, longest: Duration) -> Options<V> {
        self.settings.shortest = shortest.min(CENTURY);
        self.settings.longest = longest.max(shortest).min(CENTURY);
        self
    }

    /// Divides what is due in a cycle into batches.
    ///
    /// It gets the items that were not used for the longest time first. What it leaves out is not refreshed in
    /// this cycle, what it names twice is refreshed once, and what it was not given is passed over. An error or a
    /// panic ends this cycle, and is counted. It must not block: it runs on the runtime.
    pub fn batches(
        mut self,
        batches: impl Fn(Vec<Item<V>>) -> Result<Vec<Vec<Item<V>>>, BoxError> + Send + Sync + 'static,
    ) -> Options<V> {
        self.batcher = Some(Box::new(batches));
        self
    }

    /// Batches of so many items, in that order; of one at least.
    pub fn batches_of(self, items: usize) -> Options<V> {
        self.batches(move |due| {
            let mut due = due.into_iter();
            let next = || Some(due.by_ref().take(items.max(1)).collect());
            let batches = std::iter::from_fn(next);
            Ok(batches
                .take_while(|batch: &Vec<_>| !batch.is_empty())
                .collect())
        })
    }

    /// An item is refreshed as soon as it is created, in a batch of its own. Without it a new item waits for the
    /// next cycle.
    pub fn refresh_on_create(mut self, refresh: bool) -> Options<V> {
        self.settings.on_create = refresh;
        self
    }

    /// Items of which that is true are never refreshed again; it is asked when they are created or updated.
    pub fn terminal(mut self, is_terminal: fn(&V) -> bool) -> Options<V> {
        self.terminal = Some(is_terminal);
        self
    }

    /// Draws what is added to delays from a seed, the same after each failure: for tests.
    pub fn seed(mut self, seed: u64) -> Options<V> {
        self.settings.seed = Some(seed);
        self
    }

    /// By what backoff and rate are measured. Default: the runtime's clock. The waiting itself is always done by
    /// the runtime.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Options<V> {
        self.clock = Some(clock);
        self
    }

    /// A cache that asks `sync` what became of its items; it begins with [`AutoRefresh::start`].
    ///
    /// `sync` gets a batch and answers for as many of its items as it likes; what it does not name is unchanged.
    /// Where it names an item twice the first answer counts, and it may answer for items that were not in the
    /// batch. An error or a panic counts as a failure of all items of the batch.
    ///
    /// # Errors
    ///
    /// [`Error::Size`], [`Error::Period`], [`Error::Parallelism`] and [`Error::Rate`].
    pub fn build<F, A, E>(self, sync: F) -> Result<AutoRefresh<V>, Error>
    where
        F: Fn(Batch<V>) -> A + Send + Sync + 'static,
        A: Future<Output = Result<Vec<Response<V>>, E>> + Send + 'static,
        E: fmt::Display,
    {
        Ok(Handle::of(self.core(sync, None)?))
    }

    /// Its items outlive the process: they are kept in that tier, and read from it when the cache is opened.
    ///
    /// Creations, answers and deletions are written in the background, the newest of each item, with the delays of
    /// [`delays`](Options::delays) after a failure; [`AutoRefresh::persist`] and [`AutoRefresh::shutdown`] say what
    /// has arrived. An item that is evicted is removed there too: what nobody refreshes grows old. The tier
    /// belongs to the cache. Where somebody else writes an item through it while a refresh runs, the answer is not
    /// stored, and the item becomes what was written (one that the answer says is gone is an item again in the next
    /// life); this is not seen where the cache itself wrote the item
    /// meanwhile. A terminal item is one in the next life too if [`terminal`](Options::terminal) says so.
    ///
    /// # Examples
    ///
    /// ```
    /// use documentbuffer::auto_refresh::{Batch, Options};
    /// use documentbuffer::tier::file::FileTier;
    /// use documentbuffer::tier::guarded::Guard;
    ///
    /// # let dir = std::env::temp_dir().join(format!("refreshed-{}", std::process::id()));
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    /// # runtime.block_on(async {
    /// let tier = Guard::new(FileTier::open(&dir)?);
    /// let jobs = Options::new("jobs")
    ///     .store(tier, |job: &String| job.clone(), |bytes| String::from_utf8(bytes.into()))
    ///     .open(async |_: Batch<String>| Ok::<_, std::io::Error>(Vec::new()))
    ///     .await?;
    /// jobs.get_or_create("job 1", "not started".to_owned())?;
    /// jobs.persist().await?; // From here on it outlives the process.
    /// jobs.shutdown().await?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # std::fs::remove_dir_all(&dir)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn store<T: Guarded, B: Into<Bytes>, E: Into<BoxError>>(
        self,
        tier: T,
        encode: impl Fn(&V) -> B + Send + Sync + 'static,
        decode: impl Fn(Bytes) -> Result<V, E> + Send + Sync + 'static,
    ) -> Stored<V, T> {
        Stored {
            options: self,
            tier,
            encode: Box::new(move |value| encode(value).into()),
            decode: Box::new(move |bytes| decode(bytes).map_err(Into::into)),
        }
    }

    fn core<F, A, E>(self, sync: F, shelf: Option<Arc<dyn Shelf<V>>>) -> Result<Core<V>, Error>
    where
        F: Fn(Batch<V>) -> A + Send + Sync + 'static,
        A: Future<Output = Result<Vec<Response<V>>, E>> + Send + 'static,
        E: fmt::Display,
    {
        let settings = self.settings;
        if settings.size == 0 {
            return Err(Error::Size);
        }
        if settings.period.is_zero() {
            return Err(Error::Period);
        }
        if settings.parallelism == 0 {
            return Err(Error::Parallelism);
        }
        let rate = match self.rate {
            None => None,
            Some(limit) => Some(Rate::new(limit).ok_or(Error::Rate)?),
        };
        let terminal = self.terminal;
        let callbacks = Callbacks {
            sync: Box::new(move |batch| {
                let answers = sync(batch);
                Box::pin(async move {
                    let answers = answers.await.map_err(|error| error.to_string())?;
                    Ok(judged(answers, terminal))
                })
            }),
            batcher: self.batcher,
            terminal,
        };
        let clock = self.clock.unwrap_or_else(|| Arc::new(RuntimeClock::new()));
        Ok(Core::new(settings, callbacks, rate, clock, shelf))
    }
}

/// Options of a cache whose items outlive the process. See [`Options::store`].
#[must_use]
pub struct Stored<V, T> {
    options: Options<V>,
    tier: T,
    encode: Box<Encode<V>>,
    decode: Box<Decode<V>>,
}

impl<V, T> fmt::Debug for Stored<V, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stored = &mut f.debug_struct("Stored");
        stored
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl<V: Send + Sync + 'static, T: Guarded> Stored<V, T> {
    /// A cache with the items of the store, which asks `sync` what became of them; otherwise as
    /// [`Options::build`]. Its writes begin at once, its refreshes with [`AutoRefresh::start`].
    ///
    /// Where the store has more items than there is room for, those written first are evicted, and removed.
    ///
    /// # Errors
    ///
    /// As [`Options::build`]; [`Error::NoRuntime`]; [`Error::Store`] where the store cannot list, cannot be read,
    /// or holds what cannot be decoded.
    pub async fn open<F, A, E>(self, sync: F) -> Result<AutoRefresh<V>, Error>
    where
        F: Fn(Batch<V>) -> A + Send + Sync + 'static,
        A: Future<Output = Result<Vec<Response<V>>, E>> + Send + 'static,
        E: fmt::Display,
    {
        let codec = Arc::new(Codec {
            tier: self.tier,
            encode: self.encode,
            decode: self.decode,
            terminal: self.options.terminal,
        });
        let core = self.options.core(sync, Some(codec.clone()))?;
        let mut keys = codec.keys().await?;
        let excess = keys.len().saturating_sub(core.settings.size);
        for key in keys.drain(..excess) {
            core.leave_out(key.as_key().as_str());
        }
        for key in keys {
            if let Some(loaded) = codec.load(&key).await? {
                core.take_over(key.as_key().as_str(), loaded);
            }
        }
        let cache = Handle::of(core);
        cache.begin_to_save()?;
        Ok(cache)
    }
}

/// Answers, of which those are terminal whose values are.
fn judged<V>(answers: Vec<Response<V>>, terminal: Option<fn(&V) -> bool>) -> Vec<Response<V>> {
    let Some(is_terminal) = terminal else {
        return answers;
    };
    let judge = |answer: Response<V>| match answer.action {
        Action::Update(value) if is_terminal(&value) => {
            Response::new(answer.id, Action::Terminal(value))
        }
        _ => answer,
    };
    answers.into_iter().map(judge).collect()
}

//! Items in memory that are kept fresh in the background.
//!
//! Who creates an item says once what it is; from then on a callback is asked, item by item or in batches,
//! what became of it. Reads are plain calls that never wait for a refresh.
//!
//! ```text
//!   get, get_or_create -> items, exact LRU <- answers, if the item is still the one that was asked about
//!                            |                   ^
//!             cycle: what is due -> batches -> queue -> workers, rate, callback
//! ```
//!
//! # What it promises
//!
//! * One refresh of an id runs at a time, also if its item was deleted or evicted, and created again.
//! * An answer changes an item only if nothing has changed it since the batch began. So nothing deleted or evicted
//!   comes back, and no older answer stands over a newer one.
//! * No more is queued than there are items, however slow the callback is.
//! * An item whose refresh failed is left alone until its backoff is over, whoever asks for it.
//! * A refresh is no use of an item: what is only refreshed is evicted before what is read.
//! * A callback that panics has failed for this batch, and no worker is lost.
//! * No code of the user, be it the drop of a value, is called under a lock.
//!
//! What is durable: nothing when a call returns, since all is in memory. With [`Options::store`] items outlive the
//! process, and [`AutoRefresh::persist`] waits until they do. The module `facade` (feature `metrics`) tells the
//! crate `metrics` what was counted.
//!
//! After: `AutoRefresh` of flytestdlib, whose items came back after a deletion, whose queue grew without end, and
//! whose workers died of a panic.

mod batch;
mod contain;
mod counts;
mod error;
#[cfg(feature = "metrics")]
pub mod facade;
mod items;
mod options;
mod owed;
mod rate;
mod report;
mod save;
mod shared;
mod shelf;
mod signal;
mod worker;

pub use batch::{Action, Batch, Item, Response};
pub use error::{BoxError, Error};
pub use options::{Options, Stored};
pub use rate::RateLimit;
pub use report::Stats;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime;
use tokio::task::JoinHandle;

use crate::tier::Key;
use crate::tier::metered::Histogram;
use shared::{Core, Life};

/// A cache whose items are refreshed in the background; cheap to clone, and all clones are the same.
///
/// No call but [`shutdown`](AutoRefresh::shutdown) waits for anything longer than for a lock, which nobody holds
/// while user code runs; the longest it is held for is a cycle's listing, some nanoseconds an item. When the last
/// clone is dropped the tasks are ended, whatever they do; so the callback must hold no clone.
///
/// # Examples
///
/// ```
/// use documentbuffer::auto_refresh::{Batch, Options};
/// use std::time::Duration;
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
/// # runtime.block_on(async {
/// let jobs = Options::new("jobs")
///     .period(Duration::from_secs(1))
///     .build(async |jobs: Batch<&'static str>| {
///         // Ask the service here.
///         Ok::<_, std::io::Error>(jobs.iter().map(|job| job.terminal("completed")).collect())
///     })?;
/// jobs.start()?;
/// assert_eq!(*jobs.get_or_create("job 1", "not started")?, "not started");
/// tokio::time::sleep(Duration::from_secs(10)).await;
/// assert_eq!(jobs.get("job 1").as_deref(), Some(&"completed"));
/// jobs.shutdown().await?;
/// # Ok::<(), documentbuffer::auto_refresh::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct AutoRefresh<V> {
    handle: Arc<Handle<V>>,
}

/// What goes with the last clone.
struct Handle<V> {
    core: Arc<Core<V>>,
    /// Those that refresh, and those that write to the store.
    tasks: Mutex<[Option<Arc<Tasks>>; 2]>,
}

/// Whoever joins them holds the lock, and may give up and leave the rest to the next one.
type Tasks = tokio::sync::Mutex<Vec<JoinHandle<()>>>;

const REFRESH: usize = 0;
const SAVE: usize = 1;

impl<V: Send + Sync + 'static> Handle<V> {
    /// The first handle of a cache that nothing runs for yet.
    fn of(core: Core<V>) -> AutoRefresh<V> {
        let handle = Arc::new(Handle {
            core: Arc::new(core),
            tasks: Mutex::default(),
        });
        AutoRefresh { handle }
    }
}

impl<V> Handle<V> {
    fn tasks(&self) -> MutexGuard<'_, [Option<Arc<Tasks>>; 2]> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for tasks that have been told to end.
    async fn join(&self, which: usize) {
        let tasks = self.tasks().get(which).cloned().flatten();
        if let Some(tasks) = tasks {
            let mut tasks = tasks.lock().await;
            while let Some(task) = tasks.last_mut() {
                // One that panicked has ended too.
                let _ = task.await;
                tasks.pop();
            }
        }
    }
}

impl<V> Drop for Handle<V> {
    fn drop(&mut self) {
        // Nobody joins them: that would take a handle.
        let tasks = std::mem::take(&mut *self.tasks()).into_iter().flatten();
        for task in tasks
            .filter_map(Arc::into_inner)
            .flat_map(Tasks::into_inner)
        {
            task.abort();
        }
    }
}

impl<V: Send + Sync + 'static> AutoRefresh<V> {
    /// Begins to refresh: a first cycle at once, then one period after the other. It returns at once.
    ///
    /// # Errors
    ///
    /// [`Error::Started`], [`Error::Stopped`], and [`Error::NoRuntime`] outside a tokio runtime with time.
    pub fn start(&self) -> Result<(), Error> {
        let core = &self.handle.core;
        let mut tasks = self.handle.tasks();
        match core.lock().life {
            Life::New => {}
            Life::Started => return Err(Error::Started),
            Life::Stopped => return Err(Error::Stopped),
        }
        let runtime = the_runtime()?;
        {
            let mut state = core.lock();
            if state.life == Life::Stopped {
                return Err(Error::Stopped);
            }
            state.life = Life::Started;
        }
        let mut spawned = vec![runtime.spawn(worker::cycles(Arc::clone(core)))];
        let workers = (0..core.settings.parallelism).map(|_| worker::work(Arc::clone(core)));
        spawned.extend(workers.map(|worker| runtime.spawn(worker)));
        tasks[REFRESH] = Some(Arc::new(Tasks::new(spawned)));
        Ok(())
    }

    /// Begins to write to the store, where there is one.
    fn begin_to_save(&self) -> Result<(), Error> {
        let core = &self.handle.core;
        let runtime = the_runtime()?;
        if let Some(shelf) = &core.shelf {
            let task = || save::work(Arc::clone(core), Arc::clone(shelf));
            let spawned = (0..core.settings.parallelism).map(|_| runtime.spawn(task()));
            self.handle.tasks()[SAVE] = Some(Arc::new(Tasks::new(spawned.collect())));
        }
        Ok(())
    }

    /// The item of that id, or none. This is a use of it, and counted as a hit or a miss.
    pub fn get(&self, id: &str) -> Option<Arc<V>> {
        self.handle.core.lock().items.get(id)
    }

    /// The item of that id, which is `item` if there is none; all callers get the same one.
    ///
    /// This is a use of it, and takes back a deletion that was asked for: the old item stays. A new item makes
    /// the least recently used one go where there is no room.
    ///
    /// # Errors
    ///
    /// [`Error::Id`] for an id of more than [`MAX_KEY`](crate::tier::MAX_KEY) bytes.
    ///
    /// # Panics
    ///
    /// Where code of the caller does: the drop of a value that goes, or [`Options::terminal`].
    pub fn get_or_create(&self, id: &str, item: impl Into<Arc<V>>) -> Result<Arc<V>, Error> {
        self.get_or_create_with(id, || item)
    }

    /// Likewise; the item is made only where there is none, with no lock held. Of several callers who make one at
    /// once, all get the first that is stored.
    ///
    /// # Errors
    ///
    /// As [`get_or_create`](AutoRefresh::get_or_create).
    pub fn get_or_create_with<T: Into<Arc<V>>>(
        &self,
        id: &str,
        item: impl FnOnce() -> T,
    ) -> Result<Arc<V>, Error> {
        Key::new(id)?;
        let core = &self.handle.core;
        let kept = core.lock().items.keep(id);
        Ok(kept.unwrap_or_else(|| core.create(id, item().into())))
    }

    /// Has the next cycle delete the item; until then it stays as it is, and is read as before. Nothing happens
    /// where there is none, and nothing is deleted while no cycles are made.
    pub fn delete_delayed(&self, id: &str) {
        self.handle.core.lock().items.doom(id);
    }

    /// What it holds and has done.
    pub fn stats(&self) -> Stats {
        let core = &self.handle.core;
        let state = core.lock();
        let (queued, running, failing) = state.items.at_work();
        let owed = state.owed.as_ref().map_or(0, |owed| owed.len());
        let (size, counts) = (state.items.len(), state.items.counts.clone());
        drop(state);
        Stats {
            name: core.settings.name.clone(),
            source: core.source,
            size,
            queued,
            running,
            failing,
            hits: counts.hits,
            misses: counts.misses,
            created: counts.created,
            evictions: counts.evictions,
            deletions: counts.deletions,
            gone: counts.gone,
            cycles: counts.cycles,
            cycle_errors: counts.cycle_errors,
            sat_out: counts.sat_out,
            syncs: counts.syncs,
            sync_errors: counts.sync_errors,
            panics: counts.panics,
            updates: counts.updates,
            dropped: counts.dropped,
            owed,
            saves: counts.saves,
            save_errors: counts.save_errors,
            replaced: counts.replaced,
            latency: Histogram::new(counts.buckets, counts.nanos),
            last_error: counts.last_error,
        }
    }

    /// Waits until all that happened before is in the store; how durable it is then says the tier. Where there is
    /// no store it returns at once. While the store fails it waits: put a time-out around it.
    ///
    /// # Errors
    ///
    /// [`Error::Unsaved`] where the cache was shut down before.
    pub async fn persist(&self) -> Result<(), Error> {
        self.handle.core.persist().await
    }

    /// Ends the refreshing: nothing begins any more, what runs is told so, and waited for. Then what is owed to the
    /// store is written, each item once more and no more often. All tasks have ended when it returns. The items
    /// stay in memory, and are read and created there as before.
    ///
    /// A callback that does not heed [`Batch::cancelled`] is waited for all the same, and so is the store. Who gives
    /// up waiting may call it again. A callback must not wait for it: it would wait for itself.
    ///
    /// # Errors
    ///
    /// [`Error::Unsaved`] where the store does not have all.
    pub async fn shutdown(&self) -> Result<(), Error> {
        self.handle.core.stop();
        self.handle.join(REFRESH).await;
        self.handle.core.close_store();
        self.handle.join(SAVE).await;
        self.handle.core.unsaved()
    }
}

/// The runtime here, if it can tell the time.
fn the_runtime() -> Result<runtime::Handle, Error> {
    let runtime = runtime::Handle::try_current().map_err(|_| Error::NoRuntime)?;
    // There is no other way to ask whether it has a time driver.
    let timer = || drop(tokio::time::sleep(Duration::ZERO));
    crate::contain::call(timer).map_err(|_| Error::NoRuntime)?;
    Ok(runtime)
}

impl<V> Clone for AutoRefresh<V> {
    fn clone(&self) -> AutoRefresh<V> {
        let handle = Arc::clone(&self.handle);
        AutoRefresh { handle }
    }
}

impl<V> fmt::Debug for AutoRefresh<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AutoRefresh")
            .field("settings", &self.handle.core.settings)
            .finish_non_exhaustive()
    }
}

//! Write-behind: what changes too often for a slow sink is added up in memory, and owed to it.
//!
//! ```text
//!   increment -> stripes -> window -> ledger (a journal) -> batch -> sink
//!              (memory)   (10 ms)    (what is owed)     (frozen)  (a database)
//! ```
//!
//! Hot: sums of increments, in memory. The truth: the sink's totals. Between them stands a journal of what is
//! owed, so that a slow, failing or absent sink costs nothing but time, and a crash at most the last window.
//!
//! Its other face is the module `behind` (feature `chain`): values that are owed to a slow tier.
//!
//! # What is promised
//!
//! * An increment that has returned is in every [`sync`](Counters::sync) and every
//!   [`dump`](Counters::dump) that begins later. It never waits for the sink.
//! * What was persisted is delivered, also by the next process: after a crash *persisted <= sink + owed <=
//!   issued*, each window whole or absent. (A batch that the sink took and did not answer for stands on both
//!   sides until it has been asked again.)
//! * A sink that keeps the batch's [`Stamp`] in its own transaction adds each batch **once**, whatever crashes:
//!   the batch is frozen, with its id and for good, before the sink is first given it, and comes again
//!   unchanged until the journal knows that it was settled. Any other sink adds it at least once.
//! * A deleted journal, a copied one and a sink put back from a backup are noticed before anything is added
//!   wrongly ([`Forked`]).
//!
//! Sums that do not fit 64 bits are owed all the same, and delivered in several batches. A key whose
//! increments add up to 0 is delivered with 0. Unlike in the original a batch that failed is not merged back:
//! that would be right only where nothing of it was applied, which an error rarely proves. It comes again as
//! it was, and what was added meanwhile behind it. Only keys that the sink
//! [refuses](SinkError::refused) are taken out, and [parked](Counters::parked).
//!
//! # Source
//!
//! After Paddy Foran's `writebehind` (2015), which had the shape and none of these promises. Batch ids kept
//! in the sink's transaction are how stream processors reach "exactly once" (Carbone et al., 2017).

mod batch;
#[cfg(feature = "chain")]
pub mod behind;
mod debts;
mod engine;
mod error;
mod inventory;
mod json;
mod ledger;
mod log;
mod options;
mod place;
mod record;
#[cfg(feature = "redb")]
pub mod redb;
mod sink;
mod stats;
mod stripes;
mod worker;

pub use batch::{Batch, Forked, MAX_KEY, Stamp, Verdict};
pub use debts::Parked;
pub use error::{Error, Result};
pub use inventory::Owed;
pub use options::{DEFAULT_MAX_KEYS, DEFAULT_PERIOD, DEFAULT_WINDOW, Options};
pub use sink::{MemorySink, Sink, SinkError};
pub use stats::{Closed, Stats};

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::clock::{Bell, Clock};
use engine::Engine;

/// Counters, added up in memory and delivered to a [`Sink`].
///
/// A handle is cheap to clone, and all clones are the same counters. Keys are texts of at most [`MAX_KEY`]
/// bytes. When the last handle is dropped, what was added is journaled, where there is a journal, and nothing
/// is delivered: call [`close`](Counters::close).
///
/// # Examples
///
/// ```
/// use documentbuffer::write_behind::{Batch, Counters, SinkError};
/// use std::time::Duration;
///
/// let sink = |batch: Batch| -> Result<(), SinkError> {
///     for (key, delta) in batch.deltas() {
///         println!("UPDATE pages SET views = views + {delta} WHERE path = '{key}'");
///     }
///     Ok(())
/// };
/// let views = Counters::new(sink, Duration::from_secs(1))?;
/// std::thread::scope(|scope| {
///     for page in ["/index", "/news"] {
///         let views = views.clone();
///         scope.spawn(move || views.increment(page, 1));
///     }
/// });
/// views.close(Duration::from_secs(5))?;
/// # Ok::<(), documentbuffer::write_behind::Error>(())
/// ```
#[derive(Clone)]
pub struct Counters {
    owner: Arc<Owner>,
}

/// What goes with the last handle.
struct Owner {
    engine: Arc<Engine>,
    clock: Arc<dyn Clock>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Options {
    /// Opens counters over `sink`. What an earlier process owed is owed on.
    ///
    /// # Errors
    ///
    /// [`Error::Journal`], [`Error::Damaged`], [`Error::OtherName`], [`Error::Spawn`].
    pub fn open(self, sink: impl Sink) -> Result<Counters> {
        let ledger = self.open_ledger()?;
        let journaled = ledger.is_journaled();
        let engine = Arc::new(Engine::new(ledger, Box::new(sink), self.max_keys));
        let owner = Owner {
            engine: Arc::clone(&engine),
            clock: Arc::clone(&self.clock),
            threads: Mutex::new(Vec::new()),
        };
        let keep = |thread| {
            let mut threads = owner.threads.lock().unwrap_or_else(PoisonError::into_inner);
            threads.push(thread);
        };
        if journaled && !self.window.is_zero() {
            let (engine, clock) = (Arc::clone(&engine), Arc::clone(&self.clock));
            keep(worker::windows(engine, clock, self.window)?);
        }
        if !self.period.is_zero() {
            keep(worker::periods(engine, self.clock, self.period)?);
        }
        let owner = Arc::new(owner);
        Ok(Counters { owner })
    }
}

impl Counters {
    /// Counters without a journal, delivered every `period`, the first time after one;
    /// [`Duration::ZERO`] leaves it to [`sync`](Counters::sync).
    ///
    /// # Errors
    ///
    /// [`Error::Spawn`].
    pub fn new(sink: impl Sink, period: Duration) -> Result<Counters> {
        Options::new("").period(period).open(sink)
    }

    fn engine(&self) -> &Engine {
        &self.owner.engine
    }

    /// Adds to a key; one that is absent counts as 0. Waits for no sink and no journal.
    ///
    /// Durable on return: nothing; it is in memory. At most one [`window`](Options::window) later it is
    /// journaled.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`], [`Error::Closed`], [`Error::Full`], [`Error::KeyTooLong`]: nothing was added.
    #[inline]
    pub fn increment(&self, key: &str, delta: i64) -> Result<()> {
        if key.len() > MAX_KEY {
            return Err(Error::KeyTooLong { bytes: key.len() });
        }
        self.engine().increment(key, delta)
    }

    /// Journals everything added before, as one window.
    ///
    /// Durable on return: as [`Options::durability`] says.
    ///
    /// # Errors
    ///
    /// [`Error::NoJournal`]; [`Error::Journal`]: it is still in memory, and goes with the next window.
    pub fn persist(&self) -> Result<()> {
        self.engine().window()
    }

    /// Delivers everything added before; where there is nothing, the sink is not called. One call of the sink
    /// runs at a time: others wait.
    ///
    /// Durable on return: as the sink's Ok.
    ///
    /// # Errors
    ///
    /// [`Error::Sink`], [`Error::Panicked`], [`Error::Forked`], [`Error::Journal`]: it is still owed.
    /// [`Error::Reentrant`] where the sink calls it.
    pub fn sync(&self) -> Result<()> {
        self.engine().sync()
    }

    /// Whether anything is owed.
    pub fn needs_sync(&self) -> bool {
        self.engine().needs_sync()
    }

    /// What is owed under that key, if anything: to be added to what the sink has.
    pub fn owed(&self, key: &str) -> Option<i128> {
        self.engine().owed_of(key)
    }

    /// What is owed, as a JSON object of keys and sums, in order.
    pub fn dump(&self) -> String {
        let owed = self.engine().owed();
        json::object(owed.iter().map(|(key, sum)| (&**key, *sum)))
    }

    /// What the sink refused, and why.
    pub fn parked(&self) -> BTreeMap<Box<str>, Parked> {
        self.engine().ledger().debts.parked.clone()
    }

    /// What is parked under that key is owed again. Answers whether anything was.
    ///
    /// Durable on return: against power loss.
    ///
    /// # Errors
    ///
    /// [`Error::Journal`]: it is still parked.
    pub fn retry(&self, key: &str) -> Result<bool> {
        self.engine().ledger().release(key, true)
    }

    /// Gives up what is parked under that key. Answers whether anything was.
    ///
    /// Durable on return: against power loss.
    ///
    /// # Errors
    ///
    /// [`Error::Journal`]: it is still parked.
    pub fn discard(&self, key: &str) -> Result<bool> {
        self.engine().ledger().release(key, false)
    }

    /// What they have done so far, in numbers.
    pub fn stats(&self) -> Stats {
        let mut stats = self.engine().counts.now();
        let ledger = self.engine().ledger();
        stats.keys = ledger.keys();
        stats.parked = ledger.debts.parked.len();
        stats
    }

    /// Ends the threads. Nothing is delivered, and nothing is added any more; `sync` and `close` go on
    /// working. To stop twice does no harm.
    ///
    /// Durable on return: everything added before, as [`Options::durability`] says, where there is a
    /// journal.
    ///
    /// # Errors
    ///
    /// [`Error::Journal`]: what was added last is only in memory; they are stopped all the same.
    pub fn stop(&self) -> Result<()> {
        self.engine().stop()
    }

    /// Stops, delivers what is owed, once, and ends, by all means within `deadline`. Ends all clones.
    ///
    /// A sink that does not come back is left behind with its thread; when it does, that thread writes
    /// nothing any more. The journal's lock is free on return. Durable on return: what `owed` and `parked`
    /// of the report say, against power loss, where there is a journal.
    ///
    /// # Errors
    ///
    /// [`Error::Journal`]: where it could not take what was added last, that is still in memory, and they may
    /// be closed again; where it could not sync at its end, they are closed, and it may be lost with power.
    /// [`Error::Closed`] where they were closed before.
    pub fn close(&self, deadline: Duration) -> Result<Closed> {
        let engine = self.engine();
        if engine.is_closed() {
            return Err(Error::Closed);
        }
        engine.stop()?;
        let last_error = self.last_sync(deadline)?;
        let report = engine.report(last_error);
        let stuck = engine.is_in_sink();
        if let Some(journal) = engine.end() {
            journal.close()?;
        }
        self.owner.join(stuck);
        Ok(report)
    }

    /// Delivers on a thread of its own, which is waited for until the deadline.
    fn last_sync(&self, deadline: Duration) -> Result<Option<Error>> {
        let engine = Arc::clone(&self.owner.engine);
        if !engine.needs_sync() {
            return Ok(None);
        }
        let clock = &self.owner.clock;
        let hour = clock.monotonic().saturating_add(deadline);
        let done = Arc::new(Bell::default());
        let (outcome, ring) = (Arc::new(Mutex::new(None)), Arc::clone(&done));
        let put = Arc::clone(&outcome);
        worker::once(move || {
            let synced = engine.sync();
            *put.lock().unwrap_or_else(PoisonError::into_inner) = Some(synced);
            ring.ring();
        })?;
        done.wait(&**clock, Some(hour));
        let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(match outcome.take() {
            Some(synced) => synced.err(),
            None => Some(Error::Deadline),
        })
    }
}

impl Owner {
    /// Waits for the threads; not for one that is in the sink, nor for the caller's own.
    fn join(&self, stuck: bool) {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for handle in threads.drain(..) {
            let own = handle.thread().id() == thread::current().id();
            if !own && (!stuck || handle.is_finished()) {
                // It has no panic to tell: what it calls of others is caught.
                let _ = handle.join();
            }
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if !self.engine.is_closed() {
            // There is nobody to tell; what could not be journaled was in memory only.
            let _ = self.engine.stop();
            let stuck = self.engine.is_in_sink();
            drop(self.engine.end());
            self.join(stuck);
        }
    }
}

impl std::fmt::Debug for Counters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Counters").finish_non_exhaustive()
    }
}

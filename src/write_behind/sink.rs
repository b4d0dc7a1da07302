//! Where sums end up.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::batch::{Batch, Forked, Stamp, Verdict};

/// What counters are added up in: a database, a file, another service.
///
/// It is called from one thread at a time, which may be any, and with no lock of this crate held. It may
/// panic: that is an error whose outcome is not known. It may call back into the counters, all but
/// [`sync`](super::Counters::sync).
pub trait Sink: Send + 'static {
    /// Adds every delta of `batch`. Ok means durable.
    ///
    /// A sink that keeps [`Batch::stamp`] in the same transaction, and asks [`Batch::judge`] in it, adds each
    /// batch once, whatever crashes. Any other is given a batch again where it is not known what became of
    /// it: at least once.
    ///
    /// # Errors
    ///
    /// [`SinkError::new`]: the same batch comes again. [`SinkError::refused`]: nothing was added, and for
    /// these keys nothing ever will be. A [`Forked`]: nothing was added.
    fn apply(&mut self, batch: Batch) -> Result<(), SinkError>;
}

impl<F> Sink for F
where
    F: FnMut(Batch) -> Result<(), SinkError> + Send + 'static,
{
    fn apply(&mut self, batch: Batch) -> Result<(), SinkError> {
        self(batch)
    }
}

impl Sink for Box<dyn Sink> {
    fn apply(&mut self, batch: Batch) -> Result<(), SinkError> {
        (**self).apply(batch)
    }
}

/// Why a sink did not say Ok.
#[derive(Clone, Debug)]
pub struct SinkError {
    message: String,
    pub(super) cause: Cause,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

#[derive(Clone, Debug)]
pub(super) enum Cause {
    Unknown,
    Refused(Vec<Box<str>>),
    Forked(Box<Forked>),
}

impl SinkError {
    /// It failed, and it is not known whether the batch was added: it comes again, unchanged.
    pub fn new(message: impl Into<String>) -> SinkError {
        SinkError {
            message: message.into(),
            cause: Cause::Unknown,
            source: None,
        }
    }

    /// With what it comes from.
    #[must_use]
    pub fn source(mut self, source: impl StdError + Send + Sync + 'static) -> SinkError {
        self.source = Some(Arc::new(source));
        self
    }

    /// Nothing of the batch was added, and these keys of it never will be: they are parked, and the rest
    /// comes in another batch. Say so only where it is certain, and never of a [`Duplicate`](Verdict::Duplicate).
    ///
    /// Keys that are not in the batch do not count; without any that is, it is as [`SinkError::new`].
    pub fn refused<K: Into<Box<str>>>(
        message: impl Into<String>,
        keys: impl IntoIterator<Item = K>,
    ) -> SinkError {
        SinkError {
            cause: Cause::Refused(keys.into_iter().map(Into::into).collect()),
            ..SinkError::new(message)
        }
    }

    /// Where sink and journal do not belong together.
    pub fn forked(&self) -> Option<&Forked> {
        match &self.cause {
            Cause::Forked(forked) => Some(forked),
            _ => None,
        }
    }
}

impl From<Forked> for SinkError {
    fn from(forked: Forked) -> SinkError {
        SinkError {
            cause: Cause::Forked(Box::new(forked)),
            ..SinkError::new(forked.to_string())
        }
    }
}

impl From<std::io::Error> for SinkError {
    fn from(error: std::io::Error) -> SinkError {
        SinkError::new(error.to_string()).source(error)
    }
}

impl fmt::Display for SinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.cause {
            Cause::Refused(keys) => write!(f, " ({} keys refused)", keys.len()),
            Cause::Unknown | Cause::Forked(_) => Ok(()),
        }
    }
}

impl StdError for SinkError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let source = self.source.as_deref()?;
        Some(source)
    }
}

/// A sink in memory, for tests; it applies a batch once. Clones are the same sink.
///
/// # Examples
///
/// ```
/// use documentbuffer::write_behind::{Counters, MemorySink};
/// use std::time::Duration;
///
/// let sink = MemorySink::default();
/// let counters = Counters::new(sink.clone(), Duration::ZERO)?;
/// counters.increment("/index", 2)?;
/// counters.sync()?;
/// assert_eq!((sink.get("/index"), sink.get("/other")), (2, 0));
/// # Ok::<(), documentbuffer::write_behind::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemorySink {
    state: Arc<Mutex<Memory>>,
}

#[derive(Clone, Debug, Default)]
struct Memory {
    totals: HashMap<Box<str>, i64>,
    stamps: HashMap<Box<str>, Stamp>,
    batches: u64,
}

impl MemorySink {
    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The total under that key; 0 where there is none.
    pub fn get(&self, key: &str) -> i64 {
        self.lock().totals.get(key).copied().unwrap_or(0)
    }

    /// All keys with a total.
    pub fn totals(&self) -> HashMap<Box<str>, i64> {
        self.lock().totals.clone()
    }

    /// How many batches were added.
    pub fn batches(&self) -> u64 {
        self.lock().batches
    }

    /// A copy of it as it is now: a backup.
    #[must_use]
    pub fn backup(&self) -> MemorySink {
        let state = Arc::new(Mutex::new(self.lock().clone()));
        MemorySink { state }
    }
}

impl Sink for MemorySink {
    fn apply(&mut self, batch: Batch) -> Result<(), SinkError> {
        let mut memory = self.lock();
        match batch.judge(memory.stamps.get(batch.name()).copied()) {
            Verdict::Apply => {}
            Verdict::Duplicate => return Ok(()),
            Verdict::Forked(forked) => return Err(forked.into()),
        }
        let total = |key: &str| memory.totals.get(key).copied().unwrap_or(0);
        let over = batch.deltas();
        let over = over.filter(|(key, delta)| total(key).checked_add(*delta).is_none());
        let over: Vec<&str> = over.map(|(key, _)| key).collect();
        if !over.is_empty() {
            return Err(SinkError::refused("the total is beyond 64 bits", over));
        }
        for (key, delta) in batch.deltas() {
            let total = memory.totals.entry(key.into()).or_insert(0);
            *total = total.saturating_add(delta);
        }
        if let Some(stamp) = batch.stamp() {
            memory.stamps.insert(batch.name().into(), stamp);
        }
        memory.batches += 1;
        Ok(())
    }
}

//! What a tier is asked, how it ends, and how long it takes: counted.

mod snapshot;

pub use snapshot::{Histogram, OPS_TOTAL, Operation, Outcome, SECONDS, Snapshot};

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::{Applied, Capabilities, Entry, Key, Op, Page, Result, Tier, When};
use crate::clock::{Clock, SystemClock};
pub(crate) use snapshot::BUCKETS;

const OPERATIONS: usize = Operation::ALL.len();
const OUTCOMES: usize = Outcome::ALL.len();
/// Threads count apart from each other, up to so many.
const STRIPES: usize = 8;
/// Of so many calls one is timed.
const SAMPLE: u64 = 64;

/// Another tier, whose calls are counted by operation and outcome, and one in 64 of them timed.
///
/// Counting costs some nanoseconds a call, and threads do not wait for each other. A call whose future is
/// dropped before its end counts as [`Outcome::Cancelled`]. What is durable, and all the rest, is as in the
/// tier itself.
///
/// # Examples
///
/// ```
/// use documentbuffer::tier::TierExt;
/// use documentbuffer::tier::metered::{Metered, Operation, Outcome};
/// # use documentbuffer::tier::{Applied, Capabilities, Entry, Key, Op, Result, When, Tier};
/// # struct Null;
/// # impl Tier for Null {
/// #     fn name(&self) -> &str { "null" }
/// #     fn capabilities(&self) -> Capabilities { Capabilities::default() }
/// #     async fn get(&self, _: Key<'_>) -> Result<Option<Entry>> { Ok(None) }
/// #     async fn write(&self, _: Key<'_>, _: Op, _: When) -> Result<Applied> { Ok(Applied::Done) }
/// # }
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// # runtime.block_on(async {
/// let tier = Metered::new(Null).sample(1);
/// tier.put("key", "value").await?;
/// tier.value("key").await?;
/// let snapshot = tier.snapshot();
/// assert_eq!(snapshot.count(Operation::Get, Outcome::Miss), 1);
/// assert_eq!(snapshot.histogram(Operation::Put).count(), 1);
/// # Ok::<(), documentbuffer::tier::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Metered<T> {
    tier: T,
    source: u64,
    sample: u64,
    clock: Arc<dyn Clock>,
    stripes: [Stripe; STRIPES],
    buckets: [[AtomicU64; BUCKETS]; OPERATIONS],
    nanos: [AtomicU64; OPERATIONS],
}

/// What some of the threads counted; on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe {
    calls: [AtomicU64; OPERATIONS],
    ended: [[AtomicU64; OUTCOMES]; OPERATIONS],
}

/// The stripe of this thread.
fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: Cell<Option<usize>> = const { Cell::new(None) };
    }
    OWN.with(|own| {
        own.get().unwrap_or_else(|| {
            let next = NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES;
            own.set(Some(next));
            next
        })
    })
}

/// A call on its way.
struct Call<'a, T> {
    metered: &'a Metered<T>,
    operation: Operation,
    began: Option<Duration>,
    outcome: Outcome,
}

impl<T: Tier> Metered<T> {
    /// That tier, with one call in 64 of each operation timed.
    pub fn new(tier: T) -> Metered<T> {
        static SOURCES: AtomicU64 = AtomicU64::new(0);
        Metered {
            tier,
            source: SOURCES.fetch_add(1, Ordering::Relaxed),
            sample: SAMPLE,
            clock: Arc::new(SystemClock::new()),
            stripes: Default::default(),
            buckets: [const { [const { AtomicU64::new(0) }; BUCKETS] }; OPERATIONS],
            nanos: Default::default(),
        }
    }

    /// Of so many calls of an operation one is timed, the first among them; 0 for none.
    #[must_use]
    pub fn sample(mut self, calls: u64) -> Metered<T> {
        self.sample = calls;
        self
    }

    /// With that clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Metered<T> {
        self.clock = clock;
        self
    }

    /// The tier within.
    pub fn inner(&self) -> &T {
        &self.tier
    }

    /// What was counted up to now. What ends meanwhile may be in it or not.
    pub fn snapshot(&self) -> Snapshot {
        let mut counts = [[0_u64; OUTCOMES]; OPERATIONS];
        for stripe in &self.stripes {
            for (counts, ended) in counts.iter_mut().zip(&stripe.ended) {
                for (count, ended) in counts.iter_mut().zip(ended) {
                    *count = count.saturating_add(ended.load(Ordering::Relaxed));
                }
            }
        }
        let histograms = std::array::from_fn(|at| {
            let load = |of: &AtomicU64| of.load(Ordering::Relaxed);
            let buckets = self.buckets.get(at);
            let buckets = std::array::from_fn(|bucket| {
                buckets
                    .and_then(|buckets| buckets.get(bucket))
                    .map_or(0, load)
            });
            let nanos = self.nanos.get(at).map_or(0, load);
            Histogram::new(buckets, nanos)
        });
        Snapshot::new(self.tier.name().to_owned(), self.source, counts, histograms)
    }

    fn call(&self, operation: Operation) -> Call<'_, T> {
        let timed = self.sample > 0
            && self.stripe().is_some_and(|stripe| {
                let calls = stripe.calls.get(operation.index());
                calls.is_some_and(|calls| {
                    calls
                        .fetch_add(1, Ordering::Relaxed)
                        .is_multiple_of(self.sample)
                })
            });
        Call {
            metered: self,
            operation,
            began: timed.then(|| self.clock.monotonic()),
            outcome: Outcome::Cancelled,
        }
    }

    fn stripe(&self) -> Option<&Stripe> {
        self.stripes.get(stripe())
    }
}

impl<T> Call<'_, T> {
    /// It has ended, and so.
    fn ended<R>(mut self, given: Result<R>, outcome: impl FnOnce(&R) -> Outcome) -> Result<R> {
        self.outcome = match &given {
            Ok(given) => outcome(given),
            Err(error) => Outcome::of(error.kind()),
        };
        given
    }
}

impl<T> Drop for Call<'_, T> {
    fn drop(&mut self) {
        let at = self.operation.index();
        let stripe = self.metered.stripes.get(stripe());
        let ended = stripe.and_then(|stripe| stripe.ended.get(at));
        if let Some(count) = ended.and_then(|ended| ended.get(self.outcome.index())) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let Some(began) = self.began.filter(|_| self.outcome != Outcome::Cancelled) else {
            return;
        };
        let took = self.metered.clock.monotonic().saturating_sub(began);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        if let Some(sum) = self.metered.nanos.get(at) {
            sum.fetch_add(nanos, Ordering::Relaxed);
        }
        let buckets = self.metered.buckets.get(at);
        if let Some(count) = buckets.and_then(|buckets| buckets.get(Histogram::bucket(nanos))) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl<T: Tier> Tier for Metered<T> {
    fn name(&self) -> &str {
        self.tier.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.tier.capabilities()
    }

    async fn get(&self, key: Key<'_>) -> Result<Option<Entry>> {
        let call = self.call(Operation::Get);
        let given = self.tier.get(key).await;
        call.ended(given, |entry| match entry {
            Some(_) => Outcome::Hit,
            None => Outcome::Miss,
        })
    }

    async fn write(&self, key: Key<'_>, op: Op, when: When) -> Result<Applied> {
        let call = self.call(match &op {
            Op::Put(_) => Operation::Put,
            Op::Remove(_) => Operation::Remove,
            Op::Merge(_) => Operation::Merge,
        });
        let given = self.tier.write(key, op, when).await;
        call.ended(given, |applied| match applied {
            Applied::Done => Outcome::Done,
            Applied::Refused { .. } => Outcome::Refused,
        })
    }

    async fn scan(&self, from: Option<&Bytes>, limit: usize) -> Result<Page> {
        let call = self.call(Operation::Scan);
        let given = self.tier.scan(from, limit).await;
        call.ended(given, |_| Outcome::Done)
    }

    async fn close(&self) -> Result<()> {
        self.tier.close().await
    }
}

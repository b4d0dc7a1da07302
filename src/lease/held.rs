//! What a holder has in hand.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;

/// A lease that is held: for how long yet, and with which fencing number.
///
/// It can be given to another thread, renewed and released there. Dropping it frees what this process can
/// free by itself; where that is not all, the rest is free when its time is over.
///
/// Time is told by the monotonic clock of the lease that it was taken from, from a moment before the lease
/// was entered anywhere, so the holder is the first to see it end. That clock may stand while the machine
/// sleeps, and any thread may be stopped between a look at it and what it does next: only a store that refuses
/// a lower [`fence`](Held::fence) is safe from a holder that does not know that its time is over.
///
/// # Examples
///
/// ```
/// use documentbuffer::lease::{Lease, memory::MemoryLease};
/// use std::time::Duration;
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
/// # runtime.block_on(async {
/// let lease = MemoryLease::new();
/// let held = lease.take("alice", Duration::from_secs(10)).await?.expect("nobody holds it");
/// assert!(held.left() <= Duration::from_secs(10));
/// drop(held);
/// assert!(lease.take("alice", Duration::from_secs(10)).await?.is_some());
/// # Ok::<(), documentbuffer::lease::Error>(())
/// # })?;
/// # Ok::<(), documentbuffer::lease::Error>(())
/// ```
#[must_use = "dropping it gives the lease back"]
pub struct Held {
    key: Arc<str>,
    fence: u64,
    until: Duration,
    clock: Arc<dyn Clock>,
    keep: Box<dyn Any + Send + Sync>,
}

impl Held {
    /// For implementations: that key, held with that fence until that monotonic time of the clock. `keep` is
    /// theirs; it is dropped with this.
    pub fn new(
        key: impl Into<Arc<str>>,
        fence: u64,
        until: Duration,
        clock: Arc<dyn Clock>,
        keep: impl Send + Sync + 'static,
    ) -> Held {
        Held {
            key: key.into(),
            fence,
            until,
            clock,
            keep: Box::new(keep),
        }
    }

    /// What is held.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Its fencing number: larger than that of whoever held this key before. It fits into a signed number of
    /// 64 bits.
    pub fn fence(&self) -> u64 {
        self.fence
    }

    /// How long it counts yet; zero from when on it is over.
    pub fn left(&self) -> Duration {
        self.until.saturating_sub(self.clock.monotonic())
    }

    /// Whether its time is over: somebody else may hold it.
    pub fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    /// For implementations: what they keep, if it is of that type.
    pub fn keep<T: 'static>(&self) -> Option<&T> {
        self.keep.downcast_ref()
    }

    /// For implementations: it counts until then.
    pub fn extend(&mut self, until: Duration) {
        self.until = until;
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held")
            .field("key", &self.key)
            .field("fence", &self.fence)
            .field("left", &self.left())
            .finish_non_exhaustive()
    }
}

//! A clock for the limits of `governor` that stands where it was set.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A limit may be asked under a lock, and somebody else's clock may not: it is read before, and set here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hand(Arc<AtomicU64>);

impl Hand {
    /// Sets it on, never back; where it stands then.
    pub(crate) fn set(&self, now: Duration) -> Duration {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let before = self.0.fetch_max(now, Ordering::Relaxed);
        Duration::from_nanos(before.max(now))
    }
}

impl governor::clock::Clock for Hand {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

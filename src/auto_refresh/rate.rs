//! How many refreshes may begin in a time.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use crate::clock::hand::Hand;

/// So many batches may begin in a time, and so many at once after a quiet time.
///
/// # Examples
///
/// ```
/// use documentbuffer::auto_refresh::RateLimit;
/// use std::time::Duration;
///
/// let ten = RateLimit::per_second(10).burst(100);
/// let slow = RateLimit::every(Duration::from_secs(3600)); // one an hour
/// # let _ = (ten, slow);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    every: Option<Duration>,
    burst: u32,
}

impl RateLimit {
    /// So many a second, evenly, and one at once. One of 0 is refused when the cache is built.
    pub fn per_second(batches: u32) -> RateLimit {
        RateLimit {
            every: 1_000_000_000_u64.checked_div(batches.into()).map(nanos),
            burst: 1,
        }
    }

    /// One in each such time. One of 0 is refused when the cache is built.
    pub fn every(time: Duration) -> RateLimit {
        RateLimit {
            every: Some(time),
            burst: 1,
        }
    }

    /// So many at once after a quiet time. One of 0 is refused when the cache is built.
    #[must_use]
    pub fn burst(self, batches: u32) -> RateLimit {
        RateLimit {
            burst: batches,
            ..self
        }
    }

    fn quota(self) -> Option<Quota> {
        let quota = Quota::with_period(self.every?)?;
        Some(quota.allow_burst(NonZeroU32::new(self.burst)?))
    }
}

/// A nanosecond at least: there is nothing faster.
fn nanos(nanos: u64) -> Duration {
    Duration::from_nanos(nanos.max(1))
}

pub(super) struct Rate {
    limiter: RateLimiter<NotKeyed, InMemoryState, Hand, NoOpMiddleware<Duration>>,
    hand: Hand,
}

impl Rate {
    /// None where that is no rate.
    pub(super) fn new(limit: RateLimit) -> Option<Rate> {
        let (quota, hand) = (limit.quota()?, Hand::default());
        let limiter = RateLimiter::direct_with_clock(quota, hand.clone());
        Some(Rate { limiter, hand })
    }

    /// Charges one that begins now, or says how long to wait.
    pub(super) fn take(&self, now: Duration) -> Result<(), Duration> {
        let now = self.hand.set(now);
        let taken = self.limiter.check();
        taken.map_err(|until| until.wait_time_from(now))
    }
}

//! The one reader of time.

#[cfg(feature = "auto-refresh")]
pub(crate) mod hand;
#[cfg(feature = "testing")]
pub mod manual;
#[cfg(feature = "chain")]
pub(crate) mod rate;
#[cfg(feature = "tier")]
pub mod runtime;

use std::fmt::Debug;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where time comes from; a test brings its own.
///
/// # Examples
///
/// ```
/// use documentbuffer::clock::{Clock, SystemClock};
///
/// let clock = SystemClock::new();
/// assert!(clock.monotonic() <= clock.monotonic());
/// ```
pub trait Clock: Debug + Send + Sync {
    /// Microseconds since 1970, by the wall clock; it may jump.
    fn wall_micros(&self) -> u64;

    /// Time since some moment; it never goes back.
    fn monotonic(&self) -> Duration;

    /// How long a thread has to sleep until the monotonic time is `at`. A clock that is moved by hand answers
    /// none, and [wakes](Bell::wake) who sleeps on the bell when it was moved.
    fn until(&self, at: Duration, bell: &Arc<Bell>) -> Option<Duration> {
        let _ = bell;
        Some(at.saturating_sub(self.monotonic()))
    }
}

/// What a thread sleeps on until it is rung, or its hour has come.
///
/// # Examples
///
/// ```
/// use documentbuffer::clock::{Bell, Clock, SystemClock};
/// use std::{sync::Arc, time::Duration};
///
/// let (clock, bell) = (SystemClock::new(), Arc::new(Bell::default()));
/// let soon = clock.monotonic() + Duration::from_millis(1);
/// assert!(!bell.wait(&clock, Some(soon))); // nobody rang
/// bell.ring();
/// assert!(bell.wait(&clock, None));
/// ```
#[derive(Debug, Default)]
pub struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    fn lock(&self) -> MutexGuard<'_, bool> {
        self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes who waits, or who waits next.
    pub fn ring(&self) {
        *self.lock() = true;
        self.changed.notify_all();
    }

    /// Has who waits look at the clock again.
    pub fn wake(&self) {
        drop(self.lock());
        self.changed.notify_all();
    }

    /// Waits until it is rung, which is then forgotten, or until `clock` shows that hour. Answers whether
    /// it was rung.
    pub fn wait(self: &Arc<Bell>, clock: &dyn Clock, hour: Option<Duration>) -> bool {
        let mut rung = self.lock();
        loop {
            if std::mem::take(&mut *rung) {
                return true;
            }
            let left = match hour {
                Some(hour) if clock.monotonic() >= hour => return false,
                Some(hour) => clock.until(hour, self),
                None => None,
            };
            rung = match left {
                Some(left) => {
                    let waited = self.changed.wait_timeout(rung, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let waited = self.changed.wait(rung);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }
}

/// The system's clocks.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// Its monotonic time begins now.
    pub fn new() -> SystemClock {
        SystemClock {
            start: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    fn wall_micros(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| {
            u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
        })
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

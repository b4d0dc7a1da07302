//! A clock that is moved by hand, for tests.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::{Bell, Clock};

/// A clock that stands still until it is moved. Clones are the same clock.
///
/// # Examples
///
/// ```
/// use documentbuffer::clock::{Clock, manual::ManualClock};
/// use std::time::Duration;
///
/// let clock = ManualClock::at(1_000_000);
/// clock.advance(Duration::from_secs(2));
/// assert_eq!(clock.wall_micros(), 3_000_000);
/// ```
#[derive(Clone, Debug, Default)]
pub struct ManualClock {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    wall: u64,
    passed: Duration,
    waiting: Vec<Weak<Bell>>,
}

impl ManualClock {
    /// One that shows that wall time, in microseconds since 1970.
    pub fn at(wall_micros: u64) -> ManualClock {
        let clock = ManualClock::default();
        clock.lock().wall = wall_micros;
        clock
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves it, and wakes who waits for an hour.
    pub fn advance(&self, by: Duration) {
        let waiting = {
            let mut state = self.lock();
            state.passed = state.passed.saturating_add(by);
            let micros = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
            state.wall = state.wall.saturating_add(micros);
            std::mem::take(&mut state.waiting)
        };
        for bell in waiting.iter().filter_map(Weak::upgrade) {
            bell.wake();
        }
    }

    /// Sets the wall time, also back; the monotonic time stands.
    pub fn set_wall(&self, micros: u64) {
        self.lock().wall = micros;
    }

    /// How many threads wait for an hour: a test that moves the clock waits for them first.
    pub fn waiting(&self) -> usize {
        let mut state = self.lock();
        state.waiting.retain(|bell| bell.strong_count() > 0);
        state.waiting.len()
    }
}

impl Clock for ManualClock {
    fn wall_micros(&self) -> u64 {
        self.lock().wall
    }

    fn monotonic(&self) -> Duration {
        self.lock().passed
    }

    fn until(&self, at: Duration, bell: &Arc<Bell>) -> Option<Duration> {
        let mut state = self.lock();
        if state.passed >= at {
            return Some(Duration::ZERO);
        }
        let waiting = &mut state.waiting;
        if !waiting
            .iter()
            .any(|other| other.as_ptr() == Arc::as_ptr(bell))
        {
            waiting.push(Arc::downgrade(bell));
        }
        None
    }
}

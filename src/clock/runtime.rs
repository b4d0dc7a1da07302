//! The clock of tokio's runtime.

use std::time::Duration;

use tokio::time::Instant;

use super::{Clock, SystemClock};

/// A clock that goes as tokio's does: in a test whose runtime is paused it stands still, and jumps with it. The
/// wall time is that of its making, gone on from there.
///
/// # Examples
///
/// ```
/// use documentbuffer::clock::{Clock, runtime::RuntimeClock};
///
/// let clock = RuntimeClock::new();
/// assert!(clock.monotonic() <= clock.monotonic());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct RuntimeClock {
    start: Instant,
    wall: u64,
}

impl RuntimeClock {
    /// Its monotonic time begins now.
    pub fn new() -> RuntimeClock {
        RuntimeClock {
            start: Instant::now(),
            wall: SystemClock::new().wall_micros(),
        }
    }
}

impl Default for RuntimeClock {
    fn default() -> RuntimeClock {
        RuntimeClock::new()
    }
}

impl Clock for RuntimeClock {
    fn wall_micros(&self) -> u64 {
        let passed = u64::try_from(self.monotonic().as_micros()).unwrap_or(u64::MAX);
        self.wall.saturating_add(passed)
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

//! A clock of ours for the limits of `governor`.

use std::sync::Arc;
use std::time::Duration;

use super::Clock;

/// What a rate is measured by.
#[derive(Clone, Debug)]
pub(crate) struct RateClock(pub(crate) Arc<dyn Clock>);

impl governor::clock::Clock for RateClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.monotonic()
    }
}

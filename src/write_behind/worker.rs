//! The two threads: one for the windows, one for the periods. Neither holds up the other.

use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::engine::Engine;
use super::error::{Error, Result};
use crate::clock::Clock;

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let thread = Builder::new().name(name.to_owned()).spawn(run);
    thread.map_err(|error| Error::Spawn(Arc::new(error)))
}

/// Journals what was added, so long after the first of it.
pub(super) fn windows(
    engine: Arc<Engine>,
    clock: Arc<dyn Clock>,
    window: Duration,
) -> Result<JoinHandle<()>> {
    engine.rings();
    spawn("documentbuffer-windows", move || {
        let bell = Arc::clone(&engine.window_bell);
        while !engine.is_stopping() {
            bell.wait(&*clock, None);
            let hour = clock.monotonic().saturating_add(window);
            // Rung before its hour it is the end, or one who added before the last window was gathered.
            while !engine.is_stopping() && bell.wait(&*clock, Some(hour)) {}
            if !engine.is_stopping() && engine.window().is_err() {
                // It is gathered, and goes with the next one.
                bell.ring();
            }
        }
    })
}

/// Delivers what is owed, every period; those that pass meanwhile are not made up for.
pub(super) fn periods(
    engine: Arc<Engine>,
    clock: Arc<dyn Clock>,
    period: Duration,
) -> Result<JoinHandle<()>> {
    let mut hour = clock.monotonic().saturating_add(period);
    spawn("documentbuffer-periods", move || {
        while !engine.is_stopping() {
            if engine.period_bell.wait(&*clock, Some(hour)) {
                continue;
            }
            // What fails stands in the statistics, and is owed at the next.
            let _ = engine.sync();
            let now = clock.monotonic();
            hour = hour.saturating_add(period);
            if hour <= now {
                let late = now.saturating_sub(hour).as_nanos();
                let into = late.checked_rem(period.as_nanos()).unwrap_or(0);
                let into = Duration::from_nanos(u64::try_from(into).unwrap_or(u64::MAX));
                hour = now.saturating_sub(into).saturating_add(period);
            }
        }
    })
}

/// Runs something that may outlive its caller.
pub(super) fn once(run: impl FnOnce() + Send + 'static) -> Result<()> {
    spawn("documentbuffer-close", run).map(drop)
}

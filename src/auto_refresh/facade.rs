//! What was counted, told to the crate `metrics`.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::report::Stats;

/// The name of the counter, with the labels `cache` and `event`.
pub const EVENTS_TOTAL: &str = "documentbuffer_refresh_events_total";
/// The name of the gauge, with the labels `cache` and `what`.
pub const ITEMS: &str = "documentbuffer_refresh_items";
/// The name of the histogram of how long batches took, with the label `cache`.
pub const SECONDS: &str = "documentbuffer_refresh_seconds";

/// Tells the recorder of the crate `metrics` what caches did since they were last asked.
///
/// One for the whole program; it is called now and then, with the numbers of each cache. Counters of caches of one
/// name add up; their gauges do not. The recorder gets the counter [`EVENTS_TOTAL`], the gauge
/// [`ITEMS`] and the histogram [`SECONDS`], whose values are the middles of buckets that double in width. What is
/// told while no recorder is set is lost.
///
/// # Examples
///
/// ```
/// use documentbuffer::auto_refresh::facade::Facade;
/// use documentbuffer::auto_refresh::{Batch, Options};
///
/// let jobs = Options::new("jobs").build(async |_: Batch<u64>| Ok::<_, String>(Vec::new()))?;
/// let facade = Facade::new();
/// facade.report(&jobs.stats()); // Every ten seconds, say.
/// # Ok::<(), documentbuffer::auto_refresh::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Facade {
    /// Of each cache, the most that was told.
    told: Mutex<HashMap<u64, Told>>,
}

#[derive(Debug, Default)]
struct Told {
    events: HashMap<&'static str, u64>,
    /// By the longest duration of a bucket.
    buckets: HashMap<std::time::Duration, u64>,
}

/// What `now` has more than what was told, which it then is.
fn more(told: &mut u64, now: u64) -> u64 {
    let more = now.saturating_sub(*told);
    *told += more;
    more
}

impl Facade {
    /// Has told nothing yet.
    pub fn new() -> Facade {
        Facade::default()
    }

    /// Tells what these have more than those before them; older ones have nothing more.
    pub fn report(&self, stats: &Stats) {
        let (events, times) = {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            let told = told.entry(stats.source).or_default();
            let events = events(stats).map(|(event, count)| {
                let told = told.events.entry(event).or_default();
                (event, more(told, count))
            });
            let times = stats.latency.buckets().map(|(most, count)| {
                let told = told.buckets.entry(most).or_default();
                (most, more(told, count))
            });
            (events, times.collect::<Vec<_>>())
        };
        // The recorder is called with no lock held.
        for (event, more) in events.into_iter().filter(|(_, more)| *more > 0) {
            let labels = [("cache", stats.name.clone()), ("event", event.to_owned())];
            metrics::counter!(EVENTS_TOTAL, &labels).increment(more);
        }
        for (what, count) in items(stats) {
            let labels = [("cache", stats.name.clone()), ("what", what.to_owned())];
            metrics::gauge!(ITEMS, &labels).set(count as f64);
        }
        for (most, more) in times.into_iter().filter(|(_, more)| *more > 0) {
            let labels = [("cache", stats.name.clone())];
            let times = usize::try_from(more).unwrap_or(usize::MAX);
            // Between the end of the bucket and its beginning, half as far out.
            let middle = most.as_secs_f64() * 0.75;
            metrics::histogram!(SECONDS, &labels).record_many(middle, times);
        }
    }
}

fn events(stats: &Stats) -> [(&'static str, u64); 17] {
    [
        ("hit", stats.hits),
        ("miss", stats.misses),
        ("create", stats.created),
        ("evict", stats.evictions),
        ("delete", stats.deletions),
        ("gone", stats.gone),
        ("cycle", stats.cycles),
        ("cycle_error", stats.cycle_errors),
        ("sit_out", stats.sat_out),
        ("sync", stats.syncs),
        ("sync_error", stats.sync_errors),
        ("panic", stats.panics),
        ("update", stats.updates),
        ("drop", stats.dropped),
        ("save", stats.saves),
        ("save_error", stats.save_errors),
        ("replace", stats.replaced),
    ]
}

fn items(stats: &Stats) -> [(&'static str, usize); 5] {
    [
        ("size", stats.size),
        ("queued", stats.queued),
        ("running", stats.running),
        ("failing", stats.failing),
        ("owed", stats.owed),
    ]
}

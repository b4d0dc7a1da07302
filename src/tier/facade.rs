//! What was counted, told to the crate `metrics`.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::metered::{OPS_TOTAL, Operation, SECONDS, Snapshot};

/// Tells the recorder of the crate `metrics` what snapshots have more than those before.
///
/// One for the whole program; it is called now and then, with a snapshot of each tier. Tiers of one name add
/// up. The recorder gets the counter [`OPS_TOTAL`] and the histogram [`SECONDS`], whose values
/// are the middles of buckets that double in width. What is told
/// while no recorder is set is lost.
///
/// # Examples
///
/// ```
/// use documentbuffer::tier::TierExt;
/// use documentbuffer::tier::facade::Facade;
/// use documentbuffer::tier::metered::Metered;
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
/// let facade = Facade::new();
/// let tier = Metered::new(Null);
/// tier.put("key", "value").await?;
/// facade.report(&tier.snapshot()); // Every ten seconds, say.
/// # Ok::<(), documentbuffer::tier::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Facade {
    /// Of each source, the most that was told.
    told: Mutex<HashMap<u64, Snapshot>>,
}

impl Facade {
    /// Has told nothing yet.
    pub fn new() -> Facade {
        Facade::default()
    }

    /// Tells what this snapshot has more than those before it of the same tier; an older one has nothing more.
    pub fn report(&self, snapshot: &Snapshot) {
        let name = snapshot.tier();
        let before = {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            let before = told.remove(&snapshot.source());
            let most = snapshot.clone();
            let most = match &before {
                Some(before) => most.most(before),
                None => most,
            };
            told.insert(snapshot.source(), most);
            before
        };
        // The recorder is called with no lock held.
        for (operation, outcome, count) in snapshot.counts() {
            let before = before
                .as_ref()
                .map_or(0, |before| before.count(operation, outcome));
            let more = count.saturating_sub(before);
            if more > 0 {
                let labels = [
                    ("tier", name.to_owned()),
                    ("op", operation.label().to_owned()),
                    ("outcome", outcome.label().to_owned()),
                ];
                metrics::counter!(OPS_TOTAL, &labels).increment(more);
            }
        }
        for operation in Operation::ALL {
            tell_times(snapshot, before.as_ref(), operation);
        }
    }
}

fn tell_times(snapshot: &Snapshot, before: Option<&Snapshot>, operation: Operation) {
    let before: HashMap<_, _> = before
        .map(|before| before.histogram(operation).buckets().collect())
        .unwrap_or_default();
    for (most, count) in snapshot.histogram(operation).buckets() {
        let more = count.saturating_sub(before.get(&most).copied().unwrap_or_default());
        if more > 0 {
            let labels = [
                ("tier", snapshot.tier().to_owned()),
                ("op", operation.label().to_owned()),
            ];
            let times = usize::try_from(more).unwrap_or(usize::MAX);
            // Between the end of the bucket and its beginning, half as far out.
            let middle = most.as_secs_f64() * 0.75;
            metrics::histogram!(SECONDS, &labels).record_many(middle, times);
        }
    }
}

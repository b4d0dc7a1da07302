//! What is seen of the leases of others, by a clock that nobody sets.

use std::collections::HashMap;
use std::time::Duration;

use super::record::Record;

/// So many keys are watched at most.
const MOST: usize = 4096;

/// Records that others hold, and since when they have not changed.
#[derive(Debug, Default)]
pub(super) struct Watches(HashMap<String, (Record, Duration)>);

impl Watches {
    /// Whether that record was seen unchanged for its whole time.
    pub(super) fn is_over(&mut self, name: &str, record: &Record, now: Duration) -> bool {
        if let Some((seen, since)) = self.0.get(name)
            && seen == record
        {
            let time = Duration::from_micros(record.time);
            return now.saturating_sub(*since) >= time;
        }
        if self.0.len() >= MOST && !self.0.contains_key(name) {
            // Whoever loses its place is watched from anew.
            let oldest = self.0.iter().min_by_key(|(_, (_, since))| *since);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.0.remove(&oldest);
            }
        }
        self.0.insert(name.to_owned(), (*record, now));
        false
    }

    pub(super) fn forget(&mut self, name: &str) {
        self.0.remove(name);
    }
}

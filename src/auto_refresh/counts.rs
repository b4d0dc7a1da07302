//! What is counted.

use std::time::Duration;

use crate::tier::metered::{BUCKETS, Histogram};

#[derive(Clone)]
pub(super) struct Counts {
    pub(super) hits: u64,
    pub(super) misses: u64,
    pub(super) created: u64,
    pub(super) evictions: u64,
    pub(super) deletions: u64,
    pub(super) gone: u64,
    pub(super) cycles: u64,
    pub(super) cycle_errors: u64,
    pub(super) sat_out: u64,
    pub(super) syncs: u64,
    pub(super) sync_errors: u64,
    pub(super) panics: u64,
    pub(super) updates: u64,
    pub(super) dropped: u64,
    pub(super) saves: u64,
    pub(super) save_errors: u64,
    pub(super) replaced: u64,
    pub(super) buckets: [u64; BUCKETS],
    pub(super) nanos: u64,
    pub(super) last_error: Option<String>,
}

impl Default for Counts {
    fn default() -> Counts {
        Counts {
            hits: 0,
            misses: 0,
            created: 0,
            evictions: 0,
            deletions: 0,
            gone: 0,
            cycles: 0,
            cycle_errors: 0,
            sat_out: 0,
            syncs: 0,
            sync_errors: 0,
            panics: 0,
            updates: 0,
            dropped: 0,
            saves: 0,
            save_errors: 0,
            replaced: 0,
            buckets: [0; BUCKETS],
            nanos: 0,
            last_error: None,
        }
    }
}

impl Counts {
    pub(super) fn took(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.nanos = self.nanos.saturating_add(nanos);
        if let Some(bucket) = self.buckets.get_mut(Histogram::bucket(nanos)) {
            *bucket += 1;
        }
    }
}

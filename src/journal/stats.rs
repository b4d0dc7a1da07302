//! What a journal has done so far, in numbers.

use std::time::Duration;

/// Counts of a journal, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The first position that is kept.
    pub first: u64,
    /// The next position.
    pub end: u64,
    /// Positions below have survived the death of the process.
    pub written: u64,
    /// Positions below have survived power loss, as far as this handle knows.
    pub synced: u64,
    /// Segments.
    pub segments: usize,
    /// Bytes of their records.
    pub bytes: u64,
    /// Groups written by this handle.
    pub groups: u64,
    /// Documents in them.
    pub group_documents: u64,
    /// Documents in the largest of them.
    pub largest_group: u64,
    /// Syncs of the live segment.
    pub syncs: u64,
    /// Time they took in all.
    pub sync_time: Duration,
    /// Time the slowest took.
    pub slowest_sync: Duration,
}

/// The part of it that counts up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) groups: u64,
    pub(super) group_documents: u64,
    pub(super) largest_group: u64,
    pub(super) syncs: u64,
    pub(super) sync_time: Duration,
    pub(super) slowest_sync: Duration,
}

impl Counts {
    pub(super) fn group(&mut self, documents: usize) {
        if documents > 0 {
            self.groups += 1;
            self.group_documents = self.group_documents.saturating_add(documents as u64);
            self.largest_group = self.largest_group.max(documents as u64);
        }
    }

    pub(super) fn sync(&mut self, took: Duration) {
        self.syncs += 1;
        self.sync_time = self.sync_time.saturating_add(took);
        self.slowest_sync = self.slowest_sync.max(took);
    }
}

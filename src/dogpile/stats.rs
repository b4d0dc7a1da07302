//! What a dogpile has done.

use std::sync::atomic::{AtomicU64, Ordering};

use super::decide::Step;
use super::error::Error;
use super::flight::Outcome;

/// What a dogpile has done. Fresh answers are not counted: that would cost more than they do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Creators that were called.
    pub creations: u64,
    /// Of those, the ones that failed, panicked, or took too long.
    pub failures: u64,
    /// Values that were made and came too late: the key was written, or somebody else elected, meanwhile.
    pub late: u64,
    /// Answers with a stale value while it was made anew.
    pub stale: u64,
    /// Answers with a stale value because the creator failed.
    pub stale_on_error: u64,
    /// Callers that had to wait for a creation of somebody else.
    pub waits: u64,
    /// Callers that were told of an earlier failure at once.
    pub refused: u64,
    /// Of a [`Cached`](super::Cached): reads and writes of the tier that failed. No call fails by them.
    pub tier_errors: u64,
    /// Of a [`Cached`](super::Cached): leases that could not be asked for, so that it was created without one.
    pub lease_errors: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    creations: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) late: AtomicU64,
    stale: AtomicU64,
    pub(super) stale_on_error: AtomicU64,
    waits: AtomicU64,
    refused: AtomicU64,
    pub(super) tier_errors: AtomicU64,
    pub(super) lease_errors: AtomicU64,
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counts {
    pub(super) fn entered(&self, step: Step) {
        match step {
            Step::Elected(_) => count(&self.creations),
            Step::Join => count(&self.waits),
            Step::Stale => count(&self.stale),
            Step::StaleOnError => count(&self.stale_on_error),
            Step::Refused(_) => count(&self.refused),
            Step::Fresh | Step::Again => {}
        }
    }

    pub(super) fn landed<V>(&self, outcome: &Outcome<V>, counts: bool) {
        match outcome {
            Ok(_) if !counts => count(&self.late),
            Err(Error::Abandoned | Error::Leased { .. }) | Ok(_) => {}
            Err(_) => count(&self.failures),
        }
    }

    pub(super) fn read(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            creations: read(&self.creations),
            failures: read(&self.failures),
            late: read(&self.late),
            stale: read(&self.stale),
            stale_on_error: read(&self.stale_on_error),
            waits: read(&self.waits),
            refused: read(&self.refused),
            tier_errors: read(&self.tier_errors),
            lease_errors: read(&self.lease_errors),
        }
    }
}

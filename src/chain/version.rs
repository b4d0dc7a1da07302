//! Where versions come from.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::tier::Version;

/// Later than any clock: what is beyond was not given by one, and must not use the numbers up.
const MOST: u64 = u64::MAX / 2;

/// Gives versions, each newer than all that it gave or was shown.
#[derive(Debug, Default)]
pub(super) struct Versions(Mutex<Given>);

#[derive(Debug, Default)]
struct Given {
    fence: Option<u64>,
    last: Version,
}

impl Versions {
    fn given(&self) -> MutexGuard<'_, Given> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next one; `now` is the wall clock in microseconds.
    pub(super) fn next(&self, now: u64) -> Version {
        let mut given = self.given();
        let fence = given.fence.unwrap_or(given.last.fence);
        let after = match fence == given.last.fence {
            true => given.last.number.saturating_add(1),
            false => 1,
        };
        let number = after.max(now.min(MOST));
        let next = Version { fence, number };
        // Behind a fence that is over, all are old: they must not look newer than their fence says.
        given.last = given.last.max(next);
        next
    }

    /// One that somebody else gave.
    pub(super) fn seen(&self, version: Version) {
        if version.number <= MOST {
            let mut given = self.given();
            given.last = given.last.max(version);
        }
    }

    pub(super) fn set_fence(&self, fence: u64) {
        self.given().fence = Some(fence);
    }
}

//! Numbers that only grow.

use std::sync::atomic::{AtomicU64, Ordering};

use super::error::{Error, Kind, Result};
use crate::clock::Clock;

/// The last one that this process gave, for whatever key.
static LAST: AtomicU64 = AtomicU64::new(0);

/// A wall clock beyond the year 140,000 is none, and would leave no numbers.
const LATEST: u64 = 1 << 62;
/// The largest signed number of 64 bits, which is what databases have.
const MOST: u64 = i64::MAX as u64;

/// Larger than `held`, larger than all that this process ever gave, and not smaller than the wall clock.
pub(super) fn next(lease: &str, clock: &dyn Clock, held: u64) -> Result<u64> {
    let wall = clock.wall_micros().min(LATEST);
    let after = |last: u64| {
        let next = last.max(held).checked_add(1)?.max(wall);
        (next <= MOST).then_some(next)
    };
    let given = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, after);
    given.ok().and_then(after).ok_or_else(|| {
        let why = format!("no fencing number is left after {held}");
        Error::new(Kind::Permanent, lease, why)
    })
}

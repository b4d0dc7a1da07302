//! Schedules in which every call is once the last: how many, from which seeds, and one of them again.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect("a number"))
}

/// Runs `schedule` with a seed and its place in the row, on two threads; it answers in how many crashes it
/// ended. Variables: `NAME_SEED` for one of them alone, `NAME_SCHEDULES` and `NAME_BASE` for other rows.
pub(crate) fn run(name: &str, default: u64, schedule: impl Fn(u64, Option<u64>) -> u64 + Sync) {
    if let Some(seed) = number(&format!("{name}_SEED")) {
        schedule(seed, None);
        return;
    }
    let count = number(&format!("{name}_SCHEDULES")).unwrap_or(default);
    let base = number(&format!("{name}_BASE"));
    let base = base.unwrap_or_else(|| RandomState::new().hash_one(0) >> 16);
    println!("{name}_BASE={base}");
    let (next, crashes) = (AtomicU64::new(0), AtomicU64::new(0));
    let work = || {
        loop {
            let place = next.fetch_add(1, Ordering::SeqCst);
            if place >= count {
                break;
            }
            let died = schedule(base + place, Some(place));
            crashes.fetch_add(died, Ordering::SeqCst);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    println!("{count} schedules, {} crashes", crashes.into_inner());
}

//! What one more costs: a mutex around a map, and counters over a sink that is never in the way.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use documentbuffer::write_behind::{Batch, Counters, Options, SinkError};

use crate::report::Table;

fn nowhere(batch: Batch) -> Result<(), SinkError> {
    black_box(batch);
    Ok(())
}

/// Nanoseconds an increment: wall time by all increments of all threads.
fn time(threads: usize, each: usize, keys: &[String], add: impl Fn(&str) + Sync) -> f64 {
    let begun = Instant::now();
    thread::scope(|scope| {
        for thread in 0..threads {
            let add = &add;
            scope.spawn(move || {
                // Scattered, and not the same ones at the same moment.
                let mut at = thread * 7919;
                for _ in 0..each {
                    at = at.wrapping_add(40_503);
                    add(&keys[at & (keys.len() - 1)]);
                }
            });
        }
    });
    begun.elapsed().as_nanos() as f64 / (threads * each) as f64
}

pub fn round(table: &mut Table, scale: f64) {
    for count in [4, 65_536] {
        let keys: Vec<String> = (0..count).map(|key| format!("/page/{key}")).collect();
        for threads in [1, 2] {
            let case = format!("increment, {count} keys, {threads} threads");
            let each = (2_000_000.0 * scale) as usize;

            let map: Mutex<HashMap<String, i64>> = Mutex::default();
            let figure = time(threads, each, &keys, |key| {
                let mut map = map.lock().expect("a map");
                match map.get_mut(key) {
                    Some(total) => *total += 1,
                    None => drop(map.insert(key.to_owned(), 1)),
                }
            });
            table.add(&case, "mutex and map", figure);

            let counters = Counters::new(nowhere, Duration::from_secs(1)).expect("counters");
            let add = |key: &str| counters.increment(key, 1).expect("an increment");
            table.add(&case, "counters", time(threads, each, &keys, add));

            let dir = tempfile::tempdir().expect("a directory");
            let options = Options::new("bench").journal(dir.path().join("owed"));
            let counters = options.open(nowhere).expect("counters");
            let add = |key: &str| counters.increment(key, 1).expect("an increment");
            let begun = Instant::now();
            let busy = time(threads, each, &keys, add);
            counters.persist().expect("a journal");
            let all = begun.elapsed().as_nanos() as f64 / (threads * each) as f64;
            table.add(&case, "journaled counters (10 ms)", busy);
            table.add(&case, "journaled counters, until all is journaled", all);
        }
    }
}

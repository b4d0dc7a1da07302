//! What a read of a cache that refreshes itself costs, and a whole cycle.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use documentbuffer::auto_refresh::{AutoRefresh, Batch, Options};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

use crate::report::Table;

const ITEMS: usize = 10_000;

fn ids(count: usize) -> Vec<String> {
    (0..count).map(|id| format!("job:{id:08}")).collect()
}

/// Nanoseconds a read takes a thread, where so many read at once.
fn reads(ids: &[String], threads: usize, each: usize, get: impl Fn(&str) + Sync) -> f64 {
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let get = &get;
            scope.spawn(move || {
                let mut at = thread * 7_919;
                for _ in 0..each {
                    at = at.wrapping_add(40_503);
                    get(&ids[at & (ids.len() - 1)]);
                }
            });
        }
    });
    begun.elapsed().as_nanos() as f64 / each as f64
}

fn filled(ids: &[String], workers: usize, done: &Arc<(AtomicUsize, Notify)>) -> AutoRefresh<u64> {
    let (done, all) = (Arc::clone(done), ids.len());
    let sync = move |batch: Batch<u64>| {
        let done = Arc::clone(&done);
        async move {
            let answers = batch.iter().map(|item| item.update(**item.value() + 1));
            let answers = Ok::<_, String>(answers.collect());
            if done.0.fetch_add(1, Ordering::Relaxed) + 1 == all {
                done.1.notify_one();
            }
            answers
        }
    };
    let options = Options::new("jobs").size(ids.len()).parallelism(workers);
    let cache = options.period(Duration::from_secs(3600)).build(sync);
    let cache = cache.expect("a cache");
    for id in ids {
        cache.get_or_create(id, 0_u64).expect("an item");
    }
    cache
}

fn cycle(runtime: &Runtime, ids: &[String], workers: usize) -> f64 {
    let done = Arc::new((AtomicUsize::new(0), Notify::new()));
    let cache = filled(ids, workers, &done);
    runtime.block_on(async {
        let begun = Instant::now();
        cache.start().expect("started");
        done.1.notified().await;
        let took = begun.elapsed();
        cache.shutdown().await.expect("an end");
        assert_eq!(cache.stats().updates, ids.len() as u64);
        took.as_nanos() as f64 / ids.len() as f64
    })
}

pub fn round(table: &mut Table, scale: f64) {
    let each = (1_000_000.0 * scale) as usize;
    for count in [1, 8192] {
        let ids = ids(count);
        let cache = filled(&ids, 1, &Arc::default());
        let moka: moka::sync::Cache<String, Arc<u64>> = moka::sync::Cache::new(count as u64 * 2);
        for id in &ids {
            moka.insert(id.clone(), Arc::new(0));
        }
        for threads in [1, 2] {
            let case = format!("get of an item, {count} ids, {threads} threads");
            let own = reads(&ids, threads, each, |id| {
                assert!(black_box(cache.get(id)).is_some())
            });
            table.add(&case, "AutoRefresh", own);
            let other = reads(&ids, threads, each, |id| {
                assert!(black_box(moka.get(id)).is_some())
            });
            table.add(&case, "moka", other);
        }
    }
    let ids = ids(ITEMS);
    let case = format!("a cycle, an item of {ITEMS}, batches of one, all updated");
    let one = Builder::new_current_thread().enable_time().build();
    let one = one.expect("a runtime");
    let two = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build();
    let two = two.expect("a runtime");
    table.add(&case, "one thread", cycle(&one, &ids, 2));
    table.add(&case, "two threads, 2 workers", cycle(&two, &ids, 2));
    table.add(&case, "two threads, 10 workers", cycle(&two, &ids, 10));
}

//! Items that are refreshed in the background, on a clock that stands still until nothing else can be done.
#![cfg(feature = "auto-refresh")]

mod refresh_support;

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use documentbuffer::auto_refresh::{
    Action, AutoRefresh, Batch, Error, Item, Options, RateLimit, Response,
};
use documentbuffer::tier::MAX_KEY;
use refresh_support::*;

const MILLI: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn nothing_is_refreshed_before_the_start_and_after_the_end_but_all_is_read() {
    let service = Service::default();
    let cache = service.built(options().refresh_on_create(true));
    assert_eq!(create(&cache, "a", 1), 1);
    pass(HOUR).await;
    assert_eq!((service.calls(), seen(&cache, "a")), (0, Some(1)));
    cache.start().expect("started");
    pass(MILLI).await;
    assert_eq!((service.calls(), seen(&cache, "a")), (1, Some(2)));
    cache.shutdown().await.expect("ended");
    assert_eq!(create(&cache, "b", 7), 7);
    pass(HOUR).await;
    assert_eq!((service.calls(), seen(&cache, "a")), (1, Some(2)));
    assert_eq!((seen(&cache, "b"), create(&cache, "b", 8)), (Some(7), 7));
}

#[tokio::test(start_paused = true)]
async fn get_counts_hits_and_misses_and_is_a_use() {
    let cache = Service::default().built(options().size(2));
    assert_eq!(seen(&cache, "a"), None);
    create(&cache, "a", 1);
    create(&cache, "b", 2);
    assert_eq!(seen(&cache, "a"), Some(1));
    create(&cache, "c", 3);
    assert_eq!((seen(&cache, "a"), seen(&cache, "b")), (Some(1), None));
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.size), (2, 5, 2));
}

#[tokio::test(start_paused = true)]
async fn get_or_create_inserts_once_and_counts_a_miss_when_it_does() {
    let cache = Service::default().built(options());
    assert_eq!((create(&cache, "a", 1), create(&cache, "a", 2)), (1, 1));
    let made = cache.get_or_create_with("a", || -> u64 { panic!("it is there") });
    assert_eq!(made.ok().as_deref(), Some(&1));
    let stats = cache.stats();
    assert_eq!((stats.created, stats.misses, stats.hits), (1, 1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_deletion_waits_for_the_next_cycle_and_always_succeeds() {
    let service = Service::always(Mood::Unchanged);
    let cache = service.started(options());
    create(&cache, "a", 1);
    cache.delete_delayed("a");
    cache.delete_delayed("unknown");
    assert_eq!(seen(&cache, "a"), Some(1));
    // The first cycle was at the start, and comes to its turn now.
    settled().await;
    assert_eq!(seen(&cache, "a"), None);
    create(&cache, "b", 2);
    pass(SECOND / 2).await;
    cache.delete_delayed("b");
    pass(SECOND / 4).await;
    assert_eq!(seen(&cache, "b"), Some(2));
    pass(SECOND / 2).await;
    assert_eq!(seen(&cache, "b"), None);
    let stats = cache.stats();
    assert_eq!((stats.deletions, stats.evictions, stats.size), (2, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn creating_beyond_the_size_evicts_the_least_recently_used_at_once() {
    let cache = Service::default().built(options().size(2));
    for id in 0..10 {
        create(&cache, &id.to_string(), id);
        assert!(cache.stats().size <= 2);
    }
    let missed = (0..10).filter(|id: &u64| seen(&cache, &id.to_string()).is_none());
    assert_eq!(missed.count(), 8);
    assert_eq!(cache.stats().evictions, 8);
}

#[tokio::test(start_paused = true)]
async fn cycles_begin_at_once_and_then_a_period_after_what_was_queued() {
    let service = Service::always(Mood::Unchanged);
    let cache = service.built(options());
    create(&cache, "a", 1);
    cache.start().expect("started");
    settled().await;
    assert_eq!(service.calls(), 1);
    pass(SECOND - MILLI).await;
    assert_eq!(service.calls(), 1);
    pass(2 * MILLI).await;
    assert_eq!(service.calls(), 2);
    pass(10 * SECOND).await;
    assert_eq!(service.calls(), 12);
    assert_eq!(cache.stats().cycles, 12);
}

#[tokio::test(start_paused = true)]
async fn a_slow_callback_does_not_hold_up_the_cycles() {
    let service = Service::default();
    service.shut();
    let cache = service.built(options());
    create(&cache, "a", 1);
    cache.start().expect("started");
    pass(10 * SECOND + MILLI).await;
    assert_eq!((cache.stats().cycles, service.calls()), (11, 1));
}

#[tokio::test(start_paused = true)]
async fn a_cycle_lists_what_was_not_used_for_the_longest_time_first_and_leaves_out_the_rest() {
    let service = Service::default();
    service.of("terminal", Mood::Terminal(0));
    let listed = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&listed);
    let batches = move |due: Vec<Item<u64>>| {
        let ids = due.iter().map(|item| item.id().to_owned());
        log.lock().expect("a log").push(ids.collect::<Vec<_>>());
        Ok(vec![due])
    };
    let cache = service.built(options().batches(batches));
    for id in ["a", "b", "terminal", "c", "deleted"] {
        create(&cache, id, 1);
    }
    cache.get("a");
    cache.start().expect("started");
    pass(SECOND / 2).await;
    cache.delete_delayed("deleted");
    cache.get("b");
    pass(SECOND).await;
    let listed = listed.lock().expect("a log").clone();
    assert_eq!(listed[0], ["b", "terminal", "c", "deleted", "a"]);
    assert_eq!(listed[1], ["c", "a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn an_item_evicted_between_listing_and_queueing_is_left_out() {
    let service = Service::default();
    let cache: Arc<Mutex<Option<AutoRefresh<u64>>>> = Arc::default();
    let own = Arc::clone(&cache);
    let batches = move |due: Vec<Item<u64>>| {
        if let Some(cache) = &*own.lock().expect("a cache") {
            create(cache, "c", 3);
        }
        Ok(due.into_iter().map(|item| vec![item]).collect())
    };
    let built = service.built(options().size(2).batches(batches));
    create(&built, "a", 1);
    create(&built, "b", 2);
    *cache.lock().expect("a cache") = Some(built.clone());
    built.start().expect("started");
    settled().await;
    assert_eq!(service.begun(), [[("b".to_owned(), 2)]]);
    cache.lock().expect("a cache").take();
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_the_batches_ends_this_cycle_only() {
    let service = Service::default();
    let calls = AtomicUsize::new(0);
    let batches = move |due: Vec<Item<u64>>| match calls.fetch_add(1, Ordering::SeqCst) {
        0 => Err("none today".into()),
        1 => panic!("the batches panic, as they are meant to"),
        _ => Ok(vec![due]),
    };
    let cache = service.built(options().batches(batches));
    create(&cache, "a", 1);
    cache.start().expect("started");
    settled().await;
    assert_eq!(cache.stats().last_error.as_deref(), Some("none today"));
    pass(SECOND + MILLI).await;
    assert_eq!((service.calls(), cache.stats().cycle_errors), (0, 2));
    pass(SECOND).await;
    assert_eq!((service.calls(), cache.stats().cycles), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn batches_need_not_cover_what_is_due_and_what_they_make_up_or_repeat_does_not_count() {
    let service = Service::always(Mood::Unchanged);
    let other: Arc<Mutex<Vec<Item<u64>>>> = Arc::default();
    let kept = Arc::clone(&other);
    let stranger = service.built(options().batches(move |due| {
        kept.lock().expect("items").extend(due);
        Ok(Vec::new())
    }));
    create(&stranger, "made up", 9);
    create(&stranger, "new", 9);
    stranger.start().expect("started");
    settled().await;
    stranger.shutdown().await.expect("ended");
    let made_up = other.lock().expect("items").clone();
    assert_eq!(made_up.len(), 2);

    let batches = move |due: Vec<Item<u64>>| {
        let all: Vec<_> = due
            .into_iter()
            .filter(|item| item.id() != "left out")
            .collect();
        let twice = all.iter().chain(&all).cloned().collect();
        Ok(vec![made_up.clone(), twice, all, Vec::new()])
    };
    let cache = service.built(options().batches(batches));
    for id in ["a", "left out", "b"] {
        create(&cache, id, 1);
    }
    cache.start().expect("started");
    pass(2 * SECOND + MILLI).await;
    let pair = vec![("a".to_owned(), 1), ("b".to_owned(), 1)];
    assert_eq!(service.begun(), vec![pair; 3]);
    assert_eq!(cache.stats().queued, 0);
}

#[tokio::test(start_paused = true)]
async fn batches_of_ten_cover_all_that_is_due() {
    let service = Service::default();
    let cache = service.built(options().batches_of(10));
    for id in 0..25 {
        create(&cache, &id.to_string(), id);
    }
    cache.start().expect("started");
    settled().await;
    let sizes: Vec<_> = service.begun().iter().map(Vec::len).collect();
    assert_eq!(sizes, [10, 10, 5]);
}

#[tokio::test(start_paused = true)]
async fn only_an_update_writes_and_what_is_not_named_stays() {
    let service = Service::default();
    let moods = [
        ("a", Mood::Up),
        ("b", Mood::Unchanged),
        ("c", Mood::Silent),
        ("d", Mood::Other("e", 50)),
        ("f", Mood::Other("nobody", 1)),
    ];
    for (id, mood) in &moods {
        service.of(id, mood.clone());
    }
    service.of("e", Mood::Silent);
    let cache = service.built(options().parallelism(1));
    for id in ["a", "b", "c", "d", "e", "f"] {
        create(&cache, id, 10);
    }
    cache.start().expect("started");
    settled().await;
    let all = ["a", "b", "c", "d", "e", "f", "nobody"].map(|id| seen(&cache, id));
    let [ten, nobody] = [Some(10), None];
    assert_eq!(all, [Some(11), ten, ten, ten, Some(50), ten, nobody]);
    let stats = cache.stats();
    assert_eq!((stats.updates, stats.dropped), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn equal_values_are_not_compared() {
    let service = Service::always(Mood::Set(1));
    let cache = service.built(options());
    let first = cache.get_or_create("a", 1_u64).expect("an item");
    cache.start().expect("started");
    settled().await;
    let second = cache.get("a").expect("an item");
    assert!(*first == *second && !Arc::ptr_eq(&first, &second));
}

#[tokio::test(start_paused = true)]
async fn as_many_batches_run_at_once_as_there_are_workers() {
    let service = Service::default();
    service.shut();
    let cache = service.built(options().parallelism(3));
    for id in 0..10 {
        create(&cache, &id.to_string(), id);
    }
    cache.start().expect("started");
    pass(10 * SECOND).await;
    let stats = cache.stats();
    assert_eq!((service.calls(), stats.running, stats.queued), (3, 3, 7));
    service.open();
    service.until_ended(10).await;
    assert_eq!(service.most(), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn a_failed_batch_is_counted_and_not_repeated_within_the_cycle() {
    let service = Service::default();
    service.of("a", Mood::Fail);
    service.of("b", Mood::Panic);
    let cache = service.built(options());
    for id in ["a", "b", "c"] {
        create(&cache, id, 1);
    }
    cache.start().expect("started");
    pass(SECOND - MILLI).await;
    let stats = cache.stats();
    assert_eq!((stats.sync_errors, stats.panics, stats.failing), (2, 1, 2));
    assert_eq!((stats.syncs, service.calls()), (3, 3));
    assert_eq!(seen(&cache, "c"), Some(2));
    pass(2 * MILLI).await;
    assert_eq!(service.calls(), 6);
}

/// `TestQueueBuildUp` of the original.
#[tokio::test(start_paused = true)]
async fn a_hundred_items_that_fail_are_tried_once_each_in_batches_of_one() {
    let service = Service::always(Mood::Fail);
    let cache = service.built(options().period(HOUR).parallelism(10));
    for id in 0..100 {
        create(&cache, &id.to_string(), id);
    }
    cache.start().expect("started");
    pass(5 * SECOND).await;
    assert_eq!(service.calls(), 100);
    assert!(service.begun().iter().all(|batch| batch.len() == 1));
    assert!((0..100).all(|id| service.calls_of(&id.to_string()) == 1));
    assert_eq!(cache.stats().sync_errors, 100);
}

/// R13, and proof 7: a resync faster than the loader.
#[tokio::test(start_paused = true)]
async fn a_refresh_that_still_runs_is_not_begun_again() {
    let service = Service::default();
    service.shut();
    let cache = service.built(options().period(MILLI).parallelism(8));
    create(&cache, "a", 1);
    create(&cache, "b", 1);
    cache.start().expect("started");
    for _ in 0..200 {
        pass(MILLI).await;
        let stats = cache.stats();
        assert!(stats.queued + stats.running <= 2, "{stats:?}");
    }
    assert_eq!((service.calls(), service.most()), (2, (1, 2)));
    service.let_through(2);
    service.until_ended(2).await;
    pass(MILLI).await;
    assert_eq!(service.calls(), 4);
}

#[tokio::test(start_paused = true)]
async fn the_rate_is_charged_when_a_refresh_begins() {
    let service = Service::always(Mood::Unchanged);
    let limit = RateLimit::every(SECOND).burst(2);
    let cache = service.built(options().period(MILLI).rate(limit).parallelism(4));
    for id in 0..5 {
        create(&cache, &id.to_string(), id);
    }
    cache.start().expect("started");
    settled().await;
    assert_eq!((service.calls(), cache.stats().queued), (2, 3));
    pass(10 * SECOND + MILLI).await;
    assert_eq!(service.calls(), 12);
    // What is queued and then gone is not charged.
    for id in 0..5 {
        cache.delete_delayed(&id.to_string());
    }
    pass(10 * SECOND).await;
    assert_eq!((service.calls(), cache.stats().size), (12, 0));
    create(&cache, "x", 1);
    create(&cache, "y", 1);
    pass(2 * MILLI).await;
    assert_eq!((service.calls_of("x"), service.calls_of("y")), (1, 1));
}

/// "One hour per item", which the original refreshed 9,437 times in 200 ms.
#[tokio::test(start_paused = true)]
async fn a_rate_of_one_an_hour_is_kept() {
    let service = Service::always(Mood::Unchanged);
    let cache = service.built(options().period(SECOND / 10).rate(RateLimit::every(HOUR)));
    create(&cache, "a", 1);
    cache.start().expect("started");
    pass(SECOND).await;
    assert_eq!(service.calls(), 1);
    pass(HOUR).await;
    assert_eq!(service.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_tells_what_runs_and_begins_nothing_more() {
    let service = Service::default();
    service.shut();
    let cache = service.built(options().parallelism(1));
    create(&cache, "a", 1);
    create(&cache, "b", 1);
    cache.start().expect("started");
    service.until_begun(1).await;
    cache.shutdown().await.expect("ended");
    let (calls, cancelled) = (service.calls(), service.cancelled());
    assert_eq!((calls, cancelled, service.ended()), (1, 1, 1));
    let stats = cache.stats();
    assert_eq!((stats.queued, stats.running), (0, 0));
    pass(HOUR).await;
    assert_eq!(service.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_during_the_shutdown_is_applied() {
    let service = Service::default();
    service.shut();
    let cache = service.built(options());
    create(&cache, "a", 1);
    cache.start().expect("started");
    service.until_begun(1).await;
    service.open();
    cache.shutdown().await.expect("ended");
    assert_eq!(seen(&cache, "a"), Some(2));
}

#[tokio::test(start_paused = true)]
async fn what_happens_is_counted_and_timed() {
    let service = Service::default();
    service.shut();
    let cache = service.built(options().size(1));
    create(&cache, "a", 1);
    cache.start().expect("started");
    service.until_begun(1).await;
    pass(SECOND / 2).await;
    service.open();
    service.until_ended(1).await;
    create(&cache, "b", 1);
    cache.get("a");
    cache.get("b");
    let stats = cache.stats();
    assert_eq!((stats.name.as_str(), stats.size), ("numbers", 1));
    assert_eq!((stats.syncs, stats.sync_errors, stats.updates), (1, 0, 1));
    assert_eq!((stats.evictions, stats.hits, stats.misses), (1, 1, 3));
    assert_eq!(stats.latency.count(), 1);
    assert!(stats.latency.sum() >= SECOND / 2, "{stats:?}");
}

/// `Enqueue nothing` of the original.
#[tokio::test(start_paused = true)]
async fn a_terminal_item_is_never_refreshed_and_stays_readable() {
    let service = Service::always(Mood::Panic);
    let options = || {
        options()
            .terminal(|value: &u64| *value >= 100)
            .refresh_on_create(true)
    };
    let cache = service.started(options().size(11));
    for id in 0..10 {
        create(&cache, &id.to_string(), 100 + id);
    }
    pass(10 * SECOND).await;
    assert_eq!(service.calls(), 0);
    assert!((0..10).all(|id| seen(&cache, &id.to_string()) == Some(100 + id)));
    // What becomes terminal by its value, or because the callback says so.
    service.of("v", Mood::Set(200));
    create(&cache, "v", 1);
    pass(10 * SECOND).await;
    assert_eq!((service.calls(), seen(&cache, "v")), (1, Some(200)));
    let service = Service::always(Mood::Terminal(5));
    let cache = service.started(options());
    create(&cache, "a", 1);
    pass(10 * SECOND).await;
    assert_eq!((service.calls(), seen(&cache, "a")), (1, Some(5)));
    // Until it is deleted.
    cache.delete_delayed("a");
    pass(SECOND).await;
    assert_eq!((seen(&cache, "a"), cache.stats().deletions), (None, 1));
}

#[tokio::test(start_paused = true)]
async fn an_answer_about_another_item_never_changes_a_terminal_one() {
    let service = Service::default();
    service.of("done", Mood::Terminal(5));
    service.of("a", Mood::Other("done", 1));
    let cache = service.started(options().parallelism(1));
    create(&cache, "done", 1);
    create(&cache, "a", 1);
    pass(10 * SECOND).await;
    assert_eq!(
        (seen(&cache, "done"), service.calls_of("done")),
        (Some(5), 1)
    );
    assert!(cache.stats().dropped >= 10);
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_goes() {
    let service = Service::always(Mood::Gone);
    let cache = service.started(options());
    create(&cache, "a", 1);
    settled().await;
    let stats = cache.stats();
    assert_eq!((seen(&cache, "a"), stats.gone, stats.size), (None, 1, 0));
    assert_eq!((stats.deletions, stats.evictions), (0, 0));
    assert_eq!(create(&cache, "a", 2), 2);
}

/// `disable sync on create` of flyte, and its opposite.
#[tokio::test(start_paused = true)]
async fn a_new_item_is_refreshed_at_once_where_that_is_wished() {
    for (wished, value) in [(false, 1), (true, 2)] {
        let service = Service::default();
        let cache = service.started(options().refresh_on_create(wished));
        settled().await;
        create(&cache, "a", 1);
        create(&cache, "a", 1);
        pass(SECOND / 2).await;
        assert_eq!(seen(&cache, "a"), Some(value));
        pass(SECOND).await;
        assert_eq!(seen(&cache, "a"), Some(value + 1));
    }
}

/// The example of the original.
#[tokio::test(start_paused = true)]
async fn a_job_that_was_not_started_is_completed() {
    let jobs = Options::new("jobs").period(MILLI).parallelism(10).size(100);
    let sync = async |jobs: Batch<&'static str>| {
        let changed = jobs.iter().filter(|job| **job.value() != "completed");
        Ok::<_, String>(changed.map(|job| job.update("completed")).collect())
    };
    let jobs = jobs.build(sync).expect("a cache");
    jobs.start().expect("started");
    for id in ["item1", "item2"] {
        let job = jobs.get_or_create(id, "not started").expect("an item");
        assert_eq!(*job, "not started");
    }
    pass(10 * MILLI).await;
    assert_eq!(jobs.get("item1").as_deref(), Some(&"completed"));
    jobs.shutdown().await.expect("ended");
}

/// `TestCacheThree/normal operation` of the original.
#[tokio::test(start_paused = true)]
async fn ten_items_are_updated_up_to_the_limit_of_the_callback() {
    let options = Options::new("limited")
        .period(MILLI)
        .parallelism(10)
        .size(10);
    let sync = async |batch: Batch<u64>| {
        let below = batch.iter().filter(|item| **item.value() < 10);
        Ok::<Vec<Response<u64>>, String>(
            below.map(|item| item.update(**item.value() + 1)).collect(),
        )
    };
    let cache = options.build(sync).expect("a cache");
    cache.start().expect("started");
    for id in 0..10 {
        create(&cache, &id.to_string(), 0);
    }
    pass(SECOND / 2).await;
    assert!((0..10).all(|id| seen(&cache, &id.to_string()) == Some(10)));
    assert_eq!(cache.stats().updates, 100);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_item_does_not_come_back() {
    let service = Service::default();
    service.shut();
    let cache = service.started(options());
    create(&cache, "a", 1);
    service.until_begun(1).await;
    cache.delete_delayed("a");
    pass(SECOND).await;
    assert_eq!(seen(&cache, "a"), None);
    service.open();
    service.until_ended(1).await;
    assert_eq!((seen(&cache, "a"), cache.stats().dropped), (None, 1));
}

#[tokio::test(start_paused = true)]
async fn an_answer_changes_nothing_of_what_is_to_be_deleted() {
    let service = Service::default();
    service.shut();
    let cache = service.started(options());
    create(&cache, "a", 1);
    service.until_begun(1).await;
    cache.delete_delayed("a");
    service.open();
    service.until_ended(1).await;
    assert_eq!((seen(&cache, "a"), cache.stats().dropped), (Some(1), 1));
}

#[tokio::test(start_paused = true)]
async fn an_evicted_item_does_not_come_back_and_pushes_nothing_out() {
    let service = Service::default();
    service.shut();
    let cache = service.started(options().size(1).period(HOUR));
    create(&cache, "old", 1);
    service.until_begun(1).await;
    create(&cache, "new", 10);
    service.open();
    service.until_ended(1).await;
    assert_eq!((seen(&cache, "old"), seen(&cache, "new")), (None, Some(10)));
    let stats = cache.stats();
    assert_eq!((stats.dropped, stats.evictions, stats.size), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_item_created_again_takes_no_answer_about_the_one_before() {
    let service = Service::default();
    service.shut();
    let cache = service.started(options().size(1).period(HOUR));
    create(&cache, "a", 1);
    service.until_begun(1).await;
    create(&cache, "b", 1);
    assert_eq!(create(&cache, "a", 100), 100);
    service.open();
    service.until_ended(1).await;
    assert_eq!((seen(&cache, "a"), cache.stats().dropped), (Some(100), 1));
}

#[tokio::test(start_paused = true)]
async fn an_item_created_again_is_not_refreshed_while_the_one_before_is() {
    let service = Service::default();
    service.shut();
    let options = options().size(1).parallelism(8).refresh_on_create(true);
    let cache = service.started(options.period(MILLI));
    create(&cache, "a", 1);
    service.until_begun(1).await;
    for round in 0..10 {
        create(&cache, "b", 1);
        assert_eq!(create(&cache, "a", 100 + round), 100 + round);
        pass(10 * MILLI).await;
    }
    assert_eq!(service.calls_of("a"), 1);
    // It was wished for while it could not be, and comes once.
    service.let_through(1);
    service.until_ended(1).await;
    let begun = service.begun();
    let of_a = begun.iter().flatten().filter(|(id, _)| id == "a");
    assert_eq!(of_a.map(|(_, value)| *value).collect::<Vec<_>>(), [1, 109]);
    assert_eq!(service.most().0, 1);
}

/// Two answers about one item: the first that comes stands, since the other was computed before.
#[tokio::test(start_paused = true)]
async fn an_older_answer_does_not_stand_over_a_newer_one() {
    let service = Service::default();
    service.of("a", Mood::Other("b", 1000));
    service.shut();
    let cache = service.built(options().parallelism(1));
    create(&cache, "a", 1);
    cache.start().expect("started");
    service.until_begun(1).await;
    // Created after the batch has begun: the answer is about one that was there before.
    create(&cache, "b", 1);
    service.let_through(1);
    service.until_ended(1).await;
    assert_eq!((seen(&cache, "b"), cache.stats().dropped), (Some(1), 1));
    // Unchanged since the batch began: now it is applied, and what runs for the item itself is too old.
    let service = Service::default();
    service.of("a", Mood::Other("b", 1000));
    service.of("b", Mood::Set(7));
    service.shut();
    let cache = service.built(options().parallelism(2));
    create(&cache, "a", 1);
    create(&cache, "b", 1);
    cache.start().expect("started");
    service.until_begun(2).await;
    service.let_through(1);
    service.until_ended(1).await;
    let first = seen(&cache, "b");
    service.let_through(1);
    service.until_ended(2).await;
    assert!(matches!(first, Some(7 | 1000)));
    assert_eq!((seen(&cache, "b"), cache.stats().dropped), (first, 1));
}

/// The batch is given what an item is when it begins, not what it was when it was queued.
#[tokio::test(start_paused = true)]
async fn a_batch_is_given_the_values_of_its_beginning() {
    let service = Service::default();
    service.of("a", Mood::Other("b", 50));
    service.shut();
    let cache = service.built(options().parallelism(1));
    create(&cache, "a", 1);
    create(&cache, "b", 1);
    cache.start().expect("started");
    service.until_begun(1).await;
    service.let_through(1);
    service.until_begun(2).await;
    assert_eq!(service.begun()[1], [("b".to_owned(), 50)]);
}

#[tokio::test(start_paused = true)]
async fn of_two_answers_about_one_item_in_a_batch_the_first_counts() {
    let sync = async |batch: Batch<u64>| {
        let twice = batch
            .iter()
            .flat_map(|item| [item.update(2), item.update(3)]);
        Ok::<_, String>(twice.collect())
    };
    let cache = options().build(sync).expect("a cache");
    create(&cache, "a", 1);
    cache.start().expect("started");
    settled().await;
    assert_eq!((seen(&cache, "a"), cache.stats().dropped), (Some(2), 1));
}

/// The original queued 873 batches of one item in a second.
#[tokio::test(start_paused = true)]
async fn no_more_is_queued_than_there_are_items() {
    let service = Service::default();
    service.shut();
    let cache = service.built(options().period(MILLI).parallelism(1).size(3));
    create(&cache, "running", 1);
    cache.start().expect("started");
    service.until_begun(1).await;
    for round in 0..200 {
        create(&cache, &format!("item {}", round % 7), 1);
        pass(MILLI).await;
        let stats = cache.stats();
        assert!(stats.queued <= stats.size && stats.size <= 3, "{stats:?}");
    }
    assert_eq!(service.calls(), 1);
}

/// Proof 12: the original lost a worker to each panic.
#[tokio::test(start_paused = true)]
async fn ten_workers_that_panic_are_ten_workers() {
    let service = Service::always(Mood::Panic);
    let options = options().parallelism(10).refresh_on_create(true);
    let cache = service.built(options);
    for id in 0..10 {
        create(&cache, &id.to_string(), id);
    }
    cache.start().expect("started");
    pass(9 * SECOND + SECOND / 2).await;
    assert_eq!((service.calls(), cache.stats().panics), (100, 100));
    service.is_from_now_on(Mood::Up);
    service.shut();
    pass(SECOND).await;
    assert_eq!(cache.stats().running, 10);
    cache.shutdown().await.expect("ended");
}

#[tokio::test(start_paused = true)]
async fn a_callback_that_panics_before_it_is_a_future_costs_no_worker() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let sync = move |batch: Batch<u64>| {
        let call = counted.fetch_add(1, Ordering::SeqCst);
        assert!(call > 2, "the callback panics, as it is meant to");
        async move { Ok::<_, String>(vec![batch[0].update(5)]) }
    };
    let cache = options().parallelism(1).build(sync).expect("a cache");
    create(&cache, "a", 1);
    cache.start().expect("started");
    pass(3 * SECOND + MILLI).await;
    assert_eq!((seen(&cache, "a"), cache.stats().panics), (Some(5), 3));
}

/// Whoever holds the last of a value may do anything when it goes.
#[tokio::test(start_paused = true)]
async fn values_are_dropped_with_no_lock_held_and_may_panic() {
    struct Value {
        number: u64,
        cache: Arc<Mutex<Option<AutoRefresh<Value>>>>,
        dropped: Arc<AtomicUsize>,
        panics: bool,
    }
    impl Drop for Value {
        fn drop(&mut self) {
            self.dropped.fetch_add(1, Ordering::SeqCst);
            let cache = self.cache.lock().expect("a cache").clone();
            // A lock that is held would be waited for without end.
            let _ = cache.map(|cache| cache.get("a"));
            assert!(!self.panics, "the drop panics, as it is meant to");
        }
    }
    quiet();
    let place = Arc::new(Mutex::new(None));
    let dropped = Arc::new(AtomicUsize::new(0));
    let value = |number, panics| Value {
        number,
        cache: Arc::clone(&place),
        dropped: Arc::clone(&dropped),
        panics,
    };
    let own = (Arc::clone(&place), Arc::clone(&dropped));
    let sync = move |batch: Batch<Value>| {
        let (cache, dropped) = own.clone();
        async move {
            let value = |number| Value {
                number,
                cache: Arc::clone(&cache),
                dropped: Arc::clone(&dropped),
                panics: true,
            };
            let mut answers = Vec::new();
            for item in batch.iter() {
                answers.push(item.update(value(item.value().number + 1)));
                // Nobody else holds what this takes the place of.
                let kept = Action::Update(Arc::new(value(0)));
                answers.push(Response::new("kept", kept));
            }
            Ok::<_, String>(answers)
        }
    };
    let options = Options::new("values").period(SECOND).parallelism(1).size(3);
    let cache = options.build(sync).expect("a cache");
    *place.lock().expect("a place") = Some(cache.clone());
    for id in ["evicted", "kept", "a", "deleted"] {
        drop(cache.get_or_create(id, value(1, false)).expect("an item"));
    }
    // One that is there already, and so is not taken.
    drop(cache.get_or_create("a", value(9, false)).expect("an item"));
    assert_eq!(dropped.load(Ordering::SeqCst), 2);
    cache.delete_delayed("deleted");
    cache.start().expect("started");
    pass(3 * SECOND + MILLI).await;
    assert_eq!(cache.get("a").map(|value| value.number), Some(5));
    assert_eq!((cache.stats().cycles, cache.stats().size), (4, 2));
    cache.shutdown().await.expect("ended");
    place.lock().expect("a place").take();
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(cache)));
}

#[tokio::test(start_paused = true)]
async fn starting_twice_or_after_the_end_is_an_error() {
    let service = Service::always(Mood::Unchanged);
    let cache = service.started(options());
    create(&cache, "a", 1);
    assert!(matches!(cache.start(), Err(Error::Started)));
    pass(10 * SECOND + SECOND / 2).await;
    assert_eq!(service.calls(), 11);
    cache.shutdown().await.expect("ended");
    cache.shutdown().await.expect("ended");
    assert!(matches!(cache.start(), Err(Error::Stopped)));
    let never = service.built(options());
    never.shutdown().await.expect("ended");
    assert!(matches!(never.start(), Err(Error::Stopped)));
}

#[test]
fn without_a_runtime_or_its_time_it_does_not_start() {
    let cache = Service::default().built(options());
    assert!(matches!(cache.start(), Err(Error::NoRuntime)));
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.expect("a runtime");
    assert!(matches!(
        runtime.block_on(async { cache.start() }),
        Err(Error::NoRuntime)
    ));
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().build().expect("a runtime");
    assert!(matches!(runtime.block_on(async { cache.start() }), Ok(())));
}

/// The original left 240 of them behind.
#[tokio::test(start_paused = true)]
async fn twenty_caches_leave_no_task_behind() {
    let alive = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let before = alive();
    for round in 0..20 {
        let service = Service::default();
        service.shut();
        let cache = service.built(options().parallelism(10));
        create(&cache, "a", 1);
        cache.start().expect("started");
        assert_eq!(alive(), before + 11);
        let clone = cache.clone();
        service.until_begun(1).await;
        drop(clone);
        assert_eq!(alive(), before + 11);
        if round % 2 == 0 {
            cache.shutdown().await.expect("ended");
            assert_eq!(alive(), before);
        }
        drop(cache);
        settled().await;
        assert_eq!(alive(), before);
        assert_eq!(service.ended(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_that_was_given_up_is_ended_by_the_next() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let begun = Arc::new(AtomicUsize::new(0));
    let own = (Arc::clone(&gate), Arc::clone(&begun));
    // It does not heed that it is cancelled.
    let sync = move |batch: Batch<u64>| {
        let (gate, begun) = own.clone();
        async move {
            begun.fetch_add(1, Ordering::SeqCst);
            gate.acquire().await.expect("open").forget();
            Ok::<_, String>(vec![batch[0].update(2)])
        }
    };
    let cache = options().build(sync).expect("a cache");
    create(&cache, "a", 1);
    cache.start().expect("started");
    settled().await;
    assert!(
        tokio::time::timeout(SECOND, cache.shutdown())
            .await
            .is_err()
    );
    assert_eq!(cache.stats().running, 1);
    let both = async { tokio::join!(cache.shutdown(), cache.shutdown()) };
    gate.add_permits(1);
    let both = tokio::time::timeout(SECOND, both).await.expect("in time");
    assert!(both.0.is_ok() && both.1.is_ok());
    let metrics = tokio::runtime::Handle::current().metrics();
    assert_eq!((metrics.num_alive_tasks(), seen(&cache, "a")), (0, Some(2)));
}

#[test]
fn all_who_create_one_item_get_the_same() {
    let cache = Service::default().built(options());
    let threads = 4;
    for round in 0..500 {
        let (barrier, id) = (Barrier::new(threads), round.to_string());
        let got: Vec<Arc<u64>> = std::thread::scope(|scope| {
            let create = |own: u64| {
                let (cache, barrier, id) = (&cache, &barrier, &id);
                scope.spawn(move || {
                    barrier.wait();
                    cache.get_or_create_with(id, || own).expect("an item")
                })
            };
            let created: Vec<_> = (0..threads as u64).map(create).collect();
            created
                .into_iter()
                .map(|it| it.join().expect("it"))
                .collect()
        });
        assert!(got.iter().all(|one| Arc::ptr_eq(one, &got[0])), "{round}");
    }
    assert_eq!(cache.stats().created, 500);
}

/// What a thread sees of an id goes on only: from one creation to the next, and from one answer to the next.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_many_threads_nothing_goes_back_and_nothing_runs_twice() {
    type Seen = (u64, u64);
    let running: Arc<Mutex<HashSet<String>>> = Arc::default();
    let own = Arc::clone(&running);
    let sync = move |batch: Batch<Seen>| {
        let running = Arc::clone(&own);
        async move {
            for item in batch.iter() {
                let mut running = running.lock().expect("ids");
                assert!(running.insert(item.id().to_owned()), "it runs twice");
            }
            tokio::task::yield_now().await;
            for item in batch.iter() {
                running.lock().expect("ids").remove(item.id());
            }
            let next = |item: &Item<Seen>| {
                let (creation, answer) = **item.value();
                item.update((creation, answer + 1))
            };
            Ok::<_, String>(batch.iter().map(next).collect())
        }
    };
    let options = Options::new("threads")
        .size(24)
        .period(Duration::from_micros(100));
    let cache = options
        .parallelism(4)
        .batches_of(3)
        .build(sync)
        .expect("a cache");
    cache.start().expect("started");
    let threads: Vec<_> = (0..4_u64)
        .map(|thread| {
            let cache = cache.clone();
            std::thread::spawn(move || {
                let mut last = [(0, 0); 32];
                for round in 0..100_000_u64 {
                    let at = (round * 7 % 32) as usize;
                    let id = at.to_string();
                    if at as u64 % 4 == thread {
                        // Of its own ids alone it knows the order of creations.
                        let made = cache.get_or_create(&id, (round + 1, 0)).expect("an item");
                        assert!(*made >= last[at], "{id}: {made:?} behind {:?}", last[at]);
                        last[at] = *made;
                    }
                    if round % 13 == thread {
                        cache.delete_delayed(&id);
                    }
                    if let Some(seen) = cache.get(&id) {
                        assert!(*seen >= last[at], "{id}: {seen:?} behind {:?}", last[at]);
                        last[at] = *seen;
                    }
                }
            })
        })
        .collect();
    tokio::task::spawn_blocking(|| threads.into_iter().for_each(|it| it.join().expect("it")))
        .await
        .expect("all threads");
    cache.shutdown().await.expect("ended");
    let stats = cache.stats();
    assert_eq!((stats.panics, stats.running, stats.queued), (0, 0, 0));
    assert!(stats.updates > 0 && stats.deletions > 0, "{stats:?}");
}

#[tokio::test(start_paused = true)]
async fn a_creation_takes_a_deletion_back() {
    let service = Service::default();
    let cache = service.started(options());
    create(&cache, "a", 1);
    pass(SECOND / 2).await;
    cache.delete_delayed("a");
    // The old item, as until the cycle; and it stays.
    assert_eq!(create(&cache, "a", 100), 2);
    pass(10 * SECOND).await;
    assert_eq!((seen(&cache, "a"), cache.stats().deletions), (Some(12), 0));
}

/// The original evicted the item that was read last before those that were only refreshed.
#[tokio::test(start_paused = true)]
async fn a_refresh_is_no_use() {
    let service = Service::default();
    let cache = service.started(options().size(3));
    for id in ["a", "b", "c"] {
        create(&cache, id, 1);
    }
    cache.get("a");
    pass(5 * SECOND).await;
    // From here on it is neither updated nor listed, and the others are.
    service.of("a", Mood::Terminal(9));
    pass(5 * SECOND).await;
    create(&cache, "d", 1);
    let all = ["a", "b", "c", "d"].map(|id| cache.get(id).is_some());
    assert_eq!(all, [true, false, true, true]);
}

/// In the original all items could be to be deleted, and none was, or none while refreshes failed.
#[tokio::test(start_paused = true)]
async fn deletions_are_made_though_every_refresh_fails_or_nothing_else_is_due() {
    let service = Service::always(Mood::Fail);
    let cache = service.started(options());
    for id in 0..1000 {
        create(&cache, &id.to_string(), id);
    }
    pass(SECOND / 2).await;
    for id in 0..1000 {
        cache.delete_delayed(&id.to_string());
    }
    pass(SECOND).await;
    assert_eq!((cache.stats().size, cache.stats().deletions), (0, 1000));
}

#[tokio::test(start_paused = true)]
async fn an_item_that_failed_sits_out_its_cycles() {
    let service = Service::always(Mood::Fail);
    let delays = options().delays(4 * SECOND, 60 * SECOND);
    let cache = service.built(delays);
    create(&cache, "a", 1);
    cache.start().expect("started");
    pass(4 * SECOND - MILLI).await;
    assert_eq!((service.calls(), cache.stats().sat_out), (1, 3));
    // Up to as much again is added at random.
    pass(5 * SECOND).await;
    assert_eq!(service.calls(), 2);
    for _ in 0..10 {
        pass(64 * SECOND).await;
    }
    let calls = service.calls();
    pass(650 * SECOND).await;
    let more = service.calls() - calls;
    assert!((5..=11).contains(&more), "{more}");
    // One that goes well ends it.
    service.is_from_now_on(Mood::Up);
    pass(130 * SECOND).await;
    let calls = service.calls();
    pass(10 * SECOND).await;
    assert_eq!((service.calls() - calls, cache.stats().failing), (10, 0));
}

/// Proof 8: nobody gets around the backoff.
#[tokio::test(start_paused = true)]
async fn nothing_gets_around_the_backoff_of_an_item() {
    let service = Service::always(Mood::Unchanged);
    service.of("a", Mood::Fail);
    service.of("c", Mood::Other("a", 77));
    let options = options().delays(100 * SECOND, HOUR).refresh_on_create(true);
    let cache = service.started(options.size(2).parallelism(4));
    create(&cache, "a", 1);
    settled().await;
    assert_eq!(service.calls_of("a"), 1);
    for round in 0..50 {
        // Created again, behind an eviction or a deletion; answered for by others.
        create(&cache, "b", 1);
        create(&cache, "c", 1);
        create(&cache, "a", round);
        cache.delete_delayed("a");
        pass(SECOND).await;
        assert_eq!(create(&cache, "a", round + 1), round + 1);
        create(&cache, "c", 1);
        pass(SECOND / 2).await;
        create(&cache, "a", 0);
    }
    assert_eq!((service.calls_of("a"), seen(&cache, "a")), (1, Some(77)));
    // It was wished for, and is refreshed when the backoff is over.
    pass(201 * SECOND).await;
    assert_eq!(service.calls_of("a"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_was_wished_for_comes_when_the_backoff_is_over_not_with_a_cycle() {
    let service = Service::default();
    service.next("a", &[Mood::Fail]);
    let options = options().period(HOUR).delays(10 * SECOND, HOUR);
    let cache = service.started(options.size(1).refresh_on_create(true));
    create(&cache, "a", 1);
    settled().await;
    service.shut();
    create(&cache, "b", 1);
    create(&cache, "a", 5);
    pass(9 * SECOND).await;
    assert_eq!(service.calls_of("a"), 1);
    service.open();
    pass(12 * SECOND).await;
    assert_eq!((service.calls_of("a"), seen(&cache, "a")), (2, Some(6)));
}

#[test]
fn what_cannot_be_built_is_refused() {
    let refused = |options: Options<u64>| {
        let sync = async |_: Batch<u64>| Ok::<_, String>(Vec::new());
        options.build(sync).err()
    };
    assert!(refused(options()).is_none());
    assert!(matches!(refused(options().size(0)), Some(Error::Size)));
    assert!(matches!(
        refused(options().period(Duration::ZERO)),
        Some(Error::Period)
    ));
    assert!(matches!(
        refused(options().parallelism(0)),
        Some(Error::Parallelism)
    ));
    let rates = [
        RateLimit::per_second(0),
        RateLimit::per_second(1).burst(0),
        RateLimit::every(Duration::ZERO),
    ];
    for rate in rates {
        assert!(matches!(refused(options().rate(rate)), Some(Error::Rate)));
    }
    assert!(refused(options().rate(RateLimit::per_second(u32::MAX))).is_none());
    // As large as it gets, without memory for what is not there.
    assert!(refused(options().size(usize::MAX).period(Duration::MAX)).is_none());
}

#[tokio::test(start_paused = true)]
async fn an_id_that_is_too_long_is_refused_when_created_and_not_found_when_read() {
    let cache = Service::default().started(options());
    let longest = "k".repeat(MAX_KEY);
    assert_eq!(create(&cache, &longest, 1), 1);
    assert_eq!(create(&cache, "", 2), 2);
    let long = "k".repeat(MAX_KEY + 1);
    let refused = cache.get_or_create(&long, 1_u64);
    assert!(matches!(refused, Err(Error::Id(bad)) if bad.bytes == MAX_KEY + 1));
    cache.delete_delayed(&long);
    assert_eq!(
        (seen(&cache, &long), seen(&cache, &longest)),
        (None, Some(1))
    );
}

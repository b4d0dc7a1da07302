//! Items that outlive the process, on a clock that stands still until nothing else can be done.
#![cfg(feature = "auto-refresh")]

mod refresh_support;

use std::collections::BTreeMap;
use std::time::Duration;

use documentbuffer::auto_refresh::{AutoRefresh, Error, Options};
use documentbuffer::tier::file::FileTier;
use documentbuffer::tier::guarded::{Guard, Guarded};
use documentbuffer::tier::{Entry, Kind, TierExt};
use refresh_support::store::{Shelf, Trouble, decode, encode};
use refresh_support::*;

async fn opened<T: Guarded>(service: &Service, options: Options<u64>, tier: T) -> AutoRefresh<u64> {
    let service = service.clone();
    let sync = move |batch| {
        let service = service.clone();
        async move { service.sync(batch).await }
    };
    let stored = options.store(tier, encode, decode);
    stored.open(sync).await.expect("a cache")
}

async fn over(service: &Service, options: Options<u64>, shelf: &Shelf) -> AutoRefresh<u64> {
    opened(service, options, Guard::new(shelf.clone())).await
}

fn all<const N: usize>(all: [(&str, u64); N]) -> BTreeMap<String, u64> {
    all.map(|(id, value)| (id.to_owned(), value)).into()
}

#[tokio::test(start_paused = true)]
async fn items_are_there_again_in_another_life_before_anything_is_refreshed() {
    let (service, shelf) = (Service::default(), Shelf::default());
    let cache = over(&service, options(), &shelf).await;
    for id in 0..10 {
        create(&cache, &id.to_string(), id);
    }
    cache.start().expect("started");
    settled().await;
    cache.delete_delayed("3");
    pass(SECOND).await;
    cache.shutdown().await.expect("all is stored");
    let before = shelf.all();
    assert_eq!(before.len(), 9);

    let cache = over(&service, options(), &shelf).await;
    assert!(
        (0..10).all(|id| seen(&cache, &id.to_string()) == before.get(&id.to_string()).copied())
    );
    let stats = cache.stats();
    assert_eq!((stats.size, stats.created, stats.owed), (9, 0, 0));
    cache.start().expect("started");
    settled().await;
    assert_eq!(seen(&cache, "4"), Some(before["4"] + 1));
}

#[tokio::test(start_paused = true)]
async fn what_happened_before_persist_is_in_the_store_when_it_returns() {
    let (service, shelf) = (Service::default(), Shelf::default());
    let cache = over(&service, options(), &shelf).await;
    cache.persist().await.expect("nothing is owed");
    create(&cache, "a", 1);
    assert_eq!(cache.stats().owed, 1);
    cache.persist().await.expect("stored");
    assert_eq!((shelf.all(), cache.stats().owed), (all([("a", 1)]), 0));
    service.of("b", Mood::Gone);
    create(&cache, "b", 1);
    cache.persist().await.expect("stored");
    cache.start().expect("started");
    service.until_ended(2).await;
    cache.persist().await.expect("stored");
    assert_eq!(shelf.all(), all([("a", 2)]));
    service.is_from_now_on(Mood::Unchanged);
    cache.delete_delayed("a");
    pass(SECOND).await;
    cache.persist().await.expect("stored");
    assert_eq!(shelf.all(), all([]));
}

#[tokio::test(start_paused = true)]
async fn persist_does_not_wait_for_what_comes_later() {
    let (service, shelf) = (Service::default(), Shelf::default());
    let cache = over(&service, options().parallelism(1), &shelf).await;
    shelf.shut();
    create(&cache, "a", 1);
    settled().await;
    let persist = tokio::spawn({
        let cache = cache.clone();
        async move { cache.persist().await }
    });
    settled().await;
    create(&cache, "b", 1);
    assert!(!persist.is_finished());
    shelf.let_through(1);
    let persisted = tokio::time::timeout(SECOND, persist).await;
    persisted.expect("soon").expect("a task").expect("stored");
    assert_eq!((shelf.all(), cache.stats().owed), (all([("a", 1)]), 1));
}

#[tokio::test(start_paused = true)]
async fn an_item_is_owed_once_however_often_it_changes() {
    let (service, shelf) = (Service::default(), Shelf::default());
    let cache = over(&service, options(), &shelf).await;
    create(&cache, "a", 0);
    cache.persist().await.expect("stored");
    shelf.shut();
    cache.start().expect("started");
    pass(100 * SECOND).await;
    assert_eq!((cache.stats().owed, cache.stats().updates), (1, 101));
    shelf.open();
    cache.persist().await.expect("stored");
    // The one that was on its way, and the newest.
    let begun: Vec<_> = shelf.begun().into_iter().map(|(_, value)| value).collect();
    assert_eq!(begun, [Some(0), Some(1), Some(101)]);
    assert_eq!(shelf.most(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_evicted_item_is_removed_and_one_that_was_never_written_never_is() {
    let (service, shelf) = (Service::default(), Shelf::default());
    let cache = over(&service, options().size(1), &shelf).await;
    create(&cache, "a", 1);
    cache.persist().await.expect("stored");
    shelf.shut();
    for id in 0..1000 {
        create(&cache, &id.to_string(), id);
    }
    assert_eq!(cache.stats().owed, 2);
    shelf.open();
    cache.persist().await.expect("stored");
    assert_eq!(shelf.all(), all([("999", 999)]));
    assert_eq!(shelf.begun().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_fails_goes_again_behind_its_delay_and_ends_well() {
    for trouble in [Trouble::Fails, Trouble::Mute, Trouble::Panics] {
        let (service, shelf) = (Service::default(), Shelf::default());
        let delays = options().delays(10 * SECOND, 80 * SECOND);
        let cache = over(&service, delays, &shelf).await;
        shelf.trouble(Some(trouble));
        create(&cache, "a", 1);
        create(&cache, "b", 1);
        pass(9 * SECOND).await;
        assert_eq!(shelf.begun().len(), 2);
        let stats = cache.stats();
        assert_eq!((stats.save_errors, stats.owed), (2, 2));
        let persist = tokio::time::timeout(SECOND / 2, cache.persist()).await;
        assert!(persist.is_err());
        pass(1000 * SECOND).await;
        // 10 + 20 + 40, then 80 each, and up to as much again.
        assert!(shelf.begun().len() <= 2 * 15, "{}", shelf.begun().len());
        shelf.trouble(None);
        cache.persist().await.expect("stored");
        assert_eq!(shelf.all(), all([("a", 1), ("b", 1)]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_stores_all_and_says_what_it_could_not() {
    let (service, shelf) = (Service::default(), Shelf::default());
    let cache = over(&service, options().delays(HOUR, HOUR), &shelf).await;
    shelf.trouble(Some(Trouble::Fails));
    create(&cache, "a", 1);
    pass(SECOND).await;
    create(&cache, "b", 1);
    shelf.trouble(None);
    cache.shutdown().await.expect("both are stored");
    assert_eq!(shelf.all(), all([("a", 1), ("b", 1)]));
    // Behind it, it is memory.
    create(&cache, "c", 1);
    cache.persist().await.expect("nothing is owed");
    assert_eq!((seen(&cache, "c"), shelf.all().len()), (Some(1), 2));

    let cache = over(&service, options().delays(HOUR, HOUR), &shelf).await;
    shelf.trouble(Some(Trouble::Panics));
    create(&cache, "d", 1);
    create(&cache, "e", 1);
    for _ in 0..2 {
        let ended = cache.shutdown().await;
        assert!(matches!(ended, Err(Error::Unsaved { items: 2 })));
        let persisted = cache.persist().await;
        assert!(matches!(persisted, Err(Error::Unsaved { items: 2 })));
    }
    let metrics = tokio::runtime::Handle::current().metrics();
    assert_eq!(metrics.num_alive_tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_stores_the_answers_of_what_still_ran() {
    let (service, shelf) = (Service::default(), Shelf::default());
    let cache = over(&service, options(), &shelf).await;
    create(&cache, "a", 1);
    service.shut();
    cache.start().expect("started");
    service.until_begun(1).await;
    service.open();
    cache.shutdown().await.expect("all is stored");
    assert_eq!(shelf.all(), all([("a", 2)]));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_item_does_not_come_back_in_the_store() {
    let (service, shelf) = (Service::default(), Shelf::default());
    let cache = over(&service, options(), &shelf).await;
    create(&cache, "a", 1);
    cache.persist().await.expect("stored");
    service.shut();
    cache.start().expect("started");
    service.until_begun(1).await;
    cache.delete_delayed("a");
    pass(SECOND).await;
    cache.persist().await.expect("stored");
    service.open();
    service.until_ended(1).await;
    cache.shutdown().await.expect("all is stored");
    assert_eq!(shelf.all(), all([]));
}

/// Somebody else writes through the same guard while a refresh runs.
#[tokio::test(start_paused = true)]
async fn an_answer_is_not_stored_over_what_somebody_else_wrote_meanwhile() {
    let (service, shelf) = (Service::default(), Shelf::default());
    let guard = Guard::new(shelf.clone());
    let cache = opened(
        &service,
        options().period(HOUR).parallelism(8),
        guard.clone(),
    )
    .await;
    for id in ["a", "b", "c", "e"] {
        create(&cache, id, 1);
    }
    cache.persist().await.expect("stored");
    service.of("c", Mood::Other("d", 5));
    service.shut();
    create(&cache, "d", 1);
    service.of("e", Mood::Gone);
    cache.persist().await.expect("stored");
    cache.start().expect("started");
    service.until_begun(5).await;
    guard.put("a", encode(&100)).await.expect("written");
    guard.remove("b").await.expect("removed");
    guard.put("d", encode(&100)).await.expect("written");
    guard.put("e", encode(&100)).await.expect("written");
    service.of("d", Mood::Silent);
    service.open();
    service.until_ended(5).await;
    cache.persist().await.expect("stored");
    assert_eq!(
        shelf.all(),
        all([("a", 100), ("c", 1), ("d", 100), ("e", 100)])
    );
    let items = ["a", "b", "c", "d"].map(|id| seen(&cache, id));
    assert_eq!(items, [Some(100), None, Some(1), Some(100)]);
    assert_eq!(cache.stats().replaced, 3);
    cache.shutdown().await.expect("all is stored");
    assert!(guard.generations().is_empty());
}

/// The write of a creation is one of ours, and no reason to drop what came of it.
#[tokio::test(start_paused = true)]
async fn an_answer_is_stored_though_the_cache_wrote_the_item_meanwhile() {
    for ends_before in [true, false] {
        let (service, shelf) = (Service::default(), Shelf::default());
        let cache = over(&service, options().period(HOUR), &shelf).await;
        shelf.shut();
        service.shut();
        create(&cache, "a", 1);
        cache.start().expect("started");
        service.until_begun(1).await;
        if ends_before {
            shelf.open();
            cache.persist().await.expect("stored");
        }
        service.open();
        service.until_ended(1).await;
        shelf.open();
        cache.persist().await.expect("stored");
        assert_eq!((shelf.all(), seen(&cache, "a")), (all([("a", 2)]), Some(2)));
    }
}

#[tokio::test(start_paused = true)]
async fn of_more_items_than_there_is_room_for_those_written_last_stay() {
    let (service, shelf) = (Service::default(), Shelf::default());
    for id in ["e", "d", "c", "b", "a"] {
        shelf.put_raw(id, &encode(&1));
    }
    let cache = over(&service, options().size(2), &shelf).await;
    let items = ["a", "b", "c"].map(|id| seen(&cache, id));
    assert_eq!(
        (items, cache.stats().evictions),
        ([Some(1), Some(1), None], 3)
    );
    cache.persist().await.expect("stored");
    assert_eq!(shelf.all(), all([("a", 1), ("b", 1)]));
}

#[tokio::test(start_paused = true)]
async fn what_was_terminal_by_its_value_is_so_in_the_next_life() {
    let service = Service::always(Mood::Panic);
    let shelf = Shelf::default();
    shelf.put_raw("a", &encode(&100));
    let options = options().terminal(|value| *value >= 100);
    let cache = over(&service, options, &shelf).await;
    cache.start().expect("started");
    pass(10 * SECOND).await;
    assert_eq!((service.calls(), seen(&cache, "a")), (0, Some(100)));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_read_is_refused() {
    let sync = async |_| Ok::<_, String>(Vec::new());
    let shelf = Shelf::default();
    shelf.put_raw("a", b"no number");
    let refused = options().store(Guard::new(shelf.clone()), encode, decode);
    let Err(Error::Store(error)) = refused.open(sync).await else {
        panic!("it cannot be decoded");
    };
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.to_string().contains("item a "), "{error}");
    shelf.cannot_list();
    let refused = options().store(Guard::new(shelf.clone()), encode, decode);
    let Err(Error::Store(error)) = refused.open(sync).await else {
        panic!("it cannot list");
    };
    assert_eq!(error.kind(), Kind::Unsupported);
    let refused = options().size(0).store(Guard::new(shelf), encode, decode);
    assert!(matches!(refused.open(sync).await, Err(Error::Size)));
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_ends_the_writers_too() {
    let metrics = tokio::runtime::Handle::current().metrics();
    for _ in 0..20 {
        let (service, shelf) = (Service::default(), Shelf::default());
        let cache = over(&service, options(), &shelf).await;
        shelf.shut();
        create(&cache, "a", 1);
        cache.start().expect("started");
        settled().await;
        assert_eq!(metrics.num_alive_tasks(), 9);
        drop(cache);
        settled().await;
        assert_eq!(metrics.num_alive_tasks(), 0);
    }
}

#[tokio::test]
async fn files_keep_items() {
    let dir = tempfile::tempdir().expect("a directory");
    let open = || Guard::new(FileTier::open(dir.path()).expect("a tier"));
    let service = Service::default();
    let cache = opened(&service, options().period(HOUR), open()).await;
    create(&cache, "../a", 41);
    cache.start().expect("started");
    service.until_ended(1).await;
    tokio::time::timeout(Duration::from_secs(60), cache.shutdown())
        .await
        .expect("in time")
        .expect("all is stored");
    let entry: Option<Entry> = {
        use documentbuffer::tier::{Key, Tier};
        open()
            .get(Key::new("../a").expect("a key"))
            .await
            .expect("read")
    };
    assert_eq!(entry.map(|entry| entry.value.to_vec()), Some(encode(&42)));
    let cache = opened(&service, options(), open()).await;
    assert_eq!(seen(&cache, "../a"), Some(42));
}

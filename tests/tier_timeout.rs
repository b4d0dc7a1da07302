//! Deadlines: what is known after one, and who waits for whom.
#![cfg(feature = "tier")]

mod tier_support;

use std::sync::Arc;
use std::time::Duration;

use documentbuffer::tier::timeout::Timeout;
use documentbuffer::tier::{Applied, Kind, Op, Tier, TierExt, Version, When};
use tier_support::{Act, Fake, key, open, poll, put, shut, transient};
use tokio::time::{advance, sleep};

const LIMIT: Duration = Duration::from_secs(1);

fn timed(fake: &Fake) -> Arc<Timeout<Fake>> {
    Arc::new(Timeout::new(fake.clone(), LIMIT))
}

/// `pressly/chainstore` `TestMockStoreSuccess`, `TestMockStoreFail`.
#[tokio::test(start_paused = true)]
async fn in_time_all_is_as_in_the_tier_within() {
    let fake = Fake::new();
    let tier = timed(&fake);
    assert_eq!((tier.name(), tier.limit()), ("fake", LIMIT));
    assert_eq!(tier.capabilities(), fake.capabilities);
    tier.put("key", "value").await.unwrap();
    assert_eq!(tier.value("key").await.unwrap().unwrap(), "value");
    assert_eq!(tier.scan(None, 9).await.unwrap().listed.len(), 1);
    let refused = tier
        .write(key("key"), put("x"), When::Absent)
        .await
        .unwrap();
    assert_eq!(
        refused,
        Applied::Refused {
            held: Some(Version::NONE)
        }
    );
    tier.remove("key").await.unwrap();
    assert_eq!(tier.value("key").await.unwrap(), None);
    fake.rule(|_| Act::Fail(transient()));
    let errors = [
        tier.value("key").await.unwrap_err(),
        tier.put("key", "value").await.unwrap_err(),
        tier.remove("key").await.unwrap_err(),
        tier.scan(None, 9).await.unwrap_err(),
        tier.close().await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!((error.kind(), error.is_unknown()), (Kind::Transient, false));
        assert!(error.to_string().contains("not now"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_get_that_is_late_is_transient_and_blocks_nobody() {
    let fake = Fake::new();
    fake.insert("key", "value");
    let tier = timed(&fake);
    fake.on("get", Act::Wait(shut(), open()));
    let error = tier.value("key").await.unwrap_err();
    assert_eq!((error.kind(), error.is_unknown()), (Kind::Transient, false));
    assert!(error.to_string().contains("no answer within 1s"), "{error}");
    tier.put("key", "next").await.unwrap();
    fake.calm();
    // `TestMockStoreCancelWithDefaultTimeout`: once the tier is quick again, so is this.
    assert_eq!(tier.value("key").await.unwrap().unwrap(), "next");
    let error = {
        fake.on("scan", Act::Wait(shut(), open()));
        tier.scan(None, 1).await.unwrap_err()
    };
    assert_eq!((error.kind(), error.is_unknown()), (Kind::Transient, false));
}

/// The deadline of the first passes while it is on its way; it lands before all that came later.
#[tokio::test(start_paused = true)]
async fn a_late_write_is_unknown_and_nothing_overtakes_it() {
    let fake = Fake::new();
    let tier = timed(&fake);
    let gate = shut();
    let rule = Arc::clone(&gate);
    fake.rule(move |call| match call {
        "put key" => Act::Wait(Arc::clone(&rule), open()),
        _ => Act::Pass,
    });
    let error = tier.put("key", "first").await.unwrap_err();
    assert_eq!((error.kind(), error.is_unknown()), (Kind::Transient, true));
    assert_eq!(tier.in_flight(), 1);
    fake.calm();
    // Neither a write nor a get of that key begins, and both say so.
    for _ in 0..2 {
        let error = tier.put("key", "second").await.unwrap_err();
        assert_eq!((error.kind(), error.is_unknown()), (Kind::Transient, false));
        assert!(error.to_string().contains("an earlier write"), "{error}");
        let error = tier.value("key").await.unwrap_err();
        assert_eq!((error.kind(), error.is_unknown()), (Kind::Transient, false));
    }
    assert_eq!(fake.began(), ["put key"]);
    // Other keys go on.
    tier.put("other", "x").await.unwrap();
    let mut third = Box::pin(tier.put("key", "third"));
    let mut read = Box::pin(tier.value("key"));
    assert!(poll(&mut third).await.is_none());
    assert!(poll(&mut read).await.is_none());
    advance(LIMIT / 2).await;
    gate.add_permits(1);
    third.await.unwrap();
    assert_eq!(read.await.unwrap().unwrap(), "third");
    assert_eq!(fake.value("key").unwrap(), "third");
    assert_eq!(tier.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_is_late_is_in_flight_too() {
    let fake = Fake::new();
    fake.insert("key", "old");
    let tier = timed(&fake);
    let gate = shut();
    fake.on("remove", Act::Wait(Arc::clone(&gate), open()));
    assert!(tier.remove("key").await.unwrap_err().is_unknown());
    let merge = tier.write(key("key"), Op::Merge(1), When::Always).await;
    assert!(!merge.unwrap_err().is_unknown());
    gate.add_permits(1);
    fake.until_ended("remove", 1).await;
    tier.put("key", "new").await.unwrap();
    assert_eq!(fake.value("key").unwrap(), "new");
}

#[tokio::test(start_paused = true)]
async fn waiting_and_writing_share_one_deadline() {
    let fake = Fake::new();
    let tier = timed(&fake);
    let gate = shut();
    fake.on("put", Act::Wait(Arc::clone(&gate), open()));
    tier.put("key", "first").await.unwrap_err();
    let second = tokio::spawn({
        let tier = Arc::clone(&tier);
        async move { tier.put("key", "second").await }
    });
    sleep(LIMIT * 3 / 4).await;
    // The first lands; the second has a quarter left, begins, and is late.
    gate.add_permits(1);
    fake.until_began("put", 2).await;
    sleep(LIMIT / 4 - Duration::from_millis(2)).await;
    assert!(!second.is_finished());
    sleep(Duration::from_millis(3)).await;
    assert!(second.is_finished());
    assert!(second.await.unwrap().unwrap_err().is_unknown());
    gate.add_permits(1);
    fake.until_ended("put", 2).await;
    assert_eq!(fake.value("key").unwrap(), "second");
}

#[tokio::test(start_paused = true)]
async fn a_write_belongs_to_nobody() {
    let fake = Fake::new();
    let tier = timed(&fake);
    let gate = shut();
    fake.on("put", Act::Wait(Arc::clone(&gate), open()));
    let mut write = Box::pin(tier.put("key", "value"));
    assert!(poll(&mut write).await.is_none());
    fake.until_began("put", 1).await;
    drop(write);
    let mut read = Box::pin(tier.value("key"));
    assert!(poll(&mut read).await.is_none());
    gate.add_permits(1);
    assert_eq!(read.await.unwrap().unwrap(), "value");
}

#[tokio::test(start_paused = true)]
async fn who_leaves_the_queue_is_skipped() {
    let fake = Fake::new();
    let tier = timed(&fake);
    let gate = shut();
    fake.on("put", Act::Wait(Arc::clone(&gate), open()));
    let mut first = Box::pin(tier.put("key", "first"));
    let mut second = Box::pin(tier.put("key", "second"));
    let mut third = Box::pin(tier.put("key", "third"));
    for waiting in [&mut first, &mut second, &mut third] {
        assert!(poll(waiting).await.is_none());
    }
    drop(second);
    gate.add_permits(3);
    first.await.unwrap();
    third.await.unwrap();
    assert_eq!(fake.count("put"), 2);
    assert_eq!(fake.value("key").unwrap(), "third");
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_an_error_and_frees_the_key() {
    let fake = Fake::new();
    let tier = timed(&fake);
    fake.rule(|_| Act::Panic);
    let error = tier.put("key", "value").await.unwrap_err();
    assert_eq!((error.kind(), error.is_unknown()), (Kind::Permanent, true));
    assert!(error.to_string().contains("panicked"), "{error}");
    let error = tier.value("key").await.unwrap_err();
    assert_eq!((error.kind(), error.is_unknown()), (Kind::Permanent, false));
    let error = tier.scan(None, 1).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Permanent);
    fake.calm();
    tier.put("key", "value").await.unwrap();
    assert_eq!(tier.in_flight(), 0);
    tier.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_close_waits_for_what_is_in_flight() {
    let fake = Fake::new();
    let tier = timed(&fake);
    let gate = shut();
    fake.on("put", Act::Wait(Arc::clone(&gate), open()));
    tier.put("key", "value").await.unwrap_err();
    let mut close = Box::pin(tier.close());
    assert!(poll(&mut close).await.is_none());
    advance(LIMIT * 100).await;
    assert!(poll(&mut close).await.is_none());
    for error in [
        tier.put("other", "x").await.unwrap_err(),
        tier.value("other").await.unwrap_err(),
        tier.scan(None, 1).await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.is_unknown()), (Kind::Closed, false));
    }
    assert_eq!(fake.count("close"), 0);
    gate.add_permits(1);
    close.await.unwrap();
    assert_eq!(fake.value("key").unwrap(), "value");
    assert_eq!(fake.ended(), ["put key", "close"]);
    tier.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_writers_of_a_key_one_writes_at_a_time() {
    use std::sync::atomic::{AtomicUsize, Ordering};

    let fake = Fake::new();
    let tier = Arc::new(Timeout::new(fake.clone(), Duration::from_secs(3600)));
    let most = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&most);
    let calls = fake.clone();
    fake.rule(move |_| {
        // All that ended have ended before this one is told of.
        let within = calls.began().len() - calls.ended().len();
        seen.fetch_max(within + 1, Ordering::Relaxed);
        Act::Pass
    });
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8 {
        let tier = Arc::clone(&tier);
        tasks.spawn(async move {
            for turn in 0..100 {
                tier.put("key", format!("{task} {turn}")).await.unwrap();
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    assert_eq!(fake.count("put"), 800);
    assert_eq!(most.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_never_answers_does_not_pile_up_tasks() {
    let fake = Fake::new();
    let tier = Timeout::new(fake.clone(), LIMIT).with_abandoned(10);
    let gate = shut();
    fake.on("get", Act::Wait(Arc::clone(&gate), open()));
    let mut kinds = Vec::new();
    for _ in 0..30 {
        let error = tier.value("key").await.unwrap_err();
        assert!(!error.is_unknown());
        kinds.push(error.kind());
    }
    assert_eq!(kinds[..10], [Kind::Transient; 10]);
    assert_eq!(kinds[10..], [Kind::Throttled; 20]);
    assert_eq!((tier.in_flight(), fake.count("get")), (10, 10));
    gate.add_permits(10);
    fake.until_ended("get", 10).await;
    fake.calm();
    tokio::task::yield_now().await;
    tier.put("key", "value").await.unwrap();
    // Those who are waited for do not count.
    let gate = shut();
    fake.on("get", Act::Wait(Arc::clone(&gate), open()));
    let mut waiting: Vec<_> = (0..30).map(|_| Box::pin(tier.value("key"))).collect();
    for get in &mut waiting {
        assert!(poll(get).await.is_none());
    }
    gate.add_permits(30);
    for get in waiting {
        assert_eq!(get.await.unwrap().unwrap(), "value");
    }
}

//! Owed writes, on a clock that stands still until nothing else can be done.
#![cfg(all(feature = "chain", feature = "testing"))]

mod behind_support;

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use behind_support::{Mood, Slow, entry, key};
use documentbuffer::clock::{Clock, runtime::RuntimeClock};
use documentbuffer::durability::Durability;
use documentbuffer::journal::Journal;
use documentbuffer::store::fault::FaultDirectory;
use documentbuffer::tier::{Applied, Capabilities, Entry, Kind, Op, Tier, TierExt, Version, When};
use documentbuffer::write_behind::behind::{self, Behind, Error, Full, Options};

const SECOND: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(3600);

fn options() -> Options {
    Options::new().delays(SECOND, 60 * SECOND)
}

async fn over(slow: &Slow) -> Behind<Slow> {
    options().open(slow.clone()).await.expect("owed writes")
}

async fn write(tier: &impl Tier, name: &str, op: Op) {
    let written = tier.write(key(name), op, When::Always).await;
    assert_eq!(written.expect("a write"), Applied::Done);
}

async fn put(owed: &Behind<Slow>, name: &str, value: &str, number: u64) {
    write(owed, name, entry(value, number)).await;
}

async fn seen(owed: &Behind<Slow>, name: &str) -> Option<String> {
    let value = owed.value(name).await.expect("a read");
    value.map(|value| String::from_utf8_lossy(&value).into_owned())
}

async fn settle(owed: &Behind<Slow>) {
    let closed = owed.close(LONG).await.expect("closed");
    assert!(closed.settled, "{closed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_write_returns_before_it_arrives_and_is_seen_at_once() {
    let slow = Slow::default();
    slow.shut();
    let owed = over(&slow).await;
    put(&owed, "a", "1", 1).await;
    assert_eq!(seen(&owed, "a").await.as_deref(), Some("1"));
    slow.until_begun(1).await;
    assert_eq!(seen(&owed, "a").await.as_deref(), Some("1"));
    assert_eq!(slow.held("a"), None);
    let removal = Version {
        fence: 0,
        number: 2,
    };
    write(&owed, "a", Op::Remove(removal)).await;
    assert_eq!(seen(&owed, "a").await, None);
    slow.open();
    settle(&owed).await;
    assert_eq!((slow.held("a"), slow.begun().len()), (None, 2));
}

#[tokio::test(start_paused = true)]
async fn a_removal_hides_what_the_tier_still_has() {
    let slow = Slow::default();
    slow.put("a", "old").await.expect("a write");
    slow.shut();
    let owed = over(&slow).await;
    assert_eq!(seen(&owed, "a").await.as_deref(), Some("old"));
    owed.remove("a").await.expect("a removal");
    assert_eq!(seen(&owed, "a").await, None);
    owed.put("a", "").await.expect("an empty value");
    assert_eq!(seen(&owed, "a").await.as_deref(), Some(""));
}

#[tokio::test(start_paused = true)]
async fn what_is_over_is_not_seen() {
    let slow = Slow::default();
    slow.shut();
    let owed = over(&slow).await;
    let now = RuntimeClock::new().wall_micros();
    for (name, expiry) in [("over", 1), ("live", now + 3_600_000_000)] {
        let entry = Entry::new("value").expires(expiry);
        write(&owed, name, Op::Put(entry)).await;
    }
    assert_eq!(seen(&owed, "over").await, None);
    assert_eq!(seen(&owed, "live").await.as_deref(), Some("value"));
    tokio::time::advance(2 * LONG).await;
    assert_eq!(seen(&owed, "live").await, None);
}

/// In the original two writes of a key ended in the wrong order in three of four runs.
#[tokio::test(start_paused = true)]
async fn the_writes_of_a_key_arrive_in_order_one_at_a_time() {
    let slow = Slow::default();
    let owed = over(&slow).await;
    for number in 1..=500 {
        put(&owed, "a", &number.to_string(), number).await;
        if number % 3 == 0 {
            tokio::task::yield_now().await;
        }
    }
    settle(&owed).await;
    let begun = slow.begun_of("a");
    let numbers: Vec<u64> = begun
        .iter()
        .map(|value| value.parse().expect("a number"))
        .collect();
    assert!(
        numbers.is_sorted() && numbers.last() == Some(&500),
        "{numbers:?}"
    );
    assert_eq!(slow.held("a").as_deref(), Some("500"));
}

#[tokio::test(start_paused = true)]
async fn a_newer_write_takes_the_place_of_one_that_waits() {
    let slow = Slow::default();
    slow.shut();
    let owed = over(&slow).await;
    put(&owed, "a", "1", 1).await;
    slow.until_begun(1).await;
    for number in 2..=100 {
        put(&owed, "a", &number.to_string(), number).await;
    }
    slow.open();
    settle(&owed).await;
    assert_eq!(slow.begun_of("a"), ["1", "100"]);
}

#[tokio::test(start_paused = true)]
async fn while_a_write_is_on_its_way_no_other_of_its_key_begins() {
    let slow = Slow::default();
    slow.shut();
    let owed = over(&slow).await;
    for number in 1..=3 {
        put(&owed, "a", &number.to_string(), number).await;
        slow.until_begun(1).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(slow.begun_of("a"), ["1"]);
    }
    put(&owed, "b", "1", 1).await;
    slow.until_begun(2).await;
    slow.open();
    settle(&owed).await;
    assert_eq!(slow.begun_of("a"), ["1", "3"]);
}

/// Elsewhere one bad entry holds up all the others (hazelcast/hazelcast#7762).
#[tokio::test(start_paused = true)]
async fn a_write_that_never_goes_well_is_parked_and_holds_up_nothing() {
    let slow = Slow::default();
    slow.always("bad", Mood::Fail(Kind::Permanent));
    let owed = over(&slow).await;
    for name in ["bad", "good 1", "bad", "good 2"] {
        put(&owed, name, name, 1).await;
    }
    while owed.stats().delivered < 2 {
        tokio::task::yield_now().await;
    }
    let parked = owed.parked();
    assert_eq!((parked.len(), parked[0].key.as_key()), (1, key("bad")));
    assert!(parked[0].reason.contains("as it was told"));
    // What was acknowledged is still what readers see.
    assert_eq!(seen(&owed, "bad").await.as_deref(), Some("bad"));
    slow.always("bad", Mood::Well);
    tokio::time::advance(LONG).await;
    assert_eq!(slow.held("bad"), None, "it does not go by itself");
    assert!(owed.retry(key("bad")).await.expect("retried"));
    assert!(!owed.retry(key("good 1")).await.expect("nothing parked"));
    settle(&owed).await;
    assert_eq!(slow.held("bad").as_deref(), Some("bad"));
    assert!(owed.parked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_parked_is_given_up_or_written_anew() {
    let slow = Slow::default();
    slow.moods("a", &[Mood::Fail(Kind::Permanent)]);
    slow.moods("b", &[Mood::Fail(Kind::Unsupported)]);
    let owed = over(&slow).await;
    put(&owed, "a", "1", 1).await;
    put(&owed, "b", "1", 1).await;
    while owed.parked().len() < 2 {
        tokio::task::yield_now().await;
    }
    assert!(owed.discard(key("a")).await.expect("discarded"));
    assert!(!owed.discard(key("a")).await.expect("nothing parked"));
    assert_eq!(seen(&owed, "a").await, None);
    put(&owed, "b", "2", 2).await;
    assert!(owed.parked().is_empty());
    settle(&owed).await;
    assert_eq!(slow.held("b").as_deref(), Some("2"));
    assert_eq!((owed.stats().keys, owed.stats().bytes), (0, 0));
}

/// Elsewhere an event-driven addition goes past the delay (kubernetes/kubernetes#136853).
#[tokio::test(start_paused = true)]
async fn nothing_that_comes_for_a_key_makes_it_go_before_its_delay_is_over() {
    let slow = Slow::default();
    slow.always("a", Mood::Fail(Kind::Transient));
    let owed = over(&slow).await;
    let clock = RuntimeClock::new();
    let mut at = Vec::new();
    put(&owed, "a", "0", 1).await;
    let mut number = 1;
    while at.len() < 6 {
        let begun = slow.begun().len();
        if begun > at.len() {
            at.push(clock.monotonic());
        }
        number += 1;
        put(&owed, "a", &number.to_string(), number).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let delays: Vec<f64> = at
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).as_secs_f64())
        .collect();
    for (delay, least) in delays.iter().zip([1.0, 2.0, 4.0, 8.0, 16.0]) {
        assert!(
            (least - 0.02..least * 2.0 + 1.1).contains(delay),
            "{delays:?}"
        );
    }
    slow.always("a", Mood::Well);
    settle(&owed).await;
    assert_eq!(slow.held("a"), Some(number.to_string()));
}

#[tokio::test(start_paused = true)]
async fn other_keys_go_on_while_one_waits() {
    let slow = Slow::default();
    slow.always("bad", Mood::Fail(Kind::Throttled));
    let owed = options()
        .parallel(1)
        .open(slow.clone())
        .await
        .expect("owed writes");
    put(&owed, "bad", "1", 1).await;
    slow.until_begun(1).await;
    for number in 0..20 {
        put(&owed, &number.to_string(), "1", 1).await;
    }
    while owed.stats().delivered < 20 {
        tokio::task::yield_now().await;
    }
    let closed = owed.close(SECOND / 2).await.expect("closed");
    assert_eq!(
        (closed.settled, closed.owed, closed.journaled),
        (false, 1, false)
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_lost_and_a_panic_are_only_delays() {
    let slow = Slow::default();
    slow.moods("a", &[Mood::Mute, Mood::Panic]);
    let owed = over(&slow).await;
    put(&owed, "a", "1", 1).await;
    settle(&owed).await;
    assert_eq!(
        (slow.held("a").as_deref(), slow.begun().len()),
        (Some("1"), 3)
    );
    assert_eq!(owed.stats().failures, 2);
}

#[tokio::test(start_paused = true)]
async fn so_many_writes_are_on_their_way_at_once_and_no_more() {
    let slow = Slow::default();
    slow.shut();
    let owed = options()
        .parallel(3)
        .open(slow.clone())
        .await
        .expect("owed writes");
    for number in 0..50 {
        put(&owed, &number.to_string(), "1", 1).await;
    }
    slow.until_begun(3).await;
    slow.open();
    settle(&owed).await;
    assert_eq!((slow.most(), slow.begun().len()), (3, 50));
}

#[tokio::test(start_paused = true)]
async fn a_rate_is_not_exceeded() {
    let slow = Slow::default();
    let rate = NonZeroU32::new(10).expect("a rate");
    let owed = options()
        .rate(rate)
        .open(slow.clone())
        .await
        .expect("owed writes");
    let clock = RuntimeClock::new();
    for number in 0..60 {
        put(&owed, &number.to_string(), "1", 1).await;
    }
    settle(&owed).await;
    let took = clock.monotonic().as_secs_f64();
    // Ten at once, and then ten a second.
    assert!((4.9..5.3).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn where_there_is_no_room_a_write_waits() {
    let slow = Slow::default();
    slow.shut();
    let owed = options()
        .max_bytes(10)
        .open(slow.clone())
        .await
        .expect("owed writes");
    put(&owed, "a", "12345678", 1).await;
    let other = owed.clone();
    let waiting = tokio::spawn(async move { other.put("b", "12345").await });
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert!(!waiting.is_finished());
    assert_eq!(seen(&owed, "b").await, None);
    slow.open();
    waiting.await.expect("a task").expect("a write");
    let never = owed
        .put("c", "1234567890")
        .await
        .expect_err("more than ever fits");
    assert_eq!(never.kind(), Kind::Permanent);
    settle(&owed).await;
    assert_eq!(slow.all().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn where_there_is_no_room_a_write_is_refused() {
    let slow = Slow::default();
    slow.shut();
    let options = options().max_keys(2).full(Full::Refuse);
    let owed = options.open(slow.clone()).await.expect("owed writes");
    put(&owed, "a", "1", 1).await;
    put(&owed, "b", "1", 1).await;
    let refused = owed.put("c", "1").await.expect_err("no room");
    assert_eq!(
        (refused.kind(), refused.is_unknown()),
        (Kind::Throttled, false)
    );
    put(&owed, "a", "2", 2).await;
    slow.open();
    settle(&owed).await;
    assert_eq!(slow.held("a").as_deref(), Some("2"));
}

#[tokio::test(start_paused = true)]
async fn where_there_is_no_room_a_write_goes_through() {
    let slow = Slow::default();
    slow.shut();
    let options = options().max_keys(1).full(Full::Through);
    let owed = options.open(slow.clone()).await.expect("owed writes");
    put(&owed, "a", "1", 1).await;
    slow.until_begun(1).await;
    let other = owed.clone();
    let through = tokio::spawn(async move { other.put("b", "1").await });
    slow.until_begun(2).await;
    // Nobody sees what is not acknowledged.
    assert_eq!(seen(&owed, "b").await, None);
    slow.open();
    through.await.expect("a task").expect("a write");
    assert_eq!(slow.held("b").as_deref(), Some("1"));
    slow.moods("c", &[Mood::Fail(Kind::Transient)]);
    slow.always("a", Mood::Fail(Kind::Transient));
    put(&owed, "a", "2", 2).await;
    let failed = owed.put("c", "1").await.expect_err("the tier failed");
    assert_eq!(failed.kind(), Kind::Transient);
    assert_eq!(seen(&owed, "c").await, None, "it is not owed");
    slow.always("a", Mood::Well);
    settle(&owed).await;
}

/// What goes through does not overtake what is owed.
#[tokio::test(start_paused = true)]
async fn a_write_does_not_go_through_past_older_ones_of_its_key() {
    let slow = Slow::default();
    slow.shut();
    let options = options().max_bytes(10).full(Full::Through);
    let owed = options.open(slow.clone()).await.expect("owed writes");
    put(&owed, "a", "12345678", 1).await;
    slow.until_begun(1).await;
    let other = owed.clone();
    let through = tokio::spawn(async move { other.put("a", "123456").await });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(slow.begun_of("a"), ["12345678"]);
    slow.open();
    through.await.expect("a task").expect("a write");
    settle(&owed).await;
    assert_eq!(slow.begun_of("a"), ["12345678", "123456"]);
}

/// A caller that goes leaves its write where it is, and the order as it was.
#[tokio::test(start_paused = true)]
async fn a_write_belongs_to_nobodys_future() {
    let dir = tempfile::tempdir().expect("a directory");
    let slow = Slow::default();
    slow.shut();
    let options = options().journal(dir.path().join("owed"));
    let owed = options.open(slow.clone()).await.expect("owed writes");
    for number in 1..=20 {
        let mut write =
            Box::pin(owed.write(key("a"), entry(&number.to_string(), number), When::Always));
        let polled =
            std::future::poll_fn(|context| std::task::Poll::Ready(write.as_mut().poll(context)));
        let _ = polled.await;
        drop(write);
    }
    put(&owed, "b", "1", 1).await;
    assert_eq!(seen(&owed, "a").await.as_deref(), Some("20"));
    slow.open();
    settle(&owed).await;
    assert_eq!(slow.held("a").as_deref(), Some("20"));
}

#[tokio::test(start_paused = true)]
async fn an_edge_promises_no_more_than_what_is_under_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut slow = Slow::default();
    slow.capabilities = Capabilities::new(Durability::Written);
    let path = dir.path().join("owed");
    let asked = options().journal(&path).durability(Durability::Synced);
    let refused = asked.open(slow.clone()).await.expect_err("less is kept");
    assert!(matches!(refused, Error::KeepsLess { .. }), "{refused}");
    assert!(!path.exists(), "nothing was made");
    let owed = options()
        .journal(&path)
        .open(slow.clone())
        .await
        .expect("as much is kept");
    assert_eq!(owed.capabilities().durability, Durability::Written);
    let asked = options().durability(Durability::Written);
    let refused = asked.open(slow).await.expect_err("no journal");
    assert!(matches!(refused, Error::NoJournal), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn conditions_and_sums_are_for_a_chain() {
    let owed = over(&Slow::default()).await;
    for when in [When::Absent, When::Newer, When::Is(Version::NONE)] {
        let refused = owed
            .write(key("a"), entry("1", 1), when)
            .await
            .expect_err("no");
        assert_eq!(refused.kind(), Kind::Unsupported);
    }
    let refused = owed
        .write(key("a"), Op::Merge(1), When::Always)
        .await
        .expect_err("no");
    assert_eq!(refused.kind(), Kind::Unsupported);
    assert_eq!(seen(&owed, "a").await, None);
}

async fn journaled(path: &Path, slow: &Slow) -> Behind<Slow> {
    let options = options().journal(path).compact_at(2000);
    options.open(slow.clone()).await.expect("owed writes")
}

#[tokio::test(start_paused = true)]
async fn what_is_owed_is_owed_on_in_the_next_life() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("owed");
    let away = Slow::default();
    away.shut();
    away.moods("bad", &[Mood::Fail(Kind::Permanent)]);
    let owed = journaled(&path, &away).await;
    put(&owed, "bad", "1", 1).await;
    away.let_through(1);
    while owed.parked().is_empty() {
        tokio::task::yield_now().await;
    }
    for number in 1..=200 {
        put(
            &owed,
            &format!("key {}", number % 10),
            &number.to_string(),
            number,
        )
        .await;
    }
    owed.remove("key 0").await.expect("a removal");
    let now = RuntimeClock::new().wall_micros();
    let kept = Entry::new("kept")
        .version(Version {
            fence: 3,
            number: 4,
        })
        .created(5);
    let kept = kept.expires(now + 3_600_000_000);
    write(&owed, "kept", Op::Put(kept.clone())).await;
    let closed = owed.close(SECOND).await.expect("closed");
    assert_eq!((closed.settled, closed.journaled), (false, true));
    assert_eq!((closed.owed, closed.parked), (11, 1));

    let listed = behind::owed(&path).expect("a journal");
    let names: Vec<&str> = listed
        .iter()
        .map(|owed| owed.key.as_key().as_str())
        .collect();
    assert_eq!(names.len(), 12);
    assert_eq!((names[0], names[1], names[11]), ("bad", "kept", "key 9"));
    assert!(listed[0].parked.is_some() && listed[1].parked.is_none());
    assert!(listed.iter().any(|owed| owed.op == Op::Put(kept.clone())));

    let slow = Slow::default();
    slow.put("key 0", "old").await.expect("a write");
    slow.shut();
    let owed = journaled(&path, &slow).await;
    assert_eq!(seen(&owed, "key 0").await, None);
    assert_eq!(seen(&owed, "key 9").await.as_deref(), Some("199"));
    assert_eq!(seen(&owed, "bad").await.as_deref(), Some("1"));
    assert_eq!(owed.get(key("kept")).await.expect("a read"), Some(kept));
    slow.open();
    settle(&owed).await;
    assert_eq!(
        (slow.held("key 9").as_deref(), slow.held("key 0")),
        (Some("199"), None)
    );
    assert_eq!(
        (slow.all().len(), slow.held("bad")),
        (10, None),
        "it is still parked"
    );

    let owed = journaled(&path, &slow).await;
    assert_eq!(owed.stats().keys, 1);
    assert!(owed.discard(key("bad")).await.expect("discarded"));
    settle(&owed).await;
    assert!(behind::owed(&path).expect("a journal").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_never_answers_does_not_hold_up_the_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("owed");
    let stuck = Slow::default();
    stuck.shut();
    let owed = journaled(&path, &stuck).await;
    put(&owed, "a", "1", 1).await;
    stuck.until_begun(1).await;
    let closed = owed.close(SECOND).await.expect("closed");
    assert_eq!((closed.settled, closed.owed), (false, 1));
    let refused = owed.put("b", "1").await.expect_err("closed");
    assert_eq!(refused.kind(), Kind::Closed);
    assert!(matches!(owed.close(SECOND).await, Err(Error::Closed)));
    stuck.open();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(stuck.held("a"), None, "it was given up");
    let slow = Slow::default();
    settle(&journaled(&path, &slow).await).await;
    assert_eq!(slow.held("a").as_deref(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn what_a_newer_write_of_another_process_replaced_is_not_written_over() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("owed");
    let mut slow = Slow::default();
    slow.capabilities.conditions = true;
    slow.shut();
    let owed = journaled(&path, &slow).await;
    put(&owed, "a", "old", 5).await;
    drop(owed);
    tokio::task::yield_now().await;
    slow.open();
    write(&slow, "a", entry("newer", 6)).await;
    // The lock is free when the journal's task has ended.
    let owed = loop {
        match options().journal(&path).open(slow.clone()).await {
            Ok(owed) => break owed,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    settle(&owed).await;
    assert_eq!(slow.held("a").as_deref(), Some("newer"));
    assert_eq!(owed.stats().superseded, 1);
}

#[tokio::test(start_paused = true)]
async fn a_journal_of_something_else_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("events");
    Journal::open(&path)
        .expect("a journal")
        .append("event")
        .expect("append");
    let refused = options().journal(&path).open(Slow::default()).await;
    assert!(matches!(refused, Err(Error::Journal(_))));
    assert!(matches!(behind::owed(&path), Err(Error::Journal(_))));
    assert!(behind::owed(dir.path().join("nowhere")).is_err());
}

#[test]
fn without_a_runtime_it_is_an_error() {
    let mut open = Box::pin(options().open(Slow::default()));
    let waker = std::task::Waker::noop();
    let polled = open
        .as_mut()
        .poll(&mut std::task::Context::from_waker(waker));
    assert!(matches!(
        polled,
        std::task::Poll::Ready(Err(Error::NoRuntime))
    ));
}

/// What a caller was told had failed is not delivered behind its back.
#[tokio::test(start_paused = true)]
async fn a_journal_that_fails_owes_nothing_that_it_refused() {
    let (dir, slow) = (FaultDirectory::new(1), Slow::default());
    slow.shut();
    let asked = options().journal_in(Arc::new(dir.clone()));
    let owed = asked.open(slow.clone()).await.expect("owed writes");
    put(&owed, "a", "1", 1).await;
    let used: usize = dir.view().values().map(Vec::len).sum();
    dir.set_cap(Some(used as u64));
    let large = "x".repeat(100_000);
    let refused = owed.put("b", large.clone()).await.expect_err("no room");
    assert_eq!(
        (refused.kind(), refused.is_unknown()),
        (Kind::Transient, true)
    );
    assert_eq!(seen(&owed, "b").await, None);
    let stats = owed.stats();
    assert_eq!((stats.keys, stats.bytes), (1, 2));
    dir.set_cap(None);
    owed.put("b", "2").await.expect("there is room again");
    slow.open();
    settle(&owed).await;
    assert_eq!(
        (slow.held("b").as_deref(), slow.begun_of("b").len()),
        (Some("2"), 1)
    );
}

/// That all has arrived is in the journal before closing says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_has_arrived_is_settled_in_the_journal_when_closing_says_so() {
    let dir = tempfile::tempdir().expect("a directory");
    for round in 0..100 {
        let path = dir.path().join(round.to_string());
        let asked = options().journal(&path);
        let owed = asked.open(Slow::default()).await.expect("owed writes");
        for number in 0..20 {
            put(&owed, &number.to_string(), "1", 1).await;
        }
        settle(&owed).await;
        let left = behind::owed(&path).expect("a journal");
        assert!(left.is_empty(), "round {round}: {left:?}");
    }
}

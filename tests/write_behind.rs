//! Counters as a user sees them, clause by clause (W1-W20), with a clock that is moved by hand.
#![cfg(all(feature = "write-behind", feature = "testing"))]

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use documentbuffer::clock::manual::ManualClock;
use documentbuffer::write_behind::{
    Batch, Counters, Error, MAX_KEY, MemorySink, Options, Sink, SinkError,
};

const SECOND: Duration = Duration::from_secs(1);

fn manual(sink: impl Sink) -> Counters {
    Counters::new(sink, Duration::ZERO).expect("counters")
}

/// A sink that keeps every batch.
fn recorder() -> (impl Sink, Arc<Mutex<Vec<Batch>>>) {
    let batches = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&batches);
    let sink = move |batch: Batch| -> Result<(), SinkError> {
        kept.lock().expect("batches").push(batch);
        Ok(())
    };
    (sink, batches)
}

fn contents(batch: &Batch) -> Vec<(&str, i64)> {
    batch.deltas().collect()
}

/// A sink that tells when it was called, and answers when it is told what.
type Answer = Result<(), SinkError>;
fn gated() -> (impl Sink, Receiver<Batch>, Sender<Answer>) {
    let (called, calls) = channel();
    let (answers, answer) = channel();
    let sink = move |batch: Batch| -> Answer {
        called.send(batch).expect("a test that listens");
        answer
            .recv()
            .unwrap_or_else(|_| Err(SinkError::new("the test is over")))
    };
    (sink, calls, answers)
}

/// Polls for what another thread is about to do.
fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < 60 * SECOND, "{what}");
        thread::yield_now();
    }
}

#[test]
fn the_sink_gets_deltas_and_never_totals() {
    let (sink, batches) = recorder();
    let counters = manual(sink);
    counters.increment("a", 10).expect("increment");
    counters.increment("b", 100).expect("increment");
    counters.sync().expect("sync");
    counters.increment("a", 10).expect("increment");
    counters.increment("b", 100).expect("increment");
    counters.sync().expect("sync");
    let batches = batches.lock().expect("batches");
    assert_eq!(batches.len(), 2);
    for batch in &*batches {
        assert_eq!(contents(batch), [("a", 10), ("b", 100)]);
    }
}

#[test]
fn a_batch_is_the_sinks_own() {
    let (sink, batches) = recorder();
    let counters = manual(sink);
    counters.increment("a", 1).expect("increment");
    counters.sync().expect("sync");
    counters.increment("a", 7).expect("increment");
    assert_eq!(contents(&batches.lock().expect("batches")[0]), [("a", 1)]);
    counters.sync().expect("sync");
    assert_eq!(contents(&batches.lock().expect("batches")[0]), [("a", 1)]);
}

#[test]
fn absent_counts_as_nothing_and_deltas_have_any_sign() {
    let sink = MemorySink::default();
    let counters = manual(sink.clone());
    counters.increment("a", -3).expect("increment");
    counters.increment("b", 0).expect("increment");
    counters.increment("c", i64::MIN).expect("increment");
    counters.increment("a", 1).expect("increment");
    counters.sync().expect("sync");
    let totals: HashMap<Box<str>, i64> =
        [("a".into(), -2), ("b".into(), 0), ("c".into(), i64::MIN)].into();
    assert_eq!(sink.totals(), totals);
    assert_eq!(sink.get("never seen"), 0);
}

#[test]
fn what_is_owed_is_seen_and_nothing_else() {
    let sink = MemorySink::default();
    let counters = manual(sink);
    assert!(!counters.needs_sync());
    counters.increment("a", 5).expect("increment");
    assert!(counters.needs_sync());
    assert_eq!(counters.owed("a"), Some(5));
    counters.sync().expect("sync");
    assert!(!counters.needs_sync());
    assert_eq!(counters.owed("a"), None);
}

#[test]
fn a_sync_of_nothing_does_not_call_the_sink() {
    let (sink, batches) = recorder();
    let counters = manual(sink);
    counters.sync().expect("sync");
    counters.increment("a", 1).expect("increment");
    counters.sync().expect("sync");
    counters.sync().expect("sync");
    assert_eq!(batches.lock().expect("batches").len(), 1);
}

#[test]
fn a_sync_calls_the_sink_once_with_everything() {
    let (sink, batches) = recorder();
    let counters = manual(sink);
    thread::scope(|scope| {
        for thread in 0..8 {
            let counters = &counters;
            scope.spawn(move || {
                for key in 0..100 {
                    let key = (thread * 50 + key).to_string();
                    counters.increment(&key, 1).expect("increment");
                }
            });
        }
    });
    counters.sync().expect("sync");
    let batches = batches.lock().expect("batches");
    assert_eq!(batches.len(), 1);
    assert_eq!(batches[0].len(), 450);
    assert_eq!(
        batches[0].deltas().map(|(_, delta)| delta).sum::<i64>(),
        800
    );
    assert!(batches[0].deltas().is_sorted_by_key(|(key, _)| key));
}

#[test]
fn one_call_of_the_sink_runs_at_a_time() {
    let (inside, calls) = (AtomicBool::new(false), Arc::new(AtomicU64::new(0)));
    let counted = Arc::clone(&calls);
    let clock = ManualClock::default();
    let sink = move |_: Batch| -> Result<(), SinkError> {
        assert!(!inside.swap(true, Ordering::SeqCst), "two at once");
        thread::yield_now();
        counted.fetch_add(1, Ordering::SeqCst);
        inside.store(false, Ordering::SeqCst);
        Ok(())
    };
    let options = Options::new("")
        .period(SECOND)
        .clock(Arc::new(clock.clone()));
    let counters = options.open(sink).expect("counters");
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    counters.increment("a", 1).expect("increment");
                    counters.sync().expect("sync: the sink did not panic");
                    clock.advance(SECOND);
                }
            });
        }
    });
    assert!(calls.load(Ordering::SeqCst) > 0);
    assert_eq!(counters.stats().failures, 0);
}

#[test]
fn it_syncs_by_itself_one_period_after_the_beginning() {
    let (sink, calls, answers) = gated();
    let clock = ManualClock::default();
    let options = Options::new("")
        .period(SECOND)
        .clock(Arc::new(clock.clone()));
    let counters = options.open(sink).expect("counters");
    counters.increment("a", 10).expect("increment");
    wait_for("the thread to wait", || clock.waiting() == 1);
    clock.advance(SECOND - Duration::from_nanos(1));
    wait_for("the thread to wait again", || clock.waiting() == 1);
    assert!(calls.try_recv().is_err(), "not before a period is over");
    clock.advance(Duration::from_nanos(1));
    assert_eq!(contents(&calls.recv().expect("a call")), [("a", 10)]);
    counters.increment("a", 10).expect("increment");
    answers.send(Ok(())).expect("a sink");
    wait_for("the next period", || clock.waiting() == 1);
    clock.advance(SECOND);
    assert_eq!(contents(&calls.recv().expect("a call")), [("a", 10)]);
    answers.send(Ok(())).expect("a sink");
}

/// A quiet counter is delivered too: the period is the clock's, and not the next increment's.
#[test]
fn periods_that_pass_while_the_sink_is_busy_are_not_made_up_for() {
    let (sink, calls, answers) = gated();
    let clock = ManualClock::default();
    let options = Options::new("")
        .period(SECOND)
        .clock(Arc::new(clock.clone()));
    let counters = options.open(sink).expect("counters");
    counters.increment("a", 1).expect("increment");
    wait_for("the thread to wait", || clock.waiting() == 1);
    clock.advance(SECOND);
    calls.recv().expect("a call");
    counters.increment("b", 1).expect("increment");
    clock.advance(10 * SECOND + SECOND / 2);
    answers.send(Ok(())).expect("a sink");
    // Nothing at once; at the next full period, once.
    wait_for("the thread to wait", || clock.waiting() == 1);
    assert!(calls.try_recv().is_err());
    clock.advance(SECOND / 2);
    assert_eq!(contents(&calls.recv().expect("a call")), [("b", 1)]);
    answers.send(Ok(())).expect("a sink");
    wait_for("the thread to wait", || clock.waiting() == 1);
    assert!(calls.try_recv().is_err());
}

#[test]
fn stop_delivers_nothing_and_sync_goes_on() {
    let sink = MemorySink::default();
    let counters = manual(sink.clone());
    counters.increment("a", 3).expect("increment");
    counters.stop().expect("stop");
    assert_eq!((sink.get("a"), counters.owed("a")), (0, Some(3)));
    counters.stop().expect("a second stop does no harm");
    let refused = counters.increment("a", 1);
    assert!(matches!(refused, Err(Error::Stopped)), "{refused:?}");
    counters.sync().expect("sync");
    assert_eq!(sink.get("a"), 3);
    assert!(!counters.needs_sync());
}

#[test]
fn what_adds_up_to_nothing_is_delivered_all_the_same() {
    let (sink, batches) = recorder();
    let counters = manual(sink);
    counters.increment("a", 5).expect("increment");
    counters.increment("a", -5).expect("increment");
    assert!(counters.needs_sync());
    counters.sync().expect("sync");
    assert_eq!(contents(&batches.lock().expect("batches")[0]), [("a", 0)]);
}

#[test]
fn a_dump_is_json_whatever_the_keys_are() {
    let counters = manual(MemorySink::default());
    let mut expected = serde_json::Map::new();
    let odd = (0..0x300).chain([0x2028, 0xFEFF, 0xFFFF, 0x1F600]);
    let odd = odd.filter_map(char::from_u32).map(String::from);
    let keys = odd.chain(["", "\"quoted\"", "a\\b", "\u{0}\u{7F}\n"].map(String::from));
    for (count, key) in keys.enumerate() {
        let count = count as i64 - 100;
        counters.increment(&key, count).expect("increment");
        expected.insert(key, count.into());
    }
    let dump: serde_json::Map<_, _> = serde_json::from_str(&counters.dump()).expect("JSON");
    assert_eq!(dump, expected);
    assert_eq!(manual(MemorySink::default()).dump(), "{}");
}

#[test]
fn the_dump_while_threads_add_is_what_was_added() {
    let counters = manual(MemorySink::default());
    let done = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..20_000 {
                counters.increment("a", 1).expect("increment");
                done.fetch_add(1, Ordering::SeqCst);
            }
        });
        while done.load(Ordering::SeqCst) < 20_000 {
            let before = done.load(Ordering::SeqCst);
            let dump: HashMap<String, u64> = serde_json::from_str(&counters.dump()).expect("JSON");
            assert!(dump.get("a").copied().unwrap_or(0) >= before);
        }
    });
}

/// In the original an increment that had returned was missed half the time.
#[test]
fn an_increment_that_returned_is_in_every_sync_that_begins_later() {
    let sink = MemorySink::default();
    let counters = manual(sink.clone());
    let rounds = if cfg!(debug_assertions) {
        100_000
    } else {
        1_000_000
    };
    for round in 1..=rounds {
        counters.increment("a", 1).expect("increment");
        counters.sync().expect("sync");
        assert_eq!(sink.get("a"), round);
    }
}

#[test]
fn no_increment_that_returned_is_lost_by_a_stop() {
    for _ in 0..200 {
        let sink = MemorySink::default();
        let counters = manual(sink.clone());
        let added = AtomicU64::new(0);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while counters.increment("a", 1).is_ok() {
                        added.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
            wait_for("some increments", || added.load(Ordering::SeqCst) > 10);
            counters.stop().expect("stop");
        });
        counters.sync().expect("sync");
        assert_eq!(sink.get("a") as u64, added.load(Ordering::SeqCst));
    }
}

#[test]
fn a_batch_that_failed_comes_again_as_it_was_and_the_rest_behind_it() {
    let (sink, calls, answers) = gated();
    let counters = manual(sink);
    counters.increment("a", 1).expect("increment");
    answers
        .send(Err(SinkError::new("no connection")))
        .expect("a sink");
    let failed = counters.sync().expect_err("the sink failed");
    assert!(failed.to_string().contains("no connection"), "{failed}");
    assert!(matches!(failed, Error::Sink(_)));
    counters.increment("a", 10).expect("increment");
    counters.increment("b", 5).expect("increment");
    assert_eq!(
        (counters.owed("a"), counters.owed("b")),
        (Some(11), Some(5))
    );
    for _ in 0..2 {
        answers.send(Ok(())).expect("a sink");
    }
    counters.sync().expect("sync");
    let given: Vec<Batch> = calls.try_iter().collect();
    let given: Vec<_> = given.iter().map(contents).collect();
    assert_eq!(
        given,
        [vec![("a", 1)], vec![("a", 1)], vec![("a", 10), ("b", 5)]]
    );
    assert!(!counters.needs_sync());
    assert!(counters.stats().last_error.is_none());
}

#[test]
fn a_panic_of_the_sink_is_an_error_and_nothing_is_lost() {
    let (memory, panics) = (MemorySink::default(), Arc::new(AtomicBool::new(true)));
    let (mut below, panicking) = (memory.clone(), Arc::clone(&panics));
    let sink = move |batch: Batch| {
        assert!(!panicking.load(Ordering::SeqCst), "the sink is broken");
        below.apply(batch)
    };
    let counters = manual(sink);
    counters.increment("a", 4).expect("increment");
    let failed = counters.sync().expect_err("a panic");
    assert!(
        failed.to_string().contains("the sink is broken"),
        "{failed}"
    );
    panics.store(false, Ordering::SeqCst);
    counters.sync().expect("sync");
    assert_eq!(memory.get("a"), 4);
}

#[test]
fn nobody_who_adds_waits_for_the_sink() {
    let (sink, calls, answers) = gated();
    let counters = manual(sink);
    counters.increment("a", 1).expect("increment");
    thread::scope(|scope| {
        let syncing = scope.spawn(|| counters.sync());
        calls.recv().expect("a call");
        // The sink is in the middle of it, and answers only when all of this is done.
        for _ in 0..10_000 {
            counters.increment("a", 1).expect("increment");
        }
        assert_eq!(counters.owed("a"), Some(10_001));
        assert!(counters.needs_sync());
        answers.send(Ok(())).expect("a sink");
        syncing.join().expect("a thread").expect("sync");
    });
    assert_eq!(counters.owed("a"), Some(10_000));
}

#[test]
fn a_sink_may_call_back_but_not_for_a_sync() {
    let counters: Arc<Mutex<Option<Counters>>> = Arc::default();
    let (inside, memory) = (Arc::clone(&counters), MemorySink::default());
    let mut below = memory.clone();
    let sink = move |batch: Batch| {
        let own = inside.lock().expect("counters").clone();
        if let Some(own) = own {
            own.increment("calls", 1).expect("increment");
            assert!(own.needs_sync());
            assert!(own.dump().contains("\"calls\":1"));
            assert!(matches!(own.sync(), Err(Error::Reentrant)));
        }
        below.apply(batch)
    };
    let own = manual(sink);
    *counters.lock().expect("counters") = Some(own.clone());
    own.increment("a", 1).expect("increment");
    own.sync().expect("sync");
    assert_eq!((memory.get("a"), own.owed("calls")), (1, Some(1)));
    counters.lock().expect("counters").take();
}

#[test]
fn a_sum_beyond_64_bits_is_delivered_in_parts() {
    let (sink, batches) = recorder();
    let counters = manual(sink);
    for _ in 0..3 {
        counters.increment("up", i64::MAX).expect("increment");
        counters.increment("down", i64::MIN).expect("increment");
    }
    assert_eq!(counters.owed("up"), Some(3 * i128::from(i64::MAX)));
    counters.sync().expect("sync");
    let batches = batches.lock().expect("batches");
    let mut sums: HashMap<String, i128> = HashMap::new();
    for (key, delta) in batches.iter().flat_map(Batch::deltas) {
        *sums.entry(key.to_owned()).or_default() += i128::from(delta);
    }
    assert_eq!(sums["up"], 3 * i128::from(i64::MAX));
    assert_eq!(sums["down"], 3 * i128::from(i64::MIN));
    assert_eq!(batches.len(), 3);
}

#[test]
fn a_total_beyond_64_bits_is_parked_and_the_rest_goes_on() {
    let memory = MemorySink::default();
    let counters = manual(memory.clone());
    counters.increment("a", i64::MAX).expect("increment");
    counters.increment("b", 1).expect("increment");
    counters.sync().expect("sync");
    counters.increment("a", 1).expect("increment");
    counters.increment("b", 1).expect("increment");
    counters.sync().expect("sync");
    assert_eq!((memory.get("a"), memory.get("b")), (i64::MAX, 2));
    assert!(!counters.needs_sync());
    let parked = counters.parked();
    assert_eq!(parked["a"].delta, 1);
    assert!(parked["a"].reason.contains("64 bits"), "{parked:?}");
    // It is owed again only when somebody says so.
    counters.increment("a", -10).expect("increment");
    counters.sync().expect("sync");
    assert!(counters.retry("a").expect("retry"));
    assert!(!counters.retry("a").expect("retry"));
    counters.sync().expect("sync");
    assert_eq!(memory.get("a"), i64::MAX - 9);
    assert!(counters.parked().is_empty());
}

/// Elsewhere one bad entry holds up all the others (hazelcast/hazelcast#7762).
#[test]
fn a_key_that_the_sink_refuses_holds_up_no_other() {
    let memory = MemorySink::default();
    let mut below = memory.clone();
    let sink = move |batch: Batch| {
        let bad = batch.deltas().filter(|(key, _)| key.starts_with("bad"));
        let bad: Vec<&str> = bad.map(|(key, _)| key).collect();
        if bad.is_empty() {
            return below.apply(batch);
        }
        Err(SinkError::refused("no such column", bad))
    };
    let counters = manual(sink);
    for key in ["bad 1", "good 1", "bad 2", "good 2"] {
        counters.increment(key, 1).expect("increment");
    }
    counters.sync().expect("sync");
    assert_eq!((memory.get("good 1"), memory.get("good 2")), (1, 1));
    counters.increment("bad 1", 1).expect("increment");
    counters.increment("good 1", 1).expect("increment");
    counters.sync().expect("sync");
    assert_eq!(memory.get("good 1"), 2);
    assert_eq!(counters.parked()["bad 1"].delta, 2);
    assert!(counters.discard("bad 1").expect("discard"));
    let left: Vec<Box<str>> = counters.parked().into_keys().collect();
    assert_eq!(left, ["bad 2".into()]);
}

#[test]
fn a_refusal_of_keys_that_are_not_in_the_batch_is_a_failure() {
    let counters = manual(|_: Batch| Err(SinkError::refused("?", ["other"])));
    counters.increment("a", 1).expect("increment");
    assert!(matches!(counters.sync(), Err(Error::Sink(_))));
    assert_eq!(counters.owed("a"), Some(1));
    assert!(counters.parked().is_empty());
}

#[test]
fn a_period_of_zero_leaves_it_to_sync() {
    let (sink, batches) = recorder();
    let clock = ManualClock::default();
    let options = Options::new("").period(Duration::ZERO);
    let counters = options
        .clock(Arc::new(clock.clone()))
        .open(sink)
        .expect("counters");
    counters.increment("a", 1).expect("increment");
    assert_eq!(clock.waiting(), 0);
    clock.advance(1000 * SECOND);
    assert_eq!(batches.lock().expect("batches").len(), 0);
}

#[test]
fn any_key_is_a_key_up_to_its_longest() {
    let memory = MemorySink::default();
    let counters = manual(memory.clone());
    let longest = "k".repeat(MAX_KEY);
    for key in [
        "",
        "..",
        "../../etc/passwd",
        "\u{0}",
        "UPPER",
        "\u{1F600}",
        &longest,
    ] {
        counters.increment(key, 1).expect("increment");
    }
    let bytes = MAX_KEY + 1;
    let refused = counters.increment(&"k".repeat(bytes), 1);
    assert!(matches!(refused, Err(Error::KeyTooLong { bytes: found }) if found == bytes));
    counters.sync().expect("sync");
    assert_eq!(
        (memory.get(""), memory.get("\u{0}"), memory.get(&longest)),
        (1, 1, 1)
    );
    assert_eq!(memory.totals().len(), 7);
}

#[test]
fn new_keys_are_refused_when_too_many_are_owed_and_known_ones_never() {
    let memory = MemorySink::default();
    let options = Options::new("").period(Duration::ZERO).max_keys(3);
    let counters = options.open(memory.clone()).expect("counters");
    for key in ["a", "b", "c"] {
        counters.increment(key, 1).expect("increment");
    }
    assert!(matches!(
        counters.increment("d", 1),
        Err(Error::Full { keys: 3 })
    ));
    counters.increment("a", 1).expect("a known key");
    // Also where what is owed is no longer where threads add.
    assert!(matches!(counters.persist(), Err(Error::NoJournal)));
    counters.increment("b", 1).expect("a known key");
    assert!(matches!(
        counters.increment("d", 1),
        Err(Error::Full { .. })
    ));
    counters.sync().expect("sync");
    counters.increment("d", 1).expect("room again");
    counters.sync().expect("sync");
    assert_eq!(
        (memory.get("a"), memory.get("b"), memory.get("d")),
        (2, 2, 1)
    );
}

#[test]
fn a_close_ends_at_its_deadline_whatever_the_sink_does() {
    let (sink, calls, answers) = gated();
    let clock = ManualClock::default();
    let options = Options::new("").period(Duration::ZERO);
    let counters = options
        .clock(Arc::new(clock.clone()))
        .open(sink)
        .expect("counters");
    counters.increment("a", 3).expect("increment");
    let closed = thread::scope(|scope| {
        let closing = scope.spawn(|| counters.close(SECOND));
        calls.recv().expect("a call");
        wait_for("the closing to wait", || clock.waiting() == 1);
        clock.advance(SECOND);
        closing.join().expect("a thread").expect("closed")
    });
    assert!(!closed.settled && !closed.journaled);
    assert_eq!(closed.owed, [("a".into(), 3)].into());
    assert!(closed.last_error.is_some());
    // The sink comes back: too late.
    answers.send(Ok(())).expect("a sink");
    assert!(matches!(counters.increment("a", 1), Err(Error::Closed)));
    assert!(matches!(counters.sync(), Err(Error::Closed)));
    assert!(matches!(counters.close(SECOND), Err(Error::Closed)));
}

#[test]
fn a_close_delivers_what_is_owed() {
    let memory = MemorySink::default();
    let counters = Counters::new(memory.clone(), SECOND).expect("counters");
    counters.increment("a", 3).expect("increment");
    let closed = counters.close(60 * SECOND).expect("closed");
    assert!(closed.settled && closed.owed.is_empty() && closed.last_error.is_none());
    assert_eq!(memory.get("a"), 3);
}

#[test]
fn the_sink_goes_with_the_counters() {
    struct Told(Sender<()>);
    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let (sender, dropped) = channel();
    let told = Told(sender);
    let sink = move |_: Batch| {
        let _ = &told;
        Ok(())
    };
    let counters = Counters::new(sink, SECOND).expect("counters");
    let other = counters.clone();
    counters.close(SECOND).expect("closed");
    dropped
        .try_recv()
        .expect("the sink is dropped when close returns");
    drop(other);
}

/// Threads add and sync while the sink fails, panics, dawdles and calls back: not one is lost or doubled.
#[test]
fn delivered_and_owed_is_what_was_added_whatever_the_sink_does() {
    for seed in 0..40_u64 {
        let memory = MemorySink::default();
        let mut below = memory.clone();
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let sink = move |batch: Batch| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            match random % 5 {
                0 => Err(SinkError::new("failed")),
                1 => panic!("injected"),
                2 => {
                    thread::yield_now();
                    below.apply(batch)
                }
                _ => below.apply(batch),
            }
        };
        let counters = Counters::new(sink, Duration::from_micros(50)).expect("counters");
        thread::scope(|scope| {
            for thread in 0..3_i64 {
                let counters = &counters;
                scope.spawn(move || {
                    for round in 0..300 {
                        let key = ((thread + round) % 7).to_string();
                        counters.increment(&key, thread + 1).expect("increment");
                        if round % 10 == 0 {
                            let _ = counters.sync();
                        }
                    }
                });
            }
        });
        counters.stop().expect("stop");
        while counters.sync().is_err() {}
        assert_eq!(memory.totals().values().sum::<i64>(), 1800, "seed {seed}");
    }
}

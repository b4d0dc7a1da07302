//! Counters with a journal: what a next life finds, when sink and journal do not belong together, and how the
//! journal shrinks again.
#![cfg(all(feature = "write-behind", feature = "testing"))]

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use documentbuffer::clock::manual::ManualClock;
use documentbuffer::durability::Durability;
use documentbuffer::journal::{self, Journal};
use documentbuffer::store::fault::{Class, CrashPlan, Fault, FaultDirectory, Kind, Rng};
use documentbuffer::write_behind::{
    Batch, Counters, Error, MemorySink, Options, Owed, Sink, SinkError,
};

const SECOND: Duration = Duration::from_secs(1);

/// Nothing happens by itself.
fn options(path: &Path) -> Options {
    Options::new("views")
        .journal(path)
        .window(Duration::ZERO)
        .period(Duration::ZERO)
}

fn open(path: &Path, sink: &MemorySink) -> Counters {
    options(path).open(sink.clone()).expect("counters")
}

/// Takes a batch and breaks the connection before it answers.
fn mute(sink: &MemorySink) -> impl Sink {
    let mut below = sink.clone();
    move |batch: Batch| {
        below.apply(batch)?;
        Err(SinkError::new("the connection broke"))
    }
}

fn broken() -> impl Sink {
    |_: Batch| Err(SinkError::new("not there"))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a directory");
    for file in fs::read_dir(from).expect("a directory") {
        let file = file.expect("an entry");
        fs::copy(file.path(), to.join(file.file_name())).expect("a copy");
    }
}

#[test]
fn what_was_persisted_is_delivered_by_the_next_life() {
    let dir = tempfile::tempdir().expect("a directory");
    let (path, sink) = (dir.path().join("owed"), MemorySink::default());
    let counters = options(&path).open(broken()).expect("counters");
    counters.increment("a", 2).expect("increment");
    counters.persist().expect("persist");
    counters.increment("b", 5).expect("increment");
    counters.sync().expect_err("a broken sink");
    // What was added last is journaled at the end, also without a close.
    counters.increment("a", 1).expect("increment");
    drop(counters);
    let counters = open(&path, &sink);
    assert_eq!((counters.owed("a"), counters.owed("b")), (Some(3), Some(5)));
    counters.sync().expect("sync");
    assert_eq!((sink.get("a"), sink.get("b")), (3, 5));
    drop(counters);
    assert!(!open(&path, &sink).needs_sync());
}

#[test]
fn a_batch_whose_answer_was_lost_is_added_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let (path, sink) = (dir.path().join("owed"), MemorySink::default());
    let counters = options(&path).open(mute(&sink)).expect("counters");
    counters.increment("a", 2).expect("increment");
    counters.sync().expect_err("no answer");
    counters.increment("a", 40).expect("increment");
    counters.sync().expect_err("no answer");
    drop(counters);
    assert_eq!(sink.get("a"), 2);
    let counters = open(&path, &sink);
    counters.sync().expect("sync");
    assert_eq!((sink.get("a"), sink.batches()), (42, 2));
}

#[test]
fn a_window_is_journaled_a_window_after_its_first_increment() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("owed");
    let clock = ManualClock::default();
    let options = options(&path).window(SECOND).clock(Arc::new(clock.clone()));
    let counters = options.open(broken()).expect("counters");
    let wait = |until: &dyn Fn() -> bool| {
        while !until() {
            thread::yield_now();
        }
    };
    for round in 1..=3 {
        counters.increment("a", 1).expect("increment");
        wait(&|| clock.waiting() == 1);
        let owed = Owed::read(&path).expect("a journal");
        assert_eq!(owed.totals().get("a").copied().unwrap_or(0), round - 1);
        clock.advance(SECOND);
        wait(&|| counters.stats().windows == round as u64);
        let owed = Owed::read(&path).expect("a journal");
        assert_eq!(owed.totals()["a"], round);
    }
    // Where nothing is added nothing is written.
    clock.advance(100 * SECOND);
    assert_eq!(counters.stats().windows, 3);
}

#[test]
fn a_deleted_journal_is_noticed() {
    let dir = tempfile::tempdir().expect("a directory");
    let (path, sink) = (dir.path().join("owed"), MemorySink::default());
    let counters = open(&path, &sink);
    counters.increment("a", 1).expect("increment");
    counters.sync().expect("sync");
    drop(counters);
    fs::remove_dir_all(&path).expect("removed");

    let counters = open(&path, &sink);
    counters.increment("a", 10).expect("increment");
    let forked = counters.sync().expect_err("another writer");
    let Error::Forked(told) = &forked else {
        panic!("{forked:?}");
    };
    assert!(told.expected.is_none() && told.held.is_some());
    assert_eq!((sink.get("a"), counters.owed("a")), (1, Some(10)));
    counters
        .increment("a", 1)
        .expect("it goes on being counted");
    counters.persist().expect("and journaled");
    drop(counters);

    // A person decides.
    let counters = options(&path).adopt().open(sink.clone()).expect("counters");
    counters.sync().expect("sync");
    assert_eq!(sink.get("a"), 12);
    drop(counters);
    let counters = open(&path, &sink);
    counters.increment("a", 1).expect("increment");
    counters.sync().expect("from then on they belong together");
}

#[test]
fn a_copied_journal_that_runs_twice_is_noticed() {
    let dir = tempfile::tempdir().expect("a directory");
    let (path, other) = (dir.path().join("owed"), dir.path().join("copy"));
    let sink = MemorySink::default();
    let counters = open(&path, &sink);
    counters.increment("a", 1).expect("increment");
    counters.sync().expect("sync");
    counters.increment("a", 10).expect("increment");
    counters.persist().expect("persist");
    drop(counters);
    copy(&path, &other);

    open(&path, &sink).sync().expect("the first of them");
    let counters = open(&other, &sink);
    let forked = counters.sync().expect_err("the second of them");
    assert!(matches!(forked, Error::Forked(_)), "{forked:?}");
    assert_eq!(sink.get("a"), 11);
}

/// Also when the batch was frozen before the copy was made: it counts once, and then they part.
#[test]
fn a_copy_made_while_a_batch_was_with_the_sink_is_noticed_at_the_next() {
    let dir = tempfile::tempdir().expect("a directory");
    let (path, other) = (dir.path().join("owed"), dir.path().join("copy"));
    let sink = MemorySink::default();
    let counters = options(&path).open(broken()).expect("counters");
    counters.increment("a", 1).expect("increment");
    counters.sync().expect_err("frozen");
    drop(counters);
    copy(&path, &other);

    let (first, second) = (open(&path, &sink), open(&other, &sink));
    first.sync().expect("sync");
    second.sync().expect("the same batch");
    assert_eq!(sink.get("a"), 1);
    for counters in [&first, &second] {
        counters.increment("a", 10).expect("increment");
    }
    first.sync().expect("sync");
    let forked = second.sync().expect_err("another batch of the same number");
    assert!(matches!(forked, Error::Forked(_)), "{forked:?}");
    assert_eq!(sink.get("a"), 11);
}

#[test]
fn a_sink_put_back_from_a_backup_is_noticed() {
    let dir = tempfile::tempdir().expect("a directory");
    let (path, sink) = (dir.path().join("owed"), MemorySink::default());
    let counters = open(&path, &sink);
    let mut backups = vec![sink.backup()];
    for _ in 0..3 {
        counters.increment("a", 1).expect("increment");
        counters.sync().expect("sync");
        backups.push(sink.backup());
    }
    drop(counters);
    for backup in &backups[..3] {
        let counters = open(&path, backup);
        counters.increment("a", 100).expect("increment");
        let forked = counters.sync().expect_err("an old sink");
        assert!(matches!(forked, Error::Forked(_)), "{forked:?}");
    }
    open(&path, &backups[3]).sync().expect("not old");
}

#[test]
fn a_journal_of_other_counters_or_of_something_else_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let (path, sink) = (dir.path().join("owed"), MemorySink::default());
    drop(open(&path, &sink));
    let other = Options::new("clicks").journal(&path).open(sink.clone());
    assert!(matches!(&other, Err(Error::OtherName { found, wanted })
        if found == "views" && wanted == "clicks"));

    let events = dir.path().join("events");
    Journal::open(&events)
        .expect("a journal")
        .append("event")
        .expect("append");
    let refused = options(&events)
        .open(sink.clone())
        .expect_err("no counters");
    assert!(
        refused.to_string().contains("codec") || refused.to_string().contains("written in"),
        "{refused}"
    );
    assert!(matches!(Owed::read(&events), Err(Error::Journal(_))));
    let kept: Vec<_> = Journal::open(&events)
        .expect("a journal")
        .replay(0)
        .expect("replay")
        .collect();
    assert_eq!(kept.len(), 1);

    let counters = open(&path, &sink);
    let locked = options(&path).open(sink).expect_err("open already");
    assert!(locked.to_string().contains("writes"), "{locked}");
    drop(counters);
}

#[test]
fn a_document_that_is_none_of_ours_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let (path, sink) = (dir.path().join("owed"), MemorySink::default());
    let counters = open(&path, &sink);
    counters.increment("a", 1).expect("increment");
    drop(counters);
    let codec = journal::Reader::open(&path).and_then(|reader| reader.codec());
    let journal = journal::Options::new().codec(codec.expect("a codec"));
    let journal = journal.open(&path).expect("a journal");
    let position = journal.append([200, 1, 2]).expect("append");
    drop(journal);
    for damaged in [
        options(&path).open(sink).map(drop).expect_err("damaged"),
        Owed::read(&path).map(drop).expect_err("damaged"),
    ] {
        assert!(matches!(damaged, Error::Damaged { position: found, .. } if found == position));
    }
}

#[test]
fn the_journal_shrinks_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let (path, sink) = (dir.path().join("owed"), MemorySink::default());
    let counters = options(&path)
        .compact_at(10_000)
        .open(sink.clone())
        .expect("counters");
    let range = || {
        let reader = journal::Reader::open(&path).expect("a journal");
        reader.range().expect("a range")
    };
    for round in 0..2000 {
        let key = format!("key {}", round % 7);
        counters.increment(&key, 1).expect("increment");
        counters.persist().expect("persist");
        if round % 10 == 0 {
            counters.sync().expect("sync");
            let range = range();
            assert!(range.end - range.start < 500, "{range:?}");
        }
    }
    assert!(range().start > 1000, "the old is discarded");
    counters.sync().expect("sync");
    assert_eq!(sink.totals().values().sum::<i64>(), 2000);
    assert!(counters.stats().last_error.is_none());
}

/// While the sink is away the journal holds each key once, however often it is added to.
#[test]
fn what_is_owed_survives_that_the_journal_is_begun_anew() {
    let dir = tempfile::tempdir().expect("a directory");
    let (path, sink) = (dir.path().join("owed"), MemorySink::default());
    let refusing = |batch: Batch| -> Result<(), SinkError> {
        match batch.deltas().any(|(key, _)| key == "bad") {
            true => Err(SinkError::refused("never", ["bad"])),
            false => Err(SinkError::new("not there")),
        }
    };
    let counters = options(&path)
        .compact_at(500)
        .open(refusing)
        .expect("counters");
    counters.increment("bad", 3).expect("increment");
    counters.increment("huge", i64::MAX).expect("increment");
    counters.increment("huge", i64::MAX).expect("increment");
    counters
        .sync()
        .expect_err("parked, frozen, and the rest pending");
    let writer = Owed::read(&path)
        .expect("a journal")
        .frozen
        .expect("frozen")
        .0;
    for _ in 0..300 {
        counters.increment("a", 1).expect("increment");
        counters.increment("zero", 1).expect("increment");
        counters.increment("zero", -1).expect("increment");
        counters.persist().expect("persist");
    }
    let first = journal::Reader::open(&path).and_then(|reader| reader.range());
    assert!(first.expect("a journal").start > 0, "it was begun anew");
    drop(counters);
    let owed = Owed::read(&path).expect("a journal");
    assert_eq!(owed.frozen.expect("frozen").0, writer);
    let counters = open(&path, &sink);
    assert_eq!(counters.parked()["bad"].delta, 3);
    assert_eq!(counters.owed("huge"), Some(2 * i128::from(i64::MAX)));
    assert_eq!(
        (counters.owed("a"), counters.owed("zero")),
        (Some(300), Some(0))
    );
    assert!(counters.discard("bad").expect("discard"));
    // A total of two times the most does not fit the sink.
    counters.sync().expect("sync");
    assert_eq!((sink.get("a"), sink.get("huge")), (300, i64::MAX));
    assert_eq!(counters.parked()["huge"].delta, i128::from(i64::MAX));
}

#[test]
fn a_sink_that_never_returns_is_left_behind_and_writes_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let (path, memory) = (dir.path().join("owed"), MemorySink::default());
    let (called, calls) = channel();
    let (answer, answers) = channel::<()>();
    let mut below = memory.clone();
    let (finished, done) = channel();
    let stuck = move |batch: Batch| {
        called.send(()).expect("a test that listens");
        let _ = answers.recv();
        let applied = below.apply(batch);
        finished.send(()).expect("a test that listens");
        applied
    };
    let clock = ManualClock::default();
    let counters = options(&path)
        .clock(Arc::new(clock.clone()))
        .open(stuck)
        .expect("counters");
    counters.increment("a", 3).expect("increment");
    let closed = thread::scope(|scope| {
        let closing = scope.spawn(|| counters.close(SECOND));
        calls.recv().expect("a call");
        while clock.waiting() == 0 {
            thread::yield_now();
        }
        clock.advance(SECOND);
        closing.join().expect("a thread").expect("closed")
    });
    assert!(!closed.settled && closed.journaled);
    assert_eq!(closed.owed, [("a".into(), 3)].into());
    let before = Owed::read(&path).expect("a journal");
    // The journal is free, and goes on in another life, while the sink is still in the middle of it.
    let next = open(&path, &memory);
    assert_eq!(next.owed("a"), Some(3));
    drop(next);
    answer.send(()).expect("a sink");
    done.recv().expect("it comes back");
    drop(counters);
    assert_eq!(Owed::read(&path).expect("a journal"), before);
    // It had been applied all the same; the next life is told so.
    let next = open(&path, &memory);
    next.sync().expect("sync");
    assert_eq!((memory.get("a"), memory.batches()), (3, 1));
}

#[test]
fn persisted_and_synced_survives_a_power_cut() {
    for seed in 0..50 {
        let (dir, sink) = (FaultDirectory::new(seed), MemorySink::default());
        let counters = |dir: &FaultDirectory| {
            Options::new("views")
                .journal_in(Arc::new(dir.clone()))
                .durability(Durability::Synced)
                .window(Duration::ZERO)
                .period(Duration::ZERO)
                .open(sink.clone())
                .expect("counters")
        };
        let live = counters(&dir);
        live.increment("a", 7).expect("increment");
        live.persist().expect("persist");
        let mut rng = Rng::new(seed);
        let plan = CrashPlan::random(&mut rng);
        let image = dir.crash(&mut rng, plan);
        let next = counters(&FaultDirectory::from_image(seed, image));
        assert_eq!(next.owed("a"), Some(7));
    }
}

#[test]
fn a_directory_that_cannot_be_written_is_told_at_opening() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    fs::write(&file, "no directory").expect("a file");
    let refused = options(&file).open(broken()).expect_err("a file");
    assert!(matches!(refused, Error::Journal(_)), "{refused}");
    let nowhere = dir.path().join("no").join("where");
    assert!(options(&nowhere).open(broken()).is_err());
}

#[test]
fn a_journal_that_fails_keeps_what_was_added_in_memory() {
    let (dir, sink) = (FaultDirectory::new(1), MemorySink::default());
    let counters = Options::new("views")
        .journal_in(Arc::new(dir.clone()))
        .window(Duration::ZERO)
        .period(Duration::ZERO)
        .open(sink.clone())
        .expect("counters");
    counters.increment("a", 1).expect("increment");
    let used: usize = dir.view().values().map(Vec::len).sum();
    dir.set_cap(Some(used as u64));
    // The room that was taken ahead may do for a few.
    let mut added = 1;
    while counters.persist().is_ok() {
        counters.increment(&"k".repeat(1000), 1).expect("increment");
        counters.increment("a", 1).expect("increment");
        added += 1;
        assert!(added < 10_000, "the medium is full");
    }
    counters.sync().expect_err("nothing can be frozen");
    assert_eq!((counters.owed("a"), sink.batches()), (Some(added), 0));
    dir.set_cap(None);
    counters.persist().expect("there is room again");
    counters.sync().expect("sync");
    assert_eq!(i128::from(sink.get("a")), added);
}

/// Its old segments stay, and it is begun anew no more often for that.
#[test]
fn a_journal_that_cannot_discard_is_not_begun_anew_at_every_turn() {
    let (dir, sink) = (FaultDirectory::new(1), MemorySink::default());
    let counters = Options::new("views")
        .journal_in(Arc::new(dir.clone()))
        .window(Duration::ZERO)
        .period(Duration::ZERO)
        .compact_at(5000)
        .open(sink)
        .expect("counters");
    dir.fault(Fault {
        kind: Kind::Fail(ErrorKind::PermissionDenied),
        class: Class::Remove,
        at: 0,
        sticky: true,
    });
    for _ in 0..600 {
        counters.increment("a", 1).expect("increment");
        counters.persist().expect("persist");
    }
    let names = dir.view().into_keys();
    let segments = names.filter(|name| name.ends_with(".segment")).count();
    // 600 windows of about twenty bytes each.
    assert!((2..=6).contains(&segments), "{segments} segments");
    assert_eq!(counters.owed("a"), Some(600));
}

//! Subscriptions: every event once, in order, after it is durable; what a slow one is told.

#![cfg(all(feature = "serde", feature = "testing"))]

mod watched_support;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use documentbuffer::journal::{
    Decision, Durability, Error, Events, Journal, Lag, Options, Published, Retention, Subscription,
};
use documentbuffer::store::fault::{FaultDirectory, Rng};
use tempfile::TempDir;
use watched_support::{Done, Watched};

fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    (dir, path)
}

fn all<E>(events: &Events<E>) -> Vec<E> {
    let read: Result<Vec<_>, _> = events.replay(0).unwrap().collect();
    read.unwrap().into_iter().map(|(_, event)| event).collect()
}

/// What a subscriber that believes what it is told knows now.
fn take(subscription: &mut Subscription<u64>, known: &mut Vec<u64>) {
    while let Some(published) = subscription.try_recv().unwrap() {
        match published {
            Published::Event { position, event } => {
                assert_eq!(position, known.len() as u64);
                known.push(event);
            }
            Published::CutBack { to } => {
                assert!(to < known.len() as u64);
                known.truncate(to as usize);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn subscribers_see_each_event_once_in_order_whoever_writes() {
    let (_dir, path) = place();
    let journal = Options::new().segment(4000).durability(Durability::Written);
    let events = Events::<(u8, u32)>::json()
        .journal(journal)
        .open(&path)
        .unwrap();
    let (writers, each) = (4, 500);
    let subscribers: Vec<_> = (0..3)
        .map(|from| {
            let subscription = events.subscribe(0, Lag::Unbounded).unwrap();
            std::thread::spawn(move || {
                let mut seen = Vec::new();
                for published in subscription.skip(from) {
                    let Ok(Published::Event { position, event }) = published else {
                        panic!("{published:?}");
                    };
                    assert_eq!(position, (from + seen.len()) as u64);
                    seen.push(event);
                }
                seen
            })
        })
        .collect();
    std::thread::scope(|scope| {
        for writer in 0..writers {
            let events = events.clone();
            scope.spawn(move || {
                for n in 0..each {
                    events.append(&(writer, n)).unwrap();
                }
            });
        }
    });
    let written = all(&events);
    assert_eq!(written.len(), writers as usize * each as usize);
    events.close().unwrap();
    for (from, subscriber) in subscribers.into_iter().enumerate() {
        assert_eq!(subscriber.join().unwrap(), written[from..]);
    }
}

#[test]
fn an_event_is_handed_over_after_it_is_durable() {
    let (_dir, path) = place();
    let events = Events::<u64>::open(&path).unwrap();
    let mut subscription = events.subscribe(0, Lag::Unbounded).unwrap();
    for durability in [Durability::Memory, Durability::Written] {
        events.append_with(&7, durability).unwrap();
        assert_eq!(subscription.try_recv().unwrap(), None, "{durability:?}");
    }
    assert_eq!(
        subscription.recv_timeout(Duration::from_millis(1)).unwrap(),
        None
    );
    events.journal().sync().unwrap();
    assert_eq!(events.journal().stats().synced, 2);
    for position in 0..2 {
        let told = subscription.recv().unwrap();
        assert_eq!(told, Published::Event { position, event: 7 });
    }
    assert_eq!(subscription.try_recv().unwrap(), None);
}

#[test]
fn a_cut_is_told_and_what_comes_then_is_new() {
    let (_dir, path) = place();
    let events = Events::<u64>::json()
        .journal(Options::new().segment(300))
        .open(&path)
        .unwrap();
    let mut subscription = events.subscribe(0, Lag::Unbounded).unwrap();
    let (mut known, mut model) = (Vec::new(), Vec::new());
    let mut seed = 11u64;
    let mut draw = |below: u64| {
        seed = seed
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (seed >> 33) % below
    };
    for n in 0..400 {
        if draw(6) == 0 {
            let keep = draw(model.len() as u64 + 1);
            events.journal().truncate_after(keep).unwrap();
            model.truncate(keep as usize);
        } else {
            events.append(&n).unwrap();
            model.push(n);
        }
        if draw(3) == 0 {
            take(&mut subscription, &mut known);
            assert_eq!(known, model, "step {n}");
        }
    }
}

#[test]
fn a_slow_subscriber_is_told_what_it_misses() {
    let (_dir, path) = place();
    let journal = Options::new().segment(300).durability(Durability::Written);
    let events = Events::<u64>::json().journal(journal).open(&path).unwrap();
    let mut subscription = events.subscribe(0, Lag::Skip(10)).unwrap();
    let write = |range: std::ops::Range<u64>| {
        for n in range {
            events.append(&n).unwrap();
        }
    };
    let read = |subscription: &mut Subscription<u64>, range: std::ops::Range<u64>| {
        for n in range {
            let told = subscription.recv().unwrap();
            assert_eq!(
                told,
                Published::Event {
                    position: n,
                    event: n
                }
            );
        }
    };
    // Ten behind is fine, eleven is not.
    write(0..10);
    read(&mut subscription, 0..10);
    write(10..21);
    assert_eq!(
        subscription.recv().unwrap(),
        Published::Lagged { skipped: 1 }
    );
    read(&mut subscription, 11..21);
    assert_eq!(subscription.try_recv().unwrap(), None);
    write(21..1000);
    assert_eq!(
        subscription.recv().unwrap(),
        Published::Lagged { skipped: 969 }
    );
    read(&mut subscription, 990..995);
    // While it was slow, what it has seen was cut away: that is not missed.
    events.journal().truncate_after(992).unwrap();
    write(992..1500);
    assert_eq!(subscription.recv().unwrap(), Published::CutBack { to: 992 });
    assert_eq!(
        subscription.recv().unwrap(),
        Published::Lagged { skipped: 498 }
    );
    read(&mut subscription, 1490..1500);
    // Cut away was only what it has missed.
    write(1500..1600);
    events.journal().truncate_after(1550).unwrap();
    write(1550..1600);
    assert_eq!(
        subscription.recv().unwrap(),
        Published::Lagged { skipped: 90 }
    );
    read(&mut subscription, 1590..1600);
    assert_eq!(subscription.position(), 1600);
}

#[test]
fn random_subscribers_that_lag_know_what_they_know() {
    for seed in 0..2000u64 {
        println!("seed {seed}");
        let journal = Options::new()
            .segment(200)
            .durability(Durability::Memory)
            .seed(seed);
        let options = Events::<u64>::json().journal(journal);
        let events = options
            .open_in(Arc::new(FaultDirectory::new(seed)))
            .unwrap();
        let mut state = seed;
        let mut draw = |below: u64| {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 33) % below
        };
        let most = draw(8);
        let mut subscription = events.subscribe(0, Lag::Skip(most)).unwrap();
        let mut model: Vec<u64> = Vec::new();
        // By position; `None` is known to be missed.
        let mut known: Vec<Option<u64>> = Vec::new();
        for n in 0..80 {
            match draw(10) {
                0 => {
                    let keep = draw(model.len() as u64 + 1);
                    events.journal().truncate_after(keep).unwrap();
                    model.truncate(keep as usize);
                }
                1..4 => {
                    events.journal().flush().unwrap();
                    for _ in 0..draw(12) {
                        match subscription.try_recv().unwrap() {
                            Some(Published::Event { position, event }) => {
                                assert_eq!(position, known.len() as u64);
                                known.push(Some(event));
                            }
                            Some(Published::CutBack { to }) => {
                                assert!(to < known.len() as u64);
                                known.truncate(to as usize);
                            }
                            Some(Published::Lagged { skipped }) => {
                                assert!(skipped > 0);
                                known.extend((0..skipped).map(|_| None));
                            }
                            Some(other) => panic!("{other:?}"),
                            None => {
                                // Nothing more: all that is not missed is known.
                                assert_eq!(known.len(), model.len());
                                let mut both = known.iter().zip(&model);
                                assert!(both.all(|(k, m)| k.is_none_or(|k| k == *m)));
                                break;
                            }
                        }
                    }
                }
                _ => {
                    events.append(&(seed * 1000 + n)).unwrap();
                    model.push(seed * 1000 + n);
                }
            }
        }
    }
}

#[test]
fn a_cut_while_documents_are_missed_is_told_as_far_as_it_matters() {
    for round in 0..20u64 {
        let journal = Options::new()
            .segment(2000)
            .durability(Durability::Written)
            .seed(round);
        let options = Events::<u64>::json().journal(journal);
        let directory = Arc::new(FaultDirectory::new(round));
        let events = options.open_in(directory).unwrap();
        let subscription = events.subscribe(0, Lag::Skip(round % 4)).unwrap();
        let reader = std::thread::spawn(move || {
            let mut known: Vec<Option<u64>> = Vec::new();
            for published in subscription {
                match published.unwrap() {
                    Published::Event { position, event } => {
                        assert_eq!(position, known.len() as u64);
                        known.push(Some(event));
                    }
                    Published::CutBack { to } => {
                        assert!(to < known.len() as u64);
                        known.truncate(to as usize);
                    }
                    Published::Lagged { skipped } => {
                        assert!(skipped > 0);
                        known.extend((0..skipped).map(|_| None));
                    }
                    other => panic!("{other:?}"),
                }
            }
            known
        });
        let mut model: Vec<u64> = Vec::new();
        for n in 0..300u64 {
            let batch: Vec<u64> = (0..n % 60).map(|m| n * 100 + m).collect();
            events.append_all(&batch).unwrap();
            model.extend(batch);
            let cut = (n * 7919 % 50).min(model.len() as u64);
            events
                .journal()
                .truncate_after(model.len() as u64 - cut)
                .unwrap();
            model.truncate(model.len() - cut as usize);
        }
        events.close().unwrap();
        let known = reader.join().unwrap();
        assert_eq!(known.len(), model.len());
        let mut both = known.iter().zip(&model);
        assert!(both.all(|(known, model)| known.is_none_or(|known| known == *model)));
    }
}

#[test]
fn what_retention_takes_is_the_end_or_is_missed_as_was_chosen() {
    let (_dir, path) = place();
    let journal = Options::new()
        .segment(300)
        .durability(Durability::Written)
        .retention(Retention::all().bytes(600));
    let events = Events::<u64>::json().journal(journal).open(&path).unwrap();
    for n in 0..5 {
        events.append(&n).unwrap();
    }
    let mut patient = events.subscribe(2, Lag::Unbounded).unwrap();
    let mut hasty = events.subscribe(2, Lag::Skip(100_000)).unwrap();
    for n in 5..500 {
        events.append(&n).unwrap();
    }
    let first = events.journal().first();
    assert!(first > 400);
    for _ in 0..2 {
        let over = patient.recv().unwrap_err();
        assert!(
            matches!(over, Error::Discarded { position: 2, first: f } if f == first),
            "{over:?}"
        );
    }
    assert_eq!(patient.count(), 0);
    let told = hasty.recv().unwrap();
    assert_eq!(told, Published::Lagged { skipped: first - 2 });
    for n in first..500 {
        assert_eq!(
            hasty.recv().unwrap(),
            Published::Event {
                position: n,
                event: n
            }
        );
    }
    assert_eq!(hasty.try_recv().unwrap(), None);
}

#[test]
fn a_subscription_stops_at_what_is_no_event_and_passes_over_what_is_to_be() {
    let (_dir, path) = place();
    let options = Events::<u64>::json().upcast(|document, number| match number {
        Ok(number) => Decision::Use(number),
        Err(_) if document.bytes == b"null" => Decision::Skip,
        Err(cause) => Decision::Stop(cause),
    });
    let events = options.open(&path).unwrap();
    let mut subscription = events.subscribe(0, Lag::Unbounded).unwrap();
    let raw = events.journal();
    raw.append_all(["1", "null", "2", "true", "3"]).unwrap();
    for (position, event) in [(0, 1), (2, 2)] {
        assert_eq!(
            subscription.recv().unwrap(),
            Published::Event { position, event }
        );
    }
    for _ in 0..2 {
        let stopped = subscription.try_recv().unwrap_err();
        assert!(matches!(
            stopped,
            Error::Event {
                position: Some(3),
                ..
            }
        ));
    }
    assert!(subscription.next().is_none());
    assert!(matches!(
        events.subscribe(6, Lag::Unbounded),
        Err(Error::BeyondEnd { .. })
    ));
    let mut behind = events.subscribe(4, Lag::Unbounded).unwrap();
    assert_eq!(
        behind.recv().unwrap(),
        Published::Event {
            position: 4,
            event: 3
        }
    );
}

#[test]
fn a_subscription_does_not_keep_the_journal_open() {
    for close in [true, false] {
        let (_dir, path) = place();
        let events = Events::<u64>::open(&path).unwrap();
        let subscription = events.subscribe(0, Lag::Unbounded).unwrap();
        let waiting = std::thread::spawn(move || subscription.map(Result::unwrap).count());
        events.append(&1).unwrap();
        if close {
            events.close().unwrap();
        } else {
            drop(events);
        }
        assert_eq!(waiting.join().unwrap(), 1);
        // The lock is free.
        let events = Events::<u64>::open(&path).unwrap();
        let mut subscription = events.subscribe(1, Lag::Unbounded).unwrap();
        drop(events);
        for _ in 0..2 {
            assert!(matches!(subscription.recv(), Err(Error::Closed)));
        }
        assert!(subscription.next().is_none());
    }
}

/// The journal is cut back and closed while the documents to be missed are read.
#[test]
fn what_was_missed_before_the_end_is_told_before_the_end() {
    let (_dir, path) = place();
    let journal: Arc<Mutex<Option<Journal>>> = Arc::default();
    let to_close = journal.clone();
    let directory = Watched::open(&path, move |done, name| {
        let second = done == Done::Read && name.starts_with("00000000000000000002");
        let journal = second.then(|| to_close.lock().unwrap().take()).flatten();
        if let Some(journal) = journal {
            journal.truncate_after(4).unwrap();
            journal.close().unwrap();
        }
    });
    let events = Events::<u64>::json();
    let events = events.open_in(Arc::new(directory)).unwrap();
    events.append_all(&[0, 1, 2]).unwrap();
    let mut subscription = events.subscribe(0, Lag::Skip(1)).unwrap();
    events.journal().rotate().unwrap();
    events.append_all(&[3, 4, 5, 6, 7, 8]).unwrap();
    *journal.lock().unwrap() = Some(events.journal().clone());
    let told = subscription.recv().unwrap();
    assert_eq!(told, Published::Lagged { skipped: 4 });
    assert!(matches!(subscription.recv(), Err(Error::Closed)));
}

/// Who goes on from a kept cursor, in steps of any number, knows what the journal holds, or that it does not.
#[test]
fn a_subscription_is_gone_on_with_from_its_cursor() {
    for seed in 0..6 {
        let options = Events::<u64>::json().journal(Options::new().segment(500).seed(seed));
        let directory = Arc::new(FaultDirectory::new(seed));
        let events = options.open_in(directory).unwrap();
        let mut rng = Rng::new(seed);
        let mut kept = events.subscribe(0, Lag::Unbounded).unwrap().cursor();
        let (mut known, mut model) = (Vec::new(), Vec::new());
        for round in 0..400u64 {
            if rng.below(5) == 0 {
                let keep = rng.below(model.len() as u64 + 1);
                events.journal().truncate_after(keep).unwrap();
                model.truncate(keep as usize);
            } else {
                let batch: Vec<u64> = (0..rng.below(9)).map(|n| round * 10 + n).collect();
                events.append_all(&batch).unwrap();
                model.extend(batch);
            }
            let text = kept.to_string();
            let lag = [Lag::Unbounded, Lag::Skip(rng.below(6))][rng.below(2) as usize];
            let mut subscription = events.resume(&text.parse().unwrap(), lag).unwrap();
            for _ in 0..rng.below(9) {
                match subscription.try_recv().unwrap() {
                    Some(Published::Event { position, event }) => {
                        assert_eq!(position, known.len() as u64);
                        known.push(Some(event));
                    }
                    Some(Published::CutBack { to }) => known.truncate(to as usize),
                    Some(Published::Lagged { skipped }) => {
                        known.extend((0..skipped).map(|_| None));
                    }
                    _ => break,
                }
                kept = subscription.cursor();
                assert_eq!(
                    kept.position(),
                    known.len() as u64,
                    "seed {seed}, round {round}"
                );
            }
        }
        let mut last = events.resume(&kept, Lag::Unbounded).unwrap();
        while let Some(published) = last.try_recv().unwrap() {
            match published {
                Published::Event { event, .. } => known.push(Some(event)),
                Published::CutBack { to } => known.truncate(to as usize),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(known.len(), model.len(), "seed {seed}");
        let mut both = known.iter().zip(&model);
        assert!(both.all(|(known, model)| known.is_none_or(|known| known == *model)));
    }
}

#[test]
fn the_cursor_of_who_met_what_is_no_event_stands_before_it() {
    let (_dir, path) = place();
    let events = Events::<u64>::json().open(&path).unwrap();
    events.append(&1).unwrap();
    events.journal().append("no number").unwrap();
    let mut subscription = events.subscribe(0, Lag::Unbounded).unwrap();
    subscription.recv().unwrap();
    assert!(matches!(subscription.recv(), Err(Error::Event { .. })));
    assert_eq!(subscription.cursor().position(), 1);
    let mut again = events
        .resume(&subscription.cursor(), Lag::Unbounded)
        .unwrap();
    assert!(matches!(again.recv(), Err(Error::Event { .. })));
}

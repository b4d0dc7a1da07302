//! The journal as a user sees it, on real files.

#![cfg(feature = "journal")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use documentbuffer::clock::Clock;
use documentbuffer::journal::{Durability, Error, Journal, Options, Retention};
use tempfile::TempDir;

fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    (dir, path)
}

fn all(journal: &Journal) -> Vec<(u64, String)> {
    let text = |(at, bytes)| (at, String::from_utf8(bytes).unwrap());
    let found: Result<Vec<_>, _> = journal.replay(journal.first()).unwrap().collect();
    found.unwrap().into_iter().map(text).collect()
}

fn texts(journal: &Journal) -> Vec<String> {
    all(journal).into_iter().map(|(_, text)| text).collect()
}

fn numbers(range: std::ops::Range<u64>) -> Vec<String> {
    range.map(|n| format!("event {n}")).collect()
}

#[test]
fn what_was_appended_is_replayed_after_an_opening() {
    let (_dir, path) = place();
    for round in 0..5u64 {
        let journal = Journal::open(&path).unwrap();
        assert_eq!(texts(&journal), numbers(0..round * 20));
        for n in 0..20 {
            let position = journal.append(format!("event {}", round * 20 + n)).unwrap();
            assert_eq!(position, round * 20 + n);
        }
        if round % 2 == 0 {
            journal.close().unwrap();
        }
    }
}

#[test]
fn segments_are_begun_and_read_over() {
    let (_dir, path) = place();
    let journal = Options::new().segment(1000).open(&path).unwrap();
    for n in 0..500 {
        assert_eq!(
            journal
                .append_with(format!("event {n}"), Durability::Written)
                .unwrap(),
            n
        );
    }
    assert!(journal.stats().segments > 10);
    assert_eq!(texts(&journal), numbers(0..500));
    let back: Result<Vec<_>, _> = journal.rev().unwrap().map(|d| d.map(|d| d.0)).collect();
    assert_eq!(back.unwrap(), (0..500).rev().collect::<Vec<_>>());
    for from in [0, 1, 17, 250, 499, 500] {
        let found = journal.replay(from).unwrap().count() as u64;
        assert_eq!(found, 500 - from);
    }
    assert!(matches!(
        journal.replay(501),
        Err(Error::BeyondEnd {
            position: 501,
            end: 500
        })
    ));
    let stats = journal.close().unwrap();
    assert_eq!((stats.end, stats.synced), (500, 500));
    let journal = Journal::open(&path).unwrap();
    assert_eq!(texts(&journal), numbers(0..500));
}

#[test]
fn a_batch_has_its_positions_together() {
    let (_dir, path) = place();
    let journal = Journal::open(&path).unwrap();
    assert_eq!(journal.append_all(numbers(0..7)).unwrap(), 0..7);
    assert_eq!(journal.append_all::<[&str; 0]>([]).unwrap(), 7..7);
    assert_eq!(journal.append_all(numbers(7..8)).unwrap(), 7..8);
    let big: Vec<Vec<u8>> = (0..40).map(|n| vec![n; 100_000]).collect();
    assert_eq!(journal.append_all(&big).unwrap(), 8..48);
    drop(journal);
    let journal = Journal::open(&path).unwrap();
    assert_eq!(journal.end(), 48);
    let mut newest = journal.rev().unwrap();
    let last = newest.next().unwrap().unwrap().bytes.to_vec();
    assert_eq!(last, big[39]);
}

#[test]
fn a_position_is_given_again_only_after_a_cut() {
    let (_dir, path) = place();
    let journal = Options::new().segment(600).open(&path).unwrap();
    let mut model: Vec<String> = Vec::new();
    for (round, keep) in [60, 59, 31, 30, 0, 12, 12, 7].into_iter().enumerate() {
        while model.len() < 60 {
            let text = format!("{round}: {}", model.len());
            assert_eq!(journal.append(&text).unwrap(), model.len() as u64);
            model.push(text);
        }
        journal.truncate_after(keep).unwrap();
        model.truncate(keep as usize);
        assert_eq!((journal.end(), texts(&journal)), (keep, model.clone()));
        let reopened = {
            drop(journal.clone());
            all(&journal).len()
        };
        assert_eq!(reopened as u64, keep);
    }
    assert!(matches!(
        journal.truncate_after(8),
        Err(Error::BeyondEnd {
            position: 8,
            end: 7
        })
    ));
    journal.close().unwrap();
    let journal = Journal::open(&path).unwrap();
    assert_eq!(texts(&journal), model);
}

#[test]
fn discarding_goes_by_whole_segments_and_moves_no_position() {
    let (_dir, path) = place();
    let journal = Options::new().segment(500).open(&path).unwrap();
    for text in numbers(0..100) {
        journal.append(text).unwrap();
    }
    let first = journal.discard_before(50).unwrap();
    assert!(first > 20 && first <= 50);
    assert_eq!(texts(&journal), numbers(first..100));
    assert!(matches!(
        journal.replay(first - 1),
        Err(Error::Discarded { .. })
    ));
    assert!(matches!(
        journal.truncate_after(first - 1),
        Err(Error::Discarded { .. })
    ));
    journal.truncate_after(first).unwrap();
    assert_eq!((journal.first(), journal.end()), (first, first));
    assert_eq!(journal.append("on").unwrap(), first);
    journal.close().unwrap();
    let journal = Journal::open(&path).unwrap();
    assert_eq!(all(&journal), [(first, "on".to_owned())]);
}

/// A wall clock that a test sets, in seconds.
#[derive(Debug, Default)]
struct Wall(AtomicU64);

impl Clock for Wall {
    fn wall_micros(&self) -> u64 {
        self.0.load(Ordering::Relaxed) * 1_000_000
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.wall_micros())
    }
}

#[test]
fn retention_keeps_all_that_is_younger() {
    let (_dir, path) = place();
    let wall = Arc::new(Wall::default());
    let retention = Retention::all().age(Duration::from_secs(6));
    let options = Options::new().retention(retention).clock(wall.clone());
    let journal = options.open(&path).unwrap();
    for second in 0..40u64 {
        wall.0.store(second, Ordering::Relaxed);
        match second % 2 {
            0 => journal.rotate().unwrap(),
            _ => assert_eq!(journal.append("x").unwrap(), second / 2),
        }
        // That one was appended at second 2 * first + 1.
        assert_eq!(journal.first(), second.saturating_sub(6) / 2);
    }
}

#[test]
fn retention_keeps_as_many_bytes() {
    let (_dir, path) = place();
    let options = Options::new().segment(400);
    let journal = options.retention(Retention::all().bytes(1500));
    let journal = journal.open(&path).unwrap();
    for text in numbers(0..300) {
        journal.append(text).unwrap();
        let stats = journal.stats();
        let kept = stats.first == 0 || (1500..2400).contains(&stats.bytes);
        assert!(kept, "{stats:?}");
    }
    assert!(journal.first() > 200);
}

#[test]
fn an_expected_position_is_met_or_told() {
    let (_dir, path) = place();
    let journal = Journal::open(&path).unwrap();
    assert_eq!(journal.append_at(0, "a").unwrap(), 0);
    assert!(matches!(
        journal.append_at(0, "b"),
        Err(Error::PositionMismatch {
            expected: 0,
            actual: 1
        })
    ));
    assert_eq!(journal.end(), 1);
    // What counts is what was appended, written or not.
    assert_eq!(journal.append_with("b", Durability::Memory).unwrap(), 1);
    assert!(matches!(
        journal.append_at(1, "c"),
        Err(Error::PositionMismatch {
            expected: 1,
            actual: 2
        })
    ));
    assert_eq!(journal.append_at(2, "c").unwrap(), 2);
}

#[test]
fn a_second_writer_is_refused() {
    let (_dir, path) = place();
    let journal = Journal::open(&path).unwrap();
    let refused = Journal::open(&path).unwrap_err();
    assert!(matches!(refused, Error::Locked { .. }));
    assert!(refused.to_string().contains("journal"));
    drop(journal);
    Journal::open(&path).unwrap();
}

#[test]
fn many_threads_append_and_none_is_lost() {
    let (_dir, path) = place();
    let journal = Options::new().segment(4096).open(&path).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let journal = journal.clone();
            scope.spawn(move || {
                for n in 0..50 {
                    let durability = [Durability::Memory, Durability::Written, Durability::Synced];
                    let text = format!("{thread} {n}");
                    journal
                        .append_with(text, durability[(thread + n) % 3])
                        .unwrap();
                }
            });
        }
    });
    let found = texts(&journal);
    assert_eq!(found.len(), 400);
    for thread in 0..8 {
        let own: Vec<_> = found
            .iter()
            .filter(|t| t.starts_with(&format!("{thread} ")))
            .collect();
        let expected: Vec<_> = (0..50).map(|n| format!("{thread} {n}")).collect();
        assert!(own.into_iter().eq(expected.iter()));
    }
}

#[test]
fn a_limit_on_documents_is_none_on_batches() {
    let (_dir, path) = place();
    let options = Options::new().max_document(2);
    let journal = options.open(&path).unwrap();
    journal.append("1").unwrap();
    journal.append_all(["22", "", "3"]).unwrap();
    drop(journal);
    let journal = options.open(&path).unwrap();
    let all: Vec<_> = journal.replay(0).unwrap().map(Result::unwrap).collect();
    let mut newest: Vec<_> = journal.rev().unwrap().map(Result::unwrap).collect();
    newest.reverse();
    assert_eq!((all.len(), &all), (4, &newest));
    assert!(matches!(
        journal.append("333"),
        Err(Error::TooLarge { len: 3, max: 2 })
    ));
}

/// A child process that another thread forks has a copy of every handle until it runs its program, and keeps
/// alive what locks they hold.
#[test]
fn a_segment_needs_no_lock_of_its_own() {
    let (_dir, path) = place();
    drop(Journal::open(&path).unwrap());
    let segments = || std::fs::read_dir(&path).unwrap();
    let segments = segments().map(|file| file.unwrap().path());
    let segment = segments.into_iter().find(|file| file.extension().is_some());
    let childs = std::fs::File::open(segment.unwrap()).unwrap();
    childs.lock().unwrap();
    let journal = Journal::open(&path).unwrap();
    journal.append("one").unwrap();
    journal.rotate().unwrap();
}

//! Many threads at one journal whose store fails or panics: nobody waits for ever, nothing acknowledged is
//! lost or reordered, and nothing that was refused is there.
#![cfg(all(feature = "journal", feature = "testing"))]

mod journal_support;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use documentbuffer::journal::{Durability, Error, Journal, Options};
use documentbuffer::store::fault::{CrashPlan, FaultDirectory, Kind, Rng};
use journal_support::campaign::{Watchdog, quietly};

const THREADS: u64 = 4;
const CALLS: u64 = 25;

/// What a thread was told: its documents by their positions, and how durable they are.
#[derive(Default)]
struct Told {
    acknowledged: Vec<(u64, Vec<u8>, Durability)>,
    /// Documents of calls that failed.
    refused: u64,
    failed: bool,
    panicked: bool,
}

fn options(seed: u64) -> Options {
    // Small, so that some wait for room, and the committer's thread leads too.
    Options::new().queue(1 << 10).segment(700).seed(seed)
}

fn work(journal: &Journal, thread: u64, seed: u64) -> Told {
    let mut rng = Rng::new(seed ^ thread << 32);
    let mut told = Told::default();
    for call in 0..CALLS {
        let all = [Durability::Memory, Durability::Written, Durability::Synced];
        let durability = all[rng.below(3) as usize];
        let documents: Vec<Vec<u8>> = (0..1 + rng.below(3))
            .map(|n| {
                let mut document = format!("{thread} {call} {n} ").into_bytes();
                document.resize(document.len() + rng.below(90) as usize, b'.');
                document
            })
            .collect();
        let append = || match &documents[..] {
            [one] => journal.append_with(one, durability),
            all => journal
                .append_all_with(all, durability)
                .map(|range| range.start),
        };
        match catch_unwind(AssertUnwindSafe(append)) {
            Ok(Ok(position)) => {
                assert!(!told.failed && !told.panicked, "Ok after a final failure");
                let each = (position..).zip(documents);
                let each = each.map(|(position, document)| (position, document, durability));
                told.acknowledged.extend(each);
            }
            Ok(Err(error)) => {
                told.refused += documents.len() as u64;
                told.failed |= matches!(error, Error::Failed { .. });
            }
            Err(_) => told.panicked = true,
        }
        if rng.below(16) == 0 {
            let _ = catch_unwind(AssertUnwindSafe(|| match rng.below(3) {
                0 => journal.rotate(),
                1 => journal.flush(),
                _ => journal.sync(),
            }));
        }
    }
    told
}

fn everything(journal: &Journal) -> BTreeMap<u64, Vec<u8>> {
    let replay = journal.replay(journal.first()).expect("a replay");
    replay.collect::<Result<_, _>>().expect("documents")
}

/// What was acknowledged at `least` or better stands where it was said to.
fn check_acknowledged(told: &[Told], found: &BTreeMap<u64, Vec<u8>>, least: Durability) {
    for told in told {
        let acknowledged = told.acknowledged.iter();
        for (position, document, _) in acknowledged.filter(|told| told.2 >= least) {
            assert_eq!(found.get(position), Some(document), "at {position}");
        }
        let positions = told.acknowledged.iter().map(|told| told.0);
        assert!(positions.is_sorted(), "a thread's documents keep its order");
    }
}

fn check_power_cuts(dir: &FaultDirectory, told: &[Told], seed: u64) {
    let mut rng = Rng::new(seed);
    for _ in 0..3 {
        let plan = CrashPlan::random(&mut rng);
        let image = dir.crash(&mut rng, plan);
        let dir = FaultDirectory::from_image(1, image);
        let journal = options(2).open_in(Arc::new(dir)).expect("opens");
        check_acknowledged(told, &everything(&journal), Durability::Synced);
    }
}

/// One fault in a crowd.
fn crowd(seed: u64, at: u64, kind: Kind, sticky: bool) -> bool {
    let dir = FaultDirectory::new(seed);
    let opened = options(seed).open_in(Arc::new(dir.clone()));
    let journal = opened.expect("a new journal");
    dir.calm();
    dir.fail_at(at, kind, sticky);
    let told: Vec<Told> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let journal = journal.clone();
                scope.spawn(move || work(&journal, thread, seed))
            })
            .collect();
        let told = threads.into_iter().map(|thread| thread.join());
        told.map(|told| told.expect("it catches what panics"))
            .collect()
    });
    let fired = dir.fired() > 0;
    dir.calm();
    if !fired {
        assert!(told.iter().all(|told| told.refused == 0));
    }
    check_power_cuts(&dir, &told, seed);
    match journal.sync() {
        Ok(()) => {
            assert!(told.iter().all(|told| !told.failed && !told.panicked));
            let found = everything(&journal);
            check_acknowledged(&told, &found, Durability::Memory);
            let count: usize = told.iter().map(|told| told.acknowledged.len()).sum();
            assert_eq!((found.len(), journal.end()), (count, count as u64));
            check_power_cuts(&dir, &told, seed);
            journal.close().expect("closed");
        }
        Err(Error::Failed { .. }) => {
            for _ in 0..2 {
                assert!(matches!(journal.append("x"), Err(Error::Failed { .. })));
                assert!(matches!(journal.rotate(), Err(Error::Failed { .. })));
            }
            drop(journal);
        }
        Err(error) => panic!("without a fault: {error}"),
    }
    // The lock is free, and what was written is there for the next.
    let again = options(seed + 1).open_in(Arc::new(dir)).expect("opens");
    check_acknowledged(&told, &everything(&again), Durability::Written);
    fired
}

fn crowds(seeds: std::ops::Range<u64>, stride: u64) {
    let kinds = [
        (Kind::Panic, false),
        (Kind::Panic, true),
        (Kind::Fail(ErrorKind::Other), false),
        (Kind::Fail(ErrorKind::Other), true),
        (Kind::After(ErrorKind::Other), false),
        (Kind::Full, false),
        (Kind::Full, true),
        (Kind::SyncDirty, false),
    ];
    let mut fired = 0;
    quietly(|| {
        Watchdog::over(|watchdog| {
            for seed in seeds {
                for (kind, sticky) in kinds {
                    for at in (0..).map(|n| n * stride + seed % stride) {
                        let case = format!("seed {seed}, {kind:?} at {at}, sticky: {sticky}");
                        watchdog.at(0, case.clone());
                        let run = AssertUnwindSafe(|| crowd(seed, at, kind, sticky));
                        match catch_unwind(run) {
                            Ok(true) => fired += 1,
                            Ok(false) => break,
                            Err(panic) => {
                                eprintln!("{case}");
                                std::panic::resume_unwind(panic)
                            }
                        }
                    }
                }
            }
        });
    });
    println!("{fired} faults");
    assert!(fired > 200);
}

#[test]
fn a_store_that_fails_under_a_crowd_costs_nobody_an_acknowledged_document() {
    crowds(0..4, 17);
}

#[test]
#[ignore = "takes minutes"]
fn a_store_that_fails_anywhere_under_many_crowds_costs_nobody_a_document() {
    crowds(100..130, 3);
}

//! A journal on a full disk, over names that lie, and closed when it is large.
#![cfg(all(feature = "journal", feature = "testing"))]

mod journal_support;

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use documentbuffer::Store;
use documentbuffer::journal::{Durability, Error, Journal, Options};
use documentbuffer::store::fault::{CrashPlan, FaultDirectory, Kind, Rng};
use documentbuffer::store::{Directory, Held, Readable};
use journal_support::model;

fn open(dir: &FaultDirectory, options: &Options) -> Journal {
    let opened = options.open_in(Arc::new(dir.clone()));
    opened.unwrap_or_else(|error| panic!("{error}"))
}

fn all(journal: &Journal) -> Vec<Vec<u8>> {
    let replay = journal.replay(journal.first()).expect("a replay");
    replay.map(|found| found.expect("a document").1).collect()
}

fn used(dir: &FaultDirectory) -> u64 {
    dir.view().values().map(|bytes| bytes.len() as u64).sum()
}

/// What is left after power cuts begins with all of `synced`, and goes on as one of `asked` does.
fn check_power_cuts(dir: &FaultDirectory, synced: &[Vec<u8>], asked: &[Vec<Vec<u8>>]) {
    let mut rng = Rng::new(1);
    for _ in 0..8 {
        let plan = CrashPlan::random(&mut rng);
        let image = dir.crash(&mut rng, plan);
        let left = all(&open(
            &FaultDirectory::from_image(1, image),
            &model::options(),
        ));
        assert!(left.starts_with(synced), "{plan:?} lost a document");
        let was_asked = asked.iter().any(|asked| asked.starts_with(&left));
        assert!(was_asked, "{plan:?} left fiction");
    }
}

/// A journal that gets so many bytes more: it says that it is full, loses nothing, and goes on.
fn fill(segment: u64, room: u64, durability: Durability) {
    let options = model::options().segment(segment).queue(1 << 16).seed(1);
    let dir = FaultDirectory::new(1);
    let journal = open(&dir, &options);
    let mut model = Vec::new();
    for n in 0..5u8 {
        model.push(vec![n; 20]);
        journal
            .append(&model[usize::from(n)])
            .expect("there is room");
    }
    dir.set_cap(Some(used(&dir) + room));
    let synced = model.clone();
    // By calls that failed.
    let mut asked = Vec::new();
    for n in 5..40u8 {
        let document = vec![n; 20 + usize::from(n)];
        let end = journal.end();
        let done = if n % 4 == 0 {
            let batch = [&document, &document];
            let done = journal.append_all_with(batch, durability);
            done.map(|range| (range.start, 2))
        } else {
            journal.append_with(&document, durability).map(|at| (at, 1))
        };
        match done {
            Ok((at, count)) => {
                assert_eq!(at, end);
                model.extend(vec![document; count]);
            }
            Err(Error::Full { .. }) => {
                asked.push([&model[..], &[document.clone(), document]].concat());
                check_power_cuts(&dir, &synced, &asked);
            }
            Err(error) => panic!("{error}"),
        }
        assert_eq!(journal.end(), model.len() as u64);
    }
    if durability == Durability::Memory {
        assert!(matches!(journal.sync(), Err(Error::Full { .. })));
        assert!(matches!(journal.replay(0), Err(Error::Full { .. })));
    } else {
        assert!(!asked.is_empty() && all(&journal) == model);
    }
    assert_eq!(journal.end(), model.len() as u64);
    dir.set_cap(None);
    assert!(all(&journal) == model);
    model.push(b"on".to_vec());
    journal.append(b"on").expect("there is room again");
    check_power_cuts(&dir, &model, std::slice::from_ref(&model));
    journal.close().expect("closed");
    assert!(all(&open(&dir, &options)) == model);
}

#[test]
fn a_full_disk_is_told_and_costs_nothing() {
    for segment in [1, 300, 1 << 20] {
        for room in (0..700).step_by(23) {
            for durability in [Durability::Memory, Durability::Written, Durability::Synced] {
                fill(segment, room, durability);
            }
        }
    }
}

#[test]
fn a_journal_without_room_for_its_first_segment_leaves_nothing() {
    for room in 0..191 {
        let dir = FaultDirectory::new(1);
        dir.set_cap(Some(room));
        let opened = model::options().open_in(Arc::new(dir.clone()));
        assert!(matches!(opened, Err(Error::Full { .. })), "{opened:?}");
        assert!(dir.view().is_empty());
        dir.set_cap(None);
        open(&dir, &model::options());
    }
}

/// A directory in which a file that was created, or renamed, is not there although all was Ok.
struct Liar {
    dir: FaultDirectory,
    creates: AtomicBool,
    renames: AtomicBool,
}

impl Directory for Liar {
    fn list(&self) -> io::Result<Vec<String>> {
        self.dir.list()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Store + Send>> {
        let store = self.dir.create(name)?;
        if self.creates.load(Ordering::Relaxed) {
            self.dir.remove(name)?;
        }
        Ok(store)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Store + Send>> {
        self.dir.open(name)
    }

    fn read(&self, name: &str) -> io::Result<Box<dyn Readable>> {
        self.dir.read(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        if self.renames.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.dir.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.dir.remove(name)
    }

    fn sync(&self) -> io::Result<()> {
        self.dir.sync()
    }

    fn lock(&self) -> io::Result<Box<dyn Held>> {
        self.dir.lock()
    }
}

#[test]
fn a_segment_that_is_not_there_when_it_should_is_an_error_and_costs_nothing() {
    for renames in [false, true] {
        let dir = FaultDirectory::new(1);
        let liar = Arc::new(Liar {
            dir: dir.clone(),
            creates: AtomicBool::new(false),
            renames: AtomicBool::new(false),
        });
        let journal = model::options().segment(1).open_in(liar.clone()).unwrap();
        journal.append("a").unwrap();
        journal.append("b").unwrap();
        let lies = if renames {
            &liar.renames
        } else {
            &liar.creates
        };
        lies.store(true, Ordering::Relaxed);
        for _ in 0..2 {
            let failed = journal.truncate_after(1);
            assert!(matches!(failed, Err(Error::Failed { .. })), "{failed:?}");
            let failed = journal.append("c");
            assert!(matches!(failed, Err(Error::Failed { .. })), "{failed:?}");
        }
        drop(journal);
        lies.store(false, Ordering::Relaxed);
        let again = open(&dir, &model::options());
        assert_eq!(all(&again), [b"a", b"b"]);
    }
}

/// A close seals a live segment that is not small; it may fail anywhere, and may be repeated.
#[test]
fn a_large_journal_is_closed_or_stays_whole() {
    let large: Vec<Vec<u8>> = (0..5).map(|n| vec![n; 64 << 10]).collect();
    let kinds = [
        Kind::Fail(ErrorKind::Other),
        Kind::After(ErrorKind::Other),
        Kind::Full,
    ];
    for kind in kinds {
        for sticky in [false, true] {
            for at in 0.. {
                let dir = FaultDirectory::new(1);
                let journal = open(&dir, &model::options().seed(1));
                journal
                    .append_all_with(&large, Durability::Written)
                    .unwrap();
                dir.calm();
                dir.fail_at(at, kind, sticky);
                let closed = journal.clone().close();
                let fired = dir.fired() > 0;
                dir.calm();
                match closed {
                    Ok(stats) => assert_eq!((stats.end, stats.synced), (5, 5)),
                    Err(Error::Failed { .. }) => drop(journal),
                    Err(_) => {
                        assert!(fired);
                        assert!(all(&journal) == large);
                        let stats = journal.close().expect("nothing fails any more");
                        assert_eq!((stats.end, stats.segments), (5, 2));
                    }
                }
                let again = open(&dir, &model::options().seed(2));
                assert!(all(&again) == large);
                again.append("on").unwrap();
                if !fired {
                    break;
                }
            }
        }
    }
}

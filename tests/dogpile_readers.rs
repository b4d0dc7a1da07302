//! The lock of readers and writers, in a process and between several.
#![cfg(all(feature = "dogpile", feature = "testing"))]

#[allow(dead_code)]
mod kills;
mod lease_support;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;

use documentbuffer::clock::manual::ManualClock;
use documentbuffer::clock::{Bell, Clock};
use documentbuffer::dogpile::readers::{Error, FileReaders, ReadWriteLock, Readers, Result, Side};
use kills::Rng;
use lease_support::{Process, given, wait_for_a_line};

const SECOND: Duration = Duration::from_secs(1);

/// One of the two locks, on a clock moved by hand.
struct Bench {
    lock: Lock,
    clock: ManualClock,
    _dir: Option<tempfile::TempDir>,
}

enum Lock {
    Threads(Readers),
    Files(FileReaders),
}

impl Bench {
    fn lock(&self) -> &dyn ReadWriteLock {
        match &self.lock {
            Lock::Threads(lock) => lock,
            Lock::Files(lock) => lock,
        }
    }

    /// Until so many threads wait.
    fn waits(&self, threads: usize) {
        let waiting = || match &self.lock {
            Lock::Threads(lock) => lock.waiting(),
            Lock::Files(lock) => lock.waiting(),
        };
        until(|| waiting() == threads);
    }
}

fn until(holds: impl Fn() -> bool) {
    while !holds() {
        thread::yield_now();
    }
}

/// The same over both.
fn both(test: impl Fn(&Bench)) {
    let clock = ManualClock::at(0);
    test(&Bench {
        lock: Lock::Threads(Readers::with_clock(Arc::new(clock.clone()))),
        clock,
        _dir: None,
    });
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(0);
    let files = FileReaders::with_clock(dir.path().join("lock"), Arc::new(clock.clone()));
    test(&Bench {
        lock: Lock::Files(files.unwrap()),
        clock,
        _dir: Some(dir),
    });
}

fn is_timed_out<T>(answer: Result<T>, side: Side) -> bool {
    matches!(answer, Err(Error::TimedOut { asked, .. }) if asked == side)
}

/// P13, P15.
#[test]
fn a_writer_waits_for_readers_and_holds_off_new_ones() {
    both(|bench| {
        let (lock, inside) = (bench.lock(), AtomicUsize::new(0));
        let first = lock.read().unwrap();
        thread::scope(|scope| {
            // A reader beside it.
            scope.spawn(|| drop(lock.read().unwrap())).join().unwrap();
            let writer = scope.spawn(|| {
                let _alone = lock.write().unwrap();
                assert_eq!(
                    inside.fetch_add(1, Ordering::SeqCst),
                    0,
                    "a reader passed it"
                );
            });
            bench.waits(1);
            scope
                .spawn(|| assert!(lock.try_read().unwrap().is_none()))
                .join()
                .unwrap();
            let reader = scope.spawn(|| {
                let _beside = lock.read().unwrap();
                assert_eq!(
                    inside.fetch_add(1, Ordering::SeqCst),
                    1,
                    "it passed the writer"
                );
            });
            bench.waits(2);
            drop(first);
            writer.join().unwrap();
            reader.join().unwrap();
        });
        assert!(lock.try_read().unwrap().is_some());
    });
}

#[test]
fn readers_that_wait_enter_together_and_before_the_next_writer() {
    both(|bench| {
        let (lock, clock) = (bench.lock(), AtomicUsize::new(0));
        let (first, together) = (lock.write().unwrap(), Barrier::new(2));
        thread::scope(|scope| {
            let reads = || {
                let _beside = lock.read().unwrap();
                together.wait();
                assert_eq!(clock.load(Ordering::SeqCst), 0, "the writer came first");
            };
            scope.spawn(reads);
            bench.waits(1);
            scope.spawn(reads);
            bench.waits(2);
            scope.spawn(|| {
                let _alone = lock.write().unwrap();
                clock.store(1, Ordering::SeqCst);
            });
            bench.waits(3);
            drop(first);
        });
        assert_eq!(clock.into_inner(), 1);
    });
}

/// A value of two halves that a writer changes one after the other.
#[derive(Default)]
struct Pair([AtomicU64; 2]);

impl Pair {
    fn get(&self) -> [u64; 2] {
        [0, 1].map(|half: usize| self.0[half].load(Ordering::SeqCst))
    }

    fn set(&self, half: usize, value: u64) {
        self.0[half].store(value, Ordering::SeqCst);
    }
}

/// P22. A getter that does not hold the guard sees what is half written.
#[test]
fn who_reads_under_a_guard_sees_nothing_half_written() {
    both(|bench| {
        let (lock, pair) = (bench.lock(), Pair::default());
        let (half, go_on) = (mpsc::channel(), mpsc::channel::<()>());
        thread::scope(|scope| {
            let pair = &pair;
            scope.spawn(move || {
                let _alone = lock.write().unwrap();
                pair.set(0, 1);
                half.0.send(()).unwrap();
                go_on.1.recv().unwrap();
                pair.set(1, 1);
            });
            half.1.recv().unwrap();
            assert_eq!(pair.get(), [1, 0], "without a guard");
            assert!(lock.try_read().unwrap().is_none());
            let reader = scope.spawn(|| {
                let _beside = lock.read().unwrap();
                pair.get()
            });
            bench.waits(1);
            go_on.0.send(()).unwrap();
            assert_eq!(reader.join().unwrap(), [1, 1]);
        });
    });
}

#[test]
fn of_many_threads_none_sees_a_torn_pair() {
    both(|bench| {
        let (lock, pair, torn) = (bench.lock(), Pair::default(), AtomicUsize::new(0));
        let (beside, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..300 {
                        let _alone = lock.write().unwrap();
                        let [one, _] = pair.get();
                        pair.set(0, one + 1);
                        thread::yield_now();
                        pair.set(1, one + 1);
                    }
                    done.fetch_add(1, Ordering::SeqCst);
                });
            }
            for _ in 0..4 {
                scope.spawn(|| {
                    while done.load(Ordering::SeqCst) < 2 {
                        let _guard = lock.read().unwrap();
                        beside.fetch_add(1, Ordering::SeqCst);
                        let [one, other] = pair.get();
                        torn.fetch_add(usize::from(one != other), Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!((pair.get(), torn.into_inner()), ([600, 600], 0));
        assert!(beside.into_inner() > 0);
    });
}

/// Who is inside, as those see it who are.
#[derive(Default)]
struct Inside {
    reads: AtomicUsize,
    writes: AtomicUsize,
}

/// Asks for this and that, with times that run out just when its turn comes.
fn wanders(lock: &dyn ReadWriteLock, rng: &mut Rng, inside: &Inside) -> usize {
    let limit = Some(Duration::from_micros(rng.below(100) as u64)).filter(|_| rng.below(4) > 0);
    let unless_late = |late: Option<Error>| match late {
        None => 1,
        Some(Error::TimedOut { .. }) if limit.is_some() => 0,
        Some(error) => panic!("{error}"),
    };
    if rng.below(3) == 0 {
        let alone = lock.write_by(limit);
        if alone.is_ok() {
            assert_eq!(inside.writes.fetch_add(1, Ordering::SeqCst), 0);
            assert_eq!(inside.reads.load(Ordering::SeqCst), 0);
            thread::yield_now();
            inside.writes.fetch_sub(1, Ordering::SeqCst);
        }
        return unless_late(alone.err());
    }
    let beside = lock.read_by(limit);
    if beside.is_ok() {
        inside.reads.fetch_add(1, Ordering::SeqCst);
        assert_eq!(inside.writes.load(Ordering::SeqCst), 0);
        let nested = lock.read_within(Duration::ZERO).unwrap();
        thread::yield_now();
        drop(nested);
        assert_eq!(inside.writes.load(Ordering::SeqCst), 0);
        inside.reads.fetch_sub(1, Ordering::SeqCst);
    }
    unless_late(beside.err())
}

fn many_wander(locks: &[&(dyn ReadWriteLock + Sync)], rounds: usize) {
    let seed = kills::seed();
    println!("DOCUMENTBUFFER_SEED={seed}");
    let (inside, entered) = (Inside::default(), AtomicUsize::new(0));
    thread::scope(|scope| {
        for thread in 0..6 {
            let (inside, entered, lock) = (&inside, &entered, locks[thread % locks.len()]);
            scope.spawn(move || {
                let mut rng = Rng(seed ^ thread as u64);
                for _ in 0..rounds {
                    entered.fetch_add(wanders(lock, &mut rng, inside), Ordering::SeqCst);
                }
            });
        }
    });
    assert!(entered.into_inner() > rounds / 4);
    for lock in locks {
        drop(lock.write_within(SECOND * 60).unwrap());
    }
}

#[test]
fn times_that_run_out_race_with_turns() {
    many_wander(&[&Readers::new()], 2_000);
    let dir = tempfile::tempdir().unwrap();
    let open = || FileReaders::open(dir.path().join("lock")).unwrap();
    many_wander(&[&open()], 300);
    many_wander(&[&open(), &open(), &open()], 100);
}

/// P21. Whoever gives up is out of the way.
#[test]
fn a_writer_that_gives_up_lets_readers_go_on() {
    both(|bench| {
        let (lock, clock) = (bench.lock(), &bench.clock);
        let first = lock.read().unwrap();
        thread::scope(|scope| {
            let writer = scope.spawn(|| is_timed_out(lock.write_within(SECOND), Side::Write));
            bench.waits(1);
            until(|| clock.waiting() == 1);
            let reader = scope.spawn(|| drop(lock.read().unwrap()));
            bench.waits(2);
            clock.advance(SECOND - Duration::from_nanos(1));
            thread::yield_now();
            assert!(!writer.is_finished() && !reader.is_finished());
            until(|| clock.waiting() == 1);
            clock.advance(Duration::from_nanos(1));
            assert!(writer.join().unwrap());
            reader.join().unwrap();
        });
        drop(first);
        drop(lock.write().unwrap());
    });
}

#[test]
fn a_reader_gives_up_at_its_time() {
    both(|bench| {
        let (lock, clock) = (bench.lock(), &bench.clock);
        clock.advance(Duration::from_nanos(1));
        let alone = lock.write().unwrap();
        thread::scope(|scope| {
            let at_once =
                scope.spawn(|| is_timed_out(lock.read_within(Duration::ZERO), Side::Read));
            assert!(at_once.join().unwrap());
            let at_once =
                scope.spawn(|| is_timed_out(lock.write_within(Duration::ZERO), Side::Write));
            assert!(at_once.join().unwrap());
            let later = scope.spawn(|| is_timed_out(lock.read_within(SECOND), Side::Read));
            // A time beyond all time is none.
            let never = scope.spawn(|| drop(lock.read_within(Duration::MAX).unwrap()));
            bench.waits(2);
            until(|| clock.waiting() == 1);
            clock.advance(SECOND);
            assert!(later.join().unwrap());
            bench.waits(1);
            assert!(!never.is_finished());
            drop(alone);
        });
        // Where nobody is in the way no time is needed.
        drop(lock.read_within(Duration::ZERO).unwrap());
        drop(lock.write_within(Duration::ZERO).unwrap());
    });
}

#[test]
fn a_nested_read_does_not_wait_for_the_writer_that_waits_for_it() {
    both(|bench| {
        let lock = bench.lock();
        let outer = lock.read().unwrap();
        thread::scope(|scope| {
            let writer = scope.spawn(|| drop(lock.write().unwrap()));
            bench.waits(1);
            let inner = lock.read().unwrap();
            let third = lock.try_read().unwrap().expect("it reads already");
            // Not in the order in which they came.
            drop(outer);
            drop(third);
            bench.waits(1);
            scope
                .spawn(|| assert!(lock.try_read().unwrap().is_none()))
                .join()
                .unwrap();
            assert!(!writer.is_finished());
            drop(inner);
        });
    });
}

#[test]
fn who_would_wait_for_itself_is_told() {
    both(|bench| {
        let lock = bench.lock();
        let nested = |error: Error| match error {
            Error::Nested { holds, asked } => (holds, asked),
            other => panic!("{other}"),
        };
        let guard = lock.read().unwrap();
        let error = lock.write().unwrap_err();
        assert!(error.to_string().contains("let go of the guard"), "{error}");
        assert_eq!(nested(error), (Side::Read, Side::Write));
        let error = lock.write_within(SECOND).unwrap_err();
        assert_eq!(nested(error), (Side::Read, Side::Write));
        drop(guard);
        let guard = lock.write().unwrap();
        assert_eq!(
            nested(lock.write().unwrap_err()),
            (Side::Write, Side::Write)
        );
        assert_eq!(nested(lock.read().unwrap_err()), (Side::Write, Side::Read));
        assert_eq!(
            nested(lock.try_read().unwrap_err()),
            (Side::Write, Side::Read)
        );
        drop(guard);
        // What was refused has changed nothing.
        thread::scope(|scope| scope.spawn(|| drop(lock.write().unwrap())).join().unwrap());
    });
}

#[test]
fn a_guard_is_let_go_of_in_a_panic() {
    both(|bench| {
        let lock = bench.lock();
        thread::scope(|scope| {
            for write in [false, true] {
                let thread = scope.spawn(move || {
                    let _read = (!write).then(|| lock.read().unwrap());
                    let _nested = (!write).then(|| lock.read().unwrap());
                    let _write = write.then(|| lock.write().unwrap());
                    panic!("in the middle");
                });
                assert!(thread.join().is_err());
                drop(lock.write().unwrap());
                drop(lock.read().unwrap());
            }
        });
    });
}

/// A clock that panics when somebody waits by it.
#[derive(Debug)]
struct Broken;

impl Clock for Broken {
    fn wall_micros(&self) -> u64 {
        0
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn until(&self, _: Duration, _: &Arc<Bell>) -> Option<Duration> {
        panic!("a broken clock");
    }
}

#[test]
fn a_clock_that_panics_leaves_nobody_in_line() {
    let lock = Readers::with_clock(Arc::new(Broken));
    let alone = lock.write().unwrap();
    thread::scope(|scope| {
        let waits = || catch_unwind(AssertUnwindSafe(|| drop(lock.read_within(SECOND))));
        assert!(scope.spawn(waits).join().unwrap().is_err());
    });
    assert_eq!(lock.waiting(), 0);
    drop(alone);
    drop(lock.write().unwrap());
}

/// Rounds of a relay that nobody interrupts.
const MOST: usize = 1_000_000;

/// One of two threads that read in turns, each entering before the other leaves, until one is held off.
fn reads_in_turns(
    lock: &dyn ReadWriteLock,
    inside: Option<&mpsc::Sender<()>>,
    from: &mpsc::Receiver<bool>,
    to: &mpsc::Sender<bool>,
) -> usize {
    let mut guard = inside.map(|_| lock.read().unwrap());
    if let Some(inside) = inside {
        inside.send(()).unwrap();
    }
    for round in 0..MOST {
        if guard.is_none() {
            if from.recv().is_err() {
                return round;
            }
            guard = lock.try_read().unwrap();
            to.send(guard.is_some()).unwrap();
        }
        if guard.is_none() || to.send(true).is_err() || from.recv() != Ok(true) {
            return round;
        }
        guard = None;
    }
    MOST
}

/// A writer comes to readers that overlap without a gap.
fn comes_among_readers(readers: &dyn ReadWriteLock, writer: &dyn ReadWriteLock) {
    let (to_one, from_other) = mpsc::channel();
    let (to_other, from_one) = mpsc::channel();
    let (inside, is_inside) = mpsc::channel();
    thread::scope(|scope| {
        let one =
            scope.spawn(move || reads_in_turns(readers, Some(&inside), &from_other, &to_other));
        is_inside.recv().unwrap();
        let other = scope.spawn(move || reads_in_turns(readers, None, &from_one, &to_one));
        drop(writer.write().unwrap());
        let rounds = [one, other].map(|reader| reader.join().unwrap());
        println!("the writer came in round {rounds:?}");
        assert!(
            rounds.iter().all(|rounds| *rounds < MOST),
            "it waited for their end"
        );
    });
}

#[test]
fn a_writer_gets_in_among_readers_that_overlap_without_a_gap() {
    both(|bench| comes_among_readers(bench.lock(), bench.lock()));
}

/// Two that are opened exclude each other as two processes do.
fn two(dir: &Path, clock: &ManualClock) -> [FileReaders; 2] {
    [0, 1].map(|_| FileReaders::with_clock(dir.join("lock"), Arc::new(clock.clone())).unwrap())
}

#[test]
fn a_writer_gets_in_among_readers_of_other_handles_that_overlap() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(0);
    let [readers, writer] = two(dir.path(), &clock);
    comes_among_readers(&readers, &writer);
}

#[test]
fn a_writer_of_another_handle_waits_and_holds_off_new_readers() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(0);
    let [one, other] = two(dir.path(), &clock);
    let written = AtomicBool::new(false);
    let first = one.read().unwrap();
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let _alone = other.write().unwrap();
            written.store(true, Ordering::SeqCst);
        });
        // In this thread a further read enters: it is held off in others, of either handle.
        let held_off = |lock: &FileReaders| {
            thread::scope(|scope| {
                let reader = scope.spawn(|| lock.try_read().unwrap().is_none());
                reader.join().unwrap()
            })
        };
        until(|| held_off(&one));
        assert!(held_off(&other));
        assert!(!written.load(Ordering::SeqCst));
        drop(one.read().unwrap());
        let late = scope.spawn(|| {
            let _beside = one.read().unwrap();
            assert!(written.load(Ordering::SeqCst), "it passed the writer");
        });
        drop(first);
        writer.join().unwrap();
        late.join().unwrap();
    });
}

#[test]
fn the_last_guard_of_a_thread_frees_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let [one, other] = two(dir.path(), &ManualClock::at(0));
    let writes = || {
        thread::scope(|scope| {
            let writer = scope.spawn(|| other.write_within(Duration::ZERO).is_ok());
            writer.join().unwrap()
        })
    };
    let (outer, inner) = (one.read().unwrap(), one.read().unwrap());
    let beside = thread::scope(|scope| {
        let reader = scope.spawn(|| drop(one.read().unwrap()));
        reader.join().is_ok()
    });
    assert!(beside && !writes());
    drop(outer);
    assert!(!writes());
    drop(inner);
    assert!(writes());
}

/// Lets time pass for those who ask again and again.
fn passes(clock: &ManualClock, step: Duration, done: impl Fn() -> bool) {
    while !done() {
        if clock.waiting() > 0 {
            clock.advance(step);
        }
        thread::yield_now();
    }
}

#[test]
fn times_are_kept_between_handles() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(0);
    let [one, other] = two(dir.path(), &clock);
    let first = one.read().unwrap();
    thread::scope(|scope| {
        let writer = scope.spawn(|| is_timed_out(other.write_within(SECOND), Side::Write));
        passes(&clock, Duration::from_millis(5), || writer.is_finished());
        assert!(writer.join().unwrap());
        assert!((SECOND..SECOND * 2).contains(&clock.monotonic()));
        // It is out of the way.
        scope.spawn(|| drop(other.read().unwrap())).join().unwrap();
        scope.spawn(|| drop(one.read().unwrap())).join().unwrap();
    });
    drop(first);
    let alone = other.write().unwrap();
    thread::scope(|scope| {
        let reader = scope.spawn(|| is_timed_out(one.read_within(SECOND), Side::Read));
        passes(&clock, Duration::from_millis(5), || reader.is_finished());
        assert!(reader.join().unwrap());
        assert!(one.try_read().unwrap().is_none());
        let patient = scope.spawn(|| drop(one.write_within(SECOND * 1000).unwrap()));
        drop(alone);
        passes(&clock, Duration::from_micros(1), || patient.is_finished());
    });
    drop(other.read().unwrap());
}

#[test]
#[ignore = "a process of other tests here"]
fn process_that_reads_and_writes() {
    let Some((root, clock)) = given() else {
        return;
    };
    let lock = FileReaders::with_clock(root.join("lock"), Arc::new(clock)).unwrap();
    let side = fs::read_to_string(root.join("side")).unwrap();
    let read = (side == "read").then(|| lock.read().unwrap());
    let write = (side == "write").then(|| lock.write().unwrap());
    println!("inside {side}");
    wait_for_a_line();
    drop((read, write));
}

fn process(dir: &Path, side: &str) -> Process {
    fs::write(dir.join("side"), side).unwrap();
    Process::start("process_that_reads_and_writes", dir, 0)
}

#[test]
fn the_locks_of_a_process_that_is_killed_go_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let lock = FileReaders::open(dir.path().join("lock")).unwrap();
    let mut reader = process(dir.path(), "read");
    assert_eq!(reader.says("inside"), "read");
    assert!(lock.try_read().unwrap().is_some());
    assert!(is_timed_out(lock.write_within(Duration::ZERO), Side::Write));
    // A writer that waits, and dies in front of the reader.
    let writer = process(dir.path(), "write");
    until(|| lock.try_read().unwrap().is_none());
    writer.kill();
    assert!(lock.try_read().unwrap().is_some());
    reader.kill();
    drop(lock.write_within(Duration::ZERO).unwrap());
    let mut writer = process(dir.path(), "write");
    assert_eq!(writer.says("inside"), "write");
    assert!(lock.try_read().unwrap().is_none());
    writer.kill();
    assert!(lock.try_read().unwrap().is_some());
    let mut last = process(dir.path(), "write");
    assert_eq!(last.says("inside"), "write");
    last.goes_on();
    last.ends();
    drop(lock.write_within(Duration::ZERO).unwrap());
}

/// Each half in a file of its own.
fn halves(root: &Path) -> [u64; 2] {
    ["one", "other"].map(|half| {
        let text = fs::read_to_string(root.join(half)).unwrap();
        text.parse().unwrap_or(u64::MAX)
    })
}

const WRITES: u64 = 50;

#[test]
#[ignore = "a process of another test here"]
fn process_that_changes_two_files() {
    let Some((root, clock)) = given() else {
        return;
    };
    let lock = FileReaders::with_clock(root.join("lock"), Arc::new(clock)).unwrap();
    for _ in 0..WRITES {
        let _alone = lock.write().unwrap();
        let next = halves(&root)[0] + 1;
        for half in ["one", "other"] {
            fs::write(root.join(half), next.to_string()).unwrap();
        }
    }
    println!("done .");
}

#[test]
fn no_process_sees_two_files_that_differ() {
    let dir = tempfile::tempdir().unwrap();
    for half in ["one", "other"] {
        fs::write(dir.path().join(half), "0").unwrap();
    }
    let lock = FileReaders::open(dir.path().join("lock")).unwrap();
    let start = || Process::start("process_that_changes_two_files", dir.path(), 0);
    let writers = [start(), start()];
    let mut last = 0;
    while last < WRITES * 2 {
        let _beside = lock.read().unwrap();
        let [one, other] = halves(dir.path());
        assert!(
            one == other && one >= last,
            "{one} and {other} after {last}"
        );
        last = one;
    }
    writers.into_iter().for_each(Process::ends);
}

#[test]
fn what_cannot_be_opened_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("no/lock");
    let error = FileReaders::open(&path).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::Io { .. }), "{text}");
    assert!(text.contains(path.to_str().unwrap()), "{text}");
    assert!(text.contains("must be there"), "{text}");
    // A failure in the middle lets go of what was held.
    let lock = FileReaders::open(dir.path().join("lock")).unwrap();
    fs::remove_file(dir.path().join("lock.turnstile")).unwrap();
    fs::create_dir(dir.path().join("lock.turnstile")).unwrap();
    for _ in 0..2 {
        assert!(matches!(lock.read(), Err(Error::Io { .. })));
        assert!(matches!(lock.try_read(), Err(Error::Io { .. })));
        assert!(matches!(lock.write(), Err(Error::Io { .. })));
    }
    fs::remove_dir(dir.path().join("lock.turnstile")).unwrap();
    drop(lock.write().unwrap());
    drop(lock.read().unwrap());
}

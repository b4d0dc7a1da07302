//! A resource that is read while its next version is made: the original's tests of `SyncReaderDogpile`, and what it
//! breaks.

#![cfg(all(feature = "dogpile", feature = "testing"))]

mod dogpile_support;

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use documentbuffer::clock::Clock;
use documentbuffer::clock::manual::ManualClock;
use documentbuffer::dogpile::readers::{FileReaders, ReadWriteLock, Readers};
use documentbuffer::dogpile::{Error, Freshness, Options, Swap};
use dogpile_support::*;

type Test = Result<(), Error>;
type Boxed = Box<dyn std::error::Error + Send + Sync>;

fn of_a_minute() -> (ManualClock, Arc<Swap>) {
    let clock = ManualClock::at(BEGIN);
    let options = Options::new(s(60)).wait(s(30)).backoff(s(1), s(8));
    let swap = Swap::new(options.clock(Arc::new(clock.clone())));
    (clock, Arc::new(swap))
}

fn nothing(_: &Readers) -> Result<(), Infallible> {
    Ok(())
}

/// A file with a version that is emptied and written anew in two steps.
#[derive(Default)]
struct Resource([Mutex<Option<u64>>; 2]);

impl Resource {
    fn read(&self) -> Option<u64> {
        let [one, other] = [0, 1].map(|half| *self.0[half].lock().unwrap());
        assert_eq!(one, other, "half written");
        one
    }

    fn write(&self, value: u64, between: impl FnOnce()) {
        *self.0[0].lock().unwrap() = None;
        *self.0[1].lock().unwrap() = None;
        *self.0[0].lock().unwrap() = Some(value);
        between();
        *self.0[1].lock().unwrap() = Some(value);
    }
}

/// `test_rudimental_slow_write` and `test_get_value_plus_created_slow_write`: two seconds under the write lock, the
/// resource empty meanwhile.
fn slow_write<L: ReadWriteLock + 'static>(stamped: bool, lock: impl FnOnce(Arc<dyn Clock>) -> L) {
    let run = Run {
        expiry: s(5),
        creation: s(1) + s(2),
        uses: 50,
        usage: ms(100),
        delay: ms(100),
    };
    let mut time = Virtual::new();
    let options = Options::new(run.expiry).clock(time.arc());
    let swap = Arc::new(Swap::with_lock(options, lock(time.arc())));
    let (seen, resource) = (Arc::new(Seen::default()), Arc::new(Resource::default()));
    let waited = Arc::new(AtomicUsize::new(0));
    for thread in 0..THREADS as u32 {
        let (swap, sleeper) = (swap.clone(), time.sleeper());
        let (seen, resource, waited) = (seen.clone(), resource.clone(), waited.clone());
        time.spawn(move || {
            sleeper.sleep(run.delay * thread);
            for _ in 0..run.uses {
                let began = sleeper.now();
                let create = |lock: &L| {
                    let _creating = seen.creates();
                    sleeper.sleep(s(1));
                    let _alone = lock.write_within(s(30))?;
                    resource.write(sleeper.wall(), || sleeper.sleep(s(2)));
                    Ok::<_, Boxed>(())
                };
                let made;
                let reading;
                match stamped {
                    true => {
                        let getter = || resource.read().map(|made| (made, made));
                        let stamped = swap.read_stamped(getter, create).unwrap();
                        made = *stamped;
                        reading = Err(stamped);
                    }
                    false => {
                        reading = Ok(swap.read(create).unwrap());
                        made = resource.read().expect("never seen empty");
                    }
                }
                let took = sleeper.now() - began;
                if took > ms(10) {
                    waited.fetch_add(1, Ordering::SeqCst);
                }
                let age = Duration::from_micros(sleeper.wall() - made);
                // Who came while it was written waits for that.
                seen.entered(Duration::ZERO, age, sleeper.now());
                sleeper.sleep(run.usage);
                assert_eq!(resource.read(), Some(made), "changed while it was read");
                drop(reading);
            }
        });
    }
    time.run(ms(5));
    seen.check(run, run.expiry, false);
    let creations = seen.creations.load(Ordering::SeqCst);
    let waited = waited.load(Ordering::SeqCst);
    assert!(
        waited <= THREADS * (creations + 1),
        "{waited} waits, {creations} creations"
    );
}

#[test]
fn nobody_sees_what_is_half_written_in_a_process() {
    slow_write(false, Readers::with_clock);
    slow_write(true, Readers::with_clock);
}

#[test]
fn nobody_sees_what_is_half_written_between_handles() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    slow_write(false, |clock| {
        FileReaders::with_clock(&path, clock).unwrap()
    });
    slow_write(true, |clock| FileReaders::with_clock(&path, clock).unwrap());
}

/// The creator prepares beside the readers, its write waits for them, and holds off those who come.
#[test]
fn the_swap_waits_for_its_readers_and_holds_off_new_ones() -> Test {
    let (clock, swap) = of_a_minute();
    drop(swap.read(nothing)?);
    clock.advance(s(61));
    let version = Arc::new(AtomicU64::new(1));
    let (told, steps) = channel();
    let (go, gate) = channel::<()>();
    let creator = thread::spawn({
        let (swap, version) = (swap.clone(), version.clone());
        move || {
            let create = |lock: &Readers| {
                told.send("prepares").unwrap();
                gate.recv().unwrap();
                let _alone = lock.write()?;
                version.store(2, Ordering::SeqCst);
                Ok::<_, Boxed>(())
            };
            let reading = swap.read(create).map(|reading| reading.freshness().clone());
            assert!(matches!(reading, Ok(Freshness::Fresh)));
        }
    });
    assert_eq!(steps.recv(), Ok("prepares"));
    let reading = swap.read(nothing)?;
    assert!(matches!(reading.freshness(), Freshness::Stale));
    go.send(()).unwrap();
    while swap.lock().waiting() < 1 {
        thread::yield_now();
    }
    let late = thread::spawn({
        let (swap, version) = (swap.clone(), version.clone());
        move || {
            let _reading = swap.read(nothing).unwrap();
            assert_eq!(version.load(Ordering::SeqCst), 2, "it passed the writer");
        }
    });
    while swap.lock().waiting() < 2 {
        thread::yield_now();
    }
    assert_eq!(version.load(Ordering::SeqCst), 1);
    drop(reading);
    creator.join().unwrap();
    late.join().unwrap();
    Ok(())
}

/// A reader that finds a stale version and is elected has no lock of its own while it creates; one that reads already,
/// outside, is told instead of waiting for itself.
#[test]
fn who_creates_does_not_wait_for_itself() -> Test {
    let (clock, swap) = of_a_minute();
    let write = |lock: &Readers| lock.write().map(drop);
    drop(swap.read(write)?);
    clock.advance(s(61));
    let outer = swap.read(write)?;
    clock.advance(s(61));
    let reading = swap.read(write)?;
    let Freshness::StaleOnError(error) = reading.freshness() else {
        panic!("it cannot write");
    };
    assert!(error.to_string().contains("read"), "{error}");
    drop((outer, reading));
    clock.advance(s(2));
    assert!(matches!(swap.read(write)?.freshness(), Freshness::Fresh));
    Ok(())
}

#[test]
fn the_getter_runs_under_the_read_lock() -> Test {
    let (clock, swap) = of_a_minute();
    let made = AtomicU64::new(BEGIN);
    let getter = || {
        // Somebody who would write has to wait.
        thread::scope(|scope| {
            let tries = scope.spawn(|| swap.lock().write_within(Duration::ZERO).map(drop));
            assert!(tries.join().unwrap().is_err(), "no lock is held");
        });
        Some(((), made.load(Ordering::SeqCst)))
    };
    let create = |lock: &Readers| {
        let _alone = lock.write()?;
        made.store(clock.wall_micros(), Ordering::SeqCst);
        Ok::<_, Boxed>(())
    };
    drop(swap.read_stamped(getter, create)?);
    clock.advance(s(61));
    drop(swap.read_stamped(getter, create)?);
    assert_eq!(made.load(Ordering::SeqCst), BEGIN + 61_000_000);
    Ok(())
}

#[test]
fn a_getter_that_finds_nothing_after_a_creation_is_an_error_and_no_loop() {
    let (_, swap) = of_a_minute();
    let none = || None::<((), u64)>;
    let error = swap.read_stamped(none, nothing).unwrap_err();
    assert!(matches!(error, Error::NotMade), "{error}");
    // The stamp of the Python original that means no value.
    let zero = || Some(((), 0));
    assert!(matches!(
        swap.read_stamped(zero, nothing),
        Err(Error::NotMade)
    ));
}

#[test]
fn a_creator_that_fails_leaves_the_version_and_no_lock() -> Test {
    let (clock, swap) = of_a_minute();
    drop(swap.read(nothing)?);
    clock.advance(s(61));
    let fails = |lock: &Readers| {
        let _alone = lock.write()?;
        Err::<(), Boxed>("disk full".into())
    };
    let reading = swap.read(fails)?;
    assert!(matches!(reading.freshness(), Freshness::StaleOnError(_)));
    drop(reading);
    clock.advance(s(2));
    let panics = |lock: &Readers| {
        let _alone = lock.write().unwrap();
        panic!("planned");
        #[allow(unreachable_code)]
        Ok::<_, Boxed>(())
    };
    let reading = swap.read(panics)?;
    assert!(matches!(
        reading.freshness(),
        Freshness::StaleOnError(Error::Panicked { .. })
    ));
    drop(reading);
    clock.advance(s(60));
    assert!(matches!(swap.read(nothing)?.freshness(), Freshness::Fresh));
    drop(swap.lock().write_within(Duration::ZERO).unwrap());
    Ok(())
}

/// A writer that does not let go is waited for no longer than a caller waits.
#[test]
fn a_wait_for_a_writer_has_an_end() -> Test {
    let (clock, swap) = of_a_minute();
    drop(swap.read(nothing)?);
    let (told, began) = channel();
    let (go, gate) = channel::<()>();
    let writer = thread::spawn({
        let swap = swap.clone();
        move || {
            let _alone = swap.lock().write().unwrap();
            told.send(()).unwrap();
            gate.recv().unwrap();
        }
    });
    began.recv().unwrap();
    let reader = thread::spawn({
        let swap = swap.clone();
        move || swap.read(nothing).map(drop)
    });
    while clock.waiting() < 1 {
        thread::yield_now();
    }
    clock.advance(s(30));
    assert!(matches!(reader.join().unwrap(), Err(Error::Lock(_))));
    go.send(()).unwrap();
    writer.join().unwrap();
    Ok(())
}

#[test]
fn who_took_too_long_to_make_the_first_version_reads_it() {
    let clock = ManualClock::at(BEGIN);
    let options = Options::new(s(60)).limit(s(10));
    let swap = Swap::new(options.clock(Arc::new(clock.clone())));
    let reading = swap.read(|_| {
        clock.advance(s(11));
        let other = thread::scope(|scope| {
            let read = || swap.read(|_| Ok::<_, Infallible>(())).map(drop);
            scope.spawn(read).join().expect("no panic")
        });
        assert!(matches!(other, Err(Error::Overdue { .. })), "{other:?}");
        Ok::<_, Infallible>(())
    });
    let reading = reading.expect("it has made one");
    assert!(matches!(reading.freshness(), Freshness::Fresh));
    assert!(!swap.is_creating());
}

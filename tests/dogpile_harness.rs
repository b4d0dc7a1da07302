//! The original's tests, `test_dogpile` and `test_lock`: ten callers, one harness of bounds, the same parameters; on a
//! clock that is moved by hand, as threads and as tasks.

#![cfg(all(feature = "dogpile", feature = "testing"))]

mod dogpile_support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use documentbuffer::clock::Clock;
use documentbuffer::clock::runtime::RuntimeClock;
use documentbuffer::dogpile::{AsyncDogpile, Created, Dogpile, Options, Registry};
use dogpile_support::*;

type Never = std::convert::Infallible;

const RUDIMENTAL: [Run; 3] = [
    run(2_000, 500, 50, 50, 100),
    run(5_000, 2_000, 50, 100, 100),
    run(2_000, 2_500, 50, 50, 100),
];

const fn run(expiry: u64, creation: u64, uses: usize, usage: u64, delay: u64) -> Run {
    Run {
        expiry: Duration::from_millis(expiry),
        creation: Duration::from_millis(creation),
        uses,
        usage: Duration::from_millis(usage),
        delay: Duration::from_millis(delay),
    }
}

/// Where values lie.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    /// In the dogpile.
    Kept,
    /// Elsewhere; the dogpile knows when it was made.
    Getter,
    /// Elsewhere, with its time.
    Stamped,
    /// The same; the dogpile is one of a registry, and gone between two calls.
    Registered,
}

/// Forgets what it has after a time.
struct Backend {
    value: Mutex<Option<(u64, u64)>>,
    forgets: Option<Duration>,
}

impl Backend {
    /// What was put, and when.
    fn get(&self, wall: u64) -> Option<(u64, u64)> {
        let value = *self.value.lock().unwrap();
        let forgets = self
            .forgets
            .map_or(u64::MAX, |after| after.as_micros() as u64);
        value.filter(|(_, at)| wall - at < forgets)
    }

    fn put(&self, value: u64, wall: u64) {
        *self.value.lock().unwrap() = Some((value, wall));
    }
}

/// One call, as a thread; the answer is when the value was made, in microseconds since 1970.
fn call(
    mode: Mode,
    dogpile: &Dogpile<u64>,
    backend: &Backend,
    sleeper: &Sleeper,
    (run, seen): (Run, &Seen),
) -> u64 {
    let create = || {
        let _creating = seen.creates();
        sleeper.sleep(run.creation);
        let now = sleeper.wall();
        backend.put(now, now);
        Ok::<_, Never>(Created::new(now).at(now))
    };
    let answer = match mode {
        Mode::Kept => dogpile.get(create),
        Mode::Getter => {
            let getter = || backend.get(sleeper.wall()).map(|(value, _)| value);
            dogpile.get_with(getter, create)
        }
        Mode::Stamped | Mode::Registered => {
            let getter = || {
                let found = backend.get(sleeper.wall());
                found.map(|(value, at)| Created::new(value).at(at))
            };
            dogpile.get_stamped(getter, create)
        }
    };
    answer.unwrap().into_value().unwrap()
}

fn threads(mode: Mode, run: Run, forgets: Option<Duration>) {
    let mut time = Virtual::new();
    let options = Options::new(run.expiry).clock(time.arc());
    let new = move |_: &u8| options.clone().build();
    let registry: Registry<u8, Dogpile<u64>> = Registry::new();
    let held = (mode != Mode::Registered).then(|| registry.get(1, &new));
    let (seen, backend) = (Arc::new(Seen::default()), backend(forgets));
    for thread in 0..THREADS as u32 {
        let (registry, new) = (registry.clone(), new.clone());
        let (seen, backend, sleeper) = (seen.clone(), backend.clone(), time.sleeper());
        time.spawn(move || {
            sleeper.sleep(run.delay * thread);
            for _ in 0..run.uses {
                let began = sleeper.now();
                let dogpile = registry.get(1, &new);
                let made = call(mode, &dogpile, &backend, &sleeper, (run, &seen));
                drop(dogpile);
                let now = sleeper.now();
                let age = Duration::from_micros(sleeper.wall() - made);
                seen.entered(now - began, age, now);
                sleeper.sleep(run.usage);
            }
        });
    }
    time.run(ms(5));
    let lives = forgets.map_or(run.expiry, |after| after.min(run.expiry));
    seen.check(run, lives, lives < run.expiry);
    drop(held);
    assert!(registry.is_empty());
}

fn backend(forgets: Option<Duration>) -> Arc<Backend> {
    Arc::new(Backend {
        value: Mutex::new(None),
        forgets,
    })
}

/// The same with tasks, on tokio's paused clock.
fn tasks(mode: Mode, run: Run, forgets: Option<Duration>) {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_time().start_paused(true).build();
    runtime.unwrap().block_on(async move {
        let clock = Arc::new(RuntimeClock::new());
        let options = Options::new(run.expiry).clock(clock.clone());
        let new = move |_: &u8| options.clone().build_async();
        let registry: Registry<u8, AsyncDogpile<u64>> = Registry::new();
        let held = (mode != Mode::Registered).then(|| registry.get(1, &new));
        let (seen, backend) = (Arc::new(Seen::default()), backend(forgets));
        let callers = (0..THREADS as u32).map(|task| {
            let (registry, new) = (registry.clone(), new.clone());
            let (seen, backend, clock) = (seen.clone(), backend.clone(), clock.clone());
            tokio::spawn(async move {
                tokio::time::sleep(run.delay * task).await;
                for _ in 0..run.uses {
                    let began = clock.monotonic();
                    let create = {
                        let (seen, backend, clock) = (seen.clone(), backend.clone(), clock.clone());
                        || async move {
                            let _creating = seen.creates();
                            tokio::time::sleep(run.creation).await;
                            let now = clock.wall_micros();
                            backend.put(now, now);
                            Ok::<_, Never>(Created::new(now).at(now))
                        }
                    };
                    let getter = || {
                        let found = backend.get(clock.wall_micros());
                        std::future::ready(found.map(|(value, at)| Created::new(value).at(at)))
                    };
                    let dogpile = registry.get(1, &new);
                    let answer = match mode {
                        Mode::Kept => dogpile.get(create).await,
                        _ => dogpile.get_stamped(getter, create).await,
                    };
                    let made = answer.unwrap().into_value().unwrap();
                    drop(dogpile);
                    let now = clock.monotonic();
                    let age = Duration::from_micros(clock.wall_micros() - made);
                    seen.entered(now - began, age, now);
                    tokio::time::sleep(run.usage).await;
                }
            })
        });
        let callers: Vec<_> = callers.collect();
        for caller in callers {
            caller.await.expect("no task failed");
        }
        let lives = forgets.map_or(run.expiry, |after| after.min(run.expiry));
        seen.check(run, lives, lives < run.expiry);
        drop(held);
        assert!(registry.is_empty());
    });
}

#[test]
fn rudimental() {
    for run in RUDIMENTAL {
        threads(Mode::Kept, run, None);
        tasks(Mode::Kept, run, None);
    }
}

/// Also `test_quick`, `test_slow` and `test_return_while_in_progress` of its later lock.
#[test]
fn getter() {
    threads(Mode::Getter, run(2_000, 500, 50, 50, 100), None);
    threads(Mode::Getter, run(2_000, 2_500, 50, 50, 100), None);
    threads(Mode::Getter, run(5_000, 2_000, 50, 1_000, 100), None);
}

#[test]
fn value_and_created() {
    for run in [
        run(2_000, 500, 50, 50, 100),
        run(2_000, 2_500, 50, 50, 100),
        run(5_000, 2_000, 50, 1_000, 100),
    ] {
        threads(Mode::Stamped, run, None);
        tasks(Mode::Stamped, run, None);
    }
}

#[test]
fn registry_with_a_backend_that_forgets_too_early() {
    let run = run(2_000, 500, 50, 50, 100);
    let forgets = Some(ms(1_600));
    threads(Mode::Registered, run, forgets);
    tasks(Mode::Registered, run, forgets);
}

#[test]
fn registry_with_a_backend_that_does_not() {
    for run in [run(2_000, 500, 50, 50, 100), run(2_000, 2_500, 50, 50, 100)] {
        let forgets = Some((run.expiry + run.creation).mul_f64(1.1));
        threads(Mode::Registered, run, forgets);
        tasks(Mode::Registered, run, forgets);
    }
}

//! The dogpile lock for threads, and the registry, clause by clause. Nobody sleeps: gates, and a clock that is moved by
//! hand.

#![cfg(all(feature = "dogpile", feature = "testing"))]

mod dogpile_support;

use std::collections::HashSet;
use std::convert::Infallible;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use documentbuffer::clock::manual::ManualClock;
use documentbuffer::dogpile::{
    Created, Dogpile, Error, Freshness, Options, Pool, Registered, Registry,
};
use dogpile_support::*;

type Test = Result<(), Error>;

fn of_a_minute() -> (ManualClock, Dogpile<u64>) {
    with(|options| options)
}

fn with(change: impl FnOnce(Options) -> Options) -> (ManualClock, Dogpile<u64>) {
    let clock = ManualClock::at(BEGIN);
    let options = Options::new(s(60))
        .backoff(s(1), s(8))
        .clock(Arc::new(clock.clone()));
    (clock, change(options).build())
}

fn made(value: u64) -> impl FnOnce() -> Result<u64, Infallible> + Send {
    move || Ok(value)
}

fn fails() -> Result<u64, &'static str> {
    Err("no bread")
}

/// A creation on a thread of its own, which has begun, and ends when it is told to.
struct Elected {
    open: Sender<()>,
    thread: thread::JoinHandle<Result<Option<u64>, Error>>,
}

impl Elected {
    fn begins(dogpile: &Dogpile<u64>, value: u64) -> Elected {
        let dogpile = dogpile.clone();
        let (open, gate) = channel();
        let (told, began) = channel();
        let thread = thread::spawn(move || {
            let create = || {
                told.send(()).unwrap();
                gate.recv().unwrap();
                Ok::<_, Infallible>(value)
            };
            dogpile.get(create).map(|answer| answer.into_value())
        });
        began.recv().unwrap();
        Elected { open, thread }
    }

    fn ends(self) -> Option<u64> {
        self.open.send(()).unwrap();
        self.thread.join().unwrap().unwrap()
    }
}

fn waits_for(condition: impl Fn() -> bool) {
    while !condition() {
        thread::yield_now();
    }
}

#[test]
fn one_creates_and_all_wait_the_first_time() -> Test {
    let (_, dogpile) = of_a_minute();
    let elected = Elected::begins(&dogpile, 7);
    let waiters: Vec<_> = (0..50)
        .map(|_| {
            let dogpile = dogpile.clone();
            thread::spawn(move || dogpile.get(made(8)).map(|answer| answer.into_value()))
        })
        .collect();
    waits_for(|| dogpile.stats().waits == 50);
    assert_eq!(elected.ends(), Some(7));
    for waiter in waiters {
        assert_eq!(waiter.join().unwrap()?, Some(7));
    }
    assert_eq!(dogpile.stats().creations, 1);
    Ok(())
}

#[test]
fn who_finds_a_stale_value_passes_while_one_creates_itself() -> Test {
    let (clock, dogpile) = of_a_minute();
    dogpile.get(made(1))?;
    clock.advance(s(61));
    let elected = Elected::begins(&dogpile, 2);
    let answer = dogpile.get(made(3))?;
    assert!(matches!(answer.freshness(), Freshness::Stale));
    assert_eq!((answer.age(), answer.into_value()), (s(61), Some(1)));
    assert_eq!(elected.ends(), Some(2));
    assert_eq!(dogpile.get(made(4))?.into_value(), Some(2));
    Ok(())
}

#[test]
fn made_now_there_is_no_first_creation_but_a_getter_is_needed() -> Test {
    let (clock, dogpile) = with(Options::made_now);
    assert_eq!(dogpile.get_with(|| Some(1), made(2))?.into_value(), Some(1));
    clock.advance(s(61));
    assert_eq!(dogpile.get_with(|| Some(1), made(2))?.into_value(), Some(2));
    // Without it the first creation is forced, whatever the getter finds.
    let (_, dogpile) = of_a_minute();
    assert_eq!(dogpile.get_with(|| Some(1), made(2))?.into_value(), Some(2));
    assert_eq!(dogpile.get_with(|| Some(2), made(3))?.into_value(), Some(2));
    Ok(())
}

#[test]
fn a_value_that_vanished_is_made_anew_before_its_expiry() -> Test {
    let (_, dogpile) = of_a_minute();
    dogpile.get_with(|| None, made(1))?;
    assert_eq!(dogpile.get_with(|| Some(1), made(2))?.into_value(), Some(1));
    assert_eq!(dogpile.get_with(|| None, made(3))?.into_value(), Some(3));
    Ok(())
}

/// `test_no_double_get_on_expired`, and after creating it is not called at all.
#[test]
fn the_getter_is_called_once_for_each_call() -> Test {
    let (clock, dogpile) = of_a_minute();
    let calls = AtomicU64::new(0);
    let at = AtomicU64::new(BEGIN);
    let getter = || {
        calls.fetch_add(1, Ordering::SeqCst);
        Some(Created::new(1).at(at.load(Ordering::SeqCst)))
    };
    dogpile.get_stamped(getter, made(2))?;
    assert_eq!(calls.swap(0, Ordering::SeqCst), 1, "fresh");
    clock.advance(s(61));
    assert_eq!(dogpile.get_stamped(getter, made(2))?.into_value(), Some(2));
    assert_eq!(calls.swap(0, Ordering::SeqCst), 1, "expired");
    let none = || {
        calls.fetch_add(1, Ordering::SeqCst);
        None
    };
    assert_eq!(dogpile.get_stamped(none, made(3))?.into_value(), Some(3));
    assert_eq!(calls.swap(0, Ordering::SeqCst), 1, "none");
    Ok(())
}

/// Whoever looked before a value was made looks again, and if it has vanished by then, makes it: no error, no loop.
#[test]
fn who_finds_nothing_right_after_a_creation_creates() -> Test {
    let (_, dogpile) = of_a_minute();
    let calls = AtomicU64::new(0);
    let getter = || {
        if calls.fetch_add(1, Ordering::SeqCst) == 0 {
            dogpile.get_stamped(|| None, made(1)).unwrap();
        }
        None
    };
    assert_eq!(dogpile.get_stamped(getter, made(2))?.into_value(), Some(2));
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    Ok(())
}

/// What is stored counts, and not when the dogpile, which may be new, last made something.
#[test]
fn the_stored_time_counts() -> Test {
    let (clock, dogpile) = of_a_minute();
    dogpile.get(made(1))?;
    let at = |at: u64| move || Some(Created::new(5).at(at));
    assert_eq!(
        dogpile
            .get_stamped(at(BEGIN - 61_000_000), made(6))?
            .into_value(),
        Some(6)
    );
    clock.advance(s(3600));
    let fresh = dogpile.get_stamped(at(BEGIN + 3_600_000_000), made(7))?;
    assert_eq!(
        (fresh.created(), fresh.into_value()),
        (BEGIN + 3_600_000_000, Some(5))
    );
    // The creator says when, too.
    let create = || Ok::<_, Infallible>(Created::new(8).at(BEGIN));
    let answer = dogpile.get_stamped(|| None, create)?;
    assert_eq!((answer.created(), answer.age()), (BEGIN, s(3600)));
    Ok(())
}

#[test]
fn a_pool_makes_the_new_value_and_nobody_waits() -> Test {
    let (clock, dogpile) = of_a_minute();
    let pool = Pool::new(1, 4).unwrap();
    // With no value it is created by the caller.
    let own = thread::current().id();
    let create = move || {
        assert_eq!(thread::current().id(), own);
        Ok::<_, Infallible>(1)
    };
    dogpile.get_behind(&pool, create)?;
    clock.advance(s(61));
    let (open, gate) = channel();
    let create = move || {
        gate.recv().unwrap();
        Ok::<_, Infallible>(2)
    };
    assert_eq!(dogpile.get_behind(&pool, create)?.into_value(), Some(1));
    assert!(dogpile.is_creating());
    assert_eq!(dogpile.get_behind(&pool, made(3))?.into_value(), Some(1));
    open.send(()).unwrap();
    waits_for(|| !dogpile.is_creating());
    assert_eq!(dogpile.get(made(4))?.into_value(), Some(2));
    Ok(())
}

/// A runner that has no room, or ends, releases by that: the next caller is elected.
#[test]
fn a_pool_that_is_full_or_ends_holds_nobody_up() -> Test {
    let clock = ManualClock::at(BEGIN);
    let options = Options::new(s(60)).clock(Arc::new(clock.clone()));
    let dogpiles: Vec<Dogpile<u64>> = (0..5).map(|_| options.clone().build()).collect();
    for dogpile in &dogpiles {
        dogpile.get(made(1))?;
    }
    clock.advance(s(61));
    let pool = Pool::new(1, 1).unwrap();
    let gates: Vec<Sender<()>> = dogpiles
        .iter()
        .map(|dogpile| {
            let (open, gate): (Sender<()>, Receiver<()>) = channel();
            let create = move || {
                let _ = gate.recv();
                Ok::<_, Infallible>(2)
            };
            let answer = dogpile.get_behind(&pool, create).unwrap();
            assert_eq!(answer.into_value(), Some(1));
            open
        })
        .collect();
    let creating = dogpiles
        .iter()
        .filter(|dogpile| dogpile.is_creating())
        .count();
    assert!((1..=3).contains(&creating), "{creating}");
    drop(gates);
    drop(pool);
    for dogpile in &dogpiles {
        assert!(!dogpile.is_creating());
        assert_eq!(dogpile.get(made(2))?.into_value(), Some(2));
    }
    Ok(())
}

/// `test_exploding_value_fn`, and otherwise than there: the next caller does not try at once.
#[test]
fn a_failure_goes_to_all_and_is_not_tried_again_before_its_time() -> Test {
    let (clock, dogpile) = of_a_minute();
    let (told, began) = channel();
    let (open, gate) = channel::<()>();
    let elected = thread::spawn({
        let dogpile = dogpile.clone();
        move || {
            let create = || {
                told.send(()).unwrap();
                gate.recv().unwrap();
                fails()
            };
            dogpile.get(create).map(drop)
        }
    });
    began.recv().unwrap();
    let waiters: Vec<_> = (0..10)
        .map(|_| {
            let dogpile = dogpile.clone();
            thread::spawn(move || dogpile.get(made(1)).map(drop))
        })
        .collect();
    waits_for(|| dogpile.stats().waits == 10);
    open.send(()).unwrap();
    for thread in waiters.into_iter().chain([elected]) {
        let error = thread.join().unwrap().unwrap_err();
        assert!(error.to_string().contains("no bread"), "{error}");
        assert!(error.retry_after() >= Some(ms(750)), "{error}");
    }
    assert_eq!(dogpile.stats().creations, 1);
    let error = dogpile.get(made(1)).unwrap_err();
    assert!(
        error
            .retry_after()
            .is_some_and(|left| left > Duration::ZERO)
    );
    clock.advance(s(1));
    dogpile.get(made(1))?;
    // Who wants to try at once says so.
    let (_, eager) = with(|options| options.backoff(Duration::ZERO, Duration::ZERO));
    assert!(eager.get(fails).is_err());
    eager.get(made(1)).map(drop)
}

#[test]
fn a_panic_is_an_error_and_leaves_nobody_waiting() -> Test {
    let (clock, dogpile) = of_a_minute();
    let create = || -> Result<u64, Infallible> { panic!("planned") };
    assert!(matches!(dogpile.get(create), Err(Error::Panicked { .. })));
    clock.advance(s(2));
    assert_eq!(dogpile.get(made(1))?.into_value(), Some(1));
    Ok(())
}

/// Also a getter that panics while somebody is elected.
#[test]
fn a_getter_that_panics_holds_nobody_up() -> Test {
    let (_, dogpile) = of_a_minute();
    let own = dogpile.clone();
    let getter = || -> Option<Created<u64>> { panic!("planned") };
    let panicked = thread::spawn(move || own.get_stamped(getter, made(1)).map(drop));
    assert!(panicked.join().is_err());
    assert_eq!(dogpile.get(made(1))?.into_value(), Some(1));
    Ok(())
}

/// `test_reentrant_dogpile`; the same key is an error and no hang.
#[test]
fn a_creator_may_ask_for_another_value_and_not_for_its_own() -> Test {
    let ((_, a), (_, b)) = (of_a_minute(), of_a_minute());
    let across = a.get(|| {
        b.get(made(3))
            .map(|answer| answer.into_value().unwrap() + 1)
    })?;
    assert_eq!(across.into_value(), Some(4));
    let (_, own) = of_a_minute();
    let error = own.get(|| own.get(made(1)).map(|answer| answer.into_value().unwrap()));
    let error = error.unwrap_err().to_string();
    assert!(error.contains("wait for itself"), "{error}");
    let ((_, a), (_, b)) = (of_a_minute(), of_a_minute());
    let around = a.get(|| {
        let inner = b.get(|| a.get(made(1)).map(|answer| answer.into_value().unwrap()));
        inner.map(|answer| answer.into_value().unwrap())
    });
    assert!(around.unwrap_err().to_string().contains("wait for itself"));
    Ok(())
}

#[test]
fn a_wait_has_an_end() -> Test {
    let (clock, dogpile) = with(|options| options.wait(s(2)));
    let elected = Elected::begins(&dogpile, 1);
    let waiter = thread::spawn({
        let dogpile = dogpile.clone();
        move || dogpile.get(made(2)).map(drop)
    });
    waits_for(|| clock.waiting() == 1);
    clock.advance(s(2));
    let Err(Error::TimedOut { waited }) = waiter.join().unwrap() else {
        panic!("it is not ready");
    };
    assert_eq!(waited, s(2));
    assert_eq!(elected.ends(), Some(1));
    Ok(())
}

/// A thread cannot be ended; what it makes when its time is over is for its own caller only.
#[test]
fn a_creator_that_takes_too_long_is_given_up_and_what_it_makes_is_not_kept() -> Test {
    let (clock, dogpile) = with(|options| options.limit(s(5)).wait(s(30)));
    let zombie = Elected::begins(&dogpile, 1);
    let waiter = thread::spawn({
        let dogpile = dogpile.clone();
        move || dogpile.get(made(2)).map(drop)
    });
    waits_for(|| clock.waiting() == 1);
    clock.advance(s(5));
    assert!(matches!(waiter.join().unwrap(), Err(Error::Overdue { limit }) if limit == s(5)));
    clock.advance(s(1));
    assert_eq!(dogpile.get(made(3))?.into_value(), Some(3));
    assert_eq!(zombie.ends(), Some(1));
    assert_eq!(dogpile.get(made(4))?.into_value(), Some(3));
    assert_eq!(dogpile.stats().late, 1);
    Ok(())
}

/// `test_threaded_dogpile`: never two creators, for real threads on a clock that runs through expiries.
#[test]
fn never_two_create() -> Test {
    let (clock, dogpile) = of_a_minute();
    let (creating, calls) = (AtomicUsize::new(0), AtomicU64::new(0));
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let create = || {
                        assert_eq!(creating.fetch_add(1, Ordering::SeqCst), 0, "two create");
                        let number = calls.fetch_add(1, Ordering::SeqCst);
                        thread::yield_now();
                        assert_eq!(creating.fetch_sub(1, Ordering::SeqCst), 1);
                        Ok::<_, Infallible>(number)
                    };
                    dogpile.get(create).unwrap();
                }
            });
        }
        for round in 1..=100 {
            waits_for(|| calls.load(Ordering::SeqCst) >= round && !dogpile.is_creating());
            clock.advance(s(61));
        }
        over.store(true, Ordering::Relaxed);
    });
    let calls = calls.load(Ordering::SeqCst);
    assert!(calls <= 101, "{calls} creations in 100 expiries");
    Ok(())
}

#[test]
fn threads_and_tasks_share_a_value() -> Test {
    let (_, dogpile) = of_a_minute();
    let elected = Elected::begins(&dogpile, 9);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let tasks = dogpile.asynchronous();
    let waiter = runtime.spawn(async move {
        let create = || std::future::ready(Ok::<_, Infallible>(1));
        tasks.get(create).await.map(|answer| answer.into_value())
    });
    let answer = thread::spawn(move || runtime.block_on(waiter).unwrap());
    waits_for(|| dogpile.stats().waits == 1);
    assert_eq!(elected.ends(), Some(9));
    assert_eq!(answer.join().unwrap()?, Some(9));
    Ok(())
}

#[test]
fn an_answer_and_an_error_can_be_printed() -> Test {
    let (_, dogpile) = of_a_minute();
    let answer = dogpile.get(made(1))?;
    assert!(format!("{answer:?} {dogpile:?}").contains("Some(1)"));
    assert_eq!(answer.created(), BEGIN);
    for error in [
        Error::Abandoned,
        Error::Reentered,
        Error::NoRuntime,
        Error::TimedOut { waited: s(1) },
        Error::Overdue { limit: s(1) },
        Error::Leased { waited: s(1) },
        Error::Panicked { again: s(1) },
    ] {
        assert!(!error.to_string().is_empty());
    }
    Ok(())
}

/// `test_name_registry`: 19 threads pick one of 3 names 20 times; whoever holds a name's lock is alone.
#[test]
fn whoever_holds_a_name_holds_the_one_object_of_it() {
    let registry: Registry<u8, (Mutex<()>, AtomicUsize)> = Registry::new();
    let made = AtomicUsize::new(0);
    thread::scope(|scope| {
        for thread in 0..19_u8 {
            let (registry, made) = (&registry, &made);
            scope.spawn(move || {
                for pick in 0..20_u8 {
                    let name = thread.wrapping_mul(31).wrapping_add(pick * 7) % 3;
                    let object = registry.get(name, |_| {
                        made.fetch_add(1, Ordering::SeqCst);
                        Default::default()
                    });
                    let _lock = object.0.lock().unwrap();
                    assert_eq!(
                        object.1.fetch_add(1, Ordering::SeqCst),
                        0,
                        "two hold {name}"
                    );
                    thread::yield_now();
                    object.1.fetch_sub(1, Ordering::SeqCst);
                }
            });
        }
    });
    assert!(registry.is_empty());
    assert!(made.load(Ordering::SeqCst) >= 3);
}

#[test]
fn an_object_lives_as_long_as_it_is_held_and_is_made_once_in_its_life() {
    let registry: Registry<String, u64> = Registry::new();
    let first = registry.get("a".to_owned(), |key| key.len() as u64);
    assert_eq!(
        *registry.get("a".to_owned(), |_| unreachable!("it lives")),
        1
    );
    assert_eq!(*registry.get_ref("a", |_| unreachable!("it lives")), 1);
    let second = first.clone();
    drop(first);
    assert_eq!(registry.len(), 1);
    drop(second);
    assert!(registry.is_empty());
    assert_eq!(*registry.get_ref("a", |_| 2), 2);
    assert!(registry.is_empty());
}

/// The original makes objects under one lock for all: another name waits for a slow one.
#[test]
fn a_slow_object_holds_up_its_own_key_only() {
    let registry: Registry<u64, u64> = Registry::new();
    let (open, gate) = channel::<()>();
    let (told, began) = channel();
    let barrier = Barrier::new(2);
    thread::scope(|scope| {
        let barrier = &barrier;
        let registry = &registry;
        let slow = scope.spawn(move || {
            let make = |_: &u64| {
                told.send(()).unwrap();
                gate.recv().unwrap();
                1
            };
            registry.get(0, make)
        });
        began.recv().unwrap();
        for key in 1..1000 {
            assert_eq!(*registry.get(key, |key| *key), key);
        }
        let waits = scope.spawn(move || {
            barrier.wait();
            *registry.get(0, |_| unreachable!("it is being made"))
        });
        barrier.wait();
        open.send(()).unwrap();
        // Held by the first until the second has it.
        let (waits, slow) = (waits.join().unwrap(), slow.join().unwrap());
        assert_eq!((*slow, waits), (1, 1));
    });
}

#[test]
fn a_panic_while_an_object_is_made_leaves_it_to_the_next() {
    let registry: Registry<u8, u8> = Registry::new();
    let own = registry.clone();
    assert!(
        thread::spawn(move || *own.get(1, |_| panic!("planned")))
            .join()
            .is_err()
    );
    assert!(registry.is_empty());
    assert_eq!(*registry.get(1, |_| 7), 7);
}

/// A name that does something when it is compared, which is while the registry looks for it.
#[derive(Clone)]
struct Name(Option<Arc<dyn Fn() + Send + Sync>>);

impl Hash for Name {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl PartialEq for Name {
    fn eq(&self, other: &Name) -> bool {
        if let Some(act) = &other.0 {
            act();
        }
        true
    }
}

impl Eq for Name {}

#[test]
fn a_name_that_is_let_go_while_it_is_asked_for_has_one_object() {
    for _ in 0..50 {
        let registry: Registry<Name, u64> = Registry::new();
        let first = registry.get(Name(None), |_| 1);
        let (go, gone) = channel();
        let last = thread::spawn(move || {
            gone.recv().expect("it is asked for");
            drop(first);
        });
        let act = move || {
            go.send(()).expect("the holder lives");
            // Time to let go, up to where the registry is needed.
            (0..500).for_each(|_| thread::yield_now());
        };
        let second = registry.get(Name(Some(Arc::new(act))), |_| 2);
        last.join().expect("no panic");
        let third = registry.get(Name(None), |_| 3);
        assert!(
            std::ptr::eq(&*second, &*third),
            "{} and {}",
            *second,
            *third
        );
        assert_eq!(registry.len(), 1);
    }
}

#[test]
fn objects_come_and_go_under_many_threads() {
    struct Counted<'a>(&'a AtomicUsize);
    impl Drop for Counted<'_> {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let alive: Vec<AtomicUsize> = (0..3).map(|_| AtomicUsize::new(0)).collect();
    let registry: Registry<usize, Counted<'_>> = Registry::new();
    thread::scope(|scope| {
        for thread in 0..4 {
            let (alive, registry) = (&alive, &registry);
            scope.spawn(move || {
                let mut held = Vec::new();
                let mut number = thread;
                for _ in 0..20_000 {
                    number = (number * 1_103_515_245 + 12_345) % 2_147_483_648_usize;
                    let key = number / 65_536 % 3;
                    let object = registry.get(key, |key| {
                        alive[*key].fetch_add(1, Ordering::SeqCst);
                        Counted(&alive[*key])
                    });
                    let same = |held: &Registered<usize, Counted<'_>>| {
                        !std::ptr::eq(held.0, object.0) || std::ptr::eq(&**held, &*object)
                    };
                    assert!(held.iter().all(same), "two of a name");
                    held.push(object);
                    if held.len() > number / 1024 % 4 {
                        held.clear();
                    }
                }
            });
        }
    });
    let left: HashSet<usize> = alive
        .iter()
        .map(|count| count.load(Ordering::SeqCst))
        .collect();
    assert_eq!(left, HashSet::from([0]));
    assert!(registry.is_empty());
}

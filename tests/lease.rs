//! Leases within a process: one holder, for a while, and a fence that only grows.
#![cfg(all(feature = "lease", feature = "testing"))]

use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use documentbuffer::clock::manual::ManualClock;
use documentbuffer::lease::conformance::run;
use documentbuffer::lease::memory::MemoryLease;
use documentbuffer::lease::{BoxLease, Error, Held, Kind, Lease, Result};

const TIME: Duration = Duration::from_secs(10);

/// Nothing here waits: every future is ready when it is first polled.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("it waits"),
    }
}

fn taken(lease: &impl Lease, key: &str) -> Held {
    now(lease.take(key, TIME))
        .unwrap()
        .expect("nobody holds it")
}

fn is_busy(lease: &impl Lease, key: &str) -> bool {
    now(lease.take(key, TIME)).unwrap().is_none()
}

fn on(clock: &ManualClock) -> MemoryLease {
    MemoryLease::with_clock(Arc::new(clock.clone()))
}

#[test]
fn leases_in_memory_conform() {
    let clock = ManualClock::at(1_700_000_000_000_000);
    let pass = async |time| clock.advance(time);
    now(run(async || on(&clock), pass)).unwrap();
    now(run(async || BoxLease::new(on(&clock)), pass)).unwrap();
    now(run(async || Arc::new(on(&clock)), pass)).unwrap();
}

/// Breaks one promise.
struct Bad {
    inner: MemoryLease,
    breaks: &'static str,
    first: Mutex<Option<u64>>,
}

impl Lease for Bad {
    fn name(&self) -> &str {
        if self.breaks == "name" { "" } else { "bad" }
    }

    async fn take(&self, key: &str, time: Duration) -> Result<Option<Held>> {
        let time = match self.breaks {
            "zero" => time.max(Duration::from_micros(1)),
            "for ever" if time == Duration::from_millis(100) => TIME,
            _ => time,
        };
        let key = match self.breaks {
            "long keys" => key.get(..256).unwrap_or(key),
            "case" => &key.to_lowercase(),
            _ => key,
        };
        let clock = Arc::new(ManualClock::at(0));
        if self.breaks == "everybody" {
            let other = MemoryLease::new();
            return other.take(key, time).await;
        }
        let held = self.inner.take(key, time).await?;
        Ok(held.map(|held| match self.breaks {
            "same fence" => {
                let mut first = self.first.lock().unwrap();
                let fence = *first.get_or_insert(held.fence());
                let (key, until) = (held.key().to_owned(), held.left());
                Held::new(key, fence, until, clock, held)
            }
            _ => held,
        }))
    }

    async fn renew(&self, held: &mut Held, time: Duration) -> Result<bool> {
        match self.breaks {
            "revives" => Ok(self.inner.renew(held, time).await? || time == Duration::from_secs(60)),
            "same fence" if !time.is_zero() => Ok(true),
            "never renews" => self.inner.renew(held, time).await.map(|_| false),
            _ => self.inner.renew(held, time).await,
        }
    }

    async fn release(&self, held: Held) -> Result<()> {
        match self.breaks {
            "keeps" => std::mem::forget(held),
            "same fence" => drop(held),
            _ => self.inner.release(held).await?,
        }
        Ok(())
    }
}

#[test]
fn the_suite_sees_what_a_lease_breaks() {
    for (breaks, rule) in [
        ("name", "a name"),
        ("zero", "a time of 0ns"),
        ("long keys", "too long"),
        ("case", "nobody holds it"),
        ("everybody", "taken by another"),
        ("same fence", "next fence is larger"),
        ("for ever", "over when its time has passed"),
        ("revives", "over is not renewed"),
        ("never renews", "can be renewed"),
        ("keeps", "nobody holds it"),
    ] {
        let clock = ManualClock::at(1_700_000_000_000_000);
        let make = async || Bad {
            inner: on(&clock),
            breaks,
            first: Mutex::default(),
        };
        let failure = now(run(make, async |time| clock.advance(time)));
        let failure = failure.expect_err(breaks).to_string();
        assert!(failure.contains(rule), "{breaks}: {failure}");
    }
}

#[test]
fn one_of_many_threads_holds_it_and_fences_grow() {
    let lease = MemoryLease::new();
    let (inside, last, entered) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut own = 0;
                while own < 200 {
                    let Some(held) = now(lease.take("key", TIME)).unwrap() else {
                        thread::yield_now();
                        continue;
                    };
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two hold it");
                    let before = last.swap(held.fence(), Ordering::SeqCst);
                    assert!(before < held.fence());
                    own += 1;
                    entered.fetch_add(1, Ordering::SeqCst);
                    inside.fetch_sub(1, Ordering::SeqCst);
                    match own % 2 {
                        0 => drop(held),
                        _ => now(lease.release(held)).unwrap(),
                    }
                }
            });
        }
    });
    assert_eq!(entered.into_inner(), 8 * 200);
    assert!(lease.is_empty());
}

#[test]
fn it_is_over_at_its_time_and_not_before() {
    let clock = ManualClock::at(1_000_000);
    let lease = on(&clock);
    let mut first = taken(&lease, "key");
    clock.advance(TIME - Duration::from_nanos(1));
    assert_eq!(first.left(), Duration::from_nanos(1));
    assert!(is_busy(&lease, "key"));
    assert!(now(lease.renew(&mut first, TIME)).unwrap());
    assert_eq!(first.left(), TIME);
    clock.advance(TIME);
    assert!(first.is_over());
    let second = taken(&lease, "key");
    assert!(second.fence() > first.fence());
    assert!(!now(lease.renew(&mut first, TIME)).unwrap());
    assert!(first.is_over() && !second.is_over());
    // What was lost frees nothing.
    drop(first);
    assert!(is_busy(&lease, "key"));
    drop(second);
    assert!(!is_busy(&lease, "key"));
}

#[test]
fn what_is_over_is_not_revived_though_nobody_took_it() {
    let clock = ManualClock::at(1_000_000);
    let lease = on(&clock);
    let mut held = taken(&lease, "key");
    clock.advance(TIME);
    assert!(!now(lease.renew(&mut held, TIME)).unwrap());
    assert!(held.is_over());
    assert!(!is_busy(&lease, "key"));
}

#[test]
fn the_fence_grows_when_the_wall_clock_goes_back_and_follows_it_forward() {
    let clock = ManualClock::at(3_000_000_000_000_000);
    let lease = on(&clock);
    let mut last = taken(&lease, "key").fence();
    assert!(last >= 3_000_000_000_000_000);
    for wall in [2_000_000, 0, 4_000_000_000_000_000, u64::MAX, 5, u64::MAX] {
        clock.set_wall(wall);
        let fence = taken(&lease, "key").fence();
        assert!(fence > last && i64::try_from(fence).is_ok());
        assert!(fence >= wall.min(1 << 62));
        last = fence;
    }
    // Also in one that begins anew in this process.
    clock.set_wall(7);
    assert!(taken(&on(&clock), "key").fence() > last);
}

#[test]
fn a_wall_clock_that_is_set_ends_nothing() {
    let clock = ManualClock::at(1_000_000);
    let lease = on(&clock);
    let held = taken(&lease, "key");
    for wall in [0, u64::MAX] {
        clock.set_wall(wall);
        assert!(is_busy(&lease, "key") && !held.is_over());
    }
}

#[test]
fn nothing_is_kept_of_keys_that_nobody_holds() {
    let clock = ManualClock::at(1_000_000);
    let lease = on(&clock);
    for n in 0..10_000 {
        drop(taken(&lease, &n.to_string()));
    }
    assert_eq!(lease.len(), 0);
    // Holders that never give back take room until their time is over.
    let mut most = 0;
    for n in 0..10_000 {
        std::mem::forget(taken(&lease, &n.to_string()));
        clock.advance(TIME / 10);
        most = most.max(lease.len());
    }
    assert!(most <= 64, "{most}");
}

#[test]
fn it_is_released_by_another_thread() {
    let lease = MemoryLease::new();
    for how in 0..3 {
        let mut held = taken(&lease, "key");
        let theirs = lease.clone();
        let thread = thread::spawn(move || match how {
            0 => drop(held),
            1 => now(theirs.release(held)).unwrap(),
            _ => {
                assert!(now(theirs.renew(&mut held, TIME)).unwrap());
                panic!("the holder is dropped on the way out");
            }
        });
        assert_eq!(thread.join().is_err(), how == 2);
        assert!(lease.is_empty());
    }
}

#[test]
fn what_is_of_another_lease_is_refused_and_freed() {
    let (one, other) = (MemoryLease::new(), MemoryLease::new());
    let error = now(other.release(taken(&one, "key"))).unwrap_err();
    assert_eq!(error.kind(), Kind::Foreign, "{error}");
    assert!(one.is_empty());
    let made = Held::new("key", 1, TIME, Arc::new(ManualClock::at(0)), ());
    let error = now(one.release(made)).unwrap_err();
    assert_eq!((error.kind(), error.lease()), (Kind::Foreign, "memory"));
}

#[test]
fn errors_say_what_is_wrong() {
    let lease = MemoryLease::new();
    let refused = |key: &str, time| now(lease.take(key, time)).unwrap_err();
    for (error, kind, part) in [
        (refused("k", Duration::ZERO), Kind::Time, "over before"),
        (
            refused("k", Duration::from_nanos(999)),
            Kind::Time,
            "over before",
        ),
        (refused("k", Duration::MAX), Kind::Time, "renew it"),
        (refused(&"k".repeat(257), TIME), Kind::Key, "257"),
    ] {
        assert_eq!(error.kind(), kind);
        assert!(error.to_string().contains(part), "{error}");
        assert!(!error.is_transient());
    }
    assert!(lease.is_empty());
    let source = Error::new(Kind::Transient, "mine", "down").source(std::fmt::Error);
    assert!(source.is_transient() && std::error::Error::source(&source).is_some());
}

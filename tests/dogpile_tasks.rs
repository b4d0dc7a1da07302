//! The dogpile lock for tasks, clause by clause, on tokio's paused clock.

#![cfg(all(feature = "dogpile", feature = "testing"))]

mod dogpile_support;

use std::convert::Infallible;
use std::future::{pending, ready};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use documentbuffer::clock::Clock;
use documentbuffer::clock::manual::ManualClock;
use documentbuffer::clock::runtime::RuntimeClock;
use documentbuffer::dogpile::{AsyncDogpile, Created, Error, Freshness, NEVER, Options};
use dogpile_support::*;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep};

type Test = Result<(), Error>;

fn minute() -> Options {
    Options::new(s(60)).backoff(s(1), s(8)).seed(1)
}

fn made(value: u64) -> impl Future<Output = Result<u64, Infallible>> + Send + 'static {
    ready(Ok(value))
}

fn fails(why: &'static str) -> impl Future<Output = Result<u64, &'static str>> + Send + 'static {
    ready(Err(why))
}

/// Makes it as long as somebody else does not say so.
fn gated(
    value: u64,
) -> (
    oneshot::Sender<()>,
    impl Future<Output = Result<u64, Infallible>> + Send,
) {
    let (open, gate) = oneshot::channel();
    let creation = async move {
        let _ = gate.await;
        Ok(value)
    };
    (open, creation)
}

/// Lets all other tasks go as far as they can.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_creates_and_all_wait_the_first_time() -> Test {
    let dogpile: AsyncDogpile<u64> = minute().build_async();
    let calls = Arc::new(AtomicU64::new(0));
    let tasks = (0..1000).map(|_| {
        let (dogpile, calls) = (dogpile.clone(), calls.clone());
        tokio::spawn(async move {
            let create = || async move {
                calls.fetch_add(1, Ordering::SeqCst);
                sleep(ms(200)).await;
                Ok::<_, Infallible>(7)
            };
            dogpile.get(create).await.map(|answer| answer.into_value())
        })
    });
    let tasks: Vec<_> = tasks.collect();
    for task in tasks {
        assert_eq!(task.await.unwrap()?, Some(7));
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    let stats = dogpile.stats();
    assert_eq!((stats.creations, stats.waits), (1, 999));
    Ok(())
}

/// moka and uniflight hang here: the leader's future is alive, and nobody polls it.
#[tokio::test(start_paused = true)]
async fn a_caller_that_is_not_polled_holds_nobody_up() -> Test {
    let dogpile: AsyncDogpile<u64> = minute().build_async();
    let context = &mut Context::from_waker(Waker::noop());
    let create = || async {
        sleep(ms(50)).await;
        Ok::<_, Infallible>(1)
    };
    let mut leader = Box::pin(dogpile.get(create));
    assert!(leader.as_mut().poll(context).is_pending());
    assert_eq!(dogpile.get(|| made(2)).await?.into_value(), Some(1));
    drop(leader);
    assert_eq!(dogpile.stats().creations, 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_is_dropped_ends_no_creation() -> Test {
    let dogpile: AsyncDogpile<u64> = minute().build_async();
    let (open, creation) = gated(1);
    let context = &mut Context::from_waker(Waker::noop());
    {
        let mut leader = pin!(dogpile.get(|| creation));
        assert!(leader.as_mut().poll(context).is_pending());
    }
    assert!(dogpile.is_creating());
    open.send(()).unwrap();
    assert_eq!(dogpile.get(|| made(2)).await?.into_value(), Some(1));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_stale_value_is_taken_at_once_while_one_makes_it_anew() -> Test {
    let dogpile: AsyncDogpile<u64> = minute().build_async();
    dogpile.get(|| made(1)).await?;
    sleep(s(61)).await;
    let (open, creation) = gated(2);
    let elected = tokio::spawn({
        let dogpile = dogpile.clone();
        async move { dogpile.get(|| creation).await }
    });
    settle().await;
    for _ in 0..10 {
        let before = Instant::now();
        let answer = dogpile.get(|| made(3)).await?;
        assert_eq!(answer.value(), Some(&1));
        assert!(matches!(answer.freshness(), Freshness::Stale));
        assert_eq!((answer.age(), before.elapsed()), (s(61), Duration::ZERO));
    }
    open.send(()).unwrap();
    // Who is elected waits for its own creation.
    let answer = elected.await.unwrap()?;
    assert!(answer.is_fresh());
    assert_eq!(answer.into_value(), Some(2));
    assert_eq!(dogpile.get(|| made(4)).await?.into_value(), Some(2));
    assert_eq!(dogpile.stats().creations, 2);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn in_the_background_nobody_waits_for_what_is_there() -> Test {
    let dogpile: AsyncDogpile<u64> = minute().background(true).build_async();
    // With nothing to show there is no background.
    let first = dogpile.get(|| async {
        sleep(s(1)).await;
        Ok::<_, Infallible>(1)
    });
    assert_eq!(first.await?.into_value(), Some(1));
    sleep(s(61)).await;
    let (open, creation) = gated(2);
    let answer = dogpile.get(|| creation).await?;
    assert!(matches!(answer.freshness(), Freshness::Stale));
    assert!(dogpile.is_creating());
    open.send(()).unwrap();
    settle().await;
    assert_eq!(dogpile.get(|| made(3)).await?.into_value(), Some(2));
    Ok(())
}

/// A stale value may be shown up to its hard limit; beyond that all wait.
#[tokio::test(start_paused = true)]
async fn past_the_hard_limit_all_wait() -> Test {
    let dogpile: AsyncDogpile<u64> = minute().hard(s(120)).background(true).build_async();
    dogpile.get(|| made(1)).await?;
    sleep(s(120)).await;
    assert_eq!(
        dogpile
            .get(pending::<Result<u64, Infallible>>)
            .await?
            .into_value(),
        Some(1)
    );
    dogpile.invalidate();
    dogpile.get(|| made(2)).await?;
    sleep(s(120) + ms(1)).await;
    assert_eq!(dogpile.get(|| made(3)).await?.into_value(), Some(3));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn exactly_as_old_as_the_expiry_is_fresh_and_never_is_never() -> Test {
    let dogpile: AsyncDogpile<u64> = minute().build_async();
    dogpile.get(|| made(1)).await?;
    sleep(s(60)).await;
    assert_eq!(dogpile.get(|| made(2)).await?.into_value(), Some(1));
    sleep(Duration::from_micros(1001)).await;
    assert_eq!(dogpile.get(|| made(2)).await?.into_value(), Some(2));

    let dogpile: AsyncDogpile<u64> = Options::new(NEVER).build_async();
    dogpile.get(|| made(1)).await?;
    sleep(s(100 * 365 * 86_400)).await;
    assert!(dogpile.get(|| made(2)).await?.is_fresh());

    let dogpile: AsyncDogpile<u64> = Options::new(Duration::ZERO).build_async();
    for value in 1..5 {
        assert_eq!(
            dogpile.get(move || made(value)).await?.into_value(),
            Some(value)
        );
    }
    Ok(())
}

/// The newest release of the original makes up to 400 here: who looked before the value was made creates once more.
#[tokio::test(start_paused = true)]
async fn one_creation_for_each_expiry_however_long_it_takes_to_look() {
    for (getter, creation) in [(20, 0), (20, 2), (20, 10), (7, 50), (0, 0)] {
        let clock = Arc::new(RuntimeClock::new());
        let dogpile: AsyncDogpile<u64> = Options::new(s(1)).clock(clock.clone()).build_async();
        let store = Arc::new(Mutex::new(None));
        let calls = Arc::new(AtomicU64::new(0));
        for _ in 0..20 {
            let tasks = (0..20_u64).map(|task| {
                let (dogpile, store) = (dogpile.clone(), store.clone());
                let (calls, clock) = (calls.clone(), clock.clone());
                tokio::spawn(async move {
                    // Not all at the same moment.
                    sleep(ms(task % 4)).await;
                    let look = || async {
                        let found = *store.lock().unwrap();
                        sleep(ms(getter)).await;
                        found.map(|at: u64| Created::new(at).at(at))
                    };
                    let create = {
                        let (store, clock) = (store.clone(), clock.clone());
                        || async move {
                            calls.fetch_add(1, Ordering::SeqCst);
                            sleep(ms(creation)).await;
                            let now = clock.wall_micros();
                            *store.lock().unwrap() = Some(now);
                            Ok::<_, Infallible>(Created::new(now).at(now))
                        }
                    };
                    dogpile.get_stamped(look, create).await.unwrap();
                })
            });
            let tasks: Vec<_> = tasks.collect();
            for task in tasks {
                task.await.unwrap();
            }
            sleep(s(2)).await;
        }
        let calls = calls.load(Ordering::SeqCst);
        assert_eq!(calls, 20, "getter {getter} ms, creator {creation} ms");
    }
}

/// Ten who wait for a creator that fails: the original calls it ten times, one after the other.
#[tokio::test(start_paused = true)]
async fn all_who_wait_share_a_failure() {
    let dogpile: AsyncDogpile<u64> = minute().build_async();
    let began = Instant::now();
    let tasks = (0..10).map(|_| {
        let dogpile = dogpile.clone();
        tokio::spawn(async move {
            let create = || async {
                sleep(ms(50)).await;
                Err::<u64, _>("no bread")
            };
            dogpile.get(create).await.map(drop)
        })
    });
    let tasks: Vec<_> = tasks.collect();
    for task in tasks {
        let Err(Error::Failed { source, .. }) = task.await.unwrap() else {
            panic!("no failure");
        };
        assert_eq!(source.to_string(), "no bread");
    }
    assert_eq!(began.elapsed(), ms(50));
    assert_eq!(dogpile.stats().creations, 1);
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_nobody_calls_the_creator_before_its_time() {
    let dogpile: AsyncDogpile<u64> = minute().build_async();
    let mut failures = Vec::new();
    let began = Instant::now();
    while failures.len() < 6 {
        let before = dogpile.stats().creations;
        let error = dogpile.get(|| fails("no")).await.unwrap_err();
        if dogpile.stats().creations > before {
            failures.push(began.elapsed());
        } else {
            assert!(
                error.retry_after().is_some_and(|left| left <= s(8)),
                "{error}"
            );
        }
        sleep(ms(10)).await;
    }
    for (gap, longest) in failures.windows(2).zip([1, 2, 4, 8, 8]) {
        let (gap, longest) = (gap[1] - gap[0], s(longest));
        let most = longest + ms(20);
        assert!(
            gap >= longest.mul_f64(0.75) && gap <= most,
            "{gap:?} of {longest:?}"
        );
    }
    // A value ends it.
    sleep(s(8)).await;
    dogpile.get(|| made(1)).await.unwrap();
    dogpile.invalidate();
    dogpile.get(|| made(2)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_error_replaces_nothing_and_the_stale_value_is_shown_for_a_while() -> Test {
    let options = minute().stale_if_error(s(30)).hard(s(70));
    let dogpile: AsyncDogpile<u64> = options.build_async();
    dogpile.get(|| made(1)).await?;
    sleep(s(65)).await;
    // Who is elected too, and whoever asks while it is not tried again.
    for _ in 0..3 {
        let answer = dogpile.get(|| fails("out of order")).await?;
        assert_eq!(answer.value(), Some(&1));
        let error = answer.error().expect("it is told");
        assert!(error.to_string().contains("out of order"), "{error}");
    }
    assert_eq!(dogpile.stats().creations, 1 + 1);
    // Also beyond the hard limit.
    sleep(s(15)).await;
    assert!(dogpile.get(|| fails("no")).await?.error().is_some());
    // For a bounded time.
    sleep(s(20)).await;
    assert!(dogpile.get(|| fails("no")).await.is_err());
    // Never, if so wished.
    let dogpile: AsyncDogpile<u64> = minute().stale_if_error(Duration::ZERO).build_async();
    dogpile.get(|| made(1)).await?;
    sleep(s(61)).await;
    assert!(dogpile.get(|| fails("no")).await.is_err());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn there_is_none_is_an_answer_with_its_own_expiry() -> Test {
    let dogpile: AsyncDogpile<u64> = minute().gone(s(5)).build_async();
    dogpile.get(|| made(1)).await?;
    sleep(s(61)).await;
    let gone = || ready(Ok::<_, Infallible>(Created::gone()));
    assert_eq!(dogpile.get(gone).await?.into_value(), None);
    sleep(s(5)).await;
    let answer = dogpile.get(|| made(2)).await?;
    assert!(answer.is_fresh() && answer.value().is_none());
    sleep(ms(2)).await;
    assert_eq!(dogpile.get(|| made(2)).await?.into_value(), Some(2));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_value_can_say_how_long_it_is_good_and_that_it_is_not_to_be_kept() -> Test {
    let dogpile: AsyncDogpile<u64> = minute().build_async();
    let short = || ready(Ok::<_, Infallible>(Created::new(1).expires(s(2))));
    dogpile.get(short).await?;
    sleep(s(3)).await;
    let passing = || ready(Ok::<_, Infallible>(Created::new(2).passing()));
    assert_eq!(dogpile.get(passing).await?.into_value(), Some(2));
    assert_eq!(dogpile.get(passing).await?.into_value(), Some(2));
    assert_eq!(dogpile.stats().creations, 3);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_wait_has_an_end() -> Test {
    let dogpile: AsyncDogpile<u64> = minute().wait(s(2)).build_async();
    let (open, creation) = gated(1);
    let began = Instant::now();
    let Err(Error::TimedOut { waited }) = dogpile.get(|| creation).await else {
        panic!("it is not ready");
    };
    assert_eq!((waited, began.elapsed()), (s(2), s(2)));
    let Err(Error::TimedOut { .. }) = dogpile.get(|| made(2)).await else {
        panic!("it is not ready");
    };
    // It goes on, and is not begun again.
    open.send(()).unwrap();
    settle().await;
    assert_eq!(dogpile.get(|| made(3)).await?.into_value(), Some(1));
    assert_eq!(dogpile.stats().creations, 1);
    // With something to show, that is shown.
    sleep(s(61)).await;
    let answer = dogpile.get(pending::<Result<u64, Infallible>>).await?;
    assert!(matches!(answer.error(), Some(Error::TimedOut { .. })));
    assert_eq!(answer.into_value(), Some(1));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_creator_that_never_returns_is_given_up_at_its_limit() -> Test {
    let dogpile: AsyncDogpile<u64> = minute().limit(s(5)).build_async();
    let began = Instant::now();
    let answer = dogpile.get(pending::<Result<u64, Infallible>>).await;
    assert!(matches!(answer, Err(Error::Overdue { limit }) if limit == s(5)));
    assert_eq!(began.elapsed(), s(5));
    sleep(s(2)).await;
    assert_eq!(dogpile.get(|| made(1)).await?.into_value(), Some(1));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_creator_is_an_error_for_all() {
    let dogpile: AsyncDogpile<u64> = minute().build_async();
    let tasks = (0..5).map(|_| {
        let dogpile = dogpile.clone();
        tokio::spawn(async move {
            let create = || async {
                tokio::task::yield_now().await;
                if true {
                    panic!("planned");
                }
                Ok::<u64, Infallible>(1)
            };
            dogpile.get(create).await.map(drop)
        })
    });
    let tasks: Vec<_> = tasks.collect();
    for task in tasks {
        assert!(matches!(task.await.unwrap(), Err(Error::Panicked { .. })));
    }
    sleep(s(2)).await;
    assert_eq!(dogpile.get(|| made(1)).await.unwrap().into_value(), Some(1));
}

/// The original hangs.
#[tokio::test(start_paused = true)]
async fn a_creator_that_asks_for_its_own_value_is_told() {
    let dogpile: AsyncDogpile<u64> = minute().build_async();
    let own = dogpile.clone();
    let create = move || async move { own.get(|| made(1)).await.map(|a| a.into_value().unwrap()) };
    let error = dogpile.get(create).await.unwrap_err();
    assert!(error.to_string().contains("wait for itself"), "{error}");

    // Through another one likewise; and that other one alone is fine.
    let (a, b): (AsyncDogpile<u64>, AsyncDogpile<u64>) =
        (minute().build_async(), minute().build_async());
    let (again, other) = (a.clone(), b.clone());
    let create = move || async move {
        let inner =
            move || async move { again.get(|| made(1)).await.map(|a| a.into_value().unwrap()) };
        other.get(inner).await.map(|a| a.into_value().unwrap())
    };
    let error = a.get(create).await.unwrap_err();
    assert!(error.to_string().contains("wait for itself"), "{error}");
    sleep(s(10)).await;
    let other = b.clone();
    let create =
        move || async move { other.get(|| made(7)).await.map(|a| a.into_value().unwrap()) };
    assert_eq!(a.get(create).await.unwrap().into_value(), Some(7));

    // With a stale one to show it takes that.
    sleep(s(61)).await;
    let again = a.clone();
    let create = move || async move {
        again
            .get(|| made(1))
            .await
            .map(|a| a.into_value().unwrap() + 1)
    };
    assert_eq!(a.get(create).await.unwrap().into_value(), Some(8));
}

/// The original serves the stale value for ever when its runner dies.
#[test]
fn a_runtime_that_ends_leaves_nobody_waiting() {
    let dogpile: AsyncDogpile<u64> = minute().build_async();
    let first = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let started = Arc::new(Notify::new());
    first.block_on(async {
        let (own, told) = (dogpile.clone(), started.clone());
        tokio::spawn(async move {
            let create = move || async move {
                told.notify_one();
                pending::<Result<u64, Infallible>>().await
            };
            own.get(create).await.map(drop)
        });
        started.notified().await;
    });
    assert!(dogpile.is_creating());
    let (told, waits) = std::sync::mpsc::channel();
    let waiter = std::thread::spawn({
        let blocking = dogpile.blocking();
        move || {
            told.send(()).unwrap();
            blocking
                .get(|| Ok::<_, Infallible>(5))
                .map(|answer| answer.into_value())
        }
    });
    waits.recv().unwrap();
    drop(first);
    assert_eq!(waiter.join().unwrap().unwrap(), Some(5));
    assert!(!dogpile.is_creating());
}

#[test]
fn outside_of_a_runtime_it_is_an_error() {
    let dogpile: AsyncDogpile<u64> = minute().build_async();
    let mut call = pin!(dogpile.get(|| made(1)));
    let polled = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(Err(Error::NoRuntime))));
}

#[tokio::test(start_paused = true)]
async fn who_asks_after_an_invalidation_gets_what_was_begun_after_it() -> Test {
    let dogpile: AsyncDogpile<u64> = minute().build_async();
    let (open, creation) = gated(1);
    let before = tokio::spawn({
        let dogpile = dogpile.clone();
        async move { dogpile.get(|| creation).await.map(|a| a.into_value()) }
    });
    settle().await;
    dogpile.invalidate();
    assert_eq!(dogpile.get(|| made(2)).await?.into_value(), Some(2));
    open.send(()).unwrap();
    // Who came before it may get the old one; it is not kept.
    assert_eq!(before.await.unwrap()?, Some(1));
    assert_eq!(dogpile.get(|| made(3)).await?.into_value(), Some(2));
    assert_eq!(dogpile.stats().late, 1);
    // Expired softly, it is shown while it is made anew.
    dogpile.expire();
    let (open, creation) = gated(4);
    let elected = tokio::spawn({
        let dogpile = dogpile.clone();
        async move { dogpile.get(|| creation).await.map(|a| a.into_value()) }
    });
    settle().await;
    assert_eq!(dogpile.get(|| made(5)).await?.into_value(), Some(2));
    open.send(()).unwrap();
    assert_eq!(elected.await.unwrap()?, Some(4));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_stamp_in_the_future_is_not_served_for_ever() -> Test {
    let clock = ManualClock::at(BEGIN);
    let options = Options::new(s(60)).clock(Arc::new(clock.clone()));
    let dogpile: AsyncDogpile<u64> = options.build_async();
    let found = |at: u64| move || ready(Some(Created::new(1).at(at)));
    // Some skew is nothing; much of it is an expired value.
    let ahead = BEGIN + 59_000_000;
    assert_eq!(
        dogpile
            .get_stamped(found(ahead), || made(2))
            .await?
            .into_value(),
        Some(1)
    );
    let ahead = BEGIN + 61_000_000;
    assert_eq!(
        dogpile
            .get_stamped(found(ahead), || made(2))
            .await?
            .into_value(),
        Some(2)
    );
    // A stamp of zero is no value.
    assert_eq!(
        dogpile
            .get_stamped(found(0), || made(3))
            .await?
            .into_value(),
        Some(3)
    );
    // Older than this process.
    let old = BEGIN - 3_600_000_000;
    assert_eq!(
        dogpile
            .get_stamped(found(old), || made(4))
            .await?
            .into_value(),
        Some(4)
    );
    // In the process the wall clock does not count.
    let kept: AsyncDogpile<u64> = Options::new(s(60))
        .clock(Arc::new(clock.clone()))
        .build_async();
    kept.get(|| made(1)).await?;
    clock.set_wall(BEGIN - 10_000_000_000);
    clock.advance(s(61));
    assert_eq!(kept.get(|| made(2)).await?.into_value(), Some(2));
    Ok(())
}

/// One expiry at 1,000 requests a second and 0.2 s to create.
#[tokio::test(start_paused = true)]
async fn at_an_expiry_there_is_one_creation_and_nobody_waits() -> Test {
    let options = Options::new(s(60)).background(true);
    let dogpile: AsyncDogpile<u64> = options.build_async();
    let create = || async {
        sleep(ms(200)).await;
        Ok::<_, Infallible>(1)
    };
    dogpile.get(create).await?;
    let (first, mut waited) = (dogpile.stats().creations, 0);
    for _ in 0..400 {
        sleep(s(60)).await;
        for _ in 0..1000 {
            let before = Instant::now();
            dogpile.get(create).await?;
            waited += u64::from(before.elapsed() > Duration::ZERO);
            sleep(ms(1)).await;
        }
    }
    assert_eq!((dogpile.stats().creations - first, waited), (400, 0));
    Ok(())
}

/// XFetch: some are made before they expire, and still one at a time.
#[tokio::test(start_paused = true)]
async fn early_creations_come_before_the_expiry_and_one_at_a_time() -> Test {
    let options = Options::new(s(60)).background(true).early(1.0).seed(7);
    let dogpile: AsyncDogpile<u64> = options.build_async();
    let create = || async {
        sleep(ms(200)).await;
        Ok::<_, Infallible>(1)
    };
    dogpile.get(create).await?;
    let began = Instant::now();
    let mut stale = 0;
    while began.elapsed() < s(60 * 200) {
        stale += u64::from(!dogpile.get(create).await?.is_fresh());
        sleep(ms(1)).await;
        if dogpile.get(create).await?.age() < s(50) {
            sleep(s(5)).await;
        }
    }
    let creations = dogpile.stats().creations - 1;
    // The expiry is met no more often than by chance, and the values live nearly as long.
    assert!((195..215).contains(&creations), "{creations}");
    assert!(
        stale < 200 * 20,
        "{stale} stale answers, 200 for each expiry without it"
    );
    for none in [f64::NAN, f64::INFINITY, -1.0] {
        let dogpile: AsyncDogpile<u64> = Options::new(s(60)).early(none).build_async();
        dogpile.get(create).await?;
        sleep(s(60)).await;
        dogpile.get(create).await?;
        assert_eq!(dogpile.stats().creations, 1);
    }
    Ok(())
}

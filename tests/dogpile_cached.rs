//! Values by key in a tier, made by one creator at a time: what is stored, what is not, and several processes under a
//! lease.

#![cfg(all(
    feature = "dogpile",
    feature = "chain",
    feature = "memory",
    feature = "testing"
))]

mod dogpile_support;
mod tier_support;

use std::convert::Infallible;
use std::future::ready;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use documentbuffer::chain::Chain;
use documentbuffer::clock::Clock;
use documentbuffer::clock::runtime::RuntimeClock;
use documentbuffer::dogpile::{Cached, Created, Error, Freshness, Options, cached};
use documentbuffer::lease::memory::MemoryLease;
use documentbuffer::lease::{self, Held, Lease};
use documentbuffer::tier::file::{FileOptions, FileTier};
use documentbuffer::tier::guarded::{Guard, Guarded};
use documentbuffer::tier::memory::Memory;
use documentbuffer::tier::{Entry, Op, Tier, TierExt, When};
use dogpile_support::*;
use tier_support::{Act, Fake, key, open, poll, put, shut, transient};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

type Test = Result<(), Box<dyn std::error::Error>>;

fn minute() -> Options {
    Options::new(s(60)).backoff(s(1), s(8)).seed(1)
}

fn fake() -> (Fake, Cached<Guard<Fake>>) {
    let tier = Fake::new();
    (tier.clone(), Cached::new(Guard::new(tier), minute()))
}

async fn made<T: Guarded>(
    cached: &Cached<T>,
    key: &str,
    value: &'static str,
) -> Result<Option<String>, Error> {
    let create = move || ready(Ok::<_, Infallible>(value));
    let answer = cached.get(key, create).await?;
    Ok(text(answer.value()))
}

fn text(value: Option<&bytes::Bytes>) -> Option<String> {
    value.map(|value| String::from_utf8(value.to_vec()).unwrap())
}

async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_function_looks_into_the_tier_first() -> Test {
    let calls = Arc::new(AtomicU64::new(0));
    let counted = calls.clone();
    let slow = cached(
        Guard::new(Memory::new(1 << 20)),
        "some key",
        minute(),
        move || {
            let call = counted.fetch_add(1, Ordering::SeqCst);
            ready(Ok::<_, Infallible>(format!("made {call}")))
        },
    );
    for _ in 0..5 {
        assert_eq!(text(slow().await?.value()).as_deref(), Some("made 0"));
    }
    sleep(s(61)).await;
    assert_eq!(text(slow().await?.value()).as_deref(), Some("made 1"));
    // An expiry of zero makes it anew each time.
    let always = Options::new(Duration::ZERO);
    let counted = calls.clone();
    let eager = cached(Guard::new(Memory::new(1 << 20)), "k", always, move || {
        let call = counted.fetch_add(1, Ordering::SeqCst);
        ready(Ok::<_, Infallible>(format!("made {call}")))
    });
    for call in 2..6 {
        assert_eq!(text(eager().await?.value()), Some(format!("made {call}")));
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_cold_stampede_over_a_tier_is_one_creation() -> Test {
    let (tier, cached) = fake();
    let tasks = (0..1000).map(|_| {
        let cached = cached.clone();
        tokio::spawn(async move {
            let create = || async {
                sleep(ms(200)).await;
                Ok::<_, Infallible>("v")
            };
            cached
                .get("k", create)
                .await
                .map(|answer| text(answer.value()))
        })
    });
    let tasks: Vec<_> = tasks.collect();
    for task in tasks {
        assert_eq!(task.await??.as_deref(), Some("v"));
    }
    assert_eq!((cached.stats().creations, tier.count("put k")), (1, 1));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_for_keys_that_nobody_asks_for() -> Test {
    let (_, cached) = fake();
    for number in 0..100 {
        made(&cached, &number.to_string(), "v").await?;
    }
    settle().await;
    assert!(cached.tier().generations().is_empty());
    assert!(format!("{cached:?}").contains("keys: 0"), "{cached:?}");
    Ok(())
}

/// The value of a creation that began before a removal is not stored, and who comes after it does not get it.
#[tokio::test(start_paused = true)]
async fn what_is_removed_while_it_is_made_stays_removed() -> Test {
    let (tier, cached) = fake();
    let (go, gate) = tokio::sync::oneshot::channel::<()>();
    let before = tokio::spawn({
        let cached = cached.clone();
        async move {
            let create = || async {
                let _ = gate.await;
                Ok::<_, Infallible>("old")
            };
            cached
                .get("k", create)
                .await
                .map(|answer| text(answer.value()))
        }
    });
    settle().await;
    cached.remove("k").await?;
    assert_eq!(made(&cached, "k", "new").await?.as_deref(), Some("new"));
    cached.remove("k").await?;
    let _ = go.send(());
    assert_eq!(before.await??.as_deref(), Some("old"), "it came before");
    assert_eq!(tier.value("k"), None);
    assert_eq!(cached.stats().late, 1);
    Ok(())
}

/// So many callers, of whom each would make a value.
fn many(cached: &Cached<Guard<Fake>>, value: &'static str) -> Vec<JoinHandle<Option<String>>> {
    let callers = (0..20).map(|_| {
        let cached = cached.clone();
        tokio::spawn(async move { made(&cached, "k", value).await.expect("a value") })
    });
    callers.collect()
}

#[tokio::test(start_paused = true)]
async fn who_comes_while_it_is_stored_waits_for_that() -> Test {
    let (tier, cached) = fake();
    let gate = shut();
    tier.on("put", Act::Wait(gate.clone(), open()));
    let mut callers = many(&cached, "first");
    tier.until_began("put k", 1).await;
    for _ in 0..3 {
        callers.extend(many(&cached, "another"));
        settle().await;
    }
    gate.add_permits(1);
    for caller in callers {
        assert_eq!(caller.await?.as_deref(), Some("first"));
    }
    assert_eq!(cached.stats().creations, 1);
    assert_eq!(tier.value("k").as_deref(), Some(&b"first"[..]));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_ended_before_the_creator_began_makes_nothing_old() -> Test {
    let (tier, cached) = fake();
    let gate = shut();
    tier.on("remove", Act::Wait(gate.clone(), open()));
    let removal = tokio::spawn({
        let cached = cached.clone();
        async move { cached.remove("k").await }
    });
    tier.until_began("remove k", 1).await;
    // The removal goes on before the creator, whose caller came before its end.
    gate.add_permits(1);
    let (go, slow) = tokio::sync::oneshot::channel::<()>();
    let create = || async {
        let _ = slow.await;
        Ok::<_, Infallible>("first")
    };
    let mut first = Box::pin(cached.get("k", create));
    assert!(poll(&mut first).await.is_none());
    removal.await??;
    settle().await;
    let callers = many(&cached, "another");
    settle().await;
    let _ = go.send(());
    for caller in callers {
        assert_eq!(caller.await?.as_deref(), Some("first"));
    }
    assert_eq!(text(first.await?.value()).as_deref(), Some("first"));
    assert_eq!(cached.stats().creations, 1);
    assert_eq!(tier.value("k").as_deref(), Some(&b"first"[..]));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_slow_removal_is_no_stampede() -> Test {
    let (tier, cached) = fake();
    let gate = shut();
    tier.on("remove", Act::Wait(gate.clone(), open()));
    let removal = tokio::spawn({
        let cached = cached.clone();
        async move { cached.remove("k").await }
    });
    tier.until_began("remove k", 1).await;
    let (go, slow) = tokio::sync::oneshot::channel::<()>();
    let first = tokio::spawn({
        let cached = cached.clone();
        let create = || async {
            let _ = slow.await;
            Ok::<_, Infallible>("during")
        };
        async move { cached.get("k", create).await }
    });
    settle().await;
    let during = many(&cached, "another");
    settle().await;
    assert_eq!(cached.stats().creations, 1);
    gate.add_permits(1);
    removal.await??;
    // Who comes from now on may not have what was begun before.
    for caller in many(&cached, "after") {
        assert_eq!(caller.await?.as_deref(), Some("after"));
    }
    let _ = go.send(());
    for caller in during {
        assert_eq!(caller.await?.as_deref(), Some("during"));
    }
    assert_eq!(text(first.await??.value()).as_deref(), Some("during"));
    assert_eq!(tier.value("k").as_deref(), Some(&b"after"[..]));
    assert_eq!(cached.stats().creations, 2);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_is_put_while_it_is_made_stays() -> Test {
    let (tier, cached) = fake();
    let gate = shut();
    let create = {
        let gate = gate.clone();
        move || async move {
            let _ = gate.acquire().await;
            Ok::<_, Infallible>("old")
        }
    };
    let before = tokio::spawn({
        let cached = cached.clone();
        async move { cached.get("k", create).await.map(drop) }
    });
    settle().await;
    cached.tier().put("k", "put").await?;
    gate.add_permits(1);
    before.await??;
    assert_eq!(tier.value("k").as_deref(), Some(&b"put"[..]));
    Ok(())
}

/// dogpile.cache #189, #235: the cache's own failures are not the caller's.
#[tokio::test(start_paused = true)]
async fn an_error_of_the_tier_fails_no_call() -> Test {
    let (tier, cached) = fake();
    tier.rule(|_| Act::Fail(transient()));
    assert_eq!(made(&cached, "k", "1").await?.as_deref(), Some("1"));
    assert_eq!(cached.stats().tier_errors, 2);
    tier.calm();
    assert_eq!(made(&cached, "k", "2").await?.as_deref(), Some("2"));
    assert_eq!(made(&cached, "k", "3").await?.as_deref(), Some("2"));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn there_is_none_replaces_the_value_and_is_remembered_until_the_next_write() -> Test {
    let tier = Fake::new();
    let options = minute().gone(s(10));
    let cached = Cached::new(Guard::new(tier.clone()), options);
    made(&cached, "k", "1").await?;
    sleep(s(61)).await;
    let gone = |_| ready(Ok::<_, Infallible>(Created::gone()));
    let answer = cached.get_created("k", gone).await?;
    assert!(answer.is_fresh() && answer.value().is_none());
    assert_eq!(tier.value("k"), None);
    sleep(s(9)).await;
    assert_eq!(made(&cached, "k", "2").await?, None);
    // A write ends it, also one that removes.
    cached.remove("k").await?;
    assert_eq!(made(&cached, "k", "3").await?.as_deref(), Some("3"));
    cached.remove("k").await?;
    assert!(cached.get_created("k", gone).await?.value().is_none());
    sleep(s(10) + ms(2)).await;
    assert_eq!(made(&cached, "k", "4").await?.as_deref(), Some("4"));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn failures_are_remembered_though_nobody_holds_the_key() -> Test {
    let (_, cached) = fake();
    let fails = || ready(Err::<&str, _>("no"));
    assert!(cached.get("k", fails).await.is_err());
    for _ in 0..10 {
        assert!(matches!(
            cached.get("k", fails).await,
            Err(Error::Failed { .. })
        ));
    }
    assert_eq!(cached.stats().creations, 1);
    // Another key is not concerned.
    assert_eq!(made(&cached, "other", "v").await?.as_deref(), Some("v"));
    sleep(s(1)).await;
    assert_eq!(made(&cached, "k", "v").await?.as_deref(), Some("v"));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_key_can_be_expired_and_its_value_is_shown_meanwhile() -> Test {
    let (_, cached) = fake();
    made(&cached, "k", "1").await?;
    cached.expire("k");
    let gate = shut();
    let held = gate.clone();
    let elected = tokio::spawn({
        let cached = cached.clone();
        async move {
            let create = || async move {
                let _ = held.acquire().await;
                Ok::<_, Infallible>("2")
            };
            cached.get("k", create).await.map(drop)
        }
    });
    settle().await;
    let stale = cached.get("k", || ready(Ok::<_, Infallible>("3"))).await?;
    assert!(matches!(stale.freshness(), Freshness::Stale));
    assert!(cached.is_creating("k"));
    sleep(ms(1)).await;
    gate.add_permits(1);
    elected.await??;
    assert_eq!(made(&cached, "k", "4").await?.as_deref(), Some("2"));
    Ok(())
}

/// `test_should_cache_fn`.
#[tokio::test(start_paused = true)]
async fn what_is_not_to_be_kept_is_returned_and_not_stored() -> Test {
    let (tier, cached) = fake();
    let passing = |_| ready(Ok::<_, Infallible>(Created::new("1".into()).passing()));
    let answer = cached.get_created("k", passing).await?;
    assert_eq!(text(answer.value()).as_deref(), Some("1"));
    assert_eq!(tier.value("k"), None);
    assert_eq!(made(&cached, "k", "2").await?.as_deref(), Some("2"));
    Ok(())
}

/// dogpile.cache #230: what nobody can be shown any more must not lie in the store for ever.
#[tokio::test(start_paused = true)]
async fn the_tier_is_told_when_it_may_forget() -> Test {
    let clock = Arc::new(RuntimeClock::new());
    let options = minute().clock(clock.clone()).stale_if_error(s(600));
    let bounded = Cached::new(
        Guard::new(Memory::new(1 << 20)),
        options.clone().hard(s(120)),
    );
    made(&bounded, "k", "v").await?;
    let entry = bounded.tier().get(key("k")).await?.expect("it is there");
    assert_eq!(entry.expiry, Some(entry.created + 660_000_000));
    let forever = Cached::new(Guard::new(Memory::new(1 << 20)), options);
    made(&forever, "k", "v").await?;
    let entry = forever.tier().get(key("k")).await?.expect("it is there");
    assert_eq!(entry.expiry, None);
    assert!(entry.created.abs_diff(clock.wall_micros()) < 1_000_000);
    // Its own time, with the value.
    let short = |_| ready(Ok::<_, Infallible>(Created::new("s".into()).expires(s(5))));
    forever.get_created("short", short).await?;
    let entry = forever
        .tier()
        .get(key("short"))
        .await?
        .expect("it is there");
    assert_eq!(entry.expiry, Some(entry.created + 5_000_000));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_entry_without_a_time_is_no_value() -> Test {
    let (tier, cached) = fake();
    tier.insert("k", "somebody's");
    assert_eq!(made(&cached, "k", "1").await?.as_deref(), Some("1"));
    let long = "k".repeat(300);
    let error = made(&cached, &long, "1").await.unwrap_err();
    assert!(matches!(error, Error::Key(_)), "{error}");
    Ok(())
}

/// The stale value lies in memory, the truth in files; a restart finds what was stored.
#[tokio::test(start_paused = true)]
async fn over_a_chain_the_truth_has_it_and_memory_shows_it() -> Test {
    let dir = tempfile::tempdir()?;
    let chain = async || {
        let files = FileOptions::new().open(dir.path()).expect("files");
        let memory = Memory::new(1 << 20);
        Chain::new()
            .tier(memory)
            .tier(files)
            .build()
            .expect("a chain")
    };
    let clock = Arc::new(RuntimeClock::new());
    let options = minute().clock(clock).background(true);
    let first = Cached::new(chain().await, options.clone());
    assert_eq!(made(&first, "k", "1").await?.as_deref(), Some("1"));
    first.tier().close().await?;
    let second = Cached::new(chain().await, options);
    assert_eq!(made(&second, "k", "2").await?.as_deref(), Some("1"));
    // A removal in the chain kills what is being made, also past this handle.
    sleep(s(61)).await;
    let gate = shut();
    let held = gate.clone();
    let create = || async move {
        let _ = held.acquire().await;
        Ok::<_, Infallible>("late")
    };
    let stale = second.get("k", create).await?;
    assert!(matches!(stale.freshness(), Freshness::Stale));
    settle().await;
    second.tier().remove("k").await?;
    gate.add_permits(1);
    while second.is_creating("k") {
        tokio::task::yield_now().await;
    }
    assert_eq!(second.tier().value("k").await?, None);
    assert_eq!(made(&second, "k", "3").await?.as_deref(), Some("3"));
    second.tier().close().await?;
    Ok(())
}

async fn process(
    dir: &Path,
    lease: impl Lease,
    clock: &Arc<RuntimeClock>,
) -> Cached<Guard<FileTier>> {
    let files = FileOptions::new().open(dir).expect("files");
    let options = minute().clock(clock.clone()).wait(s(30));
    Cached::new(Guard::new(files), options).lease(lease, s(10))
}

#[tokio::test(start_paused = true)]
async fn processes_that_share_a_lease_make_it_once() -> Test {
    let dir = tempfile::tempdir()?;
    let clock = Arc::new(RuntimeClock::new());
    let lease = MemoryLease::with_clock(clock.clone());
    let calls = Arc::new(AtomicU64::new(0));
    let mut processes = Vec::new();
    for _ in 0..5 {
        processes.push(process(dir.path(), lease.clone(), &clock).await);
    }
    for expiry in 1..=4 {
        let tasks = (0..100).map(|task| {
            let (process, calls) = (processes[task % 5].clone(), calls.clone());
            tokio::spawn(async move {
                let create = move || async move {
                    let call = calls.fetch_add(1, Ordering::SeqCst);
                    sleep(ms(500)).await;
                    Ok::<_, Infallible>(format!("{call}"))
                };
                let began = Instant::now();
                let answer = process.get("k", create).await?;
                Ok::<_, Error>((answer.is_fresh(), text(answer.value()), began.elapsed()))
            })
        });
        let tasks: Vec<_> = tasks.collect();
        let mut fast = 0;
        for task in tasks {
            let (fresh, value, took) = task.await??;
            let value: u64 = value.expect("a value").parse()?;
            match fresh {
                true => assert_eq!(value, expiry - 1),
                false => assert_eq!((value, expiry > 1), (expiry - 2, true)),
            }
            assert!(took < s(2), "{took:?}");
            fast += u64::from(took < ms(400));
        }
        assert_eq!(calls.load(Ordering::SeqCst), expiry);
        // With a stale value nobody waits but who creates.
        assert!(expiry == 1 || fast == 99, "{fast}");
        sleep(s(62)).await;
    }
    Ok(())
}

/// Its holder does not know that its time is over.
#[derive(Clone)]
struct Stopped(MemoryLease);

impl Lease for Stopped {
    fn name(&self) -> &str {
        "stopped"
    }

    async fn take(&self, key: &str, time: Duration) -> lease::Result<Option<Held>> {
        self.0.take(key, time).await
    }

    async fn renew(&self, _: &mut Held, _: Duration) -> lease::Result<bool> {
        Ok(true)
    }

    async fn release(&self, held: Held) -> lease::Result<()> {
        self.0.release(held).await
    }
}

/// A process is stopped while it creates, its lease is over, another one creates; then it goes on.
#[tokio::test(start_paused = true)]
async fn a_zombie_stores_nothing() -> Test {
    let dir = tempfile::tempdir()?;
    let clock = Arc::new(RuntimeClock::new());
    let lease = MemoryLease::with_clock(clock.clone());
    let zombie = process(dir.path(), Stopped(lease.clone()), &clock).await;
    let other = process(dir.path(), lease.clone(), &clock).await;
    let gate = shut();
    let held = gate.clone();
    let late = tokio::spawn({
        let zombie = zombie.clone();
        async move {
            let create = |fence: Option<u64>| async move {
                assert!(fence.is_some());
                let _ = held.acquire().await;
                Ok::<_, Infallible>(Created::new("late".into()))
            };
            zombie
                .get_created("k", create)
                .await
                .map(|answer| text(answer.value()))
        }
    });
    while !zombie.is_creating("k") {
        tokio::task::yield_now().await;
    }
    sleep(s(1)).await;
    let began = Instant::now();
    assert_eq!(made(&other, "k", "new").await?.as_deref(), Some("new"));
    assert!(began.elapsed() >= s(8), "{:?}", began.elapsed());
    let fence = other
        .tier()
        .get(key("k"))
        .await?
        .expect("it is there")
        .version
        .fence;
    gate.add_permits(1);
    assert_eq!(late.await??.as_deref(), Some("late"), "for its own caller");
    assert_eq!(zombie.stats().late, 1);
    let entry = other.tier().get(key("k")).await?.expect("it is there");
    assert_eq!(
        (&entry.value[..], entry.version.fence),
        (&b"new"[..], fence)
    );
    Ok(())
}

/// A lease that is renewed is not lost, however long it takes to create.
#[tokio::test(start_paused = true)]
async fn a_lease_is_renewed_as_long_as_it_takes() -> Test {
    let dir = tempfile::tempdir()?;
    let clock = Arc::new(RuntimeClock::new());
    let lease = MemoryLease::with_clock(clock.clone());
    let one = process(dir.path(), lease.clone(), &clock).await;
    let other = process(dir.path(), lease.clone(), &clock).await;
    let slow = tokio::spawn({
        let one = one.clone();
        async move {
            let create = || async {
                sleep(s(25)).await;
                Ok::<_, Infallible>("slow")
            };
            one.get("k", create)
                .await
                .map(|answer| text(answer.value()))
        }
    });
    sleep(s(1)).await;
    assert_eq!(made(&other, "k", "other").await?.as_deref(), Some("slow"));
    assert_eq!(slow.await??.as_deref(), Some("slow"));
    assert_eq!(other.stats().creations, 1, "elected, and not called");
    assert!(lease.take("k", s(1)).await?.is_some(), "given back");
    Ok(())
}

/// A lease only saves work.
#[tokio::test(start_paused = true)]
async fn without_an_answer_of_the_lease_it_is_made_all_the_same() -> Test {
    struct Broken;
    impl Lease for Broken {
        fn name(&self) -> &str {
            "broken"
        }
        async fn take(&self, _: &str, _: Duration) -> lease::Result<Option<Held>> {
            Err(lease::Error::new(
                lease::Kind::Transient,
                "broken",
                "it is down",
            ))
        }
        async fn renew(&self, _: &mut Held, _: Duration) -> lease::Result<bool> {
            Ok(false)
        }
        async fn release(&self, _: Held) -> lease::Result<()> {
            Ok(())
        }
    }
    let cached = Cached::new(Guard::new(Memory::new(1 << 20)), minute()).lease(Broken, s(10));
    assert_eq!(made(&cached, "k", "1").await?.as_deref(), Some("1"));
    assert_eq!(made(&cached, "k", "2").await?.as_deref(), Some("1"));
    assert_eq!(cached.stats().lease_errors, 1);
    Ok(())
}

/// Who finds nothing waits for the one that holds the lease, but not for ever.
#[tokio::test(start_paused = true)]
async fn the_wait_for_another_process_has_an_end() -> Test {
    let dir = tempfile::tempdir()?;
    let clock = Arc::new(RuntimeClock::new());
    let lease = MemoryLease::with_clock(clock.clone());
    let process = process(dir.path(), lease.clone(), &clock).await;
    let _held = lease.take("k", s(3600)).await?.expect("free");
    let began = Instant::now();
    let error = made(&process, "k", "1").await.unwrap_err();
    let ended = matches!(error, Error::Leased { .. } | Error::TimedOut { .. });
    assert!(ended, "{error}");
    let took = began.elapsed();
    assert!(took >= s(30) && took < s(31), "{took:?}");
    Ok(())
}

/// What a peer stored just before it gave the lease back is not made again.
#[tokio::test(start_paused = true)]
async fn under_the_lease_it_is_looked_once_more() -> Test {
    let (tier, _) = fake();
    let clock = Arc::new(RuntimeClock::new());
    let options = minute().clock(clock.clone());
    let cached = Cached::new(Guard::new(tier.clone()), options);
    let cached = cached.lease(MemoryLease::with_clock(clock.clone()), s(10));
    // The first look finds nothing; before the second one somebody else puts it, past this process.
    let gate = shut();
    tier.on("get k", Act::Wait(open(), gate.clone()));
    let call = tokio::spawn({
        let cached = cached.clone();
        async move { made(&cached, "k", "own").await }
    });
    tier.until_began("get k", 1).await;
    let entry = Entry::new("peer's").created(clock.wall_micros());
    tier.calm();
    let applied = tier.write(key("k"), Op::Put(entry), When::Always).await?;
    assert_eq!(applied, documentbuffer::tier::Applied::Done);
    gate.add_permits(1);
    assert_eq!(call.await??.as_deref(), Some("peer's"));
    drop(put(""));
    Ok(())
}

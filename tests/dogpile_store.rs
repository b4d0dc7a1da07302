//! While a value is on its way into a slow tier, its creation is not over: nobody else makes it.
#![cfg(all(feature = "dogpile", feature = "chain", feature = "memory"))]

use std::io;
use std::time::Duration;

use documentbuffer::chain::Chain;
use documentbuffer::dogpile::{Cached, Options};
use documentbuffer::tier::guarded::{Guard, Guarded};
use documentbuffer::tier::memory::Memory;
use documentbuffer::tier::{Applied, Capabilities, Entry, Key, Op, Result, Tier, TierExt, When};

const STORE: Duration = Duration::from_millis(300);
const EXPIRY: Duration = Duration::from_secs(10);

/// Reads at once, and writes slowly.
struct Slow(Memory);

impl Tier for Slow {
    fn name(&self) -> &str {
        "slow"
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    async fn get(&self, key: Key<'_>) -> Result<Option<Entry>> {
        self.0.get(key).await
    }

    async fn write(&self, key: Key<'_>, op: Op, when: When) -> Result<Applied> {
        tokio::time::sleep(STORE).await;
        self.0.write(key, op, when).await
    }
}

fn slow() -> Slow {
    Slow(Memory::new(1 << 20))
}

async fn make() -> io::Result<&'static str> {
    Ok("made")
}

/// Callers that come one by one while the value is stored, as many as creations are due.
async fn callers(cached: &Cached<impl Guarded>, creations: u64) {
    let mut callers = Vec::new();
    for _ in 0..100 {
        let cached = cached.clone();
        callers.push(tokio::spawn(async move {
            let answer = cached.get("key", make).await.expect("an answer");
            assert_eq!(answer.value().map(|value| &value[..]), Some(&b"made"[..]));
        }));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for caller in callers {
        caller.await.expect("no panic");
    }
    assert_eq!(cached.stats().creations, creations);
    assert_eq!(cached.stats().late, 0);
}

async fn one_creation_for_each_expiry(tier: impl Guarded) {
    let cached = Cached::new(tier, Options::new(EXPIRY).background(true));
    for round in 1..=3 {
        callers(&cached, round).await;
        tokio::time::sleep(EXPIRY + EXPIRY).await;
    }
    assert_eq!(cached.stats().waits, 99, "for the first value only");
    assert!(cached.stats().stale > 0);
}

#[tokio::test(start_paused = true)]
async fn nobody_creates_while_a_slow_truth_is_written() {
    one_creation_for_each_expiry(Guard::new(slow())).await;
    let chain = Chain::new().tier(Memory::new(1 << 20)).tier(slow()).build();
    one_creation_for_each_expiry(chain.expect("a chain")).await;
}

#[tokio::test(start_paused = true)]
async fn a_removal_meanwhile_counts_all_the_same() {
    let cached = Cached::new(Guard::new(slow()), Options::new(EXPIRY));
    let own = cached.clone();
    let first = tokio::spawn(async move { own.get("key", make).await.map(drop) });
    // It is being stored; the removal comes behind that.
    tokio::time::sleep(STORE / 2).await;
    let own = cached.clone();
    let removal = tokio::spawn(async move { own.remove("key").await });
    tokio::time::sleep(STORE / 4).await;
    let answer = cached.get("key", || async { Ok::<_, io::Error>("anew") });
    let answer = answer.await.expect("an answer");
    assert_eq!(answer.value().map(|value| &value[..]), Some(&b"anew"[..]));
    removal.await.expect("no panic").expect("removed");
    first.await.expect("no panic").expect("an answer");
    assert_eq!(cached.tier().value("key").await.expect("a read"), None);
}

#[tokio::test(start_paused = true)]
async fn while_somebody_elses_write_is_under_way_one_creates() {
    for remove in [false, true] {
        let cached = Cached::new(Guard::new(slow()), Options::new(EXPIRY));
        let writer = cached.clone();
        let write = tokio::spawn(async move {
            match remove {
                true => writer.remove("key").await,
                false => writer.tier().put("key", "put").await,
            }
        });
        tokio::time::sleep(STORE / 3).await;
        for _ in 0..50 {
            let answer = cached.get("key", || async {
                tokio::time::sleep(STORE).await;
                make().await
            });
            let begun = tokio::time::timeout(Duration::from_millis(1), answer).await;
            assert!(begun.is_err(), "it is being made");
        }
        assert_eq!(cached.stats().creations, 1);
        write.await.expect("no panic").expect("written");
        // It began before that write was over: nobody who comes now gets it, and it is not stored.
        let answer = cached.get("key", || async { Ok::<_, io::Error>("anew") });
        let answer = answer.await.expect("an answer");
        assert_eq!(answer.value().map(|value| &value[..]), Some(&b"anew"[..]));
        tokio::time::sleep(EXPIRY / 2).await;
        let kept = cached.tier().value("key").await.expect("a read");
        assert_eq!(kept.as_deref(), Some(&b"anew"[..]));
    }
}

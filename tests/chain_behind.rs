//! A chain whose last edge is behind: memory, and owed to what is slow.
#![cfg(all(feature = "chain", feature = "memory", feature = "testing"))]

mod behind_support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use behind_support::{Mood, Slow, key};
use documentbuffer::chain::Chain;
use documentbuffer::tier::bounded::Bounded;
use documentbuffer::tier::memory::Memory;
use documentbuffer::tier::{
    Applied, BoxTier, Entry, Kind, Op, Tier, TierExt, Version, When, conformance,
};
use documentbuffer::write_behind::behind::{Behind, Options};

const HOUR: Duration = Duration::from_secs(3600);

async fn edge(slow: &Slow) -> Behind<Slow> {
    Options::new()
        .open(slow.clone())
        .await
        .expect("owed writes")
}

async fn text(tier: &impl Tier, name: &str) -> Option<String> {
    let value = tier.value(name).await.expect("a read");
    value.map(|value| String::from_utf8_lossy(&value).into_owned())
}

/// Elsewhere what is evicted and not yet stored is in neither (hazelcast/hazelcast#12455).
#[tokio::test(start_paused = true)]
async fn what_is_evicted_while_it_is_owed_is_still_there() {
    let slow = Slow::default();
    slow.shut();
    let owed = edge(&slow).await;
    let small = Bounded::open(Memory::new(1 << 20), 40)
        .await
        .expect("a layer");
    let chain = Chain::new()
        .tier(small)
        .tier(owed.clone())
        .build()
        .expect("a chain");
    for number in 0..50 {
        chain
            .put(&format!("key {number}"), number.to_string())
            .await
            .expect("a put");
    }
    for number in 0..50 {
        let found = text(&chain, &format!("key {number}")).await;
        assert_eq!(found, Some(number.to_string()));
    }
    chain.remove("key 3").await.expect("a removal");
    assert_eq!(text(&chain, "key 3").await, None);
    slow.open();
    assert!(owed.close(HOUR).await.expect("closed").settled);
    assert_eq!(slow.all().len(), 49);
}

#[tokio::test(start_paused = true)]
async fn conditions_and_sums_see_what_is_owed() {
    let slow = Slow::default();
    slow.shut();
    let owed = edge(&slow).await;
    let chain = Chain::new().tier(Memory::new(1 << 20)).tier(owed.clone());
    let chain = chain.build().expect("a chain");
    let put = |value: &str| Op::Put(Entry::new(value.to_owned()));
    let first = chain.write(key("a"), put("1"), When::Absent).await;
    assert_eq!(first.expect("a write"), Applied::Done);
    let second = chain.write(key("a"), put("2"), When::Absent).await;
    assert!(matches!(second, Ok(Applied::Refused { held: Some(_) })));
    let held = chain
        .get(key("a"))
        .await
        .expect("a read")
        .expect("an entry")
        .version;
    let third = chain.write(key("a"), put("3"), When::Is(held)).await;
    assert_eq!(third.expect("a write"), Applied::Done);
    let stale = chain.write(key("a"), put("4"), When::Is(held)).await;
    assert!(matches!(stale, Ok(Applied::Refused { .. })));
    for _ in 0..3 {
        let merged = chain.write(key("n"), Op::Merge(7), When::Always).await;
        assert_eq!(merged.expect("a merge"), Applied::Done);
    }
    slow.open();
    assert!(owed.close(HOUR).await.expect("closed").settled);
    assert_eq!(slow.held("a").as_deref(), Some("3"));
    let sum = slow.value("n").await.expect("a read").expect("a value");
    assert_eq!(sum.as_ref(), 21_i64.to_le_bytes());
}

async fn life(path: &Path, slow: &Slow) -> (Chain<Memory>, Behind<Slow>) {
    let owed = loop {
        // The lock is free when the journal's task of the life before has ended.
        match Options::new().journal(path).open(slow.clone()).await {
            Ok(owed) => break owed,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let chain = Chain::new().tier(Memory::new(1 << 20)).tier(owed.clone());
    (chain.build().expect("a chain"), owed)
}

#[tokio::test(start_paused = true)]
async fn a_restart_finds_what_is_owed_and_nothing_older() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("owed");
    let slow = Slow::default();
    slow.put("a", "old").await.expect("a write");
    slow.put("b", "old").await.expect("a write");
    slow.shut();
    {
        let (chain, _owed) = life(&path, &slow).await;
        assert_eq!(text(&chain, "a").await.as_deref(), Some("old"));
        chain.put("a", "new").await.expect("a put");
        chain.remove("b").await.expect("a removal");
    }
    let (chain, owed) = life(&path, &slow).await;
    assert_eq!(text(&chain, "a").await.as_deref(), Some("new"));
    assert_eq!(text(&chain, "b").await, None);
    // Versions go on behind those of the life before, whatever the clock says.
    let before = chain
        .get(key("a"))
        .await
        .expect("a read")
        .expect("an entry")
        .version;
    chain.put("a", "newer").await.expect("a put");
    let after = chain
        .get(key("a"))
        .await
        .expect("a read")
        .expect("an entry")
        .version;
    assert!(after > before, "{after:?} behind {before:?}");
    slow.open();
    assert!(owed.close(HOUR).await.expect("closed").settled);
    assert_eq!(
        (slow.held("a").as_deref(), slow.held("b")),
        (Some("newer"), None)
    );
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_parked_is_what_readers_see_until_it_is_given_up() {
    let slow = Slow::default();
    slow.put("a", "old").await.expect("a write");
    slow.moods("a", &[Mood::Fail(Kind::Permanent)]);
    let owed = edge(&slow).await;
    let chain = Chain::new().tier(owed.clone()).build().expect("a chain");
    chain.put("a", "new").await.expect("a put");
    while owed.parked().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(text(&chain, "a").await.as_deref(), Some("new"));
    assert!(owed.discard(key("a")).await.expect("discarded"));
    assert_eq!(text(&chain, "a").await.as_deref(), Some("old"));
}

#[tokio::test(start_paused = true)]
async fn closing_the_chain_delivers_what_is_owed() {
    let slow = Slow::default();
    let chain = Chain::new()
        .tier(Memory::new(1 << 20))
        .tier(edge(&slow).await);
    let chain = chain.build().expect("a chain");
    chain.put("a", "1").await.expect("a put");
    chain.close().await.expect("closed");
    assert_eq!(slow.held("a").as_deref(), Some("1"));
}

#[tokio::test]
async fn it_keeps_every_rule_of_a_tier_boxed_or_not() {
    let behind = async || {
        let below = Arc::new(Memory::new(1 << 28));
        Options::new().open(below).await.expect("owed writes")
    };
    conformance::run(behind).await.expect("a tier");
    conformance::run(async || BoxTier::new(behind().await))
        .await
        .expect("a tier");
    let chained = async || {
        let chain = Chain::new().tier(Memory::new(1 << 28)).tier(behind().await);
        chain.build().expect("a chain")
    };
    conformance::run(chained).await.expect("a chain");
    conformance::run(async || BoxTier::new(chained().await))
        .await
        .expect("a chain");
}

#[tokio::test(start_paused = true)]
async fn a_version_that_a_chain_gave_stays_with_the_write() {
    let slow = Slow::default();
    let owed = edge(&slow).await;
    let chain = Chain::new().tier(owed.clone()).build().expect("a chain");
    chain.put("a", "1").await.expect("a put");
    let given = chain
        .get(key("a"))
        .await
        .expect("a read")
        .expect("an entry")
        .version;
    assert_ne!(given, Version::NONE);
    assert!(owed.close(HOUR).await.expect("closed").settled);
    let kept = slow
        .get(key("a"))
        .await
        .expect("a read")
        .expect("an entry")
        .version;
    assert_eq!(kept, given);
}

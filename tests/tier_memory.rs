//! The tier in memory: what it keeps, what it costs, and whose bytes they are.
#![cfg(feature = "memory")]

mod tier_support;

use std::sync::Arc;
use std::time::Duration;

use allocation_counter::measure;
use bytes::Bytes;
use documentbuffer::tier::memory::Memory;
use documentbuffer::tier::{Applied, Entry, Kind, Op, Tier, TierExt, Version, When};
use tier_support::{NoClock, TestClock, key, poll, put};

/// `pressly/chainstore` `TestMemCacheStore`; the keys count here.
#[tokio::test]
async fn what_does_not_fit_beside_the_new_entry_gives_way() {
    let memory = Memory::new(12);
    memory.put("a", "123").await.unwrap();
    assert_eq!(memory.value("a").await.unwrap().unwrap(), "123");
    memory.put("b", "12345678").await.unwrap();
    assert_eq!(memory.value("b").await.unwrap().unwrap(), "12345678");
    assert_eq!(memory.value("a").await.unwrap(), None);
    memory.put("c", "12345678").await.unwrap();
    assert_eq!(memory.value("c").await.unwrap().unwrap(), "12345678");
    assert_eq!((memory.len(), memory.bytes()), (1, 9));
}

#[tokio::test]
async fn an_entry_beyond_its_share_leaves_the_key_absent() {
    for (capacity, share) in [(1000, 970), (16 << 20, 1 << 20)] {
        let memory = Memory::new(capacity);
        memory.put("key", "old").await.unwrap();
        memory.put("key", vec![0; share]).await.unwrap();
        assert_eq!(
            memory.value("key").await.unwrap(),
            None,
            "never the old one"
        );
        memory.put("key", vec![1; share * 9 / 10]).await.unwrap();
        assert_eq!(
            memory.value("key").await.unwrap().unwrap().len(),
            share * 9 / 10
        );
    }
}

#[tokio::test]
async fn keys_count_and_the_capacity_holds() {
    let memory = Memory::new(10_000);
    for n in 0..10_000 {
        memory.put(&format!("{n:08}"), "").await.unwrap();
        assert!(memory.bytes() <= 10_000);
    }
    assert!((1000..=1250).contains(&memory.len()), "{}", memory.len());
    // Even what has neither key nor value can give way.
    memory.put("", "").await.unwrap();
    memory.remove("").await.unwrap();
    assert!(memory.value("").await.unwrap().is_none());
}

#[tokio::test]
async fn it_keeps_and_gives_the_same_bytes_that_nobody_can_change() {
    let memory = Memory::new(10_000);
    let given = Bytes::from(vec![7; 100]);
    memory.put("key", given.clone()).await.unwrap();
    let got = memory.value("key").await.unwrap().unwrap();
    assert_eq!(got.as_ptr(), given.as_ptr(), "nothing is copied");
    // Whoever wants to write into their share of it gets a copy, as long as it is shared.
    let mut own = bytes::BytesMut::from(got);
    own[0] = 8;
    assert_eq!(memory.value("key").await.unwrap().unwrap(), given);
}

#[tokio::test]
async fn without_an_expiry_no_clock_is_read_and_with_one_it_counts() {
    let memory = Memory::new(10_000)
        .with_clock(Arc::new(NoClock))
        .with_name("l1");
    assert_eq!(memory.name(), "l1");
    memory.put("key", "value").await.unwrap();
    memory.value("key").await.unwrap();
    memory.value("nobody").await.unwrap();
    for when in [When::Absent, When::Newer, When::Is(Version::NONE)] {
        memory
            .write(key("key"), put("v"), when)
            .await
            .map(drop)
            .unwrap();
    }
    let clock = TestClock::at(1000);
    let memory = Memory::new(10_000).with_clock(clock.clone());
    let expiring = Op::Put(Entry::new("value").expires(2000));
    let done = memory
        .write(key("key"), expiring, When::Absent)
        .await
        .unwrap();
    assert_eq!(done, Applied::Done);
    clock.advance(Duration::from_micros(999));
    assert!(memory.value("key").await.unwrap().is_some());
    clock.advance(Duration::from_micros(1));
    assert!(memory.value("key").await.unwrap().is_none());
    assert!(memory.scan(None, 9).await.unwrap().listed.is_empty());
}

#[test]
fn a_hit_allocates_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let memory = Memory::new(10_000);
        memory.put("vector", vec![1; 100]).await.unwrap();
        memory
            .put("static", Bytes::from_static(b"static"))
            .await
            .unwrap();
        let mut filled = Vec::with_capacity(200);
        filled.extend_from_slice(b"with room behind");
        memory.put("room", filled).await.unwrap();
        for name in ["vector", "static", "room", "nobody"] {
            let mut future = std::pin::pin!(memory.get(key(name)));
            let waker = std::task::Waker::noop();
            let mut context = std::task::Context::from_waker(waker);
            let info = measure(|| {
                let got = future.as_mut().poll(&mut context);
                assert!(got.is_ready());
            });
            assert_eq!(info.count_total, 0, "{name}");
        }
    });
}

#[tokio::test]
async fn a_page_says_where_the_next_begins() {
    let memory = Memory::new(10_000);
    for name in ["b", "", "a", "c"] {
        memory.put(name, "v").await.unwrap();
    }
    let first = memory.scan(None, 1).await.unwrap();
    assert_eq!(first.listed[0].key.as_key(), key(""));
    let second = memory.scan(first.next.as_ref(), 2).await.unwrap();
    assert_eq!(second.listed.len(), 2);
    // What is removed meanwhile does not lose the place.
    memory.remove("b").await.unwrap();
    let third = memory.scan(second.next.as_ref(), 2).await.unwrap();
    assert_eq!(third.listed[0].key.as_key(), key("c"));
    assert_eq!(third.next, None);
    let foreign = Bytes::from_static(&[0xff]);
    let error = memory.scan(Some(&foreign), 2).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Permanent);
    // It waits for nothing.
    assert!(poll(&mut Box::pin(memory.close())).await.is_some());
}

#[test]
fn threads_that_compare_the_same_version_lose_no_change() {
    use std::future::Future;

    /// Memory waits for nothing.
    fn now<F: Future>(future: F) -> F::Output {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::pin!(future).poll(&mut context) {
            std::task::Poll::Ready(output) => output,
            std::task::Poll::Pending => panic!("it waits"),
        }
    }

    const EACH: u64 = 20_000;
    let memory = Memory::new(10_000);
    let zero = Op::Put(Entry::new(""));
    now(memory.write(key("count"), zero, When::Absent))
        .map(drop)
        .unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut left = EACH;
                while left > 0 {
                    let held = now(memory.get(key("count"))).unwrap().unwrap().version;
                    let number = held.number + 1;
                    let next = Entry::new("").version(Version { fence: 0, number });
                    let write = memory.write(key("count"), Op::Put(next), When::Is(held));
                    left -= u64::from(now(write).unwrap() == Applied::Done);
                    now(memory.write(key("sum"), Op::Merge(1), When::Always))
                        .map(drop)
                        .unwrap();
                }
            });
        }
    });
    let count = now(memory.get(key("count"))).unwrap().unwrap();
    assert_eq!(count.version.number, 4 * EACH);
}

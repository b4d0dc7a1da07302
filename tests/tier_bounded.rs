//! The limit of a bounded tier: who counts, who goes, and that nobody else does.
#![cfg(feature = "tier")]

mod tier_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use documentbuffer::tier::bounded::{Bounded, MIN_CAPACITY};
use documentbuffer::tier::{Applied, Entry, Kind, Op, Tier, TierExt, Version, When};
use tier_support::{Act, Fake, key, open, poll, put, shut, transient};

async fn bounded(fake: &Fake, capacity: u64) -> Bounded<Fake> {
    Bounded::open(fake.clone(), capacity).await.unwrap()
}

/// `pressly/chainstore` `TestLRUManager`; its values are one byte shorter here, since a byte of key counts.
#[tokio::test]
async fn a_put_that_leaves_nothing_evicts_the_oldest_until_a_tenth_is_free() {
    let fake = Fake::new();
    let store = bounded(&fake, 20).await;
    for (key, value) in [
        ("1", "aa"),
        ("2", ""),
        ("3", "ccccc"),
        ("4", "dd"),
        ("5", "eeee"),
    ] {
        store.put(key, value).await.unwrap();
    }
    assert_eq!(20 - store.used(), 2);
    assert_eq!(store.stats().evicted, 0);
    store.put("6", "fffff").await.unwrap();
    assert_eq!(20 - store.used(), 6);
    assert_eq!(fake.keys(), ["4", "5", "6"]);
    assert_eq!(store.value("1").await.unwrap(), None);
    assert_eq!(
        store.value("5").await.unwrap().as_deref(),
        Some(&b"eeee"[..])
    );
    let stats = store.stats();
    assert_eq!((stats.evicted, stats.owed, stats.entries), (3, 0, 3));
}

#[tokio::test]
async fn exactly_full_is_too_full_and_one_less_is_not() {
    let fake = Fake::new();
    let store = bounded(&fake, 20).await;
    store.put("a", "123456789").await.unwrap();
    store.put("b", "12345678").await.unwrap();
    assert_eq!(fake.keys(), ["a", "b"]);
    store.put("b", "123456789").await.unwrap();
    assert_eq!(fake.keys(), ["b"]);
    assert_eq!(store.used(), 10);
}

#[tokio::test]
async fn gets_and_puts_touch_and_a_miss_does_not() {
    let fake = Fake::new();
    let store = bounded(&fake, 40).await;
    for name in ["a", "b", "c"] {
        store.put(name, "123456789").await.unwrap();
    }
    store.value("a").await.unwrap();
    store.put("b", "12345678").await.unwrap();
    store.value("nobody").await.unwrap();
    store.put("d", "1234567890").await.unwrap();
    // `c` is the oldest now.
    assert_eq!(fake.keys(), ["a", "b", "d"]);
}

#[tokio::test]
async fn a_rewrite_counts_the_difference_and_a_removal_gives_back() {
    let fake = Fake::new();
    let store = bounded(&fake, 1000).await;
    store.put("key", "123").await.unwrap();
    assert_eq!(store.used(), 6);
    store.put("key", vec![0; 100]).await.unwrap();
    assert_eq!(store.used(), 103);
    store.put("key", "").await.unwrap();
    assert_eq!(store.used(), 3);
    store.remove("key").await.unwrap();
    assert_eq!(store.used(), 0);
    store.remove("key").await.unwrap();
    assert_eq!((store.used(), store.stats().entries), (0, 0));
    let merge = store.write(key("sum"), Op::Merge(3), When::Always).await;
    assert_eq!(merge.unwrap(), Applied::Done);
    assert_eq!(store.used(), 11);
}

#[tokio::test]
async fn empty_values_cost_their_keys() {
    let fake = Fake::new();
    let store = bounded(&fake, 100).await;
    for n in 0..1000 {
        store.put(&format!("key {n:03}"), "").await.unwrap();
        assert!(fake.bytes() <= 100);
    }
    assert!(fake.keys().len() <= 14);
}

#[tokio::test]
async fn a_put_that_failed_or_was_refused_does_not_count() {
    let fake = Fake::new();
    let store = bounded(&fake, 100).await;
    store.put("key", "12345").await.unwrap();
    fake.on("put", Act::Fail(transient()));
    for name in ["key", "other"] {
        store.put(name, vec![0; 80]).await.unwrap_err();
    }
    assert_eq!(store.used(), 8);
    fake.calm();
    let refused = store
        .write(key("key"), put(vec![0; 80]), When::Absent)
        .await;
    assert!(matches!(refused.unwrap(), Applied::Refused { .. }));
    assert_eq!(store.used(), 8);
    fake.on("remove", Act::Fail(transient()));
    store.remove("key").await.unwrap_err();
    assert_eq!(store.used(), 8);
    let is = When::Is(Version {
        fence: 9,
        number: 9,
    });
    fake.calm();
    let refused = store.write(key("key"), Op::Remove(Version::NONE), is).await;
    assert!(matches!(refused.unwrap(), Applied::Refused { .. }));
    assert_eq!(store.used(), 8);
}

#[tokio::test]
async fn a_put_of_unknown_outcome_counts() {
    let fake = Fake::new();
    let store = bounded(&fake, 100).await;
    fake.on("put", Act::DoneAndFail(transient().unknown()));
    assert!(
        store
            .put("key", vec![0; 50])
            .await
            .unwrap_err()
            .is_unknown()
    );
    assert_eq!(store.used(), 53);
    // What may be shorter now may also be as long as before.
    store.put("key", "").await.unwrap_err();
    assert_eq!(store.used(), 53);
    fake.calm();
    // So it goes like any other.
    store.put("next", vec![0; 60]).await.unwrap();
    assert_eq!(fake.keys(), ["next"]);
}

#[tokio::test]
async fn a_put_that_was_dropped_on_its_way_counts() {
    let fake = Fake::new();
    let store = bounded(&fake, 100).await;
    fake.on("put", Act::Wait(open(), shut()));
    let mut dropped = Box::pin(store.put("key", vec![0; 50]));
    assert!(poll(&mut dropped).await.is_none());
    let mut queued = Box::pin(store.put("key", vec![0; 70]));
    assert!(poll(&mut queued).await.is_none());
    drop(queued);
    drop(dropped);
    assert_eq!(fake.value("key").unwrap().len(), 50);
    assert_eq!(store.used(), 53);
    fake.calm();
    store.put("next", vec![0; 60]).await.unwrap();
    assert_eq!(fake.keys(), ["next"]);
}

#[tokio::test]
async fn more_than_the_capacity_is_refused_before_anything_is_written() {
    let fake = Fake::new();
    let error = Bounded::open(fake.clone(), MIN_CAPACITY - 1)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Permanent);
    let store = bounded(&fake, 10).await;
    store.put("key", "old").await.unwrap();
    let error = store.put("key", "12345678").await.unwrap_err();
    assert_eq!((error.kind(), error.is_unknown()), (Kind::Permanent, false));
    assert!(
        error.to_string().contains("11 bytes, the capacity is 10"),
        "{error}"
    );
    assert_eq!(fake.value("key").as_deref(), Some(&b"old"[..]));
    assert_eq!(fake.count("put"), 1);
    let error = store
        .write(key("sum"), Op::Merge(1), When::Always)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Permanent);
    // `TestMemCacheStore`: what fits just so stays, and all else goes.
    store.put("new", "1234567").await.unwrap();
    assert_eq!(fake.keys(), ["new"]);
}

#[tokio::test]
async fn after_a_restart_what_is_there_is_found_and_goes() {
    let fake = Fake::new();
    let first = bounded(&fake, 30).await;
    for name in ["a", "b", "c"] {
        first.put(name, "12345678").await.unwrap();
    }
    first.value("a").await.unwrap();
    let order = first.checkpoint();
    drop(first);

    let second = bounded(&fake, 30).await;
    assert_eq!(second.used(), 27);
    assert_eq!(second.restore(&order).unwrap(), 3);
    second.put("d", "12345678").await.unwrap();
    assert_eq!(fake.keys(), ["a", "c", "d"]);
}

#[tokio::test]
async fn a_checkpoint_tells_where_nothing_can_be_listed() {
    let mut fake = Fake::new();
    fake.capabilities.scan = false;
    let first = bounded(&fake, 30).await;
    for name in ["b", "a", "gone", "c"] {
        first.put(name, "1234").await.unwrap();
    }
    let order = first.checkpoint();
    drop(first);
    // Somebody else removed it.
    fake.remove("gone").await.unwrap();

    let second = bounded(&fake, 30).await;
    assert_eq!(second.used(), 0);
    // It came before the order did, so it is more recent.
    second.put("new", "12").await.unwrap();
    assert_eq!(second.restore(&order).unwrap(), 4);
    assert_eq!(second.used(), 28);
    second.put("d", "1").await.unwrap();
    assert_eq!(fake.keys(), ["a", "c", "d", "new"]);
    second.put("e", "1234567890").await.unwrap();
    assert_eq!(fake.keys(), ["c", "d", "e", "new"]);
}

#[tokio::test]
async fn every_damage_of_a_checkpoint_is_seen() {
    let fake = Fake::new();
    let store = bounded(&fake, 1000).await;
    for name in ["a", "bb", "", "🦀"] {
        store.put(name, "value").await.unwrap();
    }
    let order = store.checkpoint();
    assert_eq!(store.restore(&order).unwrap(), 4);
    assert_eq!(store.checkpoint(), order);
    for len in 0..order.len() {
        assert_eq!(
            store.restore(&order[..len]).unwrap_err().kind(),
            Kind::Corrupt
        );
    }
    for at in 0..order.len() {
        let mut damaged = order.to_vec();
        damaged[at] ^= 0x10;
        assert_eq!(store.restore(&damaged).unwrap_err().kind(), Kind::Corrupt);
    }
    let mut longer = order.to_vec();
    longer.push(0);
    assert_eq!(store.restore(&longer).unwrap_err().kind(), Kind::Corrupt);
    assert_eq!(store.checkpoint(), order);
}

#[tokio::test]
async fn what_others_wrote_counts_from_the_first_hit_on() {
    let mut fake = Fake::new();
    fake.capabilities.scan = false;
    fake.insert("old", "1234567");
    let store = bounded(&fake, 30).await;
    assert_eq!(store.used(), 0);
    store.value("old").await.unwrap().unwrap();
    store.value("old").await.unwrap().unwrap();
    assert_eq!(store.used(), 10);
    // A get alone never prunes.
    fake.insert("much", &"1".repeat(30));
    store.value("much").await.unwrap().unwrap();
    assert_eq!(store.used(), 44);
    assert_eq!(fake.keys(), ["much", "old"]);
    store.put("a", "").await.unwrap();
    assert_eq!(fake.keys(), ["a"]);
}

#[tokio::test]
async fn a_hit_that_is_counted_late_does_not_count_what_was_removed() {
    let mut fake = Fake::new();
    fake.capabilities.scan = false;
    fake.insert("key", "value");
    let store = bounded(&fake, 100).await;
    let (before, after) = (open(), shut());
    fake.on("get", Act::Wait(before, Arc::clone(&after)));
    let mut hit = Box::pin(store.value("key"));
    assert!(poll(&mut hit).await.is_none());
    // It has the value, and is not yet counted, when the key goes.
    store.remove("key").await.unwrap();
    fake.calm();
    after.add_permits(1);
    assert_eq!(hit.await.unwrap(), None);
    assert_eq!(store.used(), 0);
}

#[tokio::test]
async fn a_removal_that_fails_is_repeated_with_the_next_put_and_no_sooner() {
    let fake = Fake::new();
    let store = bounded(&fake, 40).await;
    fake.on("remove", Act::Fail(transient()));
    for name in ["a", "b", "c", "d"] {
        store.put(name, "123456789").await.unwrap();
    }
    // One attempt for each put, and the put succeeds all the same.
    let stats = store.stats();
    assert_eq!(
        (stats.used, stats.owed, stats.failed, stats.evicted),
        (30, 10, 1, 0)
    );
    assert_eq!(fake.keys(), ["a", "b", "c", "d"]);
    store.put("e", "1").await.unwrap();
    assert_eq!(store.stats().failed, 2);
    store.value("b").await.unwrap();
    store.remove("e").await.unwrap_err();
    assert_eq!(fake.count("remove a"), 2);
    fake.calm();
    store.put("e", "2").await.unwrap();
    assert_eq!(fake.keys(), ["b", "c", "d", "e"]);
    let stats = store.stats();
    assert_eq!(
        (stats.used, stats.owed, stats.failed, stats.evicted),
        (32, 0, 2, 1)
    );
}

#[tokio::test]
async fn a_key_that_cannot_go_does_not_keep_the_others() {
    let fake = Fake::new();
    let store = bounded(&fake, 40).await;
    fake.on("remove a", Act::Fail(transient()));
    for n in 0..20 {
        let name = char::from(b'a' + n).to_string();
        store.put(&name, "123456789").await.unwrap();
    }
    assert!(fake.keys().len() <= 6, "{:?}", fake.keys());
    assert!(fake.keys().contains(&"a".to_owned()));
}

#[tokio::test]
async fn where_nothing_can_go_it_holds_twice_the_capacity_at_most() {
    let fake = Fake::new();
    let store = bounded(&fake, 100).await;
    fake.on("remove", Act::Fail(transient()));
    let mut refused = 0;
    for n in 0..100 {
        match store.put(&format!("{n:02}"), "12345678").await {
            Ok(()) => {}
            Err(error) => {
                assert!(error.is_transient() && !error.is_unknown(), "{error}");
                refused += 1;
            }
        }
        assert!(fake.bytes() <= 220, "{}", fake.bytes());
    }
    assert!(refused > 50);
    // A put makes one attempt, and one more before it is refused.
    assert!(fake.count("remove") <= 200);
    fake.calm();
    store.put("now", "12345678").await.unwrap();
    assert!(fake.bytes() <= 100);
    assert_eq!(store.stats().owed, 0);
}

#[tokio::test]
async fn what_is_to_go_and_is_written_again_stays() {
    let fake = Fake::new();
    let store = bounded(&fake, 30).await;
    fake.on("remove", Act::Fail(transient()));
    for name in ["a", "b", "c"] {
        store.put(name, "123456789").await.unwrap();
    }
    assert_eq!((store.stats().used, store.stats().owed), (20, 10));
    store.put("a", "new").await.unwrap();
    assert_eq!((store.stats().used, store.stats().owed), (24, 0));
    fake.calm();
    store.put("d", "1").await.unwrap();
    assert_eq!(fake.value("a").as_deref(), Some(&b"new"[..]));
}

/// The eviction of `a` waits before the tier; `a` is put anew.
#[tokio::test]
async fn an_eviction_on_its_way_does_not_take_the_new_value() {
    let fake = Fake::new();
    let store = bounded(&fake, 30).await;
    let gate = shut();
    fake.on("remove", Act::Wait(Arc::clone(&gate), open()));
    store.put("a", "123456789").await.unwrap();
    store.put("b", "123456789").await.unwrap();
    let mut evicting = Box::pin(store.put("c", "123456789"));
    assert!(poll(&mut evicting).await.is_none());
    let mut again = Box::pin(store.put("a", "new"));
    assert!(poll(&mut again).await.is_none(), "it waits for the removal");
    // Others do not.
    store.put("b", "1234567").await.unwrap();
    store.value("a").await.unwrap();
    gate.add_permits(1);
    evicting.await.unwrap();
    again.await.unwrap();
    assert_eq!(fake.value("a").as_deref(), Some(&b"new"[..]));
    assert_eq!(store.used(), fake.bytes());
    assert_eq!(store.stats().owed, 0);
}

/// `a` is being put anew when it is chosen for eviction.
#[tokio::test]
async fn a_key_that_is_being_written_is_not_evicted_behind_its_back() {
    let fake = Fake::new();
    let store = bounded(&fake, 30).await;
    store.put("a", "123456789").await.unwrap();
    store.put("b", "123456789").await.unwrap();
    let gate = shut();
    fake.on("put a", Act::Wait(open(), Arc::clone(&gate)));
    let mut again = Box::pin(store.put("a", "new"));
    assert!(poll(&mut again).await.is_none());
    let mut evicting = Box::pin(store.put("c", "123456789"));
    assert!(poll(&mut evicting).await.is_none(), "it waits for the put");
    gate.add_permits(1);
    again.await.unwrap();
    evicting.await.unwrap();
    assert_eq!(fake.count("remove"), 0);
    assert_eq!(fake.value("a").as_deref(), Some(&b"new"[..]));
    assert_eq!(store.used(), fake.bytes());
}

#[tokio::test]
async fn a_put_that_is_dropped_while_it_evicts_leaves_the_rest_to_the_next() {
    let fake = Fake::new();
    let store = bounded(&fake, 30).await;
    fake.on("remove", Act::Wait(shut(), open()));
    store.put("a", "123456789").await.unwrap();
    store.put("b", "123456789").await.unwrap();
    let mut evicting = Box::pin(store.put("c", "123456789"));
    assert!(poll(&mut evicting).await.is_none());
    drop(evicting);
    assert_eq!(store.stats().owed, 10);
    fake.calm();
    store.put("d", "1").await.unwrap();
    assert_eq!(fake.keys(), ["b", "c", "d"]);
    assert_eq!(store.used(), fake.bytes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_storm_the_account_is_exact() {
    let fake = Fake::new();
    let store = Arc::new(bounded(&fake, 500).await);
    let calls = Arc::new(AtomicUsize::new(0));
    fake.rule(
        move |call| match calls.fetch_add(1, Ordering::Relaxed) % 7 {
            0 if !call.starts_with("get") => Act::Fail(transient()),
            _ => Act::Pass,
        },
    );
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8_usize {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            for turn in 0..500_usize {
                let at = (task * 31 + turn * 17) % 40;
                let name = format!("key {at}");
                let _ = match turn % 5 {
                    0 => store.value(&name).await.map(drop),
                    1 => store.remove(&name).await,
                    _ => store.put(&name, vec![1; (turn * 13) % 60]).await,
                };
                tokio::task::yield_now().await;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    let stats = store.stats();
    assert_eq!(stats.used + stats.owed, fake.bytes());
    fake.calm();
    store.put("last", "1").await.unwrap();
    let stats = store.stats();
    assert_eq!((stats.used, stats.owed), (fake.bytes(), 0));
    assert!(stats.evicted > 0 && stats.failed > 0, "{stats:?}");
    assert!(stats.used < 500);
}

#[tokio::test]
async fn what_it_wraps_is_as_it_was() {
    let fake = Fake::new();
    let store = bounded(&fake, 100).await;
    assert_eq!(store.name(), "fake");
    assert_eq!(store.capabilities(), fake.capabilities);
    let version = Version {
        fence: 1,
        number: 2,
    };
    let entry = Entry::new("v").version(version).created(3);
    let put = Op::Put(entry.clone());
    let applied = store.write(key("k"), put, When::Absent).await;
    assert_eq!(applied.unwrap(), Applied::Done);
    assert_eq!(store.get(key("k")).await.unwrap(), Some(entry));
    assert_eq!(store.scan(None, 9).await.unwrap().listed.len(), 1);
    store.close().await.unwrap();
    assert_eq!(fake.count("close"), 1);
}

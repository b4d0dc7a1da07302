//! A chain as its user sees it: what each call promises, clause by clause.

#![cfg(feature = "chain")]

mod chain_support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chain_support::*;
use documentbuffer::chain::{Attempt, Chain, CloseError, Failure, Refusal, WriteError, check_edge};
use documentbuffer::durability::Durability;
use documentbuffer::tier::guarded::Guarded;
use documentbuffer::tier::{
    Applied, BoxTier, Capabilities, Entry, Kind, MAX_KEY, Op, Tier, TierExt, Version, When,
};
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(20);

fn number(number: i64) -> Vec<u8> {
    number.to_le_bytes().to_vec()
}

/// The original's basic test: memory over disk.
#[test]
fn a_put_is_seen_in_all_levels_and_a_removal_empties_all() {
    run(async {
        let tiers = [volatile("memory"), durable("file"), durable("slow")];
        let [memory, file, slow] = tiers.clone();
        let chain = Chain::new()
            .tier(memory)
            .tier(file)
            .tier(slow)
            .build()
            .unwrap();
        chain.put("hi", "1, 2, 3").await.unwrap();
        assert_eq!(read(&chain, "hi").await.as_deref(), Some("1, 2, 3"));
        for tier in &tiers {
            assert_eq!(tier.holds("hi").as_deref(), Some("1, 2, 3"));
        }
        chain.remove("hi").await.unwrap();
        assert_eq!(read(&chain, "hi").await, None);
        for tier in &tiers {
            assert_eq!(tier.holds("hi"), None);
        }
        let long = "k".repeat(MAX_KEY + 1);
        tiers.iter().for_each(|tier| drop(tier.take_log()));
        assert_eq!(
            chain.put(&long, "v").await.unwrap_err().kind(),
            Kind::Permanent
        );
        assert!(chain.value(&long).await.is_err());
        assert!(tiers.iter().all(|tier| tier.take_log().is_empty()));
    });
}

/// The original's asynchronous writes come back in any order, and are lost; here they have returned.
#[test]
fn what_returned_is_in_every_level_and_in_order() {
    run(async {
        let tiers = [volatile("memory"), durable("slow")];
        let chain = Chain::new()
            .tier(tiers[0].clone())
            .tier(tiers[1].clone())
            .build()
            .unwrap();
        for n in 0..200 {
            chain.put("k", n.to_string()).await.unwrap();
            for tier in &tiers {
                assert_eq!(tier.holds("k"), Some(n.to_string()));
            }
        }
    });
}

#[test]
fn removing_what_is_absent_succeeds_in_every_level() {
    run(async {
        let tiers = [volatile("memory"), durable("file"), durable("slow")];
        let chain = Chain::boxed(tiers.iter().cloned().map(BoxTier::new))
            .build()
            .unwrap();
        chain.remove("never").await.unwrap();
        // The upper levels have evicted it: those below are asked all the same.
        chain.put("k", "v").await.unwrap();
        tiers[0].clear();
        tiers[1].clear();
        chain.remove("k").await.unwrap();
        assert_eq!(tiers[2].holds("k"), None);
        chain.remove("k").await.unwrap();
    });
}

#[test]
fn an_empty_value_is_a_value_and_absent_is_no_error() {
    run(async {
        let (top, truth) = (volatile("memory"), durable("slow"));
        let chain = Chain::new()
            .tier(top.clone())
            .tier(truth.clone())
            .build()
            .unwrap();
        assert_eq!(chain.value("k").await.unwrap(), None);
        chain.put("k", "").await.unwrap();
        truth.set("k", Entry::new("not asked"));
        assert_eq!(read(&chain, "k").await.as_deref(), Some(""));
    });
}

#[test]
fn a_hit_in_the_first_level_asks_nobody_else() {
    run(async {
        let tiers = [volatile("memory"), durable("file"), durable("slow")];
        let chain = Chain::boxed(tiers.iter().cloned().map(BoxTier::new))
            .build()
            .unwrap();
        chain.put("k", "v").await.unwrap();
        tiers.iter().for_each(|tier| drop(tier.take_log()));
        assert_eq!(read(&chain, "k").await.as_deref(), Some("v"));
        assert_eq!(tiers[0].take_log(), ["get k"]);
        assert!(tiers[1].take_log().is_empty() && tiers[2].take_log().is_empty());
        assert!(chain.generations().is_empty());
    });
}

#[test]
fn what_is_found_below_is_copied_to_all_above_behind_the_answer() {
    run(async {
        let tiers = [
            volatile("memory"),
            durable("file"),
            durable("slow"),
            durable("truth"),
        ];
        let chain = Chain::boxed(tiers.iter().cloned().map(BoxTier::new))
            .build()
            .unwrap();
        let entry = Entry::new("v")
            .version(Version {
                fence: 3,
                number: 7,
            })
            .created(5)
            .expires(u64::MAX);
        tiers[3].set("k", entry.clone());
        let gate = tiers[2].hold(Class::Put);
        assert_eq!(read(&chain, "k").await.as_deref(), Some("v"));
        gate.reached().await;
        // The nearest to where it was found comes first.
        assert!(tiers[..3].iter().all(|tier| tier.holds("k").is_none()));
        gate.open();
        idle(&chain).await;
        for tier in &tiers[..3] {
            assert_eq!(
                tier.entry("k").as_ref(),
                Some(&entry),
                "with its own version and times"
            );
        }
        let stats = chain.stats();
        let counts = stats
            .iter()
            .map(|level| (level.hits, level.misses, level.filled));
        assert_eq!(
            counts.collect::<Vec<_>>(),
            [(0, 1, 1), (0, 1, 1), (0, 1, 1), (1, 0, 0)]
        );
        assert_eq!(stats[1].name, "file");
    });
}

#[test]
fn a_level_that_fails_is_passed_over() {
    run(async {
        let tiers = [volatile("memory"), durable("file"), durable("truth")];
        let chain = Chain::boxed(tiers.iter().cloned().map(BoxTier::new))
            .build()
            .unwrap();
        chain.put("k", "v").await.unwrap();
        tiers[0].fail(Class::Get);
        tiers[1].fail(Class::Get);
        assert_eq!(read(&chain, "k").await.as_deref(), Some("v"));
        idle(&chain).await;
        // Absent is what the truth says is absent.
        tiers[0].fail(Class::Get);
        tiers[1].fail(Class::Get);
        assert_eq!(read(&chain, "none").await, None);
        // Where the truth fails, nobody knows.
        tiers[2].fail(Class::Get);
        let error = chain.value("none").await.unwrap_err();
        assert_eq!((error.kind(), error.tier()), (Kind::Transient, "truth"));
        let stats = chain.stats();
        assert_eq!(
            stats.iter().map(|level| level.errors).collect::<Vec<_>>(),
            [2, 2, 1]
        );
        // Without a level above it is the same.
        let alone = Chain::new().tier(tiers[2].clone()).build().unwrap();
        tiers[2].fail(Class::Get);
        assert!(alone.value("k").await.is_err());
        assert_eq!(read(&alone, "k").await.as_deref(), Some("v"));
        assert_eq!(read(&alone, "none").await, None);
    });
}

#[test]
fn a_damaged_entry_is_passed_over_and_overwritten() {
    run(async {
        let tiers = [able("memory", Durability::Memory), durable("truth")];
        let chain = Chain::boxed(tiers.iter().cloned().map(BoxTier::new))
            .build()
            .unwrap();
        chain.put("k", "v").await.unwrap();
        let newest = Version {
            fence: 9,
            number: 9,
        };
        tiers[0].set("k", Entry::new("rot").version(newest));
        tiers[0].next(Class::Get, Act::Fail(Kind::Corrupt));
        assert_eq!(read(&chain, "k").await.as_deref(), Some("v"));
        idle(&chain).await;
        assert_eq!(tiers[0].holds("k").as_deref(), Some("v"));
        // Where the truth has nothing, it is taken out.
        tiers[0].set("gone", Entry::new("rot"));
        tiers[0].next(Class::Get, Act::Fail(Kind::Corrupt));
        assert_eq!(read(&chain, "gone").await, None);
        idle(&chain).await;
        assert_eq!(tiers[0].holds("gone"), None);
    });
}

#[test]
fn what_is_over_is_not_found() {
    run(async {
        let clock = Hand::at(100);
        let (top, truth) = (volatile("memory"), durable("truth"));
        let chain = Chain::new()
            .clock(clock.clone())
            .tier(top.clone())
            .tier(truth.clone());
        let chain = chain.build().unwrap();
        let entry = Entry::new("v").expires(200);
        assert_eq!(
            chain
                .write(key("k"), Op::Put(entry), When::Always)
                .await
                .unwrap(),
            Applied::Done
        );
        clock.set(199);
        assert_eq!(read(&chain, "k").await.as_deref(), Some("v"));
        clock.set(200);
        assert_eq!(read(&chain, "k").await, None);
        let absent = chain
            .write(key("k"), put_of("w"), When::Absent)
            .await
            .unwrap();
        assert_eq!(absent, Applied::Done);
        assert_eq!(read(&chain, "k").await.as_deref(), Some("w"));
    });
}

#[test]
fn copies_up_are_bounded_and_drained() {
    run(async {
        let (top, truth) = (volatile("memory"), durable("truth"));
        let chain = Chain::new()
            .fills(2)
            .tier(top.clone())
            .tier(truth.clone())
            .build()
            .unwrap();
        for n in 0..5 {
            truth.set(&n.to_string(), Entry::new("v"));
        }
        let gates = [(); 2].map(|()| top.hold(Class::Put));
        for n in 0..5 {
            assert_eq!(read(&chain, &n.to_string()).await.as_deref(), Some("v"));
        }
        assert_eq!(chain.stats()[0].skipped, 3);
        for gate in &gates {
            gate.reached().await;
        }
        let closing = spawn({
            let chain = chain.clone();
            async move { chain.close().await }
        });
        yields(50).await;
        assert!(!closing.is_finished(), "it waits for the copies up");
        assert!(!top.take_log().contains(&"close ".to_owned()));
        gates.iter().for_each(Gate::open);
        closing.await.unwrap().unwrap();
        assert_eq!(chain.stats()[0].filled, 2);
        assert!(chain.generations().is_empty());
    });
}

#[test]
fn writes_are_bounded_and_drained() {
    run(async {
        let truth = durable("truth");
        let chain = Chain::new()
            .writes(2)
            .tier(volatile("top"))
            .tier(truth.clone())
            .build()
            .unwrap();
        let gates = [(); 2].map(|()| truth.hold(Class::Put));
        let writers: Vec<_> = (0..6)
            .map(|n| {
                let chain = chain.clone();
                spawn(async move { chain.put(&format!("k{n}"), "v").await })
            })
            .collect();
        for gate in &gates {
            gate.reached().await;
        }
        yields(50).await;
        assert_eq!(truth.take_log().len(), 2);
        let closing = spawn({
            let chain = chain.clone();
            async move { chain.close().await }
        });
        yields(50).await;
        assert!(!closing.is_finished());
        gates.iter().for_each(Gate::open);
        closing.await.unwrap().unwrap();
        let mut made = 0;
        for writer in writers {
            match writer.await.unwrap() {
                Ok(()) => made += 1,
                Err(error) => assert_eq!(error.kind(), Kind::Closed),
            }
        }
        // Those that had not begun are refused, and have changed nothing.
        assert_eq!(made, 2);
        let puts = truth
            .take_log()
            .into_iter()
            .filter(|call| call.starts_with("put"));
        assert_eq!(puts.count(), 0);
    });
}

#[test]
fn closing_asks_all_levels_once_and_tells_everybody() {
    run(async {
        let tiers = [volatile("memory"), durable("file"), durable("truth")];
        let chain = Chain::boxed(tiers.iter().cloned().map(BoxTier::new))
            .build()
            .unwrap();
        chain.put("k", "v").await.unwrap();
        tiers[0].fail(Class::Close);
        tiers[1].next(Class::Close, Act::Panic);
        let slow = tiers[2].hold(Class::Close);
        let closers = [(); 3].map(|()| {
            let chain = chain.clone();
            spawn(async move { chain.close().await })
        });
        slow.reached().await;
        let [dropped, closers @ ..] = closers;
        dropped.abort();
        slow.open();
        for closer in closers {
            let error = closer.await.unwrap().unwrap_err();
            let errors = CloseError::of(&error).unwrap().errors();
            let names = errors.iter().map(|error| error.tier());
            assert_eq!(names.collect::<Vec<_>>(), ["memory", "file"]);
        }
        assert!(chain.close().await.is_err(), "the same answer");
        for tier in &tiers {
            let closes = tier.take_log().into_iter().filter(|call| call == "close ");
            assert_eq!(closes.count(), 1);
        }
        assert_eq!(chain.value("k").await.unwrap_err().kind(), Kind::Closed);
        assert_eq!(chain.put("k", "v").await.unwrap_err().kind(), Kind::Closed);
        assert_eq!(chain.repair().await.unwrap_err().kind(), Kind::Closed);
        assert_eq!(chain.scan(None, 1).await.unwrap_err().kind(), Kind::Closed);
    });
}

#[test]
fn failures_are_told_with_key_and_tier_and_never_without_an_error() {
    run(async {
        let (top, truth) = (volatile("memory"), durable("truth"));
        let told: Arc<Mutex<Vec<Failure>>> = Arc::default();
        let calls = Arc::new(AtomicUsize::new(0));
        let (kept, counted) = (told.clone(), calls.clone());
        let chain = Chain::new()
            .on_error(move |failure| {
                counted.fetch_add(1, Ordering::SeqCst);
                kept.lock().unwrap().push(failure);
                std::panic::resume_unwind(Box::new("a callback that panics"));
            })
            .tier(top.clone())
            .tier(truth.clone())
            .build()
            .unwrap();
        for n in 0..50 {
            chain.put("k", n.to_string()).await.unwrap();
            top.evict("k");
            read(&chain, "k").await;
            idle(&chain).await;
            chain.remove("k").await.unwrap();
        }
        assert_eq!(calls.load(Ordering::SeqCst), 0, "nothing failed");
        truth.set("k", Entry::new("v"));
        top.fail(Class::Put);
        assert_eq!(read(&chain, "k").await.as_deref(), Some("v"));
        idle(&chain).await;
        top.fail(Class::Put);
        chain.put("other", "v").await.unwrap();
        let told = told.lock().unwrap();
        let told: Vec<_> = told
            .iter()
            .map(|told| {
                (
                    told.key.as_key().as_str(),
                    told.level,
                    &*told.tier,
                    told.attempt,
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                ("k", 0, "memory", Attempt::Fill),
                ("other", 0, "memory", Attempt::Put)
            ]
        );
    });
}

/// It has no turn while it calls back: who is told may write the same key.
#[test]
fn who_is_told_may_write_the_key() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let top = volatile("memory");
        let own: Arc<Mutex<Option<Chain<Fake>>>> = Arc::default();
        let (within, handle) = (own.clone(), tokio::runtime::Handle::current());
        let chain = Chain::new().on_error(move |_| {
            let chain = within.lock().unwrap().clone().unwrap();
            let handle = handle.clone();
            // The time is for a chain that would wait for itself.
            let write = async move { timeout(LONG, chain.put("k", "mended")).await };
            let writes = std::thread::spawn(move || handle.block_on(write));
            writes.join().unwrap().unwrap().unwrap();
        });
        let chain = chain
            .tier(top.clone())
            .tier(durable("truth"))
            .build()
            .unwrap();
        *own.lock().unwrap() = Some(chain.clone());
        top.fail(Class::Put);
        chain.put("k", "v").await.unwrap();
        assert_eq!(read(&chain, "k").await.as_deref(), Some("mended"));
        *own.lock().unwrap() = None;
    });
}

#[test]
fn what_cannot_be_a_chain_gives_its_tiers_back() {
    run(async {
        let refused = Chain::boxed([]).build().unwrap_err();
        assert_eq!(refused.refusal(), &Refusal::NoTier);
        let many = (0..65).map(|_| BoxTier::new(volatile("one of many")));
        let refused = Chain::boxed(many).build().unwrap_err();
        assert_eq!(refused.refusal(), &Refusal::TooMany { tiers: 65 });

        let written = Fake::new("written", Capabilities::new(Durability::Written));
        let chain = Chain::new()
            .tier(volatile("memory"))
            .tier(durable("synced"))
            .tier(written);
        let refused = chain.build().unwrap_err();
        let Refusal::Overstated {
            level,
            tier,
            overstated,
        } = refused.refusal()
        else {
            panic!("{refused:?}");
        };
        assert_eq!((*level, tier.as_str()), (1, "synced"));
        assert_eq!(overstated.keeps, Durability::Written);
        assert_eq!(overstated.acknowledges, Durability::Synced);
        assert!(refused.to_string().contains("synced"));
        // They are open, and whoever opened them closes them.
        let (first, lower) = refused.into_tiers();
        first.unwrap().close().await.unwrap();
        for tier in lower {
            tier.close().await.unwrap();
        }
        let error = documentbuffer::tier::Error::from(Chain::boxed([]).build().unwrap_err());
        assert_eq!(error.kind(), Kind::Permanent);
    });
}

#[test]
fn an_edge_acknowledges_no_more_than_what_lies_under_it_keeps() {
    use Durability::{Memory, Synced, Written};
    for (acknowledges, under, fine) in [
        (Memory, Memory, true),
        (Memory, Synced, true),
        (Synced, Synced, true),
        (Written, Memory, false),
        (Synced, Written, false),
    ] {
        let checked = check_edge(acknowledges, &Capabilities::new(under));
        assert_eq!(checked.is_ok(), fine, "{acknowledges:?} {under:?}");
    }
    // What a level above forgets in a power cut, an older value included, the chain does not promise.
    let file = Fake::new("file", Capabilities::new(Written));
    let chain = Chain::new()
        .tier(volatile("memory"))
        .tier(file)
        .tier(durable("truth"));
    assert_eq!(chain.build().unwrap().capabilities().durability, Written);
    let chain = Chain::new()
        .tier(volatile("memory"))
        .tier(able("truth", Synced))
        .build()
        .unwrap();
    let can = chain.capabilities();
    assert_eq!(can.durability, Synced);
    assert!(can.conditions && can.merge && can.scan && can.tombstones);
}

#[test]
fn the_outermost_chain_gives_versions_and_inner_ones_keep_them() {
    run(async {
        let clock = Hand::at(1_000);
        let (top, truth) = (volatile("memory"), durable("truth"));
        let inner = Chain::new()
            .clock(Hand::at(9_000_000))
            .tier(volatile("inner"))
            .tier(truth.clone());
        let inner = inner.build().unwrap();
        let outer = Chain::new()
            .clock(clock.clone())
            .tier(top.clone())
            .tier(inner)
            .build()
            .unwrap();
        let mut numbers = Vec::new();
        for now in [1_000, 1_000, 5_000, 10] {
            clock.set(now);
            outer.put("k", "v").await.unwrap();
            let entry = truth.entry("k").unwrap();
            assert_eq!(top.entry("k").as_ref(), Some(&entry));
            assert_eq!(entry.created, now);
            numbers.push(entry.version.number);
        }
        assert_eq!(numbers, [1_000, 1_001, 5_000, 5_001]);

        // A newer one from below, of somebody else's.
        let theirs = Version {
            fence: 0,
            number: 70_000,
        };
        truth.set("other", Entry::new("theirs").version(theirs));
        assert_eq!(read(&outer, "other").await.as_deref(), Some("theirs"));
        outer.put("k", "v").await.unwrap();
        assert_eq!(truth.entry("k").unwrap().version.number, 70_001);

        // One that no clock gives uses no numbers up.
        let absurd = Version {
            fence: 0,
            number: u64::MAX,
        };
        truth.set("absurd", Entry::new("v").version(absurd));
        read(&outer, "absurd").await;
        outer.put("k", "v").await.unwrap();
        assert_eq!(truth.entry("k").unwrap().version.number, 70_002);

        // Behind a lease its fence comes first, and what was given is kept.
        clock.set(80_000);
        outer.set_fence(4);
        outer.put("k", "v").await.unwrap();
        assert_eq!(
            truth.entry("k").unwrap().version,
            Version {
                fence: 4,
                number: 80_000
            }
        );
        let own = Version {
            fence: 5,
            number: 1,
        };
        let entry = Op::Put(Entry::new("v").version(own).created(3));
        assert_eq!(
            outer.write(key("k"), entry, When::Always).await.unwrap(),
            Applied::Done
        );
        assert_eq!(
            (
                top.entry("k").unwrap().version,
                top.entry("k").unwrap().created
            ),
            (own, 3)
        );
        // Whose fence is over does not look newer.
        outer.put("k", "v").await.unwrap();
        assert!(truth.entry("k").unwrap().version < own);
    });
}

/// With a truth that checks conditions, and with one that does not.
#[test]
fn conditions_are_those_of_the_truth() {
    run(async {
        for truth in [able("truth", Durability::Synced), durable("truth")] {
            let tiers = [volatile("memory"), durable("file"), truth];
            let chain = Chain::boxed(tiers.iter().cloned().map(BoxTier::new))
                .build()
                .unwrap();
            let write = |value: &'static str, when| chain.write(key("k"), put_of(value), when);
            assert_eq!(write("1", When::Absent).await.unwrap(), Applied::Done);
            let first = tiers[2].entry("k").unwrap().version;
            let refused = Applied::Refused { held: Some(first) };
            assert_eq!(write("2", When::Absent).await.unwrap(), refused);
            assert_eq!(read(&chain, "k").await.as_deref(), Some("1"));
            assert_eq!(write("3", When::Is(first)).await.unwrap(), Applied::Done);
            assert!(matches!(
                write("4", When::Is(first)).await.unwrap(),
                Applied::Refused { .. }
            ));
            assert_eq!(write("5", When::Newer).await.unwrap(), Applied::Done);
            for tier in &tiers {
                assert_eq!(tier.holds("k").as_deref(), Some("5"));
            }
            let remove = Op::Remove(Version::NONE);
            let refused = chain
                .write(key("k"), remove.clone(), When::Is(first))
                .await
                .unwrap();
            assert!(matches!(refused, Applied::Refused { .. }));
            assert_eq!(read(&chain, "k").await.as_deref(), Some("5"));
            idle(&chain).await;
            let held = tiers[2].entry("k").unwrap().version;
            assert_eq!(
                chain.write(key("k"), remove, When::Is(held)).await.unwrap(),
                Applied::Done
            );
            assert_eq!(read(&chain, "k").await, None);
        }
    });
}

/// Somebody else wrote: a refusal takes the old copy out, so that looking again helps.
#[test]
fn a_refused_condition_shows_what_stands_against_it() {
    run(async {
        for truth in [able("truth", Durability::Synced), durable("truth")] {
            let top = volatile("memory");
            let chain = Chain::new()
                .tier(top.clone())
                .tier(truth.clone())
                .build()
                .unwrap();
            chain.put("k", "ours").await.unwrap();
            let ours = truth.entry("k").unwrap().version;
            let theirs = Version {
                number: ours.number + 1,
                ..ours
            };
            truth.set("k", Entry::new("theirs").version(theirs));
            let refused = chain
                .write(key("k"), put_of("more"), When::Is(ours))
                .await
                .unwrap();
            assert_eq!(refused, Applied::Refused { held: Some(theirs) });
            assert_eq!(read(&chain, "k").await.as_deref(), Some("theirs"));
        }
    });
}

#[test]
fn merges_add_up_whether_or_not_the_truth_can() {
    run(async {
        for truth in [able("truth", Durability::Synced), durable("truth")] {
            let top = able("memory", Durability::Memory);
            let chain = Chain::new()
                .tier(top.clone())
                .tier(truth.clone())
                .build()
                .unwrap();
            let merge = |delta| chain.write(key("n"), Op::Merge(delta), When::Always);
            let writers: Vec<_> = (1..=10)
                .map(|delta| {
                    let chain = chain.clone();
                    spawn(
                        async move { chain.write(key("n"), Op::Merge(delta), When::Always).await },
                    )
                })
                .collect();
            for writer in writers {
                assert_eq!(writer.await.unwrap().unwrap(), Applied::Done);
            }
            for sum in [55, 50] {
                assert_eq!(chain.value("n").await.unwrap().unwrap(), number(sum));
                idle(&chain).await;
                assert_eq!(top.entry("n").unwrap().value, number(sum));
                assert_eq!(merge(-5).await.unwrap(), Applied::Done);
            }
            assert_eq!(truth.entry("n").unwrap().value, number(45));
            assert_eq!(chain.value("n").await.unwrap().unwrap(), number(45));
        }
        let truth = durable("truth");
        let chain = Chain::new()
            .tier(volatile("memory"))
            .tier(truth.clone())
            .build()
            .unwrap();
        truth.set("most", Entry::new(number(i64::MAX)));
        truth.set("text", Entry::new("seven"));
        for bad in ["most", "text"] {
            let error = chain
                .write(key(bad), Op::Merge(1), When::Always)
                .await
                .unwrap_err();
            assert_eq!((error.kind(), error.is_unknown()), (Kind::Permanent, false));
        }
        assert_eq!(
            chain.value("most").await.unwrap().unwrap(),
            number(i64::MAX)
        );
        assert_eq!(chain.value("text").await.unwrap().unwrap(), "seven");
    });
}

/// Another process has the file level too, and its write is newer than what is copied up.
#[test]
fn a_copy_up_does_not_replace_what_is_newer() {
    run(async {
        let (top, truth) = (able("shared", Durability::Synced), durable("truth"));
        let chain = Chain::new()
            .tier(top.clone())
            .tier(truth.clone())
            .build()
            .unwrap();
        let version = |number| Version { fence: 0, number };
        truth.set("k", Entry::new("old").version(version(5)));
        let gate = truth.hold_behind(Class::Get);
        let reader = spawn({
            let chain = chain.clone();
            async move { read(&chain, "k").await }
        });
        gate.reached().await;
        top.set("k", Entry::new("newer").version(version(6)));
        gate.open();
        assert_eq!(reader.await.unwrap().as_deref(), Some("old"));
        idle(&chain).await;
        assert_eq!(top.holds("k").as_deref(), Some("newer"));
        assert_eq!(chain.stats()[0].refused, 1);
    });
}

/// Somebody whose clock is ahead left something above: it is not what is found after a write.
#[test]
fn a_level_that_refuses_the_new_value_as_old_is_emptied() {
    run(async {
        let (top, truth) = (able("memory", Durability::Memory), durable("truth"));
        let chain = Chain::new()
            .tier(top.clone())
            .tier(truth.clone())
            .build()
            .unwrap();
        let ahead = Version {
            fence: 9,
            number: 9,
        };
        top.set("k", Entry::new("theirs").version(ahead));
        chain.put("k", "ours").await.unwrap();
        assert_eq!(read(&chain, "k").await.as_deref(), Some("ours"));
        idle(&chain).await;
        assert_eq!(top.holds("k").as_deref(), Some("ours"));
        // It cannot even be emptied: as soon as it takes something, it takes what is true.
        top.set("k", Entry::new("theirs").version(ahead));
        top.fail(Class::Remove);
        chain.put("k", "ours").await.unwrap();
        assert_eq!(chain.stats()[0].suspects, 1);
        assert_eq!(read(&chain, "k").await.as_deref(), Some("ours"));
        idle(&chain).await;
        assert_eq!(top.holds("k").as_deref(), Some("ours"));
        assert_eq!(chain.stats()[0].suspects, 0);
    });
}

/// A level that remembers removals takes what is copied up after a write that failed, or was refused.
#[test]
fn emptying_a_level_does_not_keep_copies_up_away() {
    run(async {
        let tiers = [
            able("memory", Durability::Memory),
            able("file", Durability::Synced),
            able("truth", Durability::Synced),
        ];
        let inner = Chain::new()
            .tier(tiers[0].clone())
            .tier(tiers[1].clone())
            .build()
            .unwrap();
        let chain = Chain::new()
            .tier(inner.clone())
            .tier(tiers[2].clone())
            .build()
            .unwrap();
        chain.put("k", "v").await.unwrap();
        tiers[2].fail(Class::Put);
        assert!(chain.put("k", "w").await.is_err());
        assert_eq!(tiers[1].holds("k"), None);
        assert_eq!(read(&chain, "k").await.as_deref(), Some("v"));
        idle(&chain).await;
        idle(&inner).await;
        assert_eq!(tiers[1].holds("k").as_deref(), Some("v"));
        assert_eq!(tiers[0].holds("k").as_deref(), Some("v"));
        let refused = chain
            .write(key("k"), put_of("w"), When::Absent)
            .await
            .unwrap();
        assert!(matches!(refused, Applied::Refused { .. }));
        assert_eq!(read(&chain, "k").await.as_deref(), Some("v"));
        idle(&chain).await;
        assert_eq!(tiers[0].holds("k").as_deref(), Some("v"));
        chain.put("k", "x").await.unwrap();
        assert_eq!(tiers[0].holds("k").as_deref(), Some("x"));
        assert_eq!(chain.stats()[0].errors, 0);
    });
}

#[test]
fn keys_are_listed_by_the_truth() {
    run(async {
        let truth = able("truth", Durability::Synced);
        let chain = Chain::new()
            .tier(volatile("memory"))
            .tier(truth)
            .build()
            .unwrap();
        for n in 0..5 {
            chain.put(&format!("k{n}"), "v").await.unwrap();
        }
        let page = chain.scan(None, 3).await.unwrap();
        assert_eq!(page.listed.len(), 3);
        let rest = chain.scan(page.next.as_ref(), 3).await.unwrap();
        assert_eq!((rest.listed.len(), rest.next), (2, None));
        let none = Chain::new().tier(volatile("memory")).build().unwrap();
        assert_eq!(
            none.scan(None, 3).await.unwrap_err().kind(),
            Kind::Unsupported
        );
    });
}

#[test]
fn without_a_runtime_writes_are_refused_and_reads_answered() {
    let truth = durable("truth");
    truth.set("k", Entry::new("v"));
    let chain = Chain::new()
        .tier(volatile("memory"))
        .tier(truth.clone())
        .build()
        .unwrap();
    let context = &mut std::task::Context::from_waker(std::task::Waker::noop());
    let mut get = std::pin::pin!(chain.value("k"));
    let std::task::Poll::Ready(Ok(Some(value))) = get.as_mut().poll(context) else {
        panic!("not answered");
    };
    assert_eq!(value, "v");
    assert_eq!(chain.stats()[0].skipped, 1);
    let mut put = std::pin::pin!(chain.put("k", "w"));
    let std::task::Poll::Ready(Err(error)) = put.as_mut().poll(context) else {
        panic!("not refused");
    };
    assert_eq!(
        (error.kind(), error.is_unknown()),
        (Kind::Unsupported, false)
    );
    assert!(chain.generations().is_empty());
}

#[test]
fn errors_and_handles_say_what_they_are() {
    run(async {
        let tiers = [volatile("memory"), durable("file"), durable("truth")];
        let [memory, file, truth] = tiers.clone();
        let chain = Chain::new()
            .name("sessions")
            .tier(memory)
            .tier(file)
            .tier(truth)
            .build()
            .unwrap();
        assert_eq!(chain.name(), "sessions");
        assert_eq!(
            format!("{:?}", chain.clone()),
            r#"Chain { name: "sessions", levels: ["memory", "file", "truth"], .. }"#
        );
        tiers[2].fail(Class::Put);
        let error = chain.put("k", "v").await.unwrap_err();
        assert_eq!(error.to_string(), "sessions: not written (transient)");
        let report = WriteError::of(&error).unwrap();
        assert_eq!(report.to_string(), "memory: old, file: absent, truth: old");
        let source = std::error::Error::source(report).unwrap();
        assert_eq!(source.to_string(), "truth: by order (transient)");
    });
}

/// A page of memory in front of three layers of chains: what a hit must not cost is in the benchmarks; here
/// that the types nest without boxes.
#[test]
fn chains_nest_by_type() {
    run(async {
        let (memory, truth) = (volatile("memory"), durable("truth"));
        let first: Chain<Fake> = Chain::new()
            .tier(memory.clone())
            .tier(durable("a"))
            .build()
            .unwrap();
        let second: Chain<Chain<Fake>> =
            Chain::new().tier(first).tier(durable("b")).build().unwrap();
        let third = Chain::new()
            .tier(second)
            .tier(truth.clone())
            .build()
            .unwrap();
        third.put("k", "v").await.unwrap();
        memory.clear();
        assert_eq!(read(&third, "k").await.as_deref(), Some("v"));
        third.remove("k").await.unwrap();
        assert_eq!(read(&third, "k").await, None);
        third.close().await.unwrap();
        assert_eq!(truth.take_log().last().unwrap(), "close ");
    });
}

//! What happens at the same time, and what a crash or a failure leaves behind, step by step.

#![cfg(feature = "chain")]

mod chain_support;

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use chain_support::*;
use documentbuffer::chain::{Attempt, Chain, Failure, LevelState, WriteError};
use documentbuffer::durability::Durability;
use documentbuffer::tier::guarded::Guarded;
use documentbuffer::tier::{Applied, BoxTier, Entry, Key, Kind, Op, Tier, TierExt, When};

fn chain_of(tiers: &[Fake]) -> Chain {
    let boxed = tiers.iter().cloned().map(BoxTier::new);
    Chain::boxed(boxed).build().unwrap()
}

fn told(tiers: &[Fake]) -> (Chain, Arc<Mutex<Vec<Failure>>>) {
    let failures = Arc::new(Mutex::new(Vec::new()));
    let kept = failures.clone();
    let boxed = tiers.iter().cloned().map(BoxTier::new);
    let chain = Chain::boxed(boxed).on_error(move |failure| kept.lock().unwrap().push(failure));
    (chain.build().unwrap(), failures)
}

/// A read has seen the old value below, and its copy up is late; meanwhile it is overwritten.
#[test]
fn a_copy_up_does_not_land_over_a_write() {
    run(async {
        let (top, truth) = (volatile("top"), durable("truth"));
        let chain = chain_of(&[top.clone(), truth.clone()]);
        chain.put("k", "old").await.unwrap();
        top.evict("k");
        let gate = truth.hold_behind(Class::Get);
        let reader = spawn({
            let chain = chain.clone();
            async move { read(&chain, "k").await }
        });
        gate.reached().await;
        chain.put("k", "new").await.unwrap();
        gate.open();
        assert_eq!(reader.await.unwrap().as_deref(), Some("old"));
        idle(&chain).await;
        assert_eq!(top.holds("k").as_deref(), Some("new"));
        assert_eq!(read(&chain, "k").await.as_deref(), Some("new"));
        assert_eq!(chain.stats()[0].refused, 1);
    });
}

#[test]
fn a_copy_up_does_not_bring_back_what_was_removed() {
    run(async {
        let (top, truth) = (volatile("top"), durable("truth"));
        let chain = chain_of(&[top.clone(), truth.clone()]);
        chain.put("k", "old").await.unwrap();
        top.evict("k");
        let gate = truth.hold_behind(Class::Get);
        let reader = spawn({
            let chain = chain.clone();
            async move { read(&chain, "k").await }
        });
        gate.reached().await;
        chain.remove("k").await.unwrap();
        gate.open();
        assert_eq!(reader.await.unwrap().as_deref(), Some("old"));
        idle(&chain).await;
        assert_eq!(top.holds("k"), None);
        assert_eq!(read(&chain, "k").await, None);
    });
}

/// The copy up has its turn and is on its way into the level when the write is asked for.
#[test]
fn a_write_waits_for_a_copy_up_that_has_its_turn() {
    run(async {
        for remove in [false, true] {
            let (top, truth) = (volatile("top"), durable("truth"));
            truth.set("k", documentbuffer::tier::Entry::new("old"));
            let chain = chain_of(&[top.clone(), truth.clone()]);
            let gate = top.hold(Class::Put);
            assert_eq!(read(&chain, "k").await.as_deref(), Some("old"));
            gate.reached().await;
            let writer = spawn({
                let chain = chain.clone();
                async move {
                    match remove {
                        true => chain.remove("k").await,
                        false => chain.put("k", "new").await,
                    }
                }
            });
            yields(50).await;
            assert_eq!(truth.holds("k").as_deref(), Some("old"), "it waits");
            gate.open();
            writer.await.unwrap().unwrap();
            idle(&chain).await;
            let expected = if remove { None } else { Some("new") };
            assert_eq!(top.holds("k").as_deref(), expected);
            assert_eq!(read(&chain, "k").await.as_deref(), expected);
        }
    });
}

/// A read begins while the write is under way, has the old value from the truth, and its copy up comes last.
#[test]
fn a_read_that_began_during_a_write_copies_nothing_up() {
    run(async {
        let (top, middle, truth) = (volatile("top"), durable("middle"), durable("truth"));
        let chain = chain_of(&[top.clone(), middle.clone(), truth.clone()]);
        chain.put("k", "old").await.unwrap();
        top.evict("k");
        let before = truth.hold(Class::Put);
        let writer = spawn({
            let chain = chain.clone();
            async move { chain.put("k", "new").await }
        });
        before.reached().await;
        // The middle one outlives the process, and is empty by now.
        assert_eq!(middle.holds("k"), None);
        let slow = truth.hold_behind(Class::Get);
        let reader = spawn({
            let chain = chain.clone();
            async move { read(&chain, "k").await }
        });
        slow.reached().await;
        before.open();
        writer.await.unwrap().unwrap();
        for level in [&top, &middle] {
            level.evict("k");
        }
        slow.open();
        assert_eq!(reader.await.unwrap().as_deref(), Some("old"));
        idle(&chain).await;
        assert_eq!((top.holds("k"), middle.holds("k")), (None, None));
        assert_eq!(read(&chain, "k").await.as_deref(), Some("new"));
    });
}

/// Levels evict between the steps of a write and of a copy up.
#[test]
fn levels_evict_meanwhile() {
    run(async {
        let (top, middle, truth) = (volatile("top"), volatile("middle"), durable("truth"));
        let chain = chain_of(&[top.clone(), middle.clone(), truth.clone()]);
        chain.put("k", "old").await.unwrap();
        // The read finds it in the middle, which evicts it, and the copy up is late.
        top.evict("k");
        let gate = middle.hold_behind(Class::Get);
        let reader = spawn({
            let chain = chain.clone();
            async move { read(&chain, "k").await }
        });
        gate.reached().await;
        middle.evict("k");
        let behind_truth = middle.hold(Class::Put);
        let writer = spawn({
            let chain = chain.clone();
            async move { chain.put("k", "new").await }
        });
        behind_truth.reached().await;
        gate.open();
        assert_eq!(reader.await.unwrap().as_deref(), Some("old"));
        yields(100).await;
        assert_eq!(top.holds("k"), None);
        behind_truth.open();
        writer.await.unwrap().unwrap();
        top.evict("k");
        assert_eq!(read(&chain, "k").await.as_deref(), Some("new"));
    });
}

/// A chain is the truth of a chain: the race in either.
#[test]
fn nested_chains_bring_nothing_back() {
    run(async {
        for outer_is_late in [true, false] {
            let (top, inner_top, truth) = (volatile("top"), volatile("inner"), durable("truth"));
            let inner = chain_of(&[inner_top.clone(), truth.clone()]);
            let outer = Chain::new()
                .tier(top.clone())
                .tier(inner.clone())
                .build()
                .unwrap();
            outer.put("k", "old").await.unwrap();
            top.evict("k");
            inner_top.evict("k");
            let late = match outer_is_late {
                true => inner_top.hold_behind(Class::Get),
                false => truth.hold_behind(Class::Get),
            };
            let reader = spawn({
                let outer = outer.clone();
                async move { read(&outer, "k").await }
            });
            late.reached().await;
            outer.put("k", "new").await.unwrap();
            late.open();
            reader.await.unwrap();
            idle(&outer).await;
            idle(&inner).await;
            for level in [&top, &inner_top, &truth] {
                let held = level.holds("k");
                assert!(
                    held.is_none() || held.as_deref() == Some("new"),
                    "{level:?}"
                );
            }
            assert_eq!(read(&outer, "k").await.as_deref(), Some("new"));
            outer.remove("k").await.unwrap();
            assert_eq!(read(&inner, "k").await, None);
        }
    });
}

/// A caller that goes away takes nothing with it.
#[test]
fn a_dropped_caller_ends_nothing() {
    run(async {
        let (top, truth) = (volatile("top"), durable("truth"));
        let chain = chain_of(&[top.clone(), truth.clone()]);
        let gate = truth.hold(Class::Put);
        let mut write = Box::pin(chain.put("k", "v"));
        let context = &mut Context::from_waker(Waker::noop());
        assert!(write.as_mut().poll(context).is_pending());
        gate.reached().await;
        drop(write);
        gate.open();
        idle(&chain).await;
        assert_eq!(truth.holds("k").as_deref(), Some("v"));
        assert_eq!(top.holds("k").as_deref(), Some("v"));

        // A read that is dropped leaves no token.
        top.evict("k");
        let gate = truth.hold(Class::Get);
        {
            let mut get = pin!(chain.value("k"));
            assert!(get.as_mut().poll(context).is_pending());
            assert!(!chain.generations().is_empty());
        }
        assert!(chain.generations().is_empty());
        gate.open();

        // One that was never polled does nothing.
        drop(chain.put("k", "never"));
        idle(&chain).await;
        assert_eq!(truth.holds("k").as_deref(), Some("v"));
    });
}

/// A value was computed from an old view of the chain, and comes late.
#[test]
fn what_was_computed_before_a_write_does_not_land() {
    run(async {
        for remove in [false, true] {
            let (top, truth) = (volatile("top"), durable("truth"));
            let chain = chain_of(&[top.clone(), truth.clone()]);
            chain.put("k", "old").await.unwrap();
            let (token, mark) = (chain.generations().token("k"), chain.generations().mark());
            match remove {
                true => chain.remove("k").await.unwrap(),
                false => chain.put("k", "new").await.unwrap(),
            }
            let key = Key::new("k").unwrap();
            let late = || Op::Put(Entry::new("late"));
            let landed = chain.land(token, key, late(), When::Always).await.unwrap();
            assert_eq!(landed, None);
            let landed = chain.land(&mark, key, late(), When::Always).await.unwrap();
            assert_eq!(landed, None);
            let expected = (!remove).then_some("new");
            assert_eq!(read(&chain, "k").await.as_deref(), expected);

            let token = chain.generations().token("k");
            let landed = chain.land(token, key, late(), When::Always).await.unwrap();
            assert_eq!(landed, Some(Applied::Done));
            assert_eq!(read(&chain, "k").await.as_deref(), Some("late"));
            assert_eq!(truth.holds("k").as_deref(), Some("late"));
        }
    });
}

/// The room for writes is taken, all of it by writes of the key that somebody else lands under.
#[test]
fn who_lands_waits_for_room_before_it_has_a_place() {
    run(async {
        let (top, truth) = (volatile("top"), durable("truth"));
        let boxed = [top.clone(), truth.clone()].map(BoxTier::new);
        let chain = Chain::boxed(boxed).writes(1).build().unwrap();
        let gate = truth.hold(Class::Put);
        let context = &mut Context::from_waker(Waker::noop());
        let mut first = pin!(chain.put("other", "1"));
        assert!(first.as_mut().poll(context).is_pending());
        let mut second = pin!(chain.put("k", "2"));
        assert!(second.as_mut().poll(context).is_pending());
        let token = chain.generations().token("k");
        let op = Op::Put(Entry::new("late"));
        let mut late = pin!(chain.land(token, Key::new("k").unwrap(), op, When::Always));
        assert!(late.as_mut().poll(context).is_pending());
        gate.reached().await;
        gate.open();
        first.await.unwrap();
        second.await.unwrap();
        assert_eq!(late.await.unwrap(), None);
        assert_eq!(truth.holds("k").as_deref(), Some("2"));
    });
}

/// Two writes are answered in another order than they were asked for: the later one stands.
#[test]
fn writes_of_a_key_take_place_in_the_order_they_were_asked_for() {
    run(async {
        let (top, truth) = (volatile("top"), durable("truth"));
        let chain = chain_of(&[top.clone(), truth.clone()]);
        let gate = truth.hold(Class::Put);
        let context = &mut Context::from_waker(Waker::noop());
        let (mut first, mut second) = (pin!(chain.put("k", "1")), pin!(chain.put("k", "2")));
        assert!(first.as_mut().poll(context).is_pending());
        // It has its place since the first poll, and no task has run yet.
        assert!(!chain.generations().token("k").is_live());
        assert!(second.as_mut().poll(context).is_pending());
        let other = chain.put("other", "o");
        other.await.unwrap();
        gate.reached().await;
        gate.open();
        second.await.unwrap();
        assert_eq!(truth.holds("k").as_deref(), Some("2"));
        assert_eq!(top.holds("k").as_deref(), Some("2"));
        first.await.unwrap();
    });
}

/// A slow first level holds nobody back but who asks it.
#[test]
fn a_slow_first_level_does_not_hold_the_answer_back() {
    run(async {
        let (top, truth) = (volatile("top"), durable("truth"));
        truth.set("k", documentbuffer::tier::Entry::new("v"));
        let chain = chain_of(&[top.clone(), truth.clone()]);
        let gate = top.hold(Class::Put);
        assert_eq!(read(&chain, "k").await.as_deref(), Some("v"));
        gate.reached().await;
        assert_eq!(read(&chain, "k").await.as_deref(), Some("v"));
        gate.open();
        idle(&chain).await;
        assert_eq!(top.holds("k").as_deref(), Some("v"));
    });
}

/// The truth does not say whether it wrote: whatever it has is what is read, and it is not copied up.
#[test]
fn an_unknown_outcome_keeps_the_key_below() {
    run(async {
        for late in [false, true] {
            let (top, middle, truth) = (volatile("top"), durable("middle"), durable("truth"));
            let (chain, failures) = told(&[top.clone(), middle.clone(), truth.clone()]);
            chain.put("k", "old").await.unwrap();
            let act = if late {
                Act::Late
            } else {
                Act::Unknown { made: true }
            };
            truth.next(Class::Put, act);
            let error = chain.put("k", "new").await.unwrap_err();
            assert!(error.is_unknown());
            let states = WriteError::of(&error).unwrap().levels().iter();
            let states: Vec<LevelState> = states.map(|level| level.state).collect();
            let (absent, unknown) = (LevelState::Absent, LevelState::Unknown);
            assert_eq!(states, [absent, absent, unknown]);
            assert_eq!(chain.stats()[2].suspects, 1);
            let before = if late { "old" } else { "new" };
            assert_eq!(read(&chain, "k").await.as_deref(), Some(before));
            idle(&chain).await;
            truth.land_late();
            // Had the old one been copied up, it would be found again now.
            assert_eq!(read(&chain, "k").await.as_deref(), Some("new"));
            idle(&chain).await;
            assert_eq!((top.holds("k"), middle.holds("k")), (None, None));
            // A write that is answered ends it.
            chain.put("k", "newer").await.unwrap();
            assert_eq!(chain.stats()[2].suspects, 0);
            assert_eq!(top.holds("k").as_deref(), Some("newer"));
            assert!(failures.lock().unwrap().is_empty(), "the caller was told");
        }
    });
}

/// A truth that can do conditions is asked whether the write is over.
#[test]
fn an_unknown_outcome_ends_with_a_read_where_the_truth_can_tell() {
    run(async {
        let (top, truth) = (volatile("top"), able("truth", Durability::Synced));
        let chain = chain_of(&[top.clone(), truth.clone()]);
        chain.put("k", "old").await.unwrap();
        truth.next(Class::Put, Act::Late);
        assert!(chain.put("k", "new").await.unwrap_err().is_unknown());
        assert_eq!(read(&chain, "k").await.as_deref(), Some("old"));
        idle(&chain).await;
        // It came behind the one that was given up.
        assert_eq!(chain.stats()[1].suspects, 0);
        assert_eq!(top.holds("k"), None);
        assert_eq!(read(&chain, "k").await.as_deref(), Some("new"));
        idle(&chain).await;
        assert_eq!(top.holds("k").as_deref(), Some("new"));
    });
}

/// A read that began while the outcome was unknown is late, and the doubt is gone when it comes.
#[test]
fn what_was_read_in_doubt_is_not_copied_up_when_the_doubt_is_over() {
    run(async {
        let (top, truth) = (volatile("top"), able("truth", Durability::Synced));
        let chain = chain_of(&[top.clone(), truth.clone()]);
        chain.put("k", "old").await.unwrap();
        truth.next(Class::Remove, Act::Late);
        assert!(chain.remove("k").await.unwrap_err().is_unknown());
        let gate = truth.hold_behind(Class::Get);
        let reader = spawn({
            let chain = chain.clone();
            async move { read(&chain, "k").await }
        });
        gate.reached().await;
        assert_eq!(read(&chain, "k").await.as_deref(), Some("old"));
        while chain.stats()[1].suspects > 0 {
            yields(1).await;
        }
        gate.open();
        assert_eq!(reader.await.unwrap().as_deref(), Some("old"));
        idle(&chain).await;
        assert_eq!(top.holds("k"), None);
        assert_eq!(read(&chain, "k").await, None);
    });
}

/// Which levels failed how, and what each has then.
#[test]
fn a_failed_write_says_what_each_level_has() {
    use LevelState::{Absent, Old, Unknown};
    run(async {
        let cases: [(usize, Class, Act, [LevelState; 4]); 5] = [
            (
                1,
                Class::Remove,
                Act::Fail(Kind::Transient),
                [Old, Old, Old, Old],
            ),
            (
                2,
                Class::Remove,
                Act::Fail(Kind::Transient),
                [Old, Absent, Old, Old],
            ),
            (
                2,
                Class::Remove,
                Act::Unknown { made: false },
                [Old, Absent, Unknown, Old],
            ),
            (
                3,
                Class::Put,
                Act::Fail(Kind::Throttled),
                [Old, Absent, Absent, Old],
            ),
            (3, Class::Put, Act::Panic, [Absent, Absent, Absent, Unknown]),
        ];
        for (level, class, act, expected) in cases {
            let names = ["memory", "disk", "slow disk", "truth"];
            let mut tiers = vec![volatile(names[0])];
            tiers.extend(names[1..].iter().map(|name| durable(name)));
            let chain = chain_of(&tiers);
            chain.put("k", "old").await.unwrap();
            tiers[level].next(class, act.clone());
            let error = chain.put("k", "new").await.unwrap_err();
            let report = WriteError::of(&error).unwrap();
            let states: Vec<LevelState> = report.levels().iter().map(|l| l.state).collect();
            assert_eq!(states, expected, "{level} {act:?}");
            let failed = report.levels().iter().filter(|level| level.error.is_some());
            assert_eq!(failed.map(|level| level.level).collect::<Vec<_>>(), [level]);
            assert_eq!(report.levels()[level].tier, names[level]);
            assert_eq!(error.is_unknown(), states[3] == Unknown);
            if !error.is_unknown() {
                assert_eq!(read(&chain, "k").await.as_deref(), Some("old"));
            }
            for (tier, state) in tiers.iter().zip(&states) {
                match state {
                    Old => assert_eq!(tier.holds("k").as_deref(), Some("old")),
                    Absent => assert_eq!(tier.holds("k"), None),
                    _ => {}
                }
            }
        }
    });
}

/// A level does not take the new value: its old one is taken out, or not read any more.
#[test]
fn a_level_that_takes_no_new_value_is_not_read_for_the_old_one() {
    run(async {
        for level in [0, 1] {
            for act in [
                Act::Fail(Kind::Transient),
                Act::Unknown { made: false },
                Act::Panic,
                Act::Late,
            ] {
                let tiers = [volatile("top"), volatile("middle"), durable("truth")];
                let (chain, failures) = told(&tiers);
                chain.put("k", "old").await.unwrap();
                tiers[level].next(Class::Put, act);
                chain.put("k", "new").await.unwrap();
                assert_eq!(tiers[level].holds("k"), None, "taken out");
                assert_eq!(read(&chain, "k").await.as_deref(), Some("new"));
                idle(&chain).await;

                // It cannot be taken out either.
                let kind = Kind::Transient;
                tiers[level].always(Class::Put, Act::Fail(kind));
                tiers[level].always(Class::Remove, Act::Fail(kind));
                tiers[level].set("k", documentbuffer::tier::Entry::new("new"));
                chain.put("k", "newer").await.unwrap();
                assert_eq!(tiers[level].holds("k").as_deref(), Some("new"));
                assert_eq!(chain.stats()[level].suspects, 1);
                for _ in 0..3 {
                    assert_eq!(read(&chain, "k").await.as_deref(), Some("newer"));
                    idle(&chain).await;
                }
                // With the levels above it empty, it would be found.
                tiers[..level].iter().for_each(Fake::clear);
                assert_eq!(read(&chain, "k").await.as_deref(), Some("newer"));
                idle(&chain).await;
                let told = failures.lock().unwrap().clone();
                assert_eq!(told[0].attempt, Attempt::Put);
                assert_eq!(
                    (told[0].level, told[0].tier.as_str()),
                    (level, tiers[level].name())
                );
                assert!(told.iter().any(|told| told.attempt == Attempt::Repair));

                // A read repairs it, as soon as it can be written again.
                tiers[level].always(Class::Put, Act::Pass);
                tiers[level].always(Class::Remove, Act::Pass);
                tiers[..level].iter().for_each(Fake::clear);
                assert_eq!(read(&chain, "k").await.as_deref(), Some("newer"));
                idle(&chain).await;
                assert_eq!(tiers[level].holds("k").as_deref(), Some("newer"));
                assert_eq!(chain.stats()[level].suspects, 0);
            }
        }
    });
}

#[test]
fn a_removal_that_a_level_does_not_take_is_a_removal() {
    run(async {
        let tiers = [volatile("top"), durable("truth")];
        let (chain, failures) = told(&tiers);
        chain.put("k", "old").await.unwrap();
        tiers[0].always(Class::Remove, Act::Fail(Kind::Transient));
        chain.remove("k").await.unwrap();
        assert_eq!(tiers[0].holds("k").as_deref(), Some("old"));
        assert_eq!(read(&chain, "k").await, None);
        idle(&chain).await;
        let told = failures.lock().unwrap().clone();
        assert_eq!(told[0].attempt, Attempt::Remove);
        // And is repaired by a read that finds nothing.
        tiers[0].always(Class::Remove, Act::Pass);
        assert_eq!(read(&chain, "k").await, None);
        idle(&chain).await;
        assert_eq!((tiers[0].holds("k"), chain.stats()[0].suspects), (None, 0));
    });
}

#[test]
fn a_removal_stops_where_the_old_value_would_outlive_the_process() {
    run(async {
        let tiers = [volatile("top"), durable("disk"), durable("truth")];
        let chain = chain_of(&tiers);
        chain.put("k", "old").await.unwrap();
        tiers[1].fail(Class::Remove);
        assert!(!chain.remove("k").await.unwrap_err().is_unknown());
        assert_eq!(tiers[2].holds("k").as_deref(), Some("old"));
        assert_eq!(read(&chain, "k").await.as_deref(), Some("old"));
        chain.remove("k").await.unwrap();
        assert_eq!(read(&chain, "k").await, None);
    });
}

/// The process dies at each call of a write: no older value comes back, and none that was acknowledged goes.
#[test]
fn a_crash_at_each_step_of_a_write() {
    for removes in [false, true] {
        for (level, class) in [
            (0, Class::Remove),
            (1, Class::Remove),
            (2, Class::Remove),
            (3, Class::Put),
            (3, Class::Remove),
            (2, Class::Put),
            (1, Class::Put),
            (0, Class::Put),
        ] {
            for behind in [false, true] {
                let tiers = [
                    volatile("memory"),
                    durable("disk"),
                    durable("slow"),
                    durable("truth"),
                ];
                let died = run(async {
                    let chain = chain_of(&tiers);
                    chain.put("k", "old").await.unwrap();
                    let gate = tiers[level].held_at(class, behind);
                    let writer = spawn({
                        let chain = chain.clone();
                        async move {
                            match removes {
                                true => chain.remove("k").await,
                                false => chain.put("k", "new").await,
                            }
                        }
                    });
                    for _ in 0..100 {
                        yields(1).await;
                        if gate.is_reached() {
                            return true;
                        }
                    }
                    writer.await.unwrap().unwrap();
                    false
                });
                tiers[0].clear();
                for tier in &tiers {
                    tier.forget_acts();
                }
                run(async {
                    let chain = chain_of(&tiers);
                    let new = if removes {
                        None
                    } else {
                        Some("new".to_owned())
                    };
                    let case = format!("removes {removes}, level {level}, {class:?}, {behind}");
                    let first = read(&chain, "k").await;
                    idle(&chain).await;
                    assert!(
                        first == new || (died && first.as_deref() == Some("old")),
                        "{case}"
                    );
                    // Whatever is evicted, what was found first stands.
                    for cleared in [&tiers[..1], &tiers[..2], &tiers[..3]] {
                        cleared.iter().for_each(Fake::clear);
                        assert_eq!(read(&chain, "k").await, first, "{case}");
                        idle(&chain).await;
                    }
                });
            }
        }
    }
}

/// More of a level is in doubt than is remembered: all of it is passed over, until it is repaired.
#[test]
fn a_level_with_too_many_suspects_is_suspended() {
    run(async {
        let mut can = documentbuffer::tier::Capabilities::default();
        can.scan = true;
        let (top, truth) = (Fake::new("top", can), durable("truth"));
        let chain = Chain::new()
            .suspects(2)
            .tier(top.clone())
            .tier(truth)
            .build()
            .unwrap();
        let keys: Vec<String> = (0..5).map(|n| n.to_string()).collect();
        for key in keys.iter().map(String::as_str).chain(["other"]) {
            chain.put(key, "old").await.unwrap();
        }
        top.always(Class::Put, Act::Fail(Kind::Transient));
        top.always(Class::Remove, Act::Fail(Kind::Transient));
        for key in &keys {
            chain.put(key, "new").await.unwrap();
        }
        assert!(chain.stats()[0].suspended);
        for key in &keys {
            assert_eq!(read(&chain, key).await.as_deref(), Some("new"));
        }
        assert_eq!(read(&chain, "other").await.as_deref(), Some("old"));
        assert!(chain.repair().await.is_err());
        assert!(chain.stats()[0].suspended);
        top.always(Class::Put, Act::Pass);
        top.always(Class::Remove, Act::Pass);
        chain.repair().await.unwrap();
        let stats = &chain.stats()[0];
        assert!(!stats.suspended && stats.suspects == 0, "{stats:?}");
        for key in &keys {
            assert_eq!(top.holds(key), None);
            assert_eq!(read(&chain, key).await.as_deref(), Some("new"));
        }
        idle(&chain).await;
        assert_eq!(top.holds("3").as_deref(), Some("new"));
    });
}

#[test]
fn a_repair_takes_out_what_is_in_doubt() {
    run(async {
        let (top, truth) = (volatile("top"), able("truth", Durability::Synced));
        let (chain, failures) = told(&[top.clone(), truth.clone()]);
        for key in ["a", "b"] {
            chain.put(key, "old").await.unwrap();
        }
        for class in [Class::Put, Class::Remove, Class::Remove] {
            top.fail(class);
        }
        chain.put("a", "new").await.unwrap();
        truth.next(Class::Put, Act::Late);
        assert!(chain.put("b", "new").await.unwrap_err().is_unknown());
        let stats = chain.stats();
        assert_eq!((stats[0].suspects, stats[1].suspects), (2, 1));
        chain.repair().await.unwrap();
        let stats = chain.stats();
        assert_eq!((stats[0].suspects, stats[1].suspects), (0, 0));
        assert_eq!((top.holds("a"), top.holds("b")), (None, None));
        for key in ["a", "b"] {
            assert_eq!(read(&chain, key).await.as_deref(), Some("new"));
        }
        idle(&chain).await;
        assert_eq!(top.holds("b").as_deref(), Some("new"));

        // One that fails is told to who asked, and to who wants to know.
        for class in [Class::Put, Class::Remove, Class::Remove] {
            top.fail(class);
        }
        chain.put("a", "newer").await.unwrap();
        let before = failures.lock().unwrap().len();
        assert_eq!(chain.repair().await.unwrap_err().tier(), "top");
        assert_eq!(failures.lock().unwrap().len(), before + 1);
        assert_eq!(chain.stats()[0].suspects, 1);
        chain.repair().await.unwrap();
        assert_eq!(top.holds("a"), None);
    });
}

/// Of the truth more is unknown than is remembered: nothing is copied up, until a repair.
#[test]
fn a_truth_with_too_much_unknown_is_asked_each_time() {
    run(async {
        let (top, truth) = (volatile("top"), able("truth", Durability::Synced));
        let chain = Chain::new()
            .suspects(0)
            .tier(top.clone())
            .tier(truth.clone())
            .build()
            .unwrap();
        chain.put("k", "old").await.unwrap();
        truth.next(Class::Put, Act::Late);
        assert!(chain.put("k", "v").await.unwrap_err().is_unknown());
        assert!(chain.stats()[1].suspended);
        truth.set("other", documentbuffer::tier::Entry::new("o"));
        assert_eq!(read(&chain, "other").await.as_deref(), Some("o"));
        idle(&chain).await;
        let gate = truth.hold_behind(Class::Get);
        let reader = spawn({
            let chain = chain.clone();
            async move { read(&chain, "k").await }
        });
        gate.reached().await;
        truth.land_late();
        assert_eq!(read(&chain, "k").await.as_deref(), Some("v"));
        assert_eq!((top.holds("k"), top.holds("other")), (None, None));
        chain.repair().await.unwrap();
        // A read that found the old one in doubt copies nothing up.
        gate.open();
        assert_eq!(reader.await.unwrap().as_deref(), Some("old"));
        idle(&chain).await;
        assert_eq!(top.holds("k"), None);
        assert_eq!(read(&chain, "k").await.as_deref(), Some("v"));
        idle(&chain).await;
        assert_eq!(top.holds("k").as_deref(), Some("v"));
    });
}

/// A level is in doubt while a read is under way.
#[test]
fn a_suspect_is_looked_for_before_the_level_is_asked() {
    run(async {
        let tiers = [volatile("top"), durable("truth")];
        let chain = chain_of(&tiers);
        chain.put("k", "old").await.unwrap();
        for class in [Class::Put, Class::Remove] {
            tiers[0].fail(class);
        }
        chain.put("k", "new").await.unwrap();
        assert_eq!(tiers[0].holds("k").as_deref(), Some("old"));
        tiers[0].take_log();
        let gate = tiers[0].hold(Class::Put);
        assert_eq!(read(&chain, "k").await.as_deref(), Some("new"));
        gate.reached().await;
        assert_eq!(tiers[0].take_log(), ["put k"], "it was not asked");
        gate.open();
        idle(&chain).await;
        assert_eq!(read(&chain, "k").await.as_deref(), Some("new"));
    });
}

#[test]
fn many_tasks_on_many_threads() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .build()
        .unwrap();
    runtime.block_on(async {
        let tiers = [
            volatile("top"),
            able("disk", Durability::Synced),
            durable("truth"),
        ];
        let chain = chain_of(&tiers);
        let tasks: Vec<_> = (0..8)
            .map(|task| {
                let (chain, top) = (chain.clone(), tiers[0].clone());
                tokio::spawn(async move {
                    for n in 0..300 {
                        let own = format!("own {task}");
                        chain.put(&own, format!("{n}")).await.unwrap();
                        top.evict(&own);
                        assert_eq!(read(&chain, &own).await, Some(n.to_string()));
                        chain.put("shared", format!("{task} {n}")).await.unwrap();
                        top.evict("shared");
                        read(&chain, "shared").await.unwrap();
                        chain.remove(&own).await.unwrap();
                        assert_eq!(read(&chain, &own).await, None);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        chain.close().await.unwrap();
        let truth = tiers[2].holds("shared");
        for tier in &tiers {
            let held = tier.holds("shared");
            assert!(held.is_none() || held == truth, "{held:?} {truth:?}");
        }
        assert!(chain.generations().is_empty());
    });
}

/// Reads beside a write that waits: `Poll` says so.
#[test]
fn a_volatile_level_answers_until_the_truth_has_the_new_value() {
    run(async {
        let tiers = [volatile("top"), durable("truth")];
        let chain = chain_of(&tiers);
        chain.put("k", "old").await.unwrap();
        let gate = tiers[1].hold(Class::Put);
        let mut write = pin!(chain.put("k", "new"));
        let context = &mut Context::from_waker(Waker::noop());
        assert!(matches!(write.as_mut().poll(context), Poll::Pending));
        gate.reached().await;
        assert_eq!(read(&chain, "k").await.as_deref(), Some("old"));
        gate.open();
        write.await.unwrap();
        assert_eq!(read(&chain, "k").await.as_deref(), Some("new"));
    });
}

//! The journal for tasks: under both runtimes, with futures that are dropped, full queues, and syncs that hang.

#![cfg(all(feature = "tokio", feature = "testing"))]

mod async_support;

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use async_support::{
    ALL, Count, gated, held, one_thread, open, options, poll, runtimes, soon, until,
    until_among_others,
};
use documentbuffer::journal::asynchronous::{AsyncJournal, Follow, Followed};
use documentbuffer::journal::{Durability, Error, Journal};
use documentbuffer::store::Directory;
use documentbuffer::store::fault::{FaultDirectory, Rng};

#[test]
fn many_tasks_append_and_none_is_lost() {
    for runtime in runtimes() {
        let dir = FaultDirectory::new(1);
        let journal = open(&options().segment(20_000), &dir);
        let positions = runtime.block_on(soon("appends", async {
            let mut tasks = Vec::new();
            for task in 0..64 {
                let journal = journal.clone();
                tasks.push(tokio::spawn(async move {
                    let mut positions = Vec::new();
                    for n in 0..100 {
                        let text = format!("{task} {n}");
                        let durability = ALL[(task + n) % 3];
                        positions.push(journal.append_with(text, durability).await.unwrap());
                    }
                    positions
                }));
            }
            let mut positions = Vec::new();
            for task in tasks {
                positions.push(task.await.unwrap());
            }
            let stats = journal.close().await.unwrap();
            assert_eq!((stats.end, stats.synced), (6400, 6400));
            assert!(stats.groups < 3200, "{stats:?}");
            positions
        }));
        let held = held(&dir);
        let mut seen = BTreeSet::new();
        for (task, positions) in positions.iter().enumerate() {
            assert!(positions.is_sorted());
            for (n, &position) in positions.iter().enumerate() {
                assert_eq!(held[position as usize], format!("{task} {n}"));
                assert!(seen.insert(position));
            }
        }
        assert_eq!((held.len(), seen.len()), (6400, 6400));
    }
}

#[test]
fn calls_return_what_those_of_the_journal_do() {
    for runtime in runtimes() {
        let dir = FaultDirectory::new(1);
        let journal = open(&options().max_document(100), &dir);
        runtime.block_on(soon("calls", async {
            assert_eq!(journal.append("a").await.unwrap(), 0);
            assert_eq!(journal.append_all(["b", "c"]).await.unwrap(), 1..3);
            assert_eq!(journal.append_all::<[&str; 0]>([]).await.unwrap(), 3..3);
            assert_eq!(journal.append_at(3, "d").await.unwrap(), 3);
            let mismatch = journal.append_at(3, "e").await.unwrap_err();
            assert!(matches!(
                mismatch,
                Error::PositionMismatch {
                    expected: 3,
                    actual: 4
                }
            ));
            let large = journal.append([0; 101]).await.unwrap_err();
            assert!(matches!(large, Error::TooLarge { len: 101, max: 100 }));
            let memory = journal.append_with("e", Durability::Memory);
            assert_eq!(memory.await.unwrap(), 4);
            let all = journal.append_all_with(["f"], Durability::Memory);
            assert_eq!(all.await.unwrap(), 5..6);
            assert_eq!(journal.journal().stats().written, 4);
            journal.flush().await.unwrap();
            let stats = journal.journal().stats();
            assert_eq!((stats.written, stats.synced), (6, 4));
            journal.sync().await.unwrap();
            assert_eq!(journal.journal().stats().synced, 6);
            let other = journal.clone();
            assert_eq!(journal.close().await.unwrap().end, 6);
            let closed = other.append("g").await.unwrap_err();
            assert!(matches!(closed, Error::Closed));
            assert!(matches!(other.sync().await, Err(Error::Closed)));
            assert!(matches!(other.follow(0).await, Err(Error::Closed)));
        }));
        assert_eq!(held(&dir), ["a", "b", "c", "d", "e", "f"]);
    }
}

/// A future of a test's own, and what it appends.
struct Asked<'a> {
    future: Pin<Box<dyn Future<Output = Result<u64, Error>> + 'a>>,
    text: String,
    accepted: Option<u64>,
}

/// Futures are polled and dropped at will, while syncs hang and go on: what was accepted is there once, in
/// its place, and nothing else. Returns how many were dropped behind that, and polled before it.
fn drop_at_will(seed: u64) -> [usize; 2] {
    let dir = FaultDirectory::new(seed);
    let (journal, gate) = gated(&options().queue(1 << 10), &dir);
    let mut rng = Rng::new(seed);
    let mut model: Vec<String> = Vec::new();
    let mut asked: Vec<Asked> = Vec::new();
    let (mut dropped, mut full) = (0, 0);
    for n in 0..300 {
        match rng.below(8) {
            0..=2 => {
                let text = format!("{n} {}", "x".repeat(rng.below(300) as usize));
                let durability = ALL[rng.below(3) as usize];
                let future = Box::pin(journal.append_with(text.clone(), durability));
                asked.push(Asked {
                    future,
                    text,
                    accepted: None,
                });
            }
            3 | 4 if !asked.is_empty() => {
                let one = asked.swap_remove(rng.below(asked.len() as u64) as usize);
                dropped += usize::from(one.accepted.is_some());
            }
            5 => gate.shut(),
            6 => gate.open(),
            _ => {}
        }
        if asked.is_empty() {
            continue;
        }
        let at = rng.below(asked.len() as u64) as usize;
        let one = &mut asked[at];
        let end = journal.journal().end();
        let outcome = poll(one.future.as_mut(), Waker::noop());
        if journal.journal().end() != end {
            assert_eq!(one.accepted, None, "seed {seed}: accepted twice");
            one.accepted = Some(model.len() as u64);
            model.push(one.text.clone());
        }
        full += usize::from(one.accepted.is_none());
        if let Some(outcome) = outcome {
            let position = outcome.unwrap();
            assert_eq!(Some(position), one.accepted, "seed {seed}");
            asked.swap_remove(at);
        }
    }
    gate.open();
    drop(asked);
    one_thread()
        .block_on(soon("close", journal.close()))
        .unwrap();
    assert_eq!(held(&dir), model, "seed {seed}");
    [dropped, full]
}

#[test]
fn dropped_futures_neither_lose_nor_repeat() {
    let mut all = [0, 0];
    for seed in 0..200 {
        let [dropped, full] = drop_at_will(seed);
        all = [all[0] + dropped, all[1] + full];
    }
    assert!(all.iter().all(|count| *count > 500), "{all:?}");
}

#[test]
fn who_waits_for_room_leaves_nothing_behind() {
    let dir = FaultDirectory::new(1);
    let (journal, gate) = gated(&options().queue(1 << 10), &dir);
    let big = "x".repeat(600);
    let noop = Waker::noop();
    gate.shut();
    let mut first = pin!(journal.append("first"));
    assert!(poll(first.as_mut(), noop).is_none());
    until("a sync that hangs", || gate.holds_one());
    let mut second = Box::pin(journal.append(&big));
    assert!(poll(second.as_mut(), noop).is_none());
    assert_eq!(journal.journal().end(), 2);
    let mut third = Box::pin(journal.append("third".repeat(100)));
    let unpolled = journal.append("unpolled");
    assert!(poll(third.as_mut(), noop).is_none());
    assert!(poll(third.as_mut(), noop).is_none());
    assert_eq!(journal.journal().end(), 2);
    drop((second, third, unpolled));
    gate.open();
    one_thread()
        .block_on(soon("close", journal.clone().close()))
        .unwrap();
    assert_eq!(held(&dir), ["first", &big]);
    assert!(matches!(poll(first.as_mut(), noop), Some(Ok(0))));
}

/// Counts its turns while it is polled beside others.
fn ticker() -> (Arc<AtomicU64>, tokio::task::JoinHandle<()>) {
    let ticks = Arc::new(AtomicU64::new(0));
    let counted = ticks.clone();
    let task = tokio::spawn(async move {
        loop {
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    (ticks, task)
}

async fn ticks_on(ticks: &AtomicU64, what: &str) {
    let goal = ticks.load(Ordering::Relaxed) + 1000;
    until_among_others(what, || ticks.load(Ordering::Relaxed) >= goal).await;
}

#[test]
fn the_only_thread_of_a_runtime_goes_on_while_a_sync_hangs() {
    let dir = FaultDirectory::new(1);
    let (journal, gate) = gated(&options().queue(1 << 10), &dir);
    one_thread().block_on(soon("the end", async {
        let (ticks, task) = ticker();
        let mut events = journal.follow(0).await.unwrap();
        gate.shut();
        let mut tasks = Vec::new();
        for n in 0..30 {
            let journal = journal.clone();
            let text = format!("{n} {}", "x".repeat(200));
            tasks.push(tokio::spawn(async move { journal.append(text).await }));
        }
        until_among_others("a sync that hangs", || gate.holds_one()).await;
        let others = journal.clone();
        let sync = tokio::spawn(async move { others.sync().await });
        let others = journal.clone();
        let flush = tokio::spawn(async move { others.flush().await });
        let others = journal.clone();
        let second = tokio::spawn(async move { others.follow(0).await.map(drop) });
        let first = tokio::spawn(async move { (events.next().await, events) });
        ticks_on(&ticks, "appends that wait").await;
        // Most of them have no room, and none is through.
        assert!(journal.journal().end() < 15);
        assert!(tasks.iter().all(|task| !task.is_finished()));
        assert!(!sync.is_finished() && !flush.is_finished());
        assert!(!second.is_finished() && !first.is_finished());
        gate.open();
        for (n, task) in tasks.into_iter().enumerate() {
            assert!(task.await.unwrap().unwrap() < 30, "{n}");
        }
        sync.await.unwrap().unwrap();
        flush.await.unwrap().unwrap();
        second.await.unwrap().unwrap();
        let (step, mut events) = first.await.unwrap();
        assert!(matches!(
            step,
            Some(Ok(Followed::Document { position: 0, .. }))
        ));

        // Nor does the end hold it up.
        gate.shut();
        let last = journal.clone();
        let append = tokio::spawn(async move { last.append("last").await });
        until_among_others("a sync that hangs", || gate.holds_one()).await;
        let close = tokio::spawn(journal.close());
        ticks_on(&ticks, "a close that waits").await;
        assert!(!close.is_finished());
        gate.open();
        assert_eq!(append.await.unwrap().unwrap(), 30);
        assert_eq!(close.await.unwrap().unwrap().synced, 31);
        for position in 1..31 {
            let step = events.next().await.unwrap().unwrap();
            assert!(matches!(step, Followed::Document { position: at, .. } if at == position));
        }
        assert!(events.next().await.is_none());
        task.abort();
    }));
    assert_eq!(held(&dir).len(), 31);
}

#[test]
fn the_last_handle_goes_without_blocking() {
    let dir = FaultDirectory::new(1);
    let (journal, gate) = gated(&options(), &dir);
    one_thread().block_on(soon("the end", async {
        let (ticks, task) = ticker();
        gate.shut();
        let mut append = Box::pin(journal.append("accepted"));
        assert!(poll(append.as_mut(), Waker::noop()).is_none());
        until_among_others("a sync that hangs", || gate.holds_one()).await;
        drop(append);
        drop(journal);
        ticks_on(&ticks, "a handle that goes").await;
        assert!(dir.lock().is_err());
        gate.open();
        until_among_others("the lock", || dir.lock().is_ok()).await;
        task.abort();
    }));
    assert_eq!(held(&dir), ["accepted"]);
}

#[test]
fn only_those_are_woken_who_can_go_on() {
    let dir = FaultDirectory::new(1);
    let (journal, gate) = gated(&options().queue(1 << 10), &dir);
    let big = "x".repeat(600);
    let counts: [Arc<Count>; 3] = Default::default();
    let wakers = counts.clone().map(Waker::from);
    let woken = || [0, 1, 2].map(|n| counts[n].woken());
    gate.shut();
    let mut one = pin!(journal.append("one"));
    let mut two = pin!(journal.append(&big));
    let mut three = pin!(journal.append(&big));
    assert!(poll(one.as_mut(), &wakers[0]).is_none());
    until("a sync that hangs", || gate.holds_one());
    assert!(poll(two.as_mut(), &wakers[1]).is_none());
    assert!(poll(three.as_mut(), &wakers[2]).is_none());
    assert_eq!((woken(), journal.journal().end()), ([0, 0, 0], 2));
    // The first group is through, and the second on its way: now there is room for the third.
    gate.pass();
    until("one", || counts[0].woken() == 1);
    until("three", || counts[2].woken() > 0);
    until("the next sync that hangs", || gate.holds_one());
    assert_eq!(counts[1].woken(), 0);
    assert!(matches!(poll(one.as_mut(), &wakers[0]), Some(Ok(0))));
    assert!(poll(two.as_mut(), &wakers[1]).is_none());
    let before = counts[2].woken();
    assert!(poll(three.as_mut(), &wakers[2]).is_none());
    assert_eq!(journal.journal().end(), 3);
    gate.pass();
    until("two", || counts[1].woken() == 1);
    until("the next sync that hangs", || gate.holds_one());
    assert_eq!((counts[0].woken(), counts[2].woken()), (1, before));
    gate.open();
    until("three", || counts[2].woken() == before + 1);
    assert!(matches!(poll(two.as_mut(), &wakers[1]), Some(Ok(1))));
    assert!(matches!(poll(three.as_mut(), &wakers[2]), Some(Ok(2))));
}

#[test]
fn whoever_polled_last_is_woken() {
    let dir = FaultDirectory::new(1);
    let (journal, gate) = gated(&options(), &dir);
    gate.shut();
    let counts: [Arc<Count>; 2] = Default::default();
    let mut append = Box::pin(journal.append("moved"));
    for count in &counts {
        assert!(poll(append.as_mut(), &Waker::from(count.clone())).is_none());
    }
    gate.open();
    until("a wake", || counts[1].woken() == 1);
    assert_eq!(counts[0].woken(), 0);
    assert!(matches!(poll(append.as_mut(), Waker::noop()), Some(Ok(0))));
}

type Boxed = Pin<Box<dyn Future<Output = Result<u64, Error>> + Send>>;

/// Owns its handle.
fn appends(journal: AsyncJournal, text: &'static str) -> Boxed {
    Box::pin(async move { journal.append(text).await })
}

#[test]
fn a_waker_may_hold_another_append() {
    let dir = FaultDirectory::new(1);
    let (journal, gate) = gated(&options(), &dir);
    gate.shut();
    let mut inner = appends(journal.clone(), "inner");
    assert!(poll(inner.as_mut(), Waker::noop()).is_none());
    let task = Waker::from(Count::new(inner));
    let mut outer = appends(journal.clone(), "outer");
    assert!(poll(outer.as_mut(), &task).is_none());
    drop(task);
    // The task that polled before goes, and with it an append that sleeps.
    assert!(poll(outer.as_mut(), Waker::noop()).is_none());
    gate.open();
    one_thread()
        .block_on(soon("close", journal.close()))
        .unwrap();
    assert!(matches!(poll(outer.as_mut(), Waker::noop()), Some(Ok(1))));
    assert_eq!(held(&dir), ["inner", "outer"]);
}

#[test]
fn the_thread_that_wakes_may_drop_the_last_handle() {
    let dir = FaultDirectory::new(1);
    let (journal, gate) = gated(&options(), &dir);
    gate.shut();
    let mut append = appends(journal, "only");
    let count: Arc<Count<Boxed>> = Arc::default();
    assert!(poll(append.as_mut(), &Waker::from(count.clone())).is_none());
    *count.held.lock().unwrap() = Some(append);
    gate.open();
    until("a wake", || count.woken() == 1);
    until("the lock", || dir.lock().is_ok());
    assert_eq!(held(&dir), ["only"]);
}

/// What a follower that believes what it is told knows, once that is what it should.
async fn learn(events: &mut Follow, known: &mut Vec<String>, model: &[String]) -> usize {
    let mut cuts = 0;
    while known != model {
        match soon("news", events.next()).await.unwrap().unwrap() {
            Followed::Document { position, bytes } => {
                assert_eq!(position, known.len() as u64);
                known.push(String::from_utf8(bytes).unwrap());
            }
            Followed::CutBack { to } => {
                assert!(to < known.len() as u64);
                known.truncate(to as usize);
                cuts += 1;
            }
            _ => unreachable!(),
        }
    }
    cuts
}

async fn follow_at_will(seed: u64) {
    let dir = FaultDirectory::new(seed);
    let journal = open(&options().segment(2000), &dir);
    let mut rng = Rng::new(seed);
    let mut model: Vec<String> = Vec::new();
    let mut known = Vec::new();
    let mut events = journal.follow(0).await.unwrap();
    let mut cuts = 0;
    for round in 0..300 {
        match rng.below(12) {
            0 => {
                let keep = rng.below(model.len() as u64 + 1);
                let cut = journal.run(move |journal| journal.truncate_after(keep));
                cut.await.unwrap();
                model.truncate(keep as usize);
            }
            1 => journal.run(Journal::rotate).await.unwrap(),
            2 => {
                let batch: Vec<String> = (0..rng.below(600))
                    .map(|n| format!("{round}/{n}"))
                    .collect();
                journal.append_all(&batch).await.unwrap();
                model.extend(batch);
            }
            _ => {
                let text = format!("{round} {}", "x".repeat(rng.below(40) as usize));
                journal.append(&text).await.unwrap();
                model.push(text);
            }
        }
        if rng.below(4) == 0 {
            cuts += learn(&mut events, &mut known, &model).await;
            // There is nothing more; and nothing is lost with the future.
            let mut next = pin!(events.next());
            assert!(poll(next.as_mut(), Waker::noop()).is_none());
        }
    }
    cuts += learn(&mut events, &mut known, &model).await;
    assert!(cuts > 3, "seed {seed}: {cuts}");
    journal.close().await.unwrap();
    assert!(soon("the end", events.next()).await.is_none());
    assert!(events.next().await.is_none());
}

#[test]
fn a_stream_knows_what_the_journal_holds() {
    for (runtime, seed) in runtimes().iter().zip([5, 6]) {
        runtime.block_on(follow_at_will(seed));
    }
}

#[test]
fn a_stream_says_what_it_cannot_hand_over() {
    one_thread().block_on(soon("the end", async {
        let dir = FaultDirectory::new(1);
        let journal = open(&options().segment(300), &dir);
        let mut events = journal.follow(0).await.unwrap();
        for n in 0..50 {
            journal.append(format!("event {n}")).await.unwrap();
        }
        let first = journal
            .run(|journal| journal.discard_before(40))
            .await
            .unwrap();
        assert!(first > 30);
        let early = journal.follow(3).await.unwrap_err();
        assert!(matches!(early, Error::Discarded { position: 3, .. }));
        let late = journal.follow(51).await.unwrap_err();
        assert!(matches!(late, Error::BeyondEnd { position: 51, .. }));
        let step = events.next().await.unwrap();
        assert!(
            matches!(step, Err(Error::Discarded { position: 0, .. })),
            "{step:?}"
        );
        assert!(events.next().await.is_none());
    }));
}

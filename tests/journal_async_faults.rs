//! The journal for tasks where disks are full, writes and syncs fail, stores panic, and it is closed.

#![cfg(all(feature = "tokio", feature = "testing"))]

mod async_support;

use std::collections::BTreeSet;
use std::task::Waker;

use async_support::{
    ALL, gated, held, one_thread, open, options, poll, runtimes, soon, until_among_others,
};
use documentbuffer::journal::asynchronous::Followed;
use documentbuffer::journal::{Durability, Error};
use documentbuffer::store::Directory;
use documentbuffer::store::fault::{Class, Fault, FaultDirectory, Kind, Rng};

#[test]
fn a_full_disk_fails_appends_and_loses_nothing() {
    for runtime in runtimes() {
        let dir = FaultDirectory::new(1);
        let journal = open(&options().queue(2 << 10), &dir);
        let expected = runtime.block_on(soon("appends", async {
            journal.append("before").await.unwrap();
            let used: usize = dir.view().values().map(Vec::len).sum();
            dir.set_cap(Some(used as u64 + 100));
            // Acknowledged, more than there is room for, and with no attempt to write it.
            let mut expected = vec!["before".to_owned()];
            while journal.journal().end() < 5 {
                let text = format!("memory {}", "x".repeat(100));
                let memory = journal.append_with(&text, Durability::Memory);
                memory.await.unwrap();
                expected.push(text);
            }
            assert!(matches!(journal.flush().await, Err(Error::Full { .. })));
            for round in 0..20 {
                let mut tasks = Vec::new();
                for n in 0..16 {
                    let journal = journal.clone();
                    let text = format!("{round} {n} {}", "x".repeat(n * 20));
                    let durability = ALL[(round + n) % 3];
                    tasks.push(tokio::spawn(async move {
                        journal.append_with(text, durability).await
                    }));
                }
                for task in tasks {
                    let full = task.await.unwrap();
                    assert!(matches!(full, Err(Error::Full { .. })), "{full:?}");
                }
                assert!(matches!(journal.flush().await, Err(Error::Full { .. })));
            }
            assert_eq!(journal.journal().end(), 5);
            dir.set_cap(None);
            assert_eq!(journal.append("after").await.unwrap(), 5);
            expected.push("after".to_owned());
            journal.close().await.unwrap();
            expected
        }));
        assert_eq!(held(&dir), expected);
    }
}

/// Writes fail now and then; who is told Ok is there, who is told an error is not, who is dropped may be.
fn fail_at_will(seed: u64) {
    let dir = FaultDirectory::new(seed);
    let journal = open(&options().queue(1 << 10), &dir);
    let mut rng = Rng::new(seed);
    for _ in 0..6 {
        dir.fault(Fault {
            kind: Kind::Fail(std::io::ErrorKind::Other),
            class: Class::Write,
            at: 4 + rng.below(40),
            sticky: false,
        });
    }
    let runtime = one_thread();
    let outcomes = runtime.block_on(soon("appends", async {
        let mut tasks = Vec::new();
        for task in 0..8u64 {
            let journal = journal.clone();
            let mut rng = Rng::new(seed ^ (task << 32));
            tasks.push(tokio::spawn(async move {
                let mut outcomes = Vec::new();
                for n in 0..20 {
                    let text = format!("{task}.{n} {}", "x".repeat(rng.below(400) as usize));
                    let durability = ALL[1 + rng.below(2) as usize];
                    let mut append = Box::pin(journal.append_with(text.clone(), durability));
                    let gives_up = rng.below(5) == 0;
                    let outcome = match gives_up {
                        true => poll(append.as_mut(), Waker::noop()),
                        false => Some(append.await),
                    };
                    outcomes.push((text, outcome));
                }
                outcomes
            }));
        }
        let mut outcomes = Vec::new();
        for task in tasks {
            outcomes.extend(task.await.unwrap());
        }
        dir.calm();
        journal.close().await.unwrap();
        outcomes
    }));
    let held = held(&dir);
    let distinct: BTreeSet<_> = held.iter().collect();
    assert_eq!(distinct.len(), held.len(), "seed {seed}: repeated");
    for (text, outcome) in outcomes {
        match outcome {
            Some(Ok(position)) => assert_eq!(held[position as usize], text, "seed {seed}"),
            Some(Err(_)) => assert!(!distinct.contains(&text), "seed {seed}: {text}"),
            None => {}
        }
    }
}

#[test]
fn a_failed_write_fails_its_group_alone() {
    (0..100).for_each(fail_at_will);
}

/// That call of a class fails, counted from now on.
fn fail_once(dir: &FaultDirectory, class: Class, at: u64) {
    dir.calm();
    dir.fault(Fault {
        kind: Kind::Fail(std::io::ErrorKind::Other),
        class,
        at,
        sticky: false,
    });
}

#[test]
fn nothing_is_acknowledged_behind_what_is_waited_for() {
    let dir = FaultDirectory::new(1);
    let (journal, gate) = gated(&options().segment(1), &dir);
    one_thread().block_on(soon("errors", async {
        journal.append("a").await.unwrap();
        gate.shut();
        let mut ahead = Box::pin(journal.append_with("b", Durability::Written));
        assert!(poll(ahead.as_mut(), Waker::noop()).is_none());
        // That of its segment, before it is written.
        until_among_others("a sync that hangs", || gate.holds_one()).await;
        let mut memory = Box::pin(journal.append_with("c", Durability::Memory));
        let taken = poll(memory.as_mut(), Waker::noop());
        fail_once(&dir, Class::Write, 0);
        gate.open();
        assert!(taken.is_none(), "{taken:?}");
        assert!(ahead.await.is_err() && memory.await.is_err());
        assert_eq!(journal.append("d").await.unwrap(), 1);
    }));
    assert_eq!(held(&dir), ["a", "d"]);
}

#[test]
fn nothing_is_acknowledged_while_the_journal_is_cut() {
    let dir = FaultDirectory::new(1);
    let (journal, gate) = gated(&options(), &dir);
    one_thread().block_on(soon("the cut", async {
        journal.append_all(["a", "b", "c"]).await.unwrap();
        gate.shut();
        let cutter = journal.journal().clone();
        let cut = tokio::task::spawn_blocking(move || cutter.truncate_after(1));
        until_among_others("a sync that hangs", || gate.holds_one()).await;
        let mut memory = Box::pin(journal.append_with("B", Durability::Memory));
        let taken = poll(memory.as_mut(), Waker::noop());
        gate.open();
        assert!(taken.is_none(), "{taken:?}");
        cut.await.unwrap().unwrap();
        assert_eq!(memory.await.unwrap(), 1);
        journal.close().await.unwrap();
    }));
    assert_eq!(held(&dir), ["a", "B"]);
}

#[test]
fn what_was_written_of_a_backlog_is_not_written_again() {
    let dir = FaultDirectory::new(1);
    let (journal, gate) = gated(&options().segment(1), &dir);
    one_thread().block_on(soon("flushes", async {
        journal.append("a").await.unwrap();
        gate.shut();
        journal.append_with("b", Durability::Memory).await.unwrap();
        let mut flush = Box::pin(journal.flush());
        assert!(poll(flush.as_mut(), Waker::noop()).is_none());
        until_among_others("a sync that hangs", || gate.holds_one()).await;
        journal.append_with("c", Durability::Memory).await.unwrap();
        fail_once(&dir, Class::Write, 0);
        gate.open();
        assert!(flush.await.is_err());
        // Of their segments the second.
        fail_once(&dir, Class::Create, 1);
        assert!(journal.flush().await.is_err());
        assert_eq!(dir.fired(), 1);
        assert_eq!(journal.append("d").await.unwrap(), 3);
    }));
    assert_eq!(held(&dir), ["a", "b", "c", "d"]);
}

#[test]
fn a_failed_sync_is_everybodys_and_final() {
    for runtime in runtimes() {
        let dir = FaultDirectory::new(1);
        let (journal, gate) = gated(&options().queue(1 << 10), &dir);
        runtime.block_on(soon("errors", async {
            journal.append("good").await.unwrap();
            let mut events = journal.follow(0).await.unwrap();
            let first = events.next().await;
            assert!(matches!(first, Some(Ok(Followed::Document { .. }))));
            gate.shut();
            let mut tasks = Vec::new();
            for n in 0..20 {
                let journal = journal.clone();
                let text = format!("{n} {}", "x".repeat(200));
                tasks.push(tokio::spawn(async move { journal.append(text).await }));
            }
            let follower = tokio::spawn(async move { (events.next().await, events) });
            until_among_others("a sync that hangs", || gate.holds_one()).await;
            dir.fault(Fault {
                kind: Kind::SyncLoses,
                class: Class::Sync,
                at: dir.calls().stores.syncs,
                sticky: false,
            });
            gate.open();
            for task in tasks {
                let failed = task.await.unwrap();
                assert!(matches!(failed, Err(Error::Failed { .. })), "{failed:?}");
            }
            let (step, mut events) = follower.await.unwrap();
            assert!(matches!(step, Some(Err(Error::Failed { .. }))), "{step:?}");
            assert!(events.next().await.is_none());
            for _ in 0..3 {
                let memory = journal.append_with("late", Durability::Memory);
                assert!(matches!(memory.await, Err(Error::Failed { .. })));
                assert!(matches!(journal.sync().await, Err(Error::Failed { .. })));
                assert!(matches!(journal.flush().await, Err(Error::Failed { .. })));
            }
            let closed = journal.close().await;
            assert!(matches!(closed, Err(Error::Failed { .. })));
        }));
    }
}

#[test]
fn closing_tells_all_who_wait() {
    for runtime in runtimes() {
        let dir = FaultDirectory::new(1);
        let (journal, gate) = gated(&options().queue(1 << 10), &dir);
        let outcomes = runtime.block_on(soon("appends", async {
            gate.shut();
            let mut tasks = Vec::new();
            for n in 0..30 {
                let journal = journal.clone();
                let text = format!("{n} {}", "x".repeat(200));
                tasks.push((
                    text.clone(),
                    tokio::spawn(async move { journal.append(text).await }),
                ));
            }
            until_among_others("a sync that hangs", || gate.holds_one()).await;
            let closing = journal.clone();
            let close = tokio::spawn(closing.close());
            gate.open();
            let mut outcomes = Vec::new();
            for (text, task) in tasks {
                outcomes.push((text, task.await.unwrap()));
            }
            close.await.unwrap().unwrap();
            assert!(matches!(journal.append("late").await, Err(Error::Closed)));
            outcomes
        }));
        let held = held(&dir);
        let good = outcomes.iter().filter(|(_, outcome)| outcome.is_ok());
        assert_eq!(good.count(), held.len());
        for (text, outcome) in outcomes {
            match outcome {
                Ok(position) => assert_eq!(held[position as usize], text),
                Err(error) => assert!(matches!(error, Error::Closed), "{error:?}"),
            }
        }
    }
}

#[test]
fn a_store_that_panics_is_the_end_for_all() {
    for runtime in runtimes() {
        let dir = FaultDirectory::new(1);
        let journal = open(&options().queue(1 << 10), &dir);
        runtime.block_on(soon("errors", async {
            dir.fault(Fault {
                kind: Kind::Panic,
                class: Class::Sync,
                at: dir.calls().stores.syncs,
                sticky: false,
            });
            let mut tasks = Vec::new();
            for n in 0..20 {
                let journal = journal.clone();
                let text = format!("{n} {}", "x".repeat(200));
                tasks.push(tokio::spawn(async move { journal.append(text).await }));
            }
            for task in tasks {
                let failed = task.await.unwrap();
                assert!(matches!(failed, Err(Error::Failed { .. })), "{failed:?}");
            }
            drop(journal);
            until_among_others("the lock", || dir.lock().is_ok()).await;
        }));
    }
}

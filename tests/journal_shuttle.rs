//! The committer's own code under a scheduler that tries out interleavings: threads and tasks that append,
//! stores that fail, cuts, and ends.
//!
//! ```sh
//! RUSTFLAGS="--cfg shuttle" cargo test --features tokio,testing --test journal_shuttle
//! ```
//!
//! `SHUTTLE_ITERATIONS` sets another number of schedules; `-- --ignored` runs a million and more. A schedule
//! that fails is printed: `SHUTTLE_SCHEDULE='…'` in front of the command, and the model's name behind it, run
//! that one alone.

#![cfg(all(shuttle, feature = "tokio", feature = "testing"))]

mod shuttle_support;

use std::io::ErrorKind;

use documentbuffer::journal::{Durability, Error, Step};
use documentbuffer::store::Directory;
use documentbuffer::store::fault::{Class, Kind};
use shuttle::future::block_on;
use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;

use shuttle_support::{
    ALL, Said, World, appender, check_held, check_order, durable, explore, explore_long, held,
    join_all, task,
};

/// Three writers, each with all durabilities, and one that syncs.
fn writers() {
    let world = World::new();
    let writers = (0..3).map(|n| appender(&world, n, 3)).collect();
    let (journal, dir) = (world.journal.clone(), world.dir.clone());
    let syncer = thread::spawn(move || {
        let first = journal.append_with("memory", Durability::Memory).unwrap();
        journal.sync().unwrap();
        assert_eq!(durable(&dir)[first as usize], "memory");
        let second = journal.append("synced").unwrap();
        assert_eq!(durable(&dir)[second as usize], "synced");
    });
    let said = join_all(writers);
    syncer.join().unwrap();
    let dir = world.close();
    assert!(said.iter().all(Said::is_ok));
    check_order(&said);
    check_held(&held(&dir), &said, &["memory", "synced"]);
}

/// What was acknowledged in memory only is replayed, also while others' documents are on their way.
fn readers() {
    let world = World::new();
    let mut writers: Vec<_> = (0..2).map(|n| appender(&world, n, 3)).collect();
    for n in 2..4 {
        let journal = world.journal.clone();
        writers.push(thread::spawn(move || {
            let said = Said::append(&journal, n, 0, 5, Durability::Memory);
            let mut replay = journal.replay(said.position()).unwrap();
            let found = replay.next().unwrap().expect("acknowledged");
            assert_eq!(found.bytes, said.text.as_bytes());
            vec![said]
        }));
    }
    let said = join_all(writers);
    let dir = world.close();
    check_held(&held(&dir), &said, &[]);
}

/// A write fails once.
fn failing_writes() {
    let world = World::new();
    let kind = match thread_rng().gen_bool(0.5) {
        true => Kind::Full,
        false => Kind::Fail(ErrorKind::Other),
    };
    world.fail(Class::Write, thread_rng().gen_range(0..8), kind);
    let writers = (0..3).map(|n| appender(&world, n, 3)).collect();
    let journal = world.journal.clone();
    // An error may be somebody else's, and the next attempt is a new one.
    let flusher = thread::spawn(move || while journal.flush().is_err() {});
    let said = join_all(writers);
    flusher.join().unwrap();
    world.dir.calm();
    world.journal.flush().unwrap();
    let dir = world.close();
    check_order(&said);
    check_held(&held(&dir), &said, &[]);
}

/// The disk is full until somebody frees some, bit by bit: what was acknowledged stays, and memory is bounded.
fn full_disk() {
    let world = World::new();
    let used: usize = world.dir.view().values().map(Vec::len).sum();
    world.dir.set_cap(Some(used as u64 + 100));
    let most = if world.roomy { 16 << 10 } else { 2 << 10 };
    let writer = |n: usize| {
        let journal = world.journal.clone();
        thread::spawn(move || {
            let one = |i| {
                let durability = ALL[usize::from(thread_rng().gen_bool(0.2))];
                let said = Said::append(&journal, n, i, 300, durability);
                let stats = journal.stats();
                let waiting = (stats.end - stats.written) * 300;
                assert!(waiting <= most, "{waiting} bytes wait");
                said
            };
            (0..6).map(one).collect()
        })
    };
    let writers = (0..3).map(writer).collect();
    let dir = world.dir.clone();
    let frees = thread::spawn(move || {
        for bytes in (400..2000).step_by(200) {
            dir.set_cap(Some(used as u64 + bytes));
            thread::yield_now();
        }
        dir.set_cap(None);
    });
    let said = join_all(writers);
    frees.join().unwrap();
    world.journal.flush().unwrap();
    let dir = world.close();
    check_order(&said);
    check_held(&held(&dir), &said, &[]);
}

/// A failed sync is everybody's, and what was durable before is.
fn failing_sync() {
    let world = World::new();
    let behind = thread_rng().gen_range(0..4);
    world.fail(Class::Sync, behind, Kind::SyncLoses);
    let writers = (0..3).map(|n| appender(&world, n, 3)).collect();
    let said = join_all(writers);
    let durable = durable(&world.dir);
    for said in &said {
        match &said.outcome {
            Some(Ok(position)) if said.durability == Durability::Synced => {
                assert_eq!(durable[*position as usize], said.text);
            }
            Some(Ok(_) | Err(Error::Failed { .. })) => {}
            _ => panic!("{said:?}"),
        }
    }
    for thread in 0..3 {
        let mut own = said.iter().filter(|said| said.thread == thread);
        // Behind an error nothing is Ok.
        assert!(own.by_ref().find(|said| !said.is_ok()).is_none() || !own.any(Said::is_ok));
    }
    if !said.iter().all(Said::is_ok) {
        let late = world.journal.append_with("late", Durability::Memory);
        assert!(matches!(late, Err(Error::Failed { .. })));
        assert!(matches!(world.journal.flush(), Err(Error::Failed { .. })));
        assert!(matches!(world.journal.rotate(), Err(Error::Failed { .. })));
    }
}

/// The end is moved back, and a segment begun, amid appends.
fn cuts() {
    let world = World::new();
    let first = ["a", "b", "c", "d"];
    assert_eq!(world.journal.append_all(first).unwrap(), 0..4);
    let writers = (0..2).map(|n| appender(&world, n, 3)).collect();
    let keep = thread_rng().gen_range(1..7u64);
    let journal = world.journal.clone();
    let cutter = thread::spawn(move || {
        let cut = match journal.truncate_after(keep) {
            Err(Error::BeyondEnd { position, .. }) if position == keep => false,
            done => done.is_ok(),
        };
        let behind = Said::append(&journal, 2, 0, 10, Durability::Memory);
        (cut, behind)
    });
    let journal = world.journal.clone();
    let rotates = thread::spawn(move || journal.rotate().unwrap());
    let mut said = join_all(writers);
    let (cut, behind) = cutter.join().unwrap();
    rotates.join().unwrap();
    said.push(behind);
    let end = world.journal.end();
    let held = held(&world.close());
    assert_eq!(held.len() as u64, end);
    let stands = |said: &&Said| held.get(said.position() as usize) == Some(&said.text);
    for said in &said {
        // What the cutter appends comes behind its cut.
        let may_be_cut = cut && said.position() >= keep && said.thread != 2;
        assert!(stands(&said) || may_be_cut, "{said:?} of {held:?}");
    }
    let left: Vec<Said> = said.iter().filter(stands).cloned().collect();
    check_order(&left);
    let kept = if cut { keep.min(4) } else { 4 };
    check_held(&held, &left, &first[..kept as usize]);
}

/// The journal is closed amid appends: what was Ok is durable, the rest is told.
fn closing() {
    let world = World::new();
    let writers = (0..3).map(|n| appender(&world, n, 3)).collect();
    let other = world.journal.clone();
    let closer = thread::spawn(move || other.close().unwrap());
    let stats = closer.join().unwrap();
    let said = join_all(writers);
    let durable = durable(&world.dir);
    assert_eq!((stats.synced, durable.len() as u64), (stats.end, stats.end));
    check_order(&said);
    check_held(&durable, &said, &[]);
    let told = |said: &Said| said.is_ok() || matches!(said.outcome, Some(Err(Error::Closed)));
    assert!(said.iter().all(told));
    assert!(world.dir.lock().is_ok());
}

/// The last handle is dropped by whoever comes last.
fn dropped_handles() {
    let world = World::new();
    let writers = (0..3).map(|n| appender(&world, n, 2)).collect();
    let dir = world.dir.clone();
    drop(world);
    let said = join_all(writers);
    assert!(dir.lock().is_ok());
    let held = held(&dir);
    for said in said {
        match held.get(said.position() as usize) {
            Some(text) => assert_eq!(*text, said.text),
            None => assert_eq!(said.durability, Durability::Memory),
        }
    }
}

/// A follower gets everything, in order, and is told the end.
fn followers() {
    let world = World::new();
    let mut follower = world.journal.follow(0).unwrap();
    let reader = thread::spawn(move || {
        let mut known = Vec::new();
        loop {
            match follower.next() {
                Ok(Step::Document(document)) => {
                    assert_eq!(document.position, known.len() as u64);
                    known.push(String::from_utf8(document.bytes.to_vec()).unwrap());
                }
                Err(Error::Closed) => return known,
                other => panic!("{other:?}"),
            }
        }
    });
    let writers = (0..2).map(|n| appender(&world, n, 3)).collect();
    let said = join_all(writers);
    let dir = world.close();
    let known = reader.join().unwrap();
    assert_eq!(known, held(&dir));
    check_held(&known, &said, &[]);
}

/// A position that is expected is met once.
fn expected_positions() {
    let world = World::new();
    let writer = |n: u64| {
        let journal = world.journal.clone();
        thread::spawn(move || {
            let mut at = 0;
            loop {
                match journal.append_at(at, format!("{n}")) {
                    Ok(position) => return (position, at),
                    Err(Error::PositionMismatch { actual, .. }) => at = actual,
                    Err(error) => panic!("{error:?}"),
                }
            }
        })
    };
    let writers: Vec<_> = (0..3).map(writer).collect();
    let met: Vec<_> = writers.into_iter().map(|w| w.join().unwrap()).collect();
    let held = held(&world.close());
    assert_eq!(held.len(), 3);
    for (n, (position, expected)) in met.into_iter().enumerate() {
        assert_eq!(position, expected);
        assert_eq!(held[position as usize], n.to_string());
    }
}

/// Tasks beside a thread; some futures are dropped, the queue may be full, a write may fail.
fn tasks() {
    let world = World::new();
    let failing = thread_rng().gen_bool(0.3);
    if failing {
        let behind = thread_rng().gen_range(0..6);
        world.fail(Class::Write, behind, Kind::Fail(ErrorKind::Other));
    }
    let writer = appender(&world, 0, 3);
    let tasks: Vec<_> = (1..4).map(|n| task(&world, n, 3)).collect();
    let mut said = join_all(vec![writer]);
    for task in tasks {
        said.extend(block_on(task).unwrap());
    }
    world.dir.calm();
    // What was dropped may be on its way, and fail yet.
    while block_on(world.tasks().flush()).is_err() {}
    let roomy = world.roomy;
    let held = held(&world.close());
    for said in said.iter().filter(|_| !failing) {
        // Where there is room, the first poll is all that it takes.
        let dropped = said.outcome.is_none();
        assert!(said.is_ok() || dropped, "{said:?}");
        assert!(!dropped || !roomy || held.contains(&said.text), "{said:?}");
    }
    check_order(&said);
    check_held(&held, &said, &[]);
}

/// The disk is full, and tasks wait for room that only an append that succeeds would make: they are told.
fn tasks_on_a_full_disk() {
    let world = World::new();
    let used: usize = world.dir.view().values().map(Vec::len).sum();
    world.dir.set_cap(Some(used as u64 + 20));
    let memory = Said::append(&world.journal, 0, 0, 300, Durability::Memory);
    assert!(memory.is_ok() && world.journal.flush().is_err());
    let tasks: Vec<_> = (1..4).map(|n| task(&world, n, 2)).collect();
    let mut said = vec![memory];
    for task in tasks {
        said.extend(block_on(task).unwrap());
    }
    let full = |said: &Said| matches!(said.outcome, None | Some(Err(Error::Full { .. })));
    assert!(said.iter().skip(1).all(full), "{said:?}");
    world.dir.set_cap(None);
    world.journal.flush().unwrap();
    check_held(&held(&world.close()), &said, &[]);
}

/// The journal is closed, or its sync fails, while tasks wait.
fn tasks_that_are_told() {
    let world = World::new();
    if thread_rng().gen_bool(0.5) {
        let behind = thread_rng().gen_range(0..3);
        world.fail(Class::Sync, behind, Kind::SyncDirty);
    }
    let tasks: Vec<_> = (0..3).map(|n| task(&world, n, 3)).collect();
    let other = world.journal.clone();
    let closer = thread::spawn(move || other.close());
    let mut said = Vec::new();
    for task in tasks {
        said.extend(block_on(task).unwrap());
    }
    let closed = closer.join().unwrap();
    for said in &said {
        let told = match &said.outcome {
            Some(Err(Error::Closed)) => closed.is_ok(),
            Some(Err(Error::Failed { .. })) => closed.is_err(),
            Some(Err(_)) => false,
            _ => true,
        };
        assert!(told, "{said:?}");
    }
    if closed.is_ok() {
        check_order(&said);
        check_held(&durable(&world.dir), &said, &[]);
    }
}

macro_rules! models {
    ($($name:ident)*) => {
        mod short {
            $(#[test]
            fn $name() {
                super::explore(concat!("short::", stringify!($name)), super::$name);
            })*
        }

        mod long {
            $(#[test]
            #[ignore = "takes some minutes"]
            fn $name() {
                super::explore_long(concat!("short::", stringify!($name)), super::$name);
            })*
        }
    };
}

models! {
    writers
    readers
    failing_writes
    full_disk
    failing_sync
    cuts
    closing
    dropped_handles
    followers
    expected_positions
    tasks
    tasks_on_a_full_disk
    tasks_that_are_told
}

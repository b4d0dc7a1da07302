//! Followers: in the process that writes, and in another one.

#![cfg(feature = "journal")]

mod watched_support;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use documentbuffer::journal::{Durability, Error, Follower, Journal, Options, Reader, Step};
use tempfile::TempDir;
use watched_support::{Done, Watched};

/// What never comes does not hang a test for ever.
const LONG: Duration = Duration::from_secs(60);

fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    (dir, path)
}

/// What a follower that believes what it is told knows now.
fn take(follower: &mut Follower, known: &mut Vec<String>) -> usize {
    let mut cuts = 0;
    while let Some(step) = follower.try_next().unwrap() {
        match step {
            Step::Document(document) => {
                assert_eq!(document.position, known.len() as u64);
                known.push(String::from_utf8(document.bytes.to_vec()).unwrap());
            }
            Step::CutBack { to } => {
                assert!(to < known.len() as u64);
                known.truncate(to as usize);
                cuts += 1;
            }
            _ => unreachable!(),
        }
    }
    cuts
}

#[test]
fn followers_inside_and_outside_know_what_the_journal_holds() {
    let (_dir, path) = place();
    let journal = Options::new().segment(700).open(&path).unwrap();
    let mut inside = journal.follow(0).unwrap();
    let mut outside = Reader::open(&path).unwrap().follow(0).unwrap();
    let (mut in_known, mut out_known) = (Vec::new(), Vec::new());
    let mut model: Vec<String> = Vec::new();
    let mut seed = 7u64;
    let mut draw = |below: u64| {
        seed = seed
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (seed >> 33) % below
    };
    for round in 0..2000 {
        match draw(12) {
            0 => {
                let keep = draw(model.len() as u64 + 1);
                journal.truncate_after(keep).unwrap();
                model.truncate(keep as usize);
            }
            1 => journal.rotate().unwrap(),
            2 => {
                let batch: Vec<String> = (0..draw(20)).map(|n| format!("{round}/{n}")).collect();
                journal.append_all(&batch).unwrap();
                model.extend(batch);
            }
            _ => {
                let text = format!("{round} {}", "x".repeat(draw(40) as usize));
                journal.append(&text).unwrap();
                model.push(text);
            }
        }
        if draw(3) == 0 {
            take(&mut inside, &mut in_known);
            assert_eq!(in_known, model, "round {round}");
        }
        if draw(3) == 0 {
            // It looks at all names only now and then.
            for _ in 0..17 {
                take(&mut outside, &mut out_known);
            }
            assert_eq!(out_known, model, "round {round}");
        }
    }
}

#[test]
fn a_follower_sees_what_is_durable_and_no_more() {
    let (_dir, path) = place();
    let journal = Journal::open(&path).unwrap();
    let mut follower = journal.follow(0).unwrap();
    journal.append_with("a", Durability::Written).unwrap();
    assert!(follower.try_next().unwrap().is_none());
    journal.sync().unwrap();
    assert!(matches!(follower.next().unwrap(), Step::Document(d) if d.bytes == b"a"));
    let waiting = std::thread::spawn(move || {
        let step = follower.next();
        matches!(step, Ok(Step::Document(document)) if document.bytes == b"b") as u32
            + matches!(follower.next(), Err(Error::Closed)) as u32
    });
    journal.append("b").unwrap();
    journal.close().unwrap();
    assert_eq!(waiting.join().unwrap(), 2);
}

#[test]
fn who_begins_before_the_oldest_is_told_the_oldest() {
    let (_dir, path) = place();
    let journal = Options::new().segment(300).open(&path).unwrap();
    let mut late = journal.follow(0).unwrap();
    let mut outside = Reader::open(&path).unwrap().follow(0).unwrap();
    for n in 0..50 {
        journal.append(format!("event {n}")).unwrap();
    }
    let first = journal.discard_before(40).unwrap();
    assert!(first > 30);
    for refused in [
        journal.follow(3).err(),
        Reader::open(&path).unwrap().follow(3).err(),
        journal.replay(3).err(),
    ] {
        match refused {
            Some(Error::Discarded {
                position: 3,
                first: told,
            }) => assert_eq!(told, first),
            other => panic!("{other:?}"),
        }
    }
    for follower in [&mut late, &mut outside] {
        let (mut seen, mut looks) = (0, 0);
        let overtaken = loop {
            match follower.try_next() {
                Ok(Some(_)) => seen += 1,
                // It looks at all names only now and then.
                Ok(None) => looks += 1,
                Err(error) => break error,
            }
            assert!(looks <= 16, "there are documents");
        };
        assert!(seen < 40, "{seen}");
        assert!(matches!(overtaken, Error::Discarded { first: told, .. } if told == first));
    }
    assert!(matches!(
        journal.follow(51),
        Err(Error::BeyondEnd {
            position: 51,
            end: 50
        })
    ));
}

/// Appends in a process of its own, until it is killed.
#[test]
#[ignore = "a child of another test"]
fn writes_until_killed() {
    let Some(path) = std::env::var_os("JOURNAL_TO_WRITE") else {
        return;
    };
    let journal = Options::new().segment(4000).open(&path).unwrap();
    for n in journal.end().. {
        journal.append(format!("event {n}")).unwrap();
    }
}

#[test]
fn a_follower_goes_on_when_the_writer_was_killed_and_comes_back() {
    let (_dir, path) = place();
    drop(Journal::open(&path).unwrap());
    let mut follower = Reader::open(&path).unwrap().follow(0).unwrap();
    let mut next = 0u64;
    for _ in 0..4 {
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writes_until_killed", "--ignored", "--nocapture"])
            .env("JOURNAL_TO_WRITE", &path)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let goal = next + 300;
        while next < goal {
            let step = follower.next_timeout(Duration::from_secs(60)).unwrap();
            let Some(Step::Document(document)) = step else {
                panic!("{step:?} at {next}");
            };
            assert_eq!(document.position, next);
            assert_eq!(document.bytes, format!("event {next}").as_bytes());
            next += 1;
        }
        writer.kill().unwrap();
        writer.wait().unwrap();
    }
    let journal = Journal::open(&path).unwrap();
    assert!(journal.end() >= next);
}

/// A segment may be cut away between the look at the names and the opening of the file.
#[test]
fn a_follower_beside_a_busy_writer_is_never_told_that_a_file_is_gone() {
    let (_dir, path) = place();
    let journal = Options::new()
        .segment(300)
        .durability(Durability::Written)
        .open(&path)
        .unwrap();
    let follower = Reader::open(&path).unwrap().follow(0).unwrap();
    let listener = std::thread::spawn(move || {
        let (mut follower, mut known) = (follower, Vec::new());
        while known.last().map(String::as_str) != Some("last") {
            take(&mut follower, &mut known);
        }
        known
    });
    let mut model: Vec<String> = Vec::new();
    for round in 0..1500usize {
        let text = format!("{round} {}", "x".repeat(round * 7919 % 90));
        journal.append(&text).unwrap();
        model.push(text);
        if round % 3 == 0 {
            let keep = model.len() - (round * 31 % 12).min(model.len());
            journal.truncate_after(keep as u64).unwrap();
            model.truncate(keep);
        }
    }
    journal.append("last").unwrap();
    model.push("last".to_owned());
    assert_eq!(listener.join().unwrap(), model);
}

/// The file of a segment that is cut away goes before the readers of the process are shown the chain without
/// it; on a busy machine the writer may stand still in between.
#[test]
fn a_follower_waits_until_the_writer_says_what_became_of_a_segment() {
    let (_dir, path) = place();
    let (missed, misses) = channel();
    let (let_go, go) = channel();
    let go = Mutex::new(go);
    let directory = Watched::open(&path, move |done, _| {
        if done != Done::Read {
            missed.send(done).unwrap();
        }
        if done == Done::Removed {
            go.lock().unwrap().recv_timeout(LONG).unwrap();
        }
    });
    let journal = Options::new().open_in(Arc::new(directory)).unwrap();
    journal.append("kept").unwrap();
    journal.rotate().unwrap();
    journal.append("cut away").unwrap();
    let mut follower = journal.follow(0).unwrap();
    assert!(matches!(follower.next(), Ok(Step::Document(_))));
    let cutter = std::thread::spawn({
        let journal = journal.clone();
        move || journal.truncate_after(1)
    });
    assert_eq!(misses.recv_timeout(LONG).unwrap(), Done::Removed);
    let reader = std::thread::spawn(move || {
        let told = match follower.next() {
            Ok(Step::Document(document)) => Ok(document.bytes.to_vec()),
            Ok(_) => Ok(Vec::new()),
            Err(error) => Err(error),
        };
        (told, follower)
    });
    assert_eq!(misses.recv_timeout(LONG).unwrap(), Done::Missed);
    let_go.send(()).unwrap();
    cutter.join().unwrap().unwrap();
    journal.append("new").unwrap();
    let (told, _follower) = reader.join().unwrap();
    assert_eq!(told.unwrap(), b"new");
    assert_eq!(misses.try_iter().count(), 0, "it asked again too early");
}

/// One pass of every kind of reading; what is cut away or discarded under it may end it, and nothing else.
fn read_all(reader: &Reader) {
    let may_end = |error: &Error| matches!(error, Error::CutBack { .. } | Error::Discarded { .. });
    let range = reader.range().unwrap();
    assert!(range.start <= range.end);
    let segments = reader.segments().unwrap();
    assert!(segments.last().is_some_and(|live| !live.sealed));
    let replay = reader.replay(range.start);
    let positions = replay.map(|replay| replay.map(|found| found.map(|(position, _)| position)));
    match positions.map(Iterator::collect::<Result<Vec<u64>, _>>) {
        Ok(Ok(positions)) => assert!(positions.is_sorted()),
        Ok(Err(error)) | Err(error) => assert!(may_end(&error), "{error:?}"),
    }
    let newest: Result<Vec<_>, _> = reader.rev().unwrap().collect();
    assert!(newest.as_ref().err().is_none_or(may_end), "{newest:?}");
    let report = reader.verify().unwrap();
    assert!(report.is_sound(), "{:?}", report.problems);
}

#[test]
fn readers_beside_a_busy_writer_find_no_trouble_where_none_is() {
    let (_dir, path) = place();
    let options = Options::new().segment(400).durability(Durability::Written);
    drop(options.open(&path).unwrap());
    let reader = Reader::open(&path).unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let reads = std::thread::spawn({
        let done = done.clone();
        move || {
            let mut passes = 0;
            while !done.load(Ordering::SeqCst) {
                read_all(&reader);
                passes += 1;
            }
            passes
        }
    });
    // Each opening writes zeros ahead, and each closing cuts them off.
    for round in 0..60usize {
        let journal = options.open(&path).unwrap();
        for n in 0..20 {
            journal.append("x".repeat(n * 7919 % 90)).unwrap();
        }
        let (first, end) = (journal.first(), journal.end());
        journal
            .truncate_after(end - (round as u64 * 31 % 15))
            .unwrap();
        if round % 3 == 0 {
            journal.discard_before(first + 20).unwrap();
        }
        journal.close().unwrap();
    }
    done.store(true, Ordering::SeqCst);
    assert!(reads.join().unwrap() > 0);
}

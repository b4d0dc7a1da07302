//! Cursors: a place in a journal that was kept, and what became of it.

#![cfg(all(feature = "journal", feature = "testing"))]

use std::path::PathBuf;
use std::sync::Arc;

use documentbuffer::journal::{
    Cursor, Durability, Error, Follower, Journal, Options, Reader, Step,
};
use documentbuffer::store::fault::{Class, CrashPlan, Fault, FaultDirectory, Kind, Rng};
use tempfile::TempDir;

fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    (dir, path)
}

/// What somebody knows of a journal who keeps it beside a cursor.
#[derive(Default)]
struct Keeper {
    known: Vec<Vec<u8>>,
    cursor: Option<String>,
}

impl Keeper {
    /// Takes at most so many steps, from where it stopped.
    fn catch_up(
        &mut self,
        from: impl FnOnce(Option<Cursor>) -> Result<Follower, Error>,
        most: u64,
    ) {
        let cursor = self.cursor.as_ref().map(|text| text.parse().unwrap());
        let mut follower = from(cursor).unwrap();
        for _ in 0..most {
            match follower.try_next().unwrap() {
                Some(Step::Document(document)) => {
                    assert_eq!(document.position, self.known.len() as u64);
                    self.known.push(document.bytes.to_vec());
                }
                Some(Step::CutBack { to }) => {
                    assert!(to < self.known.len() as u64);
                    self.known.truncate(to as usize);
                }
                _ => break,
            }
        }
        let cursor = follower.cursor();
        assert_eq!(cursor.position(), self.known.len() as u64);
        self.cursor = Some(cursor.to_string());
    }
}

#[test]
fn who_keeps_a_cursor_knows_what_the_journal_holds() {
    let (_dir, path) = place();
    let options = Options::new().segment(700).durability(Durability::Written);
    let mut journal = options.open(&path).unwrap();
    let reader = Reader::open(&path).unwrap();
    let (mut inside, mut outside) = (Keeper::default(), Keeper::default());
    let mut model: Vec<Vec<u8>> = Vec::new();
    let mut rng = Rng::new(5);
    for round in 0..3000u64 {
        match rng.below(12) {
            0 => {
                let keep = rng.below(model.len() as u64 + 1);
                journal.truncate_after(keep).unwrap();
                model.truncate(keep as usize);
            }
            1 => journal.rotate().unwrap(),
            2 => {
                drop(journal);
                journal = options.open(&path).unwrap();
            }
            3 => {
                let batch: Vec<Vec<u8>> = (0..rng.below(9)).map(|n| vec![n as u8; 30]).collect();
                journal.append_all(&batch).unwrap();
                model.extend(batch);
            }
            // The same again: what is new must be told by what it stands behind.
            _ => {
                journal.append([round as u8 % 2]).unwrap();
                model.push(vec![round as u8 % 2]);
            }
        }
        let most = match rng.below(2) {
            0 => rng.below(20),
            _ => u64::MAX,
        };
        if rng.below(4) == 0 {
            let from = |cursor: Option<Cursor>| match cursor {
                Some(cursor) => journal.resume(&cursor),
                None => journal.follow(0),
            };
            inside.catch_up(from, most);
            assert!(most < u64::MAX || inside.known == model, "round {round}");
        }
        if rng.below(4) == 0 {
            let from = |cursor: Option<Cursor>| match cursor {
                Some(cursor) => reader.resume(&cursor),
                None => reader.follow(0),
            };
            outside.catch_up(from, most);
            assert!(most < u64::MAX || outside.known == model, "round {round}");
        }
    }
    for keeper in [&mut inside, &mut outside] {
        keeper.catch_up(|cursor| reader.resume(&cursor.unwrap()), u64::MAX);
        assert_eq!(keeper.known, model);
    }
}

/// What another process has read may be ahead of what survives: its place is then that of other documents.
#[test]
fn what_a_power_cut_took_back_is_told() {
    let mut told = 0;
    for seed in 0..60 {
        let dir = FaultDirectory::new(seed);
        let options = Options::new().durability(Durability::Written).seed(seed);
        let journal = options.open_in(Arc::new(dir.clone())).unwrap();
        journal.append_with("synced", Durability::Synced).unwrap();
        let mut keeper = Keeper::default();
        let outside = |dir: &FaultDirectory| Reader::open_in(Arc::new(dir.clone())).unwrap();
        for _ in 0..5 {
            journal.append("written").unwrap();
        }
        keeper.catch_up(|_| outside(&dir).follow(0), u64::MAX);
        assert_eq!(keeper.known.len(), 6);
        let mut rng = Rng::new(seed);
        let plan = CrashPlan::random(&mut rng);
        let after = FaultDirectory::from_image(seed, dir.crash(&mut rng, plan));
        let journal = options.open_in(Arc::new(after.clone())).unwrap();
        told += u64::from(journal.end() < 6);
        while journal.end() < 8 {
            journal.append("after").unwrap();
        }
        keeper.catch_up(|cursor| outside(&after).resume(&cursor.unwrap()), u64::MAX);
        let held: Result<Vec<_>, _> = journal.replay(0).unwrap().collect();
        let held: Vec<_> = held.unwrap().into_iter().map(|(_, bytes)| bytes).collect();
        assert_eq!(keeper.known, held, "seed {seed}");
    }
    assert!(told > 10, "{told} power cuts took something back");
}

#[test]
fn a_cursor_outlives_what_is_discarded_behind_it() {
    let (_dir, path) = place();
    let journal = Journal::open(&path).unwrap();
    journal.append_all(["a", "b"]).unwrap();
    journal.rotate().unwrap();
    let mut follower = journal.follow(0).unwrap();
    let begin = follower.cursor();
    for _ in 0..2 {
        follower.next().unwrap();
    }
    let between = follower.cursor();
    journal.append("c").unwrap();
    assert_eq!(journal.discard_before(2).unwrap(), 2);
    // It stands behind the last document of a segment that is gone.
    let mut resumed = journal.resume(&between).unwrap();
    assert!(matches!(resumed.next().unwrap(), Step::Document(c) if c.bytes == b"c"));
    let error = journal.resume(&begin).unwrap_err();
    assert!(matches!(
        error,
        Error::Discarded {
            position: 0,
            first: 2
        }
    ));
    // The branch of what was discarded is not known any more.
    journal.truncate_after(2).unwrap();
    let end = resumed.cursor();
    journal.append("C").unwrap();
    let mut resumed = journal.resume(&end).unwrap();
    assert!(matches!(resumed.next().unwrap(), Step::CutBack { to: 2 }));
    assert!(matches!(resumed.next().unwrap(), Step::Document(c) if c.bytes == b"C"));
}

#[test]
fn a_cursor_is_a_line_of_text() {
    let (_dir, path) = place();
    let journal = Journal::open(&path).unwrap();
    journal.append_all(["a", "b"]).unwrap();
    let mut follower = journal.follow(0).unwrap();
    follower.next().unwrap();
    let cursor = follower.cursor();
    let text = cursor.to_string();
    assert!(text.len() <= 148 && text.is_ascii(), "{text}");
    assert_eq!(text.parse(), Ok(cursor));
    for cut in 0..text.len() {
        assert!(text[..cut].parse::<Cursor>().is_err(), "{}", &text[..cut]);
        let mut other = text.clone().into_bytes();
        other[cut] = b'x';
        let other = String::from_utf8(other).unwrap();
        assert!(other.parse::<Cursor>().is_err(), "{other}");
    }
    for other in [
        "",
        "7",
        "2-0-0-0-0-0-0-0",
        &format!("{text}\n"),
        &format!("{text}-1"),
    ] {
        assert!(other.parse::<Cursor>().is_err(), "{other}");
    }
    let (_dir, path) = place();
    let another = Journal::open(&path).unwrap();
    assert!(matches!(another.resume(&cursor), Err(Error::ForeignCursor)));
}

#[test]
fn a_read_that_fails_on_the_way_is_no_cut() {
    let dir = FaultDirectory::new(1);
    let journal = Options::new().open_in(Arc::new(dir.clone())).unwrap();
    journal.append_all(["a", "b", "c"]).unwrap();
    let reader = Reader::open_in(Arc::new(dir.clone())).unwrap();
    let mut follower = reader.follow(0).unwrap();
    for _ in 0..2 {
        follower.next().unwrap();
    }
    let cursor = follower.cursor();
    let mut failed = 0;
    for at in 0.. {
        dir.calm();
        dir.fault(Fault {
            kind: Kind::Fail(std::io::ErrorKind::Other),
            class: Class::Read,
            at,
            sticky: false,
        });
        let resumed = reader.resume(&cursor);
        let followed = reader.follow(2);
        let fired = dir.fired();
        dir.calm();
        for result in [resumed, followed] {
            match result {
                Ok(mut follower) => {
                    assert!(
                        matches!(follower.next().unwrap(), Step::Document(c) if c.bytes == b"c")
                    );
                }
                Err(Error::Io { .. } | Error::Segment { .. }) => failed += 1,
                Err(error) => panic!("read {at}: {error:?}"),
            }
        }
        if fired == 0 {
            break;
        }
    }
    assert!(failed > 3, "{failed}");
}

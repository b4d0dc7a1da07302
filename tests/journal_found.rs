//! What the campaigns found in the journal, each as small as it gets.
#![cfg(all(feature = "journal", feature = "testing"))]

mod journal_support;

use std::io::ErrorKind;
use std::sync::Arc;

use documentbuffer::Accept;
use documentbuffer::journal::{Durability, Error, Journal, Options};
use documentbuffer::store::fault::{
    Class, CrashPlan, Fault, FaultDirectory, Filler, Kind, Mode, Rng,
};
use journal_support::model::{self, Image};

const FAIL: Kind = Kind::Fail(ErrorKind::Other);
const AFTER: Kind = Kind::After(ErrorKind::Other);

fn open(dir: &FaultDirectory) -> Journal {
    open_with(dir, &options())
}

fn open_with(dir: &FaultDirectory, options: &Options) -> Journal {
    let opened = options.open_in(Arc::new(dir.clone()));
    opened.unwrap_or_else(|error| panic!("{error}: {:?}", dir.view().keys()))
}

fn options() -> Options {
    model::options().seed(1)
}

/// Every document has a segment of its own.
fn narrow() -> Options {
    options().segment(1)
}

fn texts(journal: &Journal) -> Vec<String> {
    let replay = journal.replay(journal.first()).expect("a replay");
    let text = |found: Result<(u64, Vec<u8>), Error>| String::from_utf8(found.unwrap().1).unwrap();
    replay.map(text).collect()
}

/// From the next call of that class on.
fn arm(dir: &FaultDirectory, class: Class, kind: Kind, sticky: bool) {
    dir.calm();
    let at = 0;
    dir.fault(Fault {
        kind,
        class,
        at,
        sticky,
    });
}

fn plan(mode: Mode) -> CrashPlan {
    CrashPlan {
        sector: 1,
        filler: Filler::Zero,
        mode,
    }
}

/// What every choice of the unsynced names leaves, with all of the unsynced bytes and with none.
fn images(dir: &FaultDirectory) -> Vec<Image> {
    let mut images = Vec::new();
    for mode in [Mode::Kept, Mode::Lost] {
        dir.name_images(&mut Rng::new(1), plan(mode), |image| images.push(image));
    }
    images
}

/// What a power cut leaves, whatever it leaves of the names.
fn after_power_cuts(dir: &FaultDirectory) -> Vec<Vec<String>> {
    let images = images(dir).into_iter();
    let found = images.map(|image| texts(&open(&FaultDirectory::from_image(1, image))));
    found.collect()
}

fn segments(dir: &FaultDirectory) -> usize {
    dir.view().len()
}

#[test]
fn a_flush_that_fails_appends_nothing() {
    let dir = FaultDirectory::new(1);
    let journal = open(&dir);
    journal.append_with("a", Durability::Memory).unwrap();
    arm(&dir, Class::Flush, FAIL, false);
    assert!(matches!(
        journal.append_with("b", Durability::Written),
        Err(Error::Segment { .. })
    ));
    assert_eq!(journal.end(), 1);
    assert_eq!(journal.append("c").unwrap(), 1);
    assert_eq!(texts(&journal), ["a", "c"]);
}

#[test]
fn what_a_failed_append_asked_for_is_gone_with_the_next_good_sync() {
    let settle: [fn(Journal); 4] = [
        |journal| journal.sync().unwrap(),
        |journal| journal.truncate_after(1).unwrap(),
        |journal| journal.rotate().unwrap(),
        |journal| assert_eq!(journal.close().unwrap().end, 1),
    ];
    for settle in settle {
        let dir = FaultDirectory::new(1);
        let journal = open(&dir);
        journal.append("a").unwrap();
        arm(&dir, Class::Write, AFTER, false);
        journal.append("b").unwrap_err();
        settle(journal);
        for found in after_power_cuts(&dir) {
            assert_eq!(found, ["a"]);
        }
    }
}

#[test]
fn a_failed_append_to_an_empty_segment_is_gone_too() {
    let dir = FaultDirectory::new(1);
    let journal = open(&dir);
    arm(&dir, Class::Write, AFTER, false);
    journal.append("b").unwrap_err();
    journal.rotate().unwrap();
    assert!(after_power_cuts(&dir).iter().all(Vec::is_empty));
}

#[test]
fn what_is_synced_to_a_segment_that_a_dead_process_had_just_named_is_kept() {
    let dir = FaultDirectory::new(1);
    let journal = open(&dir);
    journal.append("a").unwrap();
    // The process dies when it has renamed.
    arm(&dir, Class::DirSync, FAIL, true);
    assert!(matches!(journal.rotate(), Err(Error::Failed { .. })));
    let dir = dir.kill();
    dir.calm();
    let journal = open(&dir);
    journal.append("b").unwrap();
    for found in after_power_cuts(&dir) {
        assert_eq!(found, ["a", "b"]);
    }
}

#[test]
fn what_a_cut_made_void_goes_when_the_cut_is_durable_and_not_before() {
    let dir = FaultDirectory::new(1);
    let journal = open_with(&dir, &narrow());
    for text in ["a", "b", "c", "d"] {
        journal.append(text).unwrap();
    }
    arm(&dir, Class::DirSync, FAIL, true);
    assert!(journal.truncate_after(1).is_err());
    let dir = dir.kill();
    // The next one dies at any of its calls.
    for at in 0.. {
        dir.calm();
        dir.fail_at(at, FAIL, true);
        let opened = options().open_in(Arc::new(dir.clone()));
        for found in after_power_cuts(&dir) {
            assert!(found == ["a"] || found == ["a", "b", "c", "d"], "{found:?}");
        }
        if opened.is_ok() {
            break;
        }
    }
}

#[test]
fn void_segments_that_could_not_be_removed_are_no_loss() {
    for kind in [FAIL, AFTER] {
        let dir = FaultDirectory::new(1);
        let journal = open_with(&dir, &narrow());
        for text in ["a", "b", "c"] {
            journal.append(text).unwrap();
        }
        arm(&dir, Class::Remove, kind, false);
        journal.truncate_after(1).unwrap();
        for text in ["B", "C", "D"] {
            journal.append(text).unwrap();
        }
        assert_eq!(journal.discard_before(3).unwrap(), 3);
        drop(journal);
        assert_eq!(texts(&open(&dir)), ["D"]);
    }
}

#[test]
fn void_segments_that_an_opening_removed_do_not_come_back() {
    let dir = FaultDirectory::new(1);
    let journal = open_with(&dir, &narrow());
    journal.append("a").unwrap();
    arm(&dir, Class::Remove, FAIL, true);
    journal.truncate_after(0).unwrap();
    for text in ["A", "B"] {
        journal.append(text).unwrap();
    }
    drop(journal);
    dir.calm();
    let journal = open(&dir);
    arm(&dir, Class::DirSync, FAIL, true);
    assert!(journal.discard_before(1).is_err());
    for found in after_power_cuts(&dir) {
        assert!(found == ["A", "B"] || found == ["B"], "{found:?}");
    }
}

#[test]
fn void_segments_that_may_come_back_are_no_loss() {
    let dir = FaultDirectory::new(1);
    let journal = open_with(&dir, &narrow());
    for text in ["a", "b", "c"] {
        journal.append(text).unwrap();
    }
    dir.calm();
    // That of the removals; no later sync makes them durable.
    dir.fault(Fault {
        kind: Kind::SyncLoses,
        class: Class::DirSync,
        at: 1,
        sticky: false,
    });
    let cut = journal.truncate_after(1);
    assert_eq!(dir.fired(), 1);
    assert!(matches!(cut, Err(Error::Failed { .. })), "{cut:?}");
    for text in ["B", "C"] {
        assert!(matches!(journal.append(text), Err(Error::Failed { .. })));
    }
    for found in after_power_cuts(&dir) {
        assert_eq!(found, ["a"]);
    }
}

#[test]
fn a_failed_sync_is_final_also_before_the_first_record() {
    let dir = FaultDirectory::new(1);
    open(&dir).append("a").unwrap();
    let journal = open(&dir);
    arm(&dir, Class::Sync, Kind::SyncDirty, false);
    let failed = journal.append("b");
    assert!(matches!(failed, Err(Error::Failed { .. })), "{failed:?}");
    let failed = journal.append("b");
    assert!(matches!(failed, Err(Error::Failed { .. })), "{failed:?}");
}

#[test]
fn a_removal_that_failed_when_it_was_done_is_done() {
    let dir = FaultDirectory::new(1);
    let journal = open_with(&dir, &narrow());
    for text in ["a", "b", "c"] {
        journal.append(text).unwrap();
    }
    arm(&dir, Class::Remove, AFTER, false);
    assert_eq!(journal.discard_before(1).unwrap(), 1);
    assert_eq!(journal.discard_before(0).unwrap(), 1);
    assert_eq!(texts(&journal), ["b", "c"]);
    for found in after_power_cuts(&dir) {
        assert_eq!(found, ["b", "c"]);
    }
    arm(&dir, Class::Remove, FAIL, false);
    assert!(matches!(journal.discard_before(2), Err(Error::Io { .. })));
    assert_eq!((journal.first(), texts(&journal).len()), (1, 2));
    // Whether it is there nobody can say.
    arm(&dir, Class::Remove, AFTER, false);
    dir.fault(Fault {
        kind: FAIL,
        class: Class::List,
        at: 0,
        sticky: false,
    });
    assert!(matches!(
        journal.discard_before(2),
        Err(Error::Failed { .. })
    ));
}

#[test]
fn a_replay_that_meets_a_cut_is_told_so() {
    for keep in 0..3 {
        let dir = FaultDirectory::new(1);
        let journal = open_with(&dir, &narrow());
        for text in ["a", "b", "c"] {
            journal.append(text).unwrap();
        }
        let mut replay = journal.replay(0).unwrap();
        replay.next().unwrap();
        let mut rev = journal.rev().unwrap();
        rev.next().unwrap();
        journal.truncate_after(keep).unwrap();
        let told = loop {
            match replay.next() {
                Ok(Some(document)) => assert!(document.position < 3),
                told => break told.map(drop),
            }
        };
        assert!(
            matches!(told, Err(Error::CutBack { to }) if to == keep),
            "{keep}: {told:?}"
        );
        let told = rev
            .next()
            .map(|found| found.map(|document| document.position));
        match keep {
            2 => assert_eq!(told.unwrap(), Some(1)),
            _ => assert!(
                matches!(told, Err(Error::CutBack { to }) if to == keep),
                "{keep}: {told:?}"
            ),
        }
    }
}

#[test]
fn a_replay_ends_where_it_should_though_an_empty_segment_was_replaced() {
    let dir = FaultDirectory::new(1);
    let journal = open(&dir);
    journal.append("a").unwrap();
    journal.rotate().unwrap();
    let replay = journal.replay(0).unwrap();
    arm(&dir, Class::Write, FAIL, false);
    journal.append("b").unwrap_err();
    journal.append("c").unwrap();
    let found: Result<Vec<_>, _> = replay.collect();
    assert_eq!(found.unwrap(), [(0, b"a".to_vec())]);
}

#[test]
fn a_replay_is_not_disturbed_by_an_append_behind_a_mark() {
    let dir = FaultDirectory::new(1);
    open(&dir).append("a").unwrap();
    let mut image = dir.view();
    let before = image.values().next().unwrap().len();
    open(&dir).append("b").unwrap();
    // Of the second life's first write a mark has arrived, at the place of the END.
    let (name, bytes) = dir.view().pop_first().unwrap();
    const END: usize = 33;
    const MARK: usize = 16;
    let mark = before - END + MARK;
    image.insert(name, bytes[..mark].to_vec());
    let dir = FaultDirectory::from_image(1, image);
    let journal = open_with(&dir, &options().seed(7));
    let replay = journal.replay(0).unwrap();
    journal.append("c").unwrap();
    let found: Result<Vec<_>, _> = replay.collect();
    assert_eq!(found.unwrap(), [(0, b"a".to_vec())]);
    assert_eq!(texts(&journal), ["a", "c"]);
}

#[test]
fn discarding_makes_room_also_for_what_is_in_memory() {
    let dir = FaultDirectory::new(1);
    let journal = open_with(&dir, &narrow());
    for text in ["a", "b", "c"] {
        journal.append(text).unwrap();
    }
    let used: usize = dir.view().values().map(Vec::len).sum();
    dir.set_cap(Some(used as u64 + 100));
    assert_eq!(journal.append_with("d", Durability::Memory).unwrap(), 3);
    assert!(matches!(journal.flush(), Err(Error::Full { .. })));
    assert!(matches!(journal.append("e"), Err(Error::Full { .. })));
    assert!(matches!(
        journal.discard_before(5),
        Err(Error::BeyondEnd {
            position: 5,
            end: 4
        })
    ));
    assert_eq!(journal.discard_before(4).unwrap(), 2);
    assert_eq!(journal.end(), 4);
    assert_eq!(journal.append("e").unwrap(), 4);
    assert_eq!(texts(&journal), ["c", "d", "e"]);
}

#[test]
fn segments_of_another_journal_cost_no_file() {
    let ours = FaultDirectory::new(1);
    let journal = open_with(&ours, &narrow());
    for text in ["a", "b", "c"] {
        journal.append(text).unwrap();
    }
    drop(journal);
    let theirs = FaultDirectory::new(2);
    let journal = open_with(&theirs, &narrow().seed(2));
    for text in ["1", "2", "3", "4", "5"] {
        journal.append(text).unwrap();
    }
    // It continues nothing: as if all others were void.
    journal.truncate_after(0).unwrap();
    drop(journal);
    assert_eq!(segments(&theirs), 1);
    let mut both = ours.view();
    both.extend(theirs.view());
    let newest = both.keys().next_back().unwrap().clone();
    let dir = FaultDirectory::from_image(1, both.clone());
    let opened = options().open_in(Arc::new(dir.clone()));
    match opened {
        Err(Error::OtherJournal { file }) => assert_eq!(file.to_str(), Some(&*newest)),
        other => panic!("{other:?}"),
    }
    assert_eq!(dir.view(), both);
}

#[test]
fn whoever_wants_no_suspect_end_is_told_of_one() {
    let dir = FaultDirectory::new(1);
    let journal = open(&dir);
    for text in ["first", "second", "third"] {
        journal.append(text).unwrap();
    }
    drop(journal);
    let (name, mut bytes) = dir.view().pop_first().unwrap();
    let rotten = bytes.windows(6).position(|at| at == b"second").unwrap();
    bytes[rotten] ^= 1;
    let dir = FaultDirectory::from_image(1, Image::from([(name, bytes)]));
    for accept in [Accept::NoSuspect, Accept::Strict] {
        let opened = options().accept(accept).open_in(Arc::new(dir.clone()));
        let told = matches!(opened, Err(Error::Suspect { records: 1, .. }));
        assert!(told, "{accept:?}: {opened:?}");
    }
    assert_eq!(texts(&open(&dir)), ["first"]);
}

/// Put back from a copy, it is of this journal, whole, and as long; but not what the next one continues.
#[test]
fn a_segment_of_another_branch_is_told() {
    let dir = FaultDirectory::new(1);
    open(&dir).append("a").unwrap();
    let other = FaultDirectory::from_image(1, dir.view());
    for (dir, text) in [(&dir, "b"), (&other, "B")] {
        let journal = open(dir);
        journal.append(text).unwrap();
        journal.rotate().unwrap();
        journal.append("c").unwrap();
    }
    let (oldest, bytes) = other.view().pop_first().unwrap();
    let mut image = dir.view();
    assert_eq!(image[&oldest].len(), bytes.len());
    image.insert(oldest, bytes);
    let journal = open(&FaultDirectory::from_image(1, image));
    let read: Result<Vec<_>, _> = journal.replay(0).unwrap().collect();
    assert!(matches!(read, Err(Error::Segment { .. })), "{read:?}");
    assert!(!journal.verify().unwrap().is_sound());
}

#[test]
fn a_segment_of_another_branch_that_begins_elsewhere_is_named() {
    let dir = FaultDirectory::new(1);
    open(&dir).append("a").unwrap();
    let other = FaultDirectory::from_image(1, dir.view());
    let (ours, theirs) = (open(&dir), open(&other));
    ours.rotate().unwrap();
    theirs.truncate_after(0).unwrap();
    for journal in [ours, theirs] {
        journal.append("b").unwrap();
        journal.rotate().unwrap();
    }
    let (second, bytes) = other.view().pop_first().unwrap();
    let mut image = dir.view();
    assert!(image.insert(second.clone(), bytes).is_some());
    let opened = options().open_in(Arc::new(FaultDirectory::from_image(1, image)));
    match opened {
        Err(Error::OtherJournal { file }) => assert_eq!(file.to_str(), Some(&*second)),
        other => panic!("{other:?}"),
    }
}

/// Otherwise a power cut could take the name of the newest segment, and leave none.
#[test]
fn nothing_is_discarded_before_what_is_kept_has_a_durable_name() {
    for at in 0.. {
        let dir = FaultDirectory::new(1);
        let journal = open(&dir);
        journal.append("a").unwrap();
        arm(&dir, Class::DirSync, FAIL, true);
        assert!(journal.rotate().is_err());
        let dir = dir.kill();
        dir.calm();
        let journal = open(&dir);
        // This one dies as well, at any of its calls.
        dir.calm();
        dir.fail_at(at, FAIL, true);
        let discarded = journal.discard_before(1);
        for image in images(&dir) {
            let journal = open(&FaultDirectory::from_image(1, image));
            assert_eq!(journal.end(), 1, "call {at}");
            assert!(discarded.is_err() || journal.first() == 1);
        }
        if discarded.is_ok() {
            break;
        }
    }
}

//! What is not a crash: files of a journal that are missing, swapped, copied, cut, foreign, or rotten.
//!
//! A journal is opened with its documents as they were, or with an error that names the file and costs none:
//! after an error the directory is byte for byte what it was.
#![cfg(all(feature = "journal", feature = "testing"))]

mod journal_support;

use std::collections::BTreeMap;
use std::sync::Arc;

use documentbuffer::journal::{Durability, Error, Journal, Options, Reader};
use documentbuffer::store::fault::{FaultDirectory, Rng};
use documentbuffer::{Accept, DocumentBuffer};
use journal_support::campaign::Watch;
use journal_support::model::{self, Image};

type Documents = BTreeMap<u64, Vec<u8>>;

/// A journal on its medium, and its documents by their positions.
struct Fixture {
    image: Image,
    documents: Documents,
}

fn options() -> Options {
    model::options().seed(9)
}

fn open(dir: &FaultDirectory, options: &Options) -> Result<Journal, Error> {
    options.open_in(Arc::new(dir.clone()))
}

fn read(journal: &Journal) -> Result<Documents, Error> {
    journal.replay(journal.first())?.collect()
}

fn name(sequence: u64) -> String {
    format!("{sequence:020}.segment")
}

/// The file that an error names.
fn file_of(error: &Error) -> Option<String> {
    let file = match error {
        Error::Io { file, .. }
        | Error::Segment { file, .. }
        | Error::Missing { file, .. }
        | Error::Misplaced { file, .. }
        | Error::OtherJournal { file }
        | Error::Truncated { file, .. }
        | Error::Suspect { file, .. } => file,
        _ => return None,
    };
    let name = file.to_str().map(str::to_owned);
    assert!(error.to_string().contains(name.as_deref()?), "{error}");
    name
}

fn fixture(seed: u64, build: impl FnOnce(&Journal)) -> Fixture {
    let dir = FaultDirectory::new(1);
    let journal = open(&dir, &model::options().segment(330).seed(seed)).unwrap();
    build(&journal);
    let documents = read(&journal).unwrap();
    drop(journal);
    let image = dir.view();
    Fixture { image, documents }
}

fn append(journal: &Journal, count: u64) {
    for _ in 0..count {
        journal.append(format!("event {}", journal.end())).unwrap();
    }
}

/// Six segments, one behind the other.
fn plain() -> Fixture {
    fixture(1, |journal| {
        append(journal, 8);
        let batch: Vec<String> = (8..11).map(|n| format!("event {n}")).collect();
        journal.append_all(&batch).unwrap();
        append(journal, 20);
    })
}

/// Some were discarded, some cut away, once in the midst of a batch.
fn gnarled() -> Fixture {
    fixture(2, |journal| {
        append(journal, 14);
        let batch: Vec<String> = (14..18).map(|n| format!("event {n}")).collect();
        journal.append_all(&batch).unwrap();
        append(journal, 9);
        journal.truncate_after(16).unwrap();
        append(journal, 12);
        journal.discard_before(8).unwrap();
        journal.truncate_after(25).unwrap();
        append(journal, 1);
    })
}

fn fixtures() -> [Fixture; 2] {
    [plain(), gnarled()]
}

impl Fixture {
    fn segments(&self) -> Vec<u64> {
        let number = |name: &String| name.strip_suffix(".segment")?.parse().ok();
        self.image.keys().filter_map(number).collect()
    }

    fn bytes(&self, sequence: u64) -> &Vec<u8> {
        &self.image[&name(sequence)]
    }

    /// Opens an image, and reads all of it; what may not be touched is not.
    fn judge(&self, image: &Image, options: &Options) -> Result<(u64, Documents), Error> {
        let dir = FaultDirectory::from_image(1, image.clone());
        let opened = open(&dir, options);
        match &opened {
            Ok(_) => model::compare(image, &dir.view()).unwrap(),
            Err(error) => assert!(dir.view() == *image, "{error}: and files have changed"),
        }
        let journal = opened?;
        let first = journal.first();
        let found = read(&journal);
        let back: Result<Documents, Error> = journal.rev().and_then(Iterator::collect);
        if let (Ok(found), Ok(back)) = (&found, &back) {
            assert_eq!(found, back);
        }
        for found in [&found, &back].into_iter().flatten() {
            for (position, document) in found {
                let was = self.documents.get(position);
                assert!(was.is_none() || was == Some(document), "a changed document");
            }
        }
        found.map(|found| (first, found))
    }

    /// As it must be, or an error that names this file.
    fn exact_or_error(&self, image: &Image, sequence: u64, what: &str) -> bool {
        match self.judge(image, &options()) {
            Ok((_, found)) => {
                assert_eq!(found, self.documents, "{what}");
                true
            }
            Err(error) => {
                assert_eq!(file_of(&error), Some(name(sequence)), "{what}: {error}");
                false
            }
        }
    }
}

#[test]
fn a_missing_segment_in_the_midst_is_named() {
    let _watch = Watch::new("a_missing_segment_in_the_midst_is_named");
    for fixture in fixtures() {
        let segments = fixture.segments();
        let (_, middle) = segments.split_first().unwrap();
        for &missing in &middle[..middle.len() - 1] {
            let mut image = fixture.image.clone();
            image.remove(&name(missing));
            let error = fixture.judge(&image, &options()).unwrap_err();
            let Error::Missing { file, until } = &error else {
                panic!("{error:?}");
            };
            assert_eq!(file.to_str(), Some(&*name(missing)));
            // Where the next one begins.
            image.retain(|name, _| *name > self::name(missing));
            let (first, _) = fixture.judge(&image, &options()).unwrap();
            assert_eq!(*until, first);
            let text = error.to_string();
            assert!(text.contains("put it back") && text.contains(&first.to_string()));
        }
    }
}

/// What is missing at the oldest end cannot be told from what was discarded, nor at the newest end from what
/// was never there.
#[test]
fn a_missing_segment_at_an_end_is_a_shorter_journal() {
    for fixture in fixtures() {
        let segments = fixture.segments();
        for count in 1..segments.len() {
            let mut image = fixture.image.clone();
            for sequence in &segments[..count] {
                image.remove(&name(*sequence));
            }
            let (first, found) = fixture.judge(&image, &options()).unwrap();
            assert_eq!(found, fixture.documents.clone().split_off(&first));
        }
        let mut image = fixture.image.clone();
        image.remove(&name(segments[segments.len() - 1]));
        let (first, found) = fixture.judge(&image, &options()).unwrap();
        assert_eq!(first, *fixture.documents.keys().next().unwrap());
        assert!(found.len() + 5 > fixture.documents.len());
    }
}

#[test]
fn swapped_names_are_seen() {
    for fixture in fixtures() {
        let segments = fixture.segments();
        for &a in &segments {
            for &b in segments.iter().filter(|b| **b > a) {
                let mut image = fixture.image.clone();
                image.insert(name(a), fixture.bytes(b).clone());
                image.insert(name(b), fixture.bytes(a).clone());
                let error = fixture.judge(&image, &options()).unwrap_err();
                let Error::Misplaced { named, says, .. } = error else {
                    panic!("{error:?}");
                };
                assert!((named, says) == (a, b) || (named, says) == (b, a));
                assert_eq!(file_of(&error), Some(name(named)));
                assert!(error.to_string().contains("rename it"));
            }
        }
    }
}

#[test]
fn a_copy_under_another_number_is_seen() {
    for fixture in fixtures() {
        let segments = fixture.segments();
        let newest = segments[segments.len() - 1];
        for &from in &segments {
            for to in (1..newest + 3).chain([u64::MAX]).filter(|to| *to != from) {
                let mut image = fixture.image.clone();
                image.insert(name(to), fixture.bytes(from).clone());
                let error = fixture.judge(&image, &options()).unwrap_err();
                match error {
                    Error::Misplaced { named, says, .. } => assert_eq!((named, says), (to, from)),
                    // Below the oldest it looks as if that one's predecessor had gone.
                    Error::Missing { .. } => assert!(to < segments[0]),
                    other => panic!("{from} as {to}: {other:?}"),
                }
            }
        }
    }
}

#[test]
fn a_sealed_segment_cut_at_any_length_is_named_with_the_first_lost_position() {
    let _watch =
        Watch::new("a_sealed_segment_cut_at_any_length_is_named_with_the_first_lost_position");
    for fixture in fixtures() {
        let segments = fixture.segments();
        for &sequence in &segments[..segments.len() - 1] {
            let whole = fixture.bytes(sequence);
            let mut last = None;
            for len in 0..whole.len() {
                let mut image = fixture.image.clone();
                image.insert(name(sequence), whole[..len].to_vec());
                let what = format!("{sequence} cut at {len}");
                match fixture.judge(&image, &options()) {
                    // What lies behind the end that the next one names does not count.
                    Ok((_, found)) => assert_eq!(found, fixture.documents, "{what}"),
                    Err(error) => {
                        assert_eq!(file_of(&error), Some(name(sequence)), "{what}: {error}");
                        if let Error::Truncated {
                            position, until, ..
                        } = error
                        {
                            assert!(position < until, "{what}");
                            assert!(last.is_none_or(|last| last <= position), "{what}");
                            last = Some(position);
                        } else {
                            assert!(matches!(error, Error::Segment { .. }), "{what}: {error:?}");
                            assert!(last.is_none(), "{what}: the head is whole");
                        }
                    }
                }
            }
            assert!(last.is_some());
        }
    }
}

#[test]
fn the_live_segment_cut_at_any_length_gives_the_documents_before() {
    let _watch = Watch::new("the_live_segment_cut_at_any_length_gives_the_documents_before");
    for fixture in fixtures() {
        let live = *fixture.segments().last().unwrap();
        let whole = fixture.bytes(live);
        let mut most = 0;
        for len in 0..whole.len() {
            let mut image = fixture.image.clone();
            image.insert(name(live), whole[..len].to_vec());
            match fixture.judge(&image, &options()) {
                Ok((_, found)) => {
                    assert!(
                        fixture
                            .documents
                            .values()
                            .zip(found.values())
                            .all(|(a, b)| a == b)
                    );
                    assert!(found.len() >= most, "{len}");
                    most = found.len();
                }
                Err(error) => {
                    assert_eq!(file_of(&error), Some(name(live)), "{len}: {error}");
                    assert_eq!(most, 0, "{len}: the head is whole");
                }
            }
        }
        assert_eq!(most, fixture.documents.len());
    }
}

/// Bytes that are no segment.
fn strangers() -> Vec<(&'static str, Vec<u8>)> {
    let mut buffer = DocumentBuffer::new(std::io::Cursor::new(Vec::new())).unwrap();
    buffer.push("no segment").unwrap();
    let (_, buffer) = buffer.close().unwrap();
    let mut random = vec![0; 500];
    Rng::new(3).fill(&mut random);
    vec![
        ("empty", Vec::new()),
        ("zeros", vec![0; 400]),
        ("ones", vec![0xFF; 400]),
        ("text", b"notes to myself".repeat(20)),
        ("random", random),
        ("a document buffer", buffer.into_inner()),
    ]
}

#[test]
fn a_stranger_under_a_segments_name_is_named() {
    let _watch = Watch::new("a_stranger_under_a_segments_name_is_named");
    for fixture in fixtures() {
        let segments = fixture.segments();
        let newest = segments[segments.len() - 1];
        for (what, bytes) in strangers() {
            for sequence in segments[0]..newest + 3 {
                let mut image = fixture.image.clone();
                image.insert(name(sequence), bytes.clone());
                let error = fixture.judge(&image, &options()).unwrap_err();
                let what = format!("{what} as {sequence}: {error}");
                assert_eq!(file_of(&error), Some(name(sequence)), "{what}");
            }
        }
    }
}

#[test]
fn segments_of_other_journals_are_named() {
    let fixture = plain();
    let other = fixture_like(7);
    let segments = fixture.segments();
    for sequence in segments.iter().copied() {
        let mut image = fixture.image.clone();
        image.insert(name(sequence), other.bytes(sequence).clone());
        let error = fixture.judge(&image, &options()).unwrap_err();
        assert_eq!(file_of(&error), Some(name(sequence)), "{error}");
        assert!(matches!(error, Error::OtherJournal { .. }), "{error:?}");
        assert!(error.to_string().contains("move it away"));
    }
    // One that was left over where a cut was made.
    let fixture = gnarled();
    let segments = fixture.segments();
    let gap = (segments[0]..)
        .find(|number| !segments.contains(number))
        .unwrap();
    let mut image = fixture.image.clone();
    image.insert(name(gap), other.bytes(gap).clone());
    let error = fixture.judge(&image, &options()).unwrap_err();
    assert!(matches!(error, Error::OtherJournal { .. }), "{error:?}");
    assert_eq!(file_of(&error), Some(name(gap)));
}

/// The same segments in another journal.
fn fixture_like(seed: u64) -> Fixture {
    let dir = FaultDirectory::new(1);
    let journal = open(&dir, &model::options().segment(330).seed(seed)).unwrap();
    append(&journal, 60);
    let documents = read(&journal).unwrap();
    drop(journal);
    let image = dir.view();
    Fixture { image, documents }
}

/// What verification says of an image: nothing, or the file.
fn verified(image: &Image) -> Result<u64, Option<String>> {
    let dir = FaultDirectory::from_image(1, image.clone());
    let reader = Reader::open_in(Arc::new(dir)).map_err(|error| file_of(&error))?;
    let report = reader.verify().map_err(|error| file_of(&error))?;
    match report.problems.first() {
        Some(problem) => Err(file_of(problem)),
        None => Ok(report.documents),
    }
}

#[test]
fn no_bit_of_a_sealed_segment_can_change_unseen() {
    let _watch = Watch::new("no_bit_of_a_sealed_segment_can_change_unseen");
    for (fixture, is_cut) in fixtures().into_iter().zip([false, true]) {
        let segments = fixture.segments();
        for &sequence in &segments[..segments.len() - 1] {
            let (mut exact, mut seen) = (0, 0);
            for bit in 0..fixture.bytes(sequence).len() * 8 {
                let mut image = fixture.image.clone();
                image.get_mut(&name(sequence)).unwrap()[bit / 8] ^= 1 << (bit % 8);
                let what = format!("bit {bit} of {sequence}");
                match fixture.exact_or_error(&image, sequence, &what) {
                    true => exact += 1,
                    false => seen += 1,
                }
                match verified(&image) {
                    Ok(documents) => assert_eq!(documents, fixture.documents.len() as u64),
                    Err(file) => assert_eq!(file, Some(name(sequence)), "{what}"),
                }
            }
            // One of two headers suffices, and what lies behind the end that the next segment names is void:
            // its own END, or what was cut away.
            const MOST: usize = 8 * (64 + 33);
            assert!(
                seen > 0 && (exact <= MOST || is_cut),
                "{exact} of {sequence}"
            );
        }
    }
}

#[test]
fn no_bit_of_the_live_segment_can_change_a_document() {
    let _watch = Watch::new("no_bit_of_the_live_segment_can_change_a_document");
    for fixture in fixtures() {
        let live = *fixture.segments().last().unwrap();
        for bit in 0..fixture.bytes(live).len() * 8 {
            let mut image = fixture.image.clone();
            image.get_mut(&name(live)).unwrap()[bit / 8] ^= 1 << (bit % 8);
            let what = format!("bit {bit} of {live}");
            match fixture.judge(&image, &options()) {
                Ok((_, found)) => {
                    let mut expected = fixture.documents.clone();
                    let end = expected.keys().next().unwrap() + found.len() as u64;
                    expected.split_off(&end);
                    assert_eq!(found, expected, "{what}");
                }
                Err(error) => assert_eq!(file_of(&error), Some(name(live)), "{what}: {error}"),
            }
            // Who asks is told.
            let strict = options().accept(Accept::Strict);
            match fixture.judge(&image, &strict) {
                Ok((_, found)) => assert_eq!(found, fixture.documents, "{what}"),
                Err(error) => assert_eq!(file_of(&error), Some(name(live)), "{what}: {error}"),
            }
        }
    }
}

/// Whatever else lies in the directory is nobody's business, but for what was never born.
#[test]
fn other_files_stay() {
    for fixture in fixtures() {
        for other in [
            "notes.txt",
            "7.segment",
            "00000000000000000000.segment",
            "99999999999999999999.segment",
            "00000000000000000007.segment.bak",
            "x00000000000000000007.segment",
            "00000000000000000007.SEGMENT",
            "segment",
            "lock",
            ".segment",
            ".segment.new",
            "1.segment.new",
        ] {
            let mut image = fixture.image.clone();
            image.insert(other.to_owned(), b"mine".to_vec());
            let dir = FaultDirectory::from_image(1, image.clone());
            let journal = open(&dir, &options()).unwrap();
            assert_eq!(read(&journal).unwrap(), fixture.documents);
            journal.truncate_after(journal.first()).unwrap();
            journal.append("on").unwrap();
            journal.rotate().unwrap();
            journal.discard_before(journal.end()).unwrap();
            journal.close().unwrap();
            assert_eq!(dir.view()[other], b"mine", "{other}");
        }
        let mut image = fixture.image.clone();
        image.insert(format!("{:020}.segment.new", 3), b"unborn".to_vec());
        let dir = FaultDirectory::from_image(1, image);
        open(&dir, &options()).unwrap();
        assert_eq!(dir.view(), fixture.image);
    }
}

#[test]
fn positions_that_are_not_there_are_refused_and_cost_nothing() {
    let fixture = gnarled();
    let dir = FaultDirectory::from_image(1, fixture.image.clone());
    let journal = open(&dir, &options()).unwrap();
    let (first, last) = (journal.first(), journal.end());
    assert!(first > 0);
    for beyond in [last + 1, last + 1000, u64::MAX] {
        for error in [
            journal.truncate_after(beyond).unwrap_err(),
            journal.discard_before(beyond).unwrap_err(),
            journal.replay(beyond).map(drop).unwrap_err(),
        ] {
            let Error::BeyondEnd { position, end } = error else {
                panic!("{error:?}");
            };
            assert_eq!((position, end), (beyond, last));
            assert!(error.to_string().contains(&beyond.to_string()));
        }
    }
    for before in [0, first - 1] {
        for error in [
            journal.truncate_after(before).unwrap_err(),
            journal.replay(before).map(drop).unwrap_err(),
        ] {
            let Error::Discarded {
                position,
                first: kept,
            } = error
            else {
                panic!("{error:?}");
            };
            assert_eq!((position, kept), (before, first));
        }
        assert_eq!(journal.discard_before(before).unwrap(), first);
    }
    assert_eq!(read(&journal).unwrap(), fixture.documents);
    assert_eq!(dir.view(), fixture.image);
}

/// Any mixture of damage: no panic, no changed document, and no file lost.
#[test]
fn arbitrary_damage_costs_no_file_and_changes_no_document() {
    let _watch = Watch::new("arbitrary_damage_costs_no_file_and_changes_no_document");
    let all = [plain(), gnarled()];
    let other = fixture_like(5);
    let base = 20_000;
    for seed in 0..base {
        let mut rng = Rng::new(seed);
        let fixture = &all[rng.below(2) as usize];
        let mut image = fixture.image.clone();
        for _ in 0..1 + rng.below(3) {
            damage(&mut image, &other, &mut rng);
        }
        let accept = [Accept::Any, Accept::NoSuspect, Accept::Strict][rng.below(3) as usize];
        let run = || fixture.judge(&image, &options().accept(accept)).map(drop);
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
            Ok(_) => {}
            Err(panic) => {
                eprintln!("seed {seed}: {:?}", image.keys());
                std::panic::resume_unwind(panic)
            }
        }
    }
}

fn damage(image: &mut Image, other: &Fixture, rng: &mut Rng) {
    let names: Vec<String> = image.keys().cloned().collect();
    let any = |rng: &mut Rng| {
        let at = rng.below(names.len().max(1) as u64) as usize;
        names.get(at).cloned().unwrap_or_else(|| name(1))
    };
    let (one, two) = (any(rng), any(rng));
    let bytes = image.get(&one).cloned().unwrap_or_default();
    let at = rng.below(bytes.len() as u64 + 1) as usize;
    match rng.below(9) {
        0 => drop(image.remove(&one)),
        1 => drop(image.insert(two, bytes)),
        2 => drop(image.insert(name(1 + rng.below(12)), bytes)),
        3 => drop(image.insert(one, bytes[..at].to_vec())),
        4 => {
            let mut bytes = bytes;
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << rng.below(8);
            }
            image.insert(one, bytes);
        }
        5 => {
            let mut random = vec![0; rng.below(600) as usize];
            rng.fill(&mut random);
            image.insert(one, random);
        }
        6 => {
            let mut bytes = bytes;
            bytes.extend_from_slice(&vec![rng.next_u64() as u8; rng.below(300) as usize]);
            image.insert(one, bytes);
        }
        7 => {
            let strange = other.segments()[rng.below(6) as usize];
            image.insert(name(strange), other.bytes(strange).clone());
        }
        _ => {
            let new = format!("{:020}.segment.new", 1 + rng.below(12));
            image.insert(new, bytes);
        }
    }
}

/// Rot in the midst of the live segment: what was read before it stays, and what lies behind is kept.
#[test]
fn behind_rot_in_the_live_segment_the_journal_goes_on_in_a_new_one() {
    let dir = FaultDirectory::new(1);
    let journal = open(&dir, &options()).unwrap();
    append(&journal, 6);
    drop(journal);
    let mut image = dir.view();
    let (live, bytes) = image.iter_mut().next().unwrap();
    let live = live.clone();
    let place = bytes
        .windows(7)
        .position(|window| window == b"event 3")
        .unwrap();
    bytes[place] ^= 1;
    let rotten = bytes.clone();
    let dir = FaultDirectory::from_image(1, image);
    let journal = open(&dir, &options()).unwrap();
    assert_eq!(journal.end(), 3);
    assert_eq!(journal.append_with("on", Durability::Written).unwrap(), 3);
    journal.close().unwrap();
    assert_eq!(dir.view()[&live], rotten);
    let journal = open(&dir, &options()).unwrap();
    assert_eq!(journal.end(), 4);
    assert!(journal.verify().unwrap().is_sound());
}

//! Scenarios 15 to 27: writes that arrive torn, out of order or in part, and crashes while opening.
#![cfg(feature = "testing")]

mod scenario_support;

use std::io::ErrorKind;

use documentbuffer::store::fault::{Class, Fault, Filler, Kind};
use documentbuffer::{End, Error, Options, Reason};
use scenario_support::format::{self, END, HEADER, OVERHEAD, Writer};
use scenario_support::{
    Disk, Documents, HANDLES, Handle, assert_legal, born, contents, doc, find, images, log, open,
    options, try_find,
};

/// A log of two documents with its END, and the same with three more documents written over the END.
fn append() -> (Vec<u8>, Vec<u8>, Documents) {
    let documents = vec![doc(1, 20), doc(2, 5), doc(3, 0), doc(4, 30), doc(5, 61)];
    let disk = born();
    let mut buffer = open(&disk, 1, Handle::Syncs);
    buffer.push_all(&documents[..2]).expect("push");
    buffer.sync().expect("sync");
    let before = disk.view();
    buffer.push_all(&documents[2..]).expect("push");
    (before, disk.view(), documents)
}

/// 15: an append cut after every single byte, the store ending there or with the old bytes behind.
#[test]
fn an_append_cut_at_any_byte_leaves_all_earlier_documents_and_says_torn() {
    let (before, after, documents) = append();
    let (old, new) = (
        format::read(&before).expect("a log"),
        format::read(&after).expect("a log"),
    );
    let boundaries: Vec<usize> = new.records.iter().map(|record| record.end()).collect();
    for cut in old.end..=after.len() {
        let whole = boundaries
            .iter()
            .rposition(|end| *end <= cut)
            .map_or(0, |last| last + 1);
        let kept = new.records[..whole].iter();
        let kept = kept
            .filter(|record| record.kind == format::Kind::Document)
            .count();

        let found = find(&after[..cut]);
        assert_eq!(found.documents, documents[..kept], "cut at {cut}");
        let at_boundary = boundaries.contains(&cut);
        let offset = boundaries[whole - 1] as u64;
        match found.end() {
            End::Unterminated => assert!(at_boundary, "cut at {cut}"),
            End::Torn { offset: at, .. } => assert!(!at_boundary && at == offset, "cut at {cut}"),
            end => panic!("{end:?} for a cut at {cut}"),
        }

        let mut image = after[..cut].to_vec();
        image.extend(before.get(cut..).unwrap_or_default());
        let found = find(&image);
        assert_eq!(
            found.documents,
            documents[..kept],
            "cut at {cut} before the old END"
        );
        let clean = cut == old.end;
        assert_eq!(
            found.end() == End::Clean,
            clean,
            "cut at {cut} before the old END"
        );
        assert_eq!(
            found.recovery.offset, offset,
            "cut at {cut} before the old END"
        );
    }
}

/// 16: the first word of a record arrived, its payload not.
#[test]
fn a_record_without_its_payload_is_torn() {
    let log = Writer::new(3).document(b"kept");
    let at = log.bytes.len();
    let whole = log.clone().document(&doc(9, 100)).bytes;
    for lost in 1..whole.len() - at - 4 {
        // As many bytes lost behind the word; all of them, or all but the frame's end.
        let mut image = whole.clone();
        image[at + 4..at + 4 + lost].fill(0);
        let found = find(&image);
        assert_eq!(found.documents, [b"kept"]);
        assert!(matches!(found.end(), End::Torn { offset, .. } if offset == at as u64));
    }
}

/// 17: payload and tail arrived, the sector of the first word is old or zeros.
#[test]
fn a_record_without_its_first_word_is_torn_there() {
    let log = Writer::new(3).document(b"kept");
    let at = log.bytes.len();
    let whole = log.clone().document(&doc(9, 100)).bytes;
    let stale = log.clone().end().bytes;
    let other = log.document(&doc(7, 300)).bytes;
    for sector in [1, 2, 3, 4, 8, 16, 32, 64] {
        for old in [&vec![0; 400], &vec![0xFF; 400], &stale, &other] {
            let mut image = whole.clone();
            let Some(first) = old.get(at..at + sector) else {
                continue;
            };
            if image[at..at + sector] == *first {
                continue;
            }
            image[at..at + sector].copy_from_slice(first);
            let found = find(&image);
            assert_eq!(found.documents, [b"kept"]);
            assert!(matches!(found.end(), End::Torn { offset, .. } if offset == at as u64));
        }
    }
}

/// 18: the size grew, the content is zeros.
#[test]
fn zeros_behind_the_log_are_no_documents() {
    for end in [false, true] {
        let log = Writer::new(3).document(b"one").document(b"two");
        let log = if end { log.end() } else { log };
        for zeros in (0..=200).chain([511, 512, 4096, 1 << 20, (1 << 20) + 1, 3 << 20]) {
            let mut image = log.bytes.clone();
            image.resize(image.len() + zeros, 0);
            let found = find(&image);
            assert_eq!(found.documents, [b"one", b"two"]);
            let expected = if end { End::Clean } else { End::Unterminated };
            assert_eq!(found.end(), expected, "{zeros} zeros");
        }
    }
}

/// 19: the same with ones, as erased flash reads.
#[test]
fn ones_behind_the_log_are_no_documents() {
    let log = Writer::new(3).document(b"one").document(b"two");
    for ones in (1..=200).chain([512, 4096, 2 << 20]) {
        let mut image = log.bytes.clone();
        let offset = image.len() as u64;
        image.resize(image.len() + ones, 0xFF);
        let found = find(&image);
        assert_eq!(found.documents, [b"one", b"two"]);
        assert!(
            matches!(found.end(), End::Torn { offset: at, .. } if at == offset),
            "{ones} ones"
        );
    }
}

/// Every subset of the sectors of what is not synced, for each filler.
fn every_sector_subset(disk: &Disk, sector: usize, legal: &[Documents]) -> usize {
    let store = disk.get().clone();
    let cuts: Vec<u64> = (0..store.view().len())
        .step_by(sector)
        .map(|at| at as u64)
        .collect();
    let mut images = 0;
    for filler in [Filler::Zero, Filler::Ones] {
        images += store.images_by_unit(&cuts, filler, |image| {
            let found = find(image);
            assert!(legal.contains(&found.documents), "{:?}", found.end());
        });
    }
    images
}

/// 20: the sectors of one record arrive in every subset.
#[test]
fn one_record_is_whole_or_absent_in_every_subset_of_its_sectors() {
    for handle in HANDLES {
        for (sector, len) in [(512, 2900), (4096, 20_000), (64, 300), (8, 30)] {
            let (r1, r2) = (doc(1, 50), doc(2, len));
            let (disk, mut buffer) = log(handle, &[seq![r1]]);
            buffer.push(&r2).expect("push");
            let legal = [seq![r1], seq![r1, r2]];
            let images = every_sector_subset(&disk, sector, &legal);
            assert!(images > 60, "{images} images");
        }
    }
}

/// 21: the same for one write of three records.
#[test]
fn a_batch_of_three_arrives_as_a_prefix_in_every_subset_of_its_sectors() {
    for handle in HANDLES {
        for (sector, len) in [(512, 900), (4096, 7000), (64, 120), (16, 16)] {
            let r = [doc(1, 50), doc(2, len), doc(3, len), doc(4, len)];
            let (disk, buffer) = log(handle, &[seq![r[0]]]);
            drop(buffer);
            let options = Options::new().seed(9);
            let mut buffer = match handle {
                Handle::Syncs => options.open(disk.clone()),
                Handle::Bare => options.open_bare(disk.clone()),
            }
            .expect("a log");
            buffer.push_all(&r[1..]).expect("push");
            buffer.flush().expect("flush");
            let legal: Vec<_> = (1..=4).map(|n| r[..n].to_vec()).collect();
            let images = every_sector_subset(&disk, sector, &legal);
            assert!(images > 60, "{images} images");
        }
    }
}

/// 22: popped records overwritten, any mix of old and new sectors.
#[test]
fn no_mix_of_old_and_new_sectors_is_a_document() {
    for handle in HANDLES {
        for (sector, len) in [(512, 700), (64, 90), (16, 12)] {
            for (x, y) in [(len, len), (len + 7, len / 2), (len / 2, len * 2), (0, 3)] {
                let r = [doc(1, 50), doc(2, len), doc(3, len), doc(4, len)];
                let (x, y) = (doc(5, x), doc(6, y));
                let (disk, mut buffer) = log(handle, &[seq![r[0]], r[1..].to_vec()]);
                buffer.truncate_after(1).expect("cut");
                buffer.push(&x).expect("push");
                buffer.push(&y).expect("push");
                let mut legal: Vec<_> = (1..=4).map(|n| r[..n].to_vec()).collect();
                legal.extend([seq![r[0], x], seq![r[0], x, y]]);
                every_sector_subset(&disk, sector, &legal);
            }
        }
    }
}

/// 23: END torn at every byte, old bytes behind.
#[test]
fn a_torn_end_ends_the_log_all_the_same() {
    for handle in HANDLES {
        for len in [0, 10, 17, 33, 60] {
            for pop in [false, true] {
                let r = [doc(1, 20), doc(2, len), doc(3, 40)];
                let (disk, mut buffer) = log(handle, &[r.to_vec()]);
                let now: Documents = if pop {
                    buffer.pop().expect("pop");
                    buffer.pop().expect("pop");
                    r[..1].to_vec()
                } else {
                    buffer.push(doc(4, 9)).expect("push");
                    [&r[..], &[doc(4, 9)]].concat()
                };
                let old = disk.view();
                buffer.flush().expect("flush");
                let new = disk.view();
                let at = format::read(&new).expect("a log").end;
                for torn in 1..END {
                    let mut image = new[..at + torn].to_vec();
                    image.extend(old.get(at + torn..).unwrap_or_default());
                    if image == old {
                        continue;
                    }
                    let found = find(&image);
                    assert_eq!(found.documents, now, "torn after {torn} bytes");
                    assert_eq!(found.end() == End::Clean, image == new);
                }
            }
        }
    }
}

/// 24: the sector with the last synced record and the new one is torn, and the *old* bytes suffer. That is
/// outside the promise: bytes that were not written must not change. What is left of it: nothing altered,
/// all before it there, the loss told.
#[test]
fn without_powersafe_overwrite_the_last_synced_document_may_go_but_not_silently() {
    let (disk, mut buffer) = log(
        Handle::Syncs,
        &[seq![doc(1, 700), doc(2, 100), doc(3, 100)]],
    );
    let synced = format::read(&disk.durable()).expect("a log");
    buffer.push(doc(4, 100)).expect("push");
    let record = synced.records.last().expect("a document");
    for byte in record.range() {
        for damage in [0x00, 0xFF, 0x55] {
            let mut image = disk.view();
            let sector_end = byte.next_multiple_of(512).min(image.len()).max(byte + 1);
            image[byte..sector_end].fill(damage);
            if image == disk.view() {
                continue;
            }
            let found = find(&image);
            let hurt = image[record.range()] != disk.view()[record.range()];
            let kept = if hurt { 2 } else { 3 };
            assert_eq!(
                found.documents,
                [doc(1, 700), doc(2, 100), doc(3, 100)][..kept]
            );
            assert_ne!(found.end(), End::Clean);
        }
    }
}

/// 25: a crash at every call of the creation, the header torn in every way.
#[test]
fn a_header_torn_at_creation_is_a_new_log_and_not_a_foreign_file() {
    for before in [
        vec![],
        vec![0; 10],
        vec![0; 4096],
        vec![0xFF; 64],
        vec![0xFF; 3000],
    ] {
        for kind in [Kind::Fail(ErrorKind::Other), Kind::After(ErrorKind::Other)] {
            for at in 0.. {
                let disk = Disk::holding(before.clone());
                disk.get().fault(Fault {
                    kind,
                    class: Class::Any,
                    at,
                    sticky: true,
                });
                if let Ok(mut buffer) = options(4).open(disk.clone()) {
                    let _ = buffer.push("first").and_then(|_| buffer.flush());
                }
                let clean_run = disk.get().fired() == 0;
                let store = disk.get().clone();
                // Sectors of 8 bytes; and cut at each byte.
                let eights: Vec<u64> = (0..=HEADER as u64).step_by(8).collect();
                let mut starts = vec![];
                for filler in [Filler::Zero, Filler::Ones] {
                    store.images_by_unit(&eights, filler, |image| starts.push(image.to_vec()));
                }
                let bytes = store.durable().len()..store.view().len().min(HEADER + 1);
                starts.extend(bytes.map(|len| store.view()[..len].to_vec()));
                for image in starts {
                    let found = find(&image).documents;
                    assert!(found.is_empty() || found == seq!["first"]);
                    // And it is of use.
                    let again = Disk::holding(image);
                    let mut buffer = open(&again, 5, Handle::Syncs);
                    buffer.push("again").expect("push");
                    buffer.sync().expect("sync");
                    let now = contents(&mut buffer);
                    assert_eq!(find(&again.durable()).documents, now);
                }
                if clean_run {
                    break;
                }
            }
        }
    }
}

/// 25, a store that cannot sync: the header cut at any byte, or filled up from there.
#[test]
fn a_header_cut_at_any_byte_is_a_new_log() {
    let header = born().view();
    for len in 0..32 {
        for filler in [None, Some(0x00), Some(0xFF)] {
            let mut image = header[..len].to_vec();
            if let Some(filler) = filler {
                image.resize(HEADER, filler);
            }
            let found = try_find(&image);
            let found =
                found.unwrap_or_else(|error| panic!("{len} bytes, then {filler:?}: {error}"));
            assert!(found.documents.is_empty());
            let disk = Disk::holding(image);
            let mut buffer = open(&disk, 5, Handle::Bare);
            buffer.push("on").expect("push");
            buffer.flush().expect("flush");
            assert_eq!(find(&disk.view()).documents, [b"on"]);
        }
    }
}

/// Logs with every kind of end.
fn every_end() -> Vec<Vec<u8>> {
    let log = Writer::new(3)
        .mark(1)
        .document(&doc(1, 9))
        .document(&doc(2, 300));
    let long = log.clone().document(&doc(3, 700_000));
    let mut torn = long.bytes.clone();
    torn.truncate(torn.len() - 7);
    let mut suspect = long.clone().end().bytes;
    suspect[HEADER + OVERHEAD + 5] ^= 1;
    vec![
        vec![],
        vec![0; 700],
        log.bytes[..HEADER].to_vec(),
        log.bytes.clone(),
        long.end().bytes,
        torn,
        suspect,
    ]
}

/// 26: recovery fails at every call, once and again.
#[test]
fn a_crash_while_opening_changes_nothing() {
    for image in every_end() {
        let expected = find(&image);
        for kind in [
            Kind::Fail(ErrorKind::Other),
            Kind::After(ErrorKind::Other),
            Kind::Panic,
        ] {
            for at in 0.. {
                let disk = Disk::holding(image.clone());
                let fault = Fault {
                    kind,
                    class: Class::Any,
                    at,
                    sticky: false,
                };
                disk.get().fault(fault);
                let opening = || {
                    options(1)
                        .open(disk.clone())
                        .map(drop)
                        .map_err(|failed| failed.error)
                };
                let once = std::panic::catch_unwind(std::panic::AssertUnwindSafe(opening));
                let clean_run = disk.get().fired() == 0;
                if clean_run {
                    assert!(matches!(once, Ok(Ok(()))));
                    break;
                }
                assert!(
                    !matches!(once, Ok(Ok(()))),
                    "an error at call {at} was passed over"
                );
                disk.get().calm();
                disk.get().fault(fault);
                let twice = std::panic::catch_unwind(std::panic::AssertUnwindSafe(opening));
                assert!(!matches!(twice, Ok(Ok(()))));
                assert!(disk.view() == image && disk.get().unsynced().next().is_none());
                let found = find(&disk.view());
                assert_eq!(found.recovery, expected.recovery);
            }
        }
    }
}

/// 27: crash, recover, push one, crash, recover, pop one, crash: all images of each.
#[test]
fn three_crashes_in_a_row_obey_the_oracle_at_each_step() {
    let (r1, r2, r3) = (doc(1, 10), doc(2, 10), doc(1, 10));
    let disk = born();
    let mut buffer = open(&disk, 1, Handle::Syncs);
    buffer.push(&r1).expect("push");
    buffer.sync().expect("sync");
    buffer.push(&r2).expect("push");
    buffer.pop().expect("pop");
    buffer.push(&r3).expect("push");
    let mut total = 0;
    images(&disk, &[8], |first| {
        let held = find(first).documents;
        assert!([seq![r1], seq![r1, r2], seq![r1, r3]].contains(&held));
        let disk = Disk::holding(first.to_vec());
        let mut buffer = open(&disk, 2, Handle::Syncs);
        buffer.push(&r2).expect("push");
        let pushed = [held.clone(), seq![r2]].concat();
        images(&disk, &[8], |second| {
            let held_then = find(second).documents;
            assert!(held_then == held || held_then == pushed);
            let disk = Disk::holding(second.to_vec());
            let mut buffer = open(&disk, 3, Handle::Syncs);
            assert_eq!(buffer.pop().expect("pop").as_ref(), held_then.last());
            buffer.flush().expect("flush");
            let popped = held_then[..held_then.len() - 1].to_vec();
            total += images(&disk, &[8], |third| {
                let held_last = find(third).documents;
                assert!(held_last == held_then || held_last == popped);
            });
            disk.settle();
            assert_legal(&disk, &[], &[popped]);
        });
    });
    assert!(total > 100, "{total} images");
}

/// A bad record with a good reason for each: which of them is told.
#[test]
fn the_reason_for_a_torn_end_is_the_one_that_is() {
    let log = Writer::new(3).document(b"kept");
    let at = log.bytes.len();
    let whole = log.clone().document(&doc(9, 40));
    let damaged = |byte: usize, to: u8| {
        let mut bytes = whole.bytes.clone();
        bytes[at + byte] ^= to;
        bytes
    };
    let cases = [
        (whole.bytes[..at + 20].to_vec(), Reason::Cut),
        (damaged(0, 1), Reason::Kind),
        (damaged(54, 1), Reason::Trailer),
        (damaged(20, 1), Reason::Checksum),
        (damaged(45, 1), Reason::Checksum),
        (damaged(49, 1), Reason::Checksum),
        (log.clone().end_of(2, 4).bytes, Reason::Count),
        (log.clone().end_of(1, 5).bytes, Reason::Count),
    ];
    for (bytes, expected) in cases {
        match find(&bytes).end() {
            End::Torn { offset, reason } => assert_eq!((offset, reason), (at as u64, expected)),
            end => panic!("{end:?} and not {expected:?}"),
        }
    }
    let header_gone = try_find(&[&[0; HEADER][..], &whole.bytes[HEADER..]].concat());
    assert!(matches!(header_gone, Err(Error::Foreign { .. })));
}

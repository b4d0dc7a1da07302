//! Scenarios 1 to 14: stale records behind the end, and pops that must stay pops.
#![cfg(feature = "testing")]

mod scenario_support;

use std::collections::HashSet;
use std::io::{Cursor, Seek, SeekFrom, Write};

use documentbuffer::store::fault::{
    Class, CountingStore, CrashPlan, Fault, Kind, Rng, SparseStore,
};
use documentbuffer::{DocumentBuffer, End, Error, Options, Reason};
use scenario_support::format::{self, END, HEADER, MARK, OVERHEAD, Writer};
use scenario_support::{
    Disk, Documents, HANDLES, Handle, assert_legal, born, contents, doc, find, images, log, open,
    options, salvage, try_find,
};

/// Lengths of documents: empty, shorter than a mark, as long as an END's payload, longer than an END.
const LENGTHS: [usize; 6] = [0, 1, 16, 17, 33, 100];

/// Makes everything so far durable, also under a handle that cannot.
fn keep(buffer: &mut DocumentBuffer<Disk>, disk: &Disk) {
    buffer.flush().expect("flush");
    disk.settle();
}

/// 1: r1 r2 flushed; pop; flush; crash; the store was never cut.
#[test]
fn a_pop_that_was_flushed_stays_a_pop() {
    for handle in HANDLES {
        for len in LENGTHS {
            let r = [doc(1, len), doc(2, len), doc(3, len)];
            let (disk, mut buffer) = log(handle, &[r.to_vec()]);
            let before = disk.view().len();
            for left in [2, 1] {
                buffer.pop().expect("pop");
                keep(&mut buffer, &disk);
                let seen = assert_legal(&disk, &[], &[r[..left].to_vec()]);
                assert_eq!(seen.len(), 1);
                assert_eq!(find(&disk.view()).end(), End::Clean);
            }
            assert!(disk.view().len() >= before, "the store was cut");
        }
    }
}

/// 2: r1 r2 r3 flushed; both newest popped; x as long as r2 pushed and flushed; a crash before the sync.
#[test]
fn a_new_document_never_joins_an_old_one_behind_it() {
    for handle in HANDLES {
        for len in LENGTHS {
            let (r1, r2, r3, x) = (doc(1, len), doc(2, len), doc(3, 40), doc(4, len));
            let (disk, mut buffer) = log(handle, &[seq![r1], seq![r2, r3]]);
            buffer.pop().expect("pop");
            buffer.pop().expect("pop");
            buffer.push(&x).expect("push");
            buffer.flush().expect("flush");
            let mut legal = vec![seq![r1, r2, r3], seq![r1, r2], seq![r1], seq![r1, x]];
            let seen = assert_legal(&disk, &[8], &legal);
            assert!(seen.contains(&legal[0]) && seen.contains(&legal[3]));
            keep(&mut buffer, &disk);
            legal.drain(..3);
            assert_legal(&disk, &[8], &legal);
        }
    }
}

/// 3: the same, and x has the bytes of r2, so that all of it lines up.
#[test]
fn the_same_document_again_does_not_bring_back_its_old_successor() {
    for handle in HANDLES {
        for len in LENGTHS {
            let (r1, r2, r3) = (doc(1, len), doc(2, len), doc(3, 40));
            let (disk, mut buffer) = log(handle, &[seq![r1], seq![r2, r3]]);
            let old = disk.view();
            buffer.pop().expect("pop");
            buffer.pop().expect("pop");
            buffer.push(&r2).expect("push");
            // Before the flush r3 stands whole behind the new r2, at the place where it was.
            let now = disk.view();
            let at = format::read(&old).expect("a log").end - r3.len() - OVERHEAD;
            assert_eq!(format::read(&now).expect("a log").end, at);
            assert_eq!(now[at..], old[at..]);
            assert_eq!(find(&now).documents, seq![r1, r2]);
            let legal = [seq![r1, r2, r3], seq![r1, r2], seq![r1]];
            assert_legal(&disk, &[8], &legal);
            keep(&mut buffer, &disk);
            // Even where rot takes the END away.
            for byte in at..at + END {
                let mut image = disk.durable();
                image[byte] ^= 1;
                assert_eq!(find(&image).documents, seq![r1, r2]);
            }
            assert_legal(&disk, &[8], &[seq![r1, r2]]);
        }
    }
}

/// 4: r1 r2 written unsynced; the crash keeps r2 and loses r1; r1 pushed again; a crash.
#[test]
fn a_document_lost_and_pushed_again_does_not_bring_back_its_successor() {
    for handle in HANDLES {
        // Where nothing can be synced, a record torn in the first life may be completed by the same one of
        // the second: the hole that the documentation names. Whole records cannot.
        let inside: &[usize] = match handle {
            Handle::Syncs => &[4, 8],
            Handle::Bare => &[],
        };
        let mut lined_up = 0;
        for len in LENGTHS {
            let (r1, r2) = (doc(1, len), doc(2, 40));
            let disk = born();
            let mut buffer = open(&disk, 1, handle);
            // As if there had been others: no END of this life's first write is in the way.
            buffer.push("t").expect("push");
            buffer.pop().expect("pop");
            keep(&mut buffer, &disk);
            buffer.push(&r1).expect("push");
            buffer.push(&r2).expect("push");
            let r2_at = disk.view().len() - r2.len() - OVERHEAD;
            images(&disk, inside, |image| {
                let survivor = Disk::holding(image.to_vec());
                let found = find(image).documents;
                if !found.is_empty() {
                    return;
                }
                let mut again = open(&survivor, 2, handle);
                again.push(&r1).expect("push");
                let salt = format::salt(image).expect("a header");
                lined_up += usize::from(format::record(&survivor.view(), salt, r2_at).is_some());
                assert_legal(&survivor, inside, &[seq![], seq![r1]]);
                assert_eq!(find(&survivor.view()).documents, seq![r1]);
            });
        }
        assert!(lined_up > 0, "r2 never survived");
    }
}

/// 5: the write of r1 r2 reached the store and failed; r2 popped from memory; r1 written again and flushed.
#[test]
fn a_document_popped_after_a_failed_write_does_not_come_back() {
    for handle in HANDLES {
        for len in LENGTHS {
            let (r1, r2) = (doc(1, len), doc(2, 40));
            let disk = log(handle, &[]).0;
            let options = Options::new().seed(7);
            let mut buffer = match handle {
                Handle::Syncs => options.open(disk.clone()),
                Handle::Bare => options.open_bare(disk.clone()),
            }
            .expect("a log");
            buffer.push("settles").expect("push");
            buffer.pop().expect("pop");
            buffer.push_all([&r1, &r2]).expect("push");
            let writes = disk.get().calls().writes;
            // The handle's first END, where it writes one, is not what fails.
            let at = writes + u64::from(handle == Handle::Syncs);
            disk.get().fault(Fault {
                kind: Kind::After(std::io::ErrorKind::Other),
                class: Class::Write,
                at,
                sticky: false,
            });
            assert!(matches!(buffer.flush(), Err(Error::Io { .. })));
            assert_eq!(find(&disk.view()).documents, seq![r1, r2], "it arrived");
            assert_eq!(buffer.pop().expect("pop"), Some(r2.clone()));
            let legal = [seq![], seq![r1], seq![r1, r2]];
            assert_legal(&disk, &[8], &legal);
            buffer.flush().expect("flush");
            assert_legal(&disk, &[8], &legal);
            keep(&mut buffer, &disk);
            assert_eq!(find(&disk.view()).documents, seq![r1]);
            assert_legal(&disk, &[], &[seq![r1]]);
        }
    }
}

/// 6: two popped, two pushed; sectors of the first lost, of the second there.
#[test]
fn of_two_new_documents_the_second_never_stands_on_an_old_one() {
    for handle in HANDLES {
        for len in LENGTHS {
            for same in [false, true] {
                let r = [doc(1, len), doc(2, len), doc(3, len), doc(4, len)];
                let (x, y) = match same {
                    true => (r[2].clone(), r[3].clone()),
                    false => (doc(5, len), doc(6, len)),
                };
                let (disk, mut buffer) = log(handle, &[r[..2].to_vec(), r[2..].to_vec()]);
                buffer.pop().expect("pop");
                buffer.pop().expect("pop");
                buffer.push(&x).expect("push");
                buffer.push(&y).expect("push");
                let legal = [
                    r.to_vec(),
                    r[..3].to_vec(),
                    r[..2].to_vec(),
                    seq![r[0], r[1], x],
                    seq![r[0], r[1], x, y],
                ];
                assert_legal(&disk, &[8], &legal);
                buffer.flush().expect("flush");
                assert_legal(&disk, &[8], &legal);
            }
        }
    }
}

/// 7: popped to empty, flushed, crashed.
#[test]
fn an_emptied_log_is_empty_and_no_error() {
    for handle in HANDLES {
        for len in LENGTHS {
            let r = vec![doc(1, len), doc(2, len), doc(3, len)];
            let (disk, mut buffer) = log(handle, std::slice::from_ref(&r));
            while buffer.pop().expect("pop").is_some() {}
            buffer.flush().expect("flush");
            let legal = [r.clone(), r[..2].to_vec(), r[..1].to_vec(), seq![]];
            assert_legal(&disk, &[8], &legal);
            keep(&mut buffer, &disk);
            assert_legal(&disk, &[8], &[seq![]]);
            let found = find(&disk.durable());
            assert_eq!((found.end(), found.recovery.documents), (End::Clean, 0));
            let mut again = open(&Disk::holding(disk.durable()), 5, handle);
            assert_eq!(again.pop().expect("no error"), None);
            assert_eq!(again.push("on").expect("push"), 0);
        }
    }
}

/// 8, space and nonces: one popped and one pushed, a million times over the memory boundary.
#[test]
fn a_million_pops_and_pushes_take_no_more_room() {
    let mut buffer = options(8).open_bare(Cursor::new(Vec::new())).expect("new");
    buffer.push_all([doc(1, 20), doc(2, 20)]).expect("push");
    let before = buffer.get_ref().get_ref().len();
    let mut nonces = HashSet::new();
    let mut document = Vec::new();
    let mark_at = before - 20 - OVERHEAD;
    for round in 0..1_000_000 {
        assert!(buffer.pop_into(&mut document).expect("pop"));
        buffer.push(&document).expect("push");
        let bytes = buffer.get_ref().get_ref();
        assert!(bytes.len() <= before + MARK, "grew in round {round}");
        nonces.insert(bytes[mark_at..mark_at + 4].to_vec());
    }
    // 2^28 nonces: about 1900 of a million are drawn twice.
    assert!(nonces.len() > 990_000, "{} nonces", nonces.len());
    let bytes = buffer.into_inner().into_inner();
    assert_eq!(find(&bytes).documents, [doc(1, 20), doc(2, 20)]);
}

/// 8, crashes: the same with a crash at any point.
#[test]
fn a_crash_anywhere_in_a_long_churn_obeys_the_oracle() {
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let disk = Disk::empty();
        let mut buffer = options(seed).open(disk.clone()).expect("new");
        buffer.push_all([doc(1, 20), doc(2, 20)]).expect("push");
        buffer.sync().expect("sync");
        let mut now = contents(&mut buffer);
        let mut legal = vec![now.clone()];
        for _ in 0..200 {
            match rng.below(8) {
                0 => {
                    buffer.sync().expect("sync");
                    legal = vec![now.clone()];
                }
                1..4 => {
                    assert_eq!(buffer.pop().expect("pop"), now.pop());
                }
                _ => {
                    let document = doc(rng.below(2) as u8, 20);
                    buffer.push(&document).expect("push");
                    now.push(document);
                }
            }
            legal.push(now.clone());
            for _ in 0..4 {
                let plan = CrashPlan::random(&mut rng);
                let image = disk.get().crash(&mut rng, plan);
                let found = find(&image).documents;
                assert!(legal.contains(&found), "seed {seed}, {plan:?}");
            }
        }
    }
}

/// 9: the new record is longer than the popped one and ends inside the next stale record.
#[test]
fn a_longer_record_ends_inside_a_stale_one_and_there_the_log_ends() {
    for handle in HANDLES {
        for longer in 1..60 {
            let r = [doc(1, 20), doc(2, 20), doc(3, 44), doc(4, 30)];
            let x = doc(5, 20 + longer);
            let (disk, mut buffer) = log(handle, &[r[..1].to_vec(), r[1..].to_vec()]);
            for _ in 0..3 {
                buffer.pop().expect("pop");
            }
            buffer.push(&x).expect("push");
            let found = find(&disk.view());
            assert_eq!(found.documents, seq![r[0], x]);
            // r4 stands whole behind it, unless x reaches it.
            assert!(matches!(found.end(), End::Suspect { records: 1, .. }));
            let old = (1..=4).map(|n| r[..n].to_vec());
            let legal: Vec<_> = old.chain([seq![r[0], x]]).collect();
            assert_legal(&disk, &[8], &legal);
        }
    }
}

/// 10: the new record ends exactly where a stale END begins, which counts what the log now holds.
#[test]
fn a_stale_end_that_lines_up_and_counts_right_is_refused() {
    for handle in HANDLES {
        for len in LENGTHS {
            let (r1, r2, x) = (doc(1, 9), doc(2, len), doc(3, len));
            let (disk, mut buffer) = log(handle, &[seq![r1], seq![r2]]);
            let old = disk.view();
            buffer.pop().expect("pop");
            buffer.push(&x).expect("push");
            let now = disk.view();
            let end = format::read(&now).expect("a log").end;
            assert_eq!(now[end..end + END], old[end..end + END], "END stands there");
            let found = find(&now);
            assert_eq!(found.documents, seq![r1, x]);
            let reason = Reason::Link;
            let offset = end as u64;
            assert_eq!(found.end(), End::Torn { offset, reason });
        }
    }
}

/// 11: a finished log reused from offset 0, its header damaged so that half a new one would complete it.
#[test]
fn nothing_of_an_earlier_log_appears_in_a_new_one_over_it() {
    let old = (0..6).fold(Writer::new(0x01D), |log, i| log.document(&doc(i, 20)));
    let old = old.end().bytes;
    for damaged in [0, 9, 17, 30] {
        let mut bytes = old.clone();
        bytes[damaged] ^= 0x40;
        bytes[32 + damaged] ^= 0x40;
        assert!(try_find(&bytes).is_err());
        // Until a clean run every call of the creation fails, and a crash follows.
        for fail_at in 0.. {
            let disk = Disk::holding(bytes.clone());
            disk.get().fault(Fault {
                kind: Kind::After(std::io::ErrorKind::Other),
                class: Class::Any,
                at: fail_at,
                sticky: true,
            });
            let opened = options(3).initialize().open(disk.clone());
            let pushed = opened.map(|mut buffer| {
                // What the old log had, byte for byte, at the same places but for the mark.
                let pushed = (0..3)
                    .map(|i| buffer.push(doc(i, 20)))
                    .collect::<Result<Vec<_>, _>>();
                pushed.and_then(|_| buffer.flush())
            });
            let done = disk.get().fired() == 0;
            let new: Vec<Documents> = (0..=3)
                .map(|n| (0..n).map(|i| doc(i, 20)).collect())
                .collect();
            images(&disk, &[], |image| match try_find(image) {
                Ok(found) => {
                    assert_ne!(format::salt(image), Some(0x01D), "the old salt is back");
                    assert!(new.contains(&found.documents));
                }
                Err(error) => assert!(matches!(
                    error,
                    Error::Foreign { .. } | Error::Corrupt { offset: 0, .. }
                )),
            });
            if done {
                pushed.expect("no fault").expect("no fault");
                break;
            }
        }
    }
}

/// 12: a document is a byte copy of the log it is in.
#[test]
fn a_copy_of_the_log_inside_a_document_is_never_interpreted() {
    let mut buffer = options(1).open_bare(Cursor::new(Vec::new())).expect("new");
    buffer.push_all([doc(1, 10), doc(2, 10)]).expect("push");
    buffer.flush().expect("flush");
    let copy = buffer.get_ref().get_ref().clone();
    buffer.push(&copy).expect("push");
    buffer.push(&copy[HEADER..]).expect("push");
    buffer.flush().expect("flush");
    let bytes = buffer.into_inner().into_inner();
    let documents = [
        doc(1, 10),
        doc(2, 10),
        copy.clone(),
        copy[HEADER..].to_vec(),
    ];
    assert_eq!(find(&bytes).documents, documents);
    let all: Vec<_> = salvage(&bytes).into_iter().map(|found| found.1).collect();
    assert_eq!(all, documents);
    // Whatever is damaged of the records around the copies, what is in them stays in them.
    let log = format::read(&bytes).expect("a log");
    for record in log.document_records().skip(2) {
        for byte in record.range() {
            let mut damaged = bytes.clone();
            damaged[byte] ^= 0x10;
            let found: Vec<_> = salvage(&damaged).into_iter().map(|found| found.1).collect();
            let rest: Vec<_> = documents
                .iter()
                .filter(|one| **one != record.payload)
                .cloned()
                .collect();
            assert_eq!(found, rest, "byte {byte}");
        }
    }
}

/// 13: a crash between the write of END and the end of the sync.
#[test]
fn a_crash_before_the_sync_returns_leaves_either_state() {
    for len in LENGTHS {
        let (r1, r2) = (doc(1, len), doc(2, len));
        let (disk, mut buffer) = log(Handle::Syncs, &[seq![r1, r2]]);
        buffer.pop().expect("pop");
        // All but the sync itself.
        buffer.flush().expect("flush");
        let legal = [seq![r1, r2], seq![r1]];
        let every_word: Vec<usize> = (0..END).step_by(4).collect();
        let seen = assert_legal(&disk, &every_word, &legal);
        assert_eq!(seen.len(), 2, "both can be");
        // And where the sync fails after it has done its work, or part of it.
        for kind in [
            Kind::SyncLoses,
            Kind::SyncLosesSome,
            Kind::After(std::io::ErrorKind::Other),
        ] {
            let (disk, mut buffer) = log(Handle::Syncs, &[seq![r1, r2]]);
            buffer.pop().expect("pop");
            disk.get().calm();
            disk.get().fault(Fault {
                kind,
                class: Class::Sync,
                at: 0,
                sticky: false,
            });
            assert!(buffer.sync().is_err());
            assert_legal(&disk, &[8], &legal);
        }
    }
}

/// 14: a stale tail of more than 4 GiB.
#[test]
fn a_stale_tail_of_many_gib_is_not_read() {
    let ends = [
        (Writer::new(1).document(b"a").document(b"b").end(), true),
        (Writer::new(1).document(b"a").document(b"b"), false),
    ];
    for (log, clean) in ends {
        let mut store = SparseStore::with_len(5 << 30);
        store.write_all(&log.bytes).expect("sparse");
        let behind = if clean { 0 } else { 3 };
        store.seek(SeekFrom::Current(behind)).expect("sparse");
        store.write_all(&[0x55; 9000]).expect("sparse");
        for at in [1u64 << 31, 1 << 32, (5 << 30) - 9] {
            store.seek(SeekFrom::Start(at)).expect("sparse");
            store.write_all(b"leftover").expect("sparse");
        }
        let mut store = CountingStore::new(store);
        let mut buffer = Options::new().open(&mut store).expect("a log");
        assert_eq!(buffer.recovery().end == End::Clean, clean);
        assert_eq!(contents(&mut buffer), seq!["a", "b"]);
        drop(buffer);
        let read = store.read_bytes();
        assert!(read < 4 << 20, "{read} bytes read");
    }
}

//! Scenarios 28 to 42: bytes that changed, were made up, or belong to something else.
#![cfg(feature = "testing")]

mod scenario_support;

use std::cell::Cell;
use std::io::{self, Cursor, ErrorKind, Read, Seek, SeekFrom, Write};
use std::rc::Rc;

use documentbuffer::store::fault::{Class, CountingStore, Fault, Kind, SparseStore};
use documentbuffer::{
    Accept, Action, DocumentBuffer, End, Error, Feature, Options, Reason, Salvage, Scan, Store,
};
use scenario_support::format::{self, END, LONGEST, Writer, header};
use scenario_support::{
    Disk, Documents, HANDLES, Handle, contents, doc, find, log, open, salvage, try_find,
};

/// A log with empty, short and repeated documents, a mark, an END, and stale records behind that.
fn small_log() -> Vec<u8> {
    let (disk, mut buffer) = log(
        Handle::Syncs,
        &[
            seq![doc(1, 9), doc(2, 0), doc(1, 9)],
            seq![doc(3, 30), doc(4, 17), doc(5, 80)],
        ],
    );
    buffer.pop().expect("pop");
    buffer.sync().expect("sync");
    disk.durable()
}

/// 28: every single bit of the store flipped.
#[test]
fn a_flipped_bit_never_changes_a_document_and_is_told_where() {
    let bytes = small_log();
    let log = format::read(&bytes).expect("a log");
    let documents = log.documents();
    assert!(log.useful_end() < bytes.len(), "no stale bytes");
    for bit in 0..bytes.len() * 8 {
        let byte = bit / 8;
        let mut image = bytes.clone();
        image[byte] ^= 1 << (bit % 8);
        let found = find(&image);
        let hit = log
            .records
            .iter()
            .find(|record| record.range().contains(&byte));
        match hit {
            Some(record) => {
                let before = log
                    .document_records()
                    .filter(|other| other.offset < record.offset);
                assert_eq!(found.documents, documents[..before.count()], "bit {bit}");
                assert_eq!(found.recovery.offset, record.offset as u64, "bit {bit}");
                assert_ne!(found.end(), End::Clean, "bit {bit}");
            }
            None => {
                assert_eq!(found.documents, documents, "bit {bit}");
                let in_end = (log.end..log.end + END).contains(&byte);
                assert_eq!(found.end() != End::Clean, in_end, "bit {bit}");
            }
        }
    }
}

/// 29: each bit of a first word flipped, so that 40 bytes claim to be up to 1 GiB.
#[test]
fn a_flipped_length_costs_no_long_read() {
    let log = Writer::new(1).document(b"kept");
    let at = log.bytes.len() as u64;
    let bytes = log.document(&doc(2, 40)).end().bytes;
    for bit in 0..32 {
        let mut damaged = bytes.clone();
        damaged[at as usize + bit / 8] ^= 1 << (bit % 8);
        let mut small = CountingStore::new(Cursor::new(damaged.clone()));
        check_cheap(&mut small, 3 * bytes.len() as u64, at);
        // The same where all those bytes are there, zeros.
        let mut sparse = SparseStore::with_len(2 << 30);
        sparse.write_all(&damaged).expect("sparse");
        check_cheap(&mut CountingStore::new(sparse), 5 << 20, at);
    }
}

fn check_cheap<S: Store>(store: &mut CountingStore<S>, most: u64, end: u64) {
    let mut buffer = Options::new().open(&mut *store).expect("a log");
    assert_eq!(buffer.recovery().offset, end);
    assert_eq!(contents(&mut buffer), seq!["kept"]);
    drop(buffer);
    let read = store.read_bytes();
    assert!(read <= most, "{read} bytes read");
}

/// 30: lengths that point past the end of the store, by little and by as much as there is.
#[test]
fn a_length_past_the_end_is_torn() {
    let log = Writer::new(1).document(b"kept");
    let at = log.bytes.len();
    for room in [0usize, 1, 11, 12, 16, 100] {
        let near = (room.saturating_sub(20)..room + 20).map(|len| len as u32);
        let far = [
            LONGEST as u32,
            LONGEST as u32 - 1,
            1 << 27,
            (1 << 28) - 16,
            (1 << 28) - 12,
        ];
        for len in near.chain(far) {
            for kind in 1..4u32 {
                let word = len << 2 | kind;
                let mut image = log.bytes.clone();
                image.extend(word.to_le_bytes());
                image.extend(vec![0x33; room]);
                // A tail that agrees, wherever it may be looked for.
                image.extend((word ^ 0x5AC3_A53C).to_le_bytes());
                let found = find(&image);
                assert_eq!(found.documents, [b"kept"]);
                assert!(matches!(found.end(), End::Torn { offset, .. } if offset == at as u64));
            }
        }
    }
    for top in 1..4u32 {
        for kind in 0..4u32 {
            let mut image = log.bytes.clone();
            image.extend((top << 30 | 4 << 2 | kind).to_le_bytes());
            image.extend([0x33; 60]);
            let reason = Reason::Kind;
            let offset = at as u64;
            assert_eq!(find(&image).end(), End::Torn { offset, reason });
        }
    }
}

/// 31: a record of length zero with checksum zero; sixteen zero bytes.
#[test]
fn zeros_are_never_a_record() {
    let log = Writer::new(1).document(b"kept");
    for word in [0u32, 1, 2, 3] {
        for link in [0u32, u32::MAX] {
            for tail in [0, word, !word, word ^ 0x5AC3_A53C, u32::MAX] {
                let mut image = log.bytes.clone();
                image.extend(word.to_le_bytes());
                image.extend(link.to_le_bytes());
                image.extend([0; 4]);
                image.extend(tail.to_le_bytes());
                let found = find(&image);
                assert_eq!(found.documents, [b"kept"]);
                assert_ne!(found.end(), End::Clean);
            }
        }
    }
}

/// 32: documents that really are empty.
#[test]
fn empty_documents_are_kept_and_counted() {
    for memory in [0, 15, 16, 100, 1 << 20] {
        let options = Options::new().memory(memory);
        let mut buffer = options.open(Cursor::new(Vec::new())).expect("new");
        for position in 0..1000 {
            assert_eq!(buffer.push(b"").expect("push"), position);
        }
        let (_, store) = buffer.close().expect("close");
        assert_eq!(
            find(store.get_ref()).documents,
            vec![Vec::<u8>::new(); 1000]
        );
        let mut buffer = options.open(store).expect("a log");
        for left in (0..1000).rev() {
            assert_eq!(buffer.peek().expect("peek"), Some(&b""[..]));
            assert_eq!(buffer.pop().expect("pop"), Some(vec![]));
            assert_eq!(buffer.len(), left);
        }
        assert_eq!(buffer.pop().expect("pop"), None);
    }
}

/// 33: one of a thousand records rots, in each of its parts.
#[test]
fn rot_among_a_thousand_records_costs_one_of_them() {
    let documents: Documents = (0..1000u32)
        .map(|i| format!("document {i}").into())
        .collect();
    let bytes = documents
        .iter()
        .fold(Writer::new(1), |log, one| log.document(one))
        .end()
        .bytes;
    let log = format::read(&bytes).expect("a log");
    for hit in [0, 1, 333, 500, 998, 999] {
        for (part, range) in log.records[hit].parts().into_iter().enumerate() {
            let mut image = bytes.clone();
            image[range.start] ^= 0x04;
            let found = find(&image);
            assert_eq!(found.documents, documents[..hit]);
            let offset = log.records[hit].offset as u64;
            let records = (999 - hit) as u64;
            let suspect = End::Suspect { offset, records };
            if records > 0 {
                assert_eq!(found.end(), suspect, "part {part}");
            }
            let opened = |accept| {
                Options::new()
                    .accept(accept)
                    .open(Cursor::new(image.clone()))
            };
            let strict = opened(Accept::Strict).expect_err("strict").error;
            assert!(matches!(strict, Error::NotClean { end } if end == found.end()));
            match opened(Accept::NoSuspect) {
                Ok(_) => assert_eq!(records, 0),
                Err(failed) => {
                    assert_eq!(failed.store.into_inner(), image, "the store comes back");
                    assert!(
                        matches!(failed.error, Error::Suspect { offset: o, records: r } if (o, r) == (offset, records))
                    );
                }
            }
            let others: Documents = salvage(&image).into_iter().map(|found| found.1).collect();
            assert_eq!(others, [&documents[..hit], &documents[hit + 1..]].concat());
        }
    }
}

/// 34: an END of an earlier, longer life stands at the physical end of the store.
#[test]
fn a_stale_end_at_the_physical_end_is_not_trusted() {
    for handle in HANDLES {
        let documents: Documents = (0..20).map(|i| doc(i, 25)).collect();
        let (disk, mut buffer) = log(handle, std::slice::from_ref(&documents));
        let old = disk.view();
        buffer.truncate_after(5).expect("cut");
        buffer.push_all([doc(90, 25), doc(91, 25)]).expect("push");
        let now = [&documents[..5], &[doc(90, 25), doc(91, 25)]].concat();
        for flush in [false, true] {
            if flush {
                buffer.flush().expect("flush");
            }
            let image = disk.view();
            assert_eq!(image.len(), old.len());
            assert_eq!(
                image[old.len() - END..],
                old[old.len() - END..],
                "it stands there"
            );
            let found = find(&image);
            assert_eq!(found.documents, now);
            assert_eq!(found.end() == End::Clean, flush);
            let again = open(&Disk::holding(image), 4, handle);
            assert_eq!(again.len(), 7);
        }
    }
}

/// A buffer over six documents in the store, and the disk under it.
fn stored(memory: usize) -> (Disk, DocumentBuffer<Disk>, format::Log) {
    let (disk, buffer) = log(Handle::Syncs, &[(0..6).map(|i| doc(i, 20)).collect()]);
    drop(buffer);
    let options = Options::new().memory(memory).seed(5);
    let buffer = options.open(disk.clone()).expect("a log");
    let log = format::read(&disk.view()).expect("a log");
    (disk, buffer, log)
}

type Call = fn(&mut DocumentBuffer<Disk>) -> Result<(), Error>;

/// Every call that reads documents, all of them.
const READING: [(&str, Call); 6] = [
    ("pop", |b| {
        while b.pop()?.is_some() {}
        Ok(())
    }),
    ("read", |b| b.read(9).map(drop)),
    ("remove", |b| b.remove(9).map(drop)),
    ("truncate_after", |b| b.truncate_after(1).map(drop)),
    ("iter", |b| {
        let mut iter = b.iter();
        while iter.next()?.is_some() {}
        Ok(())
    }),
    ("replay", |b| {
        let mut replay = b.replay();
        while replay.next()?.is_some() {}
        Ok(())
    }),
];

/// 35 and 36: rot met in each part of each record, by each call that reads, with and without memory.
#[test]
fn rot_met_while_reading_back_is_an_error_and_nothing_moves() {
    for memory in [0, 100, 1 << 20] {
        for hit in 0..6 {
            for (part, _) in ["word", "link", "payload", "crc", "tail"]
                .iter()
                .enumerate()
            {
                for (name, call) in READING {
                    let (disk, mut buffer, log) = stored(memory);
                    let record = log.document_records().nth(hit).expect("a document");
                    let at = record.parts()[part].start;
                    let good = disk.view()[at];
                    disk.overwrite(at, &[good ^ 1]);
                    let case = format!("{name}, part {part} of document {hit}, memory {memory}");
                    // Walking over a payload does not read it.
                    let passes = name == "truncate_after" && hit > 0 && part == 2;
                    match call(&mut buffer) {
                        Ok(()) => assert!(passes, "{case}: passed over"),
                        Err(Error::Corrupt { .. }) => {
                            let popped = if name == "pop" { 5 - hit } else { 0 };
                            assert_eq!(buffer.len(), 6 - popped as u64, "{case}: moved");
                            if name == "pop" {
                                assert!(buffer.peek().is_err(), "{case}: peeked");
                            }
                        }
                        Err(error) => panic!("{case}: {error}"),
                    }
                    let left = buffer.len() as usize;
                    disk.overwrite(at, &[good]);
                    assert_eq!(
                        contents(&mut buffer),
                        (0..left).map(|i| doc(i as u8, 20)).collect::<Vec<_>>(),
                        "{case}"
                    );
                }
            }
        }
    }
}

/// 36, the file system takes back what a failed sync was for.
#[test]
fn bytes_taken_back_by_a_failed_sync_are_missed() {
    for memory in [0, 1 << 20] {
        let (disk, mut buffer, _) = stored(memory);
        buffer.push(doc(6, 20)).expect("push");
        buffer.sync().expect("sync");
        buffer.push(doc(7, 20)).expect("push");
        buffer.flush().expect("flush");
        let syncs = disk.get().calls().syncs;
        disk.get().fault(Fault {
            kind: Kind::SyncReverts,
            class: Class::Sync,
            at: syncs,
            sticky: false,
        });
        assert!(matches!(
            buffer.sync(),
            Err(Error::Io {
                action: Action::Sync,
                ..
            })
        ));
        assert!(matches!(
            buffer.pop(),
            Err(Error::Corrupt { .. } | Error::Shrunk { .. })
        ));
        assert_eq!(buffer.len(), 8);
        assert!(matches!(buffer.sync(), Err(Error::Poisoned { .. })));
        assert_eq!(find(&disk.view()).documents.len(), 7);
    }
}

/// 37: equal-sized records swapped; one block duplicated over another.
#[test]
fn a_record_in_another_place_is_no_record() {
    let documents: Documents = (0..8).map(|i| doc(i, 48)).collect();
    let bytes = documents
        .iter()
        .fold(Writer::new(1), |log, one| log.document(one))
        .end()
        .bytes;
    let log = format::read(&bytes).expect("a log");
    for one in 0..8 {
        for other in 0..8 {
            let (from, to) = (log.records[one].range(), log.records[other].range());
            let mut duplicated = bytes.clone();
            duplicated.copy_within(from.clone(), to.start);
            let mut swapped = duplicated.clone();
            swapped[from].copy_from_slice(&bytes[to]);
            if one == other {
                continue;
            }
            let found = find(&duplicated);
            assert_eq!(found.documents, documents[..other]);
            assert_ne!(found.end(), End::Clean);
            let left: Documents = salvage(&duplicated)
                .into_iter()
                .map(|found| found.1)
                .collect();
            assert_eq!(
                left,
                [&documents[..other], &documents[other + 1..]].concat()
            );

            let (first, second) = (one.min(other), one.max(other));
            assert_eq!(find(&swapped).documents, documents[..first]);
            let left: Documents = salvage(&swapped).into_iter().map(|found| found.1).collect();
            let mut rest = documents.clone();
            rest.remove(second);
            rest.remove(first);
            assert_eq!(left, rest);
        }
    }
}

/// 38: someone cuts the store below the end of an open log, at every length.
#[test]
fn a_store_cut_under_an_open_log_is_told_and_nothing_is_made_up() {
    for memory in [0, 1 << 20] {
        let end = stored(memory).2.end;
        for len in 0..end {
            for (name, call) in READING {
                let (disk, mut buffer, _) = stored(memory);
                disk.get().set_len(len as u64).expect("cut");
                match call(&mut buffer) {
                    Err(Error::Shrunk { offset, len: now }) => {
                        assert!(offset >= now, "{name} at {len}");
                        assert_eq!(now, len as u64, "{name} at {len}");
                    }
                    outcome => panic!("{name} at {len}: {outcome:?}"),
                }
                assert_eq!(buffer.len(), 6, "{name} at {len}");
            }
        }
    }
}

/// 39: copies of the header gone.
#[test]
fn one_copy_of_the_header_is_enough() {
    let bytes = small_log();
    let documents = find(&bytes).documents;
    for copy in [0, 32] {
        for byte in copy..copy + 32 {
            let mut image = bytes.clone();
            image[byte] ^= 0x20;
            assert_eq!(find(&image).documents, documents);
            image[copy..copy + 32].fill(byte as u8);
            assert_eq!(find(&image).documents, documents);
            assert_eq!(salvage(&image).len(), salvage(&bytes).len());
        }
    }
}

/// 39: both copies gone: opening refuses and writes nothing, salvage finds the salt in the records.
#[test]
fn without_a_header_opening_is_refused_and_salvage_finds_everything() {
    let bytes = small_log();
    for (one, other) in [(0, 32), (7, 39), (8, 50), (16, 48), (31, 63), (20, 40)] {
        let mut image = bytes.clone();
        image[one] ^= 0x20;
        image[other] ^= 0x20;
        let mut store = Cursor::new(image.clone());
        let refused = Options::new()
            .open(&mut store)
            .expect_err("no header")
            .error;
        // Where neither magic is whole it could be anyone's.
        let magic = one < 8 && (32..40).contains(&other);
        match refused {
            Error::Corrupt { offset: 0, reason } => {
                assert_eq!(reason, Reason::Header);
                assert!(!magic);
                let (mut found, all) = (salvage(&image), salvage(&bytes));
                // What the first record should link to is the salt itself.
                found[0].2 = true;
                assert_eq!(found, all);
            }
            Error::Foreign { .. } => assert!(magic),
            error => panic!("{error}"),
        }
        assert!(Scan::new(&mut store).is_err());
        drop(Salvage::new(&mut store));
        assert_eq!(store.into_inner(), image);
    }
}

/// 40: a version, a flag, a control code of the future.
#[test]
fn what_is_newer_is_refused_by_its_number() {
    let refused = |bytes: &[u8]| match try_find(bytes) {
        Err(Error::Unsupported {
            what,
            number,
            offset,
        }) => (what, number, offset),
        other => panic!("{other:?}"),
    };
    for version in [0, 2, 3, 0xFFFF] {
        let bytes = header(version, 0, 9);
        assert_eq!(refused(&bytes), (Feature::Version, u32::from(version), 8));
    }
    for flag in 0..16 {
        let bytes = header(1, 1 << flag, 9);
        assert_eq!(refused(&bytes), (Feature::Flags, 1 << flag, 10));
    }
    // A copy of this version beside a newer one: never written, but known.
    let mixed = [&header(2, 0, 9)[..32], &header(1, 0, 9)[..32]].concat();
    assert!(find(&mixed).documents.is_empty());
    let log = Writer::new(9).document(b"one");
    let offset = log.bytes.len() as u64;
    for code in (0..=255u8).filter(|code| *code != 1) {
        for rest in [0, 16, 300] {
            let payload = [&[code][..], &vec![7; rest]].concat();
            let bytes = log.clone().control(&payload).document(b"two").bytes;
            assert_eq!(
                refused(&bytes),
                (Feature::ControlCode, u32::from(code), offset)
            );
        }
    }
    // An END of another length is newer too.
    let bytes = log.clone().control(&[1; 18]).bytes;
    assert_eq!(refused(&bytes), (Feature::ControlCode, 1, offset));
    let bytes = log.control(&[]).bytes;
    assert_eq!(refused(&bytes), (Feature::ControlCode, 0, offset));
}

/// 41: the store holds something else.
#[test]
fn a_foreign_file_is_refused_and_left_as_it_is() {
    let text = b"# Notes\n\nNothing to see here.\n".repeat(9);
    let cases: [&[u8]; 9] = [
        b"x",
        b"\x89PNG\r\n\x1A\n\0\0\0\rIHDR",
        b"#!/bin/sh\nexit 0\n",
        &text,
        &[&[0; 510][..], &[0x55, 0xAA]].concat(),
        &[&[0; 1 << 20][..], b"a partition"].concat(),
        &[&[0xFF; 4096][..], b"flash"].concat(),
        &[&[0; 70][..], &[0xFF; 70]].concat(),
        &[1; 64],
    ];
    for bytes in cases {
        let mut store = Cursor::new(bytes.to_vec());
        let refused = Options::new().open(&mut store).expect_err("foreign").error;
        let Error::Foreign { found } = refused else {
            panic!("{refused}");
        };
        assert!(bytes.starts_with(&found[..bytes.len().min(8)]));
        assert!(DocumentBuffer::new(&mut store).is_err());
        assert!(Scan::new(&mut store).is_err());
        assert_eq!(store.get_ref(), bytes);
        let mut buffer = Options::new()
            .initialize()
            .open(&mut store)
            .expect("asked for");
        buffer.push("new").expect("push");
        buffer.sync().expect("sync");
        drop(buffer);
        assert_eq!(find(store.get_ref()).documents, [b"new"]);
    }
}

/// A store with one byte that cannot be read.
struct BadByte {
    store: Cursor<Vec<u8>>,
    bad: u64,
    met: Rc<Cell<bool>>,
}

impl Read for BadByte {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let from = self.store.position();
        let count = self.store.read(buf)?;
        if (from..from + count as u64).contains(&self.bad) {
            self.met.set(true);
            return Err(ErrorKind::Other.into());
        }
        Ok(count)
    }
}

impl Write for BadByte {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        panic!("opening writes")
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for BadByte {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.store.seek(to)
    }
}

/// 42: EIO at each offset while opening.
#[test]
fn a_read_error_is_an_error_and_no_end_of_the_log() {
    let mut long = Writer::new(1);
    for i in 0..5 {
        long = long.document(&doc(i, 300_000));
    }
    for (bytes, step) in [(small_log(), 1), (long.end().bytes, 9973)] {
        let documents = find(&bytes).documents.len() as u64;
        for bad in (0..bytes.len() as u64).step_by(step) {
            let met = Rc::new(Cell::new(false));
            let store = BadByte {
                store: Cursor::new(bytes.clone()),
                bad,
                met: Rc::clone(&met),
            };
            match DocumentBuffer::new(store) {
                Ok(buffer) => {
                    assert!(!met.get(), "an error at {bad} was taken for an end");
                    assert_eq!(buffer.len(), documents);
                }
                Err(failed) => {
                    assert!(matches!(
                        failed.error,
                        Error::Io {
                            action: Action::Read,
                            ..
                        }
                    ));
                    assert_eq!(
                        failed.store.store.into_inner(),
                        bytes,
                        "the store comes back"
                    );
                }
            }
        }
    }
}

/// The second reader and the crate agree on a log with everything in it.
#[test]
fn the_second_reader_salvages_the_same() {
    let bytes = small_log();
    let second: Vec<_> = format::salvage(&bytes)
        .into_iter()
        .filter(|record| record.kind == format::Kind::Document)
        .map(|record| (record.offset as u64, record.payload))
        .collect();
    let crate_found: Vec<_> = salvage(&bytes)
        .into_iter()
        .map(|(o, b, _)| (o, b))
        .collect();
    assert_eq!(crate_found, second);
}

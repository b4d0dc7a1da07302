//! The SEGMENT that begins a segment of a journal: it is read, and no buffer opens it.
#![cfg(feature = "testing")]

mod scenario_support;

use std::io::Cursor;

use documentbuffer::{DocumentBuffer, End, Error, Feature, Options};
use scenario_support::format::{self, HEADER, Segment, Writer};
use scenario_support::{Documents, assert_clean, docs, find_in_all, salvage, try_find};

/// Bytes that the crate reads at once.
const WINDOW: usize = 512 << 10;

fn begun() -> Writer {
    Writer::new(0x5E67)
}

fn segment() -> Segment {
    Segment {
        journal: u128::MAX / 3,
        sequence: 7,
        base: 1 << 40,
        born: 1_700_000_000_000_000,
        from: (6, 1 << 33, 0xABCD_EF01, 900, 1 << 20),
        codec: "json",
    }
}

#[test]
fn a_segment_is_read_and_not_opened() {
    let documents = docs(&[5, 0, 30]);
    let log = begun().segment(&segment());
    let log = log.document(&documents[0]).batch(&documents[1..]).end();
    let image = log.bytes;
    let found = find_in_all(&image);
    assert_eq!(
        (found.end(), found.documents),
        (End::Clean, documents.clone())
    );

    let mut handed = 0;
    let options = Options::new().initialize();
    let refused = [
        options.open(Cursor::new(image.clone())).err(),
        options.open_bare(Cursor::new(image.clone())).err(),
        options
            .open_with(Cursor::new(image.clone()), |_, _| handed += 1)
            .err(),
        DocumentBuffer::new(Cursor::new(image.clone())).err(),
    ];
    for refused in refused {
        let refused = refused.expect("refused");
        assert!(matches!(refused.error, Error::Segment), "{refused}");
        assert!(refused.store.into_inner() == image, "it was written to");
    }
    assert_eq!(handed, documents.len());
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), &image).expect("room");
    let refused = DocumentBuffer::open(file.path()).expect_err("refused");
    assert!(matches!(refused, Error::Segment), "{refused}");
    assert!(std::fs::read(file.path()).expect("a file") == image);
}

#[test]
fn a_segment_is_one_whatever_its_end() {
    let log = begun().segment(&segment());
    let first = log.bytes.len();
    let image = log.document(b"one").batch(&docs(&[4, 4])).end().bytes;
    for len in 0..image.len() {
        let opened = Options::new().open(Cursor::new(image[..len].to_vec()));
        let segment = matches!(&opened, Err(failed) if matches!(failed.error, Error::Segment));
        assert_eq!(segment, len >= first, "{len} bytes: {opened:?}");
        drop(try_find(&image[..len]));
    }
}

/// Refused, by every reader, as a record of a later version.
fn assert_unsupported(log: Writer, code: u32, at: usize) {
    let image = log.document(b"behind").end().bytes;
    let refused = try_find(&image).expect_err("refused");
    let Error::Unsupported {
        what,
        number,
        offset,
    } = refused
    else {
        panic!("{refused}");
    };
    let expected = (Feature::ControlCode, code, at as u64);
    assert_eq!((what, number, offset), expected);
    let opened = Options::new().open(Cursor::new(image));
    let refused = opened.expect_err("refused").error;
    assert!(matches!(refused, Error::Unsupported { .. }), "{refused}");
}

#[test]
fn a_segment_stands_first_or_nowhere() {
    let segment = segment();
    let places = [
        begun().document(b"one"),
        begun().mark(4),
        begun().segment(&segment),
        begun().segment(&segment).document(b"one"),
        begun().batch_of(0, 0),
        begun().batch(&[b"two"]),
        begun().document(&vec![1; WINDOW]),
    ];
    for log in places {
        let at = log.bytes.len();
        assert_unsupported(log.clone().segment(&segment), 3, at);
        let mut long = segment.payload();
        long.resize(WINDOW + 1, 0);
        assert_unsupported(log.control(&long), 3, at);
    }
}

#[test]
fn a_segment_has_a_least_length_and_no_other() {
    let mut payload = segment().payload();
    payload.resize(format::SEGMENT_FRONT, 0);
    for len in 1..payload.len() {
        assert_unsupported(begun().control(&payload[..len]), 3, HEADER);
    }
    for len in [0, 1, 255, 256, 5000, WINDOW - 200, WINDOW, 3 * WINDOW] {
        payload.resize(format::SEGMENT_FRONT + len, 7);
        let log = begun().control(&payload).document(b"one");
        assert_clean(log, &[b"one".to_vec()]);
    }
}

#[test]
fn a_batch_record_has_one_length() {
    let lens = (1..40).chain([WINDOW, WINDOW + 1]).filter(|len| *len != 13);
    for len in lens {
        let log = begun().document(b"one");
        let at = log.bytes.len();
        assert_unsupported(log.control(&vec![4; len]), 4, at);
    }
}

#[test]
fn salvage_finds_the_documents_of_segments_and_batches() {
    let documents = docs(&[5, 0, 30, 12]);
    let log = begun().segment(&segment()).document(&documents[0]);
    let log = log.batch(&documents[1..3]).document(&documents[3]);
    let saved = |image: &[u8]| -> Vec<(Vec<u8>, bool)> {
        let found = salvage(image).into_iter();
        found.map(|(_, bytes, linked)| (bytes, linked)).collect()
    };
    let whole: Vec<_> = documents
        .iter()
        .map(|bytes| (bytes.clone(), true))
        .collect();
    let image = log.end().bytes;
    assert_eq!(saved(&image), whole);
    // Without a header the records say which salt they have.
    let mut headless = image.clone();
    headless[..HEADER].fill(0xA5);
    headless[..8].copy_from_slice(b"\x89DOCBUF\n");
    let found: Documents = saved(&headless)
        .into_iter()
        .map(|(bytes, _)| bytes)
        .collect();
    assert_eq!(found, documents);
    // Without its SEGMENT it is no segment any more.
    let mut damaged = image.clone();
    damaged[HEADER + 20] ^= 1;
    let mut expected = whole.clone();
    expected[0].1 = false;
    assert_eq!(saved(&damaged), expected);
    assert!(find_in_all(&damaged).documents.is_empty());
}

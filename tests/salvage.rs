//! What is left of a damaged log.

use std::io::Cursor;

use documentbuffer::{DocumentBuffer, Error, Image, Options, Reason, Salvage, Scan};

fn log(documents: usize) -> (Vec<Vec<u8>>, Vec<u8>) {
    let documents: Vec<Vec<u8>> = (0..documents)
        .map(|i| format!("document {i}").repeat(i % 7).into_bytes())
        .collect();
    let options = Options::new().seed(9);
    let mut log = options.open_bare(Cursor::new(Vec::new())).expect("new");
    log.push_all(&documents).expect("room");
    (documents, log.close().expect("close").1.into_inner())
}

fn salvage(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut salvage = Salvage::new(Cursor::new(bytes)).expect("a salt");
    let mut found = Vec::new();
    while let Some(document) = salvage.next().expect("reads") {
        found.push(document.bytes.to_vec());
    }
    found
}

#[test]
fn without_a_header_the_records_name_their_salt() {
    for n in [1, 2, 50] {
        let (documents, mut bytes) = log(n);
        bytes[20] ^= 1;
        bytes[52] ^= 1;
        let refused = DocumentBuffer::new(Cursor::new(bytes.clone())).expect_err("no header");
        let header = Reason::Header;
        assert!(matches!(refused.error, Error::Corrupt { offset: 0, reason } if reason == header));
        assert_eq!(salvage(&bytes), documents);
    }
}

#[test]
fn without_a_header_and_without_the_first_records_the_rest_is_found() {
    let (documents, mut bytes) = log(50);
    bytes[20..200].fill(0xA5);
    bytes[0..8].copy_from_slice(b"\x89DOCBUF\n");
    let found = salvage(&bytes);
    assert!(
        found.len() > 40 && documents.ends_with(&found),
        "{}",
        found.len()
    );
}

#[test]
fn an_image_reads_what_a_scan_reads() {
    let (documents, bytes) = log(50);
    for len in [0, 40, 64, 70, 100, 1000, bytes.len() - 1, bytes.len()] {
        let bytes = &bytes[..len];
        let mut image = Image::new(bytes).expect("a header or new");
        let seen: Vec<_> = image
            .by_ref()
            .map(|document| document.expect("reads").bytes.to_vec())
            .collect();
        assert!(documents.starts_with(&seen));
        let mut scan = Scan::new(Cursor::new(bytes)).expect("a header or new");
        let mut count = 0;
        while let Some(document) = scan.next().expect("reads") {
            assert_eq!(document.bytes, seen[count]);
            count += 1;
        }
        assert_eq!(count, seen.len());
        assert_eq!(scan.recovery(), Some(&image.recovery().expect("reads")));
    }
}

/// A log with damage in its middle, and intact documents behind.
fn suspect() -> Vec<u8> {
    let (_, mut bytes) = log(50);
    bytes[200] ^= 1;
    bytes
}

#[test]
fn closing_an_untouched_suspect_log_cuts_nothing() {
    let bytes = suspect();
    let buffer = DocumentBuffer::new(Cursor::new(bytes.clone())).expect("opens");
    let (end, store) = buffer.close().expect("nothing to write");
    assert_eq!((end, store.get_ref()), (bytes.len() as u64, &bytes));
    let buffer = Options::new()
        .open(Cursor::new(bytes.clone()))
        .expect("opens");
    let (end, store) = buffer.finish().expect("nothing to write");
    assert_eq!((end, store.get_ref()), (bytes.len() as u64, &bytes));
}

#[test]
fn a_mark_behind_damage_does_not_hide_the_gap() {
    let options = Options::new().seed(3).memory(0);
    let mut log = options.open_bare(Cursor::new(Vec::new())).expect("new");
    log.push_all(["one", "two", "two and a half"])
        .expect("room");
    log.pop().expect("reads");
    let damage = log.stats().end as usize - 5;
    log.push("three").expect("room"); // Behind a mark.
    let mut bytes = log.close().expect("close").1.into_inner();
    bytes[damage] ^= 1;
    let mut salvage = Salvage::new(Cursor::new(bytes)).expect("a header");
    let mut linked = Vec::new();
    while let Some(document) = salvage.next().expect("reads") {
        linked.push((document.bytes.to_vec(), document.linked));
    }
    assert_eq!(
        linked,
        [(b"one".to_vec(), true), (b"three".to_vec(), false)]
    );
}

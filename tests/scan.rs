//! Scans and what follows them, on bytes that no writer of this version leaves.
#![cfg(feature = "testing")]

mod scenario_support;

use std::io::Cursor;

use documentbuffer::{Again, DocumentBuffer, Error, Feature, Salvage, Scan};
use scenario_support::format::Writer;

fn at_its_end(bytes: Vec<u8>) -> Scan<Cursor<Vec<u8>>> {
    let mut scan = Scan::new(Cursor::new(bytes)).expect("a header, or new");
    while scan.next().expect("reads").is_some() {}
    scan
}

#[test]
fn a_newer_control_record_is_refused_however_long_it_is() {
    for len in [20, 500_000, 600_000] {
        let mut payload = vec![9; len];
        payload[0] = 77;
        let log = Writer::new(7).document(b"one").control(&payload).bytes;
        let refused = DocumentBuffer::new(Cursor::new(log))
            .expect_err("newer")
            .error;
        let Error::Unsupported { what, number, .. } = refused else {
            panic!("{len}: {refused}");
        };
        assert_eq!((what, number), (Feature::ControlCode, 77));
    }
}

#[test]
fn looking_again_tells_the_same_end() {
    let mut log = Writer::new(7).document(&[1; 10]).bytes;
    for junk in 0..20 {
        let mut scan = at_its_end(log.clone());
        let first = scan.recovery().cloned();
        assert_eq!(scan.again().expect("reads"), Again::Same);
        assert_eq!(scan.recovery().cloned(), first, "{junk} bytes of junk");
        log.push(0xFF);
    }
}

#[test]
fn a_log_cut_inside_its_header_is_not_cut_back_for_ever() {
    let log = Writer::new(7).bytes;
    for len in 32..=log.len() {
        let mut scan = at_its_end(log[..len].to_vec());
        assert_eq!(scan.again().expect("reads"), Again::Same, "{len} bytes");
    }
}

#[test]
fn no_document_is_linked_through_an_end() {
    let log = Writer::new(7).end_of(0, 0).document(b"stale").bytes;
    let mut salvage = Salvage::new(Cursor::new(log)).expect("a header");
    let found = salvage.next().expect("reads").expect("a document");
    assert_eq!((found.bytes, found.linked), (&b"stale"[..], false));
}

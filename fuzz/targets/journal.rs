//! A directory of arbitrary files, and a journal's with damage: opening, reading, verifying and going on.
//!
//! The input is a list of changes to the directory of a small journal with a cut, a batch and a snapshot-like
//! stranger in it: bytes changed, files cut, swapped, copied, removed, made of the input's own bytes. Whatever
//! that leaves: nothing panics; a document that is read is one that was appended at that position; on an error
//! no file was touched.
#![no_main]

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use documentbuffer::journal::{Journal, Options, Reader};
use documentbuffer::store::fault::FaultDirectory;
use libfuzzer_sys::fuzz_target;

type Image = BTreeMap<String, Vec<u8>>;

fn document(branch: u64, position: u64) -> Vec<u8> {
    let mut document = format!("{branch} {position} ").into_bytes();
    document.resize(document.len() + (position % 23) as usize, b'x');
    document
}

fn options() -> Options {
    Options::new().segment(400).seed(7)
}

fn open(directory: &FaultDirectory) -> documentbuffer::journal::Result<Journal> {
    options().open_in(Arc::new(directory.clone()))
}

static JOURNAL: LazyLock<Image> = LazyLock::new(|| {
    let directory = FaultDirectory::new(1);
    let journal = open(&directory).expect("a new journal");
    for position in 0..30 {
        journal.append(document(0, position)).expect("room");
    }
    journal.truncate_after(25).expect("a cut");
    let batch = (25..31).map(|position| document(1, position));
    journal.append_all(batch).expect("room");
    journal.truncate_after(28).expect("a cut into a batch");
    for position in 28..50 {
        journal.append(document(2, position)).expect("room");
    }
    drop(journal);
    let mut image = directory.view();
    image.insert(
        "snapshot-00000000000000000007-0000000001.snap".to_owned(),
        b"none".to_vec(),
    );
    image
});

/// One change to the directory, from the front of the input.
fn change(image: &mut Image, input: &mut &[u8]) -> bool {
    let Some((&[kind, which, high, low], rest)) = input.split_first_chunk() else {
        return false;
    };
    *input = rest;
    let names: Vec<String> = image.keys().cloned().collect();
    let pick = |which: u8| names.get(usize::from(which) % names.len().max(1)).cloned();
    let Some(name) = pick(which) else {
        return false;
    };
    let at = usize::from(high) << 8 | usize::from(low);
    let bytes = image.entry(name.clone()).or_default();
    match kind % 8 {
        0 => bytes.truncate(at),
        1 | 2 if !bytes.is_empty() => {
            let at = at % bytes.len();
            bytes[at] ^= kind | 1;
        }
        3 => drop(image.remove(&name)),
        4 => {
            let (one, other) = (bytes.clone(), pick(high).unwrap_or_default());
            if let Some(there) = image.insert(other, one) {
                image.insert(name, there);
            }
        }
        5 => {
            let copy = bytes.clone();
            image.insert(format!("{:020}.segment", u64::from(high)), copy);
        }
        6 => {
            let len = usize::from(low).min(input.len());
            let (own, rest) = input.split_at(len);
            *input = rest;
            let ending = ["segment", "segment.new", "snap"][usize::from(which) % 3];
            image.insert(
                format!("{:020}.{ending}", u64::from(high) + 1),
                own.to_vec(),
            );
        }
        _ => bytes.extend(std::iter::repeat_n(high, usize::from(low))),
    }
    true
}

/// Whether the document may stand at that position.
fn known(position: u64, bytes: &[u8]) -> bool {
    bytes == b"on" || (0..3).any(|branch| bytes == document(branch, position))
}

fuzz_target!(|input: &[u8]| {
    let mut input = input;
    let mut image = JOURNAL.clone();
    while change(&mut image, &mut input) {}
    let directory = FaultDirectory::from_image(3, image.clone());
    if let Ok(reader) = Reader::open_in(Arc::new(directory.clone())) {
        if let Ok(replay) = reader.range().and_then(|range| reader.replay(range.start)) {
            let _ = replay.each(|found| assert!(known(found.position, found.bytes)));
        }
        if let Ok(mut newest) = reader.rev() {
            while let Ok(Some(found)) = newest.next() {
                assert!(known(found.position, found.bytes));
            }
        }
        let _ = reader.verify();
    }
    assert_eq!(directory.view(), image, "a reader wrote");
    let Ok(journal) = open(&directory) else {
        let mut now = directory.view();
        now.retain(|name, _| image.contains_key(name));
        let born = |name: &String| !name.ends_with(".new");
        let mut before = image;
        before.retain(|name, _| born(name) && now.contains_key(name));
        now.retain(|name, _| born(name));
        assert_eq!(now, before, "an opening that failed changed a file");
        return;
    };
    let end = journal.end();
    let read = journal
        .replay(journal.first())
        .map(|replay| replay.each(|found| assert!(known(found.position, found.bytes))));
    drop(read);
    assert_eq!(journal.append("on").expect("there is room"), end);
    let whole = journal.verify().expect("it can be read").is_sound();
    journal.close().expect("there is room");
    let again = open(&directory).expect("what was closed opens");
    assert_eq!(again.end(), end + 1);
    assert_eq!(again.verify().expect("it can be read").is_sound(), whole);
});

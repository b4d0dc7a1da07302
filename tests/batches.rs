//! Batches, which are whole or not there, in every reader of the buffer: at every cut, at the edge of the
//! window, and from bytes that mean harm.
#![cfg(feature = "testing")]

mod scenario_support;

use std::io::Cursor;

use documentbuffer::{Again, End, Error, Options, Reason, Salvage, Scan};
use scenario_support::format::{self, BATCH, HEADER, OVERHEAD, Segment, Writer, records_len};
use scenario_support::{Documents, assert_clean, doc, docs, find_in_all, salvage, try_find};

/// Bytes that the crate reads at once.
const WINDOW: usize = 512 << 10;
/// How far behind a bad record opening looks.
const REACH: usize = 1 << 20;

fn begun() -> Writer {
    Writer::new(0xBA7C4)
}

/// All readers find `documents`, and an end at `offset` with `behind` intact documents behind it.
fn assert_ends(image: &[u8], documents: &[Vec<u8>], offset: usize, behind: usize, why: Reason) {
    let found = find_in_all(image);
    assert!(found.documents == documents, "at {}", image.len());
    let offset = offset as u64;
    let end = match behind as u64 {
        0 => End::Torn {
            offset,
            reason: why,
        },
        records => End::Suspect { offset, records },
    };
    assert_eq!((found.end(), found.recovery.offset), (end, offset));
}

/// A log with a batch in its middle.
struct Middle {
    before: Documents,
    batch: Documents,
    /// Where BATCH stands.
    at: usize,
    /// Up to the last byte of the batch.
    bytes: Vec<u8>,
}

impl Middle {
    fn new(before: &[usize], batch: &[usize]) -> Middle {
        let (before, batch) = (docs(before), docs(batch));
        let log = begun().documents(&before);
        let at = log.bytes.len();
        let bytes = log.batch(&batch).bytes;
        Middle {
            before,
            batch,
            at,
            bytes,
        }
    }

    /// Intact documents of the batch where it is cut to `len` bytes, as far as opening looks.
    fn intact(&self, len: usize) -> usize {
        let mut end = self.at + BATCH;
        let mut seen = 0;
        for document in &self.batch {
            let begin = end;
            end += document.len() + OVERHEAD;
            if end > len || begin >= self.at + REACH {
                break;
            }
            seen += 1;
        }
        seen
    }

    /// Cut inside the batch, the documents before it are there; also where zeros or ones stand for the rest.
    fn assert_cut(&self, len: usize) {
        let image = &self.bytes[..len];
        if len == self.at {
            let found = find_in_all(image);
            assert_eq!(found.end(), End::Unterminated);
            assert!(found.documents == self.before);
            return;
        }
        assert_ends(image, &self.before, self.at, self.intact(len), Reason::Cut);
    }

    fn assert_filled(&self, len: usize) {
        for filler in [0x00, 0xFF] {
            let mut image = self.bytes.clone();
            image[len..].fill(filler);
            image.extend([filler; 40]);
            let found = find_in_all(&image);
            assert!(
                found.documents == self.before,
                "{len} bytes and {filler:02X}"
            );
            assert_eq!(found.recovery.offset, self.at as u64);
        }
    }

    fn assert_whole(&self) {
        let all = [&self.before[..], &self.batch].concat();
        let found = find_in_all(&self.bytes);
        assert!(found.documents == all);
        assert_eq!(found.end(), End::Unterminated);
        let mut behind = begun().documents(&self.before).batch(&self.batch);
        behind = behind.mark(5).document(b"behind");
        let all = [&all[..], &[b"behind".to_vec()]].concat();
        assert_clean(behind, &all);
    }
}

#[test]
fn a_batch_cut_at_any_byte_is_not_there() {
    for (before, batch) in [
        (&[][..], &[10][..]),
        (&[7], &[0, 0]),
        (&[7, 0, 30], &[5, 0, 60, 1]),
        (&[0], &[300, 2, 2]),
    ] {
        let middle = Middle::new(before, batch);
        middle.assert_whole();
        for len in middle.at..middle.bytes.len() {
            middle.assert_cut(len);
            middle.assert_filled(len);
        }
    }
}

#[test]
fn a_batch_with_any_bit_flipped_is_not_there() {
    let middle = Middle::new(&[9, 9], &[0, 20, 3]);
    let mut image = begun().documents(&middle.before).batch(&middle.batch);
    image = image.document(b"behind").end();
    let mut image = image.bytes;
    for bit in 8 * middle.at..8 * middle.bytes.len() {
        image[bit / 8] ^= 1 << (bit % 8);
        let found = find_in_all(&image);
        assert!(found.documents == middle.before, "bit {bit}");
        assert_eq!(found.recovery.offset, middle.at as u64, "bit {bit}");
        image[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn batches_follow_one_another_and_stand_between_others() {
    let (one, two) = (docs(&[3, 50]), docs(&[0, 0, 9]));
    let log = begun().batch(&one).batch(&two).mark(1).batch(&one);
    let log = log.document(b"alone").mark(2).batch(&two[..1]).batch(&two);
    let all = [&one[..], &two, &one, &[b"alone".to_vec()], &two[..1], &two].concat();
    assert_clean(log, &all);
    // Of no document.
    let log = begun().batch_of(0, 0).document(b"alone").batch_of(0, 0);
    assert_clean(log, &[b"alone".to_vec()]);
}

#[test]
fn a_wrong_count_or_length_is_no_batch() {
    let before = docs(&[4]);
    let batch = docs(&[8, 0, 100]);
    let (documents, bytes) = (3, records_len(&batch));
    let log = begun().documents(&before);
    let at = log.bytes.len();
    let none = [0, 1, 2, 4, 5, u32::MAX];
    for count in none {
        let image = log.clone().batch_of(count, bytes).documents(&batch).end();
        assert_ends(&image.bytes, &before, at, 3, Reason::Batch);
    }
    for len in 0..bytes + 34 {
        let image = log.clone().batch_of(documents, len).documents(&batch).end();
        let image = image.bytes;
        if len == bytes {
            let found = find_in_all(&image);
            assert_eq!((found.end(), found.documents.len()), (End::Clean, 4));
        } else {
            assert_ends(&image, &before, at, 3, Reason::Batch);
        }
    }
    for len in [1 << 20, 1 << 28, 1 << 32, u64::MAX - 200, u64::MAX] {
        let image = log.clone().batch_of(documents, len).documents(&batch).end();
        assert_ends(&image.bytes, &before, at, 3, Reason::Cut);
    }
    // Nothing intact behind it: the reason is told.
    for (count, len) in [(1, 0), (0, 1), (0, 33), (u32::MAX, 0)] {
        let image = log.clone().batch_of(count, len).end().bytes;
        assert_ends(&image, &before, at, 0, Reason::Batch);
    }
}

type Stranger = fn(Writer) -> Writer;

/// What may not stand in a batch: each as a record of its own.
fn strangers() -> [(&'static str, Stranger); 10] {
    [
        ("a mark", |log| log.mark(77)),
        ("an END", Writer::end),
        ("an END that counts wrong", |log| log.end_of(9, 9)),
        ("a SEGMENT", |log| log.segment(&Segment::default())),
        ("a BATCH of none", |log| log.batch_of(0, 0)),
        ("a batch", |log| log.batch(&[b"nested"])),
        ("a BATCH that reaches out", |log| log.batch_of(3, 1 << 30)),
        ("a control record of tomorrow", |log| log.control(&[99; 20])),
        ("a long one", |log| log.control(&vec![99; WINDOW + 1])),
        ("none with a code", |log| log.control(&[])),
    ]
}

/// A batch of two documents with something else first, between or last, counted as a document or not.
fn with_stranger(documents: &[Vec<u8>], stranger: Stranger) -> Vec<(Writer, usize)> {
    let log = begun().document(b"before");
    let mut logs = Vec::new();
    for place in 0..=documents.len() {
        for counted in [0, 1] {
            let inside = |log: Writer| {
                let log = stranger(log.documents(&documents[..place]));
                log.documents(&documents[place..])
            };
            let front = log.bytes.len() + BATCH;
            let len = inside(log.clone().batch_of(0, 0)).bytes.len() - front;
            let count = documents.len() as u32 + counted;
            logs.push((inside(log.clone().batch_of(count, len as u64)), place));
        }
    }
    logs
}

#[test]
fn only_documents_stand_in_a_batch() {
    let before = [b"before".to_vec()];
    let at = HEADER + OVERHEAD + 6;
    for (name, stranger) in strangers() {
        // In a window and, as a whole, longer than one.
        for documents in [docs(&[5, 0]), docs(&[5, WINDOW, 7]), docs(&[WINDOW / 2; 3])] {
            for (log, place) in with_stranger(&documents, stranger) {
                let image = log.end().bytes;
                let found = try_find(&image);
                let found = found.unwrap_or_else(|error| panic!("{name} at {place}: {error}"));
                assert!(found.documents == before, "{name} at {place}");
                assert_eq!(found.recovery.offset, at as u64, "{name} at {place}");
                drop(find_in_all(&image));
            }
        }
    }
}

/// A record of another batch, of the same length and in the same place, as an earlier life leaves it.
#[test]
fn leftovers_do_not_complete_a_batch() {
    let before = [b"before".to_vec()];
    for lens in [[5, 9, 0], [5, WINDOW, 7], [WINDOW / 2; 3]] {
        let new = docs(&lens);
        let other: Documents = lens.iter().map(|len| doc(0xA0, *len)).collect();
        let log = begun().document(&before[0]);
        let at = log.bytes.len();
        let (image, old) = (log.clone().batch(&new).end(), log.batch(&other).end());
        let (image, old) = (image.bytes, old.bytes);
        let mut from = at + BATCH;
        for len in lens.map(|len| len + OVERHEAD) {
            let mut mixed = image.clone();
            mixed[from..from + len].copy_from_slice(&old[from..from + len]);
            from += len;
            // The first stands behind the same BATCH: it is as good as the new one, but for what follows.
            let intact = lens.len();
            assert_ends(&mixed, &before, at, intact, Reason::Batch);
        }
    }
}

/// Cuts around the edges of every record, at the edges of every window, and some in between.
fn cuts(middle: &Middle) -> Vec<usize> {
    let mut edges = vec![middle.at, middle.at + BATCH];
    for document in &middle.batch {
        edges.push(edges.last().expect("an edge") + document.len() + OVERHEAD);
    }
    edges.extend(
        (0..middle.bytes.len())
            .step_by(WINDOW)
            .map(|at| at + HEADER),
    );
    let near =
        |edge: &usize| [-13, -12, -5, -1, 0, 1, 4, 16].map(|by| edge.saturating_add_signed(by));
    let mut cuts: Vec<usize> = edges.iter().flat_map(near).collect();
    cuts.extend((middle.at..middle.bytes.len()).step_by(200_003));
    cuts.retain(|cut| (middle.at..middle.bytes.len()).contains(cut));
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

#[test]
fn a_batch_longer_than_the_window_is_whole_or_not_there() {
    for (before, batch) in [
        (&[100][..], &[200_000; 4][..]),
        (&[], &[WINDOW + 1000]),
        (&[5, 5], &[10, WINDOW + 1000, 20]),
        (&[300_000], &[WINDOW / 2, WINDOW * 2, WINDOW / 2, 0]),
    ] {
        let middle = Middle::new(before, batch);
        assert!(middle.bytes.len() - middle.at > WINDOW);
        middle.assert_whole();
        let cuts = cuts(&middle);
        assert!(cuts.len() > 20);
        for cut in &cuts {
            middle.assert_cut(*cut);
        }
        for cut in cuts.iter().step_by(9) {
            middle.assert_filled(*cut);
        }
    }
}

#[test]
fn a_long_batch_with_a_wrong_count_or_length_is_not_there() {
    let before = docs(&[4]);
    let batch = docs(&[200_000, WINDOW + 9, 3]);
    let (count, len) = (batch.len() as u32, records_len(&batch));
    let log = begun().documents(&before);
    let at = log.bytes.len();
    for (count, len) in [
        (count - 1, len),
        (count + 1, len),
        (0, len),
        (u32::MAX, len),
        (count, len - 1),
        (count, len - 19),
        (count - 1, len - 19 - 1),
        (count, len + 1),
        (count, len + 33),
        (count + 1, len + 33),
    ] {
        let image = log.clone().batch_of(count, len).documents(&batch).end();
        assert_ends(&image.bytes, &before, at, 3, Reason::Batch);
    }
    // One document fewer is a batch, with an END that stands behind it and its last document.
    let image = log.batch_of(count - 1, len - 19).documents(&batch);
    assert_clean(image, &[&before[..], &batch].concat());
}

/// A document before a batch, so long that BATCH begins `before_end` bytes before the end of the window.
fn before_edge(before_end: usize) -> Vec<usize> {
    vec![WINDOW - OVERHEAD - before_end]
}

#[test]
fn batches_at_every_place_around_the_edge_of_the_window() {
    let batch = [3, 0, 11];
    let len = BATCH + records_len(&docs(&batch)) as usize;
    for before_end in 0..=len + 20 {
        let middle = Middle::new(&before_edge(before_end), &batch);
        assert_eq!(middle.at, HEADER + WINDOW - before_end);
        middle.assert_whole();
        for cut in [1, BATCH - 1, BATCH, BATCH + 19, len - 1] {
            middle.assert_cut(middle.at + cut);
        }
        let log = begun().documents(&middle.before);
        let image = log
            .batch_of(4, (len - BATCH) as u64)
            .documents(&middle.batch);
        assert_ends(
            &image.end().bytes,
            &middle.before,
            middle.at,
            3,
            Reason::Batch,
        );
    }
}

#[test]
fn batches_about_as_long_as_the_window() {
    for by in (-3..=3).chain([-33, -29, -16, 16, 29, 33]) {
        let total = WINDOW.saturating_add_signed(by);
        let last = total - BATCH - (100 + OVERHEAD) - OVERHEAD;
        for before in [&[][..], &[1], &[WINDOW - 40], &[WINDOW / 2]] {
            let middle = Middle::new(before, &[100, last]);
            assert_eq!(middle.bytes.len() - middle.at, total);
            let all = [&middle.before[..], &middle.batch].concat();
            let whole = begun().documents(&middle.before).batch(&middle.batch);
            assert_clean(whole, &all);
            middle.assert_cut(middle.bytes.len() - 1);
        }
    }
}

#[test]
fn a_scan_goes_on_when_a_batch_has_become_whole() {
    for batch in [&[20, 0, 5][..], &[WINDOW, 10], &[200_000; 4]] {
        let middle = Middle::new(&[8, 8], batch);
        for cut in [0, 5, BATCH, BATCH + 4, middle.bytes.len() - middle.at - 1] {
            let file = tempfile::NamedTempFile::new().expect("a file");
            let grow = |len: usize| std::fs::write(file.path(), &middle.bytes[..len]);
            grow(middle.at + cut).expect("room");
            let mut scan = Scan::new(file.reopen().expect("a file")).expect("a header");
            let mut seen = Documents::new();
            while let Some(document) = scan.next().expect("a log") {
                seen.push(document.bytes.to_vec());
            }
            assert!(seen == middle.before, "cut at {cut}");
            assert_eq!(scan.again().expect("a log"), Again::Same);
            grow(middle.bytes.len()).expect("room");
            assert_eq!(scan.again().expect("a log"), Again::More);
            while let Some(document) = scan.next().expect("a log") {
                seen.push(document.bytes.to_vec());
            }
            assert!(seen == [&middle.before[..], &middle.batch].concat());
            assert_eq!(scan.again().expect("a log"), Again::Same);
            grow(middle.bytes.len() - 1).expect("room");
            assert_eq!(scan.again().expect("a log"), Again::CutBack);
        }
    }
}

/// A pop would leave a batch that is not whole, and with it lose its other documents.
#[test]
fn a_buffer_takes_nothing_from_a_batch() {
    for batch in [&[20, 0, 5][..], &[WINDOW, 10], &[200_000; 4]] {
        let middle = Middle::new(&[8, 8], batch);
        let mut store = Cursor::new(middle.bytes.clone());
        let refused = Options::new().open(&mut store).expect_err("batches");
        assert!(matches!(refused.error, Error::Segment), "{refused}");
        let also = Options::new().open_with(&mut store, |_, _| ());
        assert!(matches!(also.expect_err("batches").error, Error::Segment));
        assert!(store.into_inner() == middle.bytes, "opening wrote");
    }
}

#[test]
fn over_a_broken_batch_a_buffer_goes_on() {
    let middle = Middle::new(&[8, 8], &[20, 0, 5]);
    for len in middle.at..middle.bytes.len() {
        let opened = Options::new().seed(2);
        let opened = opened.open(Cursor::new(middle.bytes[..len].to_vec()));
        let mut log = opened.expect("a log");
        log.push("instead").expect("memory");
        let (_, store) = log.finish().expect("memory");
        let found = find_in_all(store.get_ref());
        let expected = [&middle.before[..], &[b"instead".to_vec()]].concat();
        assert!(found.documents == expected, "cut at {len}");
        assert_eq!(found.end(), End::Clean);
    }
}

#[test]
fn salvage_finds_what_a_broken_batch_has() {
    let middle = Middle::new(&[8, 2], &[20, 0, 5]);
    for len in middle.at..middle.bytes.len() {
        let found = salvage(&middle.bytes[..len]).into_iter();
        let found: Documents = found.map(|(_, bytes, _)| bytes).collect();
        let batch = &middle.batch[..middle.intact(len)];
        assert_eq!(found, [&middle.before[..], batch].concat(), "cut at {len}");
    }
    // Damage inside: all but that.
    let mut image = middle.bytes.clone();
    image[middle.at + BATCH + format::HEAD] ^= 1;
    let mut salvaged = Salvage::new(Cursor::new(&image)).expect("a header");
    let mut found = Vec::new();
    while let Some(document) = salvaged.next().expect("memory reads") {
        found.push((document.bytes.len(), document.linked));
    }
    assert_eq!(found, [(8, true), (2, true), (0, false), (5, true)]);
    assert!(find_in_all(&image).documents == middle.before);
}

//! Byte by byte: every bit flipped, every length, every run of zeros or ones, swapped records, and bytes
//! that are nothing at all. Never a changed document, and the report says where.
#![cfg(feature = "testing")]

mod scenario_support;

use std::collections::BTreeMap;
use std::io::Cursor;

use documentbuffer::store::fault::Rng;
use documentbuffer::{DocumentBuffer, End, Error, Options, Recovery, Salvage, Scan};
use scenario_support::format::{self, END, Kind, OVERHEAD, Writer};
use scenario_support::{Documents, doc, find, salvage, try_find};

const LONGEST_LOG: usize = 4096;

/// A log of this seed: pushes, pops, flushes, further lives; often with stale bytes behind its end.
fn log(seed: u64) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    let longest = [8, 30, 100, 600][rng.below(4) as usize];
    let memory = [0, 100, 1000][rng.below(3) as usize];
    let target = 200 + rng.below(LONGEST_LOG as u64 - 1500) as usize;
    let mut store = Cursor::new(Vec::new());
    for life in 0..1 + rng.below(3) {
        let options = Options::new().memory(memory).seed(seed << 8 | life);
        let mut buffer = options.open_bare(store).expect("a log");
        for _ in 0..200 {
            if buffer.get_ref().get_ref().len() >= target {
                break;
            }
            match rng.below(10) {
                0 => buffer.flush().expect("flush"),
                1..4 => drop(buffer.pop().expect("pop")),
                _ => {
                    let document = doc(rng.below(4) as u8, rng.below(longest + 1) as usize);
                    buffer.push(document).expect("push");
                }
            }
        }
        if rng.below(4) > 0 {
            buffer.flush().expect("flush");
        }
        store = buffer.into_inner();
    }
    let bytes = store.into_inner();
    assert!(bytes.len() <= LONGEST_LOG, "{} bytes", bytes.len());
    bytes
}

/// A log of this seed with batches, by the second writer, that ends in one, a document or a mark.
fn batched(seed: u64) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    let mut log = Writer::new(seed);
    for _ in 0..4 + rng.below(8) {
        let count = rng.below(5);
        let mut next = |tag| doc(tag as u8, rng.below(90) as usize);
        let documents: Documents = (0..count).map(&mut next).collect();
        log = match &documents[..] {
            [] => log.mark(seed as u32),
            [alone] => log.document(alone),
            batch => log.batch(batch),
        };
    }
    log.end().bytes
}

/// A log, its live records and what salvage finds in it.
struct Subject {
    seed: u64,
    bytes: Vec<u8>,
    log: format::Log,
    documents: Documents,
    end: End,
    salvaged: BTreeMap<u64, Vec<u8>>,
}

fn intact(image: &[u8]) -> BTreeMap<u64, Vec<u8>> {
    salvage(image)
        .into_iter()
        .map(|(offset, bytes, _)| (offset, bytes))
        .collect()
}

fn scanned(image: &[u8]) -> Recovery {
    let mut scan = Scan::new(Cursor::new(image)).expect("a header");
    while scan.next().expect("memory reads").is_some() {}
    scan.recovery().expect("the end").clone()
}

impl Subject {
    /// `None` for a log to which nothing was ever written.
    fn new(seed: u64) -> Option<Subject> {
        Subject::of(seed, log(seed))
    }

    fn of(seed: u64, bytes: Vec<u8>) -> Option<Subject> {
        let found = find(&bytes);
        Some(Subject {
            seed,
            log: format::read(&bytes)?,
            end: found.end(),
            documents: found.documents,
            salvaged: intact(&bytes),
            bytes,
        })
    }

    /// Opens what became of the log when the bytes from `first` on changed, up to but not including `last`.
    /// Documents below must be there; none may be another; where some are missing the report says where.
    fn check(&self, image: &[u8], first: usize, last: usize) {
        let mut found = Vec::with_capacity(self.documents.len());
        let each = |_, document: &[u8]| found.push(document.to_vec());
        let opened = Options::new()
            .seed(0)
            .open_bare_with(Cursor::new(image.to_vec()), each);
        let recovery = match opened {
            Ok(buffer) => buffer.recovery().clone(),
            // It was read to its end, and is refused.
            Err(failed) if matches!(failed.error, Error::Segment) => {
                assert!(!self.log.batches.is_empty(), "seed {}", self.seed);
                scanned(image)
            }
            Err(failed) => panic!("seed {}, {first}..{last}: {}", self.seed, failed.error),
        };
        let hit = self
            .log
            .records
            .iter()
            .find(|record| record.end() > first && record.offset < last);
        let Some(record) = hit else {
            assert!(
                found == self.documents,
                "seed {}, {first}..{last}",
                self.seed
            );
            let in_end = first < self.log.end + END && last > self.log.end;
            if self.end == End::Clean {
                assert_eq!(
                    recovery.end == End::Clean,
                    !in_end,
                    "seed {}, {first}..{last}",
                    self.seed
                );
            }
            return;
        };
        let ends = self.log.unit(record);
        let whole = self
            .log
            .document_records()
            .filter(|other| other.end() <= ends)
            .count();
        assert!(
            found == self.documents[..whole],
            "seed {}, {first}..{last}",
            self.seed
        );
        assert_ne!(
            recovery.end,
            End::Clean,
            "seed {}, {first}..{last}",
            self.seed
        );
        assert_eq!(
            recovery.offset, ends as u64,
            "seed {}, {first}..{last}",
            self.seed
        );
    }

    /// Every bit behind the header, or one bit of each byte in both copies of it.
    fn flip_every_bit(&self) -> u64 {
        let mut image = self.bytes.clone();
        for byte in 0..image.len() {
            for bit in 0..8 {
                image[byte] ^= 1 << bit;
                self.check(&image, byte, byte + 1);
                image[byte] ^= 1 << bit;
            }
        }
        8 * image.len() as u64
    }

    /// Salvage gives all the others, one flip in each byte.
    fn salvage_around_every_byte(&self, rng: &mut Rng) -> u64 {
        let mut image = self.bytes.clone();
        for byte in format::HEADER..image.len() {
            let flip = 1 << rng.below(8);
            image[byte] ^= flip;
            let found = intact(&image);
            let mut expected = self.salvaged.clone();
            expected.retain(|offset, document| {
                let range = *offset as usize..*offset as usize + document.len() + OVERHEAD;
                !range.contains(&byte)
            });
            assert!(found == expected, "seed {}, byte {byte}", self.seed);
            image[byte] ^= flip;
        }
        image.len() as u64
    }

    /// Every length.
    fn cut_everywhere(&self) -> u64 {
        for len in 0..self.bytes.len() {
            if len < format::HEADER {
                // Half a header is a log not yet born; what a crash leaves of one is scenario 25's.
                if let Ok(found) = try_find(&self.bytes[..len]) {
                    assert!(
                        found.documents.is_empty(),
                        "seed {}, {len} bytes",
                        self.seed
                    );
                }
                continue;
            }
            self.check(&self.bytes[..len], len, usize::MAX);
        }
        self.bytes.len() as u64
    }

    /// From every byte on, runs of zeros and of ones: short, a sector, to the end.
    fn fill_from_everywhere(&self) -> u64 {
        let mut images = 0;
        for filler in [0x00, 0xFF] {
            for start in format::HEADER..self.bytes.len() {
                for len in [1, 2, 4, 12, 16, 33, 64, 512, usize::MAX] {
                    let end = start.saturating_add(len).min(self.bytes.len());
                    let run = &self.bytes[start..end];
                    let Some(first) = run.iter().position(|byte| *byte != filler) else {
                        continue;
                    };
                    let mut image = self.bytes.clone();
                    image[start..end].fill(filler);
                    let last = run
                        .iter()
                        .rposition(|byte| *byte != filler)
                        .unwrap_or(first);
                    self.check(&image, start + first, start + last + 1);
                    images += 1;
                }
            }
        }
        images
    }

    /// Two records of one size change places.
    fn swap_equals(&self) -> u64 {
        let mut images = 0;
        let records = &self.log.records;
        for (i, one) in records.iter().enumerate() {
            for other in &records[i + 1..] {
                if one.payload.len() != other.payload.len() {
                    continue;
                }
                let mut image = self.bytes.clone();
                image[one.range()].copy_from_slice(&self.bytes[other.range()]);
                image[other.range()].copy_from_slice(&self.bytes[one.range()]);
                self.check(&image, one.offset, one.end());
                let mut rest = self.salvaged.clone();
                for gone in [one, other]
                    .iter()
                    .filter(|record| record.kind == Kind::Document)
                {
                    rest.remove(&(gone.offset as u64));
                }
                assert!(intact(&image) == rest, "seed {}", self.seed);
                images += 1;
            }
        }
        images
    }
}

fn every_byte_of(subjects: impl Iterator<Item = Subject>) {
    let (mut logs, mut bytes, mut flips, mut others) = (0, 0, 0, 0u64);
    for subject in subjects {
        let mut rng = Rng::new(subject.seed);
        logs += 1;
        bytes += subject.bytes.len();
        flips += subject.flip_every_bit();
        others += subject.salvage_around_every_byte(&mut rng);
        others += subject.cut_everywhere();
        others += subject.fill_from_everywhere();
        others += subject.swap_equals();
    }
    println!("{logs} logs of {bytes} bytes, {flips} flipped bits, {others} other images");
    assert!(logs > 0);
}

#[test]
fn no_byte_of_forty_logs_can_change_unseen() {
    every_byte_of((0..40).filter_map(Subject::new));
}

#[test]
fn no_byte_of_twenty_logs_with_batches_can_change_unseen() {
    every_byte_of((0..20).filter_map(|seed| {
        let subject = Subject::of(seed, batched(seed))?;
        assert_eq!(subject.end, End::Clean, "seed {seed}");
        assert!(!subject.log.batches.is_empty(), "seed {seed}");
        Some(subject)
    }));
}

/// The full form.
#[test]
#[ignore = "takes many minutes"]
fn no_byte_of_a_thousand_logs_can_change_unseen() {
    every_byte_of((1000..2010).filter_map(Subject::new));
}

/// Bursts of up to 32 bits at every bit.
#[test]
fn no_burst_of_up_to_32_bits_goes_unseen() {
    let mut bursts = 0;
    for seed in 2000..2006 {
        let subject = Subject::new(seed).expect("a log");
        let mut rng = Rng::new(seed);
        for start in format::HEADER * 8..subject.bytes.len() * 8 {
            // First and last bit wrong, anything in between.
            let len = 2 + rng.below(31);
            let mask = 1 | 1 << (len - 1) | (rng.next_u64() & ((1 << len) - 1));
            let mut image = subject.bytes.clone();
            let mut last = start / 8;
            for bit in (0..len).filter(|bit| mask >> bit & 1 == 1) {
                let at = start + bit as usize;
                if let Some(byte) = image.get_mut(at / 8) {
                    *byte ^= 1 << (at % 8);
                    last = at / 8;
                }
            }
            subject.check(&image, start / 8, last + 1);
            bursts += 1;
        }
    }
    println!("{bursts} bursts");
}

/// The second reader and all readers of the crate find the same in many logs, whole and damaged.
#[test]
fn every_reader_finds_the_same() {
    for seed in 5000..5400 {
        let bytes = [log, batched][seed as usize % 2](seed);
        drop(find(&bytes));
        let mut rng = Rng::new(seed);
        for _ in 0..40 {
            let mut image = bytes.clone();
            for _ in 0..1 + rng.below(3) {
                let at = rng.below(image.len() as u64 + 1) as usize;
                match rng.below(4) {
                    0 => image.truncate(at),
                    1 => image[at..].fill([0, 0xFF][rng.below(2) as usize]),
                    2 => {
                        let from = rng.below(image.len() as u64 + 1) as usize;
                        let len = (image.len() - from).min(image.len() - at);
                        image.copy_within(from..from + len, at);
                    }
                    _ => {
                        if let Some(byte) = image.get_mut(at) {
                            *byte ^= 1 << rng.below(8);
                        }
                    }
                }
                if image.is_empty() {
                    break;
                }
            }
            let found = try_find(&image);
            if let (Ok(_), Some(log)) = (&found, format::read(&image)) {
                let second: BTreeMap<u64, Vec<u8>> = format::salvage(&image)
                    .into_iter()
                    .filter(|record| record.kind == Kind::Document)
                    .map(|record| (record.offset as u64, record.payload))
                    .collect();
                assert!(intact(&image) == second, "seed {seed}");
                assert!(log.useful_end() <= image.len().max(format::HEADER));
            }
        }
    }
}

/// Bytes that are nothing: opened, scanned and salvaged without a panic, a loop or a document.
#[test]
fn arbitrary_bytes_are_no_log() {
    let header = format::header(1, 0, 7);
    for seed in 0..4000 {
        let mut rng = Rng::new(seed);
        let mut bytes = vec![0; rng.below(3000) as usize];
        rng.fill(&mut bytes);
        match rng.below(4) {
            // Words that look like first words, and tails that agree with them.
            0 => {
                let mut at = 0;
                while at + 8 <= bytes.len() {
                    let word = (rng.below(40) as u32) << 2 | rng.below(4) as u32;
                    bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
                    let tail = at + 12 + (word >> 2) as usize;
                    if let Some(place) = bytes.get_mut(tail..tail + 4) {
                        place.copy_from_slice(&(word ^ 0x5AC3_A53C).to_le_bytes());
                    }
                    at += 4 + rng.below(40) as usize;
                }
            }
            1 => bytes.iter_mut().for_each(|byte| *byte &= 3),
            _ => {}
        }
        if rng.below(4) > 0 {
            bytes.splice(..0, header);
        }
        if let Ok(found) = try_find(&bytes) {
            assert!(found.documents.is_empty(), "seed {seed}");
        }
        if let Ok(mut salvage) = Salvage::new(Cursor::new(&bytes)) {
            assert!(
                salvage.next().expect("memory reads").is_none(),
                "seed {seed}"
            );
        }
        if let Ok(mut scan) = Scan::new(Cursor::new(&bytes)) {
            drop(scan.again());
            while let Ok(Some(_)) = scan.next() {}
            drop(scan.again());
        }
        // And used as if nothing were wrong.
        if let Ok(mut buffer) = DocumentBuffer::new(Cursor::new(bytes)) {
            buffer.push("on").expect("push");
            buffer.flush().expect("flush");
            let kept = find(buffer.get_ref().get_ref()).documents;
            assert_eq!(kept, [b"on"], "seed {seed}");
        }
    }
}

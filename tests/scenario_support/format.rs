//! The format, read and written a second time from its description alone: what it finds in a log must be
//! what the crate finds. Slow and simple.

use std::ops::Range;

pub const HEADER: usize = 64;
pub const OVERHEAD: usize = 16;
/// What stands before a record's payload.
pub const HEAD: usize = 8;
pub const MARK: usize = 16;
pub const END: usize = 33;
/// A BATCH as a record.
pub const BATCH: usize = 13 + OVERHEAD;
/// A SEGMENT's payload, without the name of its codec.
pub const SEGMENT_FRONT: usize = 78;
pub const LONGEST: usize = (1 << 28) - 1;

const MASK: u32 = 0x5AC3_A53C;

/// CRC-32 (IEEE), continued from `crc`.
pub fn crc(crc: u32, bytes: &[u8]) -> u32 {
    static TABLE: [u32; 256] = table();
    !bytes.iter().fold(!crc, |state, byte| {
        TABLE[((state ^ u32::from(*byte)) & 0xFF) as usize] ^ (state >> 8)
    })
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 {
                0xEDB8_8320 ^ (value >> 1)
            } else {
                value >> 1
            };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
}

/// What the payload's checksum is mixed with.
fn veil(salt: u64, offset: u64, word: u32) -> u32 {
    let mut z = salt;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    let low = (offset as u32).wrapping_mul(0x85EB_CA6B);
    let high = ((offset >> 32) as u32).wrapping_mul(0xC2B2_AE35);
    z as u32 ^ low ^ high.rotate_left(16) ^ word.wrapping_mul(0x27D4_EB2F)
}

/// Checksum of a record at `offset`.
fn checksum(salt: u64, offset: usize, word: u32, payload: &[u8], link: u32) -> u32 {
    let mixed = crc(0, payload) ^ veil(salt, offset as u64, word);
    crc(mixed, &link.to_le_bytes())
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(word.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let word = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(word.try_into().ok()?))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Document,
    Mark,
    Control,
}

/// An intact record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub offset: usize,
    pub kind: Kind,
    pub payload: Vec<u8>,
    pub word: u32,
    pub crc: u32,
    /// Checksum of the record that it was written behind.
    pub before: u32,
}

impl Record {
    pub fn end(&self) -> usize {
        self.offset + self.payload.len() + OVERHEAD
    }

    pub fn range(&self) -> Range<usize> {
        self.offset..self.end()
    }

    /// Where each part of it stands: word, link, payload, checksum, tail.
    pub fn parts(&self) -> [Range<usize>; 5] {
        let (start, end) = (self.offset, self.end());
        [
            start..start + 4,
            start + 4..start + HEAD,
            start + HEAD..end - 8,
            end - 8..end - 4,
            end - 4..end,
        ]
    }
}

/// The salt, from either copy of a header of version 1 without flags.
pub fn salt(bytes: &[u8]) -> Option<u64> {
    [0, 32].into_iter().find_map(|at| {
        let copy = bytes.get(at..at + 32)?;
        let good = copy.starts_with(b"\x89DOCBUF\n")
            && copy[8..12] == [1, 0, 0, 0]
            && u32_at(copy, 28) == Some(crc(0, &copy[..28]));
        good.then(|| u64_at(copy, 16))?
    })
}

/// The intact record at `offset`, whatever stands before it.
pub fn record(bytes: &[u8], salt: u64, offset: usize) -> Option<Record> {
    let word = u32_at(bytes, offset)?;
    let kind = match word & 3 {
        1 => Kind::Document,
        2 => Kind::Mark,
        3 => Kind::Control,
        _ => return None,
    };
    if word >> 30 != 0 {
        return None;
    }
    let len = match kind {
        Kind::Mark => 0,
        _ => (word >> 2) as usize,
    };
    let from = offset.checked_add(HEAD)?;
    let until = from.checked_add(len)?;
    let (link, sum) = (u32_at(bytes, offset + 4)?, u32_at(bytes, until)?);
    let whole = u32_at(bytes, until + 4)? == word ^ MASK
        && sum == checksum(salt, offset, word, &bytes[from..until], link);
    whole.then(|| Record {
        offset,
        kind,
        payload: bytes[from..until].to_vec(),
        word,
        crc: sum,
        before: link ^ word.wrapping_mul(0x9E37_79B1),
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// At an END that counts right.
    End,
    /// At the end of the bytes, behind a whole record.
    Boundary,
    /// At bytes that are no record of this log.
    Bad,
    /// At an intact control record with this code.
    Unknown(u8),
}

/// A log as the second reader sees it.
#[derive(Clone, Debug)]
pub struct Log {
    pub salt: u64,
    /// All live records but END.
    pub records: Vec<Record>,
    pub stop: Stop,
    /// Where the next record goes.
    pub end: usize,
    /// Whether it begins with a SEGMENT.
    pub segment: bool,
    /// Where each of its batches stands, the BATCH included.
    pub batches: Vec<Range<usize>>,
}

impl Log {
    /// Where what counts as one with this record begins.
    pub fn unit(&self, record: &Record) -> usize {
        let batch = self.batches.iter();
        let mut batch = batch.filter(|batch| batch.contains(&record.offset));
        batch.next().map_or(record.offset, |batch| batch.start)
    }

    pub fn documents(&self) -> Vec<Vec<u8>> {
        self.document_records()
            .map(|record| record.payload.clone())
            .collect()
    }

    pub fn document_records(&self) -> impl Iterator<Item = &Record> {
        let document = |record: &&Record| record.kind == Kind::Document;
        self.records.iter().filter(document)
    }

    /// First byte behind everything live, END too.
    pub fn useful_end(&self) -> usize {
        match self.stop {
            Stop::End => self.end + END,
            _ => self.end,
        }
    }
}

/// What a control record says, in the place where it stands.
enum Control {
    End(u64, u64),
    Segment,
    Batch(u32, u64),
    Unknown(u8),
}

fn control(record: &Record) -> Control {
    let payload = &record.payload[..];
    let code = payload.first().copied().unwrap_or(0);
    match (code, payload.len()) {
        (1, 17) => Control::End(
            u64_at(payload, 1).expect("17 bytes"),
            u64_at(payload, 9).expect("17 bytes"),
        ),
        (3, SEGMENT_FRONT..) if record.offset == HEADER => Control::Segment,
        (4, 13) => Control::Batch(
            u32_at(payload, 1).expect("13 bytes"),
            u64_at(payload, 5).expect("13 bytes"),
        ),
        _ => Control::Unknown(code),
    }
}

/// The first byte behind the batch that `record` begins, if all of it is there: so many documents in so
/// many bytes, one linked to the other, and nothing else.
fn batch_end(bytes: &[u8], salt: u64, first: &Record, documents: u32, len: u64) -> Option<usize> {
    let end = first.end().checked_add(usize::try_from(len).ok()?)?;
    let bytes = bytes.get(..end)?;
    let (mut at, mut tip, mut left) = (first.end(), first.crc, documents);
    while at < end {
        let found = record(bytes, salt, at)?;
        if found.kind != Kind::Document || found.before != tip {
            return None;
        }
        (at, tip, left) = (found.end(), found.crc, left.checked_sub(1)?);
    }
    (left == 0).then_some(end)
}

/// Reads a log; `None` without a good header, and where the bytes end inside it.
pub fn read(bytes: &[u8]) -> Option<Log> {
    let salt = salt(bytes).filter(|_| bytes.len() >= HEADER)?;
    let mut log = Log {
        salt,
        records: Vec::new(),
        stop: Stop::Boundary,
        end: HEADER,
        segment: false,
        batches: Vec::new(),
    };
    let mut tip = crc(0, &salt.to_le_bytes());
    let (mut documents, mut payload) = (0, 0);
    while log.end < bytes.len() {
        let found = record(bytes, salt, log.end).filter(|record| record.before == tip);
        let Some(found) = found else {
            log.stop = Stop::Bad;
            break;
        };
        match found.kind {
            Kind::Document => {
                documents += 1;
                payload += found.payload.len() as u64;
            }
            Kind::Mark => {}
            Kind::Control => match control(&found) {
                Control::End(count, sum) => {
                    let right = (count, sum) == (documents, payload);
                    log.stop = if right { Stop::End } else { Stop::Bad };
                    break;
                }
                Control::Segment => log.segment = true,
                Control::Batch(count, len) => {
                    let Some(end) = batch_end(bytes, salt, &found, count, len) else {
                        log.stop = Stop::Bad;
                        break;
                    };
                    log.batches.push(found.offset..end);
                }
                Control::Unknown(code) => {
                    log.stop = Stop::Unknown(code);
                    break;
                }
            },
        }
        tip = found.crc;
        log.end = found.end();
        log.records.push(found);
    }
    Some(log)
}

/// Every intact record of the store's salt, at any offset.
pub fn salvage(bytes: &[u8]) -> Vec<Record> {
    let mut found = Vec::new();
    let Some(salt) = salt(bytes) else {
        return found;
    };
    let mut at = HEADER;
    while at < bytes.len() {
        match record(bytes, salt, at) {
            Some(record) => {
                at = record.end();
                found.push(record);
            }
            None => at += 1,
        }
    }
    found
}

pub fn header(version: u16, flags: u16, salt: u64) -> [u8; HEADER] {
    let mut copy = [0; 32];
    copy[..8].copy_from_slice(b"\x89DOCBUF\n");
    copy[8..10].copy_from_slice(&version.to_le_bytes());
    copy[10..12].copy_from_slice(&flags.to_le_bytes());
    copy[16..24].copy_from_slice(&salt.to_le_bytes());
    let sum = crc(0, &copy[..28]);
    copy[28..].copy_from_slice(&sum.to_le_bytes());
    let mut both = [0; HEADER];
    both[..32].copy_from_slice(&copy);
    both[32..].copy_from_slice(&copy);
    both
}

/// What a SEGMENT says.
#[derive(Clone, Debug, Default)]
pub struct Segment {
    pub journal: u128,
    pub sequence: u64,
    pub base: u64,
    pub born: u64,
    /// The segment that it continues (0: none), and where that one ends for it: offset, tip, documents, bytes.
    pub from: (u64, u64, u32, u64, u64),
    pub codec: &'static str,
}

impl Segment {
    pub fn payload(&self) -> Vec<u8> {
        let (sequence, offset, tip, documents, bytes) = self.from;
        let mut payload = vec![3];
        payload.extend(self.journal.to_le_bytes());
        payload.extend(self.sequence.to_le_bytes());
        payload.extend(self.base.to_le_bytes());
        payload.extend(self.born.to_le_bytes());
        payload.extend(sequence.to_le_bytes());
        payload.extend(offset.to_le_bytes());
        payload.extend(tip.to_le_bytes());
        payload.extend(documents.to_le_bytes());
        payload.extend(bytes.to_le_bytes());
        payload.push(self.codec.len() as u8);
        payload.extend(self.codec.as_bytes());
        payload
    }
}

/// Bytes of these documents as records.
pub fn records_len<D: AsRef<[u8]>>(documents: &[D]) -> u64 {
    let lens = documents.iter().map(|document| document.as_ref().len());
    lens.map(|len| (len + OVERHEAD) as u64).sum()
}

/// Writes a log by hand.
#[derive(Clone)]
pub struct Writer {
    pub bytes: Vec<u8>,
    salt: u64,
    tip: u32,
    documents: u64,
    payload: u64,
}

impl Writer {
    pub fn new(salt: u64) -> Writer {
        Writer {
            bytes: header(1, 0, salt).to_vec(),
            salt,
            tip: crc(0, &salt.to_le_bytes()),
            documents: 0,
            payload: 0,
        }
    }

    /// A record with this first word, whatever it says.
    pub fn raw(mut self, word: u32, payload: &[u8]) -> Writer {
        let offset = self.bytes.len();
        let link = self.tip ^ word.wrapping_mul(0x9E37_79B1);
        self.bytes.extend(word.to_le_bytes());
        self.bytes.extend(link.to_le_bytes());
        self.bytes.extend(payload);
        self.tip = checksum(self.salt, offset, word, payload, link);
        self.bytes.extend(self.tip.to_le_bytes());
        self.bytes.extend((word ^ MASK).to_le_bytes());
        self
    }

    pub fn document(mut self, payload: &[u8]) -> Writer {
        self.documents += 1;
        self.payload += payload.len() as u64;
        self.raw((payload.len() as u32) << 2 | 1, payload)
    }

    pub fn mark(self, nonce: u32) -> Writer {
        self.raw((nonce & 0x0FFF_FFFF) << 2 | 2, &[])
    }

    pub fn control(self, payload: &[u8]) -> Writer {
        self.raw((payload.len() as u32) << 2 | 3, payload)
    }

    pub fn segment(self, segment: &Segment) -> Writer {
        self.control(&segment.payload())
    }

    /// A BATCH that says so many documents in so many bytes, and nothing behind it.
    pub fn batch_of(self, documents: u32, bytes: u64) -> Writer {
        let mut payload = vec![4];
        payload.extend(documents.to_le_bytes());
        payload.extend(bytes.to_le_bytes());
        self.control(&payload)
    }

    /// A BATCH and its documents.
    pub fn batch<D: AsRef<[u8]>>(self, documents: &[D]) -> Writer {
        let begun = self.batch_of(documents.len() as u32, records_len(documents));
        begun.documents(documents)
    }

    pub fn documents<D: AsRef<[u8]>>(self, documents: &[D]) -> Writer {
        let each = documents.iter();
        each.fold(self, |log, document| log.document(document.as_ref()))
    }

    pub fn end(self) -> Writer {
        let (documents, payload) = (self.documents, self.payload);
        self.end_of(documents, payload)
    }

    /// An END that counts so many.
    pub fn end_of(self, documents: u64, payload: u64) -> Writer {
        let mut bytes = vec![1];
        bytes.extend(documents.to_le_bytes());
        bytes.extend(payload.to_le_bytes());
        self.control(&bytes)
    }
}

//! The bytes on the store: the only copy of the layout. Pure, no I/O.
//!
//! All integers are little-endian; offsets count from the first byte of the store.
//!
//! ```text
//! store    = header record*                        header: 64 bytes, written once
//! header   = copy copy                             either one suffices
//!
//!  0        8      10     12     16        24     28     32
//!  +--------+------+------+------+---------+------+------+
//!  | magic  | ver  | flags| zero | salt    | zero | crc  |    copy, 32 bytes
//!  +--------+------+------+------+---------+------+------+
//!
//!  0     4      8                8+n    12+n   16+n
//!  +-----+------+----------------+------+------+
//!  | w   | link | payload, n     | crc  | tail |               record, n + 16 bytes
//!  +-----+------+----------------+------+------+
//! ```
//!
//! | field | type | meaning |
//! |---|---|---|
//! | magic | 8 bytes | `89 44 4F 43 42 55 46 0A` |
//! | ver, flags | u16, u16 | 1 and 0; anything else is refused with its number |
//! | salt | u64 | random; no record of another log, or of an earlier life of this store, validates here |
//! | crc (header) | u32 | CRC-32 of the 28 bytes before it |
//! | w | u32 | bits 0-1 kind (1 document, 2 mark, 3 control; 0 is never valid), bits 2-29 payload length, bits 30-31 zero. A mark has no payload: bits 2-29 are a random nonce |
//! | link | u32 | crc of the record before (of the first record: [`Salt::first_link`]) XOR `w * 0x9E3779B1`, wrapping |
//! | crc | u32 | CRC-32 of the payload, XOR a value mixed from salt, absolute offset and w ([`Salt::veil`]), continued over link |
//! | tail | u32 | `w ^ 0x5AC3A53C`: read first when walking backwards; its last byte is never 0x00 or 0xFF |
//!
//! A control record's first payload byte says what it is: 1 END (33 bytes in all), 2 PAD (reserved),
//! 3 SEGMENT, 4 BATCH; `control.rs` has their payloads. A buffer writes END only; the other two are a
//! journal's. What is not known is refused by its number.
//!
//! Why each piece:
//!
//! * **link** makes a record name its whole past: a new record never joins an old predecessor, nor the
//!   other way round. It is veiled by `w`, since a plain link let an END complete the torn record that it
//!   was written over. It stands in *front* of the payload: an END over the front of a record that a crash
//!   tore destroys the link, so that the same document written there again never completes what is left of
//!   it. The checksum takes it *last*, so that its long part does not wait for the record before: sealing
//!   64-byte documents takes 14 ns each instead of 22, on the machine of `benches/README.md`.
//! * **mark** goes before the first record after open, after the end moved down and after any failed
//!   write, with a fresh nonce: the same documents written again get other checksums.
//! * **END** makes a removal durable. It stands at the end and is overwritten by the next record.
//! * **salt, offset and w** in the checksum: every byte of a record is under it, every burst of up to 32
//!   bits is found (w is checked against tail as well), and a copy of this log inside a document, a shifted copy or a
//!   misdirected write never validates.
//! * **tail** makes walking backwards need no index, and bounds every length before memory is asked for.
//!
//! A stale record is taken for a live one with a chance of about 2^-28 for each crash in which
//! everything else lines up (a mark's nonce has 28 bits).
//!
//! Worked example: salt 0x0123456789ABCDEF, the document `hi` pushed and flushed; the mark's nonce is
//! 0x0ABCDEF. The test `worked_example` compares these bytes with what the code below writes.
//!
//! ```text
//!   0  89 44 4F 43 42 55 46 0A  01 00 00 00 00 00 00 00   magic, version 1, flags 0
//!  16  EF CD AB 89 67 45 23 01  00 00 00 00 DC 8F 2F 95   salt, crc
//!  32  89 44 4F 43 42 55 46 0A  01 00 00 00 00 00 00 00   the same once more
//!  48  EF CD AB 89 67 45 23 01  00 00 00 00 DC 8F 2F 95
//!  64  BE 37 AF 02  19 BA 6B AE                          mark: w, link, no payload
//!  72  48 36 41 8E  82 92 6C 58                          crc, tail
//!  80  09 00 00 00  71 71 B2 01                          document: w, link
//!  88  68 69                                             "hi"
//!  90  5C C3 EA F3  35 A5 C3 5A                          crc, tail
//!  98  47 00 00 00  4B 03 88 12                          control: w, link
//! 106  01                                                END
//! 107  01 00 00 00 00 00 00 00                            documents: 1
//! 115  02 00 00 00 00 00 00 00                            bytes of their payloads: 2
//! 123  C4 05 B7 FC  7B A5 C3 5A                          crc, tail
//! ```

use byteorder::{ByteOrder, LittleEndian as LE};

use super::control::{self, END_PAYLOAD};
use super::crc::{Crc, crc_step, crc_step_back};

pub(crate) const MAGIC: [u8; 8] = *b"\x89DOCBUF\n";
/// Version of the bytes on the store that this crate writes.
pub const FORMAT_VERSION: u16 = 1;
pub(crate) const COPY_LEN: usize = 32;
pub(crate) const HEADER_LEN: usize = 2 * COPY_LEN;
/// Where the first record stands.
pub(crate) const FIRST: u64 = HEADER_LEN as u64;

pub(crate) const WORD_LEN: usize = 4;
/// Word and link.
pub(crate) const HEAD_LEN: usize = 8;
/// Checksum and tail.
pub(crate) const TAIL_LEN: usize = 8;
/// What a record costs beyond its payload.
pub(crate) const OVERHEAD: usize = HEAD_LEN + TAIL_LEN;
pub(crate) const MARK_LEN: usize = OVERHEAD;
pub(crate) const END_LEN: usize = END_PAYLOAD + OVERHEAD;
/// The longest payload a record can have.
pub(crate) const MAX_PAYLOAD: usize = (1 << 28) - 1;

const TAIL_MASK: u32 = 0x5AC3_A53C;
const VEIL: u32 = 0x9E37_79B1;

const _: () = assert!(COPY_LEN == 8 + 2 + 2 + 4 + 8 + 4 + 4);
const _: () = assert!(OVERHEAD == 16 && END_LEN == 33);
// The tail's last byte is the mask's under at most the six low bits of w's: never 0x00, never 0xFF.
const _: () = assert!(TAIL_MASK >> 24 > 0x3F && (TAIL_MASK >> 24) | 0x3F < 0xFF);

/// What a record is, by the low bits of its first word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Document,
    Mark,
    Control,
}

/// A record's first word, known to be of a legal form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(u32);

impl Word {
    /// `None` for kind 0 and for the two top bits set.
    #[inline]
    pub(crate) fn parse(raw: u32) -> Option<Word> {
        (raw & 3 != 0 && raw >> 30 == 0).then_some(Word(raw))
    }

    #[inline]
    pub(crate) fn document(len: usize) -> Word {
        debug_assert!(len <= MAX_PAYLOAD);
        Word((len as u32) << 2 | 1)
    }

    pub(crate) fn mark(nonce: u32) -> Word {
        Word((nonce & MAX_PAYLOAD as u32) << 2 | 2)
    }

    pub(crate) fn control(len: usize) -> Word {
        debug_assert!(len <= MAX_PAYLOAD);
        Word((len as u32) << 2 | 3)
    }

    /// Whether this is the word of an END, behind which no record is linked.
    pub(crate) fn is_end(self) -> bool {
        self == Word::control(END_PAYLOAD)
    }

    #[inline]
    pub(crate) fn kind(self) -> Kind {
        match self.0 & 3 {
            1 => Kind::Document,
            2 => Kind::Mark,
            _ => Kind::Control,
        }
    }

    /// Bytes of payload.
    #[inline]
    pub(crate) fn payload_len(self) -> usize {
        if self.0 & 3 == 2 {
            0
        } else {
            (self.0 >> 2) as usize
        }
    }

    /// Bytes of the whole record.
    #[inline]
    pub(crate) fn record_len(self) -> usize {
        self.payload_len() + OVERHEAD
    }

    #[inline]
    pub(crate) fn bytes(self) -> [u8; 4] {
        self.0.to_le_bytes()
    }

    #[inline]
    pub(crate) fn tail(self) -> u32 {
        self.0 ^ TAIL_MASK
    }

    /// The word behind a tail, where the tail is one.
    #[inline]
    pub(crate) fn from_tail(tail: u32) -> Option<Word> {
        Word::parse(tail ^ TAIL_MASK)
    }

    /// The link of a record with this word behind a record with checksum `tip`; its own inverse.
    #[inline]
    pub(crate) fn link(self, tip: u32) -> u32 {
        tip ^ self.0.wrapping_mul(VEIL)
    }
}

/// A log's random identity, folded for use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Salt {
    pub(crate) raw: u64,
    fold: u32,
}

impl Salt {
    pub(crate) fn new(raw: u64) -> Salt {
        // A mix of all 64 bits (the finalizer of splitmix64, by Steele, Lea and Flood).
        let z = (raw ^ (raw >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        Salt {
            raw,
            fold: (z ^ (z >> 31)) as u32,
        }
    }

    /// The salt that the record at the front of `bytes`, if it is an intact one, was written with, good
    /// for judging others but not for [`Salt::first_link`]; and the record's length. A second record that
    /// names the same salt proves both.
    pub(crate) fn guess(offset: u64, bytes: &[u8]) -> Option<(Salt, usize)> {
        let word = Word::parse(u32::from_le_bytes(*bytes.first_chunk()?))?;
        let record = bytes.get(..word.record_len())?;
        let (head, rest) = record.split_first_chunk::<HEAD_LEN>()?;
        let (payload, end) = rest.split_last_chunk::<TAIL_LEN>()?;
        if LE::read_u32(&end[4..]) != word.tail() {
            return None;
        }
        let (link, crc) = (LE::read_u32(&head[4..]), LE::read_u32(&end[..4]));
        let veil = crc_step_back(crc, link) ^ crc32fast::hash(payload);
        let none = Salt { raw: 0, fold: 0 };
        let fold = veil ^ none.veil(offset, word);
        Some((Salt { raw: 0, fold }, word.record_len()))
    }

    /// What the first record links to.
    pub(crate) fn first_link(self) -> u32 {
        crc32fast::hash(&self.raw.to_le_bytes())
    }

    /// What the checksum of a record with this word at `offset` is mixed with; distinct for distinct low
    /// 32 bits of the offset, and for distinct words.
    #[inline]
    pub(super) fn veil(self, offset: u64, word: Word) -> u32 {
        let low = (offset as u32).wrapping_mul(0x85EB_CA6B);
        let high = ((offset >> 32) as u32).wrapping_mul(0xC2B2_AE35);
        self.fold ^ low ^ high.rotate_left(16) ^ word.0.wrapping_mul(0x27D4_EB2F)
    }
}

/// Where a log ends: what the next record needs to know of the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    /// First byte behind the last record.
    pub(crate) offset: u64,
    /// Checksum of the last record.
    pub(crate) tip: u32,
    /// Documents below `offset`, and the bytes of their payloads.
    pub(crate) documents: u64,
    pub(crate) bytes: u64,
}

impl Edge {
    pub(crate) fn empty(salt: Salt) -> Edge {
        Edge {
            offset: FIRST,
            tip: salt.first_link(),
            documents: 0,
            bytes: 0,
        }
    }
}

/// What stands around the payload of a record.
pub(super) struct Frame {
    pub(super) head: [u8; HEAD_LEN],
    pub(super) tail: [u8; TAIL_LEN],
    pub(super) crc: u32,
}

/// The frame of the record with this word at `edge`.
#[inline]
pub(super) fn around(salt: Salt, edge: &Edge, word: Word, payload_crc: u32) -> Frame {
    let link = word.link(edge.tip);
    let crc = crc_step(payload_crc ^ salt.veil(edge.offset, word), link);
    let (mut head, mut tail) = ([0; HEAD_LEN], [0; TAIL_LEN]);
    head[..4].copy_from_slice(&word.bytes());
    LE::write_u32(&mut head[4..], link);
    LE::write_u32(&mut tail[..4], crc);
    LE::write_u32(&mut tail[4..], word.tail());
    Frame { head, tail, crc }
}

/// What a document needs around it on the store, when it is written from the caller's slice; the edge
/// moves behind it.
pub(crate) fn frame(
    salt: Salt,
    edge: &mut Edge,
    payload: &[u8],
) -> ([u8; HEAD_LEN], [u8; TAIL_LEN]) {
    let word = Word::document(payload.len());
    let frame = around(salt, edge, word, crc32fast::hash(payload));
    *edge = Edge {
        offset: edge.offset + word.record_len() as u64,
        tip: frame.crc,
        documents: edge.documents + 1,
        bytes: edge.bytes + payload.len() as u64,
    };
    (frame.head, frame.tail)
}

/// Fills link and checksum into a run of records that have word, payload and tail in place, and moves
/// `edge` behind them. `false` where the run is not one.
pub(crate) fn seal(salt: Salt, edge: &mut Edge, mut run: &mut [u8]) -> bool {
    let crc = Crc::new();
    let mut at = *edge;
    while let Some(word) = run.first_chunk() {
        let Some(word) = Word::parse(u32::from_le_bytes(*word)) else {
            return false;
        };
        let Some((record, rest)) = run.split_at_mut_checked(word.record_len()) else {
            return false;
        };
        let Some((head, front)) = record.split_first_chunk_mut() else {
            return false;
        };
        let Some((payload, tail)) = front.split_last_chunk_mut() else {
            return false;
        };
        let frame = around(salt, &at, word, crc.of(payload));
        (*head, *tail) = (frame.head, frame.tail);
        at.offset += word.record_len() as u64;
        at.tip = frame.crc;
        if word.kind() == Kind::Document {
            at.documents += 1;
            at.bytes += payload.len() as u64;
        }
        run = rest;
    }
    *edge = at;
    run.is_empty()
}

/// A mark at `edge`, which moves behind it.
pub(crate) fn mark(salt: Salt, edge: &mut Edge, nonce: u32) -> [u8; MARK_LEN] {
    let word = Word::mark(nonce);
    let frame = around(salt, edge, word, crc32fast::hash(&[]));
    edge.offset += MARK_LEN as u64;
    edge.tip = frame.crc;
    let mut bytes = [0; MARK_LEN];
    bytes[..HEAD_LEN].copy_from_slice(&frame.head);
    bytes[HEAD_LEN..].copy_from_slice(&frame.tail);
    bytes
}

/// END at `edge`.
pub(crate) fn end(salt: Salt, edge: &Edge) -> [u8; END_LEN] {
    let word = Word::control(END_PAYLOAD);
    let payload = control::end(edge.documents, edge.bytes);
    let frame = around(salt, edge, word, crc32fast::hash(&payload));
    let mut bytes = [0; END_LEN];
    bytes[..HEAD_LEN].copy_from_slice(&frame.head);
    bytes[HEAD_LEN..HEAD_LEN + END_PAYLOAD].copy_from_slice(&payload);
    bytes[HEAD_LEN + END_PAYLOAD..].copy_from_slice(&frame.tail);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::header::{header, is_filler};

    #[test]
    fn worked_example() {
        let salt = Salt::new(0x0123_4567_89AB_CDEF);
        let mut edge = Edge::empty(salt);
        let mut log = header(salt).to_vec();
        log.extend(mark(salt, &mut edge, 0x0AB_CDEF));
        let (head, tail) = frame(salt, &mut edge, b"hi");
        log.extend(head);
        log.extend(b"hi");
        log.extend(tail);
        log.extend(end(salt, &edge));
        let text = include_str!("format.rs");
        let (_, text) = text.split_once("//! Worked example").expect("the example");
        let (text, _) = text.split_once("\nuse ").expect("code behind it");
        let mut written = Vec::new();
        for line in text.lines() {
            let mut tokens = line.trim_start_matches("//!").split_whitespace();
            if let Some(Ok(offset)) = tokens.next().map(str::parse::<usize>) {
                assert_eq!(offset, written.len());
                let bytes = tokens.map_while(|t| u8::from_str_radix(t, 16).ok());
                written.extend(bytes);
            }
        }
        assert_eq!(written, log);
    }

    #[test]
    fn the_last_byte_of_a_record_is_never_filler() {
        for raw in (0..1u32 << 30).step_by(997) {
            if let Some(word) = Word::parse(raw) {
                assert!(!is_filler(word.tail().to_le_bytes()[3]));
            }
        }
    }

    #[test]
    fn kind_zero_and_top_bits_are_no_record() {
        assert_eq!(Word::parse(0), None);
        assert_eq!(Word::parse(12 << 2), None);
        assert_eq!(Word::parse(1 | 1 << 30), None);
        assert_eq!(Word::parse(u32::MAX), None);
    }
}

//! What control records say: their payloads. Pure, no I/O.
//!
//! The first byte is a code; integers are little-endian.
//!
//! ```text
//! END      01 | documents u64 | bytes u64                                            17 bytes
//! SEGMENT  03 | journal u128 | sequence u64 | base u64 | born u64 | from | codec     78 bytes and the codec
//!              from  = sequence u64 | offset u64 | tip u32 | documents u64 | bytes u64
//!              codec = length u8 | text
//! BATCH    04 | documents u32 | bytes u64                                            13 bytes
//! ```
//!
//! | field | meaning |
//! |---|---|
//! | END documents, bytes | documents below it in this store, and bytes of their payloads |
//! | journal | random; all segments of a journal have the same |
//! | sequence | number of the segment, from 1 |
//! | base | position of its first document in the journal |
//! | born | when it was made: microseconds since 1970, by the wall clock |
//! | from | the segment that it continues (0: none), and where that one ends for it |
//! | codec | what the documents are written in, by a name; may be empty |
//! | BATCH documents, bytes | so many documents follow, in so many bytes of records; they count together or not at all |
//!
//! SEGMENT stands first in its store or nowhere. A batch that is not whole ends the log before its BATCH.

use byteorder::{ByteOrder, LittleEndian as LE};

const END: u8 = 1;
pub(crate) const SEGMENT: u8 = 3;
pub(crate) const BATCH: u8 = 4;

pub(crate) const END_PAYLOAD: usize = 17;
pub(crate) const SEGMENT_FRONT: usize = 1 + 16 + 8 + 8 + 8 + 8 + 8 + 4 + 8 + 8 + 1;
pub(crate) const BATCH_PAYLOAD: usize = 13;

// An END is told by its length alone, as far as walking back and salvage need it.
const _: () = assert!(BATCH_PAYLOAD != END_PAYLOAD && SEGMENT_FRONT > END_PAYLOAD);

/// What a control record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    End { documents: u64, bytes: u64 },
    Segment,
    Batch(Batch),
    Unknown(u8),
}

/// The documents behind a BATCH: how many, and in how many bytes of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) documents: u32,
    pub(crate) bytes: u64,
}

pub(crate) fn read(payload: &[u8]) -> Control {
    match payload.split_first() {
        Some((&END, rest)) if payload.len() == END_PAYLOAD => Control::End {
            documents: LE::read_u64(rest),
            bytes: rest.get(8..).map(LE::read_u64).unwrap_or_default(),
        },
        Some((&SEGMENT, _)) if payload.len() >= SEGMENT_FRONT => Control::Segment,
        Some((&BATCH, rest)) if payload.len() == BATCH_PAYLOAD => Control::Batch(Batch {
            documents: LE::read_u32(rest),
            bytes: rest.get(4..).map(LE::read_u64).unwrap_or_default(),
        }),
        Some((&code, _)) => Control::Unknown(code),
        None => Control::Unknown(0),
    }
}

pub(crate) fn end(documents: u64, bytes: u64) -> [u8; END_PAYLOAD] {
    let mut payload = [END; END_PAYLOAD];
    LE::write_u64(&mut payload[1..9], documents);
    LE::write_u64(&mut payload[9..], bytes);
    payload
}

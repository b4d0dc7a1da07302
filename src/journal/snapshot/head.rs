//! What a snapshot says of itself, in its first document and in its name. Pure, no I/O.
//!
//! The head, all integers little-endian:
//!
//! | at | field | type | meaning |
//! |---|---|---|---|
//! | 0 | magic | 8 bytes | `89 44 42 53 4E 41 50 0A` |
//! | 8 | layout | u32 | 1; what follows may differ in others, and is refused by this number |
//! | 12 | schema | u32 | the program's number for the form of its state; as in the name |
//! | 16 | journal | u128 | which journal it was taken of |
//! | 32 | position | u64 | events in the state: the position of the first that is not; as in the name |
//! | 40 | segment | u64 | number of the segment that held the log's end |
//! | 48 | offset | u64 | where in that segment it ended |
//! | 56 | documents | u64 | documents in the segment up to there |
//! | 64 | bytes | u64 | bytes of their payloads |
//! | 72 | length | u64 | bytes of the state |
//! | 80 | tip | u32 | crc of the last record before the end |
//! | 84 | codec | the rest | name of the state's encoding: UTF-8, at most 255 bytes |

use super::SnapshotInfo;
use super::error::{BadSnapshot, SnapshotError};

const PREFIX: &str = "snapshot-";
const FINAL: &str = ".snap";
const TEMPORARY: &str = ".tmp";
const POSITION_DIGITS: usize = 20;
const SCHEMA_DIGITS: usize = 10;

const MAGIC: [u8; 8] = *b"\x89DBSNAP\n";
/// The head's layout that this version writes, and the only one it reads.
const LAYOUT: u32 = 1;
/// Bytes of a head before the codec's name.
const HEAD_LEN: usize = 84;
const MAX_CODEC: usize = 255;

/// Which record of the log a snapshot was taken behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Number of the segment.
    pub(crate) segment: u64,
    /// Where in it the record ends.
    pub(crate) offset: u64,
    /// The record's crc.
    pub(crate) tip: u32,
    /// Documents in the segment up to there.
    pub(crate) documents: u64,
    /// Bytes of their payloads.
    pub(crate) bytes: u64,
    /// Position of the first event behind it.
    pub(crate) position: u64,
}

/// What a snapshot says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) journal: u128,
    /// The program's number for the form of its state.
    pub(crate) schema: u32,
    pub(crate) mark: Mark,
    /// Name of the state's encoding.
    pub(crate) codec: String,
}

impl Head {
    /// The first document of a snapshot of `len` bytes of state.
    pub(super) fn encode(&self, len: u64) -> Result<Vec<u8>, SnapshotError> {
        if self.codec.len() > MAX_CODEC {
            let len = self.codec.len();
            let max = MAX_CODEC;
            return Err(SnapshotError::CodecName { len, max });
        }
        let mark = &self.mark;
        let mut bytes = Vec::with_capacity(HEAD_LEN + self.codec.len());
        bytes.extend(MAGIC);
        bytes.extend(LAYOUT.to_le_bytes());
        bytes.extend(self.schema.to_le_bytes());
        bytes.extend(self.journal.to_le_bytes());
        let words = [
            mark.position,
            mark.segment,
            mark.offset,
            mark.documents,
            mark.bytes,
            len,
        ];
        bytes.extend(words.into_iter().flat_map(u64::to_le_bytes));
        bytes.extend(mark.tip.to_le_bytes());
        bytes.extend(self.codec.as_bytes());
        Ok(bytes)
    }

    /// The head and the length of the state.
    pub(super) fn decode(bytes: &[u8]) -> Result<(Head, u64), BadSnapshot> {
        let mut rest = bytes;
        if take(&mut rest) != Some(MAGIC) {
            return Err(BadSnapshot::foreign(bytes));
        }
        let layout = take(&mut rest).map(u32::from_le_bytes);
        if let Some(layout) = layout.filter(|layout| *layout != LAYOUT) {
            return Err(BadSnapshot::Future { layout });
        }
        let fields = |rest: &mut &[u8]| {
            Some((
                u32::from_le_bytes(take(rest)?),
                u128::from_le_bytes(take(rest)?),
                Mark {
                    position: u64::from_le_bytes(take(rest)?),
                    segment: u64::from_le_bytes(take(rest)?),
                    offset: u64::from_le_bytes(take(rest)?),
                    documents: u64::from_le_bytes(take(rest)?),
                    bytes: u64::from_le_bytes(take(rest)?),
                    tip: 0,
                },
                u64::from_le_bytes(take(rest)?),
                u32::from_le_bytes(take(rest)?),
            ))
        };
        let (schema, journal, mark, len, tip) =
            fields(&mut rest).ok_or(BadSnapshot::Malformed { document: 0 })?;
        let codec = std::str::from_utf8(rest).ok();
        let codec = codec.filter(|codec| codec.len() <= MAX_CODEC);
        let head = Head {
            journal,
            schema,
            mark: Mark { tip, ..mark },
            codec: codec
                .ok_or(BadSnapshot::Malformed { document: 0 })?
                .to_owned(),
        };
        Ok((head, len))
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*first)
}

/// What the name of a snapshot says; its contents must agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) position: u64,
    pub(crate) schema: u32,
}

impl Named {
    pub(super) fn new(position: u64, schema: u32) -> Named {
        let name = stem(position, schema) + FINAL;
        Named {
            name,
            position,
            schema,
        }
    }

    /// What can be told of it without a look at what is in it.
    pub(super) fn info(self, bytes: u64) -> SnapshotInfo {
        SnapshotInfo {
            name: self.name,
            position: self.position,
            schema: self.schema,
            bytes,
        }
    }

    /// What it is called while it is written.
    pub(super) fn temporary(&self) -> String {
        stem(self.position, self.schema) + TEMPORARY
    }

    /// `None` for every name that is not a snapshot's.
    pub(super) fn parse(name: String) -> Option<Named> {
        let (position, schema) = parse_stem(name.strip_suffix(FINAL)?)?;
        Some(Named {
            name,
            position,
            schema,
        })
    }
}

/// Whether this is what a snapshot is called while it is written.
pub(super) fn is_temporary(name: &str) -> bool {
    name.strip_suffix(TEMPORARY).and_then(parse_stem).is_some()
}

fn stem(position: u64, schema: u32) -> String {
    format!("{PREFIX}{position:0POSITION_DIGITS$}-{schema:0SCHEMA_DIGITS$}")
}

fn parse_stem(stem: &str) -> Option<(u64, u32)> {
    let (position, schema) = stem.strip_prefix(PREFIX)?.split_once('-')?;
    let digits =
        |text: &str, count| text.len() == count && text.bytes().all(|digit| digit.is_ascii_digit());
    if !digits(position, POSITION_DIGITS) || !digits(schema, SCHEMA_DIGITS) {
        return None;
    }
    Some((position.parse().ok()?, schema.parse().ok()?))
}

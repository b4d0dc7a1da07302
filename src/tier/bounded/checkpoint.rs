//! The order of a bounded tier as a document.
//!
//! ```text
//!   8  "dbLRU", 0, 0, version of the format (1)
//!   8  number of lines
//!      each line, the oldest first:
//!      2  length of the key
//!         the key
//!      8  bytes of key and value
//!   4  CRC-32 of all before
//! ```
//!
//! Numbers are little-endian.

use crate::tier::KeyBuf;

const MAGIC: &[u8; 8] = b"dbLRU\0\0\x01";

pub(super) fn write(lines: &[(KeyBuf, u64)]) -> bytes::Bytes {
    let mut document = Vec::with_capacity(20 + lines.len() * 32);
    document.extend_from_slice(MAGIC);
    document.extend_from_slice(&(lines.len() as u64).to_le_bytes());
    for (key, bytes) in lines {
        let key = key.as_key().as_str();
        document.extend_from_slice(&(key.len() as u16).to_le_bytes());
        document.extend_from_slice(key.as_bytes());
        document.extend_from_slice(&bytes.to_le_bytes());
    }
    let crc = crc32fast::hash(&document);
    document.extend_from_slice(&crc.to_le_bytes());
    document.into()
}

/// None where it is not whole.
pub(super) fn read(document: &[u8]) -> Option<Vec<(KeyBuf, u64)>> {
    let (body, crc) = document.split_last_chunk()?;
    if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
        return None;
    }
    let rest = body.strip_prefix(MAGIC)?;
    let (count, mut rest) = rest.split_first_chunk()?;
    let mut lines = Vec::new();
    for _ in 0..u64::from_le_bytes(*count) {
        let (len, tail) = rest.split_first_chunk()?;
        let (key, tail) = tail.split_at_checked(u16::from_le_bytes(*len).into())?;
        let (bytes, tail) = tail.split_first_chunk()?;
        let key = KeyBuf::new(std::str::from_utf8(key).ok()?).ok()?;
        lines.push((key, u64::from_le_bytes(*bytes)));
        rest = tail;
    }
    rest.is_empty().then_some(lines)
}

//! The file header: writes it, and tells a log from a store that is new and from anything else. Pure.
//!
//! Its layout stands in `format.rs`.

use byteorder::{ByteOrder, LittleEndian as LE};

use super::format::{COPY_LEN, FORMAT_VERSION, HEADER_LEN, MAGIC, Salt};

/// What the first 64 bytes of a store say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    Valid(Salt),
    Version(u16),
    Flags(u16),
    /// Bytes that only our own interrupted creation leaves, or filler: new, where nothing else follows.
    Unborn,
    /// Our magic stands there, but neither copy is intact.
    Damaged,
    Foreign,
}

fn copy_front() -> [u8; COPY_LEN] {
    let mut copy = [0; COPY_LEN];
    copy[..8].copy_from_slice(&MAGIC);
    LE::write_u16(&mut copy[8..10], FORMAT_VERSION);
    copy
}

fn twice(copy: [u8; COPY_LEN]) -> [u8; HEADER_LEN] {
    let mut both = [0; HEADER_LEN];
    both[..COPY_LEN].copy_from_slice(&copy);
    both[COPY_LEN..].copy_from_slice(&copy);
    both
}

/// What is made durable before the header: its fixed bytes, the salt still zero. A creation cut short
/// then leaves either nothing but these bytes and filler, or a whole magic.
pub(crate) fn prelude() -> [u8; HEADER_LEN] {
    twice(copy_front())
}

pub(crate) fn header(salt: Salt) -> [u8; HEADER_LEN] {
    let mut copy = copy_front();
    LE::write_u64(&mut copy[16..24], salt.raw);
    let crc = crc32fast::hash(&copy[..28]);
    LE::write_u32(&mut copy[28..], crc);
    twice(copy)
}

/// Those bytes with zeros for all behind magic, version and flags.
pub(crate) fn without_salt(mut header: [u8; HEADER_LEN]) -> [u8; HEADER_LEN] {
    for copy in header.chunks_mut(COPY_LEN) {
        copy.iter_mut().skip(12).for_each(|byte| *byte = 0);
    }
    header
}

/// Judges the first bytes of a store: 64 of them, or all there are.
pub(crate) fn read_header(bytes: &[u8]) -> Header {
    let copies = [
        bytes.first_chunk::<COPY_LEN>(),
        bytes
            .get(COPY_LEN..)
            .and_then(|b| b.first_chunk::<COPY_LEN>()),
    ];
    let read = copies.map(|copy| copy.and_then(read_copy));
    let valid = |h: &Header| matches!(h, Header::Valid(_));
    if let Some(header) = read
        .iter()
        .flatten()
        .find(|h| valid(h))
        .or(read.iter().flatten().next())
    {
        return *header;
    }
    let whole = [bytes.get(..8), bytes.get(COPY_LEN..COPY_LEN + 8)].contains(&Some(&MAGIC[..]));
    if unborn(bytes, whole) {
        Header::Unborn
    } else if whole {
        Header::Damaged
    } else {
        Header::Foreign
    }
}

fn read_copy(copy: &[u8; COPY_LEN]) -> Option<Header> {
    let (rest, crc) = copy.split_last_chunk::<4>()?;
    if !copy.starts_with(&MAGIC) || crc32fast::hash(rest) != u32::from_le_bytes(*crc) {
        return None;
    }
    let (version, flags) = (LE::read_u16(&copy[8..10]), LE::read_u16(&copy[10..12]));
    Some(match (version, flags) {
        (FORMAT_VERSION, 0) => Header::Valid(Salt::new(LE::read_u64(&copy[16..24]))),
        (FORMAT_VERSION, flags) => Header::Flags(flags),
        (version, _) => Header::Version(version),
    })
}

/// Whether our own interrupted creation can have left these bytes: each is what the prelude has there, or
/// filler; salt and crc may be anything once the magic is whole, for then the prelude was durable.
fn unborn(bytes: &[u8], magic_whole: bool) -> bool {
    let late = |i: usize| matches!(i % COPY_LEN, 16..24 | 28..32);
    let prelude = prelude();
    (bytes.iter().zip(prelude).enumerate())
        .all(|(i, (&byte, fixed))| byte == fixed || is_filler(byte) || (magic_whole && late(i)))
}

pub(crate) fn is_filler(byte: u8) -> bool {
    byte == 0x00 || byte == 0xFF
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_torn_creation_is_new_and_no_foreign_file_is() {
        let whole = header(Salt::new(0xFEDC_BA98_7654_3210));
        for keep in 0..=HEADER_LEN {
            // The prelude torn at any byte; then the header torn at any byte over a whole prelude.
            for filler in [0x00, 0xFF] {
                let mut torn = [filler; HEADER_LEN];
                torn[..keep].copy_from_slice(&prelude()[..keep]);
                assert_eq!(read_header(&torn), Header::Unborn);
            }
            let mut torn = prelude();
            torn[..keep].copy_from_slice(&whole[..keep]);
            let got = read_header(&torn);
            assert!(
                matches!(got, Header::Unborn | Header::Valid(_)),
                "{keep}: {got:?}"
            );
        }
        assert_eq!(read_header(b""), Header::Unborn);
        assert_eq!(read_header(b"#!/bin/sh\n"), Header::Foreign);
        let mut small = [0u8; 24];
        small[16..].copy_from_slice(&42u64.to_le_bytes());
        assert_eq!(read_header(&small), Header::Foreign);
    }
}

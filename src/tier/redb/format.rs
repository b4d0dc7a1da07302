//! The bytes of an entry in the table; redb has checksums of its own.
//!
//! ```text
//!    0  1  1: an entry; 2: an entry with an expiry
//!    1  8  fence of the version
//!    9  8  number of the version
//!   17  8  when it was written
//!   25  8  its expiry; 0 without
//!   33     the value
//! ```
//!
//! Numbers are little-endian, times in microseconds since 1970.

use bytes::Bytes;

use crate::tier::{Entry, Version};

const ENTRY: u8 = 1;
const EXPIRING: u8 = 2;
const HEAD: usize = 33;

pub(super) fn bytes(entry: &Entry) -> Vec<u8> {
    let kind = match entry.expiry {
        Some(_) => EXPIRING,
        None => ENTRY,
    };
    let numbers = [
        entry.version.fence,
        entry.version.number,
        entry.created,
        entry.expiry.unwrap_or_default(),
    ];
    let mut bytes = Vec::with_capacity(HEAD + entry.value.len());
    bytes.push(kind);
    bytes.extend(numbers.into_iter().flat_map(u64::to_le_bytes));
    bytes.extend_from_slice(&entry.value);
    bytes
}

/// None where it is no entry.
pub(super) fn read(bytes: &[u8]) -> Option<Entry> {
    let (mut entry, _) = read_head(bytes)?;
    entry.value = Bytes::copy_from_slice(bytes.get(HEAD..)?);
    Some(entry)
}

/// All but its value, and how long that is.
pub(super) fn read_head(bytes: &[u8]) -> Option<(Entry, u64)> {
    let (kind, rest) = bytes.split_first()?;
    let (numbers, value) = rest.split_at_checked(HEAD - 1)?;
    let mut numbers = numbers
        .chunks_exact(8)
        .filter_map(|bytes| bytes.try_into().ok().map(u64::from_le_bytes));
    let (fence, number) = (numbers.next()?, numbers.next()?);
    let (created, expiry) = (numbers.next()?, numbers.next()?);
    let entry = Entry::new(Bytes::new());
    let entry = entry.version(Version { fence, number }).created(created);
    let entry = match *kind {
        ENTRY if expiry == 0 => entry,
        EXPIRING => entry.expires(expiry),
        _ => return None,
    };
    Some((entry, value.len() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back_and_nothing_else_does() {
        let version = Version {
            fence: 1,
            number: 2,
        };
        let plain = Entry::new("value").version(version).created(3);
        for entry in [plain.clone(), plain.expires(0), Entry::new("")] {
            let whole = bytes(&entry);
            assert_eq!(read(&whole), Some(entry));
            for len in 0..HEAD {
                assert_eq!(read(&whole[..len]), None);
            }
            let mut other = whole;
            other[0] = 7;
            assert_eq!(read(&other), None);
        }
    }
}

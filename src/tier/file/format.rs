//! The bytes of a file: the only copy of their layout. Pure.
//!
//! ```text
//!    0  4  "DBtf"
//!    4  1  version of the format (1)
//!    5  1  1: an entry; 2: an entry with an expiry; 3: a removal
//!    6  2  bytes of the key
//!    8  8  bytes of the value
//!   16  8  fence of the version
//!   24  8  number of the version
//!   32  8  when it was written, in microseconds since 1970
//!   40  8  from when on it is absent, likewise; 0 without an expiry
//!   48     the key
//!          the value
//!       4  CRC-32 of all before
//! ```
//!
//! Numbers are little-endian. The file ends there.

use crate::tier::{Entry, Version};

pub(super) const HEAD: usize = 48;
const MAGIC: [u8; 4] = *b"DBtf";
const FORMAT: u8 = 1;
const ENTRY: u8 = 1;
const EXPIRING: u8 = 2;
const REMOVAL: u8 = 3;
/// Of the CRC.
const FOOT: u64 = 4;

/// What stands before key and value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) removal: bool,
    pub(super) key: u16,
    pub(super) value: u64,
    pub(super) version: Version,
    pub(super) created: u64,
    pub(super) expiry: Option<u64>,
}

impl Head {
    pub(super) fn entry(key: &str, entry: &Entry) -> Head {
        Head {
            removal: false,
            key: key.len() as u16,
            value: entry.value.len() as u64,
            version: entry.version,
            created: entry.created,
            expiry: entry.expiry,
        }
    }

    pub(super) fn removal(key: &str, version: Version, now: u64) -> Head {
        Head {
            removal: true,
            key: key.len() as u16,
            value: 0,
            version,
            created: now,
            expiry: None,
        }
    }

    pub(super) fn bytes(&self) -> [u8; HEAD] {
        let kind = match (self.removal, self.expiry) {
            (true, _) => REMOVAL,
            (false, None) => ENTRY,
            (false, Some(_)) => EXPIRING,
        };
        let key = self.key.to_le_bytes();
        let numbers = [
            self.value,
            self.version.fence,
            self.version.number,
            self.created,
            self.expiry.unwrap_or_default(),
        ];
        let mut bytes = [0; HEAD];
        let front = MAGIC.into_iter().chain([FORMAT, kind]).chain(key);
        let all = front.chain(numbers.into_iter().flat_map(u64::to_le_bytes));
        for (place, byte) in bytes.iter_mut().zip(all) {
            *place = byte;
        }
        bytes
    }

    /// What these bytes say at the front of a file of that length.
    pub(super) fn read(bytes: &[u8; HEAD], len: u64) -> Result<Head, &'static str> {
        let whole = "its head is not whole";
        let (front, rest) = bytes.split_first_chunk::<8>().ok_or(whole)?;
        let [m0, m1, m2, m3, format, kind, k0, k1] = *front;
        if [m0, m1, m2, m3] != MAGIC {
            return Err("it is no file of a tier");
        }
        if format != FORMAT {
            return Err("its format is not known");
        }
        let mut numbers = [0; 5];
        for (number, bytes) in numbers.iter_mut().zip(rest.chunks_exact(8)) {
            *number = u64::from_le_bytes(bytes.try_into().map_err(|_| whole)?);
        }
        let [value, fence, number, created, expiry] = numbers;
        let head = Head {
            removal: kind == REMOVAL,
            key: u16::from_le_bytes([k0, k1]),
            value,
            version: Version { fence, number },
            created,
            expiry: (kind == EXPIRING).then_some(expiry),
        };
        match kind {
            ENTRY | REMOVAL if expiry == 0 => {}
            EXPIRING => {}
            _ => return Err("it is of a kind that is not known"),
        }
        match head.len() {
            Some(expected) if expected == len => Ok(head),
            _ => Err("it has not the length that it says"),
        }
    }

    /// Bytes of the whole file.
    fn len(&self) -> Option<u64> {
        let front = HEAD as u64 + u64::from(self.key) + FOOT;
        self.value.checked_add(front)
    }

    /// Bytes behind the head.
    pub(super) fn rest(&self) -> u64 {
        let len = self.len().unwrap_or(u64::MAX);
        len.saturating_sub(HEAD as u64)
    }

    /// From when on the file is of no use to anyone, if what is over is remembered for so long.
    pub(super) fn over(&self, remembered: u64) -> Option<u64> {
        match self.removal {
            true => Some(self.created.saturating_add(remembered)),
            false => Some(self.expiry?.saturating_add(remembered)),
        }
    }
}

/// The CRC at the end of a file.
pub(super) fn crc(head: &[u8; HEAD], key: &[u8], value: &[u8]) -> [u8; 4] {
    let mut crc = crc32fast::Hasher::new();
    crc.update(head);
    crc.update(key);
    crc.update(value);
    crc.finalize().to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_come_back() {
        let version = Version {
            fence: 1,
            number: u64::MAX,
        };
        let entry = Entry::new("value").version(version).created(7);
        for head in [
            Head::entry("key", &entry),
            Head::entry("", &entry.clone().expires(0)),
            Head::entry("key", &entry.expires(u64::MAX)),
            Head::removal("key", version, 9),
        ] {
            let len = HEAD as u64 + head.rest();
            assert_eq!(Head::read(&head.bytes(), len), Ok(head));
            assert!(Head::read(&head.bytes(), len - 1).is_err());
        }
    }

    #[test]
    fn no_length_overflows() {
        let mut head = Head::removal("key", Version::NONE, 9);
        head.value = u64::MAX - 10;
        assert!(Head::read(&head.bytes(), u64::MAX).is_err());
        assert!(Head::read(&head.bytes(), 44).is_err());
    }
}

//! The bytes of a record: the only copy of their layout. Pure.
//!
//! ```text
//!    0  4  "DBls"
//!    4  1  version of the format (1)
//!    5  3  0
//!    8  8  fence
//!   16  8  holder: its process
//!   24  8  holder: a random number
//!   32  8  when it was taken or renewed, in microseconds since 1970
//!   40  8  for how many microseconds
//!   48  8  how often it was renewed
//!   56  4  0
//!   60  4  CRC-32 of all before
//! ```
//!
//! Numbers are little-endian. It stands three times in a file, each in a block of its own:
//!
//! ```text
//!      0  as it was taken
//!   4096  as it was taken, once more; each is synced before the other is written
//!   8192  as it was last renewed; of use only to the holder of the others, and not synced
//! ```
//!
//! So a crash or a power cut at any byte leaves the old fence or the new one, damage to one block does nothing,
//! and what is lost with the third is a longer time.

pub(super) const BYTES: usize = 64;
pub(super) const FIRST: u64 = 0;
pub(super) const SECOND: u64 = 4096;
pub(super) const RENEWED: u64 = 8192;
/// Nothing behind is of use.
pub(super) const END: u64 = RENEWED + BYTES as u64;

const MAGIC: [u8; 4] = *b"DBls";
const FORMAT: u8 = 1;

/// Who held a key, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) fence: u64,
    pub(super) process: u64,
    pub(super) random: u64,
    pub(super) from: u64,
    pub(super) time: u64,
    pub(super) renewals: u64,
}

/// A record of a format that is not known here, though it is whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unknown;

impl Record {
    pub(super) fn bytes(&self) -> [u8; BYTES] {
        let numbers = [
            self.fence,
            self.process,
            self.random,
            self.from,
            self.time,
            self.renewals,
        ];
        let front = MAGIC.into_iter().chain([FORMAT, 0, 0, 0]);
        let body = front.chain(numbers.into_iter().flat_map(u64::to_le_bytes));
        let mut bytes = [0; BYTES];
        for (place, byte) in bytes.iter_mut().zip(body) {
            *place = byte;
        }
        if let Some((body, foot)) = bytes.split_last_chunk_mut::<4>() {
            *foot = crc32fast::hash(body).to_le_bytes();
        }
        bytes
    }

    /// None where no record is whole there.
    pub(super) fn read(file: &[u8], at: u64) -> Result<Option<Record>, Unknown> {
        let whole = || {
            let rest = file.get(usize::try_from(at).ok()?..)?;
            let (body, foot) = rest.first_chunk::<BYTES>()?.split_last_chunk::<4>()?;
            let (front, rest) = body.split_first_chunk::<8>()?;
            let [m0, m1, m2, m3, format, ..] = *front;
            let fine =
                [m0, m1, m2, m3] == MAGIC && crc32fast::hash(body) == u32::from_le_bytes(*foot);
            let mut numbers = [0; 6];
            for (number, bytes) in numbers.iter_mut().zip(rest.chunks_exact(8)) {
                *number = u64::from_le_bytes(bytes.try_into().ok()?);
            }
            fine.then_some((format, numbers))
        };
        let Some((format, numbers)) = whole() else {
            return Ok(None);
        };
        if format != FORMAT {
            return Err(Unknown);
        }
        let [fence, process, random, from, time, renewals] = numbers;
        Ok(Some(Record {
            fence,
            process,
            random,
            from,
            time,
            renewals,
        }))
    }

    /// Whether that is the same holder, at whatever time.
    pub(super) fn is_of(&self, other: &Record) -> bool {
        (self.fence, self.random) == (other.fence, other.random)
    }

    /// When it is over, by the wall clock.
    pub(super) fn until(&self) -> u64 {
        self.from.saturating_add(self.time)
    }
}

/// What a file says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Who took it last.
    pub(super) taken: Option<Record>,
    /// The same, with the time of the last renewal.
    pub(super) current: Option<Record>,
    /// The only place of what was taken last is [`FIRST`]: it is written last.
    only_first: bool,
}

impl Found {
    pub(super) fn read(file: &[u8]) -> Result<Found, Unknown> {
        let first = Record::read(file, FIRST)?;
        let second = Record::read(file, SECOND)?;
        let fence = |record: Option<Record>| record.map(|record| record.fence);
        let taken = match fence(second) > fence(first) {
            true => second,
            false => first,
        };
        let renewed = Record::read(file, RENEWED)?;
        let renewed = renewed.filter(|renewed| taken.is_some_and(|taken| renewed.is_of(&taken)));
        Ok(Found {
            taken,
            current: renewed.or(taken),
            only_first: fence(first) > fence(second),
        })
    }

    /// Where the next one is written first and second: never first over the only one there is.
    pub(super) fn order(&self) -> [u64; 2] {
        match self.only_first {
            true => [SECOND, FIRST],
            false => [FIRST, SECOND],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(fence: u64) -> Record {
        Record {
            fence,
            process: 7,
            random: fence ^ 99,
            from: u64::MAX - 5,
            time: 3,
            renewals: 0,
        }
    }

    fn file(first: &[u8], second: &[u8], renewed: &[u8]) -> Vec<u8> {
        let mut file = vec![0; END as usize];
        for (at, bytes) in [(FIRST, first), (SECOND, second), (RENEWED, renewed)] {
            file[at as usize..][..bytes.len()].copy_from_slice(bytes);
        }
        file
    }

    #[test]
    fn a_write_torn_anywhere_leaves_the_old_or_the_new_fence() {
        for (old_at_first, old_at_second) in [(5, 5), (4, 5), (5, 4)] {
            let (old_first, old_second) =
                (record(old_at_first).bytes(), record(old_at_second).bytes());
            let mut now = file(&old_first, &old_second, &[]);
            let new = record(9).bytes();
            let order = Found::read(&now).unwrap().order();
            for (step, at) in order.into_iter().enumerate() {
                for torn in 0..=BYTES {
                    let at = at as usize;
                    now[at..][..torn].copy_from_slice(&new[..torn]);
                    let fence = Found::read(&now).unwrap().taken.unwrap().fence;
                    let whole = step == 1 || torn == BYTES;
                    // Its last byte may be the one that was there.
                    assert!(fence == if whole { 9 } else { 5 } || torn > 55 && fence == 9);
                }
            }
        }
    }

    #[test]
    fn a_renewal_counts_for_its_holder_alone() {
        let taken = record(5);
        let renewed = Record {
            time: 30,
            renewals: 1,
            ..taken
        };
        let both = file(&taken.bytes(), &taken.bytes(), &renewed.bytes());
        let found = Found::read(&both).unwrap();
        assert_eq!((found.taken, found.current), (Some(taken), Some(renewed)));
        let next = record(6).bytes();
        let found = Found::read(&file(&next, &next, &renewed.bytes())).unwrap();
        assert_eq!(found.current, Some(record(6)));
        assert_eq!(
            Found::read(&file(&[], &[], &renewed.bytes())),
            Ok(Found::default())
        );
        for len in 0..both.len() {
            let found = Found::read(&both[..len]).unwrap();
            assert_eq!(found.taken.is_some(), len >= BYTES, "{len}");
        }
    }

    #[test]
    fn a_later_format_is_told_from_damage() {
        let mut bytes = record(5).bytes();
        bytes[4] = 2;
        assert_eq!(Record::read(&bytes, 0), Ok(None));
        let crc = crc32fast::hash(&bytes[..60]).to_le_bytes();
        bytes[60..].copy_from_slice(&crc);
        assert_eq!(Record::read(&bytes, 0), Err(Unknown));
    }
}

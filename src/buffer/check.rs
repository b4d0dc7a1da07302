//! Judges records, whole or by their ends. Pure, no I/O.

use byteorder::{ByteOrder, LittleEndian as LE};

use super::crc::{Crc, crc_step};
use super::format::{HEAD_LEN, OVERHEAD, Salt, TAIL_LEN, Word};
use super::report::Reason;

/// An intact record: everything but its link is proven.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    pub(crate) word: Word,
    pub(crate) payload: &'a [u8],
    pub(crate) crc: u32,
    /// The checksum of the record that it was written behind.
    pub(crate) before: u32,
}

impl Record<'_> {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.payload.len() + OVERHEAD
    }
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The bytes end before the record does: it is this long, if it is one.
    Short(usize),
    Bad(Reason),
}

/// Judges records; made once for many.
pub(crate) struct Judge {
    salt: Salt,
    crc: Crc,
}

impl Judge {
    pub(crate) fn salt(&self) -> Salt {
        self.salt
    }

    #[inline]
    pub(crate) fn new(salt: Salt) -> Judge {
        Judge {
            salt,
            crc: Crc::new(),
        }
    }

    /// Judges the record that begins at `bytes[0]`, which stands at `offset` of the store.
    #[inline(always)]
    pub(crate) fn check<'a>(&self, offset: u64, bytes: &'a [u8]) -> Result<Record<'a>, Fault> {
        let Some(raw) = bytes.first_chunk() else {
            return Err(Fault::Short(OVERHEAD));
        };
        let word = Word::parse(u32::from_le_bytes(*raw)).ok_or(Fault::Bad(Reason::Kind))?;
        let Some((record, _)) = bytes.split_at_checked(word.record_len()) else {
            return Err(Fault::Short(word.record_len()));
        };
        let Some((head, rest)) = record.split_first_chunk::<HEAD_LEN>() else {
            return Err(Fault::Short(word.record_len()));
        };
        let Some((payload, end)) = rest.split_last_chunk::<TAIL_LEN>() else {
            return Err(Fault::Short(word.record_len()));
        };
        if LE::read_u32(&end[4..]) != word.tail() {
            return Err(Fault::Bad(Reason::Trailer));
        }
        let (link, crc) = (LE::read_u32(&head[4..]), LE::read_u32(&end[..4]));
        if crc_step(self.crc.of(payload) ^ self.salt.veil(offset, word), link) != crc {
            return Err(Fault::Bad(Reason::Checksum));
        }
        Ok(Record {
            word,
            payload,
            crc,
            before: word.link(link),
        })
    }
}

impl Judge {
    /// Judges the record that ends where `run` does, by its tail, which ends at `end` of the store; also
    /// where it begins in `run`.
    #[inline(always)]
    pub(crate) fn check_last<'a>(
        &self,
        end: u64,
        run: &'a [u8],
    ) -> Result<(Record<'a>, usize), Reason> {
        let Some((word, at)) = last_frame(run) else {
            return Err(Reason::Trailer);
        };
        let offset = end.wrapping_sub((run.len() - at) as u64);
        match self.check(offset, run.get(at..).unwrap_or_default()) {
            Ok(record) if record.word == word => Ok((record, at)),
            Err(Fault::Bad(reason)) => Err(reason),
            // The first word says another length than the last.
            Ok(_) | Err(Fault::Short(_)) => Err(Reason::Trailer),
        }
    }
}

/// Judges one record; see [`Judge::check`].
pub(crate) fn check(salt: Salt, offset: u64, bytes: &[u8]) -> Result<Record<'_>, Fault> {
    Judge::new(salt).check(offset, bytes)
}

/// The same judgement for a record too long to hold: fed piece by piece.
pub(crate) struct Checker {
    word: Word,
    veil: u32,
    hasher: crc32fast::Hasher,
    /// Bytes seen of what stands before the payload, and bytes of payload still to come.
    head: [u8; HEAD_LEN],
    seen: usize,
    payload: usize,
}

impl Checker {
    pub(crate) fn new(salt: Salt, offset: u64, word: Word) -> Checker {
        Checker {
            word,
            veil: salt.veil(offset, word),
            hasher: crc32fast::Hasher::new(),
            head: [0; HEAD_LEN],
            seen: 0,
            payload: word.payload_len(),
        }
    }

    /// Takes the record's bytes in order, from its first; those behind the payload are passed over.
    pub(crate) fn update(&mut self, piece: &[u8]) {
        let room = self.head.get_mut(self.seen..).unwrap_or_default();
        let front = room.len().min(piece.len());
        let (front, piece) = piece.split_at_checked(front).unwrap_or_default();
        room.iter_mut()
            .zip(front)
            .for_each(|(to, from)| *to = *from);
        self.seen += front.len();
        let payload = piece.get(..self.payload).unwrap_or(piece);
        self.hasher.update(payload);
        self.payload -= payload.len();
    }

    /// Checksum and checksum of the record before, if the record is intact; `end` is its last bytes.
    pub(crate) fn finish(self, end: &[u8; TAIL_LEN]) -> Result<(u32, u32), Reason> {
        let (link, crc) = (LE::read_u32(&self.head[4..]), LE::read_u32(&end[..4]));
        if LE::read_u32(&end[4..]) != self.word.tail() {
            Err(Reason::Trailer)
        } else if self.payload != 0 || crc_step(self.hasher.finalize() ^ self.veil, link) != crc {
            Err(Reason::Checksum)
        } else {
            Ok((crc, self.word.link(link)))
        }
    }
}

/// The last record of a run of bytes, by its tail alone: nothing is proven but its shape.
pub(crate) fn last_frame(run: &[u8]) -> Option<(Word, usize)> {
    let (_, tail) = run.split_last_chunk::<4>()?;
    let word = Word::from_tail(u32::from_le_bytes(*tail))?;
    Some((word, run.len().checked_sub(word.record_len())?))
}

/// Checksum of a record and of the one before it, from its ends alone, where they agree on `word`.
pub(crate) fn frame_of(
    word: Word,
    head: &[u8; HEAD_LEN],
    tail: &[u8; TAIL_LEN],
) -> Option<(u32, u32)> {
    let agree = head.starts_with(&word.bytes()) && LE::read_u32(&tail[4..]) == word.tail();
    agree.then(|| {
        (
            LE::read_u32(&tail[..4]),
            word.link(LE::read_u32(&head[4..])),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::format::{self, Edge, FIRST};

    #[test]
    fn sealed_runs_check_record_by_record() {
        let salt = Salt::new(7);
        let mut edge = Edge::empty(salt);
        let mut run = Vec::new();
        for len in [0usize, 1, 4, 5, 63, 64, 200] {
            let word = Word::document(len);
            run.extend(word.bytes());
            run.extend([0; 4]);
            run.extend(vec![len as u8; len]);
            run.extend([0; 4]);
            run.extend(word.tail().to_le_bytes());
        }
        let mut by_frame = edge;
        assert!(format::seal(salt, &mut edge, &mut run));
        let (mut at, mut tip) = (0usize, salt.first_link());
        while at < run.len() {
            let offset = FIRST + at as u64;
            let record = check(salt, offset, &run[at..]).expect("intact");
            assert_eq!(record.before, tip);
            format::frame(salt, &mut by_frame, record.payload);
            assert_eq!(by_frame.tip, record.crc);
            let mut checker = Checker::new(salt, offset, record.word);
            for piece in run[at..at + record.len()].chunks(3) {
                checker.update(piece);
            }
            let end = run[..at + record.len()].last_chunk().expect("eight bytes");
            assert_eq!(checker.finish(end), Ok((record.crc, record.before)));
            tip = record.crc;
            at += record.len();
        }
        assert_eq!((edge, edge.documents), (by_frame, 7));
        assert_eq!(
            last_frame(&run),
            Some((Word::document(200), run.len() - 216))
        );
    }
}

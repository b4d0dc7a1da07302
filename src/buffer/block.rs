//! A run of encoded records in memory. Pure, no I/O.
//!
//! A block holds whole records with word and tail in place; link and checksum are filled in when it is
//! written, so that a document popped before never pays for them. In front of its records it has room for
//! a mark, and behind them for an END: one write takes all.

use super::check;
use super::error::Result;
use super::format::{END_LEN, HEAD_LEN, Kind, MARK_LEN, TAIL_LEN, WORD_LEN, Word};
use super::io;

/// A run of records in memory.
#[derive(Debug)]
pub(crate) struct Block {
    /// Room for a mark, `capacity` bytes of records, room for an END; always its full length.
    pub(super) bytes: Vec<u8>,
    /// The records are `bytes[start..end]`; `start` is never under `MARK_LEN`.
    start: usize,
    pub(super) end: usize,
    pub(super) documents: usize,
    /// What this block counts against the limit.
    pub(super) capacity: usize,
    /// Whether its records stand in the store as well.
    pub(super) clean: bool,
}

impl Block {
    /// An empty block with room for `capacity` bytes of records, or more in recycled memory.
    pub(crate) fn new(capacity: usize, recycled: Option<Vec<u8>>) -> Result<Block> {
        let len = MARK_LEN + capacity + END_LEN;
        let bytes = match recycled {
            Some(bytes) if bytes.len() >= len => bytes,
            smaller => {
                drop(smaller);
                io::zeros(len)?
            }
        };
        Ok(Block {
            capacity: bytes.len() - MARK_LEN - END_LEN,
            bytes,
            start: MARK_LEN,
            end: MARK_LEN,
            documents: 0,
            clean: false,
        })
    }

    /// A clean block of `len` bytes of records, to be filled from the store through `records_mut`.
    pub(super) fn for_store(len: usize, recycled: Option<Vec<u8>>) -> Result<Block> {
        let mut block = Block::new(len, recycled)?;
        block.end += len;
        block.clean = true;
        Ok(block)
    }

    pub(crate) fn documents(&self) -> usize {
        self.documents
    }

    /// Bytes of records.
    pub(crate) fn len(&self) -> usize {
        self.end.saturating_sub(self.start)
    }

    pub(super) fn records(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    pub(super) fn records_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..self.end).unwrap_or_default()
    }

    /// Keeps the newest `len` bytes of records, which are `documents` documents.
    pub(super) fn keep_newest(&mut self, len: usize, documents: usize) {
        self.start = self.end.saturating_sub(len).max(self.start);
        self.documents = documents;
    }

    /// The oldest `len` bytes of records, with `mark` before them and `end` behind them in one slice.
    /// An END goes only behind all of them.
    pub(super) fn framed(
        &mut self,
        mark: Option<&[u8; MARK_LEN]>,
        len: usize,
        end: Option<&[u8; END_LEN]>,
    ) -> &[u8] {
        let mut from = self.start;
        let mut until = self.start.saturating_add(len);
        if let Some(mark) = mark {
            from = from.saturating_sub(MARK_LEN);
            if let Some(place) = self.bytes.get_mut(from..self.start) {
                place.copy_from_slice(mark);
            }
        }
        if let Some(end) = end {
            debug_assert_eq!(until, self.end);
            until = until.saturating_add(END_LEN);
            if let Some(place) = self.bytes.get_mut(self.end..until) {
                place.copy_from_slice(end);
            }
        }
        self.bytes.get(from..until).unwrap_or_default()
    }

    /// Length in bytes of the oldest `documents` records.
    pub(super) fn prefix_len(&self, documents: usize) -> usize {
        if documents == self.documents {
            return self.len();
        }
        let mut rest = self.records();
        for _ in 0..documents {
            let word = rest
                .first_chunk()
                .and_then(|w| Word::parse(u32::from_le_bytes(*w)));
            let len = word.map_or(rest.len(), Word::record_len);
            rest = rest.get(len..).unwrap_or_default();
        }
        self.len() - rest.len()
    }

    /// Forgets the oldest `len` bytes, which are `documents` documents.
    pub(super) fn drop_oldest(&mut self, len: usize, documents: usize) {
        self.start = self.start.saturating_add(len).min(self.end);
        self.documents = self.documents.saturating_sub(documents);
    }

    /// Adds a document, if there is room.
    #[inline]
    pub(crate) fn push(&mut self, document: &[u8]) -> bool {
        let pushed = self.put(Word::document(document.len()), document);
        self.documents += usize::from(pushed);
        pushed
    }

    /// Adds a record, if there is room.
    #[inline]
    #[allow(clippy::indexing_slicing)] // `bytes` is as long as `capacity` says, and not a store's.
    pub(super) fn put(&mut self, word: Word, payload: &[u8]) -> bool {
        let until = self.end + word.record_len();
        if self.clean || until > MARK_LEN + self.capacity {
            return false;
        }
        let place = &mut self.bytes[self.end..until];
        let (head, rest) = place.split_at_mut(HEAD_LEN);
        let (middle, tail) = rest.split_at_mut(payload.len());
        head[..4].copy_from_slice(&word.bytes());
        middle.copy_from_slice(payload);
        tail[TAIL_LEN - 4..].copy_from_slice(&word.tail().to_le_bytes());
        self.end = until;
        true
    }

    /// Keeps the oldest `len` bytes of records.
    pub(super) fn cut(&mut self, len: usize) {
        self.end = self.start.saturating_add(len).min(self.end);
    }

    /// The newest document: its payload, and where its record begins among the records.
    #[inline]
    pub(super) fn newest(&self) -> Option<(&[u8], usize)> {
        let records = self.records();
        let (word, at) = check::last_frame(records)?;
        debug_assert_eq!(word.kind(), Kind::Document);
        let payload = records
            .get(at..)?
            .get(HEAD_LEN..)?
            .get(..word.payload_len())?;
        Some((payload, at))
    }

    /// Drops the newest document of a clean block and the marks right below it: how many bytes that were,
    /// and the checksum of the record before those.
    #[inline]
    pub(super) fn drop_stored(&mut self) -> Option<(usize, u32)> {
        let records = self.records();
        let mut rest = records;
        loop {
            let (word, at) = check::last_frame(rest)?;
            let link = rest.get(at..)?.get(WORD_LEN..)?.first_chunk()?;
            let before = word.link(u32::from_le_bytes(*link));
            rest = rest.get(..at)?;
            let mark = |(word, _): (Word, usize)| word.kind() == Kind::Mark;
            if !check::last_frame(rest).is_some_and(mark) {
                let len = records.len() - rest.len();
                self.end -= len;
                return Some((len, before));
            }
        }
    }
}

//! Looks for intact records byte by byte: behind a bad record, and in a damaged log.

use std::io::{Read, Seek};

use super::check::{self, Fault};
use super::error::Result;
use super::format::{Kind, OVERHEAD, Salt, Word};
use super::forward::{WINDOW, prove};
use super::io;
use super::report::Reason;

/// How far behind a bad record opening looks for intact ones.
const SUSPECT_REACH: u64 = 1 << 20;
/// Bytes that may be checksummed in vain, for each byte searched: a store made to look like one record at
/// every byte must not cost the square of its length.
const PATIENCE: u64 = 64;

/// An intact record; whether the record before it is the one it was written behind is not known.
#[derive(Clone, Copy)]
pub(crate) struct Found {
    pub(crate) offset: u64,
    pub(crate) word: Word,
    pub(crate) crc: u32,
    pub(crate) before: u32,
}

impl Found {
    /// First byte behind the record.
    pub(crate) fn end(&self) -> u64 {
        self.offset.saturating_add(self.word.record_len() as u64)
    }
}

pub(crate) struct Search {
    salt: Salt,
    store_len: u64,
    window: Vec<u8>,
    /// The store's bytes from `window_at` on are `window[..have]`.
    window_at: u64,
    have: usize,
    budget: u64,
}

impl Search {
    /// A search that may cover `reach` bytes.
    pub(crate) fn new(salt: Salt, store_len: u64, reach: u64) -> Result<Search> {
        Ok(Search {
            salt,
            store_len,
            window: io::zeros(WINDOW.min(usize::try_from(store_len).unwrap_or(WINDOW)))?,
            window_at: 0,
            have: 0,
            budget: PATIENCE
                .saturating_mul(reach.min(store_len))
                .max(WINDOW as u64),
        })
    }

    /// The first intact record that begins at `from` or behind it, and before `until`.
    pub(crate) fn next<S: Read + Seek>(
        &mut self,
        store: &mut S,
        from: u64,
        until: u64,
    ) -> Result<Option<Found>> {
        let until = until.min(self.store_len.saturating_sub(OVERHEAD as u64 - 1));
        let mut offset = from;
        while offset < until && self.budget > 0 {
            self.hold(store, offset)?;
            match self.judge(store, offset)? {
                Ok(found) => return Ok(Some(found)),
                Err(wasted) => self.budget = self.budget.saturating_sub(wasted),
            }
            offset = offset.saturating_add(1);
        }
        Ok(None)
    }

    /// Has at least the 16 bytes at `offset` in the window.
    #[inline]
    fn hold<S: Read + Seek>(&mut self, store: &mut S, offset: u64) -> Result<()> {
        let end = self.window_at.saturating_add(self.have as u64);
        if offset >= self.window_at && offset.saturating_add(OVERHEAD as u64) <= end {
            return Ok(());
        }
        self.have = 0;
        self.window_at = offset;
        let left = usize::try_from(self.store_len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let have = self.window.len().min(left);
        let window = self.window.get_mut(..have).unwrap_or_default();
        io::read_exact(store, offset, window)?;
        self.have = have;
        Ok(())
    }

    /// The record at `offset`, or how many bytes were checksummed in vain.
    #[inline]
    fn judge<S: Read + Seek>(
        &mut self,
        store: &mut S,
        offset: u64,
    ) -> Result<std::result::Result<Found, u64>> {
        let start = usize::try_from(offset.saturating_sub(self.window_at)).unwrap_or(usize::MAX);
        let rest = (self.window.get(start..self.have)).unwrap_or_default();
        let (word, crc, before) = match check::check(self.salt, offset, rest) {
            Ok(record) => (record.word, record.crc, record.before),
            Err(Fault::Bad(Reason::Checksum)) => {
                let word = rest
                    .first_chunk()
                    .and_then(|w| Word::parse(u32::from_le_bytes(*w)));
                return Ok(Err(word.map_or(0, |word| word.record_len() as u64)));
            }
            Err(Fault::Bad(_)) => return Ok(Err(0)),
            Err(Fault::Short(need)) => {
                let end = offset.saturating_add(need as u64);
                let word = rest
                    .first_chunk()
                    .and_then(|w| Word::parse(u32::from_le_bytes(*w)));
                let Some(word) = word.filter(|_| end <= self.store_len) else {
                    return Ok(Err(0));
                };
                let mut buf = io::zeros(need.min(WINDOW / 8))?;
                match prove(store, self.salt, offset, word, &mut buf)? {
                    Ok((crc, before)) => (word, crc, before),
                    Err(Reason::Trailer) => return Ok(Err(0)),
                    Err(_) => return Ok(Err(need as u64)),
                }
            }
        };
        Ok(Ok(Found {
            offset,
            word,
            crc,
            before,
        }))
    }
}

/// Intact documents at `offset` or behind it, as far as opening looks.
pub(crate) fn documents_behind<S: Read + Seek>(
    store: &mut S,
    salt: Salt,
    offset: u64,
    store_len: u64,
) -> Result<u64> {
    let mut search = Search::new(salt, store_len, SUSPECT_REACH)?;
    let mut count = 0;
    let mut from = offset;
    let mut until = offset.saturating_add(SUSPECT_REACH);
    // A bad record that still has its frame may be longer than the reach: look behind it as well.
    search.hold(store, offset)?;
    let word = (search.window.first_chunk()).and_then(|w| Word::parse(u32::from_le_bytes(*w)));
    let behind = word.map(|word| offset.saturating_add(word.record_len() as u64));
    loop {
        while let Some(found) = search.next(store, from, until)? {
            count += u64::from(found.word.kind() == Kind::Document);
            from = found.end();
        }
        match behind {
            Some(behind) if behind > until && count == 0 => {
                from = behind;
                until = behind.saturating_add(SUSPECT_REACH);
            }
            _ => return Ok(count),
        }
    }
}

//! The journal under what is owed: it shrinks again, and it can be taken away.

use super::error::{Error, Result};
use super::record::BEGIN;
use crate::durability::Durability;
use crate::journal::{self, Journal, Reader, Replay};

/// A journal that is begun anew, with nothing in it but what is owed, once it has grown far beyond that. Without
/// one every call succeeds, and keeps nothing.
pub(super) struct Log {
    journal: Option<Journal>,
    /// It was closed: nothing is written any more.
    ended: bool,
    /// Bytes that it was begun with, and that came since.
    base: u64,
    grown: u64,
    /// It is not begun anew before it has grown by so many bytes.
    least: u64,
}

fn bytes(documents: &[Vec<u8>]) -> u64 {
    let bytes: usize = documents.iter().map(|document| document.len() + 16).sum();
    bytes as u64
}

impl Log {
    /// Over a journal; what is in it counts as grown.
    pub(super) fn new(journal: Option<Journal>, least: u64) -> Log {
        Log {
            ended: false,
            base: 0,
            grown: journal.as_ref().map_or(0, |open| open.stats().bytes),
            least,
            journal,
        }
    }

    pub(super) fn is_journaled(&self) -> bool {
        self.journal.is_some()
    }

    /// Appends documents as one. Durable on return: as `durability` says.
    pub(super) fn append(&mut self, documents: &[Vec<u8>], durability: Durability) -> Result<()> {
        if self.ended {
            return Err(Error::Closed);
        }
        let Some(journal) = &self.journal else {
            return Ok(());
        };
        match documents {
            [one] => {
                journal.append_with(one, durability)?;
            }
            all => {
                journal.append_all_with(all, durability)?;
            }
        }
        self.grown = self.grown.saturating_add(bytes(documents));
        Ok(())
    }

    /// Begins anew where it has grown to the fourfold; `base` says all that is owed. Where that fails it goes on
    /// growing, and to double its size before the next attempt.
    pub(super) fn compact(&mut self, base: impl FnOnce() -> Vec<Vec<u8>>) -> Result<()> {
        let limit = self.base.saturating_mul(4).max(self.least);
        if self.journal.is_none() || self.grown < limit {
            return Ok(());
        }
        let begun = self.begin(&base());
        if begun.is_err() {
            // Where only the discarding failed it has not grown since.
            self.least = self.least.max(self.grown.saturating_mul(2));
        }
        begun
    }

    /// One atomic batch with all that is owed, in a segment of its own; then what is before goes. Durable on
    /// return: against power loss.
    pub(super) fn begin(&mut self, base: &[Vec<u8>]) -> Result<()> {
        let Some(journal) = &self.journal else {
            return Ok(());
        };
        if journal.end() > 0 {
            journal.rotate()?;
        }
        let begin = journal.append_all_with(base, Durability::Synced)?.start;
        (self.base, self.grown) = (bytes(base), 0);
        journal.discard_before(begin)?;
        Ok(())
    }

    /// Takes the journal away: nothing is written any more.
    pub(super) fn end(&mut self) -> Option<Journal> {
        self.ended = true;
        self.journal.take()
    }
}

/// Hands over what a journal says, and whether that is void: left before a beginning anew, when discarding it was
/// not brought to an end. Answers whether it has begun.
pub(super) fn replay(
    mut documents: Replay,
    mut each: impl FnMut(&[u8], bool) -> Result<(), &'static str>,
) -> Result<bool> {
    let first = documents.position();
    let mut begun = false;
    while let Some(document) = documents.next()? {
        let position = document.position;
        begun |= document.bytes.first() == Some(&BEGIN);
        let void = !begun && first > 0;
        each(document.bytes, void).map_err(|reason| Error::Damaged { position, reason })?;
    }
    if !begun && documents.position() > 0 {
        return Err(Error::Damaged {
            position: first,
            reason: "no writer begins in it",
        });
    }
    Ok(begun)
}

/// All documents of a journal that another may be writing, if they are written in that codec.
pub(super) fn look(reader: &Reader, codec: &str) -> Result<Replay> {
    let found = reader.codec()?;
    if found != codec {
        let wanted = codec.to_owned();
        return Err(journal::Error::Codec { found, wanted }.into());
    }
    loop {
        let first = reader.range()?.start;
        match reader.replay(first) {
            // It was begun anew in between, and what comes is a shorter one.
            Err(journal::Error::Discarded { .. }) => {}
            replay => return Ok(replay?),
        }
    }
}

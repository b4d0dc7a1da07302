//! The documents that gather for the committer. Pure, no I/O.
//!
//! ```text
//!   backlog | acknowledged (Memory) | waited for |
//! ```
//!
//! A document that was acknowledged at [`Durability::Memory`] keeps its position whatever happens: if its
//! write fails it stays, and is written later. So it is never acknowledged behind one that is still waited
//! for, since those are taken back when their write fails.

use std::sync::{Arc, OnceLock};

use super::error::{Error, Result};
use super::options::Durability;
use crate::buffer::block::Block;
use crate::buffer::format::OVERHEAD;
use crate::buffer::segment::BATCH_LEN;

/// What one call appends.
#[derive(Clone, Copy)]
pub(super) struct Documents<'a> {
    all: &'a [&'a [u8]],
    /// Bytes of their payloads.
    payload: u64,
}

impl<'a> Documents<'a> {
    /// Refuses what is too large.
    pub(super) fn new(all: &'a [&'a [u8]], max_document: usize) -> Result<Documents<'a>> {
        let mut payload = 0u64;
        for document in all {
            if document.len() > max_document {
                return Err(Error::TooLarge {
                    len: document.len() as u64,
                    max: max_document as u64,
                });
            }
            payload = payload.saturating_add(document.len() as u64);
        }
        if all.len() > u32::MAX as usize {
            return Err(Error::TooLarge {
                len: payload,
                max: u64::from(u32::MAX),
            });
        }
        Ok(Documents { all, payload })
    }

    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    /// Bytes of their records.
    pub(super) fn len(&self) -> usize {
        let batch = if self.all.len() > 1 { BATCH_LEN } else { 0 };
        let records = self
            .all
            .len()
            .saturating_mul(OVERHEAD)
            .saturating_add(batch);
        usize::try_from(self.payload)
            .unwrap_or(usize::MAX)
            .saturating_add(records)
    }

    fn put(&self, block: &mut Block) {
        if self.all.len() > 1 {
            block.push_batch(self.all.len() as u32, self.payload);
        }
        for document in self.all {
            block.push(document);
        }
    }
}

/// Why a group failed; set at most once, and known to all who wait for it.
pub(super) type Verdict = Arc<OnceLock<Error>>;

/// Documents that are written together.
pub(super) struct Group {
    pub(super) id: u64,
    pub(super) failed: Verdict,
    /// Position of the first.
    pub(super) first: u64,
    pub(super) block: Block,
    /// Documents acknowledged already: so many, in so many bytes, the oldest of the group.
    acknowledged: usize,
    acknowledged_len: usize,
    /// Callers that wait for its outcome; some may have no document in it.
    pub(super) waiters: usize,
    /// Those of them that only the committer's thread can serve.
    pub(super) wakers: usize,
    /// What they wait for, at the most.
    pub(super) wants: Durability,
}

impl Group {
    pub(super) fn new(id: u64, first: u64, block: Block) -> Group {
        Group {
            id,
            failed: Verdict::default(),
            first,
            block,
            acknowledged: 0,
            acknowledged_len: 0,
            waiters: 0,
            wakers: 0,
            wants: Durability::Memory,
        }
    }

    /// Position behind its last document.
    pub(super) fn end(&self) -> u64 {
        self.first.saturating_add(self.block.documents() as u64)
    }

    /// Whether there is nothing to do.
    pub(super) fn is_idle(&self) -> bool {
        self.block.documents() == 0 && self.waiters == 0
    }

    /// Whether documents are in it that are not acknowledged yet.
    pub(super) fn is_waited_for(&self) -> bool {
        self.block.documents() > self.acknowledged
    }

    /// Takes documents, if they are `most` bytes at the most with what is there. An empty group takes any.
    pub(super) fn take(&mut self, documents: &Documents<'_>, most: usize) -> Result<bool> {
        let have = self.block.len();
        let needed = have.saturating_add(documents.len());
        if have > 0 && needed > most {
            return Ok(false);
        }
        if self.block.room() < documents.len() {
            let doubled = have.saturating_mul(2).min(most);
            (self.block.grow(needed.max(doubled))).map_err(|_| no_memory(needed))?;
        }
        documents.put(&mut self.block);
        Ok(true)
    }

    /// All in it are acknowledged.
    pub(super) fn acknowledge(&mut self) {
        self.acknowledged = self.block.documents();
        self.acknowledged_len = self.block.len();
    }

    pub(super) fn acknowledged(&self) -> usize {
        self.acknowledged
    }

    /// Takes back what is not acknowledged.
    pub(super) fn withdraw(&mut self) {
        (self.block).keep_oldest(self.acknowledged_len, self.acknowledged);
        self.waiters = 0;
        self.wakers = 0;
    }

    /// Begins as another group, empty.
    pub(super) fn renew(&mut self, first: u64) {
        self.id = self.id.saturating_add(1);
        self.failed = Verdict::default();
        self.first = first;
        self.wants = Durability::Memory;
    }
}

pub(super) fn new_block(capacity: usize) -> Result<Block> {
    Block::new(capacity, None).map_err(|_| no_memory(capacity))
}

fn no_memory(len: usize) -> Error {
    let len = len as u64;
    Error::TooLarge { len, max: len / 2 }
}

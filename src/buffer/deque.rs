//! The memory side: the newest documents as encoded records, in a few contiguous blocks. Pure, no I/O.
//!
//! ```text
//!            older                                   newer
//!   store .. | clean block | dirty block | dirty block |
//!            ^ copies of records that   ^ not in the store yet
//!              still stand in the store
//! ```
//!
//! Clean blocks stand before dirty ones.
//!
//! Blocks move as wholes, about half the limit each and at most 1 MiB. That is the hysteresis: after a
//! block was demoted, or promoted, a block's worth of pushes or pops passes before the store is touched
//! again (as in STXXL's normal stack, by Dementiev, Kettner and Sanders).

use std::collections::VecDeque;

use super::block::Block;
use super::error::Result;
use super::format::OVERHEAD;

/// Largest block; larger writes were not faster (`benches/README.md`).
const MAX_BLOCK: usize = 1 << 20;

/// What taking the newest document out of memory did.
pub(super) struct Taken {
    /// Bytes of payload.
    pub(super) payload: usize,
    /// For a copy of what stands in the store: bytes of its record and of marks below it, which the log
    /// ends before now, and the checksum of the record before those.
    pub(super) stored: Option<(usize, u32)>,
}

/// What came of a document's way into memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// It is in memory now.
    Taken,
    /// There will be, after the oldest block has gone.
    Demote,
    /// It is larger than the limit: it goes to the store from the caller's slice.
    Never,
}

#[derive(Debug)]
pub(super) struct Deque {
    blocks: VecDeque<Block>,
    /// An empty block's memory, kept for the next.
    spare: Option<Vec<u8>>,
    limit: usize,
    max_documents: usize,
    documents: usize,
    /// Those of them that are copies of what stands in the store.
    clean_documents: usize,
    /// Sum of the blocks' capacities.
    capacity: usize,
}

impl Deque {
    pub(super) fn new(limit: usize, max_documents: usize) -> Deque {
        Deque {
            blocks: VecDeque::new(),
            spare: None,
            limit,
            max_documents,
            documents: 0,
            clean_documents: 0,
            capacity: 0,
        }
    }

    pub(super) fn documents(&self) -> usize {
        self.documents
    }

    pub(super) fn is_empty(&self) -> bool {
        self.documents == 0
    }

    /// Documents that are nowhere else.
    #[inline]
    pub(super) fn dirty_documents(&self) -> u64 {
        (self.documents - self.clean_documents) as u64
    }

    /// Bytes of their payloads.
    pub(super) fn dirty_bytes(&self) -> u64 {
        let dirty = self.blocks.iter().filter(|block| !block.clean);
        dirty
            .map(|block| (block.len() - block.documents * OVERHEAD) as u64)
            .sum()
    }

    /// Bytes of encoded documents in memory.
    pub(super) fn len(&self) -> usize {
        self.blocks.iter().map(Block::len).sum()
    }

    /// Bytes moved to or from the store at once.
    pub(super) fn block_len(&self) -> usize {
        (self.limit / 2).min(MAX_BLOCK)
    }

    /// Documents moved at once where their number is what bounds memory.
    pub(super) fn block_documents(&self) -> usize {
        (self.max_documents / 2).max(1)
    }

    /// Whether a block of `len` bytes of records fits into an empty memory.
    pub(super) fn could_hold(&self, len: usize) -> bool {
        len <= self.limit && self.max_documents > 0
    }

    /// Takes a document if the newest block has room for it: what nearly every push comes to.
    #[inline]
    pub(super) fn push_fast(&mut self, document: &[u8]) -> bool {
        let pushed = self.documents < self.max_documents
            && self
                .blocks
                .back_mut()
                .is_some_and(|block| block.push(document));
        self.documents += usize::from(pushed);
        pushed
    }

    /// Takes a document, in a new block if need be, or says what has to be done before.
    pub(super) fn push(&mut self, document: &[u8]) -> Result<Room> {
        let len = document.len().saturating_add(OVERHEAD);
        if !self.could_hold(len) {
            return Ok(Room::Never);
        }
        if self.documents >= self.max_documents {
            return Ok(Room::Demote);
        }
        if !self.push_fast(document) {
            let capacity = len.max(self.block_len());
            if self.capacity.saturating_add(capacity) > self.limit {
                return Ok(Room::Demote);
            }
            let block = Block::new(capacity, self.spare.take())?;
            self.capacity += block.capacity;
            self.blocks.push_back(block);
            self.push_fast(document);
        }
        Ok(Room::Taken)
    }

    /// A block for records promoted from the store.
    pub(super) fn block_for_store(&mut self, len: usize) -> Result<Block> {
        Block::for_store(len, self.spare.take())
    }

    /// Makes `block` the only one; memory must be empty.
    pub(super) fn promote(&mut self, block: Block) {
        debug_assert!(self.is_empty() && block.clean);
        self.clear();
        self.documents = block.documents;
        self.clean_documents = block.documents;
        self.capacity = block.capacity;
        self.blocks.push_back(block);
    }

    /// The block at `index`, counted from the oldest.
    pub(super) fn block(&self, index: usize) -> Option<&Block> {
        self.blocks.get(index)
    }

    pub(super) fn block_count(&self) -> usize {
        self.blocks.len()
    }

    /// The copies of what stands in the store: at most one block, the oldest, and it ends where the log
    /// in the store does.
    pub(super) fn clean(&self) -> Option<&Block> {
        self.blocks.front().filter(|block| block.clean)
    }

    pub(super) fn oldest_mut(&mut self) -> Option<&mut Block> {
        self.blocks.front_mut()
    }

    /// Forgets the copies of what stands in the store.
    pub(super) fn drop_clean(&mut self) {
        if let Some(block) = self.clean() {
            self.documents -= block.documents;
            self.clean_documents = 0;
            self.drop_block(true);
        }
    }

    /// The oldest `documents` of the oldest block, `len` bytes, stand in the store now: forgets them.
    pub(super) fn demoted(&mut self, len: usize, documents: usize) {
        let Some(block) = self.blocks.front_mut() else {
            return;
        };
        debug_assert!(!block.clean);
        self.documents = self.documents.saturating_sub(documents);
        block.drop_oldest(len, documents);
        if block.documents == 0 {
            self.drop_block(true);
        }
    }

    /// Forgets everything, whether or not it stands in the store.
    pub(super) fn clear(&mut self) {
        while !self.blocks.is_empty() {
            self.drop_block(true);
        }
        (self.documents, self.clean_documents) = (0, 0);
    }

    fn drop_block(&mut self, oldest: bool) {
        let block = if oldest {
            self.blocks.pop_front()
        } else {
            self.blocks.pop_back()
        };
        if let Some(block) = block {
            self.capacity -= block.capacity;
            // Only memory of the usual size is worth keeping.
            if block.capacity <= self.block_len() {
                self.spare = Some(block.bytes);
            }
        }
    }

    /// The newest document in memory.
    pub(super) fn newest(&self) -> Option<&[u8]> {
        Some(self.blocks.back()?.newest()?.0)
    }

    /// Takes the newest document out of memory if `keep` returns Ok for it.
    #[inline]
    pub(super) fn pop<T, E>(
        &mut self,
        keep: impl FnOnce(&[u8]) -> Result<T, E>,
    ) -> Result<Option<(T, Taken)>, E> {
        let Some(block) = self.blocks.back_mut() else {
            return Ok(None);
        };
        let Some((document, at)) = block.newest() else {
            return Ok(None);
        };
        let payload = document.len();
        let kept = keep(document)?;
        let stored = if block.clean {
            self.clean_documents -= 1;
            block.drop_stored()
        } else {
            block.cut(at);
            None
        };
        block.documents -= 1;
        self.documents -= 1;
        if block.documents == 0 {
            self.drop_block(false);
        }
        Ok(Some((kept, Taken { payload, stored })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(deque: &mut Deque, n: usize, len: usize) {
        for i in 0..n {
            let taken = deque.push(&vec![i as u8; len]).expect("memory");
            assert_eq!(taken, Room::Taken, "document {i}");
        }
    }

    fn pop(deque: &mut Deque) -> Option<Taken> {
        let popped = deque.pop(|_| Ok::<_, ()>(())).expect("nothing to fail");
        popped.map(|(_, taken)| taken)
    }

    #[test]
    fn pops_what_was_pushed_newest_first() {
        let mut deque = Deque::new(1000, usize::MAX);
        fill(&mut deque, 20, 9);
        assert_eq!(deque.documents(), 20);
        for i in (0..20u8).rev() {
            assert_eq!(deque.newest(), Some(&[i; 9][..]));
            let taken = pop(&mut deque).expect("a document");
            assert!(taken.stored.is_none() && taken.payload == 9);
        }
        assert!(deque.is_empty() && pop(&mut deque).is_none() && deque.newest().is_none());
        assert_eq!(
            (deque.dirty_bytes(), deque.len(), deque.capacity),
            (0, 0, 0)
        );
    }

    #[test]
    fn never_holds_more_than_the_limit() {
        let mut deque = Deque::new(1000, usize::MAX);
        for i in 0..1000 {
            let len = (i * 7919) % 400;
            while deque.push(&vec![0; len]).expect("memory") == Room::Demote {
                let block = deque.oldest_mut().expect("a block");
                let (len, documents) = (block.len(), block.documents());
                deque.demoted(len, documents);
            }
            let held: usize = deque.blocks.iter().map(|b| b.capacity).sum();
            assert!(held <= 1000 && deque.len() <= held && held == deque.capacity);
        }
    }

    #[test]
    fn zero_memory_and_zero_documents_hold_nothing() {
        let push = |limit, documents| Deque::new(limit, documents).push(b"").expect("memory");
        assert_eq!(push(0, usize::MAX), Room::Never);
        assert_eq!(push(1000, 0), Room::Never);
        assert_eq!(push(16, usize::MAX), Room::Taken);
        assert_eq!(push(15, usize::MAX), Room::Never);
    }

    #[test]
    fn part_of_a_block_can_go() {
        let mut deque = Deque::new(1000, 4);
        fill(&mut deque, 4, 10);
        assert_eq!(deque.push(&[4; 10]).expect("memory"), Room::Demote);
        let len = deque.oldest_mut().expect("a block").prefix_len(3);
        assert_eq!(len, 3 * 26);
        deque.demoted(len, 3);
        assert_eq!(
            (
                deque.documents(),
                deque.dirty_documents(),
                deque.dirty_bytes()
            ),
            (1, 1, 10)
        );
        assert_eq!(deque.newest(), Some(&[3; 10][..]));
    }
}

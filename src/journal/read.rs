//! Reads the documents of one segment, forward or backward.

use super::chain::{ATTEMPTS, Link};
use super::error::{Error, Result};
use super::files::{Files, name};
use crate::buffer::backward::Backward;
use crate::buffer::format::{Edge, MAX_PAYLOAD, WORD_LEN, Word};
use crate::buffer::forward::{self, Forward, Mode, Next, Stop};
use crate::buffer::{self, Reason, io};
use crate::store::Readable;

/// A document of a journal, lent.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Document<'a> {
    /// Its position in the journal.
    pub position: u64,
    /// The document.
    pub bytes: &'a [u8],
}

impl std::fmt::Debug for Document<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Document")
            .field("position", &self.position)
            .field("len", &self.bytes.len())
            .finish()
    }
}

/// Walks forward over a segment.
pub(super) struct SegmentReader {
    files: Files,
    link: Link,
    store: Box<dyn Readable>,
    forward: Forward,
    /// Why it stands still.
    stop: Option<Stop>,
}

impl SegmentReader {
    /// Begins at `from`, which must be where a record of the segment ends, and reads no further than `limit`.
    pub(super) fn open(
        files: &Files,
        link: &Link,
        from: Edge,
        limit: u64,
    ) -> Result<SegmentReader> {
        let store = files.read(&name(link.sequence))?;
        let mut forward = Forward::new(link.salt, from, limit, MAX_PAYLOAD)
            .map_err(|source| Error::segment(files.segment(link.sequence), link.base, source))?;
        if link.end.is_some() {
            forward.take_batches_as_they_are();
        }
        Ok(SegmentReader {
            files: files.clone(),
            link: *link,
            store,
            forward,
            stop: None,
        })
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    pub(super) fn edge(&self) -> Edge {
        self.forward.edge()
    }

    /// The position that it stands at.
    pub(super) fn position(&self) -> u64 {
        self.link.base.saturating_add(self.edge().documents)
    }

    fn failed(&self, source: buffer::Error) -> Error {
        let file = self.files.segment(self.link.sequence);
        Error::segment(file, self.link.base, source)
    }

    /// Walks on, from where it stands to where something stops it.
    fn walk(
        &mut self,
        mode: Mode,
        mut each: impl FnMut(forward::Document<'_>) -> Next,
    ) -> Result<Stop> {
        let mut attempts = 0;
        loop {
            match self.forward.walk(&mut self.store, mode, &mut each) {
                // Zeros written ahead of the live segment's end were cut off by who writes it.
                Err(buffer::Error::Shrunk { .. }) if self.is_live() && attempts < ATTEMPTS => {
                    attempts += 1;
                    let len = self.store_len()?;
                    self.relimit(len)?;
                }
                stop => return stop.map_err(|source| self.failed(source)),
            }
        }
    }

    fn is_live(&self) -> bool {
        self.link.end.is_none()
    }

    /// The next document; `None` where it stands still.
    pub(super) fn next(&mut self) -> Result<Option<Document<'_>>> {
        let mut len = None;
        let stop = self.walk(Mode::Hand, |document| {
            len = Some(document.bytes.len());
            Next::Stop
        })?;
        let Some(len) = len.filter(|_| stop == Stop::Asked) else {
            self.stop = Some(stop);
            return Ok(None);
        };
        let position = self.position().saturating_sub(1);
        let bytes = self.forward.handed(len);
        Ok(Some(Document { position, bytes }))
    }

    /// Takes the next document in hand: its position and length.
    pub(super) fn next_len(&mut self) -> Result<Option<(u64, usize)>> {
        let next = self.next()?;
        Ok(next.map(|document| (document.position, document.bytes.len())))
    }

    /// The document that was handed over last, of `len` bytes.
    pub(super) fn handed(&self, len: usize) -> &[u8] {
        self.forward.handed(len)
    }

    /// All documents that are left, up to where it stands still then.
    pub(super) fn each(&mut self, mut each: impl FnMut(Document<'_>)) -> Result<()> {
        let base = self.link.base;
        let stop = self.walk(Mode::Hand, |document| {
            each(Document {
                position: base.saturating_add(document.position),
                bytes: document.bytes,
            });
            Next::Go
        })?;
        self.stop = Some(stop);
        Ok(())
    }

    /// Proves all documents before `position`, which must be there, and stands in front of it.
    pub(super) fn skip_to(&mut self, position: u64) -> Result<()> {
        match self.reach(position)? {
            true => Ok(()),
            false => Err(self.short()),
        }
    }

    /// As `skip_to`; `false` where it ends before that.
    pub(super) fn reach(&mut self, position: u64) -> Result<bool> {
        let wanted = position.saturating_sub(self.link.base);
        if self.edge().documents >= wanted {
            return Ok(true);
        }
        let stop = self.walk(Mode::Prove, |document| {
            if document.position.saturating_add(1) < wanted {
                Next::Go
            } else {
                Next::Stop
            }
        })?;
        let reached = self.edge().documents >= wanted;
        if !reached {
            self.stop = Some(stop);
        }
        Ok(reached)
    }

    /// What the segment should have had and has not.
    pub(super) fn short(&self) -> Error {
        let reason = match self.stop {
            Some(Stop::Fault(reason)) => reason,
            _ => Reason::Cut,
        };
        let offset = self.edge().offset;
        self.failed(buffer::Error::Corrupt { offset, reason })
    }

    /// Whether all that the next segment continues has been read; else it is damaged.
    pub(super) fn check_end(&self) -> Result<()> {
        match self.link.end {
            Some(end) if self.edge() != end => Err(self.short()),
            _ => Ok(()),
        }
    }

    /// The segment is known to end there now: reads up to it, and no further.
    pub(super) fn sealed(&mut self, end: Edge) -> Result<()> {
        self.link.end = Some(end);
        self.forward.take_batches_as_they_are();
        self.relimit(end.offset)
    }

    /// Forgets what was read ahead, and reads no further than `limit` from now on.
    pub(super) fn relimit(&mut self, limit: u64) -> Result<()> {
        self.stop = None;
        let moved = self.forward.relimit(limit);
        moved.map_err(|source| self.failed(source))
    }

    /// How long the segment's store is now.
    pub(super) fn store_len(&mut self) -> Result<u64> {
        io::len(&mut self.store).map_err(|source| self.failed(source))
    }

    /// Whether the live segment may have something new: what stands at the edge is no END, and no zeros.
    pub(super) fn has_news(&mut self) -> Result<bool> {
        let mut word = [0; WORD_LEN];
        let offset = self.edge().offset;
        let read = io::read(&mut self.store, offset, &mut word);
        read.map_err(|source| self.failed(source))?;
        let word = Word::parse(u32::from_le_bytes(word));
        Ok(word.is_some_and(|word| !word.is_end()))
    }
}

/// Walks backward over a segment.
pub(super) struct SegmentRev {
    files: Files,
    link: Link,
    store: Box<dyn Readable>,
    backward: Backward,
}

impl SegmentRev {
    /// Begins at `end`, which must be where a record of the segment ends.
    pub(super) fn open(files: &Files, link: &Link, end: Edge) -> Result<SegmentRev> {
        let store = files.read(&name(link.sequence))?;
        let backward = Backward::new(link.salt, end, MAX_PAYLOAD)
            .map_err(|source| Error::segment(files.segment(link.sequence), link.base, source))?;
        Ok(SegmentRev {
            files: files.clone(),
            link: *link,
            store,
            backward,
        })
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// Takes the next older document in hand; `false` below the oldest.
    pub(super) fn advance(&mut self) -> Result<bool> {
        let more = self.backward.next(&mut self.store);
        more.map_err(|source| {
            let file = self.files.segment(self.link.sequence);
            Error::segment(file, self.link.base, source)
        })
    }

    /// The document in hand.
    pub(super) fn handed(&self) -> Document<'_> {
        Document {
            position: self
                .link
                .base
                .saturating_add(self.backward.edge().documents),
            bytes: self.backward.handed(),
        }
    }
}

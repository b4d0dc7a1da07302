//! The way down: from memory to the store's end.
//!
//! The rules, each of which some shorter design broke (numbers as in `tests/README.md`):
//!
//! * W1 seek absolutely before every read and write; W2 one write for a batch, never below the end;
//! * W3 the end and the deque move only after the write returned Ok; W4, W5, W6 a mark goes before the
//!   first record after a failed write, after the end moved down and after open;
//! * W7 Ok from `sync` only after END, flush and the store's sync; W8 a failed sync is final.
//!
//! Before the first record of a handle END is written and, where the store can, synced: bytes of a record
//! torn in an earlier life would else be completed by later writes.

use std::io::{Read, Seek, Write};

use super::block::Block;
use super::deque::Room;
use super::error::{Error, Result};
use super::format::{self, Edge, FIRST, HEADER_LEN, MARK_LEN, OVERHEAD, Salt};
use super::header;
use super::io;
use super::report::{End, Reason};
use super::{Checkpoint, DocumentBuffer};

/// A document up to this length is put together with what goes around it before it is written.
const COPY_MAX: usize = 64 << 10;
/// More than goes around the records of a write: a frame, a mark and an END.
const SLACK: u64 = 1 << 10;

impl<S: Read + Write + Seek> DocumentBuffer<S> {
    /// Adds the newest document; returns its position.
    ///
    /// Durable on return: nothing. The document is in memory, or, where memory is over its limit, the
    /// oldest ones there have been written to the store. [`flush`](DocumentBuffer::flush) and
    /// [`sync`](DocumentBuffer::sync) say when it survives what.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`]; and when documents had to be written: [`Error::Full`], [`Error::Io`],
    /// [`Error::Poisoned`]. The document was not added, though after a crash it may be found.
    ///
    /// # Examples
    ///
    /// ```
    /// # use documentbuffer::{DocumentBuffer, ReadWriteSeekString};
    /// let mut log = DocumentBuffer::new(ReadWriteSeekString::new())?;
    /// assert_eq!(log.push("joined alice")?, 0);
    /// assert_eq!(log.push(String::from("called 42"))?, 1);
    /// # Ok::<(), documentbuffer::Error>(())
    /// ```
    #[inline]
    pub fn push(&mut self, document: impl AsRef<[u8]>) -> Result<u64> {
        let document = document.as_ref();
        if document.len() > self.max_document {
            let (len, max) = (document.len() as u64, self.max_document as u64);
            return Err(Error::TooLarge { len, max });
        }
        let position = self.len();
        self.append(document)?;
        Ok(position)
    }

    /// Adds the newest document only if there are exactly `expected_len` others; returns its position.
    ///
    /// Durable on return: as [`push`](DocumentBuffer::push).
    ///
    /// # Errors
    ///
    /// [`Error::PositionMismatch`] with the actual number; else as [`push`](DocumentBuffer::push).
    ///
    /// # Examples
    ///
    /// ```
    /// # use documentbuffer::{DocumentBuffer, Error, ReadWriteSeekString};
    /// let mut log = DocumentBuffer::new(ReadWriteSeekString::new())?;
    /// log.push_at(0, "first")?;
    /// let again = log.push_at(0, "first");
    /// assert!(matches!(again, Err(Error::PositionMismatch { expected: 0, actual: 1 })));
    /// # Ok::<(), documentbuffer::Error>(())
    /// ```
    pub fn push_at(&mut self, expected_len: u64, document: impl AsRef<[u8]>) -> Result<u64> {
        let actual = self.len();
        if actual != expected_len {
            let expected = expected_len;
            return Err(Error::PositionMismatch { expected, actual });
        }
        self.push(document)
    }

    /// Adds documents, the last one newest; returns how many. All of them or, on an error, none.
    ///
    /// Durable on return: as [`push`](DocumentBuffer::push). To a crash each document counts as an
    /// operation of its own: any number of the first ones may be found.
    ///
    /// # Errors
    ///
    /// As [`push`](DocumentBuffer::push).
    ///
    /// # Examples
    ///
    /// ```
    /// # use documentbuffer::{DocumentBuffer, ReadWriteSeekString};
    /// let mut log = DocumentBuffer::new(ReadWriteSeekString::new())?;
    /// assert_eq!(log.push_all(["a", "b", "c"])?, 3);
    /// # Ok::<(), documentbuffer::Error>(())
    /// ```
    pub fn push_all<I>(&mut self, documents: I) -> Result<u64>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        let position = self.len();
        let edge = None;
        self.checkpoint = Some(Checkpoint { position, edge });
        let rollback = Rollback(self);
        for document in documents {
            rollback.0.push(document)?;
        }
        rollback.0.checkpoint = None;
        Ok(rollback.0.len() - position)
    }

    /// Takes back what a failed `push_all` had pushed; needs no I/O.
    fn go_back(&mut self, to: Checkpoint) {
        if let Some(edge) = to.edge.filter(|_| self.edge.documents > to.position) {
            self.deque.clear();
            self.moved_down(edge);
        }
        self.drop_newest(self.len().saturating_sub(to.position));
    }

    /// Puts the newest document into memory, or into the store where memory cannot hold it.
    #[inline]
    pub(super) fn append(&mut self, document: &[u8]) -> Result<()> {
        if self.deque.push_fast(document) {
            return Ok(());
        }
        self.append_slowly(document)
    }

    #[cold]
    fn append_slowly(&mut self, document: &[u8]) -> Result<()> {
        loop {
            match self.deque.push(document)? {
                Room::Taken => return Ok(()),
                Room::Demote => self.demote()?,
                Room::Never => {
                    while !self.deque.is_empty() {
                        self.demote()?;
                    }
                    return self.append_directly(document);
                }
            }
        }
    }

    /// Moves the oldest documents out of memory, about a block of them. Copies just go.
    fn demote(&mut self) -> Result<()> {
        if self.deque.clean().is_some() {
            self.deque.drop_clean();
            return Ok(());
        }
        let most = self.deque.block_documents();
        // The end must stand where a failed `push_all` would go back to.
        let before = self.checkpoint.as_ref().and_then(|to| {
            let before = to.position.checked_sub(self.edge.documents)?;
            usize::try_from(before).ok().filter(|before| *before > 0)
        });
        let Some(block) = self.deque.oldest_mut() else {
            return Ok(());
        };
        let documents = block
            .documents()
            .min(most)
            .min(before.unwrap_or(usize::MAX));
        self.write_oldest(documents, false)
    }

    /// Writes the oldest `documents` of the oldest block, which is dirty, to the store's end, and forgets
    /// them. An END goes only behind a whole block.
    fn write_oldest(&mut self, documents: usize, with_end: bool) -> Result<()> {
        let Some(block) = self.deque.oldest_mut() else {
            return Ok(());
        };
        let len = block.prefix_len(documents);
        self.write_run(None, len, with_end)?;
        self.deque.demoted(len, documents);
        Ok(())
    }

    /// Writes the oldest `len` bytes of records of a block, without one of the oldest in memory, to the
    /// store's end, in one write.
    pub(super) fn write_run(
        &mut self,
        given: Option<&mut Block>,
        len: usize,
        with_end: bool,
    ) -> Result<()> {
        let salt = self.prepare()?;
        self.note_checkpoint();
        let mut edge = self.edge;
        let mark = self.needs_mark.then(|| self.next_mark(salt, &mut edge));
        let Some(block) = given.or_else(|| self.deque.oldest_mut()) else {
            return Ok(());
        };
        ends_in_time(edge.offset, len)?;
        let sealed = block.records_mut().get_mut(..len);
        if !sealed.is_some_and(|records| format::seal(salt, &mut edge, records)) {
            let (offset, reason) = (edge.offset, Reason::Kind);
            return Err(Error::Corrupt { offset, reason });
        }
        let end = with_end.then(|| format::end(salt, &edge));
        let bytes = block.framed(mark.as_ref(), len, end.as_ref());
        // Until the write has returned Ok, nobody knows what stands there.
        self.needs_mark = true;
        self.end_at = None;
        let written = io::write(&mut self.store, self.edge.offset, &[bytes]);
        self.wrote(written)?;
        self.moved_up(edge);
        self.end_at = with_end.then_some(edge.offset);
        Ok(())
    }

    /// Writes a document that memory cannot hold; memory is empty.
    fn append_directly(&mut self, document: &[u8]) -> Result<()> {
        let salt = self.prepare()?;
        self.note_checkpoint();
        let mut edge = self.edge;
        let mark = self.needs_mark.then(|| self.next_mark(salt, &mut edge));
        let mark = mark.as_ref().map_or(&[][..], |mark| mark);
        ends_in_time(edge.offset, document.len())?;
        let (head, tail) = format::frame(salt, &mut edge, document);
        let pieces = [mark, &head, document, &tail];
        let at = self.edge.offset;
        let written = if document.len() <= COPY_MAX {
            self.scratch.clear();
            io::reserve(&mut self.scratch, MARK_LEN + OVERHEAD + document.len())?;
            pieces
                .iter()
                .for_each(|piece| self.scratch.extend_from_slice(piece));
            self.needs_mark = true;
            self.end_at = None;
            io::write(&mut self.store, at, &[&self.scratch])
        } else {
            self.needs_mark = true;
            self.end_at = None;
            io::write(&mut self.store, at, &pieces)
        };
        self.wrote(written)?;
        self.moved_up(edge);
        Ok(())
    }

    /// Everything in memory becomes records, with END behind them in the same write.
    pub(super) fn write_all(&mut self) -> Result<()> {
        self.deque.drop_clean();
        while let Some(block) = self.deque.oldest_mut() {
            let documents = block.documents();
            let last = self.deque.block_count() == 1;
            self.write_oldest(documents, last)?;
        }
        if self.end_at.is_none() && self.changed {
            self.write_end()?;
        }
        Ok(())
    }

    fn write_end(&mut self) -> Result<()> {
        let salt = self.prepare()?;
        if self.end_at.is_none() {
            self.put_end(salt)?;
        }
        Ok(())
    }

    fn put_end(&mut self, salt: Salt) -> Result<()> {
        let end = format::end(salt, &self.edge);
        let needs_mark = std::mem::replace(&mut self.needs_mark, true);
        self.end_at = None;
        self.changed = true;
        let written = io::write(&mut self.store, self.edge.offset, &[&end]);
        self.wrote(written)?;
        self.needs_mark = needs_mark;
        self.end_at = Some(self.edge.offset);
        Ok(())
    }

    /// Everything that must stand before the next record may: the header, the end brought down over marks,
    /// a copy of what a suspect end hides, and the handle's first END.
    fn prepare(&mut self) -> Result<Salt> {
        self.check_poison()?;
        let found = self.salt.is_some();
        let salt = match self.salt {
            Some(salt) => salt,
            None => self.create()?,
        };
        if !self.settled && found && self.edge.offset == FIRST {
            // A process that died may have written the header, and not synced it.
            self.sync_store()?;
        }
        if self.needs_mark {
            // Never two marks in a row, so that pushing and popping does not grow the store.
            self.newest_word(salt)?;
        }
        if !self.settled {
            self.preserve()?;
            if self.hooks.is_some() {
                self.put_end(salt)?;
                self.sync_store()?;
            }
            self.settled = true;
        }
        Ok(salt)
    }

    /// Writes the header. In a store that is not empty an old salt is zeroed first: a torn old header mixed
    /// with a new one gave it back. An old magic stays until then, since a salt without one looks foreign.
    fn create(&mut self) -> Result<Salt> {
        let salt = Salt::new(self.random.next());
        let len = io::len(&mut self.store)?;
        if len > 0 {
            let mut old = [0; HEADER_LEN];
            let have = len.min(FIRST) as usize;
            io::read_exact(&mut self.store, 0, old.get_mut(..have).unwrap_or_default())?;
            self.write_header(&header::without_salt(old))?;
        }
        self.write_header(&header::prelude())?;
        if let Err(error) = self.write_header(&header::header(salt)) {
            if let (0, Error::IgnoresSeek { .. }, Some(hooks)) = (len, &error, &self.hooks) {
                // A file opened for appending: leave it as empty as it was.
                let _ = (hooks.set_len)(&mut self.store, 0);
            }
            return Err(error);
        }
        self.salt = Some(salt);
        self.edge = Edge::empty(salt);
        Ok(salt)
    }

    fn write_header(&mut self, bytes: &[u8; HEADER_LEN]) -> Result<()> {
        let written = io::write(&mut self.store, 0, &[bytes]);
        self.wrote(written)?;
        self.sync_store()
    }

    fn preserve(&mut self) -> Result<()> {
        if let (End::Suspect { offset, .. }, Some(hooks), None) =
            (self.recovery.end, &self.hooks, &self.preserved)
        {
            let kept = (hooks.preserve)(&mut self.store, offset);
            self.preserved = kept.map_err(|source| {
                Error::io(super::error::Action::Preserve, Some(offset), source)
            })?;
        }
        Ok(())
    }

    fn next_mark(&mut self, salt: Salt, edge: &mut Edge) -> [u8; MARK_LEN] {
        format::mark(salt, edge, (self.random.next() >> 32) as u32)
    }

    /// Where a failed `push_all` goes back to, once the end has reached it.
    fn note_checkpoint(&mut self) {
        if let Some(Checkpoint { position, edge }) = &mut self.checkpoint
            && *position == self.edge.documents
        {
            edge.get_or_insert(self.edge);
        }
    }

    fn moved_up(&mut self, edge: Edge) {
        self.edge = edge;
        self.needs_mark = false;
        self.changed = true;
        self.synced = false;
    }

    /// A store that ignores seeks is not written to again.
    fn wrote(&mut self, written: Result<()>) -> Result<()> {
        self.synced = false;
        // A failed write may have arrived all the same: the next flush says where the log ends.
        self.changed |= self.salt.is_some();
        if let Err(Error::IgnoresSeek { .. }) = &written {
            self.poison = Some(std::io::ErrorKind::NotSeekable);
        }
        written
    }

    /// Syncs, where the buffer knows how.
    pub(super) fn sync_store(&mut self) -> Result<()> {
        let Some(hooks) = &self.hooks else {
            return Ok(());
        };
        io::sync(&mut self.store, hooks.sync).inspect_err(|error| {
            // After a failed sync neither cache nor medium can be believed, nor the next sync.
            self.poison = Some(match error {
                Error::Io { source, .. } => source.kind(),
                _ => std::io::ErrorKind::Other,
            });
        })
    }

    pub(super) fn check_poison(&self) -> Result<()> {
        self.poison
            .map_or(Ok(()), |kind| Err(Error::Poisoned { kind }))
    }
}

/// Takes back what a `push_all` has pushed, unless it has come to its end: also when the caller's iterator
/// or the store panics.
struct Rollback<'b, S: Read + Write + Seek>(&'b mut DocumentBuffer<S>);

impl<S: Read + Write + Seek> Drop for Rollback<'_, S> {
    fn drop(&mut self) {
        if let Some(checkpoint) = self.0.checkpoint.take() {
            self.0.go_back(checkpoint);
        }
    }
}

/// Refuses what would end beyond 2^63 - 1, where no store's offsets go: below it they are added unchecked.
fn ends_in_time(offset: u64, len: usize) -> Result<()> {
    let end = offset
        .checked_add(len as u64)
        .and_then(|end| end.checked_add(SLACK));
    match end {
        Some(end) if end <= i64::MAX as u64 => Ok(()),
        _ => Err(Error::Full {
            offset,
            source: std::io::ErrorKind::FileTooLarge.into(),
        }),
    }
}

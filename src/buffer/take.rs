//! The way up: from the store's end to memory and to the caller. Reads only; nothing has moved on an error.

use std::io::{Read, Seek, Write};

use super::DocumentBuffer;
use super::backward::Backward;
use super::check::{self, Fault, Judge};
use super::error::{Error, Result};
use super::format::{Edge, FIRST, HEAD_LEN, Kind, MARK_LEN, MAX_PAYLOAD, OVERHEAD, Salt, Word};
use super::io;
use super::report::Reason;

/// Promotion reads at least this much, where there is as much.
const MIN_READ: u64 = 4 << 10;

impl<S: Read + Write + Seek> DocumentBuffer<S> {
    /// Takes the newest document, or `None` where there is none.
    ///
    /// Durable on return: nothing; until the next [`flush`](DocumentBuffer::flush) or
    /// [`sync`](DocumentBuffer::sync) a crash may bring the document back.
    ///
    /// # Errors
    ///
    /// When it has to be read from the store: [`Error::Corrupt`], [`Error::TooLarge`], [`Error::Io`],
    /// [`Error::Shrunk`], [`Error::OutOfMemory`]. The document is still there.
    ///
    /// # Examples
    ///
    /// ```
    /// # use documentbuffer::{DocumentBuffer, ReadWriteSeekString};
    /// let mut log = DocumentBuffer::new(ReadWriteSeekString::new())?;
    /// log.push_all(["a", "b"])?;
    /// assert_eq!(log.pop()?, Some(b"b".to_vec()));
    /// assert_eq!(log.pop()?, Some(b"a".to_vec()));
    /// assert_eq!(log.pop()?, None);
    /// # Ok::<(), documentbuffer::Error>(())
    /// ```
    pub fn pop(&mut self) -> Result<Option<Vec<u8>>> {
        let mut document = Vec::new();
        Ok(self.pop_into(&mut document)?.then_some(document))
    }

    /// Takes the newest document into `out`, whose memory is used again; `false` where there is none.
    ///
    /// Durable on return, errors: as [`pop`](DocumentBuffer::pop). Where it returns `false` or an error,
    /// `out` is empty.
    ///
    /// # Examples
    ///
    /// ```
    /// # use documentbuffer::{DocumentBuffer, ReadWriteSeekString};
    /// let mut log = DocumentBuffer::new(ReadWriteSeekString::new())?;
    /// log.push("a")?;
    /// let mut document = Vec::new();
    /// while log.pop_into(&mut document)? {
    ///     assert_eq!(document, b"a");
    /// }
    /// # Ok::<(), documentbuffer::Error>(())
    /// ```
    #[inline]
    pub fn pop_into(&mut self, out: &mut Vec<u8>) -> Result<bool> {
        out.clear();
        let copied: Result<_> = self.pop_with(|newest| {
            io::reserve_for(out, newest.len())?;
            out.extend_from_slice(newest);
            Ok(())
        });
        Ok(copied?.is_some())
    }

    /// Lends the newest document to `keep`, without a copy, and takes it if that returns Ok; `None` where
    /// there is none.
    ///
    /// Durable on return: as [`pop`](DocumentBuffer::pop).
    ///
    /// # Errors
    ///
    /// As [`pop`](DocumentBuffer::pop), and whatever `keep` returns: the document is still there.
    ///
    /// # Examples
    ///
    /// ```
    /// # use documentbuffer::{DocumentBuffer, Error, ReadWriteSeekString};
    /// let mut log = DocumentBuffer::new(ReadWriteSeekString::new())?;
    /// log.push("a longer one")?;
    /// let len = log.pop_with(|document| Ok::<_, Error>(document.len()))?;
    /// assert_eq!((len, log.len()), (Some(12), 0));
    /// # Ok::<(), documentbuffer::Error>(())
    /// ```
    #[inline]
    pub fn pop_with<T, E: From<Error>>(
        &mut self,
        keep: impl FnOnce(&[u8]) -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        if self.deque.is_empty() {
            self.promote()?;
        }
        if !self.deque.is_empty() {
            return self.take_newest(keep);
        }
        let mut hand = std::mem::take(&mut self.scratch);
        let below = self.read_newest_stored(&mut hand);
        self.scratch = hand;
        let Some(edge) = below? else {
            return Ok(None);
        };
        let kept = keep(&self.scratch)?;
        self.moved_down(edge);
        Ok(Some(kept))
    }

    /// Looks at the newest document, or `None` where there is none.
    ///
    /// # Errors
    ///
    /// As [`pop`](DocumentBuffer::pop).
    ///
    /// # Examples
    ///
    /// ```
    /// # use documentbuffer::{DocumentBuffer, ReadWriteSeekString};
    /// let mut log = DocumentBuffer::new(ReadWriteSeekString::new())?;
    /// assert_eq!(log.peek()?, None);
    /// log.push("")?;
    /// assert_eq!(log.peek()?, Some(&b""[..]));
    /// # Ok::<(), documentbuffer::Error>(())
    /// ```
    pub fn peek(&mut self) -> Result<Option<&[u8]>> {
        if self.deque.is_empty() {
            self.promote()?;
        }
        if self.deque.is_empty() {
            let mut hand = std::mem::take(&mut self.scratch);
            let found = self.read_newest_stored(&mut hand);
            self.scratch = hand;
            return Ok(found?.map(|_| self.scratch.as_slice()));
        }
        Ok(self.deque.newest())
    }

    /// Reads up to `n` newest documents, newest first; they stay.
    ///
    /// # Errors
    ///
    /// As [`pop`](DocumentBuffer::pop): all of them, or an error.
    ///
    /// # Examples
    ///
    /// ```
    /// # use documentbuffer::{DocumentBuffer, ReadWriteSeekString};
    /// let mut log = DocumentBuffer::new(ReadWriteSeekString::new())?;
    /// log.push_all(["a", "b", "c"])?;
    /// assert_eq!(log.read(2)?, [b"c", b"b"]);
    /// assert_eq!(log.read(9)?.len(), 3);
    /// # Ok::<(), documentbuffer::Error>(())
    /// ```
    pub fn read(&mut self, n: usize) -> Result<Vec<Vec<u8>>> {
        if n > 0 && self.deque.is_empty() {
            self.promote()?;
        }
        let mut documents = Vec::new();
        let mut newest = self.iter();
        while documents.len() < n
            && let Some(document) = newest.next()?
        {
            let mut copy = Vec::new();
            io::reserve(&mut copy, document.len())?;
            copy.extend_from_slice(document);
            documents.push(copy);
        }
        Ok(documents)
    }

    /// Takes up to `n` newest documents, newest first.
    ///
    /// Durable on return: as [`pop`](DocumentBuffer::pop); to a crash each document counts as an operation of
    /// its own.
    ///
    /// # Errors
    ///
    /// As [`pop`](DocumentBuffer::pop): all of them, or an error and all are still there.
    ///
    /// # Examples
    ///
    /// ```
    /// # use documentbuffer::{DocumentBuffer, ReadWriteSeekString};
    /// let mut log = DocumentBuffer::new(ReadWriteSeekString::new())?;
    /// log.push_all(["a", "b", "c"])?;
    /// assert_eq!(log.remove(2)?, [b"c", b"b"]);
    /// assert_eq!(log.len(), 1);
    /// # Ok::<(), documentbuffer::Error>(())
    /// ```
    pub fn remove(&mut self, n: usize) -> Result<Vec<Vec<u8>>> {
        let documents = self.read(n)?;
        self.truncate_after(self.len() - documents.len() as u64)?;
        Ok(documents)
    }

    /// Keeps the oldest `len` documents; returns how many went. More than there are keeps all.
    ///
    /// Reads no payload but that of the document which becomes the newest. Durable on return: as
    /// [`pop`](DocumentBuffer::pop); to a crash each document counts as an operation of its own.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] where a record on the way has lost its frame, or where the document that would
    /// become the newest does not prove; [`Error::Io`], [`Error::Shrunk`]. Nothing went.
    ///
    /// # Examples
    ///
    /// ```
    /// # use documentbuffer::{DocumentBuffer, ReadWriteSeekString};
    /// let mut log = DocumentBuffer::new(ReadWriteSeekString::new())?;
    /// log.push_all(["a", "b", "c"])?;
    /// assert_eq!(log.truncate_after(1)?, 2);
    /// assert_eq!(log.peek()?, Some(&b"a"[..]));
    /// # Ok::<(), documentbuffer::Error>(())
    /// ```
    pub fn truncate_after(&mut self, len: u64) -> Result<u64> {
        let before = self.len();
        let gone = before.saturating_sub(len);
        if gone <= self.deque.documents() as u64 {
            self.drop_newest(gone);
            return Ok(gone);
        }
        let Some(salt) = self.salt else {
            return Ok(0);
        };
        let edge = if len == 0 {
            Edge::empty(salt)
        } else {
            let stored = self.edge.documents.saturating_sub(len);
            let mut walk = Backward::new(salt, self.edge, MAX_PAYLOAD)?;
            walk.skip(&mut self.store, stored)?
        };
        self.deque.clear();
        self.moved_down(edge);
        Ok(gone)
    }

    /// Takes the newest document out of memory if `keep` returns Ok for it; `None` where memory is empty.
    #[inline]
    pub(super) fn take_newest<T, E>(
        &mut self,
        keep: impl FnOnce(&[u8]) -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        let Some((kept, taken)) = self.deque.pop(keep)? else {
            return Ok(None);
        };
        if let Some((len, tip)) = taken.stored {
            self.moved_down(Edge {
                offset: self.edge.offset.saturating_sub(len as u64),
                tip,
                documents: self.edge.documents.saturating_sub(1),
                bytes: self.edge.bytes.saturating_sub(taken.payload as u64),
            });
        }
        Ok(Some(kept))
    }

    /// Drops up to `n` of the newest documents in memory.
    pub(super) fn drop_newest(&mut self, n: u64) {
        for _ in 0..n {
            if let Ok(None) = self.take_newest(|_| Ok::<_, Error>(())) {
                break;
            }
        }
    }

    /// The log ends lower in the store now, though the bytes above are still there.
    #[inline]
    pub(super) fn moved_down(&mut self, edge: Edge) {
        self.edge = edge;
        self.needs_mark = true;
        self.end_at = None;
        self.changed = true;
        self.synced = false;
    }

    /// The word of the newest record in the store. The end first moves down over marks right below it;
    /// what an END above them says still holds.
    pub(super) fn newest_word(&mut self, salt: Salt) -> Result<Option<Word>> {
        loop {
            let below = self.edge.offset.saturating_sub(MARK_LEN as u64);
            if below < FIRST {
                return Ok(None);
            }
            let mut bytes = [0; MARK_LEN];
            io::read_exact(&mut self.store, below, &mut bytes)?;
            match check::check(salt, below, &bytes) {
                Ok(mark) if mark.word.kind() == Kind::Mark && mark.crc == self.edge.tip => {
                    self.edge.offset = below;
                    self.edge.tip = mark.before;
                    self.needs_mark = true;
                }
                _ => {
                    let [.., t0, t1, t2, t3] = bytes;
                    return Ok(Word::from_tail(u32::from_le_bytes([t0, t1, t2, t3])));
                }
            }
        }
    }

    /// The newest record in the store, if there is a document: its word and place, not yet proven.
    fn newest_stored(&mut self) -> Result<Option<(Salt, Word, u64)>> {
        let Some(salt) = self.salt.filter(|_| self.edge.documents > 0) else {
            return Ok(None);
        };
        let word = self
            .newest_word(salt)?
            .filter(|word| word.kind() == Kind::Document);
        let place = word.and_then(|word| {
            let offset = self.edge.offset.checked_sub(word.record_len() as u64)?;
            (offset >= FIRST).then_some((salt, word, offset))
        });
        let Some((_, word, _)) = place else {
            let (offset, reason) = (self.edge.offset, Reason::Trailer);
            return Err(Error::Corrupt { offset, reason });
        };
        if word.payload_len() > self.max_document {
            let (len, max) = (word.payload_len() as u64, self.max_document as u64);
            return Err(Error::TooLarge { len, max });
        }
        Ok(place)
    }

    /// Has the newest documents in memory, as many as go at once; none where memory cannot hold the newest.
    #[cold]
    pub(super) fn promote(&mut self) -> Result<()> {
        let Some((salt, word, _)) = self.newest_stored()? else {
            return Ok(());
        };
        let need = word.record_len();
        if !self.deque.could_hold(need) {
            return Ok(());
        }
        let below = usize::try_from(self.edge.offset.saturating_sub(FIRST)).unwrap_or(usize::MAX);
        let span = self.promotion_len().max(need).min(below);
        let at = self.edge.offset.saturating_sub(span as u64);
        let mut block = self.deque.block_for_store(span)?;
        io::read_exact(&mut self.store, at, block.records_mut())?;
        let most = self.deque.block_documents();
        let proven = prove_newest(salt, self.edge, block.records(), most, self.max_document);
        if let (0, Some(reason)) = (proven.documents, proven.fault) {
            let offset = self.edge.offset.saturating_sub(need as u64);
            return Err(Error::Corrupt { offset, reason });
        }
        block.keep_newest(proven.len, proven.documents);
        self.deque.promote(block);
        Ok(())
    }

    /// How much to read at once: a block, but not much more than the documents that may come.
    fn promotion_len(&self) -> usize {
        let average = self.edge.offset / self.edge.documents.max(1);
        let wanted = (self.deque.block_documents() as u64)
            .saturating_mul(average.saturating_mul(2))
            .saturating_add(MIN_READ);
        let block = self.deque.block_len();
        block.min(usize::try_from(wanted).unwrap_or(block))
    }

    /// Reads the newest document in the store, which memory cannot hold, into `out`; the edge below it.
    pub(super) fn read_newest_stored(&mut self, out: &mut Vec<u8>) -> Result<Option<Edge>> {
        out.clear();
        let Some((salt, word, offset)) = self.newest_stored()? else {
            return Ok(None);
        };
        io::reserve(out, word.record_len())?;
        out.resize(word.record_len(), 0);
        let found = io::read_exact(&mut self.store, offset, out).and_then(|()| {
            match check::check(salt, offset, out) {
                Ok(record) if record.word != word => Err(Reason::Trailer),
                Ok(record) if record.crc != self.edge.tip => Err(Reason::Link),
                Ok(record) => Ok(record.before),
                Err(Fault::Bad(reason)) => Err(reason),
                Err(Fault::Short(_)) => Err(Reason::Trailer),
            }
            .map_err(|reason| Error::Corrupt { offset, reason })
        });
        let len = word.payload_len();
        if found.is_ok() {
            out.copy_within(HEAD_LEN..HEAD_LEN + len, 0);
            out.truncate(len);
        } else {
            out.clear();
        }
        Ok(Some(Edge {
            offset,
            tip: found?,
            documents: self.edge.documents.saturating_sub(1),
            bytes: self.edge.bytes.saturating_sub(len as u64),
        }))
    }
}

/// The newest records of a run that are what they were when they were written.
struct Proven {
    documents: usize,
    len: usize,
    /// What is wrong with the record below them, where one was looked at.
    fault: Option<Reason>,
}

/// Walks back from the end of `run`, which ends at `edge`, as long as records prove and at most `most`
/// documents of at most `max` bytes.
fn prove_newest(salt: Salt, edge: Edge, run: &[u8], most: usize, max: usize) -> Proven {
    let mut proven = Proven {
        documents: 0,
        len: 0,
        fault: None,
    };
    let judge = Judge::new(salt);
    let (mut rest, mut tip) = (run, edge.tip);
    let mut end = edge.offset;
    while proven.documents < most {
        let (record, at) = match judge.check_last(end, rest) {
            Ok((record, _)) if record.crc != tip => {
                proven.fault = Some(Reason::Link);
                break;
            }
            Ok(found) => found,
            Err(reason) => {
                proven.fault = Some(reason);
                break;
            }
        };
        let kind = record.word.kind();
        if kind == Kind::Control || record.payload.len() > max {
            break;
        }
        tip = record.before;
        end = end.saturating_sub(record.len() as u64);
        if kind == Kind::Document {
            proven.documents += 1;
            proven.len = run.len() - at;
        }
        rest = rest.get(..at).unwrap_or_default();
    }
    if proven.documents == 0 && proven.fault.is_none() {
        proven.fault = Some(Reason::Trailer);
    }
    proven
}

const _: () = assert!(MARK_LEN == OVERHEAD);

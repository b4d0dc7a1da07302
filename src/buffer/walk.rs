//! Streaming reads over a whole buffer, memory and store, without disturbing either.

use std::io::{Read, Seek, Write};

use super::DocumentBuffer;
use super::backward::Backward;
use super::block::Block;
use super::check;
use super::error::{Error, Result};
use super::format::{self, Edge, HEAD_LEN, Kind, Word};
use super::forward::{Forward, Mode, Next, Stop};
use super::report::Reason;

impl<S: Read + Write + Seek> DocumentBuffer<S> {
    /// Streams all documents, newest first, in constant memory; what is in memory stays as it is.
    ///
    /// [`Iter::next`] lends each document; as an [`Iterator`] it gives copies.
    ///
    /// # Examples
    ///
    /// ```
    /// # use documentbuffer::{DocumentBuffer, ReadWriteSeekString};
    /// let mut log = DocumentBuffer::new(ReadWriteSeekString::new())?;
    /// log.push_all(["a", "b"])?;
    /// let newest_first: Vec<Vec<u8>> = log.iter().collect::<Result<_, _>>()?;
    /// assert_eq!(newest_first, [b"b", b"a"]);
    /// # Ok::<(), documentbuffer::Error>(())
    /// ```
    pub fn iter(&mut self) -> Iter<'_, S> {
        Iter::new(self)
    }

    /// Streams all documents, oldest first, in constant memory; what is in memory stays as it is.
    ///
    /// [`Replay::next`] lends each document; as an [`Iterator`] it gives copies. To replay at start use
    /// [`Options::open_with`](crate::Options::open_with), which reads the store once and not twice.
    ///
    /// # Examples
    ///
    /// ```
    /// # use documentbuffer::{DocumentBuffer, ReadWriteSeekString};
    /// let mut log = DocumentBuffer::new(ReadWriteSeekString::new())?;
    /// log.push_all(["a", "b"])?;
    /// let mut replay = log.replay();
    /// while let Some(document) = replay.next()? {
    ///     println!("{} bytes", document.len());
    /// }
    /// # Ok::<(), documentbuffer::Error>(())
    /// ```
    pub fn replay(&mut self) -> Replay<'_, S> {
        Replay::new(self)
    }
}

/// Documents from the newest to the oldest; see [`DocumentBuffer::iter`].
///
/// [`next`](Iter::next) lends each document; as an [`Iterator`] it gives copies.
pub struct Iter<'b, S> {
    buffer: &'b mut DocumentBuffer<S>,
    place: Newest,
    left: u64,
}

/// Where an [`Iter`] stands.
enum Newest {
    /// In memory: in this block, counted from the oldest, with so many bytes of its records left.
    Memory {
        block: usize,
        len: usize,
    },
    /// In the store.
    Store(Box<Backward>),
    Done,
}

impl<'b, S: Read + Write + Seek> Iter<'b, S> {
    pub(super) fn new(buffer: &'b mut DocumentBuffer<S>) -> Iter<'b, S> {
        Iter {
            left: buffer.len(),
            place: Newest::Memory {
                block: buffer.deque.block_count(),
                len: 0,
            },
            buffer,
        }
    }

    /// The next older document, or `None` below the oldest.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`], [`Error::TooLarge`], [`Error::Io`]; the iteration has then ended.
    #[allow(clippy::should_implement_trait)] // It lends; the trait's form stands beside it.
    pub fn next(&mut self) -> Result<Option<&[u8]>> {
        while let Newest::Memory { block, len } = self.place {
            if let Some((word, at)) = self.newest_in(block, len) {
                self.place = Newest::Memory { block, len: at };
                if word.kind() == Kind::Document {
                    self.left = self.left.saturating_sub(1);
                    let records = self.buffer.deque.block(block).map(Block::records);
                    return Ok(records.and_then(|records| payload(records, at, word)));
                }
            } else if let Some(block) = block.checked_sub(1) {
                let len = self.buffer.deque.block(block).map_or(0, Block::len);
                self.place = Newest::Memory { block, len };
            } else {
                self.place = self.below_memory()?;
            }
        }
        // Until the read has succeeded, the iteration has failed.
        match std::mem::replace(&mut self.place, Newest::Done) {
            Newest::Store(mut backward) if self.left > 0 => {
                if !backward.next(&mut self.buffer.store)? {
                    return Ok(None);
                }
                self.left -= 1;
                self.place = Newest::Store(backward);
            }
            _ => return Ok(None),
        }
        match &self.place {
            Newest::Store(backward) => Ok(Some(backward.handed())),
            _ => Ok(None),
        }
    }

    /// The record that ends `len` bytes into the records of a block.
    fn newest_in(&self, block: usize, len: usize) -> Option<(Word, usize)> {
        let records = self.buffer.deque.block(block)?.records();
        check::last_frame(records.get(..len)?)
    }

    /// Below what is in memory: below the copies there of what stands in the store.
    fn below_memory(&self) -> Result<Newest> {
        let Some(salt) = self.buffer.salt else {
            return Ok(Newest::Done);
        };
        let mut edge = self.buffer.edge;
        if let Some(clean) = self.buffer.deque.clean() {
            edge.offset = edge.offset.saturating_sub(clean.len() as u64);
            edge.tip = before_first(clean.records()).unwrap_or(edge.tip);
            edge.documents = self.left;
        }
        let backward = Backward::new(salt, edge, self.buffer.max_document)?;
        Ok(Newest::Store(Box::new(backward)))
    }
}

/// Checksum of the record before the first of a run.
fn before_first(run: &[u8]) -> Option<u32> {
    let word = Word::parse(u32::from_le_bytes(*run.first_chunk()?))?;
    let link = run.get(format::WORD_LEN..)?.first_chunk()?;
    Some(word.link(u32::from_le_bytes(*link)))
}

fn payload(records: &[u8], at: usize, word: Word) -> Option<&[u8]> {
    records
        .get(at..)?
        .get(HEAD_LEN..)?
        .get(..word.payload_len())
}

/// Documents from the oldest to the newest; see [`DocumentBuffer::replay`].
///
/// [`next`](Replay::next) lends each document; as an [`Iterator`] it gives copies.
pub struct Replay<'b, S> {
    buffer: &'b mut DocumentBuffer<S>,
    place: Oldest,
    left: u64,
}

/// Where a [`Replay`] stands.
enum Oldest {
    Begin,
    Store(Box<Forward>),
    /// In memory: in this block, so many bytes into its records.
    Memory {
        block: usize,
        at: usize,
    },
    Done,
}

impl<'b, S: Read + Write + Seek> Replay<'b, S> {
    pub(super) fn new(buffer: &'b mut DocumentBuffer<S>) -> Replay<'b, S> {
        Replay {
            left: buffer.len(),
            buffer,
            place: Oldest::Begin,
        }
    }

    /// The next newer document, or `None` above the newest.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`], [`Error::TooLarge`], [`Error::Io`]; the replay has then ended.
    #[allow(clippy::should_implement_trait)] // It lends; the trait's form stands beside it.
    pub fn next(&mut self) -> Result<Option<&[u8]>> {
        // Until the read has succeeded, the replay has failed.
        let mut forward = match std::mem::replace(&mut self.place, Oldest::Done) {
            Oldest::Begin => match self.in_store()? {
                Some(forward) => forward,
                None => return Ok(self.next_in_memory(0, 0)),
            },
            Oldest::Store(forward) => forward,
            Oldest::Memory { block, at } => return Ok(self.next_in_memory(block, at)),
            Oldest::Done => return Ok(None),
        };
        let mut seen = None;
        let stop = forward.walk(&mut self.buffer.store, Mode::Hand, |document| {
            seen = Some(document.bytes.len());
            Next::Stop
        })?;
        let (Stop::Asked, Some(len)) = (stop, seen) else {
            self.leave_store(stop, forward.edge())?;
            // Copies of what stands in the store have been handed over already.
            let copies = usize::from(self.buffer.deque.clean().is_some());
            return Ok(self.next_in_memory(copies, 0));
        };
        self.left = self.left.saturating_sub(1);
        self.place = Oldest::Store(forward);
        match &self.place {
            Oldest::Store(forward) => Ok(Some(forward.handed(len))),
            _ => Ok(None),
        }
    }

    fn in_store(&self) -> Result<Option<Box<Forward>>> {
        let (limit, max) = (self.buffer.edge.offset, self.buffer.max_document);
        let forward = |salt| Forward::new(salt, Edge::empty(salt), limit, max).map(Box::new);
        self.buffer.salt.map(forward).transpose()
    }

    /// The walk must end exactly where the buffer's part in the store does.
    fn leave_store(&self, stop: Stop, edge: Edge) -> Result<()> {
        let reason = match stop {
            Stop::Boundary if edge == self.buffer.edge => return Ok(()),
            Stop::Fault(reason) => reason,
            _ => Reason::Count,
        };
        let offset = edge.offset;
        Err(Error::Corrupt { offset, reason })
    }

    fn next_in_memory(&mut self, mut block: usize, mut at: usize) -> Option<&[u8]> {
        loop {
            let rest = self.buffer.deque.block(block)?.records().get(at..)?;
            if let Some(word) = rest.first_chunk() {
                let word = Word::parse(u32::from_le_bytes(*word))?;
                self.left = self.left.saturating_sub(1);
                let next = at.saturating_add(word.record_len());
                self.place = Oldest::Memory { block, at: next };
                return payload(self.buffer.deque.block(block)?.records(), at, word);
            }
            (block, at) = (block + 1, 0);
        }
    }
}

macro_rules! copying_iterator {
    ($name:ident) => {
        impl<S: Read + Write + Seek> Iterator for $name<'_, S> {
            type Item = Result<Vec<u8>>;

            fn next(&mut self) -> Option<Result<Vec<u8>>> {
                match $name::next(self) {
                    Ok(document) => document.map(|bytes| Ok(bytes.to_vec())),
                    Err(error) => Some(Err(error)),
                }
            }

            fn size_hint(&self) -> (usize, Option<usize>) {
                // An error ends it before.
                (0, usize::try_from(self.left).ok())
            }
        }

        impl<S: Read + Write + Seek> std::iter::FusedIterator for $name<'_, S> {}

        impl<S> std::fmt::Debug for $name<'_, S> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name))
                    .field("left", &self.left)
                    .finish_non_exhaustive()
            }
        }
    };
}

copying_iterator!(Iter);
copying_iterator!(Replay);

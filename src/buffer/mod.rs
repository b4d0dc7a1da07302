//! The document buffer: newest documents in memory, the rest as checked records in a seekable store.
//!
//! ```text
//!   push -> deque -> write -> S      demotion: oldest first, a block at a time
//!   pop  <- deque <- take  <- S      promotion: newest first, a block at a time, as a copy
//!   open:  S -> recover              reads only
//! ```
//!
//! Hot: the newest documents, up to [`Options::memory`]. The truth: the store. A crash loses what was
//! pushed since the last [`flush`](DocumentBuffer::flush) (process death) or
//! [`sync`](DocumentBuffer::sync) (power loss), and nothing else; what was popped before it does not come
//! back. `format.rs` holds the bytes and the reasons.

#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)
)]

pub(crate) mod backward;
pub(crate) mod block;
mod check;
mod close;
mod control;
mod crc;
mod deque;
mod error;
pub(crate) mod format;
pub(crate) mod forward;
mod header;
mod image;
pub(crate) mod io;
mod open;
mod options;
pub(crate) mod random;
pub(crate) mod recover;
mod report;
mod salvage;
mod search;
#[cfg(feature = "journal")]
pub(crate) mod segment;
mod take;
mod walk;
mod write;

pub use error::{Action, CloseError, Error, Feature, OpenError, Result};
pub use format::FORMAT_VERSION;
pub use forward::Document;
pub use image::Image;
pub use options::{DEFAULT_MAX_DOCUMENT, DEFAULT_MEMORY, Options};
pub use recover::{Again, Scan};
pub use report::{Accept, End, Reason, Recovery};
pub use salvage::{Salvage, Salvaged};
pub use walk::{Iter, Replay};

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use deque::Deque;
use format::{Edge, Salt};
use open::Hooks;
use random::Random;

/// A stack of documents (byte strings): the newest in memory, the rest in any `S` that reads, writes and
/// seeks.
///
/// A document is any bytes, also none, of at most [`Options::max_document`]. Positions count from 0 at the
/// oldest. Every method says what is durable when it returns; on an error nothing has moved, and the call
/// may be repeated (but see [`Error::Poisoned`]).
///
/// Dropping a buffer writes nothing: what was pushed since the last flush is gone. Call
/// [`close`](DocumentBuffer::close) or [`finish`](DocumentBuffer::finish).
///
/// Memory: [`Options::memory`], the largest document in hand, and under 1 MiB for opening and streaming.
///
/// # Examples
///
/// ```
/// use documentbuffer::{DocumentBuffer, ReadWriteSeekString};
///
/// let mut log = DocumentBuffer::new(ReadWriteSeekString::new())?;
/// log.push("first")?;
/// log.push(b"\x00any bytes\xFF")?;
/// assert_eq!(log.pop()?.as_deref(), Some(&b"\x00any bytes\xFF"[..]));
/// assert_eq!(log.peek()?, Some(&b"first"[..]));
/// # Ok::<(), documentbuffer::Error>(())
/// ```
pub struct DocumentBuffer<S> {
    store: S,
    /// What the store can do beyond reading, writing and seeking; `None` in a bare buffer.
    hooks: Option<Hooks<S>>,
    /// `None` until the header has been written.
    salt: Option<Salt>,
    /// Where the documents in the store end.
    edge: Edge,
    /// The newest documents; the oldest of them may be copies of the newest in the store.
    deque: Deque,
    max_document: usize,
    random: Random,
    /// Whether the next record must stand behind a mark.
    needs_mark: bool,
    /// Where an END stands that says what the store's part of the buffer is now.
    end_at: Option<u64>,
    /// Whether this handle has changed what the store's part of the buffer is.
    changed: bool,
    /// Whether this handle may write records: its first END stands.
    settled: bool,
    /// Whether nothing was written since a good sync of this handle.
    synced: bool,
    /// Why this handle writes no more.
    poison: Option<ErrorKind>,
    /// Where a `push_all` under way would go back to.
    checkpoint: Option<Checkpoint>,
    /// A document that memory may not keep, or the bytes of one on their way down.
    scratch: Vec<u8>,
    recovery: Recovery,
    preserved: Option<PathBuf>,
}

/// The state before a `push_all`: so many documents, and the store's end there once it was that far.
struct Checkpoint {
    position: u64,
    edge: Option<Edge>,
}

/// Counts of a buffer, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Documents in all.
    pub documents: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Documents in memory; some may be copies of documents in the store.
    pub cached_documents: usize,
    /// Bytes they take there, encoded.
    pub cached_bytes: usize,
    /// Documents in the store.
    pub stored_documents: u64,
    /// Bytes of their payloads.
    pub stored_bytes: u64,
    /// The first byte of the store behind what must be kept: what [`DocumentBuffer::close`] would return
    /// if nothing were in memory.
    pub end: u64,
}

impl<S> std::fmt::Debug for DocumentBuffer<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DocumentBuffer")
            .field("len", &self.len())
            .field("cached", &self.cached())
            .field("offset", &self.edge.offset)
            .field("poison", &self.poison)
            .finish_non_exhaustive()
    }
}

impl<S> DocumentBuffer<S> {
    /// How many documents there are, in memory and in the store.
    pub fn len(&self) -> u64 {
        self.edge.documents + self.deque.dirty_documents()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many documents are in memory; 0 after a [`flush`](DocumentBuffer::flush).
    pub fn cached(&self) -> usize {
        self.deque.documents()
    }

    /// Counts and bytes.
    pub fn stats(&self) -> Stats {
        Stats {
            documents: self.len(),
            bytes: self.edge.bytes + self.deque.dirty_bytes(),
            cached_documents: self.deque.documents(),
            cached_bytes: self.deque.len(),
            stored_documents: self.edge.documents,
            stored_bytes: self.edge.bytes,
            end: self.useful_end(),
        }
    }

    /// First byte of the store behind what must be kept. What lies behind a suspect end must be, as long as
    /// this handle has not written over it; and a torn record, whose lost bytes a cut could put back as zeros
    /// when the power fails on the way, until an END stands on it.
    fn useful_end(&self) -> u64 {
        if let (End::Suspect { .. } | End::Torn { .. }, false, None) =
            (self.recovery.end, self.settled, &self.preserved)
        {
            return self.recovery.store_len;
        }
        match (self.salt, self.end_at) {
            (None, _) => 0,
            (Some(_), Some(end)) => end.saturating_add(format::END_LEN as u64),
            (Some(_), None) => self.edge.offset,
        }
    }

    /// What opening the store found: how many documents, and how the log ended.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// The file to which the bytes behind a suspect end were copied before the first write, if any were.
    pub fn preserved(&self) -> Option<&Path> {
        self.preserved.as_deref()
    }

    /// The store. Its bytes are the buffer's: do not write to it.
    pub fn get_ref(&self) -> &S {
        &self.store
    }

    /// The store, without a flush; also from a buffer that writes no more.
    ///
    /// What was pushed since the last flush is lost.
    pub fn into_inner(self) -> S {
        self.store
    }
}

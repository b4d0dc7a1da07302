//! The journal: many writers, one log of events in a directory of segments.
//!
//! ```text
//!   append -> queue -> committer -> writer -> segments (each a document buffer's store)
//!   open:  directory -> chain -> recover      replay, rev, follow: chain -> read
//! ```
//!
//! Hot: what gathers for the committer. The truth: the directory. Many threads append through clones of one
//! [`Journal`]; whoever waits first carries all that has gathered to the store, in one write and one sync.
//!
//! A journal's segments form a chain: each names the one that it continues, and where that one ends for it.
//! The newest is live, all others are sealed. Cutting back never rewrites: a new segment continues from the
//! cut, and what it does not build on is void. So a position is named for good by its segment and its place
//! in it, and readers in this or another process, cursors and snapshots are told when theirs was cut away.
//!
//! # Examples
//!
//! ```
//! use documentbuffer::journal::Journal;
//! # let dir = tempfile::tempdir().expect("a directory");
//! # let path = dir.path().join("journal");
//!
//! let journal = Journal::open(&path)?;
//! assert_eq!(journal.append("alice joined")?, 0); // survives power loss from here on
//! assert_eq!(journal.append_all(["bob joined", "bob left"])?, 1..3); // both or neither
//! journal.close()?;
//!
//! let journal = Journal::open(&path)?;
//! let events: Result<Vec<_>, _> = journal.replay(0)?.collect();
//! assert_eq!(events?[2], (2, b"bob left".to_vec()));
//! # Ok::<(), documentbuffer::journal::Error>(())
//! ```

#[cfg(feature = "tokio")]
pub mod asynchronous;
mod chain;
mod committer;
mod cursor;
mod error;
mod events;
mod files;
mod follow;
mod group;
#[cfg(feature = "serde")]
pub mod json;
mod mark;
mod open;
mod options;
mod publish;
mod queue;
mod read;
mod reader;
mod recover;
mod replay;
mod snapshot;
mod state;
mod stats;
mod sync;
#[cfg_attr(not(feature = "tracing"), path = "untraced.rs")]
mod trace;
mod verify;
mod writer;

pub use cursor::{BadCursor, Cursor};
pub use error::{Action, Error, Result};
pub use events::{Cause, Codec, Decision, EventOptions, EventReplay, Events};
use follow::Place;
pub use follow::{Follower, Step};
pub use options::{DEFAULT_QUEUE, DEFAULT_SEGMENT, Durability, Options, Retention};
pub use publish::{Lag, Published, Subscription};
pub use read::Document;
pub use reader::{Reader, SegmentInfo};
pub use replay::{Replay, Rev};
pub use snapshot::{BadSnapshot, IgnoredSnapshot, Mark, SnapshotError, SnapshotInfo, SnapshotStep};
pub use state::{Replayed, ReplayedOptions, State, StateReport};
pub use stats::Stats;
pub use verify::Verification;

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc as StdArc, Mutex as StdMutex, PoisonError};

use chain::Chain;
use committer::Core;
use files::Files;
use sync::{Arc, thread};
use writer::Writer;

/// One log for many writers.
///
/// A handle is cheap to clone, and all clones are the same journal. A position counts from 0 and is an
/// event's for ever, unless [`truncate_after`](Journal::truncate_after) cuts it away; discarding old events
/// moves no position. Every method says what is durable when it returns; on an error nothing has moved.
///
/// Dropping the last handle writes nothing: what was appended at [`Durability::Memory`] since the last
/// [`flush`](Journal::flush) is gone. Call [`close`](Journal::close).
///
/// Memory: two or three times [`Options::queue`], the largest batch in hand, and under 1 MiB for each reader.
///
/// # Examples
///
/// ```
/// use documentbuffer::journal::Journal;
/// # let dir = tempfile::tempdir().expect("a directory");
/// # let path = dir.path().join("journal");
///
/// let journal = Journal::open(&path)?;
/// std::thread::scope(|scope| {
///     for name in ["alice", "bob"] {
///         let journal = journal.clone();
///         scope.spawn(move || journal.append(format!("{name} joined")));
///     }
/// });
/// assert_eq!(journal.end(), 2);
/// # Ok::<(), documentbuffer::journal::Error>(())
/// ```
#[derive(Clone)]
pub struct Journal {
    owner: StdArc<Owner>,
}

/// What goes with the last handle.
struct Owner {
    core: Arc<Core>,
    files: Files,
    durability: Durability,
    committer: StdMutex<Option<thread::JoinHandle<()>>>,
}

impl Owner {
    fn end(&self) {
        self.core.close(Error::Closed);
        let committer = self
            .committer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(committer) = committer {
            committer::join(committer);
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.end();
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal")
            .field("end", &self.end())
            .finish_non_exhaustive()
    }
}

impl Journal {
    /// Opens the journal in the directory at `path`, or begins one there, with the default [`Options`].
    ///
    /// # Errors
    ///
    /// As [`Options::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Journal> {
        Options::new().open(path)
    }

    fn start(writer: Writer, options: &Options) -> Result<Journal> {
        let files = writer.files().clone();
        let core = Arc::new(Core::new(writer, options)?);
        let committer = committer::spawn(core.clone())?;
        let owner = Owner {
            core,
            files,
            durability: options.durability,
            committer: StdMutex::new(Some(committer)),
        };
        Ok(Journal {
            owner: StdArc::new(owner),
        })
    }

    fn core(&self) -> &Core {
        &self.owner.core
    }

    /// Appends a document; returns its position.
    ///
    /// Durable on return: as [`Options::durability`] says.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`], [`Error::Full`], [`Error::Segment`], [`Error::Io`]: it was not appended, though
    /// after a crash it may be found. [`Error::Failed`], [`Error::Closed`].
    pub fn append(&self, document: impl AsRef<[u8]>) -> Result<u64> {
        self.append_with(document, self.owner.durability)
    }

    /// Appends a document; returns its position.
    ///
    /// Durable on return: as `durability` says. At [`Durability::Memory`] it waits only where the queue is
    /// full, or where documents stand before it that are still waited for.
    ///
    /// # Errors
    ///
    /// As [`append`](Journal::append).
    pub fn append_with(&self, document: impl AsRef<[u8]>, durability: Durability) -> Result<u64> {
        self.core().append(&[document.as_ref()], durability, None)
    }

    /// Appends a document only if it gets the position `expected`; returns that.
    ///
    /// Durable on return: as [`append`](Journal::append).
    ///
    /// # Errors
    ///
    /// [`Error::PositionMismatch`] with the next position; else as [`append`](Journal::append).
    pub fn append_at(&self, expected: u64, document: impl AsRef<[u8]>) -> Result<u64> {
        let durability = self.owner.durability;
        self.core()
            .append(&[document.as_ref()], durability, Some(expected))
    }

    /// Appends documents as one: after a crash all of them are there, or none. Returns their positions.
    ///
    /// Durable on return: as [`append`](Journal::append). All are in memory at once.
    ///
    /// # Errors
    ///
    /// As [`append`](Journal::append); none was appended.
    pub fn append_all<I>(&self, documents: I) -> Result<Range<u64>>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        self.append_all_with(documents, self.owner.durability)
    }

    /// Appends documents as one, as durable as that: see [`append_all`](Journal::append_all).
    ///
    /// # Errors
    ///
    /// As [`append_all`](Journal::append_all).
    pub fn append_all_with<I>(&self, documents: I, durability: Durability) -> Result<Range<u64>>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        let documents: Vec<I::Item> = documents.into_iter().collect();
        let slices: Vec<&[u8]> = documents.iter().map(AsRef::as_ref).collect();
        let first = self.core().append(&slices, durability, None)?;
        Ok(first..first.saturating_add(slices.len() as u64))
    }

    /// Writes everything appended so far. Durable on return: against the death of this process.
    ///
    /// # Errors
    ///
    /// As [`append`](Journal::append); what was acknowledged at [`Durability::Memory`] stays in memory.
    pub fn flush(&self) -> Result<()> {
        self.core().flush(Durability::Written)
    }

    /// Writes and syncs everything appended so far. Durable on return: against power loss.
    ///
    /// # Errors
    ///
    /// As [`flush`](Journal::flush).
    pub fn sync(&self) -> Result<()> {
        self.core().flush(Durability::Synced)
    }

    /// The next position: all documents that were ever appended and not cut away.
    pub fn end(&self) -> u64 {
        self.core().lock().next()
    }

    /// The first position that is kept.
    pub fn first(&self) -> u64 {
        self.core().lock().view.chain.first()
    }

    /// Streams documents from position `from` on, oldest first, up to those appended last.
    ///
    /// What is in memory only is written before; durable on return: as [`flush`](Journal::flush).
    ///
    /// # Errors
    ///
    /// [`Error::Discarded`], [`Error::BeyondEnd`]; else as [`flush`](Journal::flush) and
    /// [`Replay::next`].
    pub fn replay(&self, from: u64) -> Result<Replay> {
        let files = &self.owner.files;
        chain::again(
            || self.core().let_pass(),
            || Replay::new(files.clone(), self.whole_chain()?, from),
        )
    }

    /// Streams documents newest first, from the one appended last.
    ///
    /// Durable on return: as [`flush`](Journal::flush).
    ///
    /// # Errors
    ///
    /// As [`replay`](Journal::replay).
    pub fn rev(&self) -> Result<Rev> {
        let files = &self.owner.files;
        chain::again(
            || self.core().let_pass(),
            || Rev::new(files.clone(), self.whole_chain()?),
        )
    }

    /// Hands over every document from position `from` on, and then those to come, once they are as durable as
    /// [`Options::durability`] says.
    ///
    /// Durable on return: everything appended before, likewise.
    ///
    /// # Errors
    ///
    /// [`Error::Discarded`], [`Error::BeyondEnd`]; else as [`flush`](Journal::flush).
    pub fn follow(&self, from: u64) -> Result<Follower> {
        self.follower(Place::Position(from))
    }

    /// Hands over what stands behind `cursor`, and then what is to come, as [`follow`](Journal::follow) does.
    ///
    /// If what the cursor names is not there any more, the first step is [`Step::CutBack`], to a position up to
    /// which the journal is certainly what was read then; it may be still the same for longer. (But a
    /// directory that was put back from an older copy and then written on may not even be that.)
    ///
    /// # Errors
    ///
    /// [`Error::ForeignCursor`], and as [`follow`](Journal::follow).
    pub fn resume(&self, cursor: &Cursor) -> Result<Follower> {
        self.follower(Place::Behind(*cursor))
    }

    fn follower(&self, place: Place) -> Result<Follower> {
        let durability = self.owner.durability.max(Durability::Written);
        self.core().flush(durability)?;
        let (files, core) = (self.owner.files.clone(), self.owner.core.clone());
        Follower::inside(files, core, durability, |_| place)
    }

    /// Reads everything that is written, and says what is wrong, if anything is.
    ///
    /// Durable on return: as [`flush`](Journal::flush).
    ///
    /// # Errors
    ///
    /// As [`replay`](Journal::replay); damage is no error but in the report.
    pub fn verify(&self) -> Result<Verification> {
        self.core().view()?;
        self.core()
            .alone(|writer| verify::run(writer.files(), Some(writer.edge())))
    }

    /// The chain, with an end for the live segment too.
    fn whole_chain(&self) -> Result<StdArc<Chain>> {
        let view = self.core().view()?;
        let mut chain = view.chain;
        if let Some(live) = StdArc::make_mut(&mut chain).links.last_mut() {
            live.end = Some(view.edge);
        }
        Ok(chain)
    }

    /// Keeps the documents before position `end`, and takes the newer ones away.
    ///
    /// Durable on return: against power loss, and all or nothing. Positions from `end` on are given again;
    /// whoever read or follows what stood there is told.
    ///
    /// # Errors
    ///
    /// [`Error::BeyondEnd`], [`Error::Discarded`]; else as [`append`](Journal::append).
    pub fn truncate_after(&self, end: u64) -> Result<()> {
        self.core().alone(|writer| writer.truncate_after(end))
    }

    /// Discards documents before `position`, by whole segments; returns the first position that is kept.
    ///
    /// Durable on return: against power loss. A crash may leave any part of it done, the oldest first.
    ///
    /// # Errors
    ///
    /// [`Error::BeyondEnd`], [`Error::Io`], [`Error::Failed`].
    pub fn discard_before(&self, position: u64) -> Result<u64> {
        self.core().discard_before(position)
    }

    /// Seals the live segment and begins another, so that all before can be discarded; then discards what
    /// [`Options::retention`] lets go.
    ///
    /// Durable on return: everything appended before, against power loss.
    ///
    /// # Errors
    ///
    /// As [`append`](Journal::append).
    pub fn rotate(&self) -> Result<()> {
        self.core().alone(Writer::rotate_now)
    }

    /// What the journal is and has done, in numbers.
    pub fn stats(&self) -> Stats {
        let state = self.core().lock();
        let (view, counts) = (&state.view, state.counts);
        let sealed = view.chain.links.iter().map(chain::Link::len);
        Stats {
            first: view.chain.first(),
            end: state.next(),
            written: view.written,
            synced: view.synced,
            segments: view.chain.links.len(),
            bytes: sealed.fold(view.edge.offset, u64::saturating_add),
            groups: counts.groups,
            group_documents: counts.group_documents,
            largest_group: counts.largest_group,
            syncs: counts.syncs,
            sync_time: counts.sync_time,
            slowest_sync: counts.slowest_sync,
        }
    }

    /// Makes everything durable, ends the journal for all its handles, and returns its last numbers.
    ///
    /// The committer's thread has ended and the lock is released when it returns. A live segment that is not
    /// small is sealed, so that the next opening reads next to nothing. Durable on return: against power
    /// loss.
    ///
    /// # Errors
    ///
    /// As [`append`](Journal::append): the journal is then still open, and may be closed again.
    pub fn close(self) -> Result<Stats> {
        self.core().finish()?;
        let stats = self.stats();
        self.owner.end();
        Ok(stats)
    }
}

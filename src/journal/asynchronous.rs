//! The journal for tasks: nothing here blocks the runtime.
//!
//! Appends wait asleep: the committer's thread carries them to the store, and wakes them. What opens, closes
//! or reads files goes to tokio's blocking threads, of either kind of runtime. What waits for the committer
//! alone (appending, flushing, syncing) works under any other runtime as well.
//!
//! # What a dropped future leaves behind
//!
//! An append is *accepted* when its documents get their positions: in the poll that first finds room for
//! them, which is the first one unless the queue is full or the journal's end is being moved. Before that
//! nothing is appended; a future that was never polled, or is dropped while it waits for room, leaves
//! nothing. From then on the documents are appended once, in their place in the order, and get as durable as
//! asked, whether or not the future is polled again: dropping it only forgoes the answer. So where a timeout
//! fires it is not known which it was. The same holds for [`flush`](AsyncJournal::flush) and
//! [`sync`](AsyncJournal::sync), which are under way from their first poll on, and for what was given to a
//! blocking thread ([`run`](AsyncJournal::run), [`close`](AsyncJournal::close)), which goes on to its end.
//! [`Follow`] loses nothing whenever it is dropped between two of its polls.
//!
//! Appends that one task awaits one after the other stand in that order. Of futures that are polled together
//! the one that is accepted first stands first.
//!
//! # Examples
//!
//! ```
//! use documentbuffer::journal::asynchronous::{AsyncJournal, Followed};
//! # let dir = tempfile::tempdir().expect("a directory");
//! # let path = dir.path().join("journal");
//! # let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
//!
//! # runtime.block_on(async {
//! let journal = AsyncJournal::open(&path).await?;
//! let mut events = journal.follow(0).await?;
//! assert_eq!(journal.append("alice joined").await?, 0); // survives power loss from here on
//! let first = events.next().await.expect("an open journal")?;
//! assert_eq!(first, Followed::Document { position: 0, bytes: b"alice joined".to_vec() });
//! journal.close().await?;
//! assert!(events.next().await.is_none());
//! # Ok::<(), documentbuffer::journal::Error>(())
//! # })?;
//! # Ok::<(), documentbuffer::journal::Error>(())
//! ```

mod commit;
mod follow;

pub use follow::{Follow, Followed};

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::task;

use super::committer::Core;
use super::error::{Action, Error, Result};
use super::{Durability, Journal, Options, Stats};
use commit::{Commit, Wish};

/// A [`Journal`] whose calls are futures.
///
/// A handle is cheap to clone, and all clones are the same journal, which threads may use beside them
/// ([`journal`](AsyncJournal::journal)). What each call promises is what it promises there.
///
/// Where the last handle goes in a tokio runtime, the journal ends on a blocking thread, and its lock is free
/// a moment later: [`close`](AsyncJournal::close) it to know when.
///
/// # Examples
///
/// ```
/// use documentbuffer::journal::asynchronous::AsyncJournal;
/// # let dir = tempfile::tempdir().expect("a directory");
/// # let path = dir.path().join("journal");
/// # let runtime = tokio::runtime::Builder::new_multi_thread().build().expect("a runtime");
///
/// # runtime.block_on(async {
/// let journal = AsyncJournal::open(&path).await?;
/// let tasks = ["alice", "bob"].map(|name| {
///     let journal = journal.clone();
///     tokio::spawn(async move { journal.append(format!("{name} joined")).await })
/// });
/// for task in tasks {
///     task.await.expect("no panic")?;
/// }
/// assert_eq!(journal.close().await?.end, 2);
/// # Ok::<(), documentbuffer::journal::Error>(())
/// # })?;
/// # Ok::<(), documentbuffer::journal::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct AsyncJournal {
    journal: Journal,
    /// Behind `journal`: the last of these handles to go leaves the end to it.
    _keeper: Arc<Keeper>,
}

/// Ends the journal where that may block.
#[derive(Debug)]
struct Keeper(Option<Journal>);

impl Drop for Keeper {
    fn drop(&mut self) {
        if let (Some(journal), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            drop(runtime.spawn_blocking(move || drop(journal)));
        }
    }
}

impl From<Journal> for AsyncJournal {
    fn from(journal: Journal) -> AsyncJournal {
        AsyncJournal {
            _keeper: Arc::new(Keeper(Some(journal.clone()))),
            journal,
        }
    }
}

impl AsyncJournal {
    /// Opens the journal in the directory at `path`, or begins one there, with the default [`Options`].
    ///
    /// # Errors
    ///
    /// As [`Options::open`].
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub async fn open(path: impl AsRef<Path>) -> Result<AsyncJournal> {
        AsyncJournal::open_with(&Options::new(), path).await
    }

    /// Opens the journal in the directory at `path`.
    ///
    /// Durable on return: as [`Options::open`].
    ///
    /// # Errors
    ///
    /// As [`Options::open`].
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub async fn open_with(options: &Options, path: impl AsRef<Path>) -> Result<AsyncJournal> {
        let (options, path) = (options.clone(), path.as_ref().to_owned());
        let journal = blocking(move || options.open(path)).await?;
        Ok(AsyncJournal::from(journal))
    }

    /// The journal itself; its calls block.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    fn core(&self) -> &Core {
        &self.journal.owner.core
    }

    /// Appends a document; returns its position.
    ///
    /// Durable on return: as [`Options::durability`] says. Dropped: see the [module](self).
    ///
    /// # Errors
    ///
    /// As [`Journal::append`]; where it waits for room, also what failed those that stand in its way.
    pub async fn append(&self, document: impl AsRef<[u8]>) -> Result<u64> {
        let durability = self.journal.owner.durability;
        self.put(&[document.as_ref()], durability, None).await
    }

    /// Appends a document; returns its position.
    ///
    /// Durable on return: as `durability` says, see [`Journal::append_with`]. Dropped: see the
    /// [module](self).
    ///
    /// # Errors
    ///
    /// As [`append`](AsyncJournal::append).
    pub async fn append_with(
        &self,
        document: impl AsRef<[u8]>,
        durability: Durability,
    ) -> Result<u64> {
        self.put(&[document.as_ref()], durability, None).await
    }

    /// Appends a document only if it gets the position `expected`; returns that.
    ///
    /// Durable on return: as [`append`](AsyncJournal::append). Dropped: see the [module](self).
    ///
    /// # Errors
    ///
    /// [`Error::PositionMismatch`] with the next position; else as [`append`](AsyncJournal::append).
    pub async fn append_at(&self, expected: u64, document: impl AsRef<[u8]>) -> Result<u64> {
        let durability = self.journal.owner.durability;
        let document = &[document.as_ref()];
        self.put(document, durability, Some(expected)).await
    }

    /// Appends documents as one: after a crash all of them are there, or none. Returns their positions.
    ///
    /// Durable on return: as [`append`](AsyncJournal::append). All are in memory at once. Dropped: see the
    /// [module](self).
    ///
    /// # Errors
    ///
    /// As [`append`](AsyncJournal::append); none was appended.
    pub async fn append_all<I>(&self, documents: I) -> Result<Range<u64>>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        let durability = self.journal.owner.durability;
        self.append_all_with(documents, durability).await
    }

    /// Appends documents as one, as durable as that: see [`append_all`](AsyncJournal::append_all).
    ///
    /// # Errors
    ///
    /// As [`append_all`](AsyncJournal::append_all).
    pub async fn append_all_with<I>(
        &self,
        documents: I,
        durability: Durability,
    ) -> Result<Range<u64>>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        let documents: Vec<I::Item> = documents.into_iter().collect();
        let slices: Vec<&[u8]> = documents.iter().map(AsRef::as_ref).collect();
        let first = self.put(&slices, durability, None).await?;
        Ok(first..first.saturating_add(slices.len() as u64))
    }

    async fn put(
        &self,
        documents: &[&[u8]],
        durability: Durability,
        expected: Option<u64>,
    ) -> Result<u64> {
        let wish = Wish::Append {
            documents: self.core().documents(documents)?,
            durability,
            expected,
        };
        Commit::new(self.core(), wish).await
    }

    /// Writes everything appended so far. Durable on return: against the death of this process.
    ///
    /// # Errors
    ///
    /// As [`Journal::flush`].
    pub async fn flush(&self) -> Result<()> {
        let wish = Wish::Everything(Durability::Written);
        Commit::new(self.core(), wish).await.map(drop)
    }

    /// Writes and syncs everything appended so far. Durable on return: against power loss.
    ///
    /// # Errors
    ///
    /// As [`Journal::sync`].
    pub async fn sync(&self) -> Result<()> {
        let wish = Wish::Everything(Durability::Synced);
        Commit::new(self.core(), wish).await.map(drop)
    }

    /// Streams every document from position `from` on, and then those to come, once they are as durable as
    /// [`Options::durability`] says.
    ///
    /// Durable on return: everything appended before, likewise.
    ///
    /// # Errors
    ///
    /// As [`Journal::follow`].
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub async fn follow(&self, from: u64) -> Result<Follow> {
        let follower = self.run(move |journal| journal.follow(from)).await?;
        let owner = &self.journal.owner;
        Ok(Follow::new(owner.core.clone(), owner.durability, follower))
    }

    /// Does something with the journal on a blocking thread: replays it, cuts it back, discards, verifies.
    ///
    /// ```
    /// # use documentbuffer::journal::asynchronous::AsyncJournal;
    /// # let dir = tempfile::tempdir().expect("a directory");
    /// # let path = dir.path().join("journal");
    /// # let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    /// # runtime.block_on(async {
    /// # let journal = AsyncJournal::open(&path).await?;
    /// journal.append_all(["one", "two", "three"]).await?;
    /// journal.run(|journal| journal.truncate_after(2)).await?;
    /// let events = journal.run(|journal| journal.replay(0)?.collect::<Result<Vec<_>, _>>()).await?;
    /// assert_eq!(events.last(), Some(&(1, b"two".to_vec())));
    /// # Ok::<(), documentbuffer::journal::Error>(())
    /// # })?;
    /// # Ok::<(), documentbuffer::journal::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// What `act` returns; [`Error::Io`] where the runtime ends before it began.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, and where `act` does.
    pub async fn run<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Journal) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let journal = self.journal.clone();
        blocking(move || act(&journal)).await
    }

    /// Makes everything durable, ends the journal for all its handles, and returns its last numbers.
    ///
    /// Durable on return: against power loss; see [`Journal::close`]. What was accepted before is appended,
    /// and what is still waiting for room gets [`Error::Closed`].
    ///
    /// # Errors
    ///
    /// As [`Journal::close`].
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub async fn close(self) -> Result<Stats> {
        self.run(|journal| journal.clone().close()).await
    }
}

/// Does what may block where it may.
async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    finished(task::spawn_blocking(act).await)?
}

/// What a blocking thread returned.
fn finished<T>(done: Result<T, task::JoinError>) -> Result<T> {
    done.or_else(|failed| match failed.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(failed) => {
            let source = std::io::Error::other(failed);
            Err(Error::io(Action::Spawn, "a blocking call".into(), source))
        }
    })
}

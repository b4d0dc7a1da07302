//! Follows a journal as a stream.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_core::stream::FusedStream;
use tokio::task::{JoinHandle, spawn_blocking};

use super::commit::Bed;
use super::finished;
use crate::journal::committer::Core;
use crate::journal::error::{Error, Result};
use crate::journal::follow::{Follower, Step, visible};
use crate::journal::options::Durability;
use crate::journal::queue::{Awaited, View};
use crate::journal::sync::Arc;

/// Readers may have something new to see.
const NEWS: Awaited = Awaited::Group(0);

/// Bytes of documents that are read at once; the last of them may be longer.
const BATCH: usize = 64 << 10;
/// How many of them at most.
const BATCH_DOCUMENTS: usize = 256;

/// What a [`Follow`] hands over.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Followed {
    /// The next document.
    Document {
        /// Its position in the journal.
        position: u64,
        /// The document.
        bytes: Vec<u8>,
    },
    /// The journal was cut back: documents from this position on, which were handed over, are void. What
    /// comes next has this position.
    CutBack {
        /// The position.
        to: u64,
    },
}

/// Without the contents.
impl fmt::Debug for Followed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Followed::Document { position, bytes } => f
                .debug_struct("Document")
                .field("position", position)
                .field("len", &bytes.len())
                .finish(),
            Followed::CutBack { to } => f.debug_struct("CutBack").field("to", to).finish(),
        }
    }
}

/// Streams every document from a position on, in order, and then those to come, once they are as durable as
/// the journal's [`Options::durability`](crate::journal::Options::durability) (at least written).
///
/// It ends when the journal is closed and nothing is left to hand over, and behind an error. A consumer that
/// is slow costs no memory: what it has not read lies in the directory. Files are read by a blocking thread,
/// up to 64 KiB at once.
///
/// Memory: as [`Follower`], and what was read at once.
///
/// # Examples
///
/// ```
/// use documentbuffer::journal::asynchronous::{AsyncJournal, Followed};
/// # let dir = tempfile::tempdir().expect("a directory");
/// # let path = dir.path().join("journal");
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
///
/// # runtime.block_on(async {
/// let journal = AsyncJournal::open(&path).await?;
/// journal.append_all(["one", "two"]).await?;
/// let mut events = journal.follow(1).await?;
/// let two = Followed::Document { position: 1, bytes: b"two".to_vec() };
/// assert_eq!(events.next().await.transpose()?, Some(two));
/// journal.run(|journal| journal.truncate_after(0)).await?;
/// assert_eq!(events.next().await.transpose()?, Some(Followed::CutBack { to: 0 }));
/// # Ok::<(), documentbuffer::journal::Error>(())
/// # })?;
/// # Ok::<(), documentbuffer::journal::Error>(())
/// ```
#[must_use]
pub struct Follow {
    core: Arc<Core>,
    durability: Durability,
    stage: Stage,
    /// Read, and not handed over.
    ready: VecDeque<Followed>,
    /// As the journal was before it was last read.
    seen: Option<View>,
    bed: Bed,
}

enum Stage {
    /// Everything that was seen has been read.
    Idle(Box<Follower>),
    Reading(JoinHandle<(Box<Follower>, Batch)>),
    /// It ends with that, or without.
    Last(Error),
    Ended,
}

/// What was read at once.
struct Batch {
    steps: VecDeque<Followed>,
    /// Whether it ended before there was nothing more to read.
    more: bool,
    result: Result<()>,
}

impl fmt::Debug for Follow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ended = matches!(self.stage, Stage::Ended);
        f.debug_struct("Follow")
            .field("ready", &self.ready.len())
            .field("ended", &ended)
            .finish_non_exhaustive()
    }
}

impl Follow {
    pub(super) fn new(core: Arc<Core>, durability: Durability, follower: Follower) -> Follow {
        Follow {
            core,
            durability,
            stage: Stage::Idle(Box::new(follower)),
            ready: VecDeque::new(),
            seen: None,
            bed: Bed::default(),
        }
    }

    /// The next step; waits for it. `None` once the stream has ended. It may be dropped while it waits, and
    /// nothing is lost.
    ///
    /// # Errors
    ///
    /// As [`Follower::try_next`], but that of a closed journal. Nothing follows an error.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub async fn next(&mut self) -> Option<Result<Followed>> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    fn end(&mut self, error: Error) {
        self.stage = match error {
            Error::Closed => Stage::Ended,
            error => Stage::Last(error),
        };
    }

    /// Reads on, if there is anything to be read; else sleeps until there may be.
    fn begin(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let waker = context.waker().clone();
        let state = self.core.lock();
        let durability = self.durability;
        let stands = self.seen.as_ref().is_some_and(|seen| {
            std::sync::Arc::ptr_eq(&seen.chain, &state.view.chain)
                && visible(seen, durability) == visible(&state.view, durability)
                && state.last.is_none()
        });
        if stands {
            self.bed.sleep(state, NEWS, waker);
            return Poll::Pending;
        }
        self.seen = Some(state.view.clone());
        drop(state);
        if let Stage::Idle(mut follower) = std::mem::replace(&mut self.stage, Stage::Ended) {
            self.stage = Stage::Reading(spawn_blocking(move || {
                let batch = read(&mut follower);
                (follower, batch)
            }));
        }
        Poll::Ready(())
    }

    fn take(&mut self, done: Result<(Box<Follower>, Batch)>) {
        match done {
            Ok((follower, batch)) => {
                self.ready = batch.steps;
                self.stage = Stage::Idle(follower);
                if batch.more {
                    self.seen = None;
                }
                if let Err(error) = batch.result {
                    self.end(error);
                }
            }
            Err(error) => self.end(error),
        }
    }
}

fn read(follower: &mut Follower) -> Batch {
    let mut batch = Batch {
        steps: VecDeque::new(),
        more: true,
        result: Ok(()),
    };
    let mut len = 0;
    while len < BATCH && batch.steps.len() < BATCH_DOCUMENTS {
        let step = match follower.try_next() {
            Ok(Some(Step::Document(document))) => Followed::Document {
                position: document.position,
                bytes: document.bytes.to_vec(),
            },
            Ok(Some(Step::CutBack { to })) => Followed::CutBack { to },
            Ok(None) => {
                batch.more = false;
                break;
            }
            Err(error) => {
                batch.result = Err(error);
                break;
            }
        };
        if let Followed::Document { bytes, .. } = &step {
            len = len.saturating_add(bytes.len());
        }
        batch.steps.push_back(step);
    }
    batch
}

impl Stream for Follow {
    type Item = Result<Followed>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Followed>>> {
        let this = &mut *self;
        loop {
            if let Some(step) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(step)));
            }
            match &mut this.stage {
                Stage::Idle(_) => {
                    if this.begin(context).is_pending() {
                        return Poll::Pending;
                    }
                }
                Stage::Reading(reading) => match Pin::new(reading).poll(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(done) => this.take(finished(done)),
                },
                Stage::Last(error) => {
                    let error = error.clone();
                    this.stage = Stage::Ended;
                    return Poll::Ready(Some(Err(error)));
                }
                Stage::Ended => return Poll::Ready(None),
            }
        }
    }
}

impl FusedStream for Follow {
    fn is_terminated(&self) -> bool {
        self.ready.is_empty() && matches!(self.stage, Stage::Ended)
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        self.bed.leave(&self.core);
    }
}

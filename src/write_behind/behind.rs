//! Writes that are owed: a slow tier behind a journal, as one tier.
//!
//! ```text
//!   write -> journal -> owing -> workers -> the tier below
//!   get   ------------> owing ----------->  the tier below
//! ```
//!
//! A write returns once it is journaled, and goes to the tier below in its own time. Until it has arrived it is
//! held here and read first, so that no reader sees an older value, whatever other tiers evict.
//!
//! # What is promised
//!
//! * What was acknowledged arrives, also if the process dies, as the chosen [durability](Options::durability) says.
//! * The writes of one key arrive in their order, at most one of them is on its way, and a newer one takes the
//!   place of one that still waits.
//! * A key whose write failed waits, ever longer, and nothing that comes for it makes it go sooner. Other keys
//!   are not held up. A write that the tier will never take is [parked](Behind::parked), and seen by readers,
//!   until somebody says what is to become of it.
//! * Bytes and keys are bounded, and what becomes of a write for which there is no room is [chosen](Full).
//! * An edge never acknowledges more than what lies under it keeps: opening refuses that.
//!
//! A write arrives at least once: after a crash one that had arrived may go again. It has its version, so a
//! tier that compares versions refuses it where something newer came meanwhile, and to any other it is the
//! same write again. So with such a tier the newer version stands, and not the later call: take versions from
//! a chain, which only go up, or none at all.
//!
//! Before a write goes below, its record in the journal is synced, for many at once: else power loss could
//! leave an older record of the key, which would then be written over what had arrived.

mod books;
mod deliver;
mod error;
mod inventory;
mod options;
mod owing;
mod record;
mod report;
mod shared;

pub use error::Error;
pub use inventory::{OwedWrite, owed};
pub use options::{Full, Options};
pub use report::{Closed, Parked, Stats};

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::tier::{self, Applied, Capabilities, Entry, Key, KeyBuf, Kind, Op, Page, Tier, When};
use books::Books;
use owing::weight;
use shared::{Admitted, Request, Shared};

/// What the documents of a journal of owed writes are written in.
const CODEC: &str = "documentbuffer owed 1";

/// How long closing as a tier waits for what is owed.
const LAST: Duration = Duration::from_secs(10);

/// A tier to which writes are owed; cheap to clone, and all clones are the same.
///
/// It takes no condition and no merge: put it into a chain, which does both. When the last handle is dropped
/// nothing more is delivered, and what is journaled goes on in the next life: call [`close`](Behind::close).
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "memory")] {
/// use documentbuffer::tier::{TierExt, memory::Memory};
/// use documentbuffer::write_behind::behind::Options;
/// use std::time::Duration;
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
///
/// # runtime.block_on(async {
/// let slow = std::sync::Arc::new(Memory::new(1 << 20));
/// let owed = Options::new().open(slow.clone()).await?;
/// owed.put("bob", "left").await?;
/// assert_eq!(owed.value("bob").await?.as_deref(), Some(&b"left"[..])); // wherever it is by now
/// let closed = owed.close(Duration::from_secs(5)).await?;
/// assert!(closed.settled);
/// assert_eq!(slow.value("bob").await?.as_deref(), Some(&b"left"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Behind<T: Tier> {
    owner: Arc<Owner<T>>,
}

impl<T: Tier> Clone for Behind<T> {
    fn clone(&self) -> Behind<T> {
        let owner = Arc::clone(&self.owner);
        Behind { owner }
    }
}

impl<T: Tier> std::fmt::Debug for Behind<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Behind")
            .field("tier", &self.owner.tier.name())
            .finish_non_exhaustive()
    }
}

/// What goes with the last handle.
struct Owner<T> {
    shared: Arc<Shared>,
    tier: Arc<T>,
    workers: Mutex<Vec<JoinHandle<()>>>,
}

impl<T> Owner<T> {
    fn end(&self) {
        {
            let mut state = self.shared.state();
            (state.ended, state.closing) = (true, true);
        }
        let workers =
            std::mem::take(&mut *self.workers.lock().unwrap_or_else(PoisonError::into_inner));
        workers.iter().for_each(JoinHandle::abort);
        self.shared.moved.notify_waiters();
    }
}

impl<T> Drop for Owner<T> {
    fn drop(&mut self) {
        self.end();
        self.shared.leave();
    }
}

impl Options {
    /// Owes writes to `tier`. What an earlier process owed is owed on.
    ///
    /// # Errors
    ///
    /// [`Error::KeepsLess`], [`Error::NoJournal`], [`Error::NoRuntime`], [`Error::Journal`].
    pub async fn open<T: Tier>(self, tier: T) -> Result<Behind<T>, Error> {
        let runtime = Handle::try_current().map_err(|_| Error::NoRuntime)?;
        let (promised, kept) = (self.settings.durability, tier.capabilities().durability);
        if promised > kept {
            return Err(Error::KeepsLess { promised, kept });
        }
        let (settings, clock) = (self.settings, self.the_clock());
        let opened = runtime.spawn_blocking(move || {
            let journal = self.open_journal()?;
            let (owing, last, new) = match &journal {
                Some(journal) => books::open(journal)?,
                None => Default::default(),
            };
            let shared = Arc::new(Shared::new(owing, last, settings, clock));
            let books = Books::new(journal, new, Arc::clone(&shared))?;
            Ok::<_, Error>((shared, books))
        });
        let (shared, books) = opened.await.map_err(|_| Error::NoRuntime)??;
        if settings.is_journaled() {
            drop(runtime.spawn(books.serve()));
        }
        let tier = Arc::new(tier);
        let work = |_| runtime.spawn(deliver::work(Arc::clone(&shared), Arc::clone(&tier)));
        let workers = (0..settings.parallel).map(work).collect();
        let owner = Owner {
            workers: Mutex::new(workers),
            shared,
            tier,
        };
        Ok(Behind {
            owner: Arc::new(owner),
        })
    }
}

impl<T: Tier> Behind<T> {
    fn shared(&self) -> &Shared {
        &self.owner.shared
    }

    fn error(&self, kind: Kind, message: impl Into<String>) -> tier::Error {
        tier::Error::new(kind, self.name(), message)
    }

    /// Owes a write, once there is room.
    async fn owe(&self, key: KeyBuf, op: Op) -> tier::Result<Applied> {
        let shared = self.shared();
        let needed = weight(key.as_key(), &op);
        let room = loop {
            // Before it is looked: what moves in between is not missed.
            let mut moved = std::pin::pin!(shared.moved.notified());
            moved.as_mut().enable();
            match (shared.admit(&key, needed), shared.full()) {
                (Admitted::Yes(room), _) => break room,
                (Admitted::Closed, _) => return Err(self.error(Kind::Closed, "it was closed")),
                (_, Full::Through) => match self.through(&key, &op).await {
                    Some(written) => return written,
                    None => moved.await,
                },
                (Admitted::Never, _) => {
                    let message = format!("{needed} bytes are more than it may owe");
                    return Err(self.error(Kind::Permanent, message));
                }
                (Admitted::Full, Full::Refuse) => {
                    return Err(self.error(Kind::Throttled, "it owes as much as it may"));
                }
                (Admitted::Full, _) => moved.await,
            }
        };
        self.journal(key, op, room).await
    }

    async fn journal(&self, key: KeyBuf, op: Op, room: usize) -> tier::Result<Applied> {
        let shared = self.shared();
        if !shared.settings.is_journaled() {
            let number = shared.number();
            let mut state = shared.state();
            Shared::release_room(&mut state, room);
            state.owing.owe(&key, owing::Owed { number, op });
            drop(state);
            shared.work.notify_one();
            return Ok(Applied::Done);
        }
        let (answer, answered) = oneshot::channel();
        shared.ask(Request::Owe {
            key,
            op,
            room,
            answer,
        });
        match answered.await {
            Ok(Ok(())) => Ok(Applied::Done),
            Ok(Err(error)) => Err(self
                .error(Kind::Transient, "the journal failed")
                .unknown()
                .source(error)),
            Err(_) => Err(self.error(Kind::Closed, "it was closed").unknown()),
        }
    }

    /// Writes to the tier at once, where nothing of the key is owed.
    async fn through(&self, key: &KeyBuf, op: &Op) -> Option<tier::Result<Applied>> {
        if !self.shared().state().owing.take(key) {
            return None;
        }
        let (own, key, op) = (self.clone(), key.clone(), op.clone());
        // It belongs to nobody's future: a caller that goes leaves the key in order.
        let task = tokio::spawn(async move {
            let written = deliver::write(&own.owner.tier, &key, op).await;
            own.shared().state().owing.give_back(&key);
            own.shared().moved.notify_waiters();
            own.shared().work.notify_one();
            written
        });
        let ended = |_| self.error(Kind::Closed, "the runtime ended").unknown();
        Some(task.await.map_err(ended).and_then(|written| written))
    }

    /// What the tier below will not take, in order of the keys.
    pub fn parked(&self) -> Vec<Parked> {
        let state = self.shared().state();
        let parked = state.owing.all_parked().map(|(key, parked)| Parked {
            key: key.clone(),
            op: parked.owed.op.clone(),
            reason: parked.reason.clone(),
        });
        let mut parked: Vec<Parked> = parked.collect();
        drop(state);
        parked.sort_by(|a, b| a.key.cmp(&b.key));
        parked
    }

    /// What is parked under that key goes again. Answers whether anything was.
    ///
    /// Durable on return: as a write.
    ///
    /// # Errors
    ///
    /// [`Error::Journal`], [`Error::Closed`]: it is still parked.
    pub async fn retry(&self, key: Key<'_>) -> Result<bool, Error> {
        self.release(key, true).await
    }

    /// Gives up what is parked under that key. Answers whether anything was.
    ///
    /// Durable on return: as a write.
    ///
    /// # Errors
    ///
    /// [`Error::Journal`], [`Error::Closed`]: it is still parked.
    pub async fn discard(&self, key: Key<'_>) -> Result<bool, Error> {
        self.release(key, false).await
    }

    async fn release(&self, key: Key<'_>, again: bool) -> Result<bool, Error> {
        let shared = self.shared();
        let key = KeyBuf::from(key);
        let number = {
            let mut state = shared.state();
            let Some(parked) = state.owing.parked(key.as_key()) else {
                return Ok(false);
            };
            let number = parked.owed.number;
            if !shared.settings.is_journaled() {
                state.owing.release(&key, number, again);
                drop(state);
                shared.work.notify_one();
                shared.moved.notify_waiters();
                return Ok(true);
            }
            number
        };
        let (answer, answered) = oneshot::channel();
        shared.ask(Request::Release {
            key,
            number,
            again,
            answer,
        });
        answered.await.map_err(|_| Error::Closed)??;
        Ok(true)
    }

    /// What is owed, and was done, in numbers.
    pub fn stats(&self) -> Stats {
        let state = self.shared().state();
        Stats {
            keys: state.owing.keys(),
            bytes: state.owing.bytes(),
            parked: state.owing.all_parked().count(),
            delivered: state.counts.delivered,
            superseded: state.counts.superseded,
            failures: state.counts.failures,
            last_error: state.counts.last_error.clone(),
        }
    }

    /// Takes nothing in any more, waits until all has arrived, and ends, by all means within `deadline`.
    ///
    /// Writes that are on their way then are given up, and are still owed. The journal's lock is free on
    /// return, and the tier below is not closed. Durable on return: against power loss, what is owed and
    /// parked, where there is a journal.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] where it was closed before; [`Error::Journal`] where the journal could not be made
    /// durable at its end.
    pub async fn close(&self, deadline: Duration) -> Result<Closed, Error> {
        let shared = self.shared();
        {
            let mut state = shared.state();
            if std::mem::replace(&mut state.closing, true) {
                return Err(Error::Closed);
            }
        }
        let settled = tokio::time::timeout(deadline, self.settled()).await;
        self.owner.end();
        if shared.settings.is_journaled() {
            let (answer, answered) = oneshot::channel();
            shared.ask(Request::Close { answer });
            answered.await.map_err(|_| Error::Closed)??;
        }
        let state = shared.state();
        let parked = state.owing.all_parked().count();
        Ok(Closed {
            settled: settled.is_ok(),
            owed: state.owing.all().count() - parked,
            journaled: shared.settings.is_journaled(),
            parked,
            last_error: state.counts.last_error.clone(),
        })
    }

    async fn settled(&self) {
        let shared = self.shared();
        loop {
            let mut moved = std::pin::pin!(shared.moved.notified());
            moved.as_mut().enable();
            if shared.is_settled() {
                return;
            }
            moved.await;
        }
    }
}

impl<T: Tier> Tier for Behind<T> {
    fn name(&self) -> &str {
        self.owner.tier.name()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new(self.shared().settings.durability)
    }

    async fn get(&self, key: Key<'_>) -> tier::Result<Option<Entry>> {
        {
            let state = self.shared().state();
            if let Some(op) = state.owing.newest(key) {
                return Ok(owing::seen(op, || self.shared().clock.wall_micros()));
            }
        }
        self.owner.tier.get(key).await
    }

    async fn write(&self, key: Key<'_>, op: Op, when: When) -> tier::Result<Applied> {
        if when != When::Always || matches!(op, Op::Merge(_)) {
            let message = "it owes no conditions and no sums: a chain does both";
            return Err(self.error(Kind::Unsupported, message));
        }
        self.owe(KeyBuf::from(key), op).await
    }

    async fn scan(&self, from: Option<&Bytes>, limit: usize) -> tier::Result<Page> {
        let _ = (from, limit);
        Err(self.error(Kind::Unsupported, "what is owed is in no order"))
    }

    async fn close(&self) -> tier::Result<()> {
        match Behind::close(self, LAST).await {
            Ok(_) | Err(Error::Closed) => Tier::close(&self.owner.tier).await,
            Err(error) => Err(self
                .error(Kind::Permanent, "it could not be closed")
                .source(error)),
        }
    }
}

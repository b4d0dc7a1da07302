//! Subscriptions: every event once, in order, after it is durable.
//!
//! Nobody publishes but the journal: a subscription reads the log behind what is durable. One that is slow
//! costs no memory and holds nobody up; what it may miss is its own choice.

use std::fmt;
use std::time::Duration;

use super::committer::Core;
use super::cursor::Cursor;
use super::error::{Error, Result};
use super::events::{Events, Reading};
use super::files::Files;
use super::follow::{Follower, Place, Step, visible};
use super::options::Durability;
use super::queue::View;
use super::sync::Arc;

/// How far a subscription may fall behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lag {
    /// As far as it likes: the log waits for it. Where retention does not, that is [`Error::Discarded`], and
    /// the subscription's end.
    #[default]
    Unbounded,
    /// So many documents. Beyond that it is told how many it misses, and goes on with the newest so many;
    /// likewise where retention was faster.
    Skip(u64),
}

/// What a subscription is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Published<E> {
    /// The next event.
    Event {
        /// Its position.
        position: u64,
        /// The event.
        event: E,
    },
    /// The journal was cut back: events from this position on, which were handed over, are void. What comes
    /// next has this position, or a later one.
    CutBack {
        /// The position.
        to: u64,
    },
    /// It was too slow: so many documents are missing between the last and the next.
    Lagged {
        /// How many.
        skipped: u64,
    },
}

/// How long to wait.
#[derive(Clone, Copy)]
enum Wait {
    No,
    Most(Duration),
    Forever,
}

/// Reads a journal's events as they become durable, each once and in order.
///
/// An event is handed over once it is as durable as the journal's
/// [`Options::durability`](super::Options::durability) (at least written). A subscription does not keep the
/// journal open: when the last handle is closed or dropped, it hands over what is durable and ends.
///
/// After an error it is over: every later call gives the same. As an iterator it waits for each item, and
/// ends with the journal.
///
/// Memory: one window of 512 KiB, and the event in hand.
///
/// # Examples
///
/// ```
/// use documentbuffer::journal::{Cause, Codec, Events, Lag, Published};
/// # struct Decimal;
/// # impl Codec<i64> for Decimal {
/// #     fn name(&self) -> &str {
/// #         "decimal"
/// #     }
/// #     fn encode(&self, value: &i64, into: &mut Vec<u8>) -> Result<(), Cause> {
/// #         into.extend(value.to_string().bytes());
/// #         Ok(())
/// #     }
/// #     fn decode(&self, bytes: &[u8]) -> Result<i64, Cause> {
/// #         Ok(std::str::from_utf8(bytes)?.parse()?)
/// #     }
/// # }
/// # let dir = tempfile::tempdir().expect("a directory");
/// # let path = dir.path().join("journal");
///
/// let events = Events::options(Decimal).open(&path)?; // A codec of numbers, as text.
/// let subscription = events.subscribe(0, Lag::Unbounded)?;
/// let sum = std::thread::spawn(move || {
///     let mut sum = 0;
///     for published in subscription {
///         if let Published::Event { event, .. } = published? {
///             sum += event;
///         }
///     }
///     Ok::<i64, documentbuffer::journal::Error>(sum)
/// });
/// events.append(&30)?;
/// events.append(&12)?;
/// events.close()?;
/// assert_eq!(sum.join().expect("no panic")?, 42);
/// # Ok::<(), documentbuffer::journal::Error>(())
/// ```
pub struct Subscription<E> {
    reading: Reading<E>,
    lag: Lag,
    follower: Follower,
    files: Files,
    core: Arc<Core>,
    durability: Durability,
    /// Documents that were missed, and nothing was said of yet.
    missed: u64,
    /// Where missing them ends.
    until: u64,
    /// Behind what was told last, while documents are missed.
    told: Option<Cursor>,
    over: Option<Error>,
}

impl<E> fmt::Debug for Subscription<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("position", &self.position())
            .field("lag", &self.lag)
            .finish_non_exhaustive()
    }
}

impl<E> Events<E> {
    /// Hands over every event from position `from` on, and then those to come; `journal().end()` is from now
    /// on.
    ///
    /// Durable on return: everything appended before.
    ///
    /// # Errors
    ///
    /// As [`Journal::follow`](super::Journal::follow).
    pub fn subscribe(&self, from: u64, lag: Lag) -> Result<Subscription<E>> {
        Ok(self.subscription(self.journal().follow(from)?, lag))
    }

    /// Hands over every event behind `cursor`, and then those to come; where what it names was cut away, that
    /// is told first, as by [`Journal::resume`](super::Journal::resume).
    ///
    /// Durable on return: everything appended before.
    ///
    /// # Errors
    ///
    /// As [`Journal::resume`](super::Journal::resume).
    pub fn resume(&self, cursor: &Cursor, lag: Lag) -> Result<Subscription<E>> {
        Ok(self.subscription(self.journal().resume(cursor)?, lag))
    }

    fn subscription(&self, follower: Follower, lag: Lag) -> Subscription<E> {
        let owner = &self.journal().owner;
        Subscription {
            reading: self.reading().clone(),
            lag,
            follower,
            files: owner.files.clone(),
            core: owner.core.clone(),
            durability: owner.durability.max(Durability::Written),
            missed: 0,
            until: 0,
            told: None,
            over: None,
        }
    }
}

/// What a step of the follower came to.
enum Told<E> {
    Published(Published<E>),
    /// A document that is not handed over.
    Passed,
    Nothing,
}

impl<E> Subscription<E> {
    /// The next position.
    pub fn position(&self) -> u64 {
        self.follower.position()
    }

    /// The place behind what was told last, to go on from at another time.
    pub fn cursor(&self) -> Cursor {
        self.told.unwrap_or_else(|| self.follower.cursor())
    }

    /// What is next; waits for it.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] once a journal that was closed has nothing more; [`Error::Event`] for a document
    /// that is no event; else as [`Follower::try_next`].
    pub fn recv(&mut self) -> Result<Published<E>> {
        loop {
            if let Some(published) = self.take(Wait::Forever)? {
                return Ok(published);
            }
        }
    }

    /// What is next, if it comes within `most`; documents that are passed over begin the time anew.
    ///
    /// # Errors
    ///
    /// As [`recv`](Subscription::recv).
    pub fn recv_timeout(&mut self, most: Duration) -> Result<Option<Published<E>>> {
        self.take(Wait::Most(most))
    }

    /// What is next, if it is there already.
    ///
    /// # Errors
    ///
    /// As [`recv`](Subscription::recv).
    pub fn try_recv(&mut self) -> Result<Option<Published<E>>> {
        self.take(Wait::No)
    }

    fn take(&mut self, wait: Wait) -> Result<Option<Published<E>>> {
        if let Some(over) = &self.over {
            return Err(over.clone());
        }
        let taken = self.take_next(wait);
        self.over = taken.as_ref().err().cloned();
        taken
    }

    fn take_next(&mut self, wait: Wait) -> Result<Option<Published<E>>> {
        loop {
            self.fall_back();
            // What is to be missed is there already, unless it was cut away meanwhile.
            let missing = self.missed > 0 || self.follower.position() < self.until;
            let step = if missing { Wait::No } else { wait };
            match self.step(step) {
                Ok(Told::Published(published)) => return Ok(Some(published)),
                Ok(Told::Passed) => {}
                Ok(Told::Nothing) if missing => self.until = 0,
                Ok(Told::Nothing) => return Ok(None),
                Err(Error::Discarded { position, .. }) if self.lag != Lag::Unbounded => {
                    self.resume(position)?;
                }
                // What it misses is told first; the end comes again.
                Err(Error::Closed) if self.missed > 0 => self.until = 0,
                Err(error) => return Err(error),
            }
            if self.missed > 0 && self.follower.position() >= self.until {
                self.told = None;
                let skipped = std::mem::take(&mut self.missed);
                return Ok(Some(Published::Lagged { skipped }));
            }
        }
    }

    /// Decides from where on documents are missed, if it is too far behind.
    fn fall_back(&mut self) {
        let Lag::Skip(most) = self.lag else {
            return;
        };
        if self.missed > 0 || self.follower.position() < self.until {
            return;
        }
        let durable = visible(&self.core.lock().view, self.durability);
        if durable.saturating_sub(self.follower.position()) > most {
            self.until = durable.saturating_sub(most);
            self.told = Some(self.follower.cursor());
        }
    }

    /// Missed documents are read all the same: a cut among them must not be missed.
    fn step(&mut self, wait: Wait) -> Result<Told<E>> {
        let (position, before) = (self.follower.position(), self.follower.cursor());
        let step = match wait {
            Wait::No => self.follower.try_next()?,
            Wait::Most(most) => self.follower.next_timeout(most)?,
            Wait::Forever => Some(self.follower.next()?),
        };
        match step {
            None => Ok(Told::Nothing),
            Some(Step::Document(document)) if document.position < self.until => {
                self.missed = self.missed.saturating_add(1);
                Ok(Told::Passed)
            }
            Some(Step::Document(document)) => {
                let position = document.position;
                let event = self.reading.event(document);
                self.told = event.is_err().then_some(before);
                Ok(event?.map_or(Told::Passed, |event| {
                    Told::Published(Published::Event { position, event })
                }))
            }
            Some(Step::CutBack { to }) => {
                let seen = position.saturating_sub(self.missed);
                self.missed = to.saturating_sub(seen);
                self.until = 0;
                // Whom only missed documents were taken from has nothing to take back.
                if to >= seen {
                    return Ok(Told::Passed);
                }
                self.told = None;
                Ok(Told::Published(Published::CutBack { to }))
            }
        }
    }

    /// Goes on with the first document that is kept, behind some that were discarded.
    fn resume(&mut self, position: u64) -> Result<()> {
        self.told = Some(self.cursor());
        let (files, core) = (self.files.clone(), self.core.clone());
        let oldest = |view: &View| Place::Position(view.chain.first());
        self.follower = Follower::inside(files, core, self.durability, oldest)?;
        let first = self.follower.position();
        self.missed = (self.missed).saturating_add(first.saturating_sub(position));
        self.until = self.until.max(first);
        Ok(())
    }
}

impl<E> Iterator for Subscription<E> {
    type Item = Result<Published<E>>;

    fn next(&mut self) -> Option<Self::Item> {
        if matches!(self.over, Some(ref error) if !matches!(error, Error::Closed)) {
            return None;
        }
        match self.recv() {
            Err(Error::Closed) => None,
            told => Some(told),
        }
    }
}

impl<E> std::iter::FusedIterator for Subscription<E> {}

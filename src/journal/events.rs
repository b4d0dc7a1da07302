//! Typed events over a journal: how they are written, and what becomes of those that are no longer known.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::Journal;
use super::error::{Error, Result};
use super::options::{Durability, Options};
use super::read::Document;
use super::replay::Replay;
use super::stats::Stats;
use crate::buffer::segment::MAX_CODEC;
use crate::store::Directory;

/// Why something cannot be written, read or used.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// How values become bytes, and bytes values again: for events, and for the state in snapshots.
///
/// A log is read for years by programs that change. A codec that names variants and fields (JSON) survives
/// that; one that counts them takes an old event for another one as soon as a variant is inserted.
///
/// # Examples
///
/// ```
/// use documentbuffer::journal::{Cause, Codec};
///
/// struct Decimal;
///
/// impl Codec<i64> for Decimal {
///     fn name(&self) -> &str {
///         "decimal"
///     }
///     fn encode(&self, value: &i64, into: &mut Vec<u8>) -> Result<(), Cause> {
///         into.extend(value.to_string().bytes());
///         Ok(())
///     }
///     fn decode(&self, bytes: &[u8]) -> Result<i64, Cause> {
///         Ok(std::str::from_utf8(bytes)?.parse()?)
///     }
/// }
/// ```
pub trait Codec<T>: Send + Sync {
    /// Its name, at most 255 bytes: stands in every segment and snapshot, and another one is refused.
    fn name(&self) -> &str;

    /// Appends the bytes of `value`.
    ///
    /// # Errors
    ///
    /// Why there are none.
    fn encode(&self, value: &T, into: &mut Vec<u8>) -> Result<(), Cause>;

    /// The value of exactly these bytes.
    ///
    /// # Errors
    ///
    /// Why there is none. Bytes that are left over are an error too: they are a sign of another value.
    fn decode(&self, bytes: &[u8]) -> Result<T, Cause>;
}

/// What to do with a document.
#[derive(Debug)]
pub enum Decision<E> {
    /// It is this event.
    Use(E),
    /// It is none any more: pass it over. It keeps its position.
    Skip,
    /// Do not go on: that is [`Error::Event`] with this reason.
    Stop(Cause),
}

type Upcast<E> = dyn Fn(Document<'_>, Result<E, Cause>) -> Decision<E> + Send + Sync;

/// How documents become events: the codec, and what the program says about each.
pub(super) struct Reading<E> {
    codec: Arc<dyn Codec<E>>,
    upcast: Option<Arc<Upcast<E>>>,
}

impl<E> Clone for Reading<E> {
    fn clone(&self) -> Self {
        Reading {
            codec: self.codec.clone(),
            upcast: self.upcast.clone(),
        }
    }
}

impl<E> Reading<E> {
    /// The event that a document is; `None` where it is to be passed over.
    pub(super) fn event(&self, document: Document<'_>) -> Result<Option<E>> {
        let decoded = self.codec.decode(document.bytes);
        match (&self.upcast, decoded) {
            (Some(upcast), decoded) => match upcast(document, decoded) {
                Decision::Use(event) => Ok(Some(event)),
                Decision::Skip => Ok(None),
                Decision::Stop(cause) => Err(told(cause.as_ref())),
            },
            (None, Ok(event)) => Ok(Some(event)),
            (None, Err(cause)) => Err(format!(
                "no event that this program knows, in {:?}: {}; use a program that knows it, or say by \
                 `upcast` what it is",
                self.codec.name(),
                told(cause.as_ref())
            )),
        }
        .map_err(|reason| Error::Event {
            position: Some(document.position),
            reason,
        })
    }

    fn encode(&self, event: &E) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let written = self.codec.encode(event, &mut bytes);
        written.map_err(|cause| unwritable(cause.as_ref()))?;
        Ok(bytes)
    }

    /// What is appended and can never be read would end every replay.
    fn read_back(&self, bytes: &[u8]) -> Result<E> {
        let read = self.codec.decode(bytes);
        read.map_err(|cause| unwritable(cause.as_ref()))
    }

    fn encode_checked(&self, event: &E) -> Result<Vec<u8>> {
        let bytes = self.encode(event)?;
        self.read_back(&bytes)?;
        Ok(bytes)
    }

    /// An event's bytes, and what a replay will make of them at that position.
    pub(super) fn round_trip(&self, event: &E, position: u64) -> Result<(Vec<u8>, Option<E>)> {
        let document = self.encode(event)?;
        let bytes = document.as_slice();
        let read = match &self.upcast {
            Some(_) => self.event(Document { position, bytes })?,
            None => Some(self.read_back(bytes)?),
        };
        Ok((document, read))
    }
}

fn unwritable(cause: &(dyn std::error::Error + 'static)) -> Error {
    Error::Event {
        position: None,
        reason: format!(
            "the event cannot be written so that it can be read: {}",
            told(cause)
        ),
    }
}

/// An error and what is behind it, in one line.
pub(super) fn told(cause: &(dyn std::error::Error + 'static)) -> String {
    let mut told = cause.to_string();
    let mut source = cause.source();
    while let Some(cause) = source {
        told.push_str(": ");
        told.push_str(&cause.to_string());
        source = cause.source();
    }
    told
}

/// How [`Events`] are opened.
#[must_use]
pub struct EventOptions<E> {
    reading: Reading<E>,
    journal: Options,
}

impl<E> Clone for EventOptions<E> {
    fn clone(&self) -> Self {
        EventOptions {
            reading: self.reading.clone(),
            journal: self.journal.clone(),
        }
    }
}

impl<E> fmt::Debug for EventOptions<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventOptions")
            .field("codec", &self.reading.codec.name())
            .field("journal", &self.journal)
            .finish_non_exhaustive()
    }
}

impl<E> EventOptions<E> {
    /// The defaults: events in `codec`, a document that is none stops what reads it, [`Options::new`].
    pub fn new(codec: impl Codec<E> + 'static) -> EventOptions<E> {
        let codec = Arc::new(codec);
        let upcast = None;
        EventOptions {
            reading: Reading { codec, upcast },
            journal: Options::new(),
        }
    }

    /// Asks `upcast` about every document that is read, with what the codec made of it.
    ///
    /// Here an old event becomes a new one, one that means nothing any more is passed over, and one that
    /// nobody knows stops the replay. It must answer the same whenever it is asked.
    pub fn upcast(
        mut self,
        upcast: impl Fn(Document<'_>, Result<E, Cause>) -> Decision<E> + Send + Sync + 'static,
    ) -> Self {
        self.reading.upcast = Some(Arc::new(upcast));
        self
    }

    /// How the journal is opened. Its [`codec`](Options::codec) is the events'.
    pub fn journal(mut self, options: Options) -> Self {
        self.journal = options;
        self
    }

    /// Opens the journal in the directory at `path`, or begins one there.
    ///
    /// Durable on return: as [`Options::open`].
    ///
    /// # Errors
    ///
    /// [`Error::Codec`] where it was begun with another one; else as [`Options::open`].
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Events<E>> {
        let journal = self.options()?.open(path)?;
        self.over(journal)
    }

    /// Opens the journal in `directory`, as [`open`](EventOptions::open) does.
    ///
    /// # Errors
    ///
    /// As [`open`](EventOptions::open).
    pub fn open_in(&self, directory: Arc<dyn Directory>) -> Result<Events<E>> {
        let journal = self.options()?.open_in(directory)?;
        self.over(journal)
    }

    /// The events of a journal that is open already.
    ///
    /// # Errors
    ///
    /// [`Error::Codec`] where it was begun with another one.
    pub fn over(&self, journal: Journal) -> Result<Events<E>> {
        let found = journal.core().lock().view.chain.codec.clone();
        let wanted = self.reading.codec.name();
        if found != wanted {
            let wanted = wanted.to_owned();
            return Err(Error::Codec { found, wanted });
        }
        Ok(Events {
            journal,
            reading: self.reading.clone(),
        })
    }

    fn options(&self) -> Result<Options> {
        let name = self.reading.codec.name();
        if name.len() > MAX_CODEC {
            let len = name.len();
            return Err(Error::Event {
                position: None,
                reason: format!("the codec's name has {len} bytes, over the limit of {MAX_CODEC}"),
            });
        }
        Ok(self.journal.clone().codec(name))
    }
}

/// A journal of events of one type.
///
/// A clone is the same journal. Events are read back before they are appended: one that could not be, would
/// end every replay.
///
/// # Examples
///
/// ```
/// use documentbuffer::journal::{Cause, Codec, Events};
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
/// let events = Events::options(Decimal).open(&path)?; // The codec of the example above.
/// events.append(&7)?;
/// assert_eq!(events.append_all(&[1, 2])?, 1..3);
/// let sum: i64 = events.replay(0)?.map(|event| event.map(|(_, n)| n)).sum::<Result<_, _>>()?;
/// assert_eq!(sum, 10);
/// # Ok::<(), documentbuffer::journal::Error>(())
/// ```
pub struct Events<E> {
    journal: Journal,
    reading: Reading<E>,
}

impl<E> Clone for Events<E> {
    fn clone(&self) -> Self {
        Events {
            journal: self.journal.clone(),
            reading: self.reading.clone(),
        }
    }
}

impl<E> fmt::Debug for Events<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("journal", &self.journal)
            .field("codec", &self.reading.codec.name())
            .finish_non_exhaustive()
    }
}

impl<E> Events<E> {
    /// How events in `codec` are opened.
    pub fn options(codec: impl Codec<E> + 'static) -> EventOptions<E> {
        EventOptions::new(codec)
    }

    /// The journal itself, with the events as bytes.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    pub(super) fn reading(&self) -> &Reading<E> {
        &self.reading
    }

    /// Appends an event; returns its position.
    ///
    /// Durable on return: as [`Options::durability`] says.
    ///
    /// # Errors
    ///
    /// [`Error::Event`] where it cannot be written so that it can be read; else as [`Journal::append`].
    pub fn append(&self, event: &E) -> Result<u64> {
        self.journal.append(self.reading.encode_checked(event)?)
    }

    /// Appends an event, as durable as that; returns its position.
    ///
    /// # Errors
    ///
    /// As [`append`](Events::append).
    pub fn append_with(&self, event: &E, durability: Durability) -> Result<u64> {
        let bytes = self.reading.encode_checked(event)?;
        self.journal.append_with(bytes, durability)
    }

    /// Appends an event only if it gets the position `expected`; returns that.
    ///
    /// Durable on return: as [`append`](Events::append).
    ///
    /// # Errors
    ///
    /// [`Error::PositionMismatch`] with the next position; else as [`append`](Events::append).
    pub fn append_at(&self, expected: u64, event: &E) -> Result<u64> {
        let bytes = self.reading.encode_checked(event)?;
        self.journal.append_at(expected, bytes)
    }

    /// Appends events as one: after a crash all of them are there, or none. Returns their positions.
    ///
    /// Durable on return: as [`append`](Events::append).
    ///
    /// # Errors
    ///
    /// As [`append`](Events::append); none was appended.
    pub fn append_all<'e>(&self, events: impl IntoIterator<Item = &'e E>) -> Result<Range<u64>>
    where
        E: 'e,
    {
        let events = events.into_iter();
        let documents: Result<Vec<_>> = events.map(|e| self.reading.encode_checked(e)).collect();
        self.journal.append_all(documents?)
    }

    /// Streams the events from position `from` on, oldest first, each with its position.
    ///
    /// # Errors
    ///
    /// As [`Journal::replay`].
    pub fn replay(&self, from: u64) -> Result<EventReplay<E>> {
        Ok(self.read(self.journal.replay(from)?))
    }

    pub(super) fn read(&self, replay: Replay) -> EventReplay<E> {
        EventReplay {
            reading: self.reading.clone(),
            replay,
            until: u64::MAX,
            skipped: 0,
            over: false,
        }
    }

    /// Ends the journal: see [`Journal::close`].
    ///
    /// # Errors
    ///
    /// As [`Journal::close`].
    pub fn close(self) -> Result<Stats> {
        self.journal.close()
    }
}

/// Streams events oldest first, up to where the journal ended when this was made.
///
/// Each is what the codec and [`EventOptions::upcast`] make of its document. An error is the last item:
/// [`Error::Event`] for a document that is no event, else as [`Replay::next`].
pub struct EventReplay<E> {
    reading: Reading<E>,
    replay: Replay,
    /// No document from this position on is looked at.
    until: u64,
    skipped: u64,
    over: bool,
}

impl<E> fmt::Debug for EventReplay<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventReplay")
            .field("position", &self.replay.position())
            .field("skipped", &self.skipped)
            .finish_non_exhaustive()
    }
}

impl<E> EventReplay<E> {
    /// The next position.
    pub fn position(&self) -> u64 {
        self.replay.position()
    }

    /// Documents that were passed over.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    pub(super) fn until(mut self, end: u64) -> Self {
        self.until = end;
        self
    }

    fn step(&mut self) -> Result<Option<(u64, E)>> {
        while self.replay.position() < self.until {
            let Some(document) = Replay::next(&mut self.replay)? else {
                break;
            };
            let position = document.position;
            if let Some(event) = self.reading.event(document)? {
                return Ok(Some((position, event)));
            }
            self.skipped = self.skipped.saturating_add(1);
        }
        Ok(None)
    }
}

impl<E> Iterator for EventReplay<E> {
    type Item = Result<(u64, E)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let next = self.step().transpose();
        self.over = !matches!(next, Some(Ok(_)));
        next
    }
}

impl<E> std::iter::FusedIterator for EventReplay<E> {}

//! What can be chosen when a state is opened.

use std::fmt;
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;

use super::super::error::Result;
use super::super::events::{Cause, Codec, Decision, EventOptions, told};
use super::super::options::{Options, Retention};
use super::super::read::Document;
use super::super::snapshot::SnapshotError;
use super::{Replayed, State};
use crate::store::Directory;

/// Snapshots that are kept, where nobody says.
const KEEP: usize = 2;

/// What a state goes by while it is open.
pub(super) struct Rules<S> {
    pub(super) initial: Arc<dyn Fn() -> S + Send + Sync>,
    pub(super) saving: Option<Saving<S>>,
    /// Documents between two snapshots.
    pub(super) every: Option<NonZeroU64>,
    /// Snapshots that are kept.
    pub(super) keep: usize,
    /// Whether the journal discards what is in a snapshot.
    pub(super) discards: bool,
}

impl<S> Clone for Rules<S> {
    fn clone(&self) -> Self {
        Rules {
            initial: self.initial.clone(),
            saving: self.saving.clone(),
            ..*self
        }
    }
}

/// How a state is written into snapshots.
pub(super) struct Saving<S> {
    pub(super) codec: Arc<dyn Codec<S>>,
    pub(super) schema: u32,
}

impl<S> Clone for Saving<S> {
    fn clone(&self) -> Self {
        Saving {
            codec: self.codec.clone(),
            ..*self
        }
    }
}

impl<S> Saving<S> {
    /// The state's bytes, of which it can be made again.
    pub(super) fn encode(&self, state: &S) -> Result<Vec<u8>, SnapshotError> {
        let mut bytes = Vec::new();
        let written = self.codec.encode(state, &mut bytes);
        let read = written.and_then(|()| self.codec.decode(&bytes));
        match read {
            Ok(_) => Ok(bytes),
            Err(cause) => Err(SnapshotError::State {
                reason: told(cause.as_ref()),
            }),
        }
    }
}

/// How a [`Replayed`] is opened.
///
/// # Examples
///
/// ```
/// use documentbuffer::journal::{Cause, Codec, Decision, Replayed, State};
///
/// /// Numbers, as text.
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
///
/// struct Purse(i64);
///
/// impl State for Purse {
///     type Event = i64;
///     fn apply(&mut self, paid: &i64) {
///         self.0 += paid;
///     }
/// }
///
/// impl Codec<Purse> for Decimal {
///     fn name(&self) -> &str {
///         "decimal"
///     }
///     fn encode(&self, purse: &Purse, into: &mut Vec<u8>) -> Result<(), Cause> {
///         self.encode(&purse.0, into)
///     }
///     fn decode(&self, bytes: &[u8]) -> Result<Purse, Cause> {
///         Ok(Purse(self.decode(bytes)?))
///     }
/// }
/// # let dir = tempfile::tempdir().expect("a directory");
/// # let path = dir.path().join("journal");
///
/// let options = Replayed::options(Decimal, || Purse(0))
///     .snapshots(1, Decimal)
///     .snapshot_every(100)
///     .upcast(|document, number| match number {
///         Ok(number) => Decision::Use(number),
///         Err(_) if document.bytes == b"birthday" => Decision::Use(50),
///         Err(cause) => Decision::Stop(cause),
///     });
/// let mut purse = options.open(&path)?;
/// for _ in 0..250 {
///     purse.record(&2)?;
/// }
/// purse.journal().append("birthday")?; // As an older program did.
/// purse.close()?;
///
/// let purse = options.open(&path)?;
/// assert_eq!(purse.state().0, 550);
/// assert_eq!(purse.report().snapshot.as_ref().map(|found| found.position), Some(200));
/// assert_eq!(purse.report().replayed, 51);
/// # Ok::<(), documentbuffer::journal::Error>(())
/// ```
#[must_use]
pub struct ReplayedOptions<S: State> {
    events: EventOptions<S::Event>,
    journal: Options,
    rules: Rules<S>,
}

impl<S: State> Clone for ReplayedOptions<S> {
    fn clone(&self) -> Self {
        ReplayedOptions {
            events: self.events.clone(),
            journal: self.journal.clone(),
            rules: self.rules.clone(),
        }
    }
}

impl<S: State> fmt::Debug for ReplayedOptions<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let saving = self.rules.saving.as_ref();
        f.debug_struct("ReplayedOptions")
            .field("events", &self.events)
            .field("journal", &self.journal)
            .field("schema", &saving.map(|saving| saving.schema))
            .finish_non_exhaustive()
    }
}

impl<S: State> ReplayedOptions<S> {
    /// The defaults: no snapshots, a document that is no event stops the opening, [`Options::new`].
    pub fn new(
        codec: impl Codec<S::Event> + 'static,
        initial: impl Fn() -> S + Send + Sync + 'static,
    ) -> ReplayedOptions<S> {
        ReplayedOptions {
            events: EventOptions::new(codec),
            journal: Options::new(),
            rules: Rules {
                initial: Arc::new(initial),
                saving: None,
                every: None,
                keep: KEEP,
                discards: false,
            },
        }
    }

    /// Asks `upcast` about every document: see [`EventOptions::upcast`]. It is asked about an event that is
    /// recorded too, before that is appended: the state never sees what a replay would not.
    pub fn upcast(
        mut self,
        upcast: impl Fn(Document<'_>, Result<S::Event, Cause>) -> Decision<S::Event>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.events = self.events.upcast(upcast);
        self
    }

    /// How the journal is opened. Its [`codec`](Options::codec) is the events'.
    ///
    /// Its [`retention`](Options::retention), if it lets anything go, keeps what is in no snapshot besides
    /// what it keeps anyway; without [`snapshots`](ReplayedOptions::snapshots) it keeps everything. What is
    /// behind the newest snapshot is gone for [`undo`](Replayed::undo) then, and for programs of another
    /// schema.
    pub fn journal(mut self, options: Options) -> Self {
        self.journal = options;
        self
    }

    /// Keeps snapshots: the state in `codec`, under the number `schema`.
    ///
    /// Only snapshots of that number and codec are loaded. Change the number whenever the state gets another
    /// form, or [`State::apply`] or [`upcast`](ReplayedOptions::upcast) make something else of an event.
    pub fn snapshots(mut self, schema: u32, codec: impl Codec<S> + 'static) -> Self {
        let codec = Arc::new(codec);
        self.rules.saving = Some(Saving { codec, schema });
        self
    }

    /// Takes a snapshot whenever so many documents are in no snapshot. Default: only
    /// [`Replayed::snapshot`] does; 0 is that too.
    pub fn snapshot_every(mut self, documents: u64) -> Self {
        self.rules.every = NonZeroU64::new(documents);
        self
    }

    /// Keeps the newest `snapshots` when another one is taken. Default: 2, at least 1: should the newest be
    /// broken, the one before it is loaded.
    pub fn keep(mut self, snapshots: usize) -> Self {
        self.rules.keep = snapshots.max(1);
        self
    }

    /// Opens the journal in the directory at `path`, or begins one there, and makes the state: from the
    /// newest good snapshot and what is behind it.
    ///
    /// [`Replayed::report`] has the snapshots that were ignored. Durable on return: as [`Options::open`].
    ///
    /// # Errors
    ///
    /// [`Event`](super::super::Error::Event) for a document that is no event, [`NoSnapshot`](super::super::Error::NoSnapshot) where what
    /// the state would be made of was discarded, [`Codec`](super::super::Error::Codec) where the journal was begun with
    /// another one; else as [`Options::open`] and [`Replay::next`](super::super::Replay::next).
    ///
    /// # Panics
    ///
    /// If [`State::apply`] does.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Replayed<S>> {
        let (events, rules) = self.parts();
        Replayed::begin(events.open(path)?, rules)
    }

    /// Opens the journal in `directory`, as [`open`](ReplayedOptions::open) does.
    ///
    /// # Errors
    ///
    /// As [`open`](ReplayedOptions::open).
    ///
    /// # Panics
    ///
    /// As [`open`](ReplayedOptions::open).
    pub fn open_in(&self, directory: Arc<dyn Directory>) -> Result<Replayed<S>> {
        let (events, rules) = self.parts();
        Replayed::begin(events.open_in(directory)?, rules)
    }

    fn parts(&self) -> (EventOptions<S::Event>, Rules<S>) {
        let mut rules = self.rules.clone();
        let asked = self.journal.retention;
        rules.discards = rules.saving.is_some() && asked != Retention::all();
        let retention = match rules.discards {
            true => asked.up_to_snapshot(),
            false => Retention::all(),
        };
        let journal = self.journal.clone().retention(retention);
        (self.events.clone().journal(journal), rules)
    }
}

//! What can be chosen when counters are opened.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::error::Result;
use super::ledger::{CODEC, Ledger};
use super::place::Place;
use crate::buffer::random::Random;
use crate::clock::{Clock, SystemClock};
use crate::durability::Durability;
use crate::journal;
use crate::store::Directory;

/// Keys that may be owed at once.
pub const DEFAULT_MAX_KEYS: usize = 1 << 20;
/// How long what was added waits to be journaled.
pub const DEFAULT_WINDOW: Duration = Duration::from_millis(10);
/// How often what is owed is delivered.
pub const DEFAULT_PERIOD: Duration = Duration::from_secs(1);

/// The journal grows to this before it is begun anew, in bytes.
const COMPACT: u64 = 4 << 20;

/// How counters are opened.
///
/// # Examples
///
/// ```
/// use documentbuffer::write_behind::{MemorySink, Options};
/// # let dir = tempfile::tempdir().expect("a directory");
/// # let path = dir.path().join("owed");
///
/// let sink = MemorySink::default();
/// let views = Options::new("page views").journal(&path).open(sink.clone())?;
/// views.increment("/index", 1)?;
/// views.persist()?; // no crash takes it away from here on
/// views.sync()?; // and here the sink has it
/// assert_eq!(sink.get("/index"), 1);
/// # Ok::<(), documentbuffer::write_behind::Error>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct Options {
    pub(super) name: String,
    place: Place,
    durability: Durability,
    pub(super) window: Duration,
    pub(super) period: Duration,
    pub(super) max_keys: usize,
    compact: u64,
    adopt: bool,
    pub(super) clock: Arc<dyn Clock>,
    seed: Option<u64>,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("name", &self.name)
            .field("window", &self.window)
            .field("period", &self.period)
            .finish_non_exhaustive()
    }
}

impl Options {
    /// The defaults, for counters of that name: no journal, a period of a second, windows of 10 ms.
    ///
    /// Journal and sink keep the name: several counters may share a sink, each under its own.
    pub fn new(name: impl Into<String>) -> Options {
        Options {
            name: name.into(),
            place: Place::Memory,
            durability: Durability::Written,
            window: DEFAULT_WINDOW,
            period: DEFAULT_PERIOD,
            max_keys: DEFAULT_MAX_KEYS,
            compact: COMPACT,
            adopt: false,
            clock: Arc::new(SystemClock::new()),
            seed: None,
        }
    }

    /// What is owed is kept in a journal in the directory at `path`. Without one it dies with the process.
    pub fn journal(mut self, path: impl Into<PathBuf>) -> Options {
        self.place = Place::Path(path.into());
        self
    }

    /// Likewise, in any directory.
    pub fn journal_in(mut self, directory: Arc<dyn Directory>) -> Options {
        self.place = Place::Directory(directory);
        self
    }

    /// How durable a window is once it is journaled: [`Durability::Written`] (the default) or
    /// [`Durability::Synced`].
    pub fn durability(mut self, durability: Durability) -> Options {
        self.durability = durability.max(Durability::Written);
        self
    }

    /// How long what was added waits, at most, to be journaled: that much a crash may take. With a longer
    /// one a busy key costs fewer bytes. [`Duration::ZERO`]: only [`persist`](super::Counters::persist),
    /// `sync` and `stop` journal. Default: [`DEFAULT_WINDOW`].
    pub fn window(mut self, window: Duration) -> Options {
        self.window = window;
        self
    }

    /// How often what is owed is delivered, the first time one period after opening. [`Duration::ZERO`]: only
    /// by [`sync`](super::Counters::sync). Default: [`DEFAULT_PERIOD`].
    pub fn period(mut self, period: Duration) -> Options {
        self.period = period;
        self
    }

    /// About so many keys are owed at once; a new one beyond is refused. Default: [`DEFAULT_MAX_KEYS`].
    pub fn max_keys(mut self, keys: usize) -> Options {
        self.max_keys = keys.max(1);
        self
    }

    /// The journal is begun anew, with nothing in it but what is owed, once it has grown by so many bytes
    /// and to the fourfold of that. Default: 4 MiB.
    pub fn compact_at(mut self, bytes: u64) -> Options {
        self.compact = bytes;
        self
    }

    /// Delivers the first batch even where the sink stands at another than the journal says: after
    /// [`Forked`](super::Forked), when a person has decided that it is right.
    ///
    /// What the sink has and the journal does not know of stays; what a lost journal owed is lost.
    pub fn adopt(mut self) -> Options {
        self.adopt = true;
        self
    }

    /// Where time comes from. Default: the system's clocks.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Options {
        self.clock = clock;
        self
    }

    /// Draws ids and nonces from a seed: for tests only, a repeated seed undoes what they are for.
    pub fn seed(mut self, seed: u64) -> Options {
        self.seed = Some(seed);
        self
    }

    pub(super) fn open_ledger(&self) -> Result<Ledger> {
        let mut options = journal::Options::new()
            .codec(CODEC)
            .clock(self.clock.clone());
        let mut random = Random::System;
        if let Some(seed) = self.seed {
            options = options.seed(seed);
            random = Random::Seeded(!seed);
        }
        let Some(journal) = self.place.open(&options)? else {
            return Ok(Ledger::in_memory(&self.name));
        };
        let (durability, compact) = (self.durability, self.compact);
        let mut ledger = Ledger::open(journal, &self.name, durability, compact, random)?;
        if self.adopt {
            ledger.adopt();
        }
        Ok(ledger)
    }
}

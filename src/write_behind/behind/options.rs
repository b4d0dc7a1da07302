//! What can be chosen when writes are owed.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::error::Error;
use crate::clock::Clock;
use crate::clock::runtime::RuntimeClock;
use crate::durability::Durability;
use crate::journal::{self, Journal};
use crate::store::Directory;
use crate::write_behind::place::Place;

/// What becomes of a write for which there is no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Full {
    /// It waits.
    #[default]
    Wait,
    /// It is refused, with [`Kind::Throttled`](crate::tier::Kind::Throttled).
    Refuse,
    /// It goes to the tier below at once, and its caller waits for that. Where older writes of the key are owed
    /// it waits for room.
    Through,
}

/// Numbers that do not change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) durability: Durability,
    pub(super) max_bytes: usize,
    pub(super) max_keys: usize,
    pub(super) full: Full,
    pub(super) rate: Option<NonZeroU32>,
    pub(super) parallel: usize,
    pub(super) shortest: Duration,
    pub(super) longest: Duration,
    pub(super) compact: u64,
}

impl Settings {
    /// Whether what is owed is kept in a journal: whatever survives anything is.
    pub(super) fn is_journaled(&self) -> bool {
        self.durability > Durability::Memory
    }
}

/// How writes are owed.
///
/// # Examples
///
/// ```
/// use documentbuffer::durability::Durability;
/// use documentbuffer::write_behind::behind::{Full, Options};
///
/// let options = Options::new()
///     .journal("owed")
///     .durability(Durability::Synced)
///     .max_bytes(16 << 20)
///     .full(Full::Refuse);
/// # let _ = options;
/// ```
#[derive(Clone)]
#[must_use]
pub struct Options {
    pub(super) settings: Settings,
    place: Place,
    pub(super) clock: Option<Arc<dyn Clock>>,
    seed: Option<u64>,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Default for Options {
    fn default() -> Options {
        Options::new()
    }
}

impl Options {
    /// The defaults: no journal; at most 64 MiB and 65,536 keys, and who writes more waits; 16 writes on their
    /// way at once, at any rate; delays of 0.1 s to a minute.
    pub fn new() -> Options {
        Options {
            settings: Settings {
                durability: Durability::Memory,
                max_bytes: 64 << 20,
                max_keys: 1 << 16,
                full: Full::Wait,
                rate: None,
                parallel: 16,
                shortest: Duration::from_millis(100),
                longest: Duration::from_secs(60),
                compact: 16 << 20,
            },
            place: Place::Memory,
            clock: None,
            seed: None,
        }
    }

    /// What is owed is kept in a journal in the directory at `path`, and a write acknowledged as
    /// [`Durability::Written`]. Without one it dies with the process.
    pub fn journal(self, path: impl Into<PathBuf>) -> Options {
        self.placed(Place::Path(path.into()))
    }

    /// Likewise, in any directory.
    pub fn journal_in(self, directory: Arc<dyn Directory>) -> Options {
        self.placed(Place::Directory(directory))
    }

    fn placed(mut self, place: Place) -> Options {
        self.place = place;
        self.settings.durability = self.settings.durability.max(Durability::Written);
        self
    }

    /// What a write has survived when it returns; where there is a journal, at least [`Durability::Written`].
    pub fn durability(mut self, durability: Durability) -> Options {
        let least = match self.place {
            Place::Memory => Durability::Memory,
            _ => Durability::Written,
        };
        self.settings.durability = durability.max(least);
        self
    }

    /// At most so many bytes of keys and values are owed at once.
    pub fn max_bytes(mut self, bytes: usize) -> Options {
        self.settings.max_bytes = bytes;
        self
    }

    /// At most so many keys are owed at once.
    pub fn max_keys(mut self, keys: usize) -> Options {
        self.settings.max_keys = keys.max(1);
        self
    }

    /// What becomes of a write for which there is no room.
    pub fn full(mut self, full: Full) -> Options {
        self.settings.full = full;
        self
    }

    /// At most so many writes a second begin below.
    pub fn rate(mut self, per_second: NonZeroU32) -> Options {
        self.settings.rate = Some(per_second);
        self
    }

    /// At most so many writes are on their way at once, each of another key.
    pub fn parallel(mut self, writes: usize) -> Options {
        self.settings.parallel = writes.clamp(1, 1024);
        self
    }

    /// A key whose write failed waits so long, twice as long after the next failure, and so on up to `longest`; to
    /// each of these up to as much again is added at random.
    pub fn delays(mut self, shortest: Duration, longest: Duration) -> Options {
        self.settings.shortest = shortest;
        self.settings.longest = longest.max(shortest);
        self
    }

    /// The journal is begun anew, with nothing in it but what is owed, once it has grown by so many bytes and
    /// to the fourfold of that. Default: 16 MiB.
    pub fn compact_at(mut self, bytes: u64) -> Options {
        self.settings.compact = bytes;
        self
    }

    /// Where time comes from. Default: the runtime's clock.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Options {
        self.clock = Some(clock);
        self
    }

    /// Draws the journal's nonces from a seed: for tests only, a repeated seed undoes what they are for.
    pub fn seed(mut self, seed: u64) -> Options {
        self.seed = Some(seed);
        self
    }

    pub(super) fn the_clock(&self) -> Arc<dyn Clock> {
        let given = self.clock.clone();
        given.unwrap_or_else(|| Arc::new(RuntimeClock::new()))
    }

    /// Blocks.
    pub(super) fn open_journal(&self) -> Result<Option<Journal>, Error> {
        let mut options = journal::Options::new().codec(super::CODEC);
        if let Some(seed) = self.seed {
            options = options.seed(seed);
        }
        if let Some(clock) = &self.clock {
            options = options.clock(Arc::clone(clock));
        }
        match self.place.open(&options)? {
            None if self.settings.is_journaled() => Err(Error::NoJournal),
            journal => Ok(journal),
        }
    }
}

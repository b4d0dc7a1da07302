//! What all handles of a chain and its background tasks share; and how a key is looked for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};

use super::contain;
use super::level::{Level, count};
use super::report::{Attempt, Failure};
use super::version::Versions;
use crate::clock::Clock;
use crate::generation::Generations;
use crate::tier::{Capabilities, Entry, Error, Key, KeyBuf, Kind, Result, Tier, Version};

/// Older than anything that a clock gives, and not none: what is emptied with it takes anything back.
pub(super) const OLDEST: Version = Version {
    fence: 0,
    number: 1,
};

pub(super) type Ended = watch::Receiver<Option<Result<()>>>;

pub(super) type OnError = Arc<dyn Fn(Failure) + Send + Sync>;

pub(super) struct Core {
    pub(super) name: String,
    pub(super) can: Capabilities,
    /// All but the last level, from the fastest down; at most 64.
    pub(super) uppers: Vec<Level>,
    /// The last level.
    pub(super) truth: Level,
    pub(super) generations: Generations,
    pub(super) versions: Versions,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) on_error: Option<OnError>,
    pub(super) fills: Bounded,
    pub(super) writes: Bounded,
    pub(super) closed: AtomicBool,
    /// What all who close it wait for.
    pub(super) ended: Mutex<Option<Ended>>,
}

/// So much at once.
#[derive(Debug)]
pub(super) struct Bounded {
    pub(super) permits: Arc<Semaphore>,
    pub(super) most: u32,
}

impl Bounded {
    pub(super) fn new(most: u32) -> Bounded {
        let permits = Arc::new(Semaphore::new(most as usize));
        Bounded { permits, most }
    }

    /// Waits until nothing is under way, and lets nothing begin.
    pub(super) async fn drain(&self) {
        // Closed already: it was drained.
        let all = self.permits.acquire_many(self.most).await;
        drop(all);
        self.permits.close();
    }
}

/// What a level answered.
pub(super) enum Look {
    Hit(Entry),
    Miss,
    Failed(Error),
    /// It was not asked: what it has of the key is in doubt.
    Passed,
}

impl Core {
    /// The levels from the fastest down.
    pub(super) fn levels(&self) -> impl Iterator<Item = &Level> {
        self.uppers.iter().chain([&self.truth])
    }

    pub(super) fn level(&self, at: usize) -> &Level {
        self.uppers.get(at).unwrap_or(&self.truth)
    }

    pub(super) fn error(&self, kind: Kind, message: &str) -> Error {
        Error::new(kind, self.name.clone(), message)
    }

    pub(super) fn check_open(&self) -> Result<()> {
        match self.closed.load(Ordering::Acquire) {
            true => Err(self.error(Kind::Closed, "the chain is closed")),
            false => Ok(()),
        }
    }

    pub(super) fn runtime(&self) -> Result<Handle> {
        Handle::try_current().map_err(|_| self.error(Kind::Unsupported, "no tokio runtime"))
    }

    pub(super) fn now(&self) -> u64 {
        self.clock.wall_micros()
    }

    /// Whether it is there; the clock is asked only where there is an expiry.
    pub(super) fn is_live(&self, entry: &Entry) -> bool {
        entry.expiry.is_none() || entry.is_live(self.now())
    }

    /// Tells who wants to know; the caller has no turn and no lock.
    pub(super) fn report(&self, failures: Vec<Failure>) {
        if let Some(on_error) = &self.on_error {
            for failure in failures {
                contain::call(|| on_error(failure));
            }
        }
    }

    pub(super) fn failure(
        &self,
        key: &KeyBuf,
        level: usize,
        attempt: Attempt,
        error: Error,
    ) -> Failure {
        Failure {
            key: key.clone(),
            level,
            tier: self.level(level).name().to_owned(),
            attempt,
            error,
        }
    }

    /// What a level answers, unless it is in doubt.
    pub(super) async fn look(
        &self,
        at: usize,
        key: Key<'_>,
        get: impl Future<Output = Result<Option<Entry>>>,
    ) -> Look {
        let level = self.level(at);
        // Before it is asked: whoever asks first and looks then may find the doubt just gone.
        if at < self.uppers.len() && level.doubts.has(key) {
            return Look::Passed;
        }
        match get.await {
            Ok(Some(entry)) if self.is_live(&entry) => {
                count(&level.counts.hits);
                Look::Hit(entry)
            }
            Ok(_) => {
                count(&level.counts.misses);
                Look::Miss
            }
            Err(error) => {
                count(&level.counts.errors);
                Look::Failed(error)
            }
        }
    }

    /// Looks further down, when the fastest level had no answer.
    pub(super) async fn descend(
        self: &Arc<Core>,
        key: Key<'_>,
        top: Look,
    ) -> Result<Option<Entry>> {
        // Before any level below is asked: what it answers must not be stored over a later write.
        let token = self.generations.token(key.as_str());
        let mut force = Mask::default();
        force.note(0, &top);
        let mut last = top;
        for (at, level) in self.levels().enumerate().skip(1) {
            last = self.look(at, key, level.tier.get(key)).await;
            force.note(at, &last);
            if let Look::Hit(entry) = last {
                self.versions.seen(entry.version);
                self.fill(token, at, Some(entry.clone()), force);
                return Ok(Some(entry));
            }
        }
        // What the truth says counts, whatever failed above it.
        match last {
            Look::Failed(error) => Err(error),
            _ => {
                if force.any() {
                    self.fill(token, self.uppers.len(), None, force);
                }
                Ok(None)
            }
        }
    }
}

/// Levels whose entry is not to be kept, whatever it is: it cannot be read, or is in doubt.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mask(u64);

impl Mask {
    fn note(&mut self, at: usize, look: &Look) {
        let force = match look {
            Look::Failed(error) => error.kind() == Kind::Corrupt,
            Look::Passed => true,
            Look::Hit(_) | Look::Miss => false,
        };
        self.0 |= u64::from(force).checked_shl(at as u32).unwrap_or(0);
    }

    fn any(self) -> bool {
        self.0 != 0
    }

    pub(super) fn has(self, at: usize) -> bool {
        self.0
            .checked_shr(at as u32)
            .is_some_and(|rest| rest & 1 == 1)
    }
}

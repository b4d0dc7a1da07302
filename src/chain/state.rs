//! What all handles of a chain and its background tasks share; and how a key is looked for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};

use super::level::{Level, count};
use super::report::{Attempt, Failure};
use super::version::Versions;
use crate::clock::Clock;
use crate::contain;
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
        let most = most.min(1 << 24);
        let permits = Arc::new(Semaphore::new(most as usize));
        Bounded { permits, most }
    }

    /// Waits until nothing is under way, and lets nothing begin.
    pub(super) async fn drain(&self) {
        let all = self.permits.acquire_many(self.most).await;
        self.permits.close();
        drop(all);
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

impl Look {
    fn into_answer(self) -> Result<Option<Entry>> {
        match self {
            Look::Hit(entry) => Ok(Some(entry)),
            Look::Failed(error) => Err(error),
            Look::Miss | Look::Passed => Ok(None),
        }
    }
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
                let _ = contain::call(|| on_error(failure));
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

    /// The fastest level.
    pub(super) fn top(&self) -> &Level {
        self.uppers.first().unwrap_or(&self.truth)
    }

    /// Whether a level is not asked, since what it has of the key is in doubt.
    ///
    /// To be called before it is asked: whoever asks first and looks then may find the doubt just gone.
    pub(super) fn passes_over(&self, at: usize, level: &Level, key: Key<'_>) -> bool {
        level.doubts.has(key) && at < self.uppers.len()
    }

    pub(super) fn is_hit(&self, answer: &Result<Option<Entry>>) -> bool {
        matches!(answer, Ok(Some(entry)) if self.is_live(entry))
    }

    /// What a level answered, counted.
    pub(super) fn seen(&self, level: &Level, answer: Result<Option<Entry>>) -> Look {
        let (counter, look) = match answer {
            Ok(Some(entry)) if self.is_live(&entry) => (&level.counts.hits, Look::Hit(entry)),
            Ok(_) => (&level.counts.misses, Look::Miss),
            Err(error) => (&level.counts.errors, Look::Failed(error)),
        };
        count(counter);
        look
    }

    async fn look(&self, at: usize, level: &Level, key: Key<'_>) -> Look {
        match self.passes_over(at, level, key) {
            true => Look::Passed,
            false => self.seen(level, level.tier.get(key).await),
        }
    }

    /// Looks further down, when the fastest level had no answer.
    pub(super) async fn descend(
        self: &Arc<Core>,
        key: Key<'_>,
        top: Look,
    ) -> Result<Option<Entry>> {
        if self.uppers.is_empty() {
            return top.into_answer();
        }
        // Before any level below is asked: what it answers must not be stored over a later write.
        let token = self.generations.token(key.as_str());
        let mut force = Mask::default();
        force.note(0, &top);
        let mut last = top;
        for (at, level) in self.levels().enumerate().skip(1) {
            last = self.look(at, level, key).await;
            force.note(at, &last);
            if let Look::Hit(entry) = last {
                self.versions.seen(entry.version);
                self.fill(token, at, Some(entry.clone()), force);
                return Ok(Some(entry));
            }
        }
        // What the truth says counts, whatever failed above it.
        if force.any() && !matches!(last, Look::Failed(_)) {
            self.fill(token, self.uppers.len(), None, force);
        }
        last.into_answer()
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

//! What callers, workers and the journal's task share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::sync::{Notify, oneshot};

use super::error::Error;
use super::options::{Full, Settings};
use super::owing::{Delays, Failure, Fate, Owing};
use crate::clock::Clock;
use crate::clock::rate::RateClock;
use crate::tier::{self, Applied, KeyBuf, Op};

type Limiter = RateLimiter<NotKeyed, InMemoryState, RateClock, NoOpMiddleware<Duration>>;

/// What is asked of the journal's task.
pub(super) enum Request {
    Owe {
        key: KeyBuf,
        op: Op,
        /// Room that was taken for it.
        room: usize,
        answer: oneshot::Sender<Result<(), Error>>,
    },
    Settled {
        key: KeyBuf,
        number: u64,
    },
    Parked {
        key: KeyBuf,
        number: u64,
        reason: String,
    },
    Release {
        key: KeyBuf,
        number: u64,
        again: bool,
        answer: oneshot::Sender<Result<(), Error>>,
    },
    /// That all that was journaled before survives power loss.
    Sync {
        answer: oneshot::Sender<Result<(), Error>>,
    },
    Close {
        answer: oneshot::Sender<Result<(), Error>>,
    },
}

/// What is owed, and the room that is taken for what will be.
#[derive(Default)]
pub(super) struct State {
    pub(super) owing: Owing,
    pub(super) taken_bytes: usize,
    pub(super) taken_keys: usize,
    /// Nothing is taken in any more.
    pub(super) closing: bool,
    /// Workers are to end.
    pub(super) ended: bool,
    pub(super) counts: Counts,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) delivered: u64,
    pub(super) superseded: u64,
    pub(super) failures: u64,
    pub(super) last_error: Option<tier::Error>,
}

/// Requests to the journal's task, in order.
#[derive(Default)]
struct Desk {
    requests: Vec<Request>,
    /// All handles are gone.
    left: bool,
}

pub(super) struct Shared {
    state: Mutex<State>,
    desk: Mutex<Desk>,
    called: Notify,
    /// For the workers.
    pub(super) work: Notify,
    /// For those who wait for room, or for all to be settled.
    pub(super) moved: Notify,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) settings: Settings,
    limiter: Option<Limiter>,
    /// The number of the last write.
    last: AtomicU64,
    /// Writes up to that one survive power loss.
    synced: AtomicU64,
    /// Whoever syncs the journal for a delivery; when that was done last.
    syncing: tokio::sync::Mutex<Option<Duration>>,
}

/// Between two syncs for deliveries.
const PACE: Duration = Duration::from_millis(10);

/// What becomes of a write that wants in.
pub(super) enum Admitted {
    /// Room of so many bytes is taken for it.
    Yes(usize),
    /// There is none now.
    Full,
    /// There never will be.
    Never,
    Closed,
}

impl Shared {
    pub(super) fn new(
        owing: Owing,
        last: u64,
        settings: Settings,
        clock: Arc<dyn Clock>,
    ) -> Shared {
        let limiter = settings.rate.map(|rate| {
            let clock = RateClock(Arc::clone(&clock));
            RateLimiter::direct_with_clock(Quota::per_second(rate), clock)
        });
        let state = State {
            owing,
            ..State::default()
        };
        Shared {
            state: Mutex::new(state),
            desk: Mutex::default(),
            called: Notify::new(),
            work: Notify::new(),
            moved: Notify::new(),
            clock,
            settings,
            limiter,
            last: AtomicU64::new(last),
            synced: AtomicU64::new(0),
            syncing: tokio::sync::Mutex::default(),
        }
    }

    /// Everything that was journaled so far survives power loss.
    pub(super) fn all_synced(&self) {
        let last = self.last.load(Ordering::Relaxed);
        self.synced.store(last, Ordering::Release);
    }

    /// Waits until the journal's record of that write survives power loss.
    ///
    /// What has arrived below while an older write of its key is all that the journal knows after power was
    /// lost would be written over by that one.
    pub(super) async fn synced(&self, number: u64) -> Result<(), Error> {
        let journaled = self.settings.is_journaled();
        if !journaled || self.synced.load(Ordering::Acquire) >= number {
            return Ok(());
        }
        // One syncs for all who wait meanwhile, and not so often that appends have to wait for it.
        let mut last = self.syncing.lock().await;
        if self.synced.load(Ordering::Acquire) >= number {
            return Ok(());
        }
        let since = last.map(|last| self.clock.monotonic().saturating_sub(last));
        if let Some(since) = since.filter(|since| *since < PACE) {
            tokio::time::sleep(PACE.saturating_sub(since)).await;
        }
        let (answer, answered) = oneshot::channel();
        self.ask(Request::Sync { answer });
        let synced = answered.await.map_err(|_| Error::Closed)?;
        *last = Some(self.clock.monotonic());
        synced
    }

    /// The number of the next write.
    pub(super) fn number(&self) -> u64 {
        self.last.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes room for a write, where there is some.
    pub(super) fn admit(&self, key: &KeyBuf, weight: usize) -> Admitted {
        let Settings {
            max_bytes,
            max_keys,
            ..
        } = self.settings;
        let mut state = self.state();
        if state.closing {
            return Admitted::Closed;
        }
        if weight > max_bytes {
            return Admitted::Never;
        }
        let bytes = state.owing.bytes().saturating_add(state.taken_bytes);
        let keys = state.owing.keys().saturating_add(state.taken_keys);
        let fits = bytes.saturating_add(weight) <= max_bytes;
        if !fits || (keys >= max_keys && !state.owing.holds(key.as_key())) {
            return Admitted::Full;
        }
        state.taken_bytes += weight;
        state.taken_keys += 1;
        Admitted::Yes(weight)
    }

    /// Whether nothing is owed, on its way, or about to be owed.
    pub(super) fn is_settled(&self) -> bool {
        let state = self.state();
        state.owing.is_settled() && state.taken_keys == 0
    }

    /// Gives room back.
    pub(super) fn release_room(state: &mut State, room: usize) {
        state.taken_bytes = state.taken_bytes.saturating_sub(room);
        state.taken_keys = state.taken_keys.saturating_sub(1);
    }

    pub(super) fn full(&self) -> Full {
        self.settings.full
    }

    /// Asks the journal's task.
    pub(super) fn ask(&self, request: Request) {
        self.desk().requests.push(request);
        self.called.notify_one();
    }

    /// All that is asked; waits for something. None where nobody will ask any more.
    pub(super) async fn asked(&self) -> Option<Vec<Request>> {
        loop {
            {
                let mut desk = self.desk();
                if !desk.requests.is_empty() {
                    return Some(std::mem::take(&mut desk.requests));
                }
                if desk.left {
                    return None;
                }
            }
            // One who calls in between leaves a permit.
            self.called.notified().await;
        }
    }

    /// Nobody will ask any more.
    pub(super) fn leave(&self) {
        self.desk().left = true;
        self.called.notify_one();
    }

    /// Waits until another write may begin.
    pub(super) async fn rate(&self) {
        let Some(limiter) = &self.limiter else {
            return;
        };
        while let Err(not_until) = limiter.check() {
            let now = RateClock(Arc::clone(&self.clock)).now();
            tokio::time::sleep(not_until.wait_time_from(now)).await;
        }
    }

    fn delays(&self) -> Delays {
        let Settings {
            shortest, longest, ..
        } = self.settings;
        let delays = ExponentialBuilder::new()
            .with_min_delay(shortest)
            .with_max_delay(longest)
            .without_max_times()
            .with_jitter();
        Box::new(delays.build())
    }

    /// What became of a write that was on its way.
    pub(super) fn finish(&self, key: &KeyBuf, outcome: tier::Result<Applied>) {
        let mut state = self.state();
        let fate = match outcome {
            Ok(applied) => {
                state.counts.delivered += 1;
                state.counts.superseded += u64::from(applied != Applied::Done);
                state.counts.last_error = None;
                state.owing.arrived(key)
            }
            Err(error) => {
                state.counts.failures += 1;
                state.counts.last_error = Some(error.clone());
                let failure = match error.kind() {
                    tier::Kind::Permanent | tier::Kind::Unsupported | tier::Kind::Corrupt => {
                        Failure::Final(error.to_string())
                    }
                    // What is closed may be open in another life.
                    _ => Failure::Passing(error.delay()),
                };
                let now = self.clock.monotonic();
                let delays = || self.delays();
                state.owing.failed(key, failure, now, delays)
            }
        };
        // Before anybody can see that all is settled, and end the journal.
        self.tell(key, fate);
        let more = state.owing.is_ready();
        drop(state);
        self.called.notify_one();
        self.moved.notify_waiters();
        if more {
            self.work.notify_one();
        }
    }

    /// Has the journal told what became of a write, where there is one.
    fn tell(&self, key: &KeyBuf, fate: Option<Fate>) {
        let key = key.clone();
        let request = match fate {
            Some(Fate::Settled(number)) => Request::Settled { key, number },
            Some(Fate::Parked(parked)) => Request::Parked {
                key,
                number: parked.owed.number,
                reason: parked.reason,
            },
            Some(Fate::Later) | None => return,
        };
        if self.settings.is_journaled() {
            self.desk().requests.push(request);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::tier::Version;
    use crate::write_behind::behind::Options;
    use crate::write_behind::behind::owing::Owed;

    #[test]
    fn without_a_journal_nothing_is_kept_for_it() {
        let settings = Options::new().settings;
        let clock = Arc::new(SystemClock::new());
        let shared = Shared::new(Owing::default(), 0, settings, clock);
        let key = KeyBuf::new("key").expect("a key");
        let op = Op::Remove(Version::NONE);
        shared.state().owing.owe(&key, Owed { number: 1, op });
        assert!(shared.state().owing.start(Duration::ZERO).is_some());
        shared.finish(&key, Ok(Applied::Done));
        assert!(shared.state().owing.is_settled());
        assert!(shared.desk().requests.is_empty());
    }
}

//! What all callers of a key share: the value that is kept, who creates, and what was counted.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;

use super::answer::{Answer, Created, Freshness, Held, Kept};
use super::decide::{Desk, Found, Grade, Rules};
use super::error::{Error, Result};
use super::flight::{Flight, Outcome};
use super::options::Options;
use super::stats::{Counts, count};
use crate::clock::Clock;

/// Beyond so many times what it took to make, nothing is made early: the chance is that of the smallest number.
const EARLIEST: f64 = 40.0;
/// How long nobody asks for a lease that another process has just been seen to hold.
pub(super) const PAUSE: Duration = Duration::from_millis(50);

pub(super) struct Shared<V> {
    pub(super) options: Options,
    pub(super) rules: Rules,
    pub(super) clock: Arc<dyn Clock>,
    /// Made with the first value: where values lie elsewhere there mostly is none, and the drop of a swap asks every
    /// thread that ever read one.
    kept: OnceLock<ArcSwapOption<Kept<V>>>,
    /// As the desk has it, for those who look before they ask.
    pub(super) landed: AtomicU64,
    state: Mutex<State<V>>,
    chance: Mutex<fastrand::Rng>,
    /// What was made up to then is stale, in microseconds since 1970.
    stale_up_to: AtomicU64,
    pub(super) counts: Arc<Counts>,
}

pub(super) struct State<V> {
    pub(super) desk: Desk,
    pub(super) flight: Option<Arc<Flight<V>>>,
    /// What the last creation failed with.
    pub(super) error: Option<Error>,
    /// When the last value was made, for values that lie elsewhere and do not say so.
    made: Option<Duration>,
}

impl<V> Shared<V> {
    pub(super) fn new(options: Options, clock: Arc<dyn Clock>) -> Shared<V> {
        let made = options.made_now.then(|| clock.monotonic());
        let chance = match options.seed {
            Some(seed) => fastrand::Rng::with_seed(seed),
            None => fastrand::Rng::new(),
        };
        Shared {
            rules: options.rules(),
            options,
            clock,
            kept: OnceLock::new(),
            landed: AtomicU64::new(0),
            state: Mutex::new(State {
                desk: Desk::default(),
                flight: None,
                error: None,
                made,
            }),
            chance: Mutex::new(chance),
            stale_up_to: AtomicU64::new(0),
            counts: Arc::default(),
        }
    }

    /// With counts that others share.
    pub(super) fn counting(mut self, counts: Arc<Counts>) -> Shared<V> {
        self.counts = counts;
        self
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State<V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From 0 up, and below 1.
    pub(super) fn chance(&self) -> f64 {
        let mut chance = self.chance.lock().unwrap_or_else(PoisonError::into_inner);
        chance.f64()
    }

    /// The value that is kept, if it is fresh: the path that must cost nothing.
    pub(super) fn fresh(&self) -> Option<Answer<V>> {
        let guard = self.kept.get()?.load();
        let kept = guard.as_deref()?;
        let age = kept.age(self.clock.monotonic());
        if !kept.is_fresh(age) || self.is_early(kept, age) {
            return None;
        }
        Some(Answer {
            held: Held::Guard(guard),
            age,
            freshness: Freshness::Fresh,
        })
    }

    /// The value that is kept, whatever its age.
    pub(super) fn kept(&self) -> Option<Held<V>> {
        self.kept.get()?.load_full().map(Held::Shared)
    }

    /// That there is none, if this is what was made last and nothing was written since.
    pub(super) fn kept_none(&self) -> Option<Held<V>> {
        let kept = self.kept.get()?.load_full()?;
        let live = kept.view.as_ref().is_none_or(|view| view.is_live());
        (kept.value.is_none() && live).then_some(Held::Shared(kept))
    }

    /// To be asked before the look that [`enter`](Shared::enter) is told of.
    pub(super) fn landed(&self) -> u64 {
        self.landed.load(Ordering::Acquire)
    }

    fn is_early(&self, kept: &Kept<V>, age: Duration) -> bool {
        if self.options.early <= 0.0 {
            return false;
        }
        let scale = kept.took.as_secs_f64() * self.options.early;
        let left = kept.expiry.saturating_sub(age).as_secs_f64();
        // Drawn from above 0 up to 1.
        scale > 0.0 && left <= scale * EARLIEST && -(1.0 - self.chance()).ln() * scale >= left
    }

    /// What is known of a value that lies elsewhere and says when it was made; none where that says that it is none.
    pub(super) fn stamped(&self, created: Created<V>) -> Option<Held<V>> {
        let stamp = created.at.filter(|stamp| *stamp > 0)?;
        let wall = self.clock.wall_micros();
        let mut kept = self.keep(created, self.clock.monotonic());
        let expired = stamp <= self.stale_up_to.load(Ordering::Relaxed);
        kept.expired.store(expired, Ordering::Relaxed);
        kept.before = match wall.checked_sub(stamp) {
            Some(age) => Duration::from_micros(age),
            // Somebody's clock is wrong. Ahead by more than its expiry it would be good for too long.
            None if Duration::from_micros(stamp - wall) > kept.expiry => Duration::MAX,
            None => Duration::ZERO,
        };
        Some(Held::Own(Box::new(kept)))
    }

    /// The same for one that does not say so: it is as old as what was last made.
    pub(super) fn unstamped(&self, created: Created<V>) -> Option<Held<V>> {
        let made = self.state().made?;
        Some(Held::Own(Box::new(self.keep(created, made))))
    }

    /// What a creator has just made.
    pub(super) fn made(&self, mut created: Created<V>, began: Duration) -> Kept<V> {
        let now = self.clock.monotonic();
        let wall = self.clock.wall_micros();
        let stamp = *created.at.get_or_insert(wall);
        let mut kept = self.keep(created, now);
        kept.before = Duration::from_micros(wall.saturating_sub(stamp));
        kept.took = now.saturating_sub(began);
        kept
    }

    fn keep(&self, created: Created<V>, seen: Duration) -> Kept<V> {
        let usual = match created.value {
            Some(_) => self.options.expiry,
            None => self.options.gone.unwrap_or(self.options.expiry),
        };
        Kept {
            created: created.at.unwrap_or(0),
            seen,
            before: Duration::ZERO,
            expiry: created.expiry.unwrap_or(usual),
            hard: self.options.hard,
            took: Duration::ZERO,
            expired: AtomicBool::new(false),
            keep: created.keep,
            view: None,
            value: created.value,
        }
    }

    fn serves_on_error(&self, kept: &Kept<V>, age: Duration) -> bool {
        let beyond = self.options.beyond();
        age <= kept.expiry.saturating_add(beyond) && !beyond.is_zero()
    }

    pub(super) fn judge(&self, kept: &Kept<V>, now: Duration) -> Found {
        let age = kept.age(now);
        let fresh = kept.is_fresh(age);
        Found {
            grade: match fresh {
                true => Grade::Fresh,
                false if age <= kept.hard => Grade::Stale,
                false => Grade::Dead,
            },
            early: fresh && self.is_early(kept, age),
            serves_on_error: self.serves_on_error(kept, age),
        }
    }

    /// Whether it is good enough to be taken while it is made anew.
    pub(super) fn shows(&self, held: Option<&Held<V>>) -> bool {
        let now = self.clock.monotonic();
        let kept = held.and_then(Held::kept);
        kept.is_some_and(|kept| self.judge(kept, now).grade != Grade::Dead)
    }

    /// The answer to somebody who takes what there is while it is made anew.
    pub(super) fn pass(&self, held: Option<Held<V>>) -> Result<Answer<V>> {
        let now = self.clock.monotonic();
        let held = held.ok_or(Error::Abandoned)?;
        let fresh = held.kept().is_some_and(|kept| kept.is_fresh(kept.age(now)));
        let freshness = match fresh {
            true => Freshness::Fresh,
            false => Freshness::Stale,
        };
        Ok(held.answer(now, freshness))
    }

    /// How a creation ended; what it made is kept where it still counts, if it is to be kept here. Wakes who waits for
    /// it.
    pub(super) fn land(
        &self,
        flight: &Flight<V>,
        mut outcome: Outcome<V>,
        keep: bool,
    ) -> Outcome<V> {
        let jitter = self.chance();
        let now = self.clock.monotonic();
        let mut old = None;
        let mut state = self.state();
        let good = outcome.is_ok();
        let counts = match &outcome {
            Err(Error::Abandoned) => state.desk.give_up(flight.number),
            Err(Error::Leased { .. }) => state.desk.defer(flight.number, now.saturating_add(PAUSE)),
            _ => state
                .desk
                .land(&self.rules, flight.number, good, now, jitter),
        };
        let mut past = None;
        if counts {
            past = state.flight.take();
            match &mut outcome {
                Ok(kept) => {
                    state.made = Some(kept.seen);
                    if keep && kept.keep && !flight.is_old() {
                        let keeps = self.kept.get_or_init(ArcSwapOption::empty);
                        old = keeps.swap(Some(kept.clone()));
                    }
                }
                Err(Error::Abandoned | Error::Leased { .. }) => {}
                Err(error) => {
                    *error = error.again_after(state.desk.delay(now));
                    state.error = Some(error.clone());
                }
            }
            self.landed.store(state.desk.landed(), Ordering::Release);
        }
        drop(state);
        // Outside the lock: with them go values, which are the user's.
        drop((old, past));
        self.counts.landed(&outcome, counts || !keep);
        flight.finish(outcome.clone());
        outcome
    }

    /// The answer to somebody who waited, or created, and had found something before.
    pub(super) fn conclude(&self, outcome: Outcome<V>, held: Option<Held<V>>) -> Result<Answer<V>> {
        let error = match outcome {
            // Just made: the clock has hardly moved, and a thousand callers may be here at once.
            Ok(kept) => {
                return Ok(Answer {
                    age: kept.before,
                    held: Held::Shared(kept),
                    freshness: Freshness::Fresh,
                });
            }
            Err(Error::Leased { .. }) if self.shows(held.as_ref()) => return self.pass(held),
            Err(error) => error,
        };
        let now = self.clock.monotonic();
        let serves = |held: &Held<V>| {
            let kept = held.kept();
            kept.is_some_and(|kept| self.serves_on_error(kept, kept.age(now)))
        };
        let Some(held) = held.filter(serves) else {
            return Err(error);
        };
        count(&self.counts.stale_on_error);
        Ok(held.answer(now, Freshness::StaleOnError(error)))
    }

    /// What is kept, and what is being created, is old.
    pub(super) fn invalidate(&self) {
        let mut state = self.state();
        state.desk.renounce();
        state.made = None;
        let old = self.kept.get().and_then(|kept| kept.swap(None));
        let flight = state.flight.take();
        self.landed.store(state.desk.landed(), Ordering::Release);
        drop(state);
        // Who waits for that flight came before, and gets what it makes.
        drop((old, flight));
    }

    /// What was made by now is stale.
    pub(super) fn expire(&self) {
        let now = self.clock.wall_micros();
        self.stale_up_to.fetch_max(now, Ordering::Relaxed);
        if let Some(kept) = self.kept.get()
            && let Some(kept) = &*kept.load()
        {
            kept.expired.store(true, Ordering::Relaxed);
        }
    }

    /// What was found, if it is fresh.
    pub(super) fn still_fresh(&self, held: Held<V>) -> Option<Created<V>> {
        let now = self.clock.monotonic();
        match held {
            Held::Own(kept) if kept.is_fresh(kept.age(now)) => {
                let created = Created::new(kept.value?);
                Some(created.at(kept.created))
            }
            _ => None,
        }
    }

    /// Whether it would matter if this were forgotten.
    pub(super) fn remembers(&self) -> bool {
        self.state().desk.remembers(self.clock.monotonic()) || self.kept_none().is_some()
    }

    pub(super) fn is_creating(&self) -> bool {
        self.state().flight.is_some()
    }
}

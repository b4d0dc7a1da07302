//! What a caller is to do, by what it has found and by what others do.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::answer::{Answer, Freshness, Held};
use super::decide::Step;
use super::elected::Elected;
use super::error::{Error, Result};
use super::flight::Flight;
use super::shared::{Shared, State};
use super::stats::count;
use crate::generation::Token;

/// What a caller is to do, with what it has found.
pub(super) enum Next<V> {
    Answer(Result<Answer<V>>),
    Again,
    Create(Elected<V>, Option<Held<V>>),
    Join(Arc<Flight<V>>, Option<Held<V>>),
}

impl<V> Shared<V> {
    /// Whoever looked when `seen` creations had landed, and found this. `view` is asked for by who is elected.
    pub(super) fn enter(
        self: &Arc<Self>,
        seen: u64,
        held: Option<Held<V>>,
        view: impl FnOnce() -> Option<Token>,
    ) -> Next<V> {
        let now = self.clock.monotonic();
        let kept = held.as_ref().and_then(Held::kept);
        let found = kept.map(|kept| self.judge(kept, now));
        let mut state = self.state();
        let lost = self.drop_lost(&mut state, now);
        let step = state.desk.enter(&self.rules, seen, found, now);
        let error = state.error.as_ref().unwrap_or(&Error::Abandoned);
        // The desk passes nobody who has found nothing.
        let pass = |held: Option<Held<V>>, freshness| match held {
            Some(held) => Next::Answer(Ok(held.answer(now, freshness))),
            None => Next::Again,
        };
        let next = match step {
            Step::Again => Next::Again,
            Step::Fresh => pass(held, Freshness::Fresh),
            Step::Stale => pass(held, Freshness::Stale),
            Step::StaleOnError => pass(held, Freshness::StaleOnError(error.clone())),
            Step::Refused(delay) => Next::Answer(Err(error.again_after(delay))),
            Step::Join => match state.flight.clone() {
                Some(flight) => Next::Join(flight, held),
                None => Next::Again,
            },
            Step::Elected(number) => {
                let until = now.saturating_add(self.options.limit);
                // The lock of generations is a leaf.
                let flight = Arc::new(Flight::new(number, until, view()));
                state.flight = Some(flight.clone());
                Next::Create(Elected::new(self.clone(), flight, now), held)
            }
        };
        drop(state);
        if let Some(flight) = lost {
            let limit = self.options.limit;
            flight.finish(Err(Error::Overdue { limit }));
        }
        self.counts.entered(step);
        next
    }

    /// Takes a creation that counts no longer out of the way. Who waits for one that took too long is to be told;
    /// who waits for one whose key was written since came before that, and gets what it makes.
    fn drop_lost(&self, state: &mut State<V>, now: Duration) -> Option<Arc<Flight<V>>> {
        let flight = state.flight.as_ref()?;
        if flight.is_old() {
            state.desk.renounce();
            state.flight = None;
            self.landed.store(state.desk.landed(), Ordering::Release);
            return None;
        }
        let number = state.desk.overdue(now)?;
        let limit = self.options.limit;
        state.error = Some(Error::Overdue { limit });
        state
            .desk
            .land(&self.rules, number, false, now, self.chance());
        count(&self.counts.failures);
        state.flight.take()
    }
}

//! A task that waits for the committer.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use crate::journal::committer::{Core, Guard};
use crate::journal::error::Result;
use crate::journal::group::Documents;
use crate::journal::options::Durability;
use crate::journal::queue::{Awaited, Receipt, State};

/// Where one task sleeps.
#[derive(Default)]
pub(super) struct Bed {
    place: Option<(Awaited, u64)>,
}

static TICKETS: AtomicU64 = AtomicU64::new(0);

impl Bed {
    /// Lies down until `awaited`; under the lock under which that was found to be still to come.
    pub(super) fn sleep(&mut self, mut state: Guard<'_>, awaited: Awaited, waker: Waker) {
        let ticket = match self.place {
            Some((_, ticket)) => ticket,
            None => TICKETS.fetch_add(1, Ordering::Relaxed),
        };
        let before = self.rise(&mut state);
        self.place = Some((awaited, ticket));
        state.sleepers.insert((awaited, ticket), waker);
        // With its waker a whole task may go, and beds of its own: not under the lock.
        drop(state);
        drop(before);
    }

    /// Gets up; what is returned must go without the lock.
    fn rise(&mut self, state: &mut State) -> Option<Waker> {
        let place = self.place.take()?;
        state.sleepers.remove(&place)
    }

    /// Nobody needs to be woken any more.
    pub(super) fn leave(&mut self, core: &Core) {
        if self.place.is_some() {
            let waker = self.rise(&mut core.lock());
            drop(waker);
        }
    }
}

/// What a task asks the committer for.
pub(super) enum Wish<'a> {
    Append {
        documents: Documents<'a>,
        durability: Durability,
        expected: Option<u64>,
    },
    /// That everything appended so far is as durable as that.
    Everything(Durability),
}

/// Waits until a wish is met: for room, and then for the outcome.
///
/// What it waits for does not depend on it: the committer's thread leads whenever there is a task.
pub(super) struct Commit<'a> {
    core: &'a Core,
    wish: Wish<'a>,
    /// Once it was accepted.
    accepted: Option<Receipt>,
    /// The group that stood in the way when there was no room.
    ahead: Option<Receipt>,
    bed: Bed,
}

impl<'a> Commit<'a> {
    pub(super) fn new(core: &'a Core, wish: Wish<'a>) -> Commit<'a> {
        Commit {
            core,
            wish,
            accepted: None,
            ahead: None,
            bed: Bed::default(),
        }
    }

    /// `None` where there is no room.
    fn ask(&self, state: &mut State) -> Result<Option<Receipt>> {
        match &self.wish {
            Wish::Append {
                documents,
                durability,
                expected,
            } => (self.core).accept(state, documents, *durability, *expected),
            Wish::Everything(durability) => {
                state.check()?;
                Ok(Some(state.wait_for_all(*durability)))
            }
        }
    }

    fn go_on(&mut self, state: &mut State) -> Result<Poll<u64>> {
        if self.accepted.is_none() {
            self.accepted = self.ask(state)?;
            match &self.accepted {
                Some(receipt) if receipt.durability == Durability::Memory => {
                    self.core.call_committer(state);
                    return Ok(Poll::Ready(receipt.first));
                }
                Some(_) => {}
                None => {
                    // Who stands in its way has tried, and failed: so does this.
                    if let Some(Err(error)) = self.ahead.as_ref().and_then(|g| state.outcome(g)) {
                        return Err(error);
                    }
                    self.ahead = Some(state.nothing(0));
                }
            }
            state.gathering.wakers += 1;
            if state.gathering.wakers == 1 {
                self.core.call_committer(state);
            }
        }
        let outcome = (self.accepted.as_ref()).and_then(|receipt| {
            let first = receipt.first;
            state.outcome(receipt).map(|done| done.map(|()| first))
        });
        outcome.map_or(Ok(Poll::Pending), |done| done.map(Poll::Ready))
    }
}

impl Future for Commit<'_> {
    /// Position of the first document.
    type Output = Result<u64>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<u64>> {
        let waker = context.waker().clone();
        let mut state = self.core.lock();
        let done = match self.go_on(&mut state) {
            Ok(Poll::Pending) => {
                let awaited = match &self.accepted {
                    Some(receipt) => Awaited::Group(receipt.group),
                    None => Awaited::Room,
                };
                self.bed.sleep(state, awaited, waker);
                return Poll::Pending;
            }
            Ok(Poll::Ready(first)) => Ok(first),
            Err(error) => Err(error),
        };
        let before = self.bed.rise(&mut state);
        drop(state);
        drop(before);
        Poll::Ready(done)
    }
}

impl Drop for Commit<'_> {
    fn drop(&mut self) {
        self.bed.leave(self.core);
    }
}

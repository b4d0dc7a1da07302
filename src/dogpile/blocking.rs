//! The front for threads: who is elected creates on its own thread.

use std::error::Error as StdError;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::answer::{Answer, Created, Held};
use super::elected::Elected;
use super::enter::Next;
use super::error::{Error, Result};
use super::flight::{Flight, Outcome};
use super::shared::Shared;
use crate::contain;

/// What became of the wait for somebody else.
pub(super) enum Waited<V> {
    Over(Result<Answer<V>>),
    /// Whoever created is gone, or took too long.
    Again,
}

impl<V> Shared<V> {
    /// Looks, and waits or passes; who is elected is to create, with what was found.
    pub(super) fn drive(
        self: &Arc<Self>,
        mut look: impl FnMut() -> Option<Held<V>>,
        create: impl FnOnce(Elected<V>, Option<Held<V>>) -> Result<Answer<V>>,
    ) -> Result<Answer<V>> {
        let hour = self.hour();
        loop {
            let seen = self.landed();
            match self.enter(seen, look(), || None) {
                Next::Answer(answer) => return answer,
                Next::Again => {}
                Next::Create(elected, held) => return create(elected, held),
                Next::Join(flight, held) => match self.wait(&flight, held, hour) {
                    Waited::Over(answer) => return answer,
                    Waited::Again => {}
                },
            }
        }
    }

    /// The same for a value that lies elsewhere.
    pub(super) fn drive_elsewhere<I, E>(
        self: &Arc<Self>,
        look: impl FnMut() -> Option<Held<V>>,
        creator: impl FnOnce() -> std::result::Result<I, E>,
    ) -> Result<Answer<V>>
    where
        I: Into<Created<V>>,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        self.drive(look, |elected, held| {
            self.conclude(create(elected.elsewhere(), creator), held)
        })
    }

    pub(super) fn hour(&self) -> Duration {
        let now = self.clock.monotonic();
        now.saturating_add(self.options.wait)
    }

    /// Waits for who creates, or until that hour, for a caller that had found something before.
    pub(super) fn wait(
        &self,
        flight: &Flight<V>,
        held: Option<Held<V>>,
        hour: Duration,
    ) -> Waited<V> {
        if flight.thread.get() == Some(&thread::current().id()) {
            return Waited::Over(Err(Error::Reentered));
        }
        match flight.wait_until(&*self.clock, hour.min(flight.until)) {
            Some(Err(Error::Abandoned)) => Waited::Again,
            Some(outcome) => Waited::Over(self.conclude(outcome, held)),
            None if self.clock.monotonic() < hour => Waited::Again,
            None => {
                let waited = self.options.wait;
                Waited::Over(self.conclude(Err(Error::TimedOut { waited }), held))
            }
        }
    }
}

/// Calls the creator on this thread; a panic of it is an error.
pub(super) fn create<V, I, E>(
    elected: Elected<V>,
    creator: impl FnOnce() -> std::result::Result<I, E>,
) -> Outcome<V>
where
    I: Into<Created<V>>,
    E: Into<Box<dyn StdError + Send + Sync>>,
{
    let _ = elected.flight.thread.set(thread::current().id());
    let made = contain::call(creator);
    elected.land(made.map_err(Error::panicked))
}

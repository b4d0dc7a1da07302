//! Whoever creates: however it ends, nobody is left waiting.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use super::answer::Created;
use super::error::Error;
use super::flight::{Flight, Outcome};
use super::shared::Shared;
use crate::generation::{Generations, Token};

/// The right to create. Dropped before it has [landed](Elected::land) it goes to the next one.
pub(super) struct Elected<V> {
    shared: Arc<Shared<V>>,
    pub(super) flight: Arc<Flight<V>>,
    began: Duration,
    /// Whether what is made is kept by the dogpile itself.
    keep: bool,
    view: Option<Token>,
    over: bool,
}

impl<V> Elected<V> {
    pub(super) fn new(
        shared: Arc<Shared<V>>,
        flight: Arc<Flight<V>>,
        began: Duration,
    ) -> Elected<V> {
        Elected {
            shared,
            flight,
            began,
            keep: true,
            view: None,
            over: false,
        }
    }

    /// Its values lie elsewhere.
    pub(super) fn elsewhere(mut self) -> Elected<V> {
        self.keep = false;
        self
    }

    /// The creator is about to look: what it makes is stored under this token. None where a write was over since it
    /// was elected, and somebody else creates for those who came after that.
    pub(super) fn begins(&self, generations: &Generations, key: &str) -> Option<Token> {
        let state = self.shared.state();
        let current = state.flight.as_ref();
        // First, so that whatever makes the flight old kills this as well.
        let token = generations.token(key);
        if current.is_some_and(|current| Arc::ptr_eq(current, &self.flight)) {
            self.flight.begins(generations.token(key));
        } else if self.flight.is_old() {
            return None;
        }
        Some(token)
    }

    /// That there is none, kept as long as nothing is written under the key of that token.
    pub(super) fn none_as_of(mut self, view: Token) -> Elected<V> {
        self.keep = true;
        self.view = Some(view);
        self
    }

    /// What the creator made, or failed with; all who wait are told.
    pub(super) fn land<I, E>(self, made: Result<Result<I, E>, Error>) -> Outcome<V>
    where
        I: Into<Created<V>>,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        self.end(match made {
            Ok(Ok(created)) => Ok(created.into()),
            Ok(Err(error)) => Err(Error::failed(error.into())),
            Err(error) => Err(error),
        })
    }

    /// The same.
    pub(super) fn end(mut self, made: Result<Created<V>, Error>) -> Outcome<V> {
        let outcome = made.map(|created| {
            let mut kept = self.shared.made(created, self.began);
            kept.view = self.view.take();
            Arc::new(kept)
        });
        self.over = true;
        self.shared.land(&self.flight, outcome, self.keep)
    }
}

impl<V> Drop for Elected<V> {
    fn drop(&mut self) {
        if !self.over {
            let abandoned = Err(Error::Abandoned);
            let _ = self.shared.land(&self.flight, abandoned, false);
        }
    }
}

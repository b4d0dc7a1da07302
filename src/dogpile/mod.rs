//! The dogpile lock: one creates, the others take what is there.
//!
//! When a value expires that many ask for, all of them would go and make it anew. Here one is elected to do so; the
//! others pass at once with the stale value, or wait where there is none.
//!
//! ```text
//!   fresh                    all take it
//!   stale                    one creates; the others take the stale one, at once
//!   none, or past `hard`     one creates; the others wait for it, a limited time
//!   the creator has failed   the stale one for a while, told of the error; then the error; the next try after a delay
//! ```
//!
//! | piece | what |
//! |---|---|
//! | [`Dogpile`] | one value, for threads; who is elected creates on its own thread, or has a [`Pool`] do it |
//! | [`AsyncDogpile`] | the same for tasks; a creation is a task of its own |
//! | [`Cached`], [`cached()`] | values by key in any tier, also one that other processes share |
//! | [`Swap`] | a resource that is read while its next version is made, and changed when nobody reads |
//! | [`Registry`] | one object for each key, as long as anybody holds it |
//!
//! # What is promised
//!
//! * One creation for each expiry, however long it takes to look: who looked before a value was made looks again
//!   before it creates. (The newest release of the Python original made 400 where 20 were due.)
//! * An answer replaces what was there, a value or that there is none; an error never does.
//! * All who wait for a creation share its end. A failure is not tried again before its time, by anybody.
//! * A creation belongs to nobody: callers that are dropped, give up, or are not polled harm no one. One that panics,
//!   or whose thread or runtime ends, leaves nobody waiting.
//! * What is made from an old view is not kept: what was written or [invalidated](Dogpile::invalidate) meanwhile stays,
//!   and who comes after that does not get it.
//!
//! # How long a caller waits
//!
//! | call | fresh | stale | none |
//! |---|---|---|---|
//! | [`Dogpile::get`] and its like, elected | not at all | for its own creator, as long as that takes | the same |
//! | the same, not elected | not at all | not at all | at most [`Options::wait`] |
//! | [`Dogpile::get_behind`] | not at all | not at all | as above |
//! | [`AsyncDogpile::get`] and its like, elected or not | not at all | elected: at most [`Options::wait`], not at all with [`Options::background`] | at most [`Options::wait`] |
//! | [`Swap::read`] and its like | for a writer, at most [`Options::wait`] | elected: for its own creator; else as fresh | elected: for its own creator; else at most [`Options::wait`] |
//! | [`Cached::get`] | for the tier | as there | as there |
//!
//! Where a getter or a tier is asked, the time that it takes comes on top. No lock is held while user code runs.
//!
//! The idea is that of Mike Bayer's [dogpile.core](https://pypi.org/project/dogpile.core/), after Beaker.

mod answer;
mod asynchronous;
mod blocking;
mod cached;
mod create;
mod decide;
mod elected;
mod enter;
mod error;
mod flight;
mod options;
mod pool;
pub mod readers;
mod registry;
mod shared;
mod shelf;
mod stats;
mod swap;

pub use answer::{Answer, Created, Freshness};
pub use asynchronous::AsyncDogpile;
pub use cached::{Cached, cached};
pub use error::{Error, Result};
pub use options::{NEVER, Options};
pub use pool::Pool;
pub use registry::{Registered, Registry};
pub use stats::Stats;
pub use swap::{Reading, Swap};

use std::error::Error as StdError;
use std::fmt;
use std::result::Result as StdResult;
use std::sync::Arc;
use std::time::Duration;

use blocking::create;
use shared::Shared;

/// One creator at a time, for threads. Cheap to clone: all clones are the same.
///
/// Nothing is durable: the value is kept in memory, or wherever the getter finds it.
///
/// # Examples
///
/// ```
/// use documentbuffer::dogpile::Dogpile;
/// use std::time::Duration;
///
/// let weather = Dogpile::new(Duration::from_secs(60));
/// for _ in 0..3 {
///     // Called once: the value is fresh after that.
///     let answer = weather.get(|| std::fs::read_to_string("Cargo.toml"))?;
///     assert!(answer.is_fresh() && answer.value().is_some());
/// }
/// assert_eq!(weather.stats().creations, 1);
/// # Ok::<(), documentbuffer::dogpile::Error>(())
/// ```
pub struct Dogpile<V> {
    shared: Arc<Shared<V>>,
}

impl<V> Dogpile<V> {
    /// A value that is made anew when it is older than that; all else as [`Options`] has it by default.
    pub fn new(expiry: Duration) -> Dogpile<V> {
        Options::new(expiry).build()
    }

    /// The value, made if need be.
    ///
    /// Who is elected runs the creator, and waits for it. The others take the stale value at once; where there is none,
    /// or it is past [`Options::hard`], they wait at most [`Options::wait`].
    ///
    /// The creator returns a value, or a [`Created`] to say more of it. It may ask other dogpiles.
    ///
    /// # Errors
    ///
    /// What the creator failed with, unless there is a value that is shown then ([`Options::stale_if_error`]);
    /// [`Error::TimedOut`]; [`Error::Reentered`] where a creator asks for the very value that it makes, and would have
    /// to wait.
    pub fn get<I, E>(&self, creator: impl FnOnce() -> StdResult<I, E>) -> Result<Answer<V>>
    where
        I: Into<Created<V>>,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        match self.shared.fresh() {
            Some(answer) => Ok(answer),
            None => self.shared.drive(
                || self.shared.kept(),
                |elected, held| self.shared.conclude(create(elected, creator), held),
            ),
        }
    }

    /// The same, where a stale value is made anew by the pool, and the caller takes it as it is. Where there is none to
    /// take, it creates itself.
    ///
    /// # Errors
    ///
    /// As [`get`](Dogpile::get).
    pub fn get_behind<I, E>(
        &self,
        pool: &Pool,
        creator: impl FnOnce() -> StdResult<I, E> + Send + 'static,
    ) -> Result<Answer<V>>
    where
        V: Send + Sync + 'static,
        I: Into<Created<V>>,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        match self.shared.fresh() {
            Some(answer) => Ok(answer),
            None => self.shared.drive(
                || self.shared.kept(),
                |elected, held| {
                    if !self.shared.shows(held.as_ref()) {
                        return self.shared.conclude(create(elected, creator), held);
                    }
                    // Where the pool is full it is the next one's turn to be elected.
                    pool.run(move || drop(create(elected, creator)));
                    self.shared.pass(held)
                },
            ),
        }
    }

    /// A value that lies elsewhere: the getter finds it, or none, and the creator makes it and puts it there.
    ///
    /// The dogpile only remembers when it was last made, so it has it made once even where the getter finds one already,
    /// unless [`Options::made_now`]. A value that is gone before its expiry is made anew. The getter is called once for
    /// each call that does not create, and once more for each value that was made while it looked; never after its own
    /// creation.
    ///
    /// # Errors
    ///
    /// As [`get`](Dogpile::get). A getter that fails finds none.
    pub fn get_with<I, E>(
        &self,
        mut getter: impl FnMut() -> Option<V>,
        creator: impl FnOnce() -> StdResult<I, E>,
    ) -> Result<Answer<V>>
    where
        I: Into<Created<V>>,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let look = || {
            let found = getter()?;
            self.shared.unstamped(Created::new(found))
        };
        self.shared.drive_elsewhere(look, creator)
    }

    /// The same, where the getter also says [when](Created::at) the value was made, and the creator puts both. So the
    /// dogpile remembers nothing that counts, and can be thrown away between two calls: see [`Registry`].
    ///
    /// # Errors
    ///
    /// As [`get_with`](Dogpile::get_with).
    pub fn get_stamped<I, E>(
        &self,
        mut getter: impl FnMut() -> Option<Created<V>>,
        creator: impl FnOnce() -> StdResult<I, E>,
    ) -> Result<Answer<V>>
    where
        I: Into<Created<V>>,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let look = || getter().and_then(|found| self.shared.stamped(found));
        self.shared.drive_elsewhere(look, creator)
    }

    /// Forgets the value: whoever asks from now on gets one whose making began after this.
    pub fn invalidate(&self) {
        self.shared.invalidate();
    }

    /// The value counts as stale from now on: the next caller makes it anew, and the others take it meanwhile.
    pub fn expire(&self) {
        self.shared.expire();
    }

    /// Whether somebody creates at this moment.
    pub fn is_creating(&self) -> bool {
        self.shared.is_creating()
    }

    /// What it has done.
    pub fn stats(&self) -> Stats {
        self.shared.counts.read()
    }

    /// The same one for tasks.
    pub fn asynchronous(&self) -> AsyncDogpile<V> {
        AsyncDogpile {
            shared: self.shared.clone(),
        }
    }
}

impl Options {
    /// A dogpile for threads.
    pub fn build<V>(self) -> Dogpile<V> {
        let clock = self.system_clock();
        Dogpile {
            shared: Arc::new(Shared::new(self, clock)),
        }
    }

    /// A dogpile for tasks.
    pub fn build_async<V>(self) -> AsyncDogpile<V> {
        let clock = self.runtime_clock();
        AsyncDogpile {
            shared: Arc::new(Shared::new(self, clock)),
        }
    }
}

impl<V> Clone for Dogpile<V> {
    fn clone(&self) -> Dogpile<V> {
        Dogpile {
            shared: self.shared.clone(),
        }
    }
}

impl<V> fmt::Debug for Dogpile<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dogpile")
            .field("creating", &self.shared.is_creating())
            .finish_non_exhaustive()
    }
}

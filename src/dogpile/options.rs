//! How long a value is good, and who waits how long.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::decide::Rules;
use crate::clock::runtime::RuntimeClock;
use crate::clock::{Clock, SystemClock};

/// For ever, and as long as it takes.
pub const NEVER: Duration = Duration::MAX;

/// How long a value is good, what is shown when it no longer is, and how long anybody waits.
///
/// | option | default | |
/// |---|---|---|
/// | [`new`](Options::new) | | a value is made anew when it is older than that |
/// | [`hard`](Options::hard) | never | older than that it is not shown while it is made anew: callers wait |
/// | [`gone`](Options::gone) | the expiry | "there is none" is asked again after that |
/// | [`stale_if_error`](Options::stale_if_error) | the expiry | so long beyond its expiry it is shown where the creator fails |
/// | [`backoff`](Options::backoff) | 100 ms to 1 min | between creations that fail |
/// | [`wait`](Options::wait) | 30 s | a caller waits no longer for a creation of somebody else |
/// | [`limit`](Options::limit) | never | a creation that takes longer has failed |
/// | [`background`](Options::background) | no | who finds a stale value does not wait for the new one |
/// | [`early`](Options::early) | 0 | some are made anew before they expire |
/// | [`made_now`](Options::made_now) | no | the value is there already when the dogpile is made |
///
/// # Examples
///
/// ```
/// use documentbuffer::dogpile::{Dogpile, Options};
/// use std::time::Duration;
///
/// let options = Options::new(Duration::from_secs(60))
///     .hard(Duration::from_secs(600))
///     .stale_if_error(Duration::from_secs(3600));
/// let weather: Dogpile<String> = options.build();
/// # drop(weather);
/// ```
#[derive(Clone)]
#[must_use]
pub struct Options {
    pub(super) expiry: Duration,
    pub(super) hard: Duration,
    pub(super) gone: Option<Duration>,
    pub(super) stale_if_error: Option<Duration>,
    pub(super) backoff: (Duration, Duration),
    pub(super) wait: Duration,
    pub(super) limit: Duration,
    pub(super) background: bool,
    pub(super) early: f64,
    pub(super) made_now: bool,
    pub(super) seed: Option<u64>,
    clock: Option<Arc<dyn Clock>>,
}

impl Options {
    /// A value is made anew when it is older than that: exactly as old, it is still good. With an expiry of zero
    /// it is made anew each time, with [`NEVER`] never.
    pub fn new(expiry: Duration) -> Options {
        Options {
            expiry,
            hard: NEVER,
            gone: None,
            stale_if_error: None,
            backoff: (Duration::from_millis(100), Duration::from_secs(60)),
            wait: Duration::from_secs(30),
            limit: NEVER,
            background: false,
            early: 0.0,
            made_now: false,
            seed: None,
            clock: None,
        }
    }

    /// Older than that a value is not shown while it is made anew: callers wait for the new one.
    pub fn hard(mut self, age: Duration) -> Options {
        self.hard = age;
        self
    }

    /// How long "there is none" ([`Created::gone`](super::Created::gone)) is good.
    pub fn gone(mut self, expiry: Duration) -> Options {
        self.gone = Some(expiry);
        self
    }

    /// So long beyond its expiry a value is shown where the creator fails, also beyond [`hard`](Options::hard); the
    /// answer tells of the error. Zero: never.
    pub fn stale_if_error(mut self, beyond: Duration) -> Options {
        self.stale_if_error = Some(beyond);
        self
    }

    /// After a failure the creator is not called before `first`, after the next one twice that, and so on up to
    /// `longest`; each up to a quarter less, by chance. A first of zero: at once.
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Options {
        self.backoff = (first, longest.max(first));
        self
    }

    /// A caller waits no longer than that for what somebody else creates.
    pub fn wait(mut self, most: Duration) -> Options {
        self.wait = most;
        self
    }

    /// A creation that takes longer, over a tier with the time that it takes to store, counts as failed, and somebody
    /// else is elected. An async creator is dropped then; a blocking one cannot be, and what it makes is for its own
    /// caller only.
    pub fn limit(mut self, most: Duration) -> Options {
        self.limit = most;
        self
    }

    /// Who finds a stale value gets it at once, and never waits for the new one; async only. Threads say where it
    /// is to be made, see [`Dogpile::get_behind`](super::Dogpile::get_behind).
    pub fn background(mut self, background: bool) -> Options {
        self.background = background;
        self
    }

    /// Makes some values anew before they expire, by chance, and the sooner the longer they took to make: with
    /// `beta` 1 about that long before. What is not a number from 0 up counts as 0, which is never.
    ///
    /// "XFetch" of Vattani, Chierichetti and Lowenstein, *Optimal Probabilistic Cache Stampede Prevention*, PVLDB 8
    /// (2015).
    pub fn early(mut self, beta: f64) -> Options {
        self.early = if beta.is_finite() { beta.max(0.0) } else { 0.0 };
        self
    }

    /// Counts as made at the moment when the dogpile is, for a value that lies elsewhere and is there already.
    pub fn made_now(mut self) -> Options {
        self.made_now = true;
        self
    }

    /// The clock. Default: the system's; for [tasks](Options::build_async) that of tokio.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Options {
        self.clock = Some(clock);
        self
    }

    /// What chance begins with, for tests.
    pub fn seed(mut self, seed: u64) -> Options {
        self.seed = Some(seed);
        self
    }

    pub(super) fn system_clock(&self) -> Arc<dyn Clock> {
        let clock = self.clock.clone();
        clock.unwrap_or_else(|| Arc::new(SystemClock::new()))
    }

    pub(super) fn runtime_clock(&self) -> Arc<dyn Clock> {
        let clock = self.clock.clone();
        clock.unwrap_or_else(|| Arc::new(RuntimeClock::new()))
    }

    pub(super) fn beyond(&self) -> Duration {
        self.stale_if_error.unwrap_or(self.expiry)
    }

    /// How old a value gets before nobody is shown it any more, if ever.
    pub(super) fn over(&self) -> Option<Duration> {
        let over = self.hard.max(self.expiry.saturating_add(self.beyond()));
        (over < NEVER).then_some(over)
    }

    pub(super) fn rules(&self) -> Rules {
        Rules {
            backoff: self.backoff,
            limit: self.limit,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("expiry", &self.expiry)
            .field("hard", &self.hard)
            .field("wait", &self.wait)
            .finish_non_exhaustive()
    }
}

//! A creation for a tier: under a lease, if there is one, and stored only if nothing was written meanwhile.

use std::error::Error as StdError;
use std::pin::pin;
use std::result::Result as StdResult;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;

use super::answer::Created;
use super::asynchronous::contained;
use super::elected::Elected;
use super::error::Error;
use super::shelf::{Place, Shelf};
use super::stats::count;
use crate::generation::Token;
use crate::lease::{Held, Lease};
use crate::tier::guarded::Guarded;
use crate::tier::{Applied, Entry, KeyBuf, Op, Version, When};

/// How long a process that has nothing to show waits at first, and at most, until it looks again at what another one
/// makes.
const LOOKS: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(250));

pub(super) struct Creation<T> {
    pub(super) shelf: Arc<Shelf<T>>,
    /// Held, so that nobody else creates under the key.
    pub(super) place: Place,
    pub(super) key: KeyBuf,
    /// There is a value to show meanwhile.
    pub(super) shows: bool,
}

/// What became of asking for the lease.
enum Right {
    /// To create; with a lease, where there is one.
    Mine(Option<Held>),
    /// Another process has made it.
    Made(Created<Bytes>),
    /// Another process makes it.
    Others(Error),
}

impl<T: Guarded> Creation<T> {
    pub(super) async fn run<F, E>(
        self,
        elected: Elected<Bytes>,
        creator: impl FnOnce(Option<u64>) -> F + Send,
    ) where
        F: Future<Output = StdResult<Created<Bytes>, E>> + Send,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        self.create(elected.elsewhere(), creator).await;
        if self.place.remembers() {
            let key = self.key.as_key().as_str();
            self.shelf.remember(key, &self.place);
        }
    }

    async fn create<F, E>(
        &self,
        elected: Elected<Bytes>,
        creator: impl FnOnce(Option<u64>) -> F + Send,
    ) where
        F: Future<Output = StdResult<Created<Bytes>, E>> + Send,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let mut held = match self.right().await {
            Right::Mine(held) => held,
            Right::Made(created) => return drop(elected.end(Ok(created))),
            Right::Others(error) => return drop(elected.end(Err(error))),
        };
        // Before the creator looks at anything.
        let key = self.key.as_key().as_str();
        let token = elected.begins(self.shelf.tier.generations(), key);
        let fence = held.as_ref().map(Held::fence);
        let creating = async { creator(fence).await };
        let creating = contained(self.place.options.limit, creating);
        let made = match &mut held {
            Some(held) => beside(creating, self.renew(held)).await,
            None => creating.await,
        };
        match made {
            Ok(Ok(created)) => self.store(elected, created, token, fence).await,
            Ok(Err(error)) => drop(elected.end(Err(Error::failed(error.into())))),
            Err(error) => drop(elected.end(Err(error))),
        }
        if let Some(held) = held {
            self.release(held).await;
        }
    }

    fn token(&self) -> Token {
        let generations = self.shelf.tier.generations();
        generations.token(self.key.as_key().as_str())
    }

    /// Asks for the lease, and waits for who holds it where there is nothing to show.
    async fn right(&self) -> Right {
        let Some((lease, time)) = &self.shelf.lease else {
            return Right::Mine(None);
        };
        let clock = &self.shelf.clock;
        let (began, wait) = (clock.monotonic(), self.place.options.wait);
        let mut pause = LOOKS.0;
        loop {
            match lease.take(self.key.as_key().as_str(), *time).await {
                Ok(Some(held)) => {
                    // It may have been made just before the lease was given back.
                    let Some(made) = self.made_by_others().await else {
                        return Right::Mine(Some(held));
                    };
                    self.release(held).await;
                    return Right::Made(made);
                }
                Ok(None) if self.shows => {
                    let waited = Duration::ZERO;
                    return Right::Others(Error::Leased { waited });
                }
                Ok(None) => {}
                Err(_) => {
                    count(&self.shelf.counts.lease_errors);
                    return Right::Mine(None);
                }
            }
            let left = wait.saturating_sub(clock.monotonic().saturating_sub(began));
            if left.is_zero() {
                return Right::Others(Error::Leased { waited: wait });
            }
            tokio::time::sleep(pause.min(left)).await;
            pause = pause.saturating_mul(2).min(LOOKS.1);
            if let Some(made) = self.made_by_others().await {
                return Right::Made(made);
            }
        }
    }

    async fn made_by_others(&self) -> Option<Created<Bytes>> {
        let found = self.shelf.look(&self.place, self.key.as_key()).await?;
        self.place.still_fresh(found)
    }

    /// Holds the lease as long as this is polled, or until it is lost.
    async fn renew(&self, held: &mut Held) {
        if let Some((lease, time)) = &self.shelf.lease {
            loop {
                tokio::time::sleep(*time / 3).await;
                if let Ok(false) = lease.renew(held, *time).await {
                    return;
                }
            }
        }
    }

    async fn release(&self, held: Held) {
        if let Some((lease, _)) = &self.shelf.lease {
            // What cannot be given back is free when its time is over.
            let _ = lease.release(held).await;
        }
    }

    /// Stores what was made, and then tells those who wait: who looks after them must find it.
    async fn store(
        &self,
        elected: Elected<Bytes>,
        mut created: Created<Bytes>,
        token: Option<Token>,
        fence: Option<u64>,
    ) {
        let number = self.shelf.clock.wall_micros();
        let stamp = *created.at.get_or_insert(number);
        if !created.keep {
            return drop(elected.end(Ok(created)));
        }
        let version = fence.map_or(Version::NONE, |fence| Version { fence, number });
        let op = match &created.value {
            Some(value) => {
                let mut entry = Entry::new(value.clone()).created(stamp).version(version);
                entry.expiry = self.over(stamp, created.expiry);
                Op::Put(entry)
            }
            None => Op::Remove(version),
        };
        let stored = self.land(token, op, fence).await;
        let elected = match stored && created.value.is_none() {
            // True until the next write; this one is over.
            true => elected.none_as_of(self.token()),
            false => elected,
        };
        drop(elected.end(Ok(created)));
    }

    /// When the tier may forget it.
    fn over(&self, stamp: u64, expiry: Option<Duration>) -> Option<u64> {
        let after = expiry.or_else(|| self.place.options.over())?;
        let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        Some(stamp.saturating_add(micros))
    }

    async fn land(&self, token: Option<Token>, op: Op, fence: Option<u64>) -> bool {
        let shelf = &self.shelf;
        let Some(token) = token else {
            count(&shelf.counts.late);
            return false;
        };
        // A holder whose time is over comes behind those who came after it.
        let compares = fence.is_some() && shelf.tier.capabilities().conditions;
        let when = if compares { When::Newer } else { When::Always };
        match shelf.tier.land(token, self.key.as_key(), op, when).await {
            Ok(Some(Applied::Done)) => return true,
            Ok(_) => count(&shelf.counts.late),
            Err(_) => count(&shelf.counts.tier_errors),
        }
        false
    }
}

/// What one future ends with, while another one goes on beside it.
async fn beside<T>(main: impl Future<Output = T>, other: impl Future<Output = ()>) -> T {
    let (mut main, mut other) = (pin!(main), pin!(other));
    let mut over = false;
    std::future::poll_fn(|context| {
        if let Poll::Ready(output) = main.as_mut().poll(context) {
            return Poll::Ready(output);
        }
        over = over || other.as_mut().poll(context).is_ready();
        Poll::Pending
    })
    .await
}

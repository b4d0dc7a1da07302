//! A deadline for each call, and an order of writes that it does not break.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Sleep, sleep};

use super::turns::{Turn, Turns};
use super::{Applied, Capabilities, Entry, Error, Key, KeyBuf, Kind, Op, Page, Result, Tier, When};

/// Calls that nobody waits for any more, at most.
const ABANDONED: usize = 1024;

/// Another tier, each call of which is answered within a deadline.
///
/// A call is a task of its own: neither the deadline nor a caller that goes away ends it. When the
/// deadline of a write passes, its outcome is [unknown](Error::is_unknown), and its key stays in flight until the
/// tier has answered. Later writes and gets of that key wait for it, each within its own deadline; one that
/// has not had its turn by then has not begun, and its outcome is known. Of one key nothing is reordered.
///
/// A tier that never answers so blocks the keys that were written last, and there is a task for each of them
/// and for each get whose deadline passed. Once 1024 of them, or as many as [`Timeout::with_abandoned`] says, have
/// no caller any more, further calls are refused as [`Kind::Throttled`]. A panic of the tier is an error.
///
/// What is durable, and all the rest, is as in the tier itself.
///
/// # Panics
///
/// Calls do in a tokio runtime without time (`enable_time`).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use documentbuffer::tier::timeout::Timeout;
/// use documentbuffer::tier::{Kind, TierExt};
/// # use documentbuffer::tier::{Applied, Capabilities, Entry, Key, Op, Result, When, Tier};
/// # struct Stuck;
/// # impl Tier for Stuck {
/// #     fn name(&self) -> &str { "stuck" }
/// #     fn capabilities(&self) -> Capabilities { Capabilities::default() }
/// #     async fn get(&self, _: Key<'_>) -> Result<Option<Entry>> { std::future::pending().await }
/// #     async fn write(&self, _: Key<'_>, _: Op, _: When) -> Result<Applied> { std::future::pending().await }
/// # }
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
/// # runtime.block_on(async {
/// let tier = Timeout::new(Stuck, Duration::from_millis(1));
/// let error = tier.put("key", "value").await.unwrap_err();
/// assert!(error.is_transient() && error.is_unknown());
/// let error = tier.put("key", "another").await.unwrap_err();
/// assert!(error.is_transient() && !error.is_unknown()); // It never began.
/// # });
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Timeout<T> {
    tier: Arc<T>,
    limit: Duration,
    abandoned: usize,
    turns: Turns,
    flight: Arc<Flight>,
}

/// The calls on their way.
#[derive(Debug, Default)]
struct Flight {
    count: AtomicUsize,
    /// How many of them somebody waits for.
    callers: AtomicUsize,
    landed: Notify,
    closed: AtomicBool,
}

/// One of them.
struct Airborne(Arc<Flight>);

impl Drop for Airborne {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.landed.notify_waiters();
        }
    }
}

/// Whoever waits for one.
struct Caller<'a>(&'a Flight);

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        self.0.callers.fetch_sub(1, Ordering::AcqRel);
    }
}

impl<T: Tier> Timeout<T> {
    /// That tier, each call of which has so long.
    pub fn new(tier: T, limit: Duration) -> Timeout<T> {
        Timeout {
            tier: Arc::new(tier),
            limit,
            abandoned: ABANDONED,
            turns: Turns::default(),
            flight: Arc::default(),
        }
    }

    /// Calls are refused while that many run that nobody waits for any more.
    #[must_use]
    pub fn with_abandoned(mut self, most: usize) -> Timeout<T> {
        self.abandoned = most;
        self
    }

    /// The tier within.
    pub fn inner(&self) -> &T {
        &self.tier
    }

    /// How long a call has.
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// Calls on their way, those among them whose callers have gone.
    pub fn in_flight(&self) -> usize {
        self.flight.count.load(Ordering::Acquire)
    }

    /// Counted before it is looked whether the tier is closed, so that `close` misses none.
    fn start(&self) -> Result<(Airborne, Caller<'_>)> {
        self.flight.callers.fetch_add(1, Ordering::AcqRel);
        let caller = Caller(&self.flight);
        let before = self.flight.count.fetch_add(1, Ordering::AcqRel);
        let airborne = Airborne(Arc::clone(&self.flight));
        if self.flight.closed.load(Ordering::Acquire) {
            return Err(Error::new(Kind::Closed, self.name(), "it was closed"));
        }
        // One that has just ended may still have a caller: then this is a little too small.
        let callers = self.flight.callers.load(Ordering::Acquire);
        let abandoned = (before + 1).saturating_sub(callers);
        if abandoned >= self.abandoned {
            let why = format!("{abandoned} calls before have no answer yet");
            return Err(Error::new(Kind::Throttled, self.name(), why));
        }
        Ok((airborne, caller))
    }

    /// The turn of that key, if it comes in time.
    async fn turn(&self, key: Key<'_>, sleep: Pin<&mut Sleep>) -> Result<Turn> {
        let turn = before(sleep, self.turns.take(key)).await;
        turn.ok_or_else(|| self.late("an earlier write of this key has not ended within"))
    }

    fn late(&self, what: &str) -> Error {
        let limit = self.limit;
        Error::new(Kind::Transient, self.name(), format!("{what} {limit:?}"))
    }

    /// Runs the call as a task of its own. On an error of ours it is unknown what became of it.
    async fn run<R: Send + 'static>(
        &self,
        sleep: Pin<&mut Sleep>,
        call: impl Future<Output = Result<R>> + Send + 'static,
    ) -> std::result::Result<Result<R>, Error> {
        let runtime = Handle::try_current().map_err(|error| {
            let why = "there is no tokio runtime to run it in";
            Error::new(Kind::Permanent, self.name(), why).source(error)
        });
        let task = match runtime {
            Ok(runtime) => runtime.spawn(call),
            Err(error) => return Ok(Err(error)),
        };
        match before(sleep, task).await {
            Some(Ok(given)) => Ok(given),
            Some(Err(error)) if error.is_cancelled() => {
                let why = "its tokio runtime has ended";
                Err(Error::new(Kind::Closed, self.name(), why).source(error))
            }
            Some(Err(error)) => {
                let why = "it panicked";
                Err(Error::new(Kind::Permanent, self.name(), why).source(error))
            }
            None => Err(self.late("no answer within")),
        }
    }
}

/// What it gives, unless the time is over before.
async fn before<F: Future>(mut sleep: Pin<&mut Sleep>, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        sleep.as_mut().poll(context).map(|()| None)
    })
    .await
}

impl<T: Tier> Tier for Timeout<T> {
    fn name(&self) -> &str {
        self.tier.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.tier.capabilities()
    }

    /// As in the tier within.
    ///
    /// # Errors
    ///
    /// [`Kind::Transient`] where there is no answer in time; [`Kind::Throttled`] where too many calls before
    /// have none; [`Kind::Closed`] after a close.
    async fn get(&self, key: Key<'_>) -> Result<Option<Entry>> {
        let (airborne, _caller) = self.start()?;
        let mut sleep = pin!(sleep(self.limit));
        // Behind the writes before it, but beside other gets.
        drop(self.turn(key, sleep.as_mut()).await?);
        let (tier, key) = (Arc::clone(&self.tier), KeyBuf::from(key));
        let call = async move {
            let _airborne = airborne;
            tier.get(key.as_key()).await
        };
        self.run(sleep, call).await.unwrap_or_else(Err)
    }

    /// As in the tier within.
    ///
    /// # Errors
    ///
    /// [`Kind::Transient`] where there is no answer in time, [unknown](Error::is_unknown) if it had begun;
    /// [`Kind::Permanent`], and unknown, for a panic; [`Kind::Throttled`] and [`Kind::Closed`] as a get.
    async fn write(&self, key: Key<'_>, op: Op, when: When) -> Result<Applied> {
        let (airborne, _caller) = self.start()?;
        let mut sleep = pin!(sleep(self.limit));
        let turn = self.turn(key, sleep.as_mut()).await?;
        let (tier, key) = (Arc::clone(&self.tier), KeyBuf::from(key));
        let call = async move {
            let (_airborne, _turn) = (airborne, turn);
            tier.write(key.as_key(), op, when).await
        };
        let given = self.run(sleep, call).await;
        given.unwrap_or_else(|error| Err(error.unknown()))
    }

    /// As in the tier within, behind nothing.
    async fn scan(&self, from: Option<&Bytes>, limit: usize) -> Result<Page> {
        let (airborne, _caller) = self.start()?;
        let sleep = pin!(sleep(self.limit));
        let (tier, from) = (Arc::clone(&self.tier), from.cloned());
        let call = async move {
            let _airborne = airborne;
            tier.scan(from.as_ref(), limit).await
        };
        self.run(sleep, call).await.unwrap_or_else(Err)
    }

    /// Refuses further calls, waits for those on their way, and closes the tier within. It has no deadline.
    async fn close(&self) -> Result<()> {
        self.flight.closed.store(true, Ordering::Release);
        loop {
            let mut landed = pin!(self.flight.landed.notified());
            landed.as_mut().enable();
            if self.in_flight() == 0 {
                break;
            }
            landed.await;
        }
        self.tier.close().await
    }
}

//! What every lease promises, as one call for its author.
//!
//! ```
//! use documentbuffer::clock::manual::ManualClock;
//! use documentbuffer::lease::{conformance, memory::MemoryLease};
//! use std::sync::Arc;
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
//! # runtime.block_on(async {
//! let clock = ManualClock::at(1_000_000);
//! let make = async || MemoryLease::with_clock(Arc::new(clock.clone()));
//! conformance::run(make, async |time| clock.advance(time)).await?;
//! # Ok::<(), conformance::Failure>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::thread;
use std::time::Duration;

use super::{Held, Kind, Lease, MAX_KEY, MAX_TIME, Result};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(100);

/// What a lease breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

type Outcome<T = ()> = std::result::Result<T, Failure>;

fn that(rule: &str, holds: bool) -> Outcome {
    match holds {
        true => Ok(()),
        false => Err(Failure(rule.to_owned())),
    }
}

fn done<T>(what: &str, done: Result<T>) -> Outcome<T> {
    done.map_err(|error| Failure(format!("{what} failed: {error}")))
}

async fn take(lease: &impl Lease, key: &str, time: Duration) -> Outcome<Held> {
    let taken = done("a take", lease.take(key, time).await)?;
    taken.ok_or_else(|| Failure(format!("{key:?} is taken, but nobody holds it")))
}

async fn busy(lease: &impl Lease, key: &str) -> Outcome {
    let taken = done("a take", lease.take(key, LONG).await)?;
    that(
        &format!("{key:?} was held, and taken by another"),
        taken.is_none(),
    )
}

/// Checks the leases that `make` gives: a fresh one each time, with nothing held. `pass` lets so much time pass,
/// on a clock moved by hand or in earnest.
///
/// # Errors
///
/// What the lease breaks first.
pub async fn run<L: Lease>(
    make: impl AsyncFn() -> L,
    pass: impl AsyncFn(Duration),
) -> std::result::Result<(), Failure> {
    refuses(&make().await).await?;
    excludes(&make().await).await?;
    expires(&make().await, pass).await?;
    let (one, other) = (make().await, make().await);
    let mut held = take(&one, "key", LONG).await?;
    let renewed = other.renew(&mut held, LONG).await;
    that(
        "what is of another lease is refused as foreign",
        renewed.is_err_and(|error| error.kind() == Kind::Foreign),
    )
}

async fn refuses(lease: &impl Lease) -> Outcome {
    that("it has a name", !lease.name().is_empty())?;
    for time in [
        Duration::ZERO,
        MAX_TIME + Duration::from_nanos(1),
        Duration::MAX,
    ] {
        let taken = lease.take("key", time).await.map(drop);
        let refused = taken.is_err_and(|error| error.kind() == Kind::Time);
        that(&format!("a time of {time:?} is refused"), refused)?;
    }
    let long = "k".repeat(MAX_KEY + 1);
    let taken = lease.take(&long, LONG).await.map(drop);
    let refused = taken.is_err_and(|error| error.kind() == Kind::Key);
    that("a key that is too long is refused", refused)?;
    let mut held = take(lease, "key", MAX_TIME).await?;
    let renewed = lease.renew(&mut held, Duration::ZERO).await;
    let refused = renewed.is_err_and(|error| error.kind() == Kind::Time);
    that("to renew for no time is refused", refused)?;
    that("what was refused changes nothing", !held.is_over())
}

async fn excludes(lease: &impl Lease) -> Outcome {
    let long = "k".repeat(MAX_KEY);
    let mut all = Vec::new();
    for key in ["key", "Key", "", "..", "/", "a/b", "\0", "käse", &long] {
        let held = take(lease, key, LONG).await?;
        that("it is the key that was asked for", held.key() == key)?;
        that(
            "it is not over at once",
            !held.is_over() && held.left() <= LONG,
        )?;
        all.push(held);
    }
    for held in &mut all {
        busy(lease, held.key()).await?;
        let fence = held.fence();
        let renewed = done("a renewal", lease.renew(held, LONG).await)?;
        that("what is held can be renewed", renewed)?;
        that("a renewal keeps the fence", held.fence() == fence)?;
        busy(lease, held.key()).await?;
    }
    for (at, held) in all.into_iter().enumerate() {
        let (key, fence) = (held.key().to_owned(), held.fence());
        match at % 3 {
            0 => done("a release", lease.release(held).await)?,
            1 => drop(held),
            _ => thread::scope(|scope| drop(scope.spawn(move || drop(held)).join())),
        }
        let next = take(lease, &key, LONG).await?;
        that("the next fence is larger", next.fence() > fence)?;
        that(
            "a fence fits into 63 bits",
            i64::try_from(next.fence()).is_ok(),
        )?;
    }
    Ok(())
}

async fn expires(lease: &impl Lease, pass: impl AsyncFn(Duration)) -> Outcome {
    let mut first = take(lease, "key", SHORT).await?;
    pass(SHORT).await;
    that("it is over when its time has passed", first.is_over())?;
    let renewed = done("a renewal", lease.renew(&mut first, LONG).await)?;
    that("what is over is not renewed", !renewed)?;
    let second = take(lease, "key", LONG).await?;
    that("the next fence is larger", second.fence() > first.fence())?;
    let renewed = done("a renewal", lease.renew(&mut first, LONG).await)?;
    that("what was lost is not renewed", !renewed && first.is_over())?;
    done("a release", lease.release(first).await)?;
    busy(lease, "key").await?;
    done("a release", lease.release(second).await)?;
    take(lease, "key", LONG).await.map(drop)
}

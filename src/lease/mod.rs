//! Leases: one holder for a key at a time, for a while, with a number that fences off those before.
//!
//! | module | who excludes whom | what is remembered |
//! |---|---|---|
//! | [`memory`] | threads and tasks of a process | nothing of keys that nobody holds |
//! | [`file`](mod@file) | processes that share a directory | the last fence of each key |
//! | `conformance` (feature `testing`) | what every lease promises, as one call | |
//!
//! # What a lease is worth
//!
//! Whoever takes a key gets it for a time that must be given, so that no holder that dies or hangs keeps it for
//! ever. A holder may be stopped at any moment, by the scheduler, a debugger, a sleeping machine, and go on
//! when its time is over and another one holds the key. No lease can prevent that. What can be prevented is
//! that it does harm: each holder has a [`fence`](Held::fence), larger than those of all before, and the store
//! that it writes to refuses what comes with a lower one. A tier does: `Version` has the fence first, and
//! `When::Newer` lets only what is newer through.
//!
//! So a lease that only saves work needs nothing more (two that load the same are waste), and one on which
//! correctness rests needs a store that compares.
//!
//! ```text
//!   A  take: fence 7 ── stopped ····················· writes with 7: refused
//!   B                      (A's time is over) take: fence 8 ── writes with 8
//! ```
//!
//! `Version` and `When` are those of the module `tier`.
//!
//! # The fence
//!
//! It is the last one of the key and 1, or the wall clock in microseconds if that is more: never the same twice for a
//! key, never lower, also when the wall clock goes back. Fences of different keys say nothing about each other.

mod boxed;
#[cfg(feature = "testing")]
pub mod conformance;
mod error;
mod fence;
pub mod file;
mod held;
pub(crate) mod lock;
pub mod memory;

pub use boxed::BoxLease;
pub use error::{Error, Kind, Result, check};
pub use held::Held;

use std::sync::Arc;
use std::time::Duration;

/// Bytes that a key has at most; any text is one.
pub const MAX_KEY: usize = 256;

/// The longest time for which a lease is taken or renewed at once: a day. More is refused, since a holder that
/// hangs would keep all others out for so long.
pub const MAX_TIME: Duration = Duration::from_secs(24 * 60 * 60);

/// One holder for a key at a time.
///
/// All calls may run at once. A future that is dropped leaves no lease taken that nobody holds; a renewal or a
/// release whose future is dropped may or may not be done. Nothing waits for a holder: who wants to, asks
/// again.
///
/// Implementations give a [`Held`] with a fence as the [module](self) says it, and refuse what [`check`]
/// refuses. Who writes one runs `conformance` (feature `testing`) over it.
///
/// # Examples
///
/// ```
/// use documentbuffer::lease::{Lease, Result, memory::MemoryLease};
/// use std::time::Duration;
///
/// /// Does the work in steps, as long as it is ours to do. Answers whether that was to the end.
/// async fn work(lease: &impl Lease, step: impl Fn(u64, u32)) -> Result<bool> {
///     let time = Duration::from_secs(10);
///     let Some(mut held) = lease.take("nightly report", time).await? else {
///         return Ok(false); // Another one does it.
///     };
///     for n in 0..3 {
///         step(held.fence(), n); // What it writes bears the fence.
///         if !lease.renew(&mut held, time).await? {
///             return Ok(false); // It took too long, and is another one's now.
///         }
///     }
///     lease.release(held).await?;
///     Ok(true)
/// }
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
/// # runtime.block_on(async {
/// let lease = MemoryLease::new();
/// assert!(work(&lease, |fence, n| println!("step {n} with fence {fence}")).await?);
/// # Ok::<(), documentbuffer::lease::Error>(())
/// # })?;
/// # Ok::<(), documentbuffer::lease::Error>(())
/// ```
pub trait Lease: Send + Sync + 'static {
    /// Its name, for messages.
    fn name(&self) -> &str;

    /// Takes the key for so long; none where somebody else holds it.
    ///
    /// # Errors
    ///
    /// [`Kind::Key`] and [`Kind::Time`] for what [`check`] refuses; else what failed. Then nothing is held.
    fn take(&self, key: &str, time: Duration) -> impl Future<Output = Result<Option<Held>>> + Send;

    /// Holds it for so long from now on, with the same fence. False where it is no longer ours: its time was
    /// over, or another one has taken it. Then it never will be again.
    ///
    /// # Errors
    ///
    /// [`Kind::Time`], [`Kind::Foreign`]; else what failed. Then it is held until the time that it had.
    fn renew(&self, held: &mut Held, time: Duration) -> impl Future<Output = Result<bool>> + Send;

    /// Gives it back: on return the next one may have it. What is no longer ours is left to whom it belongs.
    ///
    /// # Errors
    ///
    /// [`Kind::Foreign`]; else what failed, and it is free when its time is over, if not before.
    fn release(&self, held: Held) -> impl Future<Output = Result<()>> + Send;
}

impl<L: Lease> Lease for Arc<L> {
    fn name(&self) -> &str {
        L::name(self)
    }

    fn take(&self, key: &str, time: Duration) -> impl Future<Output = Result<Option<Held>>> + Send {
        L::take(self, key, time)
    }

    fn renew(&self, held: &mut Held, time: Duration) -> impl Future<Output = Result<bool>> + Send {
        L::renew(self, held, time)
    }

    fn release(&self, held: Held) -> impl Future<Output = Result<()>> + Send {
        L::release(self, held)
    }
}

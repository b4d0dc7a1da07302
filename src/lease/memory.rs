//! Leases within a process.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::error::{check, check_time};
use super::{Error, Held, Lease, Result, fence};
use crate::clock::{Clock, SystemClock};

/// So many keys are not worth a look for those that are over.
const FEW: usize = 64;

/// Leases of the threads and tasks of one process. Clones are the same lease.
///
/// Nothing of it survives the process: the next one's fencing numbers are larger only if its wall clock is
/// later. Where that is not enough, [`FileLease`](super::file::FileLease) remembers them.
///
/// Memory is taken for the keys that are held, and for those that are over and whose holders do not know it
/// yet, while they are not more. A [`Held`] that is dropped, in whatever thread, gives its lease back.
///
/// # Examples
///
/// ```
/// use documentbuffer::lease::{Lease, memory::MemoryLease};
/// use std::time::Duration;
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
/// # runtime.block_on(async {
/// let lease = MemoryLease::new();
/// let time = Duration::from_secs(10);
/// let first = lease.take("report", time).await?.expect("nobody holds it");
/// assert!(lease.take("report", time).await?.is_none());
///
/// let fence = first.fence();
/// lease.release(first).await?;
/// let second = lease.take("report", time).await?.expect("nobody holds it");
/// assert!(second.fence() > fence);
/// # Ok::<(), documentbuffer::lease::Error>(())
/// # })?;
/// # Ok::<(), documentbuffer::lease::Error>(())
/// ```
#[derive(Clone)]
pub struct MemoryLease {
    shared: Arc<Shared>,
}

struct Shared {
    name: String,
    clock: Arc<dyn Clock>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    held: HashMap<Arc<str>, Slot>,
    /// With so many keys it looks for those that are over.
    full: usize,
}

struct Slot {
    fence: u64,
    until: Duration,
}

/// Gives the lease back when it is dropped.
struct Keep {
    shared: Arc<Shared>,
    key: Arc<str>,
    fence: u64,
}

impl Drop for Keep {
    fn drop(&mut self) {
        let mut table = self.shared.lock();
        if table.slot(&self.key, self.fence).is_some() {
            table.held.remove(&self.key);
        }
    }
}

impl Table {
    /// What is held of that key with that fence.
    fn slot(&mut self, key: &str, fence: u64) -> Option<&mut Slot> {
        self.held.get_mut(key).filter(|slot| slot.fence == fence)
    }

    fn sweep(&mut self, now: Duration) {
        if self.held.len() >= self.full.max(FEW) {
            self.held.retain(|_, slot| now < slot.until);
            self.full = self.held.len().saturating_mul(2);
            self.held.shrink_to(self.full);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryLease {
    fn default() -> MemoryLease {
        MemoryLease::new()
    }
}

impl MemoryLease {
    /// One in which nothing is held, named `memory`, on the system's clock.
    pub fn new() -> MemoryLease {
        MemoryLease::with_clock(Arc::new(SystemClock::new()))
    }

    /// One on that clock.
    pub fn with_clock(clock: Arc<dyn Clock>) -> MemoryLease {
        let shared = Shared {
            name: String::from("memory"),
            clock,
            table: Mutex::default(),
        };
        MemoryLease {
            shared: Arc::new(shared),
        }
    }

    /// For how many keys it takes memory.
    pub fn len(&self) -> usize {
        self.shared.lock().held.len()
    }

    /// Whether it takes memory for none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn keep<'h>(&self, held: &'h Held) -> Result<&'h Keep> {
        let keep = held.keep::<Keep>();
        keep.filter(|keep| Arc::ptr_eq(&keep.shared, &self.shared))
            .ok_or_else(|| Error::foreign(&self.shared.name))
    }
}

impl fmt::Debug for MemoryLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLease")
            .field("name", &self.shared.name)
            .field("len", &self.len())
            .finish()
    }
}

impl Lease for MemoryLease {
    fn name(&self) -> &str {
        &self.shared.name
    }

    async fn take(&self, key: &str, time: Duration) -> Result<Option<Held>> {
        let Shared { name, clock, .. } = &*self.shared;
        check(name, key, time)?;
        let mut table = self.shared.lock();
        let now = clock.monotonic();
        if table.held.get(key).is_some_and(|slot| now < slot.until) {
            return Ok(None);
        }
        let fence = fence::next(name, &**clock, 0)?;
        table.sweep(now);
        let key: Arc<str> = key.into();
        let until = now.saturating_add(time);
        table.held.insert(Arc::clone(&key), Slot { fence, until });
        drop(table);
        let shared = Arc::clone(&self.shared);
        let keep = Keep {
            shared,
            key: Arc::clone(&key),
            fence,
        };
        Ok(Some(Held::new(key, fence, until, Arc::clone(clock), keep)))
    }

    async fn renew(&self, held: &mut Held, time: Duration) -> Result<bool> {
        let Shared { name, clock, .. } = &*self.shared;
        check_time(name, time)?;
        let keep = self.keep(held)?;
        let until = {
            let mut table = self.shared.lock();
            let now = clock.monotonic();
            let slot = table.slot(&keep.key, keep.fence);
            let Some(slot) = slot.filter(|slot| now < slot.until) else {
                return Ok(false);
            };
            slot.until = now.saturating_add(time);
            slot.until
        };
        held.extend(until);
        Ok(true)
    }

    async fn release(&self, held: Held) -> Result<()> {
        self.keep(&held)?;
        drop(held);
        Ok(())
    }
}

//! A lease whose type is not known when the program is compiled.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::{Held, Lease, Result};

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// [`Lease`] with boxed futures, which a trait object can answer with.
trait Boxed: Send + Sync {
    fn name(&self) -> &str;
    fn take<'a>(&'a self, key: &'a str, time: Duration) -> Answer<'a, Option<Held>>;
    fn renew<'a>(&'a self, held: &'a mut Held, time: Duration) -> Answer<'a, bool>;
    fn release(&self, held: Held) -> Answer<'_, ()>;
}

impl<L: Lease> Boxed for L {
    fn name(&self) -> &str {
        Lease::name(self)
    }

    fn take<'a>(&'a self, key: &'a str, time: Duration) -> Answer<'a, Option<Held>> {
        Box::pin(Lease::take(self, key, time))
    }

    fn renew<'a>(&'a self, held: &'a mut Held, time: Duration) -> Answer<'a, bool> {
        Box::pin(Lease::renew(self, held, time))
    }

    fn release(&self, held: Held) -> Answer<'_, ()> {
        Box::pin(Lease::release(self, held))
    }
}

/// Any lease, chosen while the program runs; costs an allocation a call. Cheap to clone: all clones are the
/// same lease.
///
/// # Examples
///
/// ```
/// use documentbuffer::lease::{BoxLease, Lease, memory::MemoryLease};
///
/// let lease = BoxLease::new(MemoryLease::new());
/// assert_eq!(lease.clone().name(), "memory");
/// ```
#[derive(Clone)]
pub struct BoxLease(Arc<dyn Boxed>);

impl BoxLease {
    /// This lease, its type forgotten.
    pub fn new(lease: impl Lease) -> BoxLease {
        BoxLease(Arc::new(lease))
    }
}

impl fmt::Debug for BoxLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BoxLease").field(&self.0.name()).finish()
    }
}

impl Lease for BoxLease {
    fn name(&self) -> &str {
        self.0.name()
    }

    async fn take(&self, key: &str, time: Duration) -> Result<Option<Held>> {
        self.0.take(key, time).await
    }

    async fn renew(&self, held: &mut Held, time: Duration) -> Result<bool> {
        self.0.renew(held, time).await
    }

    async fn release(&self, held: Held) -> Result<()> {
        self.0.release(held).await
    }
}

//! A tier whose type is not known when the program is compiled.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

use super::{Applied, Capabilities, Entry, Key, Op, Page, Result, Tier, When};

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// [`Tier`] with boxed futures, which a trait object can answer with.
trait Boxed: Send + Sync {
    fn name(&self) -> &str;
    fn capabilities(&self) -> Capabilities;
    fn get<'a>(&'a self, key: Key<'a>) -> Answer<'a, Option<Entry>>;
    fn write<'a>(&'a self, key: Key<'a>, op: Op, when: When) -> Answer<'a, Applied>;
    fn scan<'a>(&'a self, from: Option<&'a Bytes>, limit: usize) -> Answer<'a, Page>;
    fn close(&self) -> Answer<'_, ()>;
}

impl<T: Tier> Boxed for T {
    fn name(&self) -> &str {
        Tier::name(self)
    }

    fn capabilities(&self) -> Capabilities {
        Tier::capabilities(self)
    }

    fn get<'a>(&'a self, key: Key<'a>) -> Answer<'a, Option<Entry>> {
        Box::pin(Tier::get(self, key))
    }

    fn write<'a>(&'a self, key: Key<'a>, op: Op, when: When) -> Answer<'a, Applied> {
        Box::pin(Tier::write(self, key, op, when))
    }

    fn scan<'a>(&'a self, from: Option<&'a Bytes>, limit: usize) -> Answer<'a, Page> {
        Box::pin(Tier::scan(self, from, limit))
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(Tier::close(self))
    }
}

/// Any tier, for chains that are built while the program runs; costs an allocation a call. Cheap to clone:
/// all clones are the same tier.
///
/// # Examples
///
/// ```
/// use documentbuffer::tier::{BoxTier, Tier};
/// # use documentbuffer::tier::{Applied, Capabilities, Entry, Key, Op, Result, When};
/// # struct Null;
/// # impl Tier for Null {
/// #     fn name(&self) -> &str { "null" }
/// #     fn capabilities(&self) -> Capabilities { Capabilities::default() }
/// #     async fn get(&self, _: Key<'_>) -> Result<Option<Entry>> { Ok(None) }
/// #     async fn write(&self, _: Key<'_>, _: Op, _: When) -> Result<Applied> { Ok(Applied::Done) }
/// # }
/// let tiers: Vec<BoxTier> = vec![BoxTier::new(Null), BoxTier::new(Null)];
/// assert_eq!(tiers[1].name(), "null");
/// ```
#[derive(Clone)]
pub struct BoxTier(Arc<dyn Boxed>);

impl BoxTier {
    /// This tier, its type forgotten.
    pub fn new(tier: impl Tier) -> BoxTier {
        BoxTier(Arc::new(tier))
    }
}

impl fmt::Debug for BoxTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BoxTier").field(&self.0.name()).finish()
    }
}

impl Tier for BoxTier {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    async fn get(&self, key: Key<'_>) -> Result<Option<Entry>> {
        self.0.get(key).await
    }

    async fn write(&self, key: Key<'_>, op: Op, when: When) -> Result<Applied> {
        self.0.write(key, op, when).await
    }

    async fn scan(&self, from: Option<&Bytes>, limit: usize) -> Result<Page> {
        self.0.scan(from, limit).await
    }

    async fn close(&self) -> Result<()> {
        self.0.close().await
    }
}

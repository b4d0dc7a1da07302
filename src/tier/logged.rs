//! What a tier is asked, and how it ends, told to the crate `tracing`.

use bytes::Bytes;
use tracing::field::debug;
use tracing::{Level, enabled, event};

use super::{Applied, Capabilities, Entry, Error, Key, Kind, Op, Page, Result, Tier, When};

const TARGET: &str = "documentbuffer::tier";

/// Another tier, each call of which is an event of the crate `tracing` when it ends.
///
/// The target is `documentbuffer::tier`, the level debug, and warn for an error. The fields are `tier`, `op`
/// (`get`, `put`, `remove`, `merge`, `scan`, `close`), `key` (none for the last two), `outcome` (`hit`, `miss`, `done`,
/// `refused`, `error`, or `cancelled` where the future was dropped before its end), and with an error `error`.
/// Values are not told, keys are.
///
/// Where nobody listens, a call costs as good as nothing more. What is durable, and all the rest, is as in
/// the tier itself.
///
/// # Examples
///
/// ```
/// use documentbuffer::tier::TierExt;
/// use documentbuffer::tier::logged::Logged;
/// # use documentbuffer::tier::{Applied, Capabilities, Entry, Key, Op, Result, When, Tier};
/// # struct Null;
/// # impl Tier for Null {
/// #     fn name(&self) -> &str { "null" }
/// #     fn capabilities(&self) -> Capabilities { Capabilities::default() }
/// #     async fn get(&self, _: Key<'_>) -> Result<Option<Entry>> { Ok(None) }
/// #     async fn write(&self, _: Key<'_>, _: Op, _: When) -> Result<Applied> { Ok(Applied::Done) }
/// # }
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// # runtime.block_on(async {
/// let tier = Logged::new(Null);
/// tier.put("key", "value").await?; // DEBUG tier="null" op="put" key="key" outcome="done"
/// # Ok::<(), documentbuffer::tier::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Logged<T> {
    tier: T,
}

impl<T: Tier> Logged<T> {
    /// That tier, its calls told.
    pub fn new(tier: T) -> Logged<T> {
        Logged { tier }
    }

    /// The tier within.
    pub fn inner(&self) -> &T {
        &self.tier
    }

    fn call<'a>(&'a self, op: &'static str, key: Option<Key<'a>>) -> Call<'a> {
        let told = enabled!(target: TARGET, Level::DEBUG) || enabled!(target: TARGET, Level::WARN);
        Call {
            tier: self.tier.name(),
            op,
            key,
            told: !told,
        }
    }
}

/// A call on its way.
struct Call<'a> {
    tier: &'a str,
    op: &'static str,
    key: Option<Key<'a>>,
    /// How it ended was told, or nobody listens.
    told: bool,
}

impl Call<'_> {
    fn ended<R>(mut self, given: Result<R>, outcome: impl FnOnce(&R) -> &'static str) -> Result<R> {
        if !self.told {
            self.told = true;
            match &given {
                Ok(given) => self.tell(outcome(given)),
                Err(error) => self.warn(error),
            }
        }
        given
    }

    fn tell(&self, outcome: &'static str) {
        let key = self.key.map(debug);
        let Call { tier, op, .. } = *self;
        event!(target: TARGET, Level::DEBUG, tier, op, key, outcome);
    }

    fn warn(&self, error: &Error) {
        let key = self.key.map(debug);
        let Call { tier, op, .. } = *self;
        let outcome = "error";
        // A tier that says what it cannot is not in trouble.
        match error.kind() {
            Kind::Unsupported => {
                event!(target: TARGET, Level::DEBUG, tier, op, key, outcome, error = display(error));
            }
            _ => {
                event!(target: TARGET, Level::WARN, tier, op, key, outcome, error = display(error))
            }
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if !self.told {
            self.tell("cancelled");
        }
    }
}

impl<T: Tier> Tier for Logged<T> {
    fn name(&self) -> &str {
        self.tier.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.tier.capabilities()
    }

    async fn get(&self, key: Key<'_>) -> Result<Option<Entry>> {
        let call = self.call("get", Some(key));
        let given = self.tier.get(key).await;
        call.ended(given, |entry| match entry {
            Some(_) => "hit",
            None => "miss",
        })
    }

    async fn write(&self, key: Key<'_>, op: Op, when: When) -> Result<Applied> {
        let name = match &op {
            Op::Put(_) => "put",
            Op::Remove(_) => "remove",
            Op::Merge(_) => "merge",
        };
        let call = self.call(name, Some(key));
        let given = self.tier.write(key, op, when).await;
        call.ended(given, |applied| match applied {
            Applied::Done => "done",
            Applied::Refused { .. } => "refused",
        })
    }

    async fn scan(&self, from: Option<&Bytes>, limit: usize) -> Result<Page> {
        let call = self.call("scan", None);
        let given = self.tier.scan(from, limit).await;
        call.ended(given, |_| "done")
    }

    async fn close(&self) -> Result<()> {
        let call = self.call("close", None);
        let given = self.tier.close().await;
        call.ended(given, |()| "done")
    }
}

//! Who carries owed writes to the tier: a few tasks, each with one write in hand.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::owing::Owed;
use super::shared::Shared;
use crate::tier::{self, Applied, Error, KeyBuf, Kind, Op, Tier, When};

/// A task that goes with whoever waits for it.
pub(super) struct Leashed<T>(pub(super) JoinHandle<T>);

impl<T> Drop for Leashed<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Writes to the tier, in a task of its own: a panic there is an error here.
pub(super) async fn write<T: Tier>(tier: &Arc<T>, key: &KeyBuf, op: Op) -> tier::Result<Applied> {
    // What another process wrote since is not written over, where the tier can tell.
    let when = match tier.capabilities().conditions && !op.version().is_none() {
        true => When::Newer,
        false => When::Always,
    };
    let (own, key) = (Arc::clone(tier), key.clone());
    let mut task = Leashed(tokio::spawn(async move {
        own.write(key.as_key(), op, when).await
    }));
    match (&mut task.0).await {
        Ok(written) => written,
        Err(error) => {
            let what = if error.is_panic() {
                "panicked"
            } else {
                "was ended"
            };
            let message = format!("its write {what}");
            Err(Error::new(Kind::Transient, tier.name(), message).unknown())
        }
    }
}

/// Carries writes until all is over.
pub(super) async fn work<T: Tier>(shared: Arc<Shared>, tier: Arc<T>) {
    loop {
        let now = shared.clock.monotonic();
        let (started, hour) = {
            let mut state = shared.state();
            if state.ended {
                return;
            }
            (state.owing.start(now), state.owing.hour())
        };
        match (started, hour) {
            (Some((key, owed)), _) => {
                shared.rate().await;
                carry(&shared, &tier, key, owed).await;
            }
            (None, Some(hour)) => {
                let left = hour.saturating_sub(now);
                // That the time is over is as good as being called.
                let _ = tokio::time::timeout(left, shared.work.notified()).await;
            }
            (None, None) => shared.work.notified().await,
        }
    }
}

async fn carry<T: Tier>(shared: &Shared, tier: &Arc<T>, key: KeyBuf, owed: Owed) {
    let outcome = match shared.synced(owed.number).await {
        Ok(()) => write(tier, &key, owed.op).await,
        Err(error) => {
            let message = "the journal failed before it could be written";
            Err(Error::new(Kind::Transient, tier.name(), message).source(error))
        }
    };
    shared.finish(&key, outcome);
}

//! That it is over, told to whoever waits for it.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

#[derive(Debug, Default)]
pub(super) struct Signal {
    on: AtomicBool,
    told: Notify,
}

impl Signal {
    pub(super) fn set(&self) {
        self.on.store(true, Ordering::Release);
        self.told.notify_waiters();
    }

    pub(super) fn is_on(&self) -> bool {
        self.on.load(Ordering::Acquire)
    }

    pub(super) async fn wait(&self) {
        // Before looking: it hears who sets it from here on, polled or not.
        let told = self.told.notified();
        if !self.is_on() {
            told.await;
        }
    }
}

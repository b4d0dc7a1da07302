//! The tasks: one that begins the cycles, and those that refresh.

use std::sync::Arc;
use std::time::Duration;

use super::shared::{Core, Next};

/// Batches after which others have their turn, where none has waited for anything.
const STRIDE: u32 = 32;

/// Begins a cycle at once, and each next one a period after the last has queued what it had.
pub(super) async fn cycles<V: Send + Sync + 'static>(core: Arc<Core<V>>) {
    while !core.stop.is_on() {
        core.cycle();
        // That the time is over is as good as being told.
        let _ = tokio::time::timeout(core.settings.period, core.stop.wait()).await;
    }
}

/// Refreshes one batch after the other.
pub(super) async fn work<V: Send + Sync + 'static>(core: Arc<Core<V>>) {
    let (mut ended, mut junk, mut batches) = (None, Vec::new(), 0_u32);
    loop {
        let mut next = core.next(ended.take(), &mut junk);
        if let Next::Wait(_) = next {
            // Before looking again: it hears whatever comes from here on, polled or not.
            let called = core.work.notified();
            next = core.next(None, &mut junk);
            if let Next::Wait(left) = next {
                let left = left.unwrap_or(Duration::MAX);
                let _ = tokio::time::timeout(left, called).await;
                continue;
            }
        }
        let Next::Run(begun) = next else {
            return;
        };
        ended = Some(core.run(begun).await);
        batches = batches.wrapping_add(1);
        if batches.is_multiple_of(STRIDE) {
            tokio::task::yield_now().await;
        }
    }
}

//! User code that panics: an error like any other.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use crate::tier::{Error, Kind, Result};

/// The answer of a tier's call, or that it panicked: then nobody knows what it has done.
pub(super) async fn contained<T>(tier: &str, call: impl Future<Output = Result<T>>) -> Result<T> {
    let mut call = pin!(call);
    std::future::poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(context)));
        polled.unwrap_or_else(|_| {
            let panicked = Error::new(Kind::Permanent, tier, "it panicked");
            Poll::Ready(Err(panicked.unknown()))
        })
    })
    .await
}

/// Calls back, and no further.
pub(super) fn call(callback: impl FnOnce()) {
    // What it panicked with went to the panic hook.
    let _ = catch_unwind(AssertUnwindSafe(callback));
}

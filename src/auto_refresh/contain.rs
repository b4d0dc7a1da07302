//! A future of the user's that panics, wherever it does.

use std::pin::Pin;

use crate::contain::{Panicked, call, future};

/// Makes it, carries it through and drops it.
pub(super) async fn run<T>(
    make: impl FnOnce() -> Pin<Box<dyn Future<Output = T> + Send>>,
) -> Result<T, Panicked> {
    let mut made = call(make)?;
    let output = future(made.as_mut()).await;
    let dropped = call(|| drop(made));
    output.and_then(|output| dropped.map(|()| output))
}

//! Tiers that panic.

use crate::contain;
use crate::tier::{Error, Kind, Result};

/// The answer of a tier's call, or that it panicked: then nobody knows what it has done.
pub(super) async fn contained<T>(tier: &str, call: impl Future<Output = Result<T>>) -> Result<T> {
    let panicked = || Error::new(Kind::Permanent, tier, "it panicked").unknown();
    let answer = contain::future(call).await;
    answer.unwrap_or_else(|contain::Panicked| Err(panicked()))
}

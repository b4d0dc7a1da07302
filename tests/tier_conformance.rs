//! The conformance suite passes on every tier of the crate, and fails on bad ones.
#![cfg(all(feature = "tier", feature = "testing", feature = "memory"))]

use documentbuffer::tier::BoxTier;
use documentbuffer::tier::bounded::Bounded;
use documentbuffer::tier::conformance::{Failure, run};
use documentbuffer::tier::memory::Memory;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_conforms() -> Result<(), Failure> {
    run(async || Memory::new(64 << 20)).await?;
    run(async || BoxTier::new(Memory::new(64 << 20))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bounded_tier_conforms() -> Result<(), Failure> {
    let make = async || {
        Bounded::open(Memory::new(64 << 20), 32 << 20)
            .await
            .unwrap()
    };
    run(make).await?;
    run(async || BoxTier::new(make().await)).await
}

//! The conformance suite passes on every tier of the crate, and fails on bad ones.
#![cfg(all(
    feature = "tier",
    feature = "testing",
    feature = "memory",
    feature = "redb",
    feature = "tracing"
))]

use documentbuffer::tier::BoxTier;
use documentbuffer::tier::bounded::Bounded;
use documentbuffer::tier::conformance::{Failure, run};
use documentbuffer::tier::file::{FileOptions, FileTier};
use documentbuffer::tier::logged::Logged;
use documentbuffer::tier::memory::Memory;
use documentbuffer::tier::metered::Metered;
use documentbuffer::tier::redb::Redb;
use documentbuffer::tier::timeout::Timeout;

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

/// In a new directory of `dir` each time.
fn files(dir: &tempfile::TempDir, options: FileOptions) -> impl AsyncFn() -> FileTier {
    let number = std::cell::Cell::new(0);
    let path = dir.path().to_owned();
    async move || {
        number.set(number.get() + 1);
        options
            .clone()
            .open(path.join(number.get().to_string()))
            .unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_conform() -> Result<(), Failure> {
    let dir = tempfile::tempdir().unwrap();
    run(files(&dir, FileOptions::new())).await?;
    let dir = tempfile::tempdir().unwrap();
    let forgetful = FileOptions::new().tombstones(std::time::Duration::ZERO);
    run(files(&dir, forgetful)).await?;
    let dir = tempfile::tempdir().unwrap();
    let make = files(&dir, FileOptions::new());
    run(async || BoxTier::new(Bounded::open(make().await, 32 << 20).await.unwrap())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn synced_files_conform() -> Result<(), Failure> {
    let dir = tempfile::tempdir().unwrap();
    run(files(&dir, FileOptions::new().synced())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tier_with_deadlines_conforms() -> Result<(), Failure> {
    let hour = std::time::Duration::from_secs(3600);
    run(async || Timeout::new(Memory::new(64 << 20), hour)).await?;
    let dir = tempfile::tempdir().unwrap();
    let make = files(&dir, FileOptions::new());
    run(async || BoxTier::new(Timeout::new(make().await, hour))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_metered_tier_conforms() -> Result<(), Failure> {
    run(async || Metered::new(Memory::new(64 << 20))).await?;
    run(async || BoxTier::new(Metered::new(Memory::new(64 << 20)).sample(1))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redb_file_conforms() -> Result<(), Failure> {
    let dir = tempfile::tempdir().unwrap();
    let number = std::cell::Cell::new(0);
    let make = async || {
        number.set(number.get() + 1);
        Redb::open(dir.path().join(number.get().to_string())).unwrap()
    };
    run(make).await?;
    run(async || BoxTier::new(Bounded::open(make().await, 32 << 20).await.unwrap())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logged_tier_conforms() -> Result<(), Failure> {
    run(async || Logged::new(Memory::new(64 << 20))).await?;
    run(async || BoxTier::new(Logged::new(Memory::new(64 << 20)))).await
}

//! What a write costs that is owed: a journal's own append, and the edge of a chain over it.

use std::time::Instant;

use bytes::Bytes;
use documentbuffer::durability::Durability;
use documentbuffer::journal::Options as JournalOptions;
use documentbuffer::journal::asynchronous::AsyncJournal;
use documentbuffer::tier::{Applied, Capabilities, Entry, Key, Op, Result, Tier, TierExt, When};
use documentbuffer::write_behind::behind::{Behind, Options};
use tokio::runtime::Runtime;

use crate::report::Table;

const TASKS: usize = 8;
const VALUE: [u8; 100] = [7; 100];

/// It says that it keeps all, and keeps nothing: nobody is to wait for it.
struct Nowhere;

impl Tier for Nowhere {
    fn name(&self) -> &str {
        "nowhere"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new(Durability::Synced)
    }

    async fn get(&self, _: Key<'_>) -> Result<Option<Entry>> {
        Ok(None)
    }

    async fn write(&self, _: Key<'_>, _: Op, _: When) -> Result<Applied> {
        Ok(Applied::Done)
    }
}

fn runtime() -> Runtime {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_time();
    runtime.build().expect("a runtime")
}

pub fn round(table: &mut Table, scale: f64) {
    for (name, durability, each) in [
        ("Journaled", Durability::Written, 5000.0),
        ("Synced", Durability::Synced, 500.0),
    ] {
        let case = format!("put of {TASKS} tasks, acknowledged {name}");
        let each = (each * scale) as usize;
        table.add(&case, "AsyncJournal::append", journal(durability, each));
        table.add(&case, "Behind", behind(durability, each, false));
        table.add(
            &case,
            "Behind, the tier shut out",
            behind(durability, each, true),
        );
    }
}

fn journal(durability: Durability, each: usize) -> f64 {
    let dir = tempfile::tempdir().expect("a directory");
    let runtime = runtime();
    runtime.block_on(async {
        let path = dir.path().join("journal");
        let options = JournalOptions::new().durability(durability);
        let journal = AsyncJournal::open_with(&options, path)
            .await
            .expect("a journal");
        let begun = Instant::now();
        let tasks: Vec<_> = (0..TASKS)
            .map(|_| {
                let journal = journal.clone();
                tokio::spawn(async move {
                    for _ in 0..each {
                        journal.append([7; 140]).await.expect("an append");
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("a task");
        }
        let took = begun.elapsed().as_nanos() as f64 / (TASKS * each) as f64;
        journal.close().await.expect("closed");
        took
    })
}

fn behind(durability: Durability, each: usize, shut: bool) -> f64 {
    let dir = tempfile::tempdir().expect("a directory");
    let runtime = runtime();
    runtime.block_on(async {
        let mut options = Options::new().journal(dir.path().join("owed"));
        if shut {
            options = options.rate(std::num::NonZeroU32::MIN);
        }
        let owed: Behind<Nowhere> = options
            .durability(durability)
            .open(Nowhere)
            .await
            .expect("owed writes");
        let begun = Instant::now();
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let owed = owed.clone();
                tokio::spawn(async move {
                    for number in 0..each {
                        let key = format!("user:{task}:{}", number % 1000);
                        owed.put(&key, Bytes::from_static(&VALUE))
                            .await
                            .expect("a put");
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("a task");
        }
        let took = begun.elapsed().as_nanos() as f64 / (TASKS * each) as f64;
        owed.close(std::time::Duration::ZERO).await.expect("closed");
        took
    })
}

//! The tier in a redb file: its own and nobody else's, one sync for many.
#![cfg(all(feature = "tier", feature = "redb"))]

mod kills;
mod tier_support;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use documentbuffer::durability::Durability;
use documentbuffer::tier::redb::{Redb, TABLE};
use documentbuffer::tier::{Applied, Entry, Kind, Op, Tier, TierExt, Version, When};
use kills::{Rng, kill_after, seed};
use redb::{Database, MultimapTableDefinition, ReadableDatabase, TableDefinition};
use tempfile::TempDir;
use tier_support::{TestClock, key, poll, put};

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn version(number: u64) -> Version {
    Version { fence: 0, number }
}

/// `pressly/chainstore` `TestBoltStore`.
#[tokio::test]
async fn a_restart_finds_the_values() {
    let dir = dir();
    let path = dir.path().join("cache.redb");
    let tier = Redb::open(&path).unwrap();
    assert_eq!(tier.capabilities().durability, Durability::Synced);
    tier.put("hi", "bolt").await.unwrap();
    tier.put("empty", "").await.unwrap();
    let full = Entry::new("v")
        .version(version(7))
        .created(8)
        .expires(u64::MAX);
    let done = tier
        .write(key("full"), Op::Put(full.clone()), When::Absent)
        .await;
    assert_eq!(done.unwrap(), Applied::Done);
    tier.close().await.unwrap();
    drop(tier);
    let tier = Redb::open(&path).unwrap();
    assert_eq!(tier.value("hi").await.unwrap().unwrap(), "bolt");
    assert_eq!(tier.value("empty").await.unwrap().unwrap(), "");
    assert_eq!(tier.get(key("full")).await.unwrap(), Some(full));
    tier.remove("hi").await.unwrap();
    tier.remove("hi").await.unwrap();
    assert_eq!(tier.value("hi").await.unwrap(), None);
}

#[tokio::test]
async fn what_is_over_is_absent() {
    let dir = dir();
    let clock = TestClock::at(1000);
    let tier = Redb::open(dir.path().join("x")).unwrap();
    let tier = tier.with_clock(clock.clone()).with_name("disk");
    assert_eq!(tier.name(), "disk");
    let entry = Entry::new("v").version(version(5)).expires(2000);
    let done = tier.write(key("k"), Op::Put(entry), When::Always).await;
    assert_eq!(done.unwrap(), Applied::Done);
    assert!(tier.value("k").await.unwrap().is_some());
    clock.advance(std::time::Duration::from_millis(1));
    assert_eq!(tier.value("k").await.unwrap(), None);
    // Its version is known as long as it is there.
    let older = Entry::new("w").version(version(4));
    let refused = tier
        .write(key("k"), Op::Put(older), When::Newer)
        .await
        .unwrap();
    assert_eq!(
        refused,
        Applied::Refused {
            held: Some(version(5))
        }
    );
}

async fn refused(path: &Path) -> String {
    let before = fs::read(path).unwrap();
    let error = Redb::open(path).unwrap_err();
    assert_eq!(
        (error.kind(), error.is_unknown()),
        (Kind::Permanent, false),
        "{error}"
    );
    assert!(
        fs::read(path).unwrap() == before,
        "{error}: but it was changed"
    );
    error.to_string()
}

#[tokio::test]
async fn the_file_of_another_is_refused_and_not_changed() {
    let dir = dir();
    let path = dir.path().join("file");
    for foreign in [
        &b"hello"[..],
        &[0; 10_000],
        &b"some longer text\n".repeat(1000),
    ] {
        fs::write(&path, foreign).unwrap();
        refused(&path).await;
    }
    fs::remove_file(&path).unwrap();
    let write = |path: &Path, act: &dyn Fn(&redb::WriteTransaction)| {
        let database = Database::create(path).unwrap();
        let write = database.begin_write().unwrap();
        act(&write);
        write.commit().unwrap();
    };
    let other: TableDefinition<&str, u64> = TableDefinition::new("users");
    write(&path, &|write| {
        write.open_table(other).unwrap().insert("alice", 1).unwrap();
    });
    let said = refused(&path).await;
    assert!(
        said.contains("another program") && said.contains("users"),
        "{said}"
    );
    // Ours by name, but of other types.
    let numbers: TableDefinition<u64, u64> = TableDefinition::new(TABLE);
    let path = dir.path().join("numbers");
    write(&path, &|write| {
        write.open_table(numbers).unwrap().insert(1, 1).unwrap();
    });
    let said = refused(&path).await;
    assert!(said.contains("of its own"), "{said}");
    let multimap: MultimapTableDefinition<&str, u64> = MultimapTableDefinition::new("many");
    let path = dir.path().join("multimap");
    write(&path, &|write| {
        write
            .open_multimap_table(multimap)
            .unwrap()
            .insert("a", 1)
            .unwrap();
    });
    refused(&path).await;
    // Its entries are as they were.
    let database = Database::open(dir.path().join("numbers")).unwrap();
    let read = database.begin_read().unwrap();
    let table = read.open_table(numbers).unwrap();
    assert_eq!(table.get(1).unwrap().unwrap().value(), 1);
}

#[tokio::test]
async fn an_empty_file_is_begun_and_one_in_use_is_not() {
    let dir = dir();
    let path = dir.path().join("file");
    fs::write(&path, "").unwrap();
    let tier = Redb::open(&path).unwrap();
    tier.put("k", "v").await.unwrap();
    let error = Redb::open(&path).unwrap_err();
    assert_eq!(error.kind(), Kind::Transient, "{error}");
    let error = Redb::open(dir.path().join("no/such/file")).unwrap_err();
    assert_eq!(error.kind(), Kind::Permanent, "{error}");
    let error = Redb::open(dir.path()).unwrap_err();
    assert_eq!(error.kind(), Kind::Permanent, "{error}");
}

#[tokio::test]
async fn a_database_can_be_shared_by_tables() {
    let dir = dir();
    let database = Database::create(dir.path().join("file")).unwrap();
    let users: TableDefinition<&str, u64> = TableDefinition::new("users");
    let write = database.begin_write().unwrap();
    write.open_table(users).unwrap().insert("alice", 1).unwrap();
    write.commit().unwrap();
    let database = Arc::new(database);
    let one = Redb::of(Arc::clone(&database), "one").unwrap();
    let two = Redb::of(Arc::clone(&database), "two").unwrap();
    one.put("k", "1").await.unwrap();
    two.put("k", "2").await.unwrap();
    assert_eq!(one.value("k").await.unwrap().unwrap(), "1");
    assert_eq!(two.value("k").await.unwrap().unwrap(), "2");
    let error = Redb::of(Arc::clone(&database), "users").unwrap_err();
    assert_eq!(error.kind(), Kind::Permanent);
    assert!(error.to_string().contains("of its own"), "{error}");
}

#[tokio::test]
async fn what_is_no_entry_is_corrupt_and_can_be_replaced() {
    let dir = dir();
    let database = Arc::new(Database::create(dir.path().join("file")).unwrap());
    let tier = Redb::of(Arc::clone(&database), "t").unwrap();
    let raw: TableDefinition<&str, &[u8]> = TableDefinition::new("t");
    for foreign in [&b""[..], b"short", &[9; 40]] {
        let write = database.begin_write().unwrap();
        write.open_table(raw).unwrap().insert("k", foreign).unwrap();
        write.commit().unwrap();
        let error = tier.value("k").await.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
        let error = tier
            .write(key("k"), put("v"), When::Absent)
            .await
            .unwrap_err();
        assert_eq!((error.kind(), error.is_unknown()), (Kind::Corrupt, false));
        assert!(tier.scan(None, 9).await.unwrap().listed.is_empty());
        tier.put("k", "v").await.unwrap();
        assert_eq!(tier.value("k").await.unwrap().unwrap(), "v");
        tier.remove("k").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_that_wait_share_a_transaction_and_keep_their_order() {
    let dir = dir();
    let database = Arc::new(Database::create(dir.path().join("file")).unwrap());
    let tier = Redb::of(Arc::clone(&database), "t").unwrap();
    // One that holds the only writer, so that all others wait.
    let busy = database.begin_write().unwrap();
    let before = busy.stats().unwrap();
    let mut waiting: Vec<_> = (0..100_u64)
        .map(|n| {
            let when = match n {
                0 => When::Absent,
                n => When::Is(version(n)),
            };
            let entry = Entry::new(n.to_string()).version(version(n + 1));
            Box::pin(tier.write(key("k"), Op::Put(entry), when))
        })
        .collect();
    for write in &mut waiting {
        assert!(poll(write).await.is_none());
    }
    // One whose caller goes is made all the same: the next one stands on it.
    drop(waiting.remove(50));
    // An error of one is its own.
    let mut merge = Box::pin(tier.write(key("k"), Op::Merge(1), When::Always));
    assert!(poll(&mut merge).await.is_none());
    drop((busy.abort(), before));
    for write in waiting {
        assert_eq!(write.await.unwrap(), Applied::Done);
    }
    assert_eq!(merge.await.unwrap_err().kind(), Kind::Permanent);
    tier.close().await.unwrap();
    let entry = tier.get(key("k")).await.unwrap().unwrap();
    assert_eq!(
        (entry.version, &entry.value[..]),
        (version(100), &b"99"[..])
    );
}

#[tokio::test]
async fn a_close_waits_for_what_was_dropped() {
    let dir = dir();
    let database = Arc::new(Database::create(dir.path().join("file")).unwrap());
    let tier = Redb::of(Arc::clone(&database), "t").unwrap();
    let busy = database.begin_write().unwrap();
    let mut write = Box::pin(tier.put("k", "v"));
    assert!(poll(&mut write).await.is_none());
    drop(write);
    let mut close = Box::pin(tier.close());
    assert!(poll(&mut close).await.is_none());
    drop(busy);
    close.await.unwrap();
    assert_eq!(tier.value("k").await.unwrap().unwrap(), "v");
}

#[test]
fn outside_its_runtime_it_says_so() {
    let dir = dir();
    let path = dir.path().join("file");
    let error = Redb::open(&path).unwrap_err();
    assert!(error.to_string().contains("runtime"), "{error}");
    assert_eq!(error.kind(), Kind::Permanent);
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
    };
    let first = runtime();
    let tier = first.block_on(async { Redb::open(&path).unwrap() });
    drop(first);
    let second = runtime();
    for _ in 0..2 {
        let error = second.block_on(tier.put("k", "v")).unwrap_err();
        assert_eq!(error.kind(), Kind::Closed, "{error}");
        let error = second.block_on(tier.value("k")).unwrap_err();
        assert_eq!(error.kind(), Kind::Closed, "{error}");
    }
    second.block_on(tier.close()).unwrap();
}

const FILE: &str = "DOCUMENTBUFFER_TEST_TIER";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the process that another test here kills"]
async fn writing_process() {
    let Ok(path) = std::env::var(FILE) else {
        return;
    };
    let tier = Arc::new(Redb::open(path).unwrap());
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..4 {
        let tier = Arc::clone(&tier);
        tasks.spawn(async move {
            loop {
                let done = tier
                    .write(key(&format!("{task}")), Op::Merge(1), When::Always)
                    .await;
                assert_eq!(done.unwrap(), Applied::Done);
                let mut stdout = std::io::stdout().lock();
                writeln!(stdout, "merged {task}").unwrap();
            }
        });
    }
    tasks.join_next().await.unwrap().unwrap();
}

fn spawn(file: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "writing_process", "--ignored", "--nocapture"])
        .env(FILE, file)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn what_a_killed_writer_said_is_there() {
    let seed = seed();
    println!("DOCUMENTBUFFER_SEED={seed}");
    let mut rng = Rng(seed);
    let dir = dir();
    let path = dir.path().join("file");
    let mut least = [0_i64; 4];
    for _ in 0..5 {
        let mut child = spawn(&path);
        let stdout = child.stdout.take().unwrap();
        let lines = kill_after(&mut child, stdout, 5 + rng.below(40), &mut rng);
        for line in &lines {
            if let Some((_, task)) = line.split_once("merged ") {
                least[task.parse::<usize>().unwrap()] += 1;
            }
        }
        let tier = Redb::open(&path).unwrap();
        for (task, least) in least.iter_mut().enumerate() {
            let sum = tier.value(&task.to_string()).await.unwrap();
            let sum = sum.map_or(0, |sum| i64::from_le_bytes(sum[..].try_into().unwrap()));
            // What was made and not said may be at most the one on its way.
            assert!(
                (*least..=*least + 1).contains(&sum),
                "{task}: {sum}, said {least}"
            );
            *least = sum;
        }
    }
}

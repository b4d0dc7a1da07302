//! The tier in files: whole at any moment, within its directory, agreed upon by processes.
#![cfg(feature = "tier")]

mod kills;
mod tier_support;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use documentbuffer::durability::Durability;
use documentbuffer::tier::file::{FileOptions, FileTier};
use documentbuffer::tier::{Applied, Entry, Key, Kind, MAX_KEY, Op, Tier, TierExt, Version, When};
use kills::{Rng, kill_after, seed};
use tempfile::TempDir;
use tier_support::{TestClock, key, poll, put};

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn version(number: u64) -> Version {
    Version { fence: 0, number }
}

/// All files below, by their paths from there.
fn files(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![path.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap().is_dir() {
                true => dirs.push(entry.path()),
                false => found.push(entry.path().strip_prefix(path).unwrap().to_path_buf()),
            }
        }
    }
    found.sort();
    found
}

/// Files of entries and removals.
fn kept(path: &Path) -> usize {
    let files = files(path);
    let kept = files.iter().filter(|file| !file.ends_with("lock"));
    kept.count()
}

/// `pressly/chainstore` `TestFileStore`.
#[tokio::test]
async fn opening_makes_the_directory_and_a_restart_finds_the_values() {
    let dir = dir();
    let path = dir.path().join("a/b/c");
    let tier = FileTier::open(&path).unwrap();
    assert!(path.is_dir());
    tier.put("foo", "bar").await.unwrap();
    tier.put("x/y/z", "deep").await.unwrap();
    tier.put("x", "not a directory").await.unwrap();
    tier.put("empty", "").await.unwrap();
    assert_eq!(tier.value("foo").await.unwrap().unwrap(), "bar");
    drop(tier);
    let tier = FileTier::open(&path).unwrap();
    for (key, value) in [
        ("foo", "bar"),
        ("x/y/z", "deep"),
        ("x", "not a directory"),
        ("empty", ""),
    ] {
        assert_eq!(tier.value(key).await.unwrap().unwrap(), value);
        tier.remove(key).await.unwrap();
        tier.remove(key).await.unwrap();
        assert_eq!(tier.value(key).await.unwrap(), None);
    }
}

#[tokio::test]
async fn no_key_leaves_the_directory() {
    let dir = dir();
    let root = dir.path().join("root");
    let tier = FileTier::open(&root).unwrap();
    let long = "../".repeat(MAX_KEY / 3);
    let absolute = dir.path().join("absolute").to_str().unwrap().to_owned();
    for name in [
        "../escaped",
        "..",
        ".",
        "/",
        "",
        "\0",
        "a/../../b",
        "~",
        &long,
        &absolute,
    ] {
        tier.put(name, "here").await.unwrap();
        assert_eq!(tier.value(name).await.unwrap().unwrap(), "here");
    }
    let outside = files(dir.path());
    assert!(
        outside.iter().all(|file| file.starts_with("root")),
        "{outside:?}"
    );
    assert_eq!(kept(&root), 10);
}

fn sample() -> Entry {
    let version = Version {
        fence: 3,
        number: 1_000_000,
    };
    let entry = Entry::new("some value").version(version);
    entry.created(77).expires(u64::MAX - 1)
}

async fn with_sample(dir: &TempDir) -> (FileTier, PathBuf, Vec<u8>) {
    let tier = FileTier::open(dir.path()).unwrap();
    let put = tier
        .write(key("key"), Op::Put(sample()), When::Always)
        .await;
    assert_eq!(put.unwrap(), Applied::Done);
    let file = tier.file(key("key"));
    let bytes = fs::read(&file).unwrap();
    (tier, file, bytes)
}

/// What is there now is corrupt, and the error names it.
async fn corrupt(tier: &FileTier, file: &Path, what: &str) {
    let error = tier.get(key("key")).await.expect_err(what);
    assert_eq!(error.kind(), Kind::Corrupt, "{what}: {error}");
    let path = file.to_str().unwrap();
    assert!(error.to_string().contains(path), "{what}: {error}");
}

#[tokio::test]
async fn every_damage_is_seen() {
    let dir = dir();
    let (tier, file, whole) = with_sample(&dir).await;
    for at in 0..whole.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] ^= flip;
            fs::write(&file, damaged).unwrap();
            corrupt(&tier, &file, &format!("byte {at} ^ {flip}")).await;
        }
    }
    for len in 0..whole.len() {
        fs::write(&file, &whole[..len]).unwrap();
        corrupt(&tier, &file, &format!("cut to {len}")).await;
        let mut zeros = whole[..len].to_vec();
        zeros.resize(whole.len(), 0);
        fs::write(&file, zeros).unwrap();
        corrupt(&tier, &file, &format!("zeros from {len}")).await;
    }
    for more in [&b"\0"[..], b"x", &whole] {
        fs::write(&file, [&whole, more].concat()).unwrap();
        corrupt(&tier, &file, "something behind").await;
    }
    fs::write(&file, "hello, I am a text\n".repeat(9)).unwrap();
    corrupt(&tier, &file, "a text").await;
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    corrupt(&tier, &file, "a directory").await;
    fs::remove_dir(&file).unwrap();
    fs::write(&file, &whole).unwrap();
    assert_eq!(tier.get(key("key")).await.unwrap(), Some(sample()));
}

#[tokio::test]
async fn a_file_under_the_name_of_another_is_corrupt() {
    let dir = dir();
    let (tier, file, whole) = with_sample(&dir).await;
    let other = tier.file(key("other"));
    tier.put("other", "other").await.unwrap();
    fs::write(&other, &whole).unwrap();
    let error = tier.value("other").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    // It is not listed either; the one that is whole is.
    fs::write(file.with_file_name("README"), "hello").unwrap();
    let page = tier.scan(None, 100).await.unwrap();
    assert_eq!(page.listed.len(), 1);
    assert_eq!(page.listed[0].key.as_key(), key("key"));
    let error = tier.scan(Some(&"../../x".into()), 1).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Permanent);
}

#[tokio::test]
async fn what_is_damaged_can_be_replaced_but_not_compared() {
    let dir = dir();
    let (tier, file, whole) = with_sample(&dir).await;
    for removes in [false, true] {
        fs::write(&file, &whole[..20]).unwrap();
        for when in [When::Absent, When::Newer, When::Is(sample().version)] {
            let error = tier.write(key("key"), put("new"), when).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Corrupt);
            assert_eq!(fs::read(&file).unwrap(), &whole[..20]);
        }
        let merge = tier.write(key("key"), Op::Merge(1), When::Always).await;
        assert_eq!(merge.unwrap_err().kind(), Kind::Corrupt);
        match removes {
            true => tier.remove("key").await.unwrap(),
            false => tier.put("key", "new").await.unwrap(),
        }
        let value = tier.value("key").await.unwrap();
        assert_eq!(value.is_none(), removes);
    }
}

#[tokio::test]
async fn what_a_dead_writer_left_is_swept_and_in_nobodys_way() {
    let dir = dir();
    let (tier, file, whole) = with_sample(&dir).await;
    let new = file.with_file_name("new");
    fs::write(&new, &whole[..30]).unwrap();
    assert_eq!(tier.get(key("key")).await.unwrap(), Some(sample()));
    tier.put("key", "next").await.unwrap();
    assert!(!new.exists());
    fs::write(&new, &whole[..30]).unwrap();
    let again = FileTier::open(dir.path()).unwrap();
    assert!(!new.exists());
    assert_eq!(again.value("key").await.unwrap().unwrap(), "next");
    // Of a writer that lives, and so holds the lock, it stays.
    let lock = File::open(file.with_file_name("lock")).unwrap();
    lock.lock().unwrap();
    fs::write(&new, &whole[..30]).unwrap();
    FileTier::open(dir.path()).unwrap();
    assert!(new.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_beside_a_writer_sees_whole_values() {
    let dir = dir();
    let writer = FileTier::open(dir.path()).unwrap();
    // As another process would.
    let reader = FileTier::open(dir.path()).unwrap();
    let value = |n: u8| vec![n; (1 << 20) - usize::from(n)];
    writer.put("key", value(0)).await.unwrap();
    let writing = tokio::spawn(async move {
        for n in 1..60 {
            writer.put("key", value(n)).await.unwrap();
        }
    });
    let mut reads = 0;
    while !writing.is_finished() || reads < 10 {
        let seen = reader.value("key").await.unwrap().unwrap();
        assert_eq!(seen, value(seen[0]));
        reads += 1;
    }
    writing.await.unwrap();
}

#[tokio::test]
async fn a_write_that_was_dropped_does_not_overtake_the_next() {
    let dir = dir();
    let (tier, file, _) = with_sample(&dir).await;
    // Writers wait for this lock where they may block.
    let lock = File::open(file.with_file_name("lock")).unwrap();
    lock.lock().unwrap();
    let mut dropped = Vec::new();
    for n in 0..20 {
        let mut old = Box::pin(tier.put("key", format!("old {n}")));
        assert!(poll(&mut old).await.is_none());
        dropped.push(old);
    }
    drop(dropped);
    let mut new = Box::pin(tier.put("key", "new"));
    assert!(poll(&mut new).await.is_none());
    lock.unlock().unwrap();
    new.await.unwrap();
    tier.close().await.unwrap();
    assert_eq!(tier.value("key").await.unwrap().unwrap(), "new");
}

#[tokio::test]
async fn a_close_waits_for_a_write_that_was_dropped() {
    let dir = dir();
    let (tier, file, _) = with_sample(&dir).await;
    let lock = File::open(file.with_file_name("lock")).unwrap();
    lock.lock().unwrap();
    let mut write = Box::pin(tier.put("key", "dropped"));
    assert!(poll(&mut write).await.is_none());
    drop(write);
    let mut close = Box::pin(tier.close());
    assert!(poll(&mut close).await.is_none());
    lock.unlock().unwrap();
    close.await.unwrap();
    assert_eq!(tier.value("key").await.unwrap().unwrap(), "dropped");
}

const START: u64 = 1_800_000_000_000_000;

fn removal(number: u64) -> Op {
    Op::Remove(version(number))
}

fn versioned(number: u64) -> Op {
    Op::Put(Entry::new("v").version(version(number)))
}

#[tokio::test]
async fn removals_are_remembered_for_an_hour_and_over_a_restart() {
    let dir = dir();
    let clock = TestClock::at(START);
    let open = || {
        FileOptions::new()
            .clock(clock.clone())
            .open(dir.path())
            .unwrap()
    };
    let tier = open();
    assert!(tier.capabilities().tombstones);
    let newer = async |tier: &FileTier, op| tier.write(key("key"), op, When::Newer).await.unwrap();
    assert_eq!(newer(&tier, versioned(5)).await, Applied::Done);
    assert_eq!(newer(&tier, removal(7)).await, Applied::Done);
    assert_eq!(tier.get(key("key")).await.unwrap(), None);
    let tier = open();
    let refused = Applied::Refused {
        held: Some(version(7)),
    };
    assert_eq!(newer(&tier, versioned(6)).await, refused);
    clock.advance(Duration::from_secs(3599));
    assert_eq!(newer(&tier, versioned(6)).await, refused);
    // A removal without a version does not make it forget.
    tier.remove("key").await.unwrap();
    assert_eq!(newer(&tier, versioned(6)).await, refused);
    clock.advance(Duration::from_secs(1));
    assert_eq!(newer(&tier, versioned(6)).await, Applied::Done);
    assert_eq!(
        tier.get(key("key")).await.unwrap().unwrap().version,
        version(6)
    );
}

/// So many keys whose files lie in one directory.
fn neighbours(tier: &FileTier, count: usize) -> Vec<String> {
    let shard = |name: &str| tier.file(key(name)).parent().unwrap().to_owned();
    let first = shard("0");
    let names = (0..).map(|n: u32| n.to_string());
    names
        .filter(|name| shard(name) == first)
        .take(count)
        .collect()
}

#[tokio::test]
async fn what_is_over_is_swept_once_a_directory_is_written_to_again() {
    let dir = dir();
    let clock = TestClock::at(START);
    let options = FileOptions::new().clock(clock.clone());
    let tier = options
        .tombstones(Duration::from_secs(60))
        .open(dir.path())
        .unwrap();
    let names = neighbours(&tier, 5);
    let write = async |at: usize, op| {
        let name = Key::new(&names[at]).unwrap();
        tier.write(name, op, When::Always).await.unwrap()
    };
    let expiring = Entry::new("v")
        .version(version(3))
        .expires(START + 1_000_000);
    assert_eq!(write(0, removal(1)).await, Applied::Done);
    assert_eq!(write(1, Op::Put(expiring)).await, Applied::Done);
    assert_eq!(write(2, put("stays")).await, Applied::Done);
    fs::write(tier.file(key(&names[3])), "damaged, and not swept").unwrap();
    clock.advance(Duration::from_secs(59));
    assert_eq!(write(4, put("4")).await, Applied::Done);
    assert_eq!(kept(dir.path()), 5);
    // The version of what is over is remembered too.
    let late = tier.write(key(&names[1]), versioned(2), When::Newer).await;
    assert_eq!(
        late.unwrap(),
        Applied::Refused {
            held: Some(version(3))
        }
    );
    clock.advance(Duration::from_secs(1));
    assert_eq!(write(4, removal(9)).await, Applied::Done);
    assert_eq!(kept(dir.path()), 4, "the removal went");
    clock.advance(Duration::from_secs(59));
    assert_eq!(write(2, put("still")).await, Applied::Done);
    assert_eq!(kept(dir.path()), 4);
    clock.advance(Duration::from_secs(1));
    assert_eq!(write(2, put("still")).await, Applied::Done);
    assert_eq!(kept(dir.path()), 2);
    assert_eq!(tier.value(&names[2]).await.unwrap().unwrap(), "still");
}

#[tokio::test]
async fn where_nothing_is_remembered_a_removal_leaves_no_file() {
    let dir = dir();
    let tier = FileTier::open(dir.path()).unwrap();
    tier.put("key", "v").await.unwrap();
    tier.remove("key").await.unwrap();
    assert_eq!(kept(dir.path()), 0);
    let options = FileOptions::new().tombstones(Duration::ZERO);
    let tier = options.open(dir.path()).unwrap();
    assert!(!tier.capabilities().tombstones);
    let removed = tier.write(key("key"), removal(9), When::Always).await;
    assert_eq!(removed.unwrap(), Applied::Done);
    assert_eq!(kept(dir.path()), 0);
}

#[test]
fn outside_a_runtime_it_says_so() {
    let dir = dir();
    let error = FileTier::open(dir.path()).unwrap_err();
    assert_eq!(error.kind(), Kind::Permanent);
    assert!(error.to_string().contains("runtime"), "{error}");
}

#[test]
fn after_its_runtime_it_is_closed() {
    let dir = dir();
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
    };
    let first = runtime();
    let tier = first.block_on(async { FileTier::open(dir.path()).unwrap() });
    drop(first);
    let error = runtime().block_on(tier.put("key", "v")).unwrap_err();
    assert_eq!((error.kind(), error.is_unknown()), (Kind::Closed, false));
    let error = runtime().block_on(tier.value("key")).unwrap_err();
    assert_eq!(error.kind(), Kind::Closed);
}

#[tokio::test]
async fn durability_is_as_asked_for() {
    let dir = dir();
    let written = FileTier::open(dir.path()).unwrap();
    assert_eq!(written.capabilities().durability, Durability::Written);
    let synced = FileOptions::new()
        .synced()
        .name("disk")
        .open(dir.path())
        .unwrap();
    assert_eq!(synced.capabilities().durability, Durability::Synced);
    assert_eq!(synced.name(), "disk");
    synced.put("key", "v").await.unwrap();
    assert_eq!(written.value("key").await.unwrap().unwrap(), "v");
}

#[tokio::test]
async fn what_is_in_its_way_is_a_permanent_error() {
    let dir = dir();
    let file = dir.path().join("file");
    fs::write(&file, "no directory").unwrap();
    for path in [file.clone(), file.join("below")] {
        let error = FileTier::open(&path).unwrap_err();
        assert_eq!(error.kind(), Kind::Permanent, "{error}");
        assert!(error.to_string().contains("of its own"), "{error}");
    }
    let root = dir.path().join("root");
    let tier = FileTier::open(&root).unwrap();
    let shard = tier.file(key("key")).parent().unwrap().to_owned();
    fs::write(&shard, "no directory").unwrap();
    let error = tier.put("key", "v").await.unwrap_err();
    assert_eq!(
        (error.kind(), error.is_unknown()),
        (Kind::Permanent, false),
        "{error}"
    );
    fs::remove_file(&shard).unwrap();
    tier.put("key", "v").await.unwrap();
    // Somebody took it away, and it is made again.
    fs::remove_dir_all(&shard).unwrap();
    assert_eq!(tier.value("key").await.unwrap(), None);
    tier.put("key", "w").await.unwrap();
    assert_eq!(tier.value("key").await.unwrap().unwrap(), "w");
}

#[cfg(unix)]
#[tokio::test]
async fn a_directory_without_the_right_to_write_is_read() {
    use std::os::unix::fs::PermissionsExt;
    let dir = dir();
    let (tier, file, _) = with_sample(&dir).await;
    let shard = file.parent().unwrap();
    let allow = |mode| {
        for path in [shard, dir.path()] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    allow(0o555);
    if File::create(shard.join("probe")).is_ok() {
        println!("SKIPPED: this user may write everywhere");
        return;
    }
    let again = FileTier::open(dir.path()).unwrap();
    for tier in [tier, again] {
        for name in ["key", "another key"] {
            let error = tier.put(name, "v").await.unwrap_err();
            assert_eq!((error.kind(), error.is_unknown()), (Kind::Permanent, false));
            assert!(error.to_string().contains("right to write"), "{error}");
        }
        assert_eq!(tier.get(key("key")).await.unwrap(), Some(sample()));
    }
    allow(0o755);
}

/// Not even for the user who may write everywhere.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn where_nobody_may_write_it_is_told_at_opening() {
    let error = FileTier::open("/sys/documentbuffer").unwrap_err();
    assert_eq!(error.kind(), Kind::Permanent, "{error}");
    let advice = ["right to write", "mount it for writing"];
    let advises = advice.iter().any(|part| error.to_string().contains(part));
    assert!(advises, "{error}");
}

const ROOT: &str = "DOCUMENTBUFFER_TEST_TIER";

/// A test of this file in a process of its own.
fn spawn(test: &str, root: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            test,
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(ROOT, root)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "one of several processes of another test here"]
async fn counting_process() {
    let Ok(root) = std::env::var(ROOT) else {
        return;
    };
    let tier = FileTier::open(root).unwrap();
    let me = std::process::id().to_string();
    for round in 0..50 {
        let name = format!("round {round}");
        if tier
            .write(key(&name), put(me.clone()), When::Absent)
            .await
            .unwrap()
            == Applied::Done
        {
            let won = tier.write(key("won"), Op::Merge(1), When::Always).await;
            assert_eq!(won.unwrap(), Applied::Done);
        }
        loop {
            let held = tier.get(key("count")).await.unwrap().unwrap();
            let next = held.version.number + 1;
            let next = Entry::new(next.to_string()).version(version(next));
            let is = When::Is(held.version);
            if tier.write(key("count"), Op::Put(next), is).await.unwrap() == Applied::Done {
                break;
            }
        }
    }
}

#[tokio::test]
async fn several_processes_agree() {
    let dir = dir();
    let tier = FileTier::open(dir.path()).unwrap();
    let zero = Entry::new("0").version(version(0));
    let begun = tier.write(key("count"), Op::Put(zero), When::Absent).await;
    assert_eq!(begun.unwrap(), Applied::Done);
    let children: Vec<Child> = (0..4)
        .map(|_| spawn("counting_process", dir.path()))
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{said}"
        );
    }
    let count = tier.get(key("count")).await.unwrap().unwrap();
    assert_eq!(
        (count.version, &count.value[..]),
        (version(200), &b"200"[..])
    );
    let won = tier.value("won").await.unwrap().unwrap();
    assert_eq!(won[..], 50_u64.to_le_bytes());
}

const KEYS: u64 = 8;

fn name_of(n: u64) -> String {
    format!("key {}", n % KEYS)
}

fn value_of(n: u64) -> Vec<u8> {
    let len = (n * 7919) % 100_000;
    let mut value = n.to_le_bytes().to_vec();
    value.resize(8 + len as usize, n as u8);
    value
}

#[tokio::test]
#[ignore = "the process that another test here kills"]
async fn writing_process() {
    let Ok(root) = std::env::var(ROOT) else {
        return;
    };
    let tier = FileTier::open(root).unwrap();
    let mut from = 0;
    for n in 0..KEYS {
        let held = tier.value(&name_of(n)).await.unwrap();
        from = from.max(held.map_or(0, |value| number(&value) + 1));
    }
    for n in from.. {
        tier.put(&name_of(n), value_of(n)).await.unwrap();
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "wrote {n}").unwrap();
    }
}

fn number(value: &[u8]) -> u64 {
    u64::from_le_bytes(value[..8].try_into().unwrap())
}

#[tokio::test]
async fn a_killed_writer_leaves_whole_values_and_none_older_than_it_said() {
    let seed = seed();
    println!("DOCUMENTBUFFER_SEED={seed}");
    let mut rng = Rng(seed);
    let dir = dir();
    let mut said = [None; KEYS as usize];
    for _ in 0..12 {
        let mut child = spawn("writing_process", dir.path());
        let stdout = child.stdout.take().unwrap();
        let lines = kill_after(&mut child, stdout, 5 + rng.below(60), &mut rng);
        let wrote = lines.iter().filter_map(|line| line.split_once("wrote "));
        for n in wrote.map(|(_, n)| n.parse::<u64>().unwrap()) {
            said[(n % KEYS) as usize] = Some(n);
        }
        let tier = FileTier::open(dir.path()).unwrap();
        assert!(files(dir.path()).iter().all(|file| !file.ends_with("new")));
        for (at, said) in said.iter().enumerate() {
            let held = tier.value(&name_of(at as u64)).await.unwrap();
            let held = held.map(|value| {
                let n = number(&value);
                assert_eq!(value, value_of(n), "a mixture");
                n
            });
            assert!(held >= *said, "key {at}: {held:?}, but {said:?} was said");
        }
    }
    assert!(said.iter().all(Option::is_some), "{said:?}");
    let again = Arc::new(FileTier::open(dir.path()).unwrap());
    again.put("key 0", "after all").await.unwrap();
}

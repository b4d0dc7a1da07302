//! Leases in files: between handles and processes, over kills, stops, damage and clocks that are set.
#![cfg(all(feature = "lease", feature = "testing", feature = "tier"))]

mod lease_support;

use std::fs;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use documentbuffer::clock::manual::ManualClock;
use documentbuffer::clock::{Clock, SystemClock};
use documentbuffer::lease::conformance::run;
use documentbuffer::lease::file::FileLease;
use documentbuffer::lease::{BoxLease, Held, Kind, Lease};
use documentbuffer::tier::file::FileTier;
use documentbuffer::tier::{Applied, Entry, Key, Op, Tier, Version, When};
use lease_support::{Process, given, wait_for_a_line};
use tempfile::TempDir;

const TIME: Duration = Duration::from_secs(600);

/// Outside a runtime every future is ready when it is first polled.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("it waits"),
    }
}

fn taken(lease: &impl Lease, key: &str) -> Held {
    now(lease.take(key, TIME))
        .unwrap()
        .expect("nobody holds it")
}

fn is_busy(lease: &impl Lease, key: &str) -> bool {
    now(lease.take(key, TIME)).unwrap().is_none()
}

fn wall() -> u64 {
    SystemClock::new().wall_micros()
}

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn on(path: &Path, clock: &ManualClock) -> FileLease {
    FileLease::with_clock(path, Arc::new(clock.clone())).unwrap()
}

/// The names of the files, without their hashes.
fn kinds(path: &Path) -> Vec<String> {
    let names = fs::read_dir(path).unwrap().map(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        name.rsplit('.').next().unwrap().to_owned()
    });
    let mut names: Vec<_> = names.filter(|name| name != "probe").collect();
    names.sort();
    names
}

/// In a new directory each time.
fn fresh(dir: &TempDir, clock: &ManualClock) -> impl AsyncFn() -> FileLease {
    let number = AtomicUsize::new(0);
    let (path, clock) = (dir.path().to_owned(), clock.clone());
    async move || {
        let number = number.fetch_add(1, Ordering::Relaxed).to_string();
        on(&path.join(number), &clock)
    }
}

#[test]
fn leases_in_files_conform_without_a_runtime() {
    let (dir, clock) = (dir(), ManualClock::at(wall()));
    let make = fresh(&dir, &clock);
    let pass = async |time| clock.advance(time);
    now(run(&make, pass)).unwrap();
    now(run(async || BoxLease::new(make().await), pass)).unwrap();
}

#[tokio::test]
async fn leases_in_files_conform_in_a_runtime() {
    let (dir, clock) = (dir(), ManualClock::at(wall()));
    let make = fresh(&dir, &clock);
    let pass = async |time| clock.advance(time);
    run(&make, pass).await.unwrap();
    run(async || BoxLease::new(make().await), pass)
        .await
        .unwrap();
}

#[test]
fn two_handles_of_a_process_exclude_each_other() {
    let dir = dir();
    let one = FileLease::open(dir.path()).unwrap();
    let other = FileLease::open(dir.path()).unwrap();
    let mut held = taken(&one, "key");
    assert!(is_busy(&other, "key") && is_busy(&one, "key") && is_busy(&one.clone(), "key"));
    assert!(!is_busy(&other, "another key"));
    assert_eq!(
        now(other.renew(&mut held, TIME)).unwrap_err().kind(),
        Kind::Foreign
    );
    let fence = held.fence();
    drop(held);
    let held = taken(&other, "key");
    assert!(held.fence() > fence);
    assert!(is_busy(&one, "key"));
}

#[test]
fn one_of_many_threads_and_handles_holds_it_and_fences_grow() {
    let dir = dir();
    let (inside, last) = (AtomicUsize::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..2 {
            let lease = FileLease::open(dir.path()).unwrap();
            for _ in 0..3 {
                let (lease, inside, last) = (lease.clone(), &inside, &last);
                scope.spawn(move || {
                    let mut own = 0;
                    while own < 20 {
                        let Some(held) = now(lease.take("key", TIME)).unwrap() else {
                            thread::yield_now();
                            continue;
                        };
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two hold it");
                        let before = last.swap(held.fence(), Ordering::SeqCst);
                        assert!(before < held.fence());
                        own += 1;
                        inside.fetch_sub(1, Ordering::SeqCst);
                        match own % 2 {
                            0 => drop(held),
                            _ => now(lease.release(held)).unwrap(),
                        }
                    }
                });
            }
        }
    });
}

#[test]
fn files_of_a_key_are_few_and_its_record_stays() {
    let (dir, clock) = (dir(), ManualClock::at(wall()));
    let lease = on(dir.path(), &clock);
    let mut lost = Vec::new();
    for _ in 0..10 {
        let held = taken(&lease, "key");
        assert_eq!(kinds(dir.path()), ["lease", "life"]);
        clock.advance(TIME);
        lost.push(held);
    }
    let held = taken(&lease, "key");
    for lost in lost {
        now(lease.release(lost)).unwrap();
        assert!(is_busy(&lease, "key"));
    }
    now(lease.release(held)).unwrap();
    assert_eq!(kinds(dir.path()), ["lease"]);
    assert!(lease.file("key").is_file());
}

#[test]
fn it_is_over_at_its_time_though_its_holder_lives() {
    let (dir, clock) = (dir(), ManualClock::at(wall()));
    let (one, other) = (on(dir.path(), &clock), on(dir.path(), &clock));
    let mut first = taken(&one, "key");
    clock.advance(TIME / 2);
    assert!(now(one.renew(&mut first, TIME)).unwrap());
    clock.advance(TIME - Duration::from_micros(1));
    assert!(is_busy(&other, "key"));
    clock.advance(Duration::from_micros(1));
    assert!(first.is_over());
    let second = taken(&other, "key");
    assert!(second.fence() > first.fence());
    assert!(!now(one.renew(&mut first, TIME)).unwrap());
    drop(first);
    assert!(is_busy(&one, "key"));
}

#[test]
fn what_is_over_is_not_revived_though_nobody_took_it() {
    let (dir, clock) = (dir(), ManualClock::at(wall()));
    let lease = on(dir.path(), &clock);
    let mut held = taken(&lease, "key");
    clock.advance(TIME);
    assert!(!now(lease.renew(&mut held, TIME)).unwrap());
    assert!(held.is_over() && !is_busy(&lease, "key"));
}

#[test]
fn a_wall_clock_that_was_set_back_keeps_nobody_out_for_ever() {
    let (dir, clock) = (dir(), ManualClock::at(wall()));
    let (one, other) = (on(dir.path(), &clock), on(dir.path(), &clock));
    let mut first = taken(&one, "key");
    clock.set_wall(wall() / 2);
    assert!(is_busy(&other, "key"));
    clock.advance(TIME / 2);
    // It changes, so it is seen anew, with its new time.
    assert!(now(one.renew(&mut first, TIME * 2)).unwrap());
    clock.set_wall(wall() / 4);
    assert!(is_busy(&other, "key"));
    clock.advance(TIME * 2 - Duration::from_micros(1));
    assert!(is_busy(&other, "key") && !first.is_over());
    // Whoever looks for the first time has not seen its whole time.
    assert!(is_busy(&on(dir.path(), &clock), "key"));
    clock.advance(Duration::from_micros(1));
    let second = taken(&other, "key");
    assert!(first.is_over() && second.fence() > first.fence());
    assert!(!now(one.renew(&mut first, TIME)).unwrap());
}

#[test]
fn a_wall_clock_that_was_set_forward_ends_it_and_the_holder_is_told() {
    let (dir, clock) = (dir(), ManualClock::at(wall()));
    let lease = on(dir.path(), &clock);
    let (mut lucky, mut lost) = (taken(&lease, "lucky"), taken(&lease, "lost"));
    clock.set_wall(wall() * 2);
    // Nobody came, and its own time is not over.
    assert!(now(lease.renew(&mut lucky, TIME)).unwrap());
    assert!(is_busy(&lease, "lucky"));
    let next = taken(&lease, "lost");
    assert!(next.fence() > lost.fence() && !lost.is_over());
    assert!(!now(lease.renew(&mut lost, TIME)).unwrap());
}

/// A future that is dropped before its answer came.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_dropped_take_leaves_nothing_taken() {
    let dir = dir();
    let lease = FileLease::open(dir.path()).unwrap();
    for round in 0..20 {
        {
            let take = pin!(lease.take("key", TIME));
            let polled = take.poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_pending() || round > 0);
        }
        // It may be under way yet.
        let held = loop {
            if let Some(held) = lease.take("key", TIME).await.unwrap() {
                break held;
            }
        };
        lease.release(held).await.unwrap();
    }
    assert_eq!(kinds(dir.path()), ["lease"]);
}

#[test]
fn what_cannot_be_opened_is_named_with_what_to_do() {
    let dir = dir();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let missing = dir.path().join("no/such");
    for (path, advice) in [
        (&missing, "the one that it is in must be there"),
        (&file, "a directory of its own"),
        (&file.join("below"), "a directory of its own"),
    ] {
        let error = FileLease::open(path).unwrap_err();
        let text = error.to_string();
        assert_eq!(error.kind(), Kind::Permanent, "{text}");
        assert!(text.contains(path.to_str().unwrap()), "{text}");
        assert!(text.contains(advice), "{text}");
    }
    let lease = FileLease::open(dir.path().join("new")).unwrap();
    assert!(lease.path().is_dir());
    fs::create_dir(lease.file("key")).unwrap();
    let error = now(lease.take("key", TIME)).unwrap_err();
    assert_eq!(error.kind(), Kind::Permanent, "{error}");
}

/// Not even for the user who may write everywhere.
#[cfg(target_os = "linux")]
#[test]
fn where_nobody_may_write_it_is_told_at_opening() {
    for path in ["/sys/documentbuffer", "/sys"] {
        let error = FileLease::open(path).unwrap_err();
        assert_eq!(error.kind(), Kind::Permanent, "{error}");
        let advice = ["right to write", "mount it for writing"];
        let advises = advice.iter().any(|part| error.to_string().contains(part));
        assert!(advises, "{error}");
    }
}

/// A process that is stopped just while it takes or gives back.
#[test]
#[ignore = "it waits for five seconds"]
fn a_file_that_stays_locked_is_an_error_and_no_hang() {
    let dir = dir();
    let lease = FileLease::open(dir.path()).unwrap();
    let mut held = taken(&lease, "key");
    let stopped = fs::File::open(lease.file("key")).unwrap();
    stopped.lock().unwrap();
    for error in [
        now(lease.take("key", TIME)).map(drop).unwrap_err(),
        now(lease.renew(&mut held, TIME)).map(drop).unwrap_err(),
        now(lease.release(held)).unwrap_err(),
    ] {
        assert!(error.is_transient(), "{error}");
        assert!(error.to_string().contains("stopped"), "{error}");
    }
    drop(stopped);
    // The release failed, and let go of it all the same.
    drop(taken(&lease, "key"));
}

#[test]
fn a_record_of_a_later_format_is_left_alone() {
    let dir = dir();
    let lease = FileLease::open(dir.path()).unwrap();
    drop(taken(&lease, "key"));
    let mut bytes = fs::read(lease.file("key")).unwrap();
    bytes[4] = 2;
    let crc = crc32fast::hash(&bytes[..60]).to_le_bytes();
    bytes[60..64].copy_from_slice(&crc);
    fs::write(lease.file("key"), &bytes).unwrap();
    let error = now(lease.take("key", TIME)).unwrap_err();
    assert_eq!(error.kind(), Kind::Permanent, "{error}");
    assert!(error.to_string().contains("later version"), "{error}");
    assert_eq!(fs::read(lease.file("key")).unwrap(), bytes);
}

fn fence_of(process: &mut Process) -> u64 {
    process.says("fence").parse().unwrap()
}

#[test]
#[ignore = "a process of other tests here"]
fn holding_process() {
    let Some((root, clock)) = given() else {
        return;
    };
    let held = taken(&on(&root, &clock), "key");
    println!("fence {}", held.fence());
    wait_for_a_line();
}

#[test]
fn when_its_holder_is_killed_the_next_one_has_it_at_once() {
    let dir = dir();
    let clock = ManualClock::at(wall());
    let lease = on(dir.path(), &clock);
    let mut last = 0;
    for _ in 0..5 {
        let mut process = Process::start("holding_process", dir.path(), clock.wall_micros());
        let fence = fence_of(&mut process);
        assert!(fence > last);
        assert!(is_busy(&lease, "key"));
        process.kill();
        let held = taken(&lease, "key");
        assert!(held.fence() > fence);
        last = held.fence();
    }
}

#[test]
fn the_fence_grows_from_process_to_process_when_the_wall_clock_goes_back() {
    let dir = dir();
    let mut last = 0;
    for wall in [
        5_000_000_000,
        4_000_000_000,
        0,
        4_999_999_999,
        6_000_000_000,
        1,
    ] {
        let mut process = Process::start("holding_process", dir.path(), wall);
        let fence = fence_of(&mut process);
        assert!(fence > last && fence >= wall, "{fence} after {last}");
        assert!(fence <= (last + 1).max(wall), "it leaps");
        last = fence;
        process.ends();
    }
}

#[test]
#[ignore = "a process of another test here"]
fn zombie_process() {
    let Some((root, clock)) = given() else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let lease = on(&root.join("leases"), &clock);
        let tier = FileTier::open(root.join("values")).unwrap();
        let mut held = lease.take("key", TIME).await.unwrap().unwrap();
        println!(
            "wrote {:?}",
            write(&tier, held.fence(), "of the zombie").await
        );
        println!("fence {}", held.fence());
        wait_for_a_line(); // It is stopped here.
        assert!(!held.is_over(), "by its own clock it holds it");
        println!(
            "wrote {:?}",
            write(&tier, held.fence(), "of the zombie").await
        );
        println!("renewed {}", lease.renew(&mut held, TIME).await.unwrap());
        lease.release(held).await.unwrap();
        println!("fence {}", 0);
        wait_for_a_line();
    });
}

/// Each holder counts its writes from 1, so that only the fence tells them apart.
async fn write(tier: &FileTier, fence: u64, value: &'static str) -> Applied {
    let held = tier.get(Key::new("key").unwrap()).await.unwrap();
    let number = held.map_or(1, |held| held.version.number + 1);
    let entry = Entry::new(value).version(Version { fence, number });
    let key = Key::new("key").unwrap();
    tier.write(key, Op::Put(entry), When::Newer).await.unwrap()
}

#[cfg(unix)]
#[tokio::test]
async fn the_late_write_of_a_stopped_holder_is_refused() {
    let dir = dir();
    let start = wall();
    let mut zombie = Process::start("zombie_process", dir.path(), start);
    assert_eq!(zombie.says("wrote"), "Done");
    let old = fence_of(&mut zombie);
    zombie.signal("STOP");
    // Its time has passed while it was stopped.
    let clock = ManualClock::at(start);
    let lease = on(&dir.path().join("leases"), &clock);
    let tier = FileTier::open(dir.path().join("values")).unwrap();
    assert!(lease.take("key", TIME).await.unwrap().is_none());
    clock.advance(TIME);
    let mut held = lease.take("key", TIME).await.unwrap().unwrap();
    assert!(held.fence() > old);
    assert_eq!(
        write(&tier, held.fence(), "of the next").await,
        Applied::Done
    );
    zombie.signal("CONT");
    zombie.goes_on();
    assert!(zombie.says("wrote").starts_with("Refused"));
    assert_eq!(zombie.says("renewed"), "false");
    assert_eq!(fence_of(&mut zombie), 0);
    // The zombie has written, renewed and released.
    let value = tier.get(Key::new("key").unwrap()).await.unwrap().unwrap();
    assert_eq!(
        (&value.value[..], value.version.fence),
        (&b"of the next"[..], held.fence())
    );
    assert!(lease.renew(&mut held, TIME).await.unwrap());
    assert!(lease.take("key", TIME).await.unwrap().is_none());
    zombie.goes_on();
    zombie.ends();
}

/// What is left of a file, from what it was before its last take and after it.
type Damage = Box<dyn Fn(&[u8], &[u8]) -> Vec<u8>>;

fn damages() -> Vec<Damage> {
    let mut all: Vec<Damage> = Vec::new();
    let interesting = |at: usize| at % 4096 < 64 || at.is_multiple_of(509);
    let places: Vec<usize> = (0..8192 + 64).filter(|at| interesting(*at)).collect();
    for at in places.iter().copied() {
        for mask in [0x01, 0x80, 0xff] {
            all.push(Box::new(move |_, file| {
                let mut file = file.to_vec();
                file[at] ^= mask;
                file
            }));
        }
        // Cut off, from where one copy is whole.
        if at >= 64 {
            all.push(Box::new(move |_, file| file[..at].to_vec()));
        }
        // The last write of it stopped there.
        all.push(Box::new(move |old, new| [&new[..at], &old[at..]].concat()));
    }
    for (from, to) in [
        (0, 64),
        (4096, 4160),
        (8192, 8256),
        (64, 4096),
        (4160, 8256),
    ] {
        for fill in [0x00, 0xff] {
            all.push(Box::new(move |_, file| {
                let mut file = file.to_vec();
                file[from..to].fill(fill);
                file
            }));
        }
    }
    all.push(Box::new(|_, file| [file, &[7; 10_000]].concat()));
    all
}

#[test]
#[ignore = "a process of another test here"]
fn damaging_process() {
    let Some((root, _)) = given() else {
        return;
    };
    // Nothing but the file knows the fence: the clock shows less, and this process gave none so high.
    let clock = ManualClock::at(1);
    let lease = on(&root, &clock);
    let bytes = |key: &str, n: usize| fs::read(root.join(format!("{key} {n}"))).unwrap();
    let (old, new) = (bytes("old", 0), bytes("new", 0));
    let number = |file: &[u8]| u64::from_le_bytes(file[8..16].try_into().unwrap());
    let fences = (number(&old), number(&new));
    assert!(fences.0 < fences.1);
    let mut shift = 0;
    for (n, damage) in damages().iter().enumerate() {
        // The fences grow by much more than this process gives.
        shift += 1_000_000;
        let (old, new) = (shifted(&old, shift), shifted(&new, shift));
        let file = damage(&old, &new);
        let whole = |at: usize| file.get(at..at + 64) == Some(&new[at..at + 64]);
        let least = if whole(0) || whole(4096) {
            fences.1
        } else {
            fences.0
        } + shift;
        fs::write(lease.file("key"), &file).unwrap();
        let held = taken(&lease, "key");
        let fence = held.fence();
        assert!(
            fence > least && fence <= fences.1 + shift + 1,
            "damage {n}: {fence}, not above {least}"
        );
        assert!(is_busy(&lease, "key"), "damage {n}");
        now(lease.release(held)).unwrap();
    }
    println!("damages {}", damages().len());
}

/// The file with all its fences so much larger.
fn shifted(file: &[u8], by: u64) -> Vec<u8> {
    let mut file = file.to_vec();
    for at in [0, 4096, 8192] {
        let record = &mut file[at..at + 64];
        let fence = u64::from_le_bytes(record[8..16].try_into().unwrap());
        record[8..16].copy_from_slice(&(fence + by).to_le_bytes());
        let crc = crc32fast::hash(&record[..60]).to_le_bytes();
        record[60..].copy_from_slice(&crc);
    }
    file
}

#[test]
fn no_damage_lowers_a_fence() {
    let dir = dir();
    let clock = ManualClock::at(wall());
    let lease = on(dir.path(), &clock);
    for name in ["old 0", "new 0"] {
        let mut held = taken(&lease, "key");
        assert!(now(lease.renew(&mut held, TIME)).unwrap());
        fs::copy(lease.file("key"), dir.path().join(name)).unwrap();
        now(lease.release(held)).unwrap();
        clock.advance(TIME);
    }
    let mut process = Process::start("damaging_process", dir.path(), 1);
    let damages: usize = process.says("damages").parse().unwrap();
    assert!(damages > 800, "{damages}");
    process.ends();
}

#[test]
fn where_no_copy_is_left_the_wall_clock_is() {
    let dir = dir();
    let clock = ManualClock::at(wall());
    let lease = on(dir.path(), &clock);
    let mut held = taken(&lease, "key");
    for len in 0..64 {
        let file = fs::read(lease.file("key")).unwrap();
        fs::write(lease.file("key"), &file[..len]).unwrap();
        clock.advance(Duration::from_millis(1));
        // Nobody holds what nobody can read; who did is told.
        let next = taken(&lease, "key");
        assert!(next.fence() > held.fence() && next.fence() >= clock.wall_micros());
        assert!(!now(lease.renew(&mut held, TIME)).unwrap());
        now(lease.release(held)).unwrap();
        assert!(is_busy(&lease, "key"));
        held = next;
    }
}

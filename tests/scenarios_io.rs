//! Scenarios 43 to 59: a store that answers late, in part, with errors, with lies, or with a panic.
#![cfg(feature = "testing")]

mod scenario_support;

use std::alloc::System;
use std::cell::{Cell, RefCell};
use std::io::{self, Cursor, ErrorKind, Read, Seek, SeekFrom, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};
use std::rc::Rc;

use cap::Cap;
use documentbuffer::store::fault::{Chunks, Class, CrashPlan, Fault, Kind, Rng};
use documentbuffer::{Action, DocumentBuffer, End, Error, Options, Store};
use scenario_support::workload::{Op, Script, expected, perform};
use scenario_support::{
    Disk, Documents, Handle, assert_legal, born, contents, doc, find, log, open, options, try_find,
};

/// Runs out of memory on command (scenario 57, in a process of its own).
#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

fn fault(kind: Kind, class: Class, at: u64, sticky: bool) -> Fault {
    Fault {
        kind,
        class,
        at,
        sticky,
    }
}

/// Plays a script on a disk prepared by `prepare`; every answer must be right. Gives the disk's bytes.
fn play(script: &Script, prepare: impl Fn(&Disk)) -> Vec<u8> {
    let disk = Disk::empty();
    prepare(&disk);
    let mut lives = 0;
    let mut life = || {
        lives += 1;
        script.options(lives).open(disk.clone()).expect("a log")
    };
    let mut buffer = life();
    let mut now = Vec::new();
    for op in &script.ops {
        let (answer, after) = expected(op, &now);
        if *op == Op::Kill {
            buffer.flush().expect("flush");
            drop(buffer);
            buffer = life();
        }
        let got = perform(&mut buffer, op, Handle::Syncs);
        assert_eq!(got.expect("no error"), answer, "seed {}", script.seed);
        now = after;
    }
    buffer.sync().expect("sync");
    disk.view()
}

/// 43: `Interrupted` at every call, once and a thousand times in a row.
#[test]
fn interruptions_are_invisible() {
    for seed in 0..6 {
        let script = Script::new(seed, 14);
        let calls = Cell::new(0);
        let plain = play(&script, |_| ());
        for times in [1, 1000] {
            for at in 0.. {
                let fired = Cell::new(false);
                let disk = RefCell::new(None);
                let interrupted = play(&script, |new| {
                    new.get()
                        .fault(fault(Kind::Interrupted(times), Class::Any, at, false));
                    disk.replace(Some(new.clone()));
                });
                fired.set(disk.take().expect("a disk").get().fired() > 0);
                assert!(interrupted == plain, "seed {seed}, call {at}");
                calls.set(at);
                // The longer row begins at fewer calls, for the time it takes.
                if !fired.get() || (times > 1 && at > 60) {
                    break;
                }
            }
        }
        assert!(calls.get() > 0);
    }
}

/// 44: one byte at a time; random counts.
#[test]
fn short_counts_change_nothing() {
    for seed in 0..60 {
        let script = Script::new(seed, 40);
        let plain = play(&script, |_| ());
        for chunks in [Chunks::One, Chunks::Random] {
            let short = play(&script, |disk| disk.get().set_chunks(chunks));
            assert!(short == plain, "seed {seed}, {chunks:?}");
        }
    }
}

/// A handle with three documents in the store and two in memory.
fn half_full() -> (Disk, DocumentBuffer<Disk>, Documents) {
    let all: Documents = (0..5).map(|i| doc(i, 30)).collect();
    let (disk, buffer) = log(Handle::Syncs, &[all[..3].to_vec()]);
    drop(buffer);
    let mut buffer = Options::new().seed(6).open(disk.clone()).expect("a log");
    buffer.push_all(&all[3..]).expect("push");
    disk.get().calm();
    (disk, buffer, all)
}

/// 45: a write takes nothing and says so.
#[test]
fn a_write_that_takes_nothing_is_an_error_and_no_loop() {
    for at in 0..3 {
        for sticky in [false, true] {
            let (disk, mut buffer, all) = half_full();
            disk.get()
                .fault(fault(Kind::Zero, Class::Write, at, sticky));
            match buffer.sync() {
                Err(Error::Io { action, source, .. }) => {
                    assert_eq!(
                        (action, source.kind()),
                        (Action::Write, ErrorKind::WriteZero)
                    );
                    assert_eq!(buffer.len(), 5);
                    disk.get().calm();
                    buffer.sync().expect("again");
                }
                other => assert!(other.is_ok() && disk.get().fired() == 0, "write {at}"),
            }
            assert_eq!(find(&disk.durable()).documents, all);
        }
    }
}

/// 46: a read gives nothing before the end that the store claimed.
#[test]
fn a_read_that_gives_nothing_is_no_end_of_the_log() {
    let (disk, _) = log(Handle::Syncs, &[(0..5).map(|i| doc(i, 30)).collect()]);
    for sticky in [false, true] {
        for at in 0.. {
            disk.get().calm();
            disk.get().fault(fault(Kind::Zero, Class::Read, at, sticky));
            let opened = options(3).open(disk.clone()).map(|buffer| buffer.len());
            if disk.get().fired() == 0 {
                assert_eq!(opened.expect("a log"), 5);
                break;
            }
            assert!(
                opened.is_err(),
                "read {at}, sticky {sticky}: opened with {opened:?}"
            );
        }
    }
    disk.get().calm();
    let mut buffer = options(3).open(disk.clone()).expect("a log");
    for at in 0..6 {
        disk.get().calm();
        disk.get().fault(fault(Kind::Zero, Class::Read, at, true));
        let popped = buffer.pop();
        if disk.get().fired() > 0 {
            assert!(matches!(popped, Err(Error::Shrunk { .. })), "{popped:?}");
        }
    }
}

/// 47: `WouldBlock` and `TimedOut` at every call of every method.
#[test]
fn an_error_at_any_call_moves_nothing_and_the_call_may_be_repeated() {
    type Call = fn(&mut DocumentBuffer<Disk>) -> Result<(), Error>;
    let calls: [Call; 7] = [
        |b| b.flush(),
        |b| b.sync(),
        |b| b.read(5).map(drop),
        |b| b.remove(5).map(drop),
        |b| b.truncate_after(1).map(drop),
        |b| b.push_all([vec![1; 1 << 20], vec![2; 1 << 20]]).map(drop),
        |b| b.replay().collect::<Result<Documents, _>>().map(drop),
    ];
    for kind in [ErrorKind::WouldBlock, ErrorKind::TimedOut] {
        for (number, call) in calls.iter().enumerate() {
            for at in 0.. {
                let (disk, mut buffer, all) = half_full();
                disk.get()
                    .fault(fault(Kind::Fail(kind), Class::Any, at, false));
                let failed = call(&mut buffer);
                if disk.get().fired() == 0 {
                    failed.expect("no fault");
                    break;
                }
                let error = failed.expect_err("passed over");
                assert!(matches!(&error, Error::Io { source, .. } if source.kind() == kind));
                assert_eq!(buffer.len(), 5, "call {at} of method {number}");
                assert_eq!(contents(&mut buffer), all);
                let again = call(&mut buffer);
                if matches!(
                    error,
                    Error::Io {
                        action: Action::Sync,
                        ..
                    }
                ) {
                    assert!(matches!(again, Err(Error::Poisoned { .. })));
                } else {
                    again.expect("the second time");
                }
            }
        }
    }
}

/// 48: the store is full in the midst of a demotion: a short write, then the error.
#[test]
fn a_full_store_loses_nothing_and_goes_on_when_there_is_room() {
    for memory in [0, 100, 300] {
        for cap in 64..700u64 {
            let disk = Disk::empty();
            let mut buffer = Options::new()
                .memory(memory)
                .seed(cap)
                .open(disk.clone())
                .expect("new");
            disk.get().set_cap(Some(cap));
            let mut now = Documents::new();
            let mut legal = vec![now.clone()];
            let mut full = false;
            for i in 0..12 {
                let document = doc(i, 40);
                let asked = [&now[..], std::slice::from_ref(&document)].concat();
                legal.push(asked.clone());
                match buffer.push(&document) {
                    Ok(_) => now = asked,
                    Err(Error::Full { .. }) => {
                        full = true;
                        break;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            assert_eq!(buffer.len(), now.len() as u64);
            let mut rng = Rng::new(cap);
            for _ in 0..8 {
                let plan = CrashPlan::random(&mut rng);
                let image = disk.get().crash(&mut rng, plan);
                assert!(
                    legal.contains(&find(&image).documents),
                    "cap {cap}, {plan:?}"
                );
            }
            assert_eq!(contents(&mut buffer), now);
            assert!(legal.contains(&find(&disk.view()).documents));
            if full && !now.is_empty() {
                // Popping works in a full store.
                assert_eq!(buffer.pop().expect("pop"), now.pop());
            }
            disk.get().set_cap(None);
            buffer.push("there is room").expect("push");
            now.push(b"there is room".to_vec());
            buffer.sync().expect("sync");
            assert_eq!(find(&disk.durable()).documents, now);
        }
    }
}

/// 49: the store is full when END is written.
#[test]
fn a_store_too_full_for_an_end_still_opens_to_what_was_synced() {
    let (r1, r2) = (doc(1, 30), doc(2, 20));
    for extra in 0..100 {
        let (disk, mut buffer) = log(Handle::Syncs, &[seq![r1]]);
        let len = disk.view().len() as u64;
        disk.get().set_cap(Some(len + extra));
        let pushed = buffer.push(&r2).is_ok();
        let legal = [seq![r1], seq![r1, r2]];
        match buffer.sync() {
            Ok(()) if pushed => {
                assert_legal(&disk, &[8], &legal[1..]);
            }
            Ok(()) => {
                assert_legal(&disk, &[8], &legal[..1]);
            }
            Err(Error::Full { .. }) => {
                assert_legal(&disk, &[8], &legal);
                disk.get().set_cap(None);
                buffer.sync().expect("room");
                let now = contents(&mut buffer);
                assert_legal(&disk, &[8], &[now]);
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// 50: file too large, quota, read-only.
#[test]
fn limits_and_read_only_media_are_told_as_what_they_are() {
    for kind in [
        ErrorKind::FileTooLarge,
        ErrorKind::QuotaExceeded,
        ErrorKind::ReadOnlyFilesystem,
    ] {
        for at in 0..4 {
            let (disk, mut buffer, all) = half_full();
            disk.get()
                .fault(fault(Kind::Fail(kind), Class::Write, at, true));
            let failed = buffer.sync();
            if disk.get().fired() == 0 {
                failed.expect("no fault");
                continue;
            }
            match failed.expect_err("passed over") {
                Error::Full { source, .. } if kind != ErrorKind::ReadOnlyFilesystem => {
                    assert_eq!(source.kind(), kind);
                }
                Error::Io {
                    action: Action::Write,
                    source,
                    ..
                } => {
                    assert_eq!((source.kind(), kind), (kind, ErrorKind::ReadOnlyFilesystem));
                }
                error => panic!("{error}"),
            }
            assert_eq!(contents(&mut buffer), all);
            assert_eq!(buffer.pop().expect("pop"), all.last().cloned());
            disk.get().calm();
            buffer.sync().expect("sync");
            assert_eq!(find(&disk.durable()).documents, all[..4]);
        }
    }
}

/// A store whose position somebody else moves before every call.
struct Jostled(Disk, Rng);

impl Jostled {
    fn jostle(&mut self) {
        let to = self.1.below(2000);
        self.0.get().seek(SeekFrom::Start(to)).expect("a seek");
    }
}

/// 51: a seek fails; the position is moved by somebody between two calls.
#[test]
fn the_position_between_two_calls_is_never_believed() {
    // Moved while no call of the buffer is under way.
    for seed in 0..40 {
        let script = Script::new(seed, 40);
        let plain = play(&script, |_| ());
        let disk = Disk::empty();
        let mut jostled = Jostled(disk.clone(), Rng::new(seed));
        let mut buffer = script.options(1).open(disk.clone()).expect("new");
        let mut now = Vec::new();
        let mut lives = 1;
        for op in &script.ops {
            jostled.jostle();
            let (answer, after) = expected(op, &now);
            if *op == Op::Kill {
                buffer.flush().expect("flush");
                lives += 1;
                buffer = script.options(lives).open(disk.clone()).expect("a log");
            }
            assert_eq!(
                perform(&mut buffer, op, Handle::Syncs).expect("no error"),
                answer
            );
            now = after;
        }
        jostled.jostle();
        buffer.sync().expect("sync");
        assert!(disk.view() == plain, "seed {seed}");
    }
}

/// 51: a seek says Ok and does nothing, before a write.
#[test]
fn a_seek_that_lies_before_a_write_is_told() {
    for at in 0..12 {
        let (disk, mut buffer, all) = half_full();
        // At the far end, so that what lands there hits nothing.
        disk.get().seek(SeekFrom::End(5000)).expect("a seek");
        disk.get().calm();
        disk.get().fault(fault(Kind::Lie, Class::Seek, at, false));
        let synced = buffer.sync();
        match synced {
            Ok(()) => assert_eq!(find(&disk.durable()).documents, all, "seek {at}"),
            Err(Error::IgnoresSeek { .. }) => {
                assert!(matches!(buffer.sync(), Err(Error::Poisoned { .. })));
                assert_eq!(buffer.len(), 5);
                let found = find(&disk.view()).documents;
                assert!(all.starts_with(&found) && found.len() >= 3, "seek {at}");
            }
            Err(Error::Shrunk { .. } | Error::Corrupt { .. }) => assert_eq!(buffer.len(), 5),
            Err(error) => panic!("seek {at}: {error}"),
        }
    }
}

/// Notes whether a write ever began behind the end of the store.
struct NoHoles {
    store: Cursor<Vec<u8>>,
    writes: Rc<Cell<u64>>,
}

impl Read for NoHoles {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.store.read(buf)
    }
}

impl Write for NoHoles {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let (at, len) = (self.store.position(), self.store.get_ref().len() as u64);
        assert!(at <= len, "a hole from {len} to {at}");
        self.writes.set(self.writes.get() + 1);
        self.store.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for NoHoles {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.store.seek(to)
    }
}

/// 52: no write leaves a hole; a hole found ends the log.
#[test]
fn holes_are_never_made_and_end_the_log_where_found() {
    for seed in 0..60 {
        let script = Script::new(seed, 60);
        let writes = Rc::new(Cell::new(0));
        let store = NoHoles {
            store: Cursor::new(Vec::new()),
            writes: Rc::clone(&writes),
        };
        let mut buffer = script.options(1).open_bare(store).expect("new");
        for op in &script.ops {
            perform(&mut buffer, op, Handle::Bare).expect("no error");
        }
        buffer.flush().expect("flush");
        assert!(writes.get() > 0);
    }
    let (disk, _) = log(Handle::Syncs, &[vec![doc(1, 50), doc(2, 700), doc(3, 50)]]);
    let bytes = disk.view();
    let document = bytes
        .windows(700)
        .position(|window| window == doc(2, 700))
        .expect("it");
    for hole in [1, 100, 512] {
        let mut image = bytes.clone();
        image[document + 20..document + 20 + hole].fill(0);
        let found = find(&image);
        assert_eq!(found.documents, [doc(1, 50)]);
        assert!(matches!(found.end(), End::Suspect { records: 1, .. }));
        // And as the end of the store.
        let found = find(&image[..document + 20 + hole]);
        assert_eq!(found.documents, [doc(1, 50)]);
        assert!(matches!(found.end(), End::Torn { .. }));
    }
}

/// 53: `flush` of the store fails once.
#[test]
fn a_second_flush_after_a_failed_one_does_all_of_it_again() {
    let (disk, mut buffer, all) = half_full();
    disk.get()
        .fault(fault(Kind::Fail(ErrorKind::Other), Class::Flush, 0, false));
    assert!(matches!(
        buffer.sync(),
        Err(Error::Io {
            action: Action::Flush,
            ..
        })
    ));
    // What the store had buffered is gone.
    let end = find(&disk.view()).recovery.offset;
    disk.get().set_len(end).expect("cut");
    let before = disk.get().calls();
    buffer.sync().expect("the second time");
    let after = disk.get().calls();
    assert!(after.writes > before.writes, "END was not written again");
    assert!(after.syncs > before.syncs, "not synced");
    let found = find(&disk.durable());
    assert_eq!((found.documents, found.recovery.end), (all, End::Clean));
}

/// 54: a sync fails once and would succeed the second time.
#[test]
fn a_failed_sync_is_final() {
    let kinds = [
        Kind::Fail(ErrorKind::Other),
        Kind::After(ErrorKind::Other),
        Kind::SyncDirty,
        Kind::SyncReverts,
        Kind::SyncLoses,
        Kind::SyncLosesSome,
    ];
    for kind in kinds {
        for at in 0..2 {
            let (disk, mut buffer, all) = half_full();
            disk.get().fault(fault(kind, Class::Sync, at, false));
            assert!(matches!(
                buffer.sync(),
                Err(Error::Io {
                    action: Action::Sync,
                    ..
                })
            ));
            for _ in 0..3 {
                assert!(
                    matches!(buffer.sync(), Err(Error::Poisoned { .. })),
                    "{kind:?}"
                );
                assert!(
                    matches!(buffer.flush(), Err(Error::Poisoned { .. })),
                    "{kind:?}"
                );
            }
            assert!(matches!(
                buffer.push(vec![0; 2 << 20]),
                Err(Error::Poisoned { .. })
            ));
            let failed = buffer.close().expect_err("poisoned");
            assert!(matches!(failed.error, Error::Poisoned { .. }));
            let mut buffer = failed.buffer.finish().expect_err("poisoned").buffer;
            if kind != Kind::SyncReverts || at == 0 {
                assert_eq!(contents(&mut buffer), all, "reading still works");
            }
            // Opening again recovers; what is missing is pushed again.
            drop(buffer.into_inner());
            let mut again = open(&disk, 30, Handle::Syncs);
            let kept = contents(&mut again);
            assert!(all.starts_with(&kept) && kept.len() >= 3);
            again.push_all(&all[kept.len()..]).expect("push");
            match kind {
                // What this sync says of the bytes that the failed one lost is not ours to know.
                Kind::SyncLoses | Kind::SyncLosesSome => {}
                _ => {
                    again.sync().expect("sync");
                    assert_eq!(find(&disk.durable()).documents, all, "{kind:?}");
                }
            }
        }
    }
}

/// 55: every sync lies. What opens is still something that was held.
#[test]
fn under_a_lying_sync_a_crash_still_finds_no_fiction() {
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let disk = born();
        disk.get().fault(fault(Kind::Lie, Class::Sync, 0, true));
        let mut buffer = options(seed).open(disk.clone()).expect("a log");
        let mut now = Documents::new();
        let mut held = vec![now.clone()];
        for _ in 0..30 {
            match rng.below(5) {
                0 => buffer.sync().expect("it lies"),
                1 | 2 => assert_eq!(buffer.pop().expect("pop"), now.pop()),
                _ => {
                    let document = doc(rng.below(3) as u8, 10 + 20 * rng.below(3) as usize);
                    buffer.push(&document).expect("push");
                    now.push(document);
                }
            }
            held.push(now.clone());
            let plan = CrashPlan::random(&mut rng);
            let image = disk.get().crash(&mut rng, plan);
            assert!(
                held.contains(&find(&image).documents),
                "seed {seed}, {plan:?}"
            );
        }
    }
}

/// 56: the store panics inside a call, at every call, and the panic is caught.
#[test]
fn a_panic_of_the_store_loses_and_doubles_nothing() {
    for seed in 0..12 {
        let script = Script::new(seed, 16);
        for at in 0.. {
            let disk = Disk::empty();
            let mut buffer = script.options(1).open(disk.clone()).expect("new");
            disk.get().calm();
            disk.get().fault(fault(Kind::Panic, Class::Any, at, false));
            let mut now = Vec::new();
            for op in script.ops.iter().filter(|op| !matches!(op, Op::PushAll(_))) {
                let call = || perform(&mut buffer, op, Handle::Syncs);
                let (answer, after) = expected(op, &now);
                match catch_unwind(AssertUnwindSafe(call)) {
                    Ok(done) => assert_eq!(done.expect("no error"), answer),
                    Err(_) => {
                        let held = contents(&mut buffer);
                        let before = scenario_support::workload::bytes(&now);
                        assert_eq!(held, before, "seed {seed}, call {at}, {op:?}");
                        let again = perform(&mut buffer, op, Handle::Syncs);
                        assert_eq!(again.expect("usable"), answer, "seed {seed}, call {at}");
                    }
                }
                now = after;
            }
            let clean_run = disk.get().fired() == 0;
            disk.get().calm();
            buffer.sync().expect("sync");
            let found = find(&disk.durable()).documents;
            assert_eq!(found, scenario_support::workload::bytes(&now));
            if clean_run {
                break;
            }
        }
    }
}

/// 57: memory runs out at each step. What cannot be had is an error, or else the process is aborted by
/// policy; nothing is half moved, and the file opens to what was held.
#[test]
fn out_of_memory_is_an_error_or_an_abort_and_nothing_in_between() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("log");
    let steps = (0..64)
        .map(|n| n * 64)
        .chain((0..90).map(|n| 4096 + n * 40_000));
    let (mut errors, mut aborts) = (0, 0);
    for room in steps {
        let mut buffer = Options::new().open_path(&path).expect("a log");
        buffer.truncate_after(0).expect("cut");
        buffer
            .push_all([doc(1, 300_000), doc(2, 10)])
            .expect("push");
        buffer.sync().expect("sync");
        drop(buffer);
        let child = Command::new(std::env::current_exe().expect("this program"))
            .args([
                "--exact",
                "in_little_memory",
                "--ignored",
                "--nocapture",
                "--test-threads=1",
            ])
            .env("LOG", &path)
            .env("ROOM", room.to_string())
            .stderr(Stdio::null())
            .output()
            .expect("a child");
        let said = String::from_utf8_lossy(&child.stdout).into_owned();
        assert!(!said.contains("half moved"), "{room} bytes: {said}");
        if child.status.success() {
            errors += usize::from(said.contains("refused"));
        } else {
            aborts += 1;
        }
        let kept = find(&std::fs::read(&path).expect("the file")).documents;
        let all = [
            doc(1, 300_000),
            doc(2, 10),
            doc(3, 200_000),
            doc(4, 1 << 20),
        ];
        assert!(
            kept.len() >= 2 && all.starts_with(&kept),
            "{} documents",
            kept.len()
        );
    }
    println!("{errors} refused calls, {aborts} aborts");
    assert!(errors > 0, "memory never ran out");
}

/// The child of scenario 57.
#[test]
#[ignore = "started by out_of_memory_is_an_error_or_an_abort_and_nothing_in_between"]
fn in_little_memory() {
    let (Ok(path), Ok(room)) = (std::env::var("LOG"), std::env::var("ROOM")) else {
        return;
    };
    let room: usize = room.parse().expect("a number");
    let store = documentbuffer::FileStore::open(&path).expect("the file");
    let (third, fourth) = (doc(3, 200_000), doc(4, 1 << 20));
    let lengths = [300_000, 10, 200_000, 1 << 20];
    let mut hand = Vec::with_capacity(2 << 20);
    let mut refused = 0;
    let mut half_moved = 0;
    MEMORY
        .set_limit(MEMORY.allocated() + room)
        .expect("a limit");
    match Options::new().open(store) {
        Err(failed) => refused += u32::from(matches!(failed.error, Error::OutOfMemory { .. })),
        Ok(mut buffer) => {
            for document in [&third, &fourth] {
                let before = buffer.len();
                let pushed = buffer.push(document);
                refused += u32::from(matches!(pushed, Err(Error::OutOfMemory { .. })));
                half_moved += u32::from(buffer.len() != before + u64::from(pushed.is_ok()));
                if pushed.is_err() {
                    break;
                }
            }
            let synced = buffer.sync();
            refused += u32::from(matches!(synced, Err(Error::OutOfMemory { .. })));
            while !buffer.is_empty() {
                let before = buffer.len() as usize;
                match buffer.pop_into(&mut hand) {
                    Ok(true) => half_moved += u32::from(lengths[before - 1] != hand.len()),
                    Ok(false) => half_moved += 1,
                    Err(error) => {
                        refused += u32::from(matches!(error, Error::OutOfMemory { .. }));
                        half_moved += u32::from(buffer.len() as usize != before);
                        break;
                    }
                }
            }
            std::mem::forget(buffer);
        }
    }
    MEMORY.set_limit(usize::MAX).expect("no limit");
    println!("{}", if refused > 0 { "refused" } else { "done" });
    println!(
        "{}",
        if half_moved > 0 {
            "half moved"
        } else {
            "whole"
        }
    );
}

/// 58: dropped without a close, also while unwinding.
#[test]
fn dropping_writes_nothing_and_claims_nothing() {
    let (disk, mut buffer, all) = half_full();
    let before = disk.view();
    buffer.pop().expect("pop");
    drop(buffer);
    assert_eq!(
        (disk.view(), disk.get().calls().writes),
        (before.clone(), 0)
    );

    let (disk, mut buffer, _) = half_full();
    // Even a store in which nothing works any more.
    disk.get().fault(fault(Kind::Panic, Class::Any, 1000, true));
    let unwound = catch_unwind(AssertUnwindSafe(move || {
        buffer.push("lost with the process").expect("push");
        panic!("unwinding");
    }));
    assert!(unwound.is_err());
    assert_eq!(disk.view(), before);
    assert_eq!(find(&before).documents, all[..3]);
}

/// 59: `close` and `finish` fail at every call.
#[test]
fn a_failed_close_gives_the_buffer_back_with_everything() {
    for finish in [false, true] {
        for kind in [
            Kind::Fail(ErrorKind::Other),
            Kind::Full,
            Kind::After(ErrorKind::Other),
        ] {
            for at in 0.. {
                let (disk, buffer, all) = half_full();
                disk.get().fault(fault(kind, Class::Any, at, false));
                let closed = if finish {
                    buffer.finish()
                } else {
                    buffer.close()
                };
                let fired = disk.get().fired() > 0;
                let (end, _) = match closed {
                    Ok(closed) => {
                        // A full disk means nothing to a seek.
                        assert!(!fired || kind == Kind::Full, "call {at} passed over");
                        closed
                    }
                    Err(failed) => {
                        let mut buffer = failed.buffer;
                        assert_eq!(contents(&mut buffer), all, "call {at}");
                        let again = if finish {
                            buffer.finish()
                        } else {
                            buffer.close()
                        };
                        match again {
                            Ok(closed) => closed,
                            Err(again) => {
                                assert!(matches!(again.error, Error::Poisoned { .. }));
                                assert!(matches!(
                                    failed.error,
                                    Error::Io {
                                        action: Action::Sync,
                                        ..
                                    }
                                ));
                                continue;
                            }
                        }
                    }
                };
                let bytes = disk.view();
                assert_eq!(find(&bytes[..end as usize]).documents, all);
                if finish {
                    assert_eq!((bytes.len() as u64, disk.durable()), (end, bytes));
                }
                if !fired {
                    break;
                }
            }
        }
    }
}

/// A store of a fixed size is finished without a cut.
#[test]
fn finish_leaves_a_store_of_a_fixed_size_alone() {
    let (disk, buffer, all) = half_full();
    let unsupported = Kind::Fail(ErrorKind::Unsupported);
    disk.get().fault(fault(unsupported, Class::SetLen, 0, true));
    let (end, mut disk) = buffer.finish().expect("no cut, no error");
    assert!(disk.view().len() as u64 >= end);
    assert_eq!(try_find(&disk.durable()).expect("a log").documents, all);
    disk.sync().expect("still usable");
}

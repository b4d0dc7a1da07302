//! Real files, real limits, real locks: what the system answers, and that nothing is lost for it.
#![cfg(target_os = "linux")]
#![cfg(feature = "testing")]

mod scenario_support;

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use documentbuffer::{Action, DocumentBuffer, End, Error, FileStore, Options, Scan};
use scenario_support::{contents, doc, find};
use tempfile::TempDir;

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

/// Documents in the file at `path`, by every reader.
fn kept(path: &Path) -> Vec<Vec<u8>> {
    find(&fs::read(path).expect("the file")).documents
}

/// A log with three documents at `path`, closed.
fn three(path: &Path) -> Vec<Vec<u8>> {
    let all = vec![doc(1, 100), doc(2, 5000), doc(3, 10)];
    let mut buffer = DocumentBuffer::open(path).expect("new");
    buffer.push_all(&all).expect("push");
    buffer.finish().expect("finish");
    all
}

/// A small file system in memory, unmounted when dropped.
struct Tmpfs(TempDir);

impl Tmpfs {
    /// `None`, and a word about it, where mounting is not allowed.
    fn new(bytes: u64) -> Option<Tmpfs> {
        let dir = directory();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
            .arg(dir.path())
            .stderr(Stdio::piped())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Tmpfs(dir)),
            Ok(output) => {
                let why = String::from_utf8_lossy(&output.stderr).into_owned();
                eprintln!("SKIPPED: cannot mount a tmpfs: {}", why.trim());
                None
            }
            Err(error) => {
                eprintln!("SKIPPED: cannot run mount: {error}");
                None
            }
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

/// ENOSPC from a file system: a short write first, then the error. Nothing is lost; room makes it go on.
#[test]
fn a_full_file_system_loses_nothing() {
    let Some(disk) = Tmpfs::new(256 << 10) else {
        return;
    };
    let (path, ballast) = (disk.path("log"), disk.path("ballast"));
    for memory in [0, 10_000, 1 << 20] {
        fs::write(&ballast, vec![1; 100 << 10]).expect("room");
        let mut buffer = Options::new().memory(memory).open_path(&path).expect("new");
        let mut now = Vec::new();
        let full = loop {
            let document = doc(now.len() as u8, 3000);
            let pushed = buffer.push(&document).and_then(|position| {
                now.push(document);
                // Memory fills as well: what is in it must reach the disk.
                if position % 7 == 6 {
                    buffer.sync()
                } else {
                    Ok(())
                }
            });
            match pushed {
                Ok(()) => assert!(now.len() < 1000, "never full"),
                Err(error) => break error,
            }
        };
        assert!(
            matches!(&full, Error::Full { source, .. } if source.kind() == ErrorKind::StorageFull),
            "{full}"
        );
        assert_eq!(buffer.len(), now.len() as u64);
        assert_eq!(contents(&mut buffer), now);
        // What another process finds now is a state that was.
        let found = kept(&path);
        assert!(now.starts_with(&found) && found.len() + 8 > now.len());
        assert_eq!(buffer.pop().expect("pop"), now.pop());
        fs::remove_file(&ballast).expect("make room");
        buffer.push("there is room").expect("push");
        now.push(b"there is room".to_vec());
        let (end, _) = buffer.finish().expect("finish");
        assert_eq!(kept(&path), now);
        assert_eq!(fs::metadata(&path).expect("the file").len(), end);
        fs::remove_file(&path).expect("done");
    }
}

/// This test program again, under a limit set by the shell.
fn again(test: &str, limit: &str, path: &Path) -> Output {
    let program = std::env::current_exe().expect("this program");
    Command::new("sh")
        .arg("-c")
        .arg(format!(
            "{limit}; exec \"$0\" --exact {test} --ignored --nocapture --test-threads=1"
        ))
        .arg(program)
        .env("LOG", path)
        .output()
        .expect("a shell")
}

/// RLIMIT_FSIZE: EFBIG once the signal is ignored.
#[test]
fn a_file_size_limit_is_a_full_store() {
    let dir = directory();
    let path = dir.path().join("log");
    // Blocks of 512 bytes, or of 1024 in some shells: a limit of 32 or 64 KiB.
    let child = again(
        "under_a_file_size_limit",
        "trap '' XFSZ; ulimit -f 64",
        &path,
    );
    let said = String::from_utf8_lossy(&child.stdout).into_owned();
    assert!(
        child.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&child.stderr)
    );
    assert!(said.contains("full and whole"), "{said}");
    let kept = kept(&path);
    assert!(kept.len() > 5, "{} documents", kept.len());
    for (position, document) in kept.iter().enumerate() {
        assert_eq!(*document, doc(position as u8, 3000));
    }
    // Without the limit it goes on.
    let mut buffer = open_again(&path);
    buffer.push("on").expect("push");
    buffer.sync().expect("sync");
    assert_eq!(buffer.len(), kept.len() as u64 + 1);
}

/// The child of the test above.
#[test]
#[ignore = "started by a_file_size_limit_is_a_full_store"]
fn under_a_file_size_limit() {
    let Some(path) = std::env::var_os("LOG") else {
        return;
    };
    let mut buffer = Options::new().memory(10_000).open_path(path).expect("new");
    let mut now: Vec<Vec<u8>> = Vec::new();
    let full = loop {
        let document = doc(now.len() as u8, 3000);
        match buffer.push(&document) {
            Ok(_) => now.push(document),
            Err(error) => break error,
        }
        assert!(now.len() < 1000, "no limit");
    };
    assert!(
        matches!(&full, Error::Full { source, .. } if source.kind() == ErrorKind::FileTooLarge),
        "{full}"
    );
    assert_eq!(contents(&mut buffer), now);
    while buffer.sync().is_err() {
        assert_eq!(buffer.pop().expect("pop"), now.pop());
    }
    println!("full and whole");
}

/// A file that may only be read.
#[test]
fn a_read_only_file_is_read_and_the_first_write_says_so() {
    let dir = directory();
    let path = dir.path().join("log");
    let all = three(&path);
    let before = fs::read(&path).expect("the file");
    for memory in [0, 1 << 20] {
        let file = File::open(&path).expect("read-only");
        let mut buffer = Options::new().memory(memory).open(file).expect("a log");
        assert_eq!(contents(&mut buffer), all);
        let pushed = buffer
            .push(doc(4, 10))
            .map(drop)
            .and_then(|()| buffer.sync());
        let error = pushed.expect_err("read-only");
        assert!(
            matches!(
                error,
                Error::Io {
                    action: Action::Write,
                    ..
                }
            ),
            "{error}"
        );
        assert_eq!(buffer.read(9).expect("reads").len() as u64, buffer.len());
        assert_eq!(fs::read(&path).expect("the file"), before);
    }
    // By its path and its mode, where the mode means anything to this user.
    let mut mode = fs::metadata(&path).expect("the file").permissions();
    mode.set_readonly(true);
    fs::set_permissions(&path, mode).expect("a mode");
    match DocumentBuffer::open(&path) {
        Ok(_) => eprintln!("SKIPPED in part: this user may write to any file"),
        Err(Error::Io {
            action: Action::Open,
            path: Some(named),
            source,
            ..
        }) => {
            assert_eq!(
                (named, source.kind()),
                (path.clone(), ErrorKind::PermissionDenied)
            );
        }
        Err(error) => panic!("{error}"),
    }
    assert_eq!(fs::read(&path).expect("the file"), before);
}

/// A second opener in this process.
#[test]
fn a_second_opener_in_the_process_is_told_which_file_is_locked() {
    let dir = directory();
    let path = dir.path().join("log");
    let mut first = DocumentBuffer::open(&path).expect("new");
    first.push("mine").expect("push");
    let refused = DocumentBuffer::open(&path).expect_err("locked");
    assert!(matches!(&refused, Error::Locked { path: Some(named) } if *named == path));
    assert!(refused.to_string().contains("log"), "{refused}");
    // The lock of a plain file and that of a path are the same lock.
    let plain = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .expect("the file");
    let refused = Options::new().open(plain).expect_err("locked").error;
    assert!(matches!(refused, Error::Locked { .. }), "{refused}");
    // Readers need none.
    first.flush().expect("flush");
    let mut scan = Scan::new(File::open(&path).expect("the file")).expect("a log");
    assert_eq!(scan.next().expect("reads").expect("one").bytes, b"mine");
    drop(first);
    assert_eq!(open_again(&path).len(), 1);
}

/// A second opener in another process.
#[test]
fn a_second_opener_in_another_process_is_told_which_file_is_locked() {
    let dir = directory();
    let path = dir.path().join("log");
    let first = DocumentBuffer::open(&path).expect("new");
    let child = again("open_and_say", "true", &path);
    let said = String::from_utf8_lossy(&child.stdout).into_owned();
    let expected = format!("{} is locked by another handle", path.display());
    assert!(said.contains(&expected), "{said}");
    drop(first);
    let child = again("open_and_say", "true", &path);
    let said = String::from_utf8_lossy(&child.stdout).into_owned();
    assert!(said.contains("opened"), "{said}");
}

/// The child of the test above.
#[test]
#[ignore = "started by a_second_opener_in_another_process_is_told_which_file_is_locked"]
fn open_and_say() {
    let Some(path) = std::env::var_os("LOG") else {
        return;
    };
    match DocumentBuffer::open(path) {
        Ok(_) => println!("opened"),
        Err(error) => println!("{error}"),
    }
}

/// Opens a file whose buffer has been dropped: a child of another test may hold its lock until it runs.
fn open_again(path: &Path) -> DocumentBuffer<FileStore> {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        match DocumentBuffer::open(path) {
            Err(Error::Locked { .. }) if Instant::now() < until => std::thread::yield_now(),
            opened => return opened.expect("a log"),
        }
    }
}

/// Another process cuts the file under an open buffer.
#[test]
fn a_file_cut_under_an_open_buffer_is_told() {
    let dir = directory();
    let path = dir.path().join("log");
    for memory in [0, 1 << 20] {
        let all = three(&path);
        let mut buffer = Options::new()
            .memory(memory)
            .open_path(&path)
            .expect("a log");
        let cut = OpenOptions::new()
            .write(true)
            .open(&path)
            .expect("the file");
        cut.set_len(200).expect("cut");
        for _ in 0..2 {
            let error = buffer.pop().expect_err("nothing there");
            assert!(matches!(error, Error::Shrunk { len: 200, .. }), "{error}");
            assert_eq!(buffer.len(), 3);
        }
        drop(buffer);
        let mut again = open_again(&path);
        assert_eq!(contents(&mut again), all[..1]);
        assert!(matches!(again.recovery().end, End::Torn { .. }));
        drop(again);
        fs::remove_file(&path).expect("done");
    }
}

/// A file opened for appending puts every write at its end.
#[test]
fn a_file_opened_for_appending_is_found_out_and_nothing_is_lost() {
    let dir = directory();
    let path = dir.path().join("log");
    let appending = || {
        OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)
            .expect("a file")
    };
    // New: left as empty as it was.
    let mut buffer = Options::new().open(appending()).expect("new");
    buffer.push("one").expect("memory");
    let error = buffer.sync().expect_err("appends");
    assert!(matches!(error, Error::IgnoresSeek { .. }), "{error}");
    assert_eq!(contents(&mut buffer), [b"one"]);
    assert!(matches!(buffer.sync(), Err(Error::Poisoned { .. })));
    drop(buffer);
    let left = fs::read(&path).expect("the file");
    assert!(
        left.is_empty() || find(&left).documents.is_empty(),
        "{} bytes",
        left.len()
    );
    fs::remove_file(&path).expect("done");
    // A log with a tail behind its end, where an append lands elsewhere.
    let all = three(&path);
    let mut buffer = open_again(&path);
    buffer.pop().expect("pop");
    buffer.sync().expect("sync");
    drop(buffer);
    for memory in [0, 1 << 20] {
        let mut buffer = Options::new()
            .memory(memory)
            .open(appending())
            .expect("a log");
        let pushed = buffer.push("more").map(drop).and_then(|()| buffer.sync());
        assert!(
            matches!(pushed, Err(Error::IgnoresSeek { .. })),
            "{pushed:?}"
        );
        drop(buffer);
        assert_eq!(kept(&path), all[..2]);
    }
}

/// What is no file.
#[test]
fn a_directory_is_no_file() {
    let dir = directory();
    let error = DocumentBuffer::open(dir.path()).expect_err("a directory");
    assert!(
        matches!(&error, Error::NotAFile { path } if path == dir.path()),
        "{error}"
    );
    let missing = dir.path().join("nowhere").join("log");
    match DocumentBuffer::open(&missing).expect_err("no directory") {
        Error::Io {
            action: Action::Open,
            path: Some(named),
            source,
            ..
        } => {
            assert_eq!((named, source.kind()), (missing, ErrorKind::NotFound));
        }
        error => panic!("{error}"),
    }
}

/// Other people's files, and a disk image that begins with zeros.
#[test]
fn a_foreign_file_is_never_written_to() {
    let dir = directory();
    let path = dir.path().join("theirs");
    let mut image = vec![0; 1 << 20];
    image[700_000..700_012].copy_from_slice(b"a partition!");
    let program = fs::read(std::env::current_exe().expect("this program")).expect("it");
    let cases = [
        b"hello\n".to_vec(),
        image,
        program[..100_000].to_vec(),
        vec![7],
    ];
    for bytes in cases {
        fs::write(&path, &bytes).expect("room");
        let error = DocumentBuffer::open(&path).expect_err("foreign");
        assert!(matches!(error, Error::Foreign { .. }), "{error}");
        let store = FileStore::open(&path).expect("a file");
        assert!(DocumentBuffer::new(store).is_err());
        assert!(Options::new().open_path_with(&path, |_, _| ()).is_err());
        assert_eq!(fs::read(&path).expect("the file"), bytes);
    }
    // Preallocated space is not foreign.
    fs::write(&path, vec![0; 1 << 20]).expect("room");
    let mut buffer = DocumentBuffer::open(&path).expect("new");
    buffer.push("ours").expect("push");
    buffer.sync().expect("sync");
    drop(buffer);
    assert_eq!(kept(&path), [b"ours"]);
}

/// A device that is always full.
#[test]
fn a_full_device_is_told() {
    let Ok(mut full) = OpenOptions::new().read(true).write(true).open("/dev/full") else {
        eprintln!("SKIPPED: no /dev/full");
        return;
    };
    let mut byte = [1];
    let reads = full.read(&mut byte).is_ok();
    assert!(!reads || byte == [0], "this is not /dev/full");
    let length = full.seek(SeekFrom::End(0));
    match Options::new().open(full) {
        Ok(mut buffer) => {
            buffer.push("never").expect("memory");
            let error = buffer.sync().expect_err("full");
            assert!(
                matches!(&error, Error::Full { source, .. } if source.kind() == ErrorKind::StorageFull),
                "{error}"
            );
            assert_eq!(contents(&mut buffer), [b"never"]);
        }
        Err(failed) => panic!("{} (it is {length:?} long)", failed.error),
    }
}

/// The bytes behind a suspect end are kept beside the file before they are overwritten.
#[test]
fn what_lies_behind_damage_is_kept_beside_the_file() {
    let dir = directory();
    let path = dir.path().join("log");
    let all = three(&path);
    let mut bytes = fs::read(&path).expect("the file");
    let second = bytes
        .windows(100)
        .position(|window| window == &all[1][..100])
        .expect("it");
    bytes[second + 50] ^= 1;
    fs::write(&path, &bytes).expect("room");
    let mut buffer = open_again(&path);
    let End::Suspect { offset, records: 1 } = buffer.recovery().end else {
        panic!("{:?}", buffer.recovery().end);
    };
    buffer.push("on").expect("push");
    assert_eq!(buffer.preserved(), None, "nothing was written yet");
    buffer.sync().expect("sync");
    let beside = buffer.preserved().expect("a file").to_owned();
    drop(buffer);
    assert_eq!(
        fs::read(beside).expect("the file"),
        bytes[offset as usize..]
    );
    assert_eq!(kept(&path), [all[0].clone(), b"on".to_vec()]);
}

/// The descriptor is full of surprises when the file is written by hand in between.
#[test]
fn bytes_written_by_hand_behind_the_end_are_overwritten_and_never_read_as_documents() {
    let dir = directory();
    let path = dir.path().join("log");
    let all = three(&path);
    let mut file = OpenOptions::new()
        .append(true)
        .open(&path)
        .expect("the file");
    file.write_all(b"echo appended by mistake >> log\n")
        .expect("room");
    let mut buffer = open_again(&path);
    assert_eq!((buffer.len(), buffer.recovery().end), (3, End::Clean));
    buffer.push(doc(4, 3)).expect("push");
    buffer.sync().expect("sync");
    drop(buffer);
    assert_eq!(kept(&path), [&all[..], &[doc(4, 3)]].concat());
}

//! `FileStore` on real files: the lock, the zeros written ahead, what is preserved.

use documentbuffer::store::{FileStore, Store};
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const CHILD: &str = "DOCUMENTBUFFER_TEST_LOCK";
const LIMITED: &str = "DOCUMENTBUFFER_TEST_LIMIT";
const KIB: u64 = 1 << 10;

fn len(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

fn open_kind(path: &Path) -> ErrorKind {
    FileStore::open(path).unwrap_err().kind()
}

/// This test binary once more: it locks the file, says so, and waits until its input ends.
fn child_holding(path: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_process", "--nocapture"])
        .env(CHILD, path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut lines = output.lines().map(Result::unwrap);
    assert!(
        lines.any(|line| line.contains("locked")),
        "the child did not lock"
    );
    child
}

/// Not a test of its own: the other side of `child_holding`.
#[test]
fn child_process() {
    let Some(path) = std::env::var_os(CHILD) else {
        return;
    };
    let mut store = FileStore::open(path).unwrap();
    store.write_all(b"from the child").unwrap();
    println!("locked");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn a_second_open_in_the_same_process_would_block() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut store = FileStore::open(&path).unwrap();
    store.lock().unwrap();
    assert_eq!(open_kind(&path), ErrorKind::WouldBlock);
    let error = FileStore::open_existing(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    // Readers take no lock.
    assert_eq!(fs::read(&path).unwrap(), b"");
    drop(store);
    FileStore::open(&path).unwrap();
}

#[test]
fn a_second_process_would_block_and_a_killed_one_lets_go() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut child = child_holding(&path);
    assert_eq!(open_kind(&path), ErrorKind::WouldBlock);
    child.kill().unwrap();
    child.wait().unwrap();
    let mut store = FileStore::open(&path).unwrap();
    let mut bytes = Vec::new();
    store.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"from the child");
}

#[test]
fn what_is_no_file_is_refused_as_the_system_says() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    assert_eq!(
        FileStore::open_existing(&missing).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert!(!missing.exists());
    assert_eq!(open_kind(&missing.join("log")), ErrorKind::NotFound);
    #[cfg(unix)]
    assert_eq!(open_kind(dir.path()), ErrorKind::IsADirectory);
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    #[cfg(unix)]
    assert_eq!(open_kind(&file.join("log")), ErrorKind::NotADirectory);
}

#[test]
fn opening_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    fs::write(&path, b"as it was").unwrap();
    let store = FileStore::open(&path).unwrap();
    assert_eq!(
        (store.path(), store.name()),
        (path.as_path(), Some(path.as_path()))
    );
    assert_eq!(store.file().metadata().unwrap().len(), 9);
    drop(store);
    assert_eq!(fs::read(&path).unwrap(), b"as it was");
}

#[test]
fn a_bare_file_name_works() {
    // The parent of such a path is empty, not `.`.
    let name = format!("documentbuffer-test-{}", std::process::id());
    let opened = FileStore::open(&name).map(drop);
    fs::remove_file(&name).unwrap();
    opened.unwrap();
}

/// Writes `size` bytes and syncs, `times` times; returns all that was written.
fn small_syncs(store: &mut FileStore, times: u32, size: usize) -> Vec<u8> {
    let mut all = Vec::new();
    for turn in 0..times {
        let bytes = vec![turn as u8 | 1; size];
        store.write_all(&bytes).unwrap();
        store.sync().unwrap();
        all.extend(bytes);
    }
    all
}

#[test]
fn repeated_small_syncs_write_zeros_ahead_in_doubling_steps() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut store = FileStore::open(&path).unwrap();
    let size = 40 << 10;
    let mut all = small_syncs(&mut store, 3, size);
    assert_eq!(len(&path), 120 * KIB);
    all.extend(small_syncs(&mut store, 1, size));
    assert_eq!(len(&path), (160 + 256) * KIB);

    let mut lengths = vec![len(&path)];
    for _ in 0..400 {
        all.extend(small_syncs(&mut store, 1, size));
        if lengths.last() != Some(&len(&path)) {
            lengths.push(len(&path));
        }
    }
    // Each step starts where the writes first passed the zeros before it.
    let ends = [160, 440, 960, 2000, 4080, 8200, 12320].map(|end: u64| end * KIB);
    let steps = [256, 512, 1024, 2048, 4096, 4096, 4096].map(|step: u64| step * KIB);
    let expected: Vec<u64> = ends
        .iter()
        .zip(steps)
        .map(|(end, step)| end + step)
        .collect();
    assert_eq!(lengths, expected);

    let bytes = fs::read(&path).unwrap();
    assert!(bytes.starts_with(&all));
    assert!(bytes[all.len()..].iter().all(|&byte| byte == 0));
    assert_eq!(store.stream_position().unwrap(), all.len() as u64);
    assert_eq!(store.seek(SeekFrom::End(0)).unwrap(), len(&path));
}

#[test]
fn bulk_append_writes_no_zeros() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut store = FileStore::open(&path).unwrap();
    let all = small_syncs(&mut store, 40, 64 << 10);
    assert_eq!(fs::read(&path).unwrap(), all);
    // One large growth in four starts the count again.
    for _ in 0..8 {
        small_syncs(&mut store, 3, 10);
        small_syncs(&mut store, 1, 100 << 10);
    }
    let end = store.stream_position().unwrap();
    assert_eq!(len(&path), end);
}

#[test]
fn syncs_without_a_write_do_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut store = FileStore::open(&path).unwrap();
    store.write_all(b"once").unwrap();
    for _ in 0..20 {
        store.sync().unwrap();
    }
    assert_eq!(len(&path), 4);
}

#[test]
fn a_cut_takes_the_zeros_away_and_the_count_starts_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut store = FileStore::open(&path).unwrap();
    small_syncs(&mut store, 4, 100);
    assert_eq!(len(&path), 400 + 256 * KIB);
    store.set_len(150).unwrap();
    store.seek(SeekFrom::Start(150)).unwrap();
    small_syncs(&mut store, 3, 100);
    assert_eq!(len(&path), 450);
    small_syncs(&mut store, 1, 100);
    assert_eq!(len(&path), 550 + 512 * KIB);

    // Zeros that the caller put there serve as well.
    store.set_len(1 << 20).unwrap();
    small_syncs(&mut store, 8, 100);
    assert_eq!(len(&path), 1 << 20);
}

#[test]
fn the_zeros_of_an_earlier_handle_are_used_up_first() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let all = small_syncs(&mut FileStore::open(&path).unwrap(), 4, 100);
    let before = len(&path);
    let mut store = FileStore::open(&path).unwrap();
    store.seek(SeekFrom::Start(all.len() as u64)).unwrap();
    small_syncs(&mut store, 100, 100);
    assert_eq!(len(&path), before);
}

#[test]
fn what_lies_behind_is_preserved_beside_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut store = FileStore::open(&path).unwrap();
    store.write_all(b"good, then suspect").unwrap();
    let name = |suffix: &str| Some(dir.path().join(format!("log.behind-{suffix}")));
    assert_eq!(store.preserve(6).unwrap(), name("6"));
    assert_eq!(store.preserve(6).unwrap(), name("6.1"));
    assert_eq!(store.preserve(6).unwrap(), name("6.2"));
    assert_eq!(store.preserve(11).unwrap(), name("11"));
    assert_eq!(fs::read(name("6.2").unwrap()).unwrap(), b"then suspect");
    assert_eq!(fs::read(name("11").unwrap()).unwrap(), b"suspect");
    assert_eq!(store.preserve(18).unwrap(), None);
    assert_eq!(store.preserve(u64::MAX).unwrap(), None);
    assert_eq!(fs::read(&path).unwrap(), b"good, then suspect");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 5);
}

#[cfg(unix)]
#[test]
fn the_copy_is_as_private_as_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut store = FileStore::open(&path).unwrap();
    store.write_all(b"secret").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let copy = store.preserve(0).unwrap().unwrap();
    let mode = fs::metadata(copy).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[cfg(unix)]
#[test]
fn a_file_that_was_renamed_away_is_locked_on_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let (path, other) = (dir.path().join("log"), dir.path().join("other"));
    let old = FileStore::open(&path).unwrap();
    fs::rename(&path, &other).unwrap();
    let new = FileStore::open(&path).unwrap();
    assert_eq!(open_kind(&other), ErrorKind::WouldBlock);
    drop((old, new));
}

/// Not a test of its own: runs under a file size limit in `zeros_that_do_not_fit_are_no_error`.
#[test]
fn limited_process() {
    let Some(path) = std::env::var_os(LIMITED) else {
        return;
    };
    let path = Path::new(&path);
    let mut store = FileStore::open(path).unwrap();
    let all = small_syncs(&mut store, 20, 1000);
    // The zeros that fitted were given back.
    assert_eq!(fs::read(path).unwrap(), all);
    let error = store.write_all(&[1; 200 << 10]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FileTooLarge);
    println!("limited");
}

#[cfg(unix)]
#[test]
fn zeros_that_do_not_fit_are_no_error() {
    let dir = tempfile::tempdir().unwrap();
    // The limit counts blocks of 512 or 1024 bytes, by shell; either way the zeros do not fit.
    let script = r#"trap '' XFSZ; ulimit -f 128; exec "$0" --exact limited_process --nocapture"#;
    let output = Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .env(LIMITED, dir.path().join("log"))
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && shown.contains("limited"),
        "{output:?}"
    );
}

#[cfg(unix)]
#[test]
fn a_copy_that_fails_leaves_the_store_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (inside, moved) = (dir.path().join("in"), dir.path().join("moved"));
    fs::create_dir(&inside).unwrap();
    let mut store = FileStore::open(inside.join("log")).unwrap();
    store.write_all(b"kept").unwrap();
    fs::rename(&inside, &moved).unwrap();
    assert_eq!(store.preserve(0).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(fs::read(moved.join("log")).unwrap(), b"kept");
}

#[cfg(target_os = "linux")]
#[test]
fn a_device_gets_no_zeros_and_cannot_be_cut() {
    let mut store = FileStore::open_existing("/dev/null").unwrap();
    small_syncs_on_device(&mut store);
    assert_eq!(store.set_len(1).unwrap_err().kind(), ErrorKind::Unsupported);
}

#[cfg(target_os = "linux")]
fn small_syncs_on_device(store: &mut FileStore) {
    for _ in 0..8 {
        store.write_all(b"x").unwrap();
        // `/dev/null` has nothing to sync and says so.
        let error = store.sync().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

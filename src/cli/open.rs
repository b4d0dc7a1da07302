//! Opens files for reading, and asks for locks: whoever reads takes none.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use documentbuffer::{OpenError, Scan};

use super::error::{self, Code, Failure, Result};

/// Between two tries for the lock.
const TRY_EVERY: Duration = Duration::from_millis(10);
/// Waited for the lock in any case: another `docbuf` that asks whether it is held holds it more briefly,
/// and so does a process that is just being born of a writer.
const GRACE: Duration = Duration::from_millis(50);
/// The file in a journal's directory that its writer locks.
const LOCK: &str = "lock";

/// A file to read from, without a lock.
pub(super) fn file(path: &Path) -> Result<File> {
    let about = fs::metadata(path).map_err(|error| Failure::io(path, "open", &error))?;
    if !is_seekable(&about) {
        return Err(Failure::of(path, Code::Failed, "not a file")
            .next("a document buffer is a file or a block device"));
    }
    File::open(path).map_err(|error| Failure::io(path, "open", &error))
}

#[cfg(unix)]
fn is_seekable(about: &fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    about.is_file() || about.file_type().is_block_device()
}

#[cfg(not(unix))]
fn is_seekable(about: &fs::Metadata) -> bool {
    about.is_file()
}

pub(super) fn scan(path: &Path) -> Result<Scan<File>> {
    let scan = Scan::new(file(path)?);
    scan.map_err(|OpenError { error, .. }| Failure::library(path, &error))
}

/// Whether another process may write the file, or the journal in the directory; `None` where that cannot be
/// known.
pub(super) fn is_locked(path: &Path) -> Option<bool> {
    if !path.is_dir() {
        return is_file_locked(path);
    }
    match File::open(path.join(LOCK)) {
        Ok(lock) => is_held(&lock),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(false),
        Err(_) => None,
    }
}

fn is_held(lock: &File) -> Option<bool> {
    match lock.try_lock_shared() {
        // Closing the file gives the lock back.
        Ok(()) => Some(false),
        Err(TryLockError::WouldBlock) => Some(true),
        Err(TryLockError::Error(_)) => None,
    }
}

#[cfg(not(windows))]
fn is_file_locked(path: &Path) -> Option<bool> {
    is_held(&File::open(path).ok()?)
}

/// There, nobody else can open the file for writing then.
#[cfg(windows)]
fn is_file_locked(path: &Path) -> Option<bool> {
    const SHARING_VIOLATION: i32 = 32;
    match fs::OpenOptions::new().read(true).write(true).open(path) {
        Ok(_) => Some(false),
        Err(error) => (error.raw_os_error() == Some(SHARING_VIOLATION)).then_some(true),
    }
}

/// Whether another process writes, and not only for the moment in which a process is born, or another
/// `docbuf` asks the same.
pub(super) fn is_written(path: &Path) -> bool {
    if is_locked(path) != Some(true) {
        return false;
    }
    thread::sleep(GRACE);
    is_locked(path) == Some(true)
}

/// Keeps writers out as long as `file` is open, where the system can do that.
pub(super) fn keep_writers_out(path: &Path, file: &File) -> io::Result<()> {
    if is_locked(path) == Some(true) {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
        // A file system without locks has no writers that would hold one.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
    }
}

/// Tries until `take` gets the lock, or the time is over; `take` gives `None` where another has it.
pub(super) fn patiently<T>(
    path: &Path,
    wait: Option<Duration>,
    mut take: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let begin = Instant::now();
    let wait = wait.unwrap_or_default().max(GRACE);
    loop {
        if let Some(taken) = take()? {
            return Ok(taken);
        }
        if begin.elapsed() >= wait {
            return Err(error::locked(path));
        }
        thread::sleep(TRY_EVERY);
    }
}

/// What the system says to a try for the lock of a file.
pub(super) fn unless_locked<T>(path: &Path, tried: io::Result<T>) -> Result<Option<T>> {
    match tried {
        Ok(taken) => Ok(Some(taken)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(Failure::io(path, "open", &error)),
    }
}

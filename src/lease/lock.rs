//! Locks of files, asked for and let go of.

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind};

/// A file whose lock is let go of when this is dropped, also where a child process that is about to run
/// something else has it open yet.
#[derive(Debug)]
pub(crate) struct FileLock(File);

impl FileLock {
    /// That file, which has been locked.
    pub(crate) fn of(file: File) -> FileLock {
        FileLock(file)
    }

    pub(crate) fn file(&self) -> &File {
        &self.0
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // It goes when the file is closed, if not now.
        let _ = self.0.unlock();
    }
}

/// Whether it was locked, exclusively or shared; false where somebody else has it.
pub(crate) fn try_lock(file: &File, shared: bool) -> io::Result<bool> {
    loop {
        let locked = match shared {
            true => file.try_lock_shared(),
            false => file.try_lock(),
        };
        match locked {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Interrupted => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

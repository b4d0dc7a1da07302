//! The lock of several processes.
//!
//! ```text
//!             turnstile                      main
//!   reader    passes: locked for a moment,   locked shared, while it reads
//!             main locked meanwhile
//!   writer    locked, until it is done       locked, from when the last reader has left
//! ```
//!
//! A file's lock has no order of its own: with one file alone, readers that follow each other without a gap keep
//! a writer out for ever. Behind the turnstile a writer waits only for those who are inside.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use super::core::{Core, Limit};
use super::error::{Error, Result, Side};
use super::{ReadGuard, ReadWriteLock, WriteGuard};
use crate::clock::{Bell, Clock, SystemClock};
use crate::lease::lock::{FileLock, try_lock};

/// How long it is waited between two looks at a lock.
const SHORTEST: Duration = Duration::from_micros(50);
const LONGEST: Duration = Duration::from_millis(20);
/// So often is a turnstile looked at by those who do not wait: other readers pass it in microseconds.
const LOOKS: u32 = 20;

/// The lock of the processes that open it under the same path, and of the threads in them.
///
/// It is two files, at that path and beside it with `.turnstile` behind its name, which stay empty. They are made
/// if need be, and never removed: a process that has a removed file open, and one that makes a new one, would not
/// see each other. They must be on a file system with locks that all processes see, which is to say on a local one.
///
/// Open it once in a process, and share it: threads wait for each other in memory, and a thread that asks for a
/// second guard is recognised. Two that are opened in one process exclude each other as two processes do.
///
/// The standard library's locks of files have no time-out. Where a time is given they are asked for again and again,
/// every 50 microseconds at first, every 20 milliseconds at last; without one the system wakes who waits. A
/// [`try_read`](ReadWriteLock::try_read) looks for about a millisecond, since other readers are in the way for moments.
///
/// A process that dies lets go of what it held. One that is stopped does not, and nobody may take it away:
/// whoever must not wait for it gives a time.
///
/// # Examples
///
/// ```
/// use documentbuffer::dogpile::readers::{FileReaders, ReadWriteLock};
/// use std::fs;
///
/// # let dir = tempfile::tempdir()?;
/// # let (file, lock) = (dir.path().join("data"), dir.path().join("data.lock"));
/// # fs::write(&file, "old")?;
/// let lock = FileReaders::open(lock)?;
/// {
///     let _beside = lock.read()?;
///     fs::read(&file)?;
/// }
/// let _alone = lock.write()?;
/// fs::write(&file, "new")?; // Nobody sees it half written.
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct FileReaders {
    core: Core,
    main: PathBuf,
    turnstile: PathBuf,
    shares: Shares,
}

/// What the threads that read have locked; one lock for all guards of a thread.
#[derive(Debug, Default)]
pub(super) struct Shares(Mutex<HashMap<ThreadId, FileLock>>);

/// Nobody else in any process is inside. The turnstile opens last.
#[derive(Debug)]
pub(super) struct Alone {
    _main: FileLock,
    _turnstile: FileLock,
}

impl Shares {
    fn lock(&self) -> MutexGuard<'_, HashMap<ThreadId, FileLock>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, thread: ThreadId, locked: FileLock) {
        self.lock().insert(thread, locked);
    }

    pub(super) fn end(&self, thread: ThreadId) {
        let locked = self.lock().remove(&thread);
        drop(locked);
    }
}

impl FileReaders {
    /// The lock at that path, on the system's clock. The directory must be there.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the files cannot be opened for writing.
    pub fn open(path: impl AsRef<Path>) -> Result<FileReaders> {
        FileReaders::with_clock(path, Arc::new(SystemClock::new()))
    }

    /// The same on that clock, by which times are over.
    ///
    /// # Errors
    ///
    /// As [`open`](FileReaders::open).
    pub fn with_clock(path: impl AsRef<Path>, clock: Arc<dyn Clock>) -> Result<FileReaders> {
        let main = path.as_ref().to_path_buf();
        let mut turnstile = OsString::from(&main);
        turnstile.push(".turnstile");
        let turnstile = PathBuf::from(turnstile);
        for path in [&main, &turnstile] {
            open(path)?;
        }
        Ok(FileReaders {
            core: Core::new(clock),
            main,
            turnstile,
            shares: Shares::default(),
        })
    }

    /// How many threads of this process wait for each other. Those who wait for other processes are not counted.
    pub fn waiting(&self) -> usize {
        self.core.waiting()
    }

    fn lock(&self, path: &Path, kind: Side, asked: Side, limit: &Limit) -> Result<FileLock> {
        let file = open(path)?;
        let lock = || match kind {
            Side::Read => file.lock_shared(),
            Side::Write => file.lock(),
        };
        let locked = match limit.hour {
            Some(hour) => self.poll(&file, kind, hour),
            None => without_interrupts(lock).map(|()| true),
        };
        match locked {
            Ok(true) => Ok(FileLock::of(file)),
            Ok(false) => {
                let after = limit.after;
                Err(Error::TimedOut { asked, after })
            }
            Err(error) => Err(Error::io("lock", path, error)),
        }
    }

    /// Asks again and again until that hour.
    fn poll(&self, file: &File, kind: Side, hour: Duration) -> io::Result<bool> {
        let (clock, bell) = (self.core.clock(), Arc::new(Bell::default()));
        let mut delay = SHORTEST;
        while !try_lock(file, kind == Side::Read)? {
            let now = clock.monotonic();
            if now >= hour {
                return Ok(false);
            }
            bell.wait(clock, Some(now.saturating_add(delay).min(hour)));
            delay = delay.saturating_mul(2).min(LONGEST);
        }
        Ok(true)
    }

    fn share(&self, limit: &Limit) -> Result<FileLock> {
        let turnstile = self.lock(&self.turnstile, Side::Write, Side::Read, limit)?;
        // Where all go by the turnstile nobody has it to himself now.
        let main = self.lock(&self.main, Side::Read, Side::Read, limit);
        drop(turnstile);
        main
    }

    fn try_share(&self) -> Result<Option<FileLock>> {
        let at = |path: &Path, error| Error::io("lock", path, error);
        let turnstile = open(&self.turnstile)?;
        for look in 1.. {
            if try_lock(&turnstile, false).map_err(|error| at(&self.turnstile, error))? {
                break;
            }
            if look >= LOOKS {
                return Ok(None);
            }
            thread::sleep(SHORTEST);
        }
        let turnstile = FileLock::of(turnstile);
        let main = open(&self.main)?;
        let locked = try_lock(&main, true).map_err(|error| at(&self.main, error))?;
        drop(turnstile);
        Ok(locked.then_some(FileLock::of(main)))
    }
}

fn open(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false);
    (options.open(path)).map_err(|error| Error::io("open", path, error))
}

fn without_interrupts(lock: impl Fn() -> io::Result<()>) -> io::Result<()> {
    loop {
        match lock() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            locked => return locked,
        }
    }
}

impl ReadWriteLock for FileReaders {
    fn read_by(&self, limit: Option<Duration>) -> Result<ReadGuard<'_>> {
        let limit = self.core.limit(limit);
        let entered = self.core.enter(Side::Read, &limit)?;
        let mut guard = ReadGuard::new(&self.core, &entered);
        guard.shares = Some(&self.shares);
        if !entered.again {
            self.shares.keep(entered.thread, self.share(&limit)?);
        }
        Ok(guard)
    }

    fn write_by(&self, limit: Option<Duration>) -> Result<WriteGuard<'_>> {
        let limit = self.core.limit(limit);
        let entered = self.core.enter(Side::Write, &limit)?;
        let mut guard = WriteGuard::new(&self.core, &entered);
        let turnstile = self.lock(&self.turnstile, Side::Write, Side::Write, &limit)?;
        guard.alone = Some(Alone {
            _main: self.lock(&self.main, Side::Write, Side::Write, &limit)?,
            _turnstile: turnstile,
        });
        Ok(guard)
    }

    fn try_read(&self) -> Result<Option<ReadGuard<'_>>> {
        let Some(entered) = self.core.try_enter(Side::Read)? else {
            return Ok(None);
        };
        let mut guard = ReadGuard::new(&self.core, &entered);
        guard.shares = Some(&self.shares);
        if !entered.again {
            let Some(locked) = self.try_share()? else {
                return Ok(None);
            };
            self.shares.keep(entered.thread, locked);
        }
        Ok(Some(guard))
    }
}

//! Readers that never see what is half changed, and the writer that waits until nobody reads.
//!
//! What cannot be read while it is being changed, such as a data file that is replaced in place, is read under a
//! [`ReadGuard`] and changed under a [`WriteGuard`]. A writer waits for those who read, and holds off those who
//! come later, so readers that follow each other without a gap do not keep it out; waiting readers enter
//! before the next writer. Prepare what takes long before asking to write.
//!
//! | lock | who excludes whom |
//! |---|---|
//! | [`Readers`] | threads that share it |
//! | [`FileReaders`] | these, and all processes that open it under the same path |
//!
//! Both are a [`ReadWriteLock`]. They block the thread, and need no runtime.
//!
//! # A thread that holds a guard and asks for another one
//!
//! One that reads and asks to read gets in at once, also past a writer that waits: the writer waits for this
//! thread anyway, so each would wait for the other for ever if it did not. One that would wait for itself (reads and
//! asks to write, or writes and asks for anything) is told so with [`Error::Nested`]. Guards stay in their thread, so
//! this is always seen.
//!
//! # Panics and deaths
//!
//! A guard that is dropped while its thread panics lets go like any other. What a writer left half done then is
//! there to be read: nothing is poisoned, and writers that may panic bring what they change into order themselves,
//! or change it in one step at the end. Where a process dies, the system frees what it held.
//!
//! # Examples
//!
//! ```
//! use documentbuffer::dogpile::readers::{ReadWriteLock, Readers};
//! use std::{sync::Mutex, thread};
//!
//! let (lock, pair) = (Readers::new(), [Mutex::new(0), Mutex::new(0)]);
//! thread::scope(|scope| {
//!     scope.spawn(|| {
//!         let _alone = lock.write().expect("this thread holds no guard");
//!         pair.iter().for_each(|half| *half.lock().expect("no panic") += 1);
//!     });
//!     scope.spawn(|| {
//!         let _beside = lock.read().expect("this thread does not write");
//!         let [one, other] = [0, 1].map(|n| *pair[n].lock().expect("no panic"));
//!         assert_eq!(one, other);
//!     });
//! });
//! ```

mod core;
mod error;
mod file;
mod queue;

pub use error::{Error, Result, Side};
pub use file::FileReaders;

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, MutexGuard};
use std::thread::ThreadId;
use std::time::Duration;

use self::core::{Core, Entered};
use self::file::{Alone, Shares};
use crate::clock::{Clock, SystemClock};

/// Many readers or one writer; a writer that waits holds off new readers.
pub trait ReadWriteLock: Send + Sync {
    /// The right to read, within that time; without one it is waited for as long as it takes.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`]; [`Error::Nested`] where this thread writes; [`Error::Io`].
    fn read_by(&self, limit: Option<Duration>) -> Result<ReadGuard<'_>>;

    /// The right to write, likewise.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`], and those who waited behind it go on; [`Error::Nested`] where this thread reads or
    /// writes; [`Error::Io`].
    fn write_by(&self, limit: Option<Duration>) -> Result<WriteGuard<'_>>;

    /// The right to read; none where one would have to wait.
    ///
    /// # Errors
    ///
    /// [`Error::Nested`] where this thread writes; [`Error::Io`].
    fn try_read(&self) -> Result<Option<ReadGuard<'_>>>;

    /// The right to read, however long it takes.
    ///
    /// # Errors
    ///
    /// As [`read_by`](ReadWriteLock::read_by).
    fn read(&self) -> Result<ReadGuard<'_>> {
        self.read_by(None)
    }

    /// The right to read, within that time.
    ///
    /// # Errors
    ///
    /// As [`read_by`](ReadWriteLock::read_by).
    fn read_within(&self, limit: Duration) -> Result<ReadGuard<'_>> {
        self.read_by(Some(limit))
    }

    /// The right to write, however long it takes.
    ///
    /// # Errors
    ///
    /// As [`write_by`](ReadWriteLock::write_by).
    fn write(&self) -> Result<WriteGuard<'_>> {
        self.write_by(None)
    }

    /// The right to write, within that time.
    ///
    /// # Errors
    ///
    /// As [`write_by`](ReadWriteLock::write_by).
    fn write_within(&self, limit: Duration) -> Result<WriteGuard<'_>> {
        self.write_by(Some(limit))
    }
}

impl<L: ReadWriteLock + ?Sized> ReadWriteLock for Arc<L> {
    fn read_by(&self, limit: Option<Duration>) -> Result<ReadGuard<'_>> {
        L::read_by(self, limit)
    }

    fn write_by(&self, limit: Option<Duration>) -> Result<WriteGuard<'_>> {
        L::write_by(self, limit)
    }

    fn try_read(&self) -> Result<Option<ReadGuard<'_>>> {
        L::try_read(self)
    }
}

/// Others may hold this too, and nobody writes until the last one is dropped.
#[must_use = "it reads until it is dropped"]
pub struct ReadGuard<'a> {
    shares: Option<&'a Shares>,
    core: &'a Core,
    thread: ThreadId,
    /// Not to be sent away, so that it is known what a thread holds.
    stays: PhantomData<MutexGuard<'static, ()>>,
}

/// Nobody else reads or writes until it is dropped.
#[must_use = "it writes until it is dropped"]
pub struct WriteGuard<'a> {
    alone: Option<Alone>,
    core: &'a Core,
    thread: ThreadId,
    stays: PhantomData<MutexGuard<'static, ()>>,
}

impl<'a> ReadGuard<'a> {
    fn new(core: &'a Core, entered: &Entered) -> ReadGuard<'a> {
        ReadGuard {
            shares: None,
            core,
            thread: entered.thread,
            stays: PhantomData,
        }
    }
}

impl<'a> WriteGuard<'a> {
    fn new(core: &'a Core, entered: &Entered) -> WriteGuard<'a> {
        WriteGuard {
            alone: None,
            core,
            thread: entered.thread,
            stays: PhantomData,
        }
    }
}

impl Drop for ReadGuard<'_> {
    fn drop(&mut self) {
        // First the file's lock, so that who comes next in this process finds it free.
        if let Some(shares) = self.shares
            && self.core.depth(self.thread) <= 1
        {
            shares.end(self.thread);
        }
        self.core.leave(self.thread, Side::Read);
    }
}

impl Drop for WriteGuard<'_> {
    fn drop(&mut self) {
        self.alone = None;
        self.core.leave(self.thread, Side::Write);
    }
}

impl fmt::Debug for ReadGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadGuard").finish_non_exhaustive()
    }
}

impl fmt::Debug for WriteGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteGuard").finish_non_exhaustive()
    }
}

/// The lock of the threads of a process.
///
/// Whoever has to wait stands in line in the order in which they came; the readers between two writers enter
/// together.
///
/// # Examples
///
/// ```
/// use documentbuffer::dogpile::readers::{Error, ReadWriteLock, Readers};
///
/// let lock = Readers::new();
/// let outer = lock.read()?;
/// let inner = lock.try_read()?.expect("this thread reads already");
/// assert!(matches!(lock.write(), Err(Error::Nested { .. })));
/// drop((outer, inner));
/// drop(lock.write()?);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct Readers {
    core: Core,
}

impl Default for Readers {
    fn default() -> Readers {
        Readers::new()
    }
}

impl Readers {
    /// One that nobody holds, on the system's clock.
    pub fn new() -> Readers {
        Readers::with_clock(Arc::new(SystemClock::new()))
    }

    /// One on that clock, by which times are over.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Readers {
        Readers {
            core: Core::new(clock),
        }
    }

    /// How many threads wait to enter.
    pub fn waiting(&self) -> usize {
        self.core.waiting()
    }
}

impl ReadWriteLock for Readers {
    fn read_by(&self, limit: Option<Duration>) -> Result<ReadGuard<'_>> {
        let entered = self.core.enter(Side::Read, &self.core.limit(limit))?;
        Ok(ReadGuard::new(&self.core, &entered))
    }

    fn write_by(&self, limit: Option<Duration>) -> Result<WriteGuard<'_>> {
        let entered = self.core.enter(Side::Write, &self.core.limit(limit))?;
        Ok(WriteGuard::new(&self.core, &entered))
    }

    fn try_read(&self) -> Result<Option<ReadGuard<'_>>> {
        let entered = self.core.try_enter(Side::Read)?;
        Ok(entered.map(|entered| ReadGuard::new(&self.core, &entered)))
    }
}

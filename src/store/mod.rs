//! What a buffer stands on: [`Store`], and the stores that come with the crate.
//!
//! A buffer needs no more than `Read + Write + Seek`. A medium that can also sync, be cut and be
//! locked says so by [`Store`], and then the buffer can promise more.
//!
//! | store | what it is | survives |
//! |---|---|---|
//! | [`FileStore`] | a file by its path, locked, with its directory synced | power loss |
//! | [`File`] | a file that the caller opened | power loss, if the caller syncs its directory |
//! | [`ReadWriteSeekString`] | a growable string that behaves like a file | nothing |
//! | [`Cursor<Vec<u8>>`](Cursor) | the same from the standard library | nothing |
//! | `&mut T`, `Box<T>`, `Box<dyn Store>` | whatever `T` is | whatever `T` does |
//!
//! Authors of stores: enable the feature `testing` and run `conformance::check` on yours.

mod directory;
mod file;
mod string;

#[cfg(feature = "testing")]
pub mod conformance;
#[cfg(feature = "testing")]
pub mod fault;
#[cfg(feature = "mmap")]
pub mod mmap;

pub use directory::{Directory, FileDirectory, Held, Readable};
pub use file::FileStore;
pub use string::ReadWriteSeekString;

use std::fs::{File, TryLockError};
use std::io::{self, Cursor, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// What a medium can do beyond `Read + Write + Seek`.
///
/// Offsets are bytes from the start of the medium. A store may return short counts and
/// [`ErrorKind::Interrupted`](io::ErrorKind::Interrupted) at any call; a full one answers a write
/// with [`ErrorKind::StorageFull`](io::ErrorKind::StorageFull), never with `Ok(0)`. Writes land at
/// the position, so a file opened with `append(true)` is no store.
///
/// Bytes that were not written must not change, neither by a neighbouring write nor by power loss
/// in the midst of one.
///
/// # Examples
///
/// A store that wraps another one forwards every method, the defaulted ones too:
///
/// ```
/// use documentbuffer::store::Store;
/// use std::io::{self, Read, Seek, SeekFrom, Write};
/// use std::path::{Path, PathBuf};
///
/// struct Counted<S> {
///     inner: S,
///     syncs: u64,
/// }
///
/// impl<S: Read> Read for Counted<S> {
///     fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
///         self.inner.read(buf)
///     }
/// }
/// impl<S: Write> Write for Counted<S> {
///     fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
///         self.inner.write(buf)
///     }
///     fn flush(&mut self) -> io::Result<()> {
///         self.inner.flush()
///     }
/// }
/// impl<S: Seek> Seek for Counted<S> {
///     fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
///         self.inner.seek(to)
///     }
/// }
/// impl<S: Store> Store for Counted<S> {
///     fn sync(&mut self) -> io::Result<()> {
///         self.syncs += 1;
///         self.inner.sync()
///     }
///     fn set_len(&mut self, len: u64) -> io::Result<()> {
///         self.inner.set_len(len)
///     }
///     fn lock(&mut self) -> io::Result<()> {
///         self.inner.lock()
///     }
///     fn preserve(&mut self, from: u64) -> io::Result<Option<PathBuf>> {
///         self.inner.preserve(from)
///     }
///     fn name(&self) -> Option<&Path> {
///         self.inner.name()
///     }
/// }
///
/// let mut store = Counted { inner: io::Cursor::new(Vec::new()), syncs: 0 };
/// store.write_all(b"kept")?;
/// store.sync()?;
/// assert_eq!((store.syncs, store.inner.into_inner()), (1, b"kept".to_vec()));
/// # Ok::<(), io::Error>(())
/// ```
pub trait Store: Read + Write + Seek {
    /// Makes everything written so far survive power loss.
    ///
    /// Blocks until the medium says so. The position does not move. A store in memory, which
    /// nothing survives, answers `Ok`.
    ///
    /// # Errors
    ///
    /// After an error nothing may be believed about what was written since the last good sync. The
    /// buffer never retries it.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts or extends (with zeros) to exactly `len` bytes.
    ///
    /// The position does not move, even when it is left behind the end. Durable after the next
    /// [`sync`](Store::sync).
    ///
    /// # Errors
    ///
    /// Media of a fixed size answer [`ErrorKind::Unsupported`](io::ErrorKind::Unsupported) and
    /// change nothing. A medium without room for the extension answers
    /// [`ErrorKind::StorageFull`](io::ErrorKind::StorageFull).
    fn set_len(&mut self, len: u64) -> io::Result<()>;

    /// Takes the exclusive right to write, without waiting; held until the store is dropped.
    ///
    /// Default: nothing to lock, `Ok`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::WouldBlock`](io::ErrorKind::WouldBlock) where another holds it.
    fn lock(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Keeps a copy of all bytes from `from` to the end before they are overwritten.
    ///
    /// Called once, before the first write behind a suspect end. The copy is durable on return.
    /// The position afterwards is undefined. Default: `Ok(None)`, no place to keep it.
    ///
    /// # Errors
    ///
    /// The copy could not be made or synced; the store itself is unchanged.
    fn preserve(&mut self, from: u64) -> io::Result<Option<PathBuf>> {
        let _ = from;
        Ok(None)
    }

    /// Name for messages (the path of a file).
    fn name(&self) -> Option<&Path> {
        None
    }
}

/// Syncs with [`File::sync_data`], locks with [`File::try_lock`]. The directory entry of a new
/// file is the caller's to sync; [`FileStore`] does it.
impl Store for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }

    fn lock(&mut self) -> io::Result<()> {
        try_lock(self)
    }
}

/// In memory: nothing to sync, nothing survives the process.
impl Store for Cursor<Vec<u8>> {
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        resize(self.get_mut(), len)
    }
}

#[deny(clippy::missing_trait_methods)]
impl<T: Store + ?Sized> Store for &mut T {
    fn sync(&mut self) -> io::Result<()> {
        (**self).sync()
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        (**self).set_len(len)
    }

    fn lock(&mut self) -> io::Result<()> {
        (**self).lock()
    }

    fn preserve(&mut self, from: u64) -> io::Result<Option<PathBuf>> {
        (**self).preserve(from)
    }

    fn name(&self) -> Option<&Path> {
        (**self).name()
    }
}

#[deny(clippy::missing_trait_methods)]
impl<T: Store + ?Sized> Store for Box<T> {
    fn sync(&mut self) -> io::Result<()> {
        (**self).sync()
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        (**self).set_len(len)
    }

    fn lock(&mut self) -> io::Result<()> {
        (**self).lock()
    }

    fn preserve(&mut self, from: u64) -> io::Result<Option<PathBuf>> {
        (**self).preserve(from)
    }

    fn name(&self) -> Option<&Path> {
        (**self).name()
    }
}

/// Exclusive, without waiting.
fn try_lock(file: &File) -> io::Result<()> {
    file.try_lock().map_err(lock_error)
}

/// How often a lock is asked for, a millisecond apart.
const PATIENCE: u32 = 20;

/// Exclusive, within milliseconds. Who only asks whether a file is locked holds a lock for a moment, and so
/// does a child process between its fork and what it runs.
fn lock_patiently(file: &File) -> io::Result<()> {
    for _ in 0..PATIENCE {
        match try_lock(file) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            done => return done,
        }
    }
    try_lock(file)
}

/// `WouldBlock` for "another holds it"; the rest as the system said it.
fn lock_error(error: TryLockError) -> io::Error {
    match error {
        TryLockError::WouldBlock => io::Error::new(
            io::ErrorKind::WouldBlock,
            "another process or handle holds the lock",
        ),
        TryLockError::Error(error) => error,
    }
}

/// `FILE_SHARE_READ`: others may read, nobody else may write.
#[cfg(windows)]
const SHARE_READ: u32 = 1;

/// `WouldBlock` for `ERROR_SHARING_VIOLATION`; the rest as the system said it.
#[cfg(windows)]
fn sharing_error(error: io::Error) -> io::Error {
    if error.raw_os_error() == Some(32) {
        return lock_error(TryLockError::WouldBlock);
    }
    error
}

/// Room for `len` bytes in all, or an error where a plain `Vec` would abort.
fn reserve(bytes: &mut Vec<u8>, len: u64) -> io::Result<usize> {
    let full = || {
        io::Error::new(
            io::ErrorKind::StorageFull,
            format!("memory cannot hold {len} bytes"),
        )
    };
    let len = usize::try_from(len).map_err(|_| full())?;
    bytes
        .try_reserve(len.saturating_sub(bytes.len()))
        .map_err(|_| full())?;
    Ok(len)
}

/// Cuts or extends with zeros; never aborts.
fn resize(bytes: &mut Vec<u8>, len: u64) -> io::Result<()> {
    let len = reserve(bytes, len)?;
    bytes.resize(len, 0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts which methods arrive, by bit.
    #[derive(Default)]
    struct Spy {
        seen: u32,
        bytes: Cursor<Vec<u8>>,
    }

    impl Read for Spy {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.bytes.read(buf)
        }
    }
    impl Write for Spy {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            self.bytes.write(buf)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    impl Seek for Spy {
        fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
            self.bytes.seek(to)
        }
    }
    impl Store for Spy {
        fn sync(&mut self) -> io::Result<()> {
            self.seen |= 1;
            Ok(())
        }
        fn set_len(&mut self, _: u64) -> io::Result<()> {
            self.seen |= 2;
            Ok(())
        }
        fn lock(&mut self) -> io::Result<()> {
            self.seen |= 4;
            Ok(())
        }
        fn preserve(&mut self, _: u64) -> io::Result<Option<PathBuf>> {
            self.seen |= 8;
            Ok(Some(PathBuf::from("kept")))
        }
        fn name(&self) -> Option<&Path> {
            Some(Path::new("spy"))
        }
    }

    fn all<S: Store>(mut store: S) {
        store.sync().unwrap();
        store.set_len(1).unwrap();
        store.lock().unwrap();
        assert_eq!(store.preserve(3).unwrap(), Some(PathBuf::from("kept")));
        assert_eq!(store.name(), Some(Path::new("spy")));
    }

    #[test]
    fn references_and_boxes_forward_every_method() {
        let mut spy = Spy::default();
        all(&mut spy);
        assert_eq!(spy.seen, 15);

        let mut boxed = Box::new(Spy::default());
        all::<&mut Box<Spy>>(&mut boxed);
        assert_eq!(boxed.seen, 15);

        let mut spy = Spy::default();
        let object: Box<dyn Store + '_> = Box::new(&mut spy);
        all(object);
        assert_eq!(spy.seen, 15);
    }

    #[test]
    fn a_second_lock_of_a_file_would_block() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let mut one = File::create(&path).unwrap();
        let mut two = File::create(&path).unwrap();
        Store::lock(&mut one).unwrap();
        let error = Store::lock(&mut two).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(one);
        Store::lock(&mut two).unwrap();
    }

    #[test]
    fn a_cursor_is_cut_and_extended_and_refuses_what_memory_cannot_hold() {
        let mut cursor = Cursor::new(b"abc".to_vec());
        cursor.set_position(2);
        cursor.set_len(1).unwrap();
        cursor.set_len(3).unwrap();
        assert_eq!(
            (cursor.get_ref().as_slice(), cursor.position()),
            (&b"a\0\0"[..], 2)
        );
        let error = cursor.set_len(u64::MAX).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(cursor.get_ref().len(), 3);
        cursor.sync().unwrap();
        assert_eq!(cursor.preserve(0).unwrap(), None);
        assert_eq!(cursor.name(), None);
    }
}

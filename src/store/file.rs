//! A file by its path: locked, its directory synced, small syncs made cheap.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::Store;
#[cfg(not(windows))]
use super::lock_patiently;

/// A sync after less growth than this is a small one.
const SMALL: u64 = 64 << 10;
/// From this small sync in a row on, zeros are written ahead.
const REPEATED: u32 = 4;
/// Zeros written ahead the first time, and at most; doubled each time in between.
const FIRST_STEP: u64 = 256 << 10;
const LAST_STEP: u64 = 4 << 20;
/// How often the path is looked up again when it names another file by the time of the lock.
const ATTEMPTS: u32 = 16;

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// A file by its path, with the exclusive right to write.
///
/// The lock is the standard library's ([`File::try_lock`]) and is released when the store is
/// dropped or the process dies. On Windows, where that lock would keep readers out, other writers
/// are kept out by the share mode instead.
///
/// [`sync`](Store::sync) is [`File::sync_data`]. When small syncs repeat (the fourth in a row with
/// less than 64 KiB of growth each), zeros are written ahead of the end, 256 KiB at first, doubling
/// up to 4 MiB. The next syncs then find a file that does not grow, and the file system has no
/// metadata to write with them. So **the file may end in up to 4 MiB of zeros**, which readers see
/// too; [`set_len`](Store::set_len) cuts them off. Under bulk append none are written, and no error
/// comes from them: where they do not fit, the store goes on without.
///
/// # Examples
///
/// ```
/// use documentbuffer::store::{FileStore, Store};
/// use std::io::{ErrorKind, Write};
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("log");
/// let mut store = FileStore::open(&path)?;
/// store.write_all(b"kept")?;
/// store.sync()?;
/// assert_eq!(FileStore::open(&path).unwrap_err().kind(), ErrorKind::WouldBlock);
/// drop(store);
/// FileStore::open(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct FileStore {
    file: File,
    path: PathBuf,
    /// Where the next read or write happens.
    position: u64,
    /// Length of the file, zeros written ahead included.
    len: u64,
    /// Exclusive end of the furthest write of this handle.
    written: u64,
    /// `written` at the last sync.
    synced: u64,
    /// Something was written since the last sync.
    dirty: bool,
    /// Small syncs in a row.
    repeated: u32,
    /// Zeros to write ahead next time; 0 once that failed, or where it makes no sense.
    step: u64,
}

impl FileStore {
    /// Opens the file at `path` for reading and writing, and creates it if it is not there.
    ///
    /// Nothing in it changes. On return the lock is held, and the directory entry of a new file is
    /// durable (on Windows that is left to the system). Waits 20 ms for the lock at the most.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock): another process or handle holds the lock.
    /// Otherwise what the system said, such as [`NotFound`](io::ErrorKind::NotFound) where the
    /// directory is missing, or [`IsADirectory`](io::ErrorKind::IsADirectory).
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::open_with(path.as_ref(), true)
    }

    /// Opens the file at `path` for reading and writing, which must be there already.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and [`NotFound`](io::ErrorKind::NotFound) where there is no file.
    pub fn open_existing(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::open_with(path.as_ref(), false)
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file itself. Whoever moves its position must seek through the store before using that.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The file at `path`, which must be there, without a lock of its own: that of its directory is held.
    pub(super) fn open_under_lock(path: PathBuf) -> io::Result<Self> {
        let file = read_write(false).open(&path)?;
        let metadata = file.metadata()?;
        Ok(Self::of(file, path, &metadata))
    }

    fn open_with(path: &Path, create: bool) -> io::Result<Self> {
        let file = open_locked(path, create)?;
        let metadata = file.metadata()?;
        // A directory entry can still be unsynced only while the file is empty: an open that died
        // in between wrote nothing.
        if create && metadata.is_file() && metadata.len() == 0 {
            sync_directory(path)?;
        }
        Ok(Self::of(file, path.to_path_buf(), &metadata))
    }

    fn of(file: File, path: PathBuf, metadata: &fs::Metadata) -> Self {
        Self {
            file,
            path,
            position: 0,
            len: metadata.len(),
            written: 0,
            synced: 0,
            dirty: false,
            repeated: 0,
            step: if metadata.is_file() { FIRST_STEP } else { 0 },
        }
    }

    /// Counts small syncs in a row, and once they repeat keeps zeros ahead of the end.
    fn write_ahead(&mut self) -> io::Result<()> {
        let growth = self.written.saturating_sub(self.synced);
        self.repeated = if growth < SMALL {
            self.repeated.saturating_add(1)
        } else {
            0
        };
        let ahead = self.len.saturating_sub(self.written);
        if self.repeated < REPEATED || ahead > 0 || self.step == 0 {
            return Ok(());
        }
        if self.write_zeros().is_err() {
            // No room for luxury. What was written of the zeros is given back if that works, and
            // is harmless if not.
            self.step = 0;
            let _ = self.file.set_len(self.len);
        }
        self.file.seek(SeekFrom::Start(self.position)).map(drop)
    }

    fn write_zeros(&mut self) -> io::Result<()> {
        // Asked for, not remembered: whatever lies there, zeros must not go over it.
        self.len = self.file.seek(SeekFrom::End(0))?;
        let mut left = self.step;
        while left > 0 {
            let count = left.min(ZEROS.len() as u64) as usize;
            self.file.write_all(&ZEROS[..count])?;
            left -= count as u64;
        }
        self.len = self.len.saturating_add(self.step);
        self.step = (self.step * 2).min(LAST_STEP);
        Ok(())
    }

    /// A new file beside this one, named after it and `from`, with the same permissions.
    fn create_beside(&self, from: u64) -> io::Result<(File, PathBuf)> {
        let name = self.path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let mut base = name.to_os_string();
        base.push(format!(".behind-{from}"));
        let mut next = base.clone();
        for number in 1u32.. {
            let path = self.path.with_file_name(&next);
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => return Ok((file, path)),
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                Err(_) => next.clone_from(&base),
            }
            next.push(format!(".{number}"));
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    fn copy_from(&mut self, from: u64, copy: &mut File) -> io::Result<()> {
        copy.set_permissions(self.file.metadata()?.permissions())?;
        self.file.seek(SeekFrom::Start(from))?;
        io::copy(&mut self.file, copy)?;
        copy.sync_all()
    }
}

impl Read for FileStore {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buf)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Write for FileStore {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let count = self.file.write(buf)?;
        if count > 0 {
            self.position += count as u64;
            self.written = self.written.max(self.position);
            self.len = self.len.max(self.position);
            self.dirty = true;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for FileStore {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = self.file.seek(to)?;
        Ok(self.position)
    }
}

#[deny(clippy::missing_trait_methods)]
impl Store for FileStore {
    fn sync(&mut self) -> io::Result<()> {
        if self.dirty {
            self.write_ahead()?;
        }
        self.file.sync_data()?;
        self.synced = self.written;
        self.dirty = false;
        Ok(())
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        if !self.file.metadata()?.is_file() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.file.set_len(len)?;
        self.len = len;
        self.written = self.written.min(len);
        self.synced = self.synced.min(len);
        self.repeated = 0;
        Ok(())
    }

    /// Held since it was opened.
    fn lock(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// A file beside this one, named `<file name>.behind-<from>` (`.1`, `.2` and so on behind that
    /// where it exists), with the same permissions, synced with its directory. `None` where
    /// nothing lies behind `from`.
    fn preserve(&mut self, from: u64) -> io::Result<Option<PathBuf>> {
        if self.file.seek(SeekFrom::End(0))? <= from {
            return Ok(None);
        }
        let (mut copy, path) = self.create_beside(from)?;
        let copied = self.copy_from(from, &mut copy);
        let copied = copied.and_then(|()| sync_directory(&path));
        if let Err(error) = copied {
            // Half a copy would look like a whole one.
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        self.position = self.file.stream_position()?;
        Ok(Some(path))
    }

    fn name(&self) -> Option<&Path> {
        Some(&self.path)
    }
}

/// The file that the path names once the lock is held.
fn open_locked(path: &Path, create: bool) -> io::Result<File> {
    for _ in 0..ATTEMPTS {
        let file = open_exclusive(path, create)?;
        if is_at(&file, path)? {
            return Ok(file);
        }
    }
    Err(io::Error::new(
        io::ErrorKind::WouldBlock,
        "the file is being replaced again and again",
    ))
}

#[cfg(not(windows))]
fn open_exclusive(path: &Path, create: bool) -> io::Result<File> {
    let file = read_write(create).open(path)?;
    lock_patiently(&file)?;
    Ok(file)
}

/// Readers get in, writers do not.
#[cfg(windows)]
fn open_exclusive(path: &Path, create: bool) -> io::Result<File> {
    use std::os::windows::fs::OpenOptionsExt;
    let file = read_write(create).share_mode(super::SHARE_READ).open(path);
    file.map_err(super::sharing_error)
}

fn read_write(create: bool) -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(create)
        .truncate(false);
    options
}

/// Whether the path still names this file. Whoever held the lock before may have renamed another
/// file over it, and what is written to the old one is lost.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let ours = file.metadata()?;
    match fs::metadata(path) {
        Ok(named) => Ok((ours.dev(), ours.ino()) == (named.dev(), named.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// An open file cannot be replaced where its share mode forbids it.
#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> io::Result<bool> {
    Ok(true)
}

/// Makes the directory entry of a new file durable.
#[cfg(unix)]
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(parent)?.sync_all()
}

#[cfg(not(unix))]
pub(super) fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

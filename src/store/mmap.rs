//! A file as one slice of memory, for reading without copies.
#![allow(unsafe_code)]

use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;

use memmap2::Mmap;

/// A file mapped into memory, read-only, with a shared lock on it.
///
/// While it lives no [`FileStore`](super::FileStore) can be opened on that file, nor any other
/// writer that takes the lock of the standard library. Several readers may map the same file.
///
/// **Writers that take no lock are a danger**, a bare buffer over a [`File`] among them: what they
/// change shows up in a slice that should never change, which is undefined behaviour. If another process cuts the file while it is mapped,
/// touching the lost part ends this process with `SIGBUS` (an access violation on Windows), and no
/// error can be returned instead. So can a failing disk. Map only files that no program outside
/// your control rewrites; a plain read has no such risk.
///
/// # Examples
///
/// ```
/// use documentbuffer::store::mmap::MappedFile;
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("log");
/// std::fs::write(&path, b"kept")?;
/// assert_eq!(MappedFile::open(&path)?.as_bytes(), b"kept");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct MappedFile {
    map: Mmap,
    /// Holds the lock; dropped after the map, in the order of the fields.
    _file: File,
}

impl MappedFile {
    /// Maps the file at `path` as long as it is now; what is appended later is not seen.
    ///
    /// Does not wait for the lock.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock): a writer holds the lock. Otherwise what the
    /// system said.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let file = open_shared(path.as_ref())?;
        // SAFETY: `Mmap::map` asks that the file is not changed while it is mapped, by this process
        // or another. `FileStore` writes only with the exclusive lock, as does a buffer opened on a
        // `File` through `Store` (on Windows: the share mode), and the shared lock taken above,
        // which `_file` keeps until the map is gone, excludes that. The map is private to this
        // struct, never mutable, and lent only for the life of `&self`. What the lock cannot
        // exclude, a writer that takes none, is the caller's part, in the type's documentation.
        let map = unsafe { Mmap::map(&file)? };
        Ok(Self { map, _file: file })
    }

    /// The whole file.
    pub fn as_bytes(&self) -> &[u8] {
        &self.map
    }
}

impl AsRef<[u8]> for MappedFile {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

/// Without the contents, which may be large or private.
impl fmt::Debug for MappedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MappedFile")
            .field("len", &self.map.len())
            .finish()
    }
}

#[cfg(not(windows))]
fn open_shared(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    file.try_lock_shared().map_err(super::lock_error)?;
    Ok(file)
}

/// Forbids writers by the share mode, and so fails where there is one.
#[cfg(windows)]
fn open_shared(path: &Path) -> io::Result<File> {
    use std::os::windows::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    let file = options.read(true).share_mode(super::SHARE_READ).open(path);
    file.map_err(super::sharing_error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::FileStore;

    #[test]
    fn readers_share_and_writers_wait_outside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, b"kept").unwrap();
        let one = MappedFile::open(&path).unwrap();
        let two = MappedFile::open(&path).unwrap();
        assert_eq!((one.as_bytes(), two.as_ref()), (&b"kept"[..], &b"kept"[..]));
        let error = FileStore::open(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop((one, two));

        let writer = FileStore::open(&path).unwrap();
        let error = MappedFile::open(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(writer);
        MappedFile::open(&path).unwrap();
    }

    #[test]
    fn an_empty_file_is_an_empty_slice_and_a_missing_one_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let error = MappedFile::open(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        std::fs::write(&path, b"").unwrap();
        let map = MappedFile::open(&path).unwrap();
        assert_eq!(map.as_bytes(), b"");
        assert_eq!(format!("{map:?}"), "MappedFile { len: 0 }");
    }
}

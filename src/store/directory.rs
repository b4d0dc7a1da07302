//! Where a journal's files live: [`Directory`], and the file system's.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use super::{FileStore, Store};

/// A file opened for reading beside whoever writes it.
pub trait Readable: Read + Seek + Send {}

impl<T: Read + Seek + Send> Readable for T {}

/// What holds a directory's lock until it is dropped.
pub trait Held: Send + Sync {}

impl<T: Send + Sync> Held for T {}

/// A flat set of named stores: what a journal needs of a file system.
///
/// Names are ASCII letters, digits, `-`, `.` and `_`. What [`create`](Directory::create),
/// [`rename`](Directory::rename) and [`remove`](Directory::remove) did may be undone by power loss, each on
/// its own, until [`sync`](Directory::sync) has returned; what a store's own bytes promise is the store's
/// matter ([`Store::sync`]).
///
/// # Examples
///
/// ```
/// use documentbuffer::store::{Directory, FileDirectory};
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("journal");
///
/// let files = FileDirectory::open(&path)?;
/// files.create("a")?;
/// files.rename("a", "b")?;
/// files.sync()?;
/// assert_eq!(files.list()?, ["b"]);
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait Directory: Send + Sync {
    /// Names of all stores, in any order.
    ///
    /// # Errors
    ///
    /// What the medium said.
    fn list(&self) -> io::Result<Vec<String>>;

    /// An empty store of that name, for reading and writing; one that is there already is emptied.
    ///
    /// # Errors
    ///
    /// [`StorageFull`](io::ErrorKind::StorageFull) where there is no room, or what the medium said.
    fn create(&self, name: &str) -> io::Result<Box<dyn Store + Send>>;

    /// The store of that name, for reading and writing. Only who holds the [`lock`](Directory::lock) opens
    /// stores for writing, and none of them twice at once.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound), or what the medium said.
    fn open(&self, name: &str) -> io::Result<Box<dyn Store + Send>>;

    /// The store of that name, for reading; takes no lock.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound), or what the medium said.
    fn read(&self, name: &str) -> io::Result<Box<dyn Readable>>;

    /// Gives a store another name, atomically; a store that has that name already is replaced. Nobody has
    /// either of them open for writing.
    ///
    /// # Errors
    ///
    /// What the medium said; it is then not known which name the store has.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a store; whoever reads it reads on.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound), or what the medium said.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes every creation, renaming and removal so far survive power loss.
    ///
    /// # Errors
    ///
    /// After an error nothing may be believed about what was done since the last good sync.
    fn sync(&self) -> io::Result<()>;

    /// The exclusive right to write here, until what is returned is dropped; waits some milliseconds at the
    /// most.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) where another holds it.
    fn lock(&self) -> io::Result<Box<dyn Held>>;

    /// Name for messages (the path of a directory).
    fn path(&self) -> Option<&Path> {
        None
    }
}

/// Name of the file that is locked; it stays empty.
const LOCK: &str = "lock";

/// A directory of the file system.
///
/// Its lock is the standard library's, on a file named `lock` in it, and is released when the process dies.
#[derive(Debug)]
pub struct FileDirectory {
    path: PathBuf,
}

impl FileDirectory {
    /// The directory at `path`, which is created, durably, if it is not there; its parent must be.
    ///
    /// # Errors
    ///
    /// [`NotADirectory`](io::ErrorKind::NotADirectory) where something else has that name, or what the
    /// system said.
    pub fn open(path: impl AsRef<Path>) -> io::Result<FileDirectory> {
        let path = path.as_ref();
        match fs::create_dir(path) {
            Ok(()) => super::file::sync_directory(path)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        FileDirectory::open_existing(path)
    }

    /// The directory at `path`, which must be there.
    ///
    /// # Errors
    ///
    /// [`NotADirectory`](io::ErrorKind::NotADirectory), [`NotFound`](io::ErrorKind::NotFound), or what the
    /// system said.
    pub fn open_existing(path: impl AsRef<Path>) -> io::Result<FileDirectory> {
        let path = path.as_ref();
        if !fs::metadata(path)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let path = path.to_path_buf();
        Ok(FileDirectory { path })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Directory for FileDirectory {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            // A name that is not UTF-8 is nobody's here.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Store + Send>> {
        File::create(self.at(name))?;
        self.open(name)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Store + Send>> {
        // A lock of its own would be one more that a child process, forked by another thread, has not let go of.
        Ok(Box::new(FileStore::open_under_lock(self.at(name))?))
    }

    fn read(&self, name: &str) -> io::Result<Box<dyn Readable>> {
        Ok(Box::new(File::open(self.at(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.at(from), self.at(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.at(name))
    }

    #[cfg(unix)]
    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    #[cfg(not(unix))]
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self) -> io::Result<Box<dyn Held>> {
        let path = self.at(LOCK);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        super::lock_patiently(&file)?;
        Ok(Box::new(file))
    }

    fn path(&self) -> Option<&Path> {
        Some(&self.path)
    }
}

//! A directory that lets a test act between two of its calls.

use std::io;
use std::path::Path;

use documentbuffer::store::{Directory, FileDirectory, Held, Readable, Store};

/// What was just done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// Opened for reading.
    Read,
    /// Asked to be read, and not there.
    Missed,
    Removed,
}

/// A directory that calls `watch` behind what is done with a name.
pub(crate) struct Watched<W> {
    files: FileDirectory,
    watch: W,
}

impl<W: Fn(Done, &str) + Send + Sync> Watched<W> {
    pub(crate) fn open(path: &Path, watch: W) -> Watched<W> {
        let files = FileDirectory::open(path).unwrap();
        Watched { files, watch }
    }
}

impl<W: Fn(Done, &str) + Send + Sync> Directory for Watched<W> {
    fn list(&self) -> io::Result<Vec<String>> {
        self.files.list()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Store + Send>> {
        self.files.create(name)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Store + Send>> {
        self.files.open(name)
    }

    fn read(&self, name: &str) -> io::Result<Box<dyn Readable>> {
        let read = self.files.read(name);
        let done = if read.is_ok() {
            Done::Read
        } else {
            Done::Missed
        };
        (self.watch)(done, name);
        read
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.files.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.remove(name)?;
        (self.watch)(Done::Removed, name);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.files.sync()
    }

    fn lock(&self) -> io::Result<Box<dyn Held>> {
        self.files.lock()
    }
}

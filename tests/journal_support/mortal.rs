//! A directory whose process dies at a chosen change: from there on every call fails.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use documentbuffer::Store;
use documentbuffer::store::fault::FaultDirectory;
use documentbuffer::store::{Directory, Held, Readable};

/// Counts what changes anything: bytes, lengths, names, and what is durable.
#[derive(Debug, Default)]
struct Life {
    changes: AtomicU64,
    until: AtomicU64,
}

impl Life {
    fn is_over(&self) -> bool {
        self.changes.load(Ordering::Relaxed) > self.until.load(Ordering::Relaxed)
    }

    fn look(&self) -> io::Result<()> {
        if self.is_over() {
            return Err(io::Error::other("the process is dead"));
        }
        Ok(())
    }

    fn change(&self) -> io::Result<()> {
        self.look()?;
        self.changes.fetch_add(1, Ordering::Relaxed);
        self.look()
    }
}

/// The directory of one process.
#[derive(Clone)]
pub(crate) struct Mortal {
    dir: FaultDirectory,
    life: Arc<Life>,
}

impl Mortal {
    /// It makes so many changes more, and dies at the next.
    pub(crate) fn new(dir: FaultDirectory, changes: u64) -> Mortal {
        let life = Life::default();
        life.until.store(changes, Ordering::Relaxed);
        let life = Arc::new(life);
        Mortal { dir, life }
    }

    /// From now on: so many changes more.
    pub(crate) fn lives_for(&self, changes: u64) {
        let until = self.changes().saturating_add(changes);
        self.life.until.store(until, Ordering::Relaxed);
    }

    pub(crate) fn changes(&self) -> u64 {
        self.life.changes.load(Ordering::Relaxed)
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.life.is_over()
    }

    fn store(&self, store: Box<dyn Store + Send>) -> Box<dyn Store + Send> {
        let life = self.life.clone();
        Box::new(MortalStore { store, life })
    }
}

impl Directory for Mortal {
    fn list(&self) -> io::Result<Vec<String>> {
        self.life.look()?;
        self.dir.list()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Store + Send>> {
        self.life.change()?;
        self.dir.create(name).map(|store| self.store(store))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Store + Send>> {
        self.life.look()?;
        self.dir.open(name).map(|store| self.store(store))
    }

    fn read(&self, name: &str) -> io::Result<Box<dyn Readable>> {
        self.life.look()?;
        self.dir.read(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.life.change()?;
        self.dir.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.life.change()?;
        self.dir.remove(name)
    }

    fn sync(&self) -> io::Result<()> {
        self.life.change()?;
        self.dir.sync()
    }

    fn lock(&self) -> io::Result<Box<dyn Held>> {
        self.life.look()?;
        self.dir.lock()
    }
}

struct MortalStore {
    store: Box<dyn Store + Send>,
    life: Arc<Life>,
}

impl Read for MortalStore {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.life.look()?;
        self.store.read(buf)
    }
}

impl Write for MortalStore {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.life.change()?;
        self.store.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.life.look()?;
        self.store.flush()
    }
}

impl Seek for MortalStore {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.life.look()?;
        self.store.seek(to)
    }
}

impl Store for MortalStore {
    fn sync(&mut self) -> io::Result<()> {
        self.life.change()?;
        self.store.sync()
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.life.change()?;
        self.store.set_len(len)
    }

    fn lock(&mut self) -> io::Result<()> {
        self.life.look()?;
        self.store.lock()
    }

    fn preserve(&mut self, from: u64) -> io::Result<Option<PathBuf>> {
        self.life.change()?;
        self.store.preserve(from)
    }

    fn name(&self) -> Option<&Path> {
        self.store.name()
    }
}

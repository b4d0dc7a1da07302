//! What a [`FaultDirectory`] hands out: its stores and its lock.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::{Class, FaultDirectory, FaultStore};
use crate::store::Store;

/// An open store, with a position of its own.
pub(super) struct Handle {
    dir: FaultDirectory,
    store: u64,
    writes: bool,
    position: u64,
    /// The name by which it was opened.
    name: PathBuf,
}

impl Handle {
    pub(super) fn new(dir: &FaultDirectory, store: u64, name: &str, writes: bool) -> Self {
        Self {
            dir: dir.clone(),
            store,
            writes,
            position: 0,
            name: PathBuf::from(name),
        }
    }

    fn call<T>(
        &mut self,
        class: Class,
        call: impl FnOnce(&mut FaultStore) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut disk = self.dir.live()?;
        disk.call(self.store, class, &mut self.position, call)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Of a process that was killed nothing is open any more.
        if let Ok(mut disk) = self.dir.live() {
            disk.close(self.store, self.writes);
        }
    }
}

impl Read for Handle {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.call(Class::Read, |store| store.read(buf))
    }
}

impl Write for Handle {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.call(Class::Write, |store| store.write(buf))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.call(Class::Flush, Write::flush)
    }
}

impl Seek for Handle {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.call(Class::Seek, |store| store.seek(to))
    }
}

#[deny(clippy::missing_trait_methods)]
impl Store for Handle {
    fn sync(&mut self) -> io::Result<()> {
        self.call(Class::Sync, Store::sync)
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.call(Class::SetLen, |store| store.set_len(len))
    }

    /// Held since it was opened.
    fn lock(&mut self) -> io::Result<()> {
        self.dir.live().map(drop)
    }

    /// A store beside this one, named `<name>.behind-<from>` (`.1`, `.2` and so on behind that where it
    /// exists), durable. `None` where nothing lies behind `from`.
    fn preserve(&mut self, from: u64) -> io::Result<Option<PathBuf>> {
        let name = self.name.to_string_lossy();
        let mut disk = self.dir.live()?;
        disk.preserve(self.store, &name, &mut self.position, from)
    }

    fn name(&self) -> Option<&Path> {
        Some(&self.name)
    }
}

/// The lock of a directory.
pub(super) struct Guard {
    dir: FaultDirectory,
}

impl Guard {
    pub(super) fn new(dir: &FaultDirectory) -> Self {
        Self { dir: dir.clone() }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // That of a process that was killed is free already, or another's.
        if let Ok(mut disk) = self.dir.live() {
            disk.locked = false;
        }
    }
}

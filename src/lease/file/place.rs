//! The files of one key, and what is done with them under its short lock.
//!
//! ```text
//!   <hash>.lease   the record, and the short lock: held for a moment, by whoever looks or changes
//!   <hash>.life    the lock for life: held by the holder as long as it lives, whatever the time
//! ```
//!
//! A file of a lock that is removed goes on to be locked by those who have it open, while the next ones lock
//! another file under its name, and both hold "the" lock. So the record's file, which is the short lock, is never
//! removed. The life lock is looked for, made and removed under the short lock alone, so it can be, and has to be: a
//! holder whose time is over keeps the one that it has open, and the next holder makes a new one under its name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::Root;
use super::failure::{doing, failed};
use super::record::{END, Found, RENEWED, Record};
use crate::lease::lock::{FileLock, try_lock};
use crate::lease::{Error, Kind, Result};

/// How long the short lock is waited for. Who holds it writes and syncs a record.
const PATIENCE: Duration = Duration::from_secs(5);
const SHORTEST: Duration = Duration::from_micros(50);
const LONGEST: Duration = Duration::from_millis(10);

fn lock_patiently(file: &File) -> io::Result<bool> {
    let (mut waited, mut delay) = (Duration::ZERO, SHORTEST);
    while !try_lock(file, false)? {
        if waited >= PATIENCE {
            return Ok(false);
        }
        thread::sleep(delay);
        waited = waited.saturating_add(delay);
        delay = delay.saturating_mul(2).min(LONGEST);
    }
    Ok(true)
}

/// The files of a key, its short lock held.
pub(super) struct Place<'a> {
    root: &'a Root,
    name: &'a str,
    path: PathBuf,
    record: FileLock,
}

impl<'a> Place<'a> {
    pub(super) fn lock(root: &'a Root, name: &'a str) -> Result<Place<'a>> {
        let path = root.path.join(format!("{name}.lease"));
        let file = options().create(true).truncate(false).open(&path);
        let file = doing(&root.name, "open", &path, file)?;
        if !doing(&root.name, "lock", &path, lock_patiently(&file))? {
            let path = path.display();
            let why = format!(
                "{path} was locked for {PATIENCE:?} by a process that is just about to take or give back \
                 this key; see whether it was stopped"
            );
            return Err(Error::new(Kind::Transient, &root.name, why));
        }
        let record = FileLock::of(file);
        Ok(Place {
            root,
            name,
            path,
            record,
        })
    }

    pub(super) fn found(&self) -> Result<Found> {
        let mut file = self.record.file();
        let mut bytes = Vec::new();
        let read = file
            .seek(SeekFrom::Start(0))
            .and_then(|_| file.take(END).read_to_end(&mut bytes));
        doing(&self.root.name, "read", &self.path, read)?;
        Found::read(&bytes).map_err(|_| {
            let path = self.path.display();
            let why =
                format!("{path}: its format is not known; a later version of this program made it");
            Error::new(Kind::Permanent, &self.root.name, why)
        })
    }

    fn write(&self, record: &Record, at: u64) -> io::Result<()> {
        let mut file = self.record.file();
        file.seek(SeekFrom::Start(at))?;
        file.write_all(&record.bytes())
    }

    /// What a renewal says. After a power cut nobody holds it anyway, so it is not synced.
    pub(super) fn renew(&self, record: &Record) -> Result<()> {
        let wrote = self.write(record, RENEWED);
        doing(&self.root.name, "write", &self.path, wrote)
    }

    /// A new holder: with a life lock that nobody has, and a record of which one copy is whole at any moment.
    pub(super) fn take(&self, found: &Found, record: &Record) -> Result<FileLock> {
        let life = self.life();
        self.remove(&life)?;
        let file = options().create_new(true).open(&life);
        let file = doing(&self.root.name, "create", &life, file)?;
        if !doing(&self.root.name, "lock", &life, try_lock(&file, false))? {
            let error = io::Error::new(ErrorKind::WouldBlock, "somebody else has locked it");
            return Err(failed(&self.root.name, "lock", &life, error));
        }
        let lock = FileLock::of(file);
        // The first holder makes the file's name durable, whoever made the file.
        let named = found.taken.map_or_else(|| self.root.sync(), |_| Ok(()));
        let wrote = named.and_then(|()| {
            found.order().into_iter().try_for_each(|at| {
                self.write(record, at)?;
                self.record.file().sync_data()
            })
        });
        if let Err(error) = wrote {
            // Nobody holds it, whatever the record says.
            let _ = fs::remove_file(&life);
            return Err(failed(&self.root.name, "write", &self.path, error));
        }
        Ok(lock)
    }

    /// The life lock of the holder goes, and its file with it.
    pub(super) fn end(&self, life: FileLock) -> Result<()> {
        drop(life);
        self.remove(&self.life())
    }

    /// Whether the holder lives, and has not let go of it.
    pub(super) fn is_held(&self) -> Result<bool> {
        let path = self.life();
        let file = match options().open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            opened => doing(&self.root.name, "open", &path, opened)?,
        };
        let free = doing(&self.root.name, "lock", &path, try_lock(&file, false))?;
        // The lock was tried, not wanted.
        drop(FileLock::of(file));
        Ok(!free)
    }

    fn life(&self) -> PathBuf {
        self.root.path.join(format!("{}.life", self.name))
    }

    fn remove(&self, path: &Path) -> Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => doing(&self.root.name, "remove", path, removed),
        }
    }
}

pub(super) fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    options
}

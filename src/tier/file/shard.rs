//! One directory of 256: its files are changed by one writer at a time, in all processes.
//!
//! A writer holds the lock of the file `lock`. It makes a file under the name `new` and renames it, so a
//! file `new` that is there while nobody holds the lock is of a writer that died.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::Root;
use super::failure::Failing;
use super::format::{HEAD, Head, crc};
use super::name::Name;
use crate::tier::judge::Held;
use crate::tier::{Entry, MAX_KEY, Result, Version};

const LOCK: &str = "lock";
const NEW: &str = "new";
/// Files larger than this are not copied together before they are written.
const BUFFER: u64 = 64 << 10;

/// A directory whose lock is held.
pub(super) struct Locked<'a> {
    root: &'a Root,
    dir: PathBuf,
    /// Its lock goes when it is closed.
    _lock: File,
}

impl Root {
    /// The directory of that number, locked; it is made if need be.
    pub(super) fn lock(&self, number: u8) -> Result<Locked<'_>> {
        let dir = self.dir(number);
        let path = dir.join(LOCK);
        let open = || options().create(true).truncate(false).open(&path);
        let lock = match open() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.make(&dir)?;
                open()
            }
            opened => opened,
        };
        let lock = self.doing("open", &path, lock)?;
        self.doing("lock", &path, lock.lock())?;
        Ok(Locked {
            root: self,
            dir,
            _lock: lock,
        })
    }

    fn make(&self, dir: &Path) -> Result<()> {
        match fs::create_dir(dir) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            made => self.doing("create", dir, made),
        }
    }

    /// Removes what a writer that died left in that directory; not what one that lives is about to rename.
    pub(super) fn tidy(&self, number: u8) {
        let dir = self.dir(number);
        let new = dir.join(NEW);
        if fs::symlink_metadata(&new).is_err() {
            return;
        }
        if let Ok(lock) = options().open(dir.join(LOCK))
            && lock.try_lock().is_ok()
        {
            // It is in nobody's way; the next writer would remove it too.
            let _ = fs::remove_file(&new);
        }
    }

    /// What the file of that key holds; none where there is none, and none of a removal that is forgotten.
    pub(super) fn read(&self, name: &Name, key: &str) -> Result<Option<Held>> {
        let path = self.dir(name.shard()).join(name.as_str());
        let Some((file, bytes, head)) = self.open(&path)? else {
            return Ok(None);
        };
        let mut rest = Vec::new();
        let room = usize::try_from(head.rest()).map(|len| rest.try_reserve_exact(len));
        if !matches!(room, Ok(Ok(()))) {
            return Err(self.no_memory(&path, head.rest()));
        }
        let read = file.take(head.rest()).read_to_end(&mut rest);
        self.doing("read", &path, read)?;
        let split = rest.split_last_chunk::<4>();
        let split = split.and_then(|(body, foot)| {
            let (key, value) = body.split_at_checked(head.key.into())?;
            Some((key, value, foot))
        });
        let Some((found, value, foot)) = split else {
            return Err(self.corrupt(&path, "it is cut off"));
        };
        if crc(&bytes, found, value) != *foot {
            return Err(self.corrupt(&path, "its checksum is wrong"));
        }
        if found != key.as_bytes() {
            return Err(self.corrupt(&path, "it is of another key"));
        }
        if head.removal {
            let remembered = !self.is_over(&head, self.clock.wall_micros());
            return Ok(remembered.then_some(Held::Removed(head.version)));
        }
        let from = found.len();
        let to = from + value.len();
        let mut entry = Entry::new(Bytes::from(rest).slice(from..to));
        entry.version = head.version;
        entry.created = head.created;
        entry.expiry = head.expiry;
        Ok(Some(Held::Entry(entry)))
    }

    /// A file, and what its head says.
    fn open(&self, path: &Path) -> Result<Option<(File, [u8; HEAD], Head)>> {
        let mut file = match File::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => self.doing("open", path, opened)?,
        };
        let metadata = self.doing("look at", path, file.metadata())?;
        if !metadata.is_file() {
            return Err(self.corrupt(path, "it is no file"));
        }
        let mut bytes = [0; HEAD];
        match file.read_exact(&mut bytes) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                return Err(self.corrupt(path, "it is cut off"));
            }
            read => self.doing("read", path, read)?,
        }
        let head = Head::read(&bytes, metadata.len());
        let head = head.map_err(|why| self.corrupt(path, why))?;
        Ok(Some((file, bytes, head)))
    }

    /// Of that file, its head and its key, if it is a file of this tier under its own name.
    pub(super) fn peek(&self, name: &Name) -> Option<(Head, String)> {
        let path = self.dir(name.shard()).join(name.as_str());
        let (mut file, _, head) = self.open(&path).ok()??;
        if usize::from(head.key) > MAX_KEY {
            return None;
        }
        let mut key = vec![0; head.key.into()];
        file.read_exact(&mut key).ok()?;
        let key = String::from_utf8(key).ok()?;
        (Name::of(&key) == *name).then_some((head, key))
    }

    fn is_over(&self, head: &Head, now: u64) -> bool {
        let over = head.over(self.tombstones);
        over.is_some_and(|over| now >= over)
    }

    /// The names of its files, in order; none where it is not there.
    pub(super) fn names(&self, number: u8) -> Result<Vec<Name>> {
        let dir = self.dir(number);
        let entries = match fs::read_dir(&dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => self.doing("list", &dir, entries)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = self.doing("list", &dir, entry)?;
            let name = entry.file_name();
            let name = name.to_str().and_then(Name::parse);
            names.extend(name.filter(|name| name.shard() == number));
        }
        names.sort();
        Ok(names)
    }
}

impl Locked<'_> {
    /// Puts this entry into the file of that name.
    pub(super) fn put(&self, name: &Name, key: &str, entry: &Entry) -> Result<()> {
        self.replace(name, &Head::entry(key, entry), key, &entry.value)
    }

    /// Removes the file of that name; with a version, it is remembered for a while.
    pub(super) fn remove(&self, name: &Name, key: &str, version: Version) -> Result<()> {
        if !version.is_none() && self.root.tombstones > 0 {
            let head = Head::removal(key, version, self.root.clock.wall_micros());
            return self.replace(name, &head, key, &[]);
        }
        let path = self.dir.join(name.as_str());
        match fs::remove_file(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            removed => self.root.doing("remove", &path, removed)?,
        }
        self.sync()
    }

    /// Makes the file whole before it has its name.
    fn replace(&self, name: &Name, head: &Head, key: &str, value: &[u8]) -> Result<()> {
        let new = self.dir.join(NEW);
        let made = self.make(&new, head, key, value);
        let made = made.and_then(|()| {
            let path = self.dir.join(name.as_str());
            self.root.doing("replace", &path, fs::rename(&new, &path))
        });
        if let Err(error) = made {
            // It takes room, and there may be none left.
            let _ = fs::remove_file(&new);
            return Err(error);
        }
        self.sync()
    }

    fn make(&self, new: &Path, head: &Head, key: &str, value: &[u8]) -> Result<()> {
        let open = || options().create_new(true).open(new);
        let file = match open() {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                self.root.doing("remove", new, fs::remove_file(new))?;
                open()
            }
            opened => opened,
        };
        let file = self.root.doing("create", new, file)?;
        let bytes = head.bytes();
        let room = head.rest().saturating_add(HEAD as u64).min(BUFFER) as usize;
        let mut writer = BufWriter::with_capacity(room, file);
        let parts = [
            &bytes,
            key.as_bytes(),
            value,
            &crc(&bytes, key.as_bytes(), value),
        ];
        let mut wrote = parts.iter().try_for_each(|part| writer.write_all(part));
        wrote = wrote.and_then(|()| writer.flush());
        if self.root.synced {
            wrote = wrote.and_then(|()| writer.get_ref().sync_data());
        }
        // What is left of it must not be written when it is dropped.
        drop(writer.into_parts());
        self.root.doing("write", new, wrote)
    }

    /// Makes the names durable. What failed here may have been done.
    fn sync(&self) -> Result<()> {
        if !self.root.synced {
            return Ok(());
        }
        let synced = self.root.sync_directory(&self.dir);
        synced.map_err(crate::tier::Error::unknown)
    }

    /// Removes files that are of no use to anyone.
    pub(super) fn sweep(&self, number: u8, now: u64) -> Result<()> {
        for name in self.root.names(number)? {
            let path = self.dir.join(name.as_str());
            // What cannot be read is not ours to remove.
            let Ok(Some((_, _, head))) = self.root.open(&path) else {
                continue;
            };
            if self.root.is_over(&head, now) {
                self.root.doing("remove", &path, fs::remove_file(&path))?;
            }
        }
        Ok(())
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    options
}

//! Entries in files: one for each key, whole at any moment, agreed upon by several processes.

mod failure;
mod format;
mod name;
mod shard;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;

use super::judge::{Held, Verdict, is_blind, judge};
use super::turns::{Turn, Turns};
use super::{
    Applied, Capabilities, Entry, Error, Key, KeyBuf, Kind, Listed, Op, Page, Result, Tier, When,
};
use crate::clock::{Clock, SystemClock};
use crate::durability::Durability;
use failure::{Failing, failed};
use name::Name;

const SHARDS: usize = 256;
const HOUR: Duration = Duration::from_secs(3600);

/// Entries in files under a directory, one for each key, in 256 directories.
///
/// The name of a file is the SHA-256 of its key; the key stands inside. So any key is fine, and nothing
/// leaves the directory. A file is made beside and renamed: who reads sees the old entry or the new one, whole,
/// also after a crash. Its checksum covers all of it: what is damaged, or no file of a tier, is
/// [`Kind::Corrupt`], and the error names it.
///
/// Conditions are compared under a lock of the standard library ([`File::lock`]) for each of the 256
/// directories, so that several processes agree. Gets take no lock.
///
/// A removal with a version is remembered for an hour, or as long as [`FileOptions::tombstones`] says, as is
/// the version of an entry that is over. Their files go when something is written into their directory and that
/// was not swept for so long.
///
/// When a write returns, the system has it ([`Durability::Written`]); with [`FileOptions::synced`] the medium.
/// Files are read and written on tokio's threads for blocking calls. A write whose future is dropped goes on,
/// and the next one of the same directory waits for it.
///
/// # Examples
///
/// ```
/// use documentbuffer::tier::file::FileTier;
/// use documentbuffer::tier::{Tier, TierExt};
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("cache");
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// # runtime.block_on(async {
/// let files = FileTier::open(&path)?;
/// files.put("../../etc/passwd", "harmless").await?;
/// files.close().await?;
///
/// let files = FileTier::open(&path)?; // Another day.
/// assert_eq!(files.value("../../etc/passwd").await?.as_deref(), Some(&b"harmless"[..]));
/// # Ok::<(), documentbuffer::tier::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct FileTier {
    root: Arc<Root>,
    /// Writes of a directory go one by one, in the order in which they came.
    turns: Turns,
    handle: Handle,
}

/// How a [`FileTier`] is opened.
#[derive(Clone, Debug)]
#[must_use]
pub struct FileOptions {
    name: String,
    synced: bool,
    tombstones: Duration,
    clock: Arc<dyn Clock>,
}

/// What the threads for blocking calls need.
#[derive(Debug)]
struct Root {
    name: String,
    path: PathBuf,
    synced: bool,
    /// How long removals are remembered, in microseconds.
    tombstones: u64,
    clock: Arc<dyn Clock>,
    shards: Vec<Mutex<Shard>>,
}

#[derive(Debug)]
struct Shard {
    /// When it was swept.
    swept: u64,
    /// Its name is durable.
    durable: bool,
}

impl Default for FileOptions {
    fn default() -> FileOptions {
        FileOptions::new()
    }
}

impl FileOptions {
    /// Named `file`, not synced, with tombstones for an hour.
    pub fn new() -> FileOptions {
        FileOptions {
            name: String::from("file"),
            synced: false,
            tombstones: HOUR,
            clock: Arc::new(SystemClock::new()),
        }
    }

    /// With that name, for messages and metrics.
    pub fn name(mut self, name: impl Into<String>) -> FileOptions {
        self.name = name.into();
        self
    }

    /// A write returns when the medium has it: file and directory are synced.
    pub fn synced(mut self) -> FileOptions {
        self.synced = true;
        self
    }

    /// Removals with a version are remembered for that long; zero for not at all.
    pub fn tombstones(mut self, age: Duration) -> FileOptions {
        self.tombstones = age;
        self
    }

    /// With that clock, by which entries and removals are over.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> FileOptions {
        self.clock = clock;
        self
    }

    /// Opens the tier in the directory at `path`, which is made if need be, and removes what a writer
    /// that died left there. On return a new directory is there, and durable with
    /// [`synced`](FileOptions::synced).
    ///
    /// # Errors
    ///
    /// [`Kind::Permanent`] outside a tokio runtime, and where there is no directory and none can be made. A
    /// directory without the right to write can be opened; its writes fail.
    pub fn open(self, path: impl AsRef<Path>) -> Result<FileTier> {
        let path = path.as_ref();
        let handle = Handle::try_current().map_err(|error| {
            let why = "it must be opened inside a tokio runtime, on whose threads it reads";
            Error::new(Kind::Permanent, &self.name, why).source(error)
        })?;
        let made = fs::create_dir_all(path).and_then(|()| fs::read_dir(path).map(drop));
        made.map_err(|error| failed(&self.name, "open", path, error))?;
        let now = self.clock.wall_micros();
        let shard = || {
            Mutex::new(Shard {
                swept: now,
                durable: false,
            })
        };
        let root = Root {
            name: self.name,
            path: path.to_path_buf(),
            synced: self.synced,
            tombstones: micros(self.tombstones),
            clock: self.clock,
            shards: (0..SHARDS).map(|_| shard()).collect(),
        };
        if let Some(parent) = path.parent().filter(|_| root.synced) {
            let here = parent.as_os_str().is_empty();
            root.sync_directory(if here { Path::new(".") } else { parent })?;
        }
        (0..=u8::MAX).for_each(|number| root.tidy(number));
        Ok(FileTier {
            root: Arc::new(root),
            turns: Turns::default(),
            handle,
        })
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl FileTier {
    /// Opens the tier in the directory at `path`, with the default [`FileOptions`].
    ///
    /// # Errors
    ///
    /// As [`FileOptions::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<FileTier> {
        FileOptions::new().open(path)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.root.path
    }

    /// The file of that key, whether it is there or not.
    pub fn file(&self, key: Key<'_>) -> PathBuf {
        let name = Name::of(key.as_str());
        self.root.dir(name.shard()).join(name.as_str())
    }

    /// Runs it where it may block; the turn is held until it ends, whoever waits for it.
    async fn blocking<R: Send + 'static>(
        &self,
        turn: Option<Turn>,
        call: impl FnOnce(&Root) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let root = Arc::clone(&self.root);
        let writes = turn.is_some();
        let task = self.handle.spawn_blocking(move || {
            let _turn = turn;
            call(&root)
        });
        task.await.unwrap_or_else(|error| {
            let why = "the tokio runtime that it was opened in has ended";
            let (kind, why) = match error.is_cancelled() {
                true => (Kind::Closed, why),
                false => (Kind::Permanent, "it panicked"),
            };
            let lost = writes && !error.is_cancelled();
            let failed = Error::new(kind, &self.root.name, why).source(error);
            Err(if lost { failed.unknown() } else { failed })
        })
    }
}

impl Root {
    fn dir(&self, number: u8) -> PathBuf {
        self.path.join(name::directory(number))
    }

    fn get(&self, key: &str) -> Result<Option<Entry>> {
        let held = self.read(&Name::of(key), key)?;
        let now = || self.clock.wall_micros();
        Ok(match held {
            Some(Held::Entry(entry)) => {
                Some(entry).filter(|entry| entry.expiry.is_none() || entry.is_live(now()))
            }
            _ => None,
        })
    }

    fn write(&self, name: &Name, key: &str, op: Op, when: When) -> Result<Applied> {
        let number = name.shard();
        let Some(shard) = self.shards.get(usize::from(number)) else {
            return Err(Error::new(Kind::Permanent, &self.name, "no such directory"));
        };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let locked = self.lock(number)?;
        if self.synced && !shard.durable {
            self.sync_directory(&self.path)?;
            shard.durable = true;
        }
        let applied = self.change(&locked, name, key, op, when)?;
        let now = self.clock.wall_micros();
        let interval = match self.tombstones {
            0 => micros(HOUR),
            age => age,
        };
        if now.saturating_sub(shard.swept) >= interval {
            shard.swept = now;
            // The write is done; what could not be swept is swept the next time.
            let _ = locked.sweep(number, now);
        }
        Ok(applied)
    }

    fn change(
        &self,
        locked: &shard::Locked<'_>,
        name: &Name,
        key: &str,
        op: Op,
        when: When,
    ) -> Result<Applied> {
        let held = match is_blind(&op, when) {
            true => None,
            false => self.read(name, key)?,
        };
        let now = || self.clock.wall_micros();
        match judge(&self.name, held.as_ref(), op, when, now)? {
            Verdict::Refuse(applied) => return Ok(applied),
            Verdict::Put(entry) => locked.put(name, key, &entry)?,
            // What is remembered already stays so.
            Verdict::Remove(version)
                if version.is_none() && self.peek(name).is_some_and(|(head, _)| head.removal) => {}
            Verdict::Remove(version) => locked.remove(name, key, version)?,
        }
        Ok(Applied::Done)
    }

    fn scan(&self, from: Option<Bytes>, limit: usize) -> Result<Page> {
        let after = match from {
            Some(from) => {
                let name = std::str::from_utf8(&from).ok().and_then(Name::parse);
                let why = "this is not where a page of this tier ended";
                Some(name.ok_or_else(|| Error::new(Kind::Permanent, &self.name, why))?)
            }
            None => None,
        };
        let now = self.clock.wall_micros();
        let first = after.as_ref().map_or(0, Name::shard);
        let mut listed = Vec::new();
        for number in first..=u8::MAX {
            for name in self.names(number)? {
                if after.as_ref().is_some_and(|after| name <= *after) {
                    continue;
                }
                let live = |expiry: Option<u64>| expiry.is_none_or(|expiry| now < expiry);
                let found = self.peek(&name);
                let Some((head, key)) =
                    found.filter(|(head, _)| !head.removal && live(head.expiry))
                else {
                    continue;
                };
                listed.push(Listed::new(KeyBuf::new(key)?, head.value, head.version));
                if listed.len() >= limit.max(1) {
                    let next = Bytes::copy_from_slice(name.as_str().as_bytes());
                    return Ok(Page::new(listed, Some(next)));
                }
            }
        }
        Ok(Page::new(listed, None))
    }

    #[cfg(not(windows))]
    fn sync_directory(&self, dir: &Path) -> Result<()> {
        let synced = File::open(dir).and_then(|dir| dir.sync_all());
        self.doing("sync", dir, synced)
    }

    /// That is left to the system there.
    #[cfg(windows)]
    fn sync_directory(&self, _: &Path) -> Result<()> {
        Ok(())
    }
}

impl Tier for FileTier {
    fn name(&self) -> &str {
        &self.root.name
    }

    fn capabilities(&self) -> Capabilities {
        let durability = match self.root.synced {
            true => Durability::Synced,
            false => Durability::Written,
        };
        Capabilities {
            conditions: true,
            tombstones: self.root.tombstones > 0,
            merge: true,
            scan: true,
            ..Capabilities::new(durability)
        }
    }

    async fn get(&self, key: Key<'_>) -> Result<Option<Entry>> {
        let key = key.as_str().to_owned();
        self.blocking(None, move |root| root.get(&key)).await
    }

    async fn write(&self, key: Key<'_>, op: Op, when: When) -> Result<Applied> {
        let name = Name::of(key.as_str());
        let turn = self.turns.take_number(name.shard().into()).await;
        let key = key.as_str().to_owned();
        self.blocking(Some(turn), move |root| root.write(&name, &key, op, when))
            .await
    }

    /// In the order of the names of the files. A file that cannot be read is not listed; a get of its key
    /// says what is wrong with it.
    async fn scan(&self, from: Option<&Bytes>, limit: usize) -> Result<Page> {
        let from = from.cloned();
        self.blocking(None, move |root| root.scan(from, limit))
            .await
    }

    /// Waits for the writes on their way, also those whose futures were dropped.
    async fn close(&self) -> Result<()> {
        for number in 0..=u8::MAX {
            drop(self.turns.take_number(number.into()).await);
        }
        Ok(())
    }
}

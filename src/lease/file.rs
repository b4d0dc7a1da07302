//! Leases in files, for the processes that share a directory.

mod failure;
mod place;
mod record;
mod watch;

use std::fmt;
use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::runtime::Handle;

use super::error::{check, check_time};
use super::lock::{FileLock, try_lock};
use super::{Error, Held, Kind, Lease, Result, fence};
use crate::clock::{Clock, SystemClock};
use failure::doing;
use place::{Place, options};
use record::Record;
use watch::Watches;

/// Leases of processes, and of the threads and tasks in them, in the files of a directory. Clones are the same
/// lease.
///
/// A key has a file with a record of its last holder, named by the SHA-256 of the key. What stands in it is changed
/// under a lock that is held for a moment; the holder has a second lock, for life ([`File::lock`]). So a
/// key can be taken
///
/// * when its holder gave it back, dropped it, or died: at once, whatever the time;
/// * when its time is over by the wall clock: a process that was stopped keeps nobody out for ever;
/// * when somebody asked for it twice, at least its whole time apart on a monotonic clock, and it was not
///   renewed between: a wall clock that was set back keeps nobody out for ever either.
///
/// A wall clock that is set forward ends leases early. That is what the [`fence`](Held::fence) is for.
///
/// # What is on the disk
///
/// The record stands there twice, and each copy is synced before the other is written, so the fence survives a
/// crash or a power cut at any byte, and damage to one copy. Where both are gone the wall clock is all that is
/// left. A take costs two syncs; a renewal none.
///
/// The files stay, one for each key that was ever taken: **never remove them** while a process may use the
/// directory. A process that has a removed file open, and one that makes a new one, would both have the key. (An
/// empty file `probe` shows at opening that one may write and lock there.) The directory must be on a file system
/// with locks that all the processes see, which is to say on a local one.
///
/// # Child processes
///
/// Locks belong to open files. A child that is made by [`Command`](std::process::Command) has none of them:
/// they are closed where it begins to run. A child that goes on as a copy of this process (`fork` without `exec`)
/// has the holder's open, and the key counts as held until its time is over, or both have died, or this one has
/// given it back.
///
/// # Blocking
///
/// Files are read and written on tokio's threads for blocking calls where a runtime is current, else where the
/// future is polled; any executor will do. A call waits for another one of the same key, for five seconds at the
/// most: only a process that is stopped in the middle of one takes so long.
///
/// [`File::lock`]: std::fs::File::lock
///
/// # Examples
///
/// ```
/// use documentbuffer::lease::{Lease, file::FileLease};
/// use std::time::Duration;
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("leases");
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// # runtime.block_on(async {
/// let (mine, theirs) = (FileLease::open(&path)?, FileLease::open(&path)?); // As from two processes.
/// let time = Duration::from_secs(10);
/// let held = mine.take("report", time).await?.expect("nobody holds it");
/// assert!(theirs.take("report", time).await?.is_none());
///
/// let fence = held.fence();
/// mine.release(held).await?;
/// assert!(theirs.take("report", time).await?.is_some_and(|held| held.fence() > fence));
/// # Ok::<(), documentbuffer::lease::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct FileLease {
    root: Arc<Root>,
}

struct Root {
    name: String,
    path: PathBuf,
    clock: Arc<dyn Clock>,
    watches: Mutex<Watches>,
    /// Threads of this process wait here for each other, and not with delays at the file.
    lanes: Vec<Mutex<()>>,
}

const LANES: usize = 64;

/// What a holder has: the lock for life goes when this is dropped.
struct Keep {
    root: Arc<Root>,
    name: String,
    record: Record,
    life: Mutex<Option<FileLock>>,
}

impl FileLease {
    /// The leases in the directory at `path`, which is made if need be; the one that it is in must be there.
    /// Named `file`, on the system's clock.
    ///
    /// # Errors
    ///
    /// [`Kind::Permanent`] where no directory is there and none can be made, where this process may not write
    /// there, and where the file system has no locks. The error names the path.
    pub fn open(path: impl AsRef<Path>) -> Result<FileLease> {
        FileLease::with_clock(path, Arc::new(SystemClock::new()))
    }

    /// The same on that clock. All processes must have about the same wall clock.
    ///
    /// # Errors
    ///
    /// As [`open`](FileLease::open).
    pub fn with_clock(path: impl AsRef<Path>, clock: Arc<dyn Clock>) -> Result<FileLease> {
        let (name, path) = (String::from("file"), path.as_ref());
        match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                doing(&name, "open", path, fs::read_dir(path))?;
            }
            made => doing(&name, "create", path, made)?,
        }
        // Whoever may not write here, or not lock, is told so now.
        let probe = path.join("probe");
        let file = options().create(true).truncate(false).open(&probe);
        let file = doing(&name, "write to", &probe, file)?;
        doing(&name, "lock", &probe, try_lock(&file, false))?;
        drop(FileLock::of(file));
        let root = Root {
            name,
            path: path.to_path_buf(),
            clock,
            watches: Mutex::default(),
            lanes: (0..LANES).map(|_| Mutex::default()).collect(),
        };
        Ok(FileLease {
            root: Arc::new(root),
        })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.root.path
    }

    /// The file with the record of that key, whether it is there or not.
    pub fn file(&self, key: &str) -> PathBuf {
        self.root.path.join(format!("{}.lease", name_of(key)))
    }

    /// Runs it where it may block. It goes on when nobody waits for it any more, and what comes of it is dropped.
    async fn blocking<R: Send + 'static>(
        &self,
        call: impl FnOnce(&Arc<Root>) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let root = Arc::clone(&self.root);
        let Ok(handle) = Handle::try_current() else {
            return call(&root);
        };
        let task = handle.spawn_blocking(move || call(&root));
        task.await.unwrap_or_else(|error| {
            let (kind, why) = match error.is_cancelled() {
                true => (Kind::Transient, "the tokio runtime has ended"),
                false => (Kind::Permanent, "it panicked"),
            };
            Err(Error::new(kind, &self.root.name, why).source(error))
        })
    }

    fn keep<'h>(&self, held: &'h Held) -> Result<&'h Arc<Keep>> {
        let keep = held.keep::<Arc<Keep>>();
        keep.filter(|keep| Arc::ptr_eq(&keep.root, &self.root))
            .ok_or_else(|| Error::foreign(&self.root.name))
    }
}

/// 64 hexadecimal digits.
fn name_of(key: &str) -> String {
    let hash = Sha256::digest(key);
    let digits = hash.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

fn random() -> u64 {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.finish()
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Root {
    /// Under the short lock of that name.
    fn at<R>(&self, name: &str, call: impl FnOnce(&Place<'_>) -> Result<R>) -> Result<R> {
        let lane = name.get(..2).unwrap_or_default();
        let lane = usize::from_str_radix(lane, 16).unwrap_or_default() % LANES;
        let lane = self.lanes.get(lane).map(Mutex::lock);
        let _lane = lane.map(|lane| lane.unwrap_or_else(PoisonError::into_inner));
        call(&Place::lock(self, name)?)
    }

    /// Makes the names in the directory durable.
    #[cfg(unix)]
    fn sync(&self) -> io::Result<()> {
        fs::File::open(&self.path)?.sync_all()
    }

    #[cfg(not(unix))]
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn watches<R>(&self, call: impl FnOnce(&mut Watches) -> R) -> R {
        call(&mut self.watches.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn take(self: &Arc<Root>, key: &str, time: Duration) -> Result<Option<Held>> {
        let name = name_of(key);
        let taken = self.at(&name, |place| {
            let found = place.found()?;
            // First the holder's clock, then the one by which the others judge it.
            let now = self.clock.monotonic();
            let wall = self.clock.wall_micros();
            if let Some(record) = &found.current
                && wall < record.until()
                && place.is_held()?
                && !self.watches(|watches| watches.is_over(&name, record, now))
            {
                return Ok(None);
            }
            let last = found.taken.map_or(0, |record| record.fence);
            let record = Record {
                fence: fence::next(&self.name, &*self.clock, last)?,
                process: std::process::id().into(),
                random: random(),
                from: wall,
                time: micros(time),
                renewals: 0,
            };
            let life = place.take(&found, &record)?;
            Ok(Some((record, life, now.saturating_add(time))))
        });
        let taken = taken?;
        let Some((record, life, until)) = taken else {
            return Ok(None);
        };
        self.watches(|watches| watches.forget(&name));
        let keep = Arc::new(Keep {
            root: Arc::clone(self),
            name,
            record,
            life: Mutex::new(Some(life)),
        });
        let clock = Arc::clone(&self.clock);
        Ok(Some(Held::new(key, record.fence, until, clock, keep)))
    }
}

impl Keep {
    /// Until when it is held now; none where it is ours no longer.
    fn renew(&self, over: Duration, time: Duration) -> Result<Option<Duration>> {
        let root = &self.root;
        root.at(&self.name, |place| {
            let current = place.found()?.current;
            let Some(current) = current.filter(|current| current.is_of(&self.record)) else {
                return Ok(None);
            };
            let now = root.clock.monotonic();
            if now >= over {
                return Ok(None);
            }
            place.renew(&Record {
                from: root.clock.wall_micros(),
                time: micros(time),
                renewals: current.renewals.saturating_add(1),
                ..current
            })?;
            Ok(Some(now.saturating_add(time)))
        })
    }

    fn release(&self) -> Result<()> {
        let mut life = self.life.lock().unwrap_or_else(PoisonError::into_inner);
        let life = life.take();
        self.root.at(&self.name, |place| {
            let current = place.found()?.current;
            let ours = current.is_some_and(|current| current.is_of(&self.record));
            match life {
                Some(life) if ours => place.end(life),
                _ => Ok(()),
            }
        })
    }
}

impl fmt::Debug for FileLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileLease")
            .field("name", &self.root.name)
            .field("path", &self.root.path)
            .finish()
    }
}

impl Lease for FileLease {
    fn name(&self) -> &str {
        &self.root.name
    }

    async fn take(&self, key: &str, time: Duration) -> Result<Option<Held>> {
        check(&self.root.name, key, time)?;
        let key = key.to_owned();
        self.blocking(move |root| root.take(&key, time)).await
    }

    async fn renew(&self, held: &mut Held, time: Duration) -> Result<bool> {
        check_time(&self.root.name, time)?;
        let keep = Arc::clone(self.keep(held)?);
        let over = self.root.clock.monotonic().saturating_add(held.left());
        let renewed = self.blocking(move |_| keep.renew(over, time)).await?;
        if let Some(until) = renewed {
            held.extend(until);
        }
        Ok(renewed.is_some())
    }

    async fn release(&self, held: Held) -> Result<()> {
        self.keep(&held)?;
        self.blocking(move |_| {
            let keep = held.keep::<Arc<Keep>>();
            keep.map_or(Ok(()), |keep| keep.release())
        })
        .await
    }
}

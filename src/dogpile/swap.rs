//! A resource that is read while its next version is made, and changed only when nobody reads.

use std::error::Error as StdError;
use std::fmt;
use std::ops::Deref;
use std::result::Result as StdResult;
use std::sync::Arc;
use std::time::Duration;

use super::answer::{Created, Freshness, Held};
use super::blocking::{Waited, create};
use super::enter::Next;
use super::error::{Error, Result};
use super::options::Options;
use super::readers::{ReadGuard, ReadWriteLock, Readers};
use super::shared::Shared;

/// A resource that expires, such as a data file: readers work on the current version while the new one is made, and the
/// swap waits for them.
///
/// The creator prepares the new version beside the readers, and takes the [write lock](ReadWriteLock::write) that it is
/// given only to put it in place: then it waits until all who read are done, and those who come wait for it. All else is
/// as with a [`Dogpile`](super::Dogpile) for threads: one creates, and the others read the stale version, or wait where
/// there is none.
///
/// With [`Readers`] it is for the threads of a process, with [`FileReaders`](super::readers::FileReaders) for all
/// processes that open the same lock. A resource that other processes change too says when it was made, see
/// [`read_stamped`](Swap::read_stamped); each process makes a version then, one writing at a time.
///
/// Nothing of the resource is in here, so nothing about it is durable but what the creator makes so.
///
/// # Examples
///
/// ```
/// use documentbuffer::dogpile::readers::ReadWriteLock;
/// use documentbuffer::dogpile::{Options, Swap};
/// use std::time::Duration;
///
/// # let dir = std::env::temp_dir().join(format!("swap-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir)?;
/// let (file, new) = (dir.join("data"), dir.join("data.new"));
/// let data = Swap::new(Options::new(Duration::from_secs(3600)));
/// let reading = data.read(|lock| {
///     std::fs::write(&new, "takes long to make")?;
///     let _alone = lock.write()?;
///     std::fs::rename(&new, &file)?;
///     Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
/// })?;
/// assert_eq!(std::fs::read_to_string(&file)?, "takes long to make");
/// drop(reading); // Until here nobody changes it.
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// `SyncReaderDogpile` of the Python original hands out half-written values: there, the getter runs before the lock is
/// taken.
pub struct Swap<L = Readers> {
    shared: Arc<Shared<()>>,
    lock: L,
}

/// The right to read the resource: it is not changed until this is dropped. It lends what the getter found.
#[must_use = "the resource may be changed when it is dropped"]
pub struct Reading<'a, T = ()> {
    _guard: ReadGuard<'a>,
    value: T,
    freshness: Freshness,
}

impl Swap {
    /// For the threads of this process.
    pub fn new(options: Options) -> Swap {
        let lock = Readers::with_clock(options.system_clock());
        Swap::with_lock(options, lock)
    }
}

impl<L: ReadWriteLock> Swap<L> {
    /// With that lock.
    pub fn with_lock(options: Options, lock: L) -> Swap<L> {
        let clock = options.system_clock();
        Swap {
            shared: Arc::new(Shared::new(options, clock)),
            lock,
        }
    }

    /// Its lock, for whoever changes the resource by other ways.
    pub fn lock(&self) -> &L {
        &self.lock
    }

    /// The right to read, the resource made anew if need be.
    ///
    /// Who is elected runs the creator on this thread, for as long as it takes, and holds no lock meanwhile. The others
    /// read at once where there is a version, and wait for a writer at most [`Options::wait`]; where there is none they
    /// wait for the creator, at most as long. A thread that reads already must not be the one that creates: it would wait
    /// for itself, and is told so.
    ///
    /// # Errors
    ///
    /// As [`Dogpile::get`](super::Dogpile::get); [`Error::Lock`].
    pub fn read<E>(&self, creator: impl FnOnce(&L) -> StdResult<(), E>) -> Result<Reading<'_>>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        // No getter looks for it: whoever has made a version has it, also where it took too long to count.
        let kept = || (self.shared.kept(), Some(()));
        self.enter(kept, creator)
    }

    /// The same for a resource that says when it was made: the getter is called under the read lock, and gives what it
    /// finds, and that time in microseconds since 1970.
    ///
    /// It is called once for each look, and, otherwise than with a [`Dogpile`](super::Dogpile), once more after a
    /// creation: what was made may have been changed again before this reader has its lock.
    ///
    /// # Errors
    ///
    /// As [`read`](Swap::read); [`Error::NotMade`] where the getter finds nothing right after a creation.
    pub fn read_stamped<T, E>(
        &self,
        mut getter: impl FnMut() -> Option<(T, u64)>,
        creator: impl FnOnce(&L) -> StdResult<(), E>,
    ) -> Result<Reading<'_, T>>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let look = || {
            let found = getter().and_then(|(value, at)| {
                let held = self.shared.stamped(Created::new(()).at(at))?;
                Some((held, value))
            });
            found.unzip()
        };
        self.enter(look, creator)
    }

    fn enter<T, E>(
        &self,
        mut look: impl FnMut() -> (Option<Held<()>>, Option<T>),
        creator: impl FnOnce(&L) -> StdResult<(), E>,
    ) -> Result<Reading<'_, T>>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let hour = self.shared.hour();
        loop {
            let seen = self.shared.landed();
            let guard = self.guard(hour)?;
            let (held, value) = look();
            match (self.shared.enter(seen, held, || None), value) {
                (Next::Answer(answer), Some(value)) => {
                    return Ok(Reading::new(guard, value, answer?.freshness));
                }
                (Next::Answer(answer), None) => drop(answer?),
                (Next::Again, _) => {}
                (Next::Join(flight, held), _) => {
                    // The one that creates waits for who reads.
                    drop(guard);
                    if let Waited::Over(answer) = self.shared.wait(&flight, held, hour) {
                        drop(answer?);
                    }
                }
                (Next::Create(elected, held), _) => {
                    drop(guard);
                    let outcome = create(elected, || creator(&self.lock).map(Created::new));
                    let answer = self.shared.conclude(outcome, held)?;
                    let guard = self.guard(self.shared.hour())?;
                    let value = look().1.ok_or(Error::NotMade)?;
                    return Ok(Reading::new(guard, value, answer.freshness));
                }
            }
        }
    }

    fn guard(&self, hour: Duration) -> Result<ReadGuard<'_>> {
        let guard = match hour.checked_sub(self.shared.clock.monotonic()) {
            _ if hour == Duration::MAX => self.lock.read(),
            left => self.lock.read_within(left.unwrap_or(Duration::ZERO)),
        };
        guard.map_err(Error::Lock)
    }

    /// The version that there is counts as stale from now on.
    pub fn expire(&self) {
        self.shared.expire();
    }

    /// Whether somebody in this process makes a version at this moment.
    pub fn is_creating(&self) -> bool {
        self.shared.is_creating()
    }
}

impl<'a, T> Reading<'a, T> {
    fn new(guard: ReadGuard<'a>, value: T, freshness: Freshness) -> Reading<'a, T> {
        Reading {
            _guard: guard,
            value,
            freshness,
        }
    }

    /// How good the version is.
    pub fn freshness(&self) -> &Freshness {
        &self.freshness
    }
}

impl<T> Deref for Reading<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Reading<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading")
            .field("value", &self.value)
            .field("freshness", &self.freshness)
            .finish_non_exhaustive()
    }
}

impl<L> fmt::Debug for Swap<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Swap")
            .field("creating", &self.shared.is_creating())
            .finish_non_exhaustive()
    }
}

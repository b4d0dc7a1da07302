//! The front for tasks: a creation is a task of its own, and belongs to nobody who waits for it.

use std::error::Error as StdError;
use std::fmt;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::Dogpile;
use super::answer::{Answer, Created, Held};
use super::elected::Elected;
use super::enter::Next;
use super::error::{Error, Result};
use super::flight::Flight;
use super::shared::Shared;
use super::stats::Stats;
use crate::contain;
use crate::generation::Token;

/// One creator at a time, for tasks. Cheap to clone: all clones are the same, and share all with the [`Dogpile`] that
/// it was made of, so that threads and tasks can ask for the same value.
///
/// A creator runs as a task of its own. A caller that is dropped, or not polled, harms nobody: the creation goes on,
/// and the others get what it makes.
///
/// # Examples
///
/// ```
/// use documentbuffer::dogpile::{AsyncDogpile, Options};
/// use std::time::Duration;
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
/// # runtime.block_on(async {
/// let weather: AsyncDogpile<String> = Options::new(Duration::from_secs(60)).build_async();
/// let fetch = || async { Ok::<_, std::io::Error>("sunny".to_owned()) };
/// assert_eq!(weather.get(fetch).await?.value().map(String::as_str), Some("sunny"));
/// # Ok::<(), documentbuffer::dogpile::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct AsyncDogpile<V> {
    pub(super) shared: Arc<Shared<V>>,
}

impl<V: Send + Sync + 'static> AsyncDogpile<V> {
    /// The value, made if need be. As [`Dogpile::get`], with these differences: the creator runs as a task; with
    /// [`Options::background`](super::Options::background) whoever finds a stale value does not wait for the new one;
    /// and who is elected waits no longer than the others, [`Options::wait`](super::Options::wait).
    ///
    /// # Errors
    ///
    /// As [`Dogpile::get`]; [`Error::NoRuntime`] outside of a tokio runtime.
    pub async fn get<F, I, E>(&self, creator: impl FnOnce() -> F) -> Result<Answer<V>>
    where
        F: Future<Output = std::result::Result<I, E>> + Send + 'static,
        I: Into<Created<V>> + 'static,
        E: Into<Box<dyn StdError + Send + Sync>> + 'static,
    {
        if let Some(answer) = self.shared.fresh() {
            return Ok(answer);
        }
        let shared = &self.shared;
        let create = move |elected, _| create(shared.options.limit, creator(), elected);
        shared
            .drive_async(|| ready(shared.kept()), || None, create)
            .await
    }

    /// The value, which lies elsewhere and says when it was made. As [`Dogpile::get_stamped`], with the differences of
    /// [`get`](AsyncDogpile::get).
    ///
    /// # Errors
    ///
    /// As [`get`](AsyncDogpile::get).
    pub async fn get_stamped<G, F, I, E>(
        &self,
        mut getter: impl FnMut() -> G,
        creator: impl FnOnce() -> F,
    ) -> Result<Answer<V>>
    where
        G: Future<Output = Option<Created<V>>>,
        F: Future<Output = std::result::Result<I, E>> + Send + 'static,
        I: Into<Created<V>> + 'static,
        E: Into<Box<dyn StdError + Send + Sync>> + 'static,
    {
        let shared = &self.shared;
        let look = || {
            let found = getter();
            async move { found.await.and_then(|found| shared.stamped(found)) }
        };
        let create = move |elected: Elected<V>, _| {
            create(shared.options.limit, creator(), elected.elsewhere())
        };
        shared.drive_async(look, || None, create).await
    }

    /// See [`Dogpile::invalidate`].
    pub fn invalidate(&self) {
        self.shared.invalidate();
    }

    /// See [`Dogpile::expire`].
    pub fn expire(&self) {
        self.shared.expire();
    }

    /// See [`Dogpile::is_creating`].
    pub fn is_creating(&self) -> bool {
        self.shared.is_creating()
    }

    /// What it has done.
    pub fn stats(&self) -> Stats {
        self.shared.counts.read()
    }

    /// The same one for threads.
    pub fn blocking(&self) -> Dogpile<V> {
        Dogpile {
            shared: self.shared.clone(),
        }
    }
}

/// A creation that runs: its own number, and those that it was begun by.
struct Link {
    flight: usize,
    parent: Option<Arc<Link>>,
}

tokio::task_local! {
    /// What this task creates.
    static CREATES: Arc<Link>;
}

fn creates() -> Option<Arc<Link>> {
    CREATES.try_with(Arc::clone).ok()
}

/// Whether this task, or one that it is a part of, is to make what it would wait for.
fn would_wait_for_itself<V>(flight: &Arc<Flight<V>>) -> bool {
    let mut link = creates();
    while let Some(creates) = link {
        if creates.flight == address(flight) {
            return true;
        }
        link = creates.parent.clone();
    }
    false
}

/// Its name, as long as it lives.
fn address<V>(flight: &Arc<Flight<V>>) -> usize {
    Arc::as_ptr(flight).addr()
}

impl<V: Send + Sync + 'static> Shared<V> {
    /// Looks, and creates, waits or passes. `view` is what is created from; `create` is told whether there is
    /// something to show meanwhile.
    pub(super) async fn drive_async<L, C>(
        self: &Arc<Self>,
        mut look: impl FnMut() -> L,
        view: impl Fn() -> Option<Token>,
        create: impl FnOnce(Elected<V>, bool) -> C,
    ) -> Result<Answer<V>>
    where
        L: Future<Output = Option<Held<V>>>,
        C: Future<Output = ()> + Send + 'static,
    {
        let hour = self.hour();
        let mut create = Some(create);
        loop {
            let seen = self.landed();
            let held = look().await;
            let runtime = Handle::try_current().map_err(|_| Error::NoRuntime)?;
            let (flight, held) = match self.enter(seen, held, &view) {
                Next::Answer(answer) => return answer,
                Next::Again => continue,
                Next::Join(flight, _) if would_wait_for_itself(&flight) => {
                    return Err(Error::Reentered);
                }
                Next::Join(flight, held) => (flight, held),
                Next::Create(elected, held) => {
                    let flight = elected.flight.clone();
                    let link = Arc::new(Link {
                        flight: address(&flight),
                        parent: creates(),
                    });
                    let shows = self.shows(held.as_ref());
                    if let Some(create) = create.take() {
                        runtime.spawn(CREATES.scope(link, create(elected, shows)));
                    }
                    if self.options.background && shows {
                        return self.pass(held);
                    }
                    (flight, held)
                }
            };
            let left = hour.saturating_sub(self.clock.monotonic());
            match tokio::time::timeout(left, flight.wait()).await {
                // It was somebody else's: this caller may yet do better.
                Ok(Err(Error::Abandoned | Error::Leased { .. })) if create.is_some() => {}
                Ok(outcome) => return self.conclude(outcome, held),
                Err(_) => {
                    let waited = self.options.wait;
                    return self.conclude(Err(Error::TimedOut { waited }), held);
                }
            }
        }
    }
}

/// Runs a creator to its end, or to its limit; a panic of it is an error.
async fn create<V, I, E>(
    limit: Duration,
    creator: impl Future<Output = std::result::Result<I, E>>,
    elected: Elected<V>,
) where
    I: Into<Created<V>>,
    E: Into<Box<dyn StdError + Send + Sync>>,
{
    let made = contained(limit, creator).await;
    let _ = elected.land(made);
}

/// What a creator ends with, within its limit; a panic of it is an error.
pub(super) async fn contained<T>(limit: Duration, creator: impl Future<Output = T>) -> Result<T> {
    let contained = contain::future(creator);
    match tokio::time::timeout(limit, contained).await {
        Ok(made) => made.map_err(Error::panicked),
        Err(_) => Err(Error::Overdue { limit }),
    }
}

impl<V> Clone for AsyncDogpile<V> {
    fn clone(&self) -> AsyncDogpile<V> {
        AsyncDogpile {
            shared: self.shared.clone(),
        }
    }
}

impl<V> fmt::Debug for AsyncDogpile<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncDogpile")
            .field("creating", &self.shared.is_creating())
            .finish_non_exhaustive()
    }
}

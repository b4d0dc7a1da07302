//! "Store it only if nothing was written since": the one cure for answers computed from an old view.
//!
//! Whoever loads, refreshes or copies a value takes a [`Token`] of its key *before* looking, and stores what
//! came of it only in a landing that finds the token live. Any write or removal of the key kills its tokens,
//! at the moment it is requested; while one is requested and not over, every new token is dead from the
//! start. Writes and landings of one key take turns, in the order in which they were asked for.
//!
//! ```text
//!   reader   token ── look below: old ─────────────────────── land: None, the old value is dropped
//!   writer              write (kills the token) ── its turn: new ── over
//! ```
//!
//! This reaches as far as the writes that pass through one [`Generations`], so it does not see those of
//! another process. No lock is held while anybody waits, wakers are called under none, and memory is taken
//! only for keys of which somebody has a token, a turn, or waits for one.

mod sync;
mod turn;

pub use turn::{Landing, Turn, Write};

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, PoisonError};
use std::task::Waker;

use sync::{AtomicU64, AtomicUsize, Mutex, MutexGuard, Ordering};
use turn::Place;

const SHARDS: usize = 32;

/// Who may store what under a key; cheap to clone, and all clones are the same.
///
/// # Examples
///
/// ```
/// use documentbuffer::generation::Generations;
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
/// # runtime.block_on(async {
/// let generations = Generations::new();
/// let early = generations.token("alice");
/// let turn = generations.write("alice").await; // Whatever `early` has seen is old from here on.
/// drop(turn);
/// assert!(generations.land(early).await.is_none());
///
/// let late = generations.token("alice");
/// assert!(generations.land(late).await.is_some());
/// assert!(generations.is_empty());
/// # });
/// ```
#[derive(Clone, Default)]
pub struct Generations(Arc<Inner>);

struct Inner {
    shards: Vec<Mutex<Shard>>,
    marks: Mutex<BTreeSet<u64>>,
    /// How many of them there are, for those who end a write.
    alive: AtomicUsize,
    /// Goes on with each mark, and whenever all are killed.
    sequence: AtomicU64,
    /// Where it was then: the marks up to here are dead.
    killed: AtomicU64,
}

#[derive(Default)]
struct Shard {
    keys: HashMap<Arc<str>, Slot>,
    /// The sequence at which a key was last written, while there are marks.
    written: HashMap<Arc<str>, u64>,
}

/// A key of which there are tokens, a turn, or somebody who waits for one.
#[derive(Default)]
struct Slot {
    /// Goes on with each write that is requested.
    generation: u64,
    /// Whether the last of these stores what was computed from a token of the generation before.
    landing: bool,
    tokens: usize,
    /// Writes that are requested and not over.
    writes: usize,
    tickets: u64,
    /// Who comes when, by ticket; it is the first one's turn.
    queue: VecDeque<Waiter>,
}

struct Waiter {
    ticket: u64,
    waker: Option<Waker>,
}

impl Default for Inner {
    fn default() -> Inner {
        Inner {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            marks: Mutex::default(),
            alive: AtomicUsize::new(0),
            sequence: AtomicU64::new(0),
            killed: AtomicU64::new(0),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    fn shard(&self, key: &str) -> MutexGuard<'_, Shard> {
        // The same for each run, so that a schedule can be repeated; the maps have random keys of their own.
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let at = hasher.finish() % SHARDS as u64;
        lock(&self.shards[at as usize])
    }
}

impl Shard {
    fn slot(&mut self, key: Arc<str>) -> (Arc<str>, &mut Slot) {
        let entry = self.keys.entry(key);
        let key = entry.key().clone();
        (key, entry.or_default())
    }

    fn is_live(&self, key: &str, claim: &Claim) -> bool {
        let slot = self.keys.get(key);
        match claim {
            Claim::Token(token) => token.is_of(slot),
            Claim::Mark(mark) => {
                let written = self.written.get(key);
                let killed = mark.inner.killed.load(Ordering::SeqCst);
                mark.sequence > killed
                    && slot.is_none_or(|slot| slot.writes == 0)
                    && written.is_none_or(|written| *written < mark.sequence)
            }
        }
    }

    fn forget_if_idle(&mut self, key: &str) {
        let idle = |slot: &Slot| slot.tokens == 0 && slot.queue.is_empty();
        if self.keys.get(key).is_some_and(idle) {
            self.keys.remove(key);
        }
    }
}

impl Generations {
    /// Nobody has anything yet.
    pub fn new() -> Generations {
        Generations::default()
    }

    /// A token, to be taken before the work starts whose answer it guards.
    ///
    /// It is dead from the start while a write of the key is requested and not over.
    pub fn token(&self, key: &str) -> Token {
        let mut shard = self.0.shard(key);
        let (key, slot) = shard.slot(key.into());
        let (generation, writes) = (slot.generation, slot.writes);
        slot.tokens += 1;
        drop(shard);
        Token {
            inner: self.0.clone(),
            key,
            generation,
            writes,
        }
    }

    /// Asks for a turn to write or remove what is under `key`.
    ///
    /// The call itself, not the first poll, takes the place in the queue and kills the tokens of the key.
    /// Dropping the future gives the place up; the tokens stay dead.
    pub fn write(&self, key: &str) -> Write {
        Write {
            place: Some(self.place(key.into(), true)),
        }
    }

    /// Asks for a turn to store what was seen under a token.
    ///
    /// The call takes the place in the queue; the answer is `None` where the token is dead by then, or is
    /// of other generations. A landing kills no tokens.
    pub fn land(&self, token: Token) -> Landing {
        let own = Arc::ptr_eq(&self.0, &token.inner);
        let key = token.key.clone();
        self.landing(key, Claim::Token(token), own)
    }

    /// Marks the start of a batch whose keys are not known yet. See [`land_since`](Generations::land_since).
    ///
    /// While a mark is kept, each key written takes memory.
    pub fn mark(&self) -> Mark {
        let mut marks = lock(&self.0.marks);
        // Both before the batch begins: who ends a write and sees too little has ended before it.
        self.0.alive.fetch_add(1, Ordering::SeqCst);
        let sequence = self.0.sequence.fetch_add(1, Ordering::SeqCst) + 1;
        marks.insert(sequence);
        drop(marks);
        Mark(Arc::new(Marked {
            inner: self.0.clone(),
            sequence,
        }))
    }

    /// Asks for a turn to store what was seen under a mark: `None` where a write of the key was under way
    /// at the mark or was requested since.
    pub fn land_since(&self, mark: &Mark, key: &str) -> Landing {
        let own = Arc::ptr_eq(&self.0, &mark.0.inner);
        self.landing(key.into(), Claim::Mark(mark.0.clone()), own)
    }

    fn landing(&self, key: Arc<str>, claim: Claim, own: bool) -> Landing {
        let live = own && self.0.shard(&key).is_live(&key, &claim);
        Landing {
            place: live.then(|| self.place(key, false)),
            claim,
        }
    }

    /// Asks for a turn to write what was computed from that view: `None` where it is old, or is not one of this
    /// key and of these generations.
    ///
    /// Judging the view, taking the place and killing the tokens of the key are one step. So this is a
    /// [landing](Generations::land) for whoever writes what all others have to see.
    pub fn write_if(&self, view: impl Into<View>, key: &str) -> Option<Write> {
        let View(claim) = view.into();
        let own = match &claim {
            Claim::Token(token) => Arc::ptr_eq(&self.0, &token.inner) && *token.key == *key,
            Claim::Mark(mark) => Arc::ptr_eq(&self.0, &mark.inner),
        };
        let mut shard = self.0.shard(key);
        let live = own && shard.is_live(key, &claim);
        let place = live.then(|| self.queue(&mut shard, key.into(), true))?;
        if let (Claim::Token(_), Some(slot)) = (&claim, shard.keys.get_mut(key)) {
            slot.landing = true;
        }
        // Before the claim, which looks for its shard when it goes.
        drop(shard);
        Some(Write { place: Some(place) })
    }

    fn place(&self, key: Arc<str>, writes: bool) -> Place {
        let mut shard = self.0.shard(&key);
        self.queue(&mut shard, key, writes)
    }

    fn queue(&self, shard: &mut Shard, key: Arc<str>, writes: bool) -> Place {
        let (key, slot) = shard.slot(key);
        if writes {
            slot.writes += 1;
            slot.generation += 1;
            slot.landing = false;
        }
        let ticket = slot.tickets;
        slot.tickets += 1;
        let waker = None;
        slot.queue.push_back(Waiter { ticket, waker });
        Place {
            inner: self.0.clone(),
            key,
            ticket,
            writes,
        }
    }

    /// Kills all tokens and marks that are out, as a write of every key would.
    pub fn kill_all(&self) {
        let now = self.0.sequence.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.killed.fetch_max(now, Ordering::SeqCst);
        for shard in &self.0.shards {
            let mut shard = lock(shard);
            for slot in shard.keys.values_mut() {
                slot.generation += 1;
                slot.landing = false;
            }
        }
    }

    /// Keys of which something is remembered.
    pub fn len(&self) -> usize {
        let shards = self.0.shards.iter().map(lock);
        shards
            .map(|shard| shard.keys.len() + shard.written.len())
            .sum()
    }

    /// Whether nothing is remembered of any key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Generations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generations")
            .field("keys", &self.len())
            .finish()
    }
}

/// That nothing was written under a key since it was taken, as long as it lives. Dropping it frees it.
pub struct Token {
    inner: Arc<Inner>,
    key: Arc<str>,
    generation: u64,
    /// Writes that were requested and not over when it was taken: then it was dead from the start.
    writes: usize,
}

impl Token {
    /// Whether a landing would find it live if its turn were now.
    pub fn is_live(&self) -> bool {
        let shard = self.inner.shard(&self.key);
        self.is_of(shard.keys.get(&self.key))
    }

    /// Whether who comes now may share what is computed from it: nothing was written since, other than what was
    /// computed from a token as old as this one and [landed](Generations::write_if). Of one that was taken while writes
    /// were under way: whether none of these is over, and none came.
    pub fn is_shared(&self) -> bool {
        let shard = self.inner.shard(&self.key);
        let slot = shard.keys.get(&self.key);
        slot.is_some_and(|slot| match self.writes {
            0 if slot.landing => slot.generation <= self.generation.saturating_add(1),
            0 => slot.generation == self.generation,
            writes => slot.generation == self.generation && slot.writes == writes,
        })
    }

    fn is_of(&self, slot: Option<&Slot>) -> bool {
        self.writes == 0 && slot.is_some_and(|slot| slot.generation == self.generation)
    }

    /// Its key.
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        let mut shard = self.inner.shard(&self.key);
        if let Some(slot) = shard.keys.get_mut(&self.key) {
            slot.tokens -= 1;
        }
        shard.forget_if_idle(&self.key);
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("live", &self.is_live())
            .finish_non_exhaustive()
    }
}

/// The moment when a batch began. A clone is the same mark; it ends with the last one.
#[derive(Clone)]
pub struct Mark(Arc<Marked>);

struct Marked {
    inner: Arc<Inner>,
    sequence: u64,
}

impl Drop for Marked {
    fn drop(&mut self) {
        // Held to the end, so that nobody marks while records go.
        let mut marks = lock(&self.inner.marks);
        marks.remove(&self.sequence);
        self.inner.alive.fetch_sub(1, Ordering::SeqCst);
        let oldest = marks.first().copied();
        if oldest.is_some_and(|oldest| oldest < self.sequence) {
            return;
        }
        for shard in &self.inner.shards {
            let keep = |written: u64| oldest.is_some_and(|oldest| written >= oldest);
            lock(shard).written.retain(|_, written| keep(*written));
        }
    }
}

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Mark").field(&self.0.sequence).finish()
    }
}

/// What a value was computed from: all that stood at a [`Token`] or a [`Mark`].
pub struct View(Claim);

impl From<Token> for View {
    fn from(token: Token) -> View {
        View(Claim::Token(token))
    }
}

impl From<&Mark> for View {
    fn from(mark: &Mark) -> View {
        View(Claim::Mark(mark.0.clone()))
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").finish_non_exhaustive()
    }
}

/// What a landing stands on.
enum Claim {
    Token(Token),
    Mark(Arc<Marked>),
}

//! Tiers to build chains of: a map each, that waits at gates, fails, panics, evicts, and writes down what it
//! is asked.

#![allow(dead_code)]

pub(crate) mod history;
pub(crate) mod random;

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use documentbuffer::chain::Chain;
use documentbuffer::clock::Clock;
use documentbuffer::durability::Durability;
use documentbuffer::tier::guarded::Guarded;
use documentbuffer::tier::{
    Applied, Capabilities, Entry, Error, Key, Kind, Op, Result, Tier, TierExt, Version, When,
};
use tokio::sync::Semaphore;

use random::Chance;

/// Runs tasks on this thread, in an order that is the same each time.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(test)
}

/// Lets the background work end.
pub(crate) async fn idle<F: Tier>(chain: &Chain<F>) {
    for _ in 0..10_000 {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        if chain.generations().is_empty() {
            return;
        }
    }
    panic!("never idle: {:?}", chain.generations());
}

pub(crate) async fn yields(times: usize) {
    for _ in 0..times {
        tokio::task::yield_now().await;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    Get,
    Put,
    Remove,
    Close,
}

/// What becomes of a call.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Pass,
    Fail(Kind),
    /// It fails, and was made or not.
    Unknown {
        made: bool,
    },
    /// It fails, and is made when somebody says so, or before the next write of its key.
    Late,
    /// It waits, before or behind its effect.
    Hold {
        gate: Gate,
        behind: bool,
    },
    Panic,
}

/// Where a call waits.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    reached: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

impl Gate {
    pub(crate) fn new() -> Gate {
        let [reached, open] = [(); 2].map(|()| Arc::new(Semaphore::new(0)));
        Gate { reached, open }
    }

    /// Until somebody waits here.
    pub(crate) async fn reached(&self) {
        self.reached.acquire().await.unwrap().forget();
    }

    pub(crate) fn is_reached(&self) -> bool {
        self.reached.available_permits() > 0
    }

    pub(crate) fn open(&self) {
        self.open.add_permits(1);
    }

    async fn pass(&self) {
        self.reached.add_permits(1);
        self.open.acquire().await.unwrap().forget();
    }
}

/// A tier in memory. What it holds stays when the chain above it is dropped, as a medium's does.
#[derive(Clone, Debug)]
pub(crate) struct Fake(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    can: Capabilities,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    held: BTreeMap<String, Held>,
    log: Vec<String>,
    acts: BTreeMap<Class, VecDeque<Act>>,
    always: BTreeMap<Class, Act>,
    /// Writes whose callers were told that they do not know.
    late: BTreeMap<String, (Op, When)>,
    chance: Option<Chance>,
}

#[derive(Clone, Debug)]
enum Held {
    Entry(Entry),
    Removed(Version),
}

/// What survives: a cache in memory, a medium, a medium that can do everything.
pub(crate) fn volatile(name: &str) -> Fake {
    Fake::new(name, Capabilities::default())
}

pub(crate) fn durable(name: &str) -> Fake {
    Fake::new(name, Capabilities::new(Durability::Synced))
}

pub(crate) fn able(name: &str, durability: Durability) -> Fake {
    let mut can = Capabilities::new(durability);
    (can.conditions, can.tombstones, can.merge, can.scan) = (true, true, true, true);
    Fake::new(name, can)
}

impl Fake {
    pub(crate) fn new(name: &str, can: Capabilities) -> Fake {
        let name = name.to_owned();
        let state = Mutex::default();
        Fake(Arc::new(Inner { name, can, state }))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    /// This becomes of the next call of that class for which nothing is said yet.
    pub(crate) fn next(&self, class: Class, act: Act) {
        self.state().acts.entry(class).or_default().push_back(act);
    }

    /// The next call of that class waits before its effect.
    pub(crate) fn hold(&self, class: Class) -> Gate {
        self.held_at(class, false)
    }

    /// It waits behind it.
    pub(crate) fn hold_behind(&self, class: Class) -> Gate {
        self.held_at(class, true)
    }

    pub(crate) fn held_at(&self, class: Class, behind: bool) -> Gate {
        let gate = Gate::new();
        self.next(
            class,
            Act::Hold {
                gate: gate.clone(),
                behind,
            },
        );
        gate
    }

    pub(crate) fn fail(&self, class: Class) {
        self.next(class, Act::Fail(Kind::Transient));
    }

    /// This becomes of all calls of that class for which nothing else is said; `Pass` ends it.
    pub(crate) fn always(&self, class: Class, act: Act) {
        self.state().always.insert(class, act);
    }

    pub(crate) fn by_chance(&self, chance: Option<Chance>) {
        self.state().chance = chance;
    }

    pub(crate) fn holds(&self, key: &str) -> Option<String> {
        let state = self.state();
        match state.held.get(key) {
            Some(Held::Entry(entry)) => Some(String::from_utf8(entry.value.to_vec()).unwrap()),
            _ => None,
        }
    }

    pub(crate) fn entry(&self, key: &str) -> Option<Entry> {
        match self.state().held.get(key) {
            Some(Held::Entry(entry)) => Some(entry.clone()),
            _ => None,
        }
    }

    /// Behind the chain's back.
    pub(crate) fn set(&self, key: &str, entry: Entry) {
        self.state().held.insert(key.to_owned(), Held::Entry(entry));
    }

    pub(crate) fn evict(&self, key: &str) {
        self.state().held.remove(key);
    }

    pub(crate) fn clear(&self) {
        self.state().held.clear();
    }

    /// What was given up is made now.
    pub(crate) fn land_late(&self) {
        let mut state = self.state();
        let late = std::mem::take(&mut state.late);
        for (key, (op, when)) in late {
            let _ = state.apply(&self.0, &key, op, when);
        }
    }

    /// What was given up is never made.
    pub(crate) fn lose_late(&self) {
        self.state().late.clear();
    }

    /// What was said of calls to come holds no more.
    pub(crate) fn forget_acts(&self) {
        let mut state = self.state();
        state.acts.clear();
        state.always.clear();
    }

    pub(crate) fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.state().log)
    }

    fn failure(&self, kind: Kind) -> Error {
        Error::new(kind, self.0.name.clone(), "by order")
    }

    fn act(&self, class: Class, key: &str) -> (Act, usize, usize) {
        let mut state = self.state();
        state.log.push(format!("{class:?} {key}").to_lowercase());
        if let Some(act) = state.acts.get_mut(&class).and_then(VecDeque::pop_front) {
            return (act, 0, 0);
        }
        if let Some(chance) = &state.chance {
            return chance.act(class);
        }
        (state.always.get(&class).cloned().unwrap_or(Act::Pass), 0, 0)
    }

    /// Does what becomes of the call, around its effect.
    async fn call<T>(
        &self,
        class: Class,
        key: &str,
        mut effect: impl FnMut(bool) -> Result<T>,
    ) -> Result<T> {
        let (act, before, behind) = self.act(class, key);
        yields(before).await;
        let answer = match act {
            Act::Pass => effect(false),
            Act::Fail(kind) => Err(self.failure(kind)),
            Act::Unknown { made: true } => {
                effect(false).and(Err(self.failure(Kind::Transient).unknown()))
            }
            Act::Unknown { made: false } => Err(self.failure(Kind::Transient).unknown()),
            Act::Late => effect(true).and(Err(self.failure(Kind::Transient).unknown())),
            Act::Hold {
                gate,
                behind: false,
            } => {
                gate.pass().await;
                effect(false)
            }
            Act::Hold { gate, behind: true } => {
                let answer = effect(false);
                gate.pass().await;
                answer
            }
            // Without a word of the panic hook.
            Act::Panic => std::panic::resume_unwind(Box::new("by order")),
        };
        yields(behind).await;
        answer
    }
}

impl State {
    fn land(&mut self, inner: &Inner, key: &str) {
        if let Some((op, when)) = self.late.remove(key) {
            let _ = self.apply(inner, key, op, when);
        }
    }

    fn apply(&mut self, inner: &Inner, key: &str, op: Op, when: When) -> Result<Applied> {
        let unsupported = Error::new(Kind::Unsupported, inner.name.clone(), "it cannot");
        if when != When::Always && !inner.can.conditions {
            return Err(unsupported);
        }
        let held = self.held.get(key).cloned();
        let (version, entry) = match held {
            None => (None, None),
            Some(Held::Removed(version)) => (Some(version), None),
            Some(Held::Entry(entry)) => (Some(entry.version), Some(entry)),
        };
        if !when.allows(op.version(), version, entry.is_some()) {
            return Ok(Applied::Refused { held: version });
        }
        match op {
            Op::Put(entry) => drop(self.held.insert(key.to_owned(), Held::Entry(entry))),
            Op::Remove(version) if inner.can.tombstones => {
                self.held.insert(key.to_owned(), Held::Removed(version));
            }
            Op::Remove(_) => drop(self.held.remove(key)),
            Op::Merge(_) if !inner.can.merge => return Err(unsupported),
            Op::Merge(delta) => {
                let mut sum = entry.unwrap_or_else(|| Entry::new(0i64.to_le_bytes().to_vec()));
                let number = i64::from_le_bytes(sum.value.as_ref().try_into().unwrap());
                sum.value = number
                    .checked_add(delta)
                    .unwrap()
                    .to_le_bytes()
                    .to_vec()
                    .into();
                self.held.insert(key.to_owned(), Held::Entry(sum));
            }
            _ => unreachable!(),
        }
        Ok(Applied::Done)
    }
}

impl Tier for Fake {
    fn name(&self) -> &str {
        &self.0.name
    }

    fn capabilities(&self) -> Capabilities {
        self.0.can
    }

    async fn get(&self, key: Key<'_>) -> Result<Option<Entry>> {
        let key = key.as_str();
        self.call(Class::Get, key, |_| Ok(self.entry(key))).await
    }

    async fn write(&self, key: Key<'_>, op: Op, when: When) -> Result<Applied> {
        let class = match &op {
            Op::Remove(_) => Class::Remove,
            _ => Class::Put,
        };
        let key = key.as_str();
        let effect = |late: bool| {
            let mut state = self.state();
            // What was given up before comes before.
            state.land(&self.0, key);
            if late {
                state.late.insert(key.to_owned(), (op.clone(), when));
                return Ok(Applied::Done);
            }
            state.apply(&self.0, key, op.clone(), when)
        };
        self.call(class, key, effect).await
    }

    async fn scan(
        &self,
        from: Option<&bytes::Bytes>,
        limit: usize,
    ) -> Result<documentbuffer::tier::Page> {
        use documentbuffer::tier::{KeyBuf, Listed, Page};
        if !self.0.can.scan {
            return Err(Error::new(Kind::Unsupported, self.name(), "it cannot list"));
        }
        let state = self.state();
        let from = from.map_or(String::new(), |from| {
            String::from_utf8(from.to_vec()).unwrap()
        });
        let entries = state
            .held
            .range(from..)
            .filter_map(|(key, held)| match held {
                Held::Entry(entry) => Some((key, entry)),
                Held::Removed(_) => None,
            });
        let mut entries = entries.peekable();
        let listed = entries.by_ref().take(limit).map(|(key, entry)| {
            let key = KeyBuf::new(key.as_str()).unwrap();
            Listed::new(key, entry.value.len() as u64, entry.version)
        });
        let listed = listed.collect();
        let next = entries
            .peek()
            .map(|(key, _)| key.as_bytes().to_vec().into());
        Ok(Page::new(listed, next))
    }

    async fn close(&self) -> Result<()> {
        self.call(Class::Close, "", |_| Ok(())).await
    }
}

/// A clock that stands where it is put.
#[derive(Debug, Default)]
pub(crate) struct Hand(AtomicU64);

impl Hand {
    pub(crate) fn at(micros: u64) -> Arc<Hand> {
        Arc::new(Hand(AtomicU64::new(micros)))
    }

    pub(crate) fn set(&self, micros: u64) {
        self.0.store(micros, Ordering::SeqCst);
    }
}

impl Clock for Hand {
    fn wall_micros(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// The value, as text.
pub(crate) async fn read(tier: &impl Tier, key: &str) -> Option<String> {
    let value = tier.value(key).await.unwrap();
    value.map(|value| String::from_utf8(value.to_vec()).unwrap())
}

/// A task of its own, so that it goes on while the test looks.
pub(crate) fn spawn<T: Send + Debug + 'static>(
    task: impl Future<Output = T> + Send + 'static,
) -> tokio::task::JoinHandle<T> {
    tokio::spawn(task)
}

pub(crate) fn put_of(value: &str) -> Op {
    Op::Put(Entry::new(value.to_owned()))
}

pub(crate) fn key(text: &str) -> Key<'_> {
    Key::new(text).unwrap()
}

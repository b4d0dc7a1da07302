//! A slow tier for the tests of what is owed to it: it tells of each write, and answers when and as it is told.
#![allow(dead_code)]

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use documentbuffer::durability::Durability;
use documentbuffer::tier::{
    Applied, Capabilities, Entry, Error, Key, Kind, Op, Result, Tier, Version, When,
};
use tokio::sync::Notify;

/// How a write is answered; all but `Fail` leave what is written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mood {
    Well,
    /// Nothing is written.
    Fail(Kind),
    /// It is written, and the answer is lost.
    Mute,
    Panic,
}

#[derive(Default)]
struct State {
    values: BTreeMap<String, Op>,
    moods: HashMap<String, VecDeque<Mood>>,
    always: HashMap<String, Mood>,
    /// Writes that have begun, in order.
    begun: Vec<(String, Op)>,
    running: HashMap<String, usize>,
    most: usize,
    /// Writes that may end; none where all may.
    gate: Option<usize>,
}

#[derive(Clone)]
pub(crate) struct Slow {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
    pub(crate) capabilities: Capabilities,
}

pub(crate) fn entry(value: &str, number: u64) -> Op {
    Op::Put(Entry::new(value.to_owned()).version(Version { fence: 0, number }))
}

pub(crate) fn key(text: &str) -> Key<'_> {
    Key::new(text).expect("a key")
}

impl Default for Slow {
    fn default() -> Slow {
        Slow {
            state: Arc::default(),
            changed: Arc::default(),
            capabilities: Capabilities::new(Durability::Synced),
        }
    }
}

impl Slow {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under the lock")
    }

    /// The next writes of that key are answered so, one after the other.
    pub(crate) fn moods(&self, key: &str, moods: &[Mood]) {
        let mut state = self.lock();
        state.moods.entry(key.to_owned()).or_default().extend(moods);
    }

    /// All writes of that key are.
    pub(crate) fn always(&self, key: &str, mood: Mood) {
        self.lock().always.insert(key.to_owned(), mood);
    }

    /// From now on writes wait to be let through.
    pub(crate) fn shut(&self) {
        self.lock().gate = Some(0);
    }

    pub(crate) fn let_through(&self, writes: usize) {
        let mut state = self.lock();
        state.gate = state.gate.map(|gate| gate + writes);
        drop(state);
        self.changed.notify_waiters();
    }

    pub(crate) fn open(&self) {
        self.lock().gate = None;
        self.changed.notify_waiters();
    }

    pub(crate) fn begun(&self) -> Vec<(String, Op)> {
        self.lock().begun.clone()
    }

    /// The values of the writes of a key that have begun, in order; removals are empty.
    pub(crate) fn begun_of(&self, key: &str) -> Vec<String> {
        let begun = self.begun().into_iter().filter(|(own, _)| own == key);
        begun.map(|(_, op)| text(&op)).collect()
    }

    /// How many writes were on their way at once, at most.
    pub(crate) fn most(&self) -> usize {
        self.lock().most
    }

    pub(crate) fn held(&self, key: &str) -> Option<String> {
        let state = self.lock();
        match state.values.get(key)? {
            Op::Put(entry) => Some(String::from_utf8_lossy(&entry.value).into_owned()),
            _ => None,
        }
    }

    pub(crate) fn all(&self) -> BTreeMap<String, String> {
        let state = self.lock();
        let puts = state.values.iter();
        puts.filter(|(_, op)| matches!(op, Op::Put(_)))
            .map(|(key, op)| (key.clone(), text(op)))
            .collect()
    }

    /// The number of the write that the tier has of each key, removals too.
    pub(crate) fn versions(&self) -> BTreeMap<String, u64> {
        let state = self.lock();
        let versions = state.values.iter();
        versions
            .map(|(key, op)| (key.clone(), op.version().number))
            .collect()
    }

    /// All goes well from now on.
    pub(crate) fn calm(&self) {
        self.open();
        let mut state = self.lock();
        state.moods.clear();
        state.always.clear();
    }

    /// Waits until so many writes have begun.
    pub(crate) async fn until_begun(&self, writes: usize) {
        while self.begun().len() < writes {
            tokio::task::yield_now().await;
        }
    }

    async fn pass(&self) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            {
                let mut state = self.lock();
                match state.gate {
                    None => return,
                    Some(0) => {}
                    Some(left) => {
                        state.gate = Some(left - 1);
                        return;
                    }
                }
            }
            changed.await;
        }
    }
}

pub(crate) fn text(op: &Op) -> String {
    match op {
        Op::Put(entry) => String::from_utf8_lossy(&entry.value).into_owned(),
        _ => String::new(),
    }
}

/// Counts a write as running while it lives.
struct Running(Slow, String);

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(mut state) = self.0.state.lock() {
            *state.running.get_mut(&self.1).expect("it is counted") -= 1;
        }
    }
}

impl Tier for Slow {
    fn name(&self) -> &str {
        "slow"
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    async fn get(&self, key: Key<'_>) -> Result<Option<Entry>> {
        Ok(match self.lock().values.get(key.as_str()) {
            Some(Op::Put(entry)) => Some(entry.clone()),
            _ => None,
        })
    }

    async fn write(&self, key: Key<'_>, op: Op, when: When) -> Result<Applied> {
        let name = key.as_str().to_owned();
        let (mood, _running) = {
            let mut state = self.lock();
            state.begun.push((name.clone(), op.clone()));
            let running = state.running.entry(name.clone()).or_default();
            *running += 1;
            assert_eq!(*running, 1, "two writes of one key at once");
            let all = state.running.values().sum();
            state.most = state.most.max(all);
            let next = state.moods.get_mut(&name).and_then(VecDeque::pop_front);
            let always = state.always.get(&name).copied();
            let mood = next.or(always).unwrap_or(Mood::Well);
            (mood, Running(self.clone(), name.clone()))
        };
        self.pass().await;
        match mood {
            Mood::Fail(kind) => return Err(Error::new(kind, "slow", "as it was told")),
            Mood::Panic => panic!("injected"),
            Mood::Well | Mood::Mute => {}
        }
        let mut state = self.lock();
        let held = state.values.get(&name).map(Op::version);
        if when == When::Newer && held.is_some_and(|held| held >= op.version()) {
            return Ok(Applied::Refused { held });
        }
        state.values.insert(name, op);
        match mood {
            Mood::Mute => Err(Error::new(Kind::Transient, "slow", "no answer").unknown()),
            _ => Ok(Applied::Done),
        }
    }
}

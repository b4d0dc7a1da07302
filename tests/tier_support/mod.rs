//! Tiers that do as a test says: they wait at gates, fail, panic, and remember who called.
#![allow(dead_code)]

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use documentbuffer::clock::Clock;
use documentbuffer::durability::Durability;
use documentbuffer::tier::{
    Applied, Capabilities, Entry, Error, Key, KeyBuf, Kind, Listed, Op, Page, Result, Tier,
    Version, When,
};
use tokio::sync::Semaphore;

/// What becomes of a call.
#[derive(Clone)]
pub(crate) enum Act {
    /// It is done.
    Pass,
    /// It waits for a permit of the gate, is done, and waits for another one of the second.
    Wait(Arc<Semaphore>, Arc<Semaphore>),
    /// It fails and changes nothing.
    Fail(Error),
    /// It is done and fails.
    DoneAndFail(Error),
    Panic,
}

/// A gate that is shut.
pub(crate) fn shut() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(0))
}

/// One that is open for good.
pub(crate) fn open() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(1 << 20))
}

type Rule = dyn Fn(&str) -> Act + Send + Sync;

/// A map with all conditions, whose calls do as the rule says. Calls are `get k`, `put k`, `remove k`,
/// `merge k`, `scan` and `close`.
#[derive(Clone)]
pub(crate) struct Fake {
    shared: Arc<Shared>,
    pub(crate) capabilities: Capabilities,
}

struct Shared {
    map: Mutex<HashMap<String, Entry>>,
    rule: Mutex<Arc<Rule>>,
    /// Calls that began, and those that ended.
    began: Mutex<Vec<String>>,
    ended: Mutex<Vec<String>>,
    changed: tokio::sync::Notify,
}

impl std::fmt::Debug for Fake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fake")
    }
}

impl Fake {
    pub(crate) fn new() -> Fake {
        let mut capabilities = Capabilities::new(Durability::Memory);
        capabilities.conditions = true;
        capabilities.scan = true;
        capabilities.merge = true;
        Fake {
            shared: Arc::new(Shared {
                map: Mutex::default(),
                rule: Mutex::new(Arc::new(|_: &str| Act::Pass)),
                began: Mutex::default(),
                ended: Mutex::default(),
                changed: tokio::sync::Notify::new(),
            }),
            capabilities,
        }
    }

    pub(crate) fn rule(&self, rule: impl Fn(&str) -> Act + Send + Sync + 'static) {
        *self.shared.rule.lock().unwrap() = Arc::new(rule);
    }

    /// Calls that begin like this do that, all others pass.
    pub(crate) fn on(&self, call: &'static str, act: Act) {
        self.rule(move |called| match called.starts_with(call) {
            true => act.clone(),
            false => Act::Pass,
        });
    }

    pub(crate) fn calm(&self) {
        self.rule(|_| Act::Pass);
    }

    pub(crate) fn value(&self, key: &str) -> Option<Bytes> {
        let map = self.shared.map.lock().unwrap();
        map.get(key).map(|entry| entry.value.clone())
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        let mut keys: Vec<_> = self.shared.map.lock().unwrap().keys().cloned().collect();
        keys.sort();
        keys
    }

    /// Bytes of keys and values.
    pub(crate) fn bytes(&self) -> u64 {
        let map = self.shared.map.lock().unwrap();
        map.iter()
            .map(|(key, entry)| (key.len() + entry.value.len()) as u64)
            .sum()
    }

    pub(crate) fn insert(&self, key: &str, value: &str) {
        let entry = Entry::new(value.to_owned());
        self.shared
            .map
            .lock()
            .unwrap()
            .insert(key.to_owned(), entry);
    }

    pub(crate) fn began(&self) -> Vec<String> {
        self.shared.began.lock().unwrap().clone()
    }

    pub(crate) fn ended(&self) -> Vec<String> {
        self.shared.ended.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, call: &str) -> usize {
        self.began()
            .iter()
            .filter(|began| began.starts_with(call))
            .count()
    }

    /// Waits until so many calls like this have begun.
    pub(crate) async fn until_began(&self, call: &str, count: usize) {
        self.until(|| self.count(call) >= count).await;
    }

    pub(crate) async fn until_ended(&self, call: &str, count: usize) {
        let ended = || {
            self.ended()
                .iter()
                .filter(|ended| ended.starts_with(call))
                .count()
        };
        self.until(|| ended() >= count).await;
    }

    async fn until(&self, met: impl Fn() -> bool) {
        loop {
            let mut changed = pin!(self.shared.changed.notified());
            changed.as_mut().enable();
            if met() {
                return;
            }
            changed.await;
        }
    }

    fn tell(&self, list: &Mutex<Vec<String>>, call: String) {
        list.lock().unwrap().push(call);
        self.shared.changed.notify_waiters();
    }

    async fn call<R>(&self, call: String, act: impl FnOnce() -> Result<R>) -> Result<R> {
        let rule = self.shared.rule.lock().unwrap().clone();
        let todo = rule(&call);
        self.tell(&self.shared.began, call.clone());
        let given = match todo {
            Act::Pass => act(),
            Act::Wait(before, after) => {
                before.acquire().await.unwrap().forget();
                let given = act();
                after.acquire().await.unwrap().forget();
                given
            }
            Act::Fail(error) => Err(error),
            Act::DoneAndFail(error) => {
                act()?;
                Err(error)
            }
            Act::Panic => panic!("as the test says"),
        };
        self.tell(&self.shared.ended, call);
        given
    }

    fn change(&self, key: &str, op: Op, when: When) -> Result<Applied> {
        let mut map = self.shared.map.lock().unwrap();
        let held = map.get(key).cloned();
        let version = held.as_ref().map(|held| held.version);
        if !when.allows(op.version(), version, held.is_some()) {
            return Ok(Applied::Refused { held: version });
        }
        match op {
            Op::Put(entry) => drop(map.insert(key.to_owned(), entry)),
            Op::Remove(_) => drop(map.remove(key)),
            Op::Merge(delta) => {
                let held = held.unwrap_or_else(|| Entry::new(vec![0; 8]));
                let number = i64::from_le_bytes(held.value[..].try_into().unwrap());
                let mut entry = held;
                entry.value = Bytes::copy_from_slice(&(number + delta).to_le_bytes());
                map.insert(key.to_owned(), entry);
            }
            other => panic!("{other:?}"),
        }
        Ok(Applied::Done)
    }
}

impl Tier for Fake {
    fn name(&self) -> &str {
        "fake"
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    async fn get(&self, key: Key<'_>) -> Result<Option<Entry>> {
        let get = || Ok(self.shared.map.lock().unwrap().get(key.as_str()).cloned());
        self.call(format!("get {key}"), get).await
    }

    async fn write(&self, key: Key<'_>, op: Op, when: When) -> Result<Applied> {
        let name = match &op {
            Op::Put(_) => "put",
            Op::Remove(_) => "remove",
            _ => "merge",
        };
        let change = || self.change(key.as_str(), op, when);
        self.call(format!("{name} {key}"), change).await
    }

    async fn scan(&self, _: Option<&Bytes>, _: usize) -> Result<Page> {
        if !self.capabilities.scan {
            return Err(Error::new(Kind::Unsupported, "fake", "it cannot list"));
        }
        let scan = || {
            let listed = self.keys().into_iter().map(|key| {
                let bytes = self.value(&key).map_or(0, |value| value.len() as u64);
                Listed::new(KeyBuf::new(key).unwrap(), bytes, Version::NONE)
            });
            Ok(Page::new(listed.collect(), None))
        };
        self.call("scan".to_owned(), scan).await
    }

    async fn close(&self) -> Result<()> {
        self.call("close".to_owned(), || Ok(())).await
    }
}

/// Time as the test sets it.
#[derive(Debug, Default)]
pub(crate) struct TestClock(Mutex<(u64, Duration)>);

impl TestClock {
    pub(crate) fn at(micros: u64) -> Arc<TestClock> {
        Arc::new(TestClock(Mutex::new((micros, Duration::ZERO))))
    }

    pub(crate) fn advance(&self, by: Duration) {
        let mut time = self.0.lock().unwrap();
        time.0 += by.as_micros() as u64;
        time.1 += by;
    }
}

impl Clock for TestClock {
    fn wall_micros(&self) -> u64 {
        self.0.lock().unwrap().0
    }

    fn monotonic(&self) -> Duration {
        self.0.lock().unwrap().1
    }
}

/// A clock that must not be read.
#[derive(Debug)]
pub(crate) struct NoClock;

impl Clock for NoClock {
    fn wall_micros(&self) -> u64 {
        panic!("the clock is read")
    }

    fn monotonic(&self) -> Duration {
        panic!("the clock is read")
    }
}

/// Polls once; what it gave, if it is done.
pub(crate) async fn poll<F: Future + ?Sized>(future: &mut Pin<Box<F>>) -> Option<F::Output> {
    poll_fn(|context| {
        Poll::Ready(match future.as_mut().poll(context) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}

pub(crate) fn key(text: &str) -> Key<'_> {
    Key::new(text).unwrap()
}

pub(crate) fn put(value: impl Into<Bytes>) -> Op {
    Op::Put(Entry::new(value))
}

pub(crate) fn transient() -> Error {
    Error::new(Kind::Transient, "fake", "not now")
}

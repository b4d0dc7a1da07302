//! A tier that tells of each write, and fails and waits as it is told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use documentbuffer::durability::Durability;
use documentbuffer::tier::{
    Applied, Capabilities, Entry, Error, Key, KeyBuf, Kind, Listed, Op, Page, Result, Tier,
    Version, When,
};
use tokio::sync::Notify;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Trouble {
    Fails,
    /// It is written, and the answer is lost.
    Mute,
    Panics,
}

#[derive(Default)]
struct State {
    values: BTreeMap<String, Entry>,
    number: u64,
    trouble: Option<Trouble>,
    begun: Vec<(String, Option<u64>)>,
    gate: Option<usize>,
    running: BTreeMap<String, usize>,
    most: usize,
    cannot_list: bool,
}

#[derive(Clone, Default)]
pub(crate) struct Shelf {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under the lock")
    }

    pub(crate) fn trouble(&self, trouble: Option<Trouble>) {
        self.lock().trouble = trouble;
    }

    pub(crate) fn cannot_list(&self) {
        self.lock().cannot_list = true;
    }

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

    /// Writes that have begun: the item, or that it is removed.
    pub(crate) fn begun(&self) -> Vec<(String, Option<u64>)> {
        self.lock().begun.clone()
    }

    /// How many writes of one key ran at once, at most.
    pub(crate) fn most(&self) -> usize {
        self.lock().most
    }

    pub(crate) fn all(&self) -> BTreeMap<String, u64> {
        let state = self.lock();
        let all = state.values.iter();
        all.map(|(key, entry)| (key.clone(), number(&entry.value)))
            .collect()
    }

    pub(crate) fn put_raw(&self, key: &str, value: &[u8]) {
        let mut state = self.lock();
        state.number += 1;
        let number = state.number;
        let entry = Entry::new(value.to_vec()).version(Version { fence: 0, number });
        state.values.insert(key.to_owned(), entry);
    }

    async fn pass(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut state = self.lock();
                match &mut state.gate {
                    None => return,
                    Some(0) => {}
                    Some(gate) => {
                        *gate -= 1;
                        return;
                    }
                }
            }
            changed.await;
        }
    }
}

pub(crate) fn encode(value: &u64) -> Vec<u8> {
    value.to_le_bytes().to_vec()
}

pub(crate) fn decode(bytes: Bytes) -> std::result::Result<u64, std::array::TryFromSliceError> {
    Ok(u64::from_le_bytes(bytes.as_ref().try_into()?))
}

fn number(bytes: &Bytes) -> u64 {
    decode(bytes.clone()).expect("a number")
}

struct Running<'a>(&'a Shelf, String);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        *self.0.lock().running.get_mut(&self.1).expect("it runs") -= 1;
    }
}

impl Tier for Shelf {
    fn name(&self) -> &str {
        "shelf"
    }

    fn capabilities(&self) -> Capabilities {
        let mut can = Capabilities::new(Durability::Synced);
        can.scan = true;
        can
    }

    async fn get(&self, key: Key<'_>) -> Result<Option<Entry>> {
        Ok(self.lock().values.get(key.as_str()).cloned())
    }

    async fn write(&self, key: Key<'_>, op: Op, _: When) -> Result<Applied> {
        let text = key.as_str().to_owned();
        {
            let mut state = self.lock();
            let value = match &op {
                Op::Put(entry) => Some(number(&entry.value)),
                _ => None,
            };
            state.begun.push((text.clone(), value));
            let running = state.running.entry(text.clone()).or_default();
            *running += 1;
            let running = *running;
            state.most = state.most.max(running);
        }
        let _running = Running(self, text.clone());
        self.pass().await;
        let trouble = self.lock().trouble;
        if trouble == Some(Trouble::Fails) {
            return Err(Error::new(Kind::Transient, "shelf", "not today"));
        }
        match op {
            Op::Put(entry) => self.put_raw(&text, &entry.value),
            _ => drop(self.lock().values.remove(&text)),
        }
        match trouble {
            Some(Trouble::Panics) => panic!("the store panics, as it is meant to"),
            Some(_) => Err(Error::new(Kind::Transient, "shelf", "lost").unknown()),
            None => Ok(Applied::Done),
        }
    }

    async fn scan(&self, from: Option<&Bytes>, limit: usize) -> Result<Page> {
        let state = self.lock();
        if state.cannot_list {
            return Err(Error::new(Kind::Unsupported, "shelf", "it cannot list"));
        }
        let behind = |key: &str| from.is_none_or(|from| key.as_bytes() > from.as_ref());
        let mut listed = state.values.iter().filter(|(key, _)| behind(key));
        // In small pages, so that there are several.
        let page: Vec<_> = listed.by_ref().take(limit.min(3)).collect();
        let next = page
            .last()
            .map(|(key, _)| Bytes::from(key.as_bytes().to_vec()));
        let next = next.filter(|_| listed.next().is_some());
        let line = |(key, entry): (&String, &Entry)| {
            let key = KeyBuf::new(key.as_str()).expect("a key");
            Listed::new(key, entry.value.len() as u64, entry.version)
        };
        Ok(Page::new(page.into_iter().map(line).collect(), next))
    }
}

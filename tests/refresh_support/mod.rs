//! A service that items stand for: it tells of each refresh, and answers when and as it is told.
#![allow(dead_code)]

pub(crate) mod store;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, Once};
use std::time::Duration;

use documentbuffer::auto_refresh::{Action, AutoRefresh, Batch, Options, Response};
use tokio::sync::Notify;

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// What becomes of an item; an item is a number.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Mood {
    /// It is one more.
    Up,
    /// No answer.
    Silent,
    Unchanged,
    Terminal(u64),
    Set(u64),
    Gone,
    /// Another item is so.
    Other(&'static str, u64),
    /// The whole batch fails.
    Fail,
    Panic,
}

#[derive(Default)]
struct State {
    moods: HashMap<String, VecDeque<Mood>>,
    always: HashMap<String, Mood>,
    default: Option<Mood>,
    begun: Vec<Vec<(String, u64)>>,
    running: HashMap<String, usize>,
    at_once: usize,
    most_of_one: usize,
    most: usize,
    ended: usize,
    cancelled: usize,
    /// Batches that may end; none where all may.
    gate: Option<usize>,
}

#[derive(Clone, Default)]
pub(crate) struct Service {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

/// That a batch runs, until it ends, however it does.
struct Running {
    service: Service,
    ids: Vec<String>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = self.service.lock();
        state.at_once -= 1;
        state.ended += 1;
        for id in &self.ids {
            *state.running.get_mut(id).expect("it runs") -= 1;
        }
        drop(state);
        self.service.changed.notify_waiters();
    }
}

impl Service {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under the lock")
    }

    /// A service that is so with every item.
    pub(crate) fn always(mood: Mood) -> Service {
        let service = Service::default();
        service.lock().default = Some(mood);
        service
    }

    pub(crate) fn is_from_now_on(&self, mood: Mood) {
        self.lock().default = Some(mood);
    }

    pub(crate) fn of(&self, id: &str, mood: Mood) {
        self.lock().always.insert(id.to_owned(), mood);
    }

    /// The next refreshes of that item are so.
    pub(crate) fn next(&self, id: &str, moods: &[Mood]) {
        let mut state = self.lock();
        let queue = state.moods.entry(id.to_owned()).or_default();
        queue.extend(moods.iter().cloned());
    }

    pub(crate) fn shut(&self) {
        self.lock().gate = Some(0);
    }

    pub(crate) fn let_through(&self, batches: usize) {
        let mut state = self.lock();
        state.gate = state.gate.map(|gate| gate + batches);
        drop(state);
        self.changed.notify_waiters();
    }

    pub(crate) fn open(&self) {
        self.lock().gate = None;
        self.changed.notify_waiters();
    }

    /// Batches that have begun, with the values they were given.
    pub(crate) fn begun(&self) -> Vec<Vec<(String, u64)>> {
        self.lock().begun.clone()
    }

    pub(crate) fn calls(&self) -> usize {
        self.lock().begun.len()
    }

    pub(crate) fn calls_of(&self, id: &str) -> usize {
        let state = self.lock();
        let all = state.begun.iter().flatten();
        all.filter(|(own, _)| own == id).count()
    }

    pub(crate) fn ended(&self) -> usize {
        self.lock().ended
    }

    pub(crate) fn cancelled(&self) -> usize {
        self.lock().cancelled
    }

    /// How often one item was refreshed at once, and how many batches were, at most.
    pub(crate) fn most(&self) -> (usize, usize) {
        let state = self.lock();
        (state.most_of_one, state.most)
    }

    pub(crate) async fn until(&self, reached: impl Fn(&Service) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if reached(self) {
                return;
            }
            changed.await;
        }
    }

    pub(crate) async fn until_begun(&self, batches: usize) {
        self.until(|service| service.calls() >= batches).await;
    }

    pub(crate) async fn until_ended(&self, batches: usize) {
        self.until(|service| service.ended() >= batches).await;
        settled().await;
    }

    fn begin(&self, batch: &Batch<u64>) -> (Running, Vec<Mood>) {
        let mut state = self.lock();
        let items = batch
            .iter()
            .map(|item| (item.id().to_owned(), **item.value()));
        let items: Vec<_> = items.collect();
        let mut moods = Vec::new();
        state.at_once += 1;
        state.most = state.most.max(state.at_once);
        for (id, _) in &items {
            let running = state.running.entry(id.clone()).or_default();
            *running += 1;
            let running = *running;
            state.most_of_one = state.most_of_one.max(running);
            let next = state.moods.get_mut(id).and_then(VecDeque::pop_front);
            let mood = next.or_else(|| state.always.get(id).cloned());
            moods.push(mood.or_else(|| state.default.clone()).unwrap_or(Mood::Up));
        }
        let ids = items.iter().map(|(id, _)| id.clone()).collect();
        state.begun.push(items);
        drop(state);
        self.changed.notify_waiters();
        let service = self.clone();
        (Running { service, ids }, moods)
    }

    /// The callback.
    pub(crate) async fn sync(&self, batch: Batch<u64>) -> Result<Vec<Response<u64>>, String> {
        let (running, moods) = self.begin(&batch);
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut state = self.lock();
                match &mut state.gate {
                    None => break,
                    Some(0) => {}
                    Some(gate) => {
                        *gate -= 1;
                        break;
                    }
                }
            }
            if batch.is_cancelled() {
                self.lock().cancelled += 1;
                return Err("cancelled".to_owned());
            }
            tokio::select! {
                () = changed => {}
                () = batch.cancelled() => {}
            }
        }
        drop(running);
        let mut answers = Vec::new();
        for (item, mood) in batch.iter().zip(moods) {
            answers.extend(match mood {
                Mood::Up => Some(item.update(**item.value() + 1)),
                Mood::Silent => None,
                Mood::Unchanged => Some(item.unchanged()),
                Mood::Terminal(value) => Some(item.terminal(value)),
                Mood::Set(value) => Some(item.update(value)),
                Mood::Gone => Some(item.gone()),
                Mood::Other(id, value) => Some(Response::new(id, Action::Update(Arc::new(value)))),
                Mood::Fail => return Err(format!("no {}", item.id())),
                Mood::Panic => panic!("the service panics, as it is meant to"),
            });
        }
        Ok(answers)
    }

    /// A cache of that service, started.
    pub(crate) fn started(&self, options: Options<u64>) -> AutoRefresh<u64> {
        let cache = self.built(options);
        cache.start().expect("started");
        cache
    }

    pub(crate) fn built(&self, options: Options<u64>) -> AutoRefresh<u64> {
        let service = self.clone();
        let sync = move |batch| {
            let service = service.clone();
            async move { service.sync(batch).await }
        };
        options.build(sync).expect("a cache")
    }
}

/// Panics that are meant say nothing.
pub(crate) fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let meant = |text: &&str| text.ends_with("meant to");
            if !info.payload().downcast_ref().is_some_and(meant) {
                hook(info);
            }
        }));
    });
}

/// A period of a second, and no delay that is longer.
pub(crate) fn options() -> Options<u64> {
    quiet();
    Options::new("numbers")
        .period(SECOND)
        .delays(Duration::from_millis(1), Duration::from_millis(1))
}

pub(crate) fn create(cache: &AutoRefresh<u64>, id: &str, value: u64) -> u64 {
    *cache.get_or_create(id, value).expect("an item")
}

pub(crate) fn seen(cache: &AutoRefresh<u64>, id: &str) -> Option<u64> {
    cache.get(id).map(|value| *value)
}

/// Lets all tasks go on until none can without time's passing.
pub(crate) async fn settled() {
    for _ in 0..40 {
        tokio::task::yield_now().await;
    }
}

/// Lets so much time pass, and then all that follows of it.
pub(crate) async fn pass(time: Duration) {
    settled().await;
    tokio::time::sleep(time).await;
    settled().await;
}

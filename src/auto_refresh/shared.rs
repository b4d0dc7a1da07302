//! What callers, workers and the cycle share.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::sync::Notify;

use super::batch::{Batch, Item, Response};
use super::contain::run;
use super::error::BoxError;
use super::items::{Begin, Begun, Items, Junk};
use super::owed::Owed;
use super::rate::Rate;
use super::shelf::Shelf;
use super::signal::Signal;
use crate::clock::Clock;
use crate::contain::{self, Panicked};
use crate::generation::Mark;

/// What the callback answers, or what it said when it failed.
pub(super) type Answers<V> = Result<Vec<Response<V>>, String>;
pub(super) type Callback<V> =
    dyn Fn(Batch<V>) -> Pin<Box<dyn Future<Output = Answers<V>> + Send>> + Send + Sync;
pub(super) type Batcher<V> =
    dyn Fn(Vec<Item<V>>) -> Result<Vec<Vec<Item<V>>>, BoxError> + Send + Sync;

static SOURCES: AtomicU64 = AtomicU64::new(0);

/// Batches that are queued under one turn of the lock.
const STRIDE: usize = 256;

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) name: String,
    pub(super) size: usize,
    pub(super) period: Duration,
    pub(super) parallelism: usize,
    pub(super) shortest: Duration,
    pub(super) longest: Duration,
    pub(super) on_create: bool,
    pub(super) seed: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Life {
    New,
    Started,
    Stopped,
}

pub(super) struct State<V> {
    pub(super) items: Items<V>,
    pub(super) life: Life,
    /// Where there is a store: what it does not have yet.
    pub(super) owed: Option<Owed>,
}

impl<V> State<V> {
    /// Owes the store what has happened to items; whether that is anything.
    pub(super) fn note(&mut self, view: Option<&Mark>) -> bool {
        let Some(owed) = &mut self.owed else {
            return false;
        };
        let mut any = false;
        for (id, touch) in self.items.touched() {
            owed.owe(id, touch, view);
            any = true;
        }
        any
    }
}

/// What is the user's.
pub(super) struct Callbacks<V> {
    pub(super) sync: Box<Callback<V>>,
    pub(super) batcher: Option<Box<Batcher<V>>>,
    pub(super) terminal: Option<fn(&V) -> bool>,
}

pub(super) struct Core<V> {
    /// Which of all caches of this process it is.
    pub(super) source: u64,
    state: Mutex<State<V>>,
    pub(super) callbacks: Callbacks<V>,
    pub(super) settings: Settings,
    pub(super) clock: Arc<dyn Clock>,
    rate: Option<Rate>,
    /// For the workers.
    pub(super) work: Notify,
    pub(super) stop: Arc<Signal>,
    pub(super) shelf: Option<Arc<dyn Shelf<V>>>,
    /// For those who write to the store, and for those who wait for them.
    pub(super) saves: Notify,
    pub(super) saved: Notify,
}

/// A batch that has ended.
pub(super) struct Ended<V> {
    begun: Begun<V>,
    began: Duration,
    answers: Result<Answers<V>, Panicked>,
    /// Where there is a store: since when nobody else may have written there.
    view: Option<Mark>,
}

/// What a worker does next.
pub(super) enum Next<V> {
    Run(Begun<V>),
    /// Until it is called, or so much time has passed.
    Wait(Option<Duration>),
    End,
}

/// Drops values; one that panics keeps none of the others from it.
pub(super) fn discard<V>(junk: &mut Junk<V>) {
    for value in junk.drain(..) {
        // Whose value it was is not told of it: nobody waits here.
        let _ = contain::call(|| drop(value));
    }
}

impl<V: Send + Sync + 'static> Core<V> {
    pub(super) fn new(
        settings: Settings,
        callbacks: Callbacks<V>,
        rate: Option<Rate>,
        clock: Arc<dyn Clock>,
        shelf: Option<Arc<dyn Shelf<V>>>,
    ) -> Core<V> {
        let state = State {
            items: Items::new(settings.size, shelf.is_some()),
            life: Life::New,
            owed: shelf.is_some().then(Owed::default),
        };
        Core {
            source: SOURCES.fetch_add(1, Ordering::Relaxed),
            state: Mutex::new(state),
            callbacks,
            settings,
            clock,
            rate,
            work: Notify::new(),
            stop: Arc::default(),
            shelf,
            saves: Notify::new(),
            saved: Notify::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State<V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The item of that id, which is this if there is none.
    pub(super) fn create(&self, id: &str, value: Arc<V>) -> Arc<V> {
        let terminal = self.callbacks.terminal.is_some_and(|is| is(&value));
        let eager = self.settings.on_create && !terminal;
        let eager = eager.then(|| self.clock.monotonic());
        let mut junk = Vec::new();
        let owes;
        let created = {
            let mut state = self.lock();
            let eager = eager.filter(|_| state.life == Life::Started);
            let created = state.items.create(id, value, terminal, eager, &mut junk);
            state.items.compact(&mut junk);
            owes = state.note(None);
            created
        };
        if created.queued {
            self.work.notify_one();
        }
        self.call_savers(owes);
        // A panic of theirs is their caller's here.
        drop(junk);
        created.value
    }

    /// Wakes those who write to the store, where there is anything for them.
    pub(super) fn call_savers(&self, owes: bool) {
        if owes {
            self.saves.notify_waiters();
        }
    }

    /// Lets nothing begin any more.
    pub(super) fn stop(&self) {
        let mut junk = Vec::new();
        {
            let mut state = self.lock();
            state.life = Life::Stopped;
            state.items.clear_queue(&mut junk);
        }
        self.stop.set();
        self.work.notify_waiters();
        discard(&mut junk);
    }

    /// Files what has ended and begins what is next, in one turn of the lock.
    pub(super) fn next(&self, ended: Option<Ended<V>>, junk: &mut Junk<V>) -> Next<V> {
        let now = self.clock.monotonic();
        let delay = |failures: u32| self.delay(failures);
        let (mut batch, mut owes) = (None, false);
        let view = ended.as_ref().and_then(|ended| ended.view.clone());
        let (next, more) = {
            let mut state = self.lock();
            if let Some(ended) = ended {
                batch = Some(file(&mut state.items, ended, now, &delay, junk));
                owes = state.note(view.as_ref());
            }
            if state.life == Life::Stopped {
                (Next::End, false)
            } else {
                let rate = self.rate.as_ref().map(|rate| || rate.take(now));
                let next = match state.items.begin(now, rate, junk) {
                    Begin::Batch(begun) => Next::Run(begun),
                    Begin::Limited(wait) => Next::Wait(Some(wait)),
                    Begin::Idle(hour) => Next::Wait(hour.map(|hour| hour.saturating_sub(now))),
                };
                // While this one runs another one is to mind the hour.
                let more = matches!(next, Next::Run(_)) && state.items.is_waiting();
                (next, more)
            }
        };
        if more {
            self.work.notify_one();
        }
        self.call_savers(owes);
        // The last who holds a value may be this batch.
        junk.extend(
            batch
                .and_then(Arc::into_inner)
                .into_iter()
                .flatten()
                .map(Item::into_value),
        );
        discard(junk);
        next
    }

    /// How long a key waits after so many failures and one more.
    pub(super) fn delay(&self, failures: u32) -> Duration {
        let Settings {
            shortest, longest, ..
        } = self.settings;
        let mut delays = ExponentialBuilder::new()
            .with_min_delay(shortest)
            .with_max_delay(longest)
            .without_max_times()
            .with_jitter();
        if let Some(seed) = self.settings.seed {
            delays = delays.with_jitter_seed(seed);
        }
        // Far beyond that all are the longest.
        let delay = delays.build().nth(failures.min(64) as usize);
        delay.unwrap_or(longest)
    }

    /// Carries a batch through.
    pub(super) async fn run(&self, begun: Begun<V>) -> Ended<V> {
        let began = self.clock.monotonic();
        let batch = Batch::new(Arc::clone(&begun.items), Arc::clone(&self.stop));
        let view = self.shelf.as_ref().map(|shelf| shelf.mark());
        let answers = run(|| (self.callbacks.sync)(batch)).await;
        Ended {
            begun,
            began,
            answers,
            view,
        }
    }

    /// Makes the deletions that were asked for, and queues what is due.
    pub(super) fn cycle(&self) {
        let now = self.clock.monotonic();
        let mut junk = Vec::new();
        let owes;
        let due = {
            let mut state = self.lock();
            if state.life == Life::Stopped {
                return;
            }
            let due = state.items.list(now, &mut junk);
            state.items.compact(&mut junk);
            owes = state.note(None);
            due
        };
        self.call_savers(owes);
        discard(&mut junk);
        if due.is_empty() {
            return;
        }
        let batches = match &self.callbacks.batcher {
            None => Ok(due.into_iter().map(|item| vec![item]).collect()),
            Some(batcher) => {
                let answer = || batcher(due).map_err(|error| error.to_string());
                let panicked = |Panicked| "the batches panicked".to_owned();
                contain::call(answer).map_err(panicked).and_then(|it| it)
            }
        };
        match batches {
            Ok(batches) => self.enqueue(batches),
            Err(error) => {
                let mut state = self.lock();
                state.items.counts.cycle_errors += 1;
                state.items.counts.last_error = Some(error);
            }
        }
    }

    fn enqueue(&self, batches: Vec<Vec<Item<V>>>) {
        let mut junk = Vec::new();
        let mut batches = batches.into_iter().peekable();
        while batches.peek().is_some() {
            {
                let mut state = self.lock();
                if state.life == Life::Stopped {
                    break;
                }
                for batch in batches.by_ref().take(STRIDE) {
                    state.items.enqueue(batch, &mut junk);
                }
            }
            self.work.notify_waiters();
            discard(&mut junk);
        }
        // What is left was not asked for; whose values it holds, nobody knows.
        let _ = contain::call(|| drop(batches));
    }
}

/// Counts what has ended and applies its answers.
fn file<V>(
    items: &mut Items<V>,
    ended: Ended<V>,
    now: Duration,
    delay: &dyn Fn(u32) -> Duration,
    junk: &mut Junk<V>,
) -> Arc<Vec<Item<V>>> {
    let counts = &mut items.counts;
    counts.syncs += 1;
    counts.took(now.saturating_sub(ended.began));
    let failed = match &ended.answers {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(error.clone()),
        Err(Panicked) => {
            counts.panics += 1;
            Some("the refresh panicked".to_owned())
        }
    };
    if failed.is_some() {
        counts.sync_errors += 1;
        counts.last_error = failed;
    }
    let answers = ended.answers.unwrap_or_else(|Panicked| Err(String::new()));
    items.finish(&ended.begun, answers.map_err(|_| delay), now, junk);
    ended.begun.items
}

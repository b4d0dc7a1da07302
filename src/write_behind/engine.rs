//! The settle protocol: gather, journal, freeze, apply, settle.
//!
//! Locks, in the order in which they are taken: the turn (who may call the sink; a token, not held as a
//! lock), the ledger, a stripe. The sink is called with the turn and no lock.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use super::batch::Batch;
use super::debts::Sums;
use super::error::{Error, Result};
use super::ledger::Ledger;
use super::sink::{Cause, Sink, SinkError};
use super::stats::{Closed, Counts};
use super::stripes::{Refusal, Stripes};
use crate::clock::Bell;
use crate::journal::Journal;

pub(super) struct Engine {
    stripes: Stripes,
    ledger: Mutex<Ledger>,
    turn: Mutex<Turn>,
    turned: Condvar,
    max_keys: usize,
    /// Keys in the ledger, as of when it was last let go.
    keys: AtomicUsize,
    /// Something was added since the last window began to be gathered.
    added: AtomicBool,
    stopping: AtomicBool,
    pub(super) counts: Counts,
    /// Rung when there is something for a window, and at the end.
    pub(super) window_bell: Arc<Bell>,
    /// Rung at the end.
    pub(super) period_bell: Arc<Bell>,
}

struct Turn {
    sink: Option<Box<dyn Sink>>,
    by: Option<ThreadId>,
    closed: bool,
}

/// The ledger in hand; when it is let go, threads learn how full it is.
pub(super) struct Open<'a> {
    ledger: MutexGuard<'a, Ledger>,
    keys: &'a AtomicUsize,
}

impl std::ops::Deref for Open<'_> {
    type Target = Ledger;

    fn deref(&self) -> &Ledger {
        &self.ledger
    }
}

impl std::ops::DerefMut for Open<'_> {
    fn deref_mut(&mut self) -> &mut Ledger {
        &mut self.ledger
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.keys.store(self.ledger.keys(), Ordering::Relaxed);
    }
}

/// The sink in hand; it goes back when this is dropped.
struct InTurn<'a> {
    engine: &'a Engine,
    sink: Option<Box<dyn Sink>>,
}

impl Drop for InTurn<'_> {
    fn drop(&mut self) {
        let mut turn = self.engine.turn();
        turn.by = None;
        if !turn.closed {
            turn.sink = self.sink.take();
        }
        drop(turn);
        self.engine.turned.notify_all();
    }
}

impl Engine {
    pub(super) fn new(ledger: Ledger, sink: Box<dyn Sink>, max_keys: usize) -> Engine {
        Engine {
            stripes: Stripes::new(),
            keys: AtomicUsize::new(ledger.keys()),
            ledger: Mutex::new(ledger),
            turn: Mutex::new(Turn {
                sink: Some(sink),
                by: None,
                closed: false,
            }),
            turned: Condvar::new(),
            max_keys,
            // Until a thread for the windows says that it is there.
            added: AtomicBool::new(true),
            stopping: AtomicBool::new(false),
            counts: Counts::default(),
            window_bell: Arc::default(),
            period_bell: Arc::default(),
        }
    }

    pub(super) fn ledger(&self) -> Open<'_> {
        Open {
            ledger: self.ledger.lock().unwrap_or_else(PoisonError::into_inner),
            keys: &self.keys,
        }
    }

    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    pub(super) fn increment(&self, key: &str, delta: i64) -> Result<()> {
        let room = || {
            let keys = self.keys.load(Ordering::Relaxed);
            self.max_keys.saturating_sub(keys)
        };
        if let Err(refusal) = self.stripes.add(key, delta, room) {
            self.add_anyway(key, delta, refusal)?;
        }
        if !self.added.load(Ordering::Relaxed) && !self.added.swap(true, Ordering::Relaxed) {
            self.window_bell.ring();
        }
        Ok(())
    }

    /// A key that is owed already takes no more room.
    #[cold]
    fn add_anyway(&self, key: &str, delta: i64, refusal: Refusal) -> Result<()> {
        if refusal == Refusal::NewKey {
            let known = {
                let ledger = self.ledger();
                ledger.gathered.contains_key(key) || ledger.debts.owed(key).is_some()
            };
            let room = || if known { usize::MAX } else { 0 };
            match self.stripes.add(key, delta, room) {
                Ok(()) => return Ok(()),
                Err(Refusal::NewKey) => {
                    return Err(Error::Full {
                        keys: self.max_keys,
                    });
                }
                Err(Refusal::Closed) => {}
            }
        }
        Err(if self.is_closed() {
            Error::Closed
        } else {
            Error::Stopped
        })
    }

    /// Makes everything added before as durable as was chosen, as one window.
    pub(super) fn window(&self) -> Result<()> {
        // Before it is gathered: what is added behind it rings again.
        if self.added.load(Ordering::Relaxed) {
            self.added.store(false, Ordering::Relaxed);
        }
        let mut ledger = self.ledger();
        ledger.gather(&self.stripes);
        let written = ledger.settle_windows();
        self.counts.window(&written);
        written?;
        self.compact(&mut ledger);
        Ok(())
    }

    fn compact(&self, ledger: &mut Ledger) {
        if let Err(error) = ledger.compact() {
            self.counts.failed(error);
        }
    }

    /// From now on those who add ring for a window.
    pub(super) fn rings(&self) {
        self.added.store(false, Ordering::Relaxed);
        if !self.stripes.is_empty() {
            self.window_bell.ring();
        }
    }

    /// Waits for the sink.
    fn take_turn(&self) -> Result<InTurn<'_>> {
        let own = thread::current().id();
        let mut turn = self.turn();
        loop {
            if turn.closed {
                return Err(Error::Closed);
            }
            if turn.by == Some(own) {
                return Err(Error::Reentrant);
            }
            if let Some(sink) = turn.sink.take() {
                turn.by = Some(own);
                let sink = Some(sink);
                return Ok(InTurn { engine: self, sink });
            }
            let waited = self.turned.wait(turn);
            turn = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Delivers everything that was added before.
    pub(super) fn sync(&self) -> Result<()> {
        let mut turn = self.take_turn()?;
        let delivered = match &mut turn.sink {
            Some(sink) => self.deliver(&mut **sink),
            None => Err(Error::Closed),
        };
        self.counts.sync(&delivered);
        delivered
    }

    fn deliver(&self, sink: &mut dyn Sink) -> Result<()> {
        {
            let mut ledger = self.ledger();
            ledger.gather(&self.stripes);
            ledger.write_window()?;
        }
        // What is frozen may be older than what was just gathered; behind it comes a batch with all the rest.
        loop {
            let (batch, whole) = {
                let mut ledger = self.ledger();
                if ledger.is_applied() {
                    ledger.settle()?;
                }
                let old = ledger.debts.frozen.is_some();
                match ledger.freeze()? {
                    None => return Ok(()),
                    Some(batch) => (batch, !old && ledger.debts.pending.is_empty()),
                }
            };
            let settled = self.give(sink, batch)?;
            self.compact(&mut self.ledger());
            if settled && whole {
                return Ok(());
            }
        }
    }

    /// Gives the sink what is frozen. Answers whether it took it; else some of it was parked.
    fn give(&self, sink: &mut dyn Sink, batch: Batch) -> Result<bool> {
        let answer = catch_unwind(AssertUnwindSafe(|| sink.apply(batch)));
        if self.is_closed() {
            // It was given up while it was with the sink: the next life asks again.
            return Err(Error::Closed);
        }
        let mut ledger = self.ledger();
        let error = match answer {
            Ok(Ok(())) => {
                ledger.settle()?;
                self.counts.batch();
                return Ok(true);
            }
            Ok(Err(error)) => error,
            Err(panic) => {
                let message = message(&*panic);
                return Err(Error::Panicked { message });
            }
        };
        match &error.cause {
            Cause::Forked(forked) => Err(Error::Forked(forked.clone())),
            Cause::Refused(keys) if ledger.park(keys, &reason(&error))? => Ok(false),
            Cause::Refused(_) | Cause::Unknown => Err(Error::Sink(error)),
        }
    }

    /// All that is owed, by key; what is parked is not among it.
    pub(super) fn owed(&self) -> Sums {
        let ledger = self.ledger();
        let mut sums = ledger.gathered.clone();
        for (key, sum) in &ledger.debts.pending {
            super::debts::add(&mut sums, key.clone(), *sum);
        }
        if let Some(frozen) = &ledger.debts.frozen {
            for (key, delta) in frozen.deltas.iter() {
                super::debts::add(&mut sums, key.clone(), (*delta).into());
            }
        }
        // The ledger is still in hand: nothing moves into it meanwhile.
        self.stripes.look(&mut sums);
        drop(ledger);
        sums
    }

    /// What is owed under that key, likewise.
    pub(super) fn owed_of(&self, key: &str) -> Option<i128> {
        let ledger = self.ledger();
        let held = [
            ledger.gathered.get(key).copied(),
            ledger.debts.owed(key),
            self.stripes.sum_of(key),
        ];
        held.into_iter().flatten().reduce(i128::saturating_add)
    }

    pub(super) fn needs_sync(&self) -> bool {
        let ledger = self.ledger();
        !ledger.is_settled() || !self.stripes.is_empty()
    }

    /// Ends the threads, and journals what was added last. Nothing is added any more.
    pub(super) fn stop(&self) -> Result<()> {
        self.stripes.close();
        self.stopping.store(true, Ordering::SeqCst);
        self.window_bell.ring();
        self.period_bell.ring();
        let mut ledger = self.ledger();
        ledger.gather(&self.stripes);
        ledger.write_window()
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.turn().closed
    }

    /// Whether a thread is in the sink.
    pub(super) fn is_in_sink(&self) -> bool {
        self.turn().by.is_some()
    }

    /// What is left; taken before the end, and so what the journal says too.
    pub(super) fn report(&self, last_error: Option<Error>) -> Closed {
        let owed: BTreeMap<_, _> = self.owed().into_iter().collect();
        let ledger = self.ledger();
        Closed {
            settled: owed.is_empty(),
            owed,
            journaled: ledger.is_journaled(),
            parked: ledger.debts.parked.clone(),
            last_error: last_error.map(|error| error.to_string()),
        }
    }

    /// Whoever comes back from the sink writes nothing any more. Returns the journal.
    pub(super) fn end(&self) -> Option<Journal> {
        let sink = {
            let mut turn = self.turn();
            turn.closed = true;
            turn.sink.take()
        };
        self.turned.notify_all();
        drop(sink);
        self.ledger().end()
    }
}

fn reason(error: &SinkError) -> String {
    const LONGEST: usize = 1000;
    let mut reason = error.to_string();
    if reason.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|at| reason.is_char_boundary(*at));
        reason.truncate(end.unwrap_or(0));
    }
    reason
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "without a message".to_owned())
}

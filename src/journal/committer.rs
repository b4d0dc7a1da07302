//! Leading: carries what has gathered to the store, for all who wait; and the thread that leads where nobody
//! else can.

use std::panic::{self, AssertUnwindSafe};
use std::task::Waker;
use std::time::Duration;

use super::error::{Action, Error, Result};
use super::group::Documents;
use super::options::{Durability, Options};
use super::queue::{Done, Receipt, State, View, Work};
use super::sync::{Arc, Condvar, Mutex, MutexGuard, thread};
use super::trace::Span;
use super::writer::Writer;
use crate::buffer::block::Block;
use crate::clock::Clock;

/// The longest that a leader waits for further writers.
const PATIENCE: Duration = Duration::from_micros(50);

/// What all handles of a journal share.
pub(super) struct Core {
    state: Mutex<State>,
    /// Somebody's outcome is known, or the lead is free.
    done: Condvar,
    /// The committer's thread is needed.
    work: Condvar,
    /// Readers have something new to see.
    news: Condvar,
    /// Only the leader takes it; `None` once closed.
    writer: Mutex<Option<Writer>>,
    clock: std::sync::Arc<dyn Clock>,
    max_document: usize,
}

pub(super) type Guard<'a> = MutexGuard<'a, State>;

/// A store that panicked under a leader must not leave all others waiting.
struct Lead<'a>(&'a Core);

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        if state.busy {
            let source = std::io::Error::other("the store panicked");
            state.last = Some(Error::io(Action::Write, "the journal".into(), source).last());
            state.busy = false;
            state.barrier = false;
        }
        self.0.tell(state);
    }
}

fn ignore<T>(poisoned: Result<T, std::sync::PoisonError<T>>) -> T {
    // No code that can panic runs under these locks but the store's, which a `Lead` looks after.
    poisoned.unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Core {
    pub(super) fn new(writer: Writer, options: &Options) -> Result<Core> {
        let view = view(&writer);
        Ok(Core {
            state: Mutex::new(State::new(options.queue, view)?),
            done: Condvar::new(),
            work: Condvar::new(),
            news: Condvar::new(),
            writer: Mutex::new(Some(writer)),
            clock: options.clock.clone(),
            max_document: options.buffer.max_document,
        })
    }

    pub(super) fn lock(&self) -> Guard<'_> {
        ignore(self.state.lock())
    }

    /// Lets go of the state, and wakes whom its change concerns.
    fn tell(&self, mut state: Guard<'_>) {
        let roused = state.rouse();
        let committer = state.calls_for_committer() || state.stop;
        drop(state);
        self.done.notify_all();
        self.news.notify_all();
        if committer {
            self.work.notify_one();
        }
        wake(roused);
    }

    /// The documents of one call, if they are not too large.
    pub(super) fn documents<'a>(&self, documents: &'a [&'a [u8]]) -> Result<Documents<'a>> {
        Documents::new(documents, self.max_document)
    }

    /// Wakes the committer's thread where it has to lead.
    pub(super) fn call_committer(&self, state: &State) {
        if state.calls_for_committer() {
            self.work.notify_one();
        }
    }

    /// Appends documents; returns the position of the first.
    pub(super) fn append(
        &self,
        documents: &[&[u8]],
        durability: Durability,
        expected: Option<u64>,
    ) -> Result<u64> {
        let documents = self.documents(documents)?;
        let mut state = self.lock();
        let receipt = loop {
            if let Some(receipt) = self.accept(&mut state, &documents, durability, expected)? {
                break receipt;
            }
            state = self.make_room(state)?;
        };
        if receipt.durability == Durability::Memory {
            self.call_committer(&state);
            return Ok(receipt.first);
        }
        self.wait(state, &receipt)?;
        Ok(receipt.first)
    }

    /// Takes documents into the group that gathers; `None` where they have to wait.
    pub(super) fn accept(
        &self,
        state: &mut State,
        documents: &Documents<'_>,
        durability: Durability,
        expected: Option<u64>,
    ) -> Result<Option<Receipt>> {
        state.check()?;
        let actual = state.next();
        if let Some(expected) = expected.filter(|expected| *expected != actual && !state.barrier) {
            return Err(Error::PositionMismatch { expected, actual });
        }
        if documents.count() == 0 {
            return Ok(Some(state.nothing(actual)));
        }
        state.gather(documents, durability)
    }

    fn make_room<'a>(&'a self, state: Guard<'a>) -> Result<Guard<'a>> {
        if state.busy || state.barrier {
            return Ok(ignore(self.done.wait(state)));
        }
        let (state, led) = self.lead(state);
        led.map(|()| state)
    }

    fn wait<'a>(&'a self, mut state: Guard<'a>, receipt: &Receipt) -> Result<()> {
        loop {
            if let Some(outcome) = state.outcome(receipt) {
                return outcome;
            }
            state = if state.busy || state.barrier {
                ignore(self.done.wait(state))
            } else {
                self.lead(state).0
            };
        }
    }

    /// Waits until everything appended so far is as durable as that.
    pub(super) fn flush(&self, durability: Durability) -> Result<()> {
        let mut state = self.lock();
        state.check()?;
        let receipt = state.wait_for_all(durability);
        self.wait(state, &receipt)
    }

    /// Carries what has gathered to the store. Nobody leads yet.
    fn lead<'a>(&'a self, mut state: Guard<'a>) -> (Guard<'a>, Result<()>) {
        state.busy = true;
        let lead = Lead(self);
        if state.gathering.wants == Durability::Synced {
            state = self.linger(state);
        }
        let (mut state, led) = self.carry(state);
        state.busy = false;
        std::mem::forget(lead);
        self.tell(state);
        (self.lock(), led)
    }

    /// Gives the writers of the last groups a moment to come back: fewer, larger syncs.
    fn linger<'a>(&'a self, mut state: Guard<'a>) -> Guard<'a> {
        if state.gathering.waiters >= state.expected() {
            return state;
        }
        let begun = self.clock.monotonic();
        while state.gathering.waiters < state.expected()
            && self.clock.monotonic().saturating_sub(begun) < PATIENCE
        {
            drop(state);
            thread::yield_now();
            state = self.lock();
        }
        state
    }

    fn carry<'a>(&'a self, mut state: Guard<'a>) -> (Guard<'a>, Result<()>) {
        let mut work = match state.depart() {
            Ok(work) => work,
            Err(error) => return (state, Err(error)),
        };
        let roused = state.let_in();
        drop(state);
        wake(roused);
        let (done, took) = {
            let span = span(&work);
            let mut writer = ignore(self.writer.lock());
            let written = match writer.as_mut() {
                Some(writer) => self.write(writer, &mut work),
                None => unreachable_closed(&self.lock().view),
            };
            span.ended(&written.0.result);
            written
        };
        let mut state = self.lock();
        if let Some(took) = took {
            state.counts.sync(took);
        }
        let led = state.settle(work, done);
        (state, led)
    }

    fn write(&self, writer: &mut Writer, work: &mut Work) -> (Done, Option<Duration>) {
        let mut done = Done {
            backlog: 0,
            group: false,
            result: Ok(()),
            view: view(writer),
        };
        let mut took = None;
        done.result = (|| {
            for block in &mut work.backlog {
                writer.write(block)?;
                done.backlog += 1;
            }
            if work.group.block.len() > 0 {
                writer.write(&mut work.group.block)?;
            }
            done.group = true;
            if work.group.wants == Durability::Synced {
                let begun = self.clock.monotonic();
                writer.sync()?;
                took = Some(self.clock.monotonic().saturating_sub(begun));
            }
            Ok(())
        })();
        done.view = view(writer);
        (done, took)
    }

    /// Does something with the writer that nobody may append beside; everything appended before is written.
    pub(super) fn alone<T>(&self, act: impl FnOnce(&mut Writer) -> Result<T>) -> Result<T> {
        self.alone_until(|writer, _| act(writer), true, None)
    }

    /// Discards documents before `position`. Where there is no room for what was appended before, this makes
    /// some.
    pub(super) fn discard_before(&self, position: u64) -> Result<u64> {
        let discard = |writer: &mut Writer, end| {
            if position > end {
                return Err(Error::BeyondEnd { position, end });
            }
            writer.discard_before(position)
        };
        self.alone_until(discard, false, None)
    }

    /// The last thing that a journal does; nobody appends behind it.
    pub(super) fn finish(&self) -> Result<()> {
        self.alone_until(|writer, _| writer.finish(), true, Some(Error::Closed))
    }

    /// `act` gets the writer and the next position, also where what was appended before could not be written
    /// but need not be. Where it is done, every later call gets `last`.
    fn alone_until<T>(
        &self,
        act: impl FnOnce(&mut Writer, u64) -> Result<T>,
        needs_all: bool,
        last: Option<Error>,
    ) -> Result<T> {
        let mut state = self.lock();
        loop {
            state.check()?;
            if !state.busy && !state.barrier {
                break;
            }
            state = ignore(self.done.wait(state));
        }
        (state.busy, state.barrier) = (true, true);
        let lead = Lead(self);
        let mut outcome = Ok(());
        while outcome.is_ok() && !state.is_idle() {
            (state, outcome) = self.carry(state);
        }
        let end = state.next();
        drop(state);
        let outcome = match outcome {
            Err(error) if needs_all || matches!(error, Error::Failed { .. }) => Err(error),
            _ => Ok(()),
        };
        let acted = outcome.and_then(|()| {
            let mut writer = ignore(self.writer.lock());
            let writer = writer.as_mut().ok_or(Error::Closed)?;
            let acted = act(writer, end);
            Ok((acted, view(writer)))
        });
        let mut state = self.lock();
        let acted = acted.and_then(|(acted, view)| {
            state.moved(view);
            acted
        });
        match &acted {
            Ok(_) if last.is_some() => state.last = last,
            Err(error @ Error::Failed { .. }) => state.last = Some(error.clone()),
            _ => {}
        }
        (state.busy, state.barrier) = (false, false);
        std::mem::forget(lead);
        self.tell(state);
        acted
    }

    /// What a reader may see, with everything appended so far in it.
    pub(super) fn view(&self) -> Result<View> {
        {
            let state = self.lock();
            if state.is_idle() && !state.busy {
                return Ok(state.view.clone());
            }
        }
        self.flush(Durability::Written)?;
        Ok(self.lock().view.clone())
    }

    /// Waits until whoever leads has shown what it did to the directory: files go first.
    pub(super) fn let_pass(&self) {
        let state = self.lock();
        if state.busy {
            drop(self.wait_for_news(state, None));
        }
    }

    /// Waits for news, at most so long.
    pub(super) fn wait_for_news<'a>(&self, state: Guard<'a>, most: Option<Duration>) -> Guard<'a> {
        match most {
            Some(most) => ignore(self.news.wait_timeout(state, most)).0,
            None => ignore(self.news.wait(state)),
        }
    }

    /// Leads wherever nobody else will, until the journal is closed or dropped.
    pub(super) fn serve(&self) {
        let mut state = self.lock();
        while !state.stop {
            if !state.calls_for_committer() || state.last.is_some() {
                state = ignore(self.work.wait(state));
            } else if state.busy || state.barrier {
                state = ignore(self.done.wait(state));
            } else {
                // A panic of the store is the journal's end, told to all; not this thread's.
                let led = panic::catch_unwind(AssertUnwindSafe(|| drop(self.lead(state).1)));
                drop(led);
                state = self.lock();
            }
        }
    }

    /// Ends the journal for all handles.
    pub(super) fn close(&self, error: Error) {
        let mut state = self.lock();
        while state.busy {
            state = ignore(self.done.wait(state));
        }
        state.stop = true;
        state.last.get_or_insert(error);
        self.tell(state);
        // The lock is released here.
        drop(ignore(self.writer.lock()).take());
    }
}

fn wake(roused: Vec<Waker>) {
    roused.into_iter().for_each(Waker::wake);
}

fn unreachable_closed(view: &View) -> (Done, Option<Duration>) {
    let done = Done {
        backlog: 0,
        group: false,
        result: Err(Error::Closed),
        view: view.clone(),
    };
    (done, None)
}

fn span(work: &Work) -> Span {
    let blocks = || work.backlog.iter().chain([&work.group.block]);
    let documents = blocks().map(Block::documents).sum();
    let bytes = blocks().map(Block::len).sum();
    Span::commit(documents, bytes, work.group.waiters, work.group.wants)
}

fn view(writer: &Writer) -> View {
    View {
        chain: writer.chain().clone(),
        edge: writer.edge(),
        written: writer.end(),
        synced: writer.synced(),
    }
}

/// Waits until the committer's thread has ended.
pub(super) fn join(committer: thread::JoinHandle<()>) {
    // A task that it wakes may hold the last handle, and drop it there and then.
    if committer.thread().id() != thread::current().id() {
        // It catches the panics of the store; it has none of its own.
        let _ = committer.join();
    }
}

/// Starts the committer's thread.
pub(super) fn spawn(core: Arc<Core>) -> Result<thread::JoinHandle<()>> {
    let builder = thread::Builder::new().name("documentbuffer".to_owned());
    builder
        .spawn(move || core.serve())
        .map_err(|source| Error::io(Action::Spawn, "the committer".into(), source))
}

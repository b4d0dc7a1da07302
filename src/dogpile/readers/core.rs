//! The queue, with threads that wait.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use super::error::{Error, Result, Side};
use super::queue::{Enter, Queue};
use crate::clock::{Bell, Clock};

type Line = Queue<ThreadId, Arc<Bell>>;

#[derive(Debug)]
pub(super) struct Core {
    clock: Arc<dyn Clock>,
    queue: Mutex<Line>,
}

/// How long it is waited, and until when that is.
pub(super) struct Limit {
    pub(super) after: Duration,
    pub(super) hour: Option<Duration>,
}

/// A thread that is inside; whoever has this makes a guard of it.
pub(super) struct Entered {
    pub(super) thread: ThreadId,
    /// It was before.
    pub(super) again: bool,
}

impl Core {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Core {
        Core {
            clock,
            queue: Mutex::default(),
        }
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// A time that begins now; one that ends beyond all time is none.
    pub(super) fn limit(&self, limit: Option<Duration>) -> Limit {
        let hour = limit.and_then(|limit| self.clock.monotonic().checked_add(limit));
        let after = limit.unwrap_or(Duration::MAX);
        Limit { after, hour }
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn waiting(&self) -> usize {
        self.lock().waiting()
    }

    pub(super) fn depth(&self, thread: ThreadId) -> usize {
        self.lock().depth(thread)
    }

    pub(super) fn leave(&self, thread: ThreadId, side: Side) {
        let bells = self.lock().leave(thread, side);
        ring(bells);
    }

    /// None where it would have to wait.
    pub(super) fn try_enter(&self, side: Side) -> Result<Option<Entered>> {
        let thread = thread::current().id();
        let enter = self.lock().enter(thread, side);
        entered(enter, thread, side)
    }

    pub(super) fn enter(&self, side: Side, limit: &Limit) -> Result<Entered> {
        let thread = thread::current().id();
        let mut queue = self.lock();
        let enter = queue.enter(thread, side);
        if let Some(entered) = entered(enter, thread, side)? {
            return Ok(entered);
        }
        let bell = Arc::new(Bell::default());
        let ticket = queue.wait(thread, side, Arc::clone(&bell));
        drop(queue);
        let waiter = Waiter {
            core: self,
            ticket,
            thread,
            side,
        };
        while self.lock().is_waiting(ticket) {
            if !bell.wait(&*self.clock, limit.hour) && waiter.gives_up() {
                std::mem::forget(waiter);
                let after = limit.after;
                return Err(Error::TimedOut { asked: side, after });
            }
        }
        std::mem::forget(waiter);
        let again = false;
        Ok(Entered { thread, again })
    }
}

fn entered(enter: Enter, thread: ThreadId, asked: Side) -> Result<Option<Entered>> {
    let again = match enter {
        Enter::In => false,
        Enter::Again => true,
        Enter::Busy => return Ok(None),
        Enter::Own(holds) => return Err(Error::Nested { holds, asked }),
    };
    Ok(Some(Entered { thread, again }))
}

fn ring(bells: Vec<Arc<Bell>>) {
    bells.iter().for_each(|bell| bell.ring());
}

/// A place in line, which is left when a clock panics.
struct Waiter<'a> {
    core: &'a Core,
    ticket: u64,
    thread: ThreadId,
    side: Side,
}

impl Waiter<'_> {
    /// Whether it left the line; else it was let in at the last moment.
    fn gives_up(&self) -> bool {
        let bells = self.core.lock().give_up(self.ticket);
        bells.map(ring).is_some()
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if !self.gives_up() {
            self.core.leave(self.thread, self.side);
        }
    }
}

//! One creation that others wait for.

use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::ThreadId;
use std::time::Duration;

use tokio::sync::Notify;

use super::answer::Kept;
use super::error::Error;
use crate::clock::{Bell, Clock};
use crate::generation::Token;

pub(super) type Outcome<V> = Result<Arc<Kept<V>>, Error>;

/// A creation, and how it ended. It belongs to none of those who wait for it.
pub(super) struct Flight<V> {
    pub(super) number: u64,
    /// When it counts as failed, if nobody has said before how it ended.
    pub(super) until: Duration,
    /// The thread that creates, where one does.
    pub(super) thread: OnceLock<ThreadId>,
    /// What it sees; it is old when this is.
    view: Mutex<Option<Token>>,
    done: OnceLock<Outcome<V>>,
    ended: Notify,
}

impl<V> Flight<V> {
    pub(super) fn new(number: u64, until: Duration, view: Option<Token>) -> Flight<V> {
        Flight {
            number,
            until,
            thread: OnceLock::new(),
            view: Mutex::new(view),
            done: OnceLock::new(),
            ended: Notify::new(),
        }
    }

    /// Whether its key was written since it began, other than by itself: who comes now must not get what it makes.
    pub(super) fn is_old(&self) -> bool {
        let view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        view.as_ref().is_some_and(|view| !view.is_shared())
    }

    /// The creator begins only now: what was written up to here it sees.
    pub(super) fn begins(&self, view: Token) {
        let mut begun = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        let before = begun.replace(view);
        drop(begun);
        drop(before);
    }

    pub(super) fn finish(&self, outcome: Outcome<V>) {
        if self.done.set(outcome).is_ok() {
            self.ended.notify_waiters();
        }
    }

    pub(super) async fn wait(&self) -> Outcome<V> {
        loop {
            if let Some(outcome) = self.done.get() {
                return outcome.clone();
            }
            let mut ended = pin!(self.ended.notified());
            // From here on it is not missed.
            ended.as_mut().enable();
            if self.done.get().is_none() {
                ended.await;
            }
        }
    }

    /// The same for a thread, until that hour.
    pub(super) fn wait_until(&self, clock: &dyn Clock, hour: Duration) -> Option<Outcome<V>> {
        block_on(self.wait(), clock, hour)
    }
}

struct Ringer(Arc<Bell>);

impl Wake for Ringer {
    fn wake(self: Arc<Self>) {
        self.0.ring();
    }
}

/// Runs a future on this thread until it is ready, or until that hour.
pub(super) fn block_on<F: Future>(
    future: F,
    clock: &dyn Clock,
    hour: Duration,
) -> Option<F::Output> {
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::new(Ringer(bell.clone())));
    let mut future = pin!(future);
    let hour = (hour < Duration::MAX).then_some(hour);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(output);
        }
        if !bell.wait(clock, hour) {
            return None;
        }
    }
}

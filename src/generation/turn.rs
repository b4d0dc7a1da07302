//! Places in the queue of a key, and the futures that wait in them.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::sync::Ordering;
use super::{Claim, Inner};

/// A place in the queue of a key; dropping it leaves the queue.
pub(super) struct Place {
    pub(super) inner: Arc<Inner>,
    pub(super) key: Arc<str>,
    pub(super) ticket: u64,
    pub(super) writes: bool,
}

impl Place {
    /// Whether its turn has come; if not, `waker` is called when it has. A claim that died ends the wait.
    fn poll(&self, waker: &Waker, claim: Option<&Claim>) -> Poll<bool> {
        // Cloned, and what it replaces dropped, outside the lock: wakers are not ours.
        let mut waker = Some(waker.clone());
        let mut shard = self.inner.shard(&self.key);
        if claim.is_some_and(|claim| !shard.is_live(&self.key, claim)) {
            return Poll::Ready(false);
        }
        let Some(slot) = shard.keys.get_mut(&self.key) else {
            return Poll::Ready(false);
        };
        if slot
            .queue
            .front()
            .is_some_and(|first| first.ticket == self.ticket)
        {
            return Poll::Ready(true);
        }
        let own = slot
            .queue
            .binary_search_by_key(&self.ticket, |other| other.ticket);
        if let Some(own) = own.ok().and_then(|own| slot.queue.get_mut(own)) {
            std::mem::swap(&mut own.waker, &mut waker);
        }
        drop(shard);
        Poll::Pending
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut shard = self.inner.shard(&self.key);
        let mut next = None;
        let mut own = None;
        if let Some(slot) = shard.keys.get_mut(&self.key) {
            if let Ok(at) = slot
                .queue
                .binary_search_by_key(&self.ticket, |other| other.ticket)
            {
                own = slot.queue.remove(at);
                let first = slot.queue.front_mut().filter(|_| at == 0);
                next = first.and_then(|first| first.waker.take());
            }
            slot.writes -= usize::from(self.writes);
        }
        if self.writes && self.inner.alive.load(Ordering::SeqCst) > 0 {
            let sequence = self.inner.sequence.load(Ordering::SeqCst);
            shard.written.insert(self.key.clone(), sequence);
        }
        shard.forget_if_idle(&self.key);
        drop(shard);
        drop(own);
        if let Some(next) = next {
            next.wake();
        }
    }
}

/// The turn of whoever writes or lands under a key; dropping it passes it on.
#[must_use = "the turn is over when it is dropped"]
pub struct Turn {
    place: Place,
}

impl Turn {
    /// The key whose turn it is.
    pub fn key(&self) -> &str {
        &self.place.key
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn")
            .field("writes", &self.place.writes)
            .finish_non_exhaustive()
    }
}

/// A write that waits for its [`Turn`].
///
/// # Panics
///
/// When it is polled after its end.
#[must_use = "dropping it gives its place in the queue up"]
pub struct Write {
    pub(super) place: Option<Place>,
}

impl Future for Write {
    type Output = Turn;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Turn> {
        let place = self.place.take().expect("not polled after its end");
        match place.poll(context.waker(), None) {
            Poll::Ready(_) => Poll::Ready(Turn { place }),
            Poll::Pending => {
                self.place = Some(place);
                Poll::Pending
            }
        }
    }
}

impl fmt::Debug for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Write").finish_non_exhaustive()
    }
}

/// A landing that waits for its [`Turn`], or to hear that there is none.
#[must_use = "dropping it gives its place in the queue up"]
pub struct Landing {
    pub(super) place: Option<Place>,
    pub(super) claim: Claim,
}

impl Future for Landing {
    type Output = Option<Turn>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Turn>> {
        let Some(place) = self.place.take() else {
            return Poll::Ready(None);
        };
        match place.poll(context.waker(), Some(&self.claim)) {
            Poll::Ready(live) => Poll::Ready(live.then_some(Turn { place })),
            Poll::Pending => {
                self.place = Some(place);
                Poll::Pending
            }
        }
    }
}

impl fmt::Debug for Landing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Landing").finish_non_exhaustive()
    }
}

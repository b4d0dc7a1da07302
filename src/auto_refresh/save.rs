//! The tasks that write to the store.

use std::sync::Arc;
use std::time::Duration;

use super::contain;
use super::error::Error;
use super::shared::{Core, discard};
use super::shelf::{Loaded, Saved, Shelf};
use crate::contain::Panicked;
use crate::generation::Mark;

/// A write to the store.
struct Save<V> {
    id: Arc<str>,
    value: Option<Arc<V>>,
    view: Option<Mark>,
    /// The number of the last change before it.
    number: u64,
}

/// What a task does next.
enum Next<V> {
    Save(Save<V>),
    Wait(Option<Duration>),
    End,
}

impl<V: Send + Sync + 'static> Core<V> {
    /// An item that the store has.
    pub(super) fn take_over(&self, id: &str, loaded: Loaded<V>) {
        self.lock().items.take_over(id, loaded);
    }

    /// An item that the store has and for which there is no room.
    pub(super) fn leave_out(&self, id: &str) {
        let mut state = self.lock();
        state.items.leave_out(id);
        state.note(None);
    }

    /// Waits until all that has happened so far is in the store.
    pub(super) async fn persist(&self) -> Result<(), Error> {
        let last = self.lock().owed.as_ref().map_or(0, |owed| owed.last());
        loop {
            // Before looking: it hears whatever comes from here on, polled or not.
            let saved = self.saved.notified();
            if let Some(owed) = &self.lock().owed
                && !owed.has(last)
            {
                if owed.is_closed() {
                    return Err(Error::Unsaved { items: owed.len() });
                }
            } else {
                return Ok(());
            }
            saved.await;
        }
    }

    /// Has all that is owed written once more, and lets the tasks end.
    pub(super) fn close_store(&self) {
        if let Some(owed) = &mut self.lock().owed {
            owed.close();
        }
        self.saves.notify_waiters();
        self.saved.notify_waiters();
    }

    /// How many items the store was left without.
    pub(super) fn unsaved(&self) -> Result<(), Error> {
        match self.lock().owed.as_ref().map_or(0, |owed| owed.len()) {
            0 => Ok(()),
            items => Err(Error::Unsaved { items }),
        }
    }

    fn next_save(&self) -> Next<V> {
        let now = self.clock.monotonic();
        let mut state = self.lock();
        let state = &mut *state;
        let Some(owed) = &mut state.owed else {
            return Next::End;
        };
        if let Some((id, view)) = owed.start(now) {
            let (value, number) = state.items.to_store(&id);
            return Next::Save(Save {
                id,
                value,
                view,
                number,
            });
        }
        if owed.is_closed() {
            return Next::End;
        }
        Next::Wait(owed.hour().map(|hour| hour.saturating_sub(now)))
    }

    async fn save(&self, shelf: &Arc<dyn Shelf<V>>, save: Save<V>) {
        let Save {
            id,
            value,
            view,
            number,
        } = save;
        let (own, key) = (Arc::clone(shelf), Arc::clone(&id));
        let write = async move { own.save(&key, value, view).await };
        let saved = contain::run(|| Box::pin(write)).await;
        let now = self.clock.monotonic();
        let delay = |failures| self.delay(failures);
        let mut junk = Vec::new();
        {
            let mut state = self.lock();
            let error = match saved {
                Ok(Ok(Saved::Made)) => {
                    state.items.counts.saves += 1;
                    state.items.stored(&id);
                    None
                }
                Ok(Ok(Saved::Other(loaded))) => {
                    state.items.replace(&id, loaded, number, &mut junk);
                    None
                }
                Ok(Err(error)) => Some((error.to_string(), error.delay())),
                Err(Panicked) => Some(("the store panicked".to_owned(), None)),
            };
            match (error, &mut state.owed) {
                (Some((error, least)), Some(owed)) => {
                    let least = least.unwrap_or_default();
                    owed.failed(&id, now, |failures| delay(failures).max(least));
                    state.items.counts.save_errors += 1;
                    state.items.counts.last_error = Some(error);
                }
                (None, Some(owed)) => owed.arrived(&id),
                _ => {}
            }
        }
        self.saved.notify_waiters();
        discard(&mut junk);
    }
}

/// Writes one item after the other, until all is over.
pub(super) async fn work<V: Send + Sync + 'static>(core: Arc<Core<V>>, shelf: Arc<dyn Shelf<V>>) {
    loop {
        // Before looking: it hears whatever comes from here on, polled or not.
        let called = core.saves.notified();
        match core.next_save() {
            Next::Save(save) => core.save(&shelf, save).await,
            Next::Wait(left) => {
                let left = left.unwrap_or(Duration::MAX);
                let _ = tokio::time::timeout(left, called).await;
            }
            Next::End => return,
        }
    }
}

//! What a callback is asked, and what it answers.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::signal::Signal;

/// An item as it was when it was listed. A clone is cheap.
pub struct Item<V> {
    id: Arc<str>,
    value: Arc<V>,
}

impl<V> Item<V> {
    pub(super) fn new(id: Arc<str>, value: Arc<V>) -> Item<V> {
        Item { id, value }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn shared_id(&self) -> &Arc<str> {
        &self.id
    }

    /// Its value.
    pub fn value(&self) -> &Arc<V> {
        &self.value
    }

    pub(super) fn into_value(self) -> Arc<V> {
        self.value
    }

    /// Takes another value; the one before, if it is not the same.
    pub(super) fn renew(&mut self, value: &Arc<V>) -> Option<Arc<V>> {
        let other = !Arc::ptr_eq(&self.value, value);
        other.then(|| std::mem::replace(&mut self.value, Arc::clone(value)))
    }

    /// The answer that it is as it was.
    pub fn unchanged(&self) -> Response<V> {
        self.answer(Action::Unchanged)
    }

    /// The answer that this is its value now.
    pub fn update(&self, value: impl Into<Arc<V>>) -> Response<V> {
        self.answer(Action::Update(value.into()))
    }

    /// The answer that this is its value, and always will be.
    pub fn terminal(&self, value: impl Into<Arc<V>>) -> Response<V> {
        self.answer(Action::Terminal(value.into()))
    }

    /// The answer that it is no more.
    pub fn gone(&self) -> Response<V> {
        self.answer(Action::Gone)
    }

    fn answer(&self, action: Action<V>) -> Response<V> {
        Response {
            id: Arc::clone(&self.id),
            action,
        }
    }
}

impl<V> Clone for Item<V> {
    fn clone(&self) -> Item<V> {
        Item::new(Arc::clone(&self.id), Arc::clone(&self.value))
    }
}

impl<V> fmt::Debug for Item<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let item = &mut f.debug_struct("Item");
        item.field("id", &self.id).finish_non_exhaustive()
    }
}

/// What became of an item. The cache never compares values: the callback says what has changed.
pub enum Action<V> {
    /// It is as it was; so is what no answer names.
    Unchanged,
    /// This is its value now.
    Update(Arc<V>),
    /// This is its value, and always will be: it is not refreshed any more, and stays until it is deleted or
    /// evicted.
    Terminal(Arc<V>),
    /// It is no more, and goes.
    Gone,
}

impl<V> fmt::Debug for Action<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Action::Unchanged => "Unchanged",
            Action::Update(_) => "Update",
            Action::Terminal(_) => "Terminal",
            Action::Gone => "Gone",
        })
    }
}

/// An answer: of which item, and what became of it. The item need not be of the batch.
#[derive(Debug)]
pub struct Response<V> {
    /// Whose it is.
    pub id: Arc<str>,
    /// What became of it.
    pub action: Action<V>,
}

impl<V> Response<V> {
    /// An answer about any item.
    pub fn new(id: impl Into<Arc<str>>, action: Action<V>) -> Response<V> {
        let id = id.into();
        Response { id, action }
    }
}

/// Items to be refreshed in one call, as they were when it began. A clone is cheap.
pub struct Batch<V> {
    items: Arc<Vec<Item<V>>>,
    stop: Arc<Signal>,
}

impl<V> Batch<V> {
    pub(super) fn new(items: Arc<Vec<Item<V>>>, stop: Arc<Signal>) -> Batch<V> {
        Batch { items, stop }
    }

    /// Whether the cache is being shut down: nobody waits for the answer but the shutdown, which applies it.
    pub fn is_cancelled(&self) -> bool {
        self.stop.is_on()
    }

    /// Waits until the cache is shut down.
    pub async fn cancelled(&self) {
        self.stop.wait().await;
    }
}

impl<V> Deref for Batch<V> {
    type Target = [Item<V>];

    fn deref(&self) -> &[Item<V>] {
        &self.items
    }
}

impl<V> Clone for Batch<V> {
    fn clone(&self) -> Batch<V> {
        Batch::new(Arc::clone(&self.items), Arc::clone(&self.stop))
    }
}

impl<V> fmt::Debug for Batch<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.items.iter()).finish()
    }
}

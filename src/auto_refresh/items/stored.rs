//! What a store has, and is to have, of items.

use std::sync::Arc;

use super::{Items, Junk};
use crate::auto_refresh::owed::Touch;
use crate::auto_refresh::shelf::Loaded;

impl<V> Items<V> {
    /// The store is to hear of that.
    pub(in crate::auto_refresh) fn touch(&mut self, id: &Arc<str>, touch: Touch) {
        if let Some(touched) = &mut self.touched {
            touched.push((Arc::clone(id), touch));
        }
    }

    /// What happened since this was last asked.
    pub(in crate::auto_refresh) fn touched(
        &mut self,
    ) -> impl Iterator<Item = (Arc<str>, Touch)> + use<'_, V> {
        self.touched
            .iter_mut()
            .flat_map(|touched| touched.drain(..))
    }

    /// What the store is to have of an item, and the number of the last change.
    pub(in crate::auto_refresh) fn to_store(&self, id: &str) -> (Option<Arc<V>>, u64) {
        let slot = self.live.peek(id);
        (slot.map(|slot| Arc::clone(&slot.value)), self.changes)
    }

    /// The store has written an item.
    pub(in crate::auto_refresh) fn stored(&mut self, id: &str) {
        if let Some(slot) = self.live.peek_mut(id) {
            self.changes += 1;
            slot.stored = self.changes;
        }
    }

    /// An item is what the store has, or gone where that has none, if it was not changed since that number.
    pub(in crate::auto_refresh) fn replace(
        &mut self,
        id: &str,
        loaded: Option<Loaded<V>>,
        mark: u64,
        junk: &mut Junk<V>,
    ) {
        let slot = self.live.peek_mut(id).filter(|slot| slot.changed <= mark);
        match (slot, loaded) {
            (None, loaded) => junk.extend(loaded.map(|loaded| loaded.value)),
            (Some(slot), Some(loaded)) => {
                self.changes += 1;
                slot.changed = self.changes;
                slot.stored = self.changes;
                slot.terminal = loaded.terminal;
                self.counts.replaced += 1;
                junk.push(std::mem::replace(&mut slot.value, loaded.value));
            }
            (Some(_), None) => {
                if let Some((id, slot)) = self.live.pop_entry(id) {
                    self.counts.replaced += 1;
                    junk.push(self.depart(id, slot));
                }
            }
        }
    }

    /// An item that the store had.
    pub(in crate::auto_refresh) fn take_over(&mut self, id: &str, loaded: Loaded<V>) {
        let mut junk = Junk::new();
        let Loaded { value, terminal } = loaded;
        let counts = self.counts.clone();
        self.create(id, value, terminal, None, &mut junk);
        self.counts = counts;
        self.touched.iter_mut().for_each(Vec::clear);
    }

    /// An item that the store has and for which there is no room.
    pub(in crate::auto_refresh) fn leave_out(&mut self, id: &str) {
        self.counts.evictions += 1;
        self.touch(&id.into(), Touch::Left);
    }
}

//! What the store does not have yet: pure, the time passed in.
//!
//! A key is owed once, however often it changes, and one write of it is on its way at most. What is written is
//! what the item is when the write begins, or its removal.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::generation::Mark;

/// What became of an item.
pub(super) enum Touch {
    New,
    /// An answer changed it; whether a write of ours came in between.
    Changed {
        overlaps: bool,
    },
    /// An answer says that it is gone; likewise.
    Gone {
        overlaps: bool,
    },
    /// It was deleted or evicted.
    Left,
}

#[derive(Default)]
struct Debt {
    /// The number of the oldest change that is to be written.
    waits: Option<u64>,
    /// The number of the oldest change that is on its way.
    flies: Option<u64>,
    /// Where what waits is an answer: since when nobody else may have written.
    view: Option<Mark>,
    /// The store has nothing of it.
    fresh: bool,
    failures: u32,
    later: Option<(Duration, u64)>,
}

#[derive(Default)]
pub(super) struct Owed {
    debts: HashMap<Arc<str>, Debt>,
    /// By the number of what waits.
    ready: BTreeMap<u64, Arc<str>>,
    later: BTreeMap<(Duration, u64), Arc<str>>,
    /// All changes that are not in the store.
    numbers: BTreeSet<u64>,
    last: u64,
    closed: bool,
}

impl Owed {
    /// Keys of which anything is owed.
    pub(super) fn len(&self) -> usize {
        self.debts.len()
    }

    /// The number of the last change.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Whether all changes up to that one are in the store.
    pub(super) fn has(&self, number: u64) -> bool {
        self.numbers.first().is_none_or(|oldest| *oldest > number)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Owes a change; nothing is owed any more once it is closed.
    pub(super) fn owe(&mut self, id: Arc<str>, touch: Touch, view: Option<&Mark>) {
        if self.closed {
            return;
        }
        let known = self.debts.contains_key(&id);
        let debt = self.debts.entry(Arc::clone(&id)).or_default();
        if matches!(touch, Touch::Left | Touch::Gone { .. }) && debt.fresh {
            // The store never heard of it.
            self.forget(&id);
            return;
        }
        debt.fresh |= !known && matches!(touch, Touch::New);
        // What waits already, or flies, is a write of ours: then the view is not what it was.
        let free = !known || debt.view.is_some() && debt.flies.is_none();
        let answer = match touch {
            Touch::Changed { overlaps } | Touch::Gone { overlaps } => !overlaps,
            Touch::New | Touch::Left => false,
        };
        let view = view.filter(|_| free && answer);
        debt.view = view.cloned();
        if debt.waits.is_none() {
            self.last += 1;
            debt.waits = Some(self.last);
            self.numbers.insert(self.last);
        }
        self.ripen(&id);
    }

    fn forget(&mut self, id: &str) {
        let Some(debt) = self.debts.remove(id) else {
            return;
        };
        for number in debt.waits.iter().chain(&debt.flies) {
            self.numbers.remove(number);
            self.ready.remove(number);
        }
        if let Some(place) = debt.later {
            self.later.remove(&place);
        }
    }

    /// Puts a key among those that may go, where it may.
    fn ripen(&mut self, id: &Arc<str>) {
        if let Some(debt) = self.debts.get(id)
            && let Debt {
                waits: Some(number),
                flies: None,
                later: None,
                ..
            } = debt
        {
            self.ready.insert(*number, Arc::clone(id));
        }
    }

    /// The next key to be written, and since when nobody else may have done so; it is on its way from now on.
    pub(super) fn start(&mut self, now: Duration) -> Option<(Arc<str>, Option<Mark>)> {
        while let Some(entry) = self.later.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let id = entry.remove();
            if let Some(debt) = self.debts.get_mut(&id) {
                debt.later = None;
            }
            self.ripen(&id);
        }
        let (_, id) = self.ready.pop_first()?;
        let debt = self.debts.get_mut(&id)?;
        debt.flies = debt.waits.take();
        debt.fresh = false;
        let view = debt.view.take();
        Some((id, view))
    }

    /// When the next delay is over.
    pub(super) fn hour(&self) -> Option<Duration> {
        self.later.keys().next().map(|(hour, _)| *hour)
    }

    /// The write that was on its way has arrived.
    pub(super) fn arrived(&mut self, id: &Arc<str>) {
        let Some(debt) = self.debts.get_mut(id) else {
            return;
        };
        debt.failures = 0;
        if let Some(number) = debt.flies.take() {
            self.numbers.remove(&number);
        }
        match debt.waits {
            None => drop(self.debts.remove(id)),
            Some(_) => self.ripen(id),
        }
    }

    /// The write that was on its way has failed: it goes again, unless it is closed, after the delay for so many
    /// failures.
    pub(super) fn failed(
        &mut self,
        id: &Arc<str>,
        now: Duration,
        delay: impl FnOnce(u32) -> Duration,
    ) {
        let Some(debt) = self.debts.get_mut(id) else {
            return;
        };
        let Some(number) = debt.flies.take() else {
            return;
        };
        if let Some(newer) = debt.waits.replace(number) {
            self.numbers.remove(&newer);
        }
        // It may have been written all the same, which no view outlives.
        debt.view = None;
        let place = (now.saturating_add(delay(debt.failures)), number);
        debt.failures = debt.failures.saturating_add(1);
        if !self.closed {
            debt.later = Some(place);
            self.later.insert(place, Arc::clone(id));
        }
    }

    /// Has all that is owed go once more at once, and owes nothing more.
    pub(super) fn close(&mut self) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        for id in std::mem::take(&mut self.later).into_values() {
            if let Some(debt) = self.debts.get_mut(&id) {
                debt.later = None;
            }
            self.ripen(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generation::Generations;

    fn id(text: &str) -> Arc<str> {
        text.into()
    }

    fn later(_: u32) -> Duration {
        Duration::from_secs(10)
    }

    #[test]
    fn a_view_holds_only_where_nothing_of_ours_comes_in_between() {
        let (generations, now) = (Generations::new(), Duration::ZERO);
        let view = generations.mark();
        let changed = || Touch::Changed { overlaps: false };
        let mut owed = Owed::default();
        owed.owe(id("a"), changed(), Some(&view));
        owed.owe(id("a"), changed(), Some(&view));
        assert!(owed.start(now).is_some_and(|(_, view)| view.is_some()));
        // While ours is on its way, and behind its failure.
        owed.owe(id("a"), changed(), Some(&view));
        assert!(owed.start(now).is_none());
        owed.failed(&id("a"), now, later);
        assert_eq!(
            (owed.start(now).is_none(), owed.hour()),
            (true, Some(later(0)))
        );
        assert!(owed.start(later(0)).is_some_and(|(_, view)| view.is_none()));
        owed.arrived(&id("a"));
        // Behind a creation, and where an own write overlaps.
        owed.owe(id("b"), Touch::New, None);
        owed.owe(id("b"), changed(), Some(&view));
        assert!(owed.start(now).is_some_and(|(_, view)| view.is_none()));
        owed.arrived(&id("b"));
        owed.owe(id("b"), Touch::Changed { overlaps: true }, Some(&view));
        assert!(owed.start(now).is_some_and(|(_, view)| view.is_none()));
        owed.arrived(&id("b"));
        assert_eq!((owed.len(), owed.numbers.len()), (0, 0));
    }

    #[test]
    fn a_closed_one_tries_each_once_more_and_takes_nothing_in() {
        let (mut owed, now) = (Owed::default(), Duration::ZERO);
        for name in ["a", "b"] {
            owed.owe(id(name), Touch::New, None);
            assert!(owed.start(now).is_some());
            owed.failed(&id(name), now, later);
        }
        owed.close();
        owed.owe(id("c"), Touch::New, None);
        assert!(owed.start(now).is_some_and(|(own, _)| &*own == "a"));
        assert!(owed.start(now).is_some_and(|(own, _)| &*own == "b"));
        owed.failed(&id("a"), now, later);
        owed.arrived(&id("b"));
        assert!(owed.start(Duration::MAX).is_none());
        assert_eq!((owed.len(), owed.has(1), owed.has(0)), (1, false, true));
    }

    #[test]
    fn one_that_comes_and_goes_unseen_leaves_nothing() {
        let mut owed = Owed::default();
        for _ in 0..1000 {
            owed.owe(id("a"), Touch::New, None);
            owed.owe(id("a"), Touch::Changed { overlaps: false }, None);
            owed.owe(id("a"), Touch::Left, None);
        }
        assert_eq!(
            (owed.len(), owed.ready.len(), owed.numbers.len()),
            (0, 0, 0)
        );
        // The store may have it: then it is removed.
        owed.owe(id("b"), Touch::Left, None);
        assert!(owed.start(Duration::ZERO).is_some());
    }
}

//! Which writes are owed, and which may go next: pure, the time passed in.
//!
//! ```text
//!   owe -> next -> ready -> flying -> settled
//!            ^       later <--+-> parked
//! ```
//!
//! A key is in one of these places, at most one of its writes is on its way, and a newer one takes the place of
//! one that waits. Whatever comes for a key, it does not go before its delay is over.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use crate::tier::{Entry, Key, KeyBuf, Op};

/// A write, and its number.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Owed {
    pub(super) number: u64,
    pub(super) op: Op,
}

/// One that will not go by itself.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Parked {
    pub(super) owed: Owed,
    pub(super) reason: String,
}

/// How long a key waits after each failure.
pub(super) type Delays = Box<dyn Iterator<Item = Duration> + Send>;

#[derive(Default)]
struct Slot {
    next: Option<Owed>,
    flying: Flying,
    parked: Option<Parked>,
    delays: Option<Delays>,
    /// It stands in `later`, there.
    later: Option<(Duration, u64)>,
    /// It stands in `ready`.
    ready: bool,
}

#[derive(Default)]
enum Flying {
    #[default]
    None,
    /// It is owed.
    Owed(Owed),
    /// Its caller waits for it, and owns it: nobody else is to see it.
    Through,
}

/// What became of a write.
#[derive(Debug, PartialEq)]
pub(super) enum Fate {
    /// It is settled.
    Settled(u64),
    /// It, or a newer one in its place, goes again later.
    Later,
    /// It will not go by itself.
    Parked(Parked),
}

/// How a write failed.
pub(super) enum Failure {
    /// It may go well another time, and not before so long.
    Passing(Option<Duration>),
    /// It never will, and this is why.
    Final(String),
}

#[derive(Default)]
pub(super) struct Owing {
    slots: HashMap<KeyBuf, Slot>,
    ready: VecDeque<KeyBuf>,
    later: BTreeMap<(Duration, u64), KeyBuf>,
    bytes: usize,
    tickets: u64,
}

/// Bytes that a write takes.
pub(super) fn weight(key: Key<'_>, op: &Op) -> usize {
    let value = match op {
        Op::Put(entry) => entry.value.len(),
        _ => 0,
    };
    key.as_str().len() + value
}

impl Owing {
    /// Keys of which anything is owed, or parked, or on its way.
    pub(super) fn keys(&self) -> usize {
        self.slots.len()
    }

    /// Bytes of keys and values.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing is owed but what is parked, and nothing is on its way.
    pub(super) fn is_settled(&self) -> bool {
        let mut slots = self.slots.values();
        slots.all(|slot| slot.next.is_none() && matches!(slot.flying, Flying::None))
    }

    pub(super) fn holds(&self, key: Key<'_>) -> bool {
        self.slots.contains_key(key.as_str())
    }

    /// What the tier will hold once all is settled, where that is not what it holds now.
    pub(super) fn newest(&self, key: Key<'_>) -> Option<&Op> {
        let slot = self.slots.get(key.as_str())?;
        slot.newest().map(|owed| &owed.op)
    }

    /// Every key's newest write, and why it is parked, if it is.
    pub(super) fn all(&self) -> impl Iterator<Item = (&KeyBuf, &Owed, Option<&str>)> {
        self.slots.iter().filter_map(|(key, slot)| {
            let reason = slot.parked.as_ref().map(|parked| &*parked.reason);
            Some((key, slot.newest()?, reason))
        })
    }

    /// Owes a write; whatever waited under that key, or was parked, is void.
    pub(super) fn owe(&mut self, key: &KeyBuf, owed: Owed) {
        let slot = self.slots.entry(key.clone()).or_default();
        let void = [slot.next.take(), slot.parked.take().map(|it| it.owed)];
        for void in void.into_iter().flatten() {
            self.bytes = self.bytes.saturating_sub(weight(key.as_key(), &void.op));
        }
        self.bytes = self.bytes.saturating_add(weight(key.as_key(), &owed.op));
        slot.next = Some(owed);
        self.ripen(key);
    }

    /// Parks a write that a journal says is.
    pub(super) fn park(&mut self, key: &KeyBuf, parked: Parked) {
        let slot = self.slots.entry(key.clone()).or_default();
        self.bytes = (self.bytes).saturating_add(weight(key.as_key(), &parked.owed.op));
        slot.parked = Some(parked);
    }

    /// Puts a key among those that may go, where it may.
    fn ripen(&mut self, key: &KeyBuf) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        let waits = slot.ready || slot.later.is_some() || !matches!(slot.flying, Flying::None);
        if slot.next.is_some() && !waits {
            slot.ready = true;
            self.ready.push_back(key.clone());
        }
    }

    /// The next write that may go; it is on its way from now on.
    pub(super) fn start(&mut self, now: Duration) -> Option<(KeyBuf, Owed)> {
        while let Some(entry) = self.later.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let key = entry.remove();
            if let Some(slot) = self.slots.get_mut(&key) {
                slot.later = None;
            }
            self.ripen(&key);
        }
        let key = self.ready.pop_front()?;
        let slot = self.slots.get_mut(&key)?;
        slot.ready = false;
        let owed = slot.next.take()?;
        slot.flying = Flying::Owed(owed.clone());
        Some((key, owed))
    }

    /// Whether any write may go now.
    pub(super) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// When the next delay is over.
    pub(super) fn hour(&self) -> Option<Duration> {
        self.later.keys().next().map(|(hour, _)| *hour)
    }

    /// The write that was on its way has arrived.
    pub(super) fn arrived(&mut self, key: &KeyBuf) -> Option<Fate> {
        let slot = self.slots.get_mut(key)?;
        let Flying::Owed(owed) = std::mem::take(&mut slot.flying) else {
            return None;
        };
        slot.delays = None;
        self.bytes = self.bytes.saturating_sub(weight(key.as_key(), &owed.op));
        self.go_on(key);
        Some(Fate::Settled(owed.number))
    }

    /// The write that was on its way has failed. A newer one takes its place, and waits in its stead.
    pub(super) fn failed(
        &mut self,
        key: &KeyBuf,
        failure: Failure,
        now: Duration,
        delays: impl FnOnce() -> Delays,
    ) -> Option<Fate> {
        let slot = self.slots.get_mut(key)?;
        let Flying::Owed(owed) = std::mem::take(&mut slot.flying) else {
            return None;
        };
        let superseded = slot.next.is_some();
        if superseded {
            self.bytes = self.bytes.saturating_sub(weight(key.as_key(), &owed.op));
        }
        match failure {
            Failure::Passing(least) => {
                let own = slot.delays.get_or_insert_with(delays).next();
                let delay = own.unwrap_or(Duration::MAX).max(least.unwrap_or_default());
                self.tickets += 1;
                let place = (now.saturating_add(delay), self.tickets);
                slot.later = Some(place);
                slot.next.get_or_insert(owed);
                self.later.insert(place, key.clone());
                Some(Fate::Later)
            }
            Failure::Final(_) if superseded => {
                slot.delays = None;
                self.go_on(key);
                Some(Fate::Later)
            }
            Failure::Final(reason) => {
                slot.delays = None;
                let parked = Parked { owed, reason };
                slot.parked = Some(parked.clone());
                Some(Fate::Parked(parked))
            }
        }
    }

    /// Takes a key on which nothing is owed for a write that its caller waits for.
    pub(super) fn take(&mut self, key: &KeyBuf) -> bool {
        if self.holds(key.as_key()) {
            return false;
        }
        let slot = self.slots.entry(key.clone()).or_default();
        slot.flying = Flying::Through;
        true
    }

    /// That write is over, one way or the other.
    pub(super) fn give_back(&mut self, key: &KeyBuf) {
        if let Some(slot) = self.slots.get_mut(key) {
            slot.flying = Flying::None;
        }
        self.go_on(key);
    }

    fn go_on(&mut self, key: &KeyBuf) {
        self.ripen(key);
        if self.slots.get(key).is_some_and(Slot::is_empty) {
            self.slots.remove(key);
        }
    }

    /// What is parked under a key.
    pub(super) fn parked(&self, key: Key<'_>) -> Option<&Parked> {
        self.slots.get(key.as_str())?.parked.as_ref()
    }

    pub(super) fn all_parked(&self) -> impl Iterator<Item = (&KeyBuf, &Parked)> {
        self.slots
            .iter()
            .filter_map(|(key, slot)| Some((key, slot.parked.as_ref()?)))
    }

    /// What is parked under that key, of that number, goes again, or is given up.
    pub(super) fn release(&mut self, key: &KeyBuf, number: u64, again: bool) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        let Some(parked) = slot.parked.take_if(|parked| parked.owed.number == number) else {
            return;
        };
        if again && slot.next.is_none() {
            slot.next = Some(parked.owed);
        } else {
            self.bytes = (self.bytes).saturating_sub(weight(key.as_key(), &parked.owed.op));
        }
        self.go_on(key);
    }
}

impl Slot {
    fn newest(&self) -> Option<&Owed> {
        let flying = match &self.flying {
            Flying::Owed(owed) => Some(owed),
            _ => None,
        };
        let parked = self.parked.as_ref().map(|parked| &parked.owed);
        self.next.as_ref().or(flying).or(parked)
    }

    fn is_empty(&self) -> bool {
        self.newest().is_none() && matches!(self.flying, Flying::None)
    }
}

/// What a reader finds where that is owed, at that time.
pub(super) fn seen(op: &Op, now: impl FnOnce() -> u64) -> Option<Entry> {
    match op {
        Op::Put(entry) if entry.expiry.is_none() || entry.is_live(now()) => Some(entry.clone()),
        _ => None,
    }
}

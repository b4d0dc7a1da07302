//! Which items there are, and who is due, queued, running or in backoff: pure, the time passed in.
//!
//! ```text
//!   idle -> queued -> running -> idle
//!     ^       ^          ` dirty: goes again once it has ended
//!     |       `- waiting: wanted, and its backoff not over
//!     `--------- its backoff not over: sits out its cycles
//! ```
//!
//! Every change of an item gets a number, and a batch remembers the last one given when it began. An answer is
//! applied only to an item whose own number is not above that: one that was created, changed, or asked to be
//! deleted since is left alone. What a key went through outlives its item, so that an item created again neither
//! runs twice nor gets around its backoff.

mod stored;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use lru::LruCache;

use super::batch::{Action, Item, Response};
use super::counts::Counts;
use super::owed::Touch;

/// Values that are to be dropped with no lock held: what drops them may be anybody's code.
pub(super) type Junk<V> = Vec<Arc<V>>;

/// A place among those whose backoff is not over.
type Place = (Duration, u64);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Idle,
    Waiting(Place),
    /// In the batch of that number.
    Queued(u64),
    Running,
    /// Running, and wanted again.
    Dirty,
}

/// Backoffs that are remembered of items that are gone, at least.
const LEAST_PAST: usize = 64;

/// What a key goes through, whether there is an item or not.
#[derive(Clone, Copy, Debug)]
struct Work {
    phase: Phase,
    /// In a row.
    failures: u32,
    /// The end of its backoff.
    until: Duration,
}

const FRESH: Work = Work {
    phase: Phase::Idle,
    failures: 0,
    until: Duration::ZERO,
};

struct Slot<V> {
    value: Arc<V>,
    /// The number of its last change.
    changed: u64,
    /// The cycle that listed it and has not queued it yet.
    listed: u64,
    terminal: bool,
    /// To be deleted by the next cycle.
    doomed: bool,
    work: Work,
    /// The number that a change had, or would have had, when the store had last written it.
    stored: u64,
}

impl<V> Slot<V> {
    fn is_due(&self) -> bool {
        self.work.phase == Phase::Idle && !self.terminal && !self.doomed
    }
}

/// A batch that has begun.
pub(super) struct Begun<V> {
    pub(super) items: Arc<Vec<Item<V>>>,
    /// The number of the last change before it.
    pub(super) mark: u64,
}

/// What a worker is to do next.
pub(super) enum Begin<V> {
    Batch(Begun<V>),
    /// The rate allows nothing before that has passed.
    Limited(Duration),
    /// Nothing is queued; at that time something may be.
    Idle(Option<Duration>),
}

/// What became of a creation.
pub(super) struct Created<V> {
    /// The item of that id, old or new.
    pub(super) value: Arc<V>,
    /// Something was queued.
    pub(super) queued: bool,
}

pub(super) struct Items<V> {
    live: LruCache<Arc<str>, Slot<V>>,
    size: usize,
    /// Keys without an item whose refresh runs.
    orphans: HashMap<Arc<str>, Work>,
    /// Keys without an item that failed last; no more than there may be items, or a few.
    past: LruCache<Arc<str>, Work>,
    queue: VecDeque<(u64, Vec<Item<V>>)>,
    later: BTreeMap<Place, Arc<str>>,
    /// Items in the queue, and what is left there of items that are gone.
    queued: usize,
    remnants: usize,
    running: usize,
    failing: usize,
    changes: u64,
    tickets: u64,
    cycle: u64,
    /// Where there is a store: what it has not heard of.
    touched: Option<Vec<(Arc<str>, Touch)>>,
    pub(super) counts: Counts,
}

impl<V> Items<V> {
    pub(super) fn new(size: usize, stored: bool) -> Items<V> {
        Items {
            live: LruCache::unbounded(),
            size,
            orphans: HashMap::new(),
            past: LruCache::unbounded(),
            queue: VecDeque::new(),
            later: BTreeMap::new(),
            queued: 0,
            remnants: 0,
            running: 0,
            failing: 0,
            changes: 0,
            tickets: 0,
            cycle: 0,
            touched: stored.then(Vec::new),
            counts: Counts::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.live.len()
    }

    /// Items that are queued, keys whose refresh runs, and items whose last refresh failed.
    pub(super) fn at_work(&self) -> (usize, usize, usize) {
        (self.queued + self.later.len(), self.running, self.failing)
    }

    /// Whether any that is wanted waits for the end of its backoff.
    pub(super) fn is_waiting(&self) -> bool {
        !self.later.is_empty()
    }

    /// Forgets what was to be refreshed.
    pub(super) fn clear_queue(&mut self, junk: &mut Junk<V>) {
        for (_, slot) in self.live.iter_mut() {
            slot.work.phase = match slot.work.phase {
                Phase::Waiting(_) | Phase::Queued(_) => Phase::Idle,
                Phase::Dirty => Phase::Running,
                phase => phase,
            };
        }
        let queue = std::mem::take(&mut self.queue).into_iter();
        junk.extend(queue.flat_map(|(_, items)| items).map(Item::into_value));
        self.later.clear();
        (self.queued, self.remnants) = (0, 0);
    }

    /// A use of the item.
    pub(super) fn get(&mut self, id: &str) -> Option<Arc<V>> {
        let found = self.live.get(id).map(|slot| Arc::clone(&slot.value));
        match found {
            Some(_) => self.counts.hits += 1,
            None => self.counts.misses += 1,
        }
        found
    }

    /// A use of the item by whoever would create it: a deletion that was asked for is not made.
    pub(super) fn keep(&mut self, id: &str) -> Option<Arc<V>> {
        let slot = self.live.get_mut(id)?;
        slot.doomed = false;
        self.counts.hits += 1;
        Some(Arc::clone(&slot.value))
    }

    /// The item of that id, which is `value` if there is none yet. With a time it is to be refreshed at once.
    pub(super) fn create(
        &mut self,
        id: &str,
        value: Arc<V>,
        terminal: bool,
        eager: Option<Duration>,
        junk: &mut Junk<V>,
    ) -> Created<V> {
        if let Some(kept) = self.keep(id) {
            junk.push(value);
            return Created {
                value: kept,
                queued: false,
            };
        }
        self.counts.misses += 1;
        self.counts.created += 1;
        let id: Arc<str> = id.into();
        let orphan = self.orphans.remove(&id);
        let work = orphan.or_else(|| self.past.pop(&id)).unwrap_or(FRESH);
        self.failing += usize::from(work.failures > 0);
        self.changes += 1;
        let slot = Slot {
            value: Arc::clone(&value),
            changed: self.changes,
            listed: 0,
            terminal,
            doomed: false,
            work,
            stored: 0,
        };
        self.live.put(Arc::clone(&id), slot);
        self.touch(&id, Touch::New);
        if self.live.len() > self.size
            && let Some((evicted, slot)) = self.live.pop_lru()
        {
            self.counts.evictions += 1;
            self.touch(&evicted, Touch::Left);
            junk.push(self.depart(evicted, slot));
        }
        let queued = match eager {
            Some(now) if !terminal => self.want(&id, now),
            _ => false,
        };
        Created { value, queued }
    }

    /// Has the next cycle delete the item; answers to batches that have begun pass it by.
    pub(super) fn doom(&mut self, id: &str) {
        if let Some(slot) = self.live.peek_mut(id) {
            self.changes += 1;
            slot.changed = self.changes;
            slot.doomed = true;
        }
    }

    /// Whatever is remembered of an item that is gone; its value is the caller's to drop.
    fn depart(&mut self, id: Arc<str>, slot: Slot<V>) -> Arc<V> {
        let Slot {
            value, mut work, ..
        } = slot;
        self.failing -= usize::from(work.failures > 0);
        match work.phase {
            Phase::Idle => {}
            Phase::Waiting(place) => drop(self.later.remove(&place)),
            Phase::Queued(_) => {
                self.queued -= 1;
                self.remnants += 1;
            }
            Phase::Running | Phase::Dirty => {
                work.phase = Phase::Running;
                self.orphans.insert(id, work);
                return value;
            }
        }
        work.phase = Phase::Idle;
        self.remember(id, work);
        value
    }

    fn remember(&mut self, id: Arc<str>, work: Work) {
        if work.failures > 0 {
            self.past.put(id, work);
        }
        if self.past.len() > self.size.max(LEAST_PAST) {
            self.past.pop_lru();
        }
    }

    /// Takes what is left of items that are gone out of the queue, once that is more than there may be items.
    pub(super) fn compact(&mut self, junk: &mut Junk<V>) {
        if self.remnants <= self.size {
            return;
        }
        let live = &self.live;
        for (ticket, items) in &mut self.queue {
            let queued = Phase::Queued(*ticket);
            let holds = |item: &Item<V>| {
                let slot = live.peek(item.id());
                slot.is_some_and(|slot| slot.work.phase == queued)
            };
            items.retain(|item| {
                let keeps = holds(item);
                if !keeps {
                    junk.push(item.value().clone());
                }
                keeps
            });
        }
        self.queue.retain(|(_, items)| !items.is_empty());
        self.remnants = 0;
    }

    /// Wants a refresh of an item as soon as its backoff allows; whether it is queued.
    fn want(&mut self, id: &Arc<str>, now: Duration) -> bool {
        let Some(slot) = self.live.peek_mut(&**id) else {
            return false;
        };
        match slot.work.phase {
            Phase::Waiting(_) | Phase::Queued(_) | Phase::Dirty => false,
            Phase::Running => {
                slot.work.phase = Phase::Dirty;
                false
            }
            Phase::Idle if slot.work.until > now => {
                self.tickets += 1;
                let place = (slot.work.until, self.tickets);
                slot.work.phase = Phase::Waiting(place);
                self.later.insert(place, Arc::clone(id));
                true
            }
            Phase::Idle => {
                self.tickets += 1;
                slot.work.phase = Phase::Queued(self.tickets);
                self.queued += 1;
                let item = Item::new(Arc::clone(id), Arc::clone(&slot.value));
                self.queue.push_back((self.tickets, vec![item]));
                true
            }
        }
    }

    /// Queues the wanted ones whose backoff is over.
    fn ripen(&mut self, now: Duration) {
        while let Some(entry) = self.later.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let id = entry.remove();
            if let Some(slot) = self.live.peek_mut(&*id) {
                slot.work.phase = Phase::Idle;
            }
            self.want(&id, now);
        }
    }

    /// Begins a cycle: makes the deletions that were asked for, and lists the items that are due, the one
    /// that was not used for the longest time first.
    pub(super) fn list(&mut self, now: Duration, junk: &mut Junk<V>) -> Vec<Item<V>> {
        self.cycle += 1;
        self.counts.cycles += 1;
        let mut due = Vec::with_capacity(self.live.len());
        let mut doomed = Vec::new();
        for (id, slot) in self.live.iter_mut().rev() {
            if slot.doomed {
                doomed.push(Arc::clone(id));
            } else if slot.is_due() && slot.work.until > now {
                self.counts.sat_out += 1;
            } else if slot.is_due() {
                slot.listed = self.cycle;
                due.push(Item::new(Arc::clone(id), Arc::clone(&slot.value)));
            }
        }
        for id in doomed {
            if let Some(slot) = self.live.pop(&*id) {
                self.counts.deletions += 1;
                self.touch(&id, Touch::Left);
                junk.push(self.depart(id, slot));
            }
        }
        due
    }

    /// Queues a batch of what this cycle has listed; anything else in it is passed over.
    pub(super) fn enqueue(&mut self, mut items: Vec<Item<V>>, junk: &mut Junk<V>) {
        let ticket = self.tickets + 1;
        let (cycle, live) = (self.cycle, &mut self.live);
        let before = self.queued;
        let queued = &mut self.queued;
        items.retain(|item| {
            let slot = live.peek_mut(item.id());
            match slot.filter(|slot| slot.listed == cycle && slot.is_due()) {
                Some(slot) => {
                    slot.listed = 0;
                    slot.work.phase = Phase::Queued(ticket);
                    *queued += 1;
                    true
                }
                None => {
                    junk.push(item.value().clone());
                    false
                }
            }
        });
        if self.queued > before {
            self.tickets = ticket;
            self.queue.push_back((ticket, items));
        }
    }

    /// Begins the next batch, if the rate permits one; it is not asked where there is none.
    pub(super) fn begin(
        &mut self,
        now: Duration,
        rate: Option<impl FnOnce() -> Result<(), Duration>>,
        junk: &mut Junk<V>,
    ) -> Begin<V> {
        self.ripen(now);
        if let Some(rate) = rate {
            while self
                .queue
                .front()
                .is_some_and(|(at, of)| !self.any(*at, of))
            {
                self.pop(junk);
            }
            if !self.queue.is_empty()
                && let Err(wait) = rate()
            {
                return Begin::Limited(wait);
            }
        }
        while !self.queue.is_empty() {
            let items = self.pop(junk);
            if !items.is_empty() {
                return Begin::Batch(Begun {
                    items: Arc::new(items),
                    mark: self.changes,
                });
            }
        }
        Begin::Idle(self.later.keys().next().map(|(hour, _)| *hour))
    }

    /// Whether any item of a batch is to be refreshed with it.
    fn any(&self, ticket: u64, items: &[Item<V>]) -> bool {
        items.iter().any(|item| {
            let slot = self.live.peek(item.id());
            slot.is_some_and(|slot| {
                slot.work.phase == Phase::Queued(ticket) && !slot.doomed && !slot.terminal
            })
        })
    }

    /// The first batch of the queue, with what its items are now, and without those that are not to be refreshed.
    fn pop(&mut self, junk: &mut Junk<V>) -> Vec<Item<V>> {
        let Some((ticket, mut items)) = self.queue.pop_front() else {
            return Vec::new();
        };
        items.retain_mut(|item| {
            let slot = self.live.peek_mut(item.id());
            let slot = slot.filter(|slot| slot.work.phase == Phase::Queued(ticket));
            let Some(slot) = slot else {
                self.remnants -= 1;
                junk.push(item.value().clone());
                return false;
            };
            self.queued -= 1;
            let runs = !slot.doomed && !slot.terminal;
            if runs {
                slot.work.phase = Phase::Running;
                self.running += 1;
                junk.extend(item.renew(&slot.value));
            } else {
                slot.work.phase = Phase::Idle;
                junk.push(item.value().clone());
            }
            runs
        });
        items
    }

    /// Ends a batch: with answers, or with the delay after so many failures in a row.
    pub(super) fn finish(
        &mut self,
        begun: &Begun<V>,
        answers: Result<Vec<Response<V>>, &dyn Fn(u32) -> Duration>,
        now: Duration,
        junk: &mut Junk<V>,
    ) {
        let delay = answers.as_ref().err().copied();
        let mut wanted = Vec::new();
        for item in begun.items.iter() {
            if self.settle(item.shared_id(), delay, now) {
                wanted.push(Arc::clone(item.shared_id()));
            }
        }
        for answer in answers.into_iter().flatten() {
            self.apply(answer, begun.mark, junk);
        }
        for id in wanted {
            self.want(&id, now);
        }
    }

    /// The refresh of a key has ended; whether it is wanted again.
    fn settle(
        &mut self,
        id: &Arc<str>,
        delay: Option<&dyn Fn(u32) -> Duration>,
        now: Duration,
    ) -> bool {
        let mut slot = self.live.peek_mut(&**id);
        let work = match &mut slot {
            Some(slot) => &mut slot.work,
            None => match self.orphans.get_mut(id) {
                Some(work) => work,
                None => return false,
            },
        };
        let dirty = work.phase == Phase::Dirty;
        let failed_before = usize::from(work.failures > 0);
        work.phase = Phase::Idle;
        self.running -= 1;
        match delay {
            None => {
                work.failures = 0;
                work.until = Duration::ZERO;
            }
            Some(delay) => {
                work.until = now.saturating_add(delay(work.failures));
                work.failures = work.failures.saturating_add(1);
            }
        }
        if slot.is_some() {
            self.failing = self.failing - failed_before + usize::from(delay.is_some());
            return dirty;
        }
        if let Some(work) = self.orphans.remove(id) {
            self.remember(Arc::clone(id), work);
        }
        false
    }

    fn apply(&mut self, answer: Response<V>, mark: u64, junk: &mut Junk<V>) {
        let Response { id, action } = answer;
        let (value, terminal) = match action {
            Action::Unchanged => return,
            Action::Update(value) => (Some(value), false),
            Action::Terminal(value) => (Some(value), true),
            Action::Gone => (None, false),
        };
        let slot = self.live.peek_mut(&*id);
        let slot = slot.filter(|slot| slot.changed <= mark && !slot.terminal && !slot.doomed);
        let Some(slot) = slot else {
            self.counts.dropped += 1;
            junk.extend(value);
            return;
        };
        let Some(value) = value else {
            if let Some((id, slot)) = self.live.pop_entry(&*id) {
                self.counts.gone += 1;
                let overlaps = slot.stored > mark;
                self.touch(&id, Touch::Gone { overlaps });
                junk.push(self.depart(id, slot));
            }
            return;
        };
        self.changes += 1;
        slot.changed = self.changes;
        slot.terminal = terminal;
        self.counts.updates += 1;
        junk.push(std::mem::replace(&mut slot.value, value));
        let overlaps = slot.stored > mark;
        self.touch(&id, Touch::Changed { overlaps });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 4;

    /// What the numbers say is what there is.
    fn check(items: &Items<u64>) {
        let (mut queued, mut waiting, mut running, mut failing) = (0, 0, 0, 0);
        for (id, slot) in items.live.iter() {
            match slot.work.phase {
                Phase::Idle => {}
                Phase::Waiting(place) => {
                    waiting += 1;
                    assert_eq!(items.later.get(&place), Some(id));
                }
                Phase::Queued(ticket) => {
                    queued += 1;
                    let batch = items.queue.iter().find(|(own, _)| *own == ticket);
                    let batch = batch.map(|(_, batch)| batch.iter());
                    let named = batch
                        .into_iter()
                        .flatten()
                        .filter(|item| item.id() == &**id);
                    assert_eq!(named.count(), 1);
                }
                Phase::Running | Phase::Dirty => running += 1,
            }
            failing += usize::from(slot.work.failures > 0);
            assert!(!items.orphans.contains_key(id) && !items.past.contains(&**id));
        }
        let all: usize = items.queue.iter().map(|(_, batch)| batch.len()).sum();
        assert_eq!((items.queued, items.later.len()), (queued, waiting));
        assert_eq!(all, items.queued + items.remnants);
        assert!(
            items.remnants <= SIZE && all <= 2 * SIZE,
            "{}",
            items.remnants
        );
        assert_eq!(items.running, running + items.orphans.len());
        assert_eq!(items.failing, failing);
        assert!(items.live.len() <= SIZE && items.past.len() <= LEAST_PAST);
    }

    fn step(items: &mut Items<u64>, at_work: &mut Vec<Begun<u64>>, now: Duration, dice: u64) {
        let mut junk = Vec::new();
        let id = (dice >> 8) % 9;
        let name = id.to_string();
        match dice % 8 {
            0 | 1 => {
                let eager = (dice & (1 << 20) != 0).then_some(now);
                drop(items.create(&name, Arc::new(id), dice & (7 << 22) == 0, eager, &mut junk));
            }
            2 => items.doom(&name),
            3 => drop(items.get(&name)),
            4 => {
                let due = items.list(now, &mut junk);
                for batch in due.chunks(1 + (dice >> 30) as usize % 3) {
                    items.enqueue(batch.to_vec(), &mut junk);
                }
            }
            5 | 6 if at_work.len() < 3 => {
                let rate = (dice & (1 << 20) != 0).then_some(|| match dice & (1 << 21) {
                    0 => Ok(()),
                    _ => Err(Duration::from_secs(1)),
                });
                if let Begin::Batch(begun) = items.begin(now, rate, &mut junk) {
                    at_work.push(begun);
                }
            }
            _ if !at_work.is_empty() => {
                let begun = at_work.remove((dice >> 20) as usize % at_work.len());
                let value = Arc::new(dice);
                let action = match (dice >> 24) % 4 {
                    0 => Action::Update(value),
                    1 => Action::Terminal(value),
                    2 => Action::Gone,
                    _ => Action::Unchanged,
                };
                let answers = match dice & (1 << 21) {
                    0 => Ok(vec![Response::new(name, action)]),
                    _ => Err(&(|_: u32| Duration::from_secs(3)) as &dyn Fn(u32) -> Duration),
                };
                items.finish(&begun, answers, now, &mut junk);
            }
            _ => {}
        }
        items.compact(&mut junk);
    }

    #[test]
    fn whatever_happens_the_numbers_agree() {
        for seed in 0..300_u64 {
            let (mut items, mut at_work) = (Items::new(SIZE, false), Vec::new());
            let mut state = seed;
            for now in 0..300 {
                // splitmix64
                state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
                let mut dice = state;
                dice = (dice ^ (dice >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                dice = (dice ^ (dice >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
                dice ^= dice >> 31;
                let now = Duration::from_millis(now * 300);
                step(&mut items, &mut at_work, now, dice);
                check(&items);
            }
            items.clear_queue(&mut Vec::new());
            check(&items);
            assert_eq!(
                (items.queued, items.queue.len(), items.later.len()),
                (0, 0, 0)
            );
        }
    }
}

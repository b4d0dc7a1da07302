//! What tokens, marks and turns must hold, beside the code: a log that counts what was asked for, and when.

use std::collections::HashMap;

/// What is known of the keys, told at the moments when calls are made.
#[derive(Default)]
pub(crate) struct Model {
    now: u64,
    keys: HashMap<&'static str, Known>,
}

#[derive(Default)]
struct Known {
    /// When each write was asked for, and when it was over.
    writes: Vec<(u64, Option<u64>)>,
    /// Places asked for, and not given up, in order; of a landing, since when it must be live.
    queue: Vec<(u64, Option<u64>)>,
    holder: Option<u64>,
}

impl Model {
    pub(crate) fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }

    /// A write is asked for; the answer is its ticket.
    pub(crate) fn asks_to_write(&mut self, key: &'static str) -> u64 {
        let now = self.asks(key, None);
        self.keys.entry(key).or_default().writes.push((now, None));
        now
    }

    pub(crate) fn asks_to_land(&mut self, key: &'static str, since: u64) -> u64 {
        self.asks(key, Some(since))
    }

    fn asks(&mut self, key: &'static str, since: Option<u64>) -> u64 {
        let now = self.tick();
        self.keys.entry(key).or_default().queue.push((now, since));
        now
    }

    /// Whether what was seen since then may be stored.
    pub(crate) fn is_live(&self, key: &'static str, since: u64) -> bool {
        let Some(known) = self.keys.get(key) else {
            return true;
        };
        let before =
            |&(from, to): &(u64, Option<u64>)| from < since && to.is_some_and(|to| to < since);
        known.writes.iter().all(before)
    }

    /// A turn begins: it is the first one's, and nobody else has one.
    pub(crate) fn begins(&mut self, key: &'static str, ticket: u64) {
        let ahead = self.keys[key]
            .queue
            .iter()
            .take_while(|(other, _)| *other != ticket);
        let dead = |since: &Option<u64>| since.is_some_and(|since| !self.is_live(key, since));
        assert!(ahead.map(|(_, since)| since).all(dead), "out of order");
        let known = self.keys.get_mut(key).unwrap();
        assert_eq!(known.holder, None, "two turns of one key");
        known.holder = Some(ticket);
    }

    /// A turn, or the wait for one, ends.
    pub(crate) fn ends(&mut self, key: &'static str, ticket: u64) {
        let now = self.tick();
        let known = self.keys.get_mut(key).unwrap();
        known.holder = known.holder.filter(|holder| *holder != ticket);
        known.queue.retain(|(other, _)| *other != ticket);
        for (from, to) in &mut known.writes {
            if *from == ticket {
                *to = Some(now);
            }
        }
    }
}

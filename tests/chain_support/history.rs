//! What callers were told, and whether one store that has each key once could have told it.

use std::sync::{Arc, Mutex};

/// What a writer was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing yet, or never: its caller was dropped, or the process died.
    Pending,
    Made,
    /// It failed or was refused, and nothing was changed.
    Clean,
    Unknown,
}

#[derive(Clone, Debug)]
struct Write {
    key: usize,
    start: u64,
    /// When its caller was told; `u64::MAX` where never.
    end: u64,
    /// Of a removal none.
    value: Option<usize>,
    outcome: Outcome,
}

#[derive(Clone, Debug)]
struct Read {
    key: usize,
    start: u64,
    end: u64,
    value: Option<usize>,
}

#[derive(Clone, Debug)]
struct Merge {
    start: u64,
    end: u64,
    outcome: Outcome,
}

#[derive(Debug, Default)]
struct Told {
    now: u64,
    writes: Vec<Write>,
    reads: Vec<Read>,
    merges: Vec<Merge>,
    sums: Vec<(u64, u64, u64)>,
}

impl Told {
    fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }
}

/// Clones are the same history. Writes of a key are asked for, and so take place, in the order of their starts.
#[derive(Clone, Debug, Default)]
pub(crate) struct History(Arc<Mutex<Told>>);

impl History {
    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.0.lock().unwrap()
    }

    pub(crate) fn tick(&self) -> u64 {
        self.told().tick()
    }

    /// A write begins; the answer is its number, which is its value too.
    pub(crate) fn writes(&self, key: usize, removes: bool) -> usize {
        let mut told = self.told();
        let start = told.tick();
        let number = told.writes.len();
        told.writes.push(Write {
            key,
            start,
            end: u64::MAX,
            value: (!removes).then_some(number),
            outcome: Outcome::Pending,
        });
        number
    }

    pub(crate) fn wrote(&self, number: usize, outcome: Outcome) {
        let mut told = self.told();
        let end = told.tick();
        let write = &mut told.writes[number];
        (write.end, write.outcome) = (end, outcome);
    }

    pub(crate) fn read(&self, key: usize, start: u64, value: Option<usize>) {
        let mut told = self.told();
        let end = told.tick();
        told.reads.push(Read {
            key,
            start,
            end,
            value,
        });
    }

    /// One is about to be added.
    pub(crate) fn merges(&self) -> usize {
        let mut told = self.told();
        let start = told.tick();
        let (end, outcome) = (u64::MAX, Outcome::Pending);
        told.merges.push(Merge {
            start,
            end,
            outcome,
        });
        told.merges.len() - 1
    }

    pub(crate) fn merged(&self, number: usize, outcome: Outcome) {
        let mut told = self.told();
        let end = told.tick();
        let merge = &mut told.merges[number];
        (merge.end, merge.outcome) = (end, outcome);
    }

    pub(crate) fn sum(&self, start: u64, sum: u64) {
        let mut told = self.told();
        let end = told.tick();
        told.sums.push((start, end, sum));
    }

    /// The process dies: whoever was told nothing will be told nothing, and what was begun is over.
    pub(crate) fn crash(&self) {
        let mut told = self.told();
        let now = told.tick();
        for write in &mut told.writes {
            write.end = write.end.min(now);
        }
        for merge in &mut told.merges {
            merge.end = merge.end.min(now);
        }
    }

    pub(crate) fn reads(&self) -> usize {
        self.told().reads.len()
    }

    pub(crate) fn check(&self) {
        let told = self.told();
        for read in &told.reads {
            told.check_read(read);
        }
        told.check_flips();
        for &(start, end, sum) in &told.sums {
            told.check_sum(start, end, sum);
        }
    }
}

impl Told {
    fn of(&self, key: usize) -> impl DoubleEndedIterator<Item = &Write> {
        let of_key = move |write: &&Write| write.key == key;
        self.writes.iter().filter(of_key)
    }

    /// The last write that was over before the read began, if any was made.
    fn last(&self, read: &Read) -> Option<&Write> {
        let over = |write: &&Write| write.outcome == Outcome::Made && write.end < read.start;
        self.of(read.key)
            .filter(over)
            .max_by_key(|write| write.start)
    }

    /// The writes that a read may have found, oldest first.
    fn sources(&self, read: &Read) -> impl DoubleEndedIterator<Item = &Write> {
        let after = self.last(read).map_or(0, |last| last.start);
        self.of(read.key).filter(move |write| {
            let time = (after..read.end).contains(&write.start);
            time && write.value == read.value && write.outcome != Outcome::Clean
        })
    }

    /// Whether nothing was found since nothing was written yet.
    fn before_all(&self, read: &Read) -> bool {
        read.value.is_none() && self.last(read).is_none()
    }

    /// What was found was written, and not replaced by what was over before the read began.
    fn check_read(&self, read: &Read) {
        let found = self.before_all(read) || self.sources(read).next().is_some();
        assert!(
            found,
            "{read:?} is not what was written last: {:?}",
            self.last(read)
        );
    }

    /// What was found when its write was over, whatever its outcome, is not followed by what is older.
    fn check_flips(&self) {
        for first in &self.reads {
            let Some(found) = self.sources(first).next() else {
                continue;
            };
            if found.end >= first.start || self.before_all(first) {
                continue;
            }
            let later = self.reads.iter().filter(|later| {
                later.key == first.key && later.start > first.end && later.value != first.value
            });
            for later in later {
                let latest = self
                    .sources(later)
                    .next_back()
                    .map_or(0, |write| write.start);
                assert!(latest > found.start, "{first:?} came before {later:?}");
            }
        }
    }

    /// Each merge that was made counts once, and others at most once.
    fn check_sum(&self, start: u64, end: u64, sum: u64) {
        let count =
            |which: &dyn Fn(&&Merge) -> bool| self.merges.iter().filter(which).count() as u64;
        let least = count(&|merge| merge.outcome == Outcome::Made && merge.end < start);
        let most = count(&|merge| merge.outcome != Outcome::Clean && merge.start < end);
        assert!(
            (least..=most).contains(&sum),
            "{sum} is not in {least}..={most}"
        );
    }
}

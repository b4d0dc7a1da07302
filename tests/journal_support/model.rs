//! The model of a journal: a sequence of documents, how much of it is kept, and what a crash may leave of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use documentbuffer::clock::Clock;
use documentbuffer::journal::{Error, Journal, Options};
use documentbuffer::store::fault::FaultDirectory;

/// Documents from position 0 on, by their place in the test's pool; those that were discarded are still in it.
pub(crate) type Sequence = Vec<u8>;

/// Stands for bytes that are no document of the pool: fiction.
pub(crate) const UNKNOWN: u8 = u8::MAX;

pub(crate) type Outcome<T> = Result<T, String>;

/// The names in a directory, and what they hold.
pub(crate) type Image = BTreeMap<String, Vec<u8>>;

/// The wall stands still, and nobody is ever waited for.
#[derive(Debug, Default)]
pub(crate) struct StillClock(AtomicU64);

impl Clock for StillClock {
    fn wall_micros(&self) -> u64 {
        1_000_000
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// The options of a test: small memory, and a clock that says the same to every run.
pub(crate) fn options() -> Options {
    Options::new()
        .queue(1 << 10)
        .clock(Arc::new(StillClock::default()))
}

/// What a journal holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) first: u64,
    pub(crate) documents: Vec<u8>,
}

impl Found {
    /// Whether this is `sequence` from its first kept position on.
    pub(crate) fn is_of(&self, sequence: &Sequence) -> bool {
        usize::try_from(self.first)
            .ok()
            .and_then(|first| sequence.get(first..))
            .is_some_and(|kept| kept == self.documents)
    }
}

/// Everything in an open journal.
pub(crate) fn read(journal: &Journal, pool: &[Vec<u8>]) -> Result<Found, Error> {
    let first = journal.first();
    let mut documents = Vec::new();
    let mut next = first;
    journal.replay(first)?.each(|document| {
        let known = pool.iter().position(|known| known == document.bytes);
        documents.push(known.map_or(UNKNOWN, |known| known as u8));
        assert_eq!(document.position, next, "positions are counted");
        next += 1;
    })?;
    assert_eq!(next, journal.end(), "the end is where the last document is");
    Ok(Found { first, documents })
}

/// What an opening may not have done: it removes what was never born or is void, and makes the first segment.
pub(crate) fn compare(before: &Image, after: &Image) -> Outcome<()> {
    let segments = before.keys().filter(|name| name.ends_with(".segment"));
    let newest = segments.max();
    for (name, bytes) in before {
        let may_go =
            name.ends_with(".segment.new") || (name.ends_with(".segment") && Some(name) != newest);
        match after.get(name) {
            Some(now) if now == bytes => {}
            None if may_go => {}
            now => {
                let now = now.map(Vec::len);
                return Err(format!("opening made of {name} {now:?} bytes"));
            }
        }
    }
    match after.keys().find(|name| !before.contains_key(*name)) {
        Some(name) if newest.is_some() => Err(format!("opening made {name}")),
        _ => Ok(()),
    }
}

/// Opens the journal in `dir` and reads all of it.
pub(crate) fn open(
    dir: &FaultDirectory,
    options: &Options,
    pool: &[Vec<u8>],
) -> Outcome<Result<(Journal, Found), Error>> {
    let before = dir.view();
    let opened = options.open_in(Arc::new(dir.clone()));
    if dir.fired() == 0 {
        // A failed sync may have changed what the directory shows.
        compare(&before, &dir.view())?;
    }
    Ok(opened.and_then(|journal| {
        let found = read(&journal, pool)?;
        Ok((journal, found))
    }))
}

/// The sequences that the journal held, or was asked to hold by a call that failed, since the moment that
/// each kind of crash cannot go behind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Oracle {
    pub(crate) now: Sequence,
    /// The first position that is kept stands in here: discarding was asked for, and may have begun.
    pub(crate) first: (u64, u64),
    /// What a process that died had discarded; the next sync makes that durable.
    pub(crate) unsettled: u64,
    /// Since the last good sync: what a power cut may leave.
    power: Vec<Sequence>,
    /// Since the last good flush: what the death of the process may leave.
    kill: Vec<Sequence>,
    /// What calls asked for that failed since `now` was reached or last synced.
    failed: Vec<Sequence>,
}

impl Oracle {
    /// Nothing but `now`, and that durable.
    pub(crate) fn new(now: Sequence, first: u64) -> Oracle {
        Oracle {
            power: vec![now.clone()],
            kill: vec![now.clone()],
            failed: Vec::new(),
            first: (first, first),
            unsettled: first,
            now,
        }
    }

    pub(crate) fn end(&self) -> u64 {
        self.now.len() as u64
    }

    /// The journal holds `now` from here on.
    pub(crate) fn hold(&mut self, now: Sequence) {
        self.failed.clear();
        for legal in [&mut self.power, &mut self.kill] {
            if !legal.contains(&now) {
                legal.push(now.clone());
            }
        }
        self.now = now;
    }

    pub(crate) fn append(&mut self, documents: &[u8]) {
        let now = [&self.now, documents].concat();
        self.hold(now);
    }

    /// A call failed that would have led to `asked`.
    pub(crate) fn ask(&mut self, asked: Sequence) {
        for legal in [&mut self.power, &mut self.kill, &mut self.failed] {
            if !legal.contains(&asked) {
                legal.push(asked.clone());
            }
        }
    }

    pub(crate) fn ask_append(&mut self, documents: &[u8]) {
        self.ask([&self.now, documents].concat());
    }

    /// Discarding before `position` failed: it may have come to anywhere.
    pub(crate) fn ask_discard(&mut self, position: u64) {
        self.first.1 = self.first.1.max(position);
    }

    pub(crate) fn discarded(&mut self, first: u64) {
        self.first = (first, first);
        self.unsettled = first;
    }

    /// Everything is written. What a failed call asked for may still be found.
    pub(crate) fn flushed(&mut self) {
        self.kill = vec![self.now.clone()];
        self.kill.extend(self.failed.iter().cloned());
    }

    pub(crate) fn synced(&mut self) {
        self.failed.clear();
        self.flushed();
        self.power.clone_from(&self.kill);
        self.first.0 = self.first.0.max(self.unsettled);
    }

    /// A failed sync took back what the next process would have seen.
    pub(crate) fn reverted(&mut self) {
        self.kill.clone_from(&self.power);
    }

    fn judge(&self, what: &str, found: &Found, legal: &[Sequence]) -> Outcome<Sequence> {
        let (least, most) = self.first;
        let same = legal.iter().find(|legal| found.is_of(legal));
        match same {
            Some(same) if (least..=most).contains(&found.first) => Ok(same.clone()),
            _ => Err(format!(
                "{what} left {:?} from {} on; legal are {legal:?} from {least} to {most} on",
                found.documents, found.first
            )),
        }
    }

    pub(crate) fn after_power_cut(&self, found: &Found) -> Outcome<Sequence> {
        self.judge("a power cut", found, &self.power)
    }

    /// What the next process finds. Nothing of it is durable before its first sync.
    pub(crate) fn after_kill(&mut self, found: &Found) -> Outcome<()> {
        let now = self.judge("the death of the process", found, &self.kill)?;
        self.kill = vec![now.clone()];
        self.failed.clear();
        self.first.1 = found.first;
        self.unsettled = found.first;
        if !self.power.contains(&now) {
            self.power.push(now.clone());
        }
        self.now = now;
        Ok(())
    }
}

//! What is owed, and the journal that says so: every change is written there first.

use std::sync::Arc;

use super::batch::{Batch, Mark, Stamp, check};
use super::debts::{Debts, Frozen, Sums, add, window};
use super::error::{Error, Result};
use super::log::{self, Log};
use super::record::Record;
use super::stripes::Stripes;
use crate::buffer::random::Random;
use crate::durability::Durability;
use crate::journal::{Journal, Replay};

/// What the documents of a write-behind journal are written in.
pub(super) const CODEC: &str = "documentbuffer counters 1";

/// Bytes of keys and sums in one document, about.
const DOCUMENT: usize = 1 << 20;

pub(super) struct Ledger {
    pub(super) debts: Debts,
    /// What was taken out of the stripes, and is in no window yet.
    pub(super) gathered: Sums,
    spare: Sums,
    log: Log,
    durability: Durability,
    random: Random,
    /// The sink has what is frozen, and the journal does not say so yet.
    applied: bool,
    adopt: bool,
}

impl Ledger {
    /// One without a journal.
    pub(super) fn in_memory(name: &str) -> Ledger {
        let debts = Debts {
            name: name.to_owned(),
            ..Debts::default()
        };
        let log = Log::new(None, 0);
        Ledger::new(debts, log, Durability::Memory, Random::System)
    }

    fn new(debts: Debts, log: Log, durability: Durability, random: Random) -> Ledger {
        Ledger {
            debts,
            gathered: Sums::new(),
            spare: Sums::new(),
            log,
            durability,
            random,
            applied: false,
            adopt: false,
        }
    }

    /// Reads what `journal` says, or begins it. Durable on return: against power loss.
    pub(super) fn open(
        journal: Journal,
        name: &str,
        durability: Durability,
        compact_at: u64,
        mut random: Random,
    ) -> Result<Ledger> {
        let mut debts = read(journal.replay(journal.first())?)?.unwrap_or_default();
        let new = debts.writer == 0;
        if new {
            let high = u128::from(random.next());
            debts.writer = high << 64 | u128::from(random.next() | 1);
            debts.name = name.to_owned();
        } else if debts.name != name {
            return Err(Error::OtherName {
                found: debts.name,
                wanted: name.to_owned(),
            });
        }
        let mut log = Log::new(Some(journal), compact_at);
        if new {
            log.begin(&debts.base(DOCUMENT))?;
        }
        Ok(Ledger::new(debts, log, durability, random))
    }

    pub(super) fn is_journaled(&self) -> bool {
        self.log.is_journaled()
    }

    /// The next batch is taken by a sink that stands elsewhere.
    pub(super) fn adopt(&mut self) {
        self.adopt = true;
    }

    /// Takes what threads have added.
    pub(super) fn gather(&mut self, stripes: &Stripes) {
        let Ledger {
            gathered, spare, ..
        } = self;
        stripes.take(spare, |key, sum| add(gathered, key, sum));
    }

    /// Whether a sink could be given anything.
    pub(super) fn is_settled(&self) -> bool {
        self.gathered.is_empty() && self.debts.is_settled()
    }

    pub(super) fn keys(&self) -> usize {
        self.gathered.len() + self.debts.keys()
    }

    fn record(&mut self, record: &Record<'_>, durability: Durability) -> Result<()> {
        let mut document = Vec::new();
        record.encode(&mut document);
        self.log.append(&[document], durability)
    }

    /// Writes what was gathered, as one. Durable on return: as was chosen. On an error it stays gathered.
    pub(super) fn write_window(&mut self) -> Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        if self.is_journaled() {
            let documents = window(&self.gathered, DOCUMENT);
            self.log.append(&documents, self.durability)?;
        }
        let Ledger {
            gathered, debts, ..
        } = self;
        debts.add(gathered.drain());
        Ok(())
    }

    /// Makes every window so far as durable as was chosen.
    pub(super) fn settle_windows(&mut self) -> Result<()> {
        if !self.is_journaled() {
            return Err(Error::NoJournal);
        }
        self.write_window()
    }

    /// The batch that is frozen, or all that is owed frozen as one. Durable on return: against power loss.
    pub(super) fn freeze(&mut self) -> Result<Option<Batch>> {
        if self.debts.frozen.is_none() {
            if self.debts.pending.is_empty() {
                return Ok(None);
            }
            let mark = Mark {
                number: self.debts.next(),
                nonce: self.random.next(),
            };
            let deltas = self.debts.contents();
            let (keys, check) = (deltas.len() as u64, check(&deltas));
            self.record(&Record::Frozen { mark, keys, check }, Durability::Synced)?;
            self.debts.freeze(mark, deltas);
        }
        Ok(self.frozen_batch())
    }

    fn frozen_batch(&self) -> Option<Batch> {
        let Frozen { mark, deltas } = self.debts.frozen.as_ref()?;
        let stamp = |mark: Mark| {
            let Mark { number, nonce } = mark;
            let writer = self.debts.writer;
            self.is_journaled().then_some(Stamp {
                writer,
                number,
                nonce,
            })
        };
        let after = self.debts.last.and_then(stamp);
        let (name, deltas) = (&self.debts.name, Arc::clone(deltas));
        Some(Batch::new(name, stamp(*mark), after, self.adopt, deltas))
    }

    /// Whether the sink has what is frozen already.
    pub(super) fn is_applied(&self) -> bool {
        self.applied
    }

    /// The sink has what is frozen. On an error only the journal does not know it yet.
    pub(super) fn settle(&mut self) -> Result<()> {
        let Some(frozen) = &self.debts.frozen else {
            return Ok(());
        };
        let mark = frozen.mark;
        self.applied = true;
        self.record(&Record::Settled(mark), Durability::Written)?;
        self.debts.settle();
        self.applied = false;
        self.adopt = false;
        Ok(())
    }

    /// The sink refused what is frozen, for these keys. Answers whether any of them was in it.
    pub(super) fn park(&mut self, keys: &[Box<str>], reason: &str) -> Result<bool> {
        let Some(frozen) = &self.debts.frozen else {
            return Ok(false);
        };
        let deltas = &frozen.deltas;
        let named = keys.iter().map(|key| &**key);
        let in_it = |key: &&str| {
            deltas
                .binary_search_by(|(other, _)| (**other).cmp(key))
                .is_ok()
        };
        let keys: Vec<&str> = named.filter(in_it).collect();
        if keys.is_empty() {
            return Ok(false);
        }
        let number = frozen.mark.number;
        let owned: Vec<Box<str>> = keys.iter().map(|key| Box::from(*key)).collect();
        let mut document = Vec::new();
        Record::Parked {
            number,
            reason,
            keys,
        }
        .encode(&mut document);
        self.log.append(&[document], Durability::Written)?;
        self.debts.park(&owned, reason);
        Ok(true)
    }

    /// What is parked under that key is owed again, or given up. Answers whether anything was.
    pub(super) fn release(&mut self, key: &str, again: bool) -> Result<bool> {
        if !self.debts.parked.contains_key(key) {
            return Ok(false);
        }
        self.record(&Record::Released { again, key }, Durability::Synced)?;
        self.debts.release(key, again);
        Ok(true)
    }

    /// Begins the journal anew where it has grown far beyond what is owed.
    pub(super) fn compact(&mut self) -> Result<()> {
        let debts = &self.debts;
        self.log.compact(|| debts.base(DOCUMENT))
    }

    /// Takes the journal away: nothing is written any more.
    pub(super) fn end(&mut self) -> Option<Journal> {
        self.log.end()
    }
}

/// What a journal says; none where it has nothing.
pub(super) fn read(documents: Replay) -> Result<Option<Debts>> {
    let mut debts = Debts::default();
    let begun = log::replay(documents, |document, void| {
        let record = Record::decode(document)?;
        if void { Ok(()) } else { debts.replay(record) }
    })?;
    Ok(begun.then_some(debts))
}

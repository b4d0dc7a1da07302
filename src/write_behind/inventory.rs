//! What a journal owes, looked at from outside.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::batch::{Mark, Stamp};
use super::debts::{Debts, Parked};
use super::error::Result;
use super::ledger::{CODEC, read};
use super::log;
use crate::journal::Reader;
use crate::store::Directory;

/// What a write-behind journal owes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Owed {
    /// The counters' name.
    pub name: String,
    /// The last batch that was settled.
    pub settled: Option<Stamp>,
    /// The batch that the sink was to be given, or given again, and what is in it.
    pub frozen: Option<(Stamp, BTreeMap<Box<str>, i64>)>,
    /// What comes behind it.
    pub pending: BTreeMap<Box<str>, i128>,
    /// What the sink refused.
    pub parked: BTreeMap<Box<str>, Parked>,
}

impl Owed {
    /// Reads the journal in the directory at `path`, without its lock: a live one may be ahead.
    ///
    /// # Errors
    ///
    /// [`Error::Journal`](super::Error::Journal), among them that of another codec: this is no write-behind
    /// journal; [`Error::Damaged`](super::Error::Damaged).
    pub fn read(path: impl AsRef<Path>) -> Result<Owed> {
        Owed::of(&Reader::open(path)?)
    }

    /// Likewise, in any directory.
    ///
    /// # Errors
    ///
    /// As [`read`](Owed::read).
    pub fn read_in(directory: Arc<dyn Directory>) -> Result<Owed> {
        Owed::of(&Reader::open_in(directory)?)
    }

    fn of(reader: &Reader) -> Result<Owed> {
        let documents = log::look(reader, CODEC)?;
        Ok(read(documents)?.unwrap_or_default().into())
    }

    /// Whether nothing is owed and nothing is parked.
    pub fn is_empty(&self) -> bool {
        self.frozen.is_none() && self.pending.is_empty() && self.parked.is_empty()
    }

    /// All that is owed under each key, what is frozen with what is pending, without what is parked.
    pub fn totals(&self) -> BTreeMap<&str, i128> {
        let mut totals: BTreeMap<&str, i128> = BTreeMap::new();
        let frozen = self.frozen.iter().flat_map(|(_, deltas)| deltas);
        let frozen = frozen.map(|(key, delta)| (&**key, i128::from(*delta)));
        let pending = self.pending.iter().map(|(key, sum)| (&**key, *sum));
        for (key, sum) in frozen.chain(pending) {
            let total = totals.entry(key).or_insert(0);
            *total = total.saturating_add(sum);
        }
        totals
    }
}

impl From<Debts> for Owed {
    fn from(debts: Debts) -> Owed {
        let writer = debts.writer;
        let stamp = |mark: Mark| Stamp {
            writer,
            number: mark.number,
            nonce: mark.nonce,
        };
        Owed {
            settled: debts.last.map(stamp),
            frozen: debts.frozen.map(|frozen| {
                let deltas = frozen.deltas.iter().cloned().collect();
                (stamp(frozen.mark), deltas)
            }),
            pending: debts.pending.into_iter().collect(),
            parked: debts.parked,
            name: debts.name,
        }
    }
}

//! What is owed: the fold of a journal's records. Pure; what runs and what is recovered is the same code.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::batch::{Mark, check};
use super::record::Record;

/// Keys with what was added to each.
pub(super) type Sums = HashMap<Box<str>, i128>;

/// A batch's contents.
pub(super) type Deltas = Arc<[(Box<str>, i64)]>;

/// A batch that was frozen and is not settled: it goes to the sink as it is, as often as it takes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Frozen {
    pub(super) mark: Mark,
    pub(super) deltas: Deltas,
}

/// Something that the sink refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Parked {
    /// What was to be added.
    pub delta: i128,
    /// What the sink said.
    pub reason: String,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Debts {
    pub(super) writer: u128,
    pub(super) name: String,
    /// The last batch that was settled.
    pub(super) last: Option<Mark>,
    pub(super) frozen: Option<Frozen>,
    pub(super) pending: Sums,
    pub(super) parked: BTreeMap<Box<str>, Parked>,
}

impl Debts {
    /// The number of the next batch.
    pub(super) fn next(&self) -> u64 {
        self.last.map_or(1, |last| last.number.saturating_add(1))
    }

    /// Keys held in memory; one that is frozen and added to counts twice.
    pub(super) fn keys(&self) -> usize {
        let frozen = self.frozen.as_ref().map_or(0, |frozen| frozen.deltas.len());
        self.pending.len() + frozen + self.parked.len()
    }

    /// Whether there is anything that a sink could be given.
    pub(super) fn is_settled(&self) -> bool {
        self.pending.is_empty() && self.frozen.is_none()
    }

    /// What is owed under that key, but for what is parked.
    pub(super) fn owed(&self, key: &str) -> Option<i128> {
        let frozen = self.frozen.as_ref().and_then(|frozen| {
            let at = frozen
                .deltas
                .binary_search_by(|(other, _)| (**other).cmp(key));
            let (_, delta) = frozen.deltas.get(at.ok()?)?;
            Some(i128::from(*delta))
        });
        match (self.pending.get(key), frozen) {
            (Some(pending), Some(frozen)) => Some(pending.saturating_add(frozen)),
            (pending, frozen) => pending.copied().or(frozen),
        }
    }

    /// What the next batch is to hold: everything, in order; a sum beyond 64 bits only in part.
    pub(super) fn contents(&self) -> Deltas {
        let mut deltas: Vec<(Box<str>, i64)> = self
            .pending
            .iter()
            .map(|(key, sum)| (key.clone(), part(*sum)))
            .collect();
        deltas.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        deltas.into()
    }

    /// Adds a window.
    pub(super) fn add(&mut self, sums: impl IntoIterator<Item = (Box<str>, i128)>) {
        for (key, sum) in sums {
            add(&mut self.pending, key, sum);
        }
    }

    /// Freezes what [`contents`](Debts::contents) said, nothing having come in between.
    pub(super) fn freeze(&mut self, mark: Mark, deltas: Deltas) {
        self.pending.retain(|_, sum| {
            let rest = sum.saturating_sub(part(*sum).into());
            *sum = rest;
            rest != 0
        });
        self.frozen = Some(Frozen { mark, deltas });
    }

    pub(super) fn settle(&mut self) {
        if let Some(frozen) = self.frozen.take() {
            self.last = Some(frozen.mark);
        }
    }

    /// Parks keys of the batch that is frozen; the rest of it is owed as if it had not been.
    pub(super) fn park(&mut self, keys: &[impl AsRef<str>], reason: &str) {
        let Some(frozen) = self.frozen.take() else {
            return;
        };
        for (key, delta) in frozen.deltas.iter() {
            let delta = i128::from(*delta);
            if keys.iter().any(|refused| refused.as_ref() == &**key) {
                let parked = self.parked.entry(key.clone()).or_insert(Parked {
                    delta: 0,
                    reason: String::new(),
                });
                parked.delta = parked.delta.saturating_add(delta);
                parked.reason = reason.to_owned();
            } else {
                add(&mut self.pending, key.clone(), delta);
            }
        }
    }

    pub(super) fn release(&mut self, key: &str, again: bool) {
        if let Some((key, parked)) = self.parked.remove_entry(key)
            && again
        {
            add(&mut self.pending, key, parked.delta);
        }
    }

    /// Takes in one record of a journal; says what is wrong with it.
    pub(super) fn replay(&mut self, record: Record<'_>) -> Result<(), &'static str> {
        let begun = self.writer != 0;
        match record {
            Record::Begin { writer, name } => {
                if begun && (self.writer != writer || self.name != name) {
                    return Err("another writer begins in it");
                }
                *self = Debts {
                    writer,
                    name: name.to_owned(),
                    ..Debts::default()
                };
            }
            _ if !begun => return Err("it does not begin with a writer"),
            Record::Window(sums) => {
                self.add(sums.into_iter().map(|(key, sum)| (key.into(), sum)));
            }
            Record::Frozen {
                mark,
                keys,
                check: crc,
            } => {
                let deltas = self.contents();
                let same = deltas.len() as u64 == keys && check(&deltas) == crc;
                if self.frozen.is_some() || mark.number != self.next() || !same {
                    return Err("what was frozen is not what was owed");
                }
                self.freeze(mark, deltas);
            }
            Record::Settled(mark) => {
                self.expect(mark.number)?;
                self.settle();
            }
            Record::Parked {
                number,
                reason,
                keys,
            } => {
                self.expect(number)?;
                self.park(&keys, reason);
            }
            Record::Released { again, key } => self.release(key, again),
            Record::Last(mark) => self.last = Some(mark),
            Record::Held { mark, deltas } => self.hold(mark, &deltas),
            Record::Aside { key, delta, reason } => {
                let reason = reason.to_owned();
                self.parked.insert(key.into(), Parked { delta, reason });
            }
        }
        Ok(())
    }

    fn expect(&self, number: u64) -> Result<(), &'static str> {
        let frozen = self.frozen.as_ref();
        match frozen.is_some_and(|frozen| frozen.mark.number == number) {
            true => Ok(()),
            false => Err("the batch that it names is not the one that is frozen"),
        }
    }

    fn hold(&mut self, mark: Mark, deltas: &[(&str, i64)]) {
        let mut all = match self.frozen.take() {
            Some(frozen) => frozen.deltas.to_vec(),
            None => Vec::new(),
        };
        all.extend(deltas.iter().map(|(key, delta)| (Box::from(*key), *delta)));
        let deltas = all.into();
        self.frozen = Some(Frozen { mark, deltas });
    }

    /// Everything, as the records that a journal is begun anew with; none much larger than `bytes`.
    pub(super) fn base(&self, bytes: usize) -> Vec<Vec<u8>> {
        let mut records = Records {
            done: Vec::new(),
            bytes,
        };
        let (writer, name) = (self.writer, self.name.as_str());
        records.push(&Record::Begin { writer, name });
        if let Some(last) = self.last {
            records.push(&Record::Last(last));
        }
        if let Some(Frozen { mark, deltas }) = &self.frozen {
            let deltas = deltas.iter().map(|(key, delta)| (&**key, *delta));
            records.parts(deltas, |deltas| Record::Held {
                mark: *mark,
                deltas,
            });
        }
        let pending = self.pending.iter().map(|(key, sum)| (&**key, *sum));
        records.parts(pending, Record::Window);
        for (key, Parked { delta, reason }) in &self.parked {
            let delta = *delta;
            records.push(&Record::Aside { key, delta, reason });
        }
        records.done
    }
}

/// The documents of a window; none much larger than `bytes`.
pub(super) fn window(sums: &Sums, bytes: usize) -> Vec<Vec<u8>> {
    let mut records = Records {
        done: Vec::new(),
        bytes,
    };
    let sums = sums.iter().map(|(key, sum)| (&**key, *sum));
    records.parts(sums, Record::Window);
    records.done
}

struct Records {
    done: Vec<Vec<u8>>,
    bytes: usize,
}

impl Records {
    fn push(&mut self, record: &Record<'_>) {
        let mut document = Vec::new();
        record.encode(&mut document);
        self.done.push(document);
    }

    /// Records of so many items each that none is much too large.
    fn parts<'a, T>(
        &mut self,
        items: impl Iterator<Item = (&'a str, T)>,
        record: impl Fn(Vec<(&'a str, T)>) -> Record<'a>,
    ) {
        let (mut part, mut bytes) = (Vec::new(), 0_usize);
        for (key, value) in items {
            bytes += key.len() + 16;
            part.push((key, value));
            if bytes >= self.bytes {
                self.push(&record(std::mem::take(&mut part)));
                bytes = 0;
            }
        }
        if !part.is_empty() {
            self.push(&record(part));
        }
    }
}

pub(super) fn add(sums: &mut Sums, key: Box<str>, sum: i128) {
    let total = sums.entry(key).or_insert(0);
    *total = total.saturating_add(sum);
}

/// As much of it as a batch holds.
fn part(sum: i128) -> i64 {
    let most = if sum < 0 { i64::MIN } else { i64::MAX };
    i64::try_from(sum).unwrap_or(most)
}

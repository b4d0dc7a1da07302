//! What was counted, at one moment.

use std::time::Duration;

use crate::tier::Kind;

/// The name of the counter, with the labels `tier`, `op` and `outcome`.
pub const OPS_TOTAL: &str = "documentbuffer_tier_ops_total";
/// The name of the histogram, with the labels `tier` and `op`.
pub const SECONDS: &str = "documentbuffer_tier_seconds";

/// One for each number of binary digits.
pub(crate) const BUCKETS: usize = 65;

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// A get.
    Get,
    /// A write that puts.
    Put,
    /// A write that removes.
    Remove,
    /// A write that merges.
    Merge,
    /// A page of a scan.
    Scan,
}

impl Operation {
    /// All of them.
    pub const ALL: [Operation; 5] = [
        Operation::Get,
        Operation::Put,
        Operation::Remove,
        Operation::Merge,
        Operation::Scan,
    ];

    pub(super) fn index(self) -> usize {
        self as usize
    }

    /// As a label.
    pub fn label(self) -> &'static str {
        match self {
            Operation::Get => "get",
            Operation::Put => "put",
            Operation::Remove => "remove",
            Operation::Merge => "merge",
            Operation::Scan => "scan",
        }
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// A get found an entry.
    Hit,
    /// A get found none.
    Miss,
    /// A write was made, a page listed.
    Done,
    /// The condition of a write did not hold.
    Refused,
    /// Its future was dropped.
    Cancelled,
    /// It failed as [`Kind::Transient`].
    Transient,
    /// It failed as [`Kind::Throttled`].
    Throttled,
    /// It failed as [`Kind::Permanent`].
    Permanent,
    /// It failed as [`Kind::Unsupported`].
    Unsupported,
    /// It failed as [`Kind::Closed`].
    Closed,
    /// It failed as [`Kind::Corrupt`].
    Corrupt,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Outcome; 11] = [
        Outcome::Hit,
        Outcome::Miss,
        Outcome::Done,
        Outcome::Refused,
        Outcome::Cancelled,
        Outcome::Transient,
        Outcome::Throttled,
        Outcome::Permanent,
        Outcome::Unsupported,
        Outcome::Closed,
        Outcome::Corrupt,
    ];

    pub(super) fn index(self) -> usize {
        self as usize
    }

    pub(super) fn of(kind: Kind) -> Outcome {
        match kind {
            Kind::Transient => Outcome::Transient,
            Kind::Throttled => Outcome::Throttled,
            Kind::Permanent => Outcome::Permanent,
            Kind::Unsupported => Outcome::Unsupported,
            Kind::Closed => Outcome::Closed,
            Kind::Corrupt => Outcome::Corrupt,
        }
    }

    /// As a label.
    pub fn label(self) -> &'static str {
        match self {
            Outcome::Hit => "hit",
            Outcome::Miss => "miss",
            Outcome::Done => "done",
            Outcome::Refused => "refused",
            Outcome::Cancelled => "cancelled",
            Outcome::Transient => "transient",
            Outcome::Throttled => "throttled",
            Outcome::Permanent => "permanent",
            Outcome::Unsupported => "unsupported",
            Outcome::Closed => "closed",
            Outcome::Corrupt => "corrupt",
        }
    }
}

/// Durations of the calls that were timed, in buckets that double in width.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    buckets: [u64; BUCKETS],
    nanos: u64,
}

impl Histogram {
    pub(crate) fn new(buckets: [u64; BUCKETS], nanos: u64) -> Histogram {
        Histogram { buckets, nanos }
    }

    /// The bucket of so many nanoseconds: the number of its binary digits.
    pub(crate) fn bucket(nanos: u64) -> usize {
        (u64::BITS - nanos.leading_zeros()) as usize
    }

    /// How many calls were timed.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// How long they took together.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.nanos)
    }

    /// For each bucket with calls in it the longest duration that falls into it, and how many did; from the
    /// shortest on.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> {
        let all = self.buckets.iter().enumerate();
        let full = all.filter(|(_, count)| **count > 0);
        full.map(|(bits, count)| {
            let most = 1_u64
                .checked_shl(bits as u32)
                .map_or(u64::MAX, |end| end - 1);
            (Duration::from_nanos(most), *count)
        })
    }

    /// So many calls in a hundred took no longer than that, to within a factor of two; none if none was
    /// timed.
    pub fn percentile(&self, percent: u64) -> Option<Duration> {
        let wanted = u128::from(self.count()) * u128::from(percent.min(100));
        let mut seen = 0;
        let mut buckets = self.buckets();
        let found = buckets.find(|(_, count)| {
            seen += u128::from(*count) * 100;
            seen >= wanted
        });
        found.map(|(most, _)| most)
    }
}

/// What was counted up to one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    tier: String,
    /// Which of all metered tiers of this process it is of.
    source: u64,
    counts: [[u64; Outcome::ALL.len()]; Operation::ALL.len()],
    histograms: [Histogram; Operation::ALL.len()],
}

impl Snapshot {
    pub(super) fn new(
        tier: String,
        source: u64,
        counts: [[u64; Outcome::ALL.len()]; Operation::ALL.len()],
        histograms: [Histogram; Operation::ALL.len()],
    ) -> Snapshot {
        Snapshot {
            tier,
            source,
            counts,
            histograms,
        }
    }

    /// The name of the tier.
    pub fn tier(&self) -> &str {
        &self.tier
    }

    /// Which of all metered tiers of this process it is of.
    pub fn source(&self) -> u64 {
        self.source
    }

    /// Of two of one tier, the larger number everywhere: what is known from both.
    #[must_use]
    pub fn most(mut self, other: &Snapshot) -> Snapshot {
        let counts = self.counts.as_flattened_mut().iter_mut();
        for (count, other) in counts.zip(other.counts.as_flattened()) {
            *count = (*count).max(*other);
        }
        for (own, other) in self.histograms.iter_mut().zip(&other.histograms) {
            for (count, other) in own.buckets.iter_mut().zip(other.buckets) {
                *count = (*count).max(other);
            }
            own.nanos = own.nanos.max(other.nanos);
        }
        self
    }

    /// How many calls ended so.
    pub fn count(&self, operation: Operation, outcome: Outcome) -> u64 {
        let counts = self.counts.get(operation.index());
        let count = counts.and_then(|counts| counts.get(outcome.index()));
        count.copied().unwrap_or_default()
    }

    /// All counts that are not 0.
    pub fn counts(&self) -> impl Iterator<Item = (Operation, Outcome, u64)> {
        let all = Operation::ALL.into_iter();
        let all = all.flat_map(|operation| Outcome::ALL.map(|outcome| (operation, outcome)));
        let counted = all.map(|(operation, outcome)| {
            let count = self.count(operation, outcome);
            (operation, outcome, count)
        });
        counted.filter(|(.., count)| *count > 0)
    }

    /// How long the calls took that were timed.
    pub fn histogram(&self, operation: Operation) -> &Histogram {
        let [get, put, remove, merge, scan] = &self.histograms;
        match operation {
            Operation::Get => get,
            Operation::Put => put,
            Operation::Remove => remove,
            Operation::Merge => merge,
            Operation::Scan => scan,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_that_of_its_name() {
        for (at, operation) in Operation::ALL.into_iter().enumerate() {
            assert_eq!(operation.index(), at);
        }
        for (at, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome.index(), at);
        }
    }

    #[test]
    fn buckets_double() {
        for (nanos, bucket) in [(0, 0), (1, 1), (2, 2), (3, 2), (4, 3), (u64::MAX, 64)] {
            assert_eq!(Histogram::bucket(nanos), bucket);
        }
        let mut buckets = [0; BUCKETS];
        buckets[2] = 90;
        buckets[10] = 9;
        buckets[64] = 1;
        let histogram = Histogram::new(buckets, 0);
        let nanos = |percent| histogram.percentile(percent).map(|most| most.as_nanos());
        assert_eq!(nanos(0), Some(3));
        assert_eq!(nanos(90), Some(3));
        assert_eq!(nanos(91), Some(1023));
        assert_eq!(nanos(100), Some(u64::MAX.into()));
        assert_eq!(Histogram::new([0; BUCKETS], 0).percentile(50), None);
    }
}

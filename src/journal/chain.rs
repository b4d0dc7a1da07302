//! Which segments make up a journal, and which are void. Reads only.
//!
//! The newest segment says which one it continues, and where that one ends for it; that one says the same
//! of its own, down to the oldest that is kept. A segment with a number between two of the chain was cut
//! away, and is void. Below the oldest there are none: those were discarded, oldest first.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use super::error::{Error, Result};
use super::files::{Files, Name, parse};
use crate::buffer::format::{Edge, Salt};

/// How often a directory that changes under the reader's eyes is read again.
pub(super) const ATTEMPTS: u32 = 64;
/// Between two of these attempts, where another process changes it.
const PAUSE: Duration = Duration::from_micros(50);

/// A segment of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) sequence: u64,
    /// Position of its first document.
    pub(super) base: u64,
    /// When it was made, in microseconds since 1970.
    pub(super) born: u64,
    pub(super) from: Option<(u64, Edge)>,
    pub(super) salt: Salt,
    /// Where its documents begin.
    pub(super) start: Edge,
    /// Length of its store when it was looked at.
    pub(super) store_len: u64,
    /// Where it ends for the next; `None` for the live one.
    pub(super) end: Option<Edge>,
}

impl Link {
    /// Position behind its last document; `None` for the live one.
    pub(super) fn end_position(&self) -> Option<u64> {
        Some(self.base.saturating_add(self.end?.documents))
    }

    /// Bytes of its records, as far as they count.
    pub(super) fn len(&self) -> u64 {
        self.end.map_or(0, |end| end.offset)
    }
}

/// The segments of a journal, oldest first; the last one is live.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    pub(super) journal: u128,
    pub(super) codec: String,
    pub(super) links: Vec<Link>,
}

impl Chain {
    /// The first position that is kept.
    pub(super) fn first(&self) -> u64 {
        self.links.first().map_or(0, |link| link.base)
    }

    pub(super) fn live(&self) -> Option<&Link> {
        self.links.last()
    }

    pub(super) fn link(&self, sequence: u64) -> Option<&Link> {
        let at = (self.links).binary_search_by_key(&sequence, |link| link.sequence);
        self.links.get(at.ok()?)
    }

    /// The segment behind that one.
    pub(super) fn next(&self, sequence: u64) -> Option<&Link> {
        let at = self.links.partition_point(|link| link.sequence <= sequence);
        self.links.get(at)
    }

    /// The segment in which the document at `position` stands, or would: the last that begins at or below it.
    pub(super) fn holder(&self, position: u64) -> Option<&Link> {
        let at = self.links.partition_point(|link| link.base <= position);
        self.links.get(at.checked_sub(1)?)
    }

    /// Up to which position this chain is certainly the one in which a place in segment `sequence` was named;
    /// `None` if not even as far as it is kept.
    pub(super) fn same_up_to(&self, sequence: u64) -> Option<u64> {
        // Numbers only grow: a segment with a lower one that is built on today was in every chain since. In the
        // segment itself a power cut may have put other records in the place of those that were seen.
        let at = (self.links).partition_point(|link| link.sequence <= sequence);
        let Some(link) = at.checked_sub(1).and_then(|at| self.links.get(at)) else {
            let oldest = self.links.first()?;
            let (discarded, _) = oldest.from?;
            return (discarded < sequence).then_some(oldest.base);
        };
        match link.end_position() {
            Some(end) if link.sequence < sequence => Some(end),
            _ => Some(link.base),
        }
    }

    /// Up to which position this chain is the same as `other`, which was read up to `position`; `None` if
    /// they have no segment in common.
    pub(super) fn common(&self, other: &Chain, position: u64) -> Option<u64> {
        let both = |link: &&Link| {
            (other.link(link.sequence))
                .is_some_and(|old| old.base == link.base && old.salt == link.salt)
        };
        let last = self.links.iter().rev().find(both)?;
        Some(last.end_position().unwrap_or(u64::MAX).min(position))
    }
}

/// What is in a directory.
pub(super) struct Found {
    /// `None` where there is no segment.
    pub(super) chain: Option<Chain>,
    /// Files of segments that were cut away.
    pub(super) void: Vec<u64>,
    /// Files that were never born.
    pub(super) unborn: Vec<String>,
}

/// Reads the heads of all segments.
pub(super) fn find(files: &Files) -> Result<Found> {
    let mut sequences = BTreeSet::new();
    let mut unborn = Vec::new();
    for name in files.list()? {
        match parse(&name) {
            Name::Segment(sequence) => drop(sequences.insert(sequence)),
            Name::Unborn => unborn.push(name),
            Name::Other => {}
        }
    }
    let Some(newest) = sequences.last().copied() else {
        return Ok(Found {
            chain: None,
            void: Vec::new(),
            unborn,
        });
    };
    let chain = chain(files, newest, &sequences)?;
    let kept: BTreeSet<u64> = chain.links.iter().map(|link| link.sequence).collect();
    Ok(Found {
        chain: Some(chain),
        void: sequences.difference(&kept).copied().collect(),
        unborn,
    })
}

/// The chain of a journal that another process may be changing.
pub(super) fn look(files: &Files) -> Result<Chain> {
    let found = again(pause, || find(files))?;
    let directory = files.path();
    found.chain.ok_or(Error::NotFound { directory })
}

/// What is cut away or discarded vanishes between a look at it and the next call: then all of `attempt` is
/// made again, when `let_pass` has let that come to its end.
pub(super) fn again<T>(let_pass: impl Fn(), mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let mut attempts = 0;
    loop {
        match attempt() {
            Err(error) if attempts < ATTEMPTS && error.may_pass() => {
                attempts += 1;
                let_pass();
            }
            done => return done,
        }
    }
}

/// Lets another process go on.
pub(super) fn pause() {
    thread::sleep(PAUSE);
}

fn chain(files: &Files, newest: u64, sequences: &BTreeSet<u64>) -> Result<Chain> {
    let (mut chain, mut at) = {
        let (journal, codec, link) = link(files, newest)?;
        let links = vec![link];
        let chain = Chain {
            journal,
            codec,
            links,
        };
        (chain, link)
    };
    while let Some((sequence, edge)) = at.from {
        if !sequences.contains(&sequence) {
            // Discarding begins with the oldest: nothing may be left below.
            if sequences.range(..sequence).next().is_some() {
                return Err(Error::Missing {
                    file: files.segment(sequence),
                    until: at.base,
                });
            }
            break;
        }
        let (journal, _, mut link) = link(files, sequence)?;
        let file = || files.segment(sequence);
        if journal != chain.journal {
            return Err(stranger(files, sequences.iter(), &chain, sequence));
        }
        let fits = sequence < at.sequence
            && link.base.checked_add(edge.documents) == Some(at.base)
            && edge.offset >= link.start.offset;
        if !fits {
            // The same number and the same journal, but not what the next one continues.
            return Err(Error::OtherJournal { file: file() });
        }
        link.end = Some(edge);
        chain.links.push(link);
        at = link;
    }
    chain.links.reverse();
    Ok(chain)
}

/// Segment `sequence` and the newest are of two journals: the one that most others are not of was brought here.
pub(super) fn stranger<'a>(
    files: &Files,
    all: impl Iterator<Item = &'a u64>,
    chain: &Chain,
    sequence: u64,
) -> Error {
    let journals = all.filter_map(|sequence| Some(link(files, *sequence).ok()?.0));
    let (own, others): (Vec<u128>, Vec<u128>) =
        journals.partition(|journal| *journal == chain.journal);
    let newest = chain.links.iter().map(|link| link.sequence).max();
    let stranger = newest.filter(|_| others.len() > own.len());
    let file = files.segment(stranger.unwrap_or(sequence));
    Error::OtherJournal { file }
}

/// What a segment says of its journal, its codec, and itself.
pub(super) fn link(files: &Files, sequence: u64) -> Result<(u128, String, Link)> {
    let (head, store_len) = files.head(sequence)?;
    let segment = head.segment;
    if segment.sequence != sequence {
        return Err(Error::Misplaced {
            file: files.segment(sequence),
            named: sequence,
            says: segment.sequence,
        });
    }
    let link = Link {
        sequence,
        base: segment.base,
        born: segment.born,
        from: segment.from,
        salt: head.salt,
        start: head.start,
        store_len,
        end: None,
    };
    Ok((segment.journal, segment.codec, link))
}

//! What a follower remembers of the documents it has seen. Pure, no I/O.

use std::collections::VecDeque;

/// Checksums remembered: how far back a cut is told exactly.
const REMEMBERED: usize = 1 << 20;

/// The checksums of the newest documents seen. Each names its document and all before it, so where one
/// is the same, all before it are.
#[derive(Default)]
pub(super) struct Seen {
    len: u64,
    newest: VecDeque<u32>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Compared {
    /// Not seen before.
    New,
    /// Seen before, or before what is remembered.
    Same,
    /// Another document has taken the place.
    Other,
}

impl Seen {
    /// Documents seen.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Position of the oldest that is remembered.
    fn first(&self) -> u64 {
        self.len.saturating_sub(self.newest.len() as u64)
    }

    pub(super) fn compare(&self, position: u64, crc: u32) -> Compared {
        if position >= self.len {
            return Compared::New;
        }
        let index = position
            .checked_sub(self.first())
            .and_then(|index| usize::try_from(index).ok());
        match index.and_then(|index| self.newest.get(index)) {
            Some(seen) if *seen != crc => Compared::Other,
            _ => Compared::Same,
        }
    }

    /// The next document.
    pub(super) fn add(&mut self, crc: u32) {
        if self.newest.len() == REMEMBERED {
            self.newest.pop_front();
        }
        self.newest.push_back(crc);
        self.len += 1;
    }

    /// Keeps the documents before `to`, none where one before it may be another by now; says how many.
    pub(super) fn cut(&mut self, to: u64) -> u64 {
        let first = self.first();
        // Nothing is known of what comes before the first remembered, unless that is still the same.
        if first > 0 && to <= first {
            *self = Seen::default();
            return 0;
        }
        let keep = usize::try_from(to.saturating_sub(first)).unwrap_or(usize::MAX);
        self.newest.truncate(keep);
        self.len = self.len.min(to);
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_is_found_where_it_is() {
        let mut seen = Seen::default();
        (0..5).for_each(|crc| seen.add(crc));
        assert_eq!(seen.compare(4, 4), Compared::Same);
        assert_eq!(seen.compare(3, 9), Compared::Other);
        assert_eq!(seen.compare(5, 9), Compared::New);
        assert_eq!(seen.cut(3), 3);
        assert_eq!(seen.compare(3, 9), Compared::New);
        assert_eq!(seen.compare(2, 2), Compared::Same);
        assert_eq!(seen.cut(0), 0);
        assert_eq!(seen.compare(0, 0), Compared::New);
    }

    #[test]
    fn a_cut_deeper_than_memory_begins_at_zero() {
        let mut seen = Seen::default();
        (0..REMEMBERED as u32 + 2).for_each(|crc| seen.add(crc));
        assert_eq!(seen.compare(1, 99), Compared::Same);
        assert_eq!(seen.compare(2, 99), Compared::Other);
        assert_eq!(seen.cut(2), 0);
        assert_eq!(seen.len(), 0);
    }
}

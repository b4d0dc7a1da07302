//! What a power cut leaves: crash images of a [`FaultStore`].

use std::collections::HashSet;

use super::{FaultStore, Op, OpKind};

/// A small generator of random numbers (SplitMix64); the same seed gives the same numbers for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rng(u64);

impl Rng {
    /// The generator of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number from 0 up to but not including `end`; 0 where `end` is 0.
    #[inline]
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(end)) >> 64) as u64
    }

    /// Random bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let random = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&random[..chunk.len()]);
        }
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// What is read where an extension of the file arrived but its bytes did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Filler {
    /// 0x00, as most file systems have it.
    Zero,
    /// 0xFF, as erased flash has it.
    Ones,
    /// Whatever was on the medium before.
    Random,
}

impl Filler {
    fn fill(self, rng: &mut Rng, bytes: &mut [u8]) {
        match self {
            Filler::Zero => bytes.fill(0),
            Filler::Ones => bytes.fill(0xFF),
            Filler::Random => rng.fill(bytes),
        }
    }
}

/// Which of the unsynced changes reach the medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Each sector has, independently, any version that it had since the last good sync.
    AnyVersion,
    /// The first changes up to a random one, which may be torn at a sector boundary.
    Prefix,
    /// Any changes, each whole or not at all.
    Subset,
    /// All of them.
    Kept,
    /// None of them.
    Lost,
}

/// How a power cut goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CrashPlan {
    /// Bytes that the medium writes as one, aligned to their size; 1 tears at any byte.
    pub sector: u64,
    /// What stands where bytes of an extension were lost.
    pub filler: Filler,
    /// Which of the unsynced changes reach the medium.
    pub mode: Mode,
}

impl CrashPlan {
    /// Any plan; any version of each sector in about half of them, seldom all or nothing.
    pub fn random(rng: &mut Rng) -> Self {
        let modes = [
            Mode::AnyVersion,
            Mode::AnyVersion,
            Mode::AnyVersion,
            Mode::AnyVersion,
            Mode::Prefix,
            Mode::Prefix,
            Mode::Subset,
            Mode::Subset,
        ];
        let mode = match rng.below(32) {
            0 => Mode::Kept,
            1 => Mode::Lost,
            _ => rng.pick(&modes),
        };
        Self {
            sector: rng.pick(&[1, 4, 8, 16, 64, 512]),
            filler: rng.pick(&[Filler::Zero, Filler::Ones, Filler::Random]),
            mode,
        }
    }
}

impl FaultStore {
    /// What the medium holds after a power cut now. The store itself does not change; go on with
    /// [`with_contents`](FaultStore::with_contents) of the image.
    ///
    /// For [`Mode::AnyVersion`] and [`Mode::Prefix`] the length of the image is any between the
    /// shortest and the longest that the store had since the last good sync; a short one cuts.
    /// What no change that arrived has covered holds the durable bytes, and filler behind them.
    ///
    /// # Panics
    ///
    /// If `plan.sector` is 0.
    pub fn crash(&self, rng: &mut Rng, plan: CrashPlan) -> Vec<u8> {
        assert!(plan.sector > 0, "a sector has at least one byte");
        match plan.mode {
            Mode::Lost => return self.durable.clone(),
            Mode::Kept => return self.replay(rng, plan.filler, |_, _| true),
            Mode::Subset => return self.replay(rng, plan.filler, |rng, _| rng.below(2) == 0),
            Mode::AnyVersion | Mode::Prefix => {}
        }
        let (shortest, longest) = self.lengths();
        let mut image = Vec::with_capacity(longest);
        image.extend_from_slice(&self.durable);
        image.resize(longest, 0);
        if let Some(lost) = image.get_mut(self.durable.len()..) {
            plan.filler.fill(rng, lost);
        }
        let sector = usize::try_from(plan.sector).unwrap_or(usize::MAX);
        match plan.mode {
            Mode::Prefix => self.prefix(rng, sector, plan.filler, &mut image),
            _ => self.any_version(rng, sector, plan.filler, &mut image),
        }
        image.truncate(self.length(rng, shortest, longest));
        image
    }

    /// Every image that a power cut now can leave if the unsynced changes are torn at `cuts` (offsets
    /// from the start, such as the boundaries of records) and nowhere else.
    ///
    /// Each range between two cuts has, independently, any version that it had since the last good
    /// sync, at each length that the store had and each cut in between. `each` gets every distinct
    /// image once; their number is returned. Expect the product of the versions over all ranges.
    pub fn images_by_unit(
        &self,
        cuts: &[u64],
        filler: Filler,
        mut each: impl FnMut(&[u8]),
    ) -> usize {
        let (shortest, longest) = self.lengths();
        let mut bounds: Vec<usize> = cuts.iter().filter_map(|&cut| cut.try_into().ok()).collect();
        bounds.extend([0, longest]);
        bounds.retain(|&bound| bound <= longest);
        bounds.sort_unstable();
        bounds.dedup();

        let mut lengths = bounds.clone();
        lengths.push(self.durable.len());
        lengths.extend(self.ops.iter().map(|op| op.len));
        lengths.retain(|length| (shortest..=longest).contains(length));
        lengths.sort_unstable();
        lengths.dedup();

        let units = self.versions(&bounds, filler, longest);
        let mut seen = HashSet::new();
        for length in lengths {
            let below = bounds.partition_point(|&bound| bound < length);
            let units = &units[..below.min(units.len())];
            let mut choice = vec![0; units.len()];
            loop {
                let parts = units.iter().zip(&choice);
                let mut image: Vec<u8> = parts
                    .flat_map(|(versions, &version)| &versions[version])
                    .copied()
                    .collect();
                image.truncate(length);
                if !seen.contains(&image) {
                    each(&image);
                    seen.insert(image);
                }
                if !advance(&mut choice, units) {
                    break;
                }
            }
        }
        seen.len()
    }

    /// The distinct contents that each range between two bounds had since the last good sync.
    fn versions(&self, bounds: &[usize], filler: Filler, longest: usize) -> Vec<Vec<Vec<u8>>> {
        let mut rng = Rng::new(self.rng.0);
        let mut now = self.durable.clone();
        now.resize(longest, 0);
        filler.fill(&mut rng, &mut now[self.durable.len()..]);
        let ranges = bounds.windows(2).map(|pair| pair[0]..pair[1]);
        let mut units: Vec<Vec<Vec<u8>>> = ranges
            .clone()
            .map(|range| vec![now[range].to_vec()])
            .collect();
        for op in &self.ops {
            self.paint(op, op.from, op.to, &mut rng, filler, &mut now);
            for (range, unit) in ranges.clone().zip(&mut units) {
                let touched = range.start < op.to && op.from < range.end;
                let version = &now[range];
                if touched && !unit.iter().any(|known| known == version) {
                    unit.push(version.to_vec());
                }
            }
        }
        units
    }

    /// The shortest and the longest that the store was since the last good sync.
    fn lengths(&self) -> (usize, usize) {
        let durable = self.durable.len();
        self.ops
            .iter()
            .fold((durable, durable), |(least, most), op| {
                (least.min(op.len), most.max(op.len).max(op.to))
            })
    }

    /// Mostly a length that the store really had, as file systems leave it; else any in between.
    fn length(&self, rng: &mut Rng, shortest: usize, longest: usize) -> usize {
        match rng.below(4) {
            0 => shortest + rng.below((longest - shortest + 1) as u64) as usize,
            1 if !self.ops.is_empty() => self.ops[rng.below(self.ops.len() as u64) as usize].len,
            _ => longest,
        }
    }

    /// The changes that `keep` says yes to, one after the other on the durable bytes.
    fn replay(
        &self,
        rng: &mut Rng,
        filler: Filler,
        mut keep: impl FnMut(&mut Rng, &Op) -> bool,
    ) -> Vec<u8> {
        let mut image = self.durable.clone();
        for op in &self.ops {
            if !keep(rng, op) {
                continue;
            }
            let gap = image.len()..op.from;
            self.redo(op, &mut image, 0);
            if let Some(lost) = image.get_mut(gap) {
                filler.fill(rng, lost);
            }
        }
        image
    }

    fn prefix(&self, rng: &mut Rng, sector: usize, filler: Filler, image: &mut [u8]) {
        let whole = rng.below(self.ops.len() as u64 + 1) as usize;
        for op in &self.ops[..whole] {
            self.paint(op, op.from, op.to, rng, filler, image);
        }
        if let Some(op) = self.ops.get(whole) {
            let torn = op.from + rng.below((op.to - op.from + 1) as u64) as usize;
            let torn = (torn - torn % sector).max(op.from);
            self.paint(op, op.from, torn, rng, filler, image);
        }
    }

    /// Two passes: count the versions of each sector, draw one, then replay every change sector by
    /// sector until the drawn version stands.
    fn any_version(&self, rng: &mut Rng, sector: usize, filler: Filler, image: &mut [u8]) {
        let from = self.ops.iter().map(|op| op.from).min().unwrap_or(0);
        let to = self.ops.iter().map(|op| op.to).max().unwrap_or(0);
        if from >= to {
            return;
        }
        let first = from / sector;
        let mut left = vec![0u32; (to - 1) / sector - first + 1];
        let sectors = |op: &Op| op.from / sector - first..op.to.div_ceil(sector) - first;
        for op in &self.ops {
            for count in &mut left[sectors(op)] {
                *count += 1;
            }
        }
        for count in &mut left {
            *count = rng.below(u64::from(*count) + 1) as u32;
        }
        for op in &self.ops {
            let range = sectors(op);
            let base = (first + range.start) * sector;
            if sector == 1
                && let OpKind::Write(_) = op.kind
            {
                let bytes = self.op_bytes(op).iter();
                let target = left[range].iter_mut().zip(&mut image[op.from..op.to]);
                for ((left, target), &byte) in target.zip(bytes) {
                    *target = if *left > 0 { byte } else { *target };
                    *left = left.saturating_sub(1);
                }
                continue;
            }
            for (index, left) in left[range].iter_mut().enumerate() {
                if *left > 0 {
                    *left -= 1;
                    let start = base + index * sector;
                    let (start, end) = (start.max(op.from), (start + sector).min(op.to));
                    self.paint(op, start, end, rng, filler, image);
                }
            }
        }
    }

    /// The part of a change from `from` to `to`; what was cut off is filler.
    #[inline]
    fn paint(
        &self,
        op: &Op,
        from: usize,
        to: usize,
        rng: &mut Rng,
        filler: Filler,
        image: &mut [u8],
    ) {
        let target = &mut image[from..to];
        match op.kind {
            OpKind::Write(_) => {
                target.copy_from_slice(&self.op_bytes(op)[from - op.from..to - op.from]);
            }
            OpKind::Zeros => target.fill(0),
            OpKind::Cut => filler.fill(rng, target),
        }
    }
}

/// The next combination, like an odometer; false after the last.
fn advance(choice: &mut [usize], units: &[Vec<Vec<u8>>]) -> bool {
    for (digit, versions) in choice.iter_mut().zip(units) {
        *digit += 1;
        if *digit < versions.len() {
            return true;
        }
        *digit = 0;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;
    use std::collections::BTreeSet;
    use std::io::{Seek, SeekFrom, Write};

    fn put(store: &mut FaultStore, at: u64, bytes: &[u8]) {
        store.seek(SeekFrom::Start(at)).unwrap();
        store.write_all(bytes).unwrap();
    }

    fn plan(sector: u64, filler: Filler, mode: Mode) -> CrashPlan {
        CrashPlan {
            sector,
            filler,
            mode,
        }
    }

    /// All images of many crashes.
    fn images(store: &FaultStore, plan: CrashPlan) -> BTreeSet<Vec<u8>> {
        let mut rng = Rng::new(5);
        (0..3000).map(|_| store.crash(&mut rng, plan)).collect()
    }

    fn strings(all: &[&str]) -> BTreeSet<Vec<u8>> {
        all.iter().map(|text| text.as_bytes().to_vec()).collect()
    }

    #[test]
    fn the_numbers_of_a_seed_stay_the_same() {
        let mut rng = Rng::new(0);
        assert_eq!(rng.next_u64(), 0xE220_A839_7B1D_CDAF);
        assert_eq!(rng.next_u64(), 0x6E78_9E6A_A1B9_65F4);
        assert_eq!(rng.below(0), 0);
        assert!((0..1000).all(|_| rng.below(3) < 3));
        let mut bytes = [0; 11];
        rng.fill(&mut bytes);
        assert_ne!(bytes[8..], [0; 3]);
    }

    #[test]
    fn each_sector_has_any_version_it_had() {
        let mut store = FaultStore::with_contents(1, b"aaaa".to_vec());
        put(&mut store, 0, b"bb");
        put(&mut store, 1, b"cc");
        // By bytes: 0 is a or b; 1 is a, b or c; 2 is a or c; 3 is a.
        let found = images(&store, plan(1, Filler::Zero, Mode::AnyVersion));
        let mut expected = BTreeSet::new();
        for zero in *b"ab" {
            for one in *b"abc" {
                for two in *b"ac" {
                    expected.insert(vec![zero, one, two, b'a']);
                }
            }
        }
        assert_eq!(found, expected);
        // By pairs: the first is aa, bb or bc; the second aa or ca.
        let found = images(&store, plan(2, Filler::Zero, Mode::AnyVersion));
        let all = ["aaaa", "bbaa", "bcaa", "aaca", "bbca", "bcca"];
        assert_eq!(found, strings(&all));
        let found = images(&store, plan(512, Filler::Zero, Mode::AnyVersion));
        assert_eq!(found, strings(&["aaaa", "bbaa", "bcca"]));
    }

    #[test]
    fn a_lost_extension_reads_as_filler_at_any_length() {
        let mut store = FaultStore::with_contents(1, b"ab".to_vec());
        put(&mut store, 2, b"cd");
        let found = images(&store, plan(1, Filler::Ones, Mode::AnyVersion));
        let mut expected = strings(&["ab", "abc", "abcd"]);
        for tail in [&[0xFF][..], &[0xFF, 0xFF], &[0xFF, b'd'], &[b'c', 0xFF]] {
            expected.insert([b"ab", tail].concat());
        }
        assert_eq!(found, expected);
        let found = images(&store, plan(1, Filler::Zero, Mode::AnyVersion));
        assert!(found.contains(&b"ab\0d"[..]));
        let found = images(&store, plan(4, Filler::Random, Mode::AnyVersion));
        assert!(found.len() > 1000, "{}", found.len());
        assert!(found.iter().all(|image| image.starts_with(b"ab")));
    }

    #[test]
    fn a_cut_is_lost_or_done_and_what_comes_behind_it_too() {
        let mut store = FaultStore::with_contents(1, b"abcd".to_vec());
        store.set_len(2).unwrap();
        put(&mut store, 3, b"X");
        let found = images(&store, plan(1, Filler::Zero, Mode::AnyVersion));
        for image in ["abcd", "ab", "abc", "ab\0X", "abcX", "ab\0d"] {
            assert!(found.contains(image.as_bytes()), "{image:?}");
        }
        assert!(
            found
                .iter()
                .all(|image| image.starts_with(b"ab") && image.len() <= 4)
        );
    }

    #[test]
    fn a_prefix_has_one_torn_change_at_most() {
        let mut store = FaultStore::with_contents(1, b"....".to_vec());
        put(&mut store, 0, b"12");
        put(&mut store, 2, b"34");
        let found = images(&store, plan(1, Filler::Zero, Mode::Prefix));
        assert_eq!(found, strings(&["....", "1...", "12..", "123.", "1234"]));
        let found = images(&store, plan(2, Filler::Zero, Mode::Prefix));
        assert_eq!(found, strings(&["....", "12..", "1234"]));
    }

    #[test]
    fn a_subset_has_each_change_whole_or_not_at_all() {
        let mut store = FaultStore::with_contents(1, b"..".to_vec());
        put(&mut store, 0, b"12");
        put(&mut store, 2, b"34");
        put(&mut store, 4, b"5");
        let found = images(&store, plan(1, Filler::Ones, Mode::Subset));
        let mut expected = strings(&["..", "12", "..34", "1234", "..345", "12345"]);
        expected.insert(b"..\xFF\xFF5".to_vec());
        expected.insert(b"12\xFF\xFF5".to_vec());
        assert_eq!(found, expected);
    }

    #[test]
    fn nothing_or_all_is_lost() {
        let mut store = FaultStore::with_contents(1, b"ab".to_vec());
        put(&mut store, 1, b"cd");
        assert_eq!(
            images(&store, plan(1, Filler::Zero, Mode::Lost)),
            strings(&["ab"])
        );
        assert_eq!(
            images(&store, plan(1, Filler::Zero, Mode::Kept)),
            strings(&["acd"])
        );
        store.sync().unwrap();
        let mut rng = Rng::new(1);
        for _ in 0..200 {
            let plan = CrashPlan::random(&mut rng);
            assert_eq!(store.crash(&mut rng, plan), b"acd");
        }
    }

    #[test]
    fn what_a_failed_sync_lost_no_crash_brings_back() {
        let mut store = FaultStore::with_contents(1, b"ab".to_vec());
        put(&mut store, 2, b"lost");
        store.fault(super::super::Fault {
            kind: super::super::Kind::SyncLoses,
            class: super::super::Class::Sync,
            at: 0,
            sticky: false,
        });
        assert!(store.sync().is_err());
        put(&mut store, 6, b"on");
        let mut rng = Rng::new(1);
        for _ in 0..500 {
            let plan = CrashPlan {
                filler: Filler::Zero,
                ..CrashPlan::random(&mut rng)
            };
            let image = store.crash(&mut rng, plan);
            assert!(image.starts_with(b"ab"));
            assert!(image.iter().skip(2).take(4).all(|&byte| byte == 0));
        }
    }

    #[test]
    fn all_images_by_unit_are_every_combination_once() {
        let mut store = FaultStore::with_contents(1, b"aabbcc".to_vec());
        put(&mut store, 2, b"BB");
        put(&mut store, 2, b"XXYYZZ");
        let mut found = BTreeSet::new();
        let count = store.images_by_unit(&[4, 2, 4, 6, 99], Filler::Zero, |image| {
            assert!(found.insert(image.to_vec()), "twice");
        });
        let mut expected = BTreeSet::new();
        for one in ["bb", "BB", "XX"] {
            for two in ["cc", "YY"] {
                expected.insert(format!("aa{one}{two}").into_bytes());
                for three in ["\0\0", "ZZ"] {
                    expected.insert(format!("aa{one}{two}{three}").into_bytes());
                }
            }
        }
        assert_eq!((found, count), (expected, 18));
        assert_eq!(
            FaultStore::new(1).images_by_unit(&[], Filler::Zero, |_| ()),
            1
        );
    }

    #[test]
    fn random_crashes_by_unit_are_among_all_images() {
        let mut store = FaultStore::with_contents(1, vec![b'.'; 8]);
        for (at, bytes) in [(4, &b"abcdefgh"[..]), (0, b"ABCD"), (8, b"ijkl")] {
            put(&mut store, at, bytes);
        }
        let mut all = BTreeSet::new();
        store.images_by_unit(&[4, 8], Filler::Zero, |image| all.extend([image.to_vec()]));
        let mut rng = Rng::new(9);
        for _ in 0..1000 {
            let image = store.crash(&mut rng, plan(4, Filler::Zero, Mode::AnyVersion));
            let known = all.iter().any(|known| known.starts_with(&image));
            assert!(known, "{image:?}");
        }
    }
}

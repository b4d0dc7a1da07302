//! Chance from a seed: the same one gives the same run.

use std::sync::{Arc, Mutex};

use documentbuffer::tier::Kind;

use super::{Act, Class};

/// A generator (splitmix64) that clones share.
#[derive(Clone, Debug)]
pub(crate) struct Rng(Arc<Mutex<u64>>);

impl Rng {
    pub(crate) fn new(seed: u64) -> Rng {
        Rng(Arc::new(Mutex::new(seed)))
    }

    pub(crate) fn next(&self) -> u64 {
        let mut state = self.0.lock().unwrap();
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// True in so many of a hundred.
    pub(crate) fn percent(&self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// How a tier goes wrong by chance, in percent, and how long it takes at most, in turns of the scheduler.
#[derive(Clone, Debug)]
pub(crate) struct Chance {
    pub(crate) rng: Rng,
    pub(crate) slow: usize,
    pub(crate) fails: usize,
    pub(crate) unknown: usize,
    pub(crate) panics: usize,
}

impl Chance {
    /// What becomes of a call, and how long it takes before and behind its effect.
    pub(crate) fn act(&self, class: Class) -> (Act, usize, usize) {
        let rng = &self.rng;
        let slow = self.slow + 1;
        let (before, behind) = (rng.below(slow), rng.below(slow));
        let writes = matches!(class, Class::Put | Class::Remove);
        let act = if rng.percent(self.fails) {
            let corrupt = !writes && rng.percent(20);
            Act::Fail(if corrupt {
                Kind::Corrupt
            } else {
                Kind::Transient
            })
        } else if writes && rng.percent(self.unknown) {
            match rng.below(4) {
                0 => Act::Unknown { made: true },
                1 => Act::Unknown { made: false },
                _ => Act::Late,
            }
        } else if writes && rng.percent(self.panics) {
            Act::Panic
        } else {
            Act::Pass
        };
        (act, before, behind)
    }
}

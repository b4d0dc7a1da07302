//! Salts and nonces: random, never counted, since a counter would have to be durable before it is used.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// Where random numbers come from.
#[derive(Clone, Debug)]
pub(crate) enum Random {
    /// The keys of the standard library's hasher, drawn anew for each number, with the process id and a
    /// call counter mixed in for the sake of forks.
    System,
    /// splitmix64 (Steele, Lea and Flood): for tests and golden files.
    Seeded(u64),
}

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        match self {
            Random::System => {
                static CALLS: AtomicU64 = AtomicU64::new(0);
                let mut hasher = RandomState::new().build_hasher();
                hasher.write_u64(CALLS.fetch_add(1, Ordering::Relaxed));
                hasher.write_u32(std::process::id());
                hasher.finish()
            }
            Random::Seeded(state) => {
                *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
                let z = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
                z ^ (z >> 31)
            }
        }
    }
}

//! What the kill tests share: a seed, a generator, and moments that no clock chooses.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::hint;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout};
use std::thread;

/// The seed of this run: a random one, or the one to replay.
pub(crate) fn seed() -> u64 {
    match std::env::var("DOCUMENTBUFFER_SEED") {
        Ok(text) => text.parse().expect("DOCUMENTBUFFER_SEED is a number"),
        Err(_) => RandomState::new().build_hasher().finish(),
    }
}

/// SplitMix64.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Less than `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// Reads `wait_for` lines of the process's answers, lets a random while pass, kills it, and returns all whole
/// lines that it got out. A line cut short was not answered.
pub(crate) fn kill_after(
    child: &mut Child,
    stdout: ChildStdout,
    wait_for: usize,
    rng: &mut Rng,
) -> Vec<String> {
    let mut answers = BufReader::new(stdout);
    let mut lines = Vec::new();
    let mut next = |lines: &mut Vec<String>| {
        let mut line = String::new();
        answers.read_line(&mut line).expect("the pipe is readable");
        let whole = line.strip_suffix('\n').map(str::to_owned);
        whole.map(|line| lines.push(line)).is_some()
    };
    while lines.len() < wait_for && next(&mut lines) {}
    for _ in 0..rng.below(4) {
        thread::yield_now();
    }
    for _ in 0..rng.below(10_000) {
        hint::spin_loop();
    }
    child.kill().expect("the process can be killed");
    while next(&mut lines) {}
    child.wait().expect("the process ends");
    lines
}

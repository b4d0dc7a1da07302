//! What is told of owed writes.

use crate::tier::{self, KeyBuf, Op};

/// A write that the tier below will not take.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Parked {
    /// Its key.
    pub key: KeyBuf,
    /// The write.
    pub op: Op,
    /// What the tier said.
    pub reason: String,
}

/// What is owed, and was done, in numbers.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Keys of which something is owed or parked.
    pub keys: usize,
    /// Bytes of these keys and their values.
    pub bytes: usize,
    /// Keys of which something is parked.
    pub parked: usize,
    /// Writes that arrived.
    pub delivered: u64,
    /// Of these, those that the tier had something newer for.
    pub superseded: u64,
    /// Writes that failed, each time.
    pub failures: u64,
    /// How the last one failed; none since one arrived.
    pub last_error: Option<tier::Error>,
}

/// What [`close`](super::Behind::close) left behind.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Closed {
    /// Whether everything has arrived but what is parked.
    pub settled: bool,
    /// Keys of which something is still owed: in the journal, or, where there is none, lost.
    pub owed: usize,
    /// Whether that is in a journal, and goes on in the next life.
    pub journaled: bool,
    /// Keys of which something is parked.
    pub parked: usize,
    /// How the last write failed; none since one arrived.
    pub last_error: Option<tier::Error>,
}

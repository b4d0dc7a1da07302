//! What counters have done so far, in numbers.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::debts::Parked;
use super::error::{Error, Result};

/// Counts of counters, at one moment.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Windows that were journaled.
    pub windows: u64,
    /// Batches that the sink took.
    pub batches: u64,
    /// Times that the journal or the sink failed.
    pub failures: u64,
    /// How it failed last; none since it went well.
    pub last_error: Option<Error>,
    /// Keys that are owed, in memory; one that is with the sink and added to counts twice.
    pub keys: usize,
    /// Keys that the sink refused.
    pub parked: usize,
}

/// What [`close`](super::Counters::close) left behind.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Closed {
    /// Whether the sink has everything but what is parked.
    pub settled: bool,
    /// What it does not have: in the journal, or, where there is none, only here.
    pub owed: BTreeMap<Box<str>, i128>,
    /// Whether that is in a journal, and comes again when it is opened.
    pub journaled: bool,
    /// What it refused.
    pub parked: BTreeMap<Box<str>, Parked>,
    /// How the last attempt failed.
    pub last_error: Option<String>,
}

/// The part of it that counts up.
#[derive(Debug, Default)]
pub(super) struct Counts(Mutex<Stats>);

impl Counts {
    fn lock(&self) -> MutexGuard<'_, Stats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn failed(&self, error: Error) {
        let mut stats = self.lock();
        stats.failures += 1;
        stats.last_error = Some(error);
    }

    pub(super) fn window(&self, result: &Result<()>) {
        match result {
            Ok(()) => self.lock().windows += 1,
            Err(error) => self.failed(error.clone()),
        }
    }

    pub(super) fn batch(&self) {
        self.lock().batches += 1;
    }

    pub(super) fn sync(&self, result: &Result<()>) {
        match result {
            Ok(()) => self.lock().last_error = None,
            Err(error) => self.failed(error.clone()),
        }
    }

    pub(super) fn now(&self) -> Stats {
        self.lock().clone()
    }
}

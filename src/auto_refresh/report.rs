//! What is told of a cache.

use crate::tier::metered::Histogram;

/// What it holds and has done, in numbers, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Its name.
    pub name: String,
    /// Which of all caches of this process it is.
    pub source: u64,
    /// Items in it.
    pub size: usize,
    /// Items that are to be refreshed: never more than there are items.
    pub queued: usize,
    /// Keys whose refresh runs; an item that is gone may be among them.
    pub running: usize,
    /// Items whose last refresh failed.
    pub failing: usize,
    /// Reads that found an item.
    pub hits: u64,
    /// Reads that found none, each creation among them.
    pub misses: u64,
    /// Items that were created.
    pub created: u64,
    /// Items that made room for others; deletions do not count.
    pub evictions: u64,
    /// Items that were deleted as asked for.
    pub deletions: u64,
    /// Items that went because they are no more.
    pub gone: u64,
    /// Cycles that have begun.
    pub cycles: u64,
    /// Of these, those that refreshed nothing because the batches failed.
    pub cycle_errors: u64,
    /// Times an item sat out a cycle because its backoff was not over.
    pub sat_out: u64,
    /// Batches that have ended.
    pub syncs: u64,
    /// Of these, those that failed.
    pub sync_errors: u64,
    /// Of these, those that panicked.
    pub panics: u64,
    /// Answers that changed an item.
    pub updates: u64,
    /// Answers that were dropped: their item was gone, was changed since, is terminal, or is to be deleted.
    pub dropped: u64,
    /// Items whose last state, or removal, is not in the store yet.
    pub owed: usize,
    /// Writes to the store that were made.
    pub saves: u64,
    /// Writes to the store that failed, each time.
    pub save_errors: u64,
    /// Items that somebody else wrote in the store while they were refreshed, and that became what is there.
    pub replaced: u64,
    /// How long batches took.
    pub latency: Histogram,
    /// What the last failure said.
    pub last_error: Option<String>,
}

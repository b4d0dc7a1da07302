//! What a journal owes, looked at from outside.

use std::path::Path;

use super::CODEC;
use super::books;
use super::error::Error;
use crate::journal::Reader;
use crate::tier::{KeyBuf, Op};
use crate::write_behind::log;

/// A write that a journal owes.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct OwedWrite {
    /// Its key.
    pub key: KeyBuf,
    /// The write.
    pub op: Op,
    /// What the tier said, where it is parked.
    pub parked: Option<String>,
}

/// What the journal in the directory at `path` owes, in order of the keys; without its lock, so that a live one
/// may be ahead.
///
/// # Errors
///
/// [`Error::Journal`], also where it is no journal of owed writes.
pub fn owed(path: impl AsRef<Path>) -> Result<Vec<OwedWrite>, Error> {
    let reader = Reader::open(path)?;
    let fold = books::read(log::look(&reader, CODEC)?)?;
    let mut owed: Vec<OwedWrite> = fold
        .into_owed()
        .map(|(key, owed)| match owed {
            Ok(owed) => (key, owed, None),
            Err(parked) => (key, parked.owed, Some(parked.reason)),
        })
        .map(|(key, owed, parked)| OwedWrite {
            key,
            op: owed.op,
            parked,
        })
        .collect();
    owed.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(owed)
}

//! What went wrong where.

use std::error::Error as StdError;
use std::fmt;

use crate::tier::{Error, KeyBuf};

/// What a level has of a key after a write that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LevelState {
    /// What it had before.
    Old,
    /// What was to be written; of a removal, nothing.
    New,
    /// Nothing: it was emptied of the key, and is filled again from below.
    Absent,
    /// One of these.
    Unknown,
}

impl fmt::Display for LevelState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LevelState::Old => "old",
            LevelState::New => "new",
            LevelState::Absent => "absent",
            LevelState::Unknown => "unknown",
        })
    }
}

/// One level after a write that failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LevelReport {
    /// Which it is; the fastest is 0.
    pub level: usize,
    /// The name of its tier.
    pub tier: String,
    /// What it has.
    pub state: LevelState,
    /// What it said, if it failed.
    pub error: Option<Error>,
}

/// A write of a chain that failed: what each level has. It is the source of the [`Error`].
///
/// # Examples
///
/// ```
/// use documentbuffer::chain::{LevelState, WriteError};
/// # use documentbuffer::tier::{Error, Kind};
/// # let error = Error::new(Kind::Transient, "chain", "not written");
///
/// if let Some(written) = WriteError::of(&error) {
///     for level in written.levels() {
///         println!("{} {}: {}", level.level, level.tier, level.state);
///     }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct WriteError {
    pub(super) levels: Vec<LevelReport>,
}

impl WriteError {
    /// What the levels have, from the fastest down.
    pub fn levels(&self) -> &[LevelReport] {
        &self.levels
    }

    /// That of an error which a chain's write gave.
    pub fn of(error: &Error) -> Option<&WriteError> {
        StdError::source(error)?.downcast_ref()
    }
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, level) in self.levels.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{}: {}", level.tier, level.state)?;
        }
        Ok(())
    }
}

impl StdError for WriteError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let mut errors = self
            .levels
            .iter()
            .rev()
            .filter_map(|level| level.error.as_ref());
        errors.next().map(|error| error as &dyn StdError)
    }
}

/// The levels that could not be closed; the source of the [`Error`].
#[derive(Clone, Debug)]
pub struct CloseError {
    pub(super) errors: Vec<Error>,
}

impl CloseError {
    /// What they said, from the fastest down.
    pub fn errors(&self) -> &[Error] {
        &self.errors
    }

    /// That of an error which closing a chain gave.
    pub fn of(error: &Error) -> Option<&CloseError> {
        StdError::source(error)?.downcast_ref()
    }
}

impl fmt::Display for CloseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.errors.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{error}")?;
        }
        Ok(())
    }
}

impl StdError for CloseError {}

/// What a chain tried to do in a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Attempt {
    /// To copy up what was found below.
    Fill,
    /// To put an entry.
    Put,
    /// To remove an entry.
    Remove,
    /// To take out what must not be answered with.
    Repair,
}

/// Something that a chain could not write, and that no caller was told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// The key.
    pub key: KeyBuf,
    /// Which level; the fastest is 0.
    pub level: usize,
    /// The name of its tier.
    pub tier: String,
    /// What was tried.
    pub attempt: Attempt,
    /// What it said.
    pub error: Error,
}

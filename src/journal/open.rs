//! Opening a journal for writing.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use super::error::{Action, Error, Result};
use super::{Journal, Options, recover};
use crate::store::{Directory, FileDirectory};

impl Options {
    /// Opens the journal in the directory at `path`, which is made if it is not there, and takes its lock.
    ///
    /// Reads the heads of all segments and the whole of the live one. Durable on return: the directory, its
    /// first segment, and nothing else; what it found is so with the first sync.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`], [`Error::NotADirectory`], [`Error::Codec`], [`Error::Suspect`] where
    /// [`Options::accept`] asks for it; for damage [`Error::Segment`], [`Error::Missing`],
    /// [`Error::Misplaced`], [`Error::OtherJournal`], [`Error::Truncated`]; [`Error::Full`], [`Error::Io`].
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Journal> {
        let path = path.as_ref();
        let directory = FileDirectory::open(path).map_err(|source| match source.kind() {
            ErrorKind::NotADirectory => Error::NotADirectory { path: path.into() },
            _ => Error::io(Action::Open, path.into(), source),
        })?;
        self.open_in(Arc::new(directory))
    }

    /// Opens the journal in `directory`, as [`open`](Options::open) does.
    ///
    /// # Errors
    ///
    /// As [`open`](Options::open).
    pub fn open_in(&self, directory: Arc<dyn Directory>) -> Result<Journal> {
        Journal::start(recover::open(directory, self)?, self)
    }
}

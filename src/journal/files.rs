//! The names in a journal's directory, and its calls with the errors that they deserve.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::{Action, Error, Result};
use crate::buffer::io;
use crate::buffer::segment::{HEAD_REACH, Head, read_head};
use crate::store::{Directory, Held, Readable, Store};

const SUFFIX: &str = ".segment";
const NEW: &str = ".segment.new";

/// A writable segment.
pub(super) type Writable = Box<dyn Store + Send>;

/// A journal's directory.
#[derive(Clone)]
pub(super) struct Files {
    directory: Arc<dyn Directory>,
}

/// What a name in the directory is to a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Segment(u64),
    /// A segment that was not yet born.
    Unborn,
    Other,
}

/// The name of a segment's file.
pub(super) fn name(sequence: u64) -> String {
    format!("{sequence:020}{SUFFIX}")
}

/// The name under which it is made.
pub(super) fn new_name(sequence: u64) -> String {
    format!("{sequence:020}{NEW}")
}

pub(super) fn parse(name: &str) -> Name {
    let number = |digits: &str| {
        let whole = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits
            .parse::<u64>()
            .ok()
            .filter(|number| whole && *number > 0)
    };
    if name.strip_suffix(NEW).and_then(number).is_some() {
        return Name::Unborn;
    }
    name.strip_suffix(SUFFIX)
        .and_then(number)
        .map_or(Name::Other, Name::Segment)
}

impl Files {
    pub(super) fn new(directory: Arc<dyn Directory>) -> Files {
        Files { directory }
    }

    pub(super) fn directory(&self) -> &Arc<dyn Directory> {
        &self.directory
    }

    /// The directory's path, where it has one.
    pub(super) fn path(&self) -> PathBuf {
        self.directory
            .path()
            .map(Path::to_owned)
            .unwrap_or_default()
    }

    /// A file's path, or its name alone.
    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// The path of a segment.
    pub(super) fn segment(&self, sequence: u64) -> PathBuf {
        self.at(&name(sequence))
    }

    pub(super) fn lock(&self) -> Result<Box<dyn Held>> {
        self.directory.lock().map_err(|source| match source.kind() {
            ErrorKind::WouldBlock => Error::Locked {
                directory: self.path(),
            },
            _ => Error::io(Action::Open, self.path(), source),
        })
    }

    pub(super) fn list(&self) -> Result<Vec<String>> {
        (self.directory.list()).map_err(|source| Error::io(Action::List, self.path(), source))
    }

    pub(super) fn create(&self, name: &str) -> Result<Writable> {
        (self.directory.create(name))
            .map_err(|source| Error::io(Action::Create, self.at(name), source))
    }

    pub(super) fn open(&self, name: &str) -> Result<Writable> {
        (self.directory.open(name))
            .map_err(|source| Error::io(Action::Write, self.at(name), source))
    }

    pub(super) fn read(&self, name: &str) -> Result<Box<dyn Readable>> {
        (self.directory.read(name)).map_err(|source| Error::io(Action::Read, self.at(name), source))
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> Result<()> {
        (self.directory.rename(from, to))
            .map_err(|source| Error::io(Action::Rename, self.at(to), source))
    }

    /// Removes a file; one that is not there is as good as removed.
    pub(super) fn remove(&self, name: &str) -> Result<()> {
        match self.directory.remove(name) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            done => done.map_err(|source| Error::io(Action::Remove, self.at(name), source)),
        }
    }

    pub(super) fn sync(&self) -> Result<()> {
        (self.directory.sync()).map_err(|source| Error::io(Action::Sync, self.path(), source))
    }

    /// What a segment says of itself, and how long its store is.
    pub(super) fn head(&self, sequence: u64) -> Result<(Head, u64)> {
        let mut store = self.read(&name(sequence))?;
        let found = io::len(&mut store).and_then(|len| {
            let reach = usize::try_from(len).unwrap_or(usize::MAX).min(HEAD_REACH);
            let mut front = io::zeros(reach)?;
            io::read_exact(&mut store, 0, &mut front)?;
            Ok((read_head(&front)?, len))
        });
        found.map_err(|source| Error::segment(self.segment(sequence), 0, source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        assert_eq!(parse(&name(7)), Name::Segment(7));
        assert_eq!(parse(&name(u64::MAX)), Name::Segment(u64::MAX));
        assert_eq!(parse(&new_name(7)), Name::Unborn);
        for other in [
            "lock",
            "7.segment",
            "00000000000000000000.segment",
            "0000000000000000000x.segment",
            "+0000000000000000007.segment",
            "99999999999999999999.segment",
            "00000000000000000007.segment (copy)",
        ] {
            assert_eq!(parse(other), Name::Other, "{other}");
        }
    }
}

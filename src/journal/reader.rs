//! Reads a journal beside the process that writes it, without its lock.

use std::path::Path;
use std::sync::Arc;

use super::chain::{self, Chain, Link, look};
use super::cursor::Cursor;
use super::error::{Action, Error, Result};
use super::files::Files;
use super::follow::{Follower, Place};
use super::read::SegmentReader;
use super::replay::{Replay, Rev};
use super::snapshot::{SnapshotInfo, Snapshots};
use super::verify::{self, Verification};
use crate::buffer::format::Edge;
use crate::store::{Directory, FileDirectory};

/// A journal for reading only: beside a living writer, and for tools. It takes no lock and writes nothing.
///
/// # Examples
///
/// ```
/// use documentbuffer::journal::{Journal, Reader};
/// # let dir = tempfile::tempdir().expect("a directory");
/// # let path = dir.path().join("journal");
///
/// let journal = Journal::open(&path)?;
/// journal.append("seen by others")?;
/// let reader = Reader::open(&path)?;
/// assert_eq!(reader.replay(0)?.count(), 1);
/// # Ok::<(), documentbuffer::journal::Error>(())
/// ```
#[derive(Clone)]
pub struct Reader {
    files: Files,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("directory", &self.files.path())
            .finish()
    }
}

/// A segment of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentInfo {
    /// Its number.
    pub sequence: u64,
    /// Its file.
    pub file: std::path::PathBuf,
    /// Position of its first document.
    pub base: u64,
    /// Documents in it.
    pub documents: u64,
    /// Bytes of its records.
    pub bytes: u64,
    /// When it was made: microseconds since 1970.
    pub born: u64,
    /// Whether another one continues it.
    pub sealed: bool,
}

impl Reader {
    /// Opens the journal in the directory at `path`.
    ///
    /// # Errors
    ///
    /// [`Error::NotADirectory`], [`Error::NotFound`] where it holds no journal, and what is wrong with its
    /// segments, as [`Options::open`](super::Options::open) says it.
    pub fn open(path: impl AsRef<Path>) -> Result<Reader> {
        let path = path.as_ref();
        let directory =
            FileDirectory::open_existing(path).map_err(|source| match source.kind() {
                std::io::ErrorKind::NotADirectory => Error::NotADirectory { path: path.into() },
                std::io::ErrorKind::NotFound => Error::NotFound {
                    directory: path.into(),
                },
                _ => Error::io(Action::Open, path.into(), source),
            })?;
        Reader::open_in(Arc::new(directory))
    }

    /// Opens the journal in `directory`.
    ///
    /// # Errors
    ///
    /// As [`open`](Reader::open).
    pub fn open_in(directory: Arc<dyn Directory>) -> Result<Reader> {
        let files = Files::new(directory);
        look(&files)?;
        Ok(Reader { files })
    }

    /// Streams documents from position `from` on, oldest first, up to where the journal ends now.
    ///
    /// # Errors
    ///
    /// [`Error::Discarded`], [`Error::BeyondEnd`], and as [`Replay::next`].
    pub fn replay(&self, from: u64) -> Result<Replay> {
        chain::again(chain::pause, || {
            let chain = Arc::new(look(&self.files)?);
            Replay::new(self.files.clone(), chain, from)
        })
    }

    /// Streams documents newest first. Reads the live segment once to find its end.
    ///
    /// # Errors
    ///
    /// As [`Replay::next`].
    pub fn rev(&self) -> Result<Rev> {
        chain::again(chain::pause, || {
            let (chain, _) = self.ended()?;
            Rev::new(self.files.clone(), Arc::new(chain))
        })
    }

    /// Hands over every document from position `from` on, and then those to come.
    ///
    /// # Errors
    ///
    /// As [`replay`](Reader::replay).
    pub fn follow(&self, from: u64) -> Result<Follower> {
        Follower::outside(self.files.clone(), Place::Position(from))
    }

    /// Hands over what stands behind `cursor`, and then what is to come, as
    /// [`Journal::resume`](super::Journal::resume) does.
    ///
    /// # Errors
    ///
    /// [`Error::ForeignCursor`], and as [`follow`](Reader::follow).
    pub fn resume(&self, cursor: &Cursor) -> Result<Follower> {
        Follower::outside(self.files.clone(), Place::Behind(*cursor))
    }

    /// Reads everything, and says what is wrong, if anything is.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where something cannot be read; damage is no error but in the report.
    pub fn verify(&self) -> Result<Verification> {
        verify::beside(&self.files)
    }

    /// The first position that is kept, and the next position. Reads the live segment once.
    ///
    /// # Errors
    ///
    /// As [`replay`](Reader::replay).
    pub fn range(&self) -> Result<std::ops::Range<u64>> {
        let (chain, end) = self.ended()?;
        let base = chain.live().map_or(0, |live| live.base);
        Ok(chain.first()..base.saturating_add(end.documents))
    }

    /// The segments, oldest first. Reads the live one once.
    ///
    /// # Errors
    ///
    /// As [`replay`](Reader::replay).
    pub fn segments(&self) -> Result<Vec<SegmentInfo>> {
        let (chain, _) = self.ended()?;
        let sealed = chain.links.len().saturating_sub(1);
        let info = |(at, link): (usize, &Link)| SegmentInfo {
            sequence: link.sequence,
            file: self.files.segment(link.sequence),
            base: link.base,
            documents: link.end.map_or(0, |end| end.documents),
            bytes: link.len(),
            born: link.born,
            sealed: at < sealed,
        };
        Ok(chain.links.iter().enumerate().map(info).collect())
    }

    /// The snapshots, newest first: what their names say, which nothing has checked, and their sizes.
    ///
    /// # Errors
    ///
    /// [`Error::Snapshot`] where the directory cannot be read.
    pub fn snapshots(&self) -> Result<Vec<SnapshotInfo>> {
        let snapshots = Snapshots::new(self.files.directory().clone());
        snapshots.infos().map_err(Error::from)
    }

    /// The name of what the documents are written in.
    ///
    /// # Errors
    ///
    /// As [`replay`](Reader::replay).
    pub fn codec(&self) -> Result<String> {
        Ok(look(&self.files)?.codec)
    }

    /// Whether somebody has the journal open for writing. Takes the lock for a moment where nobody has.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn is_being_written(&self) -> Result<bool> {
        match self.files.lock() {
            Ok(_) => Ok(false),
            Err(Error::Locked { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// The chain, with an end for the live segment too.
    pub(super) fn ended(&self) -> Result<(Chain, Edge)> {
        chain::again(chain::pause, || self.end())
    }

    fn end(&self) -> Result<(Chain, Edge)> {
        let mut chain = look(&self.files)?;
        let Some(live) = chain.links.last_mut() else {
            let directory = self.files.path();
            return Err(Error::NotFound { directory });
        };
        let mut reader = SegmentReader::open(&self.files, live, live.start, 0)?;
        let len = reader.store_len()?;
        reader.relimit(len)?;
        reader.each(|_| ())?;
        let end = reader.edge();
        live.end = Some(end);
        Ok((chain, end))
    }
}

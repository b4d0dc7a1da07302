//! What a reading command reads: a file, or the journal in a directory. Neither is locked.

use std::fs::File;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};

use documentbuffer::journal::{Document, Error, Reader, Replay};
use documentbuffer::{End, OpenError, Recovery, Scan};

use super::damage::{ATTEMPTS, failure, failure_at, settled};
use super::error::{self, Code, Failure, Result};
use super::file;
use super::line::Item;
use super::open;

pub(super) enum Source {
    File(PathBuf),
    Journal(PathBuf, Reader),
}

/// Which documents are wanted.
pub(super) struct Wanted {
    /// From this position on; without it, from the oldest that is there.
    pub(super) from: Option<u64>,
    /// Before this position.
    pub(super) to: u64,
    pub(super) most: u64,
    /// Bytes of the largest document that is let through.
    pub(super) limit: usize,
}

impl Wanted {
    /// The newest `most`.
    pub(super) fn newest(most: u64, limit: usize) -> Wanted {
        Wanted {
            from: None,
            to: u64::MAX,
            most,
            limit,
        }
    }

    fn range(&self) -> Range<u64> {
        self.from.unwrap_or(0)..self.to
    }
}

/// How a log ends.
pub(super) struct Ended {
    /// As it was named on the command line.
    path: PathBuf,
    /// The file that it ends in.
    pub(super) file: PathBuf,
    /// Positions of all documents.
    pub(super) range: Range<u64>,
    /// Of the file.
    pub(super) recovery: Recovery,
}

impl Source {
    pub(super) fn open(path: &Path) -> Result<Source> {
        if !path.is_dir() {
            return Ok(Source::File(path.to_owned()));
        }
        let reader = Reader::open(path).map_err(|error| failure(path, &error))?;
        Ok(Source::Journal(path.to_owned(), reader))
    }

    /// Reads up to the end, and says which it is.
    pub(super) fn ended(&self) -> Result<Ended> {
        match self {
            Source::File(path) => {
                let read = file::read(&mut open::scan(path)?);
                let recovery = read.map_err(|error| Failure::library(path, &error))?;
                Ok(Ended::of_file(path, recovery))
            }
            Source::Journal(path, reader) => ended(path, reader),
        }
    }

    /// Hands what is wanted to `each`, oldest first. Says how the log ends, where it came so far.
    pub(super) fn oldest_first(
        &self,
        wanted: &Wanted,
        mut each: impl FnMut(&Item<'_>) -> Result<()>,
    ) -> Result<Option<Ended>> {
        match self {
            Source::File(path) => {
                let (range, mut left) = (wanted.range(), wanted.most);
                let recovery = file::oldest_first(path, wanted.limit, |item| {
                    if left == 0 || item.position >= range.end {
                        return Ok(false);
                    }
                    if item.position >= range.start {
                        left -= 1;
                        each(item)?;
                    }
                    Ok(true)
                })?;
                Ok(recovery.map(|recovery| Ended::of_file(path, recovery)))
            }
            Source::Journal(path, reader) => {
                let (mut left, limit) = (wanted.most, wanted.limit);
                if let Some(mut replay) = replay(path, reader, wanted.from)? {
                    loop {
                        // Not the iterator's method of that name.
                        let at = Replay::position(&replay);
                        if left == 0 || at >= wanted.to {
                            return Ok(None);
                        }
                        let next = replay.next();
                        let next = next.map_err(|error| failure_at(path, &error, Some(at)))?;
                        let Some(document) = next else { break };
                        left -= 1;
                        each(&item(path, &document, limit)?)?;
                    }
                }
                ended(path, reader).map(Some)
            }
        }
    }

    /// Hands what is wanted to `each`, newest first; constant memory where it can be had.
    pub(super) fn newest_first(
        &self,
        wanted: &Wanted,
        needs_places: bool,
        each: impl FnMut(&Item<'_>) -> Result<()>,
    ) -> Result<Ended> {
        match self {
            Source::File(path) => {
                let (range, most, limit) = (wanted.range(), wanted.most, wanted.limit);
                let recovery = file::newest_first(path, &range, most, limit, needs_places, each)?;
                Ok(Ended::of_file(path, recovery))
            }
            Source::Journal(path, reader) => journal_newest_first(path, reader, wanted, each),
        }
    }

    /// As [`newest_first`](Source::newest_first), whatever a writer does meanwhile; what is handed over is
    /// in memory at once where it comes from a file.
    pub(super) fn newest(
        &self,
        wanted: &Wanted,
        each: impl FnMut(&Item<'_>) -> Result<()>,
    ) -> Result<Ended> {
        match self {
            Source::File(path) => {
                let recovery =
                    file::newest(path, &wanted.range(), wanted.most, wanted.limit, each)?;
                Ok(Ended::of_file(path, recovery))
            }
            Source::Journal(path, reader) => journal_newest_first(path, reader, wanted, each),
        }
    }
}

/// Begins at `from`, or at the oldest; `None` where nothing is there yet.
fn replay(path: &Path, reader: &Reader, from: Option<u64>) -> Result<Option<Replay>> {
    let mut at = from.unwrap_or(0);
    loop {
        match settled(|| reader.replay(at)) {
            Ok(replay) => return Ok(Some(replay)),
            Err(Error::BeyondEnd { .. }) => return Ok(None),
            Err(Error::Discarded { first, .. }) if from.is_none() => at = first,
            Err(error) => return Err(failure_at(path, &error, None)),
        }
    }
}

/// A journal's document, if it is not over the limit.
pub(super) fn item<'d>(path: &Path, document: &Document<'d>, limit: usize) -> Result<Item<'d>> {
    let bytes = document.bytes;
    if bytes.len() > limit {
        return Err(error::too_large(path, bytes.len() as u64, limit as u64));
    }
    Ok(Item {
        position: document.position,
        place: None,
        bytes,
    })
}

fn journal_newest_first(
    path: &Path,
    reader: &Reader,
    wanted: &Wanted,
    mut each: impl FnMut(&Item<'_>) -> Result<()>,
) -> Result<Ended> {
    let ended = ended(path, reader)?;
    let first = ended.range.start;
    if let Some(position) = wanted.from.filter(|from| *from < first) {
        return Err(failure(path, &Error::Discarded { position, first }));
    }
    let mut rev = settled(|| reader.rev()).map_err(|error| failure(path, &error))?;
    let (range, mut left, mut at) = (wanted.range(), wanted.most, None);
    while left > 0 {
        let next = match rev.next() {
            // What is still kept has been handed over.
            Err(_) if wanted.from.is_none() && is_discarded(reader, at) => None,
            next => next.map_err(|error| failure_at(path, &error, at))?,
        };
        let Some(document) = next.filter(|document| document.position >= range.start) else {
            break;
        };
        at = document.position.checked_sub(1);
        if document.position < range.end {
            left -= 1;
            each(&item(path, &document, wanted.limit)?)?;
        }
    }
    Ok(ended)
}

/// Whether the document at `position` has been discarded by now.
fn is_discarded(reader: &Reader, position: Option<u64>) -> bool {
    let range = settled(|| reader.range()).ok();
    range.is_some_and(|range| position.is_some_and(|position| position < range.start))
}

/// How a journal ends: as its newest segment does.
fn ended(path: &Path, reader: &Reader) -> Result<Ended> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        let segments = settled(|| reader.segments()).map_err(|error| failure(path, &error))?;
        let (Some(oldest), Some(live)) = (segments.first(), segments.last()) else {
            let directory = path.to_owned();
            return Err(failure(path, &Error::NotFound { directory }));
        };
        let store = match File::open(&live.file) {
            Ok(store) => store,
            // Cut away since, or sealed and discarded.
            Err(error) if error.kind() == ErrorKind::NotFound && attempts < ATTEMPTS => continue,
            Err(error) => return Err(Failure::io(&live.file, "open", &error)),
        };
        match read(store) {
            Ok(recovery) => {
                return Ok(Ended {
                    path: path.to_owned(),
                    file: live.file.clone(),
                    range: oldest.base..live.base.saturating_add(recovery.documents),
                    recovery,
                });
            }
            // Sealed, and cut to its length.
            Err(documentbuffer::Error::Shrunk { .. }) if attempts < ATTEMPTS => {}
            Err(error) => return Err(Failure::library(&live.file, &error)),
        }
    }
}

fn read(store: File) -> Result<Recovery, documentbuffer::Error> {
    let mut scan = Scan::new(store).map_err(|OpenError { error, .. }| error)?;
    file::read(&mut scan)
}

impl Ended {
    pub(super) fn of_file(path: &Path, recovery: Recovery) -> Ended {
        Ended {
            path: path.to_owned(),
            file: path.to_owned(),
            range: 0..recovery.documents,
            recovery,
        }
    }

    /// What a reading command that has read to the end says about the end. Damage is never passed over in
    /// silence; but what looks like it while another process writes, is not.
    pub(super) fn judge(&self) -> Result<()> {
        match self.recovery.end {
            End::Torn { .. } | End::Suspect { .. } if open::is_written(&self.path) => Ok(()),
            End::Torn { offset, reason } => {
                error::note(
                    &self.file,
                    &format!(
                        "torn at offset {offset} ({reason}), as a crash leaves it; read up to there"
                    ),
                );
                Ok(())
            }
            End::Suspect { offset, records } => Err(Failure::of(
                &self.file,
                Code::Damaged,
                format!(
                    "damaged at offset {offset}, read up to there; {records} intact documents behind it"
                ),
            )
            .next(error::mend(&self.path, &self.file))),
            _ => Ok(()),
        }
    }
}

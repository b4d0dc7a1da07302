//! Streams a journal as it was at one moment: oldest first, or newest first, in constant memory.

use std::sync::Arc;

use super::chain::{Chain, Link, look};
use super::error::{Error, Result};
use super::files::Files;
use super::mark::edge;
use super::read::{Document, SegmentReader, SegmentRev};
use super::snapshot::Mark;

/// Streams documents oldest first, up to where the journal ended when this was made.
///
/// Memory: one window of 512 KiB, and the document in hand where that is longer. [`next`](Replay::next)
/// lends each document; the [`Iterator`] form copies it. What is cut away or discarded meanwhile is an error
/// where it is met.
pub struct Replay {
    files: Files,
    /// With an end for every segment, the live one too, where the reader knows it.
    chain: Arc<Chain>,
    reader: Option<SegmentReader>,
    /// The next document's.
    position: u64,
    done: bool,
}

impl std::fmt::Debug for Replay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay")
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl Replay {
    pub(super) fn new(files: Files, chain: Arc<Chain>, from: u64) -> Result<Replay> {
        let first = chain.first();
        if from < first {
            return Err(Error::Discarded {
                position: from,
                first,
            });
        }
        let known = chain.live().and_then(|live| live.end_position());
        if let Some(end) = known.filter(|end| from > *end) {
            return Err(Error::BeyondEnd {
                position: from,
                end,
            });
        }
        let mut replay = Replay {
            files,
            chain,
            reader: None,
            position: from,
            done: false,
        };
        replay.enter(from)?;
        Ok(replay)
    }

    /// Begins behind the record that `mark` names, which stands in `chain`: nothing before it is read.
    pub(super) fn behind(files: Files, chain: Arc<Chain>, mark: &Mark) -> Result<Replay> {
        let link = chain.link(mark.segment).copied();
        let mut replay = Replay {
            files,
            chain,
            reader: None,
            position: mark.position,
            done: false,
        };
        match link {
            Some(link) if link.end.is_some() => {
                let reader = SegmentReader::open(&replay.files, &link, edge(mark), link.len());
                let gone = |error| replay.explain(link.sequence, error);
                replay.reader = Some(reader.map_err(gone)?);
            }
            _ => replay.enter(mark.position)?,
        }
        Ok(replay)
    }

    /// Opens the segment that holds `position`, and goes there.
    fn enter(&mut self, position: u64) -> Result<()> {
        // There is nothing to read behind the last document; an empty segment may be replaced any time.
        let more = |link: &&Link| link.end_position().is_none_or(|end| position < end);
        let Some(link) = self.chain.holder(position).filter(more).copied() else {
            self.done = true;
            self.reader = None;
            return Ok(());
        };
        let reader = SegmentReader::open(&self.files, &link, link.start, link.len());
        let mut reader = reader.map_err(|error| self.explain(link.sequence, error))?;
        if link.end.is_none() {
            let len = reader.store_len()?;
            reader.relimit(len)?;
            if !reader.reach(position)? {
                let end = reader.position();
                return Err(Error::BeyondEnd { position, end });
            }
        } else {
            reader.skip_to(position)?;
        }
        self.reader = Some(reader);
        Ok(())
    }

    /// A segment that is not there any more was cut away or discarded.
    fn explain(&self, sequence: u64, error: Error) -> Error {
        if !error.is_not_found() {
            return error;
        }
        explain(&self.files, &self.chain, sequence, self.position, error)
    }

    /// The next position.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next document, or `None` at the end.
    ///
    /// # Errors
    ///
    /// [`Error::Segment`] for damage, [`Error::CutBack`], [`Error::Discarded`], [`Error::Io`]. Nothing
    /// follows an error.
    #[allow(clippy::should_implement_trait)] // It lends its documents.
    pub fn next(&mut self) -> Result<Option<Document<'_>>> {
        let found = self.step()?;
        // Twice, since what is lent in a loop cannot be returned from it.
        let Some((position, len)) = found else {
            return Ok(None);
        };
        let reader = self.reader.as_ref();
        let bytes = reader.map(|reader| reader.handed(len)).unwrap_or_default();
        Ok(Some(Document { position, bytes }))
    }

    /// Takes the next document in hand: its position and length.
    fn step(&mut self) -> Result<Option<(u64, usize)>> {
        while !self.done {
            self.done = true;
            let Some(reader) = &mut self.reader else {
                return Ok(None);
            };
            if let Some(document) = reader.next()? {
                let found = (document.position, document.bytes.len());
                self.position = found.0.saturating_add(1);
                self.done = false;
                return Ok(Some(found));
            }
            self.done = !self.go_on()?;
        }
        Ok(None)
    }

    /// From the end of a segment into the next; `false` at the end of the journal.
    fn go_on(&mut self) -> Result<bool> {
        let Some(reader) = &self.reader else {
            return Ok(false);
        };
        reader.check_end()?;
        let sequence = reader.link().sequence;
        if self.chain.next(sequence).is_none() {
            return Ok(false);
        }
        self.enter(self.position)?;
        Ok(true)
    }

    /// Hands over all documents that are left; faster than one at a time.
    ///
    /// # Errors
    ///
    /// As [`next`](Replay::next).
    pub fn each(mut self, mut each: impl FnMut(Document<'_>)) -> Result<()> {
        while let Some(reader) = &mut self.reader {
            reader.each(&mut each)?;
            self.position = reader.position();
            if !self.go_on()? {
                break;
            }
        }
        Ok(())
    }
}

/// Copies each document, with its position.
impl Iterator for Replay {
    type Item = Result<(u64, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = Replay::next(self).map(|found| found.map(|d| (d.position, d.bytes.to_vec())));
        next.transpose()
    }
}

impl std::iter::FusedIterator for Replay {}

/// Streams documents newest first, from where the journal ended when this was made.
///
/// As [`Replay`] in everything else.
pub struct Rev {
    files: Files,
    chain: Arc<Chain>,
    reader: Option<SegmentRev>,
    done: bool,
}

impl std::fmt::Debug for Rev {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rev").finish_non_exhaustive()
    }
}

impl Rev {
    /// Every segment of `chain` has an end.
    pub(super) fn new(files: Files, chain: Arc<Chain>) -> Result<Rev> {
        let mut rev = Rev {
            files,
            chain,
            reader: None,
            done: false,
        };
        let newest = rev.chain.live().map(|live| live.sequence);
        rev.enter(newest)?;
        Ok(rev)
    }

    fn enter(&mut self, sequence: Option<u64>) -> Result<bool> {
        let link = sequence.and_then(|sequence| self.chain.link(sequence));
        let Some((link, end)) = link.and_then(|link| Some((link, link.end?))) else {
            self.done = true;
            return Ok(false);
        };
        let reader = SegmentRev::open(&self.files, link, end);
        // The document that it would hand over next.
        let position = link.base.saturating_add(end.documents).saturating_sub(1);
        let gone = |error: Error| match error.is_not_found() {
            true => explain(&self.files, &self.chain, link.sequence, position, error),
            false => error,
        };
        self.reader = Some(reader.map_err(gone)?);
        Ok(true)
    }

    /// The next older document, or `None` below the oldest that is kept.
    ///
    /// # Errors
    ///
    /// As [`Replay::next`].
    #[allow(clippy::should_implement_trait)] // It lends its documents.
    pub fn next(&mut self) -> Result<Option<Document<'_>>> {
        while !self.done {
            self.done = true;
            let Some(reader) = &mut self.reader else {
                return Ok(None);
            };
            if reader.advance()? {
                self.done = false;
                break;
            }
            let below = reader.link().from.map(|(sequence, _)| sequence);
            self.done = !self.enter(below)?;
        }
        let reader = self.reader.as_ref().filter(|_| !self.done);
        Ok(reader.map(SegmentRev::handed))
    }
}

/// Copies each document, with its position.
impl Iterator for Rev {
    type Item = Result<(u64, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = Rev::next(self).map(|found| found.map(|d| (d.position, d.bytes.to_vec())));
        next.transpose()
    }
}

impl std::iter::FusedIterator for Rev {}

/// Why segment `sequence` of `chain` is not there any more, to who stands at `position`.
fn explain(files: &Files, chain: &Chain, sequence: u64, position: u64, error: Error) -> Error {
    let Ok(now) = look(files) else {
        return error;
    };
    let first = now.first();
    match now.common(chain, position) {
        _ if now.link(sequence).is_some() => error,
        Some(to) if to < position => Error::CutBack { to },
        _ if position < first => Error::Discarded { position, first },
        common => Error::CutBack {
            to: common.unwrap_or(first),
        },
    }
}

//! Documents of a file, in both directions.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{IsTerminal, Read, Seek, Write};
use std::ops::Range;
use std::path::Path;

use documentbuffer::{DocumentBuffer, Error, OpenError, Options, Recovery, Scan};

use super::error::{Failure, Result};
use super::line::Item;
use super::open;
use super::progress::Progress;

/// Hands every document to `each`, until it says `false`, or the log ends: then it says how.
pub(super) fn drain(
    path: &Path,
    scan: &mut Scan<File>,
    mut each: impl FnMut(&Item<'_>) -> Result<bool>,
) -> Result<Option<Recovery>> {
    while let Some(document) = scan
        .next()
        .map_err(|error| Failure::library(path, &error))?
    {
        let item = Item {
            position: document.position,
            place: Some((document.offset, document.crc)),
            bytes: document.bytes,
        };
        if !each(&item)? {
            return Ok(None);
        }
    }
    recovery(scan)
        .map(Some)
        .map_err(|error| Failure::library(path, &error))
}

/// What a scan found that has come to the end.
pub(super) fn recovery(scan: &Scan<File>) -> Result<Recovery, Error> {
    let found = scan.recovery().cloned();
    // One that ended without an error knows how.
    found.ok_or(Error::Shrunk {
        offset: scan.offset(),
        len: scan.store_len(),
    })
}

/// Reads to the end.
pub(super) fn read(scan: &mut Scan<File>) -> Result<Recovery, Error> {
    while scan.next()?.is_some() {}
    recovery(scan)
}

/// As [`drain`], with a bar for who waits, and without documents over the limit.
pub(super) fn oldest_first(
    path: &Path,
    limit: usize,
    mut each: impl FnMut(&Item<'_>) -> Result<bool>,
) -> Result<Option<Recovery>> {
    let mut scan = open::scan(path)?.max_document(limit);
    let mut progress = Progress::new(scan.store_len(), !std::io::stdout().is_terminal());
    drain(path, &mut scan, |item| {
        if let Some((offset, _)) = item.place {
            progress.at(offset);
        }
        each(item)
    })
}

/// A document that is kept while the scan goes on.
struct Kept {
    position: u64,
    place: Option<(u64, u32)>,
    bytes: Vec<u8>,
}

/// Hands the newest documents of `range` to `each`, `most` at most, newest first. One pass that keeps them in
/// memory: whatever a writer does meanwhile, they belong together.
pub(super) fn newest(
    path: &Path,
    range: &Range<u64>,
    most: u64,
    limit: usize,
    mut each: impl FnMut(&Item<'_>) -> Result<()>,
) -> Result<Recovery> {
    let mut kept: VecDeque<Kept> = VecDeque::new();
    let mut scan = open::scan(path)?.max_document(limit);
    drain(path, &mut scan, |item| {
        if most == 0 || !range.contains(&item.position) {
            return Ok(true);
        }
        let full = kept.len() as u64 >= most;
        // The oldest's memory is used again.
        let spare = if full { kept.pop_front() } else { None };
        let mut bytes = spare.map(|old| old.bytes).unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(item.bytes);
        kept.push_back(Kept {
            position: item.position,
            place: item.place,
            bytes,
        });
        Ok(true)
    })?;
    for kept in kept.iter().rev() {
        each(&Item {
            position: kept.position,
            place: kept.place,
            bytes: &kept.bytes,
        })?;
    }
    recovery(&scan).map_err(|error| Failure::library(path, &error))
}

/// As [`newest`], but in constant memory, for a file that nobody cuts meanwhile. A journal's segment has no
/// end that could be walked back from without its journal, and is kept in memory.
pub(super) fn newest_first(
    path: &Path,
    range: &Range<u64>,
    most: u64,
    limit: usize,
    needs_places: bool,
    mut each: impl FnMut(&Item<'_>) -> Result<()>,
) -> Result<Recovery> {
    let options = Options::new().max_document(limit);
    let mut buffer = match options.open_bare(open::file(path)?) {
        Ok(buffer) => buffer,
        Err(OpenError {
            error: Error::Segment,
            ..
        }) => return newest(path, range, most, limit, each),
        Err(OpenError { error, .. }) => return Err(Failure::library(path, &error)),
    };
    let end = range.end.min(buffer.len());
    let begin = range.start.max(end.saturating_sub(most));
    walk_back(path, &mut buffer, begin..end, needs_places, &mut each)?;
    Ok(buffer.recovery().clone())
}

/// Where the records of a range of documents stand, found in one pass: walking backwards does not tell.
struct Places {
    first: u64,
    list: VecDeque<(u64, u32)>,
}

impl Places {
    fn of(path: &Path, range: &Range<u64>) -> Result<Places> {
        let mut list = VecDeque::new();
        drain(path, &mut open::scan(path)?, |item| {
            if range.contains(&item.position) {
                list.extend(item.place);
            }
            Ok(item.position < range.end)
        })?;
        let first = range.start;
        Ok(Places { first, list })
    }

    fn get(&self, position: u64) -> Option<(u64, u32)> {
        let index = position.checked_sub(self.first)?;
        self.list.get(usize::try_from(index).ok()?).copied()
    }
}

/// Hands the documents of `range` to `each`, the newest first. Constant memory, but for 16 bytes a document
/// where their places are wanted.
pub(super) fn walk_back<S: Read + Write + Seek>(
    path: &Path,
    buffer: &mut DocumentBuffer<S>,
    range: Range<u64>,
    needs_places: bool,
    each: &mut impl FnMut(&Item<'_>) -> Result<()>,
) -> Result<()> {
    let places = needs_places.then(|| Places::of(path, &range)).transpose()?;
    let mut position = buffer.len();
    let mut iter = buffer.iter();
    while position > range.start {
        let next = iter
            .next()
            .map_err(|error| Failure::library(path, &error))?;
        let Some(bytes) = next else { break };
        position -= 1;
        if position >= range.end {
            continue;
        }
        let place = places.as_ref().and_then(|places| places.get(position));
        each(&Item {
            position,
            place,
            bytes,
        })?;
    }
    Ok(())
}

//! `tail` of a journal: the last documents, and those to come, over segments begun, cut away and discarded.

use std::path::Path;

use documentbuffer::journal::{Error, Follower, Reader, Step};
use serde_json::json;

use super::args::Tail;
use super::cursor::CursorFile;
use super::damage::{ATTEMPTS, failure, failure_at, settled};
use super::error::{self, Failure, Result};
use super::line;
use super::output::Out;
use super::source::{self, Ended, Source, Wanted};

/// Documents between two times that the cursor is kept, where they come without a break.
const KEEP_EVERY: u64 = 1000;

pub(super) fn run(args: &Tail, source: &Source, reader: &Reader) -> Result<()> {
    let mut out = Out::documents(&args.print);
    if let Some(path) = &args.cursor {
        let mut kept = CursorFile::open(path)?;
        let ended = (!args.follow).then(|| source.ended()).transpose()?;
        follow(args, source, reader, &mut out, Some(&mut kept))?;
        return ended.map_or(Ok(()), |ended| ended.judge());
    }
    if args.follow {
        return follow(args, source, reader, &mut out, None);
    }
    let ended = source.ended()?;
    let wanted = Wanted {
        from: Some(begin(&ended, args.n)),
        to: ended.range.end,
        most: u64::MAX,
        limit: args.limit.bytes,
    };
    source.oldest_first(&wanted, |item| out.document(item))?;
    out.flush()?;
    ended.judge()
}

/// Position of the first of the last `n` documents.
fn begin(ended: &Ended, n: u64) -> u64 {
    ended.range.end.saturating_sub(n).max(ended.range.start)
}

/// Prints what comes; without `-f` up to where nothing more is there.
fn follow(
    args: &Tail,
    source: &Source,
    reader: &Reader,
    out: &mut Out,
    mut kept: Option<&mut CursorFile>,
) -> Result<()> {
    let path = &args.file;
    let place = kept.as_ref().and_then(|kept| kept.kept().copied());
    let mut follower = match place {
        Some(cursor) => {
            settled(|| reader.resume(&cursor)).map_err(|error| failure(path, &error))?
        }
        None if kept.is_some() => {
            let all = settled(|| reader.follow(reader.range()?.start));
            all.map_err(|error| failure(path, &error))?
        }
        None => follower(args, source, reader)?,
    };
    for printed in 1u64.. {
        let at = follower.position();
        if printed % KEEP_EVERY == 0 {
            keep(&follower, out, &mut kept)?;
        }
        let step = match follower.try_next() {
            Ok(None) => {
                keep(&follower, out, &mut kept)?;
                if !args.follow {
                    return Ok(());
                }
                follower.next()
            }
            Ok(Some(step)) => Ok(step),
            Err(error) => Err(error),
        };
        match step {
            Ok(Step::Document(document)) => {
                out.document(&source::item(path, &document, args.limit.bytes)?)?;
            }
            Ok(Step::CutBack { to }) => tell_cut(path, out, to)?,
            Ok(_) => {}
            Err(error) => return Err(stopped(path, reader, at, error)),
        }
    }
    Ok(())
}

/// What is printed goes out first.
fn keep(follower: &Follower, out: &mut Out, kept: &mut Option<&mut CursorFile>) -> Result<()> {
    out.flush()?;
    match kept {
        Some(kept) => kept.keep(follower.cursor()),
        None => Ok(()),
    }
}

/// Stands in front of the first document to be printed.
fn follower(args: &Tail, source: &Source, reader: &Reader) -> Result<Follower> {
    let mut attempts = 0;
    loop {
        let from = begin(&source.ended()?, args.n);
        attempts += 1;
        match settled(|| reader.follow(from)) {
            Ok(follower) => return Ok(follower),
            // What was the end, or the oldest, is it no more.
            Err(Error::BeyondEnd { .. } | Error::Discarded { .. }) if attempts < ATTEMPTS => {}
            Err(error) => return Err(failure(&args.file, &error)),
        }
    }
}

/// Why following has come to an end at position `at`.
fn stopped(path: &Path, reader: &Reader, at: u64, error: Error) -> Failure {
    let first = match &error {
        Error::Discarded { first, .. } => Some(*first),
        // A segment that is not there any more.
        Error::Io { .. } => reader.range().ok().map(|range| range.start),
        _ => None,
    };
    match first.filter(|first| at < *first) {
        Some(first) => failure(
            path,
            &Error::Discarded {
                position: at,
                first,
            },
        ),
        None => failure_at(path, &error, Some(at)),
    }
}

/// Tells that documents from position `to` on are no longer what they were.
pub(super) fn tell_cut(path: &Path, out: &mut Out, to: u64) -> Result<()> {
    error::note(path, &format!("cut back to {to} documents"));
    if out.is_json() {
        out.json(&json!({ "v": line::VERSION, "cut_back_to": to }))?;
    }
    out.flush()
}

//! `tail` of a journal: the last documents, and those to come, over segments begun, cut away and discarded.

use std::path::Path;

use documentbuffer::journal::{Error, Follower, Reader, Step};
use serde_json::json;

use super::args::Tail;
use super::damage::{ATTEMPTS, failure, failure_at, settled};
use super::error::{self, Failure, Result};
use super::line;
use super::output::Out;
use super::source::{self, Ended, Source, Wanted};

pub(super) fn run(args: &Tail, source: &Source, reader: &Reader) -> Result<()> {
    let mut out = Out::documents(&args.print);
    if args.follow {
        return follow(args, source, reader, &mut out);
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

fn follow(args: &Tail, source: &Source, reader: &Reader, out: &mut Out) -> Result<()> {
    let path = &args.file;
    let mut follower = follower(args, source, reader)?;
    loop {
        let at = follower.position();
        let step = match follower.try_next() {
            Ok(None) => {
                out.flush()?;
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

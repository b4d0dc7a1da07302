//! `import`: documents from JSON lines, in batches, to be resumed where it was stopped.

use std::ops::Range;
use std::path::Path;

use super::args::{Import, Sync};
use super::error::{self, Code, Failure, Result};
use super::feed::{Feed, Stopped};
use super::input::{self, Cut, Documents};
use super::log::{ForWriting, Log};
use super::progress::Progress;

pub(super) fn run(args: &Import) -> Result<()> {
    let path = &args.file;
    let (source, len) = input::source(args.input.as_deref())?;
    let opened = ForWriting {
        path,
        create: true,
        max_document: Some(args.limit.bytes),
        write: &args.write,
    };
    let mut log = opened.open()?;
    let progress = Progress::new(len.unwrap_or(0), true);
    let mut lines = Documents::new(progress.over(source), Cut::Json, args.limit.bytes);
    let skipped = if args.resume {
        resume(path, &mut log, &mut lines)?;
        log.range().end
    } else {
        let skip = args.from.unwrap_or(0);
        skip_lines(path, &mut lines, skip)?;
        skip
    };
    let before = log.range().end;
    let mut feed = Feed::new(log, Sync::Batch, false);
    let stopped = feed.take_all(lines);
    drop(progress);
    let stored = feed.stored();
    match stopped {
        Ok(()) => {
            feed.finish()?;
            error::note(path, &format!("imported {stored} documents"));
            Ok(())
        }
        Err(Stopped::Input(bad)) => {
            feed.finish()?;
            let failure = bad.at(
                path,
                &format!("; the {stored} documents before it are imported"),
            );
            let (name, from) = (error::shown(path), skipped.saturating_add(stored));
            Err(failure.next(format!(
                "mend it and go on with: docbuf import {name} --from {from}"
            )))
        }
        Err(Stopped::Store(failure)) => {
            error::note(path, &how_to_go_on(path, skipped, before));
            Err(failure)
        }
    }
}

/// After a failure of the store nobody knows how much of the last batch has arrived; the file does.
fn how_to_go_on(path: &Path, skipped: u64, before: u64) -> String {
    let name = error::shown(path);
    if skipped == before {
        format!(
            "the import stopped; when what follows is mended, go on with: docbuf import {name} --resume"
        )
    } else {
        format!(
            "the import stopped; it began at position {before} and behind input line {skipped}: docbuf stat {name} tells how many came in"
        )
    }
}

fn skip_lines(path: &Path, lines: &mut Documents, count: u64) -> Result<()> {
    for done in 0..count {
        if !lines.skip().map_err(|bad| bad.at(path, ""))? {
            return Err(short(path, done, count));
        }
    }
    Ok(())
}

fn short(path: &Path, lines: u64, wanted: u64) -> Failure {
    let message = format!(
        "the input has {lines} lines, fewer than the {wanted} to skip; nothing was changed"
    );
    Failure::of(path, Code::Expectation, message)
        .next("give the input that this file was imported from")
}

/// Passes over the lines that are stored already; the last of them must be the newest document.
fn resume(path: &Path, log: &mut Log<'_>, lines: &mut Documents) -> Result<()> {
    let Range { start, end: count } = log.range();
    let Some(before) = count.checked_sub(1) else {
        return Ok(());
    };
    if start == count {
        let message = format!(
            "its {count} documents were discarded: nothing tells that they are those of the input; nothing was changed"
        );
        return Err(Failure::of(path, Code::Expectation, message).next(format!(
            "if they are, go on behind them: docbuf import {} --from {count}",
            error::shown(path)
        )));
    }
    skip_lines(path, lines, before)?;
    let line = lines
        .next()
        .map_err(|bad| bad.at(path, "; nothing was changed"))?;
    let line = line.ok_or_else(|| short(path, before, count))?;
    let mut same = false;
    log.newest_first(before, false, |newest| {
        same = newest.bytes == line.as_slice();
        Ok(())
    })?;
    if same {
        return Ok(());
    }
    let message = format!(
        "its newest document, number {count}, is not the one in input line {count}; nothing was changed"
    );
    Err(Failure::of(path, Code::Expectation, message).next(format!(
        "give the input that this file was imported from, or say where to begin: docbuf import {} --from N",
        error::shown(path)
    )))
}

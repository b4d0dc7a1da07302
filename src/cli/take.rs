//! `pop` and `remove`: documents taken from the newest end.

use std::io::{self, BufRead, IsTerminal, Write};
use std::ops::Range;
use std::path::Path;

use super::args::{Pop, Remove};
use super::error::{self, Code, Failure, Result};
use super::log::ForWriting;
use super::output::Out;
use super::source::Source;

pub(super) fn pop(args: &Pop) -> Result<()> {
    let path = &args.file;
    let opened = ForWriting {
        path,
        create: false,
        max_document: Some(args.limit.bytes),
        write: &args.write,
    };
    let mut log = opened.open()?;
    let Range { start, end } = log.range();
    if start == end {
        return Err(error::empty(path));
    }
    let keep = end.saturating_sub(args.n).max(start);
    let mut out = Out::documents(&args.print);
    let places = out.is_json();
    let printed = log.newest_first(keep, places, |item| out.document(item));
    match printed.and_then(|()| out.settle()) {
        Ok(()) => {}
        // Not read, so not removed; whoever went away does not want to hear of it.
        Err(Failure::Closed) => return Err(Failure::Quiet(Code::Failed)),
        Err(failure) => return Err(failure.next("nothing was removed")),
    }
    log.cut(keep)
}

pub(super) fn remove(args: &Remove) -> Result<()> {
    if args.dry_run {
        return dry_run(args);
    }
    let path = &args.file;
    let opened = ForWriting {
        path,
        create: false,
        max_document: None,
        write: &args.write,
    };
    let log = opened.open()?;
    let range = log.range();
    let keep = keep(args, &range)?;
    if keep == range.end {
        return Ok(());
    }
    let question = format!(
        "remove {} of {} documents from {}?",
        range.end - keep,
        range.end - range.start,
        error::shown(path)
    );
    if !args.yes && !confirm(&question) {
        return Err(Failure::of(path, Code::Failed, "nothing was removed"));
    }
    log.cut(keep)
}

fn dry_run(args: &Remove) -> Result<()> {
    let path = &args.file;
    let range = Source::open(path)?.ended()?.range;
    let Range { start, end } = range;
    if let Some(expected) = args.write.expect.filter(|expected| *expected != end) {
        return Err(error::expectation(path, expected, end));
    }
    let keep = keep(args, &range)?;
    let mut out = Out::text();
    out.print(&format!(
        "would remove {} of {} documents\n",
        end - keep,
        end - start
    ))?;
    out.flush()
}

/// The position from which on documents go.
fn keep(args: &Remove, range: &Range<u64>) -> Result<u64> {
    let wanted = match (args.n, args.after) {
        (Some(n), _) => range.end.checked_sub(n),
        (None, after) => after,
    };
    // What a journal has discarded is not there to be removed, nor to be kept.
    let there = |keep: &u64| (range.start..=range.end).contains(keep);
    wanted
        .filter(there)
        .ok_or_else(|| fewer(&args.file, args.n.or(args.after).unwrap_or_default(), range))
}

fn fewer(path: &Path, wanted: u64, range: &Range<u64>) -> Failure {
    let Range { start, end } = range;
    let there = match start {
        0 => format!("there are {end}"),
        _ => format!("there are {}, at positions {start} to {end}", end - start),
    };
    let message = format!("{wanted} documents were named, but {there}; nothing was removed");
    Failure::of(path, Code::Expectation, message)
        .next(format!("look: docbuf tail {}", error::shown(path)))
}

/// Asks on a terminal; elsewhere the command line is the answer.
pub(super) fn confirm(question: &str) -> bool {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return true;
    }
    let mut err = io::stderr();
    // Without a stderr the question is not seen, and what is not answered is a no.
    let _ = write!(err, "{question} [y/N] ").and_then(|()| err.flush());
    let mut answer = String::new();
    let read = stdin.lock().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

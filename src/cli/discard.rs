//! `discard`: gives the oldest documents of a journal up, by whole segments.
//!
//! Where damage keeps a journal from being opened, what lies before it goes too, if that is asked for: the
//! library will not, since it cannot tell what it would be removing.

use std::io::{self, IsTerminal};
use std::path::Path;

use documentbuffer::journal::{Error, SegmentInfo};
use documentbuffer::store::{Directory, FileDirectory};

use super::args::Discard;
use super::damage::{self, failure, settled};
use super::error::{self, Code, Failure, Result};
use super::log::ForWriting;
use super::output::Out;
use super::part::{Span, is_segment};
use super::snapshot::must_be_directory;
use super::take;

pub(super) fn run(args: &Discard) -> Result<()> {
    let path = &args.dir;
    must_be_directory(path)?;
    let readable = Readable::of(path)?;
    if args.dry_run {
        let plan = Plan::of(args, &readable)?;
        let mut out = Out::text();
        out.print(&format!(
            "would discard {plan}; the first position kept would be {}\n",
            plan.first
        ))?;
        return out.flush();
    }
    let opened = ForWriting {
        path,
        create: false,
        max_document: None,
        write: &args.write,
    };
    let journal = opened.open_journal(&readable.span)?;
    opened.check(journal.end())?;
    if Readable::of(path)?.span != readable.span {
        // By whoever had the lock until now.
        let changed = Failure::of(path, Code::Failed, "changed while it was looked at");
        return Err(changed.next("run the command again"));
    }
    let plan = Plan::of(args, &readable)?;
    plan.agree(args, &readable)?;
    give_up(path, &plan.given_up)?;
    let first = journal.discard_before(args.before);
    let first = first.map_err(|error| failure(path, &error))?;
    let mut out = Out::text();
    out.print(&format!("{first}\n"))?;
    out.flush()
}

/// What of a journal can be read.
struct Readable {
    span: Span,
    /// Why what lies right before the span cannot.
    damage: Option<Error>,
}

impl Readable {
    fn of(path: &Path) -> Result<Readable> {
        let mut found = Readable {
            span: Span::default(),
            damage: None,
        };
        loop {
            let error = match found
                .span
                .reader(path)
                .and_then(|reader| damage::short(&reader, None))
            {
                Ok(None) => return Ok(found),
                Ok(Some(error)) | Err(error) => error,
            };
            let bad = damage::segment(&error).filter(|name| found.span.contains(name));
            match (error, bad) {
                (
                    error @ (Error::Missing { .. }
                    | Error::Truncated { .. }
                    | Error::Segment { .. }),
                    Some(name),
                ) => {
                    found.span = found.span.above(&name);
                    found.damage = Some(error);
                }
                (error, _) => {
                    // Behind damage in the newest segment there is nothing to go on with.
                    let error = found.damage.unwrap_or(error);
                    return Err(failure(path, &error));
                }
            }
        }
    }
}

/// What would go.
struct Plan {
    /// Segments that cannot be read, or not be reached, by their names, the oldest first.
    given_up: Vec<String>,
    segments: usize,
    documents: u64,
    bytes: u64,
    /// The first position that stays.
    first: u64,
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (documents, segments, bytes) = (self.documents, self.segments, self.bytes);
        write!(
            f,
            "{documents} documents in {segments} segments, {bytes} bytes"
        )?;
        match self.given_up.len() {
            0 => Ok(()),
            more => write!(f, ", and {more} segments with or before damage"),
        }
    }
}

impl Plan {
    fn of(args: &Discard, readable: &Readable) -> Result<Plan> {
        let (path, before) = (&args.dir, args.before);
        let segments = settled(|| readable.span.reader(path)?.segments());
        let segments = segments.map_err(|error| failure(path, &error))?;
        let end = |segment: &SegmentInfo| segment.base.saturating_add(segment.documents);
        let first = segments.first().map_or(0, |oldest| oldest.base);
        if let Some(damage) = readable.damage.as_ref().filter(|_| before < first) {
            return Err(failure(path, damage));
        }
        let last = segments.last().map_or(0, end);
        if before > last {
            let message =
                format!("position {before} is beyond the end, {last}; nothing was discarded");
            return Err(Failure::of(path, Code::Expectation, message)
                .next(format!("look: docbuf stat {}", error::shown(path))));
        }
        let mut plan = Plan {
            given_up: hidden(path, &readable.span)?,
            segments: 0,
            documents: 0,
            bytes: 0,
            first,
        };
        let goes = |segment: &&SegmentInfo| segment.sealed && end(segment) <= before;
        for segment in segments.iter().take_while(goes) {
            plan.segments += 1;
            plan.documents = plan.documents.saturating_add(segment.documents);
            plan.bytes = plan.bytes.saturating_add(segment.bytes);
            plan.first = end(segment);
        }
        Ok(plan)
    }

    /// Asks, where something goes. What is damaged is never given up unasked.
    fn agree(&self, args: &Discard, readable: &Readable) -> Result<()> {
        let path = &args.dir;
        if args.yes || self.segments == 0 && self.given_up.is_empty() {
            return Ok(());
        }
        if let Some(damage) = readable
            .damage
            .as_ref()
            .filter(|_| !io::stdin().is_terminal())
        {
            let next =
                "what can be saved, save before; to give up what lies before the damage, say --yes";
            return Err(failure(path, damage).next(next));
        }
        let name = error::shown(path);
        if take::confirm(&format!("discard {self} from {name}?")) {
            return Ok(());
        }
        Err(Failure::of(path, Code::Failed, "nothing was discarded"))
    }
}

/// The segments that are not in `span`, the oldest first.
fn hidden(path: &Path, span: &Span) -> Result<Vec<String>> {
    let files = FileDirectory::open_existing(path).and_then(|files| files.list());
    let mut names = files.map_err(|error| Failure::io(path, "list", &error))?;
    names.retain(|name| is_segment(name) && !span.contains(name));
    names.sort();
    Ok(names)
}

/// Removes segments as the library does: in order, and each for good before the next.
fn give_up(path: &Path, names: &[String]) -> Result<()> {
    let removed = FileDirectory::open_existing(path).and_then(|files| {
        names.iter().try_for_each(|name| {
            files.remove(name)?;
            files.sync()
        })
    });
    removed.map_err(|error| Failure::io(path, "remove the damaged segments from", &error))
}

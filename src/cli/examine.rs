//! `verify` of a journal: every record of every segment, beside whoever writes. Never writes.
//!
//! The library stops at a segment that breaks the chain. Each of the two parts that it leaves is then looked
//! at on its own, so that all that is wrong is told at once.

use std::path::Path;
use std::thread;
use std::time::Duration;

use documentbuffer::End;
use documentbuffer::journal::{self, Error, Reader};
use serde::Serialize;

use super::args::Verify;
use super::damage::{self, Problem, first_unread, is_passing, settled};
use super::error::{self, Code, Failure, Result};
use super::line;
use super::open;
use super::output::Out;
use super::part::Span;
use super::stat::How;

/// Between two looks at what is bad.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Looks at most; what changes until then is in progress.
pub(super) const LOOKS: u32 = 20;

/// What reading everything found.
#[derive(Default)]
struct Findings {
    first: u64,
    documents: u64,
    segments: usize,
    void: usize,
    /// How the newest segment ends; `None` where it cannot be told.
    end: Option<End>,
    /// What is wrong with that.
    bad_end: Option<Problem>,
    /// Everything else, the newest first.
    problems: Vec<Problem>,
}

/// The findings, and whether a living writer is at the end: then it may look bad.
struct Verdict {
    findings: Findings,
    in_progress: bool,
}

pub(super) fn run(args: &Verify) -> Result<()> {
    let path = &args.file;
    let verdict = judge(path)?;
    let printed = print(args, &verdict);
    let damaged = verdict.problems().count() > 0;
    for problem in verdict.problems() {
        if let Failure::Told(report) = problem.clone().into() {
            report.tell();
        }
    }
    match printed {
        // Nobody reads it, but the code may still be asked for.
        Ok(()) | Err(Failure::Closed) if damaged => Err(Failure::Quiet(Code::Damaged)),
        printed => printed,
    }
}

/// Looks until what is found is good, or the same twice, or the work of a writer.
fn judge(path: &Path) -> Result<Verdict> {
    let mut last: Option<Findings> = None;
    let mut looks = 0;
    loop {
        looks += 1;
        let was_locked = open::is_locked(path) == Some(true);
        let found = Findings::of(path);
        let is_locked = open::is_locked(path) == Some(true);
        let findings = match found {
            Ok(findings) => findings,
            Err(error) if is_passing(&error) && looks < LOOKS => {
                thread::sleep(LOOK_EVERY);
                continue;
            }
            Err(error) => return Err(damage::failure(path, &error)),
        };
        let ends_badly = findings.bad_end.is_some();
        let in_progress = ends_badly && was_locked && is_locked;
        let whole = findings.problems.is_empty();
        let same_problems = last
            .as_ref()
            .is_some_and(|last| last.problems == findings.problems);
        let same = same_problems && last.is_some_and(|last| last.end == findings.end);
        if whole && (in_progress || !ends_badly) || same && was_locked == is_locked {
            return Ok(Verdict {
                findings,
                in_progress,
            });
        }
        if looks >= LOOKS {
            // Something else at each look: a writer that no lock tells of.
            let mut findings = findings;
            findings.problems.retain(|_| same_problems);
            return Ok(Verdict {
                findings,
                in_progress: true,
            });
        }
        last = Some(findings);
        thread::sleep(LOOK_EVERY);
    }
}

impl Verdict {
    /// All that is wrong, the newest first.
    fn problems(&self) -> impl Iterator<Item = &Problem> {
        let findings = &self.findings;
        let bad_end = findings.bad_end.as_ref().filter(|_| !self.in_progress);
        bad_end.into_iter().chain(&findings.problems)
    }

    fn result(&self) -> &'static str {
        match &self.findings.end {
            Some(end) if self.findings.problems.is_empty() => {
                if self.in_progress {
                    "in progress"
                } else {
                    How::of(end).end
                }
            }
            _ => "damaged",
        }
    }
}

impl Findings {
    fn of(path: &Path) -> journal::Result<Findings> {
        let mut findings = Findings::default();
        let mut spans = vec![Span::default()];
        // From the newest down to the oldest.
        while let Some(span) = spans.pop() {
            match span.reader(path) {
                Ok(reader) => findings.add(path, &span, &reader)?,
                // Nothing is left on this side.
                Err(Error::NotFound { .. }) if !span.is_whole() => {}
                Err(error) => {
                    let bad = damage::segment(&error).filter(|name| span.contains(name));
                    let Some(name) = bad else { return Err(error) };
                    let problem = Problem::of(path, &span, &error, None);
                    findings.problems.extend(problem);
                    spans.push(span.below(&name));
                    spans.push(span.above(&name));
                }
            }
        }
        // As they were met, they are in no order.
        findings
            .problems
            .sort_by(|one, other| other.file.cmp(&one.file));
        Ok(findings)
    }

    /// Adds what is found in the segments of `span`.
    fn add(&mut self, path: &Path, span: &Span, reader: &Reader) -> journal::Result<()> {
        let report = reader.verify()?;
        self.first = report.first;
        self.documents = self.documents.saturating_add(report.documents);
        self.segments += report.segments;
        self.void += report.void;
        let bad_end = match report.end.filter(is_bad) {
            Some(end) => bad_end(path, span, reader, end)?,
            None => None,
        };
        if span.below.is_none() {
            (self.end, self.bad_end) = (report.end, bad_end);
        } else {
            self.problems.extend(bad_end);
        }
        for error in &report.problems {
            let at = match error {
                Error::Segment { base, .. } => first_unread(reader, *base),
                _ => None,
            };
            match Problem::of(path, span, error, at) {
                Some(problem) => self.problems.push(problem),
                None => return Err(error.clone()),
            }
        }
        Ok(())
    }
}

fn is_bad(end: &End) -> bool {
    matches!(end, End::Torn { .. } | End::Suspect { .. })
}

/// What is wrong with the end of the newest segment of `span`.
fn bad_end(
    path: &Path,
    span: &Span,
    reader: &Reader,
    end: End,
) -> journal::Result<Option<Problem>> {
    let segments = settled(|| reader.segments())?;
    let Some(newest) = segments.last() else {
        return Ok(None);
    };
    let message = match end {
        End::Torn { offset, reason } => format!(
            "torn at offset {offset}: {reason}; a crash in the middle of a write leaves that"
        ),
        End::Suspect { offset, records } => format!(
            "bad record at offset {offset} with {records} intact documents behind it: damage, or leftovers of a crash"
        ),
        _ => return Ok(None),
    };
    let mend = error::mend(path, &newest.file);
    let remedy = match end {
        // Where it should end, the segment behind it would tell, which is damaged.
        _ if span.below.is_some() => mend,
        End::Torn { .. } => {
            "the next writer leaves it as it is, and goes on in a new segment".to_owned()
        }
        _ => {
            format!("{mend}; a writer goes on in a new segment, docbuf only with --accept-suspect")
        }
    };
    Ok(Some(Problem {
        file: newest.file.clone(),
        position: Some(newest.base.saturating_add(newest.documents)),
        message,
        remedy,
    }))
}

/// The findings as one JSON object.
#[derive(Serialize)]
struct Report<'a> {
    v: u64,
    file: String,
    result: &'static str,
    first_position: u64,
    documents: u64,
    segments: usize,
    void_segments: usize,
    locked: Option<bool>,
    #[serde(flatten)]
    how: Option<How>,
    problems: Vec<JsonProblem<'a>>,
}

#[derive(Serialize)]
struct JsonProblem<'a> {
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<u64>,
    problem: &'a str,
    remedy: &'a str,
}

impl JsonProblem<'_> {
    fn new(problem: &Problem) -> JsonProblem<'_> {
        JsonProblem {
            file: problem.file.to_string_lossy().into_owned(),
            position: problem.position,
            problem: &problem.message,
            remedy: &problem.remedy,
        }
    }
}

fn print(args: &Verify, verdict: &Verdict) -> Result<()> {
    let path = &args.file;
    let findings = &verdict.findings;
    let mut out = Out::text();
    if args.json {
        out.json(&Report {
            v: line::VERSION,
            file: path.to_string_lossy().into_owned(),
            result: verdict.result(),
            first_position: findings.first,
            documents: findings.documents,
            segments: findings.segments,
            void_segments: findings.void,
            locked: open::is_locked(path),
            how: findings.end.as_ref().map(How::of),
            problems: verdict.problems().map(JsonProblem::new).collect(),
        })?;
        return out.flush();
    }
    let end = match &findings.end {
        _ if verdict.in_progress => "in progress: another process is writing".to_owned(),
        Some(end) => end.to_string(),
        None => "not to be found".to_owned(),
    };
    let problems = match findings.problems.len() {
        0 => String::new(),
        1 => "; 1 problem".to_owned(),
        many => format!("; {many} problems"),
    };
    let (name, documents, segments) = (error::shown(path), findings.documents, findings.segments);
    out.print(&format!(
        "{name}: {documents} documents in {segments} segments are intact; the end is {end}{problems}\n"
    ))?;
    out.flush()
}

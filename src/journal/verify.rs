//! Reads all of a journal, and says what is wrong.

use super::chain::{self, ATTEMPTS, Link};
use super::error::{Error, Result};
use super::files::{Files, name};
use super::read::SegmentReader;
use super::recover::check_length;
use crate::buffer::format::{Edge, MAX_PAYLOAD};
use crate::buffer::forward::Mode;
use crate::buffer::recover::recover;
use crate::buffer::{End, Recovery, io};

/// What reading all of a journal found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Verification {
    /// The first position that is kept.
    pub first: u64,
    /// Intact documents.
    pub documents: u64,
    /// Segments that were read.
    pub segments: usize,
    /// Files of segments that were cut away, which the next opening removes.
    pub void: usize,
    /// How the live segment ends; `None` where it could not be found.
    pub end: Option<End>,
    /// What is wrong, each with its file; none where all is well.
    pub problems: Vec<Error>,
}

impl Verification {
    /// Whether nothing is wrong. How the live segment ends is another matter: a crash may have cut its last
    /// write short.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Beside a process that may be writing: what is wrong counts when two passes in a row say the same of it.
pub(super) fn beside(files: &Files) -> Result<Verification> {
    let told = |run: &Result<Verification>| match run {
        Ok(report) => format!("{:?}", report.problems),
        Err(error) => error.to_string(),
    };
    let mut before = run(files, None);
    for _ in 0..ATTEMPTS {
        if before.as_ref().is_ok_and(Verification::is_sound) {
            break;
        }
        let again = run(files, None);
        let same = told(&before) == told(&again);
        before = again;
        if same {
            break;
        }
    }
    before
}

/// `live` is where the live segment ends, where that is known.
pub(super) fn run(files: &Files, live: Option<Edge>) -> Result<Verification> {
    let mut report = Verification {
        first: 0,
        documents: 0,
        segments: 0,
        void: 0,
        end: None,
        problems: Vec::new(),
    };
    let found = match chain::find(files) {
        Ok(found) => found,
        Err(error @ Error::Io { .. }) if !error.is_not_found() => return Err(error),
        Err(error) => {
            report.problems.push(error);
            return Ok(report);
        }
    };
    report.void = found.void.len();
    let Some(mut chain) = found.chain else {
        let directory = files.path();
        return Err(Error::NotFound { directory });
    };
    report.first = chain.first();
    if let (Some(link), Some(edge)) = (chain.links.last_mut(), live) {
        link.end = Some(edge);
        report.end = Some(End::Clean);
    }
    for link in &chain.links {
        report.segments += 1;
        match check(files, link, &mut report) {
            Err(error @ Error::Io { .. }) => return Err(error),
            Err(error) => report.problems.push(error),
            Ok(()) => {}
        }
    }
    Ok(report)
}

fn check(files: &Files, link: &Link, report: &mut Verification) -> Result<()> {
    let Some(end) = link.end else {
        let recovery = check_live(files, link)?;
        report.documents = report.documents.saturating_add(recovery.documents);
        report.end = Some(recovery.end);
        return Ok(());
    };
    check_length(files, link)?;
    let mut reader = SegmentReader::open(files, link, link.start, end.offset)?;
    let read = reader.skip_to(link.base.saturating_add(end.documents));
    report.documents = report.documents.saturating_add(reader.edge().documents);
    read.and_then(|()| reader.next().map(drop))
        .and_then(|()| reader.check_end())
}

fn check_live(files: &Files, link: &Link) -> Result<Recovery> {
    let mut store = files.read(&name(link.sequence))?;
    let read = io::len(&mut store).and_then(|len| {
        recover(
            &mut store,
            link.salt,
            len,
            MAX_PAYLOAD,
            Mode::Prove,
            |_, _| (),
        )
    });
    let (_, recovery, _) =
        read.map_err(|source| Error::segment(files.segment(link.sequence), link.base, source))?;
    Ok(recovery)
}

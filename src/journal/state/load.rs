//! Making a state from a snapshot and the log.

use std::sync::Arc;

use super::super::chain::Chain;
use super::super::error::{Error, Result};
use super::super::events::{Events, told};
use super::super::files::Files;
use super::super::mark::judge;
use super::super::replay::Replay;
use super::super::snapshot::{
    BadSnapshot, Head, IgnoredSnapshot, Mark, Named, SnapshotInfo, Snapshots, Worth,
};
use super::super::trace;
use super::State;
use super::options::{Rules, Saving};
use crate::buffer::format::Edge;

/// How a state was made from the log.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct StateReport {
    /// The snapshot that it began with; `None` where it began with the first document.
    pub snapshot: Option<SnapshotInfo>,
    /// Newer snapshots that were not used, and why: each is a warning.
    pub ignored: Vec<IgnoredSnapshot>,
    /// Events that were read from the log.
    pub replayed: u64,
    /// Documents that were passed over.
    pub skipped: u64,
}

impl StateReport {
    /// Whether a snapshot was ignored that is good but for who loads it.
    pub(super) fn misleads(&self) -> bool {
        let misleads = |reason: &BadSnapshot| {
            matches!(
                reason,
                BadSnapshot::OtherSchema { .. }
                    | BadSnapshot::OtherCodec { .. }
                    | BadSnapshot::Undecodable { .. }
            )
        };
        self.ignored.iter().any(|found| misleads(&found.reason))
    }
}

impl<S> Saving<S> {
    pub(super) fn among<'a>(
        &'a self,
        shelf: &'a Snapshots,
        files: &'a Files,
        chain: &'a Chain,
        live: Edge,
    ) -> Among<'a, S> {
        Among {
            saving: self,
            shelf,
            files,
            chain,
            live,
        }
    }
}

/// The snapshots beside a log.
pub(super) struct Among<'a, S> {
    saving: &'a Saving<S>,
    shelf: &'a Snapshots,
    files: &'a Files,
    chain: &'a Chain,
    live: Edge,
}

impl<S> Among<'_, S> {
    /// A snapshot's state as bytes, if the log and this program have any use for it.
    fn read(&self, named: &Named) -> Result<Result<(Head, Vec<u8>), BadSnapshot>> {
        let opened = match self.shelf.open(named, self.chain.journal) {
            Ok(opened) => opened,
            Err(bad) => return Ok(Err(bad)),
        };
        let (head, wanted) = (&opened.head, self.saving.codec.name());
        if head.schema != self.saving.schema {
            let wanted = self.saving.schema;
            return Ok(Err(BadSnapshot::OtherSchema { wanted }));
        }
        if head.codec != wanted {
            let (found, wanted) = (head.codec.clone(), wanted.to_owned());
            return Ok(Err(BadSnapshot::OtherCodec { found, wanted }));
        }
        if let Err(bad) = judge(self.files, self.chain, self.live, &head.mark)? {
            return Ok(Err(bad));
        }
        Ok(opened.state())
    }

    fn load(&self, named: &Named) -> Result<Result<(Mark, S), BadSnapshot>> {
        Ok(self.read(named)?.and_then(|(head, bytes)| {
            let state = self.saving.codec.decode(&bytes);
            let undecodable = |reason| BadSnapshot::Undecodable { reason };
            let state = state.map_err(|cause| undecodable(told(cause.as_ref())))?;
            Ok((head.mark, state))
        }))
    }

    /// What a snapshot is worth to this program, whether it can be decoded or not.
    pub(super) fn worth(&self, named: &Named) -> Result<Worth> {
        Ok(worth(&self.read(named)?))
    }

    /// Removes what this program can never load.
    fn remove_misleading(&self) -> Result<usize> {
        self.shelf
            .prune(usize::MAX, |named| Ok(worth(&self.load(named)?)))
    }

    /// The newest that can be loaded and has no event from `until` on; and why newer ones cannot.
    fn newest(&self, until: u64, report: &mut StateReport) -> Result<Option<(Mark, S)>> {
        for named in self.shelf.list()? {
            if named.position > until {
                continue;
            }
            match self.load(&named)? {
                Ok(found) => {
                    report.snapshot = self.shelf.info(named)?;
                    return Ok(Some(found));
                }
                Err(reason) => {
                    let snapshot = IgnoredSnapshot {
                        name: named.name,
                        position: named.position,
                        schema: named.schema,
                        reason,
                    };
                    trace::ignored(&snapshot);
                    report.ignored.push(snapshot);
                }
            }
        }
        Ok(None)
    }
}

fn worth<T>(found: &Result<T, BadSnapshot>) -> Worth {
    match found {
        Ok(_) => Worth::Use,
        Err(
            BadSnapshot::Foreign { .. }
            | BadSnapshot::Future { .. }
            | BadSnapshot::FutureFormat(_)
            | BadSnapshot::Misnamed { .. }
            | BadSnapshot::OtherJournal { .. }
            | BadSnapshot::OutOfMemory { .. }
            | BadSnapshot::Failed(_),
        ) => Worth::Unknown,
        Err(_) => Worth::None,
    }
}

/// A state that was made from the log.
pub(super) struct Loaded<S> {
    pub(super) state: S,
    pub(super) position: u64,
    pub(super) chain: Arc<Chain>,
    pub(super) report: StateReport,
}

impl<S> Loaded<S> {
    /// The position of the snapshot that it began with.
    pub(super) fn base(&self) -> u64 {
        let snapshot = self.report.snapshot.as_ref();
        snapshot.map_or(0, |snapshot| snapshot.position)
    }
}

/// Position of the newest snapshot that can be loaded; without one, 0.
pub(super) fn newest<S: State>(
    events: &Events<S::Event>,
    rules: &Rules<S>,
    shelf: &Snapshots,
) -> Result<u64> {
    let Some(saving) = &rules.saving else {
        return Ok(0);
    };
    let (chain, live) = ended(events)?;
    let files = &events.journal().owner.files;
    let among = saving.among(shelf, files, &chain, live);
    let found = among.newest(u64::MAX, &mut StateReport::default())?;
    Ok(found.map_or(0, |(mark, _)| mark.position))
}

/// The segments, and where the live one ends.
fn ended<E>(events: &Events<E>) -> Result<(Arc<Chain>, Edge)> {
    let chain = events.journal().whole_chain()?;
    let end = chain.live().and_then(|live| live.end);
    Ok((chain, end.ok_or(Error::Closed)?))
}

/// Makes the state of all documents before `until`, or of all there are.
pub(super) fn load<S: State>(
    events: &Events<S::Event>,
    rules: &Rules<S>,
    shelf: &Snapshots,
    until: Option<u64>,
) -> Result<Loaded<S>> {
    let (chain, live) = ended(events)?;
    let files = &events.journal().owner.files;
    let mut report = StateReport::default();
    let mut found = None;
    if let Some(saving) = &rules.saving {
        let among = saving.among(shelf, files, &chain, live);
        found = among.newest(until.unwrap_or(u64::MAX), &mut report)?;
    }
    let first = chain.first();
    let (replay, mut state) = match found {
        Some((mark, state)) => (Replay::behind(files.clone(), chain.clone(), &mark)?, state),
        None if first > 0 => {
            let ignored = report.ignored.into();
            return Err(Error::NoSnapshot { first, ignored });
        }
        None => {
            let state = (rules.initial)();
            (Replay::new(files.clone(), chain.clone(), 0)?, state)
        }
    };
    let mut replay = events.read(replay).until(until.unwrap_or(u64::MAX));
    for event in &mut replay {
        state.apply(&event?.1);
        report.replayed = report.replayed.saturating_add(1);
    }
    report.skipped = replay.skipped();
    if let Some(saving) = rules.saving.as_ref().filter(|_| report.misleads())
        && rules.discards
    {
        // Retention believes every whole snapshot, and would discard what this state is made of.
        saving
            .among(shelf, files, &chain, live)
            .remove_misleading()?;
    }
    Ok(Loaded {
        state,
        position: replay.position(),
        chain,
        report,
    })
}

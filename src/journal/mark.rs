//! Whether the log still has exactly the record that a snapshot was taken behind.

use super::chain::{Chain, Link};
use super::error::{Error, Result};
use super::files::Files;
use super::read::SegmentRev;
use super::snapshot::{BadSnapshot, Head, Mark, Snapshots};
use crate::buffer;
use crate::buffer::format::Edge;

/// Where a mark says that the log stood.
pub(super) fn edge(mark: &Mark) -> Edge {
    Edge {
        offset: mark.offset,
        tip: mark.tip,
        documents: mark.documents,
        bytes: mark.bytes,
    }
}

/// The mark of the newest document: where the segments in `chain` end, the live one at `live`.
pub(super) fn newest(chain: &Chain, live: Edge) -> Option<Mark> {
    chain.live().map(|link| at(link, live))
}

/// The mark of the document that ends at `edge` in the segment `link`.
///
/// A segment without a document may be replaced by another one, so what it continues is named instead.
pub(super) fn at(link: &Link, edge: Edge) -> Mark {
    let position = link.base.saturating_add(edge.documents);
    let (segment, edge) = match link.from {
        Some(from) if edge.documents == 0 => from,
        _ => (link.sequence, edge),
    };
    Mark {
        segment,
        offset: edge.offset,
        tip: edge.tip,
        documents: edge.documents,
        bytes: edge.bytes,
        position,
    }
}

/// Whether the record that `mark` names stands where it says, and none before it was replaced; else what
/// became of it.
pub(super) fn judge(
    files: &Files,
    chain: &Chain,
    live: Edge,
    mark: &Mark,
) -> Result<Result<(), BadSnapshot>> {
    let (first, at) = (chain.first(), edge(mark));
    if mark.position < first {
        return Ok(Err(BadSnapshot::Discarded { first }));
    }
    if mark.position == 0 {
        // Every log begins with nothing.
        return Ok(Ok(()));
    }
    let newest = chain.live().map_or(0, |live| live.sequence);
    let end = (chain.live()).map_or(0, |last| last.base.saturating_add(live.documents));
    let Some(link) = chain.link(mark.segment) else {
        // It may be the last that was discarded; the oldest that is kept continues it.
        let oldest = chain.links.first();
        let continued = oldest.is_some_and(|oldest| {
            oldest.from == Some((mark.segment, at)) && oldest.base == mark.position
        });
        return Ok(match continued {
            true => Ok(()),
            false if mark.segment > newest => Err(BadSnapshot::Ahead { end }),
            false => Err(BadSnapshot::CutAway),
        });
    };
    let until = link.end.unwrap_or(live);
    if at.offset > until.offset || at.documents > until.documents {
        return Ok(Err(match mark.segment == newest {
            true => BadSnapshot::Ahead { end },
            false => BadSnapshot::CutAway,
        }));
    }
    let stands = link.base.checked_add(at.documents) == Some(mark.position)
        && match at.documents {
            0 => at == link.start,
            // Each record names its whole past: if the last one is right, so are all before it.
            _ => at == until || ends_at(SegmentRev::open(files, link, at)?)?,
        };
    Ok(stands.then_some(()).ok_or(BadSnapshot::CutAway))
}

fn ends_at(mut rev: SegmentRev) -> Result<bool> {
    match rev.advance() {
        Ok(found) => Ok(found),
        Err(Error::Segment { source, .. }) if matches!(*source, buffer::Error::Corrupt { .. }) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// The newest snapshot that is whole, of this journal, on this branch, and `fits`.
pub(super) fn newest_good(
    snapshots: &Snapshots,
    files: &Files,
    chain: &Chain,
    live: Edge,
    mut fits: impl FnMut(&Head) -> bool,
) -> Result<Option<(Head, Vec<u8>)>> {
    let listed = snapshots.list().map_err(Error::from)?;
    for named in listed {
        let Ok(opened) = snapshots.open(&named, chain.journal) else {
            continue;
        };
        if !fits(&opened.head) || judge(files, chain, live, &opened.head.mark)?.is_err() {
            continue;
        }
        if let Ok(found) = opened.state() {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

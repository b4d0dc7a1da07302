//! Opening: finds the journal again in whatever a directory holds.

use std::sync::Arc;

use super::chain::{self, Chain, Found, Link};
use super::error::{Error, Result};
use super::files::{Files, Writable, name};
use super::options::Options;
use super::read::SegmentReader;
use super::trace::Span;
use super::writer::{Birth, Writer};
use crate::buffer::{Accept, DocumentBuffer, End};
use crate::store::Directory;

/// The journal in `directory`, for writing.
pub(super) fn open(directory: Arc<dyn Directory>, options: &Options) -> Result<Writer> {
    let files = Files::new(directory);
    let span = Span::recover(&files.path());
    let found = find(files, options, &span);
    span.ended(&found);
    found
}

fn find(files: Files, options: &Options, span: &Span) -> Result<Writer> {
    let lock = files.lock()?;
    let found = chain::find(&files)?;
    if let Some(chain) = &found.chain {
        check(&files, chain, &found, options)?;
    }
    let mut random = options.buffer.random.clone();
    let Some(chain) = &found.chain else {
        clean(&files, &found)?;
        let journal = u128::from(random.next()) << 64 | u128::from(random.next());
        let birth = Birth {
            journal,
            sequence: 1,
            base: 0,
            from: None,
            salt: random.next(),
        };
        let (link, buffer) = birth.happen(&files, options)?;
        let chain = Chain {
            journal,
            codec: options.codec.clone(),
            links: vec![link],
        };
        return Ok(Writer::new(
            files, lock, options, chain, buffer, true, random,
        ));
    };
    let (buffer, usable) = open_live(&files, chain, options)?;
    clean(&files, &found)?;
    let (edge, end) = (buffer.edge(), buffer.recovery().end);
    span.recovered(chain.links.len(), edge.documents, edge.offset, &end);
    let chain = chain.clone();
    Ok(Writer::new(
        files, lock, options, chain, buffer, usable, random,
    ))
}

/// What can be told without reading every record.
fn check(files: &Files, chain: &Chain, found: &Found, options: &Options) -> Result<()> {
    if chain.codec != options.codec {
        return Err(Error::Codec {
            found: chain.codec.clone(),
            wanted: options.codec.clone(),
        });
    }
    for link in &chain.links {
        check_length(files, link)?;
    }
    check_void(files, chain, &found.void)
}

/// What is to be removed must be this journal's.
fn check_void(files: &Files, chain: &Chain, void: &[u64]) -> Result<()> {
    for &sequence in void {
        let (journal, _, _) = chain::link(files, sequence)?;
        if journal != chain.journal {
            let kept = chain.links.iter().map(|link| &link.sequence);
            return Err(chain::stranger(files, kept.chain(void), chain, sequence));
        }
    }
    Ok(())
}

/// A sealed segment must be as long as the next one says.
pub(super) fn check_length(files: &Files, link: &Link) -> Result<()> {
    let Some(end) = link.end else {
        return Ok(());
    };
    if link.store_len >= end.offset {
        return Ok(());
    }
    let mut reader = SegmentReader::open(files, link, link.start, link.store_len)?;
    let mut position = link.base;
    while let Ok(Some(document)) = reader.next() {
        position = document.position.saturating_add(1);
    }
    Err(Error::Truncated {
        file: files.segment(link.sequence),
        position,
        until: link.base.saturating_add(end.documents),
    })
}

/// Removes what was never born, and what was cut away. Should a power cut bring it back it is as void as it was.
fn clean(files: &Files, found: &Found) -> Result<()> {
    if !found.void.is_empty() {
        // What makes them void may not be durable.
        files.sync()?;
    }
    for unborn in &found.unborn {
        files.remove(unborn)?;
    }
    for sequence in &found.void {
        files.remove(&name(*sequence))?;
    }
    Ok(())
}

/// The live segment, and whether it may be gone on with.
fn open_live(
    files: &Files,
    chain: &Chain,
    options: &Options,
) -> Result<(DocumentBuffer<Writable>, bool)> {
    let Some(live) = chain.live() else {
        return Err(Error::NotFound {
            directory: files.path(),
        });
    };
    let file = || files.segment(live.sequence);
    let store = files.open(&name(live.sequence))?;
    let buffer = (options.buffer.open(store))
        .map_err(|failed| Error::segment(file(), live.base, failed.error))?;
    let end = buffer.recovery().end;
    match (options.accept, end) {
        (Accept::NoSuspect | Accept::Strict, End::Suspect { offset, records }) => {
            let file = file();
            Err(Error::Suspect {
                file,
                offset,
                records,
            })
        }
        (Accept::Strict, end) if end != End::Clean => {
            let source = crate::buffer::Error::NotClean { end };
            Err(Error::segment(file(), live.base, source))
        }
        // Where there is no END the newest record may be a mark, which the next write would take back.
        _ => Ok((buffer, end == End::Clean)),
    }
}

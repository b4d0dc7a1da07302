//! What the committer does to the directory: groups of documents into the live segment, segments begun,
//! cut away and discarded.
//!
//! * A segment is made under another name, synced, renamed, and the directory synced: with its name it is
//!   whole. It seals the one that it continues, which is synced before.
//! * No byte of a record that was ever whole is written over: behind a failed write, and behind a bad end
//!   found at an opening, the journal goes on in a new segment. So a reader in another process never holds
//!   what is then replaced in place.
//! * An error after which it is not known what is durable is [`Error::Failed`], and final.

use std::sync::Arc;

use super::chain::{Chain, Link};
use super::error::{Error, Result};
use super::files::{Files, Writable, name, new_name};
use super::mark::newest_good;
use super::options::{Options, Retention};
use super::read::SegmentReader;
use super::snapshot::Snapshots;
use super::trace::Span;
use crate::buffer::block::Block;
use crate::buffer::format::{Edge, Salt};
use crate::buffer::random::Random;
use crate::buffer::segment::Segment;
use crate::buffer::{self, DocumentBuffer, io};
use crate::store::Held;

/// A live segment that is smaller is not sealed by a clean close: opening it costs next to nothing.
const SMALL: u64 = 256 << 10;

pub(super) struct Writer {
    files: Files,
    options: Options,
    chain: Arc<Chain>,
    buffer: DocumentBuffer<Writable>,
    /// Where the live segment ends: behind the last write that was Ok.
    edge: Edge,
    next_sequence: u64,
    /// Whether the live segment may be gone on with.
    usable: bool,
    /// Whether the live segment may hold what a failed write was asked for.
    failed: bool,
    /// Whether all names are durable: a process that died may have named a segment, and not made that so.
    settled: bool,
    /// Segments that were cut away, and may not be removed yet.
    void: Vec<u64>,
    /// Positions below were synced by this handle, or sealed.
    synced: u64,
    random: Random,
    /// Released last.
    _lock: Box<dyn Held>,
}

/// A segment to be made.
pub(super) struct Birth {
    pub(super) journal: u128,
    pub(super) sequence: u64,
    pub(super) base: u64,
    pub(super) from: Option<(u64, Edge)>,
    /// Random.
    pub(super) salt: u64,
}

impl Birth {
    /// Makes the segment; durable on return. Where no name can have changed the error is not final.
    pub(super) fn happen(
        &self,
        files: &Files,
        options: &Options,
    ) -> Result<(Link, DocumentBuffer<Writable>)> {
        let salt = Salt::new(self.salt);
        let segment = Segment {
            journal: self.journal,
            sequence: self.sequence,
            base: self.base,
            born: options.clock.wall_micros(),
            from: self.from,
            codec: options.codec.clone(),
        };
        let (bytes, start) = segment.store(salt);
        let (new, named) = (new_name(self.sequence), name(self.sequence));
        let written = files.create(&new).and_then(|mut store| {
            (io::write(&mut store, 0, &[&bytes]))
                .and_then(|()| io::flush(&mut store))
                .map_err(|source| Error::segment(files.at(&new), self.base, source))?;
            (io::sync(&mut store, |store| store.sync()))
                .map_err(|source| Error::segment(files.at(&new), self.base, source).last())
        });
        if let Err(error) = written {
            // It says nothing to anybody; the next opening removes it if this does not.
            let _ = files.remove(&new);
            return Err(error);
        }
        (files.rename(&new, &named))
            .and_then(|()| files.sync())
            .map_err(Error::last)?;
        let store = files.open(&named).map_err(Error::last)?;
        let link = Link {
            sequence: self.sequence,
            base: self.base,
            born: segment.born,
            from: self.from,
            salt,
            start,
            store_len: bytes.len() as u64,
            end: None,
        };
        let buffer = DocumentBuffer::newborn(store, salt, start, &options.buffer);
        Ok((link, buffer))
    }
}

impl Writer {
    pub(super) fn new(
        files: Files,
        lock: Box<dyn Held>,
        options: &Options,
        chain: Chain,
        buffer: DocumentBuffer<Writable>,
        usable: bool,
        random: Random,
    ) -> Writer {
        let newest = chain.live().map_or(0, |live| live.sequence);
        Writer {
            files,
            options: options.clone(),
            chain: Arc::new(chain),
            edge: buffer.edge(),
            buffer,
            next_sequence: newest.saturating_add(1),
            usable,
            failed: false,
            settled: false,
            void: Vec::new(),
            synced: 0,
            random,
            _lock: lock,
        }
    }

    pub(super) fn files(&self) -> &Files {
        &self.files
    }

    pub(super) fn chain(&self) -> &Arc<Chain> {
        &self.chain
    }

    /// Where the live segment ends.
    pub(super) fn edge(&self) -> Edge {
        self.edge
    }

    /// The next position.
    pub(super) fn end(&self) -> u64 {
        let base = self.chain.live().map_or(0, |live| live.base);
        base.saturating_add(self.edge().documents)
    }

    /// Positions below have survived power loss.
    pub(super) fn synced(&self) -> u64 {
        self.synced
    }

    /// Writes a group; the block keeps it.
    ///
    /// Durable on return: against the death of the process. On an error none of it counts.
    pub(super) fn write(&mut self, block: &mut Block) -> Result<()> {
        let full = self.edge().documents > 0
            && self.edge().offset.saturating_add(block.len() as u64) > self.options.segment;
        if full || !self.usable {
            self.rotate()?;
            self.retain()?;
        }
        if let Err(source) = self.buffer.write_block(block) {
            (self.usable, self.failed) = (false, true);
            let is_sync = is_sync(&source);
            let error = self.live_error(source);
            return Err(if is_sync { error.last() } else { error });
        }
        self.edge = self.buffer.edge();
        Ok(())
    }

    /// Makes everything written survive power loss, and nothing else: what a failed write was asked for is
    /// not found any more. If syncing fails the error is final.
    pub(super) fn sync(&mut self) -> Result<()> {
        self.sync_live()?;
        if self.failed { self.seal() } else { Ok(()) }
    }

    fn sync_live(&mut self) -> Result<()> {
        self.settle()?;
        if self.synced == self.end() {
            return Ok(());
        }
        let synced = self.buffer.sync_blocks();
        synced.map_err(|source| self.live_error(source).last())?;
        self.synced = self.end();
        Ok(())
    }

    /// Makes the names durable that were found: neither what is synced under them, nor a further segment, nor
    /// the removal of one may be so before.
    fn settle(&mut self) -> Result<()> {
        if !self.settled {
            self.files.sync().map_err(Error::last)?;
            self.settled = true;
        }
        Ok(())
    }

    fn live_error(&self, source: buffer::Error) -> Error {
        let live = self.chain.live();
        let (sequence, base) = live.map_or((0, 0), |live| (live.sequence, live.base));
        Error::segment(self.files.segment(sequence), base, source)
    }

    /// Seals the live segment and begins the next.
    fn rotate(&mut self) -> Result<()> {
        self.sync_live()?;
        self.seal()
    }

    /// Begins the next segment behind the live one, which is synced.
    fn seal(&mut self) -> Result<()> {
        let edge = self.edge();
        let Some(live) = self.chain.live().copied() else {
            return Ok(());
        };
        if edge.documents == 0 {
            // Nothing is in it: the new one takes its place.
            return self.begin(live.from, live.base);
        }
        self.begin(Some((live.sequence, edge)), self.end())
    }

    /// Seals the live segment, if anything is in it, and discards what the policy lets go.
    pub(super) fn rotate_now(&mut self) -> Result<()> {
        if self.edge().documents > 0 {
            self.rotate()?;
        } else {
            self.sync()?;
        }
        self.retain()
    }

    /// Begins a segment behind `from`, from which on all others are void.
    fn begin(&mut self, from: Option<(u64, Edge)>, base: u64) -> Result<()> {
        let birth = Birth {
            journal: self.chain.journal,
            sequence: self.next_sequence,
            base,
            from,
            salt: self.random.next(),
        };
        let Edge {
            documents, offset, ..
        } = self.edge();
        let _span = Span::rotate(birth.sequence, base, documents, offset);
        let (link, buffer) = birth.happen(&self.files, &self.options)?;
        self.next_sequence = self.next_sequence.saturating_add(1);
        let mut sealed = std::mem::replace(&mut self.buffer, buffer);
        let was = self.chain.live().map(|live| live.sequence);
        let kept = from.map_or(0, |(sequence, _)| sequence);
        let void = &mut self.void;
        let chain = Arc::make_mut(&mut self.chain);
        chain.links.retain(|link| {
            let stays = link.sequence <= kept;
            if !stays {
                void.push(link.sequence);
            }
            stays
        });
        if let (Some(last), Some((_, edge))) = (chain.links.last_mut(), from) {
            if self.usable && was == Some(last.sequence) && last.end.is_none() {
                sealed.trim();
            }
            last.end = Some(edge);
        }
        chain.links.push(link);
        self.edge = self.buffer.edge();
        (self.usable, self.failed, self.synced) = (true, false, base);
        match self.remove_void() {
            Err(error @ Error::Failed { .. }) => Err(error),
            // What is void is so without it: this is tried again, at the latest by the next opening.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Removes what was cut away, durably.
    fn remove_void(&mut self) -> Result<()> {
        if self.void.is_empty() {
            return Ok(());
        }
        for sequence in &self.void {
            self.files.remove(&name(*sequence))?;
        }
        self.files.sync().map_err(Error::last)?;
        self.void.clear();
        Ok(())
    }

    /// Keeps the oldest documents, up to `end`. Durable on return, and all or nothing.
    pub(super) fn truncate_after(&mut self, end: u64) -> Result<()> {
        let span = Span::truncate(end, self.end().saturating_sub(end));
        let cut = self.cut(end);
        span.ended(&cut);
        cut
    }

    fn cut(&mut self, end: u64) -> Result<()> {
        let (first, last) = (self.chain.first(), self.end());
        if end > last {
            return Err(Error::BeyondEnd {
                position: end,
                end: last,
            });
        }
        if end < first {
            return Err(Error::Discarded {
                position: end,
                first,
            });
        }
        if end == last {
            return self.sync();
        }
        // What stays must be durable before it is said to be what stays.
        self.sync_live()?;
        let cut = match self.chain.holder(end).copied() {
            Some(link) if link.base == end => link
                .from
                .filter(|(from, _)| self.chain.link(*from).is_some()),
            Some(link) => Some((link.sequence, self.edge_at(&link, end)?)),
            None => None,
        };
        let from = match (cut, self.chain.links.first()) {
            (Some(cut), _) => Some(cut),
            // At the oldest end: whatever that continued stays named.
            (None, Some(oldest)) => oldest.from,
            (None, None) => None,
        };
        self.begin(from, end)
    }

    /// Where the documents below `end` end in the segment that holds them.
    fn edge_at(&self, link: &Link, end: u64) -> Result<Edge> {
        let limit = link.end.unwrap_or(self.edge());
        let mut reader = SegmentReader::open(&self.files, link, link.start, limit.offset)?;
        reader.skip_to(end)?;
        Ok(reader.edge())
    }

    /// Removes segments all of whose documents stand before `position`, the oldest first; the live one stays.
    pub(super) fn discard_before(&mut self, position: u64) -> Result<u64> {
        let (first, segments) = (self.chain.first(), self.chain.links.len());
        let span = Span::discard(position);
        let discarded = self.discard(position);
        let documents = self.chain.first().saturating_sub(first);
        span.discarded(documents, segments.saturating_sub(self.chain.links.len()));
        span.ended(&discarded);
        discarded
    }

    fn discard(&mut self, position: u64) -> Result<u64> {
        self.settle()?;
        // A gap in the numbers with one below it looks like a loss.
        self.remove_void()?;
        let goes = |link: &Link| link.end_position().is_some_and(|end| end <= position);
        while let Some(oldest) = self.chain.links.first().copied().filter(goes) {
            self.remove(oldest.sequence)?;
            Arc::make_mut(&mut self.chain).links.remove(0);
            self.files.sync().map_err(Error::last)?;
        }
        Ok(self.chain.first())
    }

    /// Removes a file. On an error it is still there, or the error is final.
    fn remove(&self, sequence: u64) -> Result<()> {
        let name = name(sequence);
        let Err(error) = self.files.remove(&name) else {
            return Ok(());
        };
        match self.files.list() {
            Ok(names) if names.contains(&name) => Err(error),
            Ok(_) => Ok(()),
            Err(_) => Err(error.last()),
        }
    }

    /// Discards what the policy lets go.
    pub(super) fn retain(&mut self) -> Result<()> {
        let Retention {
            bytes,
            age,
            snapshot,
        } = self.options.retention;
        let mut before = u64::MAX;
        if let Some(bytes) = bytes {
            before = before.min(self.older_than_bytes(bytes));
        }
        if let Some(age) = age {
            let age = u64::try_from(age.as_micros()).unwrap_or(u64::MAX);
            let since = self.options.clock.wall_micros().saturating_sub(age);
            // All of a segment is older than the one behind it.
            let young = self
                .chain
                .links
                .iter()
                .skip(1)
                .find(|next| next.born > since);
            let link = match young {
                Some(next) => next.from.and_then(|(from, _)| self.chain.link(from)),
                None => self.chain.live(),
            };
            before = before.min(link.map_or(0, |link| link.base));
        }
        if snapshot {
            before = before.min(self.newest_snapshot()?);
        }
        if before == u64::MAX {
            return Ok(());
        }
        self.discard_before(before).map(drop)
    }

    /// Position of the newest snapshot that can be loaded; without one, 0.
    fn newest_snapshot(&self) -> Result<u64> {
        let snapshots = Snapshots::new(self.files.directory().clone());
        let newest = newest_good(&snapshots, &self.files, &self.chain, self.edge(), |_| true)?;
        Ok(newest.map_or(0, |(head, _)| head.mark.position))
    }

    /// Everything before this position is more than `bytes` bytes of segments back.
    fn older_than_bytes(&self, bytes: u64) -> u64 {
        let mut kept = self.edge().offset;
        for link in self.chain.links.iter().rev().skip(1) {
            if kept >= bytes {
                return link.end_position().unwrap_or(0);
            }
            kept = kept.saturating_add(link.len());
        }
        0
    }

    /// The last thing a journal does: everything durable, and the next opening cheap.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.sync()?;
        if self.usable && self.edge().offset > SMALL {
            // There is no need for it: where there is no room, the next opening reads a little more.
            if let Err(error @ Error::Failed { .. }) = self.rotate() {
                return Err(error);
            }
        } else if self.usable {
            self.buffer.trim();
        }
        Ok(())
    }
}

/// Whether a sync failed, now or before.
fn is_sync(error: &buffer::Error) -> bool {
    matches!(
        error,
        buffer::Error::Poisoned { .. }
            | buffer::Error::Io {
                action: buffer::Action::Sync,
                ..
            }
    )
}

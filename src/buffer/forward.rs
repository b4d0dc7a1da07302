//! Reads records forward, in constant memory: the one walk under opening, scanning and replay.

use std::io::{Read, Seek};

use super::check::{self, Checker, Fault, Judge, Record};
use super::control::{self, Batch, Control, SEGMENT};
use super::error::{Error, Feature, Result};
use super::format::{self, Edge, Kind, MAX_PAYLOAD, Salt, TAIL_LEN, Word};
use super::io;
use super::report::Reason;

/// Bytes read at once. More was not faster (`benches/README.md`).
pub(crate) const WINDOW: usize = 512 << 10;

/// A document and where it stands.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Document<'a> {
    /// How many documents are older.
    pub position: u64,
    /// Where its record begins in the store.
    pub offset: u64,
    /// Checksum of its record: with the offset, the name of this document and all before it.
    pub crc: u32,
    /// The document.
    pub bytes: &'a [u8],
}

impl std::fmt::Debug for Document<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Document")
            .field("position", &self.position)
            .field("offset", &self.offset)
            .field("len", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// Why a walk stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The caller asked to.
    Asked,
    /// At the limit, which is a record boundary.
    Boundary,
    /// At an END that counts right.
    End,
    /// At bytes that are no record of this log.
    Fault(Reason),
}

/// Whether to go on behind a document.
pub(crate) enum Next {
    Go,
    Stop,
}

/// What a walk does with documents.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Proves them and passes on; their length does not matter.
    Prove,
    /// Hands them over; one over the maximum is an error.
    Hand,
}

/// What is known of a journal's records on the way.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Journals {
    /// Whether there were any.
    met: bool,
    /// Batches that end by there are whole; further ones must be proven to be.
    pub(super) whole_until: u64,
    /// The walk is inside of a batch, where nothing but documents may stand.
    inside: bool,
}

pub(crate) struct Forward {
    judge: Judge,
    /// Behind the last good record.
    edge: Edge,
    pub(super) journals: Journals,
    /// Nothing is read from here on.
    limit: u64,
    max_document: usize,
    window: Vec<u8>,
    /// The bytes at `edge.offset` are `window[at..have]`.
    at: usize,
    have: usize,
    /// A record longer than the window.
    large: Vec<u8>,
}

impl Forward {
    pub(crate) fn new(salt: Salt, edge: Edge, limit: u64, max_document: usize) -> Result<Forward> {
        let size = limit.saturating_sub(edge.offset).min(WINDOW as u64);
        Ok(Forward {
            judge: Judge::new(salt),
            edge,
            journals: Journals::default(),
            limit,
            max_document,
            window: io::zeros(size as usize)?,
            at: 0,
            have: 0,
            large: Vec::new(),
        })
    }

    pub(crate) fn salt(&self) -> Salt {
        self.judge.salt()
    }

    pub(crate) fn edge(&self) -> Edge {
        self.edge
    }

    /// Whether there stood what only a journal writes.
    pub(crate) fn met_journal(&self) -> bool {
        self.journals.met
    }

    /// The newest document handed over lies this far before the edge in the window, or is `large`.
    pub(crate) fn handed(&self, len: usize) -> &[u8] {
        let large = self.large.len().checked_sub(format::OVERHEAD);
        let record = if large == Some(len) {
            Some(self.large.as_slice())
        } else {
            let start = self.at.checked_sub(len.saturating_add(format::OVERHEAD));
            start.and_then(|start| self.window.get(start..self.at))
        };
        record
            .and_then(|record| record.get(format::HEAD_LEN..)?.get(..len))
            .unwrap_or_default()
    }

    /// Gives the memory back until the walk goes on.
    pub(crate) fn release(&mut self) {
        (self.at, self.have) = (0, 0);
        self.window = Vec::new();
        self.large = Vec::new();
    }

    /// Forgets what was read ahead and looks no further than `limit` from now on.
    pub(crate) fn relimit(&mut self, limit: u64) -> Result<()> {
        self.limit = limit;
        (self.at, self.have) = (0, 0);
        let size = limit.saturating_sub(self.edge.offset).min(WINDOW as u64) as usize;
        if self.window.len() < size {
            self.window = io::zeros(size)?;
        }
        Ok(())
    }

    /// Walks from record to record until something stops it; `each` gets every document.
    pub(crate) fn walk<S: Read + Seek>(
        &mut self,
        store: &mut S,
        mode: Mode,
        mut each: impl FnMut(Document<'_>) -> Next,
    ) -> Result<Stop> {
        self.large = Vec::new();
        loop {
            match self.walk_window(mode, &mut each)? {
                Ok(stop) => return Ok(stop),
                Err(Fault::Bad(reason)) => return Ok(Stop::Fault(reason)),
                Err(Fault::Short(need)) => {
                    let left = self.limit.saturating_sub(self.edge.offset);
                    let held = (self.have - self.at) as u64;
                    if left == 0 {
                        return Ok(Stop::Boundary);
                    } else if held < left.min(format::WORD_LEN as u64) {
                        // Its first word says more than that it is cut.
                        self.refill(store)?;
                    } else if (need as u64) > left {
                        return Ok(Stop::Fault(Reason::Cut));
                    } else if need <= self.window.len() {
                        self.refill(store)?;
                    } else if let Some(stop) = self.walk_longer(store, need, mode, &mut each)? {
                        return Ok(stop);
                    }
                }
            }
        }
    }

    /// The part of the walk that lies in memory.
    fn walk_window(
        &mut self,
        mode: Mode,
        each: &mut impl FnMut(Document<'_>) -> Next,
    ) -> Result<Result<Stop, Fault>> {
        let mut rest = self.window.get(self.at..self.have).unwrap_or_default();
        let max = (mode == Mode::Hand).then_some(self.max_document);
        let (edge, journals) = (&mut self.edge, &mut self.journals);
        let stop = walk_bytes(&self.judge, edge, &mut rest, journals, max, each);
        self.at = self.have - rest.len();
        stop
    }

    /// Reads on behind what is in the window.
    fn refill<S: Read + Seek>(&mut self, store: &mut S) -> Result<()> {
        if self.window.is_empty() {
            let left = self.limit.saturating_sub(self.edge.offset);
            self.window = io::zeros(left.min(WINDOW as u64) as usize)?;
        }
        self.window.copy_within(self.at..self.have, 0);
        self.have -= self.at;
        self.at = 0;
        let from = self.edge.offset.saturating_add(self.have as u64);
        let left = self.limit.saturating_sub(from);
        let room = self.window.get_mut(self.have..).unwrap_or_default();
        let take = room.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let room = room.get_mut(..take).unwrap_or_default();
        io::read_exact(store, from, room)?;
        self.have += take;
        Ok(())
    }

    /// What is longer than the window: a record, or a batch behind a record that lies in it.
    fn walk_longer<S: Read + Seek>(
        &mut self,
        store: &mut S,
        need: usize,
        mode: Mode,
        each: &mut impl FnMut(Document<'_>) -> Next,
    ) -> Result<Option<Stop>> {
        let bytes = self.window.get(self.at..self.have).unwrap_or_default();
        let word = bytes.first_chunk().map(|word| u32::from_le_bytes(*word));
        match word.and_then(Word::parse) {
            Some(word) if word.record_len() < need => self.walk_batch(store, need),
            _ => self.walk_large(store, need, mode, each),
        }
    }

    /// A batch longer than the window: it is proven as a whole before its first document is handed over.
    fn walk_batch<S: Read + Seek>(&mut self, store: &mut S, need: usize) -> Result<Option<Stop>> {
        let offset = self.edge.offset;
        let bytes = self.window.get(self.at..self.have).unwrap_or_default();
        let Ok(record) = self.judge.check(offset, bytes) else {
            return Ok(Some(Stop::Fault(Reason::Kind)));
        };
        let Control::Batch(batch) = control::read(record.payload) else {
            return Ok(Some(Stop::Fault(Reason::Kind)));
        };
        let first = Edge {
            offset: offset.saturating_add(record.len() as u64),
            tip: record.crc,
            ..self.edge
        };
        let end = offset.saturating_add(need as u64);
        // One window at a time.
        self.release();
        let mut inner = Forward::new(self.salt(), first, end, MAX_PAYLOAD)?;
        inner.journals.inside = true;
        let stop = inner.walk(store, Mode::Prove, |_| Next::Go)?;
        let documents = inner.edge().documents - first.documents;
        if stop != Stop::Boundary || documents != u64::from(batch.documents) {
            return Ok(Some(Stop::Fault(Reason::Batch)));
        }
        self.journals.whole_until = end;
        Ok(None)
    }

    /// One record longer than the window. Its tail is looked at before memory is asked for.
    fn walk_large<S: Read + Seek>(
        &mut self,
        store: &mut S,
        need: usize,
        mode: Mode,
        each: &mut impl FnMut(Document<'_>) -> Next,
    ) -> Result<Option<Stop>> {
        let len = need - format::OVERHEAD;
        let offset = self.edge.offset;
        let mut first = [0; format::HEAD_LEN + 1];
        io::read_exact(store, offset, &mut first)?;
        let [w0, w1, w2, w3, .., code] = first;
        let word = Word::parse(u32::from_le_bytes([w0, w1, w2, w3]));
        let Some(word) = word.filter(|word| word.record_len() == need) else {
            return Ok(Some(Stop::Fault(Reason::Kind)));
        };
        let found = match prove(store, self.salt(), offset, word, &mut self.window)? {
            Ok(found) => found,
            Err(reason) => return Ok(Some(Stop::Fault(reason))),
        };
        (self.at, self.have) = (0, 0);
        let (crc, before) = found;
        if before != self.edge.tip {
            return Ok(Some(Stop::Fault(Reason::Link)));
        }
        if word.kind() == Kind::Control {
            return self.pass_control(code, need, crc);
        }
        let position = self.edge.documents;
        if mode == Mode::Hand {
            if len > self.max_document {
                return Err(too_large(len, self.max_document));
            }
            // The last one's memory goes first.
            self.large = Vec::new();
            self.large = io::zeros(need)?;
            io::read_exact(store, offset, &mut self.large)?;
            if check::check(self.salt(), offset, &self.large).is_err() {
                let reason = Reason::Checksum;
                return Err(Error::Corrupt { offset, reason });
            }
        }
        self.edge = Edge {
            offset: offset + need as u64,
            tip: crc,
            documents: position + 1,
            bytes: self.edge.bytes + len as u64,
        };
        if mode == Mode::Prove {
            return Ok(None);
        }
        let bytes = self.handed(len);
        let document = Document {
            position,
            offset,
            crc,
            bytes,
        };
        Ok(matches!(each(document), Next::Stop).then_some(Stop::Asked))
    }

    /// A control record longer than the window, which is linked.
    fn pass_control(&mut self, code: u8, len: usize, crc: u32) -> Result<Option<Stop>> {
        let offset = self.edge.offset;
        if self.journals.inside {
            return Ok(Some(Stop::Fault(Reason::Batch)));
        }
        // No other of this version is as long.
        if code != SEGMENT || offset != format::FIRST {
            return Err(unknown(code, offset));
        }
        self.journals.met = true;
        self.edge.offset = offset.saturating_add(len as u64);
        self.edge.tip = crc;
        Ok(None)
    }
}

/// Walks over the records at the front of `rest`, which begins at `edge`, and moves both behind them. The
/// outer result is an error of the walk, the inner one says what stopped it. Documents of more than `max`
/// bytes are an error.
#[inline]
pub(crate) fn walk_bytes<'a>(
    judge: &Judge,
    edge: &mut Edge,
    rest: &mut &'a [u8],
    journals: &mut Journals,
    max: Option<usize>,
    each: &mut impl FnMut(Document<'a>) -> Next,
) -> Result<Result<Stop, Fault>> {
    let max = max.unwrap_or(usize::MAX);
    let mut at = *edge;
    let mut bytes = *rest;
    let stop = loop {
        let record = match judge.check(at.offset, bytes) {
            Ok(record) => record,
            Err(fault) => break Ok(Err(fault)),
        };
        if record.before != at.tip {
            break Ok(Err(Fault::Bad(Reason::Link)));
        }
        let mut next = Next::Go;
        match record.word.kind() {
            Kind::Document if record.payload.len() > max => {
                break Err(too_large(record.payload.len(), max));
            }
            Kind::Document => {
                next = each(Document {
                    position: at.documents,
                    offset: at.offset,
                    crc: record.crc,
                    bytes: record.payload,
                });
                at.documents += 1;
                at.bytes += record.payload.len() as u64;
            }
            Kind::Mark | Kind::Control if journals.inside => {
                break Ok(Err(Fault::Bad(Reason::Batch)));
            }
            Kind::Mark => {}
            Kind::Control => {
                let behind = bytes.get(record.len()..).unwrap_or_default();
                match read_control(judge, &record, &at, behind, journals) {
                    Ok(None) => {}
                    Ok(Some(stop)) => break Ok(stop),
                    Err(error) => break Err(error),
                }
            }
        }
        at.offset += record.len() as u64;
        at.tip = record.crc;
        bytes = bytes.get(record.len()..).unwrap_or_default();
        if let Next::Stop = next {
            break Ok(Ok(Stop::Asked));
        }
    };
    *edge = at;
    *rest = bytes;
    stop
}

fn too_large(len: usize, max: usize) -> Error {
    Error::TooLarge {
        len: len as u64,
        max: max as u64,
    }
}

fn unknown(code: u8, offset: u64) -> Error {
    Error::Unsupported {
        what: Feature::ControlCode,
        number: code.into(),
        offset,
    }
}

/// What a control record, which is linked, does to a walk; `None` where it goes on behind it.
#[cold]
fn read_control(
    judge: &Judge,
    record: &Record<'_>,
    edge: &Edge,
    behind: &[u8],
    journals: &mut Journals,
) -> Result<Option<Result<Stop, Fault>>> {
    match control::read(record.payload) {
        Control::End { documents, bytes } => {
            let right = (documents, bytes) == (edge.documents, edge.bytes);
            Ok(Some(
                right.then_some(Stop::End).ok_or(Fault::Bad(Reason::Count)),
            ))
        }
        Control::Segment if edge.offset == format::FIRST => {
            journals.met = true;
            Ok(None)
        }
        Control::Segment => Err(unknown(SEGMENT, edge.offset)),
        Control::Batch(batch) => {
            let behind_it = edge.offset.saturating_add(record.len() as u64);
            let known = behind_it.saturating_add(batch.bytes) <= journals.whole_until;
            let whole = match known {
                true => Ok(()),
                false => prove_batch(judge, record, edge, behind, batch),
            };
            journals.met |= whole.is_ok();
            Ok(whole.err().map(Err))
        }
        Control::Unknown(code) => Err(unknown(code, edge.offset)),
    }
}

/// Whether the documents of a batch are all there, in `behind`.
fn prove_batch(
    judge: &Judge,
    record: &Record<'_>,
    edge: &Edge,
    behind: &[u8],
    batch: Batch,
) -> Result<(), Fault> {
    let bad = Fault::Bad(Reason::Batch);
    let len = usize::try_from(batch.bytes).map_err(|_| bad)?;
    let Some(mut rest) = behind.get(..len) else {
        return Err(Fault::Short(record.len().saturating_add(len)));
    };
    let (mut offset, mut tip) = (edge.offset.saturating_add(record.len() as u64), record.crc);
    for _ in 0..batch.documents {
        let Ok(next) = judge.check(offset, rest) else {
            return Err(bad);
        };
        if next.before != tip || next.word.kind() != Kind::Document {
            return Err(bad);
        }
        tip = next.crc;
        offset = offset.saturating_add(next.len() as u64);
        rest = rest.get(next.len()..).unwrap_or_default();
    }
    if rest.is_empty() { Ok(()) } else { Err(bad) }
}

/// Proves the record at `offset`, whose word is known, through `buf`; its tail first, since a length that
/// is not one should cost no more than 8 bytes. The record must lie within the store.
pub(crate) fn prove<S: Read + Seek>(
    store: &mut S,
    salt: Salt,
    offset: u64,
    word: Word,
    buf: &mut [u8],
) -> Result<Result<(u32, u32), Reason>> {
    let need = word.record_len();
    let mut end = [0; TAIL_LEN];
    let tail_at = offset.saturating_add((need - TAIL_LEN) as u64);
    io::read_exact(store, tail_at, &mut end)?;
    if end.last_chunk() != Some(&word.tail().to_le_bytes()) {
        return Ok(Err(Reason::Trailer));
    }
    let mut checker = Checker::new(salt, offset, word);
    let mut done = 0;
    while done < need {
        let take = buf.len().min(need - done);
        if take == 0 {
            return Ok(Err(Reason::Cut));
        }
        let piece = buf.get_mut(..take).unwrap_or_default();
        io::read_exact(store, offset.saturating_add(done as u64), piece)?;
        checker.update(piece);
        done += take;
    }
    Ok(checker.finish(&end))
}

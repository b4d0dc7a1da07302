//! Reads records backward, newest first, without an index: each record's tail says how long it is.

use std::io::{Read, Seek};

use super::check::{self, Fault};
use super::error::{Error, Result};
use super::format::{Edge, FIRST, HEAD_LEN, Kind, OVERHEAD, Salt, TAIL_LEN, Word};
use super::forward::{WINDOW, prove};
use super::io;
use super::report::Reason;

/// How much is asked of a record that is walked over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Proof {
    /// First word, link and last word must fit together.
    Frame,
    /// Every byte is proven.
    Whole,
    /// Proven, and kept for the caller.
    Hand,
}

/// Walks down from an edge, one window in memory.
pub(crate) struct Backward {
    salt: Salt,
    /// Everything above is done.
    pub(super) edge: Edge,
    max_document: usize,
    window: Vec<u8>,
    /// `window[..have]` are the store's bytes right below the edge.
    have: usize,
    /// A record longer than the window, in hand.
    large: Vec<u8>,
    /// Payload bytes of the document in hand.
    len: usize,
}

impl Backward {
    pub(crate) fn new(salt: Salt, edge: Edge, max_document: usize) -> Result<Backward> {
        let size = edge.offset.saturating_sub(FIRST).min(WINDOW as u64);
        Ok(Backward {
            salt,
            edge,
            max_document,
            window: io::zeros(size as usize)?,
            have: 0,
            large: Vec::new(),
            len: 0,
        })
    }

    /// Takes the next older document in hand; `false` below the oldest.
    pub(crate) fn next<S: Read + Seek>(&mut self, store: &mut S) -> Result<bool> {
        self.large = Vec::new();
        while self.edge.offset > FIRST {
            let word = self.step(store, Proof::Hand)?;
            if word.kind() == Kind::Document {
                self.len = word.payload_len();
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The document in hand.
    pub(crate) fn handed(&self) -> &[u8] {
        let record = if self.large.is_empty() {
            self.window.get(self.have..)
        } else {
            Some(self.large.as_slice())
        };
        record
            .and_then(|record| record.get(HEAD_LEN..)?.get(..self.len))
            .unwrap_or_default()
    }

    /// Passes the newest `documents` by their frames alone, and proves the one that is the newest then.
    pub(crate) fn skip<S: Read + Seek>(&mut self, store: &mut S, documents: u64) -> Result<Edge> {
        let target = self.edge.documents.saturating_sub(documents);
        while self.edge.documents > target {
            self.step(store, Proof::Frame)?;
        }
        let landed = self.edge;
        while self.edge.offset > FIRST && self.step(store, Proof::Whole)?.kind() != Kind::Document {
        }
        Ok(landed)
    }

    /// Moves the edge below one record.
    fn step<S: Read + Seek>(&mut self, store: &mut S, proof: Proof) -> Result<Word> {
        if self.have < OVERHEAD {
            self.refill(store)?;
        }
        let at = self.edge.offset;
        let window = self.window.get(..self.have).unwrap_or_default();
        let word = window
            .last_chunk()
            .and_then(|tail| Word::from_tail(u32::from_le_bytes(*tail)));
        let place = word.and_then(|word| {
            let offset = at.checked_sub(word.record_len() as u64)?;
            (offset >= FIRST).then_some((word, offset))
        });
        let Some((word, offset)) = place else {
            let reason = Reason::Trailer;
            return Err(Error::Corrupt { offset: at, reason });
        };
        let below = self.below(word, offset)?;
        if self.have < word.record_len() && word.record_len() <= self.window.len() {
            self.refill(store)?;
        }
        let (crc, before) = if self.have >= word.record_len() {
            self.judge(word, offset, proof)
        } else {
            self.judge_large(store, word, offset, proof)?
        }?;
        if crc != self.edge.tip {
            let reason = Reason::Link;
            return Err(Error::Corrupt { offset, reason });
        }
        self.have = self.have.saturating_sub(word.record_len());
        self.edge = Edge {
            tip: before,
            ..below
        };
        Ok(word)
    }

    /// The edge below a record, but for its tip.
    fn below(&self, word: Word, offset: u64) -> Result<Edge> {
        let (documents, bytes) = match word.kind() {
            Kind::Document => (1, word.payload_len() as u64),
            _ => (0, 0),
        };
        let documents = self.edge.documents.checked_sub(documents);
        match documents.zip(self.edge.bytes.checked_sub(bytes)) {
            Some((documents, bytes)) => Ok(Edge {
                offset,
                tip: 0,
                documents,
                bytes,
            }),
            None => Err(Error::Corrupt {
                offset,
                reason: Reason::Count,
            }),
        }
    }

    /// Whether this is a document over the limit; a control record is never handed over.
    fn is_too_large(&self, word: Word) -> bool {
        word.kind() == Kind::Document && word.payload_len() > self.max_document
    }

    fn refill<S: Read + Seek>(&mut self, store: &mut S) -> Result<()> {
        let left = self.edge.offset.saturating_sub(FIRST);
        let size = self
            .window
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        self.have = 0;
        let window = self.window.get_mut(..size).unwrap_or_default();
        io::read_exact(store, self.edge.offset.saturating_sub(size as u64), window)?;
        self.have = size;
        Ok(())
    }

    /// Checksum of the window's last record, and of the record before it.
    fn judge(&self, word: Word, offset: u64, proof: Proof) -> Result<(u32, u32)> {
        let corrupt = |reason| Error::Corrupt { offset, reason };
        let start = self.have.saturating_sub(word.record_len());
        let bytes = self.window.get(start..self.have).unwrap_or_default();
        if proof == Proof::Hand && self.is_too_large(word) {
            return Err(too_large(word, self.max_document));
        }
        if proof == Proof::Frame {
            let (head, tail) = (bytes.first_chunk(), bytes.last_chunk());
            let frame = head
                .zip(tail)
                .and_then(|(head, tail)| check::frame_of(word, head, tail));
            return frame.ok_or(corrupt(Reason::Trailer));
        }
        match check::check(self.salt, offset, bytes) {
            Ok(record) if record.word == word => Ok((record.crc, record.before)),
            Err(Fault::Bad(reason)) => Err(corrupt(reason)),
            _ => Err(corrupt(Reason::Trailer)),
        }
    }

    /// The same for a record longer than the window.
    fn judge_large<S: Read + Seek>(
        &mut self,
        store: &mut S,
        word: Word,
        offset: u64,
        proof: Proof,
    ) -> Result<Result<(u32, u32)>> {
        let corrupt = |reason| Err(Error::Corrupt { offset, reason });
        if proof == Proof::Hand && self.is_too_large(word) {
            return Ok(Err(too_large(word, self.max_document)));
        }
        self.have = 0;
        let mut head = [0; HEAD_LEN];
        let mut tail = [0; TAIL_LEN];
        io::read_exact(store, offset, &mut head)?;
        io::read_exact(
            store,
            self.edge.offset.saturating_sub(TAIL_LEN as u64),
            &mut tail,
        )?;
        let Some(frame) = check::frame_of(word, &head, &tail) else {
            return Ok(corrupt(Reason::Trailer));
        };
        if proof == Proof::Frame {
            return Ok(Ok(frame));
        }
        match prove(store, self.salt, offset, word, &mut self.window)? {
            Ok(proven) if proven == frame => {}
            Ok(_) => return Ok(corrupt(Reason::Checksum)),
            Err(reason) => return Ok(corrupt(reason)),
        }
        if proof == Proof::Hand {
            self.large = io::zeros(word.record_len())?;
            io::read_exact(store, offset, &mut self.large)?;
            if check::check(self.salt, offset, &self.large).is_err() {
                return Ok(corrupt(Reason::Checksum));
            }
        }
        Ok(Ok(frame))
    }
}

fn too_large(word: Word, max: usize) -> Error {
    Error::TooLarge {
        len: word.payload_len() as u64,
        max: max as u64,
    }
}

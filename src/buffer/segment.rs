//! What a journal needs of the buffer: segments begun and gone on with, groups of records written at once,
//! batches.

use byteorder::{ByteOrder, LittleEndian as LE};

use super::backward::Backward;
use super::block::Block;
use super::control::{self, BATCH, BATCH_PAYLOAD, Batch, SEGMENT, SEGMENT_FRONT};
use super::deque::Deque;
use super::error::{Error, Result};
use super::format::{self, Edge, FIRST, Kind, MARK_LEN, OVERHEAD, Salt, Word};
use super::forward::Forward;
use super::header;
use super::open::Hooks;
use super::recover;
use super::report::{End, Reason, Recovery};
use super::{DocumentBuffer, Options, check, io};
use crate::store::Store;

/// The longest name of a codec, in bytes.
pub(crate) const MAX_CODEC: usize = 255;

/// What a journal's segment says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) journal: u128,
    pub(crate) sequence: u64,
    pub(crate) base: u64,
    pub(crate) born: u64,
    /// The segment that it continues, and where that one ends for it.
    pub(crate) from: Option<(u64, Edge)>,
    pub(crate) codec: String,
}

impl Segment {
    fn payload(&self) -> Vec<u8> {
        let codec = self.codec.as_bytes();
        let codec = codec.get(..MAX_CODEC).unwrap_or(codec);
        let mut front = [0; SEGMENT_FRONT];
        front[0] = SEGMENT;
        LE::write_u128(&mut front[1..17], self.journal);
        LE::write_u64(&mut front[17..25], self.sequence);
        LE::write_u64(&mut front[25..33], self.base);
        LE::write_u64(&mut front[33..41], self.born);
        if let Some((sequence, edge)) = &self.from {
            LE::write_u64(&mut front[41..49], *sequence);
            LE::write_u64(&mut front[49..57], edge.offset);
            LE::write_u32(&mut front[57..61], edge.tip);
            LE::write_u64(&mut front[61..69], edge.documents);
            LE::write_u64(&mut front[69..77], edge.bytes);
        }
        front[SEGMENT_FRONT - 1] = codec.len() as u8;
        [&front[..], codec].concat()
    }

    fn read(payload: &[u8]) -> Option<Segment> {
        let front = payload.first_chunk::<SEGMENT_FRONT>()?;
        let codec = payload.get(SEGMENT_FRONT..)?;
        if front[0] != SEGMENT || codec.len() != usize::from(front[SEGMENT_FRONT - 1]) {
            return None;
        }
        let edge = Edge {
            offset: LE::read_u64(&front[49..57]),
            tip: LE::read_u32(&front[57..61]),
            documents: LE::read_u64(&front[61..69]),
            bytes: LE::read_u64(&front[69..77]),
        };
        let from = LE::read_u64(&front[41..49]);
        Some(Segment {
            journal: LE::read_u128(&front[1..17]),
            sequence: LE::read_u64(&front[17..25]),
            base: LE::read_u64(&front[25..33]),
            born: LE::read_u64(&front[33..41]),
            from: (from != 0).then_some((from, edge)),
            codec: str::from_utf8(codec).ok()?.to_owned(),
        })
    }

    /// A store that holds this segment and no document: its bytes, its salt, and where records begin.
    pub(crate) fn store(&self, salt: Salt) -> (Vec<u8>, Edge) {
        let mut bytes = header::header(salt).to_vec();
        let mut edge = Edge::empty(salt);
        bytes.extend(control_record(salt, &mut edge, &self.payload()));
        bytes.extend(format::end(salt, &edge));
        (bytes, edge)
    }
}

/// A control record at `edge`, which moves behind it.
fn control_record(salt: Salt, edge: &mut Edge, payload: &[u8]) -> Vec<u8> {
    let word = Word::control(payload.len());
    let frame = format::around(salt, edge, word, crc32fast::hash(payload));
    edge.offset += word.record_len() as u64;
    edge.tip = frame.crc;
    [&frame.head[..], payload, &frame.tail].concat()
}

impl Forward {
    /// All is known to be there up to the limit, where a batch may have been cut on purpose.
    pub(crate) fn take_batches_as_they_are(&mut self) {
        self.journals.whole_until = u64::MAX;
    }
}

impl Backward {
    /// Below the document in hand.
    pub(crate) fn edge(&self) -> Edge {
        self.edge
    }
}

/// The head of a segment's store: its salt, what it says of itself, and where its documents begin.
pub(crate) struct Head {
    pub(crate) salt: Salt,
    pub(crate) segment: Segment,
    pub(crate) start: Edge,
}

/// Bytes at the front of a store in which a segment's head lies.
pub(crate) const HEAD_REACH: usize = FIRST as usize + SEGMENT_FRONT + MAX_CODEC + OVERHEAD;

/// Reads the head from the first [`HEAD_REACH`] bytes of a store, or all that there are.
pub(crate) fn read_head(front: &[u8]) -> Result<Head> {
    let len = front.len() as u64;
    let corrupt = |offset, reason| Error::Corrupt { offset, reason };
    let salt = recover::identify(&mut std::io::Cursor::new(front), len)?;
    let salt = salt.ok_or(corrupt(0, Reason::Header))?;
    let record = front.get(FIRST as usize..).unwrap_or_default();
    let record = check::check(salt, FIRST, record).map_err(|fault| match fault {
        check::Fault::Bad(reason) => corrupt(FIRST, reason),
        check::Fault::Short(_) => corrupt(FIRST, Reason::Cut),
    })?;
    if record.before != salt.first_link() {
        return Err(corrupt(FIRST, Reason::Link));
    }
    let segment = match record.word.kind() {
        Kind::Control => Segment::read(record.payload),
        _ => None,
    };
    let segment = segment.ok_or(corrupt(FIRST, Reason::Kind))?;
    let start = Edge {
        offset: FIRST.saturating_add(record.len() as u64),
        tip: record.crc,
        ..Edge::empty(salt)
    };
    Ok(Head {
        salt,
        segment,
        start,
    })
}

impl Block {
    /// Adds the BATCH that `documents` documents of `bytes` bytes of payload in all need before them; there
    /// must be room for all of it.
    pub(crate) fn push_batch(&mut self, documents: u32, payload: u64) -> bool {
        let records = u64::from(documents).saturating_mul(OVERHEAD as u64);
        let batch = Batch {
            documents,
            bytes: payload.saturating_add(records),
        };
        let mut payload = [BATCH; BATCH_PAYLOAD];
        LE::write_u32(&mut payload[1..5], batch.documents);
        LE::write_u64(&mut payload[5..], batch.bytes);
        debug_assert_eq!(control::read(&payload), control::Control::Batch(batch));
        self.put(Word::control(payload.len()), &payload)
    }
}

/// What a BATCH takes, as a record.
pub(crate) const BATCH_LEN: usize = BATCH_PAYLOAD + OVERHEAD;

impl Block {
    /// How many bytes of records there is still room for.
    pub(crate) fn room(&self) -> usize {
        (MARK_LEN + self.capacity).saturating_sub(self.end)
    }

    /// Makes room for `capacity` bytes of records in all.
    pub(crate) fn grow(&mut self, capacity: usize) -> Result<()> {
        let mut larger = Block::new(capacity, None)?;
        larger.end = larger.end.saturating_add(self.len());
        larger.records_mut().copy_from_slice(self.records());
        larger.documents = self.documents;
        *self = larger;
        Ok(())
    }

    /// Keeps the oldest `len` bytes of records, which are `documents` documents.
    pub(crate) fn keep_oldest(&mut self, len: usize, documents: usize) {
        self.cut(len);
        self.documents = documents;
    }
}

impl<S: Store> DocumentBuffer<S> {
    /// The handle of a segment that was just born: all that stands in `store` is durable and ends at `edge`.
    pub(crate) fn newborn(
        store: S,
        salt: Salt,
        edge: Edge,
        options: &Options,
    ) -> DocumentBuffer<S> {
        DocumentBuffer {
            store,
            hooks: Some(Hooks::of_store()),
            salt: Some(salt),
            edge,
            deque: Deque::new(0, 0),
            max_document: options.max_document,
            random: options.random.clone(),
            needs_mark: false,
            end_at: Some(edge.offset),
            changed: false,
            settled: true,
            synced: true,
            poison: None,
            checkpoint: None,
            scratch: Vec::new(),
            recovery: Recovery {
                end: End::Clean,
                documents: edge.documents,
                bytes: edge.bytes,
                offset: edge.offset,
                store_len: edge.offset,
            },
            preserved: None,
        }
    }

    /// Where the records end.
    pub(crate) fn edge(&self) -> Edge {
        self.edge
    }

    /// Writes all records of `block`, and END behind them, in one write. The block keeps them.
    ///
    /// Durable on return: against the death of the process.
    pub(crate) fn write_block(&mut self, block: &mut Block) -> Result<()> {
        self.check_poison()?;
        let len = block.len();
        if len > 0 {
            self.write_run(Some(block), len, true)?;
        }
        io::flush(&mut self.store)
    }

    /// Syncs the store.
    pub(crate) fn sync_blocks(&mut self) -> Result<()> {
        self.check_poison()?;
        self.sync_store()
    }

    /// Cuts what lies behind the last END, as far as that works; nothing depends on it.
    pub(crate) fn trim(&mut self) {
        if let Some(end) = self.end_at {
            let _ = self
                .store
                .set_len(end.saturating_add(format::END_LEN as u64));
        }
    }
}

//! Stores made from the fuzzer's input, with checksums that hold, so that what lies behind the checksums is
//! reached.

use crate::Input;
use crate::reference as format;

/// A store of about `most` bytes at most; what it is made of, the next byte of the input says.
pub fn store(input: &mut Input<'_>, most: usize) -> Vec<u8> {
    match input.u8() {
        0x89 => b"\x89".iter().chain(input.bytes(most)).copied().collect(),
        raw if raw % 4 == 0 => input.bytes(most).to_vec(),
        mended if mended % 4 == 1 => mend(input, most),
        _ => Craft::new(input, most).run(input),
    }
}

/// The input as records whose lengths and payloads are its own, and whose link, checksum and tail are put
/// right, as far as the two top bits of the first word say so.
fn mend(input: &mut Input<'_>, most: usize) -> Vec<u8> {
    let salt = u64::from(input.u8());
    let mut store = format::header(salt, 1, 0).to_vec();
    store.extend(input.bytes(most));
    let mut tip = format::first_tip(salt);
    let (mut at, mut documents, mut sum) = (format::HEADER, 0, 0);
    while let Some(rest) = store.get(at..).filter(|rest| rest.len() >= 16) {
        let room = rest.len() - 15;
        let raw = u32::from_le_bytes(std::array::from_fn(|i| rest[i]));
        let (leave, word) = (raw >> 30, raw << 2 >> 2);
        let (len, word) = match word & 3 {
            0 => break,
            2 => (0, word),
            kind => {
                let len = (word >> 2) as usize % room;
                (len, (len as u32) << 2 | kind)
            }
        };
        let mut payload = rest[8..8 + len].to_vec();
        if word == format::control_word(17) && payload[0] & 0x80 != 0 {
            payload = format::end_payload(documents, sum);
        }
        let link = if leave == 1 { !tip } else { tip };
        let (mut record, crc) = format::record(salt, at as u64, link, word, &payload);
        if leave > 1 {
            record[len + 4 * leave as usize] ^= 0x10;
        }
        store[at..at + record.len()].copy_from_slice(&record);
        if word & 3 == 1 {
            documents += 1;
            sum += len as u64;
        }
        tip = crc;
        at += record.len();
    }
    store
}

/// What a writer knows of its end.
#[derive(Clone, Copy)]
struct Edge {
    at: usize,
    tip: u32,
    documents: u64,
    sum: u64,
}

struct Craft {
    most: usize,
    store: Vec<u8>,
    salt: u64,
    edge: Edge,
    /// Ends of before.
    past: Vec<Edge>,
}

impl Craft {
    fn new(input: &mut Input<'_>, most: usize) -> Craft {
        let salt = u64::from(input.u8()) << 56 | 1;
        let edge = Edge {
            at: format::HEADER,
            tip: format::first_tip(salt),
            documents: 0,
            sum: 0,
        };
        let mut craft = Craft {
            most,
            store: format::header(salt, 1, 0).to_vec(),
            salt,
            edge,
            past: vec![edge],
        };
        let how = input.u8();
        if how >= 192 {
            craft.segment(input, how & 15);
        }
        craft
    }

    fn run(mut self, input: &mut Input<'_>) -> Vec<u8> {
        while !input.is_empty() && self.store.len() < self.most {
            self.step(input);
        }
        self.store.truncate(self.most);
        self.store
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let op = input.u8();
        let flaw = op >> 4;
        match op & 15 {
            0..=1 => {
                let payload = self.payload(input);
                self.put(format::document_word(payload.len()), &payload, flaw);
            }
            2 => self.batch(input, flaw),
            3 => {
                // So that a journal's records stand also where they do not belong.
                let how = input.u8();
                match how & 3 {
                    0 => self.segment(input, how >> 4),
                    1 => self.claim(input, flaw),
                    _ => self.batch(input, 0),
                }
            }
            4 => self.put(format::mark_word(input.u32()), b"", flaw),
            5 => self.end(0, 0, flaw),
            6 => self.end(u64::from(input.u8()), u64::from(input.u16()), flaw),
            7 => {
                let payload = self.payload(input);
                self.put(format::control_word(payload.len()), &payload, flaw);
            }
            8 => {
                let len = input.len().min(self.most);
                self.write(&vec![if flaw & 1 == 0 { 0x00 } else { 0xFF }; len]);
            }
            9 => {
                let len = usize::from(input.u8());
                self.write(input.bytes(len));
            }
            10 => {
                let from = input.below(self.store.len());
                let len = input.len().min(self.store.len() - from);
                let copy = self.store[from..from + len].to_vec();
                self.write(&copy);
            }
            // Documents are taken back; what stood there stays.
            11 | 12 => self.edge = self.past[input.below(self.past.len())],
            13 => {
                let at = input.below(self.store.len());
                if let Some(byte) = self.store.get_mut(at) {
                    *byte ^= 1 << (flaw & 7);
                }
            }
            14 => {
                let keep = input.below(self.store.len() + 1);
                self.store.truncate(keep);
                self.store.resize(keep.max(self.edge.at), 0);
            }
            _ => self.odd(input, flaw),
        }
    }

    fn payload(&self, input: &mut Input<'_>) -> Vec<u8> {
        let how = input.u8();
        let len = input.len().min(self.most);
        let mut payload = match how % 4 {
            0 => input.bytes(len).to_vec(),
            1 => vec![0x00; len],
            2 => vec![how; len],
            // This very log inside a document.
            _ => {
                let from = input.below(self.store.len());
                self.store[from..].iter().copied().take(len).collect()
            }
        };
        payload.resize(len, how);
        payload
    }

    fn end(&mut self, documents: u64, sum: u64, flaw: u8) {
        let edge = self.edge;
        let documents = edge.documents.wrapping_add(documents);
        let payload = format::end_payload(documents, edge.sum.wrapping_add(sum));
        self.put(format::control_word(17), &payload, flaw);
        if flaw != 12 {
            // The next record goes over it.
            self.edge = edge;
        }
    }

    /// A SEGMENT; sometimes too short to be one.
    fn segment(&mut self, input: &mut Input<'_>, how: u8) {
        let more = match how {
            0..=7 => usize::from(input.u8() & 15),
            8..=11 => input.len(),
            _ => 0,
        };
        let mut payload = vec![how; (format::SEGMENT + more).min(self.most)];
        payload[0] = 3;
        payload.truncate(payload.len() - usize::from(how == 15));
        self.put(format::control_word(payload.len()), &payload, 0);
    }

    /// A BATCH with nothing to it: it takes what comes next.
    fn claim(&mut self, input: &mut Input<'_>, flaw: u8) {
        let documents = u32::from(input.u8());
        let bytes = match documents {
            255 => u64::MAX - u64::from(input.u8()),
            254 => u64::from(input.u32()) << 8,
            _ => u64::from(input.u16()),
        };
        let payload = format::batch_payload(documents, bytes);
        self.put(format::control_word(payload.len()), &payload, flaw);
    }

    /// A BATCH and its documents: whole, or as `flaw` says not quite.
    fn batch(&mut self, input: &mut Input<'_>, flaw: u8) {
        let mut inside = Vec::new();
        // Once in a while half a store of one: longer than a window where a store may be that long.
        let how = input.u8();
        let (different, most) = match how {
            0..=199 => (usize::from(how % 5), 0),
            _ => (1, self.most / 2),
        };
        for _ in 0..different {
            let payload = self.payload(input);
            let times = most / (payload.len() + 16) + 1;
            let record = (format::document_word(payload.len()), payload);
            inside.extend(std::iter::repeat_n(record, times));
        }
        let stranger = match flaw {
            1 => Some((format::mark_word(input.u32()), Vec::new())),
            2 => Some((format::control_word(13), format::batch_payload(0, 0))),
            3 => {
                let payload = self.payload(input);
                Some((format::control_word(payload.len()), payload))
            }
            4 => Some((format::control_word(17), format::end_payload(0, 0))),
            _ => None,
        };
        let at = input.below(inside.len() + 1);
        let documents = inside.len() as u32;
        inside.splice(at..at, stranger);
        let lens = inside.iter().map(|(_, payload)| payload.len() as u64 + 16);
        let bytes: u64 = lens.sum();
        let by = u64::from(input.u8() | 1);
        let (documents, bytes) = match flaw {
            5 => (documents.wrapping_add(by as u32), bytes),
            6 => (documents.wrapping_sub(by as u32), bytes),
            7 => (documents, bytes.wrapping_add(by)),
            8 => (documents, bytes.wrapping_sub(by)),
            _ => (documents, bytes),
        };
        let payload = format::batch_payload(documents, bytes);
        self.put(format::control_word(13), &payload, 0);
        // The last is left out, or bears the flaw.
        let keep = inside.len() - usize::from(flaw == 9 && !inside.is_empty());
        for (index, (word, payload)) in inside[..keep].iter().enumerate() {
            let last = index + 1 == keep;
            self.put(*word, payload, if last && flaw > 12 { flaw } else { 0 });
        }
    }

    fn put(&mut self, word: u32, payload: &[u8], flaw: u8) {
        let edge = self.edge;
        let shift = if flaw == 15 { 16 } else { 0 };
        let tip = if flaw == 14 { !edge.tip } else { edge.tip };
        let offset = edge.at as u64 + shift;
        let (mut record, crc) = format::record(self.salt, offset, tip, word, payload);
        if flaw == 13 {
            // A byte of what stands around the payload.
            let at = usize::from(edge.tip as u8 % 16);
            let at = if at < 8 { at } else { record.len() + 7 - at };
            record[at] ^= 0x04;
        }
        self.write(&record);
        self.edge.tip = crc;
        if word & 3 == 1 {
            self.edge.documents += 1;
            self.edge.sum += payload.len() as u64;
        }
        self.past.push(self.edge);
    }

    fn write(&mut self, bytes: &[u8]) {
        let at = self.edge.at;
        let end = at + bytes.len();
        if self.store.len() < end {
            self.store.resize(end, 0);
        }
        self.store[at..end].copy_from_slice(bytes);
        self.edge.at = end;
    }

    /// Headers of other kinds.
    fn odd(&mut self, input: &mut Input<'_>, how: u8) {
        let copies = format::header(self.salt, u16::from(how & 1), u16::from(input.u8()));
        let range = match how >> 1 & 3 {
            0 => 0..32,
            1 => 32..64,
            2 => 0..64,
            _ => 0..0,
        };
        let range = range.start..range.end.min(self.store.len());
        if let Some(place) = self.store.get_mut(range.clone()) {
            place.copy_from_slice(&copies[range]);
        }
    }
}

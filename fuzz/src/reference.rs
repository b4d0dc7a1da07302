//! The format once more, written from the text in `src/buffer/format.rs` and `control.rs` and in the plainest
//! way: what the crate reads is compared with this.

pub const HEADER: usize = 64;
/// A SEGMENT's payload without its codec.
pub const SEGMENT: usize = 78;
const MAGIC: &[u8; 8] = b"\x89DOCBUF\n";

/// CRC-32 continued over `bytes`.
pub fn crc32(crc: u32, bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            let mut r = byte as u32;
            let mut bit = 0;
            while bit < 8 {
                r = if r & 1 == 1 {
                    r >> 1 ^ 0xEDB8_8320
                } else {
                    r >> 1
                };
                bit += 1;
            }
            table[byte] = r;
            byte += 1;
        }
        table
    };
    !bytes
        .iter()
        .fold(!crc, |r, byte| r >> 8 ^ TABLE[usize::from(r as u8 ^ byte)])
}

/// What the checksum of a record with this word at `offset` is mixed with.
fn veil(salt: u64, offset: u64, word: u32) -> u32 {
    let z = (salt ^ salt >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    let fold = (z ^ z >> 31) as u32;
    let low = (offset as u32).wrapping_mul(0x85EB_CA6B);
    let high = ((offset >> 32) as u32).wrapping_mul(0xC2B2_AE35);
    fold ^ low ^ high.rotate_left(16) ^ word.wrapping_mul(0x27D4_EB2F)
}

pub fn first_tip(salt: u64) -> u32 {
    crc32(0, &salt.to_le_bytes())
}

pub fn header(salt: u64, version: u16, flags: u16) -> [u8; HEADER] {
    let mut copy = MAGIC.to_vec();
    copy.extend(version.to_le_bytes());
    copy.extend(flags.to_le_bytes());
    copy.extend([0; 4]);
    copy.extend(salt.to_le_bytes());
    copy.extend([0; 4]);
    copy.extend(crc32(0, &copy).to_le_bytes());
    let mut both = [0; HEADER];
    both[..32].copy_from_slice(&copy);
    both[32..].copy_from_slice(&copy);
    both
}

pub fn document_word(len: usize) -> u32 {
    (len as u32) << 2 | 1
}

pub fn mark_word(nonce: u32) -> u32 {
    (nonce & 0x0FFF_FFFF) << 2 | 2
}

pub fn control_word(len: usize) -> u32 {
    (len as u32) << 2 | 3
}

pub fn end_payload(documents: u64, bytes: u64) -> Vec<u8> {
    let mut payload = vec![1];
    payload.extend(documents.to_le_bytes());
    payload.extend(bytes.to_le_bytes());
    payload
}

pub fn batch_payload(documents: u32, bytes: u64) -> Vec<u8> {
    let mut payload = vec![4];
    payload.extend(documents.to_le_bytes());
    payload.extend(bytes.to_le_bytes());
    payload
}

/// A record at `offset`, behind one with checksum `tip`; and its own checksum.
pub fn record(salt: u64, offset: u64, tip: u32, word: u32, payload: &[u8]) -> (Vec<u8>, u32) {
    let mut record = word.to_le_bytes().to_vec();
    let link = tip ^ word.wrapping_mul(0x9E37_79B1);
    record.extend(link.to_le_bytes());
    record.extend(payload);
    let veiled = crc32(0, payload) ^ veil(salt, offset, word);
    let crc = crc32(veiled, &link.to_le_bytes());
    record.extend(crc.to_le_bytes());
    record.extend((word ^ 0x5AC3_A53C).to_le_bytes());
    (record, crc)
}

/// Bytes of payload behind a first word, where it is one.
pub fn payload_len(word: u32) -> Option<usize> {
    match word & 3 {
        _ if word >> 30 != 0 => None,
        0 => None,
        2 => Some(0),
        _ => Some((word >> 2) as usize),
    }
}

/// Where and why reading stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// An END that counts right.
    End,
    /// Exactly at the end of the bytes.
    Boundary,
    /// Bytes that are no record here.
    Bad,
    /// A BATCH that is not whole.
    Broken,
    /// A control record of a later version.
    Unsupported,
}

#[derive(Debug)]
pub struct Log<'a> {
    /// Each with the offset of its record.
    pub documents: Vec<(u64, &'a [u8])>,
    pub stop: Stop,
    /// Where it stopped.
    pub offset: u64,
    /// Whether it holds what only a journal writes: a SEGMENT, or batches.
    pub of_journal: bool,
}

pub fn salt(bytes: &[u8]) -> Option<u64> {
    bytes.chunks_exact(32).take(2).find_map(|copy| {
        let right = copy.starts_with(MAGIC)
            && copy[8..12] == [1, 0, 0, 0]
            && copy[28..] == crc32(0, &copy[..28]).to_le_bytes();
        right.then(|| u64::from_le_bytes(std::array::from_fn(|i| copy[16 + i])))
    })
}

/// The log in `bytes`; `None` without an intact header of version 1, and where they end inside it.
pub fn read(bytes: &[u8]) -> Option<Log<'_>> {
    let salt = salt(bytes).filter(|_| bytes.len() >= HEADER)?;
    let mut log = Log {
        documents: Vec::new(),
        stop: Stop::Boundary,
        offset: HEADER as u64,
        of_journal: false,
    };
    let mut tip = first_tip(salt);
    let mut sum = 0;
    while log.offset < bytes.len() as u64 {
        let rest = &bytes[log.offset as usize..];
        let Some((word, crc, len)) = judge(salt, log.offset, tip, rest) else {
            log.stop = Stop::Bad;
            break;
        };
        let payload = &rest[8..8 + len];
        match word & 3 {
            1 => {
                log.documents.push((log.offset, payload));
                sum += len as u64;
            }
            2 => {}
            _ => {
                let behind = &rest[len + 16..];
                let right = end_payload(log.documents.len() as u64, sum);
                let stop = match (payload, len) {
                    ([1, ..], 17) if payload == right => Some(Stop::End),
                    ([1, ..], 17) => Some(Stop::Bad),
                    ([3, ..], SEGMENT..) if log.offset == HEADER as u64 => {
                        log.of_journal = true;
                        None
                    }
                    ([4, batch @ ..], 13) => {
                        let first = log.offset + len as u64 + 16;
                        let whole = is_whole(salt, first, crc, behind, batch);
                        log.of_journal |= whole;
                        (!whole).then_some(Stop::Broken)
                    }
                    _ => Some(Stop::Unsupported),
                };
                if let Some(stop) = stop {
                    log.stop = stop;
                    break;
                }
            }
        }
        tip = crc;
        log.offset += len as u64 + 16;
    }
    Some(log)
}

/// Whether a batch is all there: `batch` says how many documents follow, the first of them at `offset`, and in
/// how many bytes of records.
fn is_whole(salt: u64, offset: u64, tip: u32, behind: &[u8], batch: &[u8]) -> bool {
    let documents = u32::from_le_bytes(std::array::from_fn(|i| batch[i]));
    let bytes = u64::from_le_bytes(std::array::from_fn(|i| batch[4 + i]));
    let inside = usize::try_from(bytes)
        .ok()
        .and_then(|len| behind.get(..len));
    let Some(inside) = inside else {
        return false;
    };
    let (mut at, mut tip, mut count) = (0, tip, 0);
    while at < inside.len() {
        match judge(salt, offset + at as u64, tip, &inside[at..]) {
            Some((word, crc, len)) if word & 3 == 1 => {
                at += len + 16;
                tip = crc;
                count += 1;
            }
            _ => return false,
        }
    }
    count == u64::from(documents)
}

fn judge(salt: u64, offset: u64, tip: u32, rest: &[u8]) -> Option<(u32, u32, usize)> {
    let word = u32::from_le_bytes(rest.first_chunk().copied()?);
    let len = payload_len(word)?;
    let found = rest.get(..len.checked_add(16)?)?;
    let (wanted, crc) = record(salt, offset, tip, word, &found[8..8 + len]);
    (found == wanted).then_some((word, crc, len))
}

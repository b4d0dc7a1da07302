//! The documents of a write-behind journal: the only copy of their layout.
//!
//! ```text
//! document = kind u8, then fields: numbers in LEB128 (signed ones zigzag), texts with their length before
//!   1 begin     version, writer (16 bytes), name                 what follows is all that is owed
//!   2 window    { key, sum }                                     so much was added
//!   3 frozen    number, nonce, keys, crc                         all that is owed so far is this batch
//!   4 settled   number, nonce                                    the sink has it
//!   5 parked    number, reason, { key }                          the sink refused it for these keys
//!   6 released  again u8, key                                    what is parked is owed again, or given up
//! and only behind a begin, to say where things stood:
//!   7 last      number, nonce                                    the last batch that was settled
//!   8 held      number, nonce, { key, delta }                    part of the batch that is frozen
//!   9 aside     key, delta, reason                               one that is parked
//! ```

use super::batch::Mark;

/// A key and what was added to it.
pub(super) type Sum<'a> = (&'a str, i128);

/// The kind of the document behind which is all that counts, in the first byte of each.
pub(super) const BEGIN: u8 = 1;

/// Version of this layout.
const VERSION: u8 = 1;

/// One document.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Record<'a> {
    Begin {
        writer: u128,
        name: &'a str,
    },
    Window(Vec<Sum<'a>>),
    Frozen {
        mark: Mark,
        keys: u64,
        check: u32,
    },
    Settled(Mark),
    Parked {
        number: u64,
        reason: &'a str,
        keys: Vec<&'a str>,
    },
    Released {
        again: bool,
        key: &'a str,
    },
    Last(Mark),
    Held {
        mark: Mark,
        deltas: Vec<(&'a str, i64)>,
    },
    Aside {
        key: &'a str,
        delta: i128,
        reason: &'a str,
    },
}

impl Record<'_> {
    /// Appends it to `out`.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Record::Begin { writer, name } => {
                out.extend([BEGIN, VERSION]);
                out.extend(writer.to_le_bytes());
                text(out, name);
            }
            Record::Window(sums) => {
                out.push(2);
                for (key, sum) in sums {
                    text(out, key);
                    signed(out, *sum);
                }
            }
            Record::Frozen { mark, keys, check } => {
                head(out, 3, *mark);
                number(out, (*keys).into());
                number(out, (*check).into());
            }
            Record::Settled(mark) => head(out, 4, *mark),
            Record::Parked {
                number: batch,
                reason,
                keys,
            } => {
                out.push(5);
                number(out, (*batch).into());
                text(out, reason);
                keys.iter().for_each(|key| text(out, key));
            }
            Record::Released { again, key } => {
                out.extend([6, u8::from(*again)]);
                text(out, key);
            }
            Record::Last(mark) => head(out, 7, *mark),
            Record::Held { mark, deltas } => {
                head(out, 8, *mark);
                for (key, delta) in deltas {
                    text(out, key);
                    signed(out, (*delta).into());
                }
            }
            Record::Aside { key, delta, reason } => {
                out.push(9);
                text(out, key);
                signed(out, *delta);
                text(out, reason);
            }
        }
    }
}

impl<'a> Record<'a> {
    /// Reads a document; says what is wrong with it.
    pub(super) fn decode(document: &'a [u8]) -> Result<Record<'a>, &'static str> {
        let mut rest = Rest(document);
        let record = match rest.byte()? {
            BEGIN => {
                if rest.byte()? != VERSION {
                    return Err("it is of a later version");
                }
                Record::Begin {
                    writer: rest.writer()?,
                    name: rest.text()?,
                }
            }
            2 => Record::Window(rest.all(|rest| Ok((rest.text()?, rest.signed()?)))?),
            3 => Record::Frozen {
                mark: rest.mark()?,
                keys: rest.u64()?,
                check: u32::try_from(rest.u64()?).map_err(|_| "a checksum is too large")?,
            },
            4 => Record::Settled(rest.mark()?),
            5 => Record::Parked {
                number: rest.u64()?,
                reason: rest.text()?,
                keys: rest.all(Rest::text)?,
            },
            6 => Record::Released {
                again: rest.byte()? != 0,
                key: rest.text()?,
            },
            7 => Record::Last(rest.mark()?),
            8 => Record::Held {
                mark: rest.mark()?,
                deltas: rest.all(|rest| Ok((rest.text()?, rest.delta()?)))?,
            },
            9 => Record::Aside {
                key: rest.text()?,
                delta: rest.signed()?,
                reason: rest.text()?,
            },
            _ => return Err("its kind is not known here"),
        };
        match rest.0 {
            [] => Ok(record),
            _ => Err("there are bytes behind its end"),
        }
    }
}

fn head(out: &mut Vec<u8>, kind: u8, mark: Mark) {
    out.push(kind);
    number(out, mark.number.into());
    out.extend(mark.nonce.to_le_bytes());
}

fn number(out: &mut Vec<u8>, mut value: u128) {
    while value >= 0x80 {
        out.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn signed(out: &mut Vec<u8>, value: i128) {
    number(out, ((value << 1) ^ (value >> 127)) as u128);
}

fn text(out: &mut Vec<u8>, text: &str) {
    number(out, text.len() as u128);
    out.extend(text.as_bytes());
}

/// What is still to be read of a document.
struct Rest<'a>(&'a [u8]);

const SHORT: &str = "it ends too early";

impl<'a> Rest<'a> {
    fn byte(&mut self) -> Result<u8, &'static str> {
        let (&byte, rest) = self.0.split_first().ok_or(SHORT)?;
        self.0 = rest;
        Ok(byte)
    }

    fn bytes(&mut self, len: usize) -> Result<&'a [u8], &'static str> {
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(SHORT)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn number(&mut self) -> Result<u128, &'static str> {
        let mut value = 0_u128;
        for shift in (0..128).step_by(7) {
            let byte = self.byte()?;
            let part = u128::from(byte & 0x7F);
            if (part << shift) >> shift != part {
                break;
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number is too large")
    }

    fn u64(&mut self) -> Result<u64, &'static str> {
        u64::try_from(self.number()?).map_err(|_| "a number is too large")
    }

    fn signed(&mut self) -> Result<i128, &'static str> {
        let value = self.number()?;
        Ok((value >> 1) as i128 ^ -((value & 1) as i128))
    }

    fn delta(&mut self) -> Result<i64, &'static str> {
        i64::try_from(self.signed()?).map_err(|_| "a number is too large")
    }

    fn writer(&mut self) -> Result<u128, &'static str> {
        let bytes = self.bytes(16)?.try_into().map_err(|_| SHORT)?;
        Ok(u128::from_le_bytes(bytes))
    }

    fn mark(&mut self) -> Result<Mark, &'static str> {
        let number = self.u64()?;
        let nonce = self.bytes(8)?.try_into().map_err(|_| SHORT)?;
        let nonce = u64::from_le_bytes(nonce);
        Ok(Mark { number, nonce })
    }

    fn text(&mut self) -> Result<&'a str, &'static str> {
        let len = usize::try_from(self.number()?).map_err(|_| SHORT)?;
        std::str::from_utf8(self.bytes(len)?).map_err(|_| "a text is not UTF-8")
    }

    fn all<T>(
        &mut self,
        mut one: impl FnMut(&mut Rest<'a>) -> Result<T, &'static str>,
    ) -> Result<Vec<T>, &'static str> {
        let mut all = Vec::new();
        while !self.0.is_empty() {
            all.push(one(self)?);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Record<'static>> {
        let mark = Mark {
            number: 300,
            nonce: u64::MAX,
        };
        vec![
            Record::Begin {
                writer: u128::MAX - 5,
                name: "page views",
            },
            Record::Window(vec![("", 0), ("a", -1), ("b", i128::MAX), ("c", i128::MIN)]),
            Record::Frozen {
                mark,
                keys: u64::MAX,
                check: u32::MAX,
            },
            Record::Settled(mark),
            Record::Parked {
                number: 0,
                reason: "no such column",
                keys: vec!["x", ""],
            },
            Record::Released {
                again: true,
                key: "x",
            },
            Record::Last(mark),
            Record::Held {
                mark,
                deltas: vec![("k", i64::MIN), ("l", i64::MAX)],
            },
            Record::Aside {
                key: "x",
                delta: i128::from(i64::MAX) + 1,
                reason: "",
            },
        ]
    }

    #[test]
    fn what_is_written_is_read() {
        for record in samples() {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            assert_eq!(Record::decode(&bytes), Ok(record));
        }
    }

    #[test]
    fn no_bytes_do_harm() {
        for record in samples() {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            for len in 0..bytes.len() {
                // What ends early may be a shorter list, and never what was written.
                let cut = Record::decode(&bytes[..len]);
                assert_ne!(cut, Ok(record.clone()), "{record:?} cut to {len}");
            }
            for at in 0..bytes.len() {
                for flip in 1..=255 {
                    let mut other = bytes.clone();
                    other[at] ^= flip;
                    let _ = Record::decode(&other);
                }
            }
        }
        assert!(Record::decode(&[]).is_err());
        assert!(Record::decode(&[2, 1, b'k', 0xFF, 0xFF, 0xFF]).is_err());
        let huge = [[2].as_slice(), &[0xFF; 18], &[0x03]].concat();
        assert!(Record::decode(&huge).is_err());
    }
}

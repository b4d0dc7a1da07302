//! The documents of a journal of owed writes: the only copy of their layout.
//!
//! ```text
//! document = kind u8, then fields: numbers of 8 bytes, little-endian; a key with its length (u16) before
//!   1 begin     version u8                                    what follows is all that is owed
//!   2 put       number, key, fence, version, created, expiry, value       expiry: u64::MAX is none
//!   3 remove    number, key, fence, version
//!   4 settled   number, key                                   the tier has it
//!   5 parked    number, key, reason                           the tier will not have it
//!   6 released  number, key, again u8                         it goes again, or is given up
//! ```

use std::collections::HashMap;

use bytes::Bytes;

use super::owing::{Owed, Parked};
use crate::tier::{Entry, Key, KeyBuf, Op, Version};
use crate::write_behind::record::BEGIN;

const VERSION: u8 = 1;
const NO_EXPIRY: u64 = u64::MAX;

pub(super) fn begin() -> Vec<u8> {
    vec![BEGIN, VERSION]
}

fn head(kind: u8, number: u64, key: Key<'_>, more: usize) -> Vec<u8> {
    let key = key.as_str().as_bytes();
    let mut document = Vec::with_capacity(11 + key.len() + more);
    document.push(kind);
    document.extend(number.to_le_bytes());
    // A key has at most 256 bytes.
    document.extend((key.len() as u16).to_le_bytes());
    document.extend(key);
    document
}

/// A merge is never owed: it has no document.
pub(super) fn owed(key: Key<'_>, owed: &Owed) -> Option<Vec<u8>> {
    let number = owed.number;
    let version = |document: &mut Vec<u8>, version: Version| {
        document.extend(version.fence.to_le_bytes());
        document.extend(version.number.to_le_bytes());
    };
    match &owed.op {
        Op::Put(entry) => {
            let mut document = head(2, number, key, 32 + entry.value.len());
            version(&mut document, entry.version);
            document.extend(entry.created.to_le_bytes());
            document.extend(entry.expiry.unwrap_or(NO_EXPIRY).to_le_bytes());
            document.extend(&*entry.value);
            Some(document)
        }
        Op::Remove(removed) => {
            let mut document = head(3, number, key, 16);
            version(&mut document, *removed);
            Some(document)
        }
        _ => None,
    }
}

pub(super) fn settled(key: Key<'_>, number: u64) -> Vec<u8> {
    head(4, number, key, 0)
}

pub(super) fn parked(key: Key<'_>, number: u64, reason: &str) -> Vec<u8> {
    let mut document = head(5, number, key, reason.len());
    document.extend(reason.as_bytes());
    document
}

pub(super) fn released(key: Key<'_>, number: u64, again: bool) -> Vec<u8> {
    let mut document = head(6, number, key, 1);
    document.push(u8::from(again));
    document
}

/// What a journal says: the newest write of each key, and why it is parked, if it is.
#[derive(Default)]
pub(super) struct Fold {
    begun: bool,
    pub(super) owed: HashMap<KeyBuf, (Owed, Option<String>)>,
    /// The largest number of any.
    pub(super) last: u64,
}

const SHORT: &str = "it ends too early";

impl Fold {
    pub(super) fn is_begun(&self) -> bool {
        self.begun
    }

    /// Takes in one document; says what is wrong with it.
    pub(super) fn replay(&mut self, document: &[u8]) -> Result<(), &'static str> {
        let mut rest = Rest(document);
        let [kind] = rest.array()?;
        if kind == BEGIN {
            let [version] = rest.array()?;
            if version != VERSION {
                return Err("it is of a later version");
            }
            *self = Fold {
                begun: true,
                last: self.last,
                ..Fold::default()
            };
            return rest.end();
        }
        if !self.begun {
            return Err("it does not begin with a writer");
        }
        let number = rest.number()?;
        let key = rest.key()?;
        self.last = self.last.max(number);
        match kind {
            2 => {
                let version = rest.version()?;
                let (created, expiry) = (rest.number()?, rest.number()?);
                let mut entry = Entry::new(Bytes::copy_from_slice(rest.0));
                (entry.version, entry.created) = (version, created);
                entry.expiry = (expiry != NO_EXPIRY).then_some(expiry);
                let op = Op::Put(entry);
                self.owed.insert(key, (Owed { number, op }, None));
                Ok(())
            }
            3 => {
                let op = Op::Remove(rest.version()?);
                self.owed.insert(key, (Owed { number, op }, None));
                rest.end()
            }
            4 => {
                if self.is_newest(&key, number) {
                    self.owed.remove(&key);
                }
                rest.end()
            }
            5 => {
                let reason = std::str::from_utf8(rest.0).map_err(|_| "a text is not UTF-8")?;
                if let Some((owed, parked)) = self.owed.get_mut(&key)
                    && owed.number == number
                {
                    *parked = Some(reason.to_owned());
                }
                Ok(())
            }
            6 => {
                let [again] = rest.array()?;
                if self.is_newest(&key, number) {
                    match again {
                        0 => drop(self.owed.remove(&key)),
                        _ => self.unpark(&key),
                    }
                }
                rest.end()
            }
            _ => Err("its kind is not known here"),
        }
    }

    fn is_newest(&self, key: &KeyBuf, number: u64) -> bool {
        let newest = self.owed.get(key);
        newest.is_some_and(|(owed, _)| owed.number == number)
    }

    fn unpark(&mut self, key: &KeyBuf) {
        if let Some((_, parked)) = self.owed.get_mut(key) {
            *parked = None;
        }
    }
}

/// All of it, as the documents that a journal is begun anew with.
pub(super) fn base<'a>(
    all: impl Iterator<Item = (&'a KeyBuf, &'a Owed, Option<&'a str>)>,
) -> Vec<Vec<u8>> {
    let mut documents = vec![begin()];
    for (key, one, reason) in all {
        documents.extend(owed(key.as_key(), one));
        documents.extend(reason.map(|reason| parked(key.as_key(), one.number, reason)));
    }
    documents
}

/// What is still to be read of a document.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(SHORT)?;
        self.0 = rest;
        Ok(*bytes)
    }

    fn number(&mut self) -> Result<u64, &'static str> {
        self.array().map(u64::from_le_bytes)
    }

    fn version(&mut self) -> Result<Version, &'static str> {
        let (fence, number) = (self.number()?, self.number()?);
        Ok(Version { fence, number })
    }

    fn key(&mut self) -> Result<KeyBuf, &'static str> {
        let len = usize::from(u16::from_le_bytes(self.array()?));
        let (key, rest) = self.0.split_at_checked(len).ok_or(SHORT)?;
        self.0 = rest;
        let key = std::str::from_utf8(key).map_err(|_| "a key is not UTF-8")?;
        KeyBuf::new(key).map_err(|_| "a key is too long")
    }

    fn end(&self) -> Result<(), &'static str> {
        match self.0 {
            [] => Ok(()),
            _ => Err("there are bytes behind its end"),
        }
    }
}

impl Fold {
    /// What it found, in no order; what is parked with its reason.
    pub(super) fn into_owed(self) -> impl Iterator<Item = (KeyBuf, Result<Owed, Parked>)> {
        self.owed
            .into_iter()
            .map(|(key, (owed, reason))| match reason {
                None => (key, Ok(owed)),
                Some(reason) => (key, Err(Parked { owed, reason })),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Vec<u8>> {
        let long = "k".repeat(256);
        let (key, long) = (
            Key::new("").expect("a key"),
            Key::new(&long).expect("a key"),
        );
        let version = Version {
            fence: u64::MAX,
            number: 7,
        };
        let op = Op::Put(Entry::new("value").version(version).expires(9));
        let put = Owed { number: 3, op };
        let op = Op::Remove(version);
        let removal = Owed { number: 4, op };
        [owed(key, &put), owed(long, &removal)]
            .into_iter()
            .flatten()
            .chain([
                settled(key, u64::MAX),
                parked(long, 4, "no such column"),
                released(long, 4, true),
                released(key, 3, false),
            ])
            .collect()
    }

    fn fold(documents: &[Vec<u8>]) -> Result<Fold, &'static str> {
        let mut fold = Fold::default();
        fold.replay(&begin())?;
        for document in documents {
            fold.replay(document)?;
        }
        Ok(fold)
    }

    #[test]
    fn what_is_written_is_read() {
        let all = samples();
        let fold = fold(&all[..2]).expect("documents");
        assert_eq!((fold.owed.len(), fold.last), (2, 4));
        let again = base(
            fold.owed
                .iter()
                .map(|(key, (owed, reason))| (key, owed, reason.as_deref())),
        );
        let mut next = Fold::default();
        for document in &again {
            next.replay(document).expect("a document");
        }
        assert_eq!(next.owed, fold.owed);
    }

    #[test]
    fn no_bytes_do_harm() {
        for document in samples() {
            for len in 0..document.len() {
                let _ = fold(&[document[..len].to_vec()]);
            }
            for at in 0..document.len() {
                for flip in 1..=255 {
                    let mut other = document.clone();
                    other[at] ^= flip;
                    let _ = fold(&[other]);
                }
            }
        }
        assert!(Fold::default().replay(&[]).is_err());
        assert!(Fold::default().replay(&samples()[0]).is_err());
        assert!(fold(&[vec![1, 9]]).is_err());
        assert!(fold(&[vec![77; 40]]).is_err());
    }
}

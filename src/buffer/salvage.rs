//! Every intact document of a damaged log. Reads only.

use std::io::{Read, Seek};

use super::check;
use super::error::{Error, OpenError, Result};
use super::format::{self, Kind, Salt};
use super::forward::WINDOW;
use super::io;
use super::recover::identify;
use super::search::Search;

/// A document found intact.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Salvaged<'a> {
    /// Where its record begins in the store.
    pub offset: u64,
    /// First byte behind its record.
    pub end: u64,
    /// Checksum of its record.
    pub crc: u32,
    /// Whether the record found before it is the one that it was written behind. Behind damage this is
    /// false once; where it is false without damage, the document may be a leftover of an earlier state.
    pub linked: bool,
    /// The document.
    pub bytes: &'a [u8],
}

impl std::fmt::Debug for Salvaged<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Salvaged")
            .field("offset", &self.offset)
            .field("linked", &self.linked)
            .field("len", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// Walks over every intact document of a store with its offset, also behind damage and behind the end.
///
/// It cannot know which of them are live: behind the end of a log stand documents that were taken back.
/// What comes before the first gap in [`Salvaged::linked`] is what opening the log gives.
///
/// Memory: one window of 512 KiB and the document in hand.
///
/// # Examples
///
/// ```
/// use documentbuffer::{DocumentBuffer, ReadWriteSeekString, Salvage};
///
/// let mut log = DocumentBuffer::new(ReadWriteSeekString::new())?;
/// log.push_all(["one", "two", "three"])?;
/// let mut bytes = log.close()?.1.into_bytes();
/// bytes[85] ^= 1; // damage in "one"
///
/// let mut salvage = Salvage::new(std::io::Cursor::new(bytes))?;
/// let mut found = Vec::new();
/// while let Some(document) = salvage.next()? {
///     found.push(document.bytes.to_vec());
/// }
/// assert_eq!(found, [b"two".to_vec(), b"three".to_vec()]);
/// # Ok::<(), documentbuffer::Error>(())
/// ```
pub struct Salvage<S> {
    store: S,
    store_len: u64,
    search: Option<Search>,
    salt: Option<Salt>,
    /// Where to look next, and the checksum of the record that ends there.
    from: u64,
    tip: Option<u32>,
    /// Whether every record since the last document was written behind the one before it.
    linked: bool,
    document: Vec<u8>,
}

impl<S> std::fmt::Debug for Salvage<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Salvage")
            .field("offset", &self.from)
            .field("store_len", &self.store_len)
            .finish_non_exhaustive()
    }
}

/// The salt of a log whose header is gone: what two records in a row, near the front, agree on.
fn guess<S: Read + Seek>(store: &mut S, store_len: u64) -> Result<Option<Salt>> {
    let mut window = io::zeros(usize::try_from(store_len).unwrap_or(WINDOW).min(WINDOW))?;
    let have = io::read(store, format::FIRST, &mut window)?;
    let bytes = window.get(..have).unwrap_or_default();
    let at = |at: usize| Salt::guess(format::FIRST.saturating_add(at as u64), bytes.get(at..)?);
    let agree = |first: usize| {
        let (salt, len) = at(first)?;
        let (second, _) = at(first.checked_add(len)?)?;
        (salt == second).then_some(salt)
    };
    Ok((0..have).find_map(agree))
}

impl<S: Read + Seek> Salvage<S> {
    /// Begins at the store's first record; reads its header only, or, where both copies of that are gone,
    /// finds the salt in the first records.
    ///
    /// # Errors
    ///
    /// [`Error::Foreign`](crate::Error::Foreign), [`Error::Unsupported`](crate::Error::Unsupported),
    /// [`Error::Io`](crate::Error::Io), and [`Error::Corrupt`](crate::Error::Corrupt) at offset 0 where
    /// both copies of the header are gone and no salt fits the records; the store comes back.
    pub fn new(mut store: S) -> Result<Salvage<S>, OpenError<S>> {
        let opened = io::len(&mut store).and_then(|len| {
            let salt = match identify(&mut store, len) {
                Err(Error::Corrupt { offset, reason }) => match guess(&mut store, len)? {
                    Some(salt) => Some(salt),
                    None => return Err(Error::Corrupt { offset, reason }),
                },
                identified => identified?,
            };
            let search = salt
                .map(|salt| Search::new(salt, len, u64::MAX))
                .transpose()?;
            Ok((len, salt, search))
        });
        match opened {
            Ok((store_len, salt, search)) => Ok(Salvage {
                store,
                store_len,
                search,
                salt,
                from: format::FIRST,
                tip: salt.map(Salt::first_link),
                linked: true,
                document: Vec::new(),
            }),
            Err(error) => Err(OpenError { error, store }),
        }
    }

    /// The next intact document, or `None` at the end of the store.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io), [`Error::Shrunk`](crate::Error::Shrunk),
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory); the call may be repeated.
    #[allow(clippy::should_implement_trait)] // It lends its documents, which Iterator cannot.
    pub fn next(&mut self) -> Result<Option<Salvaged<'_>>> {
        let (Some(search), Some(salt)) = (&mut self.search, self.salt) else {
            return Ok(None);
        };
        loop {
            let Some(found) = search.next(&mut self.store, self.from, self.store_len)? else {
                self.from = self.store_len;
                return Ok(None);
            };
            self.linked &= found.offset == self.from && self.tip == Some(found.before);
            if found.word.kind() == Kind::Document {
                // The last one's memory goes first.
                self.document = Vec::new();
                self.document = io::zeros(found.word.record_len())?;
                io::read_exact(&mut self.store, found.offset, &mut self.document)?;
            }
            self.from = found.end();
            // No record is ever written behind an END.
            self.tip = (!found.word.is_end()).then_some(found.crc);
            if found.word.kind() != Kind::Document {
                continue;
            }
            let linked = std::mem::replace(&mut self.linked, true);
            if check::check(salt, found.offset, &self.document).is_err() {
                // It changed between two reads: someone is writing.
                self.linked = false;
                continue;
            }
            let payload = self.document.get(format::HEAD_LEN..);
            let payload = payload.and_then(|rest| rest.get(..found.word.payload_len()));
            return Ok(Some(Salvaged {
                offset: found.offset,
                end: found.end(),
                crc: found.crc,
                linked,
                bytes: payload.unwrap_or_default(),
            }));
        }
    }
}

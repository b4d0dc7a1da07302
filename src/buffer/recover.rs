//! Finds the log again in whatever a store holds. Reads only.

use std::io::{Read, Seek};

use super::error::{Error, Feature, OpenError, Result};
use super::format::{self, Edge, MAX_PAYLOAD, Salt};
use super::forward::{Document, Forward, Mode, Next, Stop, WINDOW};
use super::header::{self, Header};
use super::io;
use super::report::{End, Reason, Recovery};
use super::search;

/// Bytes looked at behind a record boundary for zeros.
const ZERO_REACH: u64 = 1 << 20;

/// The log's salt, or `None` for a store that is new.
pub(crate) fn identify<S: Read + Seek>(store: &mut S, store_len: u64) -> Result<Option<Salt>> {
    let mut first = [0; format::HEADER_LEN];
    let have = store_len.min(format::FIRST) as usize;
    let bytes = first.get_mut(..have).unwrap_or_default();
    // Exactly: a short read must not make a log look new, or foreign.
    io::read_exact(store, 0, bytes)?;
    let bytes = &*bytes;
    let unsupported = |what, number: u16, offset| Error::Unsupported {
        what,
        number: number.into(),
        offset,
    };
    match header::read_header(bytes) {
        // Cut inside its header: nothing can stand behind it, and it is written anew.
        Header::Valid(_) if store_len < format::FIRST => Ok(None),
        Header::Valid(salt) => Ok(Some(salt)),
        Header::Version(number) => Err(unsupported(Feature::Version, number, 8)),
        Header::Flags(number) => Err(unsupported(Feature::Flags, number, 10)),
        Header::Unborn if filler_only(store, store_len)? => Ok(None),
        Header::Unborn if !bytes.starts_with(&format::MAGIC) => Err(foreign(bytes)),
        Header::Unborn | Header::Damaged => Err(Error::Corrupt {
            offset: 0,
            reason: Reason::Header,
        }),
        Header::Foreign => Err(foreign(bytes)),
    }
}

fn foreign(bytes: &[u8]) -> Error {
    let mut found = [0; 8];
    for (to, from) in found.iter_mut().zip(bytes) {
        *to = *from;
    }
    Error::Foreign { found }
}

/// Whether everything behind the header's place is one filler.
fn filler_only<S: Read + Seek>(store: &mut S, store_len: u64) -> Result<bool> {
    let mut from = format::FIRST;
    let left = store_len.saturating_sub(from).min(WINDOW as u64);
    let mut window = io::zeros(left as usize)?;
    let mut filler = None;
    while from < store_len {
        let have = (store_len - from).min(window.len() as u64) as usize;
        let bytes = window.get_mut(..have).unwrap_or_default();
        io::read_exact(store, from, bytes)?;
        let Some(first) = bytes.first() else {
            break;
        };
        let filler = *filler.get_or_insert(*first);
        if !header::is_filler(filler) || bytes.iter().any(|byte| *byte != filler) {
            return Ok(false);
        }
        from = from.saturating_add(have as u64);
    }
    Ok(true)
}

/// Walks the whole log and reads its end; `each` gets every document in [`Mode::Hand`]. Also says whether a
/// journal wrote it.
pub(crate) fn recover<S: Read + Seek>(
    store: &mut S,
    salt: Salt,
    store_len: u64,
    max_document: usize,
    mode: Mode,
    mut each: impl FnMut(u64, &[u8]),
) -> Result<(Edge, Recovery, bool)> {
    let mut forward = Forward::new(salt, Edge::empty(salt), store_len, max_document)?;
    let stop = match mode {
        Mode::Prove => forward.walk(store, mode, |_| Next::Go)?,
        Mode::Hand => forward.walk(store, mode, |document| {
            each(document.position, document.bytes);
            Next::Go
        })?,
    };
    let (edge, of_journal) = (forward.edge(), forward.met_journal());
    drop(forward);
    let recovery = read_end(store, salt, edge, stop, store_len)?;
    Ok((edge, recovery, of_journal))
}

/// What opening finds in a store that is new.
pub(crate) fn empty(store_len: u64) -> Recovery {
    Recovery {
        end: End::Clean,
        documents: 0,
        bytes: 0,
        offset: 0,
        store_len,
    }
}

/// What kind of end the walk met.
pub(crate) fn read_end<S: Read + Seek>(
    store: &mut S,
    salt: Salt,
    edge: Edge,
    stop: Stop,
    store_len: u64,
) -> Result<Recovery> {
    let offset = edge.offset;
    let end = match stop {
        Stop::End => End::Clean,
        Stop::Boundary | Stop::Asked => End::Unterminated,
        Stop::Fault(reason) => {
            let records = search::documents_behind(store, salt, offset, store_len)?;
            if records > 0 {
                End::Suspect { offset, records }
            } else if zeros_behind(store, offset, store_len)? {
                End::Unterminated
            } else {
                End::Torn { offset, reason }
            }
        }
    };
    Ok(Recovery {
        end,
        documents: edge.documents,
        bytes: edge.bytes,
        offset,
        store_len,
    })
}

fn zeros_behind<S: Read + Seek>(store: &mut S, offset: u64, store_len: u64) -> Result<bool> {
    let mut from = offset;
    let until = offset.saturating_add(ZERO_REACH).min(store_len);
    let mut window = io::zeros((until - from).min(WINDOW as u64) as usize)?;
    while from < until {
        let have = (until - from).min(window.len() as u64) as usize;
        let bytes = window.get_mut(..have).unwrap_or_default();
        io::read_exact(store, from, bytes)?;
        if bytes.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        from = from.saturating_add(have as u64);
    }
    Ok(true)
}

/// What [`Scan::again`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Again {
    /// Nothing has changed that a reader can see.
    Same,
    /// The log went on: call [`Scan::next`].
    More,
    /// Documents that were read have been taken back: begin anew with [`Scan::new`].
    CutBack,
}

/// Reads a log forward, oldest document first, without a lock and without writing: for readers beside a
/// live writer, and for tools.
///
/// Works over anything that reads and seeks. Memory: one window of 512 KiB, and the document in hand
/// where that is longer.
///
/// # Examples
///
/// ```
/// use documentbuffer::{DocumentBuffer, ReadWriteSeekString, Scan};
///
/// let mut log = DocumentBuffer::new(ReadWriteSeekString::new())?;
/// log.push("one")?;
/// log.push("two")?;
/// let (_, store) = log.close()?;
///
/// let mut scan = Scan::new(store)?;
/// while let Some(document) = scan.next()? {
///     println!("{}: {} bytes", document.position, document.bytes.len());
/// }
/// assert_eq!(scan.recovery().expect("at the end").documents, 2);
/// # Ok::<(), documentbuffer::Error>(())
/// ```
pub struct Scan<S> {
    store: S,
    store_len: u64,
    max_document: usize,
    /// `None` over a store that is new.
    forward: Option<Forward>,
    recovery: Option<Recovery>,
    failed: bool,
}

impl<S> std::fmt::Debug for Scan<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scan")
            .field("offset", &self.offset())
            .field("store_len", &self.store_len)
            .field("recovery", &self.recovery)
            .finish_non_exhaustive()
    }
}

impl<S> Scan<S> {
    /// Where the next record would begin: behind the last one read.
    pub fn offset(&self) -> u64 {
        self.forward
            .as_ref()
            .map_or(0, |forward| forward.edge().offset)
    }

    /// The store's length when it was looked at last.
    pub fn store_len(&self) -> u64 {
        self.store_len
    }

    /// How the log ends; `None` before [`next`](Scan::next) has returned `None`.
    pub fn recovery(&self) -> Option<&Recovery> {
        self.recovery.as_ref()
    }

    /// The store.
    pub fn into_inner(self) -> S {
        self.store
    }
}

impl<S: Read + Seek> Scan<S> {
    /// Begins before the oldest document of `store`; reads its header only.
    ///
    /// # Errors
    ///
    /// [`Error::Foreign`], [`Error::Unsupported`], [`Error::Corrupt`] (the header is gone: see
    /// [`Salvage`](crate::Salvage)), [`Error::Io`]; the store comes back.
    pub fn new(mut store: S) -> Result<Scan<S>, OpenError<S>> {
        let opened = io::len(&mut store).and_then(|len| Ok((len, identify(&mut store, len)?)));
        let opened = opened.and_then(|(len, salt)| {
            let forward = salt.map(|salt| Forward::new(salt, Edge::empty(salt), len, MAX_PAYLOAD));
            Ok((len, forward.transpose()?))
        });
        match opened {
            Ok((store_len, forward)) => Ok(Scan {
                store,
                store_len,
                max_document: MAX_PAYLOAD,
                forward,
                recovery: None,
                failed: false,
            }),
            Err(error) => Err(OpenError { error, store }),
        }
    }

    /// Refuses to read documents of more than `bytes`: [`Error::TooLarge`].
    #[must_use]
    pub fn max_document(mut self, bytes: usize) -> Scan<S> {
        self.max_document = bytes;
        self
    }

    /// The next document, or `None` at the end; then [`recovery`](Scan::recovery) says how the log ends.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Shrunk`], [`Error::TooLarge`], [`Error::Unsupported`]. The scan has then
    /// ended: it gives no more documents.
    #[allow(clippy::should_implement_trait)] // It lends its documents, which Iterator cannot.
    pub fn next(&mut self) -> Result<Option<Document<'_>>> {
        if self.recovery.is_some() || self.failed {
            return Ok(None);
        }
        let Some(forward) = &mut self.forward else {
            self.recovery = Some(empty(self.store_len));
            return Ok(None);
        };
        let mut seen = None;
        let mut longer = None;
        let max = self.max_document;
        let stop = forward.walk(&mut self.store, Mode::Hand, |document| {
            if document.bytes.len() > max {
                longer = Some(document.bytes.len() as u64);
            }
            let len = document.bytes.len();
            seen = Some((document.position, document.offset, document.crc, len));
            Next::Stop
        });
        // Until the end has been read in full, this scan has failed.
        self.failed = true;
        let stop = stop?;
        if let Some(len) = longer {
            let max = max as u64;
            return Err(Error::TooLarge { len, max });
        }
        if let (Stop::Asked, Some((position, offset, crc, len))) = (stop, seen) {
            self.failed = false;
            return Ok(Some(Document {
                position,
                offset,
                crc,
                bytes: forward.handed(len),
            }));
        }
        // What reads the end takes a window of its own.
        forward.release();
        let (salt, edge) = (forward.salt(), forward.edge());
        self.recovery = Some(read_end(&mut self.store, salt, edge, stop, self.store_len)?);
        self.failed = false;
        Ok(None)
    }

    /// Looks once more, after the end: has the log grown, or been cut back?
    ///
    /// For following a live log. A document put in the place of one that was read is always told, since
    /// each record names its whole past. Where nothing was appended this reads the log again from its
    /// start, to be sure that nothing was taken back: call it when something hints at a change, such as
    /// the time at which a file was written last.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Shrunk`]; call it again.
    pub fn again(&mut self) -> Result<Again> {
        let store_len = io::len(&mut self.store)?;
        let salt = match identify(&mut self.store, store_len) {
            Ok(salt) => salt,
            // Another log, or none, stands there now.
            Err(Error::Io {
                action,
                offset,
                path,
                source,
            }) => {
                return Err(Error::Io {
                    action,
                    offset,
                    path,
                    source,
                });
            }
            Err(_) => return Ok(Again::CutBack),
        };
        let Some(forward) = &mut self.forward else {
            return Ok(salt.map_or(Again::Same, |_| Again::CutBack));
        };
        let reached = forward.edge().offset.min(self.store_len);
        if salt != Some(forward.salt()) || store_len < reached {
            return Ok(Again::CutBack);
        }
        let (salt, edge) = (forward.salt(), forward.edge());
        let mut probe = Forward::new(salt, edge, store_len, MAX_PAYLOAD)?;
        let stop = probe.walk(&mut self.store, Mode::Prove, |_| Next::Stop)?;
        if probe.edge().documents > edge.documents {
            self.store_len = store_len;
            forward.relimit(store_len)?;
            self.recovery = None;
            self.failed = false;
            return Ok(Again::More);
        }
        // One window at a time.
        let end = probe.edge();
        drop(probe);
        let mut whole = Forward::new(salt, Edge::empty(salt), edge.offset, MAX_PAYLOAD)?;
        let reached = whole.walk(&mut self.store, Mode::Prove, |_| Next::Go)?;
        if reached != Stop::Boundary || whole.edge() != edge {
            return Ok(Again::CutBack);
        }
        drop(whole);
        self.store_len = store_len;
        self.recovery = Some(read_end(&mut self.store, salt, end, stop, store_len)?);
        Ok(Again::Same)
    }
}

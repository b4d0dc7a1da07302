//! A log that lies in memory as a whole, read without copies.

use std::io::Cursor;

use super::check::{Fault, Judge};
use super::error::Result;
use super::format::{Edge, Salt};
use super::forward::{Document, Journals, Next, Stop, walk_bytes};
use super::recover::{empty, identify, read_end};
use super::report::{Reason, Recovery};

/// Iterates over the documents of a log whose bytes are all in memory, oldest first, and lends them: for a
/// memory map (`store::mmap::MappedFile`, feature `mmap`), or any other slice.
///
/// # Examples
///
/// ```
/// use documentbuffer::{DocumentBuffer, Image, ReadWriteSeekString};
///
/// let mut log = DocumentBuffer::new(ReadWriteSeekString::new())?;
/// log.push_all(["one", "two"])?;
/// let bytes = log.close()?.1.into_bytes();
///
/// let mut image = Image::new(&bytes)?;
/// assert_eq!(image.next().transpose()?.map(|document| document.bytes), Some(&b"one"[..]));
/// assert_eq!(image.next().transpose()?.map(|document| document.bytes), Some(&b"two"[..]));
/// assert!(image.next().is_none());
/// assert_eq!(image.recovery()?.documents, 2);
/// # Ok::<(), documentbuffer::Error>(())
/// ```
pub struct Image<'a> {
    all: &'a [u8],
    /// What is not yet read.
    rest: &'a [u8],
    /// `None` for a store that is new.
    judge: Option<Judge>,
    edge: Edge,
    /// Why the iteration stands still.
    stop: Option<Stop>,
    failed: bool,
}

impl std::fmt::Debug for Image<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Image")
            .field("len", &self.all.len())
            .field("offset", &self.edge.offset)
            .finish_non_exhaustive()
    }
}

impl<'a> Image<'a> {
    /// Begins before the oldest document; looks at the header only.
    ///
    /// # Errors
    ///
    /// [`Error::Foreign`](crate::Error::Foreign), [`Error::Unsupported`](crate::Error::Unsupported),
    /// [`Error::Corrupt`](crate::Error::Corrupt) (the header is gone).
    pub fn new(bytes: &'a [u8]) -> Result<Image<'a>> {
        let salt = identify(&mut Cursor::new(bytes), bytes.len() as u64)?;
        let edge = Edge::empty(salt.unwrap_or(Salt::new(0)));
        let first = usize::try_from(edge.offset).unwrap_or(usize::MAX);
        Ok(Image {
            all: bytes,
            rest: bytes.get(first..).unwrap_or_default(),
            judge: salt.map(Judge::new),
            edge,
            stop: None,
            failed: false,
        })
    }

    /// Reads what is left, and says how the log ends.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`](crate::Error::Unsupported) where a control record is newer than this crate.
    pub fn recovery(&mut self) -> Result<Recovery> {
        // An error that ended the iteration is told again.
        self.failed = false;
        for document in self.by_ref() {
            document?;
        }
        let len = self.all.len() as u64;
        match (&self.judge, self.stop) {
            (Some(judge), Some(stop)) => {
                let mut all = Cursor::new(self.all);
                read_end(&mut all, judge.salt(), self.edge, stop, len)
            }
            _ => Ok(empty(len)),
        }
    }
}

impl<'a> Iterator for Image<'a> {
    type Item = Result<Document<'a>>;

    fn next(&mut self) -> Option<Result<Document<'a>>> {
        let still = self.stop.is_none() && !self.failed;
        let judge = self.judge.as_ref().filter(|_| still)?;
        let mut found = None;
        let walked = walk_bytes(
            judge,
            &mut self.edge,
            &mut self.rest,
            &mut Journals::default(),
            None,
            &mut |document| {
                found = Some(document);
                Next::Stop
            },
        );
        match walked {
            Err(error) => {
                self.failed = true;
                return Some(Err(error));
            }
            Ok(Ok(Stop::Asked)) => {}
            Ok(Ok(stop)) => self.stop = Some(stop),
            Ok(Err(Fault::Bad(reason))) => self.stop = Some(Stop::Fault(reason)),
            Ok(Err(Fault::Short(_))) if self.rest.is_empty() => self.stop = Some(Stop::Boundary),
            Ok(Err(Fault::Short(_))) => self.stop = Some(Stop::Fault(Reason::Cut)),
        }
        found.map(Ok)
    }
}

impl std::iter::FusedIterator for Image<'_> {}

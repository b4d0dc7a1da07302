//! A place in a journal that can be kept: which record it stands behind, and not only its number.

use std::fmt;
use std::str::FromStr;

use super::snapshot::Mark;

/// The form of the text that this version writes, and the only one it reads.
const FORM: &str = "1";

/// A place in a journal, to go on from at another time, in another process.
///
/// A position alone may be given again after [`truncate_after`](super::Journal::truncate_after), and what a
/// reader in another process has seen may be lost with the power. A cursor names the record that it stands
/// behind, which names all before it; so whoever goes on from it ([`Reader::resume`](super::Reader::resume),
/// [`Journal::resume`](super::Journal::resume)) is told if that is not there any more.
///
/// It is kept as a line of text, of at most 148 bytes ([`Display`](fmt::Display), [`FromStr`]).
///
/// # Examples
///
/// ```
/// use documentbuffer::journal::{Cursor, Journal, Reader, Step};
/// # let dir = tempfile::tempdir().expect("a directory");
/// # let path = dir.path().join("journal");
///
/// let journal = Journal::open(&path)?;
/// journal.append_all(["one", "two"])?;
///
/// let mut follower = Reader::open(&path)?.follow(0)?;
/// while let Some(Step::Document(_)) = follower.try_next()? {}
/// let kept = follower.cursor().to_string(); // in a file, or beside what was made of the documents
///
/// journal.truncate_after(1)?;
/// journal.append("another two")?;
///
/// let cursor: Cursor = kept.parse().expect("a cursor");
/// let mut follower = Reader::open(&path)?.resume(&cursor)?;
/// assert!(matches!(follower.next()?, Step::CutBack { to } if to <= 1));
/// # Ok::<(), documentbuffer::journal::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub(super) journal: u128,
    pub(super) mark: Mark,
}

impl Cursor {
    /// The position of the next document.
    pub fn position(&self) -> u64 {
        self.mark.position
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cursor { journal, mark } = self;
        let Mark {
            segment,
            offset,
            tip,
            documents,
            bytes,
            position,
        } = mark;
        write!(
            f,
            "{FORM}-{journal:032x}-{position}-{segment}-{offset}-{documents}-{bytes}-{tip:08x}"
        )
    }
}

/// A text that is no [`Cursor`], or one that a later version wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadCursor(());

impl fmt::Display for BadCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a cursor of this version: go on from a position instead")
    }
}

impl std::error::Error for BadCursor {}

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Cursor, BadCursor> {
        parse(text).ok_or(BadCursor(()))
    }
}

fn parse(text: &str) -> Option<Cursor> {
    let mut parts = text.split('-');
    let _form = parts.next().filter(|form| *form == FORM)?;
    let journal = u128::from_str_radix(parts.next()?, 16).ok()?;
    let mut number = || parts.next()?.parse().ok();
    let mark = Mark {
        position: number()?,
        segment: number()?,
        offset: number()?,
        documents: number()?,
        bytes: number()?,
        tip: u32::from_str_radix(parts.next()?, 16).ok()?,
    };
    let cursor = Cursor { journal, mark };
    // Each has one text: one that was cut short, or written into, is another's or nobody's.
    (cursor.to_string() == text).then_some(cursor)
}

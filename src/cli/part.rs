//! A part of a journal's directory: what it would be without some of its segments.

use std::io;
use std::path::Path;
use std::sync::Arc;

use documentbuffer::journal::{self, Reader};
use documentbuffer::store::{Directory, FileDirectory, Held, Readable, Store};

/// Digits before the dot.
const DIGITS: usize = 20;
const SUFFIX: &str = ".segment";

/// Segments by their names, which sort as their numbers do: those between the two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) above: Option<String>,
    pub(super) below: Option<String>,
}

impl Span {
    /// What comes behind the segment `name`.
    pub(super) fn above(&self, name: &str) -> Span {
        let above = Some(name.to_owned());
        let below = self.below.clone();
        Span { above, below }
    }

    /// What comes before it.
    pub(super) fn below(&self, name: &str) -> Span {
        let below = Some(name.to_owned());
        let above = self.above.clone();
        Span { above, below }
    }

    /// Whether it is the whole journal.
    pub(super) fn is_whole(&self) -> bool {
        self.above.is_none() && self.below.is_none()
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        let above = self.above.as_deref().is_none_or(|end| name > end);
        above && self.below.as_deref().is_none_or(|end| name < end)
    }

    pub(super) fn directory(&self, path: &Path) -> io::Result<Arc<Part>> {
        let files = FileDirectory::open_existing(path)?;
        let span = self.clone();
        Ok(Arc::new(Part { files, span }))
    }

    /// The segments of the span as a journal of their own.
    pub(super) fn reader(&self, path: &Path) -> journal::Result<Reader> {
        match self.directory(path) {
            Ok(part) => Reader::open_in(part),
            // As the library says it.
            Err(_) => Reader::open(path),
        }
    }
}

/// Whether a file of that name is a segment.
pub(super) fn is_segment(name: &str) -> bool {
    let digits = name.strip_suffix(SUFFIX);
    digits.is_some_and(|digits| {
        digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// A directory that shows no other segments than those of a span, and all other files.
pub(super) struct Part {
    files: FileDirectory,
    span: Span,
}

impl Directory for Part {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = self.files.list()?;
        names.retain(|name| !is_segment(name) || self.span.contains(name));
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Store + Send>> {
        self.files.create(name)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Store + Send>> {
        self.files.open(name)
    }

    fn read(&self, name: &str) -> io::Result<Box<dyn Readable>> {
        self.files.read(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.files.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.remove(name)
    }

    fn sync(&self) -> io::Result<()> {
        self.files.sync()
    }

    fn lock(&self) -> io::Result<Box<dyn Held>> {
        self.files.lock()
    }

    fn path(&self) -> Option<&Path> {
        self.files.path()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_known_by_their_names() {
        let name = |number: u64| format!("{number:020}{SUFFIX}");
        assert!(is_segment(&name(7)) && is_segment(&name(u64::MAX)));
        for other in ["lock", "7.segment", "00000000000000000007.segment.new"] {
            assert!(!is_segment(other), "{other}");
        }
        let span = Span::default().above(&name(9)).below(&name(100));
        assert!(span.contains(&name(10)) && span.contains(&name(99)));
        assert!(!span.contains(&name(9)) && !span.contains(&name(100)));
    }
}

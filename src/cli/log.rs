//! What a writing command writes to: a file, or the journal in a directory. Locked as long as it is open.

use std::fs;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::Path;

use documentbuffer::journal::{self, Durability, Journal};
use documentbuffer::{Accept, DocumentBuffer, End, FileStore, OpenError, Options, Recovery};

use super::args;
use super::damage::{self, failure_at};
use super::error::{self, Failure, Result};
use super::file;
use super::line::Item;
use super::open::{patiently, unless_locked};
use super::part::Span;
use super::source;

/// How a writing command opens its file or journal.
pub(super) struct ForWriting<'a> {
    pub(super) path: &'a Path,
    pub(super) create: bool,
    pub(super) max_document: Option<usize>,
    pub(super) write: &'a args::Write,
}

/// Open, with every other writer kept out.
pub(super) struct Log<'a> {
    path: &'a Path,
    /// Bytes of the largest document that is let through.
    limit: usize,
    kind: Kind,
}

enum Kind {
    File(Box<DocumentBuffer<FileStore>>),
    Journal(Journal),
}

impl<'a> ForWriting<'a> {
    /// Takes the lock, reads the log, and checks `--expect`.
    pub(super) fn open(&self) -> Result<Log<'a>> {
        let path = self.path;
        if let Some(expected) = self
            .write
            .expect
            .filter(|n| *n > 0 && self.create && !path.exists())
        {
            // No file is made for it.
            return Err(error::expectation(path, expected, 0));
        }
        let kind = if path.is_dir() {
            Kind::Journal(self.open_journal(&Span::default())?)
        } else {
            Kind::File(Box::new(self.open_file()?))
        };
        let limit = self.max_document.unwrap_or(usize::MAX);
        let log = Log { path, limit, kind };
        self.check(log.range().end)?;
        if let Kind::File(buffer) = &log.kind {
            say_where(path, buffer.recovery());
        }
        Ok(log)
    }

    fn accept(&self) -> Accept {
        if self.write.accept_suspect {
            Accept::Any
        } else {
            Accept::NoSuspect
        }
    }

    fn open_file(&self) -> Result<DocumentBuffer<FileStore>> {
        let path = self.path;
        let store = patiently(path, self.write.wait, || {
            let opened = if self.create {
                FileStore::open(path)
            } else {
                FileStore::open_existing(path)
            };
            unless_locked(path, opened)
        })?;
        let mut options = Options::new().accept(self.accept());
        if let Some(bytes) = self.max_document {
            options = options.max_document(bytes);
        }
        let buffer = options.open(store);
        buffer.map_err(|OpenError { error, .. }| Failure::library(path, &error))
    }

    /// What is in the segments of `span`, as a journal of their own; of a span that is not the whole there
    /// must be some.
    pub(super) fn open_journal(&self, span: &Span) -> Result<Journal> {
        let path = self.path;
        let failed = |error: &journal::Error| damage::failure(path, error);
        let directory = span.directory(path);
        let directory = directory.map_err(|error| Failure::io(path, "open", &error))?;
        let may_begin = self.create && span.is_whole() && is_bare(path)?;
        let codec = match span.reader(path).and_then(|reader| reader.codec()) {
            Ok(codec) => codec,
            Err(journal::Error::NotFound { .. }) if may_begin => String::new(),
            Err(error) => return Err(failed(&error)),
        };
        // With the codec that it has.
        let mut options = journal::Options::new().codec(codec).accept(self.accept());
        if let Some(bytes) = self.max_document {
            options = options.max_document(bytes);
        }
        patiently(path, self.write.wait, || {
            match options.open_in(directory.clone()) {
                Ok(journal) => Ok(Some(journal)),
                Err(journal::Error::Locked { .. }) => Ok(None),
                // A segment, as long as it takes to be born of a writer, or to be asked for its lock.
                Err(journal::Error::Io { source, .. })
                    if source.kind() == ErrorKind::WouldBlock =>
                {
                    Ok(None)
                }
                Err(error) => Err(failed(&error)),
            }
        })
    }

    /// Whether the next position is the one that was expected.
    pub(super) fn check(&self, end: u64) -> Result<()> {
        match self.write.expect.filter(|expected| *expected != end) {
            Some(expected) => Err(error::expectation(self.path, expected, end)),
            None => Ok(()),
        }
    }
}

/// Whether a directory has nothing but what the beginning of a journal leaves.
fn is_bare(path: &Path) -> Result<bool> {
    let failed = |error| Failure::io(path, "list", &error);
    for entry in fs::read_dir(path).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let name = name.to_string_lossy();
        if name != "lock" && !name.ends_with(".segment.new") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Tells a writer's user where it goes on, if that is not at a sound end.
fn say_where(path: &Path, recovery: &Recovery) {
    match recovery.end {
        End::Torn { offset, reason } => error::note(
            path,
            &format!("torn at offset {offset} ({reason}), as a crash leaves it; going on there"),
        ),
        End::Suspect { offset, .. } => error::note(
            path,
            &format!(
                "damaged at offset {offset}; going on there, what lies behind is copied first"
            ),
        ),
        _ => {}
    }
}

impl Log<'_> {
    /// Positions of the documents that it holds; for a journal they go on counting from those discarded.
    pub(super) fn range(&self) -> Range<u64> {
        match &self.kind {
            Kind::File(buffer) => 0..buffer.len(),
            Kind::Journal(journal) => journal.first()..journal.end(),
        }
    }

    fn failed(&self, error: &documentbuffer::Error) -> Failure {
        Failure::library(self.path, error)
    }

    fn journal_failed(&self, error: &journal::Error) -> Failure {
        damage::failure(self.path, error)
    }

    /// Appends a document; it is safe after the next [`flush`](Log::flush) or [`sync`](Log::sync).
    pub(super) fn push(&mut self, document: &[u8]) -> Result<()> {
        match &mut self.kind {
            Kind::File(buffer) => {
                let pushed = buffer.push(document).map(drop);
                pushed.map_err(|error| self.failed(&error))
            }
            Kind::Journal(journal) => {
                let appended = journal.append_with(document, Durability::Memory);
                appended
                    .map(drop)
                    .map_err(|error| self.journal_failed(&error))
            }
        }
    }

    /// Appends all documents, or none; likewise.
    pub(super) fn push_all<I>(&mut self, documents: I) -> Result<()>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        match &mut self.kind {
            Kind::File(buffer) => {
                let pushed = buffer.push_all(documents).map(drop);
                pushed.map_err(|error| self.failed(&error))
            }
            Kind::Journal(journal) => {
                let appended = journal.append_all_with(documents, Durability::Memory);
                appended
                    .map(drop)
                    .map_err(|error| self.journal_failed(&error))
            }
        }
    }

    /// Makes everything survive the end of the process.
    pub(super) fn flush(&mut self) -> Result<()> {
        match &mut self.kind {
            Kind::File(buffer) => {
                let flushed = buffer.flush();
                flushed.map_err(|error| self.failed(&error))
            }
            Kind::Journal(journal) => {
                let flushed = journal.flush();
                flushed.map_err(|error| self.journal_failed(&error))
            }
        }
    }

    /// Makes everything survive power loss.
    pub(super) fn sync(&mut self) -> Result<()> {
        match &mut self.kind {
            Kind::File(buffer) => {
                let synced = buffer.sync();
                synced.map_err(|error| self.failed(&error))
            }
            Kind::Journal(journal) => {
                let synced = journal.sync();
                synced.map_err(|error| self.journal_failed(&error))
            }
        }
    }

    /// Hands the documents from position `from` on to `each`, newest first.
    pub(super) fn newest_first(
        &mut self,
        from: u64,
        needs_places: bool,
        mut each: impl FnMut(&Item<'_>) -> Result<()>,
    ) -> Result<()> {
        let (path, limit) = (self.path, self.limit);
        match &mut self.kind {
            Kind::File(buffer) => {
                let range = from..buffer.len();
                file::walk_back(path, buffer, range, needs_places, &mut each)
            }
            Kind::Journal(journal) => {
                let rev = journal.rev();
                let mut rev = rev.map_err(|error| damage::failure(path, &error))?;
                let mut at = journal.end();
                while at > from {
                    at -= 1;
                    let next = rev.next();
                    let next = next.map_err(|error| failure_at(path, &error, Some(at)))?;
                    let Some(document) = next else { break };
                    each(&source::item(path, &document, limit)?)?;
                }
                Ok(())
            }
        }
    }

    /// Keeps the documents before position `keep`, and gives the rest of the room back.
    pub(super) fn cut(mut self, keep: u64) -> Result<()> {
        if keep == self.range().end {
            return Ok(());
        }
        match &mut self.kind {
            Kind::File(buffer) => {
                let cut = buffer.truncate_after(keep).map(drop);
                cut.map_err(|error| self.failed(&error))?;
            }
            Kind::Journal(journal) => {
                let cut = journal.truncate_after(keep);
                cut.map_err(|error| self.journal_failed(&error))?;
            }
        }
        self.finish()
    }

    /// Ends a command that has changed something: everything is synced, and nothing is longer than it need be.
    pub(super) fn finish(mut self) -> Result<()> {
        self.sync()?;
        let path = self.path;
        match self.kind {
            Kind::File(buffer) => {
                say_what_was_kept(path, &buffer);
                let finished = buffer.finish().map(drop);
                finished.map_err(|failed| Failure::library(path, &failed.error))
            }
            Kind::Journal(journal) => {
                let closed = journal.close().map(drop);
                closed.map_err(|error| damage::failure(path, &error))
            }
        }
    }

    /// As [`finish`](Log::finish), without a sync.
    pub(super) fn close(mut self) -> Result<()> {
        let path = self.path;
        match self.kind {
            Kind::File(buffer) => {
                say_what_was_kept(path, &buffer);
                let closed = buffer.close().map(drop);
                closed.map_err(|failed| Failure::library(path, &failed.error))
            }
            // Its own close would sync.
            Kind::Journal(_) => self.flush(),
        }
    }
}

/// Names the file with what lay behind a suspect end.
fn say_what_was_kept(path: &Path, buffer: &DocumentBuffer<FileStore>) {
    if let Some(kept) = buffer.preserved() {
        error::note(
            path,
            &format!(
                "what lay behind the damage is kept in {}",
                error::shown(kept)
            ),
        );
    }
}

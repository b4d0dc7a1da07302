//! What a journal does, told to the crate `tracing` (target `documentbuffer::journal`).
//!
//! A span belongs to the thread that does the work: under group commit that is one of the callers, or the
//! thread `documentbuffer`.

use std::path::Path;

use tracing::field::{Empty, display};
use tracing::span::EnteredSpan;
use tracing::{debug_span, info_span};

use super::error::{Error, Result};
use super::options::Durability;
use crate::buffer::End;

const TARGET: &str = "documentbuffer::journal";

/// Something a journal does, until it is dropped.
pub(super) struct Span(EnteredSpan);

impl Span {
    /// A group goes to the store, on behalf of so many callers.
    pub(super) fn commit(
        documents: usize,
        bytes: usize,
        waiters: usize,
        durability: Durability,
    ) -> Span {
        let span = debug_span!(target: TARGET, "commit", documents, bytes, waiters, ?durability);
        Span(span.entered())
    }

    /// Segment `segment` begins at `position`; the one before it holds so many documents in so many bytes.
    pub(super) fn rotate(segment: u64, position: u64, documents: u64, bytes: u64) -> Span {
        let span = info_span!(target: TARGET, "rotate", segment, position, documents, bytes);
        Span(span.entered())
    }

    /// The documents from `position` on are taken away.
    pub(super) fn truncate(position: u64, documents: u64) -> Span {
        Span(info_span!(target: TARGET, "truncate", position, documents).entered())
    }

    /// Segments before `position` are discarded.
    pub(super) fn discard(position: u64) -> Span {
        let span =
            info_span!(target: TARGET, "discard", position, documents = Empty, segments = Empty);
        Span(span.entered())
    }

    pub(super) fn discarded(&self, documents: u64, segments: usize) {
        self.0.record("documents", documents);
        self.0.record("segments", segments);
    }

    /// A journal is opened for writing.
    pub(super) fn recover(directory: &Path) -> Span {
        let span = info_span!(
            target: TARGET, "recover", directory = %directory.display(),
            segments = Empty, documents = Empty, bytes = Empty, end = Empty
        );
        Span(span.entered())
    }

    /// So many segments; so much of the live one was read, up to that end.
    pub(super) fn recovered(&self, segments: usize, documents: u64, bytes: u64, end: &End) {
        self.0.record("segments", segments);
        self.0.record("documents", documents);
        self.0.record("bytes", bytes);
        self.0.record("end", display(end));
        if let End::Suspect { .. } = end {
            tracing::warn!(target: TARGET, %end, "intact records stand behind the end of the journal");
        }
    }

    /// How it ended, if not well.
    pub(super) fn ended<T>(&self, result: &Result<T>) {
        match result {
            Err(error @ Error::Failed { .. }) => {
                tracing::error!(target: TARGET, %error, "the journal is at its end");
            }
            Err(error) => tracing::warn!(target: TARGET, %error, "failed"),
            Ok(_) => {}
        }
    }
}

/// A snapshot that is there is not used.
pub(super) fn ignored(snapshot: &impl std::fmt::Display) {
    tracing::warn!(target: TARGET, %snapshot, "a snapshot is ignored");
}

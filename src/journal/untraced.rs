//! What `trace.rs` is without the feature `tracing`: nothing.

use std::path::Path;

use super::error::Result;
use super::options::Durability;
use crate::buffer::End;

pub(super) struct Span;

impl Span {
    pub(super) fn commit(_: usize, _: usize, _: usize, _: Durability) -> Span {
        Span
    }

    pub(super) fn rotate(_: u64, _: u64, _: u64, _: u64) -> Span {
        Span
    }

    pub(super) fn truncate(_: u64, _: u64) -> Span {
        Span
    }

    pub(super) fn discard(_: u64) -> Span {
        Span
    }

    pub(super) fn discarded(&self, _: u64, _: usize) {}

    pub(super) fn recover(_: &Path) -> Span {
        Span
    }

    pub(super) fn recovered(&self, _: usize, _: u64, _: u64, _: &End) {}

    pub(super) fn ended<T>(&self, _: &Result<T>) {}
}

pub(super) fn ignored(_: &impl std::fmt::Display) {}

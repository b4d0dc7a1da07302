//! The interface every peer implements.
use crate::docs::Docs;
use std::path::Path;
use std::sync::Arc;

pub type R<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What a measurement wants from a store when opening it.
// Not every set of features reads them all.
#[allow(dead_code)]
#[derive(Clone, Copy, Debug)]
pub struct Opts {
    pub doc_size: usize,
    /// Number of documents the case is going to push.
    pub docs: usize,
    /// Every push will be followed by a sync: pick the durable configuration.
    pub durable: bool,
    /// Cap on the peer's cache (last-in-first-out cases); `None`: the peer's best.
    pub mem_bound: Option<usize>,
}

/// One open store, used by one thread.
pub trait Store {
    /// Append one document; no durability asked.
    fn push(&mut self, doc: &[u8]) -> R<()>;

    /// Append documents `lo..hi` in the way the peer does best (its batches,
    /// its transactions). No durability asked.
    fn push_all(&mut self, docs: &Docs, lo: usize, hi: usize) -> R<()> {
        for i in lo..hi {
            self.push(docs.get(i))?;
        }
        Ok(())
    }

    /// Make everything pushed so far durable.
    fn sync(&mut self) -> R<()>;

    /// Append one document and make it durable before returning.
    fn push_durable(&mut self, doc: &[u8]) -> R<()> {
        self.push(doc)?;
        self.sync()
    }

    /// Remove the newest document, handing its bytes to `f`. `false`: empty.
    fn pop(&mut self, _f: &mut dyn FnMut(&[u8])) -> R<bool> {
        Err("the peer cannot remove its newest document".into())
    }

    /// Hand every document to `f`, oldest first, verifying checksums where the
    /// peer has them.
    fn replay(&mut self, f: &mut dyn FnMut(&[u8])) -> R<()>;
}

/// A store that several threads push to, with the peer's own group commit.
pub trait Shared: Send + Sync {
    fn push_durable(&self, doc: &[u8]) -> R<()>;
}

/// A peer: how to open it, and which cases it can take part in.
pub trait Peer {
    fn name(&self) -> &'static str;
    /// The configuration used, for the report.
    fn config(&self) -> &'static str;
    fn cases(&self) -> &'static [Case];
    fn open(&self, dir: &Path, opts: Opts) -> R<Box<dyn Store>>;
    /// Open and hand every document to `f` in the same pass, for a peer that
    /// can: `replay` is then this, and open followed by replay gets a row of
    /// its own. `None`: open comes first, replay after it.
    fn open_with(
        &self,
        _dir: &Path,
        _opts: Opts,
        _f: &mut dyn FnMut(&[u8]),
    ) -> Option<R<Box<dyn Store>>> {
        None
    }
    /// Bytes that count against the peer's memory bound for each document,
    /// beside its own. Not 0: thrash also runs at the levels that this moves.
    fn overhead(&self) -> usize {
        0
    }
    fn open_shared(&self, _dir: &Path, _opts: Opts) -> R<Arc<dyn Shared>> {
        Err("the peer has no shared push".into())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// Buffered append, one final sync; then replay; then reopen.
    Log,
    /// Push and sync each, one thread.
    Durable,
    /// Push and sync each, eight threads on one store.
    Durable8,
    /// Push N, pop N, with the cache bounded.
    Lifo,
    /// Push 2, pop 2 over and over around the cache bound.
    Thrash,
}

impl Case {
    pub const ALL: [Case; 5] = [
        Case::Log,
        Case::Durable,
        Case::Durable8,
        Case::Lifo,
        Case::Thrash,
    ];
    pub fn name(self) -> &'static str {
        match self {
            Case::Log => "log",
            Case::Durable => "durable",
            Case::Durable8 => "durable8",
            Case::Lifo => "lifo",
            Case::Thrash => "thrash",
        }
    }
    pub fn parse(s: &str) -> Option<Case> {
        Case::ALL.into_iter().find(|c| c.name() == s)
    }
}

/// fdatasync of every regular file under `dir`: for peers with no sync of
/// their own.
#[allow(dead_code)]
pub fn sync_files(dir: &Path) -> R<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            sync_files(&path)?;
        } else if path.is_file() {
            std::fs::File::open(&path)?.sync_data()?;
        }
    }
    Ok(())
}

//! The crate's journal.
use crate::store::{Case, Opts, Peer, R, Shared, Store};
use documentbuffer::journal::{Durability, Journal, Options};
use std::path::Path;
use std::sync::Arc;

pub struct JournalPeer;

/// Closed when it goes.
struct Open(Option<Journal>);

impl Open {
    fn journal(&self) -> &Journal {
        self.0.as_ref().expect("open until it goes")
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(journal) = self.0.take() {
            journal.close().expect("closes");
        }
    }
}

fn open(dir: &Path) -> R<Open> {
    Ok(Open(Some(Options::new().open(dir.join("journal"))?)))
}

impl Peer for JournalPeer {
    fn name(&self) -> &'static str {
        "journal"
    }
    fn config(&self) -> &'static str {
        "this crate's journal: default options (segments of 64 MiB); buffered: append at \
         Durability::Memory, one document at a time; durable: append; replay: open, then \
         Replay::each; closed before each opening"
    }
    fn cases(&self) -> &'static [Case] {
        &[Case::Log, Case::Durable, Case::Durable8]
    }
    fn open(&self, dir: &Path, _: Opts) -> R<Box<dyn Store>> {
        Ok(Box::new(open(dir)?))
    }
    fn open_shared(&self, dir: &Path, _: Opts) -> R<Arc<dyn Shared>> {
        Ok(Arc::new(open(dir)?))
    }
}

impl Store for Open {
    fn push(&mut self, doc: &[u8]) -> R<()> {
        self.journal().append_with(doc, Durability::Memory)?;
        Ok(())
    }
    fn sync(&mut self) -> R<()> {
        Ok(self.journal().sync()?)
    }
    fn push_durable(&mut self, doc: &[u8]) -> R<()> {
        self.journal().append(doc)?;
        Ok(())
    }
    fn replay(&mut self, f: &mut dyn FnMut(&[u8])) -> R<()> {
        Ok(self
            .journal()
            .replay(0)?
            .each(|document| f(document.bytes))?)
    }
}

impl Shared for Open {
    fn push_durable(&self, doc: &[u8]) -> R<()> {
        self.journal().append(doc)?;
        Ok(())
    }
}

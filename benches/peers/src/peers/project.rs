//! The crate under test.
use crate::store::{Case, Opts, Peer, R, Store};
use documentbuffer::store::FileStore;
use documentbuffer::{DocumentBuffer, Error, Options};
use std::path::Path;

pub struct Project;

struct Open {
    buffer: DocumentBuffer<FileStore>,
}

impl Open {
    fn boxed(buffer: DocumentBuffer<FileStore>) -> Box<dyn Store> {
        Box::new(Open { buffer })
    }
}

fn options(o: Opts) -> Options {
    match o.mem_bound {
        Some(bytes) => Options::new().memory(bytes),
        None => Options::new(),
    }
}

fn file(dir: &Path) -> R<FileStore> {
    Ok(FileStore::open(dir.join("buffer"))?)
}

impl Peer for Project {
    fn name(&self) -> &'static str {
        "project"
    }
    fn config(&self) -> &'static str {
        "this crate: FileStore, default options, every document pushed by itself; durable: push \
         and sync; replay: Options::open_with, in one pass with the verification \
         (project-open+replay: open, then replay()); lifo and thrash: 4 MiB of memory, pop_with \
         (project-own-bound: fill levels counted with 16 bytes more for each document)"
    }
    fn cases(&self) -> &'static [Case] {
        &[Case::Log, Case::Durable, Case::Lifo, Case::Thrash]
    }
    fn open(&self, dir: &Path, o: Opts) -> R<Box<dyn Store>> {
        let buffer = options(o).open(file(dir)?).map_err(Error::from)?;
        Ok(Open::boxed(buffer))
    }
    fn open_with(
        &self,
        dir: &Path,
        o: Opts,
        f: &mut dyn FnMut(&[u8]),
    ) -> Option<R<Box<dyn Store>>> {
        let mut open = || {
            let buffer = options(o)
                .open_with(file(dir)?, |_, doc| f(doc))
                .map_err(Error::from)?;
            Ok(Open::boxed(buffer))
        };
        Some(open())
    }
    fn overhead(&self) -> usize {
        16
    }
}

impl Store for Open {
    #[inline]
    fn push(&mut self, doc: &[u8]) -> R<()> {
        self.buffer.push(doc)?;
        Ok(())
    }
    fn sync(&mut self) -> R<()> {
        Ok(self.buffer.sync()?)
    }
    fn pop(&mut self, f: &mut dyn FnMut(&[u8])) -> R<bool> {
        Ok(self
            .buffer
            .pop_with(|doc| Ok::<_, Error>(f(doc)))?
            .is_some())
    }
    fn replay(&mut self, f: &mut dyn FnMut(&[u8])) -> R<()> {
        let mut docs = self.buffer.replay();
        while let Some(doc) = docs.next()? {
            f(doc);
        }
        Ok(())
    }
}

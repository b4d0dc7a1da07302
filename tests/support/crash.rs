//! A disk that the test keeps a hand on while a buffer stands on it, and the oracle that says what a crash
//! may leave.

use std::cell::{Cell, RefCell, RefMut};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use documentbuffer::store::fault::FaultStore;
use documentbuffer::{DocumentBuffer, Error, Options, Store};

/// Documents, oldest first, by their place in the test's pool of documents.
pub(crate) type Sequence = Vec<u8>;

/// Stands for bytes that are no document of the pool: fiction.
pub(crate) const UNKNOWN: u8 = u8::MAX;

/// A fault store shared by the buffer and the test.
#[derive(Clone)]
pub(crate) struct Disk {
    store: Rc<RefCell<FaultStore>>,
    failing: Rc<Cell<Option<usize>>>,
}

impl Disk {
    pub(crate) fn new(store: FaultStore) -> Disk {
        Disk {
            store: Rc::new(RefCell::new(store)),
            failing: Rc::default(),
        }
    }

    pub(crate) fn get(&self) -> RefMut<'_, FaultStore> {
        self.store.borrow_mut()
    }

    /// The write of records behind the next `skip` ones reaches the store and fails all the same.
    pub(crate) fn fail_records(&self, skip: usize) {
        self.failing.set(Some(skip));
    }

    /// Whether this write of records is the one to fail. A first word of kind 1 or 2 is no END.
    fn fails(&self, buf: &[u8]) -> bool {
        let records = matches!(buf.first(), Some(byte) if byte & 3 == 1 || byte & 3 == 2);
        if !records || buf.starts_with(b"\x89DOCBUF\n") {
            return false;
        }
        let left = self.failing.get();
        self.failing.set(left.and_then(|left| left.checked_sub(1)));
        left == Some(0)
    }
}

impl Read for Disk {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.get().read(buf)
    }
}

impl Write for Disk {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let count = self.get().write(buf)?;
        if self.fails(buf) {
            return Err(ErrorKind::Other.into());
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.get().flush()
    }
}

impl Seek for Disk {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.get().seek(to)
    }
}

impl Store for Disk {
    fn sync(&mut self) -> io::Result<()> {
        self.get().sync()
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.get().set_len(len)
    }

    fn lock(&mut self) -> io::Result<()> {
        self.get().lock()
    }

    fn preserve(&mut self, from: u64) -> io::Result<Option<PathBuf>> {
        self.get().preserve(from)
    }

    fn name(&self) -> Option<&Path> {
        None
    }
}

/// The sequences that the buffer held, or was asked to hold by a call that failed, since the moment that
/// each kind of crash cannot go behind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Oracle {
    pub(crate) now: Sequence,
    /// Since the last good sync: what a power cut may leave.
    power: Vec<Sequence>,
    /// Since the last good flush: what the death of the process may leave.
    kill: Vec<Sequence>,
}

impl Oracle {
    /// Nothing but `now`, and that durable.
    pub(crate) fn new(now: Sequence) -> Oracle {
        Oracle {
            power: vec![now.clone()],
            kill: vec![now.clone()],
            now,
        }
    }

    /// The buffer holds `now` from here on.
    pub(crate) fn hold(&mut self, now: Sequence) {
        self.now.clone_from(&now);
        self.ask(now);
    }

    pub(crate) fn push(&mut self, document: u8) {
        let mut now = self.now.clone();
        now.push(document);
        self.hold(now);
    }

    /// The newest go, one after the other, until `left` are left: to a crash each is an operation of its
    /// own.
    pub(crate) fn take(&mut self, left: usize) {
        while self.now.len() > left {
            let mut now = self.now.clone();
            now.pop();
            self.hold(now);
        }
    }

    /// A call failed that would have led to `asked`.
    pub(crate) fn ask(&mut self, asked: Sequence) {
        for legal in [&mut self.power, &mut self.kill] {
            if !legal.contains(&asked) {
                legal.push(asked.clone());
            }
        }
    }

    /// A call failed that would have pushed `documents`, each an operation of its own.
    pub(crate) fn ask_push(&mut self, documents: &[u8]) {
        let mut asked = self.now.clone();
        for document in documents {
            asked.push(*document);
            self.ask(asked.clone());
        }
    }

    pub(crate) fn flushed(&mut self) {
        self.kill = vec![self.now.clone()];
    }

    pub(crate) fn synced(&mut self) {
        self.flushed();
        self.power.clone_from(&self.kill);
    }

    /// A failed sync took back what the next process would have seen.
    pub(crate) fn reverted(&mut self) {
        self.kill.clone_from(&self.power);
    }

    /// What a power cut may leave.
    pub(crate) fn after_power_cut(&self) -> &[Sequence] {
        &self.power
    }

    /// What the death of the process may leave.
    pub(crate) fn after_kill(&self) -> &[Sequence] {
        &self.kill
    }

    /// The process died; the next one found `found`, which is legal. A power cut reaches as far back as before.
    pub(crate) fn killed(&mut self, found: Sequence) {
        self.kill = vec![found.clone()];
        self.now = found;
    }
}

/// Whether the buffer knows how to sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Syncs,
    Bare,
}

/// Opens what is on the disk and reads all of it in the same pass; proves that this wrote nothing.
pub(crate) fn open(
    disk: &Disk,
    options: &Options,
    kind: Kind,
    pool: &[Vec<u8>],
) -> Result<(DocumentBuffer<Disk>, Sequence), Error> {
    let before = disk.get().view().to_vec();
    let calls = disk.get().calls();
    let mut found = Sequence::new();
    let each = |_, bytes: &[u8]| {
        let known = pool.iter().position(|document| document == bytes);
        found.push(known.map_or(UNKNOWN, |known| known as u8));
    };
    let opened = match kind {
        Kind::Syncs => options.open_with(disk.clone(), each),
        Kind::Bare => options.open_bare_with(disk.clone(), each),
    };
    let store = disk.get();
    let changes = |calls: documentbuffer::store::fault::Calls| {
        (calls.writes, calls.syncs, calls.set_lens, calls.preserves)
    };
    assert_eq!(
        changes(store.calls()),
        changes(calls),
        "opening changed the store"
    );
    assert!(store.view() == before, "opening changed the store");
    drop(store);
    match opened {
        Ok(buffer) => {
            assert_eq!(
                buffer.len(),
                found.len() as u64,
                "documents counted and given"
            );
            Ok((buffer, found))
        }
        Err(failed) => Err(failed.error),
    }
}

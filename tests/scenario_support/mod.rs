//! What the scenario and fault tests share: a second reader and writer of the format, a disk that the test
//! keeps a hand on, and the comparison of all readers.

// Each test program uses a part of this.
#![allow(dead_code, unreachable_pub)]

pub mod format;
pub mod workload;

use std::cell::{RefCell, RefMut};
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use documentbuffer::store::fault::{FaultStore, Filler, Unsynced};
use documentbuffer::{
    DocumentBuffer, End, Error, Feature, Image, Options, Recovery, Salvage, Scan, Store,
};

pub type Documents = Vec<Vec<u8>>;

/// A list of documents.
#[macro_export]
macro_rules! seq {
    ($($document:expr),* $(,)?) => {
        vec![$(AsRef::<[u8]>::as_ref(&$document).to_vec()),*]
    };
}

/// A document of `len` bytes that differs from those with another tag wherever it has a byte.
pub fn doc(tag: u8, len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| tag ^ (i as u8).wrapping_mul(0x5B) ^ (i >> 8) as u8)
        .collect()
}

/// Documents of these lengths, all of them different.
pub fn docs(lens: &[usize]) -> Documents {
    let numbered = lens.iter().enumerate();
    numbered.map(|(tag, len)| doc(tag as u8, *len)).collect()
}

/// A fault store in the hands of the buffer and the test.
#[derive(Clone, Debug)]
pub struct Disk(Rc<RefCell<FaultStore>>);

impl Disk {
    pub fn empty() -> Disk {
        Disk::holding(Vec::new())
    }

    /// A disk on which these bytes are durable.
    pub fn holding(bytes: Vec<u8>) -> Disk {
        Disk(Rc::new(RefCell::new(FaultStore::with_contents(1, bytes))))
    }

    pub fn get(&self) -> RefMut<'_, FaultStore> {
        self.0.borrow_mut()
    }

    pub fn view(&self) -> Vec<u8> {
        self.get().view().to_vec()
    }

    pub fn durable(&self) -> Vec<u8> {
        self.get().durable().to_vec()
    }

    /// Makes everything durable that was written, whoever wrote it.
    pub fn settle(&self) {
        self.get().sync().expect("a sync");
    }

    /// A disk that goes on by itself.
    pub fn copy(&self) -> Disk {
        Disk(Rc::new(RefCell::new(self.get().clone())))
    }

    /// Writes behind the buffer's back.
    pub fn overwrite(&self, offset: usize, bytes: &[u8]) {
        let mut store = self.get();
        store.seek(SeekFrom::Start(offset as u64)).expect("a seek");
        store.write_all(bytes).expect("a write");
    }
}

impl Read for Disk {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.get().read(buf)
    }
}

impl Write for Disk {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.get().write(buf)
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

/// Whether a buffer knows how to sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handle {
    Syncs,
    Bare,
}

pub const HANDLES: [Handle; 2] = [Handle::Syncs, Handle::Bare];

/// No memory: every push reaches the store at once. Each life takes a seed of its own.
pub fn options(seed: u64) -> Options {
    Options::new().memory(0).seed(seed)
}

pub fn open(disk: &Disk, seed: u64, handle: Handle) -> DocumentBuffer<Disk> {
    match handle {
        Handle::Syncs => options(seed).open(disk.clone()),
        Handle::Bare => options(seed).open_bare(disk.clone()),
    }
    .expect("a log")
}

/// An empty log whose header is durable, and nothing else.
pub fn born() -> Disk {
    Disk::holding(format::Writer::new(0xD15C).bytes)
}

/// A log with these groups of documents, each with a mark before it; the handle has settled, and all of it
/// is durable.
pub fn log(handle: Handle, groups: &[Documents]) -> (Disk, DocumentBuffer<Disk>) {
    let disk = born();
    let mut buffer = open(&disk, 1, handle);
    for group in groups {
        buffer.push("moves the end down again").expect("push");
        buffer.pop().expect("pop");
        for document in group {
            buffer.push(document).expect("push");
        }
    }
    buffer.flush().expect("flush");
    disk.settle();
    if handle == Handle::Syncs {
        buffer.sync().expect("sync");
    }
    (disk, buffer)
}

/// What opening found.
#[derive(Clone, Debug)]
pub struct Found {
    pub documents: Documents,
    pub recovery: Recovery,
}

impl Found {
    pub fn end(&self) -> End {
        self.recovery.end
    }
}

/// What is in these bytes, by every reader there is: they must agree, and none may write. A journal's
/// segment, which a buffer refuses, is what a scan finds.
pub fn try_find(image: &[u8]) -> Result<Found, Error> {
    let mut store = Cursor::new(image.to_vec());
    let mut documents = Documents::new();
    let opened = Options::new()
        .seed(1)
        .open_with(&mut store, |position, bytes| {
            assert_eq!(position, documents.len() as u64);
            documents.push(bytes.to_vec());
        })
        .map(|buffer| {
            assert_eq!(buffer.len(), buffer.recovery().documents);
            buffer.recovery().clone()
        })
        .map_err(|failed| failed.error);
    let second = format::read(image);
    let journals = |log: &format::Log| log.segment || !log.batches.is_empty();
    let segment = second.as_ref().is_some_and(journals);
    let scanned = scan(image);
    let opened = match (opened, &scanned) {
        (Err(Error::Segment), Ok((_, found))) if segment => Ok(found.clone()),
        (Ok(_), _) if segment => panic!("what a journal wrote was opened"),
        (opened, _) => opened,
    };
    check_second(second, &documents, &opened);
    for (reader, found) in [("a scan", scanned), ("an image", lent(image))] {
        match (&opened, &found) {
            (Ok(recovery), Ok((seen, found))) => {
                assert!(*seen == documents, "{reader} finds other documents");
                assert_eq!(found, recovery, "{reader}");
            }
            (Err(one), Err(other)) => assert_eq!(one.to_string(), other.to_string(), "{reader}"),
            (opened, found) => panic!("open and {reader} disagree: {opened:?}, {found:?}"),
        }
    }
    assert!(store.into_inner() == image, "opening wrote");
    opened.map(|recovery| Found {
        documents,
        recovery,
    })
}

/// What the second reader says to it.
fn check_second(
    second: Option<format::Log>,
    documents: &Documents,
    opened: &Result<Recovery, Error>,
) {
    let recovery = match opened {
        Ok(recovery) => recovery,
        Err(Error::Unsupported { what, number, .. }) if *what == Feature::ControlCode => {
            let stop = second.map(|log| log.stop);
            assert_eq!(stop, Some(format::Stop::Unknown(*number as u8)));
            return;
        }
        Err(_) => return,
    };
    let (second_documents, end) = second.as_ref().map_or((Vec::new(), 0), |log| {
        assert!(!matches!(log.stop, format::Stop::Unknown(_)));
        (log.documents(), log.end as u64)
    });
    assert!(
        *documents == second_documents,
        "the second reader finds other documents"
    );
    assert_eq!(recovery.offset, end, "the second reader ends elsewhere");
    let clean = second.is_none_or(|log| log.stop == format::Stop::End);
    assert_eq!(
        recovery.end == End::Clean,
        clean,
        "the second reader ends otherwise"
    );
}

/// The same, where there must be a log.
pub fn find(image: &[u8]) -> Found {
    try_find(image).unwrap_or_else(|error| panic!("{error}"))
}

/// The same, and by opening without a look at the documents.
pub fn find_in_all(image: &[u8]) -> Found {
    let found = find(image);
    let opened = Options::new().open(Cursor::new(image.to_vec()));
    match opened.map(|buffer| buffer.recovery().clone()) {
        Ok(recovery) => assert_eq!(recovery, found.recovery),
        Err(failed) => assert!(matches!(failed.error, Error::Segment), "{failed}"),
    }
    found
}

/// All readers find `documents`, and nothing wrong.
pub fn assert_clean(log: format::Writer, documents: &[Vec<u8>]) {
    let found = find_in_all(&log.end().bytes);
    assert_eq!(found.end(), End::Clean);
    assert!(found.documents == documents);
}

fn scan(image: &[u8]) -> Result<(Documents, Recovery), Error> {
    let mut scan = Scan::new(Cursor::new(image))?.max_document(64 << 20);
    let mut documents = Documents::new();
    while let Some(document) = scan.next()? {
        assert_eq!(document.position, documents.len() as u64);
        documents.push(document.bytes.to_vec());
    }
    Ok((documents, scan.recovery().expect("the end").clone()))
}

/// The reader of a log that is all in memory.
fn lent(image: &[u8]) -> Result<(Documents, Recovery), Error> {
    let mut image = Image::new(image)?;
    let mut documents = Documents::new();
    for document in image.by_ref() {
        let document = document?;
        assert_eq!(document.position, documents.len() as u64);
        documents.push(document.bytes.to_vec());
    }
    let recovery = image.recovery()?;
    Ok((documents, recovery))
}

/// Offset, bytes and link of every document that salvage finds.
pub fn salvage(image: &[u8]) -> Vec<(u64, Vec<u8>, bool)> {
    let mut salvage = Salvage::new(Cursor::new(image)).expect("a header");
    let mut found = Vec::new();
    while let Some(document) = salvage.next().expect("memory reads") {
        found.push((document.offset, document.bytes.to_vec(), document.linked));
    }
    found
}

/// What the buffer holds, without disturbing it.
pub fn contents<S: Read + Write + Seek>(buffer: &mut DocumentBuffer<S>) -> Documents {
    let all: Documents = buffer.replay().collect::<Result<_, _>>().expect("replay");
    assert_eq!(all.len() as u64, buffer.len());
    all
}

/// Where unsynced writes begin and end, where the records in them do, and `inside` each record.
pub fn cuts(store: &FaultStore, inside: &[usize]) -> Vec<u64> {
    let mut cuts = Vec::new();
    for change in store.unsynced() {
        let Unsynced::Write { offset, bytes } = change else {
            continue;
        };
        let offset = offset as usize;
        cuts.extend([offset, offset + bytes.len()]);
        if offset < format::HEADER {
            cuts.extend((0..bytes.len()).step_by(16));
            continue;
        }
        let mut at = 0;
        while let Some(word) = bytes.get(at..at + 4) {
            let word = u32::from_le_bytes(word.try_into().expect("four bytes"));
            let payload = if word & 3 == 2 {
                0
            } else {
                (word >> 2) as usize
            };
            cuts.extend(inside.iter().map(|inside| offset + at + inside));
            at += payload + format::OVERHEAD;
            cuts.push(offset + at);
        }
    }
    cuts.into_iter().map(|cut| cut as u64).collect()
}

/// Hands over every image that a power cut now can leave, torn between records and `inside` each of them,
/// with zeros and with ones for what was lost of an extension.
pub fn images(disk: &Disk, inside: &[usize], mut each: impl FnMut(&[u8])) -> usize {
    let store = disk.get().clone();
    let cuts = cuts(&store, inside);
    [Filler::Zero, Filler::Ones]
        .into_iter()
        .map(|filler| store.images_by_unit(&cuts, filler, &mut each))
        .sum()
}

/// Every power cut now leaves one of these; says which were seen.
pub fn assert_legal(disk: &Disk, inside: &[usize], legal: &[Documents]) -> Vec<Documents> {
    let mut seen = Vec::new();
    images(disk, inside, |image| {
        let found = find(image);
        assert!(
            legal.contains(&found.documents),
            "{} documents that were never held, or not since the last sync: {:?}",
            found.documents.len(),
            found.end()
        );
        if !seen.contains(&found.documents) {
            seen.push(found.documents);
        }
    });
    seen
}

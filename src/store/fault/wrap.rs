//! A store without weight, and one that counts.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::Calls;
use crate::store::Store;

const PAGE: u64 = 4096;
/// The largest offset of a file.
const LIMIT: u64 = i64::MAX as u64;

/// A store in memory with offsets up to 2^63 - 1, of which only the written pages take room.
///
/// Whatever was never written reads as zeros. As in a file, nothing can be written at 2^63 - 1 or
/// behind: a write up to there is short, one from there fails with
/// [`ErrorKind::FileTooLarge`], and a seek behind it with [`ErrorKind::InvalidInput`].
///
/// # Examples
///
/// ```
/// use documentbuffer::store::fault::SparseStore;
/// use std::io::{Seek, SeekFrom, Write};
///
/// let mut store = SparseStore::with_len(1 << 40);
/// store.seek(SeekFrom::End(0))?;
/// store.write_all(b"far out")?;
/// assert_eq!((store.stream_position()?, store.pages()), ((1 << 40) + 7, 1));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct SparseStore {
    pages: BTreeMap<u64, Box<[u8]>>,
    position: u64,
    len: u64,
}

impl SparseStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// That many zeros, at most 2^63 - 1.
    pub fn with_len(len: u64) -> Self {
        Self {
            len: len.min(LIMIT),
            ..Self::default()
        }
    }

    /// How many pages of 4096 bytes are in memory.
    pub fn pages(&self) -> usize {
        self.pages.len()
    }

    /// Page, offset in it, and how many of `count` bytes lie in it.
    fn place(&self, count: u64) -> (u64, usize, usize) {
        let inside = self.position % PAGE;
        let count = count.min(PAGE - inside);
        (self.position / PAGE, inside as usize, count as usize)
    }
}

impl Read for SparseStore {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() && self.position < self.len {
            let left = (buf.len() - done) as u64;
            let (page, at, count) = self.place(left.min(self.len - self.position));
            let target = &mut buf[done..done + count];
            match self.pages.get(&page) {
                Some(page) => target.copy_from_slice(&page[at..at + count]),
                None => target.fill(0),
            }
            self.position += count as u64;
            done += count;
        }
        Ok(done)
    }
}

impl Write for SparseStore {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.position >= LIMIT && !buf.is_empty() {
            return Err(ErrorKind::FileTooLarge.into());
        }
        let mut done = 0;
        while done < buf.len() && self.position < LIMIT {
            let left = (buf.len() - done) as u64;
            let (page, at, count) = self.place(left.min(LIMIT - self.position));
            let page = self.pages.entry(page);
            let page = page.or_insert_with(|| vec![0; PAGE as usize].into());
            page[at..at + count].copy_from_slice(&buf[done..done + count]);
            self.position += count as u64;
            self.len = self.len.max(self.position);
            done += count;
        }
        Ok(done)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for SparseStore {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
        };
        let position = position.filter(|&position| position <= LIMIT);
        self.position = position.ok_or(ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

/// In memory: nothing to sync.
impl Store for SparseStore {
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        if len > LIMIT {
            return Err(ErrorKind::FileTooLarge.into());
        }
        drop(self.pages.split_off(&len.div_ceil(PAGE)));
        if let Some(page) = self.pages.get_mut(&(len / PAGE)) {
            page[(len % PAGE) as usize..].fill(0);
        }
        self.len = len;
        Ok(())
    }
}

/// Without the contents.
impl fmt::Debug for SparseStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SparseStore")
            .field("len", &self.len)
            .field("position", &self.position)
            .field("pages", &self.pages.len())
            .finish()
    }
}

/// Any store, with its calls counted.
///
/// # Examples
///
/// ```
/// use documentbuffer::store::ReadWriteSeekString;
/// use documentbuffer::store::fault::CountingStore;
/// use std::io::Write;
///
/// let mut store = CountingStore::new(ReadWriteSeekString::new());
/// store.write_all(b"once")?;
/// assert_eq!((store.calls().writes, store.written_bytes()), (1, 4));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct CountingStore<S> {
    store: S,
    calls: Calls,
    read_bytes: u64,
    written_bytes: u64,
}

impl<S> CountingStore<S> {
    /// Counts from 0.
    pub fn new(store: S) -> Self {
        Self {
            store,
            calls: Calls::default(),
            read_bytes: 0,
            written_bytes: 0,
        }
    }

    /// Calls so far, by class, those that failed included.
    pub fn calls(&self) -> Calls {
        self.calls
    }

    /// Bytes that reads gave.
    pub fn read_bytes(&self) -> u64 {
        self.read_bytes
    }

    /// Bytes that writes took.
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// Starts again from 0.
    pub fn reset(&mut self) {
        self.calls = Calls::default();
        self.read_bytes = 0;
        self.written_bytes = 0;
    }

    /// The store that is counted.
    pub fn get_ref(&self) -> &S {
        &self.store
    }

    /// The store that is counted, to change it; calls made through it are not.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.store
    }

    /// The store that was counted.
    pub fn into_inner(self) -> S {
        self.store
    }
}

impl<S: Read> Read for CountingStore<S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.calls.reads += 1;
        let count = self.store.read(buf)?;
        self.read_bytes += count as u64;
        Ok(count)
    }
}

impl<S: Write> Write for CountingStore<S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.calls.writes += 1;
        let count = self.store.write(buf)?;
        self.written_bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.calls.flushes += 1;
        self.store.flush()
    }
}

impl<S: Seek> Seek for CountingStore<S> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.calls.seeks += 1;
        self.store.seek(to)
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: Store> Store for CountingStore<S> {
    fn sync(&mut self) -> io::Result<()> {
        self.calls.syncs += 1;
        self.store.sync()
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.calls.set_lens += 1;
        self.store.set_len(len)
    }

    fn lock(&mut self) -> io::Result<()> {
        self.store.lock()
    }

    fn preserve(&mut self, from: u64) -> io::Result<Option<PathBuf>> {
        self.calls.preserves += 1;
        self.store.preserve(from)
    }

    fn name(&self) -> Option<&Path> {
        self.store.name()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparse_store_reaches_the_largest_offset_and_no_further() {
        let mut store = SparseStore::new();
        store.seek(SeekFrom::Start(LIMIT - 3)).unwrap();
        assert_eq!(store.write(b"abcde").unwrap(), 3);
        assert_eq!(
            store.write(b"de").unwrap_err().kind(),
            ErrorKind::FileTooLarge
        );
        assert_eq!(store.write(b"").unwrap(), 0);
        for to in [
            SeekFrom::Start(LIMIT + 1),
            SeekFrom::End(1),
            SeekFrom::Current(i64::MIN),
        ] {
            assert_eq!(store.seek(to).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        let mut bytes = [1; 9];
        assert_eq!(store.seek(SeekFrom::End(-6)).unwrap(), LIMIT - 6);
        assert_eq!(store.read(&mut bytes).unwrap(), 6);
        assert_eq!(&bytes, b"\0\0\0abc\x01\x01\x01");
        let error = store.set_len(LIMIT + 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
        assert!(store.pages() <= 2);
    }

    #[test]
    fn a_cut_sparse_store_forgets() {
        let mut store = SparseStore::new();
        store.write_all(&[7; 10_000]).unwrap();
        store.set_len(5000).unwrap();
        store.set_len(20_000).unwrap();
        let mut bytes = Vec::new();
        store.rewind().unwrap();
        store.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len(), 20_000);
        assert!(bytes[..5000].iter().all(|&byte| byte == 7));
        assert!(bytes[5000..].iter().all(|&byte| byte == 0));
        assert_eq!(store.pages(), 2);
        assert_eq!(
            format!("{store:?}"),
            "SparseStore { len: 20000, position: 20000, pages: 2 }"
        );
    }

    #[test]
    fn every_call_is_counted_and_forwarded() {
        let mut store = CountingStore::new(SparseStore::new());
        store.write_all(b"abc").unwrap();
        store.seek(SeekFrom::Start(1)).unwrap();
        assert_eq!(store.read(&mut [0; 9]).unwrap(), 2);
        store.flush().unwrap();
        store.sync().unwrap();
        store.set_len(1).unwrap();
        store.lock().unwrap();
        assert_eq!(store.preserve(0).unwrap(), None);
        assert_eq!(store.name(), None);
        let calls = Calls {
            reads: 1,
            writes: 1,
            seeks: 1,
            flushes: 1,
            syncs: 1,
            set_lens: 1,
            preserves: 1,
        };
        assert_eq!((store.calls(), calls.total()), (calls, 7));
        assert_eq!((store.read_bytes(), store.written_bytes()), (2, 3));
        store.reset();
        assert_eq!(store.calls().total(), 0);
        assert_eq!(store.get_mut().seek(SeekFrom::End(0)).unwrap(), 1);
        assert_eq!(store.get_ref().pages(), store.clone().into_inner().pages());
    }
}

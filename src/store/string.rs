//! A growable string that behaves like a file.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::string::FromUtf8Error;

use super::{Store, reserve, resize};

/// A growable string in memory that reads, writes and seeks like a file.
///
/// Writing in the middle overwrites, writing at the end extends, writing behind the end fills the
/// gap with zeros. It holds bytes, since a write may end in the midst of a character;
/// [`into_string`](Self::into_string) checks that they are UTF-8. Nothing survives the process.
///
/// Unlike a `Cursor<Vec<u8>>` it never aborts: a write so far out that memory cannot hold it is
/// refused with [`ErrorKind::StorageFull`](io::ErrorKind::StorageFull), and changes nothing.
///
/// # Examples
///
/// ```
/// use documentbuffer::store::ReadWriteSeekString;
/// use std::io::{Read, Seek, SeekFrom, Write};
///
/// let mut store = ReadWriteSeekString::new();
/// store.write_all("naïve café".as_bytes())?;
/// store.seek(SeekFrom::Start(0))?;
/// store.write_all(b"N")?;
/// assert_eq!(store.into_string()?, "Naïve café");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct ReadWriteSeekString {
    bytes: Vec<u8>,
    position: u64,
}

impl ReadWriteSeekString {
    /// An empty string, at position 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything it holds, wherever the position is.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Everything it holds, by value.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Everything it holds, as a string.
    ///
    /// # Errors
    ///
    /// The bytes are not UTF-8; the error gives them back.
    pub fn into_string(self) -> Result<String, FromUtf8Error> {
        String::from_utf8(self.bytes)
    }

    /// The position as an index, if it lies within the bytes or at their end.
    fn index(&self) -> Option<usize> {
        usize::try_from(self.position)
            .ok()
            .filter(|&at| at <= self.bytes.len())
    }
}

impl From<Vec<u8>> for ReadWriteSeekString {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, position: 0 }
    }
}

impl From<String> for ReadWriteSeekString {
    fn from(string: String) -> Self {
        Self::from(string.into_bytes())
    }
}

impl From<&str> for ReadWriteSeekString {
    fn from(string: &str) -> Self {
        Self::from(string.as_bytes().to_vec())
    }
}

/// Without the contents, which may be large or private.
impl fmt::Debug for ReadWriteSeekString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadWriteSeekString")
            .field("len", &self.bytes.len())
            .field("position", &self.position)
            .finish()
    }
}

impl Read for ReadWriteSeekString {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let rest = self.index().and_then(|at| self.bytes.get(at..));
        let count = rest.unwrap_or_default().read(buf)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Write for ReadWriteSeekString {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let end = self.position.checked_add(buf.len() as u64);
        let end = end.ok_or(io::ErrorKind::FileTooLarge)?;
        reserve(&mut self.bytes, end)?;
        if self.index().is_none() {
            resize(&mut self.bytes, self.position)?;
        }
        let at = self.index().unwrap_or(self.bytes.len());
        let over = buf.len().min(self.bytes.len() - at);
        self.bytes[at..at + over].copy_from_slice(&buf[..over]);
        self.bytes.extend_from_slice(&buf[over..]);
        self.position = end;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for ReadWriteSeekString {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => (self.bytes.len() as u64).checked_add_signed(by),
        };
        self.position = position.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "seek to a position before 0 or beyond the largest offset",
            )
        })?;
        Ok(self.position)
    }
}

/// In memory: nothing to sync.
impl Store for ReadWriteSeekString {
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        resize(&mut self.bytes, len)
    }
}

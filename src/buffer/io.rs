//! Whole reads and writes at absolute offsets: the cursor of a store is never believed.

use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};

use super::error::{Action, Error, Result};

/// How often in a row `Interrupted` is taken for a wish to try again.
const PATIENCE: u32 = 1 << 20;

/// Repeats `call` while it is interrupted.
fn patiently<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for _ in 0..PATIENCE {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
    call()
}

fn seek<S: Seek>(store: &mut S, offset: u64) -> Result<()> {
    match patiently(|| store.seek(SeekFrom::Start(offset))) {
        Ok(at) if at == offset => Ok(()),
        Ok(at) => Err(Error::IgnoresSeek {
            expected: offset,
            found: at,
        }),
        Err(source) => Err(Error::io(Action::Seek, Some(offset), source)),
    }
}

/// The store's length in bytes.
pub(crate) fn len<S: Seek>(store: &mut S) -> Result<u64> {
    patiently(|| store.seek(SeekFrom::End(0)))
        .map_err(|source| Error::io(Action::Seek, None, source))
}

/// Reads from `offset` until `buf` is full or the store ends; says how much was read.
pub(crate) fn read<S: Read + Seek>(store: &mut S, offset: u64, buf: &mut [u8]) -> Result<usize> {
    seek(store, offset)?;
    let mut done = 0;
    while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match patiently(|| store.read(rest)) {
            Ok(0) => break,
            // A store that claims more than it was given room for has filled it.
            Ok(n) => done += n.min(rest.len()),
            Err(source) => {
                let at = offset.saturating_add(done as u64);
                return Err(Error::io(Action::Read, Some(at), source));
            }
        }
    }
    Ok(done)
}

/// Fills `buf` from `offset`; a store that ends before is [`Error::Shrunk`].
pub(crate) fn read_exact<S: Read + Seek>(store: &mut S, offset: u64, buf: &mut [u8]) -> Result<()> {
    let done = read(store, offset, buf)?;
    if done < buf.len() {
        let offset = offset.saturating_add(done as u64);
        let len = len(store)?;
        return Err(Error::Shrunk { offset, len });
    }
    Ok(())
}

/// Writes all pieces one behind the other from `offset`, and looks where the store stands then.
pub(crate) fn write<S: Write + Seek>(store: &mut S, offset: u64, pieces: &[&[u8]]) -> Result<()> {
    seek(store, offset)?;
    let mut at = offset;
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            let n = match patiently(|| store.write(rest)) {
                Ok(0) => Err(io::Error::from(ErrorKind::WriteZero)),
                Ok(n) => Ok(n.min(rest.len())),
                Err(error) => Err(error),
            };
            let n = n.map_err(|source| Error::io(Action::Write, Some(at), source))?;
            rest = rest.get(n..).unwrap_or_default();
            at = at.saturating_add(n as u64);
        }
    }
    match patiently(|| store.stream_position()) {
        Ok(found) if found == at => Ok(()),
        Ok(found) => Err(Error::IgnoresSeek {
            expected: at,
            found,
        }),
        Err(source) => Err(Error::io(Action::Seek, Some(at), source)),
    }
}

pub(crate) fn flush<S: Write>(store: &mut S) -> Result<()> {
    patiently(|| store.flush()).map_err(|source| Error::io(Action::Flush, None, source))
}

/// Calls `sync` on the store; interruption is no failure.
pub(crate) fn sync<S>(store: &mut S, sync: fn(&mut S) -> io::Result<()>) -> Result<()> {
    patiently(|| sync(store)).map_err(|source| Error::io(Action::Sync, None, source))
}

/// Room for `len` more bytes, or a typed error.
pub(crate) fn reserve(buf: &mut Vec<u8>, len: usize) -> Result<()> {
    buf.try_reserve_exact(len)
        .map_err(|_| Error::OutOfMemory { bytes: len })
}

/// As [`reserve`], but grown in larger steps where the buffer will be used again.
#[inline]
pub(crate) fn reserve_for(buf: &mut Vec<u8>, len: usize) -> Result<()> {
    buf.try_reserve(len)
        .map_err(|_| Error::OutOfMemory { bytes: len })
}

/// A buffer of `len` zeros, or a typed error.
pub(crate) fn zeros(len: usize) -> Result<Vec<u8>> {
    let mut buf = Vec::new();
    reserve(&mut buf, len)?;
    buf.resize(len, 0);
    Ok(buf)
}

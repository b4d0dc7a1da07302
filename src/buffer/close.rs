//! Making durable, and coming to an end.

use std::io::{ErrorKind, Read, Seek, Write};

use super::error::{Action, CloseError, Error, Result};
use super::report::End;
use super::{DocumentBuffer, io};
use crate::store::Store;

impl<S: Read + Write + Seek> DocumentBuffer<S> {
    /// Writes everything in memory to the store, with an END behind it in the same write.
    ///
    /// Durable on return: everything so far, pops too, against the death of this process, where the store
    /// outlives it as a file does. **Not against power loss**: that is [`sync`](DocumentBuffer::sync).
    ///
    /// # Errors
    ///
    /// [`Error::Full`], [`Error::Io`], [`Error::Poisoned`]; what was not written is still in memory.
    ///
    /// # Examples
    ///
    /// ```
    /// # use documentbuffer::{DocumentBuffer, ReadWriteSeekString};
    /// let mut log = DocumentBuffer::new(ReadWriteSeekString::new())?;
    /// log.push("a")?;
    /// assert_eq!(log.cached(), 1);
    /// log.flush()?;
    /// assert_eq!((log.cached(), log.len()), (0, 1));
    /// # Ok::<(), documentbuffer::Error>(())
    /// ```
    pub fn flush(&mut self) -> Result<()> {
        self.check_poison()?;
        self.write_all()?;
        io::flush(&mut self.store).inspect_err(|_| {
            // The END may not have arrived: the next flush writes it again.
            self.end_at = None;
            self.changed = true;
        })
    }

    /// [`flush`](DocumentBuffer::flush), then the store's sync.
    ///
    /// Durable on return: everything so far, pops too, against power loss, if the store's sync is honest.
    ///
    /// # Errors
    ///
    /// As [`flush`](DocumentBuffer::flush), and [`Error::NoSync`] from a bare buffer (nothing was done).
    /// When the store's sync itself fails this handle writes no more: [`Error::Poisoned`] from then on.
    ///
    /// # Examples
    ///
    /// ```
    /// # use documentbuffer::{Options, ReadWriteSeekString};
    /// let mut log = Options::new().open(ReadWriteSeekString::new())?;
    /// log.push("acknowledge me")?;
    /// log.sync()?; // Now say so.
    /// # Ok::<(), documentbuffer::Error>(())
    /// ```
    pub fn sync(&mut self) -> Result<()> {
        if self.hooks.is_none() {
            return Err(Error::NoSync);
        }
        self.flush()?;
        if !self.synced {
            self.sync_store()?;
            self.synced = true;
        }
        Ok(())
    }

    /// Flushes, and gives back the store with the length that it needs: the first byte behind what must
    /// be kept, 0 where nothing was ever written.
    ///
    /// What lies behind is of no use, and opening copes with it; a store that can be cut may be, there. After
    /// a suspect or a torn end that is the whole store, until the first write.
    /// Durable on return: as [`flush`](DocumentBuffer::flush).
    ///
    /// # Errors
    ///
    /// As [`flush`](DocumentBuffer::flush); the buffer comes back with everything in it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use documentbuffer::{DocumentBuffer, ReadWriteSeekString};
    /// let mut log = DocumentBuffer::new(ReadWriteSeekString::new())?;
    /// log.push("a")?;
    /// let (end, store) = log.close()?;
    /// assert_eq!(store.as_bytes().len() as u64, end);
    /// # Ok::<(), documentbuffer::Error>(())
    /// ```
    #[allow(clippy::result_large_err)] // The buffer comes back in it, and must not cost an allocation.
    pub fn close(mut self) -> Result<(u64, S), CloseError<S>> {
        match self.flush() {
            Ok(()) => Ok((self.useful_end(), self.store)),
            Err(error) => Err(CloseError {
                error,
                buffer: self,
            }),
        }
    }

    /// Syncs, cuts the store to the length that it needs, syncs again, and gives it back with that length.
    ///
    /// A store of a fixed size is not cut. Durable on return: as [`sync`](DocumentBuffer::sync).
    ///
    /// # Errors
    ///
    /// As [`sync`](DocumentBuffer::sync); the buffer comes back with everything in it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use documentbuffer::{Options, ReadWriteSeekString};
    /// let mut log = Options::new().open(ReadWriteSeekString::new())?;
    /// log.push_all(["a", "b"])?;
    /// log.flush()?;
    /// log.pop()?;
    /// let (end, store) = log.finish()?;
    /// assert_eq!(store.as_bytes().len() as u64, end);
    /// # Ok::<(), documentbuffer::Error>(())
    /// ```
    #[allow(clippy::result_large_err)] // As in `close`.
    pub fn finish(mut self) -> Result<(u64, S), CloseError<S>>
    where
        S: Store,
    {
        // A torn end is cut only once an END stands on it: a cut that the power stops half-way could put the
        // bytes that it lost back as zeros.
        self.changed |= self.salt.is_some() && matches!(self.recovery.end, End::Torn { .. });
        match self.sync().and_then(|()| self.cut()) {
            Ok(()) => Ok((self.useful_end(), self.store)),
            Err(error) => Err(CloseError {
                error,
                buffer: self,
            }),
        }
    }

    fn cut(&mut self) -> Result<()>
    where
        S: Store,
    {
        let end = self.useful_end();
        if self.salt.is_none() {
            // Nothing was written: what the store holds is not ours to cut.
            return Ok(());
        }
        match self.store.set_len(end) {
            Ok(()) => self.sync_store(),
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(()),
            Err(source) => Err(Error::io(Action::SetLen, Some(end), source)),
        }
    }
}

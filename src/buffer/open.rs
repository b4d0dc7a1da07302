//! Opening: what a handle is made of, and the ways to make one.

use std::io::{self as std_io, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::deque::Deque;
use super::error::{Action, Error, OpenError, Result};
use super::format::{Edge, Salt};
use super::forward::Mode;
use super::options::Options;
use super::recover;
use super::report::{Accept, End, Recovery};
use super::{DocumentBuffer, io};
use crate::store::{FileStore, Store};

/// What a store can do beyond reading, writing and seeking, kept as plain functions so that the handle
/// asks nothing of `S`.
pub(super) struct Hooks<S> {
    pub(super) sync: fn(&mut S) -> std_io::Result<()>,
    pub(super) set_len: fn(&mut S, u64) -> std_io::Result<()>,
    pub(super) preserve: fn(&mut S, u64) -> std_io::Result<Option<PathBuf>>,
}

impl<S: Store> Hooks<S> {
    pub(super) fn of_store() -> Hooks<S> {
        Hooks {
            sync: S::sync,
            set_len: S::set_len,
            preserve: S::preserve,
        }
    }
}

impl DocumentBuffer<FileStore> {
    /// Opens the log in the file at `path`, or begins one there, with the default [`Options`].
    ///
    /// Takes the exclusive right to write for as long as the buffer lives; writes nothing to a file that
    /// exists.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`], [`Error::NotAFile`], [`Error::Foreign`], [`Error::Unsupported`],
    /// [`Error::Corrupt`] (the header is gone), [`Error::Io`], each with the path where it has one.
    ///
    /// # Examples
    ///
    /// ```
    /// # let dir = tempfile::tempdir().expect("a directory");
    /// # let path = dir.path().join("events.log");
    /// use documentbuffer::DocumentBuffer;
    ///
    /// let mut log = DocumentBuffer::open(&path)?;
    /// log.push("hello")?;
    /// log.sync()?;
    /// # Ok::<(), documentbuffer::Error>(())
    /// ```
    pub fn open(path: impl AsRef<Path>) -> Result<DocumentBuffer<FileStore>> {
        Options::new().open_path(path)
    }
}

impl<S: Read + Write + Seek> DocumentBuffer<S> {
    /// Opens the log in `store`, bare: it cannot [`sync`](DocumentBuffer::sync) and takes no lock, also
    /// where `S` could.
    ///
    /// For stores that only read, write and seek; [`Options::open`] is for those that can do more, as a
    /// file can. Reads only.
    ///
    /// # Errors
    ///
    /// [`Error::Foreign`], [`Error::Unsupported`], [`Error::Corrupt`] (the header is gone),
    /// [`Error::Io`]; the store comes back.
    ///
    /// # Examples
    ///
    /// ```
    /// use documentbuffer::DocumentBuffer;
    ///
    /// let log = DocumentBuffer::new(std::io::Cursor::new(Vec::new()))?;
    /// assert!(log.is_empty());
    /// # Ok::<(), documentbuffer::Error>(())
    /// ```
    pub fn new(store: S) -> Result<DocumentBuffer<S>, OpenError<S>> {
        Options::new().open_bare(store)
    }
}

impl Options {
    /// Opens the log in `store`: takes its lock, reads all of it once, writes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`], [`Error::Foreign`], [`Error::Unsupported`], [`Error::Corrupt`] (the header is
    /// gone), [`Error::Suspect`] and [`Error::NotClean`] where [`Options::accept`] asks for them,
    /// [`Error::Io`]; the store comes back.
    ///
    /// # Examples
    ///
    /// ```
    /// use documentbuffer::{Options, ReadWriteSeekString};
    ///
    /// let log = Options::new().memory(0).open(ReadWriteSeekString::new())?;
    /// assert_eq!(log.len(), 0);
    /// # Ok::<(), documentbuffer::Error>(())
    /// ```
    pub fn open<S: Store>(&self, store: S) -> Result<DocumentBuffer<S>, OpenError<S>> {
        self.open_locked(store, Mode::Prove, |_, _| {})
    }

    /// Opens the log in `store` and hands every document over in the same pass: `each` gets the position
    /// and the bytes, oldest first. The fast way to replay at start.
    ///
    /// `each` has seen documents before the end is known: where the opening fails, forget what it did.
    ///
    /// # Errors
    ///
    /// As [`Options::open`], and [`Error::TooLarge`] for a document over [`Options::max_document`].
    ///
    /// # Examples
    ///
    /// ```
    /// use documentbuffer::{DocumentBuffer, Options, ReadWriteSeekString};
    ///
    /// let mut log = DocumentBuffer::new(ReadWriteSeekString::new())?;
    /// log.push_all(["1", "2", "3"])?;
    /// let (_, store) = log.close()?;
    ///
    /// let mut sum = 0;
    /// let log = Options::new().open_with(store, |_position, document| {
    ///     sum += i32::from(document[0] - b'0');
    /// })?;
    /// assert_eq!((sum, log.len()), (6, 3));
    /// # Ok::<(), documentbuffer::Error>(())
    /// ```
    pub fn open_with<S: Store>(
        &self,
        store: S,
        each: impl FnMut(u64, &[u8]),
    ) -> Result<DocumentBuffer<S>, OpenError<S>> {
        self.open_locked(store, Mode::Hand, each)
    }

    /// Opens the log in `store`, bare: see [`DocumentBuffer::new`].
    ///
    /// # Errors
    ///
    /// As [`Options::open`], but [`Error::Locked`].
    ///
    /// # Examples
    ///
    /// ```
    /// use documentbuffer::Options;
    ///
    /// let log = Options::new().open_bare(std::io::Cursor::new(Vec::new()))?;
    /// assert!(log.is_empty());
    /// # Ok::<(), documentbuffer::Error>(())
    /// ```
    pub fn open_bare<S: Read + Write + Seek>(
        &self,
        store: S,
    ) -> Result<DocumentBuffer<S>, OpenError<S>> {
        self.open_any(store, None, Mode::Prove, |_, _| {})
    }

    /// [`Options::open_with`] for a bare store.
    ///
    /// # Errors
    ///
    /// As [`Options::open_with`], but [`Error::Locked`].
    ///
    /// # Examples
    ///
    /// ```
    /// use documentbuffer::Options;
    ///
    /// let mut seen = 0;
    /// let store = std::io::Cursor::new(Vec::new());
    /// let log = Options::new().open_bare_with(store, |_, _| seen += 1)?;
    /// assert_eq!(log.len(), seen);
    /// # Ok::<(), documentbuffer::Error>(())
    /// ```
    pub fn open_bare_with<S: Read + Write + Seek>(
        &self,
        store: S,
        each: impl FnMut(u64, &[u8]),
    ) -> Result<DocumentBuffer<S>, OpenError<S>> {
        self.open_any(store, None, Mode::Hand, each)
    }

    /// Opens the log in the file at `path`, or begins one there: see [`DocumentBuffer::open`].
    ///
    /// # Errors
    ///
    /// As [`Options::open`], with the path, and [`Error::NotAFile`].
    ///
    /// # Examples
    ///
    /// ```
    /// # let dir = tempfile::tempdir().expect("a directory");
    /// # let path = dir.path().join("events.log");
    /// use documentbuffer::Options;
    ///
    /// let log = Options::new().memory(4 << 20).open_path(&path)?;
    /// assert!(log.is_empty());
    /// # Ok::<(), documentbuffer::Error>(())
    /// ```
    pub fn open_path(&self, path: impl AsRef<Path>) -> Result<DocumentBuffer<FileStore>> {
        let path = path.as_ref();
        let opened = self.open(open_file(path)?);
        opened.map_err(|failed| failed.error.at_path(path))
    }

    /// [`Options::open_with`] for the file at `path`.
    ///
    /// # Errors
    ///
    /// As [`Options::open_path`] and [`Options::open_with`].
    ///
    /// # Examples
    ///
    /// ```
    /// # let dir = tempfile::tempdir().expect("a directory");
    /// # let path = dir.path().join("events.log");
    /// use documentbuffer::Options;
    ///
    /// let mut events = 0;
    /// let log = Options::new().open_path_with(&path, |_, _event| events += 1)?;
    /// println!("took {events} events up");
    /// # Ok::<(), documentbuffer::Error>(())
    /// ```
    pub fn open_path_with(
        &self,
        path: impl AsRef<Path>,
        each: impl FnMut(u64, &[u8]),
    ) -> Result<DocumentBuffer<FileStore>> {
        let path = path.as_ref();
        let opened = self.open_with(open_file(path)?, each);
        opened.map_err(|failed| failed.error.at_path(path))
    }

    fn open_locked<S: Store>(
        &self,
        mut store: S,
        mode: Mode,
        each: impl FnMut(u64, &[u8]),
    ) -> Result<DocumentBuffer<S>, OpenError<S>> {
        if let Err(source) = store.lock() {
            let error = Error::io(Action::Lock, None, source);
            return Err(OpenError { error, store });
        }
        self.open_any(store, Some(Hooks::of_store()), mode, each)
    }

    fn open_any<S: Read + Write + Seek>(
        &self,
        mut store: S,
        hooks: Option<Hooks<S>>,
        mode: Mode,
        each: impl FnMut(u64, &[u8]),
    ) -> Result<DocumentBuffer<S>, OpenError<S>> {
        match self.find(&mut store, mode, each) {
            Ok((salt, edge, recovery)) => Ok(DocumentBuffer {
                store,
                hooks,
                salt,
                edge,
                deque: Deque::new(self.memory, self.memory_documents),
                max_document: self.max_document,
                random: self.random.clone(),
                needs_mark: true,
                end_at: (salt.is_some() && recovery.end == End::Clean).then_some(edge.offset),
                changed: false,
                settled: false,
                synced: false,
                poison: None,
                checkpoint: None,
                scratch: Vec::new(),
                recovery,
                preserved: None,
            }),
            Err(error) => Err(OpenError { error, store }),
        }
    }

    /// The log in `store`, if its end is acceptable.
    fn find<S: Read + Seek>(
        &self,
        store: &mut S,
        mode: Mode,
        each: impl FnMut(u64, &[u8]),
    ) -> Result<(Option<Salt>, Edge, Recovery)> {
        let store_len = io::len(store)?;
        let salt = match recover::identify(store, store_len) {
            Err(Error::Foreign { .. } | Error::Corrupt { .. }) if self.initialize => None,
            identified => identified?,
        };
        let Some(salt) = salt else {
            return Ok((None, Edge::empty(Salt::new(0)), recover::empty(store_len)));
        };
        let (edge, recovery, of_journal) =
            recover::recover(store, salt, store_len, self.max_document, mode, each)?;
        if of_journal && !self.segment {
            return Err(Error::Segment);
        }
        match (self.accept, recovery.end) {
            (Accept::NoSuspect, End::Suspect { offset, records }) => {
                Err(Error::Suspect { offset, records })
            }
            (Accept::Strict, end) if end != End::Clean => Err(Error::NotClean { end }),
            _ => Ok((Some(salt), edge, recovery)),
        }
    }
}

fn open_file(path: &Path) -> Result<FileStore> {
    FileStore::open(path).map_err(|source| match source.kind() {
        std_io::ErrorKind::WouldBlock => Error::Locked {
            path: Some(path.to_owned()),
        },
        std_io::ErrorKind::IsADirectory => Error::NotAFile {
            path: path.to_owned(),
        },
        _ if path.is_dir() => Error::NotAFile {
            path: path.to_owned(),
        },
        _ => Error::io(Action::Open, None, source).at_path(path),
    })
}

//! What can be chosen when a buffer is opened.

use super::format::MAX_PAYLOAD;
use super::random::Random;
use super::report::Accept;

/// How a [`DocumentBuffer`](crate::DocumentBuffer) is opened: set what differs from the defaults, then
/// call one of the `open` methods.
///
/// # Examples
///
/// ```
/// use documentbuffer::{Accept, Options, ReadWriteSeekString};
///
/// let log = Options::new()
///     .memory(64 << 10)
///     .accept(Accept::NoSuspect)
///     .open(ReadWriteSeekString::new())?;
/// assert!(log.is_empty());
/// # Ok::<(), documentbuffer::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Options {
    pub(crate) memory: usize,
    pub(crate) memory_documents: usize,
    pub(crate) max_document: usize,
    pub(crate) accept: Accept,
    pub(crate) initialize: bool,
    /// Whether the store may be, and is to be, a journal's segment.
    pub(crate) segment: bool,
    pub(crate) random: Random,
}

/// Bytes of encoded documents kept in memory unless told otherwise.
pub const DEFAULT_MEMORY: usize = 1 << 20;
/// Bytes that a document may have unless told otherwise.
pub const DEFAULT_MAX_DOCUMENT: usize = 64 << 20;

impl Default for Options {
    fn default() -> Options {
        Options::new()
    }
}

impl Options {
    /// The defaults: 1 MiB of memory, documents of at most 64 MiB, every end accepted.
    pub fn new() -> Options {
        Options {
            memory: DEFAULT_MEMORY,
            memory_documents: usize::MAX,
            max_document: DEFAULT_MAX_DOCUMENT,
            accept: Accept::Any,
            initialize: false,
            segment: false,
            random: Random::System,
        }
    }

    /// Keeps at most `bytes` of encoded documents in memory (each counts 16 more than its length).
    ///
    /// Default 1 MiB. With 0 every document goes to the store at once and is read from there. More than
    /// 2 MiB makes nothing faster but pops that come within that distance.
    pub fn memory(mut self, bytes: usize) -> Options {
        self.memory = bytes;
        self
    }

    /// Keeps at most `n` documents in memory, beside the bound in bytes. Default: no bound. 0 works.
    pub fn memory_documents(mut self, n: usize) -> Options {
        self.memory_documents = n;
        self
    }

    /// Refuses documents of more than `bytes`, on push and when reading. Default 64 MiB; the format ends
    /// at 2^28 - 1.
    pub fn max_document(mut self, bytes: usize) -> Options {
        self.max_document = bytes.min(MAX_PAYLOAD);
        self
    }

    /// Says which ends of a log are accepted. Default [`Accept::Any`].
    pub fn accept(mut self, accept: Accept) -> Options {
        self.accept = accept;
        self
    }

    /// Begins a new log over whatever else the store holds, where it holds no log: raw devices need it.
    ///
    /// **What the store held is lost** with the first write. A store with a log of any version is opened
    /// as ever.
    pub fn initialize(mut self) -> Options {
        self.initialize = true;
        self
    }

    /// Draws salts and nonces from `seed` instead of from the system: the same calls then give the same
    /// bytes.
    ///
    /// For tests and golden files only: two lives of one log with the same seed can take each other's
    /// leftovers for their own.
    pub fn seed(mut self, seed: u64) -> Options {
        self.random = Random::Seeded(seed);
        self
    }
}

//! What can be chosen when a journal is opened.

use std::sync::Arc;
use std::time::Duration;

use crate::buffer::segment::MAX_CODEC;
use crate::buffer::{self, Accept};
use crate::clock::{Clock, SystemClock};
pub use crate::durability::Durability;

/// What a journal keeps at its oldest end; checked whenever a segment is begun. By whole segments, and never
/// more than asked: a segment goes only when all of it may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retention {
    /// Keep at least this many bytes of segments.
    pub bytes: Option<u64>,
    /// Keep everything that is younger, by the wall clock.
    pub age: Option<Duration>,
    /// Keep everything behind the newest snapshot. Without one nothing goes.
    pub snapshot: bool,
}

impl Retention {
    /// Keeps everything.
    pub const fn all() -> Retention {
        Retention {
            bytes: None,
            age: None,
            snapshot: false,
        }
    }

    /// Keeps at least the newest `bytes` of segments.
    #[must_use]
    pub const fn bytes(mut self, bytes: u64) -> Retention {
        self.bytes = Some(bytes);
        self
    }

    /// Keeps at least what is younger than `age`.
    #[must_use]
    pub const fn age(mut self, age: Duration) -> Retention {
        self.age = Some(age);
        self
    }

    /// Keeps at least what is not in a snapshot.
    #[must_use]
    pub const fn up_to_snapshot(mut self) -> Retention {
        self.snapshot = true;
        self
    }
}

/// Bytes that a segment grows to.
pub const DEFAULT_SEGMENT: u64 = 64 << 20;
/// Bytes that may wait for the committer.
pub const DEFAULT_QUEUE: usize = 1 << 20;

/// How a journal is opened.
///
/// # Examples
///
/// ```
/// use documentbuffer::journal::{Durability, Options};
/// # let dir = tempfile::tempdir().expect("a directory");
/// # let path = dir.path().join("journal");
///
/// let journal = Options::new().segment(1 << 20).durability(Durability::Written).open(&path)?;
/// assert_eq!(journal.append("hello")?, 0);
/// # Ok::<(), documentbuffer::journal::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Options {
    pub(super) segment: u64,
    pub(super) queue: usize,
    pub(super) durability: Durability,
    pub(super) retention: Retention,
    pub(super) accept: Accept,
    pub(super) codec: String,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) buffer: buffer::Options,
}

impl Default for Options {
    fn default() -> Options {
        Options::new()
    }
}

impl Options {
    /// The defaults: segments of 64 MiB, a queue of 1 MiB, [`Durability::Synced`], documents of up to
    /// 64 MiB, everything kept.
    pub fn new() -> Options {
        let mut buffer = buffer::Options::new().memory(0);
        buffer.segment = true;
        Options {
            segment: DEFAULT_SEGMENT,
            queue: DEFAULT_QUEUE,
            durability: Durability::default(),
            retention: Retention::all(),
            accept: Accept::Any,
            codec: String::new(),
            clock: Arc::new(SystemClock::new()),
            buffer,
        }
    }

    /// A segment that has grown to `bytes` is sealed, and the next begun. What is recovered at an opening,
    /// and what is discarded at once, is bounded by it. Default: [`DEFAULT_SEGMENT`].
    pub fn segment(mut self, bytes: u64) -> Options {
        self.segment = bytes;
        self
    }

    /// At most about `bytes` of documents wait for the committer (twice that while it writes); who appends
    /// more waits too. A larger document or batch goes alone. Default: [`DEFAULT_QUEUE`].
    pub fn queue(mut self, bytes: usize) -> Options {
        self.queue = bytes.clamp(1 << 10, 1 << 30);
        self
    }

    /// What an append has survived when it returns, where it does not say itself. Default:
    /// [`Durability::Synced`].
    pub fn durability(mut self, durability: Durability) -> Options {
        self.durability = durability;
        self
    }

    /// What is kept at the oldest end. Default: everything.
    pub fn retention(mut self, retention: Retention) -> Options {
        self.retention = retention;
        self
    }

    /// Refuses documents of more than `bytes`. Default:
    /// [`DEFAULT_MAX_DOCUMENT`](crate::DEFAULT_MAX_DOCUMENT).
    pub fn max_document(mut self, bytes: usize) -> Options {
        self.buffer = self.buffer.max_document(bytes);
        self
    }

    /// Which ends of the live segment are accepted. Default: every one; behind a bad end the journal goes on
    /// in a new segment, and what lies there is kept.
    pub fn accept(mut self, accept: Accept) -> Options {
        self.accept = accept;
        self
    }

    /// Names what the documents are written in; a journal that was begun with another name is refused.
    /// At most 255 bytes count. Default: the empty name.
    pub fn codec(mut self, name: impl Into<String>) -> Options {
        let mut name = name.into();
        while name.len() > MAX_CODEC {
            name.pop();
        }
        self.codec = name;
        self
    }

    /// Where time comes from. Default: the system's clocks.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Options {
        self.clock = clock;
        self
    }

    /// Draws salts and nonces from a seed: for tests only, a repeated seed undoes what they are for.
    pub fn seed(mut self, seed: u64) -> Options {
        self.buffer = self.buffer.seed(seed);
        self
    }
}

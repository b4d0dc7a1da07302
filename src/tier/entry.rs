//! What is kept under a key, and what can be done to it.

use bytes::Bytes;

/// Which of two states of a key is newer: by fence first, then by number.
///
/// The outermost chain gives versions, the tiers below it keep them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The fencing number of whoever wrote it; 0 where there is no lease.
    pub fence: u64,
    /// Its number: microseconds since 1970 where nothing forbids it, and always more than the last.
    pub number: u64,
}

impl Version {
    /// No version yet: the first chain that it comes to gives it one.
    pub const NONE: Version = Version {
        fence: 0,
        number: 0,
    };

    /// Whether it is [`Version::NONE`].
    pub fn is_none(self) -> bool {
        self == Version::NONE
    }
}

/// A value and what is known of it.
///
/// # Examples
///
/// ```
/// use documentbuffer::tier::Entry;
///
/// let entry = Entry::new("3 cards").expires(1_900_000_000_000_000);
/// assert!(entry.is_live(1_899_999_999_999_999));
/// assert!(!entry.is_live(1_900_000_000_000_000));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The value; an empty one is a value too.
    pub value: Bytes,
    /// Its version.
    pub version: Version,
    /// When it was written, in microseconds since 1970; 0 where nobody said.
    pub created: u64,
    /// From when on it counts as absent, in microseconds since 1970.
    pub expiry: Option<u64>,
}

impl Entry {
    /// This value, with neither version nor time; a chain gives it both.
    pub fn new(value: impl Into<Bytes>) -> Entry {
        Entry {
            value: value.into(),
            version: Version::NONE,
            created: 0,
            expiry: None,
        }
    }

    /// With that version.
    #[must_use]
    pub fn version(mut self, version: Version) -> Entry {
        self.version = version;
        self
    }

    /// Written at that time, in microseconds since 1970.
    #[must_use]
    pub fn created(mut self, micros: u64) -> Entry {
        self.created = micros;
        self
    }

    /// Absent from that time on, in microseconds since 1970.
    #[must_use]
    pub fn expires(mut self, micros: u64) -> Entry {
        self.expiry = Some(micros);
        self
    }

    /// Whether it is there at that time, in microseconds since 1970.
    pub fn is_live(&self, now: u64) -> bool {
        self.expiry.is_none_or(|expiry| now < expiry)
    }
}

/// A change of what is kept under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Op {
    /// This is its entry from now on.
    Put(Entry),
    /// It has none from now on; the version is that of the removal.
    Remove(Version),
    /// So much is added to its value, a number of 8 bytes, little-endian, with a sign; one that is absent
    /// counts as 0. A sum beyond 64 bits is refused.
    Merge(i64),
}

impl Op {
    /// Its version; a merge has none.
    pub fn version(&self) -> Version {
        match self {
            Op::Put(entry) => entry.version,
            Op::Remove(version) => *version,
            Op::Merge(_) => Version::NONE,
        }
    }
}

/// On which condition a change is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum When {
    /// On none.
    #[default]
    Always,
    /// There is no entry.
    Absent,
    /// What the tier last saw of the key, an entry or a removal that it remembers, is older than the change.
    Newer,
    /// There is an entry, of exactly this version.
    Is(Version),
}

impl When {
    /// Whether a change of version `new` is to be made where `held` is kept, an entry if `present`, else
    /// what is remembered of one that was removed or is over.
    pub fn allows(self, new: Version, held: Option<Version>, present: bool) -> bool {
        match self {
            When::Always => true,
            When::Absent => !present,
            When::Newer => held.is_none_or(|held| new > held),
            When::Is(version) => present && held == Some(version),
        }
    }
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Applied {
    /// It was made.
    Done,
    /// Its condition does not hold; nothing was changed.
    Refused {
        /// The version that stands against it, if there is one.
        held: Option<Version>,
    },
}

/// One line of a [`scan`](super::Tier::scan).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listed {
    /// The key.
    pub key: super::KeyBuf,
    /// Bytes of its value.
    pub bytes: u64,
    /// Its version.
    pub version: Version,
}

impl Listed {
    /// What is listed of an entry.
    pub fn new(key: super::KeyBuf, bytes: u64, version: Version) -> Listed {
        Listed {
            key,
            bytes,
            version,
        }
    }
}

/// Part of what a tier holds.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Page {
    /// Its entries, in the tier's own order, without those that are over.
    pub listed: Vec<Listed>,
    /// Where the next part begins; without it this was the last.
    pub next: Option<Bytes>,
}

impl Page {
    /// A part, and where the next one begins.
    pub fn new(listed: Vec<Listed>, next: Option<Bytes>) -> Page {
        Page { listed, next }
    }
}

//! What recovery found: how the log ends, and why there.

use std::fmt;

/// Why bytes are not the record that should stand there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The store ends before the record does.
    Cut,
    /// The first word is of no kind that is ever written: zeros, ones, or other bytes.
    Kind,
    /// First and last word of the record do not agree.
    Trailer,
    /// The checksum does not match.
    Checksum,
    /// Intact, but written behind another record than the one before it.
    Link,
    /// An END that counts other documents than there are.
    Count,
    /// A batch of which not all documents are there.
    Batch,
    /// The header: neither copy is intact.
    Header,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Cut => "the store ends inside the record",
            Reason::Kind => "no record begins there",
            Reason::Trailer => "its first and last word disagree",
            Reason::Checksum => "its checksum does not match",
            Reason::Link => "it was written behind another record",
            Reason::Count => "the end counts other documents than there are",
            Reason::Batch => "not all documents of its batch are there",
            Reason::Header => "neither copy of the header is intact",
        })
    }
}

/// How a log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// At an END, or the store is new: everything that was flushed is there.
    Clean,
    /// At a record boundary, with nothing or only zeros behind it: a crash between flushes leaves that, and
    /// so does zeroed space written ahead.
    Unterminated,
    /// At a bad record with nothing intact behind it: a write cut short by a crash leaves that.
    Torn {
        /// Where the bad record begins.
        offset: u64,
        /// What is wrong with it.
        reason: Reason,
    },
    /// At a bad record with intact documents behind it: leftovers of an earlier state of the log, as many
    /// crashes leave, or damage inside it. No log without a second copy can tell the two apart.
    Suspect {
        /// Where the bad record begins.
        offset: u64,
        /// Intact documents seen within 1 MiB behind it.
        records: u64,
    },
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Clean => f.write_str("clean"),
            End::Unterminated => f.write_str("unterminated: the last flush was cut off"),
            End::Torn { offset, reason } => write!(f, "torn at offset {offset}: {reason}"),
            End::Suspect { offset, records } => write!(
                f,
                "suspect at offset {offset}: {records} intact documents behind a bad record"
            ),
        }
    }
}

/// Which ends an opening accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Accept {
    /// Every end: go on behind the last good record. About one crash in eight leaves an end that looks
    /// suspect, so a program that must come up by itself takes this.
    #[default]
    Any,
    /// All but [`End::Suspect`]: for tools, whose next write may cover what could still be salvaged.
    NoSuspect,
    /// Only [`End::Clean`].
    Strict,
}

/// What opening a store found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// How the log ends.
    pub end: End,
    /// Documents found.
    pub documents: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Where the next record goes: the first byte behind the last good one (0 for a new store).
    pub offset: u64,
    /// The store's length when it was opened.
    pub store_len: u64,
}

//! Documents hot in memory, safe in a slower store.
//!
//! A [`DocumentBuffer`] is a stack of documents (byte strings) over anything that reads, writes and seeks:
//! the newest live in a bounded memory deque, the rest as checked records in the store, and space comes
//! back at the *newest* end.
//!
//! ```
//! use documentbuffer::{DocumentBuffer, ReadWriteSeekString};
//!
//! let mut log = DocumentBuffer::new(ReadWriteSeekString::new())?;
//! log.push("joined alice")?;
//! log.push("called 42")?;
//! let (_, store) = log.close()?;
//!
//! let mut log = DocumentBuffer::new(store)?; // Another day, the same store.
//! assert_eq!(log.pop()?, Some(b"called 42".to_vec()));
//! assert_eq!(log.len(), 1);
//! # Ok::<(), documentbuffer::Error>(())
//! ```
//!
//! # What it promises
//!
//! The store may lose, delay, reorder and tear, at any byte, what is not yet synced; return short counts;
//! fail at any call; hold arbitrary bytes behind the end; crash any number of times, also while a log is
//! opened.
//!
//! * **P0, any store.** What opening finds is a sequence that the buffer really held, or was asked to hold
//!   by a call that failed, at some moment since the last power loss. Never a mixture. (Each document of
//!   `push_all`, `remove` and `truncate_after` counts as an operation of its own.)
//! * **P1, honest sync.** It is never older than the last [`sync`](DocumentBuffer::sync) that returned Ok:
//!   no loss, nothing popped comes back.
//! * **P2.** Damage is never silent: no changed document is returned as good, and [`Recovery`] says where
//!   and at what kind of end the log stopped.
//! * **P3.** On an error nothing moves; the call may be repeated (after a failed sync the handle is done).
//! * **P4.** Arbitrary bytes never panic, loop, or take more memory than the smaller of the largest
//!   document allowed and the bytes present, and 1 MiB.
//!
//! Assumed of the medium: bytes that were not written do not change. A stale record is taken for a live one
//! with a chance of about 2^-28 for each crash in which everything else lines up. On a store that cannot
//! sync, what an earlier life left torn can, in rare crashes, be completed by later writes: a record by
//! documents with long runs of one byte, or by the same document pushed again; and a header may be lost. Of
//! ten million random crashes of such a store, ten ended so.
//!
//! # Modules and features
//!
//! | module | feature | what |
//! |---|---|---|
//! | [`buffer`] | always | the document buffer, its format, recovery, [`Scan`], [`Salvage`] |
//! | [`store`] | always | what a buffer stands on: [`Store`], [`FileStore`], [`ReadWriteSeekString`]; [`Directory`](store::Directory) |
//! | [`durability`] | always | which call survives what, and the test that shows it |
//! | `journal`, `clock` | `journal` | many writers, one log in a directory of segments; typed events, state, snapshots |
//! | `journal::json` | `serde` | events and snapshots in JSON |
//! | `journal::asynchronous` | `tokio` | appends as futures, following as a stream |
//! | `tier::logged`, spans of `journal` | `tracing` | each call of a tier; `recover`, `commit`, `rotate`, `truncate`, `discard`, with bytes, documents and waiters |
//! | `write_behind` | `write-behind` | counters, added up in memory and owed to a sink |
//! | `tier` | `tier` | stores of values by key behind one trait: leaf `file`; layers `bounded`, `guarded`, `timeout`, `metered` |
//! | `generation` | `tier` | "store it only if nothing was written since" |
//! | `tier::memory` | `memory` | a tier in memory, of bounded size |
//! | `tier::redb`, `write_behind::redb` | `redb` | a tier in a redb file; a sink there that applies a batch once |
//! | `tier::facade`, `auto_refresh::facade` | `metrics` | what a metered tier or a cache counted, through the facade `metrics` |
//! | `chain`, `write_behind::behind` | `chain` | tiers from fast to slow, as one; owed writes |
//! | `lease` | `lease` | mutual exclusion with an expiry and a fencing number, in a process or in files |
//! | `dogpile` | `dogpile` | one creator at a time for what many ask for; one object for each key; a swap that waits for its readers |
//! | `auto_refresh` | `auto-refresh` | items in memory that a callback keeps fresh in the background |
//! | `store::mmap` | `mmap` | a file read without copies |
//! | `store::fault`, `store::conformance`, `tier::conformance`, `lease::conformance`, `clock::manual` | `testing` | for authors of stores, tiers and leases |
//! | the program `docbuf` | `cli` | looks into, checks and repairs a log or a journal |

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "auto-refresh")]
pub mod auto_refresh;
pub mod buffer;
#[cfg(feature = "chain")]
pub mod chain;
#[cfg(any(feature = "journal", feature = "lease", feature = "tier"))]
pub mod clock;
#[cfg(any(feature = "auto-refresh", feature = "chain", feature = "dogpile"))]
pub(crate) mod contain;
#[cfg(feature = "dogpile")]
pub mod dogpile;
pub mod durability;
#[cfg(feature = "tier")]
pub mod generation;
#[cfg(feature = "journal")]
pub mod journal;
#[cfg(feature = "lease")]
pub mod lease;
pub mod store;
#[cfg(feature = "tier")]
pub mod tier;
#[cfg(feature = "write-behind")]
pub mod write_behind;

pub use buffer::*;
pub use store::{FileStore, ReadWriteSeekString, Store};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

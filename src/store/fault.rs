//! Stores that fail, tear and lose, to test what stands on a store.
//!
//! * [`FaultStore`]: a disk in memory that remembers what a power cut could lose, and fails on
//!   command. Everything it does follows from its seed and its script.
//! * [`FaultDirectory`]: a directory of them that remembers which names a power cut could lose, and fails at
//!   any call of all.
//! * [`SparseStore`]: offsets up to 2^63 - 1 without the memory.
//! * [`CountingStore`]: counts the calls that reach any store.
//!
//! # Examples
//!
//! A power cut keeps what was synced, and any part of what was not:
//!
//! ```
//! use documentbuffer::store::Store;
//! use documentbuffer::store::fault::{CrashPlan, FaultStore, Rng};
//! use std::io::Write;
//!
//! let mut disk = FaultStore::new(1);
//! disk.write_all(b"synced")?;
//! disk.sync()?;
//! disk.write_all(b"not synced")?;
//! let mut rng = Rng::new(2);
//! for _ in 0..100 {
//!     let plan = CrashPlan::random(&mut rng);
//!     let image = disk.crash(&mut rng, plan);
//!     assert!(image.starts_with(b"synced"));
//! }
//! # Ok::<(), std::io::Error>(())
//! ```

mod calls;
mod crash;
mod directory;
mod disk;
mod handle;
mod names;
mod script;
mod wrap;

pub use crash::{CrashPlan, Filler, Mode, Rng};
pub use directory::FaultDirectory;
pub use script::{Calls, Chunks, Class, DirCalls, Fault, Kind};
pub use wrap::{CountingStore, SparseStore};

use std::fmt;
use std::io::{self, ErrorKind};

use super::reserve;

/// A change that no sync has made durable yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsynced<'a> {
    /// Bytes written at an offset.
    Write {
        /// Where they were written.
        offset: u64,
        /// What was written.
        bytes: &'a [u8],
    },
    /// Zeros from one offset to another, the gap that an extension or a far write left.
    Zeros {
        /// First of them.
        from: u64,
        /// Exclusive end.
        to: u64,
    },
    /// Cut to that length.
    Cut {
        /// The length since then.
        len: u64,
    },
}

#[derive(Clone, Copy)]
struct Op {
    kind: OpKind,
    /// The range it touches; for a cut, what was cut off.
    from: usize,
    to: usize,
    /// Length of the view after it.
    len: usize,
}

#[derive(Clone, Copy)]
enum OpKind {
    /// Its bytes start here in `bytes`.
    Write(usize),
    Zeros,
    Cut,
}

/// A disk in memory that remembers what a power cut could lose, and fails by a script.
///
/// Three things are kept apart: the *view* (what a read gives), the *durable* bytes (as of the last
/// good sync), and the changes in between, in order. A process that is killed leaves the store as
/// it is, unsynced bytes included ([`calm`](Self::calm) it and open it again); a power cut is
/// [`crash`](Self::crash). A clone is deep and goes on by itself.
///
/// Call indices count from 0 since the store was made or last calmed.
///
/// # Examples
///
/// ```
/// use documentbuffer::store::fault::{Class, Fault, FaultStore, Kind};
/// use std::io::{ErrorKind, Write};
///
/// let mut store = FaultStore::new(1);
/// store.fault(Fault { kind: Kind::Full, class: Class::Write, at: 1, sticky: false });
/// store.write_all(b"fits")?;
/// let error = store.write_all(b"half").unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::StorageFull);
/// assert_eq!(store.view(), b"fitsha");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct FaultStore {
    view: Vec<u8>,
    position: u64,
    durable: Vec<u8>,
    ops: Vec<Op>,
    /// The bytes of all unsynced writes, one behind the other.
    bytes: Vec<u8>,
    calls: Calls,
    faults: Vec<Fault>,
    fired: u64,
    /// Set by a `Full` that took half: the next write fails; stays if sticky.
    full: Option<bool>,
    flips: Vec<(u64, u8)>,
    chunks: Chunks,
    interrupted: bool,
    cap: Option<u64>,
    append: bool,
    locked: bool,
    preserved: Vec<(u64, Vec<u8>)>,
    rng: Rng,
}

impl FaultStore {
    /// An empty store.
    pub fn new(seed: u64) -> Self {
        Self::with_contents(seed, Vec::new())
    }

    /// A store that holds these bytes, all durable: what the machine finds after a power cut.
    pub fn with_contents(seed: u64, bytes: Vec<u8>) -> Self {
        Self {
            durable: bytes.clone(),
            view: bytes,
            position: 0,
            ops: Vec::new(),
            bytes: Vec::new(),
            calls: Calls::default(),
            faults: Vec::new(),
            fired: 0,
            full: None,
            flips: Vec::new(),
            chunks: Chunks::Whole,
            interrupted: false,
            cap: None,
            append: false,
            locked: false,
            preserved: Vec::new(),
            rng: Rng::new(seed),
        }
    }

    /// Adds a line to the script.
    pub fn fault(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// Every read of this offset has this bit (0 to 7) flipped.
    pub fn flip(&mut self, offset: u64, bit: u8) {
        self.flips.push((offset, 1 << (bit & 7)));
    }

    /// How many bytes a read or write moves.
    pub fn set_chunks(&mut self, chunks: Chunks) {
        self.chunks = chunks;
    }

    /// No growth beyond this length: a write over it is short, one behind it fails with
    /// [`ErrorKind::StorageFull`].
    pub fn set_cap(&mut self, cap: Option<u64>) {
        self.cap = cap;
    }

    /// Writes go to the end wherever the position is, as in a file opened for appending.
    pub fn set_append(&mut self, append: bool) {
        self.append = append;
    }

    /// `Store::lock` answers [`ErrorKind::WouldBlock`].
    pub fn set_locked(&mut self, locked: bool) {
        self.locked = locked;
    }

    /// Ends all faults and modes and sets every counter to 0; contents, position and unsynced
    /// changes stay. What is left is the store that the next process finds.
    pub fn calm(&mut self) {
        self.calls = Calls::default();
        self.faults.clear();
        self.flips.clear();
        self.fired = 0;
        self.full = None;
        self.chunks = Chunks::Whole;
        self.interrupted = false;
        self.cap = None;
        self.append = false;
        self.locked = false;
    }

    /// Calls so far, by class.
    pub fn calls(&self) -> Calls {
        self.calls
    }

    /// How many calls met a fault that meant something for them.
    pub fn fired(&self) -> u64 {
        self.fired
    }

    /// What a read gives now.
    pub fn view(&self) -> &[u8] {
        &self.view
    }

    /// What is durable as of the last good sync.
    pub fn durable(&self) -> &[u8] {
        &self.durable
    }

    /// What `preserve` kept: the offset and the bytes, in order of the calls.
    pub fn preserved(&self) -> &[(u64, Vec<u8>)] {
        &self.preserved
    }

    /// The changes since the last good sync, in order.
    pub fn unsynced(&self) -> impl Iterator<Item = Unsynced<'_>> {
        self.ops.iter().map(|op| match op.kind {
            OpKind::Write(_) => Unsynced::Write {
                offset: op.from as u64,
                bytes: self.op_bytes(op),
            },
            OpKind::Zeros => Unsynced::Zeros {
                from: op.from as u64,
                to: op.to as u64,
            },
            OpKind::Cut => Unsynced::Cut {
                len: op.from as u64,
            },
        })
    }

    fn op_bytes(&self, op: &Op) -> &[u8] {
        match op.kind {
            OpKind::Write(start) => &self.bytes[start..start + (op.to - op.from)],
            OpKind::Zeros | OpKind::Cut => &[],
        }
    }

    /// Changes the view and remembers how.
    fn put(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let end = at.checked_add(bytes.len() as u64);
        let end = reserve(&mut self.view, end.ok_or(ErrorKind::FileTooLarge)?)?;
        let from = end - bytes.len();
        if from > self.view.len() {
            self.extend(from);
        }
        let over = bytes.len().min(self.view.len() - from);
        self.view[from..from + over].copy_from_slice(&bytes[..over]);
        self.view.extend_from_slice(&bytes[over..]);
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.record(OpKind::Write(start), from, end);
        Ok(())
    }

    fn extend(&mut self, to: usize) {
        let from = self.view.len();
        self.view.resize(to, 0);
        self.record(OpKind::Zeros, from, to);
    }

    fn cut(&mut self, len: usize) {
        let to = self.view.len();
        self.view.truncate(len);
        self.record(OpKind::Cut, len, to);
    }

    fn record(&mut self, kind: OpKind, from: usize, to: usize) {
        let len = self.view.len();
        self.ops.push(Op {
            kind,
            from,
            to,
            len,
        });
    }

    /// Makes every unsynced change durable that `keep` says yes to; none is left over.
    fn settle(&mut self, mut keep: impl FnMut(&mut Rng) -> bool) {
        let mut durable = std::mem::take(&mut self.durable);
        let mut rng = self.rng.clone();
        for op in &self.ops {
            if keep(&mut rng) {
                self.redo(op, &mut durable, 0);
            }
        }
        self.rng = rng;
        self.durable = durable;
        self.ops.clear();
        self.bytes.clear();
    }

    /// One change on another copy of the bytes; a gap in front of it is filled with `gap`.
    fn redo(&self, op: &Op, image: &mut Vec<u8>, gap: u8) {
        if matches!(op.kind, OpKind::Cut) {
            image.truncate(op.from);
            return;
        }
        if image.len() < op.to {
            image.resize(op.to, gap);
        }
        match op.kind {
            OpKind::Write(_) => image[op.from..op.to].copy_from_slice(self.op_bytes(op)),
            OpKind::Zeros | OpKind::Cut => image[op.from..op.to].fill(0),
        }
    }
}

/// Without the contents.
impl fmt::Debug for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultStore")
            .field("len", &self.view.len())
            .field("durable_len", &self.durable.len())
            .field("position", &self.position)
            .field("unsynced", &self.ops.len())
            .field("calls", &self.calls)
            .field("faults", &self.faults)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;
    use std::io::{Read, Seek, SeekFrom, Write};
    use std::path::PathBuf;

    fn store(contents: &[u8]) -> FaultStore {
        FaultStore::with_contents(1, contents.to_vec())
    }

    fn script(contents: &[u8], class: Class, at: u64, sticky: bool, kind: Kind) -> FaultStore {
        let mut store = store(contents);
        store.fault(Fault {
            kind,
            class,
            at,
            sticky,
        });
        store
    }

    fn kind<T: fmt::Debug>(outcome: io::Result<T>) -> ErrorKind {
        outcome.unwrap_err().kind()
    }

    #[test]
    fn a_plain_store_is_a_file_with_a_memory() {
        let mut store = FaultStore::new(1);
        store.write_all(b"abc").unwrap();
        store.seek(SeekFrom::Start(5)).unwrap();
        store.write_all(b"xy").unwrap();
        store.set_len(6).unwrap();
        store.set_len(6).unwrap();
        store.set_len(7).unwrap();
        assert_eq!(
            (store.view(), store.durable()),
            (&b"abc\0\0x\0"[..], &b""[..])
        );
        let unsynced: Vec<_> = store.unsynced().collect();
        let expected = [
            Unsynced::Write {
                offset: 0,
                bytes: b"abc",
            },
            Unsynced::Zeros { from: 3, to: 5 },
            Unsynced::Write {
                offset: 5,
                bytes: b"xy",
            },
            Unsynced::Cut { len: 6 },
            Unsynced::Zeros { from: 6, to: 7 },
        ];
        assert_eq!(unsynced, expected);
        store.sync().unwrap();
        assert_eq!(
            (store.durable(), store.unsynced().count()),
            (store.view(), 0)
        );
        store.lock().unwrap();
        assert_eq!(store.name(), None);
    }

    #[test]
    fn errors_come_once_or_for_ever_and_before_the_work() {
        for error in [
            ErrorKind::Other,
            ErrorKind::FileTooLarge,
            ErrorKind::ReadOnlyFilesystem,
            ErrorKind::WouldBlock,
            ErrorKind::TimedOut,
        ] {
            let mut once = script(b"", Class::Write, 1, false, Kind::Fail(error));
            assert_eq!(once.write(b"a").unwrap(), 1);
            assert_eq!(kind(once.write(b"b")), error);
            assert_eq!(once.write(b"c").unwrap(), 1);
            assert_eq!((once.view(), once.fired()), (&b"ac"[..], 1));

            let mut sticky = script(b"", Class::Write, 1, true, Kind::Fail(error));
            assert_eq!(sticky.write(b"a").unwrap(), 1);
            assert_eq!(kind(sticky.write(b"b")), error);
            assert_eq!(kind(sticky.write(b"b")), error);
            assert_eq!((sticky.view(), sticky.fired()), (&b"a"[..], 2));
        }
    }

    #[test]
    fn calls_are_counted_by_class_and_in_total() {
        let mut store = script(b"abc", Class::Any, 7, false, Kind::Fail(ErrorKind::Other));
        store.write_all(b"a").unwrap();
        store.rewind().unwrap();
        store.read_exact(&mut [0; 1]).unwrap();
        store.flush().unwrap();
        store.sync().unwrap();
        store.set_len(2).unwrap();
        assert_eq!(store.preserve(1).unwrap(), Some(PathBuf::from("behind-1")));
        assert_eq!(kind(store.rewind()), ErrorKind::Other);
        let calls = Calls {
            reads: 1,
            writes: 1,
            seeks: 2,
            flushes: 1,
            syncs: 1,
            set_lens: 1,
            preserves: 1,
        };
        assert_eq!((store.calls(), store.calls().total()), (calls, 8));
        assert_eq!(store.preserved(), [(1, b"b".to_vec())]);
        assert_eq!(calls.of(Class::Any), 8);
        assert_eq!(calls.of(Class::Seek), 2);
    }

    #[test]
    fn an_error_after_the_work_leaves_the_work_done() {
        let after = Kind::After(ErrorKind::Other);
        let mut store = script(b"abc", Class::Any, 0, true, after);
        assert_eq!(kind(store.write(b"xy")), ErrorKind::Other);
        assert_eq!((store.view(), store.position), (&b"xyc"[..], 2));
        assert_eq!(kind(store.sync()), ErrorKind::Other);
        assert_eq!(store.durable(), b"xyc");
        assert_eq!(kind(store.seek(SeekFrom::Start(1))), ErrorKind::Other);
        let mut byte = [0];
        assert_eq!(kind(store.read(&mut byte)), ErrorKind::Other);
        assert_eq!((byte, store.position), (*b"y", 2));
        assert_eq!(kind(store.set_len(1)), ErrorKind::Other);
        assert_eq!(kind(store.flush()), ErrorKind::Other);
        assert_eq!(kind(store.preserve(0)), ErrorKind::Other);
        assert_eq!((store.view(), store.preserved().len()), (&b"x"[..], 1));
    }

    #[test]
    fn a_full_disk_takes_half_first() {
        let mut store = script(b"", Class::Write, 0, false, Kind::Full);
        assert_eq!(store.write(b"abcd").unwrap(), 2);
        assert_eq!(kind(store.write(b"cd")), ErrorKind::StorageFull);
        assert_eq!(store.write(b"cd").unwrap(), 2);
        assert_eq!(store.view(), b"abcd");

        let mut store = script(b"", Class::Any, 1, true, Kind::Full);
        assert_eq!(store.write(b"ab").unwrap(), 2);
        assert_eq!(store.write(b"cdef").unwrap(), 2);
        assert_eq!(kind(store.write(b"ef")), ErrorKind::StorageFull);
        assert_eq!(kind(store.write(b"ef")), ErrorKind::StorageFull);
        assert_eq!(kind(store.sync()), ErrorKind::StorageFull);
        assert_eq!(kind(store.set_len(9)), ErrorKind::StorageFull);
        store.rewind().unwrap();
        assert_eq!(store.read(&mut [0; 9]).unwrap(), 4);

        let mut store = script(b"", Class::Write, 0, false, Kind::Full);
        assert_eq!(kind(store.write(b"a")), ErrorKind::StorageFull);
        assert_eq!(store.write(b"a").unwrap(), 1);
    }

    #[test]
    fn interrupted_calls_come_in_rows() {
        let mut store = script(b"", Class::Write, 1, false, Kind::Interrupted(1000));
        store.write_all(b"a").unwrap();
        store.write_all(b"b").unwrap();
        assert_eq!((store.calls().writes, store.fired()), (1002, 1000));
        assert_eq!(store.view(), b"ab");
    }

    #[test]
    fn short_calls_move_less_but_never_nothing() {
        let cases = [
            (Kind::One, 1),
            (Kind::Half, 3),
            (Kind::AllButOne, 5),
            (Kind::Zero, 0),
        ];
        for (kind, count) in cases {
            let mut store = script(b"abcdef", Class::Any, 0, true, kind);
            assert_eq!(store.read(&mut [0; 6]).unwrap(), count, "{kind:?}");
            store.rewind().unwrap();
            assert_eq!(store.write(b"ABCDEF").unwrap(), count, "{kind:?}");
            assert_eq!(store.position, count as u64);
            let one = usize::from(count > 0);
            assert_eq!(store.write(b"x").unwrap(), one, "{kind:?}");
            assert_eq!(store.write(b"").unwrap(), 0);
            // A short sync means nothing.
            store.sync().unwrap();
        }
    }

    #[test]
    fn a_panic_leaves_the_store_as_it_was() {
        let mut store = script(b"", Class::Write, 0, false, Kind::Panic);
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| store.write(b"a")));
        assert!(caught.is_err());
        assert_eq!(store.write(b"b").unwrap(), 1);
        assert_eq!(store.view(), b"b");
    }

    #[test]
    fn a_failed_sync_has_four_after_effects() {
        let after = |kind| {
            let mut store = script(b"old", Class::Sync, 0, false, kind);
            store.write_all(b"new and longer").unwrap();
            assert_eq!(store.sync().unwrap_err().kind(), ErrorKind::Other);
            store
        };
        let mut dirty = after(Kind::SyncDirty);
        assert_eq!(
            (dirty.view(), dirty.durable()),
            (&b"new and longer"[..], &b"old"[..])
        );
        dirty.sync().unwrap();
        assert_eq!(dirty.durable(), b"new and longer");

        let mut reverts = after(Kind::SyncReverts);
        assert_eq!(
            (reverts.view(), reverts.durable()),
            (&b"old"[..], &b"old"[..])
        );
        reverts.sync().unwrap();
        assert_eq!(reverts.durable(), b"old");

        let mut loses = after(Kind::SyncLoses);
        assert_eq!(
            (loses.view(), loses.durable()),
            (&b"new and longer"[..], &b"old"[..])
        );
        loses.write_all(b"!").unwrap();
        loses.sync().unwrap();
        assert_eq!(loses.durable(), b"old\0\0\0\0\0\0\0\0\0\0\0!");
        assert_eq!(loses.view(), b"new and longer!");

        let mut some = script(b"", Class::Sync, 0, false, Kind::SyncLosesSome);
        some.write_all(&[b'x'; 64]).unwrap();
        some.rewind().unwrap();
        (0..64).for_each(|_| some.write_all(b"y").unwrap());
        assert!(some.sync().is_err());
        let kept = some.durable().iter().filter(|&&byte| byte == b'y').count();
        assert!((10..54).contains(&kept), "{kept} of 64");
        assert_eq!((some.view(), some.unsynced().count()), (&[b'y'; 64][..], 0));
    }

    #[test]
    fn lies_say_ok_and_do_nothing() {
        let mut store = script(b"abc", Class::Any, 0, true, Kind::Lie);
        assert_eq!(store.seek(SeekFrom::Start(2)).unwrap(), 2);
        assert_eq!(store.position, 0);
        assert_eq!(store.write(b"XY").unwrap(), 2);
        assert_eq!((store.view(), store.position), (&b"abc"[..], 2));
        store.set_len(0).unwrap();
        assert_eq!(store.view(), b"abc");
        let mut byte = [0];
        assert_eq!(store.read(&mut byte).unwrap(), 1);
        assert_eq!((byte[0] ^ b'c').count_ones(), 1);

        let mut store = script(b"", Class::Sync, 0, false, Kind::Lie);
        store.write_all(b"abc").unwrap();
        store.sync().unwrap();
        assert_eq!(store.durable(), b"");
        store.sync().unwrap();
        assert_eq!(store.durable(), b"abc");
    }

    #[test]
    fn a_misdirected_write_lands_elsewhere() {
        let mut store = script(b"abcdef", Class::Write, 1, false, Kind::Misdirect(4));
        store.write_all(b"A").unwrap();
        store.write_all(b"B").unwrap();
        store.write_all(b"C").unwrap();
        assert_eq!(store.view(), b"AbCdBf");
        let mut store = script(b"", Class::Write, 0, false, Kind::Misdirect(4));
        assert_eq!(store.write(b"").unwrap(), 0);
        assert_eq!(store.view(), b"");
    }

    #[test]
    fn a_flipped_bit_is_there_at_every_read_until_calm() {
        let mut store = store(b"abcdef");
        store.flip(2, 0);
        store.flip(99, 0);
        for (start, expected) in [(0, &b"abbdef"[..]), (2, b"bdef"), (3, b"def")] {
            let mut bytes = Vec::new();
            store.seek(SeekFrom::Start(start)).unwrap();
            store.read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes, expected);
        }
        store.calm();
        let mut bytes = Vec::new();
        store.rewind().unwrap();
        store.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"abcdef");
    }

    #[test]
    fn growth_ends_at_the_cap_with_a_short_write() {
        let mut store = store(b"abc");
        store.set_cap(Some(5));
        store.seek(SeekFrom::Start(2)).unwrap();
        assert_eq!(store.write(b"CDEFG").unwrap(), 3);
        assert_eq!(kind(store.write(b"FG")), ErrorKind::StorageFull);
        assert_eq!(kind(store.set_len(6)), ErrorKind::StorageFull);
        store.set_len(5).unwrap();
        // What is longer already can be overwritten.
        store.set_cap(Some(1));
        store.rewind().unwrap();
        assert_eq!(store.write(b"AB").unwrap(), 2);
        assert_eq!(store.view(), b"ABCDE");
    }

    #[test]
    fn append_mode_ignores_the_position() {
        let mut store = store(b"abc");
        store.set_append(true);
        store.rewind().unwrap();
        store.write_all(b"d").unwrap();
        assert_eq!(store.stream_position().unwrap(), 4);
        assert_eq!(store.view(), b"abcd");
    }

    #[test]
    fn chunks_do_the_same_in_more_calls() {
        for chunks in [Chunks::One, Chunks::Random] {
            let mut store = FaultStore::new(3);
            store.set_chunks(chunks);
            let bytes: Vec<u8> = (0..200).collect();
            store.write_all(&bytes).unwrap();
            store.rewind().unwrap();
            let mut read = Vec::new();
            store.read_to_end(&mut read).unwrap();
            assert_eq!(read, bytes);
            let calls = store.calls();
            assert!(calls.writes > 3 && calls.reads > 3, "{calls:?}");
        }
    }

    #[test]
    fn what_memory_cannot_hold_is_an_error_and_changes_nothing() {
        let mut store = store(b"abc");
        for at in [u64::MAX, u64::MAX / 2] {
            store.seek(SeekFrom::Start(at)).unwrap();
            assert!(store.write(b"xx").is_err());
            assert_eq!(kind(store.set_len(at)), ErrorKind::StorageFull);
        }
        assert_eq!(kind(store.seek(SeekFrom::End(-4))), ErrorKind::InvalidInput);
        assert_eq!((store.view(), store.unsynced().count()), (&b"abc"[..], 0));
    }

    #[test]
    fn calm_keeps_what_the_next_process_finds() {
        let mut store = script(b"", Class::Any, 0, true, Kind::Fail(ErrorKind::Other));
        assert!(store.write(b"a").is_err());
        store.calm();
        store.set_cap(Some(0));
        store.set_locked(true);
        assert_eq!(kind(store.lock()), ErrorKind::WouldBlock);
        store.calm();
        store.lock().unwrap();
        store.write_all(b"abc").unwrap();
        store.calm();
        assert_eq!((store.view(), store.durable()), (&b"abc"[..], &b""[..]));
        assert_eq!((store.unsynced().count(), store.calls().total()), (1, 0));
    }

    #[test]
    fn a_clone_goes_on_by_itself() {
        let mut one = store(b"abc");
        one.write_all(b"x").unwrap();
        let mut two = one.clone();
        two.write_all(b"y").unwrap();
        two.sync().unwrap();
        assert_eq!((one.view(), one.durable()), (&b"xbc"[..], &b"abc"[..]));
        assert_eq!(two.durable(), b"xyc");
    }

    #[test]
    fn debug_shows_no_contents() {
        let shown = format!("{:?}", store(b"secret"));
        assert!(
            shown.starts_with("FaultStore { len: 6, durable_len: 6"),
            "{shown}"
        );
    }
}

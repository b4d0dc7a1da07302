//! Snapshots: what a program has made of the log so far, in files beside the segments. A cache.
//!
//! A snapshot may be missing, old, of a branch that was cut away, or broken; the log alone then says the
//! same, more slowly. So nothing of one is believed before all of it has been checked, and nothing is
//! repaired. It is written under a temporary name, synced, closed, and renamed: under its final name stands
//! either all of it or what the medium made of it.
//!
//! ```text
//! name = "snapshot-" position, 20 digits "-" schema, 10 digits ".snap"     (".tmp" while it is written)
//! file = a document buffer that ends cleanly
//!        document 0       the head
//!        documents 1..    the state, in pieces of at most 1 MiB; together exactly as long as the head says
//! ```
//!
//! `snapshot/head.rs` has the head's layout.
//!
//! Bits that rot are found by the buffer's checksums, a file cut short by its END. A flipped bit in one
//! copy of the buffer's header is the only one that does not matter: the other copy suffices.

mod error;
mod head;

pub use error::{BadSnapshot, IgnoredSnapshot, SnapshotError, SnapshotStep};
pub use head::Mark;
pub(super) use head::{Head, Named};

use std::io::{ErrorKind, Seek, SeekFrom};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::buffer::{DocumentBuffer, End, Options, Recovery, Scan};
use crate::store::{Directory, Readable, Store};

/// Bytes of state in one document.
const PIECE: usize = 1 << 20;

/// A snapshot in a list: what its name says, which nothing has checked, and its size.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotInfo {
    /// Name of its file.
    pub name: String,
    /// Events in it: the position of the first that is not.
    pub position: u64,
    /// The program's number for the form of its state.
    pub schema: u32,
    /// Length of its file, in bytes.
    pub bytes: u64,
}

/// What a snapshot is worth to who takes the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    /// It can be loaded.
    Use,
    /// It never can be.
    None,
    /// It is not this journal's, of a newer version, or cannot be read: not ours to remove.
    Unknown,
}

/// The snapshots in a journal's directory.
pub(super) struct Snapshots {
    dir: Arc<dyn Directory>,
    /// One writer at a time: snapshots of one name have one temporary file.
    writing: Mutex<()>,
}

impl Snapshots {
    pub(super) fn new(dir: Arc<dyn Directory>) -> Snapshots {
        let writing = Mutex::new(());
        Snapshots { dir, writing }
    }

    fn alone(&self) -> MutexGuard<'_, ()> {
        // Nothing is behind the lock that a panic could have left half done.
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a snapshot; one of the same position and schema is replaced.
    ///
    /// Durable on return: all of it, against power loss. On an error there is none of that name, or the one
    /// that was there, or the new one, each whole.
    pub(super) fn write(&self, head: &Head, state: &[u8]) -> Result<Named, SnapshotError> {
        self.write_in_pieces(head, state, PIECE)
    }

    fn write_in_pieces(
        &self,
        head: &Head,
        state: &[u8],
        piece: usize,
    ) -> Result<Named, SnapshotError> {
        let first = head.encode(state.len() as u64)?;
        let named = Named::new(head.mark.position, head.schema);
        let temporary = named.temporary();
        let _alone = self.alone();
        let written = self
            .fill(&temporary, &first, state.chunks(piece))
            .and_then(|()| self.publish(&temporary, &named.name));
        if let Err(error) = written {
            // Gives its room back. Where that fails too, `clean` takes it.
            let _ = self.dir.remove(&temporary);
            return Err(error);
        }
        Ok(named)
    }

    /// Writes, syncs and closes.
    fn fill<'s>(
        &self,
        name: &str,
        first: &'s [u8],
        pieces: impl Iterator<Item = &'s [u8]>,
    ) -> Result<(), SnapshotError> {
        let io = |step| move |source| SnapshotError::io(step, name, source);
        let failed = |source| SnapshotError::buffer(name, source);
        let store = self.dir.create(name).map_err(io(SnapshotStep::Create))?;
        // Bare: what a buffer syncs on its way is of no use to a file that has no name yet.
        let log: Result<DocumentBuffer<Box<dyn Store + Send>>, _> =
            Options::new().memory(0).open_bare(store);
        let mut log = log.map_err(|refused| failed(refused.error))?;
        for document in std::iter::once(first).chain(pieces) {
            log.push(document).map_err(failed)?;
        }
        let (_, mut store) = log.close().map_err(|refused| failed(refused.error))?;
        store.sync().map_err(io(SnapshotStep::Sync))
    }

    fn publish(&self, temporary: &str, name: &str) -> Result<(), SnapshotError> {
        let renamed = self.dir.rename(temporary, name);
        renamed.map_err(|source| SnapshotError::io(SnapshotStep::Rename, name, source))?;
        self.sync()
    }

    fn sync(&self) -> Result<(), SnapshotError> {
        let synced = self.dir.sync();
        synced.map_err(|source| SnapshotError::io(SnapshotStep::SyncDirectory, "", source))
    }

    fn names(&self) -> Result<Vec<String>, SnapshotError> {
        let names = self.dir.list();
        names.map_err(|source| SnapshotError::io(SnapshotStep::List, "", source))
    }

    /// All of them by their names, the newest (highest position, then highest schema) first.
    pub(super) fn list(&self) -> Result<Vec<Named>, SnapshotError> {
        let names = self.names()?.into_iter();
        let mut found: Vec<Named> = names.filter_map(Named::parse).collect();
        found.sort_by_key(|named| std::cmp::Reverse((named.position, named.schema)));
        Ok(found)
    }

    /// [`list`](Snapshots::list) with sizes; one that goes away meanwhile is left out.
    pub(super) fn infos(&self) -> Result<Vec<SnapshotInfo>, SnapshotError> {
        let mut infos = Vec::new();
        for named in self.list()? {
            infos.extend(self.info(named)?);
        }
        Ok(infos)
    }

    /// With its size; `None` where it has gone away.
    pub(super) fn info(&self, named: Named) -> Result<Option<SnapshotInfo>, SnapshotError> {
        let store = self.dir.read(&named.name);
        match store.and_then(|mut store| store.seek(SeekFrom::End(0))) {
            Ok(bytes) => Ok(Some(named.info(bytes))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(SnapshotError::io(SnapshotStep::Read, &named.name, source)),
        }
    }

    /// Reads the head of one, and checks it against its name and the journal it should be of.
    pub(super) fn open(&self, named: &Named, journal: u128) -> Result<Opened, BadSnapshot> {
        let name = named.name.as_str();
        let store = match self.dir.read(name) {
            Ok(store) => store,
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(BadSnapshot::Gone),
            Err(source) => {
                let failed = SnapshotError::io(SnapshotStep::Read, name, source);
                return Err(BadSnapshot::Failed(failed));
            }
        };
        let scan = Scan::new(store).map_err(|refused| BadSnapshot::of(name, 0, refused.error))?;
        let mut scan = scan.max_document(PIECE);
        let first = scan
            .next()
            .map_err(|error| BadSnapshot::of(name, 0, error))?
            .map(|document| Head::decode(document.bytes));
        let Some(first) = first else {
            return Err(match scan.recovery().map(|recovery| recovery.end) {
                Some(End::Clean) | None => BadSnapshot::Empty,
                Some(end) => BadSnapshot::Torn { end },
            });
        };
        let (head, len) = first?;
        if (head.mark.position, head.schema) != (named.position, named.schema) {
            return Err(BadSnapshot::Misnamed {
                position: head.mark.position,
                schema: head.schema,
            });
        }
        if head.journal != journal {
            let journal = head.journal;
            return Err(BadSnapshot::OtherJournal { journal });
        }
        Ok(Opened {
            head,
            len,
            name: named.name.clone(),
            scan,
        })
    }

    /// Removes all but the newest `keep` of those that are of use, and all that are of none, the oldest
    /// first, and says how many went. What is of no use does not count: a snapshot of a branch that was cut
    /// away may have the highest position of all.
    ///
    /// Durable on return: the removals. After an error some of them are done.
    pub(super) fn prune<E: From<SnapshotError>>(
        &self,
        keep: usize,
        mut worth: impl FnMut(&Named) -> Result<Worth, E>,
    ) -> Result<usize, E> {
        let _alone = self.alone();
        let mut kept = 0;
        let mut gone = Vec::new();
        for named in self.list()? {
            match worth(&named)? {
                Worth::Use if kept < keep => kept += 1,
                Worth::Use | Worth::None => gone.push(named.name),
                Worth::Unknown => {}
            }
        }
        Ok(self.remove(gone.into_iter().rev())?)
    }

    /// Removes what writers that died left under temporary names, and says how many went. Only for who
    /// holds the directory's lock.
    ///
    /// Durable on return: the removals. After an error some of them are done.
    pub(super) fn clean(&self) -> Result<usize, SnapshotError> {
        let _alone = self.alone();
        let names = self.names()?.into_iter();
        self.remove(names.filter(|name| head::is_temporary(name)))
    }

    fn remove(&self, names: impl Iterator<Item = String>) -> Result<usize, SnapshotError> {
        let mut removed = 0;
        for name in names {
            match self.dir.remove(&name) {
                Ok(()) => removed += 1,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(source) => {
                    return Err(SnapshotError::io(SnapshotStep::Remove, &name, source));
                }
            }
        }
        if removed > 0 {
            self.sync()?;
        }
        Ok(removed)
    }
}

/// A snapshot whose head is good, before its state is read: the time to ask the log about its mark.
pub(super) struct Opened {
    pub(super) head: Head,
    /// Bytes of state that the head claims.
    len: u64,
    name: String,
    scan: Scan<Box<dyn Readable>>,
}

impl Opened {
    /// Reads the state. Memory: as much as the head claims where the file has as much, 512 KiB to read
    /// through, and one piece.
    pub(super) fn state(mut self) -> Result<(Head, Vec<u8>), BadSnapshot> {
        let claimed = self.len;
        let short = |present| BadSnapshot::Short { claimed, present };
        if claimed > self.scan.store_len() {
            return Err(short(self.scan.store_len()));
        }
        let no_memory = BadSnapshot::OutOfMemory { bytes: claimed };
        let mut state = Vec::new();
        match usize::try_from(claimed) {
            Ok(len) if state.try_reserve_exact(len).is_ok() => {}
            _ => return Err(no_memory),
        }
        let mut documents: u64 = 1;
        loop {
            let piece = self.scan.next();
            let piece = piece.map_err(|error| BadSnapshot::of(&self.name, documents, error))?;
            let Some(piece) = piece else {
                break;
            };
            let room = claimed.saturating_sub(state.len() as u64);
            if piece.bytes.len() as u64 > room {
                let document = documents;
                return Err(BadSnapshot::Malformed { document });
            }
            state.extend_from_slice(piece.bytes);
            documents = documents.saturating_add(1);
        }
        match self.scan.recovery() {
            Some(Recovery {
                end: End::Clean, ..
            }) => {}
            Some(Recovery { end, .. }) => return Err(BadSnapshot::Torn { end: *end }),
            None => return Err(BadSnapshot::Empty),
        }
        if (state.len() as u64) < claimed {
            return Err(short(state.len() as u64));
        }
        Ok((self.head, state))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::{self, Cursor, Read, Write};

    use super::*;
    use crate::store::{FileDirectory, Held, ReadWriteSeekString};

    const JOURNAL: u128 = 0x0011_2233_4455_6677_8899_AABB_CCDD_EEFF;

    fn head(position: u64) -> Head {
        Head {
            journal: JOURNAL,
            schema: 7,
            mark: Mark {
                segment: 3,
                offset: 4096,
                tip: 0xDEAD_BEEF,
                documents: 12,
                bytes: 345,
                position,
            },
            codec: "json".to_owned(),
        }
    }

    /// A directory in memory that notes what is asked of it, and fails at one call.
    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Medium>>);

    #[derive(Default)]
    struct Medium {
        files: BTreeMap<String, Vec<u8>>,
        calls: Vec<String>,
        /// The call that fails, counted from 0.
        fails_at: Option<usize>,
    }

    impl Memory {
        fn with<T>(&self, use_it: impl FnOnce(&mut Medium) -> T) -> T {
            use_it(&mut self.0.lock().unwrap())
        }

        fn call(&self, what: &str, name: &str) -> io::Result<()> {
            self.with(|medium| {
                let at = medium.calls.len();
                medium
                    .calls
                    .push(format!("{what} {name}").trim().to_owned());
                match medium.fails_at {
                    Some(fails) if fails == at => Err(io::Error::other("injected")),
                    _ => Ok(()),
                }
            })
        }

        fn put(&self, name: &str, bytes: &[u8]) {
            self.with(|medium| medium.files.insert(name.to_owned(), bytes.to_vec()));
        }

        fn get(&self, name: &str) -> Vec<u8> {
            self.with(|medium| medium.files[name].clone())
        }

        fn names(&self) -> Vec<String> {
            self.with(|medium| medium.files.keys().cloned().collect())
        }

        fn snapshots(&self) -> Snapshots {
            Snapshots::new(Arc::new(self.clone()))
        }
    }

    impl Directory for Memory {
        fn list(&self) -> io::Result<Vec<String>> {
            self.call("list", "")?;
            Ok(self.names())
        }

        fn create(&self, name: &str) -> io::Result<Box<dyn Store + Send>> {
            self.call("create", name)?;
            self.put(name, &[]);
            Ok(Box::new(Handle {
                memory: self.clone(),
                name: name.to_owned(),
                bytes: ReadWriteSeekString::new(),
            }))
        }

        fn open(&self, _: &str) -> io::Result<Box<dyn Store + Send>> {
            unreachable!("snapshots are never written to again")
        }

        fn read(&self, name: &str) -> io::Result<Box<dyn Readable>> {
            self.call("read", name)?;
            let bytes = self.with(|medium| medium.files.get(name).cloned());
            let bytes = bytes.ok_or(io::Error::from(ErrorKind::NotFound))?;
            Ok(Box::new(Cursor::new(bytes)))
        }

        fn rename(&self, from: &str, to: &str) -> io::Result<()> {
            self.call("rename", from)?;
            let bytes = self.with(|medium| medium.files.remove(from));
            self.put(to, &bytes.ok_or(io::Error::from(ErrorKind::NotFound))?);
            Ok(())
        }

        fn remove(&self, name: &str) -> io::Result<()> {
            self.call("remove", name)?;
            let removed = self.with(|medium| medium.files.remove(name));
            removed.map(|_| ()).ok_or(ErrorKind::NotFound.into())
        }

        fn sync(&self) -> io::Result<()> {
            self.call("sync", "")
        }

        fn lock(&self) -> io::Result<Box<dyn Held>> {
            Ok(Box::new(()))
        }
    }

    /// A file open for writing.
    struct Handle {
        memory: Memory,
        name: String,
        bytes: ReadWriteSeekString,
    }

    impl Read for Handle {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.bytes.read(buf)
        }
    }

    impl Write for Handle {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            self.memory.call("write", &self.name)?;
            let count = self.bytes.write(buf)?;
            self.memory.put(&self.name, self.bytes.as_bytes());
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            self.memory.call("flush", &self.name)
        }
    }

    impl Seek for Handle {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.bytes.seek(to)
        }
    }

    impl Store for Handle {
        fn sync(&mut self) -> io::Result<()> {
            self.memory.call("sync", &self.name)
        }

        fn set_len(&mut self, len: u64) -> io::Result<()> {
            self.bytes.set_len(len)
        }
    }

    impl Drop for Handle {
        fn drop(&mut self) {
            // A rename must come after this.
            self.memory
                .with(|medium| medium.calls.push(format!("close {}", self.name)));
        }
    }

    /// A small snapshot of several pieces, and what was put into it.
    fn small() -> (Memory, Named, Vec<u8>) {
        let memory = Memory::default();
        let state: Vec<u8> = (0..40).collect();
        let snapshots = memory.snapshots();
        let named = snapshots.write_in_pieces(&head(99), &state, 16).unwrap();
        (memory, named, state)
    }

    /// A document buffer of these documents.
    fn buffer_of(documents: &[&[u8]]) -> Vec<u8> {
        let mut log = DocumentBuffer::new(ReadWriteSeekString::new()).unwrap();
        log.push_all(documents).unwrap();
        log.close().unwrap().1.into_bytes()
    }

    #[test]
    fn what_was_written_is_read_in_every_length() {
        let dir = tempfile::tempdir().unwrap();
        let files = FileDirectory::open(dir.path().join("journal")).unwrap();
        let snapshots = Snapshots::new(Arc::new(files));
        for (position, len) in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 5]
            .into_iter()
            .enumerate()
        {
            let state: Vec<u8> = (0..len).map(|at| (at / 3) as u8).collect();
            let head = head(position as u64);
            let named = snapshots.write(&head, &state).unwrap();
            assert_eq!(snapshots.read(&named, JOURNAL).unwrap(), (head, state));
        }
        let infos = snapshots.infos().unwrap();
        let positions: Vec<u64> = infos.iter().map(|info| info.position).collect();
        assert_eq!(positions, [5, 4, 3, 2, 1, 0]);
        assert_eq!(
            infos[0].name,
            "snapshot-00000000000000000005-0000000007.snap"
        );
        let file = dir.path().join("journal").join(&infos[0].name);
        assert_eq!(infos[0].bytes, std::fs::metadata(file).unwrap().len());
    }

    #[test]
    fn the_head_is_laid_out_as_the_table_says() {
        let mut expected = b"\x89DBSNAP\n\x01\0\0\0\x07\0\0\0".to_vec();
        expected.extend((0..16).rev().map(|nibble: u8| nibble * 0x11));
        for word in [99, 3, 4096, 12, 345, 1000] {
            expected.extend(u64::to_le_bytes(word));
        }
        expected.extend(b"\xEF\xBE\xAD\xDEjson");
        assert_eq!(head(99).encode(1000).unwrap(), expected);
        assert_eq!(Head::decode(&expected).unwrap(), (head(99), 1000));
    }

    #[test]
    fn it_is_synced_and_closed_before_it_has_its_name() {
        let (memory, named, _) = small();
        let calls = memory.with(|medium| medium.calls.clone());
        let mut kinds: Vec<&str> = calls.iter().map(|call| call.as_str()).collect();
        kinds.dedup();
        let temporary = "snapshot-00000000000000000099-0000000007.tmp";
        let expected = ["create", "write", "flush", "sync", "close", "rename"]
            .map(|call| format!("{call} {temporary}"));
        assert_eq!(kinds[..6], expected);
        assert_eq!(kinds[6..], ["sync"]);
        assert_eq!(memory.names(), [named.name]);
    }

    #[test]
    fn cut_at_any_byte_it_is_never_used() {
        let (memory, named, state) = small();
        let whole = memory.get(&named.name);
        let snapshots = memory.snapshots();
        assert_eq!(snapshots.read(&named, JOURNAL).unwrap().1, state);
        for len in 0..whole.len() {
            memory.put(&named.name, &whole[..len]);
            let bad = snapshots.read(&named, JOURNAL).expect_err("cut");
            // Within its header, it is one that nothing was written to.
            let told = match bad {
                BadSnapshot::Empty => len < 64,
                BadSnapshot::Torn { .. } | BadSnapshot::Short { .. } => len >= 64,
                _ => false,
            };
            assert!(told, "cut to {len}: {bad:?}");
        }
    }

    #[test]
    fn filler_in_place_of_any_tail_is_never_used() {
        let (memory, named, _) = small();
        let whole = memory.get(&named.name);
        let snapshots = memory.snapshots();
        for filler in [0, 0xFF] {
            for from in 0..whole.len() {
                let mut bytes = whole.clone();
                bytes[from..].fill(filler);
                memory.put(&named.name, &bytes);
                let read = snapshots.read(&named, JOURNAL);
                assert!(read.is_err(), "{filler} from {from}");
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_found_but_in_one_copy_of_the_header() {
        let (memory, named, state) = small();
        let whole = memory.get(&named.name);
        let snapshots = memory.snapshots();
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            memory.put(&named.name, &bytes);
            match snapshots.read(&named, JOURNAL) {
                Ok(read) => {
                    assert!(bit < 64 * 8, "bit {bit}");
                    assert_eq!(read, (head(99), state.clone()), "bit {bit}");
                }
                Err(BadSnapshot::Torn { .. } | BadSnapshot::Empty) => {
                    assert!(bit >= 64 * 8, "bit {bit}");
                }
                Err(bad) => panic!("bit {bit}: {bad:?}"),
            }
        }
    }

    #[test]
    fn one_put_together_of_two_is_never_used() {
        let (memory, named, state) = small();
        let one = memory.get(&named.name);
        let snapshots = memory.snapshots();
        let mut other = state.clone();
        other[20] ^= 1;
        snapshots.write_in_pieces(&head(99), &other, 16).unwrap();
        let two = memory.get(&named.name);
        assert_eq!(one.len(), two.len());
        for seam in 1..one.len() {
            let mixed = [&one[..seam], &two[seam..]].concat();
            memory.put(&named.name, &mixed);
            match snapshots.read(&named, JOURNAL) {
                // The second copy of the header is enough, and all from there on is of one of them.
                Ok(read) if seam <= 32 => assert_eq!(read.1, other, "seam {seam}"),
                // The last bytes of both are the same.
                Ok(_) => assert_eq!(mixed, one, "seam {seam}"),
                Err(bad) => assert!(matches!(bad, BadSnapshot::Torn { .. }), "{seam}: {bad:?}"),
            }
        }
    }

    #[test]
    fn every_stranger_is_told_apart() {
        let memory = Memory::default();
        let snapshots = memory.snapshots();
        let named = Named::new(99, 7);
        let read = |documents: &[&[u8]]| {
            memory.put(&named.name, &buffer_of(documents));
            snapshots.read(&named, JOURNAL).expect_err("a stranger")
        };
        let good = head(99).encode(4).unwrap();
        let changed = |at: usize, to: u8| {
            let mut bytes = good.clone();
            bytes[at] = to;
            bytes
        };

        use BadSnapshot::*;
        assert!(matches!(read(&[]), Empty));
        assert!(matches!(
            read(&[b"x"]),
            Foreign {
                found: [b'x', 0, ..]
            }
        ));
        assert!(matches!(read(&[b""]), Foreign { .. }));
        assert!(matches!(
            read(&[&changed(7, b'?'), b"abcd"]),
            Foreign { .. }
        ));
        assert!(matches!(
            read(&[&changed(8, 2), b"abcd"]),
            Future { layout: 2 }
        ));
        // A newer layout need not have anything else that is known here.
        assert!(matches!(
            read(&[&changed(8, 3)[..12]]),
            Future { layout: 3 }
        ));
        for len in 8..HEAD_LEN_IN_TABLE {
            let bad = read(&[&good[..len], b"abcd"]);
            assert!(matches!(bad, Malformed { document: 0 }), "{len}: {bad:?}");
        }
        assert!(matches!(
            read(&[&changed(85, 0xFF)]),
            Malformed { document: 0 }
        ));
        let long = [&good[..], &[b'x'; 252]].concat();
        assert!(matches!(read(&[&long, b"abcd"]), Malformed { document: 0 }));
        assert!(matches!(
            read(&[&vec![0; PIECE + 1]]),
            Malformed { document: 0 }
        ));
        assert!(matches!(
            read(&[&good, &vec![0; PIECE + 1]]),
            Malformed { document: 1 }
        ));
        assert!(matches!(
            read(&[&good, b"abc", b"de"]),
            Malformed { document: 2 }
        ));
        assert!(matches!(
            read(&[&good, b"abc"]),
            Short {
                claimed: 4,
                present: 3
            }
        ));
        assert!(matches!(
            read(&[&good]),
            Short {
                claimed: 4,
                present: 0
            }
        ));
        assert!(matches!(
            read(&[&changed(12, 8)]),
            Misnamed {
                position: 99,
                schema: 8
            }
        ));
        assert!(matches!(
            read(&[&changed(32, 98)]),
            Misnamed {
                position: 98,
                schema: 7
            }
        ));
        assert!(matches!(read(&[&changed(16, 0)]), OtherJournal { .. }));

        for bytes in [&b"#!/bin/sh\n"[..], &[7; 300]] {
            memory.put(&named.name, bytes);
            let bad = snapshots.read(&named, JOURNAL).unwrap_err();
            assert!(matches!(bad, Foreign { .. }), "{bad:?}");
        }
        memory.put(&named.name, &newer_buffer());
        let bad = snapshots.read(&named, JOURNAL).unwrap_err();
        assert!(matches!(bad, FutureFormat(_)), "{bad:?}");
        memory.with(|medium| medium.files.clear());
        assert!(matches!(snapshots.read(&named, JOURNAL), Err(Gone)));
    }

    const HEAD_LEN_IN_TABLE: usize = 84;

    /// A document buffer of the version behind this one's.
    fn newer_buffer() -> Vec<u8> {
        let mut bytes = buffer_of(&[b"x"]);
        for copy in bytes[..64].chunks_mut(32) {
            copy[8] += 1;
            let crc = crc32fast::hash(&copy[..28]);
            copy[28..].copy_from_slice(&crc.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn a_claim_costs_no_memory() {
        let memory = Memory::default();
        let named = Named::new(99, 7);
        for claimed in [1 << 40, u64::MAX] {
            let first = head(99).encode(claimed).unwrap();
            memory.put(&named.name, &buffer_of(&[&first, b"state"]));
            // Who asked for so much would not get it.
            let bad = memory.snapshots().read(&named, JOURNAL).err();
            assert!(matches!(bad, Some(BadSnapshot::Short { .. })), "{bad:?}");
        }
    }

    #[test]
    fn a_write_that_fails_at_any_call_leaves_whole_snapshots_only() {
        let old = b"old".to_vec();
        let new: Vec<u8> = (0..50).collect();
        let run = |fails: Option<usize>| {
            let memory = Memory::default();
            let snapshots = memory.snapshots();
            snapshots.write(&head(99), &old).unwrap();
            let before = memory.with(|medium| medium.calls.len());
            memory.with(|medium| medium.fails_at = fails.map(|at| before + at));
            let written = snapshots.write_in_pieces(&head(99), &new, 16);
            let calls = memory.with(|medium| medium.calls.len() - before);
            (memory, written, calls)
        };
        let (_, written, calls) = run(None);
        written.unwrap();
        let mut failed = 0;
        for at in 0..calls {
            let (memory, written, _) = run(Some(at));
            failed += usize::from(written.is_err());
            let snapshots = memory.snapshots();
            let found = snapshots.list().unwrap();
            assert_eq!(found.len(), 1, "call {at}");
            let (_, state) = snapshots.read(&found[0], JOURNAL).unwrap();
            assert!(
                state == new || (written.is_err() && state == old),
                "call {at}"
            );
            assert_eq!(
                memory.names().len(),
                1,
                "call {at}: its temporary file stays"
            );
            // Nothing of the failure is in the way.
            snapshots.write(&head(99), &new).unwrap();
            assert_eq!(snapshots.read(&found[0], JOURNAL).unwrap().1, new);
        }
        // All but the closing, which cannot fail.
        assert_eq!(failed, calls - 1);
    }

    #[test]
    fn reading_that_fails_is_not_taken_for_damage() {
        let (memory, named, _) = small();
        memory.with(|medium| medium.fails_at = Some(medium.calls.len()));
        let bad = memory.snapshots().read(&named, JOURNAL).unwrap_err();
        assert!(matches!(bad, BadSnapshot::Failed(_)), "{bad:?}");
        let source = std::error::Error::source(&bad).expect("a source");
        assert_eq!(source.to_string(), "injected");
    }

    #[test]
    fn a_codec_with_too_long_a_name_is_refused_before_anything_is_written() {
        let memory = Memory::default();
        let mut head = head(1);
        head.codec = "x".repeat(256);
        let refused = memory.snapshots().write(&head, b"state");
        assert!(matches!(
            refused,
            Err(SnapshotError::CodecName { len: 256, max: 255 })
        ));
        assert!(memory.with(|medium| medium.calls.is_empty()));
        head.codec.pop();
        let named = memory.snapshots().write(&head, b"state").unwrap();
        assert_eq!(memory.snapshots().read(&named, JOURNAL).unwrap().0, head);
    }

    const STRANGERS: [&str; 9] = [
        "snapshot-1-2.snap",
        "snapshot-00000000000000000001-0000000002.snap.snap",
        "snapshot-00000000000000000001-00000000002.snap",
        "snapshot-+0000000000000000001-0000000002.snap",
        "snapshot-99999999999999999999-0000000002.snap",
        "snapshot-00000000000000000001-9999999999.snap",
        "snapshot-notes.tmp",
        "segment-00000000000000000001.tmp",
        "lock",
    ];

    #[test]
    fn names_that_are_not_ours_are_left_alone() {
        let memory = Memory::default();
        for name in STRANGERS {
            memory.put(name, b"theirs");
        }
        let snapshots = memory.snapshots();
        let largest = Named::new(u64::MAX, u32::MAX);
        memory.put(&largest.name, b"");
        memory.put(&largest.temporary(), b"");
        assert_eq!(snapshots.list().unwrap(), [largest]);
        assert_eq!(snapshots.clean().unwrap(), 1);
        assert_eq!(snapshots.prune(0, useful).unwrap(), 1);
        assert_eq!(memory.names().len(), STRANGERS.len());
        // Nothing to remove: nothing to sync.
        memory.with(|medium| medium.calls.clear());
        assert_eq!(
            snapshots.clean().unwrap() + snapshots.prune(0, useful).unwrap(),
            0
        );
        assert_eq!(memory.with(|medium| medium.calls.clone()), ["list", "list"]);
    }

    #[test]
    fn pruning_keeps_the_newest_of_the_log_and_removes_the_oldest_first() {
        let memory = Memory::default();
        let snapshots = memory.snapshots();
        for position in [10, 20, 30, 40, 50] {
            memory.put(&Named::new(position, 1).name, b"");
        }
        memory.put(&Named::new(30, 2).name, b"");
        memory.with(|medium| medium.calls.clear());
        // The log was cut back to 45.
        let worth = |named: &Named| match named.position {
            ..=45 => Worth::Use,
            _ => Worth::None,
        };
        let removed = snapshots.prune(2, |named| Ok::<_, SnapshotError>(worth(named)));
        assert_eq!(removed.unwrap(), 4);
        let kept = [Named::new(40, 1), Named::new(30, 2)];
        assert_eq!(snapshots.list().unwrap(), kept);
        let calls = memory.with(|medium| medium.calls.clone());
        let gone = [10, 20, 30, 50].map(|at| format!("remove {}", Named::new(at, 1).name));
        assert_eq!(calls[1..5], gone);
        assert_eq!(calls[5], "sync");
        assert_eq!(snapshots.prune(2, useful).unwrap(), 0);
    }

    #[test]
    fn what_is_not_ours_to_remove_stays_and_does_not_count() {
        let memory = Memory::default();
        let snapshots = memory.snapshots();
        for position in [10, 20, 30, 40] {
            memory.put(&Named::new(position, 1).name, b"");
        }
        let worth = |named: &Named| match named.position {
            40 => Ok(Worth::Unknown),
            10 => Err(SnapshotError::NoCodec),
            _ => Ok(Worth::Use),
        };
        // Nothing goes before all were looked at.
        assert!(snapshots.prune(1, worth).is_err());
        assert_eq!(memory.names().len(), 4);
        memory.with(|medium| drop(medium.files.remove(&Named::new(10, 1).name)));
        assert_eq!(snapshots.prune(1, worth).unwrap(), 1);
        let kept = [Named::new(40, 1), Named::new(30, 1)];
        assert_eq!(snapshots.list().unwrap(), kept);
    }

    impl Snapshots {
        /// Reads all of one.
        fn read(&self, named: &Named, journal: u128) -> Result<(Head, Vec<u8>), BadSnapshot> {
            self.open(named, journal)?.state()
        }
    }

    fn useful(_: &Named) -> Result<Worth, SnapshotError> {
        Ok(Worth::Use)
    }

    #[test]
    fn one_that_goes_away_is_left_out() {
        let (memory, named, _) = small();
        memory.with(|medium| medium.calls.clear());
        let snapshots = memory.snapshots();
        let listed = snapshots.list().unwrap();
        assert_eq!(listed, [named]);
        memory.with(|medium| medium.files.clear());
        assert!(matches!(
            snapshots.open(&listed[0], JOURNAL),
            Err(BadSnapshot::Gone)
        ));
        assert_eq!(
            snapshots
                .remove([listed[0].name.clone()].into_iter())
                .unwrap(),
            0
        );
        assert_eq!(snapshots.infos().unwrap(), []);
    }

    #[test]
    fn threads_that_write_one_name_leave_a_whole_one() {
        let dir = tempfile::tempdir().unwrap();
        let files = FileDirectory::open(dir.path().join("journal")).unwrap();
        let snapshots = Snapshots::new(Arc::new(files));
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let snapshots = &snapshots;
                scope.spawn(move || {
                    for _ in 0..20 {
                        let named = snapshots.write(&head(5), &[thread; 1000]).unwrap();
                        let (_, state) = snapshots.read(&named, JOURNAL).unwrap();
                        assert!(state.len() == 1000 && state.iter().all(|b| *b == state[0]));
                    }
                });
            }
        });
        assert_eq!(snapshots.clean().unwrap(), 0);
    }
}

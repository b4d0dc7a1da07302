//! The conformance suite passes on every store of the crate, and fails on bad ones.
#![cfg(feature = "testing")]

use documentbuffer::store::conformance::{Failure, Profile, Rule, check};
use documentbuffer::store::fault::{
    Chunks, Class, CountingStore, Fault, FaultStore, Kind, SparseStore,
};
use documentbuffer::store::{FileStore, ReadWriteSeekString, Store};
use std::fs::File;
use std::io::{self, Cursor, ErrorKind, Read, Seek, SeekFrom, Write};

#[test]
fn files_conform() -> Result<(), Failure> {
    check(|| tempfile::tempfile().unwrap())
}

#[test]
fn file_stores_conform() -> Result<(), Failure> {
    let dir = tempfile::tempdir().unwrap();
    let mut number = 0;
    check(|| {
        number += 1;
        FileStore::open(dir.path().join(number.to_string())).unwrap()
    })
}

#[test]
fn stores_in_memory_conform() -> Result<(), Failure> {
    check(|| Cursor::new(Vec::new()))?;
    check(ReadWriteSeekString::new)?;
    check(SparseStore::new)?;
    check(|| CountingStore::new(SparseStore::new()))?;
    check(|| Box::new(ReadWriteSeekString::new()) as Box<dyn Store>)
}

#[test]
fn fault_stores_conform_calm_and_in_pieces() -> Result<(), Failure> {
    for chunks in [Chunks::Whole, Chunks::One, Chunks::Random] {
        for seed in 1..6 {
            Profile::new().seed(seed).operations(300).check(|| {
                let mut store = FaultStore::new(seed);
                store.set_chunks(chunks);
                store
            })?;
        }
    }
    Ok(())
}

#[test]
fn a_call_interrupted_a_thousand_times_still_conforms() -> Result<(), Failure> {
    for class in [
        Class::Read,
        Class::Write,
        Class::Seek,
        Class::Flush,
        Class::Sync,
    ] {
        check(|| faulty(class, false, Kind::Interrupted(1000)))?;
    }
    Ok(())
}

#[test]
fn a_fixed_medium_conforms_to_its_profile_only() {
    Profile::new().fixed(100).check(|| Fixed::new(100)).unwrap();
    Profile::new()
        .fixed(5000)
        .check(|| Fixed::new(5000))
        .unwrap();
    let failure = check(|| Fixed::new(100)).unwrap_err();
    assert_eq!(failure.rule, Rule::Start);
}

fn faulty(class: Class, sticky: bool, kind: Kind) -> FaultStore {
    let mut store = FaultStore::new(1);
    store.fault(Fault {
        kind,
        class,
        at: 3,
        sticky,
    });
    store
}

fn broken<S: Store>(make: impl FnMut() -> S) -> Rule {
    let failure = Profile::new().seed(3).check(make).unwrap_err();
    let shown = failure.to_string();
    assert_eq!(shown, format!("{failure:?}"));
    assert!(shown.ends_with("; seed 3"), "{shown}");
    failure.rule
}

/// Bytes of a fixed number; full means an error.
struct Fixed {
    bytes: Cursor<Box<[u8]>>,
    /// What a full one says.
    full: Option<ErrorKind>,
}

impl Fixed {
    fn new(capacity: usize) -> Self {
        let bytes = Cursor::new(vec![0x5A; capacity].into());
        Self {
            bytes,
            full: Some(ErrorKind::StorageFull),
        }
    }
}

impl Read for Fixed {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.bytes.read(buf)
    }
}

impl Write for Fixed {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match (self.bytes.write(buf)?, self.full) {
            (0, Some(full)) if !buf.is_empty() => Err(full.into()),
            (count, _) => Ok(count),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Fixed {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.bytes.seek(to)
    }
}

impl Store for Fixed {
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn set_len(&mut self, _: u64) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }
}

#[test]
fn a_full_medium_must_say_so() {
    let profile = Profile::new().fixed(100);
    for full in [None, Some(ErrorKind::WriteZero), Some(ErrorKind::Other)] {
        let make = || Fixed {
            full,
            ..Fixed::new(100)
        };
        assert_eq!(profile.check(make).unwrap_err().rule, Rule::Full);
    }
}

/// A good store with one thing wrong.
struct Bad {
    inner: ReadWriteSeekString,
    wrong: Wrong,
}

#[derive(Clone, Copy, PartialEq)]
enum Wrong {
    /// The gap behind the end keeps old bytes.
    Gap,
    /// A flush drops the last byte.
    Tail,
    /// A position before 0 becomes 0.
    Clamp,
    /// `seek` to the end takes the position along, but says 0.
    SaysZero,
    /// `set_len` leaves old bytes when it extends.
    StaleExtension,
    /// `set_len` moves the position.
    MovesOnCut,
    /// It gives more bytes than asked for.
    TooMany,
    /// A write clears the rest of its sector.
    Neighbour,
    /// A sync goes back to the start.
    SyncMoves,
    /// A write of 1000 bytes or more swaps two of them.
    Large,
    /// A write of no bytes fails.
    NoBytes,
    /// It is always locked.
    Locked,
    /// A read ends one byte before the end.
    ShortEnd,
}

impl Read for Bad {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = match self.wrong {
            Wrong::ShortEnd => {
                let at = self.inner.stream_position()? as usize;
                let left = self.inner.as_bytes().len().saturating_sub(at + 1);
                let most = left.min(buf.len());
                self.inner.read(&mut buf[..most])?
            }
            _ => self.inner.read(buf)?,
        };
        Ok(count + usize::from(self.wrong == Wrong::TooMany))
    }
}

impl Write for Bad {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let at = self.inner.stream_position()?;
        let len = self.inner.as_bytes().len() as u64;
        match self.wrong {
            Wrong::NoBytes if buf.is_empty() => return Err(ErrorKind::InvalidInput.into()),
            Wrong::Gap if at > len => {
                self.inner.seek(SeekFrom::Start(len))?;
                self.inner.write_all(&vec![0xEE; (at - len) as usize])?;
            }
            Wrong::Neighbour if at + (buf.len() as u64) < len => {
                let count = self.inner.write(buf)?;
                self.inner.write_all(&[0])?;
                self.inner.seek(SeekFrom::Current(-1))?;
                return Ok(count);
            }
            Wrong::Large if buf.len() >= 1000 => {
                let mut bytes = buf.to_vec();
                bytes.swap(0, 999);
                return self.inner.write(&bytes);
            }
            _ => {}
        }
        self.inner.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        let len = self.inner.as_bytes().len() as u64;
        match self.wrong {
            Wrong::Tail => self.inner.set_len(len.saturating_sub(1)),
            _ => Ok(()),
        }
    }
}

impl Seek for Bad {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match (self.wrong, self.inner.seek(to)) {
            (Wrong::Clamp, Err(_)) => self.inner.seek(SeekFrom::Start(0)),
            (Wrong::SaysZero, Ok(_)) if matches!(to, SeekFrom::End(_)) => Ok(0),
            (_, outcome) => outcome,
        }
    }
}

impl Store for Bad {
    fn sync(&mut self) -> io::Result<()> {
        match self.wrong {
            Wrong::SyncMoves => self.inner.rewind(),
            _ => Ok(()),
        }
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        let old = self.inner.as_bytes().len();
        self.inner.set_len(len)?;
        match self.wrong {
            Wrong::MovesOnCut => self.inner.seek(SeekFrom::End(0)).map(drop),
            Wrong::StaleExtension if len > old as u64 => {
                let at = self.inner.stream_position()?;
                self.inner.seek(SeekFrom::Start(old as u64))?;
                self.inner.write_all(&vec![7; len as usize - old])?;
                self.inner.seek(SeekFrom::Start(at)).map(drop)
            }
            _ => Ok(()),
        }
    }

    fn lock(&mut self) -> io::Result<()> {
        match self.wrong {
            Wrong::Locked => Err(ErrorKind::WouldBlock.into()),
            _ => Ok(()),
        }
    }
}

#[test]
fn each_planted_bug_is_found_by_its_rule() {
    let planted = [
        (Wrong::Gap, Rule::Gap),
        (Wrong::Tail, Rule::Sync),
        (Wrong::Clamp, Rule::Seek),
        (Wrong::SaysZero, Rule::Seek),
        (Wrong::StaleExtension, Rule::SetLen),
        (Wrong::MovesOnCut, Rule::SetLen),
        (Wrong::TooMany, Rule::Start),
        (Wrong::Neighbour, Rule::Position),
        (Wrong::SyncMoves, Rule::Sync),
        (Wrong::Large, Rule::Random),
        (Wrong::NoBytes, Rule::Empty),
        (Wrong::Locked, Rule::Lock),
        (Wrong::ShortEnd, Rule::Position),
    ];
    for (wrong, rule) in planted {
        let make = || Bad {
            inner: ReadWriteSeekString::new(),
            wrong,
        };
        assert_eq!(broken(make), rule);
    }
}

#[test]
fn append_mode_is_no_store() {
    let dir = tempfile::tempdir().unwrap();
    let mut number = 0;
    let make = || {
        number += 1;
        let path = dir.path().join(number.to_string());
        let mut options = File::options();
        options
            .read(true)
            .append(true)
            .create(true)
            .open(path)
            .unwrap()
    };
    assert_eq!(broken(make), Rule::Position);
    let make = || {
        let mut store = FaultStore::new(1);
        store.set_append(true);
        store
    };
    assert_eq!(broken(make), Rule::Position);
}

#[test]
fn each_fault_is_found() {
    assert_eq!(broken(|| faulty(Class::Seek, true, Kind::Lie)), Rule::Seek);
    let found = [
        broken(|| faulty(Class::Write, false, Kind::Lie)),
        broken(|| faulty(Class::Write, false, Kind::Zero)),
        broken(|| faulty(Class::Write, false, Kind::Misdirect(0))),
        broken(|| faulty(Class::Read, false, Kind::Lie)),
        broken(|| faulty(Class::Read, false, Kind::Zero)),
        broken(|| faulty(Class::Sync, false, Kind::SyncReverts)),
        broken(|| faulty(Class::Flush, false, Kind::Fail(ErrorKind::Other))),
        broken(|| faulty(Class::Write, false, Kind::Interrupted(u64::MAX))),
    ];
    assert!(!found.contains(&Rule::Start), "{found:?}");
}

#[test]
#[should_panic(expected = "fewer than 64 bytes")]
fn a_tiny_medium_is_not_checked() {
    let _ = Profile::new().fixed(63).check(|| Fixed::new(63));
}

//! What a buffer expects of a store, as one call for its author.
//!
//! ```
//! use documentbuffer::store::{ReadWriteSeekString, conformance};
//!
//! conformance::check(ReadWriteSeekString::new)?;
//! # Ok::<(), conformance::Failure>(())
//! ```
//!
//! [`check_directory`] does the same for a [`Directory`](super::Directory).
//!
//! Short counts and interrupted calls are tolerated everywhere. Whether a sync really survives
//! power loss cannot be seen from here; that stays the author's to show.

mod directory;
mod probe;

pub use directory::check_directory;

use std::fmt;
use std::io::{ErrorKind, SeekFrom};

use super::Store;
use super::fault::Rng;
use probe::{Outcome, Probe};

/// The random part works on the first bytes only.
const SPAN: u64 = 3000;

/// Checks a store that starts empty and grows.
///
/// `make` gives a fresh one each time (about a dozen times). The same as
/// `Profile::new().check(make)`.
///
/// # Errors
///
/// The first rule that the store breaks, and how.
pub fn check<S: Store>(make: impl FnMut() -> S) -> Result<(), Failure> {
    Profile::new().check(make)
}

/// What kind of store is checked.
///
/// # Examples
///
/// ```
/// use documentbuffer::store::conformance::Profile;
/// use documentbuffer::store::fault::{Chunks, FaultStore};
///
/// Profile::new().seed(7).operations(500).check(|| {
///     let mut store = FaultStore::new(1);
///     store.set_chunks(Chunks::Random);
///     store
/// })?;
/// # Ok::<(), documentbuffer::store::conformance::Failure>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Profile {
    fixed: Option<u64>,
    seed: u64,
    operations: u32,
}

impl Default for Profile {
    fn default() -> Self {
        Self::new()
    }
}

impl Profile {
    /// A store that starts empty and grows.
    pub fn new() -> Self {
        Self {
            fixed: None,
            seed: 1,
            operations: 2000,
        }
    }

    /// A medium of exactly that many bytes (at least 64), whatever they are: its end is always
    /// there, and it may refuse `set_len` as unsupported.
    pub fn fixed(mut self, capacity: u64) -> Self {
        self.fixed = Some(capacity);
        self
    }

    /// Seed of the random part, 1 by default. It is in every failure.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Length of the random part, 2000 by default.
    pub fn operations(mut self, operations: u32) -> Self {
        self.operations = operations;
        self
    }

    /// Checks the stores that `make` gives, a fresh one each time.
    ///
    /// # Errors
    ///
    /// The first rule that the store breaks, and how.
    ///
    /// # Panics
    ///
    /// If the fixed capacity is below 64.
    pub fn check<S: Store>(&self, mut make: impl FnMut() -> S) -> Result<(), Failure> {
        assert!(
            self.fixed.is_none_or(|capacity| capacity >= 64),
            "a medium of fewer than 64 bytes is too small to check"
        );
        self.check_made(|| Ok(make()))
    }

    fn check_made<S: Store>(
        &self,
        mut make: impl FnMut() -> Result<S, String>,
    ) -> Result<(), Failure> {
        self.run(Rule::Start, &mut make, |probe| self.start(probe))?;
        self.run(Rule::Seek, &mut make, |probe| self.seeks(probe))?;
        self.run(Rule::Position, &mut make, position)?;
        self.run(Rule::Overwrite, &mut make, overwrite)?;
        self.run(Rule::End, &mut make, |probe| self.end(probe))?;
        self.run(Rule::Empty, &mut make, empty)?;
        self.run(Rule::Sync, &mut make, sync)?;
        self.run(Rule::Lock, &mut make, |probe| {
            probe.call("lock", Store::lock)
        })?;
        self.run(Rule::SetLen, &mut make, |probe| self.set_len(probe))?;
        match self.fixed {
            Some(capacity) => self.run(Rule::Full, &mut make, |probe| full(probe, capacity))?,
            None => self.run(Rule::Gap, &mut make, gap)?,
        }
        self.run(Rule::Random, &mut make, |probe| self.random(probe))?;
        self.run(Rule::Wrapped, &mut make, |probe| self.wrapped(probe))
    }

    fn run<S: Store>(
        &self,
        rule: Rule,
        make: &mut impl FnMut() -> Result<S, String>,
        check: impl FnOnce(&mut Probe<S>) -> Outcome,
    ) -> Result<(), Failure> {
        let outcome = make().and_then(|store| check(&mut Probe { store }));
        self.judge(rule, outcome)
    }

    fn judge<T>(&self, rule: Rule, outcome: Result<T, String>) -> Result<T, Failure> {
        outcome.map_err(|detail| Failure {
            rule,
            detail,
            seed: self.seed,
        })
    }

    fn start<S: Store>(&self, probe: &mut Probe<S>) -> Outcome {
        let expected = self.fixed.unwrap_or(0);
        probe.seek(SeekFrom::End(0), expected)?;
        probe.expect_end("behind the last byte")
    }

    fn seeks<S: Store>(&self, probe: &mut Probe<S>) -> Outcome {
        probe.seek(SeekFrom::Start(0), 0)?;
        probe.write(&[1; 60])?;
        let len = self.fixed.unwrap_or(60);
        probe.seek(SeekFrom::Start(7), 7)?;
        probe.seek(SeekFrom::Current(0), 7)?;
        probe.seek(SeekFrom::Current(13), 20)?;
        probe.seek(SeekFrom::Current(-20), 0)?;
        probe.seek(SeekFrom::End(0), len)?;
        probe.seek(SeekFrom::End(-10), len - 10)?;
        probe.seek(SeekFrom::End(-(len as i64)), 0)?;
        probe.seek(SeekFrom::Start(9), 9)?;
        for to in [
            SeekFrom::Current(-10),
            SeekFrom::End(-1 - len as i64),
            SeekFrom::End(i64::MIN),
        ] {
            if let Ok(position) = probe.store.seek(to) {
                return Err(format!(
                    "{to:?} goes before 0, but gave position {position}"
                ));
            }
            probe.seek(SeekFrom::Current(0), 9)?;
        }
        Ok(())
    }

    fn end<S: Store>(&self, probe: &mut Probe<S>) -> Outcome {
        probe.seek(SeekFrom::Start(0), 0)?;
        probe.write(b"twelve bytes")?;
        probe.seek(SeekFrom::End(0), self.fixed.unwrap_or(12))?;
        probe.expect_end("at the end")?;
        if self.fixed.is_some() {
            return Ok(());
        }
        probe.write(b", and more")?;
        probe.expect_end("at the new end")?;
        probe.expect(0, b"twelve bytes, and more")?;
        probe.seek(SeekFrom::Start(100), 100)?;
        probe.expect_end("behind the end")?;
        probe.seek(SeekFrom::End(0), 22)
    }

    fn set_len<S: Store>(&self, probe: &mut Probe<S>) -> Outcome {
        probe.seek(SeekFrom::Start(0), 0)?;
        probe.write(b"twelve bytes")?;
        probe.seek(SeekFrom::Start(9), 9)?;
        match probe.patient(|store| store.set_len(5)) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                probe.seek(SeekFrom::Current(0), 9)?;
                probe.seek(SeekFrom::End(0), self.fixed.unwrap_or(12))?;
                return probe.expect(0, b"twelve bytes");
            }
            Err(error) => {
                return Err(format!(
                    "set_len(5) failed: {error}; unsupported is {:?}",
                    ErrorKind::Unsupported
                ));
            }
        }
        probe.seek(SeekFrom::Current(0), 9)?;
        probe.expect_end("behind the cut")?;
        probe.seek(SeekFrom::End(0), 5)?;
        probe.call("set_len(12)", |store| store.set_len(12))?;
        probe.seek(SeekFrom::End(0), 12)?;
        probe.expect(0, b"twelv\0\0\0\0\0\0\0")?;
        probe.seek(SeekFrom::Start(12), 12)?;
        probe.expect_end("at the new end")
    }

    fn random<S: Store>(&self, probe: &mut Probe<S>) -> Outcome {
        let span = self.fixed.map_or(SPAN, |capacity| capacity.min(SPAN));
        let mut random = Rng::new(self.seed);
        let mut model: Vec<u8> = Vec::new();
        if self.fixed.is_some() {
            model = vec![0; span as usize];
            probe.seek(SeekFrom::Start(0), 0)?;
            probe.write(&model)?;
        }
        for turn in 0..self.operations {
            let step = random_step(probe, &mut random, &mut model, span);
            step.map_err(|detail| format!("at operation {turn}: {detail}"))?;
        }
        probe.expect(0, &model)
    }

    /// The same store by reference and as a trait object.
    fn wrapped<S: Store>(&self, probe: &mut Probe<S>) -> Outcome {
        let name = probe.store.name().map(|name| name.to_path_buf());
        through(&mut probe.store, b"by reference")?;
        probe.expect(0, b"by reference")?;
        let mut object: Box<dyn Store + '_> = Box::new(&mut probe.store);
        if object.name() != name.as_deref() {
            return Err(String::from("the name is lost in a Box<dyn Store>"));
        }
        through(&mut object, b"as an object")?;
        drop(object);
        probe.expect(0, b"as an object")
    }
}

/// What a store must do, and from [`Guard`](Rule::Guard) on a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// A fresh store is empty, or has its fixed capacity.
    Start,
    /// Seeks from all three origins give the position; before 0 they are refused and do not move.
    Seek,
    /// After a read or write the position is behind the last byte that it moved.
    Position,
    /// A write in the middle replaces just those bytes.
    Overwrite,
    /// A read at the end or behind gives 0; a write at the end extends.
    End,
    /// Reads and writes of no bytes do nothing.
    Empty,
    /// Flush and sync work, and change neither contents nor position.
    Sync,
    /// The lock of a fresh store can be had.
    Lock,
    /// `set_len` cuts and extends with zeros, or is unsupported and does nothing.
    SetLen,
    /// A full medium says `StorageFull`, and keeps what it has.
    Full,
    /// The gap before a write behind the end is zeros.
    Gap,
    /// Random operations give what a plain vector gives.
    Random,
    /// It does the same through `&mut S` and `Box<dyn Store>`.
    Wrapped,
    /// The lock of a directory is exclusive until it is dropped.
    Guard,
    /// `create` gives an empty store, and empties one that is there.
    Create,
    /// `open` gives what is there, once at a time; where nothing is, `NotFound`.
    Open,
    /// `read` takes no lock and sees what is written beside it.
    Reader,
    /// `rename` moves a store over another one, and nothing else; whoever reads either reads on.
    Rename,
    /// `remove` removes just that store; whoever reads it reads on.
    Remove,
    /// The sync of a directory changes nothing that can be seen.
    DirSync,
    /// Random changes of names and stores give what a plain map gives.
    RandomNames,
}

impl Rule {
    fn text(self) -> &'static str {
        match self {
            Rule::Start => "a fresh store is empty, or has its fixed capacity",
            Rule::Seek => "seeks give the position, and are refused before 0",
            Rule::Position => "the position follows each read and write",
            Rule::Overwrite => "a write in the middle replaces just those bytes",
            Rule::End => "a read at the end gives 0, a write there extends",
            Rule::Empty => "reads and writes of no bytes do nothing",
            Rule::Sync => "flush and sync change neither contents nor position",
            Rule::Lock => "the lock of a fresh store can be had",
            Rule::SetLen => "set_len cuts and extends with zeros, or is unsupported",
            Rule::Full => "a full medium says StorageFull and keeps what it has",
            Rule::Gap => "the gap before a write behind the end is zeros",
            Rule::Random => "random operations give what a plain vector gives",
            Rule::Wrapped => "it does the same through &mut S and Box<dyn Store>",
            Rule::Guard => "the lock of a directory is exclusive until it is dropped",
            Rule::Create => "create gives an empty store, and empties one that is there",
            Rule::Open => "open gives what is there, once at a time",
            Rule::Reader => "read takes no lock and sees what is written beside it",
            Rule::Rename => "rename moves a store over another one, readers read on",
            Rule::Remove => "remove removes just that store, readers read on",
            Rule::DirSync => "the sync of a directory changes nothing",
            Rule::RandomNames => "random changes of names give what a plain map gives",
        }
    }
}

/// The rule that a store broke, and how.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// The rule.
    pub rule: Rule,
    /// What was done, expected and found.
    pub detail: String,
    /// Seed of the random part.
    pub seed: u64,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rule, text) = (self.rule, self.rule.text());
        write!(f, "{rule:?} ({text}): {}; seed {}", self.detail, self.seed)
    }
}

/// As `Display`, since that is what a test that returns it prints.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Failure {}

fn position<S: Store>(probe: &mut Probe<S>) -> Outcome {
    probe.seek(SeekFrom::Start(0), 0)?;
    probe.write(b"0123456789")?;
    probe.seek(SeekFrom::Start(2), 2)?;
    probe.write(b"ab")?;
    probe.write(b"cd")?;
    probe.expect(0, b"01abcd6789")?;
    probe.seek(SeekFrom::Start(4), 4)?;
    let mut two = [0; 2];
    if probe.read(&mut two)? != 2 || &two != b"cd" {
        return Err(format!("a read at 4 gave {two:?}, not \"cd\""));
    }
    // A write goes on where a read ended.
    probe.write(b"ef")?;
    probe.expect(0, b"01abcdef89")
}

fn overwrite<S: Store>(probe: &mut Probe<S>) -> Outcome {
    probe.seek(SeekFrom::Start(0), 0)?;
    probe.write(&[b'.'; 50])?;
    for (at, len) in [(0, 1), (49, 1), (20, 10), (15, 10), (0, 50)] {
        let mut expected = [b'.'; 50];
        expected[at..at + len].fill(b'#');
        probe.seek(SeekFrom::Start(at as u64), at as u64)?;
        probe.write(&expected[at..at + len])?;
        probe.expect(0, &expected)?;
        probe.seek(SeekFrom::Start(0), 0)?;
        probe.write(&[b'.'; 50])?;
    }
    Ok(())
}

fn empty<S: Store>(probe: &mut Probe<S>) -> Outcome {
    probe.seek(SeekFrom::Start(0), 0)?;
    probe.write(b"kept")?;
    probe.seek(SeekFrom::Start(2), 2)?;
    for result in [
        probe.patient(|store| store.write(&[])),
        probe.patient(|store| store.read(&mut [])),
    ] {
        match result {
            Ok(0) => probe.seek(SeekFrom::Current(0), 2)?,
            other => return Err(format!("reading or writing no bytes gave {other:?}")),
        }
    }
    probe.expect(0, b"kept")
}

fn sync<S: Store>(probe: &mut Probe<S>) -> Outcome {
    probe.seek(SeekFrom::Start(0), 0)?;
    let mut all = Vec::new();
    // Often, since stores change their ways when syncs repeat.
    for turn in 0..12u8 {
        let at = all.len() as u64;
        probe.write(&[turn; 5])?;
        all.extend([turn; 5]);
        probe.call("flush", |store| store.flush())?;
        probe.seek(SeekFrom::Current(0), at + 5)?;
        probe.call("sync", |store| store.sync())?;
        probe.seek(SeekFrom::Current(0), at + 5)?;
        probe.expect(0, &all)?;
    }
    probe.call("sync", |store| store.sync())
}

fn gap<S: Store>(probe: &mut Probe<S>) -> Outcome {
    probe.write(&[0xEE; 300])?;
    probe.seek(SeekFrom::Start(1000), 1000)?;
    probe.write(b"far")?;
    let mut expected = vec![0xEE; 300];
    expected.resize(1000, 0);
    expected.extend(b"far");
    probe.expect(0, &expected)?;
    probe.seek(SeekFrom::End(0), 1003)
}

fn full<S: Store>(probe: &mut Probe<S>, capacity: u64) -> Outcome {
    let marks = [0xC3; 40];
    let last = capacity - marks.len() as u64;
    probe.seek(SeekFrom::Start(last), last)?;
    probe.write(&marks)?;
    // Exactly at the end, and over it: the first may be short, then the error.
    for from in [capacity, capacity - 10] {
        probe.seek(SeekFrom::Start(from), from)?;
        let room = (capacity - from) as usize;
        let mut done = 0;
        loop {
            match probe.patient(|store| store.write(&marks[done..])) {
                Ok(0) => return Err(format!("a write at {} gave Ok(0)", from + done as u64)),
                Ok(count) => done += count,
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => {
                    let kind = error.kind();
                    return Err(format!(
                        "a write over the end failed with {kind:?}: {error}"
                    ));
                }
            }
            if done > room {
                return Err(format!("{done} bytes were taken where {room} fit"));
            }
        }
    }
    probe.expect(last, &marks)?;
    probe.seek(SeekFrom::End(0), capacity)?;
    probe.call("sync", |store| store.sync())
}

fn through(store: impl Store, bytes: &[u8]) -> Outcome {
    let mut probe = Probe { store };
    probe.seek(SeekFrom::Start(0), 0)?;
    probe.write(bytes)?;
    probe.call("flush", |store| store.flush())?;
    probe.call("sync", |store| store.sync())?;
    probe.expect(0, bytes)
}

/// One random operation on the store and on the model; never behind the end, as a buffer does.
fn random_step<S: Store>(
    probe: &mut Probe<S>,
    random: &mut Rng,
    model: &mut Vec<u8>,
    span: u64,
) -> Outcome {
    let end = model.len() as u64;
    let at = random.below(end + 1);
    // Mostly small, now and then over several sectors.
    let most = if random.below(8) == 0 { 1500 } else { 40 };
    let len = (1 + random.below(most)).min(span.saturating_sub(at)) as usize;
    match random.below(8) {
        0..=2 => {
            let bytes: Vec<u8> = (0..len).map(|_| random.next_u64() as u8).collect();
            probe.seek(SeekFrom::Start(at), at)?;
            probe.write(&bytes)?;
            let (at, stop) = (at as usize, at as usize + len);
            model.resize(model.len().max(stop), 0);
            model[at..stop].copy_from_slice(&bytes);
            Ok(())
        }
        3..=5 => {
            let stop = (at as usize + len).min(model.len());
            probe.expect(at, &model[at as usize..stop])
        }
        6 => probe.call("flush", |store| store.flush()),
        _ => probe.call("sync", |store| store.sync()),
    }
}

//! What a journal expects of a directory, as one call for its author.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, SeekFrom};

use super::probe::{Outcome, Probe, patient};
use super::{Failure, Profile, Rule};
use crate::store::fault::Rng;
use crate::store::{Directory, Readable, Store};

/// What the names of the check begin with.
const PREFIX: &str = "conformance-";

type Check = fn(&Bench) -> Outcome;
type Opened = Probe<Box<dyn Store + Send>>;

/// Checks a directory, and the stores in it as [`check`](super::check) does.
///
/// The same as `Profile::new().check_directory(dir)`.
///
/// # Errors
///
/// The first rule that the directory or one of its stores breaks, and how.
///
/// # Examples
///
/// ```
/// use documentbuffer::store::conformance::{Failure, check_directory};
/// use documentbuffer::store::fault::FaultDirectory;
///
/// check_directory(&FaultDirectory::new(1))?;
/// # Ok::<(), Failure>(())
/// ```
pub fn check_directory(dir: &dyn Directory) -> Result<(), Failure> {
    Profile::new().check_directory(dir)
}

impl Profile {
    /// Checks a directory that nobody else uses meanwhile, and the stores in it.
    ///
    /// Names that begin with `conformance-` are the check's own: such stores are removed first and last (but
    /// not after a failure). All others stay as they are.
    ///
    /// # Errors
    ///
    /// The first rule that the directory or one of its stores breaks, and how.
    pub fn check_directory(&self, dir: &dyn Directory) -> Result<(), Failure> {
        self.judge(Rule::Guard, guard(dir))?;
        let bench = Bench { dir };
        // As a journal works: under the lock.
        let held = bench.call("lock", || dir.lock());
        let held = self.judge(Rule::Guard, held)?;
        self.judge(Rule::Remove, bench.clear())?;
        let checks: [(Rule, Check); 6] = [
            (Rule::Create, create),
            (Rule::Open, open),
            (Rule::Reader, reader),
            (Rule::Rename, rename),
            (Rule::Remove, remove),
            (Rule::DirSync, sync),
        ];
        for (rule, check) in checks {
            self.judge(rule, check(&bench))?;
            self.judge(Rule::Remove, bench.clear())?;
        }
        let stores = Profile::new().seed(self.seed).operations(self.operations);
        stores.check_made(|| Ok(bench.create("store")?.store))?;
        self.judge(Rule::Remove, bench.clear())?;
        let random = random(&bench, self.seed, self.operations);
        self.judge(Rule::RandomNames, random)?;
        self.judge(Rule::Remove, bench.clear())?;
        drop(held);
        Ok(())
    }
}

/// Calls on the directory under check, with their outcome in words; names are behind the prefix.
struct Bench<'d> {
    dir: &'d dyn Directory,
}

impl Bench<'_> {
    fn call<T>(&self, what: &str, call: impl FnMut() -> io::Result<T>) -> Result<T, String> {
        patient(call).map_err(|error| format!("{what} failed: {error}"))
    }

    fn refused<T>(
        &self,
        what: &str,
        kind: ErrorKind,
        call: impl FnMut() -> io::Result<T>,
    ) -> Outcome {
        match patient(call) {
            Ok(_) => Err(format!("{what} gave Ok, not {kind:?}")),
            Err(error) if error.kind() == kind => Ok(()),
            Err(error) => {
                let found = error.kind();
                Err(format!("{what} gave {found:?}, not {kind:?}: {error}"))
            }
        }
    }

    fn create(&self, name: &str) -> Result<Opened, String> {
        let store = self.call(&format!("create of {name}"), || self.dir.create(&at(name)))?;
        Ok(Probe { store })
    }

    /// A store of these bytes that nobody has open.
    fn make(&self, name: &str, bytes: &[u8]) -> Outcome {
        let mut probe = self.create(name)?;
        probe.write(bytes)?;
        probe.call("flush", |store| store.flush())
    }

    fn open(&self, name: &str) -> Result<Opened, String> {
        let store = self.call(&format!("open of {name}"), || self.dir.open(&at(name)))?;
        Ok(Probe { store })
    }

    fn read(&self, name: &str) -> Result<Box<dyn Readable>, String> {
        self.call(&format!("read of {name}"), || self.dir.read(&at(name)))
    }

    fn rename(&self, from: &str, to: &str) -> Outcome {
        let what = format!("rename of {from} to {to}");
        self.call(&what, || self.dir.rename(&at(from), &at(to)))
    }

    fn remove(&self, name: &str) -> Outcome {
        self.call(&format!("remove of {name}"), || self.dir.remove(&at(name)))
    }

    fn sync(&self) -> Outcome {
        self.call("sync of the directory", || self.dir.sync())
    }

    /// The names of the check, sorted.
    fn names(&self) -> Result<Vec<String>, String> {
        let all = self.call("list", || self.dir.list())?;
        let own = all.iter().filter_map(|name| name.strip_prefix(PREFIX));
        let mut own: Vec<String> = own.map(str::to_owned).collect();
        own.sort();
        Ok(own)
    }

    /// These stores (sorted by name) are there with these bytes, and no others.
    fn expect(&self, expected: &[(&str, &[u8])]) -> Outcome {
        let names = self.names()?;
        if !names.iter().eq(expected.iter().map(|(name, _)| name)) {
            let expected: Vec<_> = expected.iter().map(|(name, _)| name).collect();
            return Err(format!("list gave {names:?}, not {expected:?}"));
        }
        for (name, bytes) in expected {
            expect(&mut *self.read(name)?, bytes).map_err(|detail| format!("{name}: {detail}"))?;
        }
        Ok(())
    }

    fn clear(&self) -> Outcome {
        for name in self.names()? {
            self.remove(&name)?;
        }
        self.expect(&[])
    }
}

fn at(name: &str) -> String {
    format!("{PREFIX}{name}")
}

/// All of it from the start, and then the end.
fn expect(reader: &mut dyn Readable, expected: &[u8]) -> Outcome {
    let start = patient(|| reader.seek(SeekFrom::Start(0)));
    start.map_err(|error| format!("a seek of a reader failed: {error}"))?;
    expect_rest(reader, expected)
}

/// All of it from the position, and then the end.
fn expect_rest(reader: &mut dyn Readable, expected: &[u8]) -> Outcome {
    let mut found = Vec::new();
    let mut part = [0; 100];
    // A reader that never ends is found out too.
    while found.len() <= expected.len() {
        match patient(|| reader.read(&mut part)) {
            Ok(0) => break,
            Ok(count) => found.extend_from_slice(part.get(..count).ok_or("too long a read")?),
            Err(error) => return Err(format!("a read failed: {error}")),
        }
    }
    if found == expected {
        return Ok(());
    }
    let (found, expected) = (found.escape_ascii(), expected.escape_ascii());
    Err(format!("a reader gave \"{found}\", not \"{expected}\""))
}

fn guard(dir: &dyn Directory) -> Outcome {
    let bench = Bench { dir };
    for _ in 0..3 {
        let held = bench.call("lock", || dir.lock())?;
        let kind = ErrorKind::WouldBlock;
        bench.refused("lock of a locked directory", kind, || dir.lock())?;
        drop(held);
    }
    Ok(())
}

fn create(bench: &Bench) -> Outcome {
    let names = ["A", "a.b_C-1", "0"];
    for name in names {
        let mut probe = bench.create(name)?;
        probe.seek(SeekFrom::End(0), 0)?;
        probe.expect_end("of a new store")?;
        probe.write(name.as_bytes())?;
        probe.expect(0, name.as_bytes())?;
        probe.call("sync", |store| store.sync())?;
    }
    bench.expect(&[("0", b"0"), ("A", b"A"), ("a.b_C-1", b"a.b_C-1")])?;
    let mut probe = bench.create("A")?;
    probe.seek(SeekFrom::Current(0), 0)?;
    probe.seek(SeekFrom::End(0), 0)?;
    bench.expect(&[("0", b"0"), ("A", b""), ("a.b_C-1", b"a.b_C-1")])?;
    probe.write(b"new")?;
    probe.expect(0, b"new")?;
    drop(probe);
    bench.expect(&[("0", b"0"), ("A", b"new"), ("a.b_C-1", b"a.b_C-1")])
}

fn open(bench: &Bench) -> Outcome {
    let missing = || bench.dir.open(&at("missing"));
    bench.refused("open of nothing", ErrorKind::NotFound, missing)?;
    bench.expect(&[])?;
    let mut probe = bench.create("a")?;
    probe.write(b"twelve bytes")?;
    drop(probe);
    let mut probe = bench.open("a")?;
    probe.seek(SeekFrom::Current(0), 0)?;
    probe.expect(0, b"twelve bytes")?;
    probe.seek(SeekFrom::Start(7), 7)?;
    probe.write(b"B")?;
    probe.seek(SeekFrom::End(0), 12)?;
    probe.write(b", more")?;
    probe.call("sync", |store| store.sync())?;
    drop(probe);
    bench.expect(&[("a", b"twelve Bytes, more")])?;
    let mut probe = bench.open("a")?;
    probe.expect(0, b"twelve Bytes, more")
}

fn reader(bench: &Bench) -> Outcome {
    let missing = || bench.dir.read(&at("missing"));
    bench.refused("read of nothing", ErrorKind::NotFound, missing)?;
    let mut probe = bench.create("a")?;
    let mut early = bench.read("a")?;
    expect_rest(&mut *early, b"")?;
    probe.write(b"one")?;
    probe.call("flush", |store| store.flush())?;
    let mut late = bench.read("a")?;
    expect_rest(&mut *early, b"one")?;
    probe.write(b"two")?;
    probe.call("flush", |store| store.flush())?;
    expect_rest(&mut *early, b"two")?;
    expect_rest(&mut *late, b"onetwo")?;
    let moved = patient(|| late.seek(SeekFrom::End(-2)));
    if !matches!(moved, Ok(4)) {
        return Err(format!("End(-2) of 6 bytes gave {moved:?}"));
    }
    expect_rest(&mut *late, b"wo")?;
    // Readers moved, the writer did not.
    probe.seek(SeekFrom::Current(0), 6)?;
    drop(probe);
    let mut probe = bench.open("a")?;
    probe.expect(0, b"onetwo")?;
    expect(&mut *early, b"onetwo")
}

fn rename(bench: &Bench) -> Outcome {
    bench.make("a", b"first")?;
    bench.make("c", b"other")?;
    let mut reader = bench.read("a")?;
    bench.rename("a", "b")?;
    bench.expect(&[("b", b"first"), ("c", b"other")])?;
    let kind = ErrorKind::NotFound;
    bench.refused("open of the old name", kind, || bench.dir.open(&at("a")))?;
    expect(&mut *reader, b"first")?;
    bench.make("a", b"second")?;
    bench.rename("a", "b")?;
    bench.expect(&[("b", b"second"), ("c", b"other")])?;
    expect(&mut *reader, b"first")?;
    bench.rename("b", "b")?;
    if patient(|| bench.dir.rename(&at("missing"), &at("c"))).is_ok() {
        return Err("rename of nothing gave Ok".to_owned());
    }
    bench.expect(&[("b", b"second"), ("c", b"other")])?;
    bench.open("b")?.expect(0, b"second")
}

fn remove(bench: &Bench) -> Outcome {
    let missing = || bench.dir.remove(&at("missing"));
    bench.refused("remove of nothing", ErrorKind::NotFound, missing)?;
    bench.make("a", b"first")?;
    bench.make("b", b"other")?;
    let mut reader = bench.read("a")?;
    bench.remove("a")?;
    bench.expect(&[("b", b"other")])?;
    let kind = ErrorKind::NotFound;
    bench.refused("open of a removed one", kind, || bench.dir.open(&at("a")))?;
    bench.refused("read of a removed one", kind, || bench.dir.read(&at("a")))?;
    bench.refused("remove of a removed one", kind, || {
        bench.dir.remove(&at("a"))
    })?;
    expect(&mut *reader, b"first")?;
    bench.make("a", b"second")?;
    expect(&mut *reader, b"first")?;
    bench.expect(&[("a", b"second"), ("b", b"other")])
}

fn sync(bench: &Bench) -> Outcome {
    bench.sync()?;
    let mut probe = bench.create("a")?;
    bench.sync()?;
    probe.write(b"bytes")?;
    bench.sync()?;
    probe.seek(SeekFrom::Current(0), 5)?;
    drop(probe);
    bench.make("b", b"other")?;
    bench.rename("a", "c")?;
    bench.sync()?;
    bench.expect(&[("b", b"other"), ("c", b"bytes")])?;
    bench.remove("b")?;
    bench.sync()?;
    bench.sync()?;
    bench.expect(&[("c", b"bytes")])
}

fn random(bench: &Bench, seed: u64, operations: u32) -> Outcome {
    let mut random = Rng::new(seed);
    let mut model = BTreeMap::new();
    for turn in 0..operations {
        let step = random_step(bench, &mut random, &mut model);
        step.map_err(|detail| format!("at operation {turn}: {detail}"))?;
    }
    Ok(())
}

/// One random operation on the directory and on the model.
fn random_step(
    bench: &Bench,
    random: &mut Rng,
    model: &mut BTreeMap<&'static str, Vec<u8>>,
) -> Outcome {
    let names = ["a", "b", "c", "d", "e"];
    let mut pick = || names[random.below(names.len() as u64) as usize];
    let (name, to) = (pick(), pick());
    let mut bytes = vec![0; random.below(200) as usize];
    random.fill(&mut bytes);
    match (random.below(8), model.get_mut(name)) {
        (0 | 1, _) | (2, None) => {
            bench.make(name, &bytes)?;
            model.insert(name, bytes);
            Ok(())
        }
        (2, Some(known)) => {
            let mut probe = bench.open(name)?;
            let end = known.len() as u64;
            probe.seek(SeekFrom::End(0), end)?;
            probe.write(&bytes)?;
            known.extend(bytes);
            Ok(())
        }
        (3, Some(known)) => {
            let known = std::mem::take(known);
            bench.rename(name, to)?;
            model.remove(name);
            model.insert(to, known);
            Ok(())
        }
        (4, Some(_)) => {
            bench.remove(name)?;
            model.remove(name);
            Ok(())
        }
        (5, _) => bench.sync(),
        _ => {
            let stores = model.iter().map(|(name, bytes)| (*name, bytes.as_slice()));
            bench.expect(&stores.collect::<Vec<_>>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fault::{Chunks, FaultDirectory, FaultStore};
    use crate::store::{FileDirectory, Held};

    #[test]
    fn directories_of_the_file_system_conform() -> Result<(), Failure> {
        let dir = tempfile::tempdir().unwrap();
        let files = FileDirectory::open(dir.path().join("d")).unwrap();
        drop(files.create("other").unwrap());
        drop(files.create("conformance-left").unwrap());
        Profile::new().operations(300).check_directory(&files)?;
        // Again, where it left off.
        Profile::new().operations(50).check_directory(&files)?;
        let mut left = files.list().unwrap();
        left.sort();
        assert_eq!(left, ["lock", "other"]);
        Ok(())
    }

    #[test]
    fn directories_in_memory_conform() -> Result<(), Failure> {
        for chunks in [Chunks::Whole, Chunks::One, Chunks::Random] {
            for seed in 1..4 {
                let dir = FaultDirectory::new(seed);
                drop(dir.create("other").unwrap());
                dir.set_chunks(chunks);
                let profile = Profile::new().seed(seed).operations(300);
                profile.check_directory(&dir)?;
                assert_eq!(dir.list().unwrap(), ["other"]);
            }
        }
        check_directory(&FaultDirectory::new(1))
    }

    /// What is wrong with a directory.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Bug {
        SharedLock,
        LockHeldForEver,
        CreateKeepsBytes,
        CreateIsNotListed,
        OpenCreates,
        ReadOpens,
        ReadCopies,
        RenameCopies,
        RenameKeepsTarget,
        RemoveIsQuiet,
        RemoveCutsReaders,
        SyncRemoves,
        FifthReplaces,
        StoresAppend,
    }

    struct Bad {
        dir: FaultDirectory,
        bug: Bug,
    }

    impl Bad {
        fn bytes(&self, name: &str) -> io::Result<Vec<u8>> {
            let bytes = self.dir.view().remove(name);
            bytes.ok_or(ErrorKind::NotFound.into())
        }
    }

    impl Directory for Bad {
        fn list(&self) -> io::Result<Vec<String>> {
            let mut names = self.dir.list()?;
            if self.bug == Bug::CreateIsNotListed {
                names.retain(|name| name != "conformance-0");
            }
            Ok(names)
        }

        fn create(&self, name: &str) -> io::Result<Box<dyn Store + Send>> {
            if self.bug == Bug::CreateKeepsBytes && self.bytes(name).is_ok() {
                return self.dir.open(name);
            }
            let names = self.dir.list()?;
            match self.bug {
                Bug::FifthReplaces if names.len() > 3 => self.dir.remove(&names[0])?,
                Bug::StoresAppend if name == "conformance-store" => {
                    let mut store = FaultStore::new(1);
                    store.set_append(true);
                    return Ok(Box::new(store));
                }
                _ => {}
            }
            self.dir.create(name)
        }

        fn open(&self, name: &str) -> io::Result<Box<dyn Store + Send>> {
            match self.bug {
                Bug::OpenCreates if self.bytes(name).is_err() => self.dir.create(name),
                _ => self.dir.open(name),
            }
        }

        fn read(&self, name: &str) -> io::Result<Box<dyn Readable>> {
            match self.bug {
                Bug::ReadOpens => Ok(Box::new(self.dir.open(name)?)),
                Bug::ReadCopies => Ok(Box::new(io::Cursor::new(self.bytes(name)?))),
                _ => self.dir.read(name),
            }
        }

        fn rename(&self, from: &str, to: &str) -> io::Result<()> {
            match self.bug {
                Bug::RenameKeepsTarget if self.bytes(to).is_ok() => Ok(()),
                Bug::RenameCopies => {
                    let bytes = self.bytes(from)?;
                    self.dir.create(to)?.write_all(&bytes)
                }
                _ => self.dir.rename(from, to),
            }
        }

        fn remove(&self, name: &str) -> io::Result<()> {
            if self.bug == Bug::RemoveCutsReaders {
                self.dir.open(name)?.set_len(0)?;
            }
            match self.dir.remove(name) {
                Err(_) if self.bug == Bug::RemoveIsQuiet => Ok(()),
                outcome => outcome,
            }
        }

        fn sync(&self) -> io::Result<()> {
            if self.bug == Bug::SyncRemoves {
                let _ = self.dir.remove("conformance-a");
            }
            self.dir.sync()
        }

        fn lock(&self) -> io::Result<Box<dyn Held>> {
            match self.bug {
                Bug::SharedLock => Ok(Box::new(())),
                Bug::LockHeldForEver => {
                    std::mem::forget(self.dir.lock()?);
                    Ok(Box::new(()))
                }
                _ => self.dir.lock(),
            }
        }
    }

    #[test]
    fn what_a_directory_does_wrong_is_found_and_named() {
        let bugs = [
            (Bug::SharedLock, Rule::Guard),
            (Bug::LockHeldForEver, Rule::Guard),
            (Bug::CreateKeepsBytes, Rule::Create),
            (Bug::CreateIsNotListed, Rule::Create),
            (Bug::OpenCreates, Rule::Open),
            (Bug::ReadOpens, Rule::Create),
            (Bug::ReadCopies, Rule::Reader),
            (Bug::RenameCopies, Rule::Rename),
            (Bug::RenameKeepsTarget, Rule::Rename),
            (Bug::RemoveIsQuiet, Rule::Remove),
            (Bug::RemoveCutsReaders, Rule::Remove),
            (Bug::SyncRemoves, Rule::DirSync),
            (Bug::FifthReplaces, Rule::RandomNames),
            (Bug::StoresAppend, Rule::Position),
        ];
        for (bug, rule) in bugs {
            let dir = FaultDirectory::new(1);
            let failure = check_directory(&Bad { dir, bug }).expect_err(&format!("{bug:?}"));
            assert_eq!(failure.rule, rule, "{bug:?}: {failure}");
        }
    }
}

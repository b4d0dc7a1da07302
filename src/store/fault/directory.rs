//! A directory that fails, tears and loses: [`FaultDirectory`].

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::calls::{after, injected};
use super::disk::Disk;
use super::handle::{Guard, Handle};
use super::names::Change;
use super::{Chunks, Class, CrashPlan, DirCalls, Fault, Kind, Mode, Rng};
use crate::store::{Directory, Held, Readable, Store};

/// A directory in memory that remembers what a power cut could lose, and fails by a script.
///
/// Each store in it is a [`FaultStore`](super::FaultStore). Beside the names that stand it keeps the durable
/// ones (as of the last good [`sync`](Directory::sync)) and the changes in between, each of which a power cut
/// may undo on its own. A rename is one such change: the store has the old name or the new one. A store that
/// was removed or replaced lives on for whoever has it open.
///
/// A clone is the same directory, for the same process. A process that is killed leaves the directory as it
/// is, unsynced changes included ([`kill`](Self::kill)); a power cut is [`crash`](Self::crash), after which a
/// test goes on with [`from_image`](Self::from_image).
///
/// Call indices count from 0 since the directory was made or last calmed, over all its calls and those of all
/// its stores. A call that is refused because its process was killed does not count.
///
/// A name that is not of ASCII letters, digits, `-`, `.` and `_` is refused with
/// [`ErrorKind::InvalidInput`], and renaming a store that is open for writing, or replacing one, with
/// [`ErrorKind::ResourceBusy`]: some systems allow either, and nobody may rely on it.
///
/// # Examples
///
/// ```
/// use documentbuffer::store::Directory;
/// use documentbuffer::store::fault::{CrashPlan, FaultDirectory, Rng};
/// use std::io::ErrorKind;
///
/// let dir = FaultDirectory::new(1);
/// let mut store = dir.create("a")?;
/// store.write_all(b"bytes")?;
/// store.sync()?;
/// let mut rng = Rng::new(2);
/// for _ in 0..100 {
///     let plan = CrashPlan::random(&mut rng);
///     // The bytes are safe, their name is not.
///     let image = dir.crash(&mut rng, plan);
///     assert!(image.get("a").is_none_or(|bytes| bytes == b"bytes"));
/// }
/// dir.sync()?;
/// let plan = CrashPlan::random(&mut rng);
/// assert_eq!(dir.crash(&mut rng, plan)["a"], b"bytes");
///
/// let next = dir.kill();
/// assert_eq!(store.sync().unwrap_err().kind(), ErrorKind::Other);
/// assert_eq!(next.list()?, ["a"]);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct FaultDirectory {
    disk: Arc<Mutex<Disk>>,
    /// Of the process that this handle belongs to.
    generation: u64,
}

impl FaultDirectory {
    /// An empty directory.
    pub fn new(seed: u64) -> Self {
        Self::from_image(seed, BTreeMap::new())
    }

    /// A directory of these stores by their names, all durable: what the machine finds after a power cut.
    pub fn from_image(seed: u64, image: BTreeMap<String, Vec<u8>>) -> Self {
        let mut disk = Disk::new(seed);
        for (name, bytes) in image {
            let store = disk.add(bytes);
            disk.names.put(&name, store);
        }
        Self {
            disk: Arc::new(Mutex::new(disk)),
            generation: 0,
        }
    }

    /// Adds a line to the script.
    ///
    /// A kind that is about bytes acts on the store that the call reaches. A [`Kind::Full`] that took half of
    /// a write lets the next write to any store fail.
    pub fn fault(&self, fault: Fault) {
        self.disk().script.push(fault);
    }

    /// Adds a line to the script: that goes wrong at call `at`, of whatever class it is, or at every call from
    /// there on if sticky.
    ///
    /// Sticky with [`Kind::Fail`], nothing changes any more from that call on: the power is cut, and
    /// [`crash`](Self::crash) gives what is left.
    pub fn fail_at(&self, at: u64, kind: Kind, sticky: bool) {
        let class = Class::Any;
        self.fault(Fault {
            kind,
            class,
            at,
            sticky,
        });
    }

    /// No more bytes than that in all stores together, those included that were removed but are still open: a
    /// write over it is short, and one behind it and the creation of a store there fail with
    /// [`ErrorKind::StorageFull`].
    pub fn set_cap(&self, cap: Option<u64>) {
        self.disk().cap = cap;
    }

    /// How many bytes a read or write moves.
    pub fn set_chunks(&self, chunks: Chunks) {
        self.disk().chunks = chunks;
    }

    /// Ends all faults and modes and sets every counter to 0; stores, names, handles and unsynced changes stay.
    pub fn calm(&self) {
        self.disk().calm();
    }

    /// Calls so far, by class.
    pub fn calls(&self) -> DirCalls {
        self.disk().calls
    }

    /// How many calls met a fault that meant something for them.
    pub fn fired(&self) -> u64 {
        self.disk().fired
    }

    /// The stores by their names as they stand, unsynced changes included: what a killed process leaves.
    pub fn view(&self) -> BTreeMap<String, Vec<u8>> {
        let disk = self.disk();
        disk.image(disk.names.now(), |store| store.view().to_vec())
    }

    /// The changes of names since the last good sync, in order and in words: `create a`, `rename a to b`,
    /// `remove a`.
    pub fn unsynced_names(&self) -> Vec<String> {
        let disk = self.disk();
        disk.names
            .unsynced()
            .iter()
            .map(Change::to_string)
            .collect()
    }

    /// What the medium holds after a power cut now, by names. The directory itself does not change; go on with
    /// [`from_image`](Self::from_image).
    ///
    /// Each store is [crashed](super::FaultStore::crash) by the plan. Of the unsynced changes of names all are there
    /// for [`Mode::Kept`], none for [`Mode::Lost`], and otherwise any; all in about a quarter of the images,
    /// none in another.
    ///
    /// # Panics
    ///
    /// If `plan.sector` is 0.
    pub fn crash(&self, rng: &mut Rng, plan: CrashPlan) -> BTreeMap<String, Vec<u8>> {
        let disk = self.disk();
        let all = match plan.mode {
            Mode::Kept => Some(true),
            Mode::Lost => Some(false),
            _ => match rng.below(4) {
                0 => Some(true),
                1 => Some(false),
                _ => None,
            },
        };
        let names = disk
            .names
            .after(|_| all.unwrap_or_else(|| rng.below(2) == 0));
        disk.image(&names, |store| store.crash(rng, plan))
    }

    /// As [`crash`](Self::crash), but of the [unsynced changes](Self::unsynced_names) of names those are there
    /// for whose index `keep` gives true.
    ///
    /// # Panics
    ///
    /// If `plan.sector` is 0.
    pub fn crash_names(
        &self,
        rng: &mut Rng,
        plan: CrashPlan,
        keep: impl FnMut(usize) -> bool,
    ) -> BTreeMap<String, Vec<u8>> {
        let disk = self.disk().clone();
        let names = disk.names.after(keep);
        disk.image(&names, |store| store.crash(rng, plan))
    }

    /// An image for everything that a power cut now can leave of the names, each store crashed by the plan in
    /// each of them ([`Mode::Kept`] and [`Mode::Lost`] for all of the bytes and none).
    ///
    /// `each` gets one image for each distinct set of names; their number is returned. Expect up to two to
    /// the power of the [unsynced changes](Self::unsynced_names).
    ///
    /// # Panics
    ///
    /// If `plan.sector` is 0.
    pub fn name_images(
        &self,
        rng: &mut Rng,
        plan: CrashPlan,
        mut each: impl FnMut(BTreeMap<String, Vec<u8>>),
    ) -> usize {
        let disk = self.disk().clone();
        let outcomes = disk.names.outcomes();
        for names in &outcomes {
            each(disk.image(names, |store| store.crash(rng, plan)));
        }
        outcomes.len()
    }

    /// Kills the process: every handle that exists now is dead, this one, its clones and its stores included,
    /// and the lock is free. What is returned is the directory for the next process.
    ///
    /// Every later call of a dead handle fails with [`ErrorKind::Other`] and changes nothing, so what is
    /// left of the old process may be dropped at any time. (What this type has beside [`Directory`] works on
    /// through any handle.) The script goes on; see [`calm`](Self::calm).
    #[must_use]
    pub fn kill(&self) -> FaultDirectory {
        let generation = self.disk().kill();
        let disk = Arc::clone(&self.disk);
        Self { disk, generation }
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        // A panic that was asked for left everything in order.
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The disk, if the process of this handle lives.
    pub(super) fn live(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let disk = self.disk();
        if disk.generation() != self.generation {
            return Err(io::Error::other("the process was killed"));
        }
        Ok(disk)
    }

    /// Counts the call of a directory and does what is to go wrong before its work.
    fn enter(&self, class: Class) -> io::Result<(MutexGuard<'_, Disk>, Option<Kind>)> {
        let mut disk = self.live()?;
        let fault = disk.hit(class).map(|fault| fault.kind);
        match fault {
            Some(Kind::Fail(kind)) => Err(injected(kind)),
            Some(Kind::Interrupted(_)) => Err(injected(ErrorKind::Interrupted)),
            Some(Kind::Full) => Err(injected(ErrorKind::StorageFull)),
            Some(Kind::Panic) => panic!("injected panic at {class:?}"),
            _ => Ok((disk, fault)),
        }
    }
}

fn check(name: &str) -> io::Result<()> {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if !name.bytes().all(fine) || matches!(name, "" | "." | "..") {
        let error = format!("{name:?} is no name of a store");
        return Err(io::Error::new(ErrorKind::InvalidInput, error));
    }
    Ok(())
}

fn held() -> io::Error {
    io::Error::new(ErrorKind::WouldBlock, "another handle holds the lock")
}

impl Directory for FaultDirectory {
    fn list(&self) -> io::Result<Vec<String>> {
        let (disk, fault) = self.enter(Class::List)?;
        after(fault, disk.names.now().keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Store + Send>> {
        let (mut disk, fault) = self.enter(Class::Create)?;
        check(name)?;
        let store = match disk.names.now().get(name) {
            Some(&store) => {
                if disk.is_written(store) {
                    return Err(held());
                }
                disk.empty(store);
                store
            }
            None => {
                if disk.room() == Some(0) {
                    return Err(injected(ErrorKind::StorageFull));
                }
                let store = disk.add(Vec::new());
                let name = name.to_owned();
                disk.names.change(Change::Create { name, store });
                store
            }
        };
        after(fault, ())?;
        disk.open(store, true);
        Ok(Box::new(Handle::new(self, store, name, true)))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Store + Send>> {
        let (mut disk, fault) = self.enter(Class::Open)?;
        let store = disk.find(name)?;
        if disk.is_written(store) {
            return Err(held());
        }
        after(fault, ())?;
        disk.open(store, true);
        Ok(Box::new(Handle::new(self, store, name, true)))
    }

    fn read(&self, name: &str) -> io::Result<Box<dyn Readable>> {
        let (mut disk, fault) = self.enter(Class::OpenRead)?;
        let store = disk.find(name)?;
        after(fault, ())?;
        disk.open(store, false);
        Ok(Box::new(Handle::new(self, store, name, false)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (mut disk, fault) = self.enter(Class::Rename)?;
        check(to)?;
        let store = disk.find(from)?;
        let replaced = disk.names.now().get(to).copied();
        if disk.is_written(store) || replaced.is_some_and(|store| disk.is_written(store)) {
            let error = "a store to rename or replace is open for writing";
            return Err(io::Error::new(ErrorKind::ResourceBusy, error));
        }
        if from != to {
            let (from, to) = (from.to_owned(), to.to_owned());
            disk.names.change(Change::Rename { from, to, store });
        }
        after(fault, ())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let (mut disk, fault) = self.enter(Class::Remove)?;
        let store = disk.find(name)?;
        let name = name.to_owned();
        disk.names.change(Change::Remove { name, store });
        after(fault, ())
    }

    fn sync(&self) -> io::Result<()> {
        let (mut disk, fault) = self.enter(Class::DirSync)?;
        match fault {
            Some(Kind::Lie) => return Ok(()),
            Some(Kind::SyncDirty) => {}
            Some(Kind::SyncReverts) => disk.names.revert(),
            Some(Kind::SyncLoses) => disk.names.settle(|_| false),
            Some(Kind::SyncLosesSome) => disk.settle_some(),
            _ => {
                disk.names.settle(|_| true);
                disk.forget();
                return after(fault, ());
            }
        }
        Err(injected(ErrorKind::Other))
    }

    fn lock(&self) -> io::Result<Box<dyn Held>> {
        let (mut disk, fault) = self.enter(Class::Lock)?;
        if disk.locked {
            return Err(held());
        }
        after(fault, ())?;
        disk.locked = true;
        Ok(Box::new(Guard::new(self)))
    }
}

/// Without the contents.
impl fmt::Debug for FaultDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let disk = self.disk();
        f.debug_struct("FaultDirectory")
            .field("names", &disk.names.now().keys())
            .field("unsynced", &disk.names.unsynced().len())
            .field("calls", &disk.calls)
            .field("faults", &disk.script)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fault::{Calls, Filler};
    use std::collections::BTreeSet;
    use std::io::{Read, Seek, SeekFrom, Write};
    use std::path::{Path, PathBuf};

    type Image = BTreeMap<String, Vec<u8>>;
    type Fails = fn(&FaultDirectory) -> bool;

    const KEPT: CrashPlan = plan(Mode::Kept);
    const LOST: CrashPlan = plan(Mode::Lost);

    const fn plan(mode: Mode) -> CrashPlan {
        CrashPlan {
            sector: 1,
            filler: Filler::Zero,
            mode,
        }
    }

    fn image(stores: &[(&str, &[u8])]) -> Image {
        let stores = stores.iter();
        stores
            .map(|(name, bytes)| (String::from(*name), bytes.to_vec()))
            .collect()
    }

    /// All durable.
    fn dir(stores: &[(&str, &[u8])]) -> FaultDirectory {
        FaultDirectory::from_image(1, image(stores))
    }

    fn script(stores: &[(&str, &[u8])], class: Class, at: u64, kind: Kind) -> FaultDirectory {
        let dir = dir(stores);
        let sticky = false;
        dir.fault(Fault {
            kind,
            class,
            at,
            sticky,
        });
        dir
    }

    fn make(dir: &FaultDirectory, name: &str, bytes: &[u8]) {
        let mut store = dir.create(name).unwrap();
        store.write_all(bytes).unwrap();
        store.sync().unwrap();
    }

    fn all(mut from: impl Read) -> Vec<u8> {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        bytes
    }

    fn kind<T>(outcome: io::Result<T>) -> ErrorKind {
        outcome.err().expect("an error").kind()
    }

    fn crash(dir: &FaultDirectory, plan: CrashPlan) -> Image {
        dir.crash(&mut Rng::new(1), plan)
    }

    fn outcomes(dir: &FaultDirectory, plan: CrashPlan) -> BTreeSet<Image> {
        let mut images = Vec::new();
        let count = dir.name_images(&mut Rng::new(1), plan, |image| images.push(image));
        assert_eq!(count, images.len());
        images.into_iter().collect()
    }

    #[test]
    fn handles_have_positions_of_their_own() {
        let dir = dir(&[("a", b"abcdef")]);
        let mut store = dir.open("a").unwrap();
        let mut reader = dir.read("a").unwrap();
        store.seek(SeekFrom::Start(4)).unwrap();
        let mut two = [0; 2];
        reader.read_exact(&mut two).unwrap();
        assert_eq!(&two, b"ab");
        store.write_all(b"EFG").unwrap();
        assert_eq!(store.stream_position().unwrap(), 7);
        assert_eq!(all(&mut reader), b"cdEFG");
        store.set_len(3).unwrap();
        reader.rewind().unwrap();
        assert_eq!(
            (all(reader), store.name()),
            (b"abc".to_vec(), Some(Path::new("a")))
        );
        store.lock().unwrap();
        assert_eq!(dir.view(), image(&[("a", b"abc")]));
    }

    #[test]
    fn a_store_is_written_by_one_at_a_time() {
        let dir = FaultDirectory::new(1);
        let store = dir.create("a").unwrap();
        let busy = ErrorKind::WouldBlock;
        assert_eq!((kind(dir.open("a")), kind(dir.create("a"))), (busy, busy));
        drop(dir.read("a").unwrap());
        assert_eq!(kind(dir.open("a")), busy);
        make(&dir, "b", b"");
        assert_eq!(kind(dir.rename("a", "c")), ErrorKind::ResourceBusy);
        assert_eq!(kind(dir.rename("b", "a")), ErrorKind::ResourceBusy);
        drop(store);
        drop(dir.open("a").unwrap());
        dir.rename("b", "a").unwrap();
        dir.open("a").unwrap();
    }

    #[test]
    fn names_are_checked_and_missed() {
        let dir = FaultDirectory::new(1);
        make(&dir, "a", b"");
        for name in ["", ".", "..", "a/b", "a b", "ä"] {
            assert_eq!(kind(dir.create(name)), ErrorKind::InvalidInput, "{name}");
            assert_eq!(kind(dir.rename("a", name)), ErrorKind::InvalidInput);
        }
        let missing = ErrorKind::NotFound;
        assert_eq!(
            (kind(dir.open("b")), kind(dir.read("b"))),
            (missing, missing)
        );
        assert_eq!(
            (kind(dir.remove("b")), kind(dir.rename("b", "c"))),
            (missing, missing)
        );
        dir.rename("a", "a").unwrap();
        assert_eq!(dir.unsynced_names(), ["create a"]);
    }

    #[test]
    fn removed_and_replaced_stores_live_on_for_who_has_them() {
        let dir = dir(&[("a", b"one"), ("b", b"two")]);
        let (mut one, mut two) = (dir.read("a").unwrap(), dir.read("b").unwrap());
        dir.rename("b", "a").unwrap();
        let mut writer = dir.open("a").unwrap();
        dir.remove("a").unwrap();
        dir.sync().unwrap();
        assert_eq!(
            (all(&mut one), all(&mut two)),
            (b"one".to_vec(), b"two".to_vec())
        );
        writer.write_all(b"T").unwrap();
        two.rewind().unwrap();
        assert_eq!(all(two), b"Two");
        assert_eq!(dir.view(), Image::new());
        make(&dir, "a", b"three");
        one.rewind().unwrap();
        assert_eq!(all(one), b"one");
        drop(writer);
        dir.sync().unwrap();
        assert_eq!(dir.disk().names.stores().len(), 1);
        assert_eq!(dir.disk().clone().room(), None);
    }

    #[test]
    fn a_created_name_may_be_missing_until_the_directory_is_synced() {
        let dir = FaultDirectory::new(1);
        make(&dir, "a", b"synced");
        assert_eq!(crash(&dir, LOST), Image::new());
        assert_eq!(crash(&dir, KEPT), image(&[("a", b"synced")]));
        let expected = BTreeSet::from([Image::new(), image(&[("a", b"synced")])]);
        assert_eq!(outcomes(&dir, LOST), expected);
        dir.sync().unwrap();
        assert_eq!(
            outcomes(&dir, LOST),
            BTreeSet::from([image(&[("a", b"synced")])])
        );
    }

    #[test]
    fn synced_names_keep_no_bytes() {
        let dir = FaultDirectory::new(1);
        let mut store = dir.create("a").unwrap();
        store.write_all(b"bytes").unwrap();
        dir.sync().unwrap();
        assert_eq!(crash(&dir, LOST), image(&[("a", b"")]));
        assert_eq!(crash(&dir, KEPT), image(&[("a", b"bytes")]));
        store.sync().unwrap();
        assert_eq!(crash(&dir, LOST), image(&[("a", b"bytes")]));
        drop(store);
        // Emptied, but that is not durable either.
        drop(dir.create("a").unwrap());
        assert_eq!(dir.view(), image(&[("a", b"")]));
        assert_eq!(crash(&dir, LOST), image(&[("a", b"bytes")]));
        assert_eq!(dir.unsynced_names(), [""; 0]);
    }

    #[test]
    fn changes_of_names_are_there_each_on_its_own() {
        let dir = dir(&[("old", b"1"), ("gone", b"2")]);
        make(&dir, "new.tmp", b"3");
        dir.rename("new.tmp", "old").unwrap();
        dir.remove("gone").unwrap();
        let words = ["create new.tmp", "rename new.tmp to old", "remove gone"];
        assert_eq!(dir.unsynced_names(), words);
        let mut expected = BTreeSet::new();
        for old in [
            &[("old", &b"1"[..])][..],
            &[("old", b"1"), ("new.tmp", b"3")],
            &[("old", b"3")],
        ] {
            expected.insert(image(old));
            let mut both = image(old);
            both.insert("gone".into(), b"2".to_vec());
            expected.insert(both);
        }
        assert_eq!(outcomes(&dir, KEPT), expected);
        // Random images meet all of them, and no others.
        let mut rng = Rng::new(7);
        let random: BTreeSet<Image> = (0..300)
            .map(|_| dir.crash(&mut rng, plan(Mode::Subset)))
            .collect();
        assert_eq!(random, expected);
        let third = dir.crash_names(&mut rng, KEPT, |index| index == 2);
        assert_eq!(third, image(&[("old", b"1")]));
        assert_eq!(dir.view(), image(&[("old", b"3")]));
    }

    #[test]
    fn the_same_seed_crashes_the_same() {
        let run = || {
            let dir = dir(&[("a", b"old")]);
            let mut store = dir.open("a").unwrap();
            (0..20u8).for_each(|byte| store.write_all(&[byte; 9]).unwrap());
            make(&dir, "b", b"more");
            let mut rng = Rng::new(3);
            let plans = (0..20).map(|_| CrashPlan::random(&mut rng));
            let plans: Vec<_> = plans.collect();
            let images = plans.into_iter().map(|plan| dir.crash(&mut rng, plan));
            images.collect::<Vec<_>>()
        };
        let images = run();
        assert_eq!(images, run());
        assert!(images.iter().collect::<BTreeSet<_>>().len() > 5);
    }

    #[test]
    fn the_lock_is_free_once_dropped() {
        let dir = FaultDirectory::new(1);
        let guard = dir.lock().unwrap();
        assert_eq!(kind(dir.clone().lock()), ErrorKind::WouldBlock);
        drop(guard);
        drop(dir.lock().unwrap());
    }

    #[test]
    fn a_killed_process_does_nothing_any_more() {
        let old = dir(&[("a", b"abc")]);
        let (guard, copy) = (old.lock().unwrap(), old.clone());
        let mut writer = old.open("a").unwrap();
        let mut reader = old.read("a").unwrap();
        writer.write_all(b"X").unwrap();
        make(&old, "b", b"");
        let new = copy.kill();
        let held = new.lock().unwrap();
        let next = new.open("a").unwrap();
        let calls = new.calls();

        let dead = ErrorKind::Other;
        assert_eq!(kind(writer.write(b"Y")), dead);
        assert_eq!(
            (kind(writer.seek(SeekFrom::Start(0))), kind(writer.flush())),
            (dead, dead)
        );
        assert_eq!((kind(writer.sync()), kind(writer.set_len(0))), (dead, dead));
        assert_eq!(
            (kind(writer.lock()), kind(writer.preserve(0))),
            (dead, dead)
        );
        assert_eq!(
            (kind(reader.read(&mut [0])), kind(reader.rewind())),
            (dead, dead)
        );
        for old in [&old, &copy] {
            assert_eq!((kind(old.list()), kind(old.create("c"))), (dead, dead));
            assert_eq!((kind(old.open("a")), kind(old.read("a"))), (dead, dead));
            assert_eq!(
                (kind(old.rename("a", "c")), kind(old.remove("a"))),
                (dead, dead)
            );
            assert_eq!((kind(old.sync()), kind(old.lock())), (dead, dead));
        }
        // What the old process drops frees nothing of the new one.
        drop((guard, writer, reader, old));
        assert_eq!(kind(new.lock()), ErrorKind::WouldBlock);
        assert_eq!(kind(new.open("a")), ErrorKind::WouldBlock);
        drop((held, next));
        drop((new.lock().unwrap(), new.open("a").unwrap()));

        // Killed, not powered off: everything stands, and nothing more is durable than was.
        assert_eq!(new.view(), image(&[("a", b"Xbc"), ("b", b"")]));
        assert_eq!(crash(&new, LOST), image(&[("a", b"abc")]));
        assert_eq!(copy.calls().total(), calls.total() + 4);
    }

    #[test]
    fn calls_are_counted_over_all_stores() {
        let dir = dir(&[("a", b"abc")]);
        let guard = dir.lock().unwrap();
        let mut a = dir.open("a").unwrap();
        a.write_all(b"x").unwrap();
        let mut b = dir.create("b").unwrap();
        b.write_all(b"y").unwrap();
        b.flush().unwrap();
        b.sync().unwrap();
        b.set_len(3).unwrap();
        b.preserve(2).unwrap();
        drop(b);
        let mut reader = dir.read("a").unwrap();
        reader.seek(SeekFrom::Start(1)).unwrap();
        reader.read_exact(&mut [0]).unwrap();
        dir.rename("b", "c").unwrap();
        dir.remove("c").unwrap();
        dir.sync().unwrap();
        dir.list().unwrap();
        assert!(dir.open("z").is_err());
        drop(guard);
        let stores = Calls {
            reads: 1,
            writes: 2,
            seeks: 1,
            flushes: 1,
            syncs: 1,
            set_lens: 1,
            preserves: 1,
        };
        let calls = DirCalls {
            stores,
            lists: 1,
            creates: 1,
            opens: 2,
            open_reads: 1,
            renames: 1,
            removes: 1,
            dir_syncs: 1,
            locks: 1,
        };
        assert_eq!((dir.calls(), calls.total()), (calls, 17));
        assert_eq!((calls.of(Class::Write), calls.of(Class::Open)), (2, 2));
        assert_eq!((stores.of(Class::Open), calls.of(Class::Any)), (0, 17));
        dir.calm();
        assert_eq!(dir.calls().total(), 0);
    }

    /// Some call of each class, one after the other; the first error ends it.
    fn life(dir: &FaultDirectory) -> io::Result<()> {
        let guard = dir.lock()?;
        let mut store = dir.create("new.tmp")?;
        store.write_all(b"head")?;
        store.flush()?;
        store.sync()?;
        drop(store);
        dir.rename("new.tmp", "new")?;
        dir.sync()?;
        let mut store = dir.open("new")?;
        store.seek(SeekFrom::End(0))?;
        store.write_all(b" tail")?;
        store.preserve(4)?;
        store.set_len(6)?;
        store.sync()?;
        dir.remove("old")?;
        dir.sync()?;
        dir.list()?;
        dir.read("new")?.read_exact(&mut [0; 4])?;
        drop(guard);
        Ok(())
    }

    #[test]
    fn every_call_can_fail_before_or_after_its_work() {
        let fresh = || dir(&[("old", b"old")]);
        let calm = fresh();
        life(&calm).unwrap();
        let total = calm.calls().total();
        assert_eq!(total, 18);
        let at = |kind, at, sticky| {
            let dir = fresh();
            dir.fail_at(at, kind, sticky);
            let outcome = life(&dir);
            assert_eq!(outcome.is_err(), at < total);
            assert_eq!(
                (dir.fired(), dir.calls().total()),
                (u64::from(at < total), total.min(at + 1))
            );
            dir
        };
        for call in 0..=total {
            let before = at(Kind::Fail(ErrorKind::TimedOut), call, false);
            let after = at(Kind::After(ErrorKind::TimedOut), call, false);
            // With the work done, it stands as where the next call fails.
            if call < total {
                let next = at(Kind::Fail(ErrorKind::TimedOut), call + 1, false);
                assert_eq!(after.view(), next.view(), "call {call}");
                assert_eq!(crash(&after, LOST), crash(&next, LOST), "call {call}");
            }
            // Nothing changes any more once errors stick.
            let cut = at(Kind::Fail(ErrorKind::TimedOut), call, true);
            let images = (cut.view(), crash(&cut, LOST));
            assert_eq!(images, (before.view(), crash(&before, LOST)));
            if call < total {
                assert!(life(&cut).is_err());
                assert_eq!(images, (cut.view(), crash(&cut, LOST)));
                assert_eq!(cut.fired(), 2);
            }
            // Calm, the same handles go on.
            before.calm();
            before.lock().unwrap();
        }
    }

    #[test]
    fn faults_are_found_by_class() {
        let fail = Kind::Fail(ErrorKind::Other);
        let classes: [(Class, Fails); 8] = [
            (Class::List, |dir| dir.list().is_err()),
            (Class::Create, |dir| dir.create("b").is_err()),
            (Class::Open, |dir| dir.open("a").is_err()),
            (Class::OpenRead, |dir| dir.read("a").is_err()),
            (Class::Rename, |dir| dir.rename("a", "b").is_err()),
            (Class::Remove, |dir| dir.remove("a").is_err()),
            (Class::DirSync, |dir| dir.sync().is_err()),
            (Class::Lock, |dir| dir.lock().is_err()),
        ];
        for (class, _) in classes {
            for (other, call) in classes {
                let dir = script(&[("a", b"")], class, 0, fail);
                assert_eq!(call(&dir), class == other, "{class:?} {other:?}");
            }
        }
        // The second write of all, whatever the store.
        let dir = script(&[("a", b""), ("b", b"")], Class::Write, 1, fail);
        let (mut a, mut b) = (dir.open("a").unwrap(), dir.open("b").unwrap());
        a.write_all(b"x").unwrap();
        b.seek(SeekFrom::Start(0)).unwrap();
        assert!(b.write(b"y").is_err());
        b.write_all(b"z").unwrap();
        assert_eq!(dir.view(), image(&[("a", b"x"), ("b", b"z")]));

        let dir = script(&[], Class::List, 0, Kind::Interrupted(2));
        assert_eq!(kind(dir.list()), ErrorKind::Interrupted);
        assert_eq!(kind(dir.list()), ErrorKind::Interrupted);
        dir.list().unwrap();
    }

    #[test]
    fn a_full_disk_is_full_for_all_stores() {
        let full = ErrorKind::StorageFull;
        let dir = script(&[("a", b""), ("b", b"")], Class::Write, 0, Kind::Full);
        let (mut a, mut b) = (dir.open("a").unwrap(), dir.open("b").unwrap());
        assert_eq!(a.write(b"abcd").unwrap(), 2);
        assert_eq!(kind(b.write(b"ef")), full);
        assert_eq!(b.write(b"ef").unwrap(), 2);

        for class in [Class::Create, Class::Rename, Class::DirSync] {
            let dir = script(&[("a", b"")], class, 0, Kind::Full);
            let outcomes = [dir.create("b").map(drop), dir.rename("a", "c"), dir.sync()];
            let failed: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
            assert_eq!(failed.len(), 1);
            assert_eq!(failed[0].kind(), full);
        }

        let dir = self::dir(&[("a", b"")]);
        dir.fail_at(1, Kind::Full, true);
        let mut a = dir.open("a").unwrap();
        assert_eq!(a.write(b"abcd").unwrap(), 2);
        assert_eq!((kind(a.write(b"cd")), kind(a.write(b"cd"))), (full, full));
        assert_eq!((kind(dir.create("b")), kind(a.sync())), (full, full));
        dir.remove("a").unwrap();
    }

    #[test]
    fn the_cap_is_for_all_stores_together() {
        let full = ErrorKind::StorageFull;
        let dir = dir(&[("a", b"abc"), ("b", b"")]);
        dir.set_cap(Some(6));
        let (mut a, mut b) = (dir.open("a").unwrap(), dir.open("b").unwrap());
        assert_eq!(b.write(b"de").unwrap(), 2);
        assert_eq!(kind(b.set_len(4)), full);
        a.seek(SeekFrom::Start(2)).unwrap();
        assert_eq!(a.write(b"Cxyz").unwrap(), 2);
        assert_eq!((kind(a.write(b"y")), kind(b.write(b"f"))), (full, full));
        assert_eq!(kind(dir.create("c")), full);
        a.rewind().unwrap();
        assert_eq!(a.write(b"ABCX").unwrap(), 4);
        assert_eq!(kind(a.preserve(1)), full);
        // Removed, but still open: the room comes back with the last handle.
        dir.remove("b").unwrap();
        assert_eq!(kind(dir.create("c")), full);
        drop(b);
        let mut c = dir.create("c").unwrap();
        assert_eq!(c.write(b"123").unwrap(), 2);
        drop(c);
        assert_eq!(dir.view(), image(&[("a", b"ABCX"), ("c", b"12")]));
        // Emptying needs no room.
        drop(dir.create("c").unwrap());
        dir.set_cap(None);
        a.set_len(100).unwrap();
    }

    #[test]
    fn a_failed_sync_of_the_names_has_four_after_effects() {
        let after = |fault: Kind| {
            let dir = script(&[("a", b"")], Class::DirSync, 0, fault);
            dir.remove("a").unwrap();
            make(&dir, "b", b"");
            assert_eq!(kind(dir.sync()), ErrorKind::Other);
            dir
        };
        let (old, new) = (image(&[("a", b"")]), image(&[("b", b"")]));

        let dirty = after(Kind::SyncDirty);
        assert_eq!(
            (dirty.view(), crash(&dirty, LOST)),
            (new.clone(), old.clone())
        );
        dirty.sync().unwrap();
        assert_eq!(crash(&dirty, LOST), new);

        let reverts = after(Kind::SyncReverts);
        assert_eq!(
            (reverts.view(), crash(&reverts, KEPT)),
            (old.clone(), old.clone())
        );

        let loses = after(Kind::SyncLoses);
        loses.sync().unwrap();
        assert_eq!(
            (loses.view(), crash(&loses, KEPT)),
            (new.clone(), old.clone())
        );
        loses.rename("b", "c").unwrap();
        loses.sync().unwrap();
        assert_eq!(crash(&loses, LOST), image(&[("a", b""), ("c", b"")]));

        let some = dir(&[]);
        (0..64).for_each(|name| make(&some, &name.to_string(), b""));
        some.fail_at(some.calls().total(), Kind::SyncLosesSome, false);
        assert!(some.sync().is_err());
        let kept = crash(&some, KEPT).len();
        assert!((10..54).contains(&kept), "{kept} of 64");
        assert_eq!((some.view().len(), some.unsynced_names().len()), (64, 0));
    }

    #[test]
    fn syncs_lie() {
        let dir = script(&[], Class::DirSync, 0, Kind::Lie);
        make(&dir, "a", b"x");
        dir.sync().unwrap();
        assert_eq!(crash(&dir, LOST), Image::new());
        dir.sync().unwrap();
        assert_eq!(crash(&dir, LOST), image(&[("a", b"x")]));

        let dir = script(&[("a", b"")], Class::Sync, 0, Kind::Lie);
        let mut store = dir.open("a").unwrap();
        store.write_all(b"x").unwrap();
        store.sync().unwrap();
        assert_eq!(crash(&dir, LOST), image(&[("a", b"")]));
        store.sync().unwrap();
        assert_eq!(crash(&dir, LOST), image(&[("a", b"x")]));

        let dir = script(&[("a", b"")], Class::Sync, 0, Kind::SyncLoses);
        let mut store = dir.open("a").unwrap();
        store.write_all(b"x").unwrap();
        assert!(store.sync().is_err());
        store.sync().unwrap();
        assert_eq!(dir.view(), image(&[("a", b"x")]));
        assert_eq!(crash(&dir, KEPT), image(&[("a", b"")]));
    }

    #[test]
    fn a_panic_leaves_everything_as_it_was() {
        let dir = dir(&[("a", b"abc")]);
        let mut store = dir.open("a").unwrap();
        for call in ["create", "write"] {
            dir.fail_at(dir.calls().total(), Kind::Panic, false);
            let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| match call {
                "create" => dir.create("b").map(drop),
                _ => store.write(b"x").map(drop),
            }));
            assert!(caught.is_err());
            assert_eq!(dir.view(), image(&[("a", b"abc")]));
        }
        store.write_all(b"x").unwrap();
        assert_eq!(dir.view(), image(&[("a", b"xbc")]));
        assert_eq!(dir.fired(), 2);
    }

    #[test]
    fn what_is_preserved_is_a_store_beside() {
        let dir = dir(&[("a", b"abcdef")]);
        let mut store = dir.open("a").unwrap();
        assert_eq!(store.preserve(6).unwrap(), None);
        assert_eq!(
            store.preserve(4).unwrap(),
            Some(PathBuf::from("a.behind-4"))
        );
        assert_eq!(
            store.preserve(4).unwrap(),
            Some(PathBuf::from("a.behind-4.1"))
        );
        let expected = image(&[
            ("a", b"abcdef"),
            ("a.behind-4", b"ef"),
            ("a.behind-4.1", b"ef"),
        ]);
        assert_eq!(
            (dir.view(), crash(&dir, LOST)),
            (expected.clone(), expected)
        );
    }

    #[test]
    fn chunks_do_the_same_in_more_calls() {
        let dir = FaultDirectory::new(1);
        dir.set_chunks(Chunks::One);
        make(&dir, "a", b"abc");
        assert_eq!(
            (dir.calls().stores.writes, dir.view()),
            (3, image(&[("a", b"abc")]))
        );
    }

    #[test]
    fn threads_share_it() {
        let dir = FaultDirectory::new(1);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let dir = dir.clone();
                scope.spawn(move || {
                    for turn in 0..50 {
                        let name = format!("{thread}-{turn}");
                        make(&dir, &name, b"x");
                        dir.rename(&name, &format!("{thread}")).unwrap();
                        dir.sync().unwrap();
                    }
                });
            }
        });
        assert_eq!(dir.list().unwrap(), ["0", "1", "2", "3"]);
        assert_eq!(dir.disk().clone().names.stores().len(), 4);
    }

    #[test]
    fn debug_shows_no_contents() {
        let shown = format!("{:?}", dir(&[("name", b"secret")]));
        assert!(
            shown.starts_with("FaultDirectory { names: [\"name\"]"),
            "{shown}"
        );
        assert!(!shown.contains("secret"));
    }
}

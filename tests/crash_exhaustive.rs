//! Every short sequence of operations, every mix of unsynced records, on the real code: promises P0 and P1.
//!
//! Operations: push a, b or a2 (as long as two a), pop, sync (a bare buffer: flush), a batch of one or two
//! that reaches the store and fails all the same, death of the process, power cut; memory 0, so that every
//! push reaches the store at once. After each operation every crash image is opened and must be one of the
//! sequences held since the last good sync; the search goes on from each image, and from each death, as the
//! next life. A life is known by its store and by what is legal: one seen before is not searched again.
//!
//! The same search over an abstract format broke 22 of 26 designs.
#![cfg(feature = "testing")]

mod support;

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::ErrorKind;
use std::time::Instant;

use documentbuffer::store::Store;
use documentbuffer::store::fault::{
    Chunks, Class, CrashPlan, Fault, FaultStore, Filler, Kind as Failing, Rng, Unsynced,
};
use documentbuffer::{DocumentBuffer, Options};
use support::crash::{Disk, Kind, Oracle, Sequence, open};

const HEADER: u64 = 64;
/// How many images are remembered.
const CACHE: usize = 8 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Push(u8),
    Pop,
    /// `sync`, or `flush` of a bare buffer.
    Keep,
    /// A batch of the first so many of a, b.
    Fail(u8),
}

const OPS: [Op; 7] = [
    Op::Push(0),
    Op::Push(1),
    Op::Push(2),
    Op::Pop,
    Op::Keep,
    Op::Fail(1),
    Op::Fail(2),
];

/// Where a life begins.
#[derive(Clone)]
struct Start {
    store: FaultStore,
    oracle: Oracle,
    /// How many lives were before, which no two lives of one search path share: the seed of its nonces.
    life: u64,
}

struct Search {
    kind: Kind,
    /// A power cut leaves any length between records, and this filler in what was lost of longer ones; else the
    /// full length, and zeros there.
    any_length: Option<Filler>,
    pool: Vec<Vec<u8>>,
    seen: HashSet<u64>,
    /// What opening an image gave, by its hash: most images come up many times.
    opened: HashMap<u64, Sequence>,
    /// What led here, for the message.
    trail: Vec<String>,
    lives: u64,
    states: u64,
    images: u64,
}

impl Search {
    fn options(&self, life: u64) -> Options {
        Options::new().memory(0).seed(0x5EED + life)
    }

    /// All of one life: `ops` from its start, then everything that may come within `depth` operations and
    /// `cuts` power cuts.
    fn life(&mut self, start: &Start, depth: usize, cuts: usize) {
        let mut hash = DefaultHasher::new();
        start.store.durable().hash(&mut hash);
        for change in start.store.unsynced() {
            match change {
                Unsynced::Write { offset, bytes } => (0, offset, bytes).hash(&mut hash),
                Unsynced::Zeros { from, to } => (1, from, to).hash(&mut hash),
                Unsynced::Cut { len } => (2, len).hash(&mut hash),
            }
        }
        (&start.oracle, start.life, depth, cuts).hash(&mut hash);
        if self.seen.insert(hash.finish()) {
            self.lives += 1;
            self.operate(start, &mut Vec::new(), depth, cuts);
        }
    }

    fn operate(&mut self, start: &Start, ops: &mut Vec<Op>, depth: usize, cuts: usize) {
        let Some((store, oracle)) = self.run(start, ops) else {
            return;
        };
        self.states += 1;
        self.cut(start, &store, &oracle, depth, cuts);
        if depth == 0 {
            return;
        }
        self.trail.push("kill".into());
        let disk = Disk::new(store.clone());
        let (_, found) = self.open(&disk, start.life + 1);
        self.judge("kill", &found, oracle.after_kill());
        let mut next = Start {
            store,
            oracle,
            life: start.life + 1,
        };
        next.oracle.killed(found);
        self.life(&next, depth - 1, cuts);
        self.trail.pop();
        for op in OPS {
            ops.push(op);
            self.trail.push(format!("{op:?}"));
            self.operate(start, ops, depth - 1, cuts);
            self.trail.pop();
            ops.pop();
        }
    }

    /// A power cut now, in every way.
    fn cut(
        &mut self,
        start: &Start,
        store: &FaultStore,
        oracle: &Oracle,
        depth: usize,
        cuts: usize,
    ) {
        self.trail.push("power cut".into());
        let mixes = Mixes::new(store, self.kind == Kind::Syncs);
        if let Some(filler) = self.any_length {
            let mut images = Vec::new();
            store.images_by_unit(&mixes.bounds, filler, |image| images.push(image.to_vec()));
            for image in images {
                self.image(start, hash(&image), || image.clone(), oracle, depth, cuts);
            }
        } else {
            for (key, choice) in mixes.all() {
                let image = || mixes.image(&choice);
                self.image(start, key, image, oracle, depth, cuts);
            }
        }
        self.trail.pop();
    }

    fn image(
        &mut self,
        start: &Start,
        key: u64,
        image: impl Fn() -> Vec<u8>,
        oracle: &Oracle,
        depth: usize,
        cuts: usize,
    ) {
        self.images += 1;
        let found = match self.opened.get(&key) {
            Some(found) => found.clone(),
            None => {
                let disk = Disk::new(FaultStore::with_contents(0, image()));
                let (_, found) = self.open(&disk, 0);
                if self.opened.len() == CACHE {
                    self.opened.clear();
                }
                self.opened.insert(key, found.clone());
                found
            }
        };
        self.judge("power cut", &found, oracle.after_power_cut());
        if depth > 0 && cuts > 0 {
            let next = Start {
                store: FaultStore::with_contents(0, image()),
                oracle: Oracle::new(found),
                life: start.life + 1,
            };
            self.life(&next, depth - 1, cuts - 1);
        }
    }

    fn open(&self, disk: &Disk, life: u64) -> (DocumentBuffer<Disk>, Sequence) {
        open(disk, &self.options(life), self.kind, &self.pool)
            .unwrap_or_else(|error| panic!("{error}\nafter {:?}", self.trail))
    }

    fn judge(&self, crash: &str, found: &Sequence, legal: &[Sequence]) {
        assert!(
            legal.contains(found),
            "{crash} left {found:?}, legal are {legal:?}\nafter {:?}",
            self.trail
        );
    }

    /// The life so far; `None` where the last operation is of no use.
    fn run(&self, start: &Start, ops: &[Op]) -> Option<(FaultStore, Oracle)> {
        if let [.., Op::Keep, Op::Keep] = ops {
            return None;
        }
        let disk = Disk::new(start.store.clone());
        let mut oracle = start.oracle.clone();
        let (mut buffer, found) = self.open(&disk, start.life);
        assert_eq!(found, oracle.now);
        for op in ops {
            if let (Op::Pop, true) = (op, oracle.now.is_empty()) {
                return None;
            }
            self.apply(*op, &mut buffer, &disk, &mut oracle);
            assert_eq!(
                buffer.len(),
                oracle.now.len() as u64,
                "after {:?}",
                self.trail
            );
        }
        drop(buffer);
        let store = disk.get().clone();
        Some((store, oracle))
    }

    fn apply(&self, op: Op, buffer: &mut DocumentBuffer<Disk>, disk: &Disk, oracle: &mut Oracle) {
        match op {
            Op::Push(document) => {
                buffer
                    .push(&self.pool[usize::from(document)])
                    .expect("no faults");
                oracle.push(document);
            }
            Op::Pop => {
                let popped = buffer.pop().expect("no faults");
                let mut now = oracle.now.clone();
                let newest = now
                    .pop()
                    .map(|newest| self.pool[usize::from(newest)].clone());
                assert_eq!(popped, newest, "after {:?}", self.trail);
                oracle.hold(now);
            }
            Op::Keep if self.kind == Kind::Bare => {
                buffer.flush().expect("no faults");
                oracle.flushed();
            }
            Op::Keep => {
                buffer.sync().expect("no faults");
                oracle.synced();
            }
            Op::Fail(count) => {
                disk.fail_records(usize::from(count) - 1);
                let batch = &self.pool[..usize::from(count)];
                buffer.push_all(batch).expect_err("the last write fails");
                oracle.ask_push(&[0, 1][..usize::from(count)]);
            }
        }
    }
}

/// Everything that the unsynced writes can leave if they tear between records, the store at full length.
struct Mixes {
    /// Between any two of them stands, independently of the rest, any version since the last sync.
    bounds: Vec<u64>,
    /// The versions, each with its hash.
    units: Vec<Vec<(u64, Vec<u8>)>>,
}

impl Mixes {
    /// With `halves` the longer records tear in the middle as well.
    fn new(store: &FaultStore, halves: bool) -> Mixes {
        let mut bounds = vec![0, store.view().len() as u64];
        let writes = || {
            store.unsynced().filter_map(|change| match change {
                Unsynced::Write { offset, bytes } => Some((offset, bytes)),
                _ => None,
            })
        };
        writes().for_each(|(offset, bytes)| records(offset, bytes, halves, &mut bounds));
        bounds.sort_unstable();
        bounds.dedup();
        let mut now = store.durable().to_vec();
        now.resize(store.view().len(), 0);
        let mut units = vec![Vec::new(); bounds.len() - 1];
        let mut look = |now: &[u8], from: u64, to: u64| {
            for (unit, pair) in units.iter_mut().zip(bounds.windows(2)) {
                if pair[0] >= from && pair[1] <= to {
                    let bytes = &now[pair[0] as usize..pair[1] as usize];
                    if !unit.iter().any(|(_, known)| known == bytes) {
                        unit.push((hash(&(pair[0], bytes)), bytes.to_vec()));
                    }
                }
            }
        };
        look(&now, 0, u64::MAX);
        for (offset, bytes) in writes() {
            let end = offset as usize + bytes.len();
            now[offset as usize..end].copy_from_slice(bytes);
            look(&now, offset, end as u64);
        }
        Mixes { bounds, units }
    }

    /// All of them: what they are known by, and the version of each unit.
    fn all(&self) -> impl Iterator<Item = (u64, Vec<usize>)> {
        let mut choice = Some(vec![0; self.units.len()]);
        std::iter::from_fn(move || {
            let now = choice.take()?;
            let key = self.units.iter().zip(&now);
            let key = key.fold(0u64, |key, (unit, version)| {
                key.wrapping_add(unit[*version].0)
            });
            let mut next = now.clone();
            for (version, unit) in next.iter_mut().zip(&self.units) {
                *version += 1;
                if *version < unit.len() {
                    choice = Some(next);
                    break;
                }
                *version = 0;
            }
            Some((key, now))
        })
    }

    fn image(&self, choice: &[usize]) -> Vec<u8> {
        let units = self.units.iter().zip(choice);
        units
            .flat_map(|(unit, version)| unit[*version].1.iter().copied())
            .collect()
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hash = DefaultHasher::new();
    value.hash(&mut hash);
    hash.finish()
}

/// Adds where records begin and end in what was written, and the middle of the longer ones if `halves`.
fn records(offset: u64, mut bytes: &[u8], halves: bool, bounds: &mut Vec<u64>) {
    let mut at = offset;
    while let (true, Some(word)) = (at >= HEADER, bytes.first_chunk::<4>()) {
        let word = u32::from_le_bytes(*word);
        let payload = if word & 3 == 2 { 0 } else { word >> 2 };
        let len = u64::from(payload) + 16;
        bounds.extend([at, at + len]);
        if halves && len > 60 {
            bounds.push(at + len / 2);
        }
        at += len;
        bytes = bytes.get(len as usize..).unwrap_or_default();
    }
}

/// Searches all sequences of `depth` operations with `cuts` power cuts among them.
fn search(kind: Kind, any_length: Option<Filler>, pool: [Vec<u8>; 3], depth: usize, cuts: usize) {
    let begun = Instant::now();
    let mut search = Search {
        kind,
        any_length,
        pool: pool.to_vec(),
        seen: HashSet::new(),
        opened: HashMap::new(),
        trail: Vec::new(),
        lives: 0,
        states: 0,
        images: 0,
    };
    let contents = match kind {
        Kind::Syncs => Vec::new(),
        Kind::Bare => header(),
    };
    let start = Start {
        store: FaultStore::with_contents(0, contents),
        oracle: Oracle::new(Sequence::new()),
        life: 0,
    };
    search.life(&start, depth, cuts);
    println!(
        "{kind:?}, any length {any_length:?}: length {depth}, {cuts} power cuts: {} lives, {} states, {} images, 0 violations, {:.1} s",
        search.lives,
        search.states,
        search.images,
        begun.elapsed().as_secs_f64()
    );
}

/// A durable header and nothing behind it.
fn header() -> Vec<u8> {
    let mut buffer = Options::new()
        .memory(0)
        .seed(1)
        .open(FaultStore::new(0))
        .expect("new");
    buffer.push("").expect("no faults");
    let mut store = buffer.into_inner();
    store.sync().expect("no faults");
    store.view()[..HEADER as usize].to_vec()
}

/// Records as long as an END, and one as long as two of them: everything lines up.
fn lined_up() -> [Vec<u8>; 3] {
    [vec![b'a'; 17], vec![b'b'; 17], vec![b'a'; 50]]
}

/// Records of 16 bytes as a mark, of 17, and of 32: nothing lines up with an END.
fn as_marks() -> [Vec<u8>; 3] {
    [vec![], b"b".to_vec(), vec![0; 16]]
}

#[test]
fn sequences_of_five() {
    search(Kind::Syncs, None, lined_up(), 5, 2);
}

#[test]
fn sequences_of_four_at_any_length() {
    search(Kind::Syncs, Some(Filler::Zero), lined_up(), 4, 2);
}

#[test]
fn sequences_of_four_with_short_documents() {
    search(Kind::Syncs, Some(Filler::Ones), as_marks(), 4, 2);
}

#[test]
fn sequences_of_four_without_sync() {
    search(Kind::Bare, None, lined_up(), 4, 2);
}

/// A crash loses the front of a record and keeps its back. The next life pushes the same document to the same
/// place, behind another one, and a crash keeps nothing of that but the front: the two halves are no record.
#[test]
fn the_halves_of_two_lives_are_no_record() {
    let [a, b, c] = &lined_up();
    let disk = Disk::new(FaultStore::new(0));
    let mut buffer = Options::new()
        .memory(0)
        .seed(1)
        .open(disk.clone())
        .expect("new");
    buffer.push(a).expect("no faults");
    buffer.push(c).expect("no faults");
    let end = buffer.stats().end as usize;
    let record = end - (c.len() + 16)..end;
    let middle = record.start + 33;
    let mut image = disk.get().view().to_vec();
    image.truncate(end);
    image[record.start..middle].fill(0);

    let disk = Disk::new(FaultStore::with_contents(0, image));
    let mut buffer = Options::new()
        .memory(0)
        .seed(2)
        .open(disk.clone())
        .expect("torn");
    disk.fail_records(0);
    buffer
        .push(a)
        .expect_err("it fails, and an END stands there now");
    assert_eq!(buffer.pop().expect("no faults").as_ref(), Some(a));
    buffer.push(b).expect("no faults");
    buffer.push(c).expect("no faults");
    assert_eq!(buffer.stats().end as usize, end);
    let mut image = disk.get().durable().to_vec();
    image[record.start..middle].copy_from_slice(&disk.get().view()[record.start..middle]);

    let store = FaultStore::with_contents(0, image);
    let mut buffer = Options::new().open(store).expect("a power cut");
    assert_eq!(buffer.read(9).expect("no faults"), std::slice::from_ref(a));
}

/// Two documents leave memory in one write that fails and arrives; they are popped, that is made durable, and
/// the first of them is pushed again: the second does not come back behind it.
#[test]
fn a_failed_write_of_two_from_memory() {
    let pool = lined_up();
    let [a, b, x] = &pool;
    let disk = Disk::new(FaultStore::new(0));
    let options = Options::new().memory(1 << 10).seed(1);
    let mut buffer = options.open(disk.clone()).expect("new");
    buffer.push(x).expect("no faults");
    buffer.sync().expect("no faults");
    buffer.push_all([a, b]).expect("into memory");
    disk.fail_records(0);
    buffer.sync().expect_err("the write of both fails");
    assert_eq!(
        buffer.remove(2).expect("from memory"),
        [b.clone(), a.clone()]
    );
    buffer.sync().expect("no faults");
    buffer.push(a).expect("into memory");
    buffer.flush().expect("no faults");
    let store = disk.get().clone();
    let mixes = Mixes::new(&store, false);
    for (_, choice) in mixes.all() {
        let disk = Disk::new(FaultStore::with_contents(0, mixes.image(&choice)));
        let (_, found) = open(&disk, &options, Kind::Syncs, &pool).expect("a log");
        assert!(found == [2] || found == [2, 0], "{found:?}");
    }
}

/// A process dies, or the power goes, at every call of a store's first push; the next one meets the same.
/// Whatever that leaves is a log, or still a new store.
#[test]
fn births() {
    let options = Options::new().memory(0);
    for (contents, filler) in [
        (vec![], Filler::Zero),
        (vec![], Filler::Ones),
        (vec![0x00; 40], Filler::Zero),
        (vec![0xFF; 100], Filler::Ones),
    ] {
        birth(contents, &options, filler);
    }
}

/// The same over a log whose header is damaged in both copies: it does not come back.
#[test]
fn births_over_an_old_log() {
    let options = Options::new().memory(0).initialize();
    let mut old = options
        .clone()
        .seed(1)
        .open(FaultStore::new(0))
        .expect("new");
    old.push_all(["x", "x", "x"]).expect("no faults");
    let old = old.into_inner().view().to_vec();
    for (one, other) in [(0, 0), (9, 9), (20, 20), (30, 30), (0, 20), (30, 5)] {
        let mut contents = old.clone();
        contents[one] ^= 4;
        contents[32 + other] ^= 4;
        birth(contents, &options, Filler::Zero);
    }
}

fn birth(contents: Vec<u8>, options: &Options, filler: Filler) {
    let mut rng = Rng::new(7);
    let store = FaultStore::with_contents(3, contents);
    for first in 0..40 {
        let start = Oracle::new(Sequence::new());
        let (dead, oracle) = die(store.clone(), start, options, first);
        let mut starts = vec![(dead.clone(), oracle.clone())];
        for _ in 0..3 {
            let (image, found) = cut_anywhere(&dead, &oracle, options, filler, &mut rng);
            starts.push((FaultStore::with_contents(5, image), Oracle::new(found)));
        }
        for (store, mut oracle) in starts {
            let disk = Disk::new(store.clone());
            let opened = open(&disk, options, Kind::Syncs, &[b"x".to_vec()]);
            let (_, found) = opened.unwrap_or_else(|error| panic!("{error}, call {first}"));
            assert!(
                oracle.after_kill().contains(&found),
                "{found:?}, call {first}"
            );
            oracle.killed(found);
            for second in 0..40 {
                let (dead, oracle) = die(store.clone(), oracle.clone(), options, second);
                for _ in 0..5 {
                    cut_anywhere(&dead, &oracle, options, filler, &mut rng);
                }
            }
        }
    }
}

/// A life of one push and a sync, ended at the call of this index.
fn die(
    store: FaultStore,
    mut oracle: Oracle,
    options: &Options,
    call: u64,
) -> (FaultStore, Oracle) {
    let disk = Disk::new(store);
    let seed = call + 1000 * oracle.now.len() as u64;
    let options = options.clone().seed(seed);
    let opened = open(&disk, &options, Kind::Syncs, &[b"x".to_vec()]);
    let (mut buffer, found) = opened.expect("opened before");
    assert_eq!(found, oracle.now);
    disk.get().calm();
    disk.get().set_chunks(Chunks::Random);
    disk.get().fault(Fault {
        kind: Failing::Fail(ErrorKind::Other),
        class: Class::Any,
        at: call,
        sticky: true,
    });
    match buffer.push("x") {
        Ok(_) => oracle.push(0),
        Err(_) => oracle.ask_push(&[0]),
    }
    if buffer.sync().is_ok() {
        oracle.synced();
    }
    drop(buffer);
    disk.get().calm();
    let store = disk.get().clone();
    (store, oracle)
}

fn cut_anywhere(
    store: &FaultStore,
    oracle: &Oracle,
    options: &Options,
    filler: Filler,
    rng: &mut Rng,
) -> (Vec<u8>, Sequence) {
    let plan = CrashPlan {
        filler,
        ..CrashPlan::random(rng)
    };
    let image = store.crash(rng, plan);
    let disk = Disk::new(FaultStore::with_contents(0, image.clone()));
    let opened = open(&disk, options, Kind::Syncs, &[b"x".to_vec()]);
    let (_, found) = opened.unwrap_or_else(|error| panic!("{error}, {plan:?}, {image:?}"));
    assert!(
        oracle.after_power_cut().contains(&found),
        "{found:?}, {plan:?}"
    );
    (image, found)
}

#[test]
#[ignore = "hours in a release build"]
fn sequences_of_seven() {
    search(Kind::Syncs, None, lined_up(), 7, 2);
}

#[test]
#[ignore = "55 s in a release build"]
fn sequences_of_five_at_any_length() {
    search(Kind::Syncs, Some(Filler::Zero), lined_up(), 5, 2);
}

#[test]
#[ignore = "23 minutes in a release build"]
fn sequences_of_six_without_sync() {
    search(Kind::Bare, None, lined_up(), 6, 2);
}

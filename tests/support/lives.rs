//! One random case: a store, documents, and a few lives with a crash behind each. Follows from a seed.

use std::io::{Cursor, ErrorKind};

use documentbuffer::store::Store;
use documentbuffer::store::fault::{
    Chunks, Class, CrashPlan, Fault, FaultStore, Filler, Kind as Failing, Rng,
};
use documentbuffer::{DocumentBuffer, Error, Options, Reason};

use super::crash::{Disk, Kind, Oracle, Sequence, open};

/// What the medium's sync is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Medium {
    Honest,
    /// There is none.
    Bare,
    /// It says Ok and does nothing.
    Lying,
}

/// Documents that fit into the oracle's bytes.
const POOL: usize = 200;

pub(crate) struct Case {
    rng: Rng,
    medium: Medium,
    verbose: bool,
    pool: Vec<Vec<u8>>,
    /// Whether documents have long runs of one byte.
    pub(crate) runs: bool,
    options: Options,
    chunks: Chunks,
    cap: Option<u64>,
    /// A failed sync lost what the view still shows: only a power cut makes that good.
    must_cut: bool,
    pub(crate) lives: u64,
    pub(crate) images: u64,
}

type Outcome<T> = Result<T, String>;

impl Case {
    pub(crate) fn new(seed: u64, medium: Medium, verbose: bool) -> Case {
        let mut rng = Rng::new(seed);
        let runs = rng.below(2) == 0;
        let mut options = Options::new().memory(match rng.below(8) {
            0..4 => 0,
            4 | 5 => 1 + rng.below(150) as usize,
            6 => 150 + rng.below(2000) as usize,
            _ => 1 << 20,
        });
        if rng.below(8) == 0 {
            options = options.memory_documents(rng.below(4) as usize);
        }
        let mut case = Case {
            rng,
            medium,
            verbose,
            pool: Vec::new(),
            runs,
            options,
            chunks: Chunks::Whole,
            cap: None,
            must_cut: false,
            lives: 0,
            images: 0,
        };
        for _ in 0..2 + case.rng.below(4) {
            let document = case.document();
            if !case.pool.contains(&document) {
                case.pool.push(document);
            }
        }
        case
    }

    fn chance(&mut self, of: u64) -> bool {
        self.rng.below(of) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.rng.below(from.len() as u64) as usize]
    }

    fn note(&self, what: impl FnOnce() -> String) {
        if self.verbose {
            println!("  {}", what());
        }
    }

    fn document(&mut self) -> Vec<u8> {
        let len = match self.rng.below(8) {
            0..4 => self.pick(&[0, 1, 4, 5, 16, 17, 20, 32, 33, 48, 49, 50, 64]),
            4..6 => self.rng.below(40) as usize,
            6 => self.rng.below(300) as usize,
            _ => self.rng.below(1500) as usize,
        };
        let mut bytes = vec![0; len];
        if self.runs {
            let random = self.rng.next_u64() as u8;
            bytes.fill(self.pick(&[0x00, 0xFF, b'a', b'a', random]));
            if self.chance(3) {
                let head = self.rng.below(len as u64 + 1) as usize;
                self.rng.fill(&mut bytes[..head]);
            }
        } else {
            self.rng.fill(&mut bytes);
        }
        bytes
    }

    fn options(&mut self) -> Options {
        let seed = self.rng.next_u64();
        self.options.clone().seed(seed)
    }

    fn kind(&self) -> Kind {
        match self.medium {
            Medium::Bare => Kind::Bare,
            Medium::Honest | Medium::Lying => Kind::Syncs,
        }
    }

    pub(crate) fn run(&mut self) -> Outcome<()> {
        let (contents, found) = self.birth();
        self.note(|| format!("{} bytes with {found:?}", contents.len()));
        let seed = self.rng.next_u64();
        let mut store = FaultStore::with_contents(seed, contents);
        let mut oracle = Oracle::new(found);
        for _ in 0..1 + self.rng.below(6) {
            match self.life(store, oracle)? {
                Some(next) => (store, oracle) = next,
                None => break,
            }
        }
        Ok(())
    }

    /// What the medium holds at first, and the documents in it.
    fn birth(&mut self) -> (Vec<u8>, Sequence) {
        let synced = self.medium == Medium::Honest;
        match self.rng.below(8) {
            0..3 if synced => (Vec::new(), Sequence::new()),
            0 => (Vec::new(), Sequence::new()),
            3 if synced => {
                let filler = self.pick(&[0x00, 0xFF]);
                (vec![filler; self.rng.below(200) as usize], Sequence::new())
            }
            4 if synced => {
                // Another log stood here; its header is gone.
                let (mut bytes, _) = self.older_log();
                let header = bytes.len().min(64);
                match self.rng.below(3) {
                    0 => bytes[..header].fill(0),
                    1 => bytes[..header].fill(0xFF),
                    _ => self.rng.fill(&mut bytes[..header]),
                }
                self.options = self.options.clone().initialize();
                (bytes, Sequence::new())
            }
            _ => self.older_log(),
        }
    }

    /// A log with its end synced, and whatever lies behind it.
    fn older_log(&mut self) -> (Vec<u8>, Sequence) {
        let opened = self.options().open(FaultStore::new(0));
        let mut buffer = opened.expect("a new store");
        let mut now = Sequence::new();
        for _ in 0..1 + self.rng.below(6) {
            let document = self.rng.below(self.pool.len() as u64) as u8;
            buffer
                .push(&self.pool[usize::from(document)])
                .expect("no faults");
            now.push(document);
        }
        buffer.flush().expect("no faults");
        for _ in 0..self.rng.below(now.len() as u64 + 1) {
            buffer.pop().expect("no faults");
            now.pop();
        }
        buffer.sync().expect("no faults");
        (buffer.into_inner().view().to_vec(), now)
    }

    /// One life and the crash behind it: where the next begins. `None` where the header was lost.
    fn life(
        &mut self,
        store: FaultStore,
        mut oracle: Oracle,
    ) -> Outcome<Option<(FaultStore, Oracle)>> {
        self.lives += 1;
        self.must_cut = false;
        self.chunks = match self.rng.below(16) {
            0 | 1 => Chunks::Random,
            2 => Chunks::One,
            _ => Chunks::Whole,
        };
        let len = store.view().len() as u64;
        self.cap = self.chance(24).then(|| len + self.rng.below(300));
        let disk = Disk::new(store);
        self.calm(&disk);
        let Some(mut buffer) = self.open(&disk, &oracle)? else {
            return Err("a store that could be opened no longer can".into());
        };
        let ops = match self.rng.below(8) {
            0 => 0,
            1..6 => 1 + self.rng.below(3),
            6 => self.rng.below(10),
            _ => self.rng.below(30),
        };
        let torn = self.chance(3);
        for left in (0..ops).rev() {
            let fault = if left == 0 && torn {
                let at = self.rng.below(8);
                Some(self.arm(&disk, Failing::Fail(ErrorKind::Other), Class::Any, at, true))
            } else {
                self.chance(6).then(|| self.random_fault(&disk))
            };
            self.operate(&mut buffer, &disk, &mut oracle)?;
            if let Some(fault) = fault {
                self.after_fault(fault, &disk, &mut oracle);
                if left > 0 || !torn {
                    self.calm(&disk);
                }
            }
            if left > 0 && self.chance(3) {
                self.power_cut(&disk, &oracle)?;
            }
        }
        self.death(buffer, disk, oracle)
    }

    /// How a life ends.
    fn death(
        &mut self,
        buffer: DocumentBuffer<Disk>,
        disk: Disk,
        mut oracle: Oracle,
    ) -> Outcome<Option<(FaultStore, Oracle)>> {
        match self.rng.below(16) {
            _ if self.must_cut => drop(buffer),
            0 => {
                if let Ok((end, _)) = buffer.close() {
                    oracle.flushed();
                    self.note(|| format!("close at {end}"));
                    if end > 0 && self.chance(2) {
                        let _ = disk.get().set_len(end);
                    }
                }
                return self.kill(&disk, oracle).map(Some);
            }
            1 if self.medium != Medium::Bare => {
                if let Ok((end, _)) = buffer.finish() {
                    oracle.flushed();
                    if self.medium == Medium::Honest {
                        oracle.synced();
                    }
                    self.note(|| format!("finish at {end}"));
                }
                return self.kill(&disk, oracle).map(Some);
            }
            2..7 => {
                drop(buffer);
                return self.kill(&disk, oracle).map(Some);
            }
            _ => drop(buffer),
        }
        for _ in 0..3 {
            self.power_cut(&disk, &oracle)?;
        }
        let Some((image, found)) = self.power_cut(&disk, &oracle)? else {
            return Ok(None);
        };
        let seed = self.rng.next_u64();
        let store = FaultStore::with_contents(seed, image);
        Ok(Some((store, Oracle::new(found))))
    }

    fn kill(&mut self, disk: &Disk, mut oracle: Oracle) -> Outcome<(FaultStore, Oracle)> {
        disk.get().calm();
        let options = self.options();
        let (_, found) = open(disk, &options, self.kind(), &self.pool)
            .map_err(|error| format!("after a kill: {error}"))?;
        self.note(|| format!("kill -> {found:?}"));
        judge("a kill", &found, oracle.after_kill())?;
        oracle.killed(found);
        let store = disk.get().clone();
        Ok((store, oracle))
    }

    /// One image of a power cut now, judged; `None` where it lost a header that was not durable.
    fn power_cut(&mut self, disk: &Disk, oracle: &Oracle) -> Outcome<Option<(Vec<u8>, Sequence)>> {
        self.images += 1;
        let plan = CrashPlan::random(&mut self.rng);
        let image = disk.get().crash(&mut self.rng, plan);
        let after = Disk::new(FaultStore::with_contents(0, image.clone()));
        let options = self.options();
        let opened = open(&after, &options, self.kind(), &self.pool);
        let found = match opened {
            Ok((_, found)) => found,
            Err(error) => {
                let header = matches!(
                    error,
                    Error::Foreign { .. }
                        | Error::Corrupt {
                            reason: Reason::Header,
                            ..
                        }
                );
                let excused = self.medium != Medium::Honest || plan.filler == Filler::Random;
                if header && excused && !has_header(disk.get().durable()) {
                    self.note(|| format!("power cut {plan:?} -> no header"));
                    return Ok(None);
                }
                return Err(format!("after a power cut, {plan:?}: {error}"));
            }
        };
        self.note(|| format!("power cut {plan:?} -> {found:?}"));
        judge("a power cut", &found, oracle.after_power_cut())?;
        Ok(Some((image, found)))
    }

    /// Opens, now and then with a fault on the way.
    fn open(&mut self, disk: &Disk, oracle: &Oracle) -> Outcome<Option<DocumentBuffer<Disk>>> {
        if self.chance(12) {
            let kind = self.pick(&[
                Failing::Fail(ErrorKind::Other),
                Failing::After(ErrorKind::Other),
                Failing::Zero,
                Failing::One,
                Failing::Interrupted(3),
            ]);
            let at = self.rng.below(12);
            let sticky = self.chance(4) && kind != Failing::Zero;
            self.arm(disk, kind, Class::Any, at, sticky);
            let options = self.options();
            if let Ok((_, found)) = open(disk, &options, self.kind(), &self.pool) {
                judge(
                    "opening with a fault",
                    &found,
                    std::slice::from_ref(&oracle.now),
                )?;
            }
            self.calm(disk);
        }
        let options = self.options();
        let opened = open(disk, &options, self.kind(), &self.pool);
        let (buffer, found) = opened.map_err(|error| format!("open again: {error}"))?;
        judge("opening again", &found, std::slice::from_ref(&oracle.now))?;
        let end = buffer.recovery().end;
        self.note(|| format!("life {}: {found:?}, {end:?}", self.lives));
        Ok(Some(buffer))
    }

    fn calm(&self, disk: &Disk) {
        let mut store = disk.get();
        store.calm();
        store.set_chunks(self.chunks);
        store.set_cap(self.cap);
        if self.medium == Medium::Lying {
            store.fault(lie());
        }
    }

    fn arm(&mut self, disk: &Disk, kind: Failing, class: Class, at: u64, sticky: bool) -> Fault {
        let fault = Fault {
            kind,
            class,
            at,
            sticky,
        };
        self.note(|| format!("{fault:?}"));
        let mut store = disk.get();
        store.calm();
        store.set_chunks(self.chunks);
        store.set_cap(self.cap);
        store.fault(fault);
        if self.medium == Medium::Lying {
            store.fault(lie());
        }
        fault
    }

    fn random_fault(&mut self, disk: &Disk) -> Fault {
        let fail = Failing::Fail(ErrorKind::Other);
        let after = Failing::After(ErrorKind::Other);
        let (class, kinds): (Class, &[Failing]) = match self.rng.below(16) {
            0..9 => (
                Class::Write,
                &[
                    fail,
                    fail,
                    after,
                    after,
                    Failing::Full,
                    Failing::Full,
                    Failing::Zero,
                    Failing::One,
                    Failing::Half,
                    Failing::AllButOne,
                    Failing::Interrupted(2),
                ],
            ),
            9..11 => (
                Class::Read,
                &[fail, after, Failing::Zero, Failing::One, Failing::Half],
            ),
            11 => (Class::Seek, &[fail, after, Failing::Interrupted(2)]),
            12 => (Class::Flush, &[fail, after, Failing::Interrupted(2)]),
            13 | 14 => (
                Class::Sync,
                &[
                    fail,
                    after,
                    Failing::SyncDirty,
                    Failing::SyncReverts,
                    Failing::SyncLoses,
                    Failing::SyncLosesSome,
                    Failing::Interrupted(2),
                ],
            ),
            _ => (Class::Preserve, &[fail, after]),
        };
        let kind = self.pick(kinds);
        let at = self.rng.below(4);
        let sticky = self.chance(4) && kind != Failing::Interrupted(2);
        self.arm(disk, kind, class, at, sticky)
    }

    /// What a failed sync did to what the next process sees.
    fn after_fault(&mut self, fault: Fault, disk: &Disk, oracle: &mut Oracle) {
        if disk.get().fired() == 0 {
            return;
        }
        match fault.kind {
            Failing::SyncReverts => oracle.reverted(),
            Failing::SyncLoses | Failing::SyncLosesSome => self.must_cut = true,
            _ => {}
        }
    }

    fn operate(
        &mut self,
        buffer: &mut DocumentBuffer<Disk>,
        disk: &Disk,
        oracle: &mut Oracle,
    ) -> Outcome<()> {
        let before = oracle.now.clone();
        let outcome = match self.rng.below(20) {
            0..8 => self.push(buffer, disk, oracle),
            8 | 9 => self.push_all(buffer, oracle),
            10..13 => self.take(buffer, oracle, 1)?,
            13 => {
                let n = self.rng.below(4) as usize;
                self.take(buffer, oracle, n)?
            }
            14 => self.truncate(buffer, oracle),
            15 => self.look(buffer, oracle)?,
            16 | 17 => {
                let flushed = buffer.flush();
                if flushed.is_ok() {
                    oracle.flushed();
                }
                self.note(|| format!("flush {flushed:?}"));
                flushed
            }
            _ => {
                let synced = buffer.sync();
                if synced.is_ok() {
                    oracle.flushed();
                    if self.medium == Medium::Honest {
                        oracle.synced();
                    }
                }
                self.note(|| format!("sync {synced:?}"));
                synced
            }
        };
        let moved = oracle.now != before;
        if outcome.is_err() && moved {
            return Err("an error, and documents moved".into());
        }
        if buffer.len() != oracle.now.len() as u64 {
            let (len, now) = (buffer.len(), &oracle.now);
            return Err(format!("{len} documents, not {now:?}, after {outcome:?}"));
        }
        Ok(())
    }

    fn push(
        &mut self,
        buffer: &mut DocumentBuffer<Disk>,
        disk: &Disk,
        oracle: &mut Oracle,
    ) -> Result<(), Error> {
        if self.pool.len() < POOL && self.chance(64) {
            // A piece of the log itself.
            let view = disk.get().view().to_vec();
            let from = self.rng.below(view.len() as u64 + 1) as usize;
            let to = from + self.rng.below(300.min(view.len() - from) as u64 + 1) as usize;
            if !self.pool.iter().any(|known| known == &view[from..to]) {
                self.pool.push(view[from..to].to_vec());
            }
        }
        let document = self.rng.below(self.pool.len() as u64) as u8;
        let pushed = buffer.push(&self.pool[usize::from(document)]);
        self.note(|| {
            let len = self.pool[usize::from(document)].len();
            format!("push {document} of {len} bytes {pushed:?}")
        });
        match pushed {
            Ok(_) => oracle.push(document),
            Err(_) => oracle.ask_push(&[document]),
        }
        pushed.map(drop)
    }

    fn push_all(
        &mut self,
        buffer: &mut DocumentBuffer<Disk>,
        oracle: &mut Oracle,
    ) -> Result<(), Error> {
        let documents: Vec<u8> = (0..1 + self.rng.below(4))
            .map(|_| self.rng.below(self.pool.len() as u64) as u8)
            .collect();
        let pushed = buffer.push_all(documents.iter().map(|one| &self.pool[usize::from(*one)]));
        self.note(|| format!("push_all {documents:?} {pushed:?}"));
        match pushed {
            Ok(_) => documents.iter().for_each(|one| oracle.push(*one)),
            Err(_) => oracle.ask_push(&documents),
        }
        pushed.map(drop)
    }

    /// Takes the newest `n`: by pop or by remove.
    fn take(
        &mut self,
        buffer: &mut DocumentBuffer<Disk>,
        oracle: &mut Oracle,
        n: usize,
    ) -> Outcome<Result<(), Error>> {
        let taken = if n == 1 && self.rng.below(4) > 0 {
            buffer.pop().map(|popped| popped.into_iter().collect())
        } else {
            buffer.remove(n)
        };
        self.note(|| format!("take {n} {:?}", taken.as_ref().map(Vec::len)));
        let Ok(taken) = taken else {
            return Ok(taken.map(drop));
        };
        let left = oracle.now.len().saturating_sub(n);
        self.same(&taken, oracle.now[left..].iter().rev())?;
        oracle.take(left);
        Ok(Ok(()))
    }

    fn truncate(
        &mut self,
        buffer: &mut DocumentBuffer<Disk>,
        oracle: &mut Oracle,
    ) -> Result<(), Error> {
        let keep = self.rng.below(oracle.now.len() as u64 + 2) as usize;
        let cut = buffer.truncate_after(keep as u64);
        self.note(|| format!("truncate_after {keep} {cut:?}"));
        if cut.is_ok() {
            oracle.take(keep);
        }
        cut.map(drop)
    }

    fn look(
        &mut self,
        buffer: &mut DocumentBuffer<Disk>,
        oracle: &Oracle,
    ) -> Outcome<Result<(), Error>> {
        let (all, newest): (Result<Vec<Vec<u8>>, Error>, usize) = match self.rng.below(4) {
            0 => (
                buffer
                    .peek()
                    .map(|one| one.map(<[u8]>::to_vec).into_iter().collect()),
                1,
            ),
            1 => (buffer.read(2), 2),
            2 => (buffer.iter().collect(), usize::MAX),
            _ => {
                let all: Result<Vec<Vec<u8>>, Error> = buffer.replay().collect();
                (all.map(|all| all.into_iter().rev().collect()), usize::MAX)
            }
        };
        self.note(|| format!("look {:?}", all.as_ref().map(Vec::len)));
        let Ok(all) = all else {
            return Ok(all.map(drop));
        };
        self.same(&all, oracle.now.iter().rev().take(newest))?;
        Ok(Ok(()))
    }

    fn same<'a>(&self, found: &[Vec<u8>], model: impl Iterator<Item = &'a u8>) -> Outcome<()> {
        let model: Vec<&Vec<u8>> = model.map(|one| &self.pool[usize::from(*one)]).collect();
        if found.iter().eq(model.iter().copied()) {
            return Ok(());
        }
        Err(format!("read {found:?}, not {model:?}"))
    }
}

fn lie() -> Fault {
    Fault {
        kind: Failing::Lie,
        class: Class::Sync,
        at: 0,
        sticky: true,
    }
}

fn judge(what: &str, found: &Sequence, legal: &[Sequence]) -> Outcome<()> {
    if legal.contains(found) {
        return Ok(());
    }
    Err(format!("{what} left {found:?}, legal are {legal:?}"))
}

fn has_header(durable: &[u8]) -> bool {
    let opened = Options::new().open_bare(Cursor::new(durable.to_vec()));
    opened.is_ok_and(|buffer| buffer.recovery().offset > 0)
}

//! One random case: a directory, documents, and a few lives of a journal with a crash behind each. Follows
//! from a seed.

use std::io::ErrorKind;

use documentbuffer::journal::{Durability, Error, Options, Retention};
use documentbuffer::store::fault::{Chunks, Class, CrashPlan, Fault, FaultDirectory, Kind, Rng};

use super::driver::{Driver, Op, begin};
use super::model::{self, Image, Oracle, Outcome};

/// What the medium's sync is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Medium {
    Honest,
    /// It says Ok and does nothing for bytes. That of names is honest: a removal that is kept before the name
    /// it made room for brings back what was cut away.
    Lying,
}

/// Documents that fit into the oracle's bytes.
const POOL: usize = 200;
/// More than all documents of a life take, so that the committer's thread never leads.
const QUEUE: usize = 1 << 17;

pub(crate) struct Case {
    rng: Rng,
    medium: Medium,
    verbose: bool,
    pool: Vec<Vec<u8>>,
    options: Options,
    retain: Option<u64>,
    chunks: Chunks,
    cap: Option<u64>,
    /// A failed sync lost what the view still shows: only a power cut makes that good.
    must_cut: bool,
    pub(crate) lives: u64,
    pub(crate) images: u64,
}

/// Where the next life begins.
type Next = Option<(FaultDirectory, Oracle)>;

impl Case {
    pub(crate) fn new(seed: u64, medium: Medium, verbose: bool) -> Case {
        let mut rng = Rng::new(seed);
        let segment = match rng.below(8) {
            0 => 1,
            1..6 => 200 + rng.below(800),
            6 => 1000 + rng.below(1000),
            _ => 1 << 20,
        };
        let retain = (rng.below(8) == 0).then(|| rng.below(1500));
        let mut options = model::options().queue(QUEUE).segment(segment);
        if let Some(bytes) = retain {
            options = options.retention(Retention::all().bytes(bytes));
        }
        let mut case = Case {
            rng,
            medium,
            verbose,
            pool: Vec::new(),
            options,
            retain,
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

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.rng.below(from.len() as u64) as usize].clone()
    }

    fn note(&self, what: impl FnOnce() -> String) {
        if self.verbose {
            println!("  {}", what());
        }
    }

    fn document(&mut self) -> Vec<u8> {
        let len = match self.rng.below(8) {
            0..5 => self.pick(&[0, 1, 4, 5, 16, 17, 20, 32, 33, 48]),
            5..7 => self.rng.below(40) as usize,
            _ => self.rng.below(300) as usize,
        };
        let mut bytes = vec![self.pick(&[0x00, 0xFF, b'a']); len];
        if self.chance(2) {
            self.rng.fill(&mut bytes);
        }
        bytes
    }

    fn options(&mut self) -> Options {
        let seed = self.rng.next_u64();
        self.options.clone().seed(seed)
    }

    /// What a look at an image takes: little memory, and nothing is discarded by it.
    fn looking(&mut self) -> Options {
        let seed = self.rng.next_u64();
        model::options().seed(seed)
    }

    pub(crate) fn run(&mut self) -> Outcome<()> {
        let mut dir = FaultDirectory::new(self.rng.next_u64());
        let mut oracle = Oracle::new(Vec::new(), 0);
        for _ in 0..1 + self.rng.below(6) {
            match self.life(dir, oracle)? {
                Some(next) => (dir, oracle) = next,
                None => break,
            }
        }
        Ok(())
    }

    /// One life and the crash behind it. `None` where only an error is left, which is fine where syncs lie.
    fn life(&mut self, dir: FaultDirectory, mut oracle: Oracle) -> Outcome<Next> {
        self.lives += 1;
        self.must_cut = false;
        self.chunks = match self.rng.below(16) {
            0 | 1 => Chunks::Random,
            2 => Chunks::One,
            _ => Chunks::Whole,
        };
        let used: usize = dir.view().values().map(Vec::len).sum();
        self.cap = self.chance(16).then(|| used as u64 + self.rng.below(1000));
        self.calm(&dir);
        let Some(mut driver) = self.open(&dir, &mut oracle)? else {
            return self.leave(dir, oracle, true);
        };
        let ops = match self.rng.below(8) {
            0 => 0,
            1..5 => 1 + self.rng.below(4),
            5 | 6 => self.rng.below(12),
            _ => self.rng.below(30),
        };
        let torn = self.chance(3);
        for left in (0..ops).rev() {
            let mut fault = None;
            if left == 0 && torn {
                let at = self.rng.below(16);
                let fail = Kind::Fail(ErrorKind::Other);
                fault = Some(self.arm(&dir, fail, Class::Any, at, true));
            } else if self.chance(6) {
                fault = Some(self.random_fault(&dir));
            }
            self.operate(&mut driver, &dir)?;
            if let Some(fault) = fault {
                self.after_fault(fault, &dir, &mut driver.oracle);
                if left > 0 || !torn {
                    self.calm(&dir);
                }
            }
            if left > 0 && self.chance(3) {
                self.power_cut(&dir, &driver.oracle)?;
            }
        }
        self.death(driver, dir)
    }

    /// How a life ends.
    fn death(&mut self, driver: Driver, dir: FaultDirectory) -> Outcome<Next> {
        if !self.must_cut && !driver.dead && self.chance(6) {
            let fault = self.chance(4).then(|| self.random_fault(&dir));
            let (mut oracle, closed) = driver.close()?;
            self.note(|| format!("close {closed:?}"));
            match (fault, closed) {
                (Some(fault), _) => self.after_fault(fault, &dir, &mut oracle),
                (None, Err(error)) if self.cap.is_none() && dir.fired() == 0 => {
                    return Err(format!("close: {error}"));
                }
                _ => {}
            }
            let cut = self.chance(2);
            return self.leave(dir, oracle, cut);
        }
        let cut = self.rng.below(16) >= 6;
        let gone = self.chance(2);
        let oracle = if gone {
            let (killed, oracle) = (dir.kill(), driver.oracle.clone());
            drop(driver);
            return self.leave(killed, oracle, cut);
        } else {
            driver.end_of(&dir)?
        };
        self.leave(dir, oracle, cut)
    }

    /// Between two lives: by a power cut, or as it is.
    fn leave(&mut self, dir: FaultDirectory, oracle: Oracle, cut: bool) -> Outcome<Next> {
        dir.calm();
        if !cut && !self.must_cut {
            return Ok(Some((dir, oracle)));
        }
        for _ in 0..3 {
            self.power_cut(&dir, &oracle)?;
        }
        let Some((image, oracle)) = self.power_cut(&dir, &oracle)? else {
            return Ok(None);
        };
        let seed = self.rng.next_u64();
        Ok(Some((FaultDirectory::from_image(seed, image), oracle)))
    }

    /// One image of a power cut now, judged, and what it leaves to the next life.
    fn power_cut(
        &mut self,
        dir: &FaultDirectory,
        oracle: &Oracle,
    ) -> Outcome<Option<(Image, Oracle)>> {
        let plan = CrashPlan::random(&mut self.rng);
        let few = dir.unsynced_names().len() <= 5;
        let mut images = Vec::new();
        if few && self.chance(8) {
            dir.name_images(&mut self.rng, plan, |image| images.push(image));
        } else {
            images.push(dir.crash(&mut self.rng, plan));
        }
        let mut last = None;
        for image in images {
            self.images += 1;
            last = self
                .judge(&image, oracle)
                .map_err(|violation| format!("{plan:?}: {violation}"))?
                .map(|next| (image, next));
        }
        Ok(last)
    }

    fn judge(&mut self, image: &Image, oracle: &Oracle) -> Outcome<Option<Oracle>> {
        let dir = FaultDirectory::from_image(0, image.clone());
        let options = self.looking();
        let (journal, found) = match model::open(&dir, &options, &self.pool)? {
            Ok(opened) => opened,
            Err(error) if self.medium == Medium::Lying => {
                self.note(|| format!("power cut -> {error}"));
                return Ok(None);
            }
            Err(error) => return Err(format!("a power cut left what cannot be read: {error}")),
        };
        self.note(|| format!("power cut -> {found:?}"));
        let now = oracle.after_power_cut(&found)?;
        let next = Oracle::new(now, found.first);
        if self.chance(8) {
            let mut driver = Driver::new(journal, next.clone());
            driver.honest = self.medium == Medium::Honest;
            for op in [
                Op::Rev,
                Op::Verify,
                Op::Append(0, Durability::Synced),
                Op::Replay,
            ] {
                driver
                    .apply(&op, &self.pool)?
                    .map_err(|error| format!("{op:?} behind a power cut: {error}"))?;
            }
            let mut after = driver.end_of(&dir)?;
            begin(&dir, &options, &self.pool, &mut after)?
                .map_err(|error| format!("opened again: {error}"))?;
        }
        Ok(Some(next))
    }

    /// Opens, now and then with a fault on the way. `None` where only a power cut can go on.
    fn open(&mut self, dir: &FaultDirectory, oracle: &mut Oracle) -> Outcome<Option<Driver>> {
        for attempt in 0.. {
            let fault = (attempt == 0 && self.chance(6)).then(|| self.random_fault(dir));
            let options = self.options();
            let opened = begin(dir, &options, &self.pool, oracle)?;
            let fired = dir.fired() > 0;
            if let Some(fault) = fault {
                self.after_fault(fault, dir, oracle);
                self.calm(dir);
            }
            match opened {
                Ok(journal) => {
                    self.note(|| format!("life {}: {:?}", self.lives, oracle.now));
                    let mut driver = Driver::new(journal, oracle.clone());
                    driver.honest = self.medium == Medium::Honest;
                    driver.retain = self.retain;
                    return Ok((!self.must_cut).then_some(driver));
                }
                Err(error) => {
                    self.note(|| format!("open: {error}"));
                    if self.must_cut {
                        return Ok(None);
                    }
                    // A new journal may find no room.
                    let full = self.cap.take().is_some();
                    self.calm(dir);
                    if !fired && !full {
                        return Err(format!("open: {error}"));
                    }
                }
            }
        }
        Ok(None)
    }

    fn calm(&self, dir: &FaultDirectory) {
        dir.calm();
        dir.set_chunks(self.chunks);
        dir.set_cap(self.cap);
        if self.medium == Medium::Lying {
            dir.fault(lie());
        }
    }

    fn arm(
        &mut self,
        dir: &FaultDirectory,
        kind: Kind,
        class: Class,
        at: u64,
        sticky: bool,
    ) -> Fault {
        let fault = Fault {
            kind,
            class,
            at,
            sticky,
        };
        self.note(|| format!("{fault:?}"));
        dir.calm();
        dir.fault(fault);
        let (chunks, cap) = (self.chunks, self.cap);
        if self.medium == Medium::Lying {
            dir.fault(lie());
        }
        dir.set_chunks(chunks);
        dir.set_cap(cap);
        fault
    }

    fn random_fault(&mut self, dir: &FaultDirectory) -> Fault {
        let fail = Kind::Fail(ErrorKind::Other);
        let after = Kind::After(ErrorKind::Other);
        let full = Kind::Full;
        let loses = [
            fail,
            after,
            Kind::SyncDirty,
            Kind::SyncReverts,
            Kind::SyncLoses,
            Kind::SyncLosesSome,
        ];
        let (class, kinds): (Class, &[Kind]) = match self.rng.below(20) {
            0..6 => (
                Class::Write,
                &[
                    fail,
                    fail,
                    after,
                    after,
                    full,
                    full,
                    Kind::Zero,
                    Kind::One,
                    Kind::Half,
                    Kind::AllButOne,
                    Kind::Interrupted(2),
                ],
            ),
            6 => (
                Class::Read,
                &[fail, after, Kind::Zero, Kind::One, Kind::Half],
            ),
            7 => (Class::Seek, &[fail, after, Kind::Interrupted(2)]),
            8 => (Class::Flush, &[fail, after, Kind::Interrupted(2)]),
            9 | 10 => (Class::Sync, &loses),
            11 | 12 => (Class::DirSync, &loses),
            13 => (Class::Create, &[fail, after, full]),
            14 | 15 => (Class::Rename, &[fail, after, full]),
            16 | 17 => (Class::Remove, &[fail, after]),
            18 => (Class::SetLen, &[fail, after, full]),
            _ => (
                self.pick(&[Class::Open, Class::OpenRead, Class::List, Class::Lock]),
                &[fail, after],
            ),
        };
        let kind = self.pick(kinds);
        let at = self.rng.below(4);
        let sticky = self.chance(4) && !matches!(kind, Kind::Interrupted(_));
        self.arm(dir, kind, class, at, sticky)
    }

    /// What a failed sync did to what the next process sees.
    fn after_fault(&mut self, fault: Fault, dir: &FaultDirectory, oracle: &mut Oracle) {
        if dir.fired() == 0 {
            return;
        }
        match fault.kind {
            // What was not kept before, heads of segments too, is gone.
            Kind::SyncReverts if self.medium == Medium::Lying => self.must_cut = true,
            Kind::SyncReverts => oracle.reverted(),
            Kind::SyncLoses | Kind::SyncLosesSome => self.must_cut = true,
            _ => {}
        }
    }

    fn random_op(&mut self) -> Op {
        let durability = self.pick(&[Durability::Memory, Durability::Written, Durability::Synced]);
        match self.rng.below(32) {
            0..10 => Op::Append(self.any(), durability),
            10 => Op::AppendAt(self.any()),
            11..15 => Op::Batch(
                (0..self.rng.below(5)).map(|_| self.any()).collect(),
                durability,
            ),
            15 => Op::Flush,
            16..18 => Op::Sync,
            18..20 => Op::Truncate(self.rng.next_u64()),
            20..22 => Op::Cut(self.rng.below(4)),
            22..25 => Op::Discard(self.rng.next_u64()),
            25..27 => Op::Rotate,
            27 => Op::Replay,
            28 => Op::Rev,
            29 => Op::Verify,
            30 => Op::Hold,
            _ => Op::Held,
        }
    }

    fn any(&mut self) -> u8 {
        self.rng.below(self.pool.len() as u64) as u8
    }

    fn operate(&mut self, driver: &mut Driver, dir: &FaultDirectory) -> Outcome<()> {
        if self.pool.len() < POOL && self.chance(64) {
            // A piece of a segment itself.
            let view: Vec<Vec<u8>> = dir.view().into_values().collect();
            let file = self.pick(&view);
            let from = self.rng.below(file.len() as u64 + 1) as usize;
            let to = from + self.rng.below(300.min(file.len() - from) as u64 + 1) as usize;
            if !self.pool.iter().any(|known| known == &file[from..to]) {
                self.pool.push(file[from..to].to_vec());
            }
        }
        let op = self.random_op();
        let was_dead = driver.dead;
        let done = driver.apply(&op, &self.pool);
        self.note(|| format!("{op:?} {done:?}"));
        match done? {
            // Retention may come between.
            Err(Error::Discarded { .. }) if self.retain.is_some() => Ok(()),
            Err(error) if !was_dead && dir.fired() == 0 && self.cap.is_none() => {
                Err(format!("{op:?} without a fault: {error}"))
            }
            _ => Ok(()),
        }
    }
}

fn lie() -> Fault {
    Fault {
        kind: Kind::Lie,
        class: Class::Sync,
        at: 0,
        sticky: true,
    }
}

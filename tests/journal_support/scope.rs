//! A small scope, all of it: every short sequence of calls, a death at every change that the last one makes,
//! and behind that another process that dies at every change too. What is left of the names is every choice
//! of what was not synced; of the bytes all, nothing, or something.

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use documentbuffer::journal::{Durability, Options};
use documentbuffer::store::fault::{CrashPlan, FaultDirectory, Filler, Mode, Rng};

use super::driver::{Driver, Op};
use super::model::{self, Image, Oracle, Outcome};
use super::mortal::Mortal;

/// What a sequence is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Synced,
    Written,
    Batch,
    /// Back to so many.
    Truncate(u64),
    /// Back by one.
    Cut,
    Rotate,
    Discard,
    /// Nothing: the process opens, and dies.
    Open,
}

pub(crate) const ALL: [Step; 8] = [
    Step::Synced,
    Step::Written,
    Step::Batch,
    Step::Truncate(0),
    Step::Truncate(1),
    Step::Cut,
    Step::Rotate,
    Step::Discard,
];

/// A scope.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    /// The longest sequence before the first death.
    pub(crate) depth: u32,
    /// What the second process may do.
    pub(crate) second: Vec<Step>,
    /// Bytes of a segment.
    pub(crate) segment: u64,
    /// Whether all documents are the same.
    pub(crate) same: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) deaths: AtomicU64,
    pub(crate) images: AtomicU64,
    pub(crate) distinct: AtomicU64,
}

/// One thread's part of a scope.
struct Explorer<'a> {
    scope: &'a Scope,
    counts: &'a Counts,
    pool: Vec<Vec<u8>>,
    /// Images judged, and states begun from, by their hashes.
    seen: HashSet<u64>,
    rng: Rng,
}

/// Where a second process begins: what a power cut left, or what the first process did left as it is.
enum Start<'a> {
    Cut(&'a Image, &'a Oracle),
    Killed(&'a [Step], u64),
}

fn hash(of: impl std::hash::Hash) -> u64 {
    BuildHasherDefault::<DefaultHasher>::new().hash_one(of)
}

impl Explorer<'_> {
    fn options(&self, life: u64) -> Options {
        model::options().segment(self.scope.segment).seed(life)
    }

    fn op(&self, step: Step, written: &mut u8) -> Option<Op> {
        let mut next = || {
            *written += u8::from(!self.scope.same);
            *written
        };
        Some(match step {
            Step::Synced => Op::Append(next(), Durability::Synced),
            Step::Written => Op::Append(next(), Durability::Written),
            Step::Batch => Op::Batch(vec![next(), next()], Durability::Synced),
            Step::Truncate(to) => Op::Truncate(to),
            Step::Cut => Op::Cut(1),
            Step::Rotate => Op::Rotate,
            Step::Discard => Op::Discard(u64::MAX),
            Step::Open => return None,
        })
    }

    /// A process: opens, does its steps, and dies at change `until` of the last of them (or of opening, where
    /// there is none). Says whether it died, and what then is.
    fn live(
        &self,
        dir: &FaultDirectory,
        oracle: &mut Oracle,
        life: u64,
        steps: &[Step],
        until: u64,
    ) -> Outcome<bool> {
        let mortal = Mortal::new(dir.clone(), u64::MAX);
        let (before, last) = match steps.split_last() {
            Some((last, before)) => (before, Some(*last)),
            None => (steps, None),
        };
        // A second process may die while it opens.
        let from_birth = life > 1 || last.is_none();
        if from_birth {
            mortal.lives_for(until);
        }
        let opened = self.options(life).open_in(Arc::new(mortal.clone()));
        let journal = match opened {
            Ok(journal) => journal,
            Err(_) if mortal.is_dead() => return Ok(true),
            Err(error) => return Err(format!("open: {error}")),
        };
        match model::read(&journal, &self.pool) {
            Ok(found) => oracle.after_kill(&found)?,
            Err(_) if mortal.is_dead() => return Ok(true),
            Err(error) => return Err(format!("open: {error}")),
        }
        let mut driver = Driver::new(journal, oracle.clone());
        let mut written = 10 * (life as u8 - 1);
        for step in before {
            if let Some(op) = self.op(*step, &mut written) {
                let done = driver.apply(&op, &self.pool)?;
                done.map_err(|error| format!("{op:?}: {error}"))?;
            }
        }
        if !from_birth {
            mortal.lives_for(until);
        }
        if let Some(op) = last.and_then(|last| self.op(last, &mut written)) {
            match driver.apply(&op, &self.pool)? {
                Err(error) if !mortal.is_dead() => return Err(format!("{op:?}: {error}")),
                _ => {}
            }
        }
        *oracle = driver.oracle.clone();
        Ok(mortal.is_dead())
    }

    /// The first process.
    fn first(&self, steps: &[Step], until: u64) -> Outcome<(FaultDirectory, Oracle, bool)> {
        let dir = FaultDirectory::new(1);
        let mut oracle = Oracle::new(Vec::new(), 0);
        let died = self.live(&dir, &mut oracle, 1, steps, until)?;
        Ok((dir.kill(), oracle, died))
    }

    fn images(&mut self, dir: &FaultDirectory) -> Vec<Image> {
        let mut images = Vec::new();
        for mode in [Mode::Kept, Mode::Lost, Mode::AnyVersion] {
            let plan = CrashPlan {
                sector: 1,
                filler: Filler::Zero,
                mode,
            };
            dir.name_images(&mut self.rng, plan, |image| images.push(image));
        }
        images
    }

    /// Judges what a power cut now may leave; gives those images that are new, and what was found in them.
    fn judge(&mut self, dir: &FaultDirectory, oracle: &Oracle) -> Outcome<Vec<(Image, Oracle)>> {
        let mut new = Vec::new();
        for image in self.images(dir) {
            self.counts.images.fetch_add(1, Ordering::Relaxed);
            if !self.seen.insert(hash((&image, oracle))) {
                continue;
            }
            self.counts.distinct.fetch_add(1, Ordering::Relaxed);
            let after = FaultDirectory::from_image(0, image.clone());
            let opened = model::open(&after, &self.options(99), &self.pool)?;
            let (_, found) = opened.map_err(|error| format!("after a power cut: {error}"))?;
            let now = oracle.after_power_cut(&found)?;
            new.push((image, Oracle::new(now, found.first)));
        }
        Ok(new)
    }

    /// All deaths of the last step of `steps`.
    fn explore(&mut self, steps: &[Step]) -> Outcome<()> {
        for until in 0.. {
            self.counts.deaths.fetch_add(1, Ordering::Relaxed);
            let explore = |explorer: &mut Self| {
                let (dir, oracle, died) = explorer.first(steps, until)?;
                for (image, oracle) in explorer.judge(&dir, &oracle)? {
                    explorer.go_on(&Start::Cut(&image, &oracle))?;
                }
                let state: Vec<Image> = explorer.images(&dir);
                if explorer.seen.insert(hash((dir.view(), state, &oracle))) {
                    explorer.go_on(&Start::Killed(steps, until))?;
                }
                Ok(died)
            };
            let died = explore(self)
                .map_err(|violation: String| format!("{steps:?} until {until}: {violation}"))?;
            if !died {
                return Ok(());
            }
        }
        Ok(())
    }

    /// All that a second process may do from there, and all its deaths.
    fn go_on(&mut self, start: &Start<'_>) -> Outcome<()> {
        for step in self.scope.second.clone() {
            for until in 0.. {
                self.counts.deaths.fetch_add(1, Ordering::Relaxed);
                let (dir, mut oracle) = match start {
                    Start::Cut(image, oracle) => {
                        let dir = FaultDirectory::from_image(2, (*image).clone());
                        (dir, (*oracle).clone())
                    }
                    Start::Killed(steps, until) => {
                        let (dir, oracle, _) = self.first(steps, *until)?;
                        (dir, oracle)
                    }
                };
                let mut explore = |explorer: &mut Self| {
                    let died = explorer.live(&dir, &mut oracle, 2, &[step], until)?;
                    explorer.judge(&dir.kill(), &oracle)?;
                    Ok(died)
                };
                let died = explore(self).map_err(|violation: String| {
                    let after = match start {
                        Start::Cut(image, _) => format!("a power cut that left {:?}", image.keys()),
                        Start::Killed(..) => "a kill".to_owned(),
                    };
                    format!("{after}, then {step:?} until {until}: {violation}")
                })?;
                if !died {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// The sequence of that number: in base 8, with as many digits as steps.
fn sequence(mut number: u64, len: u32) -> Vec<Step> {
    let base = ALL.len() as u64;
    let mut steps = Vec::new();
    for _ in 0..len {
        steps.push(ALL[(number % base) as usize]);
        number /= base;
    }
    steps
}

impl Scope {
    /// Explores all of it on two threads.
    pub(crate) fn explore(&self) -> Counts {
        let counts = Counts::default();
        let failed = AtomicBool::new(false);
        let (next, base) = (AtomicU64::new(0), ALL.len() as u64);
        let all: u64 = (0..=self.depth).map(|len| base.pow(len)).sum();
        let work = || {
            let mut explorer = Explorer {
                scope: self,
                counts: &counts,
                pool: (0..30).map(|n| vec![n; 1]).collect(),
                seen: HashSet::new(),
                rng: Rng::new(1),
            };
            while !failed.load(Ordering::Relaxed) {
                let mut number = next.fetch_add(1, Ordering::Relaxed);
                if number >= all {
                    break;
                }
                let mut len = 0;
                while number >= base.pow(len) {
                    number -= base.pow(len);
                    len += 1;
                }
                if let Err(violation) = explorer.explore(&sequence(number, len)) {
                    println!("{self:?}: {violation}");
                    failed.store(true, Ordering::Relaxed);
                }
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(work);
            scope.spawn(work);
        });
        assert!(!failed.load(Ordering::Relaxed), "the lines above say where");
        counts
    }
}

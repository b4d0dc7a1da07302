//! Fails every call of a journal's workload in every way, once and for good, until a run meets no fault any
//! more.
//!
//! After each injection: the end and the contents are what they were, the call succeeds when it is repeated
//! (but after a failure that is final), and what a crash or the death of the process leaves is a state since
//! the last good sync or one that a failed call was asked for.
//!
//! A failure prints its case; `FAULT_CASE='...' cargo test --features journal,testing --test journal_faults
//! one_case -- --ignored` runs that one again.
#![cfg(all(feature = "journal", feature = "testing"))]

mod journal_support;

use std::fmt;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use documentbuffer::journal::{Durability, Error, Options};
use documentbuffer::store::fault::{Class, CrashPlan, Fault, FaultDirectory, Kind, Rng};
use journal_support::campaign::{Watchdog, quietly};
use journal_support::driver::{Driver, Op, begin};
use journal_support::model::{self, Oracle, Outcome};

const FAIL: Kind = Kind::Fail(ErrorKind::Other);
const AFTER: Kind = Kind::After(ErrorKind::Other);

const NAMES: &[Kind] = &[FAIL, AFTER, Kind::Panic];
const MOVED: &[Kind] = &[FAIL, Kind::Full, AFTER, Kind::Panic];
const SYNCS: &[Kind] = &[
    FAIL,
    Kind::Full,
    AFTER,
    Kind::SyncDirty,
    Kind::SyncReverts,
    Kind::SyncLoses,
    Kind::SyncLosesSome,
    Kind::Panic,
];

/// What goes wrong in calls of each class.
const FAULTS: [(Class, &[Kind]); 14] = [
    (
        Class::Read,
        &[
            FAIL,
            Kind::Fail(ErrorKind::TimedOut),
            AFTER,
            Kind::Interrupted(3),
            Kind::Zero,
            Kind::One,
            Kind::Half,
            Kind::AllButOne,
            Kind::Panic,
        ],
    ),
    (
        Class::Write,
        &[
            FAIL,
            Kind::Full,
            Kind::Fail(ErrorKind::FileTooLarge),
            Kind::Fail(ErrorKind::ReadOnlyFilesystem),
            Kind::Fail(ErrorKind::WouldBlock),
            AFTER,
            Kind::Interrupted(3),
            Kind::Zero,
            Kind::One,
            Kind::Half,
            Kind::AllButOne,
            Kind::Panic,
        ],
    ),
    (
        Class::Seek,
        &[FAIL, AFTER, Kind::Interrupted(3), Kind::Panic],
    ),
    (
        Class::Flush,
        &[FAIL, AFTER, Kind::Interrupted(3), Kind::Panic],
    ),
    (Class::Sync, SYNCS),
    (Class::SetLen, MOVED),
    (Class::List, NAMES),
    (Class::Create, MOVED),
    (Class::Open, NAMES),
    (Class::OpenRead, NAMES),
    (Class::Rename, MOVED),
    (Class::Remove, NAMES),
    (Class::DirSync, SYNCS),
    (Class::Lock, NAMES),
];

const STEPS: usize = 12;

/// One fault in one script.
#[derive(Clone, Copy)]
struct Case {
    seed: u64,
    class: usize,
    kind: usize,
    at: u64,
    sticky: bool,
}

impl Case {
    fn fault(&self) -> Fault {
        Fault {
            kind: FAULTS[self.class].1[self.kind],
            class: FAULTS[self.class].0,
            at: self.at,
            sticky: self.sticky,
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Case {
            seed,
            class,
            kind,
            at,
            sticky,
        } = self;
        let sticky = u8::from(*sticky);
        write!(
            f,
            "FAULT_CASE='{seed} {class} {kind} {at} {sticky}' {:?}",
            self.fault()
        )
    }
}

/// A step of a script.
#[derive(Clone, Debug)]
enum Step {
    Op(Op),
    /// The process dies and another opens the journal.
    Kill,
    /// The handle is dropped, and the journal opened again.
    Drop,
    Close,
}

/// What to do, in segments of which size.
#[derive(Clone, Debug)]
struct Script {
    seed: u64,
    segment: u64,
    steps: Vec<Step>,
}

fn pool() -> Vec<Vec<u8>> {
    let lens = [0, 3, 17, 40, 100];
    lens.map(|len| vec![b'a' + len as u8 % 16; len]).to_vec()
}

impl Script {
    fn new(seed: u64, steps: usize) -> Script {
        let mut rng = Rng::new(seed);
        let steps = (0..steps).map(|_| step(&mut rng)).collect();
        let segments = [1, 250, 400, 1000, 1 << 20];
        Script {
            seed,
            segment: segments[rng.below(segments.len() as u64) as usize],
            steps,
        }
    }

    /// Options of its so-manieth life.
    fn options(&self, life: u64) -> Options {
        model::options()
            .queue(1 << 14)
            .segment(self.segment)
            .seed(self.seed << 8 | life)
    }
}

fn step(rng: &mut Rng) -> Step {
    let id = |rng: &mut Rng| rng.below(pool().len() as u64) as u8;
    let all = [Durability::Memory, Durability::Written, Durability::Synced];
    let durability = all[rng.below(3) as usize];
    Step::Op(match rng.below(28) {
        0..8 => Op::Append(id(rng), durability),
        8..11 => Op::Batch((0..1 + rng.below(4)).map(|_| id(rng)).collect(), durability),
        11 => Op::Flush,
        12..14 => Op::Sync,
        14 => Op::Truncate(rng.next_u64()),
        15..17 => Op::Cut(rng.below(4)),
        17..19 => Op::Discard(rng.next_u64()),
        19..21 => Op::Rotate,
        21 => Op::Replay,
        22 => Op::Rev,
        23 => Op::Hold,
        24 => Op::Held,
        25 => return Step::Kill,
        26 => return Step::Drop,
        _ => return Step::Close,
    })
}

/// A workload under way.
struct Run<'a> {
    case: Case,
    script: &'a Script,
    dir: FaultDirectory,
    pool: Vec<Vec<u8>>,
    lives: u64,
    rng: Rng,
}

/// A failed sync lost what the view still shows: only a power cut makes that good.
struct Lost;

impl Run<'_> {
    fn new(case: Case, script: &Script) -> Run<'_> {
        let dir = FaultDirectory::new(case.seed);
        dir.fault(case.fault());
        Run {
            case,
            script,
            dir,
            pool: pool(),
            lives: 0,
            rng: Rng::new(case.seed ^ case.at),
        }
    }

    fn kind(&self) -> Kind {
        self.case.fault().kind
    }

    fn fired(&self) -> bool {
        self.dir.fired() > 0
    }

    fn loses(&self) -> bool {
        let loses = matches!(self.kind(), Kind::SyncLoses | Kind::SyncLosesSome);
        loses && self.fired()
    }

    /// The next process opens the journal: once a fault has passed it must succeed.
    fn open(&mut self, oracle: &mut Oracle) -> Outcome<Result<Driver, Lost>> {
        self.lives += 1;
        let options = self.script.options(self.lives);
        for attempt in 0.. {
            let opening = || begin(&self.dir, &options, &self.pool, oracle);
            let opened = catch_unwind(AssertUnwindSafe(opening));
            match opened {
                Ok(Ok(Ok(journal))) => return Ok(Ok(Driver::new(journal, oracle.clone()))),
                Ok(Err(violation)) => return Err(violation),
                Ok(Ok(Err(error))) if !self.fired() => return Err(format!("open: {error}")),
                _ if self.loses() => return Ok(Err(Lost)),
                failed => {
                    if attempt == 2 {
                        let failed = failed.map(|opened| opened.map(|opened| opened.err()));
                        return Err(format!("open: still {failed:?}"));
                    }
                    if self.kind() == Kind::SyncReverts {
                        oracle.reverted();
                    }
                    if self.case.sticky {
                        self.dir.calm();
                    }
                }
            }
        }
        unreachable!()
    }

    /// What is left if all ends here.
    fn check_images(&mut self, oracle: &Oracle) -> Outcome<()> {
        for _ in 0..2 {
            let plan = CrashPlan::random(&mut self.rng);
            let image = self.dir.crash(&mut self.rng, plan);
            let dir = FaultDirectory::from_image(0, image);
            let opened = model::open(&dir, &model::options().seed(0), &self.pool)?;
            let (_, found) = opened.map_err(|error| format!("{plan:?}: {error}"))?;
            oracle
                .after_power_cut(&found)
                .map_err(|violation| format!("{plan:?}: {violation}"))?;
        }
        Ok(())
    }

    /// Nothing can be done any more with this handle, and everybody is told.
    fn check_dead(&mut self, driver: &mut Driver) -> Outcome<()> {
        for op in [
            Op::Append(0, Durability::Memory),
            Op::Flush,
            Op::Truncate(0),
            Op::Discard(0),
            Op::Sync,
        ] {
            let mut aside = driver.oracle.clone();
            std::mem::swap(&mut aside, &mut driver.oracle);
            let done = driver.apply(&op, &self.pool)?;
            driver.oracle = aside;
            if !matches!(done, Err(Error::Failed { .. })) {
                return Err(format!("{op:?} on a journal that failed: {done:?}"));
            }
        }
        self.check_images(&driver.oracle)
    }

    /// The handle is dead: the next process begins.
    fn bury(&mut self, mut driver: Driver) -> Outcome<Result<Driver, Lost>> {
        driver.dead = true;
        self.check_dead(&mut driver)?;
        if self.kind() == Kind::SyncReverts && self.fired() {
            driver.oracle.reverted();
        }
        let mut oracle = driver.end_of(&self.dir)?;
        if self.loses() {
            return Ok(Err(Lost));
        }
        if self.case.sticky {
            self.dir.calm();
        }
        self.open(&mut oracle)
    }

    fn pass(&mut self, mut driver: Driver, step: &Step) -> Outcome<Result<Driver, Lost>> {
        let op = match step {
            Step::Op(op) => op,
            Step::Kill => {
                let mut oracle = driver.oracle.clone();
                self.dir = self.dir.kill();
                drop(driver);
                return self.open(&mut oracle);
            }
            Step::Drop => {
                let mut oracle = driver.end_of(&self.dir)?;
                return self.open(&mut oracle);
            }
            Step::Close => return self.close(driver),
        };
        // A sticky fault may fail any number of calls, one that passes just one.
        for attempt in 0..2 {
            let call = || driver.apply(op, &self.pool);
            match catch_unwind(AssertUnwindSafe(call)) {
                Ok(Err(violation)) => return Err(violation),
                Ok(Ok(Ok(()))) => return Ok(Ok(driver)),
                Ok(Ok(Err(error))) => {
                    if !self.fired() {
                        return Err(format!("{op:?}: {error}"));
                    }
                    if driver.dead {
                        return self.bury(driver);
                    }
                    self.check_images(&driver.oracle)?;
                    if !self.case.sticky && self.case.at.is_multiple_of(2) {
                        driver
                            .apply(&Op::Replay, &self.pool)?
                            .map_err(|error| format!("read after it failed: {error}"))?;
                    }
                }
                Err(_) => {
                    driver.intend(op);
                    // A reader that panics is nobody else's matter.
                    if matches!(op, Op::Replay | Op::Rev | Op::Hold | Op::Held)
                        && driver.journal.flush().is_ok()
                    {
                        return Ok(Ok(driver));
                    }
                    return self.bury(driver);
                }
            }
            if self.case.sticky {
                return Ok(Ok(driver));
            }
            if attempt == 1 {
                return Err(format!("{op:?} failed again"));
            }
        }
        unreachable!()
    }

    fn close(&mut self, driver: Driver) -> Outcome<Result<Driver, Lost>> {
        let mut before = driver.oracle.clone();
        let closed = catch_unwind(AssertUnwindSafe(|| driver.close()));
        let (mut oracle, _) = match closed {
            Ok(closed) => closed?,
            Err(_) => (before.clone(), Ok(())),
        };
        if self.fired() {
            // It may have failed, and may have said so.
            if self.kind() == Kind::SyncReverts {
                before.reverted();
                oracle = before;
            }
            self.check_images(&oracle)?;
            if self.loses() {
                return Ok(Err(Lost));
            }
            if self.case.sticky {
                self.dir.calm();
            }
        }
        self.open(&mut oracle)
    }

    /// Plays the script; says whether a fault was injected.
    fn play(mut self) -> Outcome<bool> {
        let mut oracle = Oracle::new(Vec::new(), 0);
        let mut fired = false;
        let Ok(mut driver) = self.open(&mut oracle)? else {
            return Ok(true);
        };
        for step in &self.script.steps {
            driver = match self.pass(driver, step) {
                Ok(Ok(driver)) => driver,
                Ok(Err(Lost)) => return Ok(true),
                Err(violation) => return Err(format!("{step:?}: {violation}")),
            };
            fired |= self.fired();
        }
        self.dir.calm();
        // Without faults everything is there, and can be made durable.
        for op in [Op::Replay, Op::Verify, Op::Sync] {
            let done = driver.apply(&op, &self.pool)?;
            done.map_err(|error| format!("at the end, {op:?}: {error}"))?;
        }
        self.check_images(&driver.oracle)?;
        Ok(fired)
    }
}

/// All cases of one script; how many injections that were.
fn every_fault(seed: u64, watchdog: &Watchdog, thread: usize) -> u64 {
    let script = Script::new(seed, STEPS);
    let mut injections = 0;
    for (class, (_, kinds)) in FAULTS.iter().enumerate() {
        for kind in 0..kinds.len() {
            for sticky in [false, true] {
                // Interrupted for good means: try again for ever.
                if sticky && matches!(kinds[kind], Kind::Interrupted(_)) {
                    continue;
                }
                for at in 0.. {
                    let case = Case {
                        seed,
                        class,
                        kind,
                        at,
                        sticky,
                    };
                    watchdog.at(thread, case.to_string());
                    let run = catch_unwind(AssertUnwindSafe(|| Run::new(case, &script).play()));
                    match run {
                        Ok(Ok(true)) => injections += 1,
                        Ok(Ok(false)) => break,
                        Ok(Err(violation)) => panic!("{case}: {violation}"),
                        Err(panic) => {
                            eprintln!("{case}");
                            std::panic::resume_unwind(panic)
                        }
                    }
                }
            }
        }
    }
    watchdog.rest(thread);
    injections
}

/// Scripts from `first` on, on two threads.
fn workloads(first: u64, count: u64) -> u64 {
    let (next, injections) = (AtomicU64::new(first), AtomicU64::new(0));
    let work = |watchdog: &Watchdog, thread| {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count {
                return;
            }
            injections.fetch_add(every_fault(seed, watchdog, thread), Ordering::Relaxed);
        }
    };
    quietly(|| {
        Watchdog::over(|watchdog| {
            std::thread::scope(|scope| {
                scope.spawn(|| work(watchdog, 0));
                scope.spawn(|| work(watchdog, 1));
            });
        });
    });
    injections.into_inner()
}

#[test]
fn every_call_of_a_hundred_workloads_fails_in_every_way() {
    let injections = workloads(0, 100);
    println!("{injections} injections");
    assert!(injections > 40_000);
}

#[test]
#[ignore = "takes minutes"]
fn every_call_of_a_thousand_workloads_fails_in_every_way() {
    let injections = workloads(1000, 1000);
    println!("{injections} injections");
    assert!(injections > 400_000);
}

/// One case again: `FAULT_CASE='seed class kind call sticky'`.
#[test]
#[ignore = "for one case by hand"]
fn one_case() {
    let case = std::env::var("FAULT_CASE").expect("FAULT_CASE");
    let numbers: Vec<u64> = case
        .split(' ')
        .map(|n| n.parse().expect("a number"))
        .collect();
    let [seed, class, kind, at, sticky] = numbers[..] else {
        panic!("five numbers");
    };
    let script = Script::new(seed, STEPS);
    println!("{script:?}");
    let case = Case {
        seed,
        class: class as usize,
        kind: kind as usize,
        at,
        sticky: sticky == 1,
    };
    println!("{case}: {:?}", Run::new(case, &script).play());
}

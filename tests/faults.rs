//! Fails every call of a workload in every way, once and for good, until a run meets no fault any more.
//!
//! After each injection: counts and contents are what they were, the call succeeds when it is repeated (but
//! for a failed sync, which is final), reading works, and what a crash or the death of the process leaves is
//! a state since the last good sync or one that a failed call was asked for.
//!
//! A failure prints its case; `FAULT_CASE='...' cargo test --features testing --test faults one_case -- --ignored`
//! runs that one again.
#![cfg(feature = "testing")]

mod scenario_support;

use std::fmt;
use std::io::{Cursor, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};

use documentbuffer::store::fault::{Class, CrashPlan, Fault, Kind, Rng};
use documentbuffer::{Action, DocumentBuffer, Error, Options};
use scenario_support::workload::{Op, Script, Sequence, bytes, expected, intended, perform};
use scenario_support::{Disk, Documents, Handle, doc};

/// What goes wrong in calls of each class.
const FAULTS: [(Class, &[Kind]); 6] = [
    (
        Class::Read,
        &[
            Kind::Fail(ErrorKind::Other),
            Kind::Fail(ErrorKind::TimedOut),
            Kind::After(ErrorKind::Other),
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
            Kind::Fail(ErrorKind::Other),
            Kind::Full,
            Kind::Fail(ErrorKind::FileTooLarge),
            Kind::Fail(ErrorKind::ReadOnlyFilesystem),
            Kind::Fail(ErrorKind::WouldBlock),
            Kind::After(ErrorKind::Other),
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
        &[
            Kind::Fail(ErrorKind::Other),
            Kind::After(ErrorKind::Other),
            Kind::Interrupted(3),
            Kind::Panic,
        ],
    ),
    (
        Class::Flush,
        &[
            Kind::Fail(ErrorKind::Other),
            Kind::After(ErrorKind::Other),
            Kind::Interrupted(3),
            Kind::Panic,
        ],
    ),
    (
        Class::Sync,
        &[
            Kind::Fail(ErrorKind::Other),
            Kind::Full,
            Kind::After(ErrorKind::Other),
            Kind::Interrupted(3),
            Kind::SyncDirty,
            Kind::SyncReverts,
            Kind::SyncLoses,
            Kind::SyncLosesSome,
            Kind::Panic,
        ],
    ),
    (Class::Preserve, &[Kind::Fail(ErrorKind::Other)]),
];

const STEPS: usize = 24;

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

/// A workload under way, with what is legal at each moment.
struct Run<'a> {
    case: Case,
    script: &'a Script,
    disk: Disk,
    now: Sequence,
    /// What a power cut may leave: since the last good sync. Not kept for a bare buffer.
    power: Vec<Sequence>,
    /// What the next process may find: since the last good flush.
    kill: Vec<Sequence>,
    lives: u64,
    rng: Rng,
    poisoned: bool,
}

fn documents(image: Vec<u8>) -> Documents {
    let mut found = Documents::new();
    let each = |_, document: &[u8]| found.push(document.to_vec());
    let opened = Options::new()
        .seed(0)
        .open_bare_with(Cursor::new(image), each);
    opened.unwrap_or_else(|failed| panic!("an image is refused: {}", failed.error));
    found
}

fn among(legal: &[Sequence], found: &Documents) -> Option<Sequence> {
    legal.iter().find(|one| bytes(one) == *found).cloned()
}

impl Run<'_> {
    fn new(case: Case, script: &Script) -> Run<'_> {
        let disk = Disk::empty();
        disk.get().fault(case.fault());
        Run {
            case,
            script,
            disk,
            now: vec![],
            power: vec![vec![]],
            kill: vec![vec![]],
            lives: 0,
            rng: Rng::new(case.seed ^ case.at),
            poisoned: false,
        }
    }

    fn fired(&self) -> u64 {
        self.disk.get().fired()
    }

    /// The next process opens the store: once a fault has passed it must succeed.
    fn open(&mut self) -> DocumentBuffer<Disk> {
        self.lives += 1;
        let options = self.script.options(self.lives);
        for attempt in 0.. {
            let before = self.disk.view();
            let mut found = Documents::new();
            let opening = || {
                found.clear();
                let each = |_, document: &[u8]| found.push(document.to_vec());
                let opened = match self.script.handle {
                    Handle::Syncs => options.open_with(self.disk.clone(), each),
                    Handle::Bare => options.open_bare_with(self.disk.clone(), each),
                };
                opened.map_err(|failed| failed.error)
            };
            let opened = catch_unwind(AssertUnwindSafe(opening));
            assert!(self.disk.view() == before, "{}: opening wrote", self.case);
            match opened {
                Ok(Ok(buffer)) => {
                    let found = among(&self.kill, &found);
                    let found = found.unwrap_or_else(|| panic!("{}: opened to fiction", self.case));
                    assert_eq!(buffer.len(), found.len() as u64);
                    self.kill = vec![found.clone()];
                    self.power.push(found.clone());
                    self.now = found;
                    self.poisoned = false;
                    return buffer;
                }
                failed => {
                    assert!(self.fired() > 0, "{}: {failed:?}", self.case);
                    if self.case.sticky {
                        self.disk.get().calm();
                    }
                    assert!(attempt < 2, "{}: still {failed:?}", self.case);
                }
            }
        }
        unreachable!()
    }

    fn legal(&mut self, sequence: Sequence) {
        for legal in [&mut self.power, &mut self.kill] {
            if !legal.contains(&sequence) {
                legal.push(sequence.clone());
            }
        }
    }

    /// What is left if all ends here.
    fn check_images(&mut self) {
        let view = documents(self.disk.view());
        assert!(
            among(&self.kill, &view).is_some(),
            "{}: the next process finds fiction",
            self.case
        );
        if self.script.handle == Handle::Bare {
            return;
        }
        let durable = documents(self.disk.durable());
        assert!(
            among(&self.power, &durable).is_some(),
            "{}: durable fiction",
            self.case
        );
        for _ in 0..2 {
            let plan = CrashPlan {
                // What a header cut short is taken for depends on the filler; files have no other.
                filler: documentbuffer::store::fault::Filler::Zero,
                ..CrashPlan::random(&mut self.rng)
            };
            let image = self.disk.get().crash(&mut self.rng, plan);
            let found = documents(image);
            assert!(
                among(&self.power, &found).is_some(),
                "{}: {plan:?} leaves fiction",
                self.case
            );
        }
    }

    fn check_counts(&self, buffer: &DocumentBuffer<Disk>) {
        let stats = buffer.stats();
        let payload: usize = bytes(&self.now).iter().map(Vec::len).sum();
        let counts = (buffer.len(), stats.documents, stats.bytes);
        let len = self.now.len() as u64;
        assert_eq!(counts, (len, len, payload as u64), "{}", self.case);
        assert!(buffer.cached() <= self.now.len(), "{}", self.case);
        assert!(stats.cached_bytes <= self.script.memory, "{}", self.case);
    }

    fn succeeded(&mut self, op: &Op) {
        let before = self.now.clone();
        for intended in intended(op, &before) {
            self.legal(intended);
        }
        self.now = expected(op, &before).1;
        let good = vec![self.now.clone()];
        match op {
            Op::Sync if self.script.handle == Handle::Syncs => {
                self.power.clone_from(&good);
                self.kill = good;
            }
            Op::Flush | Op::Sync => self.kill = good,
            _ => {}
        }
    }

    /// The call failed with an error.
    fn failed(&mut self, buffer: &mut DocumentBuffer<Disk>, op: &Op, error: &Error) {
        assert!(self.fired() > 0, "{}: {error}", self.case);
        for intended in intended(op, &self.now) {
            self.legal(intended);
        }
        self.check_counts(buffer);
        match error {
            Error::Io {
                action: Action::Sync,
                ..
            } => self.poisoned = true,
            Error::Poisoned { .. } => assert!(self.poisoned, "{}", self.case),
            _ => {}
        }
        if self.poisoned && FAULTS[self.case.class].1[self.case.kind] == Kind::SyncReverts {
            // The next process sees no more than a power cut leaves.
            self.kill.extend(self.power.clone());
        }
        self.check_images();
    }

    /// The call ended in a panic of the store.
    fn panicked(&mut self, buffer: &mut DocumentBuffer<Disk>, op: &Op) {
        for intended in intended(op, &self.now) {
            self.legal(intended);
        }
        let held: Documents = buffer.replay().collect::<Result<_, _>>().expect("reads");
        let same = held == bytes(&self.now);
        assert!(same, "{}: {op:?} left {} documents", self.case, held.len());
        self.check_counts(buffer);
        self.check_images();
    }

    /// Plays the script; says how many faults were injected.
    fn play(mut self) -> u64 {
        let mut buffer = self.open();
        let ops: Vec<Op> = self.script.ops.clone();
        for op in &ops {
            if *op == Op::Kill {
                drop(buffer);
                buffer = self.open();
                continue;
            }
            // A sticky fault may fail any number of calls, one that passes just one.
            for attempt in 0..2 {
                let (answer, _) = expected(op, &self.now);
                let handle = self.script.handle;
                let call = || perform(&mut buffer, op, handle);
                match catch_unwind(AssertUnwindSafe(call)) {
                    Ok(Ok(got)) => {
                        assert_eq!(got, answer, "{}: {op:?}", self.case);
                        self.succeeded(op);
                        self.check_counts(&buffer);
                        break;
                    }
                    Ok(Err(error)) => self.failed(&mut buffer, op, &error),
                    Err(_) if self.case.sticky => {
                        let fired = self.fired();
                        self.disk.get().calm();
                        self.panicked(&mut buffer, op);
                        return fired;
                    }
                    Err(_) => self.panicked(&mut buffer, op),
                }
                if self.case.sticky {
                    break;
                }
                if self.poisoned {
                    self.after_poison(&mut buffer);
                    drop(buffer);
                    buffer = self.open();
                    break;
                }
                assert_eq!(attempt, 0, "{}: {op:?} failed again", self.case);
            }
        }
        let fired = self.fired();
        self.disk.get().calm();
        if self.poisoned {
            self.after_poison(&mut buffer);
            drop(buffer);
            buffer = self.open();
        }
        self.finish(buffer);
        fired
    }

    /// A handle whose sync failed writes no more, and still reads.
    fn after_poison(&mut self, buffer: &mut DocumentBuffer<Disk>) {
        assert!(
            matches!(buffer.sync(), Err(Error::Poisoned { .. })),
            "{}",
            self.case
        );
        assert!(
            matches!(buffer.flush(), Err(Error::Poisoned { .. })),
            "{}",
            self.case
        );
        if FAULTS[self.case.class].1[self.case.kind] != Kind::SyncReverts {
            let held: Documents = buffer.replay().collect::<Result<_, _>>().expect("reads");
            assert!(held == bytes(&self.now), "{}", self.case);
        }
        self.check_counts(buffer);
        self.check_images();
    }

    /// Without faults everything is there, and can be made durable.
    fn finish(mut self, mut buffer: DocumentBuffer<Disk>) {
        let held: Documents = buffer.replay().collect::<Result<_, _>>().expect("reads");
        assert!(held == bytes(&self.now), "{}", self.case);
        let lost = matches!(
            FAULTS[self.case.class].1[self.case.kind],
            Kind::SyncLoses | Kind::SyncLosesSome
        );
        let kept = perform(&mut buffer, &Op::Sync, self.script.handle);
        kept.unwrap_or_else(|error| panic!("{}: {error}", self.case));
        // A sync after one that lost bytes says nothing about those: the medium is at fault, not the log.
        if !lost {
            self.succeeded(&Op::Sync);
            self.check_images();
        }
    }
}

/// All cases of one script; how many injections that were.
fn every_fault(seed: u64) -> u64 {
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
                    let run = catch_unwind(AssertUnwindSafe(|| Run::new(case, &script).play()));
                    let fired = run.unwrap_or_else(|panic| {
                        eprintln!("{case}");
                        std::panic::resume_unwind(panic)
                    });
                    if fired == 0 {
                        break;
                    }
                    injections += 1;
                }
            }
        }
    }
    injections
}

/// Panics of the store are expected here, and not worth a backtrace each.
fn quietly<T>(run: impl FnOnce() -> T) -> T {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let payload = info.payload();
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or(payload.downcast_ref::<&str>().copied());
        let injected = text.is_some_and(|text| text.starts_with("injected"));
        if !injected {
            before(info);
        }
    }));
    run()
}

#[test]
fn every_call_of_a_hundred_workloads_fails_in_every_way() {
    let injections: u64 = quietly(|| (0..100).map(every_fault).sum());
    println!("{injections} injections");
    assert!(injections > 50_000);
}

/// The full form: about a million injections.
#[test]
#[ignore = "takes minutes"]
fn every_call_of_hundreds_of_workloads_fails_in_every_way() {
    let mut injections = 0;
    let mut seed = 1000;
    quietly(|| {
        while injections < 1_000_000 || seed < 1200 {
            injections += every_fault(seed);
            seed += 1;
        }
    });
    println!("{injections} injections in {} workloads", seed - 1000);
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
    println!("{case}: {} faults", Run::new(case, &script).play());
}

/// A `push_all` that fails anywhere takes back all of it, over every memory.
#[test]
fn a_failed_push_all_leaves_no_document_behind() {
    for memory in [0, 100, 300, 1000, 1 << 20] {
        for before in 0..5 {
            for kind in [
                Kind::Fail(ErrorKind::Other),
                Kind::Full,
                Kind::After(ErrorKind::Other),
            ] {
                for at in 0.. {
                    let disk = Disk::empty();
                    let options = Options::new().memory(memory).seed(at);
                    let mut buffer = options.open(disk.clone()).expect("new");
                    let held: Documents = (0..before).map(|i| doc(i, 50)).collect();
                    buffer.push_all(&held).expect("push");
                    disk.get().calm();
                    disk.get().fault(Fault {
                        kind,
                        class: Class::Write,
                        at,
                        sticky: false,
                    });
                    let more: Documents = (10..30).map(|i| doc(i, 60)).collect();
                    let pushed = buffer.push_all(&more);
                    let fired = disk.get().fired() > 0;
                    assert_eq!(pushed.is_err(), fired);
                    disk.get().calm();
                    let mut now = held.clone();
                    if !fired {
                        now.extend(more.clone());
                    }
                    let kept: Documents = buffer.replay().collect::<Result<_, _>>().expect("reads");
                    assert!(kept == now, "memory {memory}, {before} before, call {at}");
                    buffer.sync().expect("sync");
                    assert!(documents(disk.durable()) == now);
                    if fired {
                        buffer.push_all(&more).expect("again");
                        buffer.sync().expect("sync");
                        assert!(documents(disk.durable()) == [held, more].concat());
                    } else {
                        break;
                    }
                }
            }
        }
    }
}

/// A document that cannot be had: the caller's iterator panics in the midst of a `push_all`.
#[test]
fn a_panic_of_the_callers_iterator_leaves_no_document_behind() {
    for memory in [0, 100, 1 << 20] {
        let disk = Disk::empty();
        let mut buffer = Options::new()
            .memory(memory)
            .seed(1)
            .open(disk.clone())
            .expect("new");
        buffer.push(doc(1, 50)).expect("push");
        let pushed = catch_unwind(AssertUnwindSafe(|| {
            let documents = (2..9).map(|i| {
                if i < 8 {
                    doc(i, 50)
                } else {
                    panic!("injected")
                }
            });
            buffer.push_all(documents)
        }));
        assert!(pushed.is_err());
        let kept: Documents = buffer.replay().collect::<Result<_, _>>().expect("reads");
        assert_eq!(kept, [doc(1, 50)], "memory {memory}");
        buffer.push(doc(9, 50)).expect("push");
        buffer.sync().expect("sync");
        assert_eq!(documents(disk.durable()), [doc(1, 50), doc(9, 50)]);
    }
}

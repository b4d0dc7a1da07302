//! Operations, failing calls, process deaths and power cuts against a plain vector: what is found after each
//! is a sequence that the buffer had, or was asked to have by a call that failed, and never older than
//! the last flush (process death) or sync (power cut).
//!
//! Run in `fuzz/`, on stable, with a C++ compiler:
//!
//! ```sh
//! mkdir -p corpus/ops artifacts
//! cargo run --release --bin ops -- -max_len=2048 -max_total_time=60 \
//!     -artifact_prefix=artifacts/ corpus/ops
//! cargo run --release --bin ops -- artifacts/crash-... # replays one input
//! ```
//!
//! (or `cargo fuzz run ops`). `FUZZ_TRACE=1` in the environment prints every step of a replay.

#![no_main]

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::rc::Rc;

use documentbuffer::store::fault::{
    Chunks, Class, CrashPlan, Fault, FaultStore, Filler, Kind, Rng,
};
use documentbuffer::{Accept, Action, DocumentBuffer, End, Error, Options, Scan, Store};
use documentbuffer_fuzz::{Input, reference};
use libfuzzer_sys::fuzz_target;

/// The disk, shared with the buffer on it.
#[derive(Clone)]
struct Disk(Rc<RefCell<FaultStore>>);

impl Read for Disk {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(buf)
    }
}

impl Write for Disk {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.borrow_mut().flush()
    }
}

impl Seek for Disk {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.borrow_mut().seek(to)
    }
}

impl Store for Disk {
    fn sync(&mut self) -> io::Result<()> {
        self.0.borrow_mut().sync()
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.0.borrow_mut().set_len(len)
    }

    fn lock(&mut self) -> io::Result<()> {
        self.0.borrow_mut().lock()
    }

    fn preserve(&mut self, from: u64) -> io::Result<Option<PathBuf>> {
        self.0.borrow_mut().preserve(from)
    }
}

type Document = Rc<[u8]>;
type Sequence = Vec<Document>;

fuzz_target!(|data: &[u8]| {
    let trace = std::env::var_os("FUZZ_TRACE").is_some();
    let mut input = Input::new(data);
    let mut world = World::new(&mut input, trace);
    for _ in 0..300 {
        if input.is_empty() {
            break;
        }
        world.step(&mut input);
    }
    world.reopen(End_::Close, &mut input);
});

/// How a life of the buffer ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End_ {
    Close,
    Finish,
    /// The process dies; what it wrote is there.
    Kill,
    /// Power fails; what was not synced is there in part.
    Cut,
}

struct World {
    disk: Disk,
    buffer: Option<DocumentBuffer<Disk>>,
    /// No syncs, and so no power cuts.
    bare: bool,
    options: Options,
    max: usize,
    rng: Rng,
    lives: u64,
    seed: u64,
    /// What the buffer holds.
    now: Sequence,
    /// What may be found, oldest first, since the last good sync (the first is that one's); sequences that
    /// failed calls asked for are among them.
    past: Vec<Sequence>,
    /// Index of the first of `past` that may be found after the death of the process.
    flushed: usize,
    poisoned: bool,
    /// Whether garbage may stand in the place of a header that was never durable.
    dirt: bool,
    /// Whether this life found a clean end.
    clean: bool,
    /// Whether a sync lost bytes that the view may still show.
    lost: bool,
    trace: bool,
}

impl World {
    fn new(input: &mut Input<'_>, trace: bool) -> World {
        let knobs = input.u8();
        let memory = [0, 40, 100, 300, 1000, 5000, 1 << 20, 16][usize::from(knobs & 7)];
        let documents = [usize::MAX, usize::MAX, 5, 1][usize::from(knobs >> 3 & 3)];
        let max = [1 << 20, 1 << 20, 60, 0][usize::from(knobs >> 5 & 3)];
        let seed = u64::from(input.u16());
        let disk = Disk(Rc::new(RefCell::new(FaultStore::new(seed))));
        let mut world = World {
            disk,
            buffer: None,
            bare: knobs >> 7 == 1,
            options: Options::new()
                .memory(memory)
                .memory_documents(documents)
                .max_document(max),
            max,
            rng: Rng::new(seed),
            lives: 0,
            seed,
            now: Vec::new(),
            past: vec![Vec::new()],
            flushed: 0,
            poisoned: false,
            dirt: false,
            clean: true,
            lost: false,
            trace,
        };
        world.buffer = Some(world.open().expect("an empty store"));
        world
    }

    fn say(&self, what: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{}", what());
        }
    }

    fn open(&mut self) -> Result<DocumentBuffer<Disk>, Error> {
        self.lives += 1;
        let seed = self.seed << 32 | self.lives;
        let options = self.options.clone().seed(seed);
        let disk = self.disk.clone();
        let mut handed = Vec::new();
        let each = |position: u64, document: &[u8]| {
            assert_eq!(position, handed.len() as u64);
            handed.push(Document::from(document));
        };
        let opened = if self.bare {
            options.open_bare_with(disk, each)
        } else {
            options.open_with(disk, each)
        };
        let buffer = opened?;
        assert_eq!(buffer.len(), handed.len() as u64);
        self.now = handed;
        Ok(buffer)
    }

    fn buffer(&mut self) -> &mut DocumentBuffer<Disk> {
        self.buffer.as_mut().expect("between two lives")
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let op = input.u8();
        let fired = self.disk.0.borrow().fired();
        let before = self.now.len();
        let failed = match op % 32 {
            0..=7 => self.push(input),
            8..=12 => self.pop(op),
            13 => self.push_all(input),
            14 => self.remove(input),
            15 => self.truncate(input),
            16 => self.read_all(op),
            17..=19 => self.flush(),
            20..=22 => self.sync(),
            23..=25 => return self.fault(input),
            26 => return self.calm(op),
            27 => return self.reopen(End_::Close, input),
            28 => return self.reopen(End_::Finish, input),
            29 => return self.reopen(End_::Kill, input),
            _ => return self.reopen(End_::Cut, input),
        };
        self.say(|| format!("op {} {before} -> {} {failed:?}", op % 32, self.now.len()));
        if let Some(error) = failed {
            let met = self.disk.0.borrow().fired() > fired || self.poisoned;
            let own = matches!(error, Error::TooLarge { .. } | Error::NoSync);
            assert!(met || own, "{error:?} though nothing failed");
            self.note_error(&error);
        }
        let len = self.buffer().len();
        assert_eq!(len, self.now.len() as u64);
    }

    fn note_error(&mut self, error: &Error) {
        match error {
            Error::Io {
                action: Action::Sync,
                ..
            } => self.poisoned = true,
            Error::IgnoresSeek { .. } => self.poisoned = true,
            Error::Poisoned { .. } => assert!(self.poisoned),
            _ => {}
        }
    }

    /// The sequence is this now.
    fn moved(&mut self) {
        self.past.push(self.now.clone());
    }

    fn document(&mut self, input: &mut Input<'_>) -> Document {
        let how = input.u8();
        let len = match how {
            // Few lengths and few contents: what lines up with leftovers is what breaks formats.
            0..=127 => {
                return vec![b'a' + (how & 1); [1, 1, 8, 24][usize::from(how >> 1 & 3)]].into();
            }
            128..=199 => usize::from(how) % 24,
            200..=249 => usize::from(how - 199) * 5,
            _ => usize::from(how - 249) * 700,
        };
        match input.u8() {
            byte @ (0x00..=0x0F | 0xFF) => vec![byte; len].into(),
            _ => {
                let mut document = vec![0; len];
                self.rng.fill(&mut document);
                document.into()
            }
        }
    }

    fn push(&mut self, input: &mut Input<'_>) -> Option<Error> {
        let document = self.document(input);
        let position = self.now.len() as u64;
        let pushed = self.buffer().push_at(position, &document);
        if document.len() <= self.max {
            self.now.push(document);
            self.moved();
        }
        match pushed {
            Ok(at) => {
                assert_eq!((at, self.now.len() as u64), (position, position + 1));
                None
            }
            Err(error) => {
                self.now.truncate(position as usize);
                self.moved();
                Some(error)
            }
        }
    }

    fn push_all(&mut self, input: &mut Input<'_>) -> Option<Error> {
        let count = input.below(8);
        let documents: Vec<_> = (0..count).map(|_| self.document(input)).collect();
        let before = self.now.len();
        let pushed = self.buffer().push_all(&documents);
        for document in documents {
            if document.len() > self.max {
                assert!(pushed.is_err());
                break;
            }
            self.now.push(document);
            self.moved();
        }
        match pushed {
            Ok(n) => {
                assert_eq!(n, (self.now.len() - before) as u64);
                None
            }
            Err(error) => {
                self.now.truncate(before);
                self.moved();
                Some(error)
            }
        }
    }

    fn pop(&mut self, how: u8) -> Option<Error> {
        let newest = self.now.last().cloned();
        let got = if how & 0x80 == 0 {
            self.buffer().pop().map(|got| got.map(Document::from))
        } else {
            let mut out = vec![1];
            let popped = self.buffer().pop_into(&mut out);
            assert!(out.is_empty() || matches!(popped, Ok(true)));
            popped.map(|popped| popped.then(|| Document::from(out)))
        };
        match got {
            Ok(got) => {
                assert_eq!(got, newest);
                if self.now.pop().is_some() {
                    self.moved();
                }
                None
            }
            Err(error) => Some(error),
        }
    }

    fn remove(&mut self, input: &mut Input<'_>) -> Option<Error> {
        let n = input.below(8);
        let keep = self.now.len().saturating_sub(n);
        match self.buffer().remove(n) {
            Ok(got) => {
                assert!(got.iter().map(|d| &d[..]).eq(self.newest(n)));
                self.take_back(keep);
                None
            }
            Err(error) => Some(error),
        }
    }

    /// To a power cut each document that goes is an operation of its own: writing over many that are gone
    /// may have got to the newer ones only.
    fn take_back(&mut self, keep: usize) {
        while self.now.len() > keep {
            self.now.pop();
            self.moved();
        }
    }

    fn newest(&self, n: usize) -> impl Iterator<Item = &[u8]> {
        self.now.iter().rev().take(n).map(|document| &document[..])
    }

    fn truncate(&mut self, input: &mut Input<'_>) -> Option<Error> {
        let keep = input.below(self.now.len() + 2);
        match self.buffer().truncate_after(keep as u64) {
            Ok(gone) => {
                assert_eq!(gone as usize, self.now.len().saturating_sub(keep));
                self.take_back(keep);
                None
            }
            Err(error) => Some(error),
        }
    }

    fn read_all(&mut self, how: u8) -> Option<Error> {
        let newest = self.now.last().cloned();
        match self.buffer().peek() {
            Ok(got) => assert_eq!(got, newest.as_deref()),
            Err(error) => return Some(error),
        }
        let mut now = self.now.clone();
        let buffer = self.buffer();
        let got: Result<Vec<_>, _> = if how & 0x80 == 0 {
            now.reverse();
            buffer.iter().collect()
        } else {
            buffer.replay().collect()
        };
        match got {
            Ok(got) => {
                assert!(got.iter().map(|d| &d[..]).eq(now.iter().map(|d| &d[..])));
                None
            }
            Err(error) => Some(error),
        }
    }

    fn flush(&mut self) -> Option<Error> {
        let flushed = self.buffer().flush();
        if flushed.is_ok() {
            assert_eq!(self.buffer().cached(), 0);
            self.note_flush();
        }
        flushed.err()
    }

    fn note_flush(&mut self) {
        self.moved();
        self.flushed = self.past.len() - 1;
    }

    fn sync(&mut self) -> Option<Error> {
        let synced = self.buffer().sync();
        match synced {
            Ok(()) => {
                assert!(!self.bare);
                self.note_sync();
                None
            }
            Err(error) => {
                assert_eq!(matches!(error, Error::NoSync), self.bare);
                Some(error)
            }
        }
    }

    fn note_sync(&mut self) {
        self.past = vec![self.now.clone()];
        self.flushed = 0;
    }

    /// A line for the fault script: at one of the next calls.
    fn fault(&mut self, input: &mut Input<'_>) {
        let kinds = [
            Kind::Fail(ErrorKind::Other),
            Kind::After(ErrorKind::Other),
            Kind::Fail(ErrorKind::TimedOut),
            Kind::Full,
            Kind::Interrupted(3),
            Kind::Zero,
            Kind::One,
            Kind::Half,
            Kind::AllButOne,
            Kind::SyncDirty,
            Kind::SyncReverts,
            Kind::SyncLoses,
            Kind::SyncLosesSome,
            Kind::Fail(ErrorKind::WouldBlock),
        ];
        let classes = [
            Class::Any,
            Class::Read,
            Class::Write,
            Class::Seek,
            Class::Flush,
            Class::Sync,
            Class::SetLen,
            Class::Preserve,
        ];
        let kind = kinds[input.below(kinds.len())];
        let how = input.u8();
        let class = classes[usize::from(how & 7)];
        let mut disk = self.disk.0.borrow_mut();
        let fault = Fault {
            kind,
            class,
            at: disk.calls().of(class) + u64::from(how >> 4),
            // Interrupted for ever is a hang that the crate ends after a million calls.
            sticky: how & 8 != 0 && !matches!(kind, Kind::Interrupted(_)),
        };
        disk.fault(fault);
        drop(disk);
        self.lost |= matches!(
            kind,
            Kind::SyncReverts | Kind::SyncLoses | Kind::SyncLosesSome
        );
        self.say(|| format!("{fault:?}"));
    }

    fn calm(&mut self, how: u8) {
        self.say(|| "calm".into());
        let mut disk = self.disk.0.borrow_mut();
        disk.calm();
        disk.set_chunks(if how & 0x80 == 0 {
            Chunks::Whole
        } else {
            Chunks::Random
        });
    }

    /// This life ends, and the next one begins.
    fn reopen(&mut self, end: End_, input: &mut Input<'_>) {
        let buffer = self.buffer.take().expect("between two lives");
        let end = match end {
            End_::Cut if self.bare => End_::Kill,
            // A sync that failed and lost bytes: only what is on the medium counts.
            End_::Kill if self.lost && self.poisoned => End_::Cut,
            end => end,
        };
        self.say(|| format!("reopen {end:?}, bare {}", self.bare));
        let fired = self.disk.0.borrow().fired();
        match end {
            End_::Close => match buffer.close() {
                Ok((end, _)) => {
                    self.note_flush();
                    // What a failed creation left is no end.
                    self.clean &= end > 0 || self.disk.0.borrow().view().is_empty();
                    self.leave(end, input);
                }
                Err(failed) => return self.stay(failed.error, failed.buffer, fired),
            },
            End_::Finish => match buffer.finish() {
                Ok((end, disk)) => {
                    self.note_sync();
                    let len = disk.0.borrow().view().len() as u64;
                    // What was there before this buffer wrote is not cut.
                    assert!(len == end || end == 0);
                    self.clean &= end == len;
                }
                Err(failed) => {
                    // The sync may have been good and the cut not.
                    return self.stay(failed.error, failed.buffer, fired);
                }
            },
            End_::Kill => drop(buffer),
            End_::Cut => {
                drop(buffer);
                self.cut();
            }
        }
        self.disk.0.borrow_mut().calm();
        (self.poisoned, self.lost) = (false, false);
        self.look(end);
    }

    fn stay(&mut self, error: Error, buffer: DocumentBuffer<Disk>, fired: u64) {
        self.say(|| format!("stays: {error}"));
        let met = self.disk.0.borrow().fired() > fired || self.poisoned;
        assert!(met || matches!(error, Error::NoSync), "{error:?}");
        self.note_error(&error);
        self.buffer = Some(buffer);
        let len = self.buffer().len();
        assert_eq!(len, self.now.len() as u64);
    }

    /// What is behind the end that `close` gave does not matter.
    fn leave(&mut self, end: u64, input: &mut Input<'_>) {
        let mut disk = self.disk.0.borrow_mut();
        disk.calm();
        let len = disk.view().len() as u64;
        assert!(end <= len);
        match input.u8() % 4 {
            0 => {
                Store::set_len(&mut *disk, end).expect("calm");
                // A cut through a header that was never durable: what is lost of it reads as anything.
                self.dirt |= end == 0;
            }
            1 if end > 0 => {
                let mut waste = vec![0; (len - end) as usize + 50];
                self.rng.fill(&mut waste);
                // No record ends in a byte like these, so that none that was cut short is completed.
                waste.iter_mut().for_each(|byte| *byte |= 0x80);
                disk.seek(SeekFrom::Start(end)).expect("calm");
                disk.write_all(&waste).expect("calm");
            }
            _ => {}
        }
    }

    fn cut(&mut self) {
        let plan = CrashPlan::random(&mut self.rng);
        let mut image = self.disk.0.borrow().crash(&mut self.rng, plan);
        let born = reference::salt(self.disk.0.borrow().durable()).is_some();
        self.say(|| format!("{plan:?}, durable before: {born}"));
        self.dirt = !born && (self.dirt || plan.filler == Filler::Random);
        if self.dirt && Scan::new(io::Cursor::new(&image)).is_err() {
            // Garbage in the place of a header that was never durable is foreign content, and told so.
            image.clear();
        }
        let seed = self.rng.next_u64();
        *self.disk.0.borrow_mut() = FaultStore::with_contents(seed, image);
        self.flushed = 0;
    }

    fn look(&mut self, end: End_) {
        let before = self.now.clone();
        let view = self.disk.0.borrow().view().to_vec();
        let under_faults = self.open_under_faults();
        let mut buffer = self
            .open()
            .unwrap_or_else(|error| panic!("after {end:?}: {error}"));
        assert!(self.disk.0.borrow().view() == view, "opening wrote");
        let found = self.now.clone();
        if let Some(count) = under_faults {
            assert_eq!(count, found.len() as u64, "opened under faults");
        }
        match end {
            End_::Close | End_::Finish => {
                assert_eq!(found, before, "{end:?}");
                // Where nothing changed, nothing was written.
                if self.clean {
                    assert_eq!(buffer.recovery().end, End::Clean, "{end:?}");
                }
            }
            End_::Kill | End_::Cut => {
                let known = self.past[self.flushed..].contains(&found);
                if !known {
                    eprintln!("found {found:?}\nof {:?}", &self.past[self.flushed..]);
                    panic!("never held, or older than the last flush or sync");
                }
            }
        }
        if end == End_::Cut {
            // What stands on the medium now is durable.
            self.past = vec![found];
        } else {
            self.past.push(found);
        }
        self.flushed = self.past.len() - 1;
        self.beside(&view);
        self.clean = buffer.recovery().end == End::Clean;
        if let End::Suspect { .. } = buffer.recovery().end {
            let disk = self.disk.clone();
            let refused = self.options.clone().accept(Accept::NoSuspect).open(disk);
            assert!(matches!(
                refused.map(|_| ()).map_err(Error::from),
                Err(Error::Suspect { .. })
            ));
        }
        assert_eq!(
            buffer.peek().expect("calm"),
            self.now.last().map(|document| &document[..])
        );
        self.buffer = Some(buffer);
    }

    /// How many documents an opening finds whose calls fail; `None` where it fails too.
    fn open_under_faults(&mut self) -> Option<u64> {
        let kinds = [
            Kind::Fail(ErrorKind::Other),
            Kind::After(ErrorKind::Other),
            Kind::Zero,
            Kind::One,
            Kind::Half,
            Kind::Interrupted(2),
        ];
        let kind = kinds[self.rng.below(kinds.len() as u64) as usize];
        let fault = Fault {
            kind,
            class: [Class::Read, Class::Seek][self.rng.below(2) as usize],
            at: self.rng.below(6),
            sticky: !matches!(kind, Kind::Interrupted(_)) && self.rng.below(2) == 0,
        };
        self.disk.0.borrow_mut().fault(fault);
        let opened = self.options.open(self.disk.clone());
        let fired = self.disk.0.borrow().fired();
        self.disk.0.borrow_mut().calm();
        self.say(|| format!("{fault:?}: {opened:?}"));
        match opened {
            Ok(buffer) => Some(buffer.len()),
            Err(failed) => {
                assert!(fired > 0, "{failed}");
                None
            }
        }
    }

    /// A reader beside the writer sees the same.
    fn beside(&self, view: &[u8]) {
        let mut scan = Scan::new(io::Cursor::new(view)).expect("a log");
        for document in &self.now {
            let next = scan.next().expect("intact").expect("one more");
            assert_eq!(next.bytes, &document[..]);
        }
        assert!(scan.next().expect("the end").is_none());
    }
}

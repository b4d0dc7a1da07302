//! What the tests of the journal for tasks share: a directory whose syncs hang until the test lets them go
//! on, runtimes of both kinds, wakers that count. Each uses a part of it.
#![allow(dead_code)]

use std::future::Future;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use documentbuffer::Store;
use documentbuffer::journal::asynchronous::AsyncJournal;
use documentbuffer::journal::{Durability, Options, Reader};
use documentbuffer::store::fault::FaultDirectory;
use documentbuffer::store::{Directory, Held, Readable};
use tokio::runtime::{Builder, Runtime};

/// Something hangs that must not.
const LONG: Duration = Duration::from_secs(60);

pub(crate) const ALL: [Durability; 3] =
    [Durability::Memory, Durability::Written, Durability::Synced];

pub(crate) fn options() -> Options {
    Options::new().seed(1)
}

pub(crate) fn open(options: &Options, dir: &FaultDirectory) -> AsyncJournal {
    let dir: Arc<dyn Directory> = Arc::new(dir.clone());
    AsyncJournal::from(options.open_in(dir).unwrap())
}

/// In a directory whose syncs hang while the gate is shut.
pub(crate) fn gated(options: &Options, dir: &FaultDirectory) -> (AsyncJournal, Gate) {
    let (dir, gate) = Gated::around(dir);
    (AsyncJournal::from(options.open_in(dir).unwrap()), gate)
}

/// What the directory holds, oldest first.
pub(crate) fn held(dir: &FaultDirectory) -> Vec<String> {
    let reader = Reader::open_in(Arc::new(dir.clone())).unwrap();
    let mut held = Vec::new();
    for (at, next) in reader.replay(0).unwrap().enumerate() {
        let (position, bytes) = next.unwrap();
        assert_eq!(position, at as u64);
        held.push(String::from_utf8(bytes).unwrap());
    }
    held
}

/// A multi-thread and a current-thread runtime.
pub(crate) fn runtimes() -> [Runtime; 2] {
    let many = Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build();
    [many.unwrap(), one_thread()]
}

pub(crate) fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

/// It must come, however slow the machine is.
pub(crate) async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    let done = tokio::time::timeout(LONG, future).await;
    done.unwrap_or_else(|_| panic!("{what}: still not after {LONG:?}"))
}

/// Gives way until it is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < LONG, "{what}: still not after {LONG:?}");
        std::thread::yield_now();
    }
}

/// Until it is so, as a task among others.
pub(crate) async fn until_among_others(what: &str, mut is_so: impl FnMut() -> bool) {
    soon(what, async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[derive(Default)]
struct Doors {
    shut: bool,
    /// Syncs that may pass although it is shut.
    passes: usize,
    waiting: usize,
}

/// Where syncs of segments hang while it is shut.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<Doors>, Condvar)>);

impl Gate {
    fn change(&self, change: impl FnOnce(&mut Doors)) {
        change(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
    }

    pub(crate) fn shut(&self) {
        self.change(|doors| (doors.shut, doors.passes) = (true, 0));
    }

    pub(crate) fn open(&self) {
        self.change(|doors| doors.shut = false);
    }

    /// Lets one sync more pass.
    pub(crate) fn pass(&self) {
        self.change(|doors| doors.passes += 1);
    }

    /// Whether a sync hangs here.
    pub(crate) fn holds_one(&self) -> bool {
        let doors = self.0.0.lock().unwrap();
        doors.waiting > 0 && doors.passes == 0 && doors.shut
    }

    fn enter(&self) -> io::Result<()> {
        let (doors, changed) = &*self.0;
        let mut doors = doors.lock().unwrap();
        doors.waiting += 1;
        while doors.shut && doors.passes == 0 {
            let (after, timeout) = changed.wait_timeout(doors, LONG).unwrap();
            doors = after;
            if timeout.timed_out() {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        doors.passes = doors.passes.saturating_sub(1);
        doors.waiting -= 1;
        Ok(())
    }
}

/// A directory behind a gate.
pub(crate) struct Gated {
    dir: FaultDirectory,
    gate: Gate,
}

impl Gated {
    /// The directory as a journal takes it, and its gate, which is open.
    pub(crate) fn around(dir: &FaultDirectory) -> (Arc<dyn Directory>, Gate) {
        let (dir, gate) = (dir.clone(), Gate::default());
        let gated = Gated {
            dir,
            gate: gate.clone(),
        };
        (Arc::new(gated), gate)
    }

    fn store(&self, store: Box<dyn Store + Send>) -> Box<dyn Store + Send> {
        let gate = self.gate.clone();
        Box::new(GatedStore { store, gate })
    }
}

impl Directory for Gated {
    fn list(&self) -> io::Result<Vec<String>> {
        self.dir.list()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Store + Send>> {
        self.dir.create(name).map(|store| self.store(store))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Store + Send>> {
        self.dir.open(name).map(|store| self.store(store))
    }

    fn read(&self, name: &str) -> io::Result<Box<dyn Readable>> {
        self.dir.read(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.dir.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.dir.remove(name)
    }

    fn sync(&self) -> io::Result<()> {
        self.dir.sync()
    }

    fn lock(&self) -> io::Result<Box<dyn Held>> {
        self.dir.lock()
    }
}

struct GatedStore {
    store: Box<dyn Store + Send>,
    gate: Gate,
}

impl Read for GatedStore {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.store.read(buf)
    }
}

impl Write for GatedStore {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.store.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.store.flush()
    }
}

impl Seek for GatedStore {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.store.seek(to)
    }
}

impl Store for GatedStore {
    fn sync(&mut self) -> io::Result<()> {
        self.gate.enter()?;
        self.store.sync()
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.store.set_len(len)
    }

    fn lock(&mut self) -> io::Result<()> {
        self.store.lock()
    }

    fn preserve(&mut self, from: u64) -> io::Result<Option<PathBuf>> {
        self.store.preserve(from)
    }

    fn name(&self) -> Option<&Path> {
        self.store.name()
    }
}

/// Counts how often it is woken, and may hold whatever a task holds.
pub(crate) struct Count<T = ()> {
    woken: AtomicUsize,
    pub(crate) held: Mutex<Option<T>>,
}

impl<T> Default for Count<T> {
    fn default() -> Count<T> {
        Count {
            woken: AtomicUsize::new(0),
            held: Mutex::new(None),
        }
    }
}

impl<T: Send + 'static> Count<T> {
    pub(crate) fn new(held: T) -> Arc<Count<T>> {
        let count = Count::default();
        *count.held.lock().unwrap() = Some(held);
        Arc::new(count)
    }

    pub(crate) fn woken(&self) -> usize {
        self.woken.load(Ordering::SeqCst)
    }
}

impl<T: Send + 'static> Wake for Count<T> {
    /// What it holds goes first.
    fn wake(self: Arc<Self>) {
        drop(self.held.lock().unwrap().take());
        self.woken.fetch_add(1, Ordering::SeqCst);
    }
}

/// One poll.
pub(crate) fn poll<F: Future + ?Sized>(future: Pin<&mut F>, waker: &Waker) -> Option<F::Output> {
    match future.poll(&mut Context::from_waker(waker)) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

//! A journal in memory under shuttle's scheduler: what writers and tasks were told, and what must be held.

use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use documentbuffer::clock::Clock;
use documentbuffer::journal::asynchronous::AsyncJournal;
use documentbuffer::journal::{Durability, Error, Journal, Options, Reader};
use documentbuffer::store::fault::{self, Class, CrashPlan, Fault, FaultDirectory, Filler, Kind};
use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};
use shuttle::{Config, Runner, thread};

pub(crate) const ALL: [Durability; 3] =
    [Durability::Memory, Durability::Written, Durability::Synced];

/// Schedules of each of the two schedulers.
const SHORT: usize = 2_000;
const LONG: usize = 50_000;

/// Runs the model under both schedulers; the same schedules each time.
pub(crate) fn explore(name: &str, model: fn()) {
    explore_from(name, model, SHORT, 1);
}

/// Further schedules each time.
pub(crate) fn explore_long(name: &str, model: fn()) {
    let seed = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    explore_from(name, model, LONG, seed);
}

fn explore_from(name: &str, model: fn(), most: usize, seed: u64) {
    if let Ok(schedule) = std::env::var("SHUTTLE_SCHEDULE") {
        run(ReplayScheduler::new_from_encoded(&schedule), model);
        return;
    }
    let asked = std::env::var("SHUTTLE_ITERATIONS").ok();
    let most = asked.map_or(most, |asked| asked.parse().unwrap());
    eprintln!(
        "{name}: twice {most} schedules from seed {seed}; one that fails is printed as a string: \
         SHUTTLE_SCHEDULE=<that string> runs it alone, with --exact {name} behind the command"
    );
    run(RandomScheduler::new_from_seed(seed, most), model);
    run(PctScheduler::new_from_seed(seed, 3, most), model);
}

fn run(scheduler: impl Scheduler + 'static, model: fn()) {
    let mut config = Config::new();
    config.stack_size = 1 << 18;
    Runner::new(scheduler, config).run(model);
}

/// Time goes on whenever somebody looks.
#[derive(Debug, Default)]
struct Ticks(AtomicU64);

impl Clock for Ticks {
    fn wall_micros(&self) -> u64 {
        0
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(20 * self.0.fetch_add(1, Ordering::Relaxed))
    }
}

pub(crate) struct World {
    pub(crate) dir: FaultDirectory,
    pub(crate) journal: Journal,
    /// Whether there is always room in the queue.
    pub(crate) roomy: bool,
}

impl World {
    pub(crate) fn new() -> World {
        let dir = FaultDirectory::new(1);
        let roomy = thread_rng().gen_bool(0.5);
        let options = Options::new()
            .seed(1)
            .clock(Arc::new(Ticks::default()))
            .segment(1500)
            .queue(if roomy { 8 << 10 } else { 1 << 10 });
        let journal = options.open_in(Arc::new(dir.clone())).unwrap();
        World {
            dir,
            journal,
            roomy,
        }
    }

    pub(crate) fn tasks(&self) -> AsyncJournal {
        AsyncJournal::from(self.journal.clone())
    }

    /// The call of that class that comes after so many others goes wrong, once.
    pub(crate) fn fail(&self, class: Class, behind: u64, kind: Kind) {
        let at = self.dir.calls().of(class) + behind;
        let sticky = false;
        self.dir.fault(Fault {
            kind,
            class,
            at,
            sticky,
        });
    }

    pub(crate) fn close(self) -> FaultDirectory {
        self.journal.close().unwrap();
        self.dir
    }
}

/// What a call to append was told; `None` where its future was dropped.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) thread: usize,
    pub(crate) text: String,
    pub(crate) durability: Durability,
    pub(crate) outcome: Option<Result<u64, Error>>,
}

impl Said {
    /// Not yet.
    fn new(thread: usize, n: usize, len: usize, durability: Durability) -> Said {
        Said {
            thread,
            text: format!("{thread}.{n} {}", "x".repeat(len)),
            durability,
            outcome: None,
        }
    }

    pub(crate) fn append(
        journal: &Journal,
        thread: usize,
        n: usize,
        len: usize,
        durability: Durability,
    ) -> Said {
        let mut said = Said::new(thread, n, len, durability);
        said.outcome = Some(journal.append_with(&said.text, durability));
        said
    }

    pub(crate) fn is_ok(&self) -> bool {
        matches!(self.outcome, Some(Ok(_)))
    }

    pub(crate) fn position(&self) -> u64 {
        *self.outcome.as_ref().unwrap().as_ref().unwrap()
    }
}

/// Small ones, and some of which the queue takes two.
fn some_len() -> usize {
    if thread_rng().gen_bool(0.5) { 5 } else { 400 }
}

/// A thread that appends so many documents, with all durabilities in turn.
pub(crate) fn appender(
    world: &World,
    thread: usize,
    count: usize,
) -> thread::JoinHandle<Vec<Said>> {
    let journal = world.journal.clone();
    thread::spawn(move || {
        let one = |n| Said::append(&journal, thread, n, some_len(), ALL[(thread + n) % 3]);
        (0..count).map(one).collect()
    })
}

pub(crate) fn join_all(threads: Vec<thread::JoinHandle<Vec<Said>>>) -> Vec<Said> {
    let said = threads.into_iter().map(|thread| thread.join().unwrap());
    said.flatten().collect()
}

/// A task that appends; some of its futures it polls once, and drops.
pub(crate) fn task(
    world: &World,
    thread: usize,
    count: usize,
) -> shuttle::future::JoinHandle<Vec<Said>> {
    let journal = world.tasks();
    shuttle::future::spawn(async move {
        let mut all = Vec::new();
        for n in 0..count {
            let mut said = Said::new(thread, n, some_len(), ALL[(thread + n) % 3]);
            let append = pin!(journal.append_with(said.text.clone(), said.durability));
            said.outcome = match thread_rng().gen_bool(0.3) {
                true => polled_once(append).await,
                false => Some(append.await),
            };
            all.push(said);
        }
        all
    })
}

async fn polled_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// What a directory holds, oldest first.
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

/// What it holds after a power cut now that loses all it may.
pub(crate) fn durable(dir: &FaultDirectory) -> Vec<String> {
    let plan = CrashPlan {
        sector: 1,
        filler: Filler::Zero,
        mode: fault::Mode::Lost,
    };
    let image = dir.crash(&mut fault::Rng::new(1), plan);
    held(&FaultDirectory::from_image(1, image))
}

/// What each thread was told stands in its order.
pub(crate) fn check_order(said: &[Said]) {
    let threads: BTreeSet<usize> = said.iter().map(|said| said.thread).collect();
    for thread in threads {
        let own = said
            .iter()
            .filter(|said| said.thread == thread && said.is_ok());
        let positions: Vec<u64> = own.map(Said::position).collect();
        assert!(positions.windows(2).all(|w| w[0] < w[1]), "{positions:?}");
    }
}

/// Held is what was Ok, in its place; nothing that failed; what was dropped at most once; and the others.
pub(crate) fn check_held(held: &[String], said: &[Said], others: &[&str]) {
    let distinct: BTreeSet<&str> = held.iter().map(String::as_str).collect();
    assert_eq!(distinct.len(), held.len(), "repeated: {held:?}");
    let mut known: BTreeSet<&str> = others.iter().copied().collect();
    for said in said {
        match &said.outcome {
            Some(Ok(position)) => assert_eq!(held.get(*position as usize), Some(&said.text)),
            Some(Err(_)) => assert!(!distinct.contains(&*said.text), "{said:?}"),
            None => {}
        }
        known.insert(&said.text);
    }
    assert!(distinct.is_subset(&known), "{held:?}");
    assert!(others.iter().all(|other| distinct.contains(other)));
}

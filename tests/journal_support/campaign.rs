//! Runs cases from seeds until enough images were judged, says how to replay what fails, and lets nobody wait
//! for ever.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use documentbuffer::store::fault::Rng;

use super::model::Outcome;

/// The longest that a case may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a case judged.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Judged {
    pub(crate) lives: u64,
    pub(crate) images: u64,
}

/// A test's name and how it is run again.
#[derive(Clone, Copy)]
pub(crate) struct Campaign<'a> {
    pub(crate) program: &'a str,
    pub(crate) test: &'a str,
    /// Images to judge.
    pub(crate) images: u64,
}

/// Ends the process if a case takes too long: a deadlock would say nothing.
#[derive(Default)]
pub(crate) struct Watchdog {
    /// What each thread is at, and since when.
    cases: Mutex<Vec<Option<(String, Instant)>>>,
    over: Mutex<bool>,
    told: Condvar,
}

/// The watch ends with it.
struct Over<'a>(&'a Watchdog);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        *self.0.over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.told.notify_all();
    }
}

impl Watchdog {
    /// The thread of that number begins a case.
    pub(crate) fn at(&self, thread: usize, case: String) {
        let mut cases = self.cases.lock().unwrap_or_else(PoisonError::into_inner);
        if cases.len() <= thread {
            cases.resize(thread + 1, None);
        }
        cases[thread] = Some((case, Instant::now()));
    }

    /// The thread of that number has ended.
    pub(crate) fn rest(&self, thread: usize) {
        let mut cases = self.cases.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(case) = cases.get_mut(thread) {
            *case = None;
        }
    }

    /// Watches over what `run` does; it says at what it is.
    pub(crate) fn over<T>(run: impl FnOnce(&Watchdog) -> T) -> T {
        let watchdog = Watchdog::default();
        std::thread::scope(|scope| {
            scope.spawn(|| watchdog.watch());
            let _over = Over(&watchdog);
            run(&watchdog)
        })
    }

    fn watch(&self) {
        let mut over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        while !*over {
            let waited = self.told.wait_timeout(over, Duration::from_secs(1));
            over = waited.unwrap_or_else(PoisonError::into_inner).0;
            let cases = self.cases.lock().unwrap_or_else(PoisonError::into_inner);
            for (case, since) in cases.iter().flatten() {
                if since.elapsed() > PATIENCE {
                    eprintln!("it hangs; {case}");
                    std::process::abort();
                }
            }
        }
    }
}

/// Watches over one test, as long as it lives.
pub(crate) struct Watch {
    watchdog: Arc<Watchdog>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Watch {
    pub(crate) fn new(test: &str) -> Watch {
        let watchdog = Arc::new(Watchdog::default());
        watchdog.at(0, test.to_owned());
        let watching = watchdog.clone();
        let thread = Some(std::thread::spawn(move || watching.watch()));
        Watch { watchdog, thread }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(Over(&self.watchdog));
        let ended = self.thread.take().map(|thread| thread.join());
        assert!(ended.is_none_or(|ended| ended.is_ok()), "the watch panics");
    }
}

/// Whether a panic is one that a fault asked for.
fn is_injected(info: &std::panic::PanicHookInfo<'_>) -> bool {
    let payload = info.payload();
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or(payload.downcast_ref::<&str>().copied());
    text.is_some_and(|text| text.starts_with("injected"))
}

/// Panics of the store are expected here, and not worth a backtrace each.
pub(crate) fn quietly<T>(run: impl FnOnce() -> T) -> T {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !is_injected(info) {
                before(info);
            }
        }));
    });
    run()
}

impl Campaign<'_> {
    fn again(&self, seed: u64) -> String {
        let Campaign { program, test, .. } = self;
        format!(
            "replay: DOCUMENTBUFFER_SEED={seed} cargo test --release --features journal,testing \
             --test {program} -- --nocapture --include-ignored --exact {test}"
        )
    }

    /// Runs cases on two threads; `case` gets a seed, and whether to say what it does.
    pub(crate) fn run(&self, case: impl Fn(u64, bool) -> (Judged, Outcome<()>) + Sync) {
        if let Some(seed) = number("DOCUMENTBUFFER_SEED") {
            let (judged, outcome) = Watchdog::over(|watchdog| {
                watchdog.at(0, self.again(seed));
                case(seed, true)
            });
            println!("seed {seed}: {judged:?}");
            outcome.unwrap_or_else(|violation| panic!("{violation}"));
            return;
        }
        let images = number("DOCUMENTBUFFER_IMAGES").unwrap_or(self.images);
        let base = number("DOCUMENTBUFFER_BASE").unwrap_or_else(random);
        println!("{}: DOCUMENTBUFFER_BASE={base}", self.test);
        let begun = Instant::now();
        let [cases, lives, judged] = [const { AtomicU64::new(0) }; 3];
        let failed = AtomicBool::new(false);
        let work = |watchdog: &Watchdog, thread: usize| {
            let mut seeds = Rng::new(base ^ ((thread as u64) << 63));
            while judged.load(Ordering::Relaxed) < images && !failed.load(Ordering::Relaxed) {
                let seed = seeds.next_u64();
                watchdog.at(thread, self.again(seed));
                let run = || case(seed, false);
                let outcome = match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
                    Ok((done, outcome)) => {
                        lives.fetch_add(done.lives, Ordering::Relaxed);
                        judged.fetch_add(done.images, Ordering::Relaxed);
                        outcome
                    }
                    Err(_) => Err("a panic, see above".to_owned()),
                };
                cases.fetch_add(1, Ordering::Relaxed);
                if let Err(violation) = outcome {
                    println!("{violation}\n  {}", self.again(seed));
                    failed.store(true, Ordering::Relaxed);
                }
            }
            watchdog.rest(thread);
        };
        Watchdog::over(|watchdog| {
            std::thread::scope(|scope| {
                scope.spawn(|| work(watchdog, 0));
                scope.spawn(|| work(watchdog, 1));
            });
        });
        println!(
            "{}: {} cases, {} lives, {} images, {:.1} s",
            self.test,
            cases.load(Ordering::Relaxed),
            lives.load(Ordering::Relaxed),
            judged.load(Ordering::Relaxed),
            begun.elapsed().as_secs_f64()
        );
        assert!(
            !failed.load(Ordering::Relaxed),
            "the lines above say how to replay it"
        );
    }
}

pub(crate) fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}")),
    )
}

fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

//! What a fresh value costs, how fast a crowd wakes that waits for one, and what finds a key's lock.

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex};
use std::time::{Duration, Instant};

use documentbuffer::dogpile::{AsyncDogpile, Cached, Created, Dogpile, NEVER, Options, Registry};
use documentbuffer::tier::guarded::Guard;
use documentbuffer::tier::memory::Memory;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

use crate::report::Table;

const CALLERS: usize = 1000;
const THREADS: usize = 200;
/// Until who has said that it waits does.
const SETTLE: Duration = Duration::from_millis(2);

fn made<V>(value: V) -> Result<V, Infallible> {
    Ok(value)
}

/// Nanoseconds a call takes a thread, where so many call at once.
fn calls(threads: usize, each: usize, call: impl Fn(usize) + Sync) -> f64 {
    let (start, took) = (Barrier::new(threads), Mutex::new(0_f64));
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (call, start, took) = (&call, &start, &took);
            scope.spawn(move || {
                start.wait();
                let begun = Instant::now();
                for _ in 0..each {
                    call(thread);
                }
                let own = begun.elapsed().as_nanos() as f64 / each as f64;
                let mut took = took.lock().expect("no panic");
                *took = took.max(own);
            });
        }
    });
    took.into_inner().expect("no panic")
}

pub fn round(table: &mut Table, scale: f64) {
    let each = (1_000_000.0 * scale) as usize;
    for threads in [1, 4] {
        fresh(table, "u64", 7_u64, threads, each);
        fresh(table, "Arc<str>", Arc::<str>::from("sunny"), threads, each);
    }
    let one = Builder::new_current_thread().enable_time().build();
    let one = one.expect("a runtime");
    let two = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build();
    let two = two.expect("a runtime");
    tasks(table, &one, each);
    stampede(table, &one, "one thread");
    stampede(table, &two, "two workers");
    threads(table);
    for threads in [1, 2] {
        registry(table, threads, each);
    }
}

fn fresh<V: Clone + Send + Sync + 'static>(
    table: &mut Table,
    kind: &str,
    value: V,
    threads: usize,
    each: usize,
) {
    let case = format!("fresh value, {kind}, {threads} threads");
    let quick: quick_cache::sync::Cache<u64, V> = quick_cache::sync::Cache::new(100);
    let figure = calls(threads, each, |_| {
        let _ = black_box(quick.get_or_insert_with(&7, || made(value.clone())));
    });
    table.add(&case, "quick_cache, get_or_insert_with", figure);

    let moka: moka::sync::Cache<u64, V> = moka::sync::Cache::new(100);
    let figure = calls(threads, each, |_| {
        black_box(moka.get_with(7, || value.clone()));
    });
    table.add(&case, "moka, get_with", figure);

    let dogpile = Dogpile::new(Duration::from_secs(3600));
    let figure = calls(threads, each, |_| {
        let answer = dogpile.get(|| made(value.clone()));
        black_box(answer.expect("an answer").value());
    });
    table.add(&case, "Dogpile::get, lent", figure);
    let figure = calls(threads, each, |_| {
        let answer = dogpile.get(|| made(value.clone()));
        black_box(answer.expect("an answer").into_value());
    });
    table.add(&case, "Dogpile::get, a value of its own", figure);
    assert_eq!(dogpile.stats().creations, 1);
}

fn tasks(table: &mut Table, runtime: &Runtime, each: usize) {
    let case = "fresh value, u64, a task";
    let hour = Options::new(Duration::from_secs(3600));
    let per = |begun: Instant| begun.elapsed().as_nanos() as f64 / each as f64;
    let dogpile: AsyncDogpile<u64> = hour.clone().build_async();
    let figure = runtime.block_on(async {
        let begun = Instant::now();
        for _ in 0..each {
            let answer = dogpile.get(|| async { made(7) }).await;
            black_box(answer.expect("an answer").value());
        }
        per(begun)
    });
    table.add(case, "AsyncDogpile::get", figure);

    let elsewhere = Mutex::new(None);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("later").as_micros() as u64;
    *elsewhere.lock().expect("no panic") = Some(Created::new(7).at(now));
    let dogpile: AsyncDogpile<u64> = hour.clone().build_async();
    let figure = runtime.block_on(async {
        let begun = Instant::now();
        for _ in 0..each {
            let getter = || async { elsewhere.lock().expect("no panic").clone() };
            let answer = dogpile.get_stamped(getter, || async { made(7) }).await;
            black_box(answer.expect("an answer").value());
        }
        per(begun)
    });
    assert_eq!(dogpile.stats().creations, 0);
    table.add(case, "AsyncDogpile::get_stamped, of a Mutex", figure);

    let cached = Cached::new(Guard::new(Memory::new(1 << 20)), hour);
    let figure = runtime.block_on(async {
        let get = || cached.get("user:00000007", || async { made("3 cards") });
        get().await.expect("made");
        let begun = Instant::now();
        for _ in 0..each {
            black_box(get().await.expect("an answer").value());
        }
        per(begun)
    });
    assert_eq!(cached.stats().creations, 1);
    table.add(case, "Cached::get, Guard<Memory>", figure);
}

/// A crowd that waits: how many do, when it was let go, and how many are awake.
struct Crowd {
    size: usize,
    waiting: AtomicUsize,
    release: Notify,
    begun: Mutex<Option<Instant>>,
    awake: AtomicUsize,
    all: Notify,
    took: Mutex<Duration>,
}

impl Crowd {
    fn new(size: usize) -> Arc<Crowd> {
        Arc::new(Crowd {
            size,
            waiting: AtomicUsize::new(0),
            release: Notify::new(),
            begun: Mutex::default(),
            awake: AtomicUsize::new(0),
            all: Notify::new(),
            took: Mutex::default(),
        })
    }

    fn begin(&self) {
        *self.begun.lock().expect("no panic") = Some(Instant::now());
    }

    fn woke(&self) {
        if self.awake.fetch_add(1, Ordering::Relaxed) + 1 == self.size {
            let begun = self.begun.lock().expect("no panic").expect("begun");
            *self.took.lock().expect("no panic") = begun.elapsed();
            self.all.notify_one();
        }
    }

    async fn let_go(&self, waiting: impl Fn() -> usize) -> f64 {
        while waiting() < self.size {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(SETTLE).await;
        self.release.notify_one();
        self.all.notified().await;
        self.nanos()
    }

    fn nanos(&self) -> f64 {
        let took = *self.took.lock().expect("no panic");
        took.as_nanos() as f64 / self.size as f64
    }
}

async fn notified(most: Option<Duration>) -> f64 {
    let (crowd, notify) = (Crowd::new(CALLERS), Arc::new(Notify::new()));
    for _ in 0..CALLERS {
        let (crowd, notify) = (crowd.clone(), notify.clone());
        tokio::spawn(async move {
            crowd.waiting.fetch_add(1, Ordering::Relaxed);
            match most {
                None => notify.notified().await,
                Some(most) => {
                    let notified = tokio::time::timeout(most, notify.notified()).await;
                    notified.expect("in time");
                }
            }
            crowd.woke();
        });
    }
    let waker = crowd.clone();
    tokio::spawn(async move {
        waker.release.notified().await;
        waker.begin();
        notify.notify_waiters();
    });
    crowd.let_go(|| crowd.waiting.load(Ordering::Relaxed)).await
}

async fn cold(wait: Duration) -> f64 {
    let crowd = Crowd::new(CALLERS);
    let dogpile: AsyncDogpile<u64> = Options::new(Duration::from_secs(3600))
        .wait(wait)
        .build_async();
    for _ in 0..CALLERS {
        let (crowd, dogpile) = (crowd.clone(), dogpile.clone());
        tokio::spawn(async move {
            let creator = || {
                let crowd = crowd.clone();
                async move {
                    crowd.release.notified().await;
                    crowd.begin();
                    made(7)
                }
            };
            let answer = dogpile.get(creator).await.expect("an answer");
            assert_eq!(answer.value(), Some(&7));
            crowd.woke();
        });
    }
    // The one that is elected waits too, and is not counted.
    let figure = crowd.let_go(|| dogpile.stats().waits as usize + 1).await;
    assert_eq!(dogpile.stats().creations, 1);
    figure
}

fn stampede(table: &mut Table, runtime: &Runtime, flavour: &str) {
    let case = format!("{CALLERS} tasks wake, a task, {flavour}");
    let run = |who: &str, figure: Result<f64, tokio::task::JoinError>, table: &mut Table| {
        table.add(&case, who, figure.expect("no panic"));
    };
    for _ in 0..5 {
        let figure = runtime.block_on(async { tokio::spawn(notified(None)).await });
        run("Notify::notify_waiters", figure, table);
        let figure =
            runtime.block_on(async { tokio::spawn(notified(Some(Duration::from_secs(30)))).await });
        run("the same, each in tokio's timeout", figure, table);
        let figure = runtime.block_on(async { tokio::spawn(cold(Duration::from_secs(30))).await });
        run("AsyncDogpile::get, one creation", figure, table);
        let figure = runtime.block_on(async { tokio::spawn(cold(NEVER)).await });
        run("the same, Options::wait(NEVER)", figure, table);
    }
}

fn threads(table: &mut Table) {
    let case = format!("{THREADS} threads wake, a thread");
    let (crowd, gate) = (Crowd::new(THREADS), (Mutex::new(false), Condvar::new()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let open = gate.0.lock().expect("no panic");
                crowd.waiting.fetch_add(1, Ordering::Relaxed);
                drop(gate.1.wait_while(open, |open| !*open));
                crowd.woke();
            });
        }
        while crowd.waiting.load(Ordering::Relaxed) < THREADS {
            std::thread::yield_now();
        }
        std::thread::sleep(SETTLE);
        crowd.begin();
        *gate.0.lock().expect("no panic") = true;
        gate.1.notify_all();
    });
    table.add(&case, "Condvar::notify_all", crowd.nanos());

    let crowd = Crowd::new(THREADS);
    let dogpile = Dogpile::new(Duration::from_secs(3600));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let answer = dogpile.get(|| {
                    while dogpile.stats().waits + 1 < THREADS as u64 {
                        std::thread::yield_now();
                    }
                    std::thread::sleep(SETTLE);
                    crowd.begin();
                    made(7)
                });
                assert_eq!(answer.expect("an answer").value(), Some(&7));
                crowd.woke();
            });
        }
    });
    assert_eq!(dogpile.stats().creations, 1);
    table.add(&case, "Dogpile::get, one creation", crowd.nanos());
}

fn registry(table: &mut Table, threads: usize, each: usize) {
    let registry: Registry<String, u64> = Registry::new();
    let keys = ["user:00000007", "user:00000008"];
    let _held = keys.map(|key| registry.get_ref(key, |_| 7));
    let case = format!("registry, a key that is held, {threads} threads");
    let figure = calls(threads, each, |_| {
        black_box(&*registry.get_ref(keys[0], |_| 8));
    });
    table.add(&case, "get_ref, one key", figure);
    if threads > 1 {
        let figure = calls(threads, each, |thread| {
            black_box(&*registry.get_ref(keys[thread % 2], |_| 8));
        });
        table.add(&case, "get_ref, a key each", figure);
    }
}

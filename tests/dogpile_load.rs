//! Random load on all of the dogpile at once, threads and tasks, with faults in all that it calls, and an oracle that
//! says of each answer whether it can be.
//!
//! It runs in rounds of a second, each with objects of its own that must leave nothing behind. `DOGPILE_LOAD_SECONDS`
//! sets how long in all. A round that fails is printed with its seed; the same choices are made again by
//!
//! ```sh
//! DOGPILE_LOAD_BASE=<seed> cargo test --features chain,dogpile,memory,testing --test dogpile_load
//! ```
#![cfg(all(
    feature = "dogpile",
    feature = "chain",
    feature = "memory",
    feature = "testing"
))]

mod load_support;

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use documentbuffer::dogpile::readers::{self, ReadWriteLock, Readers};
use documentbuffer::dogpile::{
    Answer, Cached, Created, Dogpile, Error, Pool, Registered, Registry, Swap,
};
use documentbuffer::lease::memory::MemoryLease;
use documentbuffer::tier::guarded::{Guard, Guarded};
use documentbuffer::tier::memory::Memory;
use documentbuffer::tier::{Entry, Key, Op, TierExt, When};
use load_support::*;
use tokio::runtime::Runtime;

/// Beyond what a call may take by its terms.
const GENEROUS: Duration = Duration::from_secs(20);

fn number_from(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().expect("a number"))
}

/// Who works in a round, and what is to be seen when they are done.
struct Crew {
    rng: Rng,
    until: Instant,
    tally: Arc<Tally>,
    watch: Watch,
    runtime: Runtime,
    threads: Vec<JoinHandle<()>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    /// When all callers are gone, before creations are.
    after: Vec<Box<dyn FnOnce()>>,
    /// When nothing runs any more.
    ends: Vec<Box<dyn FnOnce()>>,
}

impl Crew {
    fn new(seed: u64, time: Duration, tally: &Arc<Tally>, watch: &Watch) -> Crew {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_time().build();
        Crew {
            rng: Rng::new(seed),
            until: Instant::now() + time,
            tally: tally.clone(),
            watch: watch.clone(),
            runtime: runtime.expect("a runtime"),
            threads: Vec::new(),
            tasks: Vec::new(),
            after: Vec::new(),
            ends: Vec::new(),
        }
    }

    fn sources(&self, name: &str, terms: &Terms, count: usize) -> Vec<Arc<Source>> {
        let names = (0..count).map(|n| format!("{name}-{n}"));
        names
            .map(|name| Source::new(name, terms, &self.tally))
            .collect()
    }

    /// So many threads that do this until the time is over.
    fn threads(&mut self, count: usize, step: impl Fn(&mut Rng) + Send + Sync + 'static) {
        let step = Arc::new(step);
        for _ in 0..count {
            let (step, until) = (step.clone(), self.until);
            let (mut rng, watch) = (Rng::new(self.rng.next()), self.watch.clone());
            self.threads.push(thread::spawn(move || {
                while Instant::now() < until {
                    let watched = watch.on("a thread".to_owned(), GENEROUS);
                    step(&mut rng);
                    drop(watched);
                    busy(Duration::from_micros(rng.below(1_000)));
                }
            }));
        }
    }

    /// So many tasks, likewise.
    fn tasks<F>(&mut self, count: usize, step: impl Fn(Rng) -> F + Send + Sync + 'static)
    where
        F: Future<Output = ()> + Send,
    {
        let step = Arc::new(step);
        for _ in 0..count {
            let (step, until) = (step.clone(), self.until);
            let (mut rng, watch) = (Rng::new(self.rng.next()), self.watch.clone());
            self.tasks.push(self.runtime.spawn(async move {
                while Instant::now() < until {
                    let watched = watch.on("a task".to_owned(), GENEROUS);
                    step(Rng::new(rng.next())).await;
                    drop(watched);
                    tokio::time::sleep(ms(rng.below(3))).await;
                }
            }));
        }
    }

    /// Until all have ended, and nothing is left.
    fn run(self) {
        for thread in self.threads {
            thread.join().expect("no caller fails");
        }
        for task in self.tasks {
            self.runtime.block_on(task).expect("no caller fails");
        }
        let watched = self
            .watch
            .on("the end of all creations".to_owned(), GENEROUS);
        self.after.into_iter().for_each(|after| after());
        let metrics = self.runtime.metrics();
        self.runtime.block_on(async {
            while metrics.num_alive_tasks() > 0 {
                tokio::time::sleep(ms(1)).await;
            }
        });
        drop(watched);
        self.ends.into_iter().for_each(|end| end());
    }
}

fn report<V>(
    source: &Source,
    call: Call,
    answer: Result<Answer<V>, Error>,
    made: impl Fn(&V) -> Made,
) {
    match answer {
        Ok(answer) => source.answered(call, answer.value().map(made), answer.freshness()),
        Err(error) => source.failed(call, &error),
    }
}

/// Waits for an answer, or loses patience: none then.
async fn patiently<T>(rng: &mut Rng, tally: &Tally, call: impl Future<Output = T>) -> Option<T> {
    let patience = if rng.percent(15) {
        rng.below(6)
    } else {
        3_600_000
    };
    let answer = tokio::time::timeout(ms(patience), call).await.ok();
    if answer.is_none() {
        tally.count("faults: callers that are dropped");
    }
    answer
}

type Objects = Registry<String, Dogpile<Made>>;

fn object(objects: &Objects, source: &Source) -> Registered<String, Dogpile<Made>> {
    objects.get_ref(source.name.as_str(), |_| source.terms.options().build())
}

/// One value by key, for threads and tasks, in objects that come and go.
fn one_core(crew: &mut Crew) {
    let terms = Terms::random(&mut crew.rng);
    let sources = crew.sources("core", &terms, 3);
    let objects = Objects::new();
    let (running, waiting) = (1 + crew.rng.below(2), crew.rng.below(3));
    let pool = Arc::new(Pool::new(running as usize, waiting as usize).expect("threads"));
    let (callers, known, workers) = (sources.clone(), objects.clone(), pool.clone());
    crew.threads(3, move |rng| {
        let source = rng.one(&callers);
        let dogpile = object(&known, &source);
        match rng.below(100) {
            0..4 => {
                let removing = source.removes();
                dogpile.invalidate();
                return removing.done();
            }
            4..7 => return source.expires(|| dogpile.expire()),
            _ => {}
        }
        let (call, act) = (source.call(), Act::random(rng));
        // Held by who creates, so that the object is the same as long as that takes.
        let (maker, own) = (source.clone(), dogpile.clone());
        let creator = move || {
            let _own = own;
            let made = maker.creates(call, None).run(act);
            made.map(|made| act.created(made, made))
        };
        let answer = match rng.percent(40) {
            true => dogpile.get_behind(&workers, creator),
            false => dogpile.get(creator),
        };
        report(&source, call, answer, |made| *made);
    });
    let (callers, known) = (sources.clone(), objects.clone());
    crew.tasks(5, move |mut rng| {
        let source = rng.one(&callers);
        let dogpile = object(&known, &source);
        async move {
            let tasks = dogpile.asynchronous();
            if rng.percent(3) {
                let removing = source.removes();
                tasks.invalidate();
                return removing.done();
            }
            let (call, act) = (source.call(), Act::random(&mut rng));
            let (maker, own) = (source.clone(), dogpile.clone());
            let creator = || async move {
                let _own = own;
                let made = maker.creates(call, None).run_async(act).await;
                made.map(|made| act.created(made, made))
            };
            if let Some(answer) = patiently(&mut rng, &source.tally, tasks.get(creator)).await {
                report(&source, call, answer, |made| *made);
            }
        }
    });
    crew.after.push(Box::new(move || drop(pool)));
    let tally = crew.tally.clone();
    crew.ends.push(Box::new(move || {
        for source in sources {
            source.ends(None);
            let creates = object(&objects, &source).is_creating();
            tally.check(!creates, || format!("{}: a flight is left", source.name));
        }
        tally.check(objects.is_empty(), || "objects are left".to_owned());
    }));
}

/// Values that lie elsewhere and say when they were made, so that the objects can go between two calls.
fn elsewhere(crew: &mut Crew) {
    type Shelf = Arc<Mutex<Option<Made>>>;
    let terms = Terms::random(&mut crew.rng);
    let source = crew.sources("elsewhere", &terms, 1).remove(0);
    let (objects, shelf) = (Objects::new(), Shelf::default());
    let look = |shelf: &Shelf| {
        let found = *shelf.lock().expect("no panic");
        found.map(|made| Created::new(made).at(made.stamp))
    };
    let put = |shelf: &Shelf, act: Act, made: Made| {
        if act != Act::Gone && act != Act::Passing {
            *shelf.lock().expect("no panic") = Some(made);
        }
        act.created(made, made)
    };
    let simple = |rng: &mut Rng| match Act::random(rng) {
        // Of these nothing is said where the value lies.
        Act::Short => Act::Quick,
        act => act,
    };
    let (own, known, store) = (source.clone(), objects.clone(), shelf.clone());
    crew.threads(2, move |rng| {
        let dogpile = object(&known, &own);
        let (call, act) = (own.call(), simple(rng));
        let creator = || {
            let made = own.creates(call, None).run(act);
            made.map(|made| put(&store, act, made))
        };
        let answer = dogpile.get_stamped(|| look(&store), creator);
        report(&own, call, answer, |made| *made);
    });
    let (own, known) = (source.clone(), objects.clone());
    crew.tasks(3, move |mut rng| {
        let (source, store) = (own.clone(), shelf.clone());
        let dogpile = object(&known, &source);
        async move {
            let (call, act) = (source.call(), simple(&mut rng));
            let (maker, held, shelf) = (source.clone(), dogpile.clone(), store.clone());
            let creator = || async move {
                let _held = held;
                let made = maker.creates(call, None).run_async(act).await;
                made.map(|made| put(&shelf, act, made))
            };
            let tasks = dogpile.asynchronous();
            let getter = || std::future::ready(look(&store));
            let answer = tasks.get_stamped(getter, creator);
            if let Some(answer) = patiently(&mut rng, &source.tally, answer).await {
                report(&source, call, answer, |made| *made);
            }
        }
    });
    let tally = crew.tally.clone();
    crew.ends.push(Box::new(move || {
        source.ends(None);
        tally.check(objects.is_empty(), || "objects are left".to_owned());
    }));
}

/// What all calls of one key of a tier share.
#[derive(Clone)]
struct Shared {
    source: Arc<Source>,
    /// Who writes by hand takes turns, so that it is known what is written last.
    turn: Arc<tokio::sync::Mutex<()>>,
}

async fn use_cached<T: Guarded>(cached: Cached<T>, shared: Shared, mut rng: Rng) {
    let Shared { source, turn } = shared;
    let key = source.name.as_str();
    match rng.below(100) {
        0..3 => {
            let _turn = turn.lock().await;
            let removing = source.removes();
            if cached.remove(key).await.is_ok() {
                removing.done();
            }
            return;
        }
        3..5 => {
            let _turn = turn.lock().await;
            let removing = source.removes();
            let expiry = source.terms.expiry.as_micros() as u64;
            let (number, stamp) = (removing.number, wall());
            let made = Made {
                number,
                stamp,
                expiry,
            };
            let put = Op::Put(Entry::new(made.encode()).created(stamp));
            let key = Key::new(key).expect("a short key");
            if cached.tier().write(key, put, When::Always).await.is_ok() {
                removing.done();
            }
            return;
        }
        5..7 if source.terms.lease.is_none() => return source.expires(|| cached.expire(key)),
        _ => {}
    }
    let (call, act, maker) = (source.call(), Act::random(&mut rng), source.clone());
    let creator = move |fence| async move {
        let made = maker.creates(call, fence).run_async(act).await;
        made.map(|made| act.created(made, made.encode()))
    };
    let answer = cached.get_created(key, creator);
    if let Some(answer) = patiently(&mut rng, &source.tally, answer).await {
        report(&source, call, answer, |bytes: &Bytes| {
            Made::decode(bytes).expect("a value")
        });
    }
}

/// Values in that tier, through each of these.
fn in_tier<T: Guarded + Clone>(
    crew: &mut Crew,
    sources: Vec<Arc<Source>>,
    fronts: Vec<Cached<T>>,
    tier: T,
) {
    let turn = || Arc::new(tokio::sync::Mutex::new(()));
    let shared = sources.iter().cloned().map(|source| Shared {
        source,
        turn: turn(),
    });
    let shared: Vec<_> = shared.collect();
    let (all, keys) = (fronts.clone(), shared.clone());
    crew.tasks(5, move |mut rng| {
        use_cached(rng.one(&all), rng.one(&keys), rng)
    });
    let (all, handle) = (fronts.clone(), crew.runtime.handle().clone());
    crew.threads(1, move |rng| {
        let (front, key) = (rng.one(&all), rng.one(&shared));
        handle.block_on(use_cached(front, key, Rng::new(rng.next())));
    });
    let (tally, handle) = (crew.tally.clone(), crew.runtime.handle().clone());
    crew.ends.push(Box::new(move || {
        for source in sources {
            let key = source.name.as_str();
            let creates = fronts.iter().any(|front| front.is_creating(key));
            tally.check(!creates, || format!("{key}: a flight is left"));
            let held = (0..100).find_map(|_| handle.block_on(tier.value(key)).ok());
            let held = held.expect("it does not always fail");
            source.ends(held.and_then(|bytes| Made::decode(&bytes)));
        }
        tally.add(
            "tier errors that no call failed by",
            fronts[0].stats().tier_errors,
        );
        tally.add("values that came too late", fronts[0].stats().late);
        // They remember that there is none, as long as nothing is written.
        drop(fronts);
        let left = tier.generations().len();
        tally.check(left == 0, || format!("{left} generations are left"));
    }));
}

fn in_memory(crew: &mut Crew) {
    let terms = Terms::random(&mut crew.rng);
    let sources = crew.sources("memory", &terms, 3);
    let tier = Arc::new(Guard::new(Memory::new(1 << 20)));
    let cached = Cached::new(tier.clone(), terms.options());
    in_tier(crew, sources, vec![cached], tier);
}

fn in_a_flaky_tier(crew: &mut Crew) {
    let terms = Terms::random(&mut crew.rng);
    let sources = crew.sources("flaky", &terms, 3);
    let tier = Arc::new(Guard::new(Flaky::new(crew.rng.next(), 10, &crew.tally)));
    let cached = Cached::new(tier.clone(), terms.options());
    in_tier(crew, sources, vec![cached], tier);
}

/// Two that know of each other by the lease only, and write to one tier.
fn under_a_lease(crew: &mut Crew) {
    let mut terms = Terms::random(&mut crew.rng);
    let time = ms(crew.rng.one(&[15, 60, 1_000]));
    terms.lease = Some(time);
    let sources = crew.sources("leased", &terms, 2);
    let tier = Arc::new(Guard::new(Flaky::new(crew.rng.next(), 2, &crew.tally)));
    let lease = MemoryLease::new();
    let mut front = || {
        let lease = FlakyLease {
            lease: lease.clone(),
            rng: Mutex::new(Rng::new(crew.rng.next())),
            tally: crew.tally.clone(),
        };
        Cached::new(tier.clone(), terms.options()).lease(lease, time)
    };
    let fronts = vec![front(), front()];
    in_tier(crew, sources, fronts, tier);
    let tally = crew.tally.clone();
    crew.ends.push(Box::new(move || {
        let left = lease.len();
        tally.check(left == 0, || format!("{left} leases are left"));
    }));
}

/// A resource of two halves, which must never be seen to differ.
fn swapped(crew: &mut Crew) {
    let terms = Terms::random(&mut crew.rng);
    let source = crew.sources("swap", &terms, 1).remove(0);
    let swap = Arc::new(Swap::new(terms.options()));
    let halves = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
    let stamped = crew.rng.percent(50);
    let (own, shared) = (source.clone(), swap.clone());
    crew.threads(3, move |rng| {
        if rng.percent(3) {
            return own.expires(|| shared.expire());
        }
        let (call, act) = (own.call(), Act::random(rng));
        let (writes, reads) = (ms(rng.below(3)), ms(rng.below(4)));
        let creator = |lock: &Readers| {
            let made = own.creates(call, None).run(act)?;
            let alone = lock.write_within(own.terms.limit);
            let late = |error| match error {
                readers::Error::TimedOut { .. } => own.fails("faults: a writer gives up"),
                error => {
                    own.tally.wrong(format!("{}: {error}", own.name));
                    Injected
                }
            };
            let _alone = alone.map_err(late)?;
            halves[0].store(made.stamp, Ordering::SeqCst);
            busy(writes);
            halves[1].store(made.stamp, Ordering::SeqCst);
            Ok::<_, Injected>(())
        };
        let both = || [0, 1].map(|n| halves[n].load(Ordering::SeqCst));
        let check = || {
            let [one, other] = both();
            own.tally.check(one == other && one > 0, || {
                format!("halves {one} and {other}")
            });
        };
        let look = || both()[0].gt(&0).then(|| ((), both()[1]));
        let reading = match stamped {
            true => shared.read_stamped(look, creator),
            false => shared.read(creator),
        };
        match reading {
            Ok(reading) => {
                own.answered(call, None, reading.freshness());
                check();
                busy(reads);
                check();
            }
            Err(error) => own.failed(call, &error),
        }
    });
    let tally = crew.tally.clone();
    crew.ends.push(Box::new(move || {
        source.ends(None);
        tally.check(!swap.is_creating(), || {
            "a flight is left in a swap".to_owned()
        });
        let alone = swap.lock().try_read().is_ok_and(|guard| guard.is_some());
        tally.check(alone && swap.lock().waiting() == 0, || {
            "a swap is locked".to_owned()
        });
    }));
}

fn round(seed: u64, time: Duration, tally: &Arc<Tally>, watch: &Watch) {
    let before = threads();
    let mut crew = Crew::new(seed, time, tally, watch);
    one_core(&mut crew);
    elsewhere(&mut crew);
    in_memory(&mut crew);
    in_a_flaky_tier(&mut crew);
    under_a_lease(&mut crew);
    swapped(&mut crew);
    crew.run();
    let _watched = watch.on("the end of all threads".to_owned(), GENEROUS);
    // One that was joined may be counted for a moment.
    while threads() != before {
        thread::yield_now();
    }
}

#[test]
fn nothing_breaks_under_random_load() {
    let base = number_from("DOGPILE_LOAD_BASE").unwrap_or_else(wall);
    let seconds = number_from("DOGPILE_LOAD_SECONDS").unwrap_or(2);
    let tally = Arc::new(Tally::default());
    for seed in (base..).take(seconds.max(1) as usize) {
        let (watch, stop) = Watch::start(seed);
        round(seed, Duration::from_secs(1), &tally, &watch);
        stop();
        let wrong = tally.all_wrong();
        assert!(
            wrong.is_empty(),
            "seed {seed}\n{}\n{tally}",
            wrong.join("\n")
        );
    }
    println!("seeds {base} and on, {seconds} rounds\n{tally}");
    assert!(tally.get("answers, fresh") > 0 && tally.get("creations") > 0);
}

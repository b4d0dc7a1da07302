//! Random schedules of creations, deletions, evictions, reads and refreshes that are slow, fail, panic and answer
//! for others, over a store that fails, with a model that says whether what was read can be.
//!
//! `AUTO_REFRESH_CASES` sets another number of schedules. One that fails is printed with its seed:
//!
//! ```sh
//! AUTO_REFRESH_BASE=<seed> AUTO_REFRESH_CASES=1 cargo test --features auto-refresh --test auto_refresh_random
//! ```
#![cfg(feature = "auto-refresh")]

mod refresh_support;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use bytes::Bytes;
use documentbuffer::auto_refresh::{
    Action, AutoRefresh, Batch, Item, Options, RateLimit, Response,
};
use documentbuffer::tier::guarded::{Guard, Guarded};
use refresh_support::store::{Shelf, Trouble, decode, encode};
use refresh_support::{quiet, settled};
use tokio::time::Instant;

const CASES: u64 = 1_000;
const STEPS: usize = 200;
const MILLI: Duration = Duration::from_millis(1);

#[derive(Clone)]
struct Rng(Arc<Mutex<u64>>);

impl Rng {
    fn new(seed: u64) -> Rng {
        Rng(Arc::new(Mutex::new(seed)))
    }

    /// splitmix64
    fn next(&self) -> u64 {
        let mut state = self.0.lock().expect("a state");
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn percent(&self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// A value that tells where it comes from.
struct Value {
    id: String,
    /// The creation that it goes back to.
    creation: u64,
    serial: u64,
    /// When the refresh began that it comes of, and when that was answered, as moments of the model.
    began: u64,
    answered: u64,
}

/// What is known of an id.
#[derive(Default)]
struct Known {
    /// Older creations are dead.
    creation: u64,
    /// What was seen last of it.
    last: Option<Arc<Value>>,
    /// It is to be deleted, and was that when this was asked for.
    doomed: Option<Option<Arc<Value>>>,
    terminal: bool,
    running: usize,
    failures: u32,
    until: Option<Instant>,
}

#[derive(Default)]
struct Model {
    known: HashMap<String, Known>,
    moment: u64,
    serial: u64,
    at_once: usize,
    values: Vec<Weak<Value>>,
    stopped: bool,
}

#[derive(Clone, Copy)]
struct Shape {
    size: usize,
    parallelism: usize,
    shortest: Duration,
    longest: Duration,
}

#[derive(Clone)]
struct World {
    rng: Rng,
    model: Arc<Mutex<Model>>,
    shape: Shape,
}

impl World {
    fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().expect("no panic under the lock")
    }

    fn id(&self) -> String {
        self.rng.below(self.shape.size + 3).to_string()
    }

    fn value(&self, id: &str, creation: Option<u64>, began: u64) -> Arc<Value> {
        let mut model = self.model();
        model.moment += 1;
        model.serial += 1;
        let serial = model.serial;
        let value = Arc::new(Value {
            id: id.to_owned(),
            creation: creation.unwrap_or(serial),
            serial,
            began,
            answered: model.moment,
        });
        model.values.push(Arc::downgrade(&value));
        value
    }

    /// Whether it can be what an id is: nothing that came back, nothing older than what was seen.
    fn judge(&self, id: &str, value: &Arc<Value>) {
        let mut model = self.model();
        let known = model.known.entry(id.to_owned()).or_default();
        assert_eq!(value.id, id);
        assert!(value.creation >= known.creation, "{id} came back");
        known.creation = value.creation;
        if let Some(last) = &known.last
            && last.serial != value.serial
            && last.creation == value.creation
        {
            assert!(value.began > last.answered, "{id}: an older answer");
            assert!(!known.terminal, "{id} was terminal");
        }
        if let Some(Some(doomed)) = &known.doomed {
            assert_eq!(doomed.serial, value.serial, "{id} is to be deleted");
        }
        known.last = Some(Arc::clone(value));
    }

    /// What was there is dead.
    fn judge_missing(&self, id: &str) {
        let mut model = self.model();
        model.serial += 1;
        let serial = model.serial;
        let known = model.known.entry(id.to_owned()).or_default();
        known.creation = serial;
        (known.last, known.doomed, known.terminal) = (None, None, false);
    }

    fn begin(&self, batch: &[Item<Value>]) -> (u64, HashMap<String, u64>) {
        for item in batch {
            self.judge(item.id(), item.value());
        }
        let mut model = self.model();
        assert!(!model.stopped, "begun behind the end");
        model.moment += 1;
        model.at_once += 1;
        assert!(model.at_once <= self.shape.parallelism);
        for item in batch {
            let known = model.known.get_mut(item.id()).expect("it was judged");
            known.running += 1;
            assert_eq!(known.running, 1, "{} runs twice", item.id());
            assert!(known.doomed.is_none(), "{} is to be deleted", item.id());
            let early = known.until.is_some_and(|until| Instant::now() < until);
            assert!(!early, "{} got around its backoff", item.id());
        }
        let creations = model
            .known
            .iter()
            .map(|(id, known)| (id.clone(), known.creation));
        (model.moment, creations.collect())
    }

    fn end(&self, batch: &[Item<Value>], well: bool) {
        let mut model = self.model();
        model.at_once -= 1;
        for item in batch {
            let known = model.known.get_mut(item.id()).expect("it was judged");
            known.running -= 1;
            if well {
                (known.failures, known.until) = (0, None);
                continue;
            }
            let delay = self.shape.shortest * 2_u32.pow(known.failures.min(16));
            known.until = Some(Instant::now() + delay.min(self.shape.longest));
            known.failures += 1;
        }
    }

    /// The callback.
    async fn sync(self, batch: Batch<Value>) -> Result<Vec<Response<Value>>, String> {
        let (began, creations) = self.begin(&batch);
        for _ in 0..self.rng.below(4) {
            tokio::task::yield_now().await;
        }
        if self.rng.percent(50) {
            let time = MILLI * self.rng.below(2000) as u32;
            tokio::select! {
                () = tokio::time::sleep(time) => {}
                () = batch.cancelled() => {}
            }
        }
        let fate = self.rng.below(100);
        self.end(&batch, fate >= 25);
        if fate < 8 {
            panic!("the callback panics, as it is meant to");
        }
        if fate < 25 {
            return Err("no".to_owned());
        }
        let mut answers = Vec::new();
        for item in batch.iter() {
            let creation = Some(item.value().creation);
            let value = || self.value(item.id(), creation, began);
            match self.rng.below(10) {
                0 => {}
                1 => answers.push(item.unchanged()),
                2 => answers.push(item.gone()),
                3 => answers.push(item.terminal(value())),
                _ => answers.push(item.update(value())),
            }
            if self.rng.percent(20) {
                // Of another one, as it was when this began.
                let other = self.id();
                if let Some(creation) = creations.get(&other) {
                    let value = self.value(&other, Some(*creation), began);
                    answers.push(Response::new(other, Action::Update(value)));
                }
            }
        }
        Ok(answers)
    }

    fn create(&self, cache: &AutoRefresh<Value>) {
        let id = self.id();
        let value = self.value(&id, None, 0);
        let got = cache
            .get_or_create(&id, Arc::clone(&value))
            .expect("an item");
        if Arc::ptr_eq(&got, &value) {
            self.judge_missing(&id);
            self.model().known.entry(id.clone()).or_default().creation = value.creation;
        }
        self.judge(&id, &got);
        // A creation takes a deletion back.
        self.model()
            .known
            .get_mut(&id)
            .expect("it was judged")
            .doomed = None;
    }

    fn read(&self, cache: &AutoRefresh<Value>, id: &str) {
        match cache.get(id) {
            Some(value) => self.judge(id, &value),
            None => self.judge_missing(id),
        }
    }

    fn delete(&self, cache: &AutoRefresh<Value>) {
        let id = self.id();
        let before = cache.get(&id);
        match &before {
            Some(value) => self.judge(&id, value),
            None => return self.judge_missing(&id),
        }
        cache.delete_delayed(&id);
        self.model().known.entry(id).or_default().doomed = Some(before);
    }

    fn check(&self, cache: &AutoRefresh<Value>) {
        let stats = cache.stats();
        assert!(
            stats.queued <= stats.size && stats.size <= self.shape.size,
            "{stats:?}"
        );
        let most = self.shape.parallelism * (self.shape.size + 3);
        assert!(
            stats.running <= most && stats.owed <= 3 * self.shape.size + 6,
            "{stats:?}"
        );
    }
}

fn options(world: &World, seed: u64) -> Options<Value> {
    let (rng, shape) = (&world.rng, world.shape);
    let mut options = Options::new("random")
        .size(shape.size)
        .parallelism(shape.parallelism)
        .period(MILLI * (1 + rng.below(1500) as u32))
        .delays(shape.shortest, shape.longest)
        .refresh_on_create(rng.percent(50))
        .seed(seed);
    if rng.percent(30) {
        let limit = RateLimit::every(MILLI * (1 + rng.below(300) as u32));
        options = options.rate(limit.burst(1 + rng.below(3) as u32));
    }
    match rng.below(4) {
        0 => options.batches_of(1 + rng.below(4)),
        1 => {
            let rng = rng.clone();
            options.batches(move |due| match rng.below(10) {
                0 => Err("no batches".into()),
                1 => panic!("the batches panic, as they are meant to"),
                _ => Ok(due.chunks(1 + rng.below(3)).map(<[_]>::to_vec).collect()),
            })
        }
        _ => options,
    }
}

async fn schedule(seed: u64) {
    let rng = Rng::new(seed);
    let shape = Shape {
        size: 1 + rng.below(6),
        parallelism: 1 + rng.below(4),
        shortest: MILLI * (1 + rng.below(800) as u32),
        longest: MILLI * (1000 + rng.below(5000) as u32),
    };
    let world = World {
        rng: rng.clone(),
        model: Arc::default(),
        shape,
    };
    let own = world.clone();
    let sync = move |batch| own.clone().sync(batch);
    let shelf = Shelf::default();
    let guard = Guard::new(shelf.clone());
    let stored = rng.percent(50);
    let cache = if stored {
        let decode = |bytes: Bytes| -> Result<Value, String> {
            Err(format!("nothing is there: {:?}", decode(bytes)))
        };
        let encode = |value: &Value| encode(&value.serial);
        let options = options(&world, seed).store(guard.clone(), encode, decode);
        options.open(sync).await.expect("a cache")
    } else {
        options(&world, seed).build(sync).expect("a cache")
    };
    for step in 0..STEPS {
        if step == 5 {
            cache.start().expect("started");
        }
        match rng.below(100) {
            0..30 => world.create(&cache),
            30..60 => world.read(&cache, &world.id()),
            60..70 => world.delete(&cache),
            70..80 => {
                let troubles = [None, None, Some(Trouble::Fails), Some(Trouble::Mute)];
                shelf.trouble(troubles[rng.below(4)]);
            }
            80..90 => tokio::task::yield_now().await,
            _ => tokio::time::sleep(MILLI * rng.below(1000) as u32).await,
        }
        world.check(&cache);
    }
    end(&world, cache, &shelf, stored).await;
    assert!(guard.generations().is_empty());
}

/// Nothing is left: no task, nothing queued, no value; and the store has what was in memory.
async fn end(world: &World, cache: AutoRefresh<Value>, shelf: &Shelf, stored: bool) {
    shelf.trouble(None);
    let metrics = tokio::runtime::Handle::current().metrics();
    if world.rng.percent(30) && !stored {
        drop(cache);
        settled().await;
    } else {
        cache.shutdown().await.expect("all is stored");
        world.model().stopped = true;
        let stats = cache.stats();
        assert_eq!((stats.queued, stats.running, stats.owed), (0, 0, 0));
        let mut items = HashMap::new();
        for id in 0..world.shape.size + 3 {
            let id = id.to_string();
            world.read(&cache, &id);
            items.extend(cache.get(&id).map(|value| (id, value.serial)));
        }
        assert!(!stored || items == shelf.all().into_iter().collect());
        drop(cache);
    }
    assert_eq!(metrics.num_alive_tasks(), 0);
    let mut model = world.model();
    model.known.clear();
    let left = model.values.iter().filter(|value| value.strong_count() > 0);
    assert_eq!(left.count(), 0);
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn run(seed: u64) {
    let run = || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(schedule(seed));
    };
    if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
        eprintln!("AUTO_REFRESH_BASE={seed} AUTO_REFRESH_CASES=1");
        resume_unwind(panic);
    }
}

#[test]
fn nothing_comes_back_grows_old_runs_twice_or_is_left() {
    quiet();
    let base = number("AUTO_REFRESH_BASE").unwrap_or(1);
    for seed in base..base + number("AUTO_REFRESH_CASES").unwrap_or(CASES) {
        run(seed);
    }
}

/// Ten minutes of it, or as many seconds as `AUTO_REFRESH_SECONDS` says.
#[test]
#[ignore = "takes minutes"]
fn nothing_comes_back_for_minutes() {
    quiet();
    let base = number("AUTO_REFRESH_BASE").unwrap_or_else(|| u64::from(std::process::id()) << 32);
    let seconds = number("AUTO_REFRESH_SECONDS").unwrap_or(600);
    let begun = std::time::Instant::now();
    let mut seeds = base..;
    while begun.elapsed() < Duration::from_secs(seconds) {
        run(seeds.next().expect("a seed"));
    }
    eprintln!("{} schedules from {base} on", seeds.start - base);
}

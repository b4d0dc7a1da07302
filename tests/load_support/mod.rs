//! What random load needs: chance, a watchdog, a tier that fails, and an oracle that says which answers can be.

#![allow(dead_code)]

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use documentbuffer::dogpile::{Created, Error, Freshness, NEVER, Options, readers};
use documentbuffer::lease::{self, Held, Lease, memory::MemoryLease};
use documentbuffer::tier::memory::Memory;
use documentbuffer::tier::{self, Applied, Capabilities, Entry, Key, Op, Tier, When};

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// splitmix64
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize].clone()
    }
}

static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// What happens gets larger numbers than what happened before.
pub(crate) fn number() -> u64 {
    NUMBERS.fetch_add(1, Ordering::SeqCst)
}

/// In microseconds since 1970.
pub(crate) fn wall() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.expect("after 1970").as_micros() as u64
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// A thread is busy for so long.
pub(crate) fn busy(time: Duration) {
    let (_sender, receiver) = channel::<()>();
    let _ = receiver.recv_timeout(time);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no panic under a lock of the oracle")
}

/// What was seen, and what must not be.
#[derive(Default)]
pub(crate) struct Tally {
    counts: Mutex<BTreeMap<&'static str, u64>>,
    wrong: Mutex<Vec<String>>,
}

impl Tally {
    pub(crate) fn count(&self, what: &'static str) {
        self.add(what, 1);
    }

    pub(crate) fn add(&self, what: &'static str, more: u64) {
        *lock(&self.counts).entry(what).or_default() += more;
    }

    pub(crate) fn get(&self, what: &'static str) -> u64 {
        lock(&self.counts).get(what).copied().unwrap_or_default()
    }

    pub(crate) fn wrong(&self, what: String) {
        self.count("violations");
        let mut wrong = lock(&self.wrong);
        if wrong.len() < 20 {
            wrong.push(what);
        }
    }

    pub(crate) fn check(&self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.wrong(what());
        }
    }

    pub(crate) fn all_wrong(&self) -> Vec<String> {
        lock(&self.wrong).clone()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = lock(&self.counts);
        counts
            .iter()
            .try_for_each(|(what, n)| writeln!(f, "{n:>12} {what}"))
    }
}

/// Ends the process, and says why, when a call takes too long.
#[derive(Clone)]
pub(crate) struct Watch(Arc<Mutex<HashMap<u64, (String, Instant)>>>);

pub(crate) struct Watched(Watch, u64);

impl Watch {
    pub(crate) fn start(seed: u64) -> (Watch, impl FnOnce()) {
        let watch = Watch(Arc::default());
        let (calls, (end, ended)) = (watch.0.clone(), channel::<()>());
        let thread: JoinHandle<()> = thread::spawn(move || {
            while ended.recv_timeout(ms(100)) == Err(RecvTimeoutError::Timeout) {
                let calls = lock(&calls);
                let late = calls.values().find(|(_, until)| *until < Instant::now());
                if let Some((what, _)) = late {
                    // Past what a test may say: nobody is left to say it.
                    let _ = writeln!(std::io::stderr(), "seed {seed}: {what} hangs");
                    std::process::exit(101);
                }
            }
        });
        let stop = move || {
            drop(end);
            thread.join().expect("the watchdog lives");
        };
        (watch, stop)
    }

    /// Until what it returns is dropped, which must be before that time.
    pub(crate) fn on(&self, what: String, most: Duration) -> Watched {
        let number = number();
        lock(&self.0).insert(number, (what, Instant::now() + most));
        Watched(self.clone(), number)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        lock(&self.0.0).remove(&self.1);
    }
}

/// Threads of this process.
pub(crate) fn threads() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("Threads:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// What holds for a key.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) expiry: Duration,
    pub(crate) hard: Duration,
    pub(crate) beyond: Duration,
    pub(crate) wait: Duration,
    pub(crate) limit: Duration,
    pub(crate) first: Duration,
    pub(crate) background: bool,
    pub(crate) early: f64,
    /// So long a lease lasts, where there is one.
    pub(crate) lease: Option<Duration>,
    pub(crate) seed: u64,
}

impl Terms {
    pub(crate) fn random(rng: &mut Rng) -> Terms {
        let expiry = ms(rng.one(&[0, 1, 3, 5, 10, 20]));
        Terms {
            expiry,
            hard: rng.one(&[NEVER, expiry * 2, expiry + ms(20)]),
            beyond: ms(rng.one(&[0, 5, 50])),
            wait: ms(rng.one(&[3, 20, 100, 600_000])),
            limit: ms(rng.one(&[40, 80])),
            first: ms(rng.one(&[0, 1, 5])),
            background: rng.percent(50),
            early: rng.one(&[0.0, 0.0, 1.0]),
            lease: None,
            seed: rng.next(),
        }
    }

    pub(crate) fn options(&self) -> Options {
        Options::new(self.expiry)
            .hard(self.hard)
            .stale_if_error(self.beyond)
            .wait(self.wait)
            .limit(self.limit)
            .backoff(self.first, self.first * 4)
            .background(self.background)
            .early(self.early)
            .seed(self.seed)
    }
}

/// A value that tells where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    /// Taken when its making began.
    pub(crate) number: u64,
    /// When its making ended, in microseconds since 1970.
    pub(crate) stamp: u64,
    /// So many microseconds it is fresh.
    pub(crate) expiry: u64,
}

impl Made {
    pub(crate) fn encode(self) -> Bytes {
        format!("{} {} {}", self.number, self.stamp, self.expiry).into()
    }

    pub(crate) fn decode(bytes: &Bytes) -> Option<Made> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut parts = text.split(' ').map(|part| part.parse().ok());
        Some(Made {
            number: parts.next()??,
            stamp: parts.next()??,
            expiry: parts.next()??,
        })
    }
}

/// What becomes of a creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Quick,
    Slow(Duration),
    Fail,
    Panic,
    Hang,
    Gone,
    Passing,
    Short,
}

impl Act {
    pub(crate) fn random(rng: &mut Rng) -> Act {
        match rng.below(100) {
            0..50 => Act::Quick,
            50..68 => Act::Slow(ms(rng.below(25))),
            68..80 => Act::Fail,
            80..85 => Act::Panic,
            85..88 => Act::Hang,
            88..93 => Act::Gone,
            93..96 => Act::Passing,
            _ => Act::Short,
        }
    }

    /// As a creator returns it.
    pub(crate) fn created<V>(self, made: Made, value: V) -> Created<V> {
        match self {
            Act::Gone => Created::gone(),
            Act::Passing => Created::new(value).at(made.stamp).passing(),
            Act::Short => {
                let expiry = Duration::from_micros(made.expiry);
                Created::new(value).at(made.stamp).expires(expiry)
            }
            _ => Created::new(value).at(made.stamp),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Injected;

impl fmt::Display for Injected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("injected")
    }
}

impl std::error::Error for Injected {}

/// What is asked for under a key, and what is known of it.
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) terms: Terms,
    pub(crate) tally: Arc<Tally>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    creating: HashMap<u64, Active>,
    /// Removals that are not over, and the number when the last one was.
    removing: usize,
    removed: u64,
    /// What is made from older views must not be seen by those who come now.
    barrier: u64,
    /// What was seen before this number is stale.
    expired: u64,
    /// By the number of a value, the one at which somebody had it.
    seen: BTreeMap<u64, u64>,
    failures: u64,
    panics: u64,
    /// When one ended that took so long that it may count no more. What it stores makes the next one old.
    overdue: Option<Instant>,
}

#[derive(Clone, Copy)]
struct Active {
    call: Call,
    /// Nobody else is excluded: its lease failed.
    unleased: bool,
}

/// A call, and what was promised when it began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    number: u64,
    began: Instant,
    wall: u64,
    barrier: u64,
    expired: u64,
}

/// A tier takes less to store a value, and a creator less to be called.
const UPSET: Duration = Duration::from_millis(200);

/// A clock that is asked twice differs by no more, in microseconds.
const SLACK: u64 = 3_000;

impl Source {
    pub(crate) fn new(name: String, terms: &Terms, tally: &Arc<Tally>) -> Arc<Source> {
        Arc::new(Source {
            name,
            terms: terms.clone(),
            tally: tally.clone(),
            known: Mutex::default(),
        })
    }

    pub(crate) fn call(&self) -> Call {
        self.tally.count("calls");
        let known = lock(&self.known);
        Call {
            number: number(),
            began: Instant::now(),
            wall: wall(),
            barrier: known.barrier,
            expired: known.expired,
        }
    }

    /// A creator is called, for that call.
    pub(crate) fn creates(self: &Arc<Source>, call: Call, fence: Option<u64>) -> Creating {
        self.tally.count("creations");
        let mut known = lock(&self.known);
        let unleased = self.terms.lease.is_some() && fence.is_none();
        let own = Active { call, unleased };
        let counts = |active: &Active| {
            let age = active.call.began.elapsed();
            let removed = known.removing > 0 || known.removed > active.call.number;
            let upset = known.overdue.is_some_and(|ended| ended.elapsed() < UPSET);
            let lapsed = self.terms.lease.is_some_and(|time| age >= time);
            !removed && !upset && !lapsed && !active.unleased && age < self.terms.limit
        };
        let other = known.creating.values().find(|other| counts(other));
        if let Some(other) = other.filter(|_| counts(&own)) {
            let (age, own) = (other.call.began.elapsed(), call.began.elapsed());
            self.tally.wrong(format!(
                "{}: two create, since {age:?} and {own:?}, {:?}",
                self.name, self.terms
            ));
        }
        let number = number();
        known.creating.insert(number, own);
        Creating {
            source: self.clone(),
            number,
        }
    }

    /// A removal is asked for.
    pub(crate) fn removes(self: &Arc<Source>) -> Removing {
        self.tally.count("removals, invalidations and puts");
        lock(&self.known).removing += 1;
        Removing {
            source: self.clone(),
            number: number(),
        }
    }

    /// A creator fails by what it has called.
    pub(crate) fn fails(&self, why: &'static str) -> Injected {
        self.tally.count(why);
        lock(&self.known).failures += 1;
        Injected
    }

    /// All that was seen is stale when this returns.
    pub(crate) fn expires(&self, expire: impl FnOnce()) {
        self.tally.count("expirations");
        let asked = number();
        expire();
        let mut known = lock(&self.known);
        known.expired = known.expired.max(asked);
    }

    pub(crate) fn answered(&self, call: Call, made: Option<Made>, freshness: &Freshness) {
        let kind = match freshness {
            Freshness::Fresh => "answers, fresh",
            Freshness::Stale => "answers, stale",
            _ => "answers, stale because of an error",
        };
        self.tally.count(kind);
        if let Freshness::StaleOnError(error) = freshness {
            self.may_fail(call, error);
        }
        let Some(made) = made else {
            return self.tally.count("answers that there is none");
        };
        let mut known = lock(&self.known);
        let seen = known.seen.get(&made.number).copied();
        let seen_before = |number: u64| seen.is_some_and(|seen| seen < number);
        let age = Duration::from_micros(call.wall.saturating_sub(made.stamp + SLACK));
        let wrong = |what: &str| {
            let terms = &self.terms;
            self.tally.wrong(format!(
                "{}: {what}: {made:?} {age:?} {call:?} {freshness:?} {terms:?}",
                self.name
            ));
        };
        if made.number < call.barrier {
            wrong("made from what was removed");
        }
        match freshness {
            Freshness::Fresh => {
                if micros(age) > made.expiry && seen_before(call.number) {
                    wrong("fresh, and too old");
                }
                if seen_before(call.expired) {
                    wrong("fresh, and expired");
                }
            }
            Freshness::Stale if age > self.terms.hard => wrong("beyond its hard expiry"),
            Freshness::StaleOnError(_)
                if micros(age) > made.expiry.saturating_add(micros(self.terms.beyond)) =>
            {
                wrong("too old, even for an error")
            }
            _ => {}
        }
        known.seen.entry(made.number).or_insert_with(number);
        if known.seen.len() > 512 {
            known.seen.pop_first();
        }
    }

    pub(crate) fn failed(&self, call: Call, error: &Error) {
        self.tally.count(match error {
            Error::Failed { .. } => "errors: failed",
            Error::Panicked { .. } => "errors: panicked",
            Error::TimedOut { .. } => "errors: timed out",
            Error::Overdue { .. } => "errors: overdue",
            Error::Leased { .. } => "errors: leased",
            Error::Lock(_) => "errors: lock",
            _ => "errors: others",
        });
        self.may_fail(call, error);
    }

    /// Whether that is an error that somebody has caused.
    fn may_fail(&self, call: Call, error: &Error) {
        let waited = call.began.elapsed() + ms(1) >= self.terms.wait;
        let known = lock(&self.known);
        let caused = match error {
            Error::Failed { source, .. } => known.failures > 0 && source.to_string() == "injected",
            Error::Panicked { .. } => known.panics > 0,
            Error::TimedOut { .. } => waited,
            Error::Lock(readers::Error::TimedOut { .. }) => waited,
            Error::Overdue { limit } => *limit == self.terms.limit,
            Error::Leased { .. } => self.terms.lease.is_some(),
            _ => false,
        };
        drop(known);
        self.tally.check(caused, || {
            format!("{}: {error} {call:?} {:?}", self.name, self.terms)
        });
    }

    /// What is there at the end.
    pub(crate) fn ends(&self, held: Option<Made>) {
        let known = lock(&self.known);
        let (barrier, creating) = (known.barrier, known.creating.len());
        let old = held.filter(|made| made.number < barrier);
        self.tally.check(old.is_none(), || {
            format!("{}: {old:?} was removed at {barrier}", self.name)
        });
        self.tally.check(creating == 0, || {
            format!("{}: {creating} create yet", self.name)
        });
    }
}

/// Somebody creates.
pub(crate) struct Creating {
    source: Arc<Source>,
    number: u64,
}

impl Creating {
    /// On this thread; what never returns takes much longer than it may.
    pub(crate) fn run(self, act: Act) -> Result<Made, Injected> {
        match act {
            Act::Slow(time) => busy(time),
            Act::Hang => busy(self.source.terms.limit * 2),
            _ => {}
        }
        self.end(act)
    }

    /// In this task.
    pub(crate) async fn run_async(self, act: Act) -> Result<Made, Injected> {
        match act {
            Act::Slow(time) => tokio::time::sleep(time).await,
            Act::Hang => {
                self.source.tally.count("faults: never returns");
                std::future::pending().await
            }
            _ => {}
        }
        self.end(act)
    }

    fn end(self, act: Act) -> Result<Made, Injected> {
        let Source { terms, tally, .. } = &*self.source;
        let expiry = match act {
            Act::Short => terms.expiry / 2,
            _ => terms.expiry,
        };
        let made = Made {
            number: self.number,
            stamp: wall(),
            expiry: micros(expiry),
        };
        match act {
            Act::Fail => {
                return Err(self.source.fails("faults: fails"));
            }
            Act::Panic => {
                tally.count("faults: panics");
                lock(&self.source.known).panics += 1;
                drop(self);
                // Nothing is printed so.
                std::panic::resume_unwind(Box::new("injected"));
            }
            Act::Hang => tally.count("faults: takes too long"),
            Act::Slow(_) => tally.count("faults: slow"),
            Act::Quick | Act::Gone | Act::Passing | Act::Short => {}
        }
        Ok(made)
    }
}

impl Drop for Creating {
    fn drop(&mut self) {
        let mut known = lock(&self.source.known);
        if let Some(own) = known.creating.remove(&self.number)
            && own.call.began.elapsed() + ms(20) >= self.source.terms.limit
        {
            known.overdue = Some(Instant::now());
        }
    }
}

/// Something is being removed, or replaced.
pub(crate) struct Removing {
    source: Arc<Source>,
    pub(crate) number: u64,
}

impl Removing {
    /// It is done. Dropped without, nobody knows.
    pub(crate) fn done(self) {
        let mut known = lock(&self.source.known);
        known.barrier = known.barrier.max(self.number);
    }
}

impl Drop for Removing {
    fn drop(&mut self) {
        let mut known = lock(&self.source.known);
        known.removing -= 1;
        known.removed = number();
    }
}

/// A tier that is slow, fails, and fails when it is done.
pub(crate) struct Flaky {
    pub(crate) memory: Memory,
    rng: Mutex<Rng>,
    percent: u64,
    tally: Arc<Tally>,
}

impl Flaky {
    pub(crate) fn new(seed: u64, percent: u64, tally: &Arc<Tally>) -> Flaky {
        Flaky {
            memory: Memory::new(1 << 20),
            rng: Mutex::new(Rng::new(seed)),
            percent,
            tally: tally.clone(),
        }
    }

    /// How long it takes, and whether it fails before or after.
    async fn suffers(&self) -> (bool, bool) {
        let (time, before, after) = {
            let mut rng = lock(&self.rng);
            let mut hit = || rng.percent(self.percent);
            let (slow, before, after) = (hit(), hit(), hit());
            (ms(if slow { rng.below(15) } else { 0 }), before, after)
        };
        if !time.is_zero() {
            self.tally.count("faults: a slow tier");
            tokio::time::sleep(time).await;
        }
        (before, after)
    }

    fn fail(&self) -> tier::Error {
        self.tally.count("faults: a tier fails");
        tier::Error::new(tier::Kind::Transient, "flaky", "injected")
    }
}

impl Tier for Flaky {
    fn name(&self) -> &str {
        "flaky"
    }

    fn capabilities(&self) -> Capabilities {
        self.memory.capabilities()
    }

    async fn get(&self, key: Key<'_>) -> tier::Result<Option<Entry>> {
        match self.suffers().await {
            (true, _) => Err(self.fail()),
            _ => self.memory.get(key).await,
        }
    }

    async fn write(&self, key: Key<'_>, op: Op, when: When) -> tier::Result<Applied> {
        let (before, after) = self.suffers().await;
        if before {
            return Err(self.fail());
        }
        let applied = self.memory.write(key, op, when).await?;
        if after { Err(self.fail()) } else { Ok(applied) }
    }
}

/// A lease that cannot always be asked for.
pub(crate) struct FlakyLease {
    pub(crate) lease: MemoryLease,
    pub(crate) rng: Mutex<Rng>,
    pub(crate) tally: Arc<Tally>,
}

impl Lease for FlakyLease {
    fn name(&self) -> &str {
        "flaky"
    }

    async fn take(&self, key: &str, time: Duration) -> lease::Result<Option<Held>> {
        if lock(&self.rng).percent(3) {
            self.tally.count("faults: a lease fails");
            return Err(lease::Error::new(
                lease::Kind::Transient,
                "flaky",
                "injected",
            ));
        }
        self.lease.take(key, time).await
    }

    async fn renew(&self, held: &mut Held, time: Duration) -> lease::Result<bool> {
        self.lease.renew(held, time).await
    }

    async fn release(&self, held: Held) -> lease::Result<()> {
        self.lease.release(held).await
    }
}

//! Threads whose time is moved by hand, and the harness of the original's tests.

#![allow(dead_code)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use documentbuffer::clock::manual::ManualClock;
use documentbuffer::clock::{Bell, Clock};

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// When it all begins, in microseconds since 1970.
pub(crate) const BEGIN: u64 = 1_700_000_000_000_000;

/// Threads that sleep on a clock which goes on when all of them do.
pub(crate) struct Virtual {
    pub(crate) clock: ManualClock,
    threads: Vec<JoinHandle<()>>,
    alive: Arc<AtomicUsize>,
}

impl Virtual {
    pub(crate) fn new() -> Virtual {
        Virtual {
            clock: ManualClock::at(BEGIN),
            threads: Vec::new(),
            alive: Arc::default(),
        }
    }

    pub(crate) fn arc(&self) -> Arc<dyn Clock> {
        Arc::new(self.clock.clone())
    }

    pub(crate) fn sleeper(&self) -> Sleeper {
        Sleeper(self.clock.clone())
    }

    pub(crate) fn spawn(&mut self, run: impl FnOnce() + Send + 'static) {
        struct Alive(Arc<AtomicUsize>);
        impl Drop for Alive {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        self.alive.fetch_add(1, Ordering::SeqCst);
        let alive = Alive(self.alive.clone());
        self.threads.push(thread::spawn(move || {
            let _alive = alive;
            run();
        }));
    }

    /// Moves the clock by a step whenever all wait for an hour, until all have ended.
    pub(crate) fn run(self, step: Duration) {
        loop {
            let alive = self.alive.load(Ordering::SeqCst);
            if alive == 0 {
                break;
            }
            match self.clock.waiting() >= alive {
                true => self.clock.advance(step),
                false => thread::yield_now(),
            }
        }
        for thread in self.threads {
            thread.join().expect("no thread failed");
        }
    }
}

#[derive(Clone)]
pub(crate) struct Sleeper(ManualClock);

impl Sleeper {
    pub(crate) fn sleep(&self, time: Duration) {
        let hour = self.0.monotonic() + time;
        let bell = Arc::new(Bell::default());
        while bell.wait(&self.0, Some(hour)) {}
    }

    pub(crate) fn now(&self) -> Duration {
        self.0.monotonic()
    }

    pub(crate) fn wall(&self) -> u64 {
        self.0.wall_micros()
    }
}

/// The parameters of a run of the harness.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    pub(crate) expiry: Duration,
    pub(crate) creation: Duration,
    pub(crate) uses: usize,
    pub(crate) usage: Duration,
    pub(crate) delay: Duration,
}

pub(crate) const THREADS: usize = 10;

/// What the harness saw.
#[derive(Default)]
pub(crate) struct Seen {
    creating: AtomicUsize,
    pub(crate) creations: AtomicUsize,
    slow: AtomicUsize,
    oldest: Mutex<Duration>,
    last: Mutex<Duration>,
}

/// Somebody creates, and nobody else.
pub(crate) struct Creating<'a>(&'a Seen);

impl Seen {
    pub(crate) fn creates(&self) -> Creating<'_> {
        assert_eq!(
            self.creating.fetch_add(1, Ordering::SeqCst),
            0,
            "two create"
        );
        self.creations.fetch_add(1, Ordering::SeqCst);
        Creating(self)
    }

    /// An entry took so long, and gave a value that was made at that time.
    pub(crate) fn entered(&self, took: Duration, age: Duration, now: Duration) {
        if took > ms(10) {
            self.slow.fetch_add(1, Ordering::SeqCst);
        }
        let mut oldest = self.oldest.lock().unwrap();
        *oldest = age.max(*oldest);
        let mut last = self.last.lock().unwrap();
        *last = now.max(*last);
    }

    /// The bounds of the original: by the time that it took, and by what may be waited for. `forgets`: after so long
    /// a value is gone.
    pub(crate) fn check(&self, run: Run, lives: Duration, forgets: bool) {
        let time = *self.last.lock().unwrap();
        let creations = self.creations.load(Ordering::SeqCst);
        // Each value lives so long, and only then the next is begun.
        let most = 1 + (time.as_millis() / lives.as_millis()) as usize;
        assert!(creations <= most, "{creations} creations, {most} at most");
        let least = (time.as_millis() / (lives + run.creation + run.usage + run.delay).as_millis())
            as usize;
        assert!(
            creations >= least.max(1),
            "{creations} creations, {least} at least"
        );
        let slow = self.slow.load(Ordering::SeqCst);
        // All wait for the first one, and for each one that is gone; else who creates.
        let most = THREADS + creations * if forgets { THREADS } else { 1 };
        assert!(slow <= most, "{slow} waited, {most} at most");
        let bound = (run.expiry + run.creation + run.usage + run.delay).mul_f64(1.1);
        let oldest = *self.oldest.lock().unwrap();
        assert!(oldest <= bound, "{oldest:?} old, {bound:?} at most");
    }
}

impl Drop for Creating<'_> {
    fn drop(&mut self) {
        self.0.creating.fetch_sub(1, Ordering::SeqCst);
    }
}

//! Tokens and turns under a scheduler that tries out interleavings of threads.
//!
//! ```sh
//! RUSTFLAGS="--cfg shuttle" cargo test --features tier --test generation_shuttle
//! ```
//!
//! `SHUTTLE_ITERATIONS` sets another number of schedules. A schedule that fails is printed:
//! `SHUTTLE_SCHEDULE='…'` in front of the command, and the test's name behind it, run that one alone.

#![cfg(all(shuttle, feature = "tier"))]

mod generation_support;

use std::task::{Context, Poll, Waker};

use documentbuffer::generation::{Generations, Landing};
use generation_support::Model;
use shuttle::future::block_on;
use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};
use shuttle::sync::{Arc, Mutex};
use shuttle::{Config, Runner, thread};

const SCHEDULES: usize = 3_000;

fn explore(name: &str, model: fn()) {
    fn run(scheduler: impl Scheduler + 'static, model: fn()) {
        Runner::new(scheduler, Config::new()).run(model);
    }
    if let Ok(schedule) = std::env::var("SHUTTLE_SCHEDULE") {
        return run(ReplayScheduler::new_from_encoded(&schedule), model);
    }
    let asked = std::env::var("SHUTTLE_ITERATIONS").ok();
    let most = asked.map_or(SCHEDULES, |asked| asked.parse().unwrap());
    eprintln!("{name}: twice {most} schedules from seed 1; SHUTTLE_SCHEDULE=<as printed> runs one");
    run(RandomScheduler::new_from_seed(1, most), model);
    run(PctScheduler::new_from_seed(1, 3, most), model);
}

/// What begins and what ends is told to the model in the same step; polls are on their own.
#[derive(Clone)]
struct World {
    generations: Generations,
    model: Arc<Mutex<Model>>,
}

impl World {
    fn new() -> World {
        World {
            generations: Generations::new(),
            model: Arc::new(Mutex::new(Model::default())),
        }
    }

    fn write(&self, key: &'static str) {
        let (write, ticket) = {
            let mut model = self.model.lock().unwrap();
            (self.generations.write(key), model.asks_to_write(key))
        };
        if thread_rng().gen_bool(0.2) {
            let mut write = Box::pin(write);
            let context = &mut Context::from_waker(Waker::noop());
            match write.as_mut().poll(context) {
                Poll::Ready(turn) => self.hold(key, ticket, turn),
                Poll::Pending => self.end(key, ticket, write),
            }
            return;
        }
        let turn = block_on(write);
        self.hold(key, ticket, turn);
    }

    fn hold<T>(&self, key: &'static str, ticket: u64, turn: T) {
        self.model.lock().unwrap().begins(key, ticket);
        thread::yield_now();
        self.end(key, ticket, turn);
    }

    fn end<T>(&self, key: &'static str, ticket: u64, place: T) {
        let mut model = self.model.lock().unwrap();
        drop(place);
        model.ends(key, ticket);
    }

    fn land(&self, key: &'static str) {
        let (token, since) = {
            let mut model = self.model.lock().unwrap();
            (self.generations.token(key), model.tick())
        };
        thread::yield_now();
        let (landing, ticket) = {
            let mut model = self.model.lock().unwrap();
            (self.generations.land(token), model.asks_to_land(key, since))
        };
        self.landed(key, since, ticket, landing);
    }

    fn land_since(&self, key: &'static str) {
        let (mark, since) = {
            let mut model = self.model.lock().unwrap();
            (self.generations.mark(), model.tick())
        };
        thread::yield_now();
        let (landing, ticket) = {
            let mut model = self.model.lock().unwrap();
            (
                self.generations.land_since(&mark, key),
                model.asks_to_land(key, since),
            )
        };
        drop(mark);
        self.landed(key, since, ticket, landing);
    }

    fn write_if(&self, key: &'static str) {
        let (token, since) = {
            let mut model = self.model.lock().unwrap();
            (self.generations.token(key), model.tick())
        };
        thread::yield_now();
        let asked = {
            let mut model = self.model.lock().unwrap();
            let live = model.is_live(key, since);
            let asked = self.generations.write_if(token, key);
            assert_eq!(asked.is_some(), live);
            asked.map(|write| (write, model.asks_to_write(key)))
        };
        if let Some((write, ticket)) = asked {
            let turn = block_on(write);
            self.hold(key, ticket, turn);
        }
    }

    fn landed(&self, key: &'static str, since: u64, ticket: u64, landing: Landing) {
        let live_before = self.model.lock().unwrap().is_live(key, since);
        match block_on(landing) {
            Some(turn) => {
                assert!(live_before, "landed an old view");
                self.hold(key, ticket, turn);
            }
            None => {
                let mut model = self.model.lock().unwrap();
                assert!(!model.is_live(key, since), "a live one was refused");
                model.ends(key, ticket);
            }
        }
    }
}

const KEYS: [&str; 2] = ["a", "b"];

fn threads(keys: usize) {
    let world = World::new();
    let threads = (0..3).map(|_| {
        let world = world.clone();
        thread::spawn(move || {
            for _ in 0..3 {
                let key = KEYS[thread_rng().gen_range(0..keys)];
                match thread_rng().gen_range(0..6) {
                    0 | 1 => world.write(key),
                    5 => world.write_if(key),
                    2 | 3 => world.land(key),
                    _ => world.land_since(key),
                }
            }
        })
    });
    let threads: Vec<_> = threads.collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(world.generations.is_empty(), "{:?}", world.generations);
}

#[test]
fn one_key() {
    explore("one_key", || threads(1));
}

#[test]
fn two_keys() {
    explore("two_keys", || threads(2));
}

//! Owed writes whose process dies, or whose power fails, at every call of their journal's directory.
//!
//! The oracle: of each key, once all is delivered, the tier below has the last write that was acknowledged, or
//! one that was asked for after it; and never an older one than it had before.
#![cfg(all(feature = "chain", feature = "testing"))]

mod behind_support;
mod crash_schedules;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use behind_support::{Mood, Slow, entry, key};
use documentbuffer::clock::manual::ManualClock;
use documentbuffer::durability::Durability;
use documentbuffer::store::fault::{CrashPlan, FaultDirectory, Kind, Rng};
use documentbuffer::tier::{self, Op, Tier, Version, When};
use documentbuffer::write_behind::behind::{Behind, Options};

const KEYS: [&str; 3] = ["a", "b", "a longer key"];

struct Case {
    rng: Rng,
    durability: Durability,
    slow: Slow,
    /// The newest write of each key that must not be lost by a kill, and by a power cut.
    kill: BTreeMap<&'static str, u64>,
    power: BTreeMap<&'static str, u64>,
    number: u64,
    seed: u64,
}

impl Case {
    fn new(seed: u64) -> Case {
        let mut rng = Rng::new(seed);
        let durability = match rng.below(2) {
            0 => Durability::Written,
            _ => Durability::Synced,
        };
        Case {
            rng,
            durability,
            slow: Slow::default(),
            kill: BTreeMap::new(),
            power: BTreeMap::new(),
            number: 0,
            seed,
        }
    }

    async fn open(&mut self, dir: &FaultDirectory) -> Option<Behind<Slow>> {
        let options = Options::new()
            .journal_in(Arc::new(dir.clone()))
            .durability(self.durability)
            .delays(Duration::from_millis(10), Duration::from_millis(50))
            .parallel(2)
            .compact_at(300 + self.rng.below(500))
            .seed(self.rng.next_u64())
            .clock(Arc::new(ManualClock::at(1)));
        // The clock stands still: a delay is over in another life only.
        options.open(self.slow.clone()).await.ok()
    }

    async fn operate(&mut self, owed: &Behind<Slow>) {
        let name = KEYS[self.rng.below(3) as usize];
        match self.rng.below(8) {
            0..=4 => {
                self.number += 1;
                let number = self.number;
                let op = match self.rng.below(4) {
                    0 => Op::Remove(Version { fence: 0, number }),
                    _ => entry(&number.to_string(), number),
                };
                if owed.write(key(name), op, When::Always).await.is_ok() {
                    self.kill.insert(name, number);
                    if self.durability == Durability::Synced {
                        self.power.insert(name, number);
                    }
                }
            }
            5 => self.slow.let_through(self.rng.below(4) as usize),
            6 => {
                let mood = match self.rng.below(3) {
                    0 => Mood::Fail(tier::Kind::Transient),
                    1 => Mood::Mute,
                    _ => Mood::Well,
                };
                self.slow.moods(name, &[mood]);
            }
            _ => {
                for _ in 0..self.rng.below(20) {
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    async fn life(&mut self, dir: &FaultDirectory, ops: u64) {
        self.slow.shut();
        let Some(owed) = self.open(dir).await else {
            return;
        };
        for _ in 0..ops {
            self.operate(&owed).await;
            if dir.fired() > 0 {
                break;
            }
        }
    }

    /// Answers how many calls the last life makes if none fails.
    fn run(&mut self, at: Option<u64>) -> u64 {
        let mut dir = FaultDirectory::new(self.rng.next_u64());
        for _ in 0..self.rng.below(2) {
            let ops = self.rng.below(10);
            alone(self.life(&dir, ops));
            dir = dir.kill();
        }
        dir.calm();
        if let Some(at) = at {
            dir.fail_at(at, Kind::Fail(ErrorKind::Other), true);
        }
        let ops = 3 + self.rng.below(12);
        alone(self.life(&dir, ops));
        let calls = dir.calls().total();
        let cut = self.rng.below(3) > 0;
        let next = if cut {
            let plan = CrashPlan::random(&mut self.rng);
            let image = dir.crash(&mut self.rng, plan);
            FaultDirectory::from_image(self.rng.next_u64(), image)
        } else {
            dir.calm();
            dir.kill()
        };
        let certain = if cut { &self.power } else { &self.kill };
        let mut certain = certain.clone();
        for (name, number) in self.slow.versions() {
            let known = KEYS.iter().find(|key| **key == name).expect("a key");
            let least = certain.entry(known).or_default();
            *least = number.max(*least);
        }
        alone(self.settle(&next));
        let found = self.slow.versions();
        for (name, least) in certain {
            let has = found.get(name).copied().unwrap_or(0);
            assert!(
                (least..=self.number).contains(&has),
                "{name}: write {has} is there, {least} was certain, cut {cut}, {:?}; BEHIND_SEED={}",
                self.durability,
                self.seed
            );
        }
        calls
    }

    async fn settle(&mut self, dir: &FaultDirectory) {
        self.slow.calm();
        let owed = self.open(dir).await;
        let owed = owed.unwrap_or_else(|| panic!("it opens; BEHIND_SEED={}", self.seed));
        let closed = owed.close(Duration::from_secs(60)).await.expect("closed");
        assert!(
            closed.settled && closed.parked == 0,
            "{closed:?}; BEHIND_SEED={}",
            self.seed
        );
    }
}

/// A process of its own: whatever it left running ends with it.
fn alone(run: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(run);
    runtime.shutdown_background();
}

fn schedule(seed: u64) -> u64 {
    let calls = Case::new(seed).run(None);
    for at in 0..calls {
        Case::new(seed).run(Some(at));
    }
    calls
}

fn schedules(default: u64) {
    crash_schedules::run("BEHIND", default, |seed, _| schedule(seed));
}

#[test]
fn a_crash_at_every_step_loses_nothing_and_brings_nothing_back() {
    schedules(40);
}

#[test]
#[ignore = "a campaign: see tests/README.md"]
fn a_crash_at_every_step_of_2000_schedules_loses_nothing_and_brings_nothing_back() {
    schedules(2000);
}

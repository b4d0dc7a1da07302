//! Random schedules of readers and writers over chains of all shapes, with slow, failing, panicking and
//! evicting levels, late writes, dropped callers and crashes; an oracle says whether what was read can be.
//!
//! `DOCUMENTBUFFER_CASES` sets another number of schedules. One that fails is printed with its seed:
//!
//! ```sh
//! DOCUMENTBUFFER_SEED=<seed> cargo test --features chain --test chain_random
//! ```

#![cfg(feature = "chain")]

mod chain_support;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use chain_support::history::{History, Outcome};
use chain_support::random::{Chance, Rng};
use chain_support::*;
use documentbuffer::chain::{Chain, LevelState, WriteError};
use documentbuffer::durability::Durability;
use documentbuffer::tier::guarded::Guarded;
use documentbuffer::tier::{Applied, BoxTier, Capabilities, Entry, Op, Result, Tier, TierExt};
use documentbuffer::tier::{Version, When};

const CASES: u64 = 3_000;
const KEYS: [&str; 2] = ["a", "b"];
const COUNTER: &str = "counter";

/// A chain of some shape, and what lies in it.
struct World {
    chain: Chain,
    /// All chains, the outermost last.
    chains: Vec<Chain>,
}

/// How chains stand on tiers: indices of tiers, and chains of such.
enum Shape {
    Tier(usize),
    Chain(Vec<Shape>),
}

/// Tiers from the fastest down, and how they are put together; the last tier is the truth of all.
fn shape(rng: &Rng) -> (Vec<Fake>, Shape) {
    use Shape::Tier as T;
    let chain = Shape::Chain;
    let (durabilities, shape) = match rng.below(8) {
        0 => ("ms", chain(vec![T(0), T(1)])),
        1 => ("mms", chain(vec![T(0), T(1), T(2)])),
        2 => ("mss", chain(vec![T(0), T(1), T(2)])),
        3 => ("msms", chain(vec![T(0), T(1), T(2), T(3)])),
        4 => ("mms", chain(vec![T(0), chain(vec![T(1), T(2)])])),
        5 => ("msss", chain(vec![chain(vec![T(0), T(1)]), T(2), T(3)])),
        6 => (
            "mmss",
            chain(vec![chain(vec![T(0), T(1)]), chain(vec![T(2), T(3)])]),
        ),
        _ => {
            let inner = chain(vec![T(1), chain(vec![T(2), T(3)])]);
            ("mmss", chain(vec![T(0), inner]))
        }
    };
    let tier = |(at, c): (usize, char)| {
        let durability = match c {
            'm' => Durability::Memory,
            _ => Durability::Synced,
        };
        let mut can = Capabilities::new(durability);
        can.conditions = rng.percent(50);
        can.tombstones = can.conditions && rng.percent(50);
        can.merge = rng.percent(50);
        Fake::new(&format!("{at}{c}"), can)
    };
    (durabilities.chars().enumerate().map(tier).collect(), shape)
}

fn build(rng: &Rng, clock: &Arc<Hand>, tiers: &[Fake], shape: &Shape) -> World {
    fn tier_of(
        rng: &Rng,
        clock: &Arc<Hand>,
        tiers: &[Fake],
        shape: &Shape,
        chains: &mut Vec<Chain>,
        outermost: bool,
    ) -> BoxTier {
        match shape {
            Shape::Tier(at) => BoxTier::new(tiers[*at].clone()),
            Shape::Chain(levels) => {
                let levels: Vec<BoxTier> = levels
                    .iter()
                    .map(|level| tier_of(rng, clock, tiers, level, chains, false))
                    .collect();
                // The order of writes that wait for room is nobody's; those of chains below come in order.
                let writes = if outermost {
                    1000
                } else {
                    1 + rng.below(8) as u32
                };
                let suspects = if rng.percent(20) { rng.below(2) } else { 100 };
                let chain = Chain::boxed(levels)
                    .clock(clock.clone())
                    .fills(1 + rng.below(4) as u32)
                    .writes(writes)
                    .suspects(suspects)
                    .build()
                    .unwrap();
                chains.push(chain.clone());
                BoxTier::new(chain)
            }
        }
    }
    let mut chains = Vec::new();
    tier_of(rng, clock, tiers, shape, &mut chains, true);
    let chain = chains.last().unwrap().clone();
    World { chain, chains }
}

/// The answer, unless the caller goes away before: after so many polls.
async fn until_dropped<F: Future>(mut call: Pin<&mut F>, polls: usize) -> Option<F::Output> {
    let mut left = polls;
    std::future::poll_fn(|context| {
        if let Poll::Ready(answer) = call.as_mut().poll(context) {
            return Poll::Ready(Some(answer));
        }
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

async fn maybe_dropped<F: Future>(rng: &Rng, call: F) -> Option<F::Output> {
    let call = pin!(call);
    match rng.percent(10) {
        true => until_dropped(call, rng.below(12)).await,
        false => Some(call.await),
    }
}

fn outcome(answer: Result<Applied>) -> Outcome {
    match answer {
        Ok(Applied::Done) => Outcome::Made,
        Ok(Applied::Refused { .. }) => Outcome::Clean,
        Err(error) if error.is_unknown() => Outcome::Unknown,
        Err(error) => {
            // Where it is known that nothing was changed, the truth has what it had.
            if let Some(report) = WriteError::of(&error) {
                let truth = report.levels().last().unwrap();
                assert_eq!(truth.state, LevelState::Old, "{report}");
            }
            Outcome::Clean
        }
    }
}

struct Actor {
    rng: Rng,
    chain: Chain,
    history: History,
}

impl Actor {
    async fn act(&self) {
        for _ in 0..self.rng.below(7) + 3 {
            yields(self.rng.below(4)).await;
            let key = self.rng.below(KEYS.len());
            match self.rng.below(100) {
                0..45 => self.read(key).await,
                45..65 => self.write(key, false).await,
                65..80 => self.write(key, true).await,
                80..90 => self.merge().await,
                _ => self.sum().await,
            }
        }
    }

    async fn read(&self, key: usize) {
        let start = self.history.tick();
        let get = self.chain.get(chain_support::key(KEYS[key]));
        if let Some(Ok(entry)) = maybe_dropped(&self.rng, get).await {
            self.history.read(key, start, entry.map(number));
        }
    }

    async fn write(&self, key: usize, removes: bool) {
        let when = match self.rng.below(10) {
            0 => When::Absent,
            1 => When::Newer,
            2 => {
                let held = self.chain.get(chain_support::key(KEYS[key])).await;
                let version = held
                    .ok()
                    .flatten()
                    .map_or(Version::NONE, |held| held.version);
                When::Is(version)
            }
            _ => When::Always,
        };
        let number = self.history.writes(key, removes);
        let op = match removes {
            true => Op::Remove(Version::NONE),
            false => Op::Put(Entry::new(number.to_string())),
        };
        let write = self.chain.write(chain_support::key(KEYS[key]), op, when);
        if let Some(answer) = maybe_dropped(&self.rng, write).await {
            self.history.wrote(number, outcome(answer));
        }
    }

    async fn merge(&self) {
        let number = self.history.merges();
        let merge = self
            .chain
            .write(chain_support::key(COUNTER), Op::Merge(1), When::Always);
        if let Some(answer) = maybe_dropped(&self.rng, merge).await {
            self.history.merged(number, outcome(answer));
        }
    }

    async fn sum(&self) {
        let start = self.history.tick();
        if let Ok(entry) = self.chain.get(chain_support::key(COUNTER)).await {
            self.history.sum(start, sum_of(entry));
        }
    }
}

fn number(entry: Entry) -> usize {
    String::from_utf8(entry.value.to_vec())
        .unwrap()
        .parse()
        .unwrap()
}

fn sum_of(entry: Option<Entry>) -> u64 {
    let sum = entry.map_or(0, |entry| {
        i64::from_le_bytes(entry.value.as_ref().try_into().unwrap())
    });
    sum as u64
}

/// Levels evict, and what was given up comes late.
async fn disturb(rng: Rng, tiers: Vec<Fake>) {
    loop {
        yields(1 + rng.below(5)).await;
        let (truth, uppers) = tiers.split_last().unwrap();
        match rng.below(3) {
            0 | 1 => {
                let all = [KEYS[0], KEYS[1], COUNTER];
                uppers[rng.below(uppers.len())].evict(all[rng.below(all.len())]);
            }
            _ if rng.percent(50) => truth.land_late(),
            _ => tiers[rng.below(tiers.len())].land_late(),
        }
    }
}

/// One life of the process, which ends by itself or is cut off.
fn live(rng: &Rng, world: &World, tiers: &[Fake], history: &History) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let crashes = rng.percent(40).then(|| rng.below(120));
    let died = runtime.block_on(async {
        let disturbing = tokio::spawn(disturb(rng.clone(), tiers.to_vec()));
        let actors: Vec<_> = (0..2 + rng.below(4))
            .map(|_| {
                let (rng, chain, history) = (rng.clone(), world.chain.clone(), history.clone());
                tokio::spawn(async move {
                    Actor {
                        rng,
                        chain,
                        history,
                    }
                    .act()
                    .await
                })
            })
            .collect();
        if let Some(crashes) = crashes {
            yields(crashes).await;
            return true;
        }
        for actor in actors {
            actor
                .await
                .unwrap_or_else(|error| resume_unwind(error.into_panic()));
        }
        disturbing.abort();
        calm(world, tiers, history, rng).await;
        false
    });
    // What runs is dropped where it stands.
    drop(runtime);
    died
}

/// All is over: no level holds anything but what the truth holds.
async fn calm(world: &World, tiers: &[Fake], history: &History, rng: &Rng) {
    for chain in &world.chains {
        idle(chain).await;
    }
    for tier in tiers {
        tier.by_chance(None);
    }
    let truth = tiers.last().unwrap();
    truth.land_late();
    for (key, name) in KEYS.iter().enumerate() {
        let start = history.tick();
        let found = world.chain.get(chain_support::key(name)).await.unwrap();
        history.read(key, start, found.map(number));
    }
    for _ in 0..2 {
        for chain in &world.chains {
            idle(chain).await;
        }
    }
    // What is in doubt, also as part of a chain that is, is not looked at; the rest is the truth.
    let stats = world.chains.iter().flat_map(|chain| chain.stats());
    let in_doubt = stats.filter(|level| level.suspects > 0 || level.suspended);
    let in_doubt: Vec<String> = in_doubt.map(|level| level.name).collect();
    let looks = |tier: &&Fake| {
        in_doubt
            .iter()
            .all(|name| name != "chain" && name != tier.name())
    };
    tiers.iter().for_each(Fake::land_late);
    for key in [KEYS[0], KEYS[1], COUNTER] {
        let held = truth.entry(key).map(|entry| entry.value);
        for tier in tiers.iter().filter(looks) {
            let upper = tier.entry(key).map(|entry| entry.value);
            let fine = upper.is_none() || upper == held;
            assert!(fine, "{key} in {}: {upper:?}, not {held:?}", tier.name());
        }
    }
    if rng.percent(50) {
        return;
    }
    world.chain.close().await.unwrap();
    let refused = world.chain.value(KEYS[0]).await.unwrap_err();
    assert_eq!(refused.kind(), documentbuffer::tier::Kind::Closed);
    for chain in &world.chains {
        assert!(chain.generations().is_empty());
    }
}

fn case(seed: u64) -> usize {
    let rng = Rng::new(seed);
    let (tiers, shape) = shape(&rng);
    let history = History::default();
    let clock = Hand::at(1_000_000);
    for _ in 0..1 + rng.below(3) {
        // It may have been set back.
        clock.set(1_000_000 + rng.below(5_000) as u64);
        let unsteady = rng.percent(60);
        for tier in &tiers {
            let some = |percent: usize| if unsteady { rng.below(percent) } else { 0 };
            tier.by_chance(Some(Chance {
                slow: rng.below(8),
                fails: some(30),
                unknown: some(15),
                panics: some(4),
                rng: rng.clone(),
            }));
        }
        let world = build(&rng, &clock, &tiers, &shape);
        if live(&rng, &world, &tiers, &history) {
            history.crash();
        }
        drop(world);
        for tier in &tiers {
            match rng.percent(50) {
                true => tier.land_late(),
                false => tier.lose_late(),
            }
            if !tier.capabilities().outlives() {
                tier.clear();
            }
        }
    }
    history.check();
    history.reads()
}

fn number_from(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn every_read_finds_what_may_be_found() {
    if let Some(seed) = number_from("DOCUMENTBUFFER_SEED") {
        case(seed);
        return;
    }
    let cases = number_from("DOCUMENTBUFFER_CASES").unwrap_or(CASES);
    let mut reads = 0;
    for seed in 0..cases {
        reads += catch_unwind(AssertUnwindSafe(|| case(seed))).unwrap_or_else(|panic| {
            eprintln!("DOCUMENTBUFFER_SEED={seed} cargo test --features chain --test chain_random");
            resume_unwind(panic)
        });
    }
    assert!(reads as u64 > 5 * cases, "{reads} reads");
}

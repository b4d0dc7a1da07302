//! Memory over files that are asleep or fail for a while: nobody waits for them, and nothing is lost.
//!
//! ```sh
//! cargo run --features chain,memory --example tiered_store -- [DIRECTORY]
//! ```
//!
//! A chain of two: memory, and behind it, owed through a journal, a directory of files that takes its time, and
//! fails every other write for a while. The game goes on at the speed of memory and the journal; at the end
//! every score is in its file. Kill it in the middle: the next start delivers what is still owed, before it
//! begins. `docbuf owed DIRECTORY/owed` lists that.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use documentbuffer::chain::Chain;
use documentbuffer::tier::file::FileTier;
use documentbuffer::tier::memory::Memory;
use documentbuffer::tier::{
    Applied, Capabilities, Entry, Error as TierError, Key, Kind, Op, Result as TierResult, Tier,
    TierExt, When,
};
use documentbuffer::write_behind::behind::Options;

const PLAYERS: u64 = 100;
const ROUNDS: u64 = 20;

/// Files on a bad day.
struct BadDay {
    files: FileTier,
    writes: AtomicU64,
}

impl Tier for BadDay {
    fn name(&self) -> &str {
        "files"
    }

    fn capabilities(&self) -> Capabilities {
        self.files.capabilities()
    }

    async fn get(&self, key: Key<'_>) -> TierResult<Option<Entry>> {
        self.files.get(key).await
    }

    async fn write(&self, key: Key<'_>, op: Op, when: When) -> TierResult<Applied> {
        let number = self.writes.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(20)).await;
        if number < 60 && number.is_multiple_of(2) {
            return Err(TierError::new(Kind::Transient, "files", "not now"));
        }
        self.files.write(key, op, when).await
    }
}

async fn run(directory: &Path) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(directory)?;
    let slow = Arc::new(BadDay {
        files: FileTier::open(directory.join("scores"))?,
        writes: AtomicU64::new(0),
    });
    let owed = Options::new()
        .journal(directory.join("owed"))
        .delays(Duration::from_millis(50), Duration::from_secs(1))
        .open(Arc::clone(&slow))
        .await?;
    let left = owed.stats().keys;
    println!("{left} scores are still owed from before");
    let memory = Memory::new(1 << 20);
    let chain = Chain::new().tier(memory).tier(owed.clone()).build()?;

    let begun = Instant::now();
    for round in 1..=ROUNDS {
        for player in 0..PLAYERS {
            let key = format!("player {player}");
            let before = match chain.value(&key).await? {
                Some(score) => std::str::from_utf8(&score)?.parse()?,
                None => 0_u64,
            };
            let score = before + round * player;
            chain.put(&key, score.to_string()).await?;
        }
    }
    let played = begun.elapsed();
    let stats = owed.stats();
    println!(
        "{} writes acknowledged in {played:.0?}; {} arrived, {} failed, {} scores are owed",
        PLAYERS * ROUNDS,
        stats.delivered,
        stats.failures,
        stats.keys
    );
    let mut scores = Vec::new();
    for player in 0..PLAYERS {
        let key = format!("player {player}");
        scores.push((chain.value(&key).await?, key));
    }

    let closed = owed.close(Duration::from_secs(30)).await?;
    chain.close().await?;
    let mut wrong = 0;
    for (score, key) in scores {
        wrong += u32::from(slow.files.value(&key).await? != score);
    }
    println!(
        "closed after {:.1?}: settled {}, {} owed, {wrong} files differ",
        begun.elapsed(),
        closed.settled,
        closed.owed
    );
    match (closed.settled, wrong) {
        (true, 0) => Ok(()),
        _ => Err("the files do not hold what was acknowledged".into()),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args().nth(1);
    let directory = directory.unwrap_or_else(|| "tiered_store".to_owned());
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.enable_time().build()?;
    runtime.block_on(run(Path::new(&directory)))
}

//! A slow source that sometimes fails, asked by many: one call at a time for each city, and nobody waits for a new
//! value where there is an old one.
//!
//! ```sh
//! cargo run --features auto-refresh,chain,dogpile,memory,redb --example weather_cache -- [DIRECTORY]
//!     [--seconds N] [--seed N]
//! ```
//!
//! The source is a small HTTP server in here (`source.rs`), which takes 50 to 300 ms and fails one time in eight.
//! The weather of cities is a `Cached` over a `Chain`, memory over a redb file: who asks gets what is there, and one
//! caller in a second has it loaded anew. The readings of stations are an `AutoRefresh`, asked for in batches
//! whether anybody reads them or not, and written behind: to a journal first, then to another redb file. A line a
//! second says what went on. Stop it with Ctrl-C, or kill it, and start it again: it has its values at once.

mod source;

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use documentbuffer::auto_refresh::{self, AutoRefresh, Batch, Response};
use documentbuffer::chain::Chain;
use documentbuffer::dogpile::{self, Cached};
use documentbuffer::tier::guarded::Guard;
use documentbuffer::tier::memory::Memory;
use documentbuffer::tier::redb::Redb;
use documentbuffer::tier::{
    Applied, Capabilities, Entry, Key, Op, Page, Result as TierResult, Tier, TierExt, When,
};
use documentbuffer::write_behind::behind::{self, Behind};
use source::fetch;
use tokio::task::JoinSet;

const CITIES: [&str; 6] = ["cairo", "lima", "oslo", "perth", "quito", "turin"];
const STATIONS: u64 = 12;
const ASKERS: usize = 8;

/// Values that are good for a second. A stale one is shown while it is loaded anew, and for a minute if that fails.
async fn open_cities(directory: &Path) -> Result<Cached<Chain<Memory>>, Box<dyn Error>> {
    let chain = Chain::new()
        .tier(Memory::new(1 << 20))
        .tier(Redb::open(directory.join("cities.redb"))?)
        .build()?;
    let options = dogpile::Options::new(Duration::from_secs(1))
        .background(true)
        .stale_if_error(Duration::from_secs(60))
        .backoff(Duration::from_millis(100), Duration::from_secs(1))
        .limit(Duration::from_secs(2));
    Ok(Cached::new(chain, options))
}

/// Asks for one city after the other, for ever.
async fn ask(cities: Cached<Chain<Memory>>, source: SocketAddr, first: usize, asked: Arc<Asked>) {
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    for city in CITIES.iter().cycle().skip(first) {
        tick.tick().await;
        // Not called where there is an answer already, or somebody else is about it.
        let load = move || fetch(source, format!("/weather/{city}"));
        let answer = cities.get(city, load).await;
        asked.all.fetch_add(1, Ordering::Relaxed);
        if answer.is_ok_and(|answer| answer.is_fresh()) {
            asked.fresh.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What the dogpile does not count itself.
#[derive(Default)]
struct Asked {
    all: AtomicU64,
    fresh: AtomicU64,
}

/// What a station said last, and how often it was asked.
struct Station {
    readings: u64,
    weather: String,
}

impl Station {
    fn encode(&self) -> String {
        format!("{} {}", self.readings, self.weather)
    }

    fn decode(bytes: Bytes) -> Result<Station, Box<dyn Error + Send + Sync>> {
        let (readings, weather) = str::from_utf8(&bytes)?
            .split_once(' ')
            .ok_or("no reading")?;
        let (readings, weather) = (readings.parse()?, weather.to_owned());
        Ok(Station { readings, weather })
    }
}

/// Writes are owed to a redb file; it is listed as it is, so when it is opened nothing may be owed.
struct Owed {
    behind: Behind<Arc<Redb>>,
    redb: Arc<Redb>,
}

impl Owed {
    async fn open(directory: &Path) -> Result<Owed, Box<dyn Error>> {
        let redb = Arc::new(Redb::open(directory.join("stations.redb"))?);
        let options = behind::Options::new().journal(directory.join("owed"));
        // What an earlier process owed arrives first.
        let before = options.clone().open(Arc::clone(&redb)).await?;
        before.close(Duration::from_secs(30)).await?;
        let behind = options.open(Arc::clone(&redb)).await?;
        Ok(Owed { behind, redb })
    }
}

impl Tier for Owed {
    fn name(&self) -> &str {
        "stations"
    }

    fn capabilities(&self) -> Capabilities {
        self.behind.capabilities()
    }

    async fn get(&self, key: Key<'_>) -> TierResult<Option<Entry>> {
        self.behind.get(key).await
    }

    async fn write(&self, key: Key<'_>, op: Op, when: When) -> TierResult<Applied> {
        self.behind.write(key, op, when).await
    }

    async fn scan(&self, from: Option<&Bytes>, limit: usize) -> TierResult<Page> {
        self.redb.scan(from, limit).await
    }
}

/// Items that are asked for twice a second, four in a call.
async fn open_stations(
    owed: Owed,
    source: SocketAddr,
) -> Result<AutoRefresh<Station>, auto_refresh::Error> {
    let stations = auto_refresh::Options::new("stations")
        .period(Duration::from_millis(500))
        .delays(Duration::from_millis(100), Duration::from_secs(1))
        .batches_of(4)
        .store(Guard::new(owed), Station::encode, Station::decode)
        .open(move |batch| read(source, batch))
        .await?;
    Ok(stations)
}

async fn read(source: SocketAddr, batch: Batch<Station>) -> io::Result<Vec<Response<Station>>> {
    let ids: Vec<&str> = batch.iter().map(|station| station.id()).collect();
    let lines = fetch(source, format!("/stations/{}", ids.join(","))).await?;
    let answers = batch.iter().zip(lines.lines()).map(|(station, line)| {
        let (readings, weather) = (station.value().readings + 1, line.to_owned());
        station.update(Station { readings, weather })
    });
    Ok(answers.collect())
}

/// Cities of which there is a value.
async fn kept(cities: &Cached<Chain<Memory>>) -> TierResult<u64> {
    let mut kept = 0;
    for city in CITIES {
        kept += u64::from(cities.tier().value(city).await?.is_some());
    }
    Ok(kept)
}

fn readings(stations: &AutoRefresh<Station>) -> u64 {
    let known = (0..STATIONS).filter_map(|number| stations.get(&format!("station-{number}")));
    known.map(|station| station.readings).sum()
}

/// A line's numbers, and what they are of.
fn count(
    asked: &Asked,
    cities: &Cached<Chain<Memory>>,
    stations: &AutoRefresh<Station>,
) -> [(u64, &'static str); 10] {
    let (dogpile, items) = (cities.stats(), stations.stats());
    [
        (asked.all.load(Ordering::Relaxed), "asked"),
        (asked.fresh.load(Ordering::Relaxed), "fresh"),
        (dogpile.stale, "stale"),
        (dogpile.stale_on_error, "stale on error"),
        (dogpile.refused, "refused"),
        (dogpile.waits, "waits"),
        (dogpile.creations, "loads"),
        (dogpile.failures, "failed"),
        (items.updates, "readings"),
        (items.sync_errors, "batches failed"),
    ]
}

fn line(now: &[(u64, &str)], before: &[(u64, &str)]) -> String {
    let differences = now.iter().zip(before);
    let differences =
        differences.map(|((now, what), (before, _))| format!("{} {what}", now - before));
    differences.collect::<Vec<_>>().join(", ")
}

async fn run(directory: &Path, seconds: u64, seed: u64) -> Result<(), Box<dyn Error>> {
    let source = source::start(seed).await?;
    let owed = Owed::open(directory).await?;
    let behind = owed.behind.clone();
    let cities = open_cities(directory).await?;
    let stations = open_stations(owed, source).await?;

    let found = kept(&cities).await?;
    let items = stations.stats().size;
    println!(
        "found {found} cities, {items} stations with {} readings",
        readings(&stations)
    );

    for number in 0..STATIONS {
        let (readings, weather) = (0, "unknown".to_owned());
        let new = Station { readings, weather };
        stations.get_or_create(&format!("station-{number}"), new)?;
    }
    stations.start()?;
    let (asked, mut askers) = (Arc::new(Asked::default()), JoinSet::new());
    for first in 0..ASKERS {
        askers.spawn(ask(cities.clone(), source, first, Arc::clone(&asked)));
    }

    let zero = count(&Asked::default(), &cities, &stations).map(|(_, what)| (0, what));
    let mut before = zero;
    for second in 1..=seconds {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            stopped = tokio::signal::ctrl_c() => { stopped?; break; }
        }
        let now = count(&asked, &cities, &stations);
        println!(
            "{second} s: {}; {} owed",
            line(&now, &before),
            behind.stats().keys
        );
        before = now;
    }

    askers.shutdown().await;
    println!(
        "in all: {}",
        line(&count(&asked, &cities, &stations), &zero)
    );
    let kept = kept(&cities).await?;
    cities.tier().close().await?;
    // The journal has the last readings of all stations after this, and redb after that.
    stations.shutdown().await?;
    let closed = behind.close(Duration::from_secs(10)).await?;
    let (readings, owed) = (readings(&stations), closed.owed);
    println!("closed with {kept} cities, {readings} readings, {owed} owed");
    Ok(())
}

const USAGE: &str = "usage: weather_cache [DIRECTORY] [--seconds N] [--seed N]";

fn main_or_error() -> Result<(), Box<dyn Error>> {
    let (mut directory, mut seconds) = (PathBuf::from("weather_cache"), 10);
    let mut seed = u64::from(std::process::id());
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|word| word.parse().ok()).ok_or(USAGE);
        match word.as_str() {
            "--seconds" => seconds = number()?,
            "--seed" => seed = number()?,
            flag if flag.starts_with('-') => return Err(USAGE.into()),
            path => directory = path.into(),
        }
    }
    std::fs::create_dir_all(&directory)
        .map_err(|error| format!("cannot make {}: {error}", directory.display()))?;
    println!("seed {seed}");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run(&directory, seconds, seed))
}

fn main() -> ExitCode {
    match main_or_error() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

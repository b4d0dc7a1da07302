//! The conformance suite passes on every tier of the crate, and fails on bad ones.
#![cfg(all(
    feature = "tier",
    feature = "testing",
    feature = "memory",
    feature = "redb",
    feature = "tracing"
))]

use std::collections::HashMap;
use std::sync::Mutex;

use bytes::Bytes;
use documentbuffer::tier::bounded::Bounded;
use documentbuffer::tier::conformance::{Failure, Rule, run};
use documentbuffer::tier::file::{FileOptions, FileTier};
use documentbuffer::tier::guarded::Guard;
use documentbuffer::tier::logged::Logged;
use documentbuffer::tier::memory::Memory;
use documentbuffer::tier::metered::Metered;
use documentbuffer::tier::redb::Redb;
use documentbuffer::tier::timeout::Timeout;
use documentbuffer::tier::{
    Applied, BoxTier, Capabilities, Entry, Error, Key, KeyBuf, Kind, Listed, Op, Page, Result,
    Tier, When,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_conforms() -> Result<(), Failure> {
    run(async || Memory::new(64 << 20)).await?;
    run(async || BoxTier::new(Memory::new(64 << 20))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bounded_tier_conforms() -> Result<(), Failure> {
    let make = async || {
        Bounded::open(Memory::new(64 << 20), 32 << 20)
            .await
            .unwrap()
    };
    run(make).await?;
    run(async || BoxTier::new(make().await)).await
}

/// In a new directory of `dir` each time.
fn files(dir: &tempfile::TempDir, options: FileOptions) -> impl AsyncFn() -> FileTier {
    let number = std::cell::Cell::new(0);
    let path = dir.path().to_owned();
    async move || {
        number.set(number.get() + 1);
        options
            .clone()
            .open(path.join(number.get().to_string()))
            .unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_conform() -> Result<(), Failure> {
    let dir = tempfile::tempdir().unwrap();
    run(files(&dir, FileOptions::new())).await?;
    let dir = tempfile::tempdir().unwrap();
    let forgetful = FileOptions::new().tombstones(std::time::Duration::ZERO);
    run(files(&dir, forgetful)).await?;
    let dir = tempfile::tempdir().unwrap();
    let make = files(&dir, FileOptions::new());
    run(async || BoxTier::new(Bounded::open(make().await, 32 << 20).await.unwrap())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn synced_files_conform() -> Result<(), Failure> {
    let dir = tempfile::tempdir().unwrap();
    run(files(&dir, FileOptions::new().synced())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tier_with_deadlines_conforms() -> Result<(), Failure> {
    let hour = std::time::Duration::from_secs(3600);
    run(async || Timeout::new(Memory::new(64 << 20), hour)).await?;
    let dir = tempfile::tempdir().unwrap();
    let make = files(&dir, FileOptions::new());
    run(async || BoxTier::new(Timeout::new(make().await, hour))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guarded_tier_conforms() -> Result<(), Failure> {
    run(async || Guard::new(Memory::new(64 << 20))).await?;
    run(async || BoxTier::new(Guard::new(Memory::new(64 << 20)))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_metered_tier_conforms() -> Result<(), Failure> {
    run(async || Metered::new(Memory::new(64 << 20))).await?;
    run(async || BoxTier::new(Metered::new(Memory::new(64 << 20)).sample(1))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redb_file_conforms() -> Result<(), Failure> {
    let dir = tempfile::tempdir().unwrap();
    let number = std::cell::Cell::new(0);
    let make = async || {
        number.set(number.get() + 1);
        Redb::open(dir.path().join(number.get().to_string())).unwrap()
    };
    run(make).await?;
    run(async || BoxTier::new(Bounded::open(make().await, 32 << 20).await.unwrap())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logged_tier_conforms() -> Result<(), Failure> {
    run(async || Logged::new(Memory::new(64 << 20))).await?;
    run(async || BoxTier::new(Logged::new(Memory::new(64 << 20)))).await
}

/// A map that breaks one rule.
struct Bad {
    map: Mutex<HashMap<String, Entry>>,
    breaks: Rule,
}

impl Bad {
    fn held(&self, key: &str) -> Option<Entry> {
        self.map.lock().unwrap().get(&self.place(key)).cloned()
    }

    fn place(&self, key: &str) -> String {
        match self.breaks {
            Rule::Keys => key.to_lowercase(),
            _ => key.to_owned(),
        }
    }

    fn allows(&self, when: When, op: &Op, held: Option<&Entry>) -> bool {
        let version = held.map(|held| held.version);
        match (self.breaks, when) {
            (Rule::Conditions, When::Is(_)) => true,
            (Rule::Newer, When::Newer) => version.is_none_or(|held| op.version() >= held),
            (Rule::Expired, _) => when.allows(op.version(), version, held.is_some()),
            _ => {
                let live = held.is_some_and(|held| held.is_live(NOW));
                when.allows(op.version(), version, live)
            }
        }
    }

    fn apply(&self, place: String, op: Op, held: Option<Entry>) -> Result<Applied> {
        let mut map = self.map.lock().unwrap();
        match op {
            Op::Put(_) if self.breaks == Rule::Overwrite && held.is_some() => {}
            Op::Put(entry) if self.breaks == Rule::Kept => {
                map.insert(place, Entry::new(entry.value).version(entry.version));
            }
            Op::Put(mut entry) => {
                if self.breaks == Rule::Values {
                    entry.value.truncate(1 << 16);
                }
                map.insert(place, entry);
            }
            Op::Remove(_) if self.breaks == Rule::Absent && held.is_none() => {
                return Err(Error::new(Kind::Permanent, "bad", "no such key"));
            }
            Op::Remove(_) => drop(map.remove(&place)),
            Op::Merge(delta) => {
                let held = held.filter(|held| held.is_live(NOW));
                let zero = Bytes::copy_from_slice(&[0; 8]);
                let value = held.map_or(zero, |held| held.value);
                let refused = |why| Error::new(Kind::Permanent, "bad", why);
                let number: [u8; 8] = value[..].try_into().map_err(|_| refused("no number"))?;
                let number = i64::from_le_bytes(number);
                let sum = match self.breaks {
                    Rule::Merge => number.wrapping_add(delta),
                    _ => number
                        .checked_add(delta)
                        .ok_or_else(|| refused("too much"))?,
                };
                map.insert(place, Entry::new(sum.to_le_bytes().to_vec()));
            }
            other => panic!("{other:?}"),
        }
        Ok(Applied::Done)
    }
}

/// In 2027.
const NOW: u64 = 1_800_000_000_000_000;

impl Tier for Bad {
    fn name(&self) -> &str {
        "bad"
    }

    fn capabilities(&self) -> Capabilities {
        let mut can = Capabilities::default();
        can.conditions = true;
        can.merge = true;
        can.scan = true;
        can.tombstones = self.breaks == Rule::Tombstones;
        can
    }

    async fn get(&self, key: Key<'_>) -> Result<Option<Entry>> {
        let held = self.held(key.as_str());
        tokio::task::yield_now().await;
        let live = |held: &Entry| held.is_live(NOW);
        match self.breaks {
            Rule::Expired => Ok(held),
            // Not what it was, and now and then nothing of it.
            Rule::Whole => Ok(self.held(key.as_str()).zip(held).map(|(new, mut old)| {
                old.value = new.value;
                old
            }))
            .map(|held| held.filter(live)),
            _ => Ok(held.filter(live)),
        }
    }

    async fn write(&self, key: Key<'_>, op: Op, when: When) -> Result<Applied> {
        let place = self.place(key.as_str());
        // Between what is compared and what is written others may write.
        let races = match (&op, self.breaks) {
            (Op::Merge(_), Rule::Sums) => true,
            (_, Rule::OneWins) => when == When::Absent,
            (_, Rule::NoneLost) => matches!(when, When::Is(_)),
            _ => false,
        };
        let held = self.held(&place);
        if races {
            tokio::task::yield_now().await;
        }
        if !self.allows(when, &op, held.as_ref()) {
            let held = held.map(|held| held.version);
            return Ok(Applied::Refused { held });
        }
        self.apply(place, op, held)
    }

    async fn scan(&self, _: Option<&Bytes>, _: usize) -> Result<Page> {
        let map = self.map.lock().unwrap();
        let live = map.iter().filter(|(_, entry)| entry.is_live(NOW));
        let listed = live.map(|(key, entry)| {
            let key = KeyBuf::new(key.as_str()).unwrap();
            Listed::new(key, entry.value.len() as u64, entry.version)
        });
        let mut listed: Vec<_> = listed.collect();
        if self.breaks == Rule::Scan && listed.len() > 50 {
            listed.pop();
        }
        Ok(Page::new(listed, None))
    }

    async fn close(&self) -> Result<()> {
        match self.breaks {
            Rule::Close => Err(Error::new(Kind::Closed, "bad", "closed already")),
            _ => Ok(()),
        }
    }
}

#[tokio::test]
async fn a_tier_that_breaks_a_rule_is_told_which() {
    let rules = [
        Rule::Absent,
        Rule::Overwrite,
        Rule::Keys,
        Rule::Values,
        Rule::Kept,
        Rule::Expired,
        Rule::Conditions,
        Rule::Newer,
        Rule::Tombstones,
        Rule::Merge,
        Rule::Scan,
        Rule::OneWins,
        Rule::NoneLost,
        Rule::Sums,
        Rule::Whole,
        Rule::Close,
    ];
    for rule in rules {
        let make = async || Bad {
            map: Mutex::default(),
            breaks: rule,
        };
        let failure = run(make).await.expect_err("it is bad");
        assert_eq!(failure.rule, rule, "{failure}");
    }
    // And nothing else is wrong with it.
    let make = async || Bad {
        map: Mutex::default(),
        breaks: Rule::Owned,
    };
    run(make).await.unwrap();
}

/// Claims nothing, and takes no notice of conditions.
struct Careless(Memory);

impl Tier for Careless {
    fn name(&self) -> &str {
        "careless"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn get(&self, key: Key<'_>) -> Result<Option<Entry>> {
        self.0.get(key).await
    }

    async fn write(&self, key: Key<'_>, op: Op, _: When) -> Result<Applied> {
        self.0.write(key, op, When::Always).await
    }
}

#[tokio::test]
async fn what_is_not_claimed_is_refused_and_not_ignored() {
    let make = async || Careless(Memory::new(64 << 20));
    let failure = run(make).await.expect_err("it ignores conditions");
    assert_eq!(failure.rule, Rule::Conditions, "{failure}");
}

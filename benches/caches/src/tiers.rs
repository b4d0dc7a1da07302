//! What a read costs that memory answers, through layers or without, and a put that evicts.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use documentbuffer::chain::Chain;
use documentbuffer::tier::bounded::Bounded;
use documentbuffer::tier::logged::Logged;
use documentbuffer::tier::memory::Memory;
use documentbuffer::tier::metered::Metered;
use documentbuffer::tier::{BoxTier, Entry, Key, Op, Tier, Version, When};
use tokio::runtime::Runtime;

use crate::report::Table;

/// Of each entry.
const VALUE: [u8; 100] = [7; 100];
const LARGE: u64 = 1 << 30;

fn keys(count: usize) -> Vec<String> {
    (0..count).map(|key| format!("user:{key:08}")).collect()
}

/// The keys in an order that no cache line helps with.
fn scattered(keys: &[String], each: usize) -> impl Iterator<Item = &str> {
    let mut at = 0_usize;
    (0..each).map(move |_| {
        at = at.wrapping_add(40_503);
        keys[at & (keys.len() - 1)].as_str()
    })
}

fn per<T>(each: usize, run: impl FnOnce() -> T) -> f64 {
    let begun = Instant::now();
    black_box(run());
    begun.elapsed().as_nanos() as f64 / each as f64
}

fn entry(number: u64) -> Op {
    let version = Version { fence: 0, number };
    Op::Put(Entry::new(Bytes::from_static(&VALUE)).version(version))
}

fn fill(runtime: &Runtime, tier: &impl Tier, keys: &[String]) {
    runtime.block_on(async {
        for (number, key) in keys.iter().enumerate() {
            let key = Key::new(key).expect("a key");
            let op = entry(number as u64 + 1);
            let _ = tier.write(key, op, When::Always).await.expect("a write");
        }
    });
}

fn hits(runtime: &Runtime, tier: &impl Tier, keys: &[String], each: usize) -> f64 {
    runtime.block_on(async {
        let begun = Instant::now();
        for key in scattered(keys, each) {
            let key = Key::new(key).expect("a key");
            let found = tier.get(key).await.expect("a read");
            assert!(black_box(found).is_some());
        }
        begun.elapsed().as_nanos() as f64 / each as f64
    })
}

fn puts(runtime: &Runtime, tier: &impl Tier, keys: &[String], each: usize) -> f64 {
    runtime.block_on(async {
        let begun = Instant::now();
        for (number, key) in scattered(keys, each).enumerate() {
            let key = Key::new(key).expect("a key");
            let op = entry(number as u64 + 1);
            let _ = tier.write(key, op, When::Always).await.expect("a write");
        }
        begun.elapsed().as_nanos() as f64 / each as f64
    })
}

pub fn round(table: &mut Table, scale: f64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let each = (1_000_000.0 * scale) as usize;
    for count in [1, 65_536] {
        read(table, &runtime, &keys(count), each);
    }
    for (count, kept) in [(4096, 1000), (262_144, 10_000)] {
        evict(table, &runtime, each / 4, count, kept);
    }
}

fn read(table: &mut Table, runtime: &Runtime, keys: &[String], each: usize) {
    let case = format!("get that memory answers, {} keys", keys.len());

    let plain: quick_cache::sync::Cache<String, Bytes> =
        quick_cache::sync::Cache::new(keys.len() * 2);
    for key in keys {
        plain.insert(key.clone(), Bytes::from_static(&VALUE));
    }
    let figure = per(each, || {
        for key in scattered(keys, each) {
            assert!(black_box(plain.get(key)).is_some());
        }
    });
    table.add(&case, "quick_cache alone", figure);

    let memory = Memory::new(LARGE);
    fill(runtime, &memory, keys);
    table.add(&case, "Memory", hits(runtime, &memory, keys, each));

    let below = Arc::new(Memory::new(LARGE));
    let bounded = runtime.block_on(Bounded::open(Memory::new(LARGE), LARGE));
    let layers = Logged::new(Metered::new(bounded.expect("a layer")));
    let chain = Chain::new().tier(layers).tier(below.clone()).build();
    let chain = chain.expect("a chain");
    fill(runtime, &chain, keys);
    let figure = hits(runtime, &chain, keys, each);
    table.add(&case, "Chain, Logged, Metered, Bounded, static", figure);
    runtime.block_on(chain.close()).expect("closed");

    let bounded = runtime.block_on(Bounded::open(BoxTier::new(Memory::new(LARGE)), LARGE));
    let metered = BoxTier::new(Metered::new(BoxTier::new(bounded.expect("a layer"))));
    let logged = BoxTier::new(Logged::new(metered));
    let chain = Chain::boxed([logged, BoxTier::new(below)]).build();
    let chain = BoxTier::new(chain.expect("a chain"));
    fill(runtime, &chain, keys);
    table.add(
        &case,
        "the same, each boxed",
        hits(runtime, &chain, keys, each),
    );
    runtime.block_on(chain.close()).expect("closed");

    let moka: moka::sync::Cache<String, Bytes> = moka::sync::Cache::new(keys.len() as u64 * 2);
    for key in keys {
        moka.insert(key.clone(), Bytes::from_static(&VALUE));
    }
    let figure = per(each, || {
        for key in scattered(keys, each) {
            assert!(black_box(moka.get(key)).is_some());
        }
    });
    table.add(&case, "moka", figure);

    let mut cached = cached::SizedCache::<String, Bytes>::with_size(keys.len() * 2);
    for key in keys {
        cached::Cached::cache_set(&mut cached, key.clone(), Bytes::from_static(&VALUE));
    }
    let cached = std::sync::Mutex::new(cached);
    let figure = per(each, || {
        for key in scattered(keys, each) {
            let mut cached = cached.lock().expect("a cache");
            assert!(black_box(cached::Cached::cache_get(&mut *cached, key).cloned()).is_some());
        }
    });
    table.add(&case, "cached (a mutex around its LRU)", figure);

    let foyer: foyer::Cache<String, Bytes> = foyer::CacheBuilder::new(keys.len() * 2).build();
    for key in keys {
        foyer.insert(key.clone(), Bytes::from_static(&VALUE));
    }
    let figure = per(each, || {
        for key in scattered(keys, each) {
            assert!(black_box(foyer.get(key)).is_some());
        }
    });
    table.add(&case, "foyer, memory", figure);
}

/// Every put is of another key than those kept, so that each evicts.
fn evict(table: &mut Table, runtime: &Runtime, each: usize, count: usize, kept: u64) {
    let case = &format!("put with eviction, {kept} of {count} keys kept");
    let keys = keys(count);
    let capacity = kept * 113;

    let plain: quick_cache::sync::Cache<String, Bytes> =
        quick_cache::sync::Cache::new(kept as usize);
    let figure = per(each, || {
        for key in scattered(&keys, each) {
            plain.insert(key.to_owned(), Bytes::from_static(&VALUE));
        }
    });
    table.add(case, "quick_cache alone", figure);

    let bounded = runtime.block_on(Bounded::open(Memory::new(LARGE), capacity));
    let bounded = bounded.expect("a layer");
    fill(runtime, &bounded, &keys[..kept as usize]);
    table.add(
        case,
        "Bounded over Memory",
        puts(runtime, &bounded, &keys, each),
    );

    let memory = Memory::new(capacity);
    table.add(case, "Memory", puts(runtime, &memory, &keys, each));

    let moka: moka::sync::Cache<String, Bytes> = moka::sync::Cache::new(kept);
    let figure = per(each, || {
        for key in scattered(&keys, each) {
            moka.insert(key.to_owned(), Bytes::from_static(&VALUE));
        }
    });
    table.add(case, "moka", figure);

    let foyer: foyer::Cache<String, Bytes> = foyer::CacheBuilder::new(kept as usize).build();
    let figure = per(each, || {
        for key in scattered(&keys, each) {
            foyer.insert(key.to_owned(), Bytes::from_static(&VALUE));
        }
    });
    table.add(case, "foyer, memory", figure);
}

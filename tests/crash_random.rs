//! Random crash images at byte level: promises P0 and P1 over torn sectors of 1 to 512 bytes, lives in a row,
//! deaths of the process that leave unsynced bytes, short writes and failing calls.
//!
//! A case is one store from its birth through a few lives and follows from one number. A failure prints the
//! command that replays it.
#![cfg(feature = "testing")]

mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use documentbuffer::store::fault::Rng;
use support::lives::{Case, Medium};

/// A campaign's counts.
#[derive(Default)]
struct Counts {
    cases: AtomicU64,
    lives: AtomicU64,
    images: AtomicU64,
    violations: AtomicU64,
    /// Violations where no document has a long run of one byte.
    plain: AtomicU64,
}

/// Runs cases on two threads until `images` crash images were judged.
///
/// With an honest sync there are none. Without one, what a later life writes can complete a record torn in an
/// earlier one, about once in a million of these images: in documents with long equal runs, in a document
/// pushed again, and where no more than the last byte was lost, which most records share.
fn campaign(test: &str, medium: Medium, images: u64) {
    if let Some(seed) = number("DOCUMENTBUFFER_SEED") {
        let mut case = Case::new(seed, medium, true);
        let outcome = case.run();
        println!("seed {seed}: {} lives, {} images", case.lives, case.images);
        outcome.unwrap_or_else(|violation| panic!("{violation}"));
        return;
    }
    let images = number("DOCUMENTBUFFER_IMAGES").unwrap_or(images);
    let allowed = match medium {
        Medium::Honest => 0,
        Medium::Bare | Medium::Lying => 3.max(images / 100_000),
    };
    let base = number("DOCUMENTBUFFER_BASE").unwrap_or_else(random);
    println!("{test}: DOCUMENTBUFFER_BASE={base}");
    let begun = Instant::now();
    let counts = Counts::default();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (counts, stop) = (&counts, &stop);
            scope.spawn(move || {
                let mut seeds = Rng::new(base ^ (thread << 63));
                while counts.images.load(Ordering::Relaxed) < images
                    && !stop.load(Ordering::Relaxed)
                {
                    one(test, seeds.next_u64(), medium, counts, stop);
                }
            });
        }
    });
    let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
    println!(
        "{test}: {} cases, {} lives, {} images, {} violations ({} without long equal runs), {:.1} s",
        count(&counts.cases),
        count(&counts.lives),
        count(&counts.images),
        count(&counts.violations),
        count(&counts.plain),
        begun.elapsed().as_secs_f64()
    );
    assert!(
        count(&counts.violations) <= allowed,
        "more than {allowed} violations: the lines above say how to replay them"
    );
}

fn one(test: &str, seed: u64, medium: Medium, counts: &Counts, stop: &AtomicBool) {
    let mut case = Case::new(seed, medium, false);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| case.run()));
    counts.cases.fetch_add(1, Ordering::Relaxed);
    counts.lives.fetch_add(case.lives, Ordering::Relaxed);
    counts.images.fetch_add(case.images, Ordering::Relaxed);
    let violation = match outcome {
        Ok(Ok(())) => return,
        Ok(Err(violation)) => violation,
        Err(_) => "a panic, see above".into(),
    };
    let plain = !case.runs;
    println!(
        "{violation}\n  {} long equal runs; replay: DOCUMENTBUFFER_SEED={seed} cargo test --release \
         --features testing --test crash_random -- --nocapture --include-ignored --exact {test}",
        if plain { "without" } else { "with" }
    );
    counts.violations.fetch_add(1, Ordering::Relaxed);
    counts.plain.fetch_add(u64::from(plain), Ordering::Relaxed);
    if medium == Medium::Honest || counts.violations.load(Ordering::Relaxed) >= 1000 {
        stop.store(true, Ordering::Relaxed);
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}")),
    )
}

fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

#[test]
fn honest_sync() {
    campaign("honest_sync", Medium::Honest, 100_000);
}

#[test]
fn no_sync() {
    campaign("no_sync", Medium::Bare, 100_000);
}

#[test]
fn lying_sync() {
    campaign("lying_sync", Medium::Lying, 50_000);
}

#[test]
#[ignore = "12 minutes on two cores, with --release"]
fn honest_sync_long() {
    campaign("honest_sync_long", Medium::Honest, 10_000_000);
}

#[test]
#[ignore = "12 minutes on two cores, with --release"]
fn no_sync_long() {
    campaign("no_sync_long", Medium::Bare, 10_000_000);
}

#[test]
#[ignore = "12 minutes on two cores, with --release"]
fn lying_sync_long() {
    campaign("lying_sync_long", Medium::Lying, 10_000_000);
}

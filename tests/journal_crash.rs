//! Crashes of the journal: promises P0 and P1 of the crate over a directory whose every unsynced change of
//! names may be there or not, on its own, and whose stores tear at any byte.
//!
//! A random case is one directory from its first journal through a few lives and follows from one number. A
//! failure prints the command that replays it.
#![cfg(all(feature = "journal", feature = "testing"))]

mod journal_support;

use journal_support::campaign::{Campaign, Judged};
use journal_support::lives::{Case, Medium};
use journal_support::scope::{ALL, Scope, Step};

fn campaign(test: &str, medium: Medium, images: u64) {
    let campaign = Campaign {
        program: "journal_crash",
        test,
        images,
    };
    campaign.run(|seed, verbose| {
        let mut case = Case::new(seed, medium, verbose);
        let outcome = case.run();
        let judged = Judged {
            lives: case.lives,
            images: case.images,
        };
        (judged, outcome)
    });
}

#[test]
fn honest_sync() {
    campaign("honest_sync", Medium::Honest, 60_000);
}

#[test]
fn lying_sync() {
    campaign("lying_sync", Medium::Lying, 30_000);
}

#[test]
#[ignore = "10 minutes on two cores, with --release"]
fn honest_sync_long() {
    campaign("honest_sync_long", Medium::Honest, 10_000_000);
}

#[test]
#[ignore = "10 minutes on two cores, with --release"]
fn lying_sync_long() {
    campaign("lying_sync_long", Medium::Lying, 10_000_000);
}

/// All sequences of up to so many calls: in segments that grow, and with a segment for every write; with
/// documents that differ, and with the same one again and again.
fn explore(depth: u32, second: &[Step]) {
    for segment in [1 << 20, 1] {
        for same in [false, true] {
            let second = second.to_vec();
            let scope = Scope {
                depth,
                second,
                segment,
                same,
            };
            let begun = std::time::Instant::now();
            let counts = scope.explore();
            println!(
                "{scope:?}: {counts:?}, {:.1} s",
                begun.elapsed().as_secs_f64()
            );
        }
    }
}

#[test]
fn every_short_sequence_dies_everywhere() {
    explore(2, &[&[Step::Open][..], &ALL].concat());
}

#[test]
#[ignore = "5 minutes on two cores, with --release"]
fn every_sequence_of_four_dies_everywhere() {
    explore(4, &[&[Step::Open][..], &ALL].concat());
}

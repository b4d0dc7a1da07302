//! `examples/page_views.rs`, killed at any moment: what was journaled is counted, and counted once.
#![cfg(all(feature = "write-behind", feature = "redb"))]

mod kills;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use documentbuffer::write_behind::Owed;
use kills::{Rng, kill_after};

/// Views of a page that may have been journaled and not yet told, or added and not yet journaled.
const UNDER_WAY: i64 = 20;

#[test]
fn totals_are_exact_after_a_kill() {
    kill_often(12, kills::seed());
}

#[test]
#[ignore = "campaign: 100 kills; totals_are_exact_after_a_kill is the short form"]
fn totals_are_exact_after_100_kills() {
    kill_often(100, kills::seed());
}

/// The example that cargo built beside this test.
fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let profile = test.ancestors().nth(2).expect("a test lies in deps");
    let name = format!("page_views{}", std::env::consts::EXE_SUFFIX);
    let program = profile.join("examples").join(name);
    assert!(
        program.is_file(),
        "{} is missing: cargo build --features redb,write-behind --example page_views",
        program.display()
    );
    program
}

fn counts<'a>(lines: impl IntoIterator<Item = &'a str>) -> BTreeMap<String, i64> {
    let pairs = lines.into_iter().filter_map(|line| line.rsplit_once(' '));
    pairs
        .map(|(page, total)| (page.to_owned(), total.parse().expect("a number")))
        .collect()
}

fn kill_often(kills: usize, seed: u64) {
    println!(
        "replay: cargo build --features redb,write-behind --example page_views && \
         DOCUMENTBUFFER_SEED={seed} cargo test --features redb,write-behind --test kill_page_views -- \
         --include-ignored"
    );
    let mut rng = Rng(seed);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut told = BTreeMap::new();
    let mut owing = 0;
    for kill in 0..kills {
        told.extend(life(dir.path(), &mut rng));
        let owed = Owed::read(dir.path().join("owed"));
        owing += usize::from(owed.is_ok_and(|owed| !owed.is_empty()));
        let totals = settle(dir.path());
        for (page, total) in &totals {
            let least = told.get(page).copied().unwrap_or(0);
            let most = least + UNDER_WAY;
            assert!(
                (least..=most).contains(total),
                "kill {kill}, {page}: {total}, of which {least} were told to be safe"
            );
        }
        told = totals;
    }
    println!("{kills} kills, after {owing} of them something was owed: {told:?}");
}

fn start(path: &Path, views: &str) -> Command {
    let mut command = Command::new(program());
    command.arg(path).arg(views).stderr(Stdio::null());
    command
}

/// Runs it, kills it, and returns what it had told.
fn life(path: &Path, rng: &mut Rng) -> BTreeMap<String, i64> {
    let mut child = start(path, "1000000")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the example starts");
    let stdout = child.stdout.take().expect("stdout is a pipe");
    let wait_for = rng.below(3000);
    let lines = kill_after(&mut child, stdout, wait_for, rng);
    counts(lines.iter().map(String::as_str))
}

/// Runs it without a view, and returns the totals.
fn settle(path: &Path) -> BTreeMap<String, i64> {
    let output = start(path, "0").output().expect("the example starts");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    counts(text.lines().filter_map(|line| line.strip_prefix("total ")))
}

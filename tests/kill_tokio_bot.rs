//! `examples/tokio_bot.rs`, eight tasks on one journal, killed at any moment: every message that was answered is
//! in the journal, once, in its task's order.
#![cfg(feature = "tokio")]

mod kills;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use documentbuffer::journal::Reader;

use kills::{Rng, kill_after};

const MEMBERS: u64 = 8;

#[test]
fn answered_messages_survive_a_kill() {
    kill_often(15, kills::seed());
}

#[test]
#[ignore = "campaign: 300 kills; answered_messages_survive_a_kill is the short form"]
fn answered_messages_survive_300_kills() {
    kill_often(300, kills::seed());
}

/// The bot that cargo built beside this test.
fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let profile = test.ancestors().nth(2).expect("a test lies in deps");
    let name = format!("tokio_bot{}", std::env::consts::EXE_SUFFIX);
    let program = profile.join("examples").join(name);
    assert!(
        program.is_file(),
        "{} is missing: cargo build --features tokio --example tokio_bot",
        program.display()
    );
    program
}

fn kill_often(kills: usize, seed: u64) {
    println!(
        "replay: cargo build --features tokio --example tokio_bot && \
         DOCUMENTBUFFER_SEED={seed} cargo test --features tokio --test kill_tokio_bot -- --include-ignored"
    );
    let mut rng = Rng(seed);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (mut answered, mut more) = (0, 0);
    // A fresh journal now and then keeps the check short.
    for (chat, first) in (0..kills).step_by(25).enumerate() {
        let path = dir.path().join(chat.to_string());
        let mut known = BTreeMap::new();
        for _ in first..kills.min(first + 25) {
            let answers = life(&path, &mut rng);
            answered += answers.len();
            for (member, number) in &answers {
                let next = known.entry(*member).or_insert(0);
                assert!(
                    number >= next,
                    "member {member}: {number} was answered twice"
                );
                *next = number + 1;
            }
            let found = messages(&path);
            for (member, next) in &mut known {
                let has = found.get(member).copied().unwrap_or(0);
                // One message of each may have been under way.
                assert!(
                    (*next..=*next + 1).contains(&has),
                    "member {member}: {has} of {next}"
                );
                more += has - *next;
                *next = has;
            }
        }
    }
    println!("{kills} kills, {answered} messages answered, {more} more in the journal");
}

/// Runs the bot, kills it, and returns what it answered.
fn life(path: &Path, rng: &mut Rng) -> Vec<(u64, u64)> {
    let mut bot = Command::new(program())
        .arg(path)
        .args([MEMBERS.to_string(), "1000000".to_owned()])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the bot starts");
    let stdout = bot.stdout.take().expect("stdout is a pipe");
    let wait_for = rng.below(400);
    let lines = kill_after(&mut bot, stdout, wait_for, rng);
    let parse = |line: &String| {
        line.split_once(' ')
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
    };
    let number = |text: String| text.parse::<u64>().expect("a number");
    (lines.iter().filter_map(parse))
        .map(|(member, count)| (number(member), number(count)))
        .collect()
}

/// How many messages of each member the journal has, each in its place.
fn messages(path: &Path) -> BTreeMap<u64, u64> {
    let mut found = BTreeMap::new();
    let Ok(reader) = Reader::open(path) else {
        return found;
    };
    let read = reader.replay(0).expect("a journal").each(|document| {
        let text = str::from_utf8(document.bytes).expect("a message");
        let (member, number) = text.split_once(' ').expect("a message");
        let next = found.entry(member.parse().expect("a member")).or_insert(0);
        assert_eq!(number, next.to_string(), "of member {member}");
        *next += 1;
    });
    read.expect("a good journal");
    found
}

//! `docbuf` beside a journal that is written, cut back and discarded from meanwhile.

#![cfg(feature = "cli")]

mod cli_support;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use cli_support::{Dir, Tail, command, events, open, run, spawn, still, until};
use documentbuffer::journal::{Durability, Journal, Options, Reader};

#[test]
fn tail_follows_over_rotation_cuts_and_discarding() {
    let dir = Dir::new();
    let path = dir.journal(["a", "b", "c"], 2);
    let mut tail = Tail::of(&path, "2");
    assert_eq!((tail.next(), tail.next()), ("b".into(), "c".into()));
    // Another process, then a thread of this one.
    run(["push", &path, "d", "e"]).ok();
    assert_eq!((tail.next(), tail.next()), ("d".into(), "e".into()));
    let journal = open(&path);
    journal.append("f").expect("appends");
    still(|| journal.rotate()).expect("rotates");
    journal.append("g").expect("appends");
    assert_eq!((tail.next(), tail.next()), ("f".into(), "g".into()));
    // Into a sealed segment.
    still(|| journal.truncate_after(3)).expect("cuts");
    assert_eq!(tail.next(), 3);
    journal.append("x").expect("appends");
    assert_eq!(tail.next(), "x");
    // One taken, one put in its place, between two looks or not.
    still(|| journal.truncate_after(3)).expect("cuts");
    journal.append("y").expect("appends");
    assert_eq!((tail.next(), tail.next()), (3.into(), "y".into()));
    // What was printed may go.
    still(|| journal.rotate()).expect("rotates");
    assert_eq!(journal.discard_before(4).expect("discards"), 4);
    journal.append("z").expect("appends");
    assert_eq!(tail.next(), "z");
    journal.close().expect("closes");
    run(["remove", &path, "--after", "4"]).ok();
    assert_eq!(tail.next(), 4);
    run(["push", &path, "new"]).ok();
    assert_eq!(tail.next(), "new");
    let told = tail.stop();
    assert!(
        told.contains("cut back to 3 documents") && told.contains("cut back to 4"),
        "{told}"
    );
}

#[test]
fn tail_begins_with_what_is_kept() {
    let dir = Dir::new();
    let path = dir.journal(["a", "b", "c"], 1);
    run(["discard", &path, "--before", "1"]).ok();
    let mut tail = Tail::of(&path, "99");
    assert_eq!((tail.next(), tail.next()), ("b".into(), "c".into()));
    tail.stop();
    let mut tail = Tail::of(&path, "1");
    assert_eq!(tail.next(), "c");
    run(["push", &path, "d"]).ok();
    assert_eq!(tail.next(), "d");
    // Below what was ever printed.
    run(["remove", &path, "--after", "1"]).ok();
    assert_eq!(tail.next(), 1);
    tail.stop();
}

#[test]
fn a_tail_that_is_too_slow_is_told_the_oldest() {
    let dir = Dir::new();
    let path = dir.journal((0..40).map(|_| "x".repeat(100_000)), 4);
    // It waits for its reader long before the end.
    let mut tail = Tail::of(&path, "40");
    assert_eq!(tail.line()["position"], 0);
    run(["discard", &path, "--before", "36"]).ok();
    let (code, lines, told) = tail.end();
    assert_eq!(code, Some(1));
    assert!(lines < 35, "{lines}");
    assert!(
        told.contains("was discarded: the oldest that is kept is 36") && told.contains("--from 36"),
        "{told}"
    );
}

/// splitmix64.
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

fn seed() -> u64 {
    let given = std::env::var("DOCUMENTBUFFER_SEED").ok();
    let seed = given.map_or_else(
        || {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            now.expect("after 1970").as_nanos() as u64
        },
        |given| given.parse().expect("a number"),
    );
    println!(
        "replay: DOCUMENTBUFFER_SEED={seed} cargo test --features cli --test cli_journal_live"
    );
    seed
}

/// Does something to the journal; in small segments. `step` names the documents.
fn act(journal: &Journal, rng: &mut Rng, step: u64) {
    match rng.below(12) {
        0 => still(|| journal.rotate()).expect("rotates"),
        1 => {
            let back = rng.below(8).min(journal.end() - journal.first());
            let cut = still(|| journal.truncate_after(journal.end() - back));
            cut.expect("cuts");
        }
        n => {
            let document = format!("{step} {}", "x".repeat(rng.below(300) as usize));
            let durability = if n < 8 {
                Durability::Memory
            } else {
                Durability::Written
            };
            still(|| journal.append_with(document, durability)).expect("appends");
        }
    }
}

#[test]
fn what_a_tail_prints_adds_up_to_the_journal() {
    let mut rng = Rng(seed());
    for _ in 0..4 {
        let dir = Dir::new();
        let path = dir.path("journal");
        let options = Options::new().segment(2000);
        let journal = still(|| options.open(&path)).expect("opens");
        let mut tail = Tail::of(&path, "999");
        for step in 0..400 {
            act(&journal, &mut rng, step);
        }
        journal.append("end").expect("appends");
        let mut seen: Vec<String> = Vec::new();
        while seen.last().is_none_or(|last| last != "end") {
            let line = tail.line();
            if let Some(to) = line["cut_back_to"].as_u64() {
                seen.truncate(to as usize);
                continue;
            }
            assert_eq!(line["position"], seen.len(), "a gap, or twice the same");
            seen.push(line["payload"].as_str().expect("text").to_owned());
        }
        let seen: Vec<_> = seen.into_iter().map(String::into_bytes).collect();
        assert_eq!(seen, events(&path));
        tail.stop();
    }
}

const JOURNAL: &str = "DOCBUF_TEST_JOURNAL";

/// Writes until its standard input ends.
#[test]
#[ignore = "the writer of another test here, in a process of its own"]
fn busy_writer() {
    let Ok(path) = std::env::var(JOURNAL) else {
        return;
    };
    let mut rng = Rng(seed());
    let options = Options::new().segment(20_000);
    let journal = still(|| options.open(&path)).expect("opens");
    let over = thread::spawn(|| std::io::stdin().read_to_end(&mut Vec::new()));
    for step in 0.. {
        act(&journal, &mut rng, step);
        if rng.below(50) == 0 {
            let keep = journal.end().saturating_sub(200);
            let keep = keep.max(journal.first());
            journal.discard_before(keep).expect("discards");
        }
        if over.is_finished() {
            break;
        }
    }
    journal.close().expect("closes");
}

#[test]
fn commands_beside_a_busy_writer_find_no_damage() {
    let dir = Dir::new();
    let path = dir.path("journal");
    open(&path);
    let mut writer = spawn(
        Command::new(std::env::current_exe().expect("a test"))
            .args(["--exact", "busy_writer", "--ignored", "--nocapture"])
            .env(JOURNAL, &path)
            .env("DOCUMENTBUFFER_SEED", seed().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null()),
    );
    until("documents", || {
        let range = Reader::open(&path).and_then(|reader| reader.range());
        range.ok().filter(|range| range.end > 100)
    });
    for _ in 0..10 {
        run(["verify", &path]).ok().silent();
        run(["stat", &path]).ok().silent();
        run(["snapshot", "list", &path]).ok().silent();
        run(["discard", &path, "--before", "0", "--dry-run"]).ok();
        for reading in [
            &["replay", &path][..],
            &["replay", &path, "-r"],
            &["export", &path],
            &["tail", &path],
            &["read", &path],
        ] {
            let ran = run(reading);
            // It may be told that what it reads has just been taken away.
            let told = ["cut back to", "was discarded", "gone while it was read"];
            let told = told.iter().any(|told| ran.stderr.contains(told));
            assert!(
                ran.code == 0 && ran.stderr.is_empty() || ran.code == 1 && told,
                "{reading:?}: code {}, {}",
                ran.code,
                ran.stderr
            );
        }
    }
    drop(writer.stdin.take());
    assert!(writer.wait().expect("it ends").success());
    run(["verify", &path]).ok().silent();
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let dir = Dir::new();
    let path = dir.journal(["0"], 1);
    let mut kept = 1;
    for kill_after in [1, 7, 40] {
        let mut child = spawn(
            command(["push", &path, "--lines", "--ack", "--sync", "each"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped()),
        );
        let mut stdin = child.stdin.take().expect("piped");
        let lines: String = (kept..kept + 100).map(|n| format!("{n}\n")).collect();
        stdin.write_all(lines.as_bytes()).expect("it fits the pipe");
        let acks = BufReader::new(child.stdout.take().expect("piped")).lines();
        let acks: Vec<String> = acks
            .take(kill_after)
            .map(|ack| ack.expect("reads"))
            .collect();
        let expected: Vec<String> = (kept..).take(kill_after).map(|n| n.to_string()).collect();
        assert_eq!(acks, expected);
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
        let found = events(&path);
        let numbers = (0..found.len()).map(|n| n.to_string().into_bytes());
        assert!(numbers.eq(found.iter().cloned()));
        assert!(found.len() >= kept + kill_after);
        kept = found.len();
    }
}

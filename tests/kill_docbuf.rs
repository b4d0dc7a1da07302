//! `docbuf`, killed at any moment: what `push --sync each --ack` acknowledged is in the file, and what `pop` took
//! out of a file or a journal was printed.
#![cfg(feature = "cli")]

mod kills;

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use documentbuffer::journal::{Durability, Options, Reader};
use documentbuffer::{DocumentBuffer, Scan};

use kills::{Rng, kill_after};

#[test]
fn acknowledged_documents_survive_a_kill() {
    kill_often(20, kills::seed());
}

#[test]
#[ignore = "campaign: 200 kills; acknowledged_documents_survive_a_kill is the short form"]
fn acknowledged_documents_survive_200_kills() {
    kill_often(200, kills::seed());
}

fn kill_often(kills: usize, seed: u64) {
    println!(
        "replay: DOCUMENTBUFFER_SEED={seed} cargo test --features cli --test kill_docbuf -- --include-ignored"
    );
    let mut rng = Rng(seed);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (mut acknowledged, mut more) = (0, 0);
    // A fresh file now and then keeps the check short.
    for (file, first) in (0..kills).step_by(25).enumerate() {
        let path = dir.path().join(format!("{file}.docbuf"));
        let mut kept = Vec::new();
        for _ in first..kills.min(first + 25) {
            let input = input(&mut rng);
            let acks = life(&path, &input, kept.len(), &mut rng);
            acknowledged += acks;
            let found = documents(&path);
            let taken = found
                .len()
                .checked_sub(kept.len())
                .expect("what was there is still there");
            assert!(
                (acks..=acks + 1).contains(&taken),
                "{acks} acknowledged, {taken} taken"
            );
            more += taken - acks;
            kept.extend(input.into_iter().take(taken));
            assert!(
                found == kept,
                "the documents are not the first of the input"
            );
        }
    }
    println!(
        "{kills} kills, {acknowledged} documents acknowledged, {more} taken without an answer"
    );
}

/// Feeds a process, kills it, and returns how many documents it acknowledged.
fn life(path: &Path, input: &[Vec<u8>], before: usize, rng: &mut Rng) -> usize {
    let mut docbuf = Command::new(env!("CARGO_BIN_EXE_docbuf"))
        .args(["push", "--lines", "--sync", "each", "--ack"])
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("docbuf starts");
    let mut stdin = docbuf.stdin.take().expect("stdin is a pipe");
    let stdout = docbuf.stdout.take().expect("stdout is a pipe");
    let wait_for = rng.below(input.len());
    let acks = thread::scope(|scope| {
        // More than the pipe holds; writing fails when the process is gone. The input stays open till then.
        let _open = scope.spawn(move || {
            let mut bytes = input.join(&b'\n');
            bytes.push(b'\n');
            let _ = stdin.write_all(&bytes);
            stdin
        });
        kill_after(&mut docbuf, stdout, wait_for, rng)
    });
    let wanted: Vec<String> = (before..before + acks.len())
        .map(|n| n.to_string())
        .collect();
    assert_eq!(
        acks, wanted,
        "each acknowledgement is the position of its document"
    );
    acks.len()
}

#[test]
fn popped_documents_survive_a_kill() {
    pop_often(20, kills::seed());
}

#[test]
#[ignore = "campaign: 200 kills; popped_documents_survive_a_kill is the short form"]
fn popped_documents_survive_200_kills() {
    pop_often(200, kills::seed());
}

fn pop_often(kills: usize, seed: u64) {
    println!(
        "replay: DOCUMENTBUFFER_SEED={seed} cargo test --features cli --test kill_docbuf -- --include-ignored"
    );
    let mut rng = Rng(seed);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (mut printed, mut again) = (0, 0);
    for kill in 0..kills {
        let path = dir.path().join(kill.to_string());
        let all: Vec<Vec<u8>> = (0..60)
            .map(|n| format!("document {n}").into_bytes())
            .collect();
        let journal = kill % 2 == 0;
        if journal {
            let options = Options::new().segment(400).durability(Durability::Written);
            let journal = options.open(&path).expect("a journal");
            journal.append_all(&all).expect("room");
        } else {
            let mut file = DocumentBuffer::open(&path).expect("a file");
            file.push_all(&all).expect("room");
            file.close().expect("room");
        }
        let most = 1 + rng.below(all.len());
        let mut docbuf = Command::new(env!("CARGO_BIN_EXE_docbuf"))
            .args(["pop", "-n", &most.to_string()])
            .arg(&path)
            .stdout(Stdio::piped())
            .spawn()
            .expect("docbuf starts");
        let stdout = docbuf.stdout.take().expect("stdout is a pipe");
        let wait_for = rng.below(most + 1);
        let lines = kill_after(&mut docbuf, stdout, wait_for, &mut rng);
        let left = if journal {
            let replay = Reader::open(&path).expect("a journal").replay(0);
            let documents = replay
                .expect("a journal")
                .map(|found| found.expect("intact").1);
            documents.collect()
        } else {
            documents(&path)
        };
        assert!(
            all.starts_with(&left),
            "the documents left are not the oldest"
        );
        let newest = all.iter().rev().take(lines.len());
        assert!(lines.iter().map(String::as_bytes).eq(newest), "{lines:?}");
        let taken = all.len() - left.len();
        assert!(
            taken <= lines.len(),
            "{taken} taken, {} printed",
            lines.len()
        );
        printed += lines.len();
        again += lines.len() - taken;
    }
    println!("{kills} kills, {printed} documents printed, {again} of them still there, none lost");
}

/// Lines of all sizes: most fit a sector, some reach over several pages.
fn input(rng: &mut Rng) -> Vec<Vec<u8>> {
    let line = |_| {
        let length = if rng.below(8) == 0 {
            rng.below(20_000)
        } else {
            rng.below(300)
        };
        (0..=length).map(|_| b' ' + rng.below(95) as u8).collect()
    };
    (0..150).map(line).collect()
}

/// The documents of a file, read without the tool.
fn documents(path: &Path) -> Vec<Vec<u8>> {
    let Ok(file) = File::open(path) else {
        return Vec::new();
    };
    let mut scan = Scan::new(file).expect("a document buffer");
    let mut documents = Vec::new();
    while let Some(document) = scan.next().expect("a good log") {
        documents.push(document.bytes.to_vec());
    }
    documents
}

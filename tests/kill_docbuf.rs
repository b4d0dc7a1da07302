//! `docbuf push --sync each --ack`, killed at any moment: what it acknowledged is in the file.
#![cfg(feature = "cli")]

mod kills;

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use documentbuffer::Scan;

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

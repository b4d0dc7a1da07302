//! `docbuf` beside others: readers that go away, writers that go on.

#![cfg(feature = "cli")]

mod cli_support;

use std::io::Read;
use std::process::Stdio;

use cli_support::{Dir, Tail, command, documents, run, unread};
use documentbuffer::DocumentBuffer;

#[test]
fn a_closed_pipe_ends_reading_commands_in_silence() {
    let dir = Dir::new();
    let path = dir.log((0..2000).map(|n| format!("{n} {}", "x".repeat(200))));
    for args in [
        &["replay", &path][..],
        &["replay", &path, "-r", "--json"],
        &["export", &path],
        &["tail", &path, "-n", "5"],
        &["tail", &path, "-f"],
        &["read", &path],
        &["peek", &path],
        &["stat", &path],
        &["verify", &path],
        &["man"],
        &["completions", "bash"],
        &["remove", &path, "-n", "1", "--dry-run"],
    ] {
        let ended = unread(command(args), b"");
        assert_eq!(ended, (Some(0), String::new()), "{args:?}");
    }
    assert_eq!(documents(&path).len(), 2000);
}

#[test]
fn the_verdict_stands_though_nobody_reads_it() {
    let dir = Dir::new();
    let path = dir.log(["a", "b", "c"]);
    cli_support::flip(&path, cli_support::offset_of(&path, 1) + 4);
    assert_eq!(unread(command(["verify", &path]), b"").0, Some(3));
}

#[test]
fn pop_into_a_closed_pipe_removes_nothing() {
    let dir = Dir::new();
    let path = dir.log(["small".to_owned(), "large".repeat(100_000)]);
    for args in [
        &["pop", &path][..],
        &["pop", &path, "-n", "2"],
        &["pop", &path, "--json"],
    ] {
        let ended = unread(command(args), b"");
        assert_eq!(ended, (Some(1), String::new()), "{args:?}");
        assert_eq!(documents(&path).len(), 2);
    }
    // A reader that goes away in the middle.
    let mut child = command(["pop", &path])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("docbuf starts");
    let mut stdout = child.stdout.take().expect("piped");
    stdout.read_exact(&mut [0; 1000]).expect("some of it");
    drop(stdout);
    let output = child.wait_with_output().expect("docbuf ends");
    assert_eq!((output.status.code(), output.stderr), (Some(1), vec![]));
    assert_eq!(documents(&path).len(), 2);
}

#[test]
fn push_and_import_finish_though_nobody_reads() {
    let dir = Dir::new();
    let path = dir.path("log");
    let lines: String = (0..20_000).map(|n| format!("{n}\n")).collect();
    let ended = unread(
        command(["push", &path, "--lines", "--ack"]),
        lines.as_bytes(),
    );
    assert_eq!(ended, (Some(0), String::new()));
    assert_eq!(documents(&path).len(), 20_000);
    run(["verify", &path]).ok().silent();
}

#[test]
fn tail_follows_pushes_and_tells_of_cuts() {
    let dir = Dir::new();
    let path = dir.log(["a", "b", "c"]);
    let mut tail = Tail::of(&path, "2");
    assert_eq!((tail.next(), tail.next()), ("b".into(), "c".into()));
    run(["push", &path, "d", "e"]).ok();
    assert_eq!((tail.next(), tail.next()), ("d".into(), "e".into()));
    run(["remove", &path, "--after", "2"]).ok();
    assert_eq!(tail.next(), 2);
    run(["push", &path, "x"]).ok();
    assert_eq!(tail.next(), "x");
    // One taken, one put in its place, between two looks or not.
    let mut log = DocumentBuffer::open(&path).expect("opens");
    log.pop().expect("pops");
    log.push("y").expect("pushes");
    log.sync().expect("syncs");
    assert_eq!((tail.next(), tail.next()), (2.into(), "y".into()));
    log.push("z").expect("pushes");
    log.finish().expect("finishes");
    assert_eq!(tail.next(), "z");
    // Below what was ever printed.
    run(["remove", &path, "--after", "0"]).ok();
    assert_eq!(tail.next(), 0);
    run(["push", &path, "new"]).ok();
    assert_eq!(tail.next(), "new");
    let told = tail.stop();
    assert!(
        told.contains("cut back to 2 documents") && told.contains("cut back to 0"),
        "{told}"
    );
}

#[test]
fn tail_follows_a_log_that_is_not_begun_yet() {
    let dir = Dir::new();
    let path = dir.path("log");
    std::fs::write(&path, "").expect("writes");
    let mut tail = Tail::of(&path, "10");
    run(["push", &path, "a"]).ok();
    assert_eq!(tail.next(), "a");
    let told = tail.stop();
    assert_eq!(told, "");
}

#[test]
fn tail_prints_every_document_of_a_busy_writer_once() {
    let dir = Dir::new();
    let path = dir.path("log");
    let mut log = DocumentBuffer::open(&path).expect("opens");
    log.push("0").expect("pushes");
    log.sync().expect("syncs");
    let mut tail = Tail::of(&path, "10");
    assert_eq!(tail.next(), "0");
    for n in 1..3000 {
        log.push(n.to_string()).expect("pushes");
        if n % 7 == 0 {
            log.flush().expect("flushes");
        }
    }
    log.finish().expect("finishes");
    for n in 1..3000 {
        assert_eq!(tail.next(), n.to_string());
    }
    assert_eq!(tail.stop(), "");
}

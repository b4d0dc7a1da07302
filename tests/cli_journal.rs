//! `docbuf` on a journal's directory, as on a file: every command, and what only a journal has.

#![cfg(feature = "cli")]

mod cli_support;

use std::fs;
use std::process::Stdio;

use cli_support::{
    Dir, Holder, command, contents, documents, events, feed, names, open, run, segment, spawn,
    still, unread,
};
use documentbuffer::journal::{Options, Reader};
use proptest::prelude::*;
use serde_json::Value;

/// `0`, `1`, ... in segments of `each`.
fn numbers(dir: &Dir, count: usize, each: usize) -> String {
    dir.journal((0..count).map(|n| n.to_string()), each)
}

/// The same, with the documents before `first` discarded.
fn discarded(dir: &Dir, count: usize, each: usize, first: u64) -> String {
    let path = numbers(dir, count, each);
    let journal = open(&path);
    assert_eq!(journal.discard_before(first).expect("discards"), first);
    journal.close().expect("closes");
    path
}

fn range(path: &str) -> std::ops::Range<u64> {
    let reader = Reader::open(path).expect("a journal");
    reader.range().expect("reads")
}

fn positions(lines: &[Value]) -> Vec<u64> {
    let position = |line: &Value| line["position"].as_u64().expect("a position");
    lines.iter().map(position).collect()
}

#[test]
fn stat_counts() {
    let dir = Dir::new();
    let path = dir.path("journal");
    let options = Options::new().codec("json");
    let journal = still(|| options.open(&path)).expect("opens");
    journal.append_all(["a", "b", "c"]).expect("appends");
    still(|| journal.rotate()).expect("rotates");
    journal.append("d").expect("appends");
    let stat = &run(["stat", "--json", &path]).ok().silent().json()[0];
    assert_eq!(stat["locked"], true);
    journal.close().expect("closes");
    for snapshot in [
        "snapshot-00000000000000000002-0000000001.snap",
        "snapshot-00000000000000000003-0000000001.snap",
    ] {
        fs::write(format!("{path}/{snapshot}"), "not looked into").expect("writes");
    }

    let table = run(["stat", &path]).ok().silent();
    for row in [
        "first position     0",
        "end position       4",
        "documents          4",
        "segments           2",
        "codec              json",
        "end                clean",
        "lock               free",
        "snapshots          2, the newest at position 3",
    ] {
        assert!(table.text().contains(row), "{}", table.text());
    }
    let stat = &run(["stat", "--json", &path]).ok().json()[0];
    for (field, value) in [
        ("v", 1.into()),
        ("first_position", 0.into()),
        ("end_position", 4.into()),
        ("documents", 4.into()),
        ("codec", "json".into()),
        ("end", "clean".into()),
        ("locked", false.into()),
        ("snapshots", 2.into()),
        ("newest_snapshot", Value::from(3)),
    ] {
        assert_eq!(stat[field], value, "{field}");
    }
    let segments = stat["segments"].as_array().expect("a list");
    assert_eq!((segments.len(), &segments[0]["sealed"]), (2, &true.into()));
    assert_eq!(segments[1]["first_position"], 3);
    let bytes = |segment: &Value| segment["bytes"].as_u64().expect("bytes");
    assert_eq!(stat["bytes"], segments.iter().map(bytes).sum::<u64>());
    assert_eq!(segments[0]["file"], segment(&path, 1));
}

#[test]
fn reading_commands_cross_segments() {
    let dir = Dir::new();
    let path = numbers(&dir, 10, 3);
    let text = |args: &[&str]| {
        let args = [&args[..1], &[&path], &args[1..]].concat();
        run(args).ok().silent().text().replace('\n', "")
    };
    assert_eq!(text(&["replay"]), "0123456789");
    assert_eq!(text(&["replay", "-r"]), "9876543210");
    assert_eq!(text(&["replay", "--from", "2", "--to", "7"]), "23456");
    assert_eq!(text(&["replay", "--from", "2", "--to", "7", "-r"]), "65432");
    assert_eq!(text(&["replay", "--from", "2", "-n", "3"]), "234");
    assert_eq!(text(&["replay", "--to", "7", "-n", "3", "-r"]), "654");
    assert_eq!(text(&["replay", "--from", "10"]), "");
    assert_eq!(text(&["replay", "--from", "99"]), "");
    assert_eq!(text(&["replay", "--from", "99", "-r"]), "");
    assert_eq!(text(&["replay", "--exec", "cat"]), "0123456789");
    assert_eq!(text(&["peek"]), "9");
    assert_eq!(text(&["read", "-n", "4"]), "9876");
    assert_eq!(text(&["read", "-n", "0"]), "");
    assert_eq!(text(&["read", "-n", "99"]), "9876543210");
    assert_eq!(text(&["tail", "-n", "4"]), "6789");
    assert_eq!(text(&["tail", "-n", "99"]), "0123456789");
    assert_eq!(text(&["tail", "-n", "0"]), "");

    let forward = run(["export", &path]).ok().silent().json();
    assert_eq!(positions(&forward), Vec::from_iter(0..10));
    assert_eq!(forward[7]["payload"], "7");
    // Where its record stands is a segment's matter.
    assert!(forward[7]["offset"].is_null() && forward[7]["crc"].is_null());
    let mut backward = run(["replay", "--json", "-r", &path]).ok().json();
    backward.reverse();
    assert_eq!(forward, backward);
    let some = run(["export", &path, "--from", "4", "--to", "6"]).ok();
    assert_eq!(positions(&some.json()), [4, 5]);
    run(["verify", &path]).ok().silent();
}

#[test]
fn what_was_discarded_is_told_to_who_asks_for_it() {
    let dir = Dir::new();
    let path = discarded(&dir, 10, 3, 6);
    // Who names no position begins at the oldest.
    assert_eq!(positions(&run(["export", &path]).ok().json()), [6, 7, 8, 9]);
    assert_eq!(run(["replay", &path]).ok().silent().text(), "6\n7\n8\n9\n");
    assert_eq!(run(["tail", &path]).ok().silent().text(), "6\n7\n8\n9\n");
    assert_eq!(
        run(["read", &path, "-n", "9"]).ok().silent().text(),
        "9\n8\n7\n6\n"
    );
    for args in [
        &["replay", &path, "--from", "0"][..],
        &["replay", &path, "--from", "5", "-r"],
        &["export", &path, "--from", "5"],
    ] {
        let ran = run(args)
            .code(1)
            .says("was discarded")
            .says("the oldest that is kept is 6")
            .says("--from 6");
        assert!(ran.stdout.is_empty());
    }
    let stat = &run(["stat", "--json", &path]).ok().json()[0];
    assert_eq!(
        (
            &stat["first_position"],
            &stat["end_position"],
            &stat["documents"]
        ),
        (&6.into(), &10.into(), &4.into())
    );
}

#[test]
fn a_journal_is_begun_in_an_empty_directory_only() {
    let dir = Dir::new();
    let path = dir.path("journal");
    fs::create_dir(&path).expect("makes");
    for reading in ["stat", "peek", "replay", "tail", "verify", "export", "pop"] {
        run([reading, &path])
            .code(1)
            .says("holds no journal")
            .says("empty directory");
    }
    run(["push", &path, "--expect", "1", "x"])
        .code(6)
        .says("there are 0");
    let ran = run(["push", &path, "--ack", "a", "b"]).ok().silent();
    assert_eq!(ran.text(), "0\n1\n");
    assert_eq!(events(&path), [b"a", b"b"]);

    let other = dir.path("other");
    fs::create_dir(&other).expect("makes");
    fs::write(format!("{other}/letter"), "dear").expect("writes");
    run(["push", &other, "x"]).code(1).says("holds no journal");
    feed(["import", &other], b"").code(1);
    assert_eq!(names(&other), ["letter"]);
}

#[test]
fn push_appends_as_safe_as_it_is_told_and_keeps_the_codec() {
    let dir = Dir::new();
    let path = dir.path("journal");
    let options = Options::new().codec("json");
    let journal = still(|| options.open(&path)).expect("opens");
    journal.append("{}").expect("appends");
    journal.close().expect("closes");
    for (sync, acknowledged) in [("never", "1\n2\n"), ("batch", "3\n4\n"), ("each", "5\n6\n")] {
        let args = ["push", &path, "--lines", "--ack", "--sync", sync];
        let ran = feed(args, b"1\n2\n").ok().silent();
        assert_eq!(ran.text(), acknowledged);
    }
    feed(["push", &path], b"whole\n").ok();
    feed(["push", &path, "--null"], b"a\nb\0c").ok();
    let line = br#"{"v":1,"encoding":"base64","payload":"AAE="}"#;
    feed(["push", &path, "--json"], line).ok();
    let all = events(&path);
    assert_eq!(
        all[7..],
        [&b"whole\n"[..], b"a\nb", b"c", b"\0\x01"].map(<[u8]>::to_vec)
    );
    let reader = Reader::open(&path).expect("opens");
    assert_eq!(reader.codec().expect("reads"), "json");

    feed(
        ["push", &path, "--lines", "--max-doc-size", "3"],
        b"123\n1234",
    )
    .code(1)
    .says("line 2")
    .says("the 1 documents before it");
    run(["push", &path, "--max-doc-size", "3", "1", "1234"])
        .code(1)
        .says("4 bytes");
    assert_eq!(range(&path), 0..12);
    assert_eq!(
        run(["stat", "--json", &path]).ok().json()[0]["end"],
        "clean"
    );
}

#[test]
fn pop_prints_and_removes() {
    let dir = Dir::new();
    let path = discarded(&dir, 10, 3, 3);
    assert_eq!(run(["pop", &path]).ok().silent().text(), "9\n");
    let lines = run(["pop", &path, "-n", "2", "--json"]).ok().json();
    assert_eq!(positions(&lines), [8, 7]);
    assert_eq!(run(["pop", &path, "-n", "0"]).ok().text(), "");
    assert_eq!(range(&path), 3..7);
    run(["pop", &path, "--max-doc-size", "0"]).code(1);
    assert_eq!(run(["pop", &path, "-n", "99"]).ok().text(), "6\n5\n4\n3\n");
    let ran = run(["pop", &path]).code(5).says("docbuf push");
    assert!(ran.stdout.is_empty());
    for command in ["peek", "read"] {
        run([command, &path]).code(5);
    }
    for command in ["replay", "tail", "export", "stat", "verify"] {
        run([command, &path]).ok().silent();
    }
    assert_eq!(range(&path), 3..3);
    assert_eq!(run(["push", &path, "--ack", "x"]).ok().text(), "3\n");
}

#[test]
fn pop_removes_nothing_that_could_not_be_written() {
    let dir = Dir::new();
    let path = dir.journal(["small".to_owned(), "large".repeat(100_000)], 1);
    for args in [&["pop", &path][..], &["pop", &path, "-n", "2", "--json"]] {
        assert_eq!(unread(command(args), b""), (Some(1), String::new()));
        assert_eq!(range(&path), 0..2);
    }
    let Ok(full) = fs::File::options().write(true).open("/dev/full") else {
        return;
    };
    let child = spawn(command(["pop", &path]).stdout(full).stderr(Stdio::piped()));
    let output = child.wait_with_output().expect("runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("nothing was removed"), "{told}");
    assert_eq!(range(&path), 0..2);
}

#[test]
fn remove_cuts_back_to_a_position() {
    let dir = Dir::new();
    let path = discarded(&dir, 10, 3, 3);
    let dry = run(["remove", &path, "-n", "3", "--dry-run"]).ok();
    assert_eq!(dry.text(), "would remove 3 of 7 documents\n");
    for args in [
        &["remove", &path, "-n", "8"][..],
        &["remove", &path, "--after", "11"],
        // Discarded: neither to be kept nor to be removed.
        &["remove", &path, "--after", "2"],
    ] {
        run(args).code(6).says("there are 7, at positions 3 to 10");
        run([args, &["--dry-run"]].concat()).code(6);
    }
    assert_eq!(range(&path), 3..10);
    run(["remove", &path, "-n", "1"]).ok().silent();
    run(["remove", &path, "--after", "5", "--yes"])
        .ok()
        .silent();
    assert_eq!(range(&path), 3..5);
    assert_eq!(run(["push", &path, "--ack", "new"]).ok().text(), "5\n");
    assert_eq!(events(&path), [&b"3"[..], b"4", b"new"]);
    run(["remove", &path, "--after", "3"]).ok();
    assert_eq!(range(&path), 3..3);
}

#[test]
fn expect_is_the_next_position() {
    let dir = Dir::new();
    let path = discarded(&dir, 10, 3, 3);
    let before = contents(&path);
    for wrong in [
        &["push", &path, "--expect", "7", "x"][..],
        &["pop", &path, "--expect", "7"],
        &["remove", &path, "--expect", "7", "-n", "1"],
        &["remove", &path, "--expect", "7", "-n", "1", "--dry-run"],
        &["import", &path, "--expect", "7"],
        &["discard", &path, "--expect", "7", "--before", "6"],
    ] {
        let ran = run(wrong).code(6).says("there are 10");
        assert!(ran.stdout.is_empty());
    }
    assert_eq!(contents(&path), before);
    run(["push", &path, "--expect", "10", "x"]).ok();
    run(["pop", &path, "--expect", "11"]).ok();
    run(["discard", &path, "--expect", "10", "--before", "6"]).ok();
    assert_eq!(range(&path), 6..10);
}

#[test]
fn discard_goes_by_whole_segments_and_prints_what_is_kept() {
    let dir = Dir::new();
    let path = numbers(&dir, 10, 3);
    let before = contents(&path);
    let dry = run(["discard", &path, "--before", "7", "--dry-run"]).ok();
    assert!(
        dry.text()
            .starts_with("would discard 6 documents in 2 segments, ")
            && dry
                .text()
                .ends_with("; the first position kept would be 6\n"),
        "{}",
        dry.text()
    );
    run(["discard", &path, "--before", "11"])
        .code(6)
        .says("position 11 is beyond the end, 10");
    run(["discard", &path, "--before", "11", "--dry-run"]).code(6);
    assert_eq!(contents(&path), before);

    for (before, kept) in [("2", "0\n"), ("7", "6\n"), ("7", "6\n"), ("10", "9\n")] {
        let ran = run(["discard", &path, "--before", before]).ok().silent();
        assert_eq!(ran.text(), kept);
    }
    assert_eq!(range(&path), 9..10);
    assert_eq!(run(["push", &path, "--ack", "x"]).ok().text(), "10\n");
    run(["verify", &path]).ok().silent();

    let file = dir.log(["a"]);
    run(["discard", &file, "--before", "1"])
        .code(2)
        .says("not a directory");
    run(["snapshot", "list", &file]).code(2);
    run(["discard", &path]).code(2);
    run(["discard", &dir.path("missing"), "--before", "1"]).code(1);
}

#[test]
fn snapshots_are_listed_newest_first() {
    let dir = Dir::new();
    let path = numbers(&dir, 3, 9);
    assert_eq!(run(["snapshot", "list", &path]).ok().silent().text(), "");
    for (position, schema, bytes) in [(2, 7, 10), (3, 7, 100), (3, 8, 50)] {
        let name = format!("{path}/snapshot-{position:020}-{schema:010}.snap");
        fs::write(name, "x".repeat(bytes)).expect("writes");
    }
    let lines = run(["snapshot", "list", &path, "--json"]).ok().json();
    assert_eq!(positions(&lines), [3, 3, 2]);
    let schema = |line: &Value| line["schema"].as_u64().expect("a number");
    assert_eq!(lines.iter().map(schema).collect::<Vec<_>>(), [8, 7, 7]);
    assert_eq!(
        (&lines[1]["bytes"], &lines[1]["v"]),
        (&100.into(), &1.into())
    );
    let name = lines[2]["name"].as_str().expect("a name");
    assert!(names(&path).contains(&name.to_owned()));
    let table = run(["snapshot", "list", &path]).ok().silent();
    let rows: Vec<&str> = table.text().lines().collect();
    assert_eq!(rows.len(), 4);
    assert!(rows[0].contains("position") && rows[3].ends_with(name));
    run(["snapshot"]).code(2);
}

#[test]
fn repair_is_for_files() {
    let dir = Dir::new();
    let path = numbers(&dir, 4, 2);
    for args in [
        &["repair", &path, "-o", &dir.path("new")][..],
        &["repair", &path, "--in-place-tail"],
        &["repair", &path, "--dry-run"],
    ] {
        run(args)
            .code(2)
            .says("docbuf repair SEGMENT -o NEW")
            .says("docbuf discard");
    }
    let new = dir.path("new");
    run(["repair", &segment(&path, 1), "-o", &new])
        .ok()
        .says("saved 2 documents");
    assert_eq!(documents(&new), [b"0", b"1"]);
}

#[test]
fn a_segment_is_read_as_a_file_and_never_written_as_one() {
    let dir = Dir::new();
    let path = numbers(&dir, 7, 3);
    let file = segment(&path, 2);
    let before = contents(&path);
    let text = |args: &[&str]| {
        let args = [args, &[&file]].concat();
        run(args).ok().silent().text().replace('\n', "")
    };
    assert_eq!(text(&["replay"]), "345");
    assert_eq!(text(&["replay", "-r"]), "543");
    assert_eq!(text(&["replay", "-r", "--from", "1", "-n", "1"]), "5");
    assert_eq!(text(&["replay", "-r", "--to", "2"]), "43");
    assert_eq!(text(&["peek"]), "5");
    assert_eq!(text(&["tail", "-n", "2"]), "45");
    let stat = &run(["stat", "--json", &file]).ok().json()[0];
    assert_eq!(
        (&stat["documents"], &stat["end"]),
        (&3.into(), &"clean".into())
    );
    assert!(stat["reclaimable_bytes"].is_null());
    run(["stat", &file]).ok().silent();
    run(["verify", &file]).ok().silent();
    assert_eq!(positions(&run(["export", &file]).ok().json()), [0, 1, 2]);
    for args in [
        &["push", &file, "x"][..],
        &["pop", &file],
        &["remove", &file, "-n", "1"],
        &["import", &file],
        &["repair", &file, "--in-place-tail"],
    ] {
        let ran = run(args)
            .code(1)
            .says("a segment of a journal: open the directory");
        assert!(ran.stdout.is_empty());
    }
    assert_eq!(contents(&path), before);
}

#[test]
fn one_process_writes_and_all_may_read() {
    let dir = Dir::new();
    let path = numbers(&dir, 6, 2);
    let lines = dir.path("lines");
    fs::write(&lines, "").expect("writes");
    // In this process, then in another.
    let journal = open(&path);
    let mut holder = None;
    for _ in 0..2 {
        for writing in [
            &["push", &path, "x"][..],
            &["push", &path, "--wait", "80ms", "x"],
            &["pop", &path],
            &["remove", &path, "-n", "1"],
            &["import", &path, &lines],
            &["discard", &path, "--before", "2"],
        ] {
            let ran = run(writing).code(4).says("journal: locked").says("--wait");
            assert!(ran.stdout.is_empty());
        }
        for reading in ["peek", "read", "replay", "tail", "verify", "export", "stat"] {
            run([reading, &path]).ok().silent();
        }
        run(["remove", &path, "-n", "1", "--dry-run"]).ok();
        run(["discard", &path, "--before", "2", "--dry-run"]).ok();
        run(["snapshot", "list", &path]).ok();
        let stat = &run(["stat", "--json", &path]).ok().json()[0];
        assert_eq!(stat["locked"], true);
        if holder.is_none() {
            journal.clone().close().expect("closes");
            holder = Some(Holder::of(&path));
        }
    }
    let waiting = command(["push", &path, "--wait", "1m", "b"]);
    let waiting = spawn(&mut { waiting });
    let mut holder = holder.expect("there is one");
    holder.give(b"a\n");
    holder.let_go();
    let output = waiting.wait_with_output().expect("it ends");
    assert!(output.status.success());
    assert_eq!(events(&path)[6..], [b"a", b"b"]);
}

#[test]
fn a_closed_pipe_ends_reading_commands_in_silence() {
    let dir = Dir::new();
    let path = dir.journal((0..2000).map(|n| format!("{n} {}", "x".repeat(200))), 300);
    let before = contents(&path);
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
        &["verify", &path, "--json"],
        &["remove", &path, "-n", "1", "--dry-run"],
        &["discard", &path, "--before", "400", "--dry-run"],
        &["snapshot", "list", &path],
    ] {
        let ended = unread(command(args), b"");
        assert_eq!(ended, (Some(0), String::new()), "{args:?}");
    }
    assert_eq!(contents(&path), before);
    // Work on the journal is done though nobody reads.
    let lines: String = (0..20_000).map(|n| format!("{n}\n")).collect();
    let ended = unread(
        command(["push", &path, "--lines", "--ack"]),
        lines.as_bytes(),
    );
    assert_eq!(ended, (Some(0), String::new()));
    assert_eq!(range(&path), 0..22_000);
    let ended = unread(command(["discard", &path, "--before", "400"]), b"");
    assert_eq!(ended, (Some(0), String::new()));
    assert_eq!(range(&path), 300..22_000);
}

#[test]
fn import_resumes_where_the_journal_ends() {
    let dir = Dir::new();
    let all = run(["export", &dir.log(["a", "b", "c", "d"])]).ok().stdout;
    let path = dir.journal(["a", "b"], 1);
    feed(["import", &path, "--resume"], &all)
        .ok()
        .says("imported 2 documents");
    feed(["import", &path, "--resume"], &all)
        .ok()
        .says("imported 0 documents");
    assert_eq!(events(&path), [b"a", b"b", b"c", b"d"]);
    let other = run(["export", &Dir::new().journal(["e"], 1)]).ok().stdout;
    feed(["import", &path, "--resume"], &other)
        .code(6)
        .says("fewer than");
    // What was discarded counts.
    let journal = open(&path);
    still(|| journal.rotate()).expect("rotates");
    assert_eq!(journal.discard_before(4).expect("discards"), 4);
    journal.close().expect("closes");
    feed(["import", &path, "--resume"], &all)
        .code(6)
        .says("discarded")
        .says("--from 4");
    feed(["import", &path, "--from", "4"], &all)
        .ok()
        .says("imported 0");
    let bad = [&all[..], b"oops\n"].concat();
    feed(["import", &path], &bad)
        .code(1)
        .says("line 5")
        .says("4 documents before it")
        .says("--from 4");
}

#[test]
fn documents_over_the_limit_are_not_read() {
    let dir = Dir::new();
    let path = dir.journal(["12345678", "1"], 1);
    for args in [
        &["export", &path][..],
        &["replay", &path, "-r"],
        &["read", &path],
        &["tail", &path],
        &["tail", &path, "-f"],
    ] {
        run([args, &["--max-doc-size", "7"]].concat())
            .code(1)
            .says("8 bytes")
            .says("--max-doc-size");
    }
    run(["pop", &path, "-n", "2", "--max-doc-size", "7"])
        .code(1)
        .says("8 bytes")
        .says("nothing was removed");
    run(["peek", &path, "--max-doc-size", "7"]).ok();
    run(["export", &path, "--max-doc-size", "8"]).ok();
    assert_eq!(range(&path), 0..2);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_byte_string_goes_from_file_to_journal_and_back(
        all in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..12),
        each in 1_usize..5,
    ) {
        let dir = Dir::new();
        let exported = run(["export", &dir.log(&all)]).ok().stdout;
        let imported = dir.path("imported");
        fs::create_dir(&imported).expect("makes");
        feed(["import", &imported], &exported).ok();
        prop_assert_eq!(&events(&imported), &all);

        let journal = dir.journal(&all, each);
        let again = run(["export", &journal]).ok().stdout;
        prop_assert_eq!(&run(["export", &imported]).ok().stdout, &again);
        let copy = dir.path("copy");
        feed(["import", &copy], &again).ok();
        prop_assert_eq!(&documents(&copy), &all);
    }
}

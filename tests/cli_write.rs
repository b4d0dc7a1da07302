//! The writing commands of `docbuf`: push, pop, remove; the lock; refusals.

#![cfg(feature = "cli")]

mod cli_support;

use std::time::{Duration, Instant};

use cli_support::{Dir, Holder, command, cut, documents, feed, flip, len, offset_of, run, until};

#[test]
fn push_takes_arguments() {
    let dir = Dir::new();
    let path = dir.path("log");
    run(["push", &path, "a", "", "c d"]).ok().silent();
    run(["push", &path, "--", "--lines"]).ok().silent();
    assert_eq!(documents(&path), [&b"a"[..], b"", b"c d", b"--lines"]);
}

#[cfg(unix)]
#[test]
fn push_takes_arguments_that_are_no_text() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let dir = Dir::new();
    let path = dir.path("log");
    run([
        OsStr::new("push"),
        OsStr::new(&path),
        OsStr::from_bytes(b"\xff\x80"),
    ])
    .ok();
    assert_eq!(documents(&path), [b"\xff\x80"]);
}

#[test]
fn push_takes_stdin_in_four_forms() {
    let dir = Dir::new();
    let path = dir.path("log");
    feed(["push", &path], b"whole\0\nof it\n").ok().silent();
    feed(["push", &path, "--lines"], b"one\n\ntwo\xff").ok();
    feed(["push", &path, "--null"], b"a\nb\0\0c").ok();
    let line = br#"{"v":1,"encoding":"base64","payload":"AAE="}"#;
    feed(["push", &path, "--json"], line).ok();
    let expected: [&[u8]; 8] = [
        b"whole\0\nof it\n",
        b"one",
        b"",
        b"two\xff",
        b"a\nb",
        b"",
        b"c",
        b"\0\x01",
    ];
    assert_eq!(documents(&path), expected);
    feed(["push", &path, "--lines"], b"").ok();
    assert_eq!(documents(&path).len(), 8);
}

#[test]
fn push_acknowledges_positions() {
    let dir = Dir::new();
    let path = dir.path("log");
    assert_eq!(
        run(["push", &path, "--ack", "a", "b"]).ok().text(),
        "0\n1\n"
    );
    for (sync, expected) in [("never", "2\n3\n"), ("batch", "4\n5\n"), ("each", "6\n7\n")] {
        let ran = feed(
            ["push", &path, "--lines", "--ack", "--sync", sync],
            b"x\ny\n",
        )
        .ok();
        assert_eq!(ran.text(), expected);
    }
    assert_eq!(
        run(["stat", "--json", &path]).ok().json()[0]["end"],
        "clean"
    );
}

#[test]
fn what_came_is_stored_while_more_is_awaited() {
    let dir = Dir::new();
    let path = dir.path("log");
    let mut holder = Holder::of(&path);
    holder.give(b"first\n");
    // The batch is over after a second, though no more input comes.
    until("the document", || (len(&path) > 100).then_some(()));
    holder.kill();
    assert_eq!(documents(&path), [b"first"]);
}

#[test]
fn a_bad_line_keeps_what_came_before_it() {
    let dir = Dir::new();
    let path = dir.path("log");
    let good = r#"{"v":1,"encoding":"text","payload":"x"}"#;
    let input = format!("{good}\n{good}\nnonsense\n{good}\n");
    feed(["push", &path, "--json"], input.as_bytes())
        .code(1)
        .says("line 3")
        .says("the 2 documents");
    assert_eq!(documents(&path).len(), 2);
    let limit = ["push", &path, "--lines", "--max-doc-size", "3"];
    feed(limit, b"123\n1234\n")
        .code(1)
        .says("line 2")
        .says("3 bytes");
    assert_eq!(documents(&path).len(), 3);
    feed(["push", &path, "--max-doc-size", "3"], b"1234").code(1);
    run(["push", &path, "--max-doc-size", "3", "1", "1234"])
        .code(1)
        .says("4 bytes");
    assert_eq!(documents(&path).len(), 3);
}

#[test]
fn expect_guards_every_writing_command() {
    let dir = Dir::new();
    let path = dir.log(["a", "b"]);
    for wrong in [
        &["push", &path, "--expect", "1", "x"][..],
        &["pop", &path, "--expect", "3"],
        &["remove", &path, "--expect", "0", "-n", "1"],
        &["remove", &path, "--expect", "0", "-n", "1", "--dry-run"],
        &["import", &path, "--expect", "5"],
    ] {
        let ran = run(wrong).code(6).says("there are 2");
        assert!(ran.stdout.is_empty());
    }
    run(["push", &path, "--expect", "2", "c"]).ok();
    run(["pop", &path, "--expect", "3"]).ok();
    assert_eq!(documents(&path).len(), 2);
    run(["push", &dir.path("new"), "--expect", "1", "x"])
        .code(6)
        .says("there are 0");
    assert_eq!(dir.names(), ["log"]);
    run(["push", &dir.path("new"), "--expect", "0", "x"]).ok();
}

#[test]
fn pop_prints_and_removes() {
    let dir = Dir::new();
    let path = dir.log(["a", "b", "c", "d"]);
    let before = len(&path);
    assert_eq!(run(["pop", &path]).ok().silent().text(), "d\n");
    assert!(len(&path) < before, "the file did not shrink");
    let lines = run(["pop", &path, "-n", "2", "--json"]).ok().json();
    assert_eq!(
        (&lines[0]["position"], &lines[0]["payload"]),
        (&2.into(), &"c".into())
    );
    assert_eq!(lines[1]["position"], 1);
    assert!(lines[1]["offset"].as_u64() >= Some(64));
    assert_eq!(run(["pop", &path, "-n", "0"]).ok().text(), "");
    assert_eq!(run(["pop", &path, "-n", "9", "--null"]).ok().stdout, b"a\0");
    run(["pop", &path]).code(5);
    assert!(documents(&path).is_empty());
}

#[cfg(target_os = "linux")]
#[test]
fn pop_removes_nothing_that_could_not_be_written() {
    let dir = Dir::new();
    let path = dir.log(["a".repeat(10), "b".repeat(100_000)]);
    for args in [&["pop", &path][..], &["pop", &path, "-n", "2", "--json"]] {
        let full = std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .expect("Linux has it");
        let output = command(args)
            .stdout(full)
            .stderr(std::process::Stdio::piped())
            .output()
            .expect("runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(
            stderr.contains("standard output") && stderr.contains("nothing was removed"),
            "{stderr}"
        );
        assert_eq!(documents(&path).len(), 2);
    }
}

#[test]
fn remove_takes_the_newest() {
    let dir = Dir::new();
    let path = dir.log(["a", "b", "c", "d"]);
    let dry = run(["remove", &path, "-n", "3", "--dry-run"]).ok();
    assert_eq!(dry.text(), "would remove 3 of 4 documents\n");
    assert_eq!(documents(&path).len(), 4);
    assert_eq!(run(["remove", &path, "-n", "1"]).ok().silent().text(), "");
    run(["remove", &path, "--after", "2", "--yes"]).ok();
    assert_eq!(documents(&path), [b"a", b"b"]);
    for (flag, n) in [("-n", "3"), ("--after", "3")] {
        run(["remove", &path, flag, n])
            .code(6)
            .says("3 documents")
            .says("there are 2");
        run(["remove", &path, flag, n, "--dry-run"]).code(6);
    }
    run(["remove", &path, "-n", "0"]).ok();
    run(["remove", &path, "--after", "2"]).ok();
    assert_eq!(documents(&path).len(), 2);
    run(["remove", &path, "--after", "0"]).ok();
    run(["remove", &path, "-n", "1"]).code(6);
}

#[test]
fn only_one_process_writes_and_all_may_read() {
    let dir = Dir::new();
    let path = dir.log(["a", "b"]);
    let holder = Holder::of(&path);
    let lines = dir.path("lines");
    std::fs::write(&lines, "").expect("writes");
    for writing in [
        &["push", &path, "x"][..],
        &["pop", &path],
        &["remove", &path, "-n", "1"],
        &["import", &path, &lines],
        &["repair", &path, "--in-place-tail"],
        &["repair", &path, "-o", &dir.path("new")],
        &["push", &path, "--wait", "80ms", "x"],
    ] {
        let ran = run(writing).code(4).says("log: locked").says("--wait");
        assert!(ran.stdout.is_empty());
    }
    for reading in ["peek", "read", "replay", "tail", "verify", "export", "stat"] {
        run([reading, &path]).ok().silent();
    }
    assert_eq!(
        run(["stat", "--json", &path]).ok().json()[0]["locked"],
        true
    );
    holder.let_go();
    assert_eq!(documents(&path), [b"a", b"b"]);
}

#[test]
fn a_writer_waits_for_the_lock_as_long_as_it_is_told() {
    let dir = Dir::new();
    let path = dir.log(["a"]);
    let holder = Holder::of(&path);
    let waiting = command(["push", &path, "--wait", "1m", "b"])
        .spawn()
        .expect("docbuf starts");
    let begin = Instant::now();
    run(["push", &path, "--wait", "200ms", "x"]).code(4);
    assert!(begin.elapsed() >= Duration::from_millis(200));
    holder.let_go();
    assert!(
        waiting
            .wait_with_output()
            .expect("it ends")
            .status
            .success()
    );
    assert_eq!(documents(&path), [b"a", b"b"]);
}

#[test]
fn writing_behind_damage_is_refused_unless_told() {
    let dir = Dir::new();
    let path = dir.log(["a", "b", "c", "d"]);
    flip(&path, offset_of(&path, 1) + 4);
    let damaged = std::fs::read(&path).expect("reads");
    for writing in [
        &["push", &path, "x"][..],
        &["pop", &path],
        &["remove", &path, "-n", "1"],
        &["import", &path],
        &["repair", &path, "--in-place-tail"],
        &["repair", &path, "--in-place-tail", "--dry-run"],
    ] {
        run(writing)
            .code(3)
            .says("2 intact documents")
            .says("docbuf repair");
    }
    // Nothing to do is nothing to write either.
    run(["pop", &path, "-n", "0", "--accept-suspect"]).ok();
    feed(["push", &path, "--lines", "--accept-suspect"], b"").ok();
    assert_eq!(std::fs::read(&path).expect("reads"), damaged);

    run(["push", &path, "x", "--accept-suspect"])
        .ok()
        .says("is kept in");
    assert_eq!(documents(&path), [b"a", b"x"]);
    let kept = dir
        .names()
        .into_iter()
        .find(|name| name != "log")
        .expect("a copy");
    let kept = std::fs::read(dir.path(&kept)).expect("reads");
    assert!(damaged.ends_with(&kept) && kept.len() > 40);
}

#[test]
fn pop_behind_damage_keeps_a_copy_too() {
    let dir = Dir::new();
    let path = dir.log(["a", "b", "c", "d"]);
    flip(&path, offset_of(&path, 2) + 4);
    let ran = run(["pop", &path, "--accept-suspect"])
        .ok()
        .says("is kept in");
    assert_eq!(ran.text(), "b\n");
    assert_eq!(documents(&path), [b"a"]);
    assert_eq!(dir.names().len(), 2);
}

#[test]
fn a_torn_tail_is_gone_on_before() {
    let dir = Dir::new();
    let path = dir.log(["a", "b", "a longer one"]);
    cut(&path, offset_of(&path, 2) + 7);
    run(["push", &path, "c"]).ok().says("torn at offset");
    assert_eq!(documents(&path), [b"a", b"b", b"c"]);
    run(["verify", &path]).ok().silent();
}

#[cfg(unix)]
#[test]
fn a_terminal_is_spared_and_asked() {
    let dir = Dir::new();
    let path = dir.log([&b"caf\xc3\xa9 \x1b[2J\x07 \xff"[..], b"x"]);
    // util-linux has `script`, which makes a terminal.
    let in_terminal = |line: &str, input: &str| {
        let mut child = std::process::Command::new("script")
            .args(["-qec", line, "/dev/null"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .ok()?;
        use std::io::Write;
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(input.as_bytes()).expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        drop(stdin);
        Some((output.status.success(), output.stdout))
    };
    let docbuf = env!("CARGO_BIN_EXE_docbuf");
    let Some((_, seen)) = in_terminal(&format!("{docbuf} replay {path}"), "") else {
        eprintln!("no `script` here: how a terminal is treated was not tested");
        return;
    };
    let seen = String::from_utf8(seen).expect("a terminal gets text");
    assert!(seen.contains("café \\u{1b}[2J\\u{7} \\xff"), "{seen:?}");
    let (_, raw) = in_terminal(&format!("{docbuf} replay --raw {path}"), "").expect("as before");
    assert!(raw.contains(&0xff) && raw.contains(&7));
    let (done, asked) =
        in_terminal(&format!("{docbuf} remove {path} -n 1"), "n\n").expect("as before");
    assert!(!done && String::from_utf8_lossy(&asked).contains("remove 1 of 2 documents"));
    assert_eq!(documents(&path).len(), 2);
    let (done, _) = in_terminal(&format!("{docbuf} remove {path} -n 1"), "y\n").expect("as before");
    assert!(done);
    assert_eq!(documents(&path).len(), 1);

    let journal = dir.journal(["a", "b", "c"], 1);
    let discard = format!("{docbuf} discard {journal} --before 2");
    let (done, asked) = in_terminal(&discard, "n\n").expect("as before");
    let asked = String::from_utf8_lossy(&asked).into_owned();
    assert!(
        !done && asked.contains("discard 2 documents in 2 segments"),
        "{asked}"
    );
    assert_eq!(cli_support::events(&journal).len(), 3);
    let (done, _) = in_terminal(&discard, "y\n").expect("as before");
    assert!(done);
    assert_eq!(cli_support::events(&journal).len(), 1);
    let (done, asked) =
        in_terminal(&format!("{docbuf} remove {journal} -n 1"), "n\n").expect("as before");
    assert!(!done && String::from_utf8_lossy(&asked).contains("remove 1 of 1 documents"));
    assert_eq!(cli_support::events(&journal).len(), 1);
}

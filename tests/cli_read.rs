//! The reading commands of `docbuf`, its help, and its exit codes.

#![cfg(feature = "cli")]

mod cli_support;

use cli_support::{Dir, cut, flip, len, offset_of, run};

#[test]
fn help_and_manual_name_every_command_and_exit_code() {
    let commands = [
        "stat",
        "push",
        "pop",
        "peek",
        "read",
        "remove",
        "replay",
        "tail",
        "verify",
        "repair",
        "export",
        "import",
        "snapshot",
        "discard",
        "completions",
        "man",
    ];
    let help = run(["--help"]).ok().silent();
    let page = run(["man"]).ok().silent();
    assert!(help.text().starts_with("Examples:"));
    for command in commands {
        assert!(help.text().contains(&format!("  {command} ")), "{command}");
        assert!(
            page.text().contains(&format!("docbuf\\-{command}(1)")),
            "{command}"
        );
        for one in [run([command, "--help"]).ok(), run(["man", command]).ok()] {
            assert!(
                one.text().contains("4  locked by another process"),
                "{command}"
            );
        }
    }
    for code in [
        "0  done",
        "1  failed",
        "2  wrong",
        "3  damaged",
        "4  locked",
        "5  empty",
        "6  an exp",
    ] {
        assert!(
            help.text().contains(code) && page.text().contains(code),
            "{code}"
        );
    }
    let list = run(["man", "snapshot", "list"]).ok();
    assert!(list.text().contains("docbuf\\-snapshot\\-list"));
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(["completions", shell]).ok();
        assert!(script.text().contains("in-place-tail"), "{shell}");
    }
}

#[test]
fn a_wrong_command_line_is_code_2() {
    let none: [&str; 0] = [];
    let ran = run(none).code(2).says("Usage: docbuf");
    assert!(ran.stdout.is_empty());
    for wrong in [
        &["stat"][..],
        &["frobnicate", "x"],
        &["man", "frobnicate"],
        &["man", "snapshot", "frobnicate"],
        &["snapshot", "frobnicate", "x"],
        &["discard", "x"],
        &["discard", "x", "--before", "soon"],
        &["remove", "x"],
        &["remove", "x", "-n", "1", "--after", "1"],
        &["repair", "x"],
        &["repair", "x", "-o", "y", "--in-place-tail"],
        &["peek", "x", "--payload", "json"],
        &["push", "x", "--lines", "document"],
        &["push", "x", "--wait", "soon"],
        &["import", "x", "--from", "1", "--resume"],
        &["read", "x", "--max-doc-size", "lots"],
        &["completions", "tcsh"],
    ] {
        let ran = run(wrong).code(2);
        assert!(ran.stdout.is_empty(), "{wrong:?}");
    }
}

#[test]
fn color_is_asked_for_or_not() {
    let plain = run(["--help", "--color", "never"]).ok();
    let colored = run(["--color=always", "--help"]).ok();
    assert!(!plain.stdout.contains(&0x1b));
    assert!(colored.stdout.contains(&0x1b));
}

#[test]
fn a_missing_file_is_code_1_and_is_not_made() {
    let dir = Dir::new();
    let path = dir.path("missing");
    for command in [
        "stat", "peek", "read", "replay", "tail", "verify", "export", "pop",
    ] {
        run([command, &path])
            .code(1)
            .says("missing: cannot open")
            .says("check the path");
    }
    run(["remove", &path, "-n", "1"]).code(1);
    run(["remove", &path, "-n", "1", "--dry-run"]).code(1);
    run(["repair", &path, "-o", &dir.path("new")]).code(1);
    run(["repair", &path, "--in-place-tail"]).code(1);
    assert!(dir.names().is_empty());
    run(["stat", &dir.path("")])
        .code(1)
        .says("holds no journal");
}

#[test]
fn a_file_of_another_kind_is_code_3() {
    let dir = Dir::new();
    let path = dir.path("letter");
    let letter = "Dear all, this is no document buffer, and never was.".repeat(9);
    std::fs::write(&path, &letter).expect("writes");
    for command in [
        "stat", "peek", "read", "replay", "tail", "verify", "export", "pop",
    ] {
        run([command, &path])
            .code(3)
            .says("not a document buffer")
            .says("docbuf repair");
    }
    run(["push", &path, "x"]).code(3);
    run(["repair", &path, "-o", &dir.path("new")]).code(3);
    assert_eq!(std::fs::read_to_string(&path).expect("reads"), letter);
    assert_eq!(dir.names(), ["letter"]);
}

#[test]
fn stat_counts() {
    let dir = Dir::new();
    let path = dir.log(["one", "three"]);
    let table = run(["stat", &path]).ok().silent();
    for row in [
        "documents          2",
        "payload bytes      8",
        "end                clean",
        "lock               free",
    ] {
        assert!(table.text().contains(row), "{}", table.text());
    }
    let stat = &run(["stat", "--json", &path]).ok().json()[0];
    assert_eq!(stat["v"], 1);
    assert_eq!(stat["documents"], 2);
    assert_eq!(stat["payload_bytes"], 8);
    assert_eq!(stat["file_bytes"], len(&path));
    assert_eq!(stat["end_offset"], offset_of(&path, 1) + 16 + 5);
    assert_eq!(stat["reclaimable_bytes"], 0);
    assert_eq!(stat["end"], "clean");
    assert_eq!(stat["format_version"], 1);
    assert_eq!(stat["locked"], false);
}

#[test]
fn stat_of_an_empty_file_and_of_one_with_zeros_behind() {
    let dir = Dir::new();
    let path = dir.path("empty");
    std::fs::write(&path, "").expect("writes");
    let stat = &run(["stat", "--json", &path]).ok().json()[0];
    assert_eq!(
        (&stat["documents"], &stat["end"]),
        (&0.into(), &"clean".into())
    );
    assert!(stat["format_version"].is_null());
    let path = dir.log(["x"]);
    let end = len(&path);
    cut(&path, end + 1000);
    let stat = &run(["stat", "--json", &path]).ok().json()[0];
    assert_eq!(stat["reclaimable_bytes"], 1000);
}

#[test]
fn peek_and_read_print_the_newest_first() {
    let dir = Dir::new();
    let path = dir.log(["a", "b", "", "d"]);
    assert_eq!(run(["peek", &path]).ok().silent().text(), "d\n");
    assert_eq!(run(["read", &path, "-n", "3"]).ok().text(), "d\n\nb\n");
    assert_eq!(run(["read", &path, "-n", "0"]).ok().text(), "");
    assert_eq!(run(["read", &path]).ok().text(), "d\n\nb\na\n");
    assert_eq!(
        run(["read", &path, "-n", "2", "--null"]).ok().stdout,
        b"d\0\0"
    );
    let lines = run(["read", &path, "-n", "2", "--json"]).ok().json();
    assert_eq!(lines[0]["position"], 3);
    assert_eq!(lines[0]["offset"], offset_of(&path, 3));
    assert_eq!(lines[1]["payload"], "");
    assert_eq!(lines[1]["len"], 0);
}

#[test]
fn an_empty_log_is_code_5() {
    let dir = Dir::new();
    let path = dir.log([""; 0]);
    for command in ["peek", "read", "pop"] {
        let ran = run([command, &path])
            .code(5)
            .says("empty")
            .says("docbuf push");
        assert!(ran.stdout.is_empty());
    }
    for command in ["replay", "tail", "export", "stat", "verify"] {
        run([command, &path]).ok();
    }
}

#[test]
fn replay_takes_ranges_and_both_directions() {
    let dir = Dir::new();
    let path = dir.log(["0", "1", "2", "3", "4"]);
    let replay = |args: &[&str]| {
        let args = [&["replay", &path], args].concat();
        run(args).ok().silent().text().replace('\n', "")
    };
    assert_eq!(replay(&[]), "01234");
    assert_eq!(replay(&["-r"]), "43210");
    assert_eq!(replay(&["--from", "1", "--to", "4"]), "123");
    assert_eq!(replay(&["--from", "1", "--to", "4", "-r"]), "321");
    assert_eq!(replay(&["--from", "1", "-n", "2"]), "12");
    assert_eq!(replay(&["--to", "4", "-n", "2", "-r"]), "32");
    assert_eq!(replay(&["--from", "4", "--to", "2"]), "");
    assert_eq!(replay(&["--from", "9", "-r"]), "");
    let forward = run(["replay", &path, "--json"]).ok().json();
    let mut backward = run(["replay", &path, "--json", "-r"]).ok().json();
    backward.reverse();
    assert_eq!(forward, backward);
    assert_eq!(forward[4]["crc"].as_str().map(str::len), Some(8));
}

#[test]
fn replay_runs_a_command_for_each_document() {
    let dir = Dir::new();
    let path = dir.log(["a", "b\n", "c"]);
    let ran = run([
        "replay",
        &path,
        "--exec",
        "printf \"$DOCBUF_POSITION:\"; cat",
    ])
    .ok();
    assert_eq!(ran.text(), "0:a1:b\n2:c");
    let ran = run(["replay", &path, "--json", "--from", "2", "--exec", "cat"]).ok();
    assert_eq!(ran.json()[0]["payload"], "c");
    let fails = "test $DOCBUF_POSITION != 1";
    run(["replay", &path, "--exec", fails])
        .code(1)
        .says("position 1")
        .says("--from 1");
    // A command that does not read its input.
    let big = dir.path("big");
    run(["push", &big, &"x".repeat(100_000)]).ok();
    run(["replay", &big, "--exec", "true"]).ok().silent();
}

#[test]
fn tail_prints_the_last_in_order() {
    let dir = Dir::new();
    let path = dir.log((0..20).map(|n| n.to_string()));
    assert_eq!(
        run(["tail", &path, "-n", "3"]).ok().silent().text(),
        "17\n18\n19\n"
    );
    assert_eq!(run(["tail", &path]).ok().text().lines().count(), 10);
    assert_eq!(
        run(["tail", &path, "-n", "99"]).ok().text().lines().count(),
        20
    );
    let lines = run(["tail", &path, "-n", "1", "--json", "--payload", "base64"])
        .ok()
        .json();
    assert_eq!(
        (&lines[0]["encoding"], &lines[0]["payload"]),
        (&"base64".into(), &"MTk=".into())
    );
}

#[test]
fn payload_forms() {
    let dir = Dir::new();
    let path = dir.log([
        &br#"{"b":1.0,"a":[null]}"#[..],
        b"text\n",
        b"\xff\0",
        b"bell\x07",
    ]);
    let forms = |form: &str| -> Vec<String> {
        let lines = run(["export", &path, "--payload", form]).ok().json();
        lines
            .iter()
            .map(|line| line["encoding"].to_string().replace('"', ""))
            .collect()
    };
    assert_eq!(forms("auto"), ["text", "text", "base64", "base64"]);
    assert_eq!(forms("json"), ["json", "text", "base64", "base64"]);
    assert_eq!(forms("text"), ["text", "text", "base64", "text"]);
    assert_eq!(forms("base64"), ["base64"; 4]);
    let line = run(["export", &path, "--payload", "json", "--to", "1"]).ok();
    assert!(
        line.text()
            .ends_with("\"payload\":{\"b\":1.0,\"a\":[null]}}\n")
    );
}

#[test]
fn documents_over_the_limit_are_not_read() {
    let dir = Dir::new();
    let path = dir.log(["12345678", "1"]);
    run(["export", &path, "--max-doc-size", "7"])
        .code(1)
        .says("8 bytes")
        .says("--max-doc-size");
    run(["replay", &path, "-r", "--max-doc-size", "7"])
        .code(1)
        .says("8 bytes");
    run(["export", &path, "--max-doc-size", "8"]).ok();
    run(["verify", &path]).ok();
}

#[test]
fn what_is_read_before_damage_is_printed_and_the_damage_told() {
    let dir = Dir::new();
    let path = dir.log(["a", "b", "c", "d"]);
    flip(&path, offset_of(&path, 2) + 4);
    for command in ["replay", "export", "tail", "read", "peek", "stat"] {
        let ran = run([command, &path])
            .code(3)
            .says("damaged at offset")
            .says("docbuf repair");
        assert!(!ran.stdout.is_empty(), "{command}");
    }
    assert_eq!(run(["replay", &path]).code(3).text(), "a\nb\n");
    assert_eq!(run(["replay", &path, "-r"]).code(3).text(), "b\na\n");
    // What ends before the damage has not met it.
    assert_eq!(
        run(["replay", &path, "--to", "1"]).ok().silent().text(),
        "a\n"
    );
}

#[test]
fn a_torn_end_is_read_up_to_with_a_note() {
    let dir = Dir::new();
    let path = dir.log(["a", "b", "a longer one"]);
    cut(&path, offset_of(&path, 2) + 7);
    assert_eq!(
        run(["replay", &path]).ok().says("torn at offset").text(),
        "a\nb\n"
    );
}

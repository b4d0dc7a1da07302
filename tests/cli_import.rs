//! `docbuf export` and `import`: byte for byte, in batches, to be resumed.

#![cfg(feature = "cli")]

mod cli_support;

use std::io::Write;
use std::process::Stdio;

use cli_support::{Dir, command, documents, feed, len, run, until};
use proptest::prelude::*;

fn lines<D: AsRef<[u8]>>(documents: impl IntoIterator<Item = D>) -> Vec<u8> {
    let dir = Dir::new();
    run(["export", &dir.log(documents)]).ok().stdout
}

/// Bytes of the kinds that a text form gets wrong.
fn document() -> impl Strategy<Value = Vec<u8>> {
    let json = prop::sample::select(vec![
        "null",
        "1.0",
        "-0",
        "1e999",
        " {}",
        "{\"a\":1,\"a\":2}",
        "[1, 2]",
        "\"\\u00e9\"",
        "[\n]",
        "\"\u{9b}\"",
    ]);
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        "\\PC{0,20}".prop_map(String::into_bytes),
        prop::collection::vec(
            prop::sample::select(b"\0\n\r\t\"\\ \x7f\xc2\xe9{}".to_vec()),
            0..12
        ),
        json.prop_map(|text| text.as_bytes().to_vec()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_byte_string_comes_back(all in prop::collection::vec(document(), 0..12)) {
        let dir = Dir::new();
        let path = dir.log(&all);
        for form in ["auto", "json", "text", "base64"] {
            let exported = run(["export", &path, "--payload", form]).ok();
            prop_assert_eq!(exported.stdout.iter().filter(|byte| **byte == b'\n').count(), all.len());
            let copy = dir.path(form);
            feed(["import", &copy], &exported.stdout).ok();
            prop_assert_eq!(&documents(&copy), &all);
        }
    }
}

#[test]
fn export_takes_a_range() {
    let dir = Dir::new();
    let path = dir.log(["a", "b", "c"]);
    let lines = run(["export", &path, "--from", "1", "--to", "2"])
        .ok()
        .json();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["position"], 1);
}

#[test]
fn import_reads_a_file_or_stdin() {
    let dir = Dir::new();
    let input = dir.path("lines");
    std::fs::write(&input, lines(["a", "b"])).expect("writes");
    let path = dir.path("copy");
    run(["import", &path, &input])
        .ok()
        .says("imported 2 documents");
    feed(["import", &path, "-"], &lines(["c"])).ok();
    feed(["import", &path], &lines(["d"])).ok();
    assert_eq!(documents(&path), [b"a", b"b", b"c", b"d"]);
    run(["import", &path, &dir.path("missing")])
        .code(1)
        .says("missing: cannot open");
}

#[test]
fn a_bad_line_is_named_and_what_came_before_is_kept() {
    let dir = Dir::new();
    let good = String::from_utf8(lines(["a", "b", "c"])).expect("JSON");
    for (bad, why) in [
        ("oops", "no object"),
        ("", "no object"),
        (
            r#"{"v":1,"encoding":"text","payload":"x""#,
            "not a document in JSON",
        ),
        (r#"{"v":2,"encoding":"text","payload":"x"}"#, "form 2"),
        (r#"{"v":1,"encoding":"base64","payload":"?"}"#, "base64"),
        (r#"{"v":1,"encoding":"rot13","payload":"x"}"#, "rot13"),
        (r#"{"v":1,"cut_back_to":1}"#, "encoding"),
        (
            r#"{"v":1,"encoding":"text","payload":"123456789"}"#,
            "--max-doc-size",
        ),
    ] {
        let path = dir.path("copy");
        let input = format!("{good}{bad}\n{good}");
        let ran = feed(["import", &path, "--max-doc-size", "8"], input.as_bytes()).code(1);
        let ran = ran
            .says("line 4")
            .says(why)
            .says("3 documents before it")
            .says("--from 3");
        assert!(ran.stderr.contains("docbuf import"), "{}", ran.stderr);
        assert_eq!(documents(&path), [b"a", b"b", b"c"]);
        // As it says: mend the line, go on behind those that are there.
        let input = format!("{good}{good}");
        feed(["import", &path, "--from", "3"], input.as_bytes()).ok();
        assert_eq!(documents(&path).len(), 6);
        std::fs::remove_file(&path).expect("removes");
    }
}

#[test]
fn a_line_without_end_does_not_fill_memory() {
    let dir = Dir::new();
    let path = dir.path("copy");
    let mut child = command(["import", &path, "--max-doc-size", "64KiB"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("docbuf starts");
    let mut stdin = child.stdin.take().expect("piped");
    // It ends while the line still goes on.
    let piece = [b'{'; 64 << 10];
    while stdin.write_all(&piece).is_ok() {}
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("line 1: more than 65536 bytes"));
}

#[test]
fn resume_goes_on_where_the_file_ends() {
    let dir = Dir::new();
    let path = dir.path("copy");
    let all = lines(["a", "b", "c"]);
    feed(["import", &path, "--resume"], &lines(["a", "b"])).ok();
    feed(["import", &path, "--resume"], &all)
        .ok()
        .says("imported 1 documents");
    feed(["import", &path, "--resume"], &all)
        .ok()
        .says("imported 0 documents");
    assert_eq!(documents(&path), [b"a", b"b", b"c"]);
    feed(["import", &path, "--resume"], &lines(["a", "b", "x", "d"]))
        .code(6)
        .says("line 3");
    feed(["import", &path, "--resume"], &lines(["a", "b"]))
        .code(6)
        .says("2 lines");
    feed(["import", &path, "--from", "9"], &all)
        .code(6)
        .says("3 lines");
    assert_eq!(documents(&path).len(), 3);
}

#[test]
fn an_import_that_was_killed_is_resumed() {
    let dir = Dir::new();
    let path = dir.path("copy");
    let all: Vec<String> = (0..30_000)
        .map(|n| format!("document {n} {}", "x".repeat(n % 97)))
        .collect();
    let input = lines(&all);
    let mut child = command(["import", &path])
        .stdin(Stdio::piped())
        .spawn()
        .expect("docbuf starts");
    let mut stdin = child.stdin.take().expect("piped");
    // Half of it, and half of a line at the end.
    stdin
        .write_all(&input[..input.len() / 2])
        .expect("it reads");
    until("some of it", || (len(&path) > 500_000).then_some(()));
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    drop(stdin);
    let survived = documents(&path).len();
    assert!((1..16_000).contains(&survived), "{survived}");

    let missing = 30_000 - survived;
    let again = feed(["import", &path, "--resume"], &input).ok();
    again.says(&format!("imported {missing} documents"));
    let copied = documents(&path);
    assert!(
        copied
            .iter()
            .eq(all.iter().map(|document| document.as_bytes())),
        "not the same"
    );
    run(["verify", &path]).ok().silent();
}

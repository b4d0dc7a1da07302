//! `docbuf` on a damaged journal: each problem with its file, its position and its remedy, and the remedies
//! work.

#![cfg(feature = "cli")]

mod cli_support;

use std::fs;
use std::io::Write;
use std::path::Path;

use cli_support::{
    Dir, Holder, contents, cut, documents, events, feed, flip, len, names, offset_of, open, run,
    segment, still,
};
use serde_json::Value;

/// `document 0` to `document 19`, five to a segment: 0, 5, 10 and 15 begin one.
fn journal(dir: &Dir) -> String {
    dir.journal((0..20).map(|n| format!("document {n}")), 5)
}

/// The file's name as messages have it.
fn named(sequence: u64) -> String {
    format!("{sequence:020}.segment")
}

/// What `verify --json` says, after the text form said the same and neither wrote.
#[track_caller]
fn verify(path: &str) -> Value {
    let before = contents(path);
    let told = run(["verify", path]).code(3);
    let ran = run(["verify", "--json", path]).code(3);
    assert_eq!(contents(path), before, "verify wrote");
    assert_eq!(told.stderr, ran.stderr);
    let report = ran.json().remove(0);
    for problem in problems(&report) {
        for field in ["problem", "remedy"] {
            let text = problem[field].as_str().expect("text");
            assert!(told.stderr.contains(text), "{text}: {}", told.stderr);
        }
    }
    assert_eq!(report["v"], 1);
    report
}

fn problems(report: &Value) -> &[Value] {
    report["problems"].as_array().expect("a list")
}

/// The one problem: its file, its position, its words.
#[track_caller]
fn only(report: &Value) -> (String, Option<u64>, String) {
    let [problem] = problems(report) else {
        panic!("{report}");
    };
    let file = Path::new(problem["file"].as_str().expect("a file"));
    let name = file.file_name().and_then(|name| name.to_str());
    let words = format!("{}; {}", problem["problem"], problem["remedy"]);
    (
        name.expect("a name").to_owned(),
        problem["position"].as_u64(),
        words,
    )
}

/// No command reads or writes the journal, and each says of the file what `verify` says.
#[track_caller]
fn refused(path: &str, report: &Value) {
    let before = contents(path);
    let (file, _, words) = only(report);
    let words: Vec<&str> = words.trim_matches('"').split("\"; \"").collect();
    for args in [
        &["stat", path][..],
        &["replay", path],
        &["replay", path, "-r"],
        &["export", path],
        &["tail", path],
        &["tail", path, "-f"],
        &["peek", path],
        &["read", path],
        &["push", path, "x"],
        &["pop", path],
        &["remove", path, "-n", "1"],
        &["import", path],
    ] {
        let ran = run(args).code(3).says(&file).says(words[0]).says(words[1]);
        assert!(ran.stdout.is_empty(), "{args:?}");
    }
    assert_eq!(contents(path), before);
}

#[test]
fn a_missing_segment() {
    let dir = Dir::new();
    let path = journal(&dir);
    fs::remove_file(segment(&path, 2)).expect("removes");
    let report = verify(&path);
    let (file, _, words) = only(&report);
    assert_eq!(file, named(2));
    assert!(
        words.contains("missing, and with it the documents up to position 10")
            && words.contains(&format!("docbuf discard {path} --before 10")),
        "{words}"
    );
    // On both sides of it all is well.
    assert_eq!(
        (&report["result"], &report["documents"], &report["segments"]),
        (&"damaged".into(), &15.into(), &3.into())
    );
    assert_eq!(report["end"], "clean");
    refused(&path, &report);

    // The remedy, but only as it was said, and not by chance.
    let before = contents(&path);
    for args in [
        &["discard", &path, "--before", "9", "--yes"][..],
        &["discard", &path, "--before", "9", "--dry-run"],
        &["discard", &path, "--before", "10"],
        &["discard", &path, "--before", "12"],
    ] {
        let ran = run(args).code(3).says(&named(2));
        assert!(ran.stdout.is_empty());
    }
    run(["discard", &path, "--before", "21", "--yes"]).code(6);
    let dry = run(["discard", &path, "--before", "12", "--dry-run"]).ok();
    assert!(
        dry.text().contains("1 segments with or before damage")
            && dry.text().contains("the first position kept would be 10"),
        "{}",
        dry.text()
    );
    assert_eq!(contents(&path), before);
    let ran = run(["discard", &path, "--before", "16", "--yes"]).ok();
    assert_eq!(ran.text(), "15\n");
    run(["verify", &path]).ok().silent();
    assert_eq!(events(&path).len(), 5);
    assert_eq!(run(["push", &path, "--ack", "x"]).ok().text(), "20\n");
}

#[test]
fn a_discard_waits_for_no_writer_to_be_gone() {
    let dir = Dir::new();
    let path = journal(&dir);
    let writer = open(&path);
    fs::remove_file(segment(&path, 2)).expect("removes");
    let before = contents(&path);
    run(["discard", &path, "--before", "12", "--yes"]).code(4);
    assert_eq!(contents(&path), before);
    drop(writer);
    run(["discard", &path, "--before", "12", "--yes"]).ok();
}

#[test]
fn swapped_and_duplicated_segments() {
    let dir = Dir::new();
    let path = journal(&dir);
    let (one, two, spare) = (segment(&path, 2), segment(&path, 3), dir.path("spare"));
    let swap = || {
        fs::rename(&one, &spare).expect("renames");
        fs::rename(&two, &one).expect("renames");
        fs::rename(&spare, &two).expect("renames");
    };
    swap();
    let report = verify(&path);
    let files: Vec<_> = problems(&report)
        .iter()
        .map(|problem| problem["problem"].as_str().expect("text"))
        .collect();
    assert_eq!(
        files,
        [
            "named as segment 3, but is segment 2",
            "named as segment 2, but is segment 3"
        ]
    );
    let remedy = problems(&report)[0]["remedy"].as_str().expect("text");
    assert!(remedy.contains(&named(2)), "{remedy}");
    run(["replay", &path])
        .code(3)
        .says("named as segment 3, but is segment 2");
    // It is no remedy to throw them away.
    run(["discard", &path, "--before", "15", "--yes"]).code(3);
    swap();
    run(["verify", &path]).ok().silent();

    fs::copy(segment(&path, 2), segment(&path, 9)).expect("copies");
    let report = verify(&path);
    let (file, _, words) = only(&report);
    assert_eq!(file, named(9));
    assert!(words.contains("is segment 2") && words.contains("move it away"));
    refused(&path, &report);
    fs::remove_file(segment(&path, 9)).expect("removes");
    run(["verify", &path]).ok().silent();
}

#[test]
fn a_segment_of_another_journal() {
    let dir = Dir::new();
    let path = journal(&dir);
    let own = fs::read(segment(&path, 2)).expect("reads");
    let other = Dir::new();
    fs::copy(segment(&journal(&other), 2), segment(&path, 2)).expect("copies");
    let report = verify(&path);
    let (file, _, words) = only(&report);
    assert_eq!(file, named(2));
    assert!(
        words.contains("another journal") && words.contains("move"),
        "{words}"
    );
    refused(&path, &report);
    run(["discard", &path, "--before", "15", "--yes"]).code(3);
    fs::write(segment(&path, 2), own).expect("writes");
    run(["verify", &path]).ok().silent();

    // What was never a segment.
    fs::write(segment(&path, 2), "dear all, ".repeat(100)).expect("writes");
    let report = verify(&path);
    let (file, _, words) = only(&report);
    assert_eq!(file, named(2));
    assert!(words.contains("header is destroyed") && words.contains("before position 10"));
    refused(&path, &report);
}

#[test]
fn a_segment_that_was_cut_short() {
    let dir = Dir::new();
    let path = journal(&dir);
    let file = segment(&path, 2);
    let at = offset_of(&file, 3);
    cut(&file, at + 5);
    let report = verify(&path);
    let (name, position, words) = only(&report);
    assert_eq!((name, position), (named(2), Some(8)));
    assert!(
        words.contains("from position 8 up to 10 are gone")
            && words.contains(&format!("docbuf discard {path} --before 10"))
            && words.contains(&format!("docbuf repair {file} -o NEW")),
        "{words}"
    );
    // Readers come as far as they can; writers do not begin.
    let ran = run(["replay", &path])
        .code(3)
        .says(&named(2))
        .says("from position 8 up to 10 are gone");
    assert!((5..=8).contains(&ran.text().lines().count()));
    let ran = run(["replay", &path, "-r"]).code(3).says(&named(2));
    assert_eq!(ran.text().lines().count(), 10);
    let ran = run(["read", &path, "-n", "12"]).code(3).says(&named(2));
    assert_eq!(ran.text().lines().count(), 10);
    assert_eq!(run(["tail", &path]).ok().text().lines().count(), 10);
    run(["replay", &path, "--from", "10"]).ok().silent();
    run(["replay", &path, "--from", "9"])
        .code(3)
        .says("from position 8 up to 10 are gone");
    run(["push", &path, "x"])
        .code(3)
        .says("from position 8 up to 10 are gone");

    let new = dir.path("new");
    run(["repair", &file, "-o", &new])
        .ok()
        .says("saved 3 documents");
    assert_eq!(documents(&new)[2], b"document 7");
    run(["discard", &path, "--before", "9", "--yes"]).code(3);
    let ran = run(["discard", &path, "--before", "10", "--yes"]).ok();
    assert_eq!(ran.text(), "10\n");
    run(["verify", &path]).ok().silent();
    run(["push", &path, "x"]).ok();
}

#[test]
fn a_flipped_bit_in_a_sealed_segment() {
    let dir = Dir::new();
    let path = journal(&dir);
    let file = segment(&path, 2);
    let offset = offset_of(&file, 2);
    flip(&file, offset + 10);
    let report = verify(&path);
    let (name, position, words) = only(&report);
    assert_eq!((name, position), (named(2), Some(7)));
    for part in [
        &format!("damaged at offset {offset}")[..],
        "document 7 cannot be read",
        &format!("docbuf repair {file} -o NEW"),
        &format!("docbuf discard {path} --before 10"),
    ] {
        assert!(words.contains(part), "{part}: {words}");
    }
    for (args, printed) in [
        (&["replay", &path][..], 7),
        (&["export", &path], 7),
        (&["tail", &path, "-n", "99"], 7),
        (&["replay", &path, "--from", "6"], 1),
        // Walking back, documents behind it in its segment are fine.
        (&["replay", &path, "-r"], 12),
        (&["read", &path, "-n", "13"], 12),
    ] {
        let ran = run(args)
            .code(3)
            .says(&named(2))
            .says("document 7 cannot be read")
            .says("--before 10");
        assert_eq!(ran.text().lines().count(), printed, "{args:?}");
    }
    // What it does not concern goes on.
    run(["replay", &path, "--from", "8"]).code(3);
    for args in [
        &["replay", &path, "--from", "10"][..],
        &["replay", &path, "--to", "7"],
        &["replay", &path, "-r", "-n", "12"],
        &["read", &path],
        &["peek", &path],
        &["tail", &path],
        &["stat", &path],
        &["push", &path, "x"],
        &["pop", &path],
    ] {
        run(args).ok().silent();
    }
    run(["remove", &path, "--after", "8"])
        .code(3)
        .says(&named(2));
    run(["remove", &path, "--after", "6"]).ok();
    run(["verify", &path]).ok().silent();
    assert_eq!(events(&path).len(), 6);
}

#[test]
fn a_destroyed_header() {
    let dir = Dir::new();
    let path = journal(&dir);
    let file = segment(&path, 3);
    // Both copies.
    flip(&file, 20);
    run(["verify", &path]).ok().silent();
    flip(&file, 52);
    let report = verify(&path);
    let (name, position, words) = only(&report);
    assert_eq!((name, position), (named(3), None));
    assert!(
        words.contains("header is destroyed")
            && words.contains("documents before position 15 cannot be reached")
            && words.contains("--before 15"),
        "{words}"
    );
    assert_eq!(report["documents"], 15);
    refused(&path, &report);
    run(["discard", &path, "--before", "14", "--yes"]).code(3);
    assert_eq!(
        run(["discard", &path, "--before", "15", "--yes"])
            .ok()
            .text(),
        "15\n"
    );
    run(["verify", &path]).ok().silent();
}

#[test]
fn a_destroyed_header_of_the_newest() {
    let dir = Dir::new();
    let path = journal(&dir);
    let file = segment(&path, 4);
    flip(&file, 20);
    flip(&file, 52);
    let report = verify(&path);
    let (name, _, words) = only(&report);
    assert_eq!(name, named(4));
    assert!(
        words.contains("move it away") && !words.contains("discard"),
        "{words}"
    );
    assert!(report["end"].is_null());
    assert_eq!(report["documents"], 15);
    refused(&path, &report);
    // Nothing lies behind it that a discard could keep.
    run(["discard", &path, "--before", "20", "--yes"]).code(3);
    assert_eq!(names(&path).len(), 5);
    fs::remove_file(file).expect("removes");
    run(["verify", &path]).ok().silent();
    assert_eq!(events(&path).len(), 15);
}

#[test]
fn everything_that_is_wrong_is_told_newest_first() {
    let dir = Dir::new();
    let path = dir.journal((0..40).map(|n| format!("document {n}")), 5);
    // Segments 1 to 8.
    for bad in [7, 2] {
        let file = segment(&path, bad);
        flip(&file, offset_of(&file, 1) + 9);
    }
    fs::remove_file(segment(&path, 6)).expect("removes");
    let file = segment(&path, 4);
    cut(&file, offset_of(&file, 4));
    fs::write(segment(&path, 3), "dear all").expect("writes");
    let newest = segment(&path, 8);
    cut(&newest, offset_of(&newest, 3) + 9);
    let report = verify(&path);
    let found: Vec<_> = problems(&report)
        .iter()
        .map(|problem| {
            let file = Path::new(problem["file"].as_str().expect("a file"));
            let name = file.file_stem().and_then(|name| name.to_str());
            let number: u64 = name.expect("a name").parse().expect("a number");
            (number, problem["position"].as_u64())
        })
        .collect();
    assert_eq!(
        found,
        [
            (8, Some(38)),
            (7, Some(31)),
            (6, None),
            (4, Some(19)),
            (3, None),
            (2, Some(6))
        ]
    );
    assert_eq!(report["result"], "damaged");
    // The first that keeps it from being read.
    run(["replay", &path]).code(3).says(&named(6));
    // Given up, in one go.
    run(["discard", &path, "--before", "29", "--yes"]).code(3);
    assert_eq!(
        run(["discard", &path, "--before", "30", "--yes"])
            .ok()
            .text(),
        "30\n"
    );
    let report = verify(&path);
    assert_eq!(problems(&report).len(), 2);
}

#[test]
fn a_torn_end_is_gone_on_behind() {
    let dir = Dir::new();
    let path = journal(&dir);
    let file = segment(&path, 4);
    let torn = offset_of(&file, 3);
    cut(&file, torn + 9);
    let damaged = fs::read(&file).expect("reads");
    let report = verify(&path);
    let (name, position, words) = only(&report);
    assert_eq!((name, position), (named(4), Some(18)));
    assert!(
        words.contains(&format!("torn at offset {torn}")) && words.contains("new segment"),
        "{words}"
    );
    assert_eq!(
        (&report["result"], &report["documents"]),
        (&"torn".into(), &18.into())
    );
    for reading in ["replay", "export", "tail", "read", "peek", "stat"] {
        run([reading, &path])
            .ok()
            .says(&named(4))
            .says("torn at offset");
    }
    // A writer that has it open will not write there.
    let mut holder = Holder::of(&path);
    let ran = run(["verify", &path]).ok().silent();
    assert!(ran.text().contains("in progress"), "{}", ran.text());
    let report = &run(["verify", "--json", &path]).ok().json()[0];
    assert_eq!(report["result"], "in progress");
    for reading in ["replay", "export", "tail", "read", "peek", "stat"] {
        run([reading, &path]).ok().silent();
    }
    holder.give(b"on\n");
    holder.let_go();
    run(["verify", &path]).ok().silent();
    assert_eq!(events(&path)[17..], [&b"document 17"[..], b"on"]);
    assert_eq!(fs::read(&file).expect("reads"), damaged);
}

#[test]
fn damage_at_the_end_is_told_and_not_written_behind_unless_told() {
    let dir = Dir::new();
    let path = journal(&dir);
    let file = segment(&path, 4);
    let bad = offset_of(&file, 2);
    flip(&file, bad + 10);
    let report = verify(&path);
    let (name, position, words) = only(&report);
    assert_eq!((name, position), (named(4), Some(17)));
    assert!(
        words.contains(&format!(
            "bad record at offset {bad} with 2 intact documents"
        )) && words.contains(&format!("docbuf repair {file} -o NEW")),
        "{words}"
    );
    for (reading, printed) in [
        ("replay", 17),
        ("export", 17),
        ("tail", 10),
        ("read", 10),
        ("peek", 1),
    ] {
        let ran = run([reading, &path])
            .code(3)
            .says(&named(4))
            .says("damaged at offset");
        assert_eq!(ran.text().lines().count(), printed);
    }
    run(["stat", &path]).code(3).says("2 intact documents");
    let damaged = contents(&path);
    for writing in [
        &["push", &path, "x"][..],
        &["pop", &path],
        &["remove", &path, "-n", "1"],
        &["import", &path],
        &["discard", &path, "--before", "5"],
    ] {
        run(writing)
            .code(3)
            .says("2 intact documents")
            .says("--accept-suspect");
    }
    feed(["push", &path, "--lines", "--accept-suspect"], b"").ok();
    assert_eq!(contents(&path), damaged);
    let ran = run(["push", &path, "x", "--ack", "--accept-suspect"]).ok();
    assert_eq!(ran.text(), "17\n");
    assert!(len(&file) > bad, "what lay behind the damage is kept");
    run(["verify", &path]).ok().silent();
    assert_eq!(events(&path)[16..], [&b"document 16"[..], b"x"]);
}

#[test]
fn what_was_cut_away_is_no_damage() {
    let dir = Dir::new();
    let path = journal(&dir);
    let old = contents(&path);
    let journal = open(&path);
    still(|| journal.truncate_after(7)).expect("cuts");
    journal.append("new").expect("appends");
    journal.close().expect("closes");
    // As a crash before their removal leaves them, and a segment that was not yet born.
    for (name, bytes) in old {
        let at = Path::new(&path).join(&name);
        if !at.exists() {
            fs::write(at, bytes).expect("writes");
        }
    }
    let unborn = format!("{path}/{}.new", named(9));
    let mut file = fs::File::create(unborn).expect("creates");
    file.write_all(b"half a").expect("writes");
    let before = contents(&path);
    let report = &run(["verify", "--json", &path]).ok().silent().json()[0];
    assert_eq!(
        (&report["documents"], &report["void_segments"]),
        (&8.into(), &2.into())
    );
    assert_eq!(contents(&path), before);
    assert_eq!(events(&path).len(), 8);
}

#[test]
fn a_discard_says_how_far_all_damage_reaches() {
    let dir = Dir::new();
    let path = dir.journal((0..30).map(|n| format!("document {n}")), 5);
    fs::remove_file(segment(&path, 2)).expect("removes");
    let file = segment(&path, 4);
    cut(&file, offset_of(&file, 1));
    // Behind the first of them is not behind both.
    run(["replay", &path]).code(3).says("--before 10");
    for before in ["10", "19"] {
        run(["discard", &path, "--before", before, "--yes"])
            .code(3)
            .says(&named(4))
            .says("--before 20");
    }
    assert_eq!(
        run(["discard", &path, "--before", "20", "--yes"])
            .ok()
            .text(),
        "20\n"
    );
    run(["verify", &path]).ok().silent();
}

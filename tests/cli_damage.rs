//! `docbuf verify` and `repair`: what is damage, what a crash leaves, what can be saved.

#![cfg(feature = "cli")]

mod cli_support;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use cli_support::{Dir, Holder, cut, documents, flip, len, offset_of, run};

const DOCUMENTS: [&str; 5] = ["first", "second", "third", "fourth", "fifth"];

#[test]
fn verify_of_good_ends_is_code_0() {
    let dir = Dir::new();
    let path = dir.log(DOCUMENTS);
    let ran = run(["verify", &path]).ok().silent();
    assert!(
        ran.text()
            .contains("5 documents of 27 bytes are intact; the end is clean")
    );
    let report = &run(["verify", "--json", &path]).ok().json()[0];
    assert_eq!(
        (&report["v"], &report["result"]),
        (&1.into(), &"clean".into())
    );
    // Without its END, as a process that was killed leaves it; and with zeros written ahead.
    let boundary = offset_of(&path, 4);
    cut(&path, boundary);
    let report = &run(["verify", "--json", &path]).ok().json()[0];
    assert_eq!(
        (&report["result"], &report["documents"]),
        (&"unterminated".into(), &4.into())
    );
    cut(&path, boundary + 5000);
    assert_eq!(
        run(["verify", "--json", &path]).ok().json()[0]["result"],
        "unterminated"
    );
}

#[test]
fn verify_tells_a_torn_write_from_damage() {
    let dir = Dir::new();
    let path = dir.log(DOCUMENTS);
    let torn = offset_of(&path, 4);
    cut(&path, torn + 9);
    let ran = run(["verify", &path])
        .code(3)
        .says("a crash in the middle of a write")
        .says("--in-place-tail");
    assert!(ran.text().contains(&format!(
        "4 documents of 22 bytes are intact; the end is torn at offset {torn}"
    )));
    let report = &run(["verify", "--json", &path]).code(3).json()[0];
    assert_eq!(
        (&report["result"], &report["bad_offset"]),
        (&"torn".into(), &torn.into())
    );

    fs::remove_file(&path).expect("removes");
    let path = dir.log(DOCUMENTS);
    let bad = offset_of(&path, 1);
    flip(&path, bad + 4);
    let before = fs::read(&path).expect("reads");
    run(["verify", &path])
        .code(3)
        .says(&format!("bad record at offset {bad}"))
        .says("3 intact documents");
    let report = &run(["verify", "--json", &path]).code(3).json()[0];
    assert_eq!(
        (&report["result"], &report["documents_behind"]),
        (&"suspect".into(), &3.into())
    );
    assert_eq!(fs::read(&path).expect("reads"), before, "verify wrote");
    assert_eq!(dir.names(), ["log"]);
}

#[test]
fn verify_of_a_destroyed_header_is_code_3() {
    let dir = Dir::new();
    let path = dir.log(DOCUMENTS);
    flip(&path, 20);
    run(["verify", &path]).ok();
    flip(&path, 52);
    run(["verify", &path])
        .code(3)
        .says("header is destroyed")
        .says("docbuf repair");
}

#[test]
fn a_tail_that_a_living_writer_is_at_is_in_progress() {
    let dir = Dir::new();
    let path = dir.log(DOCUMENTS);
    cut(&path, offset_of(&path, 4) + 9);
    // It has read the torn tail, and will write over it when there is something to write.
    let holder = Holder::of(&path);
    let ran = run(["verify", &path]).ok().silent();
    assert!(ran.text().contains("in progress"), "{}", ran.text());
    assert_eq!(
        run(["verify", "--json", &path]).ok().json()[0]["result"],
        "in progress"
    );
    for reading in ["replay", "export", "tail", "read", "peek", "stat"] {
        run([reading, &path]).ok().silent();
    }
    holder.kill();
    run(["verify", &path]).code(3);
}

#[test]
fn a_tail_that_moves_is_in_progress_without_a_lock_too() {
    let dir = Dir::new();
    let path = dir.log((0..20_000).map(|n| format!("document {n}")));
    let whole = fs::read(&path).expect("reads");
    let moving = dir.path("moving");
    fs::write(&moving, &whole[..500]).expect("writes");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = OpenOptions::new()
                .append(true)
                .open(&moving)
                .expect("opens");
            for piece in whole[500..].chunks(3) {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                file.write_all(piece).expect("writes");
                thread::yield_now();
            }
        });
        let ran = run(["verify", &moving]);
        stop.store(true, Ordering::Relaxed);
        ran.ok().silent();
    });
}

#[test]
fn repair_saves_what_is_intact_and_lists_what_is_not() {
    let dir = Dir::new();
    let path = dir.log(DOCUMENTS);
    let bad = offset_of(&path, 1);
    flip(&path, bad + 4);
    let before = fs::read(&path).expect("reads");
    let new = dir.path("new");
    let (from, to) = (bad, offset_of_next(&path, &before));
    let range = format!("offset {from} to {to}, {} bytes", to - from);
    run(["repair", &path, "--dry-run"])
        .ok()
        .says(&range)
        .says("would save 4 documents, 3 of them from behind");
    assert_eq!(dir.names(), ["log"]);
    let ran = run(["repair", &path, "-o", &new])
        .ok()
        .says(&range)
        .says("saved 4 documents, 3 of them from behind");
    assert!(ran.stdout.is_empty());
    assert_eq!(
        documents(&new),
        ["first", "third", "fourth", "fifth"].map(str::as_bytes)
    );
    run(["verify", &new]).ok().silent();
    assert_eq!(
        fs::read(&path).expect("reads"),
        before,
        "the damaged file was changed"
    );

    let first = dir.path("first");
    run(["repair", &path, "-o", &first, "--before-damage"])
        .ok()
        .says("saved 1 documents");
    assert_eq!(documents(&first), [b"first"]);
}

/// Where the record of "third" begins.
fn offset_of_next(path: &str, bytes: &[u8]) -> u64 {
    let text = bytes.windows(5).position(|window| window == b"third");
    text.unwrap_or_else(|| panic!("{path} has it")) as u64 - 8
}

#[test]
fn every_damaged_stretch_is_listed() {
    let dir = Dir::new();
    let path = dir.path("log");
    // Each process begins with a mark.
    for document in DOCUMENTS {
        run(["push", &path, document]).ok();
    }
    let at = |position| offset_of(&path, position);
    let (second, fourth) = (at(1), at(3));
    let (third, torn) = (at(2), at(4));
    flip(&path, second + 4);
    flip(&path, fourth + 4);
    cut(&path, torn + 9);
    let ran = run(["repair", &path, "--dry-run"]).ok();
    // A stretch lies between two documents, marks included.
    let ran = ran.says(&format!("offset {second} to {third}"));
    let ran = ran.says(&format!("offset {} to {}", third + 16 + 5, torn + 9));
    ran.says("would save 2 documents, 1 of them");
}

#[test]
fn repair_of_a_destroyed_header_saves_all_or_says_that_it_cannot() {
    let dir = Dir::new();
    let path = dir.log(DOCUMENTS);
    flip(&path, 20);
    flip(&path, 52);
    let new = dir.path("new");
    let ran = run(["repair", &path, "-o", &new]);
    if ran.code == 0 {
        assert_eq!(documents(&new), DOCUMENTS.map(str::as_bytes));
    } else {
        ran.code(3).says("header");
        assert_eq!(dir.names(), ["log"]);
    }
}

#[test]
fn repair_writes_over_nothing() {
    let dir = Dir::new();
    let path = dir.log(DOCUMENTS);
    let new = dir.path("new");
    fs::write(&new, "mine").expect("writes");
    run(["repair", &path, "-o", &new])
        .code(1)
        .says("exists already");
    run(["repair", &path, "-o", &path])
        .code(1)
        .says("exists already");
    assert_eq!(fs::read(&new).expect("reads"), b"mine");
    assert_eq!(documents(&path).len(), 5);
    assert_eq!(dir.names(), ["log", "new"]);
    run(["repair", &path, "-o", &dir.path("no/where")])
        .code(1)
        .says("cannot create");
}

#[test]
fn repair_of_a_sound_file_is_a_copy_without_what_was_removed() {
    let dir = Dir::new();
    let path = dir.log(DOCUMENTS);
    // Taken back, but still there: no tool cut the file.
    let mut log = documentbuffer::DocumentBuffer::open(&path).expect("opens");
    log.truncate_after(2).expect("cuts");
    log.close().expect("closes");
    assert!(len(&path) > offset_of(&path, 1) + 100);
    let new = dir.path("new");
    run(["repair", &path, "-o", &new])
        .ok()
        .says("saved 2 documents, 0 of them");
    assert_eq!(documents(&new), [&b"first"[..], b"second"]);
}

#[cfg(unix)]
#[test]
fn the_repaired_file_may_be_read_by_the_same_people() {
    use std::os::unix::fs::PermissionsExt;
    let dir = Dir::new();
    let path = dir.log(DOCUMENTS);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("sets");
    let new = dir.path("new");
    run(["repair", &path, "-o", &new]).ok();
    let mode = fs::metadata(&new).expect("is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}

#[test]
fn repair_in_place_cuts_only_a_torn_tail() {
    let dir = Dir::new();
    let path = dir.log(DOCUMENTS);
    let whole = fs::read(&path).expect("reads");
    run(["repair", &path, "--in-place-tail"])
        .ok()
        .says("nothing to cut");
    assert_eq!(fs::read(&path).expect("reads"), whole);
    let torn = offset_of(&path, 4);
    cut(&path, torn + 9);
    run(["repair", &path, "--in-place-tail", "--dry-run"])
        .ok()
        .says("would cut: offset");
    assert_eq!(len(&path), torn + 9);
    run(["repair", &path, "--in-place-tail"])
        .ok()
        .says(&format!("cut: offset {torn} to {}", torn + 9));
    // Where the torn record was stands an END now: 33 bytes.
    assert_eq!(len(&path), torn + 33);
    run(["verify", &path]).ok().silent();
    assert_eq!(documents(&path).len(), 4);
}

//! `docbuf tail --cursor`: what was printed is kept, and what comes behind it is printed once.

#![cfg(feature = "cli")]

mod cli_support;

use cli_support::{Dir, command, open, run};

#[test]
fn a_cursor_prints_each_document_once() {
    let dir = Dir::new();
    let path = dir.journal(["a", "b", "c"], 2);
    let kept = dir.path("kept");
    let tail = || run(["tail", &path, "--cursor", &kept]);
    assert_eq!(tail().ok().stdout, b"a\nb\nc\n");
    assert_eq!(tail().ok().stdout, b"");
    run(["push", &path, "d", "e"]).ok();
    assert_eq!(tail().ok().stdout, b"d\ne\n");
    // Its place is that of other documents now.
    let journal = open(&path);
    journal.truncate_after(2).expect("cuts");
    journal.append_all(["C", "D", "E"]).expect("appends");
    journal.close().expect("closes");
    let told = tail().ok().says("cut back to 2 documents");
    assert_eq!(told.stdout, b"C\nD\nE\n");
    let json = run(["tail", &path, "--json", "--cursor", &dir.path("other")]).ok();
    assert_eq!(json.stdout.iter().filter(|byte| **byte == b'\n').count(), 5);
}

#[cfg(target_os = "linux")]
#[test]
fn what_was_not_taken_is_not_kept() {
    let dir = Dir::new();
    let path = dir.journal(["a", "b", "c"], 2);
    let kept = dir.path("kept");
    let full = std::fs::File::options().write(true).open("/dev/full");
    let mut tail = command(["tail", &path, "--cursor", &kept]);
    let output = tail.stdout(full.expect("Linux has it")).output();
    assert_eq!(output.expect("runs").status.code(), Some(1));
    assert!(!std::path::Path::new(&kept).exists());
    assert_eq!(
        run(["tail", &path, "--cursor", &kept]).ok().stdout,
        b"a\nb\nc\n"
    );
}

#[test]
fn a_cursor_that_does_not_fit_is_told() {
    let dir = Dir::new();
    let path = dir.journal(["a"], 1);
    let kept = dir.path("kept");
    std::fs::write(&kept, "7\n").expect("writes");
    let told = run(["tail", &path, "--cursor", &kept]).code(1).stderr;
    assert!(
        told.contains("holds no cursor") && told.contains("rm "),
        "{told}"
    );
    assert_eq!(std::fs::read(&kept).expect("reads"), b"7\n");
    std::fs::remove_file(&kept).expect("removes");
    run(["tail", &path, "--cursor", &kept]).ok();
    let elsewhere = Dir::new();
    let other = elsewhere.journal(["x"], 1);
    let told = run(["tail", &other, "--cursor", &kept]).code(1).stderr;
    assert!(told.contains("another journal"), "{told}");
    let file = dir.log(["a"]);
    let told = run(["tail", &file, "--cursor", &kept]).code(2).stderr;
    assert!(told.contains("a journal, which is a directory"), "{told}");
    run(["tail", &path, "--cursor", &kept, "-n", "3"]).code(2);
}

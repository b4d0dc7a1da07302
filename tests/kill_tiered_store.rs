//! `examples/tiered_store.rs`: nothing is lost on the files' bad day, nor when it is killed in the middle of it.
#![cfg(all(feature = "chain", feature = "memory"))]

mod kills;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use documentbuffer::write_behind::behind;
use kills::{Rng, kill_after};

/// The example that cargo built beside this test.
fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let profile = test.ancestors().nth(2).expect("a test lies in deps");
    let name = format!("tiered_store{}", std::env::consts::EXE_SUFFIX);
    let program = profile.join("examples").join(name);
    assert!(
        program.is_file(),
        "{} is missing: cargo build --features chain,memory --example tiered_store",
        program.display()
    );
    program
}

fn start(path: &Path) -> Command {
    let mut command = Command::new(program());
    command.arg(path);
    command
}

/// It compares every file with what was acknowledged, and fails where one differs.
fn succeeds(path: &Path) -> String {
    let output = start(path).output().expect("the example starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{output:?}");
    assert!(
        text.contains("settled true, 0 owed, 0 files differ"),
        "{text}"
    );
    text
}

#[test]
fn the_files_hold_what_was_acknowledged_also_after_a_kill() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("store");
    assert!(succeeds(&path).starts_with("0 scores are still owed"));
    let seed = kills::seed();
    println!("replay: DOCUMENTBUFFER_SEED={seed}");
    let mut rng = Rng(seed);
    for _ in 0..5 {
        let mut child = start(&path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the example starts");
        let stdout = child.stdout.take().expect("stdout is a pipe");
        // After its second line all is acknowledged, and most of it is owed.
        let lines = kill_after(&mut child, stdout, 2, &mut rng);
        let owed = behind::owed(path.join("owed")).expect("a journal");
        if lines.len() == 2 {
            assert!(!owed.is_empty(), "{lines:?}");
        }
        let first = format!("{} scores are still owed", owed.len());
        assert!(succeeds(&path).starts_with(&first));
        assert!(
            behind::owed(path.join("owed"))
                .expect("a journal")
                .is_empty()
        );
    }
}

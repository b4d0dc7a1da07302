//! A test in a process of its own, that is talked to, stopped and killed.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use documentbuffer::clock::manual::ManualClock;

const ROOT: &str = "DOCUMENTBUFFER_TEST_LEASE";
const WALL: &str = "DOCUMENTBUFFER_TEST_WALL";

/// A test of this file in a process of its own, which answers in lines.
pub(crate) struct Process {
    child: Child,
    /// Closed, when it is to end.
    input: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Process {
    pub(crate) fn start(test: &str, root: &Path, wall: u64) -> Process {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                test,
                "--ignored",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(ROOT, root)
            .env(WALL, wall.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Process {
            child,
            input,
            answers,
        }
    }

    /// What it says behind `what`.
    pub(crate) fn says(&mut self, what: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(
                self.answers.read_line(&mut line).unwrap() > 0,
                "{what}: it ended"
            );
            if let Some((_, said)) = line.split_once(&format!("{what} ")) {
                return said.trim().to_owned();
            }
        }
    }

    pub(crate) fn goes_on(&mut self) {
        writeln!(self.input.as_ref().unwrap()).unwrap();
    }

    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let kill = Command::new("sh")
            .args(["-c", "kill -s $0 $1", signal, &id])
            .status();
        assert!(kill.unwrap().success());
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn ends(mut self) {
        self.input = None;
        let mut rest = String::new();
        self.answers.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success(), "{rest}");
    }
}

impl Drop for Process {
    /// Where a test fails, none is left behind, nor stopped for ever.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The directory that a process was given, and a clock that shows what it was given.
pub(crate) fn given() -> Option<(PathBuf, ManualClock)> {
    let root = std::env::var(ROOT).ok()?;
    let wall = std::env::var(WALL).unwrap().parse().unwrap();
    Some((root.into(), ManualClock::at(wall)))
}

pub(crate) fn wait_for_a_line() {
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

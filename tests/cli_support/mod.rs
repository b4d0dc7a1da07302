//! What the tests of `docbuf` share: running it, holding its lock, damaging its files.

#![allow(dead_code)] // Not every test file uses all of it.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use documentbuffer::journal::{self, Journal};
use documentbuffer::{DocumentBuffer, Options, Scan};
use serde_json::Value;
use tempfile::TempDir;

/// How long a process may take for anything.
const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Ran {
    /// Checks the exit code, and shows stderr where it is another.
    #[track_caller]
    pub(crate) fn code(self, expected: i32) -> Ran {
        assert_eq!(self.code, expected, "stderr: {}", self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Ran {
        self.code(0)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("stdout is UTF-8")
    }

    /// Every line of stdout as JSON.
    pub(crate) fn json(&self) -> Vec<Value> {
        let parse = |line| serde_json::from_str(line).expect("a line of JSON");
        self.text().lines().map(parse).collect()
    }

    #[track_caller]
    pub(crate) fn says(self, part: &str) -> Ran {
        assert!(
            self.stderr.contains(part),
            "no {part:?} in: {}",
            self.stderr
        );
        self
    }

    #[track_caller]
    pub(crate) fn silent(self) -> Ran {
        assert_eq!(self.stderr, "");
        self
    }
}

pub(crate) fn command<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_docbuf"));
    command.args(args).env("NO_COLOR", "1");
    command
}

/// Taken for writing while a process is being born: until it runs what it should, it holds every lock of
/// this one, also those of other tests.
static BIRTHS: RwLock<()> = RwLock::new(());

/// Starts a command.
pub(crate) fn spawn(command: &mut Command) -> Child {
    let _alone = BIRTHS.write().unwrap_or_else(PoisonError::into_inner);
    command.spawn().expect("it starts")
}

/// Does what takes locks in this process, while no other process is being born of it.
pub(crate) fn still<T>(act: impl FnOnce() -> T) -> T {
    let _still = BIRTHS.read().unwrap_or_else(PoisonError::into_inner);
    act()
}

/// Opens a journal in this process.
#[track_caller]
pub(crate) fn open(path: &str) -> Journal {
    still(|| Journal::open(path)).expect("opens")
}

/// Runs to the end, with nothing to read on stdin.
pub(crate) fn run<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Ran {
    feed(args, b"")
}

/// Runs to the end, with `input` on stdin.
pub(crate) fn feed<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>, input: &[u8]) -> Ran {
    let mut child = spawn(
        command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped()),
    );
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_vec();
    // A command that fails early does not read all.
    let feeder = thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().expect("docbuf ends");
    feeder.join().expect("feeding does not panic");
    Ran {
        code: output.status.code().expect("docbuf was not killed"),
        stdout: output.stdout,
        stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
    }
}

/// A directory for one test, and paths in it.
pub(crate) struct Dir(TempDir);

impl Dir {
    pub(crate) fn new() -> Dir {
        Dir(TempDir::new().expect("a directory"))
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().expect("UTF-8").to_owned()
    }

    /// A log with these documents, closed and clean.
    pub(crate) fn log<D: AsRef<[u8]>>(&self, documents: impl IntoIterator<Item = D>) -> String {
        let path = self.path("log");
        let mut log = DocumentBuffer::open(&path).expect("opens");
        log.push_all(documents).expect("pushes");
        log.finish().expect("finishes");
        path
    }

    /// A journal of these documents, `each` in a segment, closed and clean; the newest segment holds some.
    pub(crate) fn journal<D: AsRef<[u8]>>(
        &self,
        documents: impl IntoIterator<Item = D>,
        each: usize,
    ) -> String {
        let path = self.path("journal");
        let journal = open(&path);
        for (n, document) in documents.into_iter().enumerate() {
            if n > 0 && n % each == 0 {
                still(|| journal.rotate()).expect("rotates");
            }
            let durability = journal::Durability::Memory;
            journal.append_with(document, durability).expect("appends");
        }
        still(|| journal.close()).expect("closes");
        path
    }

    pub(crate) fn names(&self) -> Vec<String> {
        names(self.0.path())
    }
}

/// What is in a directory, sorted.
pub(crate) fn names(path: impl AsRef<Path>) -> Vec<String> {
    let entries = fs::read_dir(path).expect("a directory");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
    let mut names: Vec<_> = entries
        .map(|entry| name(entry).into_string().expect("UTF-8"))
        .collect();
    names.sort();
    names
}

/// Every file in a directory, with its bytes.
pub(crate) fn contents(path: &str) -> Vec<(String, Vec<u8>)> {
    let read = |name: String| {
        let bytes = fs::read(Path::new(path).join(&name)).expect("reads");
        (name, bytes)
    };
    names(path).into_iter().map(read).collect()
}

/// The file of a segment.
pub(crate) fn segment(journal: &str, sequence: u64) -> String {
    format!("{journal}/{sequence:020}.segment")
}

/// All documents of a journal from its first position on, as the library reads them.
#[track_caller]
pub(crate) fn events(path: &str) -> Vec<Vec<u8>> {
    let reader = journal::Reader::open(path).expect("a journal");
    let first = reader.range().expect("reads").start;
    let replay = reader.replay(first).expect("reads");
    replay.map(|document| document.expect("reads").1).collect()
}

/// All documents of a log, as the library reads them.
#[track_caller]
pub(crate) fn documents(path: &str) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let file = fs::File::open(path).expect("opens");
    let options = Options::new().max_document(usize::MAX);
    options
        .open_bare_with(file, |_, document| all.push(document.to_vec()))
        .expect("a log");
    all
}

/// Where the record of the document at `position` begins.
pub(crate) fn offset_of(path: &str, position: u64) -> u64 {
    let mut scan = Scan::new(fs::File::open(path).expect("opens")).expect("a log");
    while let Some(document) = scan.next().expect("reads") {
        if document.position == position {
            return document.offset;
        }
    }
    panic!("no document {position}");
}

/// Changes one byte.
pub(crate) fn flip(path: &str, offset: u64) {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .expect("opens");
    let mut byte = [0];
    file.seek(SeekFrom::Start(offset)).expect("seeks");
    file.read_exact(&mut byte).expect("reads");
    file.seek(SeekFrom::Start(offset)).expect("seeks");
    file.write_all(&[byte[0] ^ 0x40]).expect("writes");
}

pub(crate) fn cut(path: &str, len: u64) {
    let file = OpenOptions::new().write(true).open(path).expect("opens");
    file.set_len(len).expect("cuts");
}

pub(crate) fn len(path: impl AsRef<Path>) -> u64 {
    fs::metadata(path).map_or(0, |about| about.len())
}

/// Asks again and again until the answer is there, or too much time has gone.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begin.elapsed() < DEADLINE, "waited too long for {what}");
        thread::yield_now();
    }
}

/// A `docbuf push` that holds the lock of a file until it is let go.
pub(crate) struct Holder {
    child: Child,
    stdin: Option<ChildStdin>,
    path: PathBuf,
}

impl Holder {
    pub(crate) fn of(path: &str) -> Holder {
        let mut child = spawn(command(["push", path, "--lines"]).stdin(Stdio::piped()));
        let stdin = child.stdin.take();
        let holder = Holder {
            child,
            stdin,
            path: path.into(),
        };
        until("the lock", || holder.is_locked().then_some(()));
        holder
    }

    fn is_locked(&self) -> bool {
        let lock = if self.path.is_dir() {
            self.path.join("lock")
        } else {
            self.path.clone()
        };
        let Ok(file) = fs::File::open(lock) else {
            return false;
        };
        file.try_lock_shared().is_err()
    }

    /// Ends it in good order.
    pub(crate) fn let_go(mut self) {
        drop(self.stdin.take());
        assert!(self.child.wait().expect("it ends").success());
    }

    /// Writes to its stdin.
    pub(crate) fn give(&mut self, lines: &[u8]) {
        self.stdin
            .as_mut()
            .expect("open")
            .write_all(lines)
            .expect("it reads");
    }

    /// As `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }
}

/// Runs with a stdout that nobody reads any more; exit code and stderr.
pub(crate) fn unread(mut command: Command, input: &[u8]) -> (Option<i32>, String) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    command
        .stdout(writer)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = spawn(&mut command);
    // The command holds the other end of the pipe, too.
    drop(command);
    let mut stdin = child.stdin.take().expect("piped");
    let fed = stdin.write_all(input);
    drop((fed, stdin));
    let output = child.wait_with_output().expect("docbuf ends");
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

/// A `docbuf tail -f --json`, read line by line.
pub(crate) struct Tail {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Tail {
    pub(crate) fn of(path: &str, n: &str) -> Tail {
        let mut child = spawn(
            command(["tail", path, "-f", "--json", "-n", n])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped()),
        );
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        Tail { child, lines }
    }

    /// The next line as it is.
    pub(crate) fn line(&mut self) -> Value {
        let mut line = String::new();
        let read = self.lines.read_line(&mut line).expect("reads");
        if read == 0 {
            let mut told = String::new();
            let stderr = self.child.stderr.as_mut().expect("piped");
            stderr.read_to_string(&mut told).expect("reads");
            panic!("it has ended: {told}");
        }
        let line: Value = serde_json::from_str(&line).expect("a line of JSON");
        assert_eq!(line["v"], 1);
        line
    }

    /// The next line: a payload, or where the log was cut back to.
    pub(crate) fn next(&mut self) -> Value {
        let line = self.line();
        match &line["cut_back_to"] {
            Value::Null => line["payload"].clone(),
            to => to.clone(),
        }
    }

    /// Stops it; gives what it said on stderr.
    pub(crate) fn stop(mut self) -> String {
        self.child.kill().expect("it can be killed");
        let output = self.child.wait_with_output().expect("it ends");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Reads until it ends by itself; gives its code, what is left of its lines, and what it said on stderr.
    pub(crate) fn end(mut self) -> (Option<i32>, usize, String) {
        let lines = self.lines.by_ref().lines().count();
        let output = self.child.wait_with_output().expect("it ends");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), lines, told)
    }
}

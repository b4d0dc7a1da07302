//! The example bot as its users meet it: fed through a pipe, refused, killed, started again.
//!
//! The rules are taken in as modules, so their own tests run here, and the kill test can say which state
//! the answers promise.
#![cfg(feature = "serde")]

// The bot uses all of it; this test uses a part.
#[allow(dead_code)]
#[path = "../examples/bingobot/card.rs"]
mod card;
#[allow(dead_code)]
#[path = "../examples/bingobot/event.rs"]
mod event;
#[allow(dead_code)]
#[path = "../examples/bingobot/game.rs"]
mod game;
mod kills;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use documentbuffer::journal::{Codec, Decision, Journal, Options, Reader};

use event::{Event, Name, Version};
use game::{Request, State};
use kills::{Rng, kill_after};

/// The bot that cargo built beside this test. It does so for a plain `cargo test`, but not for `--test bingobot`.
fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let profile = test.ancestors().nth(2).expect("a test lies in deps");
    let name = format!("bingobot{}", std::env::consts::EXE_SUFFIX);
    let program = profile.join("examples").join(name);
    let changed = |path: &Path| fs::metadata(path).and_then(|file| file.modified()).ok();
    let built = changed(&program);
    // Cargo writes down what went into it.
    let sources = fs::read_to_string(program.with_extension("d")).unwrap_or_default();
    let newer = sources
        .split_whitespace()
        .find(|source| changed(Path::new(source)) > built);
    assert!(
        built.is_some() && newer.is_none(),
        "{} is missing, or older than {newer:?}: cargo build --features serde --example bingobot",
        program.display()
    );
    program
}

fn start(arguments: &[&Path]) -> Child {
    Command::new(program())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the bot starts")
}

/// Starts the bot, says everything, ends the input, and waits.
fn chat(arguments: &[&Path], input: &[u8]) -> Output {
    let mut bot = start(arguments);
    let mut stdin = bot.stdin.take().expect("stdin is a pipe");
    // A bot that refused to start does not listen.
    let _ = stdin.write_all(input);
    drop(stdin);
    bot.wait_with_output().expect("the bot ends")
}

/// The lines of a chat that went well.
fn lines(log: &Path, input: &str) -> Vec<String> {
    let output = chat(&[log], input.as_bytes());
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).lines().map(str::to_owned).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("the bot speaks UTF-8")
}

/// The complaint of a bot that would not start.
fn complaint(arguments: &[&Path]) -> String {
    let output = chat(arguments, b"join eve\n");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "");
    text(&output.stderr)
}

fn log_in(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("bingo")
}

fn tempdir() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

#[test]
fn a_game_goes_on_where_it_stopped() {
    let dir = tempdir();
    let log = log_in(&dir);
    let first = lines(
        &log,
        "join alice\njoin bob\nstart 154422\ncall\ncall\ncall\ncall\nstate\n",
    );
    assert_eq!(
        first[0],
        format!(
            "took up 0 events from {} (without a snapshot)",
            log.display()
        )
    );
    assert_eq!(
        first[1..4],
        [
            "[0] joined alice",
            "[1] joined bob",
            "[2] started 154422 - cards are dealt"
        ]
    );
    assert_eq!(first[7], "[6] called 62 - O 62, bingo for bob!");
    let again = lines(&log, "score\ncall\nstart\nquit\njoin carol\n");
    assert_eq!(
        again[0],
        format!(
            "took up 7 events from {} (without a snapshot)",
            log.display()
        )
    );
    assert_eq!(again[1], first[8]);
    assert_eq!(again[2], "no: no round is running: start one");
    assert!(again[3].starts_with("[7] started "));
    assert_eq!(again[4..], ["bye"]);
}

#[test]
fn undo_takes_the_newest_event_out_of_the_log() {
    let dir = tempdir();
    let log = log_in(&dir);
    let said = lines(
        &log,
        "join alice\nstate\njoin bob\nundo\nstate\nundo\nundo\nstate\n",
    );
    assert_eq!(said[4], "undone [1] joined bob");
    assert_eq!(said[5], said[2]);
    assert_eq!(
        said[6..8],
        ["undone [0] joined alice", "no: nothing has happened yet"]
    );
    assert_eq!(lines(&log, "state\n")[1], said[8]);
    assert_eq!(documents(&log), Vec::<String>::new());
}

#[test]
fn what_is_not_understood_is_refused() {
    let dir = tempdir();
    let log = log_in(&dir);
    let long = [b'x'; 1000];
    let mut input =
        b"join al:ice\njoin \xff\xfe\njoin a b\n\n  \ndance\nstart -1\ncard bob\n".to_vec();
    input.extend(long);
    input.extend(b"\ncall\njoin alice");
    let output = chat(&[&log], &input);
    assert!(output.status.success());
    let said = text(&output.stdout);
    let said: Vec<&str> = said.lines().collect();
    assert_eq!(
        said[1..],
        [
            "no: \"al:ice\" is no name: 1 to 20 letters, digits, '-' or '_'",
            "no: byte 6 of that line is not UTF-8",
            "no: not understood; help lists what is",
            "no: not understood; help lists what is",
            "no: \"-1\" is no seed: a number below 2^64",
            "no: bob does not play",
            "no: a line has at most 256 bytes",
            "no: no round is running: start one",
            "[0] joined alice",
        ]
    );
}

#[test]
fn the_demo_ends_by_itself_and_is_taken_up() {
    let dir = tempdir();
    let log = log_in(&dir);
    for (before, after) in [(0, 7), (7, 12)] {
        let output = chat(&[Path::new("--demo"), &log], b"");
        assert!(output.status.success(), "{}", text(&output.stderr));
        let said = text(&output.stdout);
        assert!(
            said.starts_with(&format!("took up {before} events")),
            "{said}"
        );
        assert!(
            said.contains(&format!("\ntook up {after} events")),
            "{said}"
        );
        let states: Vec<&str> = said
            .lines()
            .filter(|line| line.starts_with("state "))
            .collect();
        assert_eq!(states.len(), 2);
        assert_eq!(states[0], states[1]);
    }
}

#[test]
fn a_second_bot_is_told_that_the_log_is_locked() {
    let dir = tempdir();
    let log = log_in(&dir);
    let mut first = start(&[&log]);
    let mut stdin = first.stdin.take().expect("stdin is a pipe");
    stdin.write_all(b"join alice\n").expect("the bot listens");
    // A bot that has answered holds the lock.
    let mut said = BufReader::new(first.stdout.take().expect("stdout is a pipe")).lines();
    let answer = said.nth(1).expect("an answer").expect("a line");
    assert_eq!(answer, "[0] joined alice");
    assert!(complaint(&[&log]).contains("is locked: another process"));
    drop(stdin);
    assert!(first.wait().expect("the bot ends").success());
    assert_eq!(documents(&log), ["joined alice"]);
}

#[test]
fn what_is_no_log_is_refused_and_left_alone() {
    let dir = tempdir();
    let log = log_in(&dir);
    assert!(complaint(&[&dir.path().join("missing/bingo")]).contains("cannot open"));
    fs::write(&log, "Dear diary, ").expect("a file");
    assert!(complaint(&[&log]).contains("is no directory"));
    fs::remove_file(&log).expect("the file");
    let foreign = "Dear diary, ".repeat(100);
    let segment = log.join("00000000000000000007.segment");
    fs::create_dir(&log).expect("a directory");
    fs::write(&segment, &foreign).expect("a file");
    assert!(complaint(&[&log]).contains("not a document buffer"));
    assert_eq!(fs::read_to_string(&segment).expect("the file"), foreign);
    let usage = chat(&[&log, &log], b"");
    assert_eq!(usage.status.code(), Some(2));
}

#[test]
fn damage_in_the_middle_is_a_question_and_not_a_guess() {
    let dir = tempdir();
    let log = log_in(&dir);
    lines(&log, "join alice\njoin bob\njoin carol\n");
    let segment = log.join("00000000000000000001.segment");
    let mut bytes = fs::read(&segment).expect("the segment");
    let at = bytes
        .windows(3)
        .position(|w| w == b"bob")
        .expect("bob is in the log");
    bytes[at] = b'B';
    fs::write(&segment, &bytes).expect("the segment");
    let refused = complaint(&[&log]);
    assert!(
        refused.contains("bad record at offset") && refused.contains("--go-on"),
        "{refused}"
    );
    assert_eq!(fs::read(&segment).expect("the segment"), bytes);
    let output = chat(&[Path::new("--go-on"), &log], b"join dave\n");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert!(said.starts_with("took up 1 events"), "{said}");
    assert_eq!(documents(&log), ["joined alice", "joined dave"]);
    let kept = fs::read(&segment).expect("the segment");
    assert!(kept.windows(5).any(|w| w == b"carol"));
}

#[test]
fn a_document_that_is_no_event_is_named() {
    for (documents, wanted) in [
        (
            &[
                r#"{"joined":{"name":"alice"}}"#,
                r#"{"jumped":{"name":"bob"}}"#,
            ][..],
            "document 1: unknown variant `jumped`",
        ),
        (
            &[r#"{"joined":{"name":"al ice"}}"#],
            "document 0: \"al ice\" is no name",
        ),
        (
            &[r#"{"called":{"number":7}}"#],
            "event 0, called 7, cannot have happened there: no round",
        ),
    ] {
        let dir = tempdir();
        let log = log_in(&dir);
        let journal = Options::new()
            .codec("json")
            .open(&log)
            .expect("a new journal");
        journal.append_all(documents).expect("room");
        journal.close().expect("a journal");
        let complaint = complaint(&[&log]);
        assert!(complaint.contains(wanted), "{complaint}");
    }
    let dir = tempdir();
    let log = log_in(&dir);
    drop(Journal::open(&log).expect("a journal of another codec"));
    assert!(complaint(&[&log]).contains("not in \"json\""));
}

#[test]
fn what_the_first_version_wrote_is_taken_up() {
    let dir = tempdir();
    let log = log_in(&dir);
    let game = "join alice\njoin bob\nstart 154422\ncall\ncall\nstate\n";
    let first = chat(&[Path::new("--first"), &log], game.as_bytes());
    assert!(first.status.success());
    let state = text(&first.stdout)
        .lines()
        .last()
        .expect("a state")
        .to_owned();
    let written = Reader::open(&log).expect("a journal").replay(4);
    let mut written = written.expect("five events");
    let document = written.next().expect("it is whole").expect("the fifth");
    assert_eq!(text(document.bytes), r#"{"drawn":{"number":57}}"#);
    let said = lines(&log, "state\nundo\ncall\nstate\n");
    assert_eq!(said[1], state);
    assert_eq!(said[2..4], ["undone [4] called 57", "[4] called 57 - G 57"]);
    assert_eq!(said[4], state);
}

#[test]
fn a_snapshot_spares_the_replay_and_changes_nothing() {
    let dir = tempdir();
    let log = log_in(&dir);
    let rounds = "start\n".to_owned() + &"call\n".repeat(76);
    let state = lines(
        &log,
        &format!("join alice\n{rounds}{rounds}{rounds}state\n"),
    );
    let state = state.last().expect("a state");
    let again = lines(&log, "state\n");
    assert!(again[0].contains("of them from a snapshot"), "{}", again[0]);
    assert_eq!(again[1], *state);
    for entry in fs::read_dir(&log)
        .expect("the journal")
        .filter_map(Result::ok)
    {
        if entry.file_name().to_string_lossy().ends_with(".snap") {
            fs::remove_file(entry.path()).expect("a snapshot");
        }
    }
    let again = lines(&log, "state\n");
    assert!(again[0].contains("without a snapshot"), "{}", again[0]);
    assert_eq!(again[1], *state);
}

#[test]
fn nobody_listening_is_no_crash() {
    let dir = tempdir();
    let log = log_in(&dir);
    let mut bot = start(&[&log]);
    drop(bot.stdout.take());
    let mut stdin = bot.stdin.take().expect("stdin is a pipe");
    let _ = stdin.write_all(b"join alice\n");
    drop(stdin);
    let output = bot.wait_with_output().expect("the bot ends");
    assert!(output.status.success());
    assert_eq!(text(&output.stderr), "");
}

/// The events of a journal, read past its lock and without the bot.
fn documents(log: &Path) -> Vec<String> {
    let Ok(reader) = Reader::open(log) else {
        return Vec::new();
    };
    let mut events = Vec::new();
    let read = reader.replay(0).expect("a journal").each(|document| {
        let decoded = Version::Second.decode(document.bytes);
        match event::upcast(document, decoded) {
            Decision::Use(event) => events.push(event.to_string()),
            other => panic!("{other:?}"),
        }
    });
    read.expect("a good journal");
    events
}

#[test]
fn a_killed_bot_comes_back_as_it_was() {
    kill_often(20, kills::seed());
}

#[test]
#[ignore = "campaign: 200 kills; a_killed_bot_comes_back_as_it_was is the short form"]
fn a_killed_bot_comes_back_as_it_was_200_times() {
    kill_often(200, kills::seed());
}

fn kill_often(kills: usize, seed: u64) {
    println!(
        "replay: cargo build --features serde --example bingobot && \
         DOCUMENTBUFFER_SEED={seed} cargo test --features serde --test bingobot -- --include-ignored killed"
    );
    let mut rng = Rng(seed);
    let dir = tempdir();
    let (mut answered, mut ahead) = (0, 0);
    // A fresh log now and then keeps the replay after an undo short.
    for (game, first) in (0..kills).step_by(20).enumerate() {
        let log = dir.path().join(game.to_string());
        let mut promise = Promise::new();
        for _ in first..kills.min(first + 20) {
            answered += life(&log, &mut promise, &mut rng);
            ahead += usize::from(promise.is_ahead(&log));
        }
        let last = lines(&log, "state\n");
        promise.settle(&last[0], &last[1]);
        assert_eq!(documents(&log), promise.answered.texts());
    }
    println!(
        "{kills} kills, {answered} answers between them, {ahead} times one event ahead of them"
    );
}

/// Feeds the bot, kills it, and holds what it answered against what was promised. Returns the answers.
fn life(log: &Path, promise: &mut Promise, rng: &mut Rng) -> usize {
    let commands = commands(rng);
    let mut bot = start(&[log]);
    let mut stdin = bot.stdin.take().expect("stdin is a pipe");
    let all = format!("state\n{}\n", commands.join("\n"));
    stdin
        .write_all(all.as_bytes())
        .expect("the pipe has room for all commands");
    let stdout = bot.stdout.take().expect("stdout is a pipe");
    // Greeting and state are two lines; one life in eight may end before them.
    let wait_for = if rng.below(8) == 0 {
        rng.below(2)
    } else {
        2 + rng.below(commands.len())
    };
    let said = kill_after(&mut bot, stdout, wait_for, rng);
    let [greeting, state, answers @ ..] = said.as_slice() else {
        return 0;
    };
    promise.settle(greeting, state);
    for (command, answer) in commands.iter().zip(answers) {
        promise.keep(command, answer);
    }
    if let Some(unanswered) = commands.get(answers.len()) {
        promise.may(unanswered);
    }
    answers.len()
}

/// Commands with one line of answer each, few enough for the pipes to hold them and their answers.
fn commands(rng: &mut Rng) -> Vec<String> {
    let names = ["alice", "bob", "carol", "dave", "eve"];
    let count = 20 + rng.below(100);
    let command = |_| match rng.below(20) {
        0..2 => format!("join {}", names[rng.below(names.len())]),
        2..5 => format!("start {}", rng.below(1000)),
        5..8 => "undo".to_owned(),
        _ => "call".to_owned(),
    };
    (0..count).map(command).collect()
}

/// What the answers promise: this game, or, if a command was under way at the kill, perhaps that one.
struct Promise {
    answered: Game,
    under_way: Option<Game>,
}

impl Promise {
    fn new() -> Promise {
        Promise {
            answered: Game::default(),
            under_way: None,
        }
    }

    /// A restarted bot says what it has: one of the two, wholly.
    fn settle(&mut self, greeting: &str, state: &str) {
        let Promise {
            answered,
            under_way,
        } = self;
        let found = [Some(&*answered), under_way.as_ref()]
            .into_iter()
            .flatten()
            .find(|game| game.line() == state);
        let Some(found) = found.cloned() else {
            panic!("promised {answered:?}, perhaps {under_way:?}; the bot came back with: {state}");
        };
        let events = found.events.len();
        assert!(
            greeting.starts_with(&format!("took up {events} events")),
            "{greeting}"
        );
        *self = Promise {
            answered: found,
            under_way: None,
        };
    }

    /// An answered command has happened, and the answer says what.
    fn keep(&mut self, command: &str, answer: &str) {
        match self.answered.after(command) {
            None => assert!(answer.starts_with("no: "), "{command}: {answer}"),
            Some((wanted, after)) => {
                let said = answer.split(" - ").next();
                assert_eq!(said, Some(wanted.as_str()), "{command}: {answer}");
                self.answered = after;
            }
        }
    }

    /// A command without an answer may have happened.
    fn may(&mut self, command: &str) {
        self.under_way = self.answered.after(command).map(|(_, after)| after);
    }

    /// The file holds one of the two, whatever the bot makes of it. Returns whether it is the one ahead.
    fn is_ahead(&self, log: &Path) -> bool {
        let found = if log.exists() {
            documents(log)
        } else {
            Vec::new()
        };
        let ahead = self
            .under_way
            .as_ref()
            .is_some_and(|game| game.texts() == found);
        assert!(ahead || found == self.answered.texts(), "{found:?}");
        ahead
    }
}

/// A game as its events tell it.
#[derive(Clone, Debug, Default)]
struct Game {
    events: Vec<Event>,
    state: State,
}

impl Game {
    /// The answer to a command and the game after it; nothing if it is refused.
    fn after(&self, command: &str) -> Option<(String, Game)> {
        let request = match command.split_once(' ') {
            Some(("join", name)) => Request::Join(Name::new(name).expect("a name")),
            Some((_, seed)) => Request::Start(Some(seed.parse().expect("a seed"))),
            None if command == "undo" => return self.undone(),
            None => Request::Call,
        };
        let event = self.state.decide(&request, 0).ok()?;
        let answer = format!("[{}] {event}", self.events.len());
        let mut after = self.clone();
        after.happen(event);
        Some((answer, after))
    }

    fn undone(&self) -> Option<(String, Game)> {
        let (newest, rest) = self.events.split_last()?;
        let mut after = Game::default();
        rest.iter().for_each(|event| after.happen(event.clone()));
        Some((format!("undone [{}] {newest}", rest.len()), after))
    }

    fn happen(&mut self, event: Event) {
        self.state
            .apply(&event)
            .expect("an answered event could happen");
        self.events.push(event);
    }

    fn texts(&self) -> Vec<String> {
        self.events.iter().map(Event::to_string).collect()
    }

    fn line(&self) -> String {
        let (state, fingerprint) = (&self.state, self.state.fingerprint());
        format!("state {state} fingerprint={fingerprint:016x}")
    }
}

//! `examples/weather_cache`: a source is asked seldom however many ask, and what it said is there the next time.
#![cfg(all(
    feature = "auto-refresh",
    feature = "chain",
    feature = "dogpile",
    feature = "memory",
    feature = "redb"
))]

#[allow(dead_code)]
mod kills;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

const CITIES: u64 = 6;
const STATIONS: u64 = 12;
const ASKERS: u64 = 8;
/// What a line counts, in this order.
const COLUMNS: [&str; 10] = [
    "asked",
    "fresh",
    "stale",
    "stale on error",
    "refused",
    "waits",
    "loads",
    "failed",
    "readings",
    "batches failed",
];

/// The example that cargo built beside this test.
fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let profile = test.ancestors().nth(2).expect("a test lies in deps");
    let name = format!("weather_cache{}", std::env::consts::EXE_SUFFIX);
    let program = profile.join("examples").join(name);
    let features = "auto-refresh,chain,dogpile,memory,redb";
    assert!(
        program.is_file(),
        "{} is missing: cargo build --features {features} --example weather_cache",
        program.display()
    );
    program
}

fn start(path: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(program());
    let output = command.arg(path).args(args).output();
    output.expect("the example starts")
}

/// The numbers before `names`, in a text of nothing else but numbers, names and commas.
fn numbers(text: &str, names: &[&str]) -> Vec<u64> {
    let parts: Vec<_> = text.split(", ").collect();
    assert_eq!(parts.len(), names.len(), "{text}");
    let number = |(part, name): (&&str, &&str)| {
        let number = part
            .strip_suffix(name)
            .and_then(|part| part.strip_suffix(' '));
        let number = number.and_then(|number| number.parse().ok());
        number.unwrap_or_else(|| panic!("{part} is no number of {name}"))
    };
    parts.iter().zip(names).map(number).collect()
}

/// What a run said of itself.
struct Run {
    cities: u64,
    stations: u64,
    readings: u64,
    all: [u64; COLUMNS.len()],
    kept: u64,
    stored: u64,
}

/// Two seconds of it. It says what it should, and the source is asked as seldom as was promised.
fn run(path: &Path, seed: u64) -> Run {
    let begun = Instant::now();
    let output = start(path, &["--seconds", "2", "--seed", &seed.to_string()]);
    let seconds = begun.elapsed().as_secs();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{text}");
    assert!(output.status.success(), "{output:?}");
    let lines: Vec<&str> = text.lines().collect();
    let [first, found, one, two, all, closed] = lines[..] else {
        panic!("{} lines", lines.len());
    };
    assert_eq!(first, format!("seed {seed}"));
    let found = found.strip_prefix("found ").expect(found);
    let found = found.replace(" with ", ", ");
    let found = numbers(&found, &["cities", "stations", "readings"]);

    let mut sums = [0; COLUMNS.len()];
    for (line, prefix) in [(one, "1 s: "), (two, "2 s: ")] {
        let line = line.strip_prefix(prefix).expect(line);
        let (line, owed) = line.split_once("; ").expect(line);
        numbers(owed, &["owed"]);
        for (sum, number) in sums.iter_mut().zip(numbers(line, &COLUMNS)) {
            *sum += number;
        }
    }
    let all = all.strip_prefix("in all: ").expect(all);
    let all: [u64; COLUMNS.len()] = numbers(all, &COLUMNS).try_into().expect("all of them");
    let grown = sums.iter().zip(all).all(|(sum, all)| *sum <= all);
    assert!(grown, "{sums:?} {all:?}");
    let closed = closed.strip_prefix("closed with ").expect(closed);
    let closed = numbers(closed, &["cities", "readings", "owed"]);
    assert_eq!(closed[2], 0, "all has arrived");

    let [asked, fresh, stale, _, _, _, loads, failed, ..] = all;
    assert!(fresh + stale <= asked);
    // Each city once a second, and again where that failed.
    let due = CITIES * (seconds + 2) + failed;
    assert!(loads <= due, "{loads} loads where {due} were due");
    assert!(loads * 4 < asked, "{loads} loads for {asked} who asked");
    Run {
        cities: found[0],
        stations: found[1],
        readings: found[2],
        all,
        kept: closed[0],
        stored: closed[1],
    }
}

#[test]
fn it_loads_seldom_and_finds_what_it_had() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("weather");
    let seed = kills::seed();
    println!("replay: DOCUMENTBUFFER_SEED={seed}");

    let first = run(&path, seed);
    assert_eq!((first.cities, first.stations, first.readings), (0, 0, 0));
    let [_, _, _, _, _, waits, _, failed, readings, _] = first.all;
    // All wait for a city's first value, and for the next try where it failed; for nothing else.
    let most = (CITIES + failed) * (ASKERS - 1);
    assert!(waits <= most, "{waits} waits where at most {most} are due");
    assert!(readings > 0 && first.stored >= readings);

    let second = run(&path, seed);
    // One more may have been on its way.
    assert!(second.cities >= first.kept);
    assert_eq!(second.stations, STATIONS);
    assert_eq!(second.readings, first.stored);
    let [_, _, _, _, refused, waits, ..] = second.all;
    if second.cities == CITIES {
        assert_eq!((refused, waits), (0, 0), "there is something to show");
    }
}

#[test]
fn what_it_cannot_use_it_refuses() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("file");
    std::fs::write(&file, "no directory").expect("a file");
    for (path, args, message) in [
        (dir.path(), &["--fast"][..], "usage: weather_cache"),
        (dir.path(), &["--seconds", "some"], "usage: weather_cache"),
        (&file.join("below"), &[], "cannot make"),
    ] {
        let output = start(path, args);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(text.starts_with(message), "{text}");
    }
}

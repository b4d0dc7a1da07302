//! A writer and a verifier for cutting the power under a log: `tests/powercut.py` runs them.
//!
//! ```text
//! power_cut write DIR           pushes and pops for ever, syncs, and prints how many operations are safe
//! power_cut verify DIR SAFE     fails unless the log is what it was after SAFE operations, or later
//! ```
//!
//! What operation number `n` does depends on `n` alone, so the state after any number of operations can be
//! worked out anew, and after a cut the writer does again what was lost: it pushes the same documents.

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;

use documentbuffer::Options;

/// No cut can be further behind the last promise than this many operations.
const FAR: u64 = 1 << 16;

/// splitmix64 of the operation's number.
fn random(n: u64) -> u64 {
    let z = n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

enum Operation {
    Push(Vec<u8>),
    Pop,
    Sync,
}

/// Pops come in runs, so that the log shrinks far and grows over its old end.
fn operation(n: u64) -> Operation {
    let popping = random(n / 64).is_multiple_of(3);
    match random(n) % 8 {
        0 | 1 => Operation::Sync,
        2..6 if popping => Operation::Pop,
        _ => Operation::Push(document(n)),
    }
}

/// The document that operation `n` pushes: its number, and a run of one byte.
fn document(n: u64) -> Vec<u8> {
    let len = match random(!n) % 16 {
        0 => 5000,
        1..4 => 600,
        _ => 40,
    };
    let mut document = n.to_le_bytes().to_vec();
    document.resize(
        8 + (random(n ^ 7) as usize) % len,
        [0, 0xFF, b'a'][n as usize % 3],
    );
    document
}

/// The operations whose documents the log holds.
type State = Vec<u64>;

fn apply(state: &mut State, n: u64) {
    match operation(n) {
        Operation::Push(_) => state.push(n),
        Operation::Pop => drop(state.pop()),
        Operation::Sync => {}
    }
}

/// How many operations, at least `from`, lead to `state`.
fn find(state: &State, from: u64) -> Option<u64> {
    let mut at = State::new();
    (0..from).for_each(|n| apply(&mut at, n));
    (from..from.max(state.last().map_or(0, |n| n + 1)) + FAR).find(|n| {
        let found = at == *state;
        apply(&mut at, *n);
        found
    })
}

fn open(
    dir: &str,
) -> Result<
    (
        documentbuffer::DocumentBuffer<documentbuffer::FileStore>,
        State,
    ),
    Box<dyn Error>,
> {
    let path = PathBuf::from(dir).join("power_cut.log");
    let (mut state, mut wrong) = (State::new(), None);
    let log = Options::new()
        .memory(4 << 10)
        .open_path_with(path, |position, bytes| {
            let n = bytes.first_chunk().map(|n| u64::from_le_bytes(*n));
            match n.filter(|n| bytes == document(*n)) {
                Some(n) => state.push(n),
                None => wrong = Some(position),
            }
        })?;
    match wrong {
        Some(position) => Err(format!("document {position} is none that was pushed").into()),
        None => Ok((log, state)),
    }
}

fn write(dir: &str) -> Result<(), Box<dyn Error>> {
    let (mut log, state) = open(dir)?;
    let first = find(&state, 0).ok_or("the log is in no state that it can be in")?;
    for n in first.. {
        match operation(n) {
            Operation::Push(document) => drop(log.push(document)?),
            Operation::Pop => drop(log.pop()?),
            Operation::Sync => {
                log.sync()?;
                println!("{}", n + 1);
                std::io::stdout().flush()?;
            }
        }
    }
    Ok(())
}

fn verify(dir: &str, safe: &str) -> Result<(), Box<dyn Error>> {
    let safe = safe.trim().parse().unwrap_or(0);
    let (log, state) = open(dir)?;
    let Some(at) = find(&state, safe) else {
        let newest = state.last();
        return Err(format!(
            "{} documents, the newest of operation {newest:?}: no state after {safe} operations ({:?})",
            state.len(),
            log.recovery()
        )
        .into());
    };
    println!(
        "operation {at}, promised {safe}, {} documents, {}",
        state.len(),
        log.recovery().end
    );
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["write", dir] => write(dir),
        ["verify", dir, safe] => verify(dir, safe),
        _ => Err("power_cut write DIR | power_cut verify DIR SAFE".into()),
    }
}

//! A writer and a verifier for cutting the power under a journal: `tests/powercut.py` runs them.
//!
//! ```text
//! journal_cut write DIR           appends, cuts back, rotates and discards for ever, and prints how many
//!                                 operations are safe
//! journal_cut verify DIR SAFE     fails unless the journal is what it was after SAFE operations, or later
//! ```
//!
//! What operation number `n` does depends on `n` alone, so the state after any number of operations can be
//! worked out anew, and after a cut the writer does again what was lost.

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};

use documentbuffer::journal::{Durability, Journal, Options};

/// No cut can be further behind the last promise than this many operations.
const FAR: u64 = 1 << 12;

/// splitmix64 of the operation's number.
fn random(n: u64) -> u64 {
    let z = n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

enum Operation {
    /// So many documents as one, that durable.
    Append(u64, Durability),
    /// Takes so many away.
    Cut(u64),
    Rotate,
    /// Discards all but so many.
    Discard(u64),
}

fn operation(n: u64) -> Operation {
    let durabilities = [Durability::Memory, Durability::Written, Durability::Synced];
    match random(n) % 32 {
        0 => Operation::Cut(random(!n) % 20),
        1 => Operation::Rotate,
        2 => Operation::Discard(10 + random(!n) % 50),
        3..10 => Operation::Append(2 + random(!n) % 9, durabilities[n as usize % 3]),
        _ => Operation::Append(1, durabilities[n as usize % 3]),
    }
}

/// Document `part` of operation `n`: its name, and a run of one byte.
fn document(n: u64, part: u64) -> Vec<u8> {
    let len = match random(n ^ part << 50) % 16 {
        0 => 3000,
        1..4 => 400,
        _ => 40,
    };
    let mut document = [n.to_le_bytes(), part.to_le_bytes()].concat();
    let filler = [0, 0xFF, b'a'][(n + part) as usize % 3];
    document.resize(16 + (random(n ^ 7 ^ part) as usize) % len, filler);
    document
}

/// What stands at each position.
type State = Vec<(u64, u64)>;

fn apply(state: &mut State, n: u64) {
    match operation(n) {
        Operation::Append(documents, _) => state.extend((0..documents).map(|part| (n, part))),
        Operation::Cut(documents) => state.truncate(kept(state, documents)),
        Operation::Rotate | Operation::Discard(_) => {}
    }
}

/// Never into what may have been discarded.
fn kept(state: &State, documents: u64) -> usize {
    let most = state.len() / 8;
    state.len() - most.min(documents as usize)
}

/// How many operations, at least `from`, lead to a journal that holds `found` from position `first` on.
fn find(first: usize, found: &[(u64, u64)], from: u64) -> Option<u64> {
    let mut at = State::new();
    (0..from).for_each(|n| apply(&mut at, n));
    (from..from.max(found.last().map_or(0, |(n, _)| n + 1)) + FAR).find(|n| {
        let same = at.get(first..) == Some(found) || (at.len() <= first && found.is_empty());
        apply(&mut at, *n);
        same
    })
}

fn open(dir: &Path) -> Result<(Journal, State), Box<dyn Error>> {
    let journal = Options::new().segment(8 << 10).open(dir.join("journal"))?;
    let mut found = State::new();
    let mut wrong = None;
    journal.replay(journal.first())?.each(|given| {
        let name = given.bytes.first_chunk::<16>().map(|name| {
            let [n, part] =
                [&name[..8], &name[8..]].map(|half| half.try_into().map(u64::from_le_bytes));
            (n.unwrap_or(0), part.unwrap_or(0))
        });
        match name.filter(|(n, part)| given.bytes == document(*n, *part)) {
            Some(name) => found.push(name),
            None => wrong = Some(given.position),
        }
    })?;
    match wrong {
        Some(position) => Err(format!("document {position} is none that was appended").into()),
        None => Ok((journal, found)),
    }
}

fn write(dir: &Path) -> Result<(), Box<dyn Error>> {
    let (journal, found) = open(dir)?;
    let start = find(journal.first() as usize, &found, 0)
        .ok_or("the journal is in no state it can be in")?;
    let mut state = State::new();
    (0..start).for_each(|n| apply(&mut state, n));
    for n in start.. {
        let safe = match operation(n) {
            Operation::Append(documents, durability) => {
                let all = (0..documents).map(|part| document(n, part));
                journal.append_all_with(all, durability)?;
                durability == Durability::Synced
            }
            Operation::Cut(documents) => {
                let keep = kept(&state, documents) as u64;
                if keep >= journal.first() {
                    journal.truncate_after(keep)?;
                }
                keep >= journal.first()
            }
            Operation::Rotate => {
                journal.rotate()?;
                true
            }
            Operation::Discard(documents) => {
                // An eighth may be cut away again.
                let keep = documents.max(state.len() as u64 / 4);
                journal.discard_before((state.len() as u64).saturating_sub(keep))?;
                false
            }
        };
        apply(&mut state, n);
        if journal.end() != state.len() as u64 {
            return Err(format!("operation {n} left {} documents", journal.end()).into());
        }
        if safe {
            println!("{}", n + 1);
            std::io::stdout().flush()?;
        }
    }
    Ok(())
}

fn verify(dir: &Path, safe: &str) -> Result<(), Box<dyn Error>> {
    let safe = safe.trim().parse().unwrap_or(0);
    let (journal, found) = open(dir)?;
    let first = journal.first();
    let Some(at) = find(first as usize, &found, safe) else {
        return Err(format!(
            "positions {first} to {}, the newest of {:?}: no state after {safe} operations",
            journal.end(),
            found.last()
        )
        .into());
    };
    println!("operation {at}, promised {safe}, {:?}", journal.stats());
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["write", dir] => write(&PathBuf::from(dir)),
        ["verify", dir, safe] => verify(&PathBuf::from(dir), safe),
        _ => Err("journal_cut write DIR | journal_cut verify DIR SAFE".into()),
    }
}

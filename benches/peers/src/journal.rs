//! What the journal promises and no peer takes part in: how long it takes to open, and to be seen by a
//! follower in another process.
use crate::docs::Docs;
use crate::store::R;
use documentbuffer::journal::{Durability, Journal, Options, Reader, Step};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const ROUNDS: usize = 15;
const SEGMENT: u64 = 1 << 20;
const DOCUMENT: usize = 256;
/// Documents that the follower sees, and the pause between two.
const SEEN: usize = 500;
const PAUSE: Duration = Duration::from_millis(7);

fn fill(journal: &Journal, docs: &Docs, until: impl Fn(&Journal) -> bool) -> R<()> {
    let mut n = 0;
    while !until(journal) {
        journal.append_with(docs.get(n), Durability::Memory)?;
        n += 1;
        if n % 64 == 0 {
            journal.flush()?;
        }
    }
    Ok(journal.sync()?)
}

/// The best and the median time of an opening.
fn opening(path: &Path) -> R<(Duration, Duration)> {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let journal = Options::new().segment(SEGMENT).open(path)?;
        times.push(begun.elapsed());
        drop(journal);
    }
    times.sort();
    Ok((times[0], times[ROUNDS / 2]))
}

/// A live segment that is half full behind more and more sealed ones, killed and not closed.
pub fn recovery(dir: &Path) -> R<()> {
    let docs = Docs::new(DOCUMENT);
    let path = dir.join("journal-recovery");
    let _ = std::fs::remove_dir_all(&path);
    println!("| sealed segments of 1 MiB | open, best | open, median |\n|---|---|---|");
    for sealed in [1, 4, 16, 64] {
        {
            let journal = Options::new().segment(SEGMENT).open(&path)?;
            fill(&journal, &docs, |journal| journal.stats().segments > sealed)?;
            let begin = journal.stats().bytes;
            fill(&journal, &docs, |journal| {
                journal.stats().bytes >= begin + SEGMENT / 2
            })?;
        }
        let (best, median) = opening(&path)?;
        println!(
            "| {sealed} | {} us | {} us |",
            best.as_micros(),
            median.as_micros()
        );
    }
    {
        let journal = Options::new().segment(SEGMENT).open(&path)?;
        journal.discard_before(journal.end())?;
    }
    let (best, median) = opening(&path)?;
    let (best, median) = (best.as_micros(), median.as_micros());
    println!("| 0, the others discarded | {best} us | {median} us |");
    Ok(std::fs::remove_dir_all(&path)?)
}

fn micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros() as u64)
}

/// Durable appends, seen by a process of its own.
pub fn follow(dir: &Path) -> R<()> {
    let path = dir.join("journal-follow");
    let _ = std::fs::remove_dir_all(&path);
    let journal = Journal::open(&path)?;
    let mut follower = Command::new(std::env::current_exe()?)
        .arg("follower")
        .arg(&path)
        .stdout(Stdio::inherit())
        .spawn()?;
    for n in 0..SEEN {
        // Not in step with the follower's looks.
        std::thread::sleep(PAUSE + Duration::from_micros((n as u64 * 7919) % 4000));
        journal.append(micros().to_le_bytes())?;
    }
    follower.wait()?;
    journal.close()?;
    Ok(std::fs::remove_dir_all(&path)?)
}

/// The other process.
pub fn follower(path: &Path) -> R<()> {
    let begun = Instant::now();
    let mut follower = Reader::open(path)?.follow(0)?;
    let mut delays = Vec::new();
    while delays.len() < SEEN {
        if let Step::Document(document) = follower.next()? {
            let written = document
                .bytes
                .first_chunk()
                .map(|at| u64::from_le_bytes(*at));
            delays.push(micros().saturating_sub(written.unwrap_or(0)));
        }
    }
    delays.sort();
    // SAFETY: plain numbers, filled in by the call.
    let used = unsafe {
        let mut used: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut used);
        used
    };
    let time = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    let busy = time(used.ru_utime) + time(used.ru_stime);
    println!(
        "| seen in another process after | median {} us | 99th percentile {} us | {:.1} % of a core |",
        delays[SEEN / 2],
        delays[SEEN * 99 / 100],
        100.0 * busy / begun.elapsed().as_secs_f64()
    );
    Ok(())
}

//! One measurement of one peer, in its own process: `metric nanoseconds ops bytes` lines.
use crate::docs::{Docs, Seen};
use crate::store::{Case, Opts, Peer, R};
use std::path::Path;
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// Cap on the peer's cache in lifo and thrash.
pub const BOUND: usize = 4 << 20;

/// Rows that a child adds to its peer's own, by what follows the peer's name.
pub const OPEN_REPLAY: &str = "open+replay";
pub const OWN_BOUND: &str = "own-bound";

fn say(metric: &str, took: Duration, ops: usize, bytes: usize) {
    println!("{metric} {} {ops} {bytes}", took.as_nanos());
}

fn say_row(row: &str, metric: &str, took: Duration, ops: usize, bytes: usize) {
    println!("{metric} {} {ops} {bytes} {row}", took.as_nanos());
}

pub fn log_docs(size: usize, scale: f64) -> usize {
    let n = ((256 << 20) / size).min(1_000_000);
    ((n as f64 * scale) as usize).max(1000)
}

pub fn lifo_docs(size: usize, scale: f64) -> usize {
    let n = ((64 << 20) / size).min(500_000);
    ((n as f64 * scale) as usize).max(2 * BOUND / size)
}

pub fn run(peer: &dyn Peer, case: Case, size: usize, dir: &Path, scale: f64) -> R<()> {
    let docs = Docs::new(size);
    match case {
        Case::Log => log(peer, &docs, dir, log_docs(size, scale)),
        Case::Durable => durable(peer, &docs, dir, ((2000.0 * scale) as usize).max(200)),
        Case::Durable8 => durable8(peer, &docs, dir, ((4000.0 * scale) as usize).max(800)),
        Case::Lifo => lifo(peer, &docs, dir, lifo_docs(size, scale)),
        Case::Thrash => {
            let rounds = ((100_000.0 * scale) as usize).max(5000);
            thrash(peer, &docs, dir, rounds, None)?;
            if peer.overhead() > 0 {
                let again = dir.join(OWN_BOUND);
                std::fs::create_dir_all(&again)?;
                thrash(peer, &docs, &again, rounds, Some(peer.overhead()))?;
            }
            Ok(())
        }
    }
}

fn expect(docs: &Docs, ids: impl Iterator<Item = usize>) -> Seen {
    let mut s = Seen::default();
    ids.for_each(|i| s.take(docs.get(i)));
    s
}

fn log(peer: &dyn Peer, docs: &Docs, dir: &Path, n: usize) -> R<()> {
    let size = docs.size();
    let o = Opts {
        doc_size: size,
        docs: n,
        durable: false,
        mem_bound: None,
    };
    {
        let mut s = peer.open(dir, o)?;
        let t = Instant::now();
        s.push_all(docs, 0, n)?;
        let pushed = t.elapsed();
        s.sync()?;
        let synced = t.elapsed();
        say("append", pushed, n, size);
        say("append+sync", synced, n, size);
        drop(s);
    }
    if peer.name() == "limit-cpu" {
        return Ok(());
    }
    // The naive limit hands nothing over.
    let check = |seen: Seen| -> R<()> {
        if peer.name() != "limit-naive" && seen != expect(docs, 0..n) {
            return Err(format!("replay gave {} documents of {n}, or others", seen.docs).into());
        }
        Ok(())
    };
    let mut seen = Seen::default();
    let t = Instant::now();
    let one_pass = peer.open_with(dir, o, &mut |d| seen.take(d));
    let in_one_pass = one_pass.is_some();
    let s = match one_pass {
        Some(s) => s?,
        None => {
            let mut s = peer.open(dir, o)?;
            s.replay(&mut |d| seen.take(d))?;
            s
        }
    };
    say("replay", t.elapsed(), n, size);
    drop(s);
    check(seen)?;
    if in_one_pass {
        let mut seen = Seen::default();
        let t = Instant::now();
        let mut s = peer.open(dir, o)?;
        s.replay(&mut |d| seen.take(d))?;
        say_row(OPEN_REPLAY, "replay", t.elapsed(), n, size);
        drop(s);
        check(seen)?;
    }
    let t = Instant::now();
    let mut s = peer.open(dir, o)?;
    s.push(docs.get(n))?;
    say("reopen", t.elapsed(), 1, n * size);
    Ok(())
}

fn durable(peer: &dyn Peer, docs: &Docs, dir: &Path, n: usize) -> R<()> {
    let o = Opts {
        doc_size: docs.size(),
        docs: n,
        durable: true,
        mem_bound: None,
    };
    let mut s = peer.open(dir, o)?;
    let mut each = Vec::with_capacity(n);
    for i in 0..n {
        let t = Instant::now();
        s.push_durable(docs.get(i))?;
        each.push(t.elapsed());
    }
    // The median within the run: this disk's tail is long and not the peer's.
    let total: Duration = each.iter().sum();
    each.sort();
    say("durable", each[n / 2], 1, docs.size());
    say("durable-p99", each[n * 99 / 100], 1, docs.size());
    say("durable-mean", total, n, docs.size());
    Ok(())
}

fn durable8(peer: &dyn Peer, docs: &Docs, dir: &Path, n: usize) -> R<()> {
    const THREADS: usize = 8;
    let o = Opts {
        doc_size: docs.size(),
        docs: n,
        durable: true,
        mem_bound: None,
    };
    let s = peer.open_shared(dir, o)?;
    let per = n / THREADS;
    let start = Barrier::new(THREADS + 1);
    let took = std::thread::scope(|scope| {
        let all: Vec<_> = (0..THREADS)
            .map(|k| {
                let (s, start) = (&s, &start);
                scope.spawn(move || -> R<()> {
                    start.wait();
                    for i in 0..per {
                        s.push_durable(docs.get(k * per + i))?;
                    }
                    Ok(())
                })
            })
            .collect();
        start.wait();
        let t = Instant::now();
        for h in all {
            h.join().map_err(|_| "a thread panicked")??;
        }
        R::Ok(t.elapsed())
    })?;
    say("durable8", took, per * THREADS, docs.size());
    Ok(())
}

fn lifo(peer: &dyn Peer, docs: &Docs, dir: &Path, n: usize) -> R<()> {
    let size = docs.size();
    let o = Opts {
        doc_size: size,
        docs: n,
        durable: false,
        mem_bound: Some(BOUND),
    };
    let mut s = peer.open(dir, o)?;
    let t = Instant::now();
    for i in 0..n {
        s.push(docs.get(i))?;
    }
    let pushed = t.elapsed();
    let mut seen = Seen::default();
    let t = Instant::now();
    for _ in 0..n {
        if !s.pop(&mut |d| seen.take(d))? {
            return Err("empty too early".into());
        }
    }
    let popped = t.elapsed();
    say("lifo-push", pushed, n, size);
    say("lifo-pop", popped, n, size);
    say("lifo", pushed + popped, 2 * n, size);
    if seen != expect(docs, (0..n).rev()) {
        return Err("popped others".into());
    }
    Ok(())
}

/// Push 2, pop 2, at fill levels around the bound; the worst level counts. The
/// levels are in bytes of documents, or with `own` in what the peer counts.
fn thrash(peer: &dyn Peer, docs: &Docs, dir: &Path, rounds: usize, own: Option<usize>) -> R<()> {
    let size = docs.size();
    let counted = size + own.unwrap_or(0);
    let o = Opts {
        doc_size: size,
        docs: 4 * BOUND / size + rounds,
        durable: false,
        mem_bound: Some(BOUND),
    };
    let mut s = peer.open(dir, o)?;
    let mut filled = 0;
    let levels = [
        BOUND - 2 * counted,
        BOUND,
        BOUND + (64 << 10),
        2 * BOUND - counted,
        2 * BOUND + 4096,
    ];
    let per = rounds / levels.len() / 4;
    let (mut worst, mut total, mut ops) = (Duration::ZERO, Duration::ZERO, 0);
    for level in levels {
        while (filled + 1) * counted <= level {
            s.push(docs.get(filled))?;
            filled += 1;
        }
        let mut seen = Seen::default();
        let t = Instant::now();
        for _ in 0..per {
            s.push(docs.get(filled))?;
            s.push(docs.get(filled + 1))?;
            s.pop(&mut |d| seen.take(d))?;
            s.pop(&mut |d| seen.take(d))?;
        }
        let took = t.elapsed();
        worst = worst.max(took);
        total += took;
        ops += per * 4;
        let want = expect(docs, (0..2 * per).map(|i| filled + 1 - i % 2));
        if seen != want {
            return Err("popped others".into());
        }
    }
    match own {
        None => {
            say("thrash", total, ops, size);
            say("thrash-worst", worst, per * 4, size);
        }
        Some(_) => {
            say_row(OWN_BOUND, "thrash", total, ops, size);
            say_row(OWN_BOUND, "thrash-worst", worst, per * 4, size);
        }
    }
    Ok(())
}

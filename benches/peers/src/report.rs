//! Medians over the rounds, and ratios to the limits: of the medians, and in
//! brackets of the best rounds, which a busy machine disturbs less.
use std::collections::BTreeMap;
use std::fmt::Write;

#[derive(Default)]
struct Cell {
    ns_per_op: Vec<f64>,
    bytes: f64,
}

#[derive(Default)]
pub struct Table {
    order: Vec<(String, usize)>,
    cells: BTreeMap<(String, usize), Vec<(String, Cell)>>,
    failures: Vec<(String, String, usize, String)>,
}

/// Which limits a metric is set against, first the nearest to its work.
fn limits(metric: &str) -> &'static [&'static str] {
    match metric {
        "append" => &["limit-cpu", "limit-floor", "limit-naive"],
        "append+sync" => &["limit-floor", "limit-naive"],
        "replay" => &["limit-naive", "limit-floor"],
        "reopen" => &["limit-floor", "limit-naive"],
        "durable" | "durable-p99" | "durable-mean" => &["limit-pwrite", "limit-prealloc"],
        "durable8" => &["limit-pwrite", "limit-group", "limit-group-wait"],
        _ => &["limit-vec", "limit-arena"],
    }
}

fn median(v: &[f64]) -> f64 {
    let mut v = v.to_vec();
    v.sort_by(f64::total_cmp);
    let n = v.len();
    if n % 2 == 1 {
        v[n / 2]
    } else {
        (v[n / 2 - 1] + v[n / 2]) / 2.0
    }
}

fn ns(x: f64) -> String {
    match x {
        x if x < 100.0 => format!("{x:.1} ns"),
        x if x < 10_000.0 => format!("{x:.0} ns"),
        x if x < 10_000_000.0 => format!("{:.1} us", x / 1e3),
        x => format!("{:.1} ms", x / 1e6),
    }
}

impl Table {
    pub fn add(&mut self, metric: &str, size: usize, peer: &str, took: f64, ops: f64, bytes: f64) {
        let key = (metric.to_owned(), size);
        if !self.cells.contains_key(&key) {
            self.order.push(key.clone());
        }
        let rows = self.cells.entry(key).or_default();
        let at = match rows.iter().position(|(p, _)| p == peer) {
            Some(at) => at,
            None => {
                rows.push((peer.to_owned(), Cell::default()));
                rows.len() - 1
            }
        };
        rows[at].1.ns_per_op.push(took / ops);
        rows[at].1.bytes = bytes;
    }

    pub fn fail(&mut self, peer: &str, case: &str, size: usize, why: &str) {
        self.failures
            .push((peer.into(), case.into(), size, why.into()));
    }

    pub fn failed(&self, peer: &str, case: &str, size: usize) -> bool {
        self.failures
            .iter()
            .any(|(p, c, s, _)| p == peer && c == case && *s == size)
    }

    /// Nanoseconds for each operation, of the best round and in the median.
    pub fn best_and_median(&self, metric: &str, size: usize, peer: &str) -> Option<(f64, f64)> {
        let rows = self.cells.get(&(metric.to_owned(), size))?;
        let (_, c) = rows.iter().find(|(p, _)| p == peer)?;
        let best = c.ns_per_op.iter().copied().fold(f64::MAX, f64::min);
        Some((best, median(&c.ns_per_op)))
    }

    pub fn markdown(&self) -> String {
        let mut out = String::new();
        for key in &self.order {
            let rows = &self.cells[key];
            let (metric, size) = key;
            let mut sorted: Vec<(&str, f64, &Cell)> = rows
                .iter()
                .map(|(p, c)| (p.as_str(), median(&c.ns_per_op), c))
                .collect();
            sorted.sort_by(|a, b| a.1.total_cmp(&b.1));
            let best = |c: &Cell| c.ns_per_op.iter().copied().fold(f64::MAX, f64::min);
            let of = |name: &str| {
                sorted
                    .iter()
                    .find(|r| r.0 == name)
                    .map(|r| (r.1, best(r.2)))
            };
            let limits: Vec<&str> = limits(metric)
                .iter()
                .copied()
                .filter(|l| of(l).is_some())
                .collect();
            let _ = writeln!(out, "\n### {metric}, {size} B documents\n");
            let _ = write!(out, "| peer | per op | best | MB/s | min to max |");
            for l in &limits {
                let _ = write!(out, " x {l} |");
            }
            let _ = writeln!(out);
            let _ = writeln!(out, "|---|---|---|---|---|{}", "---|".repeat(limits.len()));
            for (peer, m, c) in &sorted {
                let (lo, hi) = c
                    .ns_per_op
                    .iter()
                    .fold((f64::MAX, 0f64), |(l, h), &x| (l.min(x), h.max(x)));
                let _ = write!(
                    out,
                    "| {peer} | {} | {} | {:.0} | {:.2} to {:.2} |",
                    ns(*m),
                    ns(lo),
                    c.bytes * 1e3 / m,
                    lo / m,
                    hi / m
                );
                for l in &limits {
                    let (limit_m, limit_best) = of(l).expect("kept");
                    let _ = write!(out, " {:.2} ({:.2}) |", m / limit_m, lo / limit_best);
                }
                let _ = writeln!(out);
            }
        }
        if !self.failures.is_empty() {
            let _ = writeln!(out, "\n### failed\n");
            for (p, c, s, why) in &self.failures {
                let _ = writeln!(out, "- {p}, {c}, {s} B: {why}");
            }
        }
        out
    }
}

//! What the crate promises of its speed, as ratios within one run: its best
//! round against the best round of the other.
use crate::child::{OPEN_REPLAY, OWN_BOUND};
use crate::report::Table;
use crate::store::Case;
use std::fmt::Write;

const PROJECT: &str = "project";
const JOURNAL: &str = "journal";
const SQLITE: &[&str] = &["sqlite-full", "sqlite-normal"];

struct Bound {
    /// The buffer or the journal.
    of: &'static str,
    what: &'static str,
    case: Case,
    metric: &'static str,
    /// What follows the crate's name in its row.
    row: Option<&'static str>,
    /// The fastest of these counts.
    against: &'static [&'static str],
    /// The bound in words.
    says: &'static str,
    /// The most times as long as the other that the crate may take with
    /// documents of this size. `None`: shown, and nothing promised.
    most: fn(usize) -> Option<f64>,
    /// Show how many times faster the crate is, rather than slower.
    faster: bool,
}

/// What most bounds have in common.
const LOG: Bound = Bound {
    of: PROJECT,
    what: "",
    case: Case::Log,
    metric: "",
    row: None,
    against: &["limit-floor"],
    says: "-",
    most: |_| None,
    faster: false,
};

const LIFO: Bound = Bound {
    what: "push all, pop all, 4 MiB of memory",
    case: Case::Lifo,
    metric: "lifo",
    ..LOG
};

const THRASH: Bound = Bound {
    case: Case::Thrash,
    against: &["stxxl-normal"],
    says: "<= 1.5",
    most: |_| Some(1.5),
    ..LOG
};

const DURABLE8: Bound = Bound {
    of: JOURNAL,
    what: "journal: durable append, 8 threads",
    case: Case::Durable8,
    metric: "durable8",
    ..LOG
};

/// Durable appends of the documents that peers were compared at.
fn small(size: usize) -> Option<f64> {
    (size <= 1024).then_some(1.0 / 1.25)
}

const BOUNDS: &[Bound] = &[
    Bound {
        what: "append, buffered, one at a time",
        metric: "append",
        says: "<= 1.35 at 64 B, <= 1.2 from 256 B",
        most: |size| Some(if size < 256 { 1.35 } else { 1.2 }),
        ..LOG
    },
    Bound {
        what: "append, one final sync",
        metric: "append+sync",
        says: "<= 1.1",
        most: |_| Some(1.1),
        ..LOG
    },
    Bound {
        what: "durable push, one thread, median",
        case: Case::Durable,
        metric: "durable",
        against: &["limit-prealloc"],
        says: "<= 1.05",
        most: |_| Some(1.05),
        ..LOG
    },
    Bound {
        what: "durable push, one thread, mean",
        case: Case::Durable,
        metric: "durable-mean",
        against: &["limit-prealloc"],
        ..LOG
    },
    Bound {
        against: &["stxxl-normal"],
        says: "<= 1.5 at 64 B, <= 1.2 from 256 B",
        most: |size| Some(if size < 256 { 1.5 } else { 1.2 }),
        ..LIFO
    },
    Bound {
        against: &["redb"],
        says: "20 times faster at 64 B",
        most: |size| (size == 64).then_some(1.0 / 20.0),
        faster: true,
        ..LIFO
    },
    Bound {
        what: "boundary thrash, mean",
        metric: "thrash",
        ..THRASH
    },
    Bound {
        what: "boundary thrash, worst level",
        metric: "thrash-worst",
        ..THRASH
    },
    Bound {
        what: "boundary thrash at its own bound, mean",
        metric: "thrash",
        row: Some(OWN_BOUND),
        ..THRASH
    },
    Bound {
        what: "boundary thrash at its own bound, worst level",
        metric: "thrash-worst",
        row: Some(OWN_BOUND),
        ..THRASH
    },
    Bound {
        what: "replay at start, `open_with`",
        metric: "replay",
        says: "<= 1.15",
        most: |_| Some(1.15),
        ..LOG
    },
    Bound {
        what: "replay at start, `open_with`",
        metric: "replay",
        against: SQLITE,
        says: "faster",
        most: |_| Some(1.0),
        faster: true,
        ..LOG
    },
    Bound {
        what: "`open`, then `replay()`",
        metric: "replay",
        row: Some(OPEN_REPLAY),
        ..LOG
    },
    Bound {
        what: "`open`, then `replay()`",
        metric: "replay",
        row: Some(OPEN_REPLAY),
        against: SQLITE,
        faster: true,
        ..LOG
    },
    Bound {
        what: "open, which verifies everything, and one push",
        metric: "reopen",
        says: "<= 1.2",
        most: |_| Some(1.2),
        ..LOG
    },
    Bound {
        against: &["limit-group-wait"],
        says: "<= 1.15",
        most: |_| Some(1.15),
        ..DURABLE8
    },
    Bound {
        against: &["raft-engine"],
        says: "1.25 times faster up to 1024 B",
        most: small,
        faster: true,
        ..DURABLE8
    },
    Bound {
        against: &["okaywal"],
        says: "1.25 times faster up to 1024 B",
        most: small,
        faster: true,
        ..DURABLE8
    },
    Bound {
        of: JOURNAL,
        what: "journal: durable append, one thread, median",
        case: Case::Durable,
        metric: "durable",
        against: &["limit-prealloc"],
        says: "<= 1.05",
        most: |_| Some(1.05),
        ..LOG
    },
    Bound {
        of: JOURNAL,
        what: "journal: append, buffered",
        metric: "append",
        against: &[PROJECT],
        says: "<= 1.5",
        most: |_| Some(1.5),
        ..LOG
    },
    Bound {
        of: JOURNAL,
        what: "journal: open and replay",
        metric: "replay",
        against: &["project-open+replay"],
        says: "<= 1.2",
        most: |_| Some(1.2),
        ..LOG
    },
    Bound {
        of: JOURNAL,
        what: "journal: open after a clean close, and one append",
        metric: "reopen",
        against: &["limit-naive"],
        says: "<= 5",
        most: |_| Some(5.0),
        ..LOG
    },
];

/// Whether the bounds need this peer.
pub fn needed(name: &str) -> bool {
    name == PROJECT || name == JOURNAL || BOUNDS.iter().any(|b| b.against.contains(&name))
}

pub fn needed_cases() -> Vec<Case> {
    Case::ALL
        .into_iter()
        .filter(|&c| BOUNDS.iter().any(|b| b.case == c))
        .collect()
}

/// The section of the report, and whether every bound was measured and holds.
pub fn section(table: &Table, cases: &[Case], sizes: &[usize]) -> (String, bool) {
    let mut out = String::from(
        "\n## Bounds\n\n\
         How many times as long as the other the crate takes, the best round of each; in brackets\n\
         the same of the medians. `1/x`: x times faster. Bold: beyond the bound.\n\n\
         | what | against | bound |",
    );
    for size in sizes {
        let _ = write!(out, " {size} B |");
    }
    let _ = writeln!(out, " |\n|---|---|---|{}---|", "---|".repeat(sizes.len()));
    let mut good = true;
    for b in BOUNDS.iter().filter(|b| cases.contains(&b.case)) {
        good &= line(&mut out, table, b, sizes);
    }
    (out, good)
}

fn line(out: &mut String, table: &Table, b: &Bound, sizes: &[usize]) -> bool {
    let against = b.against.join(" or ");
    let _ = write!(out, "| {} | {against} | {} |", b.what, b.says);
    let (mut promised, mut missing, mut broken) = (false, false, false);
    for &size in sizes {
        let most = (b.most)(size);
        promised |= most.is_some();
        let Some((best, medians)) = ratios(table, b, size) else {
            missing |= most.is_some();
            let _ = write!(out, " not measured |");
            continue;
        };
        let beyond = most.is_some_and(|most| best > most);
        broken |= beyond;
        let mark = if beyond { "**" } else { "" };
        let (best, medians) = (show(best, b.faster), show(medians, b.faster));
        let _ = write!(out, " {mark}{best}{mark} ({medians}) |");
    }
    let verdict = match (promised, broken, missing) {
        (false, ..) => "no bound",
        (_, true, _) => "does not hold",
        (_, _, true) => "not measured",
        _ => "holds",
    };
    let _ = writeln!(out, " {verdict} |");
    !broken && !missing
}

fn show(ratio: f64, faster: bool) -> String {
    if faster {
        format!("1/{:.2}", 1.0 / ratio)
    } else {
        format!("{ratio:.3}")
    }
}

/// Of the best rounds, and of the medians.
fn ratios(table: &Table, b: &Bound, size: usize) -> Option<(f64, f64)> {
    let name = match b.row {
        Some(row) => format!("{}-{row}", b.of),
        None => b.of.into(),
    };
    let mine = table.best_and_median(b.metric, size, &name)?;
    let theirs = b
        .against
        .iter()
        .filter_map(|p| table.best_and_median(b.metric, size, p));
    let best = theirs.clone().map(|t| t.0).min_by(f64::total_cmp)?;
    let median = theirs.map(|t| t.1).min_by(f64::total_cmp)?;
    Some((mine.0 / best, mine.1 / median))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(project: Option<f64>, floor: &[f64]) -> (String, bool) {
        let mut t = Table::default();
        for x in floor {
            t.add("append+sync", 64, "limit-floor", *x, 1.0, 64.0);
        }
        if let Some(x) = project {
            t.add("append+sync", 64, PROJECT, x, 1.0, 64.0);
        }
        let bound = BOUNDS
            .iter()
            .find(|b| b.metric == "append+sync")
            .expect("one of them");
        let mut out = String::new();
        let good = line(&mut out, &t, bound, &[64]);
        (out, good)
    }

    #[test]
    fn the_best_rounds_decide() {
        let (text, good) = verdict(Some(109.0), &[100.0, 300.0, 200.0]);
        assert!(good && text.contains("| 1.090 (0.545) | holds |"), "{text}");
        let (text, good) = verdict(Some(120.0), &[100.0, 300.0, 200.0]);
        assert!(
            !good && text.contains("**1.200** (0.600) | does not hold |"),
            "{text}"
        );
    }

    #[test]
    fn what_was_not_measured_does_not_hold() {
        let (text, good) = verdict(None, &[100.0]);
        assert!(!good && text.contains("not measured"), "{text}");
        let (text, good) = verdict(Some(1.0), &[]);
        assert!(!good && text.contains("not measured"), "{text}");
    }
}

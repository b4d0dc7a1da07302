//! Page views, counted in memory and added up in a redb file behind: killed at any moment, the totals are exact.
//!
//! ```sh
//! cargo run --features redb,write-behind --example page_views -- [DIRECTORY [VIEWS]]
//! ```
//!
//! A thread for each page counts its views, journals them ten at a time, and then says `PAGE TOTAL` on standard
//! output: from there on no crash takes them away, wherever they are, in the redb file or owed to it. Kill it
//! and start it again: each page goes on where it was, and no view is missing, or there twice. While it runs,
//! `docbuf owed DIRECTORY/owed` lists what the journal still owes.

use std::error::Error;
use std::io::{Write, stdout};
use std::path::Path;
use std::thread;
use std::time::Duration;

use documentbuffer::write_behind::redb::RedbSink;
use documentbuffer::write_behind::{Counters, Options};

const PAGES: [&str; 4] = ["/index", "/news", "/about", "/cards"];
/// Views that are journaled at once.
const STEP: i64 = 10;

/// Counts views of one page from `total` on.
fn visit(counters: &Counters, page: &str, mut total: i64, views: i64) -> Result<(), String> {
    let until = total.saturating_add(views);
    while total < until {
        let step = STEP.min(until - total);
        for _ in 0..step {
            let counted = counters.increment(page, 1);
            counted.map_err(|error| error.to_string())?;
        }
        counters.persist().map_err(|error| error.to_string())?;
        total += step;
        let mut out = stdout().lock();
        let told = writeln!(out, "{page} {total}").and_then(|()| out.flush());
        told.map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn run(directory: &Path, views: i64) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(directory)?;
    let totals = RedbSink::open(directory.join("views.redb"), "views")?;
    let counters = Options::new("page views")
        .journal(directory.join("owed"))
        .period(Duration::from_millis(50))
        .open(totals.clone())?;
    // What an earlier process owed is delivered before anything is read.
    counters.sync()?;
    let mut before = Vec::new();
    for page in PAGES {
        let total = totals.get(page)?;
        eprintln!("{page}: {total} so far");
        before.push((page, total));
    }
    thread::scope(|scope| {
        let visitors = before.into_iter().map(|(page, total)| {
            let counters = &counters;
            scope.spawn(move || visit(counters, page, total, views))
        });
        let visitors: Vec<_> = visitors.collect();
        visitors.into_iter().try_for_each(|visitor| {
            let ended = visitor.join();
            ended.unwrap_or_else(|_| Err("a visitor panicked".to_owned()))
        })
    })?;
    let closed = counters.close(Duration::from_secs(5))?;
    if let Some(error) = closed.last_error {
        eprintln!("{} pages are still owed: {error}", closed.owed.len());
    }
    for page in PAGES {
        println!("total {page} {}", totals.get(page)?);
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let directory = args.next().unwrap_or_else(|| "page_views".to_owned());
    let views = args.next().map_or(Ok(20_000), |views| views.parse())?;
    run(Path::new(&directory), views)
}

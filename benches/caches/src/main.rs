//! The cache patterns beside what a program would use instead. See README.md.
mod behind;
mod counters;
mod dogpile;
mod refresh;
mod report;
mod tiers;

use report::Table;

const USAGE: &str = "\
cachebench [counters] [tiers] [behind] [refresh] [dogpile] [--rounds 9] [--scale 1.0]";

struct Args {
    sections: Vec<String>,
    rounds: usize,
    scale: f64,
}

fn parse() -> Option<Args> {
    let mut args = Args {
        sections: Vec::new(),
        rounds: 9,
        scale: 1.0,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--rounds" => args.rounds = words.next()?.parse().ok()?,
            "--scale" => args.scale = words.next()?.parse().ok()?,
            "counters" | "tiers" | "behind" | "refresh" | "dogpile" => args.sections.push(word),
            _ => return None,
        }
    }
    Some(args)
}

fn main() {
    let Some(args) = parse() else {
        eprintln!("{USAGE}");
        std::process::exit(2);
    };
    let wanted = |section: &str| {
        args.sections.is_empty() || args.sections.iter().any(|name| name == section)
    };
    let mut table = Table::default();
    for round in 0..args.rounds {
        if wanted("counters") {
            counters::round(&mut table, args.scale);
        }
        if wanted("tiers") {
            tiers::round(&mut table, args.scale);
        }
        if wanted("behind") {
            behind::round(&mut table, args.scale);
        }
        if wanted("refresh") {
            refresh::round(&mut table, args.scale);
        }
        if wanted("dogpile") {
            dogpile::round(&mut table, args.scale);
        }
        eprintln!("round {} of {}", round + 1, args.rounds);
    }
    table.print();
}

//! Peer benchmarks for `documentbuffer`. See README.md.
mod bounds;
mod child;
mod docs;
mod floor;
#[cfg(feature = "project")]
mod journal;
mod machine;
mod peers;
mod report;
mod store;

use report::Table;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use store::{Case, R};

struct Args {
    dir: PathBuf,
    rounds: usize,
    cases: Vec<Case>,
    sizes: Vec<usize>,
    peers: Vec<String>,
    scale: f64,
    timeout: Duration,
    stxxl: Option<PathBuf>,
    out: Option<PathBuf>,
    /// Only the peers and limits that the bounds need.
    only_bounds: bool,
    /// Exit with 2 when a bound does not hold or was not measured.
    strict: bool,
}

const USAGE: &str = "\
peerbench run [--dir D] [--rounds 7] [--cases log,durable,durable8,lifo,thrash]
              [--sizes 64,256,1024,16384] [--peers a,b] [--scale 1.0] [--timeout 60]
              [--stxxl PATH] [--out FILE] [--strict]
                               every peer and limit, then the bounds
peerbench bounds [the same]    only what the bounds need
peerbench floor [--dir D]      the machine's own figures
peerbench journal [--dir D]    what the journal takes to open, and to be seen by a follower
peerbench list                 the peers and their configurations";

fn main() {
    let argv: Vec<String> = std::env::args().skip(1).collect();
    let done = match argv.first().map(String::as_str) {
        Some("run") => parse(&argv[1..], false).and_then(run),
        Some("bounds") => parse(&argv[1..], true).and_then(run),
        Some("floor") => parse(&argv[1..], false).and_then(|a| floor::run(&a.dir)),
        #[cfg(feature = "project")]
        Some("journal") => parse(&argv[1..], false)
            .and_then(|a| journal::recovery(&a.dir).and_then(|()| journal::follow(&a.dir))),
        #[cfg(feature = "project")]
        Some("follower") => argv
            .get(1)
            .ok_or(USAGE.into())
            .and_then(|path| journal::follower(Path::new(path))),
        Some("child") => run_child(&argv[1..]),
        Some("list") => {
            for p in peers::all() {
                println!("- {}: {}", p.name(), p.config());
            }
            Ok(())
        }
        _ => Err(USAGE.into()),
    };
    if let Err(e) = done {
        eprintln!("{e}");
        std::process::exit(1);
    }
    // Peers leave threads behind; do not wait for them.
    std::process::exit(0);
}

fn parse(argv: &[String], only_bounds: bool) -> R<Args> {
    let mut a = Args {
        dir: std::env::temp_dir(),
        rounds: 7,
        cases: if only_bounds {
            bounds::needed_cases()
        } else {
            Case::ALL.to_vec()
        },
        sizes: vec![64, 256, 1024, 16384],
        peers: Vec::new(),
        scale: 1.0,
        timeout: Duration::from_secs(60),
        stxxl: built_stxxl(),
        out: None,
        only_bounds,
        strict: false,
    };
    let mut it = argv.iter();
    while let Some(k) = it.next() {
        if k == "--strict" {
            a.strict = true;
            continue;
        }
        let v = it.next().ok_or(USAGE)?;
        match k.as_str() {
            "--dir" => a.dir = v.into(),
            "--rounds" => a.rounds = v.parse()?,
            "--cases" => {
                a.cases = v
                    .split(',')
                    .map(|c| Case::parse(c).ok_or(USAGE))
                    .collect::<Result<_, _>>()?
            }
            "--sizes" => a.sizes = v.split(',').map(str::parse).collect::<Result<_, _>>()?,
            "--peers" => a.peers = v.split(',').map(str::to_owned).collect(),
            "--scale" => a.scale = v.parse()?,
            "--timeout" => a.timeout = Duration::from_secs(v.parse()?),
            "--stxxl" => a.stxxl = Some(v.into()),
            "--out" => a.out = Some(v.into()),
            _ => return Err(USAGE.into()),
        }
    }
    Ok(a)
}

/// What stxxl/build.sh leaves, if it was run.
fn built_stxxl() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("stxxl/stxxl_bench");
    path.is_file().then_some(path)
}

/// child PEER CASE SIZE DIR SCALE
fn run_child(argv: &[String]) -> R<()> {
    let [name, case, size, dir, scale] = argv else {
        return Err(USAGE.into());
    };
    let all = peers::all();
    let peer = all
        .iter()
        .find(|p| p.name() == name)
        .ok_or("no such peer")?;
    let case = Case::parse(case).ok_or(USAGE)?;
    child::run(
        peer.as_ref(),
        case,
        size.parse()?,
        Path::new(dir),
        scale.parse()?,
    )
}

fn run(a: Args) -> R<()> {
    let all = peers::all();
    let wanted = |name: &str| {
        let limit = name.starts_with("limit-");
        (!a.only_bounds || bounds::needed(name))
            && (limit || a.peers.is_empty() || a.peers.iter().any(|p| p == name))
    };
    let base = a.dir.join(format!("peerbench-{}", std::process::id()));
    std::fs::create_dir_all(&base)?;
    let me = std::env::current_exe()?;
    let machine = machine::line(&base);
    let load = machine::load();
    if machine::on_tmpfs(&base) {
        eprintln!(
            "! {} is a tmpfs: the durable figures say nothing",
            a.dir.display()
        );
    }
    let mut table = Table::default();
    let began = Instant::now();
    for &case in &a.cases {
        for &size in &a.sizes {
            let mut entries: Vec<(String, Vec<String>, PathBuf)> = Vec::new();
            for p in &all {
                if wanted(p.name()) && p.cases().contains(&case) {
                    let argv = vec![
                        "child".into(),
                        p.name().into(),
                        case.name().into(),
                        size.to_string(),
                    ];
                    entries.push((p.name().into(), argv, me.clone()));
                }
            }
            if let (Some(path), Case::Lifo | Case::Thrash) = (&a.stxxl, case) {
                for kind in ["normal", "growshrink"] {
                    if a.only_bounds && !bounds::needed(&format!("stxxl-{kind}")) {
                        continue;
                    }
                    let argv = vec![kind.into(), case.name().into(), size.to_string()];
                    entries.push((format!("stxxl-{kind}"), argv, path.clone()));
                }
            }
            for round in 0..a.rounds {
                for k in order(entries.len(), round) {
                    let (name, argv, exe) = &entries[k];
                    if table.failed(name, case.name(), size) {
                        continue;
                    }
                    let dir = base.join("store");
                    warm(&base, a.scale)?;
                    settle(&base);
                    std::fs::create_dir_all(&dir)?;
                    let got = measure(exe, argv, &dir, a.scale, a.timeout);
                    let _ = std::fs::remove_dir_all(&dir);
                    match got {
                        Ok(lines) => {
                            for l in lines {
                                let row = match l.row {
                                    Some(row) => format!("{name}-{row}"),
                                    None => name.clone(),
                                };
                                table.add(&l.metric, size, &row, l.ns, l.ops, l.bytes);
                            }
                        }
                        Err(e) => {
                            eprintln!("! {name} {} {size}: {e}", case.name());
                            table.fail(name, case.name(), size, &e.to_string());
                        }
                    }
                }
            }
            eprintln!(
                "[{:>5.0} s] {} {size} done",
                began.elapsed().as_secs_f64(),
                case.name()
            );
        }
    }
    let _ = std::fs::remove_dir_all(&base);
    let mut text = format!(
        "Machine: {machine}\n\n{} rounds; load of the machine {load} before, {} after.\n",
        a.rounds,
        machine::load()
    );
    if a.scale != 1.0 {
        text += "\nScaled: a check that all works, the ratios say nothing.\n";
    }
    text += &table.markdown();
    let mut good = true;
    if all
        .iter()
        .any(|p| p.name() == "project" && wanted("project"))
    {
        let (section, all_hold) = bounds::section(&table, &a.cases, &a.sizes);
        good = all_hold;
        text += &section;
        if a.out.is_some() {
            print!("{section}");
        }
    }
    match &a.out {
        Some(p) => std::fs::write(p, text)?,
        None => print!("{text}"),
    }
    if a.strict && !good {
        std::process::exit(2);
    }
    Ok(())
}

/// The order of a round: another start and another stride each time, so that
/// no peer always follows the same one.
fn order(len: usize, round: usize) -> impl Iterator<Item = usize> {
    let steps: Vec<usize> = (1..len.max(2)).filter(|&s| gcd(len, s) == 1).collect();
    let step = steps[round % steps.len()];
    (0..len).map(move |k| (round + k * step) % len)
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Fill the page cache and empty it again. A virtual machine may hand memory
/// back to its host seconds after it is freed, and who then takes it first pays
/// for it, up to ten times the price of a write: nobody who is measured should.
fn warm(base: &Path, scale: f64) -> R<()> {
    use std::io::Write;
    let path = base.join("warm");
    let mut f = std::fs::File::create(&path)?;
    let chunk = vec![1; 1 << 20];
    for _ in 0..(512.0 * scale.min(1.0)) as usize {
        f.write_all(&chunk)?;
    }
    Ok(std::fs::remove_file(path)?)
}

/// Let the file system finish the deletions before the next measurement.
fn settle(base: &Path) {
    use std::os::fd::AsRawFd;
    if let Ok(f) = std::fs::File::open(base) {
        // SAFETY: a valid descriptor.
        unsafe { libc::syncfs(f.as_raw_fd()) };
    }
}

/// `metric nanoseconds operations bytes`, and what follows the peer's name if
/// the row is not its own.
struct Line {
    metric: String,
    ns: f64,
    ops: f64,
    bytes: f64,
    row: Option<String>,
}

fn measure(exe: &Path, argv: &[String], dir: &Path, scale: f64, limit: Duration) -> R<Vec<Line>> {
    let mut child = Command::new(exe)
        .args(argv)
        .arg(dir)
        .arg(scale.to_string())
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let until = Instant::now() + limit;
    let status = loop {
        if let Some(s) = child.try_wait()? {
            break s;
        }
        if Instant::now() > until {
            child.kill()?;
            child.wait()?;
            return Err(format!("over {} s", limit.as_secs()).into());
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let mut text = String::new();
    child
        .stdout
        .take()
        .ok_or("no stdout")?
        .read_to_string(&mut text)?;
    if !status.success() {
        let mut err = Vec::new();
        child
            .stderr
            .take()
            .ok_or("no stderr")?
            .read_to_end(&mut err)?;
        let err = String::from_utf8_lossy(&err);
        let line = err
            .lines()
            .find(|l| !l.trim().is_empty())
            .unwrap_or("failed");
        return Err(line.chars().take(160).collect::<String>().into());
    }
    Ok(text.lines().filter_map(parse_line).collect())
}

/// `None`: a peer's own talk.
fn parse_line(line: &str) -> Option<Line> {
    let mut w = line.split(' ');
    Some(Line {
        metric: w.next()?.to_owned(),
        ns: w.next()?.parse().ok()?,
        ops: w.next()?.parse().ok()?,
        bytes: w.next()?.parse().ok()?,
        row: w.next().map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_runs_every_peer_once() {
        for len in 1..20 {
            for round in 0..20 {
                let mut seen: Vec<usize> = order(len, round).collect();
                seen.sort();
                assert_eq!(seen, (0..len).collect::<Vec<_>>());
            }
        }
        assert_eq!(order(0, 3).count(), 0);
    }

    #[test]
    fn what_a_peer_says_by_itself_is_no_result() {
        assert!(parse_line("opened segment 3 of 4").is_none());
        let l = parse_line("replay 20 10 64 open+replay").expect("a result");
        assert_eq!((l.ns, l.ops, l.bytes), (20.0, 10.0, 64.0));
        assert_eq!(l.row.as_deref(), Some("open+replay"));
    }
}

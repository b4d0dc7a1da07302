//! `owed`: what a write-behind journal owes, sums to a sink or writes to a tier.

use std::path::Path;

use documentbuffer::journal;
use documentbuffer::tier::Op;
use documentbuffer::write_behind::behind::{self, OwedWrite};
use documentbuffer::write_behind::{Error, Owed, Stamp};
use serde_json::{Value, json};

use super::args;
use super::damage::failure;
use super::error::{Code, Failure, Result};
use super::line;
use super::output::Out;
use super::snapshot::must_be_directory;

pub(super) fn run(args: &args::Owed) -> Result<()> {
    let path = &args.dir;
    must_be_directory(path)?;
    let mut out = Out::text();
    match Owed::read(path) {
        // Of the two kinds of journal it may be the other.
        Err(error @ Error::Journal(_)) if is_codec(&error) => match behind::owed(path) {
            Ok(writes) => list(&writes, args.json, &mut out)?,
            Err(_) => return Err(told(path, &error)),
        },
        Err(error) => return Err(told(path, &error)),
        Ok(owed) if args.json => lines(&owed, &mut out)?,
        Ok(owed) => out.print(&table(&owed))?,
    }
    out.flush()
}

fn is_codec(error: &Error) -> bool {
    matches!(error, Error::Journal(error) if matches!(**error, journal::Error::Codec { .. }))
}

fn list(writes: &[OwedWrite], json: bool, out: &mut Out) -> Result<()> {
    for OwedWrite {
        key, op, parked, ..
    } in writes
    {
        let (op, bytes) = match op {
            Op::Put(entry) => ("put", entry.value.len()),
            _ => ("remove", 0),
        };
        let state = if parked.is_some() {
            "parked"
        } else {
            "pending"
        };
        if json {
            let key = key.as_key().as_str();
            let mut line =
                json!({ "v": line::VERSION, "key": key, "op": op, "bytes": bytes, "state": state });
            if let (Some(reason), Some(line)) = (parked, line.as_object_mut()) {
                line.insert("reason".to_owned(), reason.as_str().into());
            }
            out.json(&line)?;
            continue;
        }
        let reason = parked.as_deref().unwrap_or_default().escape_debug();
        let reason = match parked {
            Some(_) => format!("  ({reason})"),
            None => String::new(),
        };
        let key = key.as_key().as_str().escape_debug();
        out.print(&format!(
            "{op:<6}  {bytes:>12}  {state:<7}  {key}{reason}\n"
        ))?;
    }
    Ok(())
}

fn told(path: &Path, error: &Error) -> Failure {
    match error {
        Error::Journal(error) => failure(path, error),
        Error::Damaged { position, .. } => Failure::of(path, Code::Damaged, error.to_string())
            .next(format!("look: docbuf replay --from {position} --json")),
        error => Failure::of(path, Code::Failed, error.to_string()),
    }
}

/// Every sum with its key, and where it stands.
fn sums(owed: &Owed) -> Vec<(i128, &str, &'static str, &str)> {
    let mut sums = Vec::new();
    if let Some((_, deltas)) = &owed.frozen {
        let deltas = deltas.iter();
        sums.extend(deltas.map(|(key, delta)| (i128::from(*delta), &**key, "frozen", "")));
    }
    let pending = owed.pending.iter();
    sums.extend(pending.map(|(key, sum)| (*sum, &**key, "pending", "")));
    let parked = owed.parked.iter();
    sums.extend(parked.map(|(key, parked)| (parked.delta, &**key, "parked", &*parked.reason)));
    sums
}

fn batch(stamp: Option<&Stamp>) -> String {
    stamp.map_or_else(
        || "none".to_owned(),
        |stamp| format!("batch {}", stamp.number),
    )
}

fn table(owed: &Owed) -> String {
    let frozen = owed.frozen.as_ref().map(|(stamp, _)| stamp);
    let mut table = format!(
        "counters   {}\nsettled    {}\nfrozen     {}\n",
        owed.name.escape_debug(),
        batch(owed.settled.as_ref()),
        batch(frozen),
    );
    for (sum, key, state, reason) in sums(owed) {
        let (key, reason) = (key.escape_debug(), reason.escape_debug());
        let reason = match state {
            "parked" => format!("  ({reason})"),
            _ => String::new(),
        };
        table.push_str(&format!("{sum:>20}  {state:<7}  {key}{reason}\n"));
    }
    table
}

fn lines(owed: &Owed, out: &mut Out) -> Result<()> {
    for (sum, key, state, reason) in sums(owed) {
        // JSON readers take numbers of 64 bits, and few take more.
        let sum = i64::try_from(sum).map_or_else(|_| Value::from(sum.to_string()), Value::from);
        let mut line = json!({ "v": line::VERSION, "key": key, "sum": sum, "state": state });
        if state == "parked"
            && let Some(line) = line.as_object_mut()
        {
            line.insert("reason".to_owned(), reason.into());
        }
        out.json(&line)?;
    }
    Ok(())
}

//! `snapshot list`: what programs have made of a journal so far.

use std::path::Path;

use documentbuffer::journal::Reader;
use serde_json::json;

use super::args::SnapshotList;
use super::damage::failure;
use super::error::{Code, Failure, Result};
use super::line;
use super::output::Out;

pub(super) fn list(args: &SnapshotList) -> Result<()> {
    let path = &args.dir;
    must_be_directory(path)?;
    let listed = Reader::open(path).and_then(|reader| reader.snapshots());
    let listed = listed.map_err(|error| failure(path, &error))?;
    let mut out = Out::text();
    if !args.json && !listed.is_empty() {
        out.print(&format!(
            "{:>20}  {:>10}  {:>12}  name\n",
            "position", "schema", "bytes"
        ))?;
    }
    for snapshot in listed {
        let (position, schema, bytes) = (snapshot.position, snapshot.schema, snapshot.bytes);
        if args.json {
            out.json(&json!({
                "v": line::VERSION,
                "position": position,
                "schema": schema,
                "bytes": bytes,
                "name": snapshot.name,
            }))?;
        } else {
            let name = snapshot.name;
            out.print(&format!(
                "{position:>20}  {schema:>10}  {bytes:>12}  {name}\n"
            ))?;
        }
    }
    out.flush()
}

/// Refuses a file where only a journal makes sense. What is not there at all, others say better.
pub(super) fn must_be_directory(path: &Path) -> Result<()> {
    if path.is_dir() || !path.exists() {
        return Ok(());
    }
    Err(Failure::of(
        path,
        Code::Usage,
        "not a directory: only a journal has that",
    )
    .next("name the directory that the journal is in"))
}

//! `stat`: what is in a file or a journal, in numbers.

use std::path::Path;

use documentbuffer::journal::{self, Reader, SegmentInfo};
use documentbuffer::{End, Error, FORMAT_VERSION, OpenError, Options, Recovery};
use serde::Serialize;

use super::args::Stat;
use super::damage::{self, settled};
use super::error::{Failure, Result};
use super::line;
use super::open;
use super::output::Out;
use super::source::{Ended, Source};

pub(super) fn run(args: &Stat) -> Result<()> {
    let path = &args.file;
    let source = Source::open(path)?;
    let mut out = Out::text();
    let ended = match &source {
        Source::File(_) => file(args, &source, &mut out)?,
        Source::Journal(_, reader) => journal(args, reader, source.ended()?, &mut out)?,
    };
    out.flush()?;
    ended.judge()
}

fn file(args: &Stat, source: &Source, out: &mut Out) -> Result<Ended> {
    let path = &args.file;
    let (ended, reclaimable) = match Options::new().open_bare(open::file(path)?) {
        Ok(buffer) => {
            let recovery = buffer.recovery().clone();
            let behind = recovery.store_len.saturating_sub(buffer.stats().end);
            (Ended::of_file(path, recovery), Some(behind))
        }
        // What lies behind a segment's end belongs to its journal.
        Err(OpenError {
            error: Error::Segment,
            ..
        }) => (source.ended()?, None),
        Err(OpenError { error, .. }) => return Err(Failure::library(path, &error)),
    };
    let locked = open::is_locked(path);
    if args.json {
        let mut report = Report::new(path, &ended.recovery, locked);
        report.reclaimable_bytes = reclaimable;
        out.json(&report)?;
    } else {
        out.print(&table(&file_rows(&ended.recovery, reclaimable, locked)))?;
    }
    Ok(ended)
}

fn journal(args: &Stat, reader: &Reader, ended: Ended, out: &mut Out) -> Result<Ended> {
    let path = &args.file;
    let report = JournalReport::new(path, reader, &ended, open::is_locked(path));
    let report = report.map_err(|error| damage::failure(path, &error))?;
    if args.json {
        out.json(&report)?;
    } else {
        out.print(&table(&report.rows(&ended)))?;
    }
    Ok(ended)
}

/// The numbers as one JSON object; also that of `verify`.
#[derive(Serialize)]
pub(super) struct Report {
    v: u64,
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) result: Option<&'static str>,
    documents: u64,
    payload_bytes: u64,
    end_offset: u64,
    file_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reclaimable_bytes: Option<u64>,
    format_version: Option<u16>,
    locked: Option<bool>,
    #[serde(flatten)]
    how: How,
}

impl Report {
    pub(super) fn new(path: &Path, recovery: &Recovery, locked: Option<bool>) -> Report {
        Report {
            v: line::VERSION,
            file: path.to_string_lossy().into_owned(),
            result: None,
            documents: recovery.documents,
            payload_bytes: recovery.bytes,
            end_offset: recovery.offset,
            file_bytes: recovery.store_len,
            reclaimable_bytes: None,
            format_version: (recovery.offset > 0).then_some(FORMAT_VERSION),
            locked,
            how: How::of(&recovery.end),
        }
    }

    pub(super) fn end(&self) -> &'static str {
        self.how.end
    }
}

/// How a log ends, in the words of the reports.
#[derive(Serialize)]
pub(super) struct How {
    pub(super) end: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    bad_offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    documents_behind: Option<u64>,
}

impl How {
    pub(super) fn of(end: &End) -> How {
        let (end, bad_offset, reason, documents_behind) = match *end {
            End::Clean => ("clean", None, None, None),
            End::Unterminated => ("unterminated", None, None, None),
            End::Torn { offset, reason } => ("torn", Some(offset), Some(reason.to_string()), None),
            End::Suspect { offset, records } => ("suspect", Some(offset), None, Some(records)),
            _ => ("not known to this docbuf", None, None, None),
        };
        How {
            end,
            bad_offset,
            reason,
            documents_behind,
        }
    }
}

/// The numbers of a journal as one JSON object.
#[derive(Serialize)]
struct JournalReport {
    v: u64,
    file: String,
    first_position: u64,
    end_position: u64,
    documents: u64,
    bytes: u64,
    segments: Vec<Segment>,
    codec: String,
    locked: Option<bool>,
    #[serde(flatten)]
    how: How,
    snapshots: usize,
    newest_snapshot: Option<u64>,
}

#[derive(Serialize)]
struct Segment {
    sequence: u64,
    file: String,
    first_position: u64,
    documents: u64,
    bytes: u64,
    born_micros: u64,
    sealed: bool,
}

impl Segment {
    fn new(info: &SegmentInfo) -> Segment {
        Segment {
            sequence: info.sequence,
            file: info.file.to_string_lossy().into_owned(),
            first_position: info.base,
            documents: info.documents,
            bytes: info.bytes,
            born_micros: info.born,
            sealed: info.sealed,
        }
    }
}

impl JournalReport {
    fn new(
        path: &Path,
        reader: &Reader,
        ended: &Ended,
        locked: Option<bool>,
    ) -> journal::Result<JournalReport> {
        let segments = settled(|| reader.segments())?;
        let snapshots = reader.snapshots()?;
        let bytes = segments.iter().map(|segment| segment.bytes);
        Ok(JournalReport {
            v: line::VERSION,
            file: path.to_string_lossy().into_owned(),
            first_position: ended.range.start,
            end_position: ended.range.end,
            documents: ended.range.end.saturating_sub(ended.range.start),
            bytes: bytes.fold(0, u64::saturating_add),
            segments: segments.iter().map(Segment::new).collect(),
            codec: settled(|| reader.codec())?,
            locked,
            how: How::of(&ended.recovery.end),
            snapshots: snapshots.len(),
            newest_snapshot: snapshots.first().map(|newest| newest.position),
        })
    }

    fn rows(&self, ended: &Ended) -> Vec<Row> {
        let codec = match self.codec.as_str() {
            "" => "not named".to_owned(),
            named => named.escape_default().to_string(),
        };
        let snapshots = match self.newest_snapshot {
            Some(position) => format!("{}, the newest at position {position}", self.snapshots),
            None => "none".to_owned(),
        };
        vec![
            ("first position", self.first_position.to_string()),
            ("end position", self.end_position.to_string()),
            ("documents", self.documents.to_string()),
            ("bytes", self.bytes.to_string()),
            ("segments", self.segments.len().to_string()),
            ("codec", codec),
            ("end", ended.recovery.end.to_string()),
            ("lock", lock(self.locked)),
            ("snapshots", snapshots),
        ]
    }
}

type Row = (&'static str, String);

fn file_rows(recovery: &Recovery, reclaimable: Option<u64>, locked: Option<bool>) -> Vec<Row> {
    let version = match recovery.offset {
        0 => "none yet".to_owned(),
        _ => FORMAT_VERSION.to_string(),
    };
    let reclaimable = reclaimable.map_or("none: a segment".to_owned(), |n| n.to_string());
    vec![
        ("documents", recovery.documents.to_string()),
        ("payload bytes", recovery.bytes.to_string()),
        ("end offset", recovery.offset.to_string()),
        ("file bytes", recovery.store_len.to_string()),
        ("reclaimable bytes", reclaimable),
        ("end", recovery.end.to_string()),
        ("format version", version),
        ("lock", lock(locked)),
    ]
}

fn lock(locked: Option<bool>) -> String {
    let lock = match locked {
        Some(true) => "held by another process",
        Some(false) => "free",
        None => "not known",
    };
    lock.to_owned()
}

fn table(rows: &[Row]) -> String {
    rows.iter()
        .map(|(name, value)| format!("{name:18} {value}\n"))
        .collect()
}

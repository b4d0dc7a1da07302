//! `repair`: saves what is intact to a new file, or cuts a torn tail off.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use documentbuffer::{
    DocumentBuffer, End, Error, FileStore, OpenError, Options, Recovery, Salvage, Scan,
};

use super::args::Repair;
use super::error::{self, Code, Failure, Result};
use super::open;
use super::progress::Progress;
use super::take;

pub(super) fn run(args: &Repair) -> Result<()> {
    if args.file.is_dir() {
        return Err(not_a_journal(&args.file));
    }
    if args.in_place_tail {
        return cut_tail(args);
    }
    let path = &args.file;
    let file = quiet_file(args)?;
    let live = Live::of(path, &file)?;
    let findings = match &args.output {
        Some(new) if !args.dry_run => write_new(args, &file, &live, new)?,
        _ => copy(args, &file, &live, |_| Ok(()))?,
    };
    findings.tell(path, args);
    Ok(())
}

fn not_a_journal(path: &Path) -> Failure {
    let name = error::shown(path);
    let message = "a directory: repair works on one file";
    Failure::of(path, Code::Usage, message).next(format!(
        "docbuf verify {name} names the segments that are damaged: save what is intact with docbuf repair SEGMENT -o NEW, or give up what lies before a position with docbuf discard {name} --before POSITION"
    ))
}

/// The file, with every writer kept out as long as it is open.
fn quiet_file(args: &Repair) -> Result<File> {
    let file = open::file(&args.file)?;
    open::patiently(&args.file, args.wait, || {
        open::unless_locked(&args.file, open::keep_writers_out(&args.file, &file))
    })?;
    Ok(file)
}

/// What opening the log would give.
struct Live {
    /// First byte behind its last document; 0 where nothing is known of it.
    end: u64,
    /// Whether a good end stands there.
    is_clean: bool,
}

impl Live {
    fn of(path: &Path, file: &File) -> Result<Live> {
        let unknown = Live {
            end: 0,
            is_clean: false,
        };
        let mut scan = match Scan::new(file) {
            Ok(scan) => scan,
            // The header is gone; the salvage may know more.
            Err(OpenError {
                error: Error::Corrupt { .. } | Error::Foreign { .. },
                ..
            }) => return Ok(unknown),
            Err(OpenError { error, .. }) => return Err(Failure::library(path, &error)),
        };
        while scan
            .next()
            .map_err(|error| Failure::library(path, &error))?
            .is_some()
        {}
        let found = scan.recovery();
        Ok(found.map_or(unknown, |found| Live {
            end: found.offset,
            is_clean: found.end == End::Clean,
        }))
    }
}

/// What a salvage met.
#[derive(Default)]
struct Findings {
    before: u64,
    behind: u64,
    /// Stretches without an intact document, from the damage on.
    left_out: Vec<(u64, u64)>,
    /// What lies behind the last document, where the end is not clean.
    rest: Option<(u64, u64)>,
}
/// Stretches that are listed one by one.
const LISTED: usize = 1000;

impl Findings {
    fn tell(&self, path: &Path, args: &Repair) {
        for (from, to) in self.left_out.iter().take(LISTED) {
            let bytes = to - from;
            error::note(
                path,
                &format!(
                    "left out: offset {from} to {to}, {bytes} bytes without an intact document"
                ),
            );
        }
        if let Some(more) = self
            .left_out
            .len()
            .checked_sub(LISTED)
            .filter(|more| *more > 0)
        {
            error::note(path, &format!("left out: {more} further stretches"));
        }
        if let Some((from, to)) = self.rest {
            let bytes = to - from;
            error::note(
                path,
                &format!("left out: offset {from} to {to}, {bytes} bytes behind the last document"),
            );
        }
        let verb = if args.dry_run { "would save" } else { "saved" };
        let saved = self.before + self.behind;
        error::note(
            path,
            &format!(
                "{verb} {saved} documents, {} of them from behind damage",
                self.behind
            ),
        );
        if self.behind > 0 {
            error::note(
                path,
                "documents behind damage may have been removed before; --before-damage leaves them out",
            );
        }
    }
}

/// Hands every document that is to be saved to `each`.
fn copy(
    args: &Repair,
    file: &File,
    live: &Live,
    mut each: impl FnMut(&[u8]) -> Result<()>,
) -> Result<Findings> {
    let path = &args.file;
    let mut salvage = match Salvage::new(file) {
        Ok(salvage) => salvage,
        Err(OpenError { error, .. }) => return Err(beyond_repair(path, &error)),
    };
    let len = file
        .metadata()
        .map_err(|error| Failure::io(path, "look at", &error))?
        .len();
    let mut progress = Progress::new(len, true);
    let mut findings = Findings::default();
    let mut end = live.end;
    while let Some(found) = salvage
        .next()
        .map_err(|error| Failure::library(path, &error))?
    {
        progress.at(found.offset);
        if found.offset < live.end {
            findings.before += 1;
        } else if live.is_clean || args.before_damage {
            break;
        } else {
            let gap = found.offset.saturating_sub(end);
            if gap > 0 && !found.linked {
                findings.left_out.push((end, found.offset));
            }
            end = found.end;
            findings.behind += 1;
        }
        each(found.bytes)?;
    }
    if !live.is_clean && end < len {
        findings.rest = Some((end, len));
    }
    Ok(findings)
}

fn beyond_repair(path: &Path, error: &Error) -> Failure {
    match error {
        Error::Foreign { .. } | Error::Corrupt { .. } => Failure::of(
            path,
            Code::Damaged,
            "not a document buffer, or its header is destroyed so that nothing can be told from it",
        )
        .next("look for a copy: docbuf export writes one that docbuf import reads"),
        _ => Failure::library(path, error),
    }
}

/// Everything goes to a file without its name yet; the name comes last, and never over another file.
fn write_new(args: &Repair, file: &File, live: &Live, new: &Path) -> Result<Findings> {
    let failed = |doing: &str, error: &io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => exists(new),
        _ => Failure::io(new, doing, error),
    };
    if fs::symlink_metadata(new).is_ok() {
        return Err(exists(new));
    }
    let mut draft = tempfile::Builder::new()
        .prefix(".docbuf-repair-")
        .tempfile_in(directory(new))
        .map_err(|error| failed("create", &error))?;
    let options = Options::new().max_document(usize::MAX);
    let opened = options.open(draft.as_file_mut());
    let mut buffer = opened.map_err(|OpenError { error, .. }| Failure::library(new, &error))?;
    let findings = copy(args, file, live, |document| {
        let pushed = buffer.push(document);
        pushed
            .map(|_| ())
            .map_err(|error| Failure::library(new, &error))
    })?;
    let finished = buffer.finish();
    finished.map_err(|failed| Failure::library(new, &failed.error))?;
    let permissions = file
        .metadata()
        .and_then(|about| draft.as_file().set_permissions(about.permissions()));
    permissions.map_err(|error| failed("set the permissions of", &error))?;
    draft
        .persist_noclobber(new)
        .map_err(|kept| failed("create", &kept.error))?;
    sync_directory(&directory(new)).map_err(|error| failed("sync the directory of", &error))?;
    Ok(findings)
}

fn exists(new: &Path) -> Failure {
    Failure::of(
        new,
        Code::Failed,
        "exists already; repair writes over nothing",
    )
    .next("name a new file with -o")
}

fn directory(new: &Path) -> PathBuf {
    match new.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(unix)]
fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(not(unix))]
fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

fn cut_tail(args: &Repair) -> Result<()> {
    let path = &args.file;
    if args.dry_run {
        let mut scan = open::scan(path)?;
        while scan
            .next()
            .map_err(|error| Failure::library(path, &error))?
            .is_some()
        {}
        if let Some(found) = scan.recovery().cloned() {
            tail_of(path, &found)?.tell(path, "would cut");
        }
        return Ok(());
    }
    let store = open::patiently(path, args.wait, || {
        open::unless_locked(path, FileStore::open_existing(path))
    })?;
    let buffer = Options::new().open(store);
    let buffer: DocumentBuffer<FileStore> =
        buffer.map_err(|OpenError { error, .. }| Failure::library(path, &error))?;
    let tail = tail_of(path, buffer.recovery())?;
    let Tail::Torn { from, to } = tail else {
        tail.tell(path, "cut");
        return Ok(());
    };
    let question = format!(
        "cut {} bytes at offset {from} off {}?",
        to - from,
        error::shown(path)
    );
    if !args.yes && !take::confirm(&question) {
        return Err(Failure::of(path, Code::Failed, "nothing was cut"));
    }
    let finished = buffer.finish();
    finished.map_err(|failed| Failure::library(path, &failed.error))?;
    tail.tell(path, "cut");
    Ok(())
}

enum Tail {
    Torn { from: u64, to: u64 },
    Sound,
}

impl Tail {
    fn tell(&self, path: &Path, verb: &str) {
        match self {
            Tail::Torn { from, to } => {
                error::note(
                    path,
                    &format!("{verb}: offset {from} to {to}, {} bytes", to - from),
                );
            }
            Tail::Sound => error::note(path, "nothing to cut: the tail is not torn"),
        }
    }
}

/// The torn tail. An end with documents behind it is no tail.
fn tail_of(path: &Path, found: &Recovery) -> Result<Tail> {
    match found.end {
        End::Torn { .. } => Ok(Tail::Torn {
            from: found.offset,
            to: found.store_len,
        }),
        End::Suspect { offset, records } => Err(Failure::of(
            path,
            Code::Damaged,
            format!("damaged at offset {offset} with {records} intact documents behind it: that is no torn tail"),
        )
        .next(format!("save what is intact: docbuf repair {} -o NEW", error::shown(path)))),
        _ => Ok(Tail::Sound),
    }
}

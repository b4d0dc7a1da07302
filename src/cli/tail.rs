//! `tail` of a file: the last documents, and those to come.

use std::fs::File;
use std::thread;
use std::time::Duration;

use documentbuffer::{Again, Error, OpenError, Recovery, Scan};

use super::args::Tail;
use super::error::{Code, Failure, Result};
use super::follow;
use super::line::Item;
use super::open;
use super::output::Out;
use super::seen::{Compared, Seen};
use super::source::{Ended, Source};

/// Between two looks at the file.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Looks in a row that may fail before following ends: a writer may be between two writes.
const PATIENCE: u32 = 100;

pub(super) fn run(args: &Tail) -> Result<()> {
    let path = &args.file;
    let source = Source::open(path)?;
    if let Source::Journal(_, reader) = &source {
        return follow::run(args, &source, reader);
    }
    if args.cursor.is_some() {
        let message = "a file: a cursor is a place in a journal, which is a directory".to_owned();
        return Err(Failure::of(path, Code::Usage, message).next("leave out --cursor"));
    }
    let count = source.ended()?.range.end;
    let mut tail = Following {
        args,
        out: Out::documents(&args.print),
        seen: Seen::default(),
        print_from: count.saturating_sub(args.n),
    };
    let mut scan = open::scan(path)?.max_document(args.limit.bytes);
    let recovery = match tail.print(&mut scan) {
        Ok(recovery) => recovery,
        Err(Trouble::Out(failure)) => return Err(failure),
        Err(Trouble::Store(error)) => return Err(Failure::library(path, &error)),
    };
    if args.follow {
        return tail.follow(scan);
    }
    recovery.map_or(Ok(()), |recovery| Ended::of_file(path, recovery).judge())
}

/// What went wrong, and whether looking again may help.
enum Trouble {
    Store(Error),
    Out(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Trouble {
        Trouble::Out(failure)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        Trouble::Store(error)
    }
}

struct Following<'a> {
    args: &'a Tail,
    out: Out,
    seen: Seen,
    /// Documents before this position are not printed.
    print_from: u64,
}

impl Following<'_> {
    fn follow(&mut self, scan: Scan<File>) -> Result<()> {
        let mut scan = Some(scan);
        let mut failed = 0;
        loop {
            thread::sleep(LOOK_EVERY);
            match self.look(&mut scan) {
                Ok(()) => failed = 0,
                Err(Trouble::Store(error)) if failed == PATIENCE => {
                    return Err(Failure::library(&self.args.file, &error));
                }
                Err(Trouble::Store(_)) => {
                    failed += 1;
                    scan = None;
                }
                Err(Trouble::Out(failure)) => return Err(failure),
            }
        }
    }

    /// Prints what is new. Without a scan, the file is read anew.
    fn look(&mut self, scan: &mut Option<Scan<File>>) -> Result<(), Trouble> {
        if let Some(scan) = scan {
            match scan.again()? {
                Again::Same => return Ok(()),
                Again::More => return self.print(scan).map(drop),
                _ => {}
            }
        }
        *scan = None;
        let opened = Scan::new(open::file(&self.args.file)?);
        let opened = opened.map_err(|OpenError { error, .. }| error)?;
        let mut anew = opened.max_document(self.args.limit.bytes);
        // Ended early, it is begun anew the next time.
        if self.print(&mut anew)?.is_some() {
            *scan = Some(anew);
        }
        Ok(())
    }

    /// Prints what has not been printed before; `None` where the scan must be begun anew.
    fn print(&mut self, scan: &mut Scan<File>) -> Result<Option<Recovery>, Trouble> {
        while let Some(document) = scan.next()? {
            let (position, crc) = (document.position, document.crc);
            match self.seen.compare(position, crc) {
                Compared::Same => continue,
                Compared::New => {}
                Compared::Other => {
                    if self.cut_back(position)? < position {
                        return Ok(None);
                    }
                }
            }
            self.seen.add(crc);
            if position >= self.print_from {
                self.out.document(&Item {
                    position,
                    place: Some((document.offset, crc)),
                    bytes: document.bytes,
                })?;
            }
        }
        let recovery = scan.recovery().cloned();
        if let Some(recovery) = &recovery
            && recovery.documents < self.seen.len()
            && self.cut_back(recovery.documents)? < recovery.documents
        {
            return Ok(None);
        }
        self.out.flush()?;
        Ok(recovery)
    }

    /// Tells that documents from position `to` on are no longer what they were. Where the cut may lie
    /// further back than is remembered, that is 0.
    fn cut_back(&mut self, to: u64) -> Result<u64> {
        let to = self.seen.cut(to);
        self.print_from = to;
        follow::tell_cut(&self.args.file, &mut self.out, to)?;
        Ok(to)
    }
}

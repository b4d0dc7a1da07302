//! `replay` and `export`: documents in order, oldest first or newest first.

use super::args::{self, Export, Replay};
use super::error::Result;
use super::exec::Exec;
use super::line::Item;
use super::output::Out;
use super::source::{Source, Wanted};

/// Where documents go.
enum Sink {
    Out(Out),
    Exec(Exec),
}

impl Sink {
    fn document(&mut self, item: &Item<'_>) -> Result<()> {
        match self {
            Sink::Out(out) => out.document(item),
            Sink::Exec(exec) => exec.document(item),
        }
    }

    fn needs_places(&self) -> bool {
        match self {
            Sink::Out(out) => out.is_json(),
            Sink::Exec(exec) => exec.is_json(),
        }
    }

    fn flush(&mut self) -> Result<()> {
        match self {
            Sink::Out(out) => out.flush(),
            Sink::Exec(_) => Ok(()),
        }
    }
}

pub(super) fn run(args: &Replay) -> Result<()> {
    let mut sink = match &args.exec {
        Some(command) => {
            let form = args.print.json.then_some(args.print.payload);
            Sink::Exec(Exec::new(&args.file, command, form))
        }
        None => Sink::Out(Out::documents(&args.print)),
    };
    let source = Source::open(&args.file)?;
    let wanted = wanted(&args.range, args.n, args.limit.bytes);
    if !args.reverse {
        return oldest_first(&source, &wanted, &mut sink);
    }
    let places = sink.needs_places();
    let ended = source.newest_first(&wanted, places, |item| sink.document(item))?;
    sink.flush()?;
    ended.judge()
}

pub(super) fn export(args: &Export) -> Result<()> {
    let source = Source::open(&args.file)?;
    let wanted = wanted(&args.range, None, args.limit.bytes);
    oldest_first(&source, &wanted, &mut Sink::Out(Out::lines(args.payload)))
}

fn wanted(range: &args::Range, n: Option<u64>, limit: usize) -> Wanted {
    Wanted {
        from: range.from,
        to: range.to.unwrap_or(u64::MAX),
        most: n.unwrap_or(u64::MAX),
        limit,
    }
}

fn oldest_first(source: &Source, wanted: &Wanted, sink: &mut Sink) -> Result<()> {
    let ended = source.oldest_first(wanted, |item| sink.document(item))?;
    sink.flush()?;
    ended.map_or(Ok(()), |ended| ended.judge())
}

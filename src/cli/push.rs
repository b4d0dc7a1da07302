//! `push`: documents from the command line or from standard input.

use super::args::Push;
use super::error::{self, Result};
use super::feed::{Feed, Stopped};
use super::input::{self, Cut, Documents};
use super::log::ForWriting;

pub(super) fn run(args: &Push) -> Result<()> {
    let cut = match args {
        _ if args.lines => Cut::Lines,
        _ if args.null => Cut::Null,
        _ if args.json => Cut::Json,
        _ => Cut::Whole,
    };
    let mut documents = Documents::new(input::source(None)?.0, cut, args.limit.bytes);
    let opened = ForWriting {
        path: &args.file,
        create: true,
        max_document: Some(args.limit.bytes),
        write: &args.write,
    };
    let feed = |log| Feed::new(log, args.sync, args.ack);
    if !args.docs.is_empty() {
        let mut feed = feed(opened.open()?);
        feed.push_all(args.docs.iter().map(|doc| doc.as_encoded_bytes()))?;
        return feed.finish();
    }
    if cut == Cut::Whole {
        // Read before the lock is taken: it may take its time.
        let document = documents
            .next()
            .map_err(|bad| bad.at(&args.file, "; nothing was stored"))?;
        let mut feed = feed(opened.open()?);
        feed.push_all(document)?;
        return feed.finish();
    }
    let mut feed = feed(opened.open()?);
    let stopped = feed.take_all(documents);
    let stored = feed.stored();
    match stopped {
        Ok(()) => feed.finish(),
        Err(Stopped::Store(failure)) => {
            let (before, name) = (feed.before(), error::shown(&args.file));
            let note =
                format!("it began at position {before}; docbuf stat {name} tells how many came in");
            error::note(&args.file, &note);
            Err(failure)
        }
        Err(Stopped::Input(bad)) => {
            feed.finish()?;
            let rest = format!("; the {stored} documents before it are stored");
            Err(bad
                .at(&args.file, &rest)
                .next("mend the input, and push the rest of it"))
        }
    }
}

//! `peek` and `read`: the newest documents.

use std::path::Path;

use super::args::{self, Print};
use super::error::{self, Result};
use super::output::Out;
use super::source::{Source, Wanted};

pub(super) fn peek(args: &args::Peek) -> Result<()> {
    newest(&args.file, 1, args.limit.bytes, &args.print)
}

pub(super) fn read(args: &args::Read) -> Result<()> {
    newest(&args.file, args.n, args.limit.bytes, &args.print)
}

fn newest(path: &Path, n: u64, limit: usize, print: &Print) -> Result<()> {
    let source = Source::open(path)?;
    let mut out = Out::documents(print);
    let ended = source.newest(&Wanted::newest(n, limit), |item| out.document(item))?;
    out.flush()?;
    ended.judge()?;
    if ended.range.is_empty() {
        return Err(error::empty(path));
    }
    Ok(())
}

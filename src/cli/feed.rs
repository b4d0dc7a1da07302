//! Puts documents in, makes them safe in batches, and says which are.

use std::path::Path;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use super::args::Sync;
use super::error::{Code, Failure, Result};
use super::input::{Bad, Documents, Reader};
use super::log::Log;
use super::output::Out;

/// A batch is over after so many bytes, or so long after its first document.
const BATCH_BYTES: u64 = 8 << 20;
const BATCH_TIME: Duration = Duration::from_secs(1);

pub(super) struct Feed<'a> {
    log: Log<'a>,
    sync: Sync,
    ack: Option<Out>,
    /// The next position at the beginning, and that behind what is as safe as was asked for by now.
    before: u64,
    safe: u64,
    batch_bytes: u64,
    batch_began: Option<Instant>,
    /// An output that failed is told at the end: the work on the store comes first.
    ack_failed: Option<Failure>,
}

impl<'a> Feed<'a> {
    pub(super) fn new(log: Log<'a>, sync: Sync, ack: bool) -> Feed<'a> {
        let before = log.range().end;
        Feed {
            log,
            before,
            safe: before,
            sync,
            ack: ack.then(Out::text),
            batch_bytes: 0,
            batch_began: None,
            ack_failed: None,
        }
    }

    /// The next position at the beginning.
    pub(super) fn before(&self) -> u64 {
        self.before
    }

    /// Documents that came in and are as safe as was asked for.
    pub(super) fn stored(&self) -> u64 {
        self.safe.saturating_sub(self.before)
    }

    pub(super) fn push(&mut self, document: &[u8]) -> Result<()> {
        self.log.push(document)?;
        self.batch_bytes = self.batch_bytes.saturating_add(document.len() as u64);
        self.batch_began.get_or_insert_with(Instant::now);
        if self.sync == Sync::Each || self.batch_bytes >= BATCH_BYTES {
            self.commit()?;
        }
        Ok(())
    }

    /// All documents, or none.
    pub(super) fn push_all<I>(&mut self, documents: I) -> Result<()>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        self.log.push_all(documents)?;
        self.commit()
    }

    /// Takes documents until there are no more. Those before a bad one are kept, and made safe.
    pub(super) fn take_all(&mut self, documents: Documents) -> Result<(), Stopped> {
        let Reader { pieces, thread } = documents.spawn();
        loop {
            let wait = self
                .batch_began
                .map(|began| BATCH_TIME.saturating_sub(began.elapsed()));
            let piece = match wait {
                None => pieces.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(wait) => pieces.recv_timeout(wait),
            };
            let done = match piece {
                Ok(Ok(piece)) => piece.iter().try_for_each(|document| self.push(document)),
                Ok(Err(bad)) => {
                    self.commit().map_err(Stopped::Store)?;
                    return Err(Stopped::Input(bad));
                }
                Err(RecvTimeoutError::Timeout) => self.commit(),
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if let Err(failure) = done {
                // What went in before may still be made safe; if not, the first failure is the one to tell.
                let _ = self.commit();
                return Err(Stopped::Store(failure));
            }
            if self
                .batch_began
                .is_some_and(|began| began.elapsed() >= BATCH_TIME)
            {
                self.commit().map_err(Stopped::Store)?;
            }
        }
        // The channel closes last of all: the thread has nothing left to wait for.
        if thread.join().is_err() {
            let _ = self.commit();
            return Err(Stopped::Input(
                Bad("the input could not be read".to_owned()),
            ));
        }
        self.commit().map_err(Stopped::Store)
    }

    /// Makes everything so far as safe as was asked for, and says so.
    pub(super) fn commit(&mut self) -> Result<()> {
        self.batch_bytes = 0;
        self.batch_began = None;
        match self.sync {
            Sync::Never => self.log.flush()?,
            Sync::Batch | Sync::Each => self.log.sync()?,
        }
        let from = self.safe;
        self.safe = self.log.range().end;
        self.acknowledge(from);
        Ok(())
    }

    fn acknowledge(&mut self, from: u64) {
        let Some(out) = &mut self.ack else { return };
        let printed =
            (from..self.safe).try_for_each(|position| out.print(&format!("{position}\n")));
        if let Err(failure) = printed.and_then(|()| out.flush()) {
            self.ack = None;
            self.ack_failed = Some(failure);
        }
    }

    /// Closes the log, cut to what is in use.
    pub(super) fn finish(self) -> Result<()> {
        if self.safe == self.before {
            // Nothing came, and nothing is written.
            return Ok(());
        }
        match self.sync {
            Sync::Never => self.log.close()?,
            Sync::Batch | Sync::Each => self.log.finish()?,
        }
        match self.ack_failed {
            None | Some(Failure::Closed) => Ok(()),
            Some(failure) => Err(failure),
        }
    }
}

/// Why not all documents went in.
pub(super) enum Stopped {
    Store(Failure),
    Input(Bad),
}

impl Bad {
    /// As the end of a command over `path`.
    pub(super) fn at(self, path: &Path, rest: &str) -> Failure {
        Failure::of(path, Code::Failed, format!("{}{rest}", self.0))
    }
}

//! One process with a journal: does what it is told, keeps the oracle, and compares all there is to compare.

use std::io::ErrorKind;

use documentbuffer::buffer;
use documentbuffer::journal::{Durability, Error, Journal, Options, Replay};
use documentbuffer::store::Directory;
use documentbuffer::store::fault::FaultDirectory;

use super::model::{Found, Oracle, Outcome, UNKNOWN};

/// What a journal is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Append(u8, Durability),
    AppendAt(u8),
    Batch(Vec<u8>, Durability),
    Flush,
    Sync,
    /// Back to that many documents behind the first, modulo what there are.
    Truncate(u64),
    /// Back by so many of the newest.
    Cut(u64),
    /// Up to that position, modulo the end.
    Discard(u64),
    Rotate,
    Replay,
    Rev,
    Verify,
    /// Replay begins here, and is read on later.
    Hold,
    Held,
}

/// A replay that was begun, what it must find, and whether that may have gone since.
struct Held {
    replay: Replay,
    expected: Found,
    disturbed: bool,
}

/// A journal with its model.
pub(crate) struct Driver {
    pub(crate) journal: Journal,
    pub(crate) oracle: Oracle,
    /// A call said [`Error::Failed`].
    pub(crate) dead: bool,
    /// Whether a sync that said Ok is believed.
    pub(crate) honest: bool,
    /// Bytes of segments that retention keeps at least.
    pub(crate) retain: Option<u64>,
    held: Option<Held>,
}

impl Driver {
    pub(crate) fn new(journal: Journal, oracle: Oracle) -> Driver {
        Driver {
            journal,
            oracle,
            dead: false,
            honest: true,
            retain: None,
            held: None,
        }
    }

    fn synced(&mut self) {
        if self.honest {
            self.oracle.synced();
        } else {
            self.oracle.flushed();
        }
    }

    fn reached(&mut self, durability: Durability) {
        match durability {
            Durability::Memory => {}
            Durability::Written => self.oracle.flushed(),
            _ => self.synced(),
        }
    }

    /// Does it; the inner result is what the journal said.
    pub(crate) fn apply(&mut self, op: &Op, pool: &[Vec<u8>]) -> Outcome<Result<(), Error>> {
        let was = self.oracle.end();
        let done = self.perform(op, pool)?;
        match &done {
            Ok(()) if self.dead && !matches!(op, Op::Replay | Op::Rev | Op::Hold | Op::Held) => {
                return Err(format!("{op:?} is Ok after a failure that is final"));
            }
            Ok(()) => {}
            Err(Error::Closed) => return Err(format!("{op:?} on an open journal: closed")),
            Err(Error::Failed { .. }) => self.dead = true,
            Err(_) if self.oracle.end() != was => {
                return Err(format!("{op:?}: an error, and the model moved"));
            }
            Err(_) => {}
        }
        if !self.dead {
            self.check_ends(op)?;
        }
        Ok(done)
    }

    /// The call may have come to anywhere.
    pub(crate) fn intend(&mut self, op: &Op) {
        match op {
            Op::Append(id, _) | Op::AppendAt(id) => self.oracle.ask_append(&[*id]),
            Op::Batch(ids, _) => self.oracle.ask_append(ids),
            Op::Truncate(_) | Op::Cut(_) => {
                let to = self.cut_to(op);
                self.oracle.ask(self.oracle.now[..to as usize].to_vec());
            }
            Op::Discard(n) => self.oracle.ask_discard(n % (self.oracle.end() + 1)),
            _ => {}
        }
    }

    fn cut_to(&self, op: &Op) -> u64 {
        let (first, end) = (self.journal.first(), self.oracle.end());
        match op {
            Op::Truncate(n) => first + n % (end - first + 1),
            Op::Cut(n) => end.saturating_sub(*n).max(first),
            _ => end,
        }
    }

    fn check_ends(&mut self, op: &Op) -> Outcome<()> {
        let (first, end) = (self.journal.first(), self.journal.end());
        if end != self.oracle.end() {
            let wanted = self.oracle.end();
            return Err(format!("after {op:?} the end is {end}, not {wanted}"));
        }
        let (least, most) = self.oracle.first;
        if let Some(bytes) = self.retain {
            let cut = matches!(op, Op::Truncate(_) | Op::Cut(_) | Op::Discard(_));
            // What an earlier process discarded is another matter.
            let before = least.max(self.oracle.unsettled);
            if first > before && !cut && self.journal.stats().bytes < bytes {
                return Err(format!("after {op:?} less than {bytes} bytes are kept"));
            }
            if first > before {
                self.disturbed();
                self.oracle.first = (first, first.max(most));
            }
        } else if !(least..=most).contains(&first) {
            return Err(format!(
                "after {op:?} the first is {first}, not from {least} to {most}"
            ));
        }
        Ok(())
    }

    fn disturbed(&mut self) {
        if let Some(held) = &mut self.held {
            held.disturbed = true;
        }
    }

    fn perform(&mut self, op: &Op, pool: &[Vec<u8>]) -> Outcome<Result<(), Error>> {
        let bytes = |id: u8| &pool[usize::from(id)];
        let end = self.oracle.end();
        if self.retain.is_some() {
            // Whenever a segment is begun.
            self.oracle.first.1 = end;
        }
        match op {
            Op::Append(id, durability) => {
                let done = self.journal.append_with(bytes(*id), *durability);
                self.appended(&[*id], *durability, done)
            }
            Op::AppendAt(id) => {
                let wrong = self.journal.append_at(end + 1, bytes(*id));
                if !self.dead
                    && !matches!(wrong, Err(Error::PositionMismatch { actual, .. }) if actual == end)
                {
                    return Err(format!("another position was expected: {wrong:?}"));
                }
                let done = self.journal.append_at(end, bytes(*id));
                self.appended(&[*id], Durability::Synced, done)
            }
            Op::Batch(ids, durability) => {
                let documents = ids.iter().map(|id| bytes(*id));
                let done = self.journal.append_all_with(documents, *durability);
                match done {
                    Ok(range) if range != (end..end + ids.len() as u64) => {
                        Err(format!("a batch got positions {range:?} at {end}"))
                    }
                    Ok(_) if ids.is_empty() => Ok(Ok(())),
                    done => self.appended(ids, *durability, done.map(|range| range.start)),
                }
            }
            Op::Flush => {
                let done = self.journal.flush();
                if done.is_ok() {
                    self.oracle.flushed();
                }
                Ok(done)
            }
            Op::Sync | Op::Rotate => {
                let done = match op {
                    Op::Sync => self.journal.sync(),
                    _ => self.journal.rotate(),
                };
                if done.is_ok() {
                    self.synced();
                }
                Ok(done)
            }
            Op::Truncate(_) | Op::Cut(_) | Op::Discard(_) => Ok(self.shorten(op)?),
            Op::Replay | Op::Rev | Op::Verify | Op::Hold | Op::Held => self.look(op, pool),
        }
    }

    fn appended(
        &mut self,
        ids: &[u8],
        durability: Durability,
        done: Result<u64, Error>,
    ) -> Outcome<Result<(), Error>> {
        let end = self.oracle.end();
        match done {
            Ok(position) if position != end => Err(format!("got position {position}, not {end}")),
            Ok(_) => {
                self.oracle.append(ids);
                self.reached(durability);
                Ok(Ok(()))
            }
            Err(error) => {
                self.oracle.ask_append(ids);
                Ok(Err(error))
            }
        }
    }

    fn shorten(&mut self, op: &Op) -> Outcome<Result<(), Error>> {
        let (first, end) = (self.journal.first(), self.oracle.end());
        if let Op::Discard(n) = op {
            let position = n % (end + 1);
            self.disturbed();
            let done = self.journal.discard_before(position);
            return match done {
                Ok(now) if now < first || (now > position.max(first) && self.retain.is_none()) => {
                    Err(format!("discarded up to {now}, not {position}"))
                }
                Ok(now) => {
                    self.oracle.discarded(now);
                    Ok(Ok(()))
                }
                Err(error @ Error::Failed { .. }) => {
                    self.oracle.ask_discard(position);
                    Ok(Err(error))
                }
                Err(error) => {
                    // What is gone by then is gone for good.
                    self.oracle.discarded(self.journal.first());
                    Ok(Err(error))
                }
            };
        }
        let to = self.cut_to(op);
        self.disturbed();
        let now = self.oracle.now[..to as usize].to_vec();
        let done = self.journal.truncate_after(to);
        if done.is_ok() {
            self.oracle.hold(now);
            self.synced();
        } else {
            self.oracle.ask(now);
        }
        Ok(done)
    }

    fn look(&mut self, op: &Op, pool: &[Vec<u8>]) -> Outcome<Result<(), Error>> {
        let expected = |first: u64, oracle: &Oracle| Found {
            first,
            documents: oracle.now[first as usize..].to_vec(),
        };
        match op {
            Op::Held => return self.read_held(pool),
            Op::Hold => {
                let first = self.journal.first();
                let replay = match self.journal.replay(first) {
                    Ok(replay) => replay,
                    Err(error) => return Ok(Err(error)),
                };
                let expected = expected(first, &self.oracle);
                if !self.dead {
                    self.oracle.flushed();
                    self.held = Some(Held {
                        replay,
                        expected,
                        disturbed: false,
                    });
                }
                return Ok(Ok(()));
            }
            Op::Verify => {
                return Ok(match self.journal.verify() {
                    Ok(report) if report.problems.iter().any(is_io) => {
                        Err(report.problems[0].clone())
                    }
                    Ok(report) => {
                        let kept = self.oracle.end() - report.first;
                        if !report.is_sound() || report.documents != kept {
                            return Err(format!("{report:?} of {kept} documents"));
                        }
                        self.oracle.flushed();
                        Ok(())
                    }
                    Err(error) => Err(error),
                });
            }
            _ => {}
        }
        let read = match op {
            Op::Rev => self.read_back(pool),
            _ => super::model::read(&self.journal, pool),
        };
        match read {
            Ok(_) if self.dead => Ok(Ok(())),
            Ok(found) => {
                let wanted = expected(self.journal.first(), &self.oracle);
                if found != wanted {
                    return Err(format!("{op:?} found {found:?}, not {wanted:?}"));
                }
                self.oracle.flushed();
                Ok(Ok(()))
            }
            Err(error) => Ok(Err(error)),
        }
    }

    fn read_back(&self, pool: &[Vec<u8>]) -> Result<Found, Error> {
        let mut next = self.journal.end();
        let mut documents = Vec::new();
        let mut rev = self.journal.rev()?;
        let first = self.journal.first();
        while let Some(document) = rev.next()? {
            let known = pool.iter().position(|known| known == document.bytes);
            documents.push(known.map_or(UNKNOWN, |known| known as u8));
            next -= 1;
            assert_eq!(document.position, next, "positions are counted down");
        }
        assert_eq!(next, first, "the way back ends at the first");
        documents.reverse();
        Ok(Found { first, documents })
    }

    /// What a replay finds that was begun earlier: what there was then, or an error where that has gone.
    fn read_held(&mut self, pool: &[Vec<u8>]) -> Outcome<Result<(), Error>> {
        let Some(mut held) = self.held.take() else {
            return Ok(Ok(()));
        };
        let mut expected = held.expected.documents.iter();
        loop {
            match held.replay.next() {
                Ok(Some(document)) => {
                    let wanted = expected.next().map(|id| &pool[usize::from(*id)]);
                    if wanted.is_none_or(|wanted| wanted != document.bytes) {
                        return Err(format!("a replay begun earlier found {document:?}"));
                    }
                }
                Ok(None) if expected.len() == 0 => return Ok(Ok(())),
                Ok(None) => return Err(format!("a replay begun earlier lacks {expected:?}")),
                Err(Error::CutBack { .. } | Error::Discarded { .. }) if held.disturbed => {
                    return Ok(Ok(()));
                }
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    /// Whether the last handle's end leaves the lock free.
    pub(crate) fn end_of(self, dir: &FaultDirectory) -> Outcome<Oracle> {
        drop(self.held);
        drop(self.journal);
        // It may be the one that fails, in whatever way.
        let lock = std::panic::AssertUnwindSafe(|| dir.lock().map(drop));
        match std::panic::catch_unwind(lock).unwrap_or(Ok(())) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                Err("the lock is held by nobody".to_owned())
            }
            _ => Ok(self.oracle),
        }
    }

    /// Closes; the oracle is that of what is left.
    pub(crate) fn close(mut self) -> Outcome<(Oracle, Result<(), Error>)> {
        drop(self.held.take());
        let end = self.oracle.end();
        if self.retain.is_some() {
            self.oracle.first.1 = end;
        }
        let closed = self.journal.clone().close();
        let done = match closed {
            Ok(stats) if stats.end != end || stats.synced != end => {
                return Err(format!("closed at {end}: {stats:?}"));
            }
            Ok(_) => {
                self.synced();
                Ok(())
            }
            Err(error) => Err(error),
        };
        Ok((self.oracle, done))
    }
}

/// Whether a segment could not be read, which says nothing of what is in it.
fn is_io(error: &Error) -> bool {
    matches!(error, Error::Segment { source, .. } if matches!(**source, buffer::Error::Io { .. } | buffer::Error::Shrunk { .. }))
}

/// Opens the journal in `dir`, and takes over what the oracle says of the process before.
pub(crate) fn begin(
    dir: &FaultDirectory,
    options: &Options,
    pool: &[Vec<u8>],
    oracle: &mut Oracle,
) -> Outcome<Result<Journal, Error>> {
    let opened = super::model::open(dir, options, pool)?;
    match opened {
        Ok((journal, found)) => {
            oracle.after_kill(&found)?;
            Ok(Ok(journal))
        }
        Err(error) => Ok(Err(error)),
    }
}

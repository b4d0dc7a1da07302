//! The journal's task: whatever has gathered is one append, and then all who wait are answered.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use super::error::Error;
use super::owing::{Owed, Owing};
use super::record::{self, Fold};
use super::shared::{Request, Shared};
use crate::durability::Durability;
use crate::journal::{Journal, Replay};
use crate::write_behind::log::{self, Log};

/// Reads what a journal says.
pub(super) fn read(documents: Replay) -> Result<Fold, Error> {
    let mut fold = Fold::default();
    log::replay(
        documents,
        |document, void| {
            if void { Ok(()) } else { fold.replay(document) }
        },
    )?;
    Ok(fold)
}

/// Everything that is owed, and where the next number begins.
pub(super) fn open(journal: &Journal) -> Result<(Owing, u64, bool), Error> {
    let fold = read(journal.replay(journal.first())?)?;
    let (mut owing, last, new) = (Owing::default(), fold.last, !fold.is_begun());
    for (key, owed) in fold.into_owed() {
        match owed {
            Ok(owed) => owing.owe(&key, owed),
            Err(parked) => owing.park(&key, parked),
        }
    }
    Ok((owing, last, new))
}

pub(super) struct Books {
    log: Log,
    /// The log's, to be synced.
    journal: Option<Journal>,
    shared: Arc<Shared>,
    /// What the journal does not know yet, and need not at once.
    late: Vec<Vec<u8>>,
}

/// A request whose document is in hand.
enum Waiting {
    Owe {
        key: crate::tier::KeyBuf,
        owed: Owed,
        room: usize,
        answer: oneshot::Sender<Result<(), Error>>,
    },
    Release {
        key: crate::tier::KeyBuf,
        number: u64,
        again: bool,
        answer: oneshot::Sender<Result<(), Error>>,
    },
}

impl Books {
    pub(super) fn new(
        journal: Option<Journal>,
        new: bool,
        shared: Arc<Shared>,
    ) -> Result<Books, Error> {
        let mut log = Log::new(journal.clone(), shared.settings.compact);
        if new {
            log.begin(&[record::begin()])?;
        }
        Ok(Books {
            log,
            journal,
            shared,
            late: Vec::new(),
        })
    }

    /// Serves until nobody asks any more, or the end is asked for. What blocks goes where it may.
    pub(super) async fn serve(mut self) {
        loop {
            let asked = self.shared.asked().await;
            let over = asked.is_none();
            let served = spawn_blocking(move || {
                let ended = match asked {
                    Some(requests) => self.answer_all(requests),
                    None => self.leave(),
                };
                (self, ended)
            });
            match served.await {
                Ok((books, false)) if !over => self = books,
                // Also where the runtime ends: who waits for an answer is told so by its absence.
                _ => return,
            }
        }
    }

    /// Answers whether the end was asked for.
    fn answer_all(&mut self, requests: Vec<Request>) -> bool {
        let (mut waiting, mut syncs, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for request in requests {
            match request {
                Request::Sync { answer } => syncs.push(answer),
                Request::Close { answer } => ends.push(answer),
                request => self.take(request, &mut waiting),
            }
        }
        self.commit(waiting);
        if !syncs.is_empty() {
            self.sync(syncs);
        }
        if ends.is_empty() {
            return false;
        }
        let closed = self.close();
        for end in ends {
            let _ = end.send(closed.clone());
        }
        true
    }

    /// What is late is only told so that less is done again.
    fn leave(&mut self) -> bool {
        let late = std::mem::take(&mut self.late);
        if !late.is_empty() {
            let _ = self.log.append(&late, Durability::Written);
        }
        // Here, where it may block.
        drop((self.journal.take(), self.log.end()));
        true
    }

    fn take(&mut self, request: Request, waiting: &mut Vec<Waiting>) {
        match request {
            Request::Owe {
                key,
                op,
                room,
                answer,
            } => {
                let number = self.shared.number();
                waiting.push(Waiting::Owe {
                    key,
                    owed: Owed { number, op },
                    room,
                    answer,
                });
            }
            Request::Settled { key, number } => {
                self.late.push(record::settled(key.as_key(), number));
            }
            Request::Parked {
                key,
                number,
                reason,
            } => {
                (self.late).push(record::parked(key.as_key(), number, &reason));
            }
            Request::Release {
                key,
                number,
                again,
                answer,
            } => waiting.push(Waiting::Release {
                key,
                number,
                again,
                answer,
            }),
            // Those that are about everything are sorted out before.
            Request::Sync { .. } | Request::Close { .. } => {}
        }
    }

    fn sync(&mut self, answers: Vec<oneshot::Sender<Result<(), Error>>>) {
        let synced = self.journal.as_ref().map_or(Ok(()), Journal::sync);
        let synced = synced.map_err(Error::from);
        if synced.is_ok() {
            self.shared.all_synced();
        }
        for answer in answers {
            let _ = answer.send(synced.clone());
        }
    }

    /// Journals, then does, then answers.
    fn commit(&mut self, waiting: Vec<Waiting>) {
        let documents = waiting.iter().filter_map(|waiting| match waiting {
            Waiting::Owe { key, owed, .. } => record::owed(key.as_key(), owed),
            Waiting::Release {
                key, number, again, ..
            } => Some(record::released(key.as_key(), *number, *again)),
        });
        // What was settled before is told before: of one key the numbers say what is newer.
        let mut all = std::mem::take(&mut self.late);
        let late = all.len();
        all.extend(documents);
        let durability = match waiting.is_empty() {
            true => Durability::Memory,
            false => self.shared.settings.durability,
        };
        let written = match all.is_empty() {
            true => Ok(()),
            false => self.log.append(&all, durability).map_err(Error::from),
        };
        if written.is_err() {
            all.truncate(late);
            self.late = all;
        } else if durability == Durability::Synced {
            self.shared.all_synced();
        }
        self.answer(waiting, &written);
        if written.is_ok() {
            let shared = &self.shared;
            // Where that fails the journal only goes on growing.
            let _ = self
                .log
                .compact(|| record::base(shared.state().owing.all()));
        }
    }

    fn answer(&self, waiting: Vec<Waiting>, written: &Result<(), Error>) {
        let mut answers = Vec::with_capacity(waiting.len());
        {
            let mut state = self.shared.state();
            for waiting in waiting {
                match waiting {
                    Waiting::Owe {
                        key,
                        owed,
                        room,
                        answer,
                    } => {
                        Shared::release_room(&mut state, room);
                        if written.is_ok() {
                            state.owing.owe(&key, owed);
                        }
                        answers.push(answer);
                    }
                    Waiting::Release {
                        key,
                        number,
                        again,
                        answer,
                    } => {
                        if written.is_ok() {
                            state.owing.release(&key, number, again);
                        }
                        answers.push(answer);
                    }
                }
            }
        }
        for answer in answers {
            // Who does not wait any more had it owed all the same.
            let _ = answer.send(written.clone());
            self.shared.work.notify_one();
        }
        self.shared.moved.notify_waiters();
    }

    fn close(&mut self) -> Result<(), Error> {
        let late = std::mem::take(&mut self.late);
        if !late.is_empty() {
            self.log.append(&late, Durability::Written)?;
        }
        match self.log.end() {
            Some(journal) => journal.close().map(drop).map_err(Error::from),
            None => Ok(()),
        }
    }
}

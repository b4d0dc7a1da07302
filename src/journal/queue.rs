//! The protocol between those who append and whoever commits: the state under one lock, and its rules.
//!
//! ```text
//!   append -> gathering -+-> lead: busy, write, sync -> settle -> outcome to each waiter
//!             backlog   -+
//! ```
//!
//! One at a time leads: a caller that waits anyway, or the committer's thread for those that cannot. While
//! it is at the store the next group gathers. No lock is held over I/O but the writer's own, which only the
//! leader takes. The group commit is DeWitt's (1984); that it waits for the writers it has lately seen is
//! the notes' measurement.

use std::collections::{BTreeMap, VecDeque};
use std::task::Waker;

use super::chain::Chain;
use super::error::{Error, Result};
use super::group::{Documents, Group, Verdict, new_block};
use super::options::Durability;
use super::stats::Counts;
use crate::buffer::block::Block;
use crate::buffer::format::Edge;

/// Bytes of records that a block has room for at first: an opening should not pay for a whole queue.
const FIRST: usize = 16 << 10;

/// What readers in this process may see.
#[derive(Clone)]
pub(super) struct View {
    pub(super) chain: std::sync::Arc<Chain>,
    /// Where the live segment ends.
    pub(super) edge: Edge,
    /// Positions below are written.
    pub(super) written: u64,
    /// Positions below are synced.
    pub(super) synced: u64,
}

/// What a caller gets that waits for the outcome of its group.
#[derive(Clone, Debug)]
pub(super) struct Receipt {
    pub(super) group: u64,
    failed: Verdict,
    /// Position of its first document.
    pub(super) first: u64,
    pub(super) durability: Durability,
}

/// What a leader carries to the store.
pub(super) struct Work {
    pub(super) backlog: VecDeque<Block>,
    pub(super) group: Group,
}

/// How far a leader came.
pub(super) struct Done {
    /// Blocks of the backlog that are written.
    pub(super) backlog: usize,
    /// Whether the group is written.
    pub(super) group: bool,
    pub(super) result: Result<()>,
    pub(super) view: View,
}

/// What a task that sleeps is to be woken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Awaited {
    /// Documents may be taken again.
    Room,
    /// What became of that group is known. There is no group 0: with it, whatever a commit may have changed.
    Group(u64),
}

/// Tasks that sleep: what for, and a number of each one's own.
pub(super) type Sleepers = BTreeMap<(Awaited, u64), Waker>;

pub(super) struct State {
    pub(super) gathering: Group,
    /// Acknowledged documents whose write failed, oldest first.
    backlog: VecDeque<Block>,
    spare: Option<Block>,
    /// What a new block begins with; it grows with what it has to take.
    first: usize,
    queue: usize,
    /// Somebody leads.
    pub(super) busy: bool,
    /// Nobody may append: the end is about to move.
    pub(super) barrier: bool,
    /// The group on its way has documents that are waited for.
    flying: bool,
    /// The backlog is on its way.
    behind: bool,
    /// Groups up to these are written, and synced, or failed.
    written: u64,
    synced: u64,
    /// What became of groups up to this is known.
    settled: u64,
    /// Callers at the last two commits.
    crowd: [usize; 2],
    /// What every later call gets.
    pub(super) last: Option<Error>,
    /// The committer's thread is to end.
    pub(super) stop: bool,
    /// The committer's thread failed, and waits until somebody else tries.
    pub(super) resting: bool,
    pub(super) sleepers: Sleepers,
    pub(super) view: View,
    pub(super) counts: Counts,
}

impl State {
    pub(super) fn new(queue: usize, view: View) -> Result<State> {
        Ok(State {
            gathering: Group::new(1, view.written, new_block(FIRST)?),
            backlog: VecDeque::new(),
            spare: None,
            first: FIRST,
            queue,
            busy: false,
            barrier: false,
            flying: false,
            behind: false,
            written: 0,
            synced: 0,
            settled: 0,
            crowd: [0; 2],
            last: None,
            stop: false,
            resting: false,
            sleepers: Sleepers::new(),
            view,
            counts: Counts::default(),
        })
    }

    /// The next position.
    pub(super) fn next(&self) -> u64 {
        self.gathering.end()
    }

    pub(super) fn check(&self) -> Result<()> {
        self.last.clone().map_or(Ok(()), Err)
    }

    /// Takes documents, or `None` where they have to wait. A receipt of [`Durability::Memory`] is as good
    /// as an acknowledgement.
    pub(super) fn gather(
        &mut self,
        documents: &Documents<'_>,
        durability: Durability,
    ) -> Result<Option<Receipt>> {
        // What was acknowledged and could not be written bounds memory: it goes first.
        if self.barrier || self.behind || !self.backlog.is_empty() {
            return Ok(None);
        }
        let waited_for = self.flying || self.gathering.is_waited_for();
        let first = self.gathering.end();
        if !self.gathering.take(documents, self.queue)? {
            return Ok(None);
        }
        if durability == Durability::Memory && !waited_for {
            self.gathering.acknowledge();
            return Ok(Some(self.receipt(first, durability)));
        }
        let durability = durability.max(Durability::Written);
        self.join(durability);
        Ok(Some(self.receipt(first, durability)))
    }

    fn receipt(&self, first: u64, durability: Durability) -> Receipt {
        Receipt {
            group: self.gathering.id,
            failed: self.gathering.failed.clone(),
            first,
            durability,
        }
    }

    fn join(&mut self, durability: Durability) {
        self.gathering.waiters += 1;
        self.gathering.wants = self.gathering.wants.max(durability);
    }

    /// What an append of no document gets.
    pub(super) fn nothing(&self, first: u64) -> Receipt {
        self.receipt(first, Durability::Memory)
    }

    /// Waits for everything appended so far.
    pub(super) fn wait_for_all(&mut self, durability: Durability) -> Receipt {
        self.join(durability);
        self.receipt(self.next(), durability)
    }

    /// What became of a group, once that is known.
    pub(super) fn outcome(&self, receipt: &Receipt) -> Option<Result<()>> {
        if let Some(error) = receipt.failed.get() {
            return Some(Err(error.clone()));
        }
        let until = match receipt.durability {
            Durability::Synced => self.synced,
            _ => self.written,
        };
        if receipt.group <= until {
            return Some(Ok(()));
        }
        self.last.clone().map(Err)
    }

    /// Takes those out who have no reason to sleep any more.
    pub(super) fn rouse(&mut self) -> Vec<Waker> {
        let settled = match self.last {
            Some(_) => u64::MAX,
            None => self.settled,
        };
        self.rouse_up_to(Awaited::Group(settled))
    }

    /// Takes those out for whom there is room now, while a group is on its way.
    pub(super) fn let_in(&mut self) -> Vec<Waker> {
        if self.barrier || self.behind {
            return Vec::new();
        }
        self.rouse_up_to(Awaited::Room)
    }

    fn rouse_up_to(&mut self, last: Awaited) -> Vec<Waker> {
        let rest = self.sleepers.split_off(&(last, u64::MAX));
        let roused = std::mem::replace(&mut self.sleepers, rest);
        roused.into_values().collect()
    }

    /// How many callers the next commit may wait for.
    pub(super) fn expected(&self) -> usize {
        let [a, b] = self.crowd;
        a.max(b)
    }

    /// Whether the committer's thread has to lead, since nobody else will.
    pub(super) fn calls_for_committer(&self) -> bool {
        let half = self.gathering.block.len() > self.queue / 2;
        self.gathering.wakers > 0 || (half && !self.resting && self.last.is_none())
    }

    /// Whether there is nothing to carry to the store.
    pub(super) fn is_idle(&self) -> bool {
        self.gathering.is_idle() && self.backlog.is_empty()
    }

    /// Takes what has gathered; a new group gathers from now on. Where there is no memory for one, all who
    /// wait are told.
    pub(super) fn depart(&mut self) -> Result<Work> {
        let block = match self.spare.take() {
            Some(block) => block,
            None => match new_block(self.first) {
                Ok(block) => block,
                Err(error) => {
                    self.resting = true;
                    self.refuse(&error, self.gathering.first);
                    return Err(error);
                }
            },
        };
        let next = Group::new(self.gathering.id.saturating_add(1), self.next(), block);
        let group = std::mem::replace(&mut self.gathering, next);
        self.flying = group.is_waited_for();
        self.behind = !self.backlog.is_empty();
        Ok(Work {
            backlog: std::mem::take(&mut self.backlog),
            group,
        })
    }

    /// Takes the leader's word for what is at the store now.
    pub(super) fn settle(&mut self, mut work: Work, done: Done) -> Result<()> {
        let Done {
            backlog,
            group,
            result,
            view,
        } = done;
        (self.flying, self.behind) = (false, false);
        self.settled = work.group.id;
        work.backlog.drain(..backlog.min(work.backlog.len()));
        self.view = view;
        self.crowd = [self.crowd[1], work.group.waiters + self.gathering.waiters];
        if group {
            self.written = work.group.id;
            self.counts.group(work.group.block.documents());
        }
        if let Err(Error::Failed { .. }) = &result {
            self.last = result.clone().err();
        } else if group && work.group.wants == Durability::Synced && result.is_ok() {
            self.synced = work.group.id;
        }
        match &result {
            Ok(()) => {
                self.resting = false;
                self.reuse(work.group.block);
            }
            Err(error) => self.fail(work, group, error),
        }
        result
    }

    fn fail(&mut self, work: Work, group_written: bool, error: &Error) {
        let Work {
            mut backlog,
            mut group,
        } = work;
        self.resting = true;
        let _ = group.failed.set(error.clone());
        let waited_for = !group_written && group.is_waited_for();
        if !group_written {
            group.withdraw();
            if waited_for {
                // What gathered behind it has positions behind it, and nobody was told any of them.
                self.refuse(error, group.end());
            }
            if group.acknowledged() > 0 {
                backlog.push_back(group.block);
            }
        }
        self.backlog = backlog;
    }

    /// Takes back what gathers and is not acknowledged; it gathers anew, from `first` on.
    fn refuse(&mut self, error: &Error, first: u64) {
        let _ = self.gathering.failed.set(error.clone());
        self.settled = self.gathering.id;
        self.gathering.withdraw();
        self.gathering.renew(first);
    }

    fn reuse(&mut self, mut block: Block) {
        // A block that was made for one large batch goes.
        block.keep_oldest(0, 0);
        if block.room() <= self.queue.saturating_mul(2) {
            self.spare = Some(block);
        }
    }

    /// What is written ends there now, and no document gathers.
    pub(super) fn moved(&mut self, view: View) {
        if self.backlog.is_empty() {
            self.gathering.first = view.written;
        }
        self.view = view;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::format::Salt;
    use crate::journal::error::Action;

    fn state() -> State {
        let chain = Chain {
            journal: 1,
            codec: String::new(),
            links: Vec::new(),
        };
        let view = View {
            chain: std::sync::Arc::new(chain),
            edge: Edge::empty(Salt::new(1)),
            written: 0,
            synced: 0,
        };
        State::new(1 << 10, view).unwrap()
    }

    fn gather(state: &mut State, document: &[u8], durability: Durability) -> Option<Receipt> {
        let all = [document];
        let documents = Documents::new(&all, 1 << 20).unwrap();
        state.gather(&documents, durability).unwrap()
    }

    #[test]
    fn without_memory_all_who_wait_are_told_and_what_was_acknowledged_stays() {
        let mut state = state();
        let memory = gather(&mut state, b"a", Durability::Memory).unwrap();
        let written = gather(&mut state, b"b", Durability::Written).unwrap();
        let flush = state.wait_for_all(Durability::Synced);
        let waker = Waker::noop().clone();
        let awaited = Awaited::Group(written.group);
        state.sleepers.insert((awaited, 0), waker);
        (state.spare, state.first) = (None, usize::MAX / 2);
        assert!(matches!(state.depart(), Err(Error::TooLarge { .. })));
        assert!(matches!(state.outcome(&written), Some(Err(_))));
        assert!(matches!(state.outcome(&flush), Some(Err(_))));
        assert_eq!((memory.first, state.next()), (0, 1));
        assert!(!state.calls_for_committer());
        assert_eq!(state.rouse().len(), 1);

        state.first = 1 << 10;
        let again = gather(&mut state, b"b", Durability::Written).unwrap();
        assert!(state.outcome(&again).is_none());
        let work = state.depart().unwrap();
        assert_eq!((again.first, work.group.block.documents()), (1, 2));
    }

    #[test]
    fn a_backlog_on_its_way_lets_nothing_gather() {
        let mut state = state();
        gather(&mut state, b"a", Durability::Memory).unwrap();
        for attempt in 0..3 {
            let work = state.depart().unwrap();
            let taken = gather(&mut state, b"b", Durability::Memory);
            assert_eq!(taken.is_some(), attempt == 0);
            let full = std::io::ErrorKind::StorageFull.into();
            let done = Done {
                backlog: 0,
                group: false,
                result: Err(Error::io(Action::Create, "a segment".into(), full)),
                view: state.view.clone(),
            };
            assert!(state.settle(work, done).is_err());
        }
        assert_eq!((state.next(), state.backlog.len()), (2, 2));
    }
}

//! Who reads, who writes, and who comes next. Pure: nobody waits here.
//!
//! Whoever cannot enter stands in line, in the order in which they came. The first in line enters as soon as it
//! can, and readers that stand behind each other enter together. A reader that comes while anybody stands in line
//! joins it: so a writer waits only for those who read already, and readers wait for one writer before the next.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

use super::error::Side;

#[derive(Debug)]
pub(super) struct Queue<T, B> {
    /// Threads that read, and how many guards each has; never none.
    readers: HashMap<T, usize>,
    writer: Option<T>,
    line: VecDeque<Waiting<T, B>>,
    tickets: u64,
}

#[derive(Debug)]
struct Waiting<T, B> {
    ticket: u64,
    thread: T,
    side: Side,
    /// To be rung when it is inside.
    bell: B,
}

/// What becomes of a wish to enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Enter {
    /// It is inside.
    In,
    /// It was inside already, and has one guard more.
    Again,
    /// It has to wait.
    Busy,
    /// It would wait for itself, who does this.
    Own(Side),
}

impl<T, B> Default for Queue<T, B> {
    fn default() -> Queue<T, B> {
        Queue {
            readers: HashMap::new(),
            writer: None,
            line: VecDeque::new(),
            tickets: 0,
        }
    }
}

impl<T: Copy + Eq + Hash, B> Queue<T, B> {
    /// Enters, if it can at once.
    pub(super) fn enter(&mut self, thread: T, side: Side) -> Enter {
        if self.writer == Some(thread) {
            return Enter::Own(Side::Write);
        }
        if let Some(guards) = self.readers.get_mut(&thread) {
            if side == Side::Write {
                return Enter::Own(Side::Read);
            }
            // A writer that stands in line waits for this thread: it must not wait for the writer.
            *guards = guards.saturating_add(1);
            return Enter::Again;
        }
        if !self.line.is_empty() || !self.admit(thread, side) {
            return Enter::Busy;
        }
        Enter::In
    }

    /// Lets it in, whoever stands in line.
    fn admit(&mut self, thread: T, side: Side) -> bool {
        let free = self.writer.is_none() && (side == Side::Read || self.readers.is_empty());
        if free {
            match side {
                Side::Read => drop(self.readers.insert(thread, 1)),
                Side::Write => self.writer = Some(thread),
            }
        }
        free
    }

    /// Stands in line after [`Enter::Busy`], with a ticket.
    pub(super) fn wait(&mut self, thread: T, side: Side, bell: B) -> u64 {
        self.tickets = self.tickets.wrapping_add(1);
        self.line.push_back(Waiting {
            ticket: self.tickets,
            thread,
            side,
            bell,
        });
        self.tickets
    }

    /// Goes out of the line; none where it has been let in. Answers whom to ring.
    pub(super) fn give_up(&mut self, ticket: u64) -> Option<Vec<B>> {
        let at = self.line.iter().position(|w| w.ticket == ticket)?;
        self.line.remove(at);
        Some(self.advance())
    }

    pub(super) fn is_waiting(&self, ticket: u64) -> bool {
        self.line.iter().any(|waiting| waiting.ticket == ticket)
    }

    pub(super) fn waiting(&self) -> usize {
        self.line.len()
    }

    /// How many guards of that thread read.
    pub(super) fn depth(&self, thread: T) -> usize {
        self.readers.get(&thread).copied().unwrap_or_default()
    }

    /// One guard less. Answers whom to ring.
    pub(super) fn leave(&mut self, thread: T, side: Side) -> Vec<B> {
        match side {
            Side::Write => self.writer = None,
            Side::Read => match self.readers.get_mut(&thread) {
                Some(guards) if *guards > 1 => *guards -= 1,
                _ => drop(self.readers.remove(&thread)),
            },
        }
        self.advance()
    }

    fn advance(&mut self) -> Vec<B> {
        let mut inside = Vec::new();
        while let Some(Waiting { thread, side, .. }) = self.line.front()
            && let (thread, side) = (*thread, *side)
            && self.admit(thread, side)
        {
            inside.extend(self.line.pop_front().map(|waiting| waiting.bell));
        }
        inside
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use super::*;

    const THREADS: usize = 4;
    const DEEP: usize = 2;

    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    enum At {
        Out,
        Reads(usize),
        Writes,
        Waits(Side, u64),
    }

    impl PartialOrd for Side {
        fn partial_cmp(&self, other: &Side) -> Option<std::cmp::Ordering> {
            Some(self.cmp(other))
        }
    }

    impl Ord for Side {
        fn cmp(&self, other: &Side) -> std::cmp::Ordering {
            (*self as u8).cmp(&(*other as u8))
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Asks(usize, Side),
        Leaves(usize),
        GivesUp(usize),
    }

    #[derive(Default)]
    struct World {
        queue: Queue<usize, usize>,
        at: [Option<At>; THREADS],
    }

    impl World {
        fn at(&self, thread: usize) -> At {
            self.at[thread].unwrap_or(At::Out)
        }

        fn after(steps: &[Step]) -> World {
            let mut world = World::default();
            steps.iter().for_each(|step| world.take(*step));
            world
        }

        /// All that the threads can do next.
        fn next(&self) -> Vec<Step> {
            let steps = (0..THREADS).flat_map(|thread| {
                let both = [
                    Step::Asks(thread, Side::Read),
                    Step::Asks(thread, Side::Write),
                ];
                match self.at(thread) {
                    At::Out => both.to_vec(),
                    At::Reads(DEEP) => vec![both[1], Step::Leaves(thread)],
                    At::Reads(_) | At::Writes => vec![both[0], both[1], Step::Leaves(thread)],
                    At::Waits(..) => vec![Step::GivesUp(thread)],
                }
            });
            steps.collect()
        }

        fn take(&mut self, step: Step) {
            let line: Vec<usize> = self.queue.line.iter().map(|w| w.thread).collect();
            let rung = match step {
                Step::Asks(thread, side) => {
                    self.asks(thread, side);
                    Vec::new()
                }
                Step::Leaves(thread) => {
                    let (side, then) = match self.at(thread) {
                        At::Reads(1) => (Side::Read, At::Out),
                        At::Reads(deep) => (Side::Read, At::Reads(deep - 1)),
                        _ => (Side::Write, At::Out),
                    };
                    self.at[thread] = Some(then);
                    self.queue.leave(thread, side)
                }
                Step::GivesUp(thread) => {
                    let At::Waits(_, ticket) = self.at(thread) else {
                        panic!("it waits");
                    };
                    self.at[thread] = None;
                    self.queue.give_up(ticket).expect("it stands in line")
                }
            };
            let gone = match step {
                Step::GivesUp(thread) => Some(thread),
                _ => None,
            };
            let before = line.into_iter().filter(|thread| Some(*thread) != gone);
            let first: Vec<usize> = before.take(rung.len()).collect();
            assert_eq!(rung, first, "whoever came first enters first");
            for thread in rung {
                let At::Waits(side, ticket) = self.at(thread) else {
                    panic!("it waits");
                };
                assert!(!self.queue.is_waiting(ticket));
                assert!(self.queue.give_up(ticket).is_none());
                self.at[thread] = Some(match side {
                    Side::Read => At::Reads(1),
                    Side::Write => At::Writes,
                });
            }
            self.check();
        }

        fn asks(&mut self, thread: usize, side: Side) {
            let busy = self.queue.waiting() > 0;
            let at = self.at(thread);
            let enter = self.queue.enter(thread, side);
            self.at[thread] = Some(match (at, side, enter) {
                (At::Writes, _, Enter::Own(Side::Write)) => at,
                (At::Reads(_), Side::Write, Enter::Own(Side::Read)) => at,
                (At::Reads(deep), Side::Read, Enter::Again) => At::Reads(deep + 1),
                (At::Out, Side::Read, Enter::In) => {
                    assert!(!busy, "it passed those who wait");
                    At::Reads(1)
                }
                (At::Out, Side::Write, Enter::In) => {
                    assert!(!busy, "it passed those who wait");
                    At::Writes
                }
                (At::Out, _, Enter::Busy) => At::Waits(side, self.queue.wait(thread, side, thread)),
                wrong => panic!("{wrong:?}"),
            });
        }

        fn check(&self) {
            let all: Vec<At> = (0..THREADS).map(|thread| self.at(thread)).collect();
            let count = |which: fn(&At) -> bool| all.iter().filter(|at| which(at)).count();
            let writes = count(|at| *at == At::Writes);
            let reads = count(|at| matches!(at, At::Reads(_)));
            let waits = count(|at| matches!(at, At::Waits(..)));
            assert!(writes == 0 || writes == 1 && reads == 0, "{all:?}");
            assert_eq!(self.queue.waiting(), waits);
            assert_eq!(self.queue.readers.len(), reads);
            for (thread, at) in all.iter().enumerate() {
                let deep = match at {
                    At::Reads(deep) => *deep,
                    _ => 0,
                };
                assert_eq!(self.queue.depth(thread), deep);
            }
            match self.queue.line.front().map(|first| first.side) {
                None => {}
                Some(Side::Read) => assert_eq!(writes, 1, "a reader waits for nobody"),
                Some(Side::Write) => assert!(writes + reads > 0, "a writer waits for nobody"),
            }
        }

        /// What tells it from other states: the tickets do not.
        fn key(&self) -> (Vec<(u8, usize)>, Vec<usize>) {
            let at = (0..THREADS).map(|thread| match self.at(thread) {
                At::Out => (0, 0),
                At::Reads(deep) => (1, deep),
                At::Writes => (2, 0),
                At::Waits(side, _) => (3, side as usize),
            });
            (
                at.collect(),
                self.queue.line.iter().map(|w| w.thread).collect(),
            )
        }
    }

    /// Every state that four threads reach by asking, nesting, leaving and giving up.
    #[test]
    fn every_state_is_sound_and_nobody_waits_for_nothing() {
        let mut seen = HashSet::new();
        let mut sides = BTreeSet::new();
        let mut open = vec![Vec::new()];
        while let Some(steps) = open.pop() {
            for step in World::after(&steps).next() {
                let steps: Vec<Step> = steps.iter().copied().chain([step]).collect();
                let world = World::after(&steps);
                sides.extend(world.queue.line.iter().map(|w| w.side as u8));
                if seen.insert(world.key()) {
                    open.push(steps);
                }
            }
        }
        println!("{} states", seen.len());
        assert!(seen.len() > 500 && sides.len() == 2);
    }
}

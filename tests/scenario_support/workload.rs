//! Scripted workloads from a seed, and what a plain vector says to each of their steps.

use std::io::{Read, Seek, Write};

use documentbuffer::store::fault::Rng;
use documentbuffer::{DocumentBuffer, Error, Options};

use super::{Documents, Handle};

/// Documents, oldest first, by their place in the pool.
pub type Sequence = Vec<u8>;

/// Lengths of the pool's documents; two of them are the same document, as a replayed log has it.
const POOL: [usize; 8] = [0, 3, 17, 17, 40, 100, 260, 700];

pub fn pool(id: u8) -> Vec<u8> {
    let len = POOL[usize::from(id) % POOL.len()];
    let tag = if id == 3 { 2 } else { id };
    super::doc(tag, len)
}

pub fn bytes(sequence: &[u8]) -> Documents {
    sequence.iter().map(|id| pool(*id)).collect()
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Push(u8),
    PushAll(Vec<u8>),
    Pop,
    Peek,
    Read(usize),
    Remove(usize),
    Truncate(u64),
    Iter,
    Replay,
    Flush,
    Sync,
    /// The process dies and another opens the store.
    Kill,
}

/// What a call answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Number(u64),
    One(Option<Vec<u8>>),
    Many(Documents),
    Done,
}

/// What to do, over which memory.
#[derive(Clone, Debug)]
pub struct Script {
    pub seed: u64,
    pub memory: usize,
    pub memory_documents: usize,
    pub handle: Handle,
    pub ops: Vec<Op>,
}

impl Script {
    /// The script of this seed, of so many steps.
    pub fn new(seed: u64, steps: usize) -> Script {
        let mut rng = Rng::new(seed);
        let memories = [0, 0, 16, 60, 200, 500, 1000, 4000, 1 << 20];
        let ops = (0..steps).map(|_| op(&mut rng)).collect();
        Script {
            seed,
            memory: memories[rng.below(memories.len() as u64) as usize],
            memory_documents: match rng.below(4) {
                0 => rng.below(5) as usize,
                _ => usize::MAX,
            },
            handle: match rng.below(5) {
                0 => Handle::Bare,
                _ => Handle::Syncs,
            },
            ops,
        }
    }

    /// Options of its so-manieth life.
    pub fn options(&self, life: u64) -> Options {
        Options::new()
            .memory(self.memory)
            .memory_documents(self.memory_documents)
            .seed(self.seed << 8 | life)
    }
}

fn op(rng: &mut Rng) -> Op {
    let id = |rng: &mut Rng| rng.below(POOL.len() as u64) as u8;
    match rng.below(32) {
        0..9 => Op::Push(id(rng)),
        9..12 => Op::PushAll((0..1 + rng.below(5)).map(|_| id(rng)).collect()),
        12..18 => Op::Pop,
        18 => Op::Peek,
        19 => Op::Read(1 + rng.below(4) as usize),
        20..22 => Op::Remove(1 + rng.below(3) as usize),
        22 => Op::Truncate(rng.below(6)),
        23 => Op::Iter,
        24 => Op::Replay,
        25..27 => Op::Flush,
        27..30 => Op::Sync,
        _ => Op::Kill,
    }
}

/// What a vector answers, and what it holds then.
pub fn expected(op: &Op, now: &[u8]) -> (Answer, Sequence) {
    let newest = |n: usize| bytes(now).into_iter().rev().take(n).collect::<Documents>();
    let left = |n: usize| now[..now.len().saturating_sub(n)].to_vec();
    let same = now.to_vec();
    match op {
        Op::Push(id) => (Answer::Number(now.len() as u64), [now, &[*id]].concat()),
        Op::PushAll(ids) => (Answer::Number(ids.len() as u64), [now, ids].concat()),
        Op::Pop => (Answer::One(newest(1).pop()), left(1)),
        Op::Peek => (Answer::One(newest(1).pop()), same),
        Op::Read(n) => (Answer::Many(newest(*n)), same),
        Op::Remove(n) => (Answer::Many(newest(*n)), left(*n)),
        Op::Truncate(len) => {
            let gone = now.len().saturating_sub(*len as usize);
            (Answer::Number(gone as u64), left(gone))
        }
        Op::Iter => (Answer::Many(newest(now.len())), same),
        Op::Replay => (Answer::Many(bytes(now)), same),
        Op::Flush | Op::Sync | Op::Kill => (Answer::Done, same),
    }
}

/// What may be found after a crash in or behind the call: each document pushed or removed counts as an
/// operation of its own.
pub fn intended(op: &Op, now: &[u8]) -> Vec<Sequence> {
    match op {
        Op::Push(id) => vec![[now, &[*id]].concat()],
        Op::PushAll(ids) => (1..=ids.len()).map(|n| [now, &ids[..n]].concat()).collect(),
        op => {
            let left = expected(op, now).1.len();
            (left..=now.len()).map(|n| now[..n].to_vec()).collect()
        }
    }
}

/// Does it. `Kill` is the caller's.
pub fn perform<S: Read + Write + Seek>(
    buffer: &mut DocumentBuffer<S>,
    op: &Op,
    handle: Handle,
) -> Result<Answer, Error> {
    Ok(match op {
        Op::Push(id) => Answer::Number(buffer.push(pool(*id))?),
        Op::PushAll(ids) => Answer::Number(buffer.push_all(bytes(ids))?),
        Op::Pop => Answer::One(buffer.pop()?),
        Op::Peek => Answer::One(buffer.peek()?.map(<[u8]>::to_vec)),
        Op::Read(n) => Answer::Many(buffer.read(*n)?),
        Op::Remove(n) => Answer::Many(buffer.remove(*n)?),
        Op::Truncate(len) => Answer::Number(buffer.truncate_after(*len)?),
        Op::Iter => Answer::Many(buffer.iter().collect::<Result<_, _>>()?),
        Op::Replay => Answer::Many(buffer.replay().collect::<Result<_, _>>()?),
        Op::Sync if handle == Handle::Syncs => buffer.sync().map(|()| Answer::Done)?,
        Op::Flush | Op::Sync => buffer.flush().map(|()| Answer::Done)?,
        Op::Kill => Answer::Done,
    })
}

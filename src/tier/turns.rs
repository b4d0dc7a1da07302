//! Turns: of those who want the same key, one after the other, in the order in which they came.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::Key;

const SHARDS: usize = 16;

/// Hands out turns by key. Cheap to clone: all clones hand out the same ones.
///
/// A key is known by 64 bits of a keyed hash. Two keys that share them wait for each other, and that is all:
/// nobody who holds a turn waits for another.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    hasher: lru::DefaultHasher,
    shards: [Mutex<Shard>; SHARDS],
}

/// Who waits, for each turn that somebody has.
type Shard = HashMap<u64, VecDeque<oneshot::Sender<Turn>>, BuildHasherDefault<Hashed>>;

/// A turn; it passes to the next when it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Option<Turns>,
    of: u64,
}

impl Turns {
    /// The turn of that key. Whoever drops this future before its end is out of the queue.
    pub(super) async fn take(&self, key: Key<'_>) -> Turn {
        self.take_number(self.0.hasher.hash_one(key.as_str())).await
    }

    /// The turn of that number.
    pub(super) async fn take_number(&self, of: u64) -> Turn {
        let waiting = {
            let mut shard = self.shard(of);
            match shard.get_mut(&of) {
                Some(queue) => {
                    let (sender, receiver) = oneshot::channel();
                    queue.push_back(sender);
                    Some(receiver)
                }
                None => {
                    shard.insert(of, VecDeque::new());
                    None
                }
            }
        };
        let own = || Turn {
            turns: Some(self.clone()),
            of,
        };
        match waiting {
            // A sender goes only when it has sent.
            Some(receiver) => receiver.await.unwrap_or_else(|_| own()),
            None => own(),
        }
    }

    /// The turn of that key, if nobody has it.
    pub(super) fn try_take(&self, key: Key<'_>) -> Option<Turn> {
        let of = self.0.hasher.hash_one(key.as_str());
        let mut shard = self.shard(of);
        if shard.contains_key(&of) {
            return None;
        }
        shard.insert(of, VecDeque::new());
        Some(Turn {
            turns: Some(self.clone()),
            of,
        })
    }

    fn shard(&self, of: u64) -> MutexGuard<'_, Shard> {
        // The low and the top bits are the map's.
        let at = (of >> 24) as usize % SHARDS;
        self.0.shards[at]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Who has waited longest for it; where nobody does, it is free from then on.
    fn next(&self, of: u64) -> Option<oneshot::Sender<Turn>> {
        let mut shard = self.shard(of);
        let next = shard.get_mut(&of).and_then(VecDeque::pop_front);
        if next.is_none() {
            shard.remove(&of);
        }
        next
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(turns) = self.turns.take() else {
            return;
        };
        let of = self.of;
        // A turn that was sent and not received is dropped there, and so goes on too.
        while let Some(next) = turns.next(of) {
            let turn = Turn {
                turns: Some(turns.clone()),
                of,
            };
            match next.send(turn) {
                Ok(()) => return,
                Err(mut back) => mem::drop(back.turns.take()),
            }
        }
    }
}

/// What is hashed already.
#[derive(Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;

    use super::*;

    fn block_on<F: Future>(future: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime").block_on(future)
    }

    /// Polls once; whether it is done.
    async fn poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        poll_fn(|context| {
            Poll::Ready(match std::pin::Pin::new(&mut *future).poll(context) {
                Poll::Ready(output) => Some(output),
                Poll::Pending => None,
            })
        })
        .await
    }

    #[test]
    fn turns_come_in_order_and_those_who_left_are_skipped() {
        block_on(async {
            let turns = Turns::default();
            let first = turns.take_number(7).await;
            let mut second = Box::pin(turns.take_number(7));
            let mut third = Box::pin(turns.take_number(7));
            let mut fourth = Box::pin(turns.take_number(7));
            assert!(poll(&mut second).await.is_none());
            assert!(poll(&mut third).await.is_none());
            assert!(poll(&mut fourth).await.is_none());
            drop(second);
            drop(first);
            assert!(poll(&mut fourth).await.is_none());
            // The third has its turn, and leaves before it knows.
            drop(third);
            let fourth = poll(&mut fourth).await.expect("its turn");
            drop(fourth);
            assert!(
                turns
                    .0
                    .shards
                    .iter()
                    .all(|shard| shard.lock().unwrap().is_empty())
            );
        });
    }

    #[test]
    fn other_keys_do_not_wait() {
        block_on(async {
            let turns = Turns::default();
            let _one = turns.take(Key::new("one").unwrap()).await;
            let mut two = pin!(turns.take(Key::new("two").unwrap()));
            assert!(poll(&mut two).await.is_some());
        });
    }

    #[test]
    fn ten_thousand_who_left_need_no_stack() {
        block_on(async {
            let turns = Turns::default();
            let first = turns.take_number(1).await;
            let mut waiting = Vec::new();
            for _ in 0..10_000 {
                let mut future = Box::pin(turns.take_number(1));
                assert!(poll(&mut future).await.is_none());
                waiting.push(future);
            }
            drop(waiting);
            drop(first);
            drop(turns.take_number(1).await);
        });
    }
}

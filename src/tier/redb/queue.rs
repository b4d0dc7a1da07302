//! Writes that wait are taken together: one worker, one transaction for all that came meanwhile.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

use crate::tier::{Applied, Error, Kind, Op, Result, When};

/// Writes that wait at most; further callers wait for room.
const WAITING: usize = 1024;
/// Writes of a transaction, and bytes of their values, at most.
const TOGETHER: usize = 256;
const BYTES: usize = 16 << 20;

pub(super) const ENDED: &str = "the tokio runtime that it was opened in has ended";

#[derive(Clone, Debug)]
pub(super) struct Queue(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    room: Arc<Semaphore>,
    idle: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Job>,
    /// A worker runs, or is about to.
    busy: bool,
}

/// A write that waits, or is being made.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) key: String,
    pub(super) op: Op,
    pub(super) when: When,
    answer: oneshot::Sender<Result<Applied>>,
    _room: OwnedSemaphorePermit,
}

impl Default for Queue {
    fn default() -> Queue {
        Queue(Arc::new(Inner {
            state: Mutex::default(),
            room: Arc::new(Semaphore::new(WAITING)),
            idle: Notify::new(),
        }))
    }
}

impl Queue {
    /// Queues a write and waits for its answer; `apply` makes all that wait, where it may block.
    pub(super) async fn write(
        &self,
        handle: &Handle,
        tier: &str,
        (key, op, when): (String, Op, When),
        apply: impl Fn(&[Job]) -> Result<Vec<Result<Applied>>> + Send + 'static,
    ) -> Result<Applied> {
        let closed = |why| Error::new(Kind::Closed, tier, why);
        let room = Arc::clone(&self.0.room).acquire_owned().await;
        let room = room.map_err(|_| closed(ENDED))?;
        let (answer, given) = oneshot::channel();
        let starts = {
            let mut state = self.state();
            state.waiting.push_back(Job {
                key,
                op,
                when,
                answer,
                _room: room,
            });
            !std::mem::replace(&mut state.busy, true)
        };
        if starts {
            let worker = Worker {
                queue: self.clone(),
                done: false,
            };
            // Nobody waits for it: it answers.
            drop(handle.spawn_blocking(move || worker.run(apply)));
        }
        let lost = || closed("its writer ended before it answered").unknown();
        given.await.unwrap_or_else(|_| Err(lost()))
    }

    /// Waits until nothing is on its way.
    pub(super) async fn wait(&self) {
        loop {
            let mut idle = pin!(self.0.idle.notified());
            idle.as_mut().enable();
            if !self.state().busy {
                return;
            }
            idle.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What goes into one transaction; if nothing waits, the worker is at its end.
    fn next(&self) -> Option<Vec<Job>> {
        let mut state = self.state();
        let mut bytes = 0_usize;
        let together = state.waiting.iter().take(TOGETHER).take_while(|job| {
            if let Op::Put(entry) = &job.op {
                bytes = bytes.saturating_add(entry.value.len());
            }
            bytes <= BYTES
        });
        let count = together.count().max(1).min(state.waiting.len());
        if count == 0 {
            state.busy = false;
            return None;
        }
        Some(state.waiting.drain(..count).collect())
    }
}

/// The one that makes the writes. If it is dropped on its way, or never runs, what waits is given up: there
/// is no answer to it.
struct Worker {
    queue: Queue,
    /// It has seen that nothing waits; what waits now is the next one's.
    done: bool,
}

impl Worker {
    fn run(mut self, apply: impl Fn(&[Job]) -> Result<Vec<Result<Applied>>>) {
        while let Some(jobs) = self.queue.next() {
            match apply(&jobs) {
                Ok(given) => {
                    for (job, given) in jobs.into_iter().zip(given) {
                        // Who does not wait any more does not ask.
                        let _ = job.answer.send(given);
                    }
                }
                Err(error) => {
                    for job in jobs {
                        let _ = job.answer.send(Err(error.clone()));
                    }
                }
            }
        }
        self.done = true;
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if !self.done {
            let given_up = {
                let mut state = self.queue.state();
                state.busy = false;
                std::mem::take(&mut state.waiting)
            };
            drop(given_up);
        }
        self.queue.0.idle.notify_waiters();
    }
}

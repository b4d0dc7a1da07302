//! A few threads for creations that nobody waits for.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use crate::contain;

type Job = Box<dyn FnOnce() + Send>;

/// A few threads that make stale values anew, see [`Dogpile::get_behind`](super::Dogpile::get_behind).
///
/// So many creations run at once, and so many wait for a thread; beyond that a value stays stale until the next one
/// asks. Dropping the pool waits for those that run and forgets those that wait.
///
/// # Examples
///
/// ```
/// use documentbuffer::dogpile::Pool;
///
/// let pool = Pool::new(2, 64)?;
/// # drop(pool);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    most: usize,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    ended: bool,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        loop {
            let mut queue = self.queue();
            let job = loop {
                if queue.ended {
                    return;
                }
                match queue.jobs.pop_front() {
                    Some(job) => break job,
                    None => {
                        let waited = self.changed.wait(queue);
                        queue = waited.unwrap_or_else(PoisonError::into_inner);
                    }
                }
            };
            drop(queue);
            // A creator's panic was an error before; this is for what its values do when they are dropped.
            let _ = contain::call(job);
        }
    }
}

impl Pool {
    /// So many threads, at least one, and room for so many creations that wait for one.
    ///
    /// # Errors
    ///
    /// What the system says where it gives no thread.
    pub fn new(threads: usize, waiting: usize) -> io::Result<Pool> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            changed: Condvar::new(),
            most: waiting,
        });
        let mut pool = Pool {
            shared,
            threads: Vec::new(),
        };
        for _ in 0..threads.max(1) {
            let shared = pool.shared.clone();
            let thread = Builder::new().name("documentbuffer-dogpile".to_owned());
            pool.threads.push(thread.spawn(move || shared.work())?);
        }
        Ok(pool)
    }

    /// Has a thread of the pool run that, or drops it where there is no room.
    pub(super) fn run(&self, job: impl FnOnce() + Send + 'static) {
        let mut queue = self.shared.queue();
        if queue.ended || queue.jobs.len() > self.shared.most {
            drop(queue);
            return drop(job);
        }
        queue.jobs.push_back(Box::new(job));
        drop(queue);
        self.shared.changed.notify_one();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let forgotten = {
            let mut queue = self.shared.queue();
            queue.ended = true;
            std::mem::take(&mut queue.jobs)
        };
        self.shared.changed.notify_all();
        drop(forgotten);
        let own = std::thread::current().id();
        for thread in self.threads.drain(..) {
            // A creator may hold what holds the pool.
            if thread.thread().id() != own {
                let _ = thread.join();
            }
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("threads", &self.threads.len())
            .finish_non_exhaustive()
    }
}

//! Where threads add, each in its own place: whoever adds waits for nobody.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use super::debts::Sums;

/// Why something could not be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Closed,
    /// A new key, and too many are there.
    NewKey,
}

/// Threads take their stripes in turn, so that few share one. A key may stand in any number of them.
pub(super) struct Stripes {
    stripes: Box<[Stripe]>,
}

/// On a cache line of its own.
#[repr(align(128))]
#[derive(Default)]
struct Stripe(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    sums: Sums,
    closed: bool,
}

impl Stripe {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The number of this thread, counted from the first that asked.
#[inline]
fn thread_number() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    NUMBER.with(|number| {
        if number.get() == usize::MAX {
            number.set(THREADS.fetch_add(1, Ordering::Relaxed));
        }
        number.get()
    })
}

impl Stripes {
    pub(super) fn new() -> Stripes {
        let threads = thread::available_parallelism().map_or(4, usize::from);
        // A power of two: a mask finds the stripe, where a division would cost as much as the rest.
        let count = threads.saturating_mul(2).clamp(4, 256).next_power_of_two();
        Stripes {
            stripes: (0..count).map(|_| Stripe::default()).collect(),
        }
    }

    /// Adds to a key; a new one only while there are fewer than `room` says in this stripe.
    #[inline]
    pub(super) fn add(
        &self,
        key: &str,
        delta: i64,
        room: impl FnOnce() -> usize,
    ) -> Result<(), Refusal> {
        let own = thread_number() & (self.stripes.len() - 1);
        let Some(stripe) = self.stripes.get(own) else {
            return Err(Refusal::Closed);
        };
        let mut inner = stripe.lock();
        if inner.closed {
            return Err(Refusal::Closed);
        }
        if let Some(sum) = inner.sums.get_mut(key) {
            *sum = sum.saturating_add(delta.into());
        } else if inner.sums.len() < room() {
            inner.sums.insert(key.into(), delta.into());
        } else {
            return Err(Refusal::NewKey);
        }
        Ok(())
    }

    /// Takes everything out, stripe by stripe.
    pub(super) fn take(&self, spare: &mut Sums, mut each: impl FnMut(Box<str>, i128)) {
        for stripe in &self.stripes {
            {
                let mut inner = stripe.lock();
                if inner.sums.is_empty() {
                    continue;
                }
                std::mem::swap(&mut inner.sums, spare);
            }
            // What is empty again serves the next stripe, with the room that it has.
            spare.drain().for_each(|(key, sum)| each(key, sum));
        }
    }

    /// Adds up what is in them, and leaves it there.
    pub(super) fn look(&self, into: &mut HashMap<Box<str>, i128>) {
        for stripe in &self.stripes {
            for (key, sum) in &stripe.lock().sums {
                super::debts::add(into, key.clone(), *sum);
            }
        }
    }

    /// What is in them under that key.
    pub(super) fn sum_of(&self, key: &str) -> Option<i128> {
        let stripes = self.stripes.iter();
        let sums = stripes.filter_map(|stripe| stripe.lock().sums.get(key).copied());
        sums.reduce(i128::saturating_add)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.stripes
            .iter()
            .all(|stripe| stripe.lock().sums.is_empty())
    }

    /// From its return on nothing is added any more.
    pub(super) fn close(&self) {
        for stripe in &self.stripes {
            stripe.lock().closed = true;
        }
    }
}

//! The locks that turns are made of; a model checker puts its own in their place.

#[cfg(shuttle)]
pub(super) use shuttle::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
#[cfg(shuttle)]
pub(super) use shuttle::sync::{Mutex, MutexGuard};
#[cfg(not(shuttle))]
pub(super) use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
#[cfg(not(shuttle))]
pub(super) use std::sync::{Mutex, MutexGuard};

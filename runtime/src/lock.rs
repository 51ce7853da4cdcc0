//! The locks that the handlers of a fork take by name: those of `std`, without poison.
//!
//! They are words for `futex`. Who waits is known to the kernel alone, and a child begins with nobody waiting: also on a
//! condition variable, which the locks behind the gate ([`crate::gated`]) have not. A panic while one is held leaves it
//! usable: what it protects is consistent wherever code of the user's runs.

use std::sync::PoisonError;
use std::time::Instant;

pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits, at the latest until `deadline`. Whether that came.
pub(crate) fn wait<'a, T>(
    condition: &Condvar,
    guard: MutexGuard<'a, T>,
    deadline: Option<Instant>,
) -> (MutexGuard<'a, T>, bool) {
    let Some(deadline) = deadline else {
        return (condition.wait(guard).unwrap_or_else(PoisonError::into_inner), false);
    };
    let time = deadline.saturating_duration_since(Instant::now());
    let (guard, outcome) = condition.wait_timeout(guard, time).unwrap_or_else(PoisonError::into_inner);
    (guard, outcome.timed_out())
}

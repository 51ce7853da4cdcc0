//! The locks of writers and of the reclaimer: those of `std`, without poison.
//!
//! Problem: a fork may come while other threads wait for a lock. In the child those threads do not exist, and the
//! C library gives their stacks to new ones. A lock that keeps a queue of its waiters, as `parking_lot` does for the
//! whole process, then follows pointers into memory that is another's: the child spins for ever in its first
//! `notify`, or hands a lock to a thread that is not there.
//!
//! Idea: `std`'s locks on Linux are words for `futex`. Who waits is known to the kernel alone, and a child begins
//! with nobody waiting.
//!
//! A panic while a lock is held leaves it usable: what these locks protect is consistent wherever code of the
//! user's runs.
#![allow(unsafe_code)]

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use std::sync::PoisonError;
use std::time::Instant;

pub(crate) use std::sync::{RwLockReadGuard, RwLockWriteGuard};

/// A lock around a value.
///
/// Invariant: `data` is only touched by who holds `raw`, or by the caller of `data_ptr` on its own account.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T> {
    raw: std::sync::Mutex<()>,
    data: UnsafeCell<T>,
}

// SAFETY: the invariant: one thread at a time touches the value, which may be sent there.
unsafe impl<T: Send> Sync for Mutex<T> {}

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self { raw: std::sync::Mutex::new(()), data: UnsafeCell::new(value) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        let raw = self.raw.lock().unwrap_or_else(PoisonError::into_inner);
        MutexGuard { raw: Some(raw), data: &self.data }
    }

    /// Where the value is. For the holder of a guard that it cannot name.
    pub(crate) fn data_ptr(&self) -> *mut T {
        self.data.get()
    }
}

/// The lock is held.
///
/// Invariant: `raw` is there but inside [`Condvar::wait`], which has the guard to itself.
#[derive(Debug)]
pub(crate) struct MutexGuard<'a, T> {
    raw: Option<std::sync::MutexGuard<'a, ()>>,
    data: &'a UnsafeCell<T>,
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the lock is held, so nobody else touches the value.
        unsafe { &*self.data.get() }
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the lock is held, and the guard is borrowed exclusively.
        unsafe { &mut *self.data.get() }
    }
}

/// Waits with a lock given up meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Condvar(std::sync::Condvar);

/// Whether a wait ended because its time was up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimedOut(bool);

impl TimedOut {
    pub(crate) fn timed_out(self) -> bool {
        self.0
    }
}

impl Condvar {
    pub(crate) const fn new() -> Self {
        Self(std::sync::Condvar::new())
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }

    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        guard.raw = guard.raw.take().map(|raw| self.0.wait(raw).unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, deadline: Instant) -> TimedOut {
        let time = deadline.saturating_duration_since(Instant::now());
        let mut timed_out = true;
        guard.raw = guard.raw.take().map(|raw| {
            let (raw, outcome) = self.0.wait_timeout(raw, time).unwrap_or_else(PoisonError::into_inner);
            timed_out = outcome.timed_out();
            raw
        });
        TimedOut(timed_out)
    }
}

/// A lock for many readers or one writer.
#[derive(Debug)]
pub(crate) struct RwLock<T>(std::sync::RwLock<T>);

impl<T> RwLock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(std::sync::RwLock::new(value))
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

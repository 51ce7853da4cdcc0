//! Locks that a fork waits for.
//!
//! # Problem
//!
//! A child has one thread. A lock that another thread of the parent held at the fork stays locked there for ever; and a
//! lock that keeps a queue of its waiters, as `parking_lot` does, leads into the stacks of threads that are gone. Some
//! locks are statics that the handlers of a fork can name and take. Others come by the thousand: those of chains, arenas,
//! libraries.
//!
//! # Idea
//!
//! One gate stands before all of them. A thread passes it with its first such lock, and leaves it with its last. A fork
//! closes the gate: it waits until nobody is past it, and nobody passes until the fork is over. So the child finds
//! every lock free and every queue empty.
//!
//! ```text
//!  thread A   ──pass── lock 1 ── lock 2 ── unlock ── unlock ──leave──
//!  thread B       fork: ................................ close | fork | open ──
//!  thread C                               pass: ..........................──pass── lock 1 ──
//! ```
//!
//! # Invariants
//!
//! 1. Whoever waits for or holds a [`Gated`] lock is past the gate; `DEPTH` says how many it waits for or holds.
//! 2. The gate is a lock of `std`, a word for `futex`: who waits for it is known to the kernel alone, and a child begins
//!    with nobody waiting.
//!
//! The exception is a thread that forks while it is itself past the gate, from the closure of `replace_with`: it
//! cannot wait for others, who may wait for it. In that child, what other threads held stays locked.

use core::cell::Cell;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

static GATE: RwLock<()> = RwLock::new(());

/// How many forks this process is away from the one that was executed.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// In a child: the thread that forked.
static SURVIVOR: AtomicUsize = AtomicUsize::new(0);
static LAST_THREAD: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Which thread this is; 0 before it is asked.
    static NUMBER: Cell<usize> = const { Cell::new(0) };
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    /// What the thread got when it passed. Without a destructor: a lock may be needed in those of other storage.
    static PASS: Cell<Option<ManuallyDrop<RwLockReadGuard<'static, ()>>>> = const { Cell::new(None) };
    static CLOSED: Cell<Option<ManuallyDrop<RwLockWriteGuard<'static, ()>>>> = const { Cell::new(None) };
}

/// The thread is past the gate until this is dropped. No fork comes meanwhile.
#[derive(Debug)]
pub(crate) struct Past {
    not_send: PhantomData<*const ()>,
}

/// Passes the gate.
pub(crate) fn pass() -> Past {
    let depth = DEPTH.get();
    if depth == 0 {
        PASS.set(Some(ManuallyDrop::new(GATE.read().unwrap_or_else(PoisonError::into_inner))));
    }
    DEPTH.set(depth + 1);
    Past { not_send: PhantomData }
}

impl Drop for Past {
    fn drop(&mut self) {
        let depth = DEPTH.get() - 1;
        DEPTH.set(depth);
        if depth == 0 {
            drop(PASS.take().map(ManuallyDrop::into_inner));
        }
    }
}

/// Closes the gate: waits until nobody is past it. Nothing where this thread is.
#[cfg(target_os = "linux")]
pub(crate) fn before_fork() {
    if DEPTH.get() == 0 {
        CLOSED.set(Some(ManuallyDrop::new(GATE.write().unwrap_or_else(PoisonError::into_inner))));
    }
    // The handlers that follow may use the locks.
    DEPTH.set(DEPTH.get() + 1);
}

/// Opens it, in the parent and in the child.
#[cfg(target_os = "linux")]
pub(crate) fn after_fork() {
    DEPTH.set(DEPTH.get() - 1);
    drop(CLOSED.take().map(ManuallyDrop::into_inner));
}

/// In the child, before it opens the gate.
#[cfg(target_os = "linux")]
pub(crate) fn after_fork_in_child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
    SURVIVOR.store(this_thread(), Ordering::Relaxed);
}

/// How many forks this process is away from the one that was executed.
pub(crate) fn forks() -> u32 {
    FORKS.load(Ordering::Relaxed)
}

/// A number for the calling thread that no other has had, here or in the processes that this one was forked from.
pub(crate) fn this_thread() -> usize {
    if NUMBER.get() == 0 {
        NUMBER.set(LAST_THREAD.fetch_add(1, Ordering::Relaxed) + 1);
    }
    NUMBER.get()
}

/// Whether a thread that ran when [`forks`] was `then` is in this process.
pub(crate) fn is_here(thread: usize, then: u32) -> bool {
    then == forks() || thread == SURVIVOR.load(Ordering::Relaxed)
}

/// Whether the calling thread is past the gate.
pub(crate) fn is_past() -> bool {
    DEPTH.get() != 0
}

/// A lock behind the gate. There may be many; a fork finds all of them free.
#[derive(Debug, Default)]
pub(crate) struct Gated<T>(parking_lot::Mutex<T>);

/// A [`Gated`] lock is held.
#[derive(Debug)]
pub(crate) struct GatedGuard<'a, T> {
    // Dropped first: invariant 1.
    guard: parking_lot::MutexGuard<'a, T>,
    _past: Past,
}

impl<T> Gated<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(parking_lot::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> GatedGuard<'_, T> {
        let past = pass();
        // The program's own threads may have waited in `parking_lot` at the fork: a child keeps out of its queues.
        let guard = if forks() == 0 { self.0.lock() } else { self.poll() };
        GatedGuard { guard, _past: past }
    }

    #[cold]
    fn poll(&self) -> parking_lot::MutexGuard<'_, T> {
        loop {
            if let Some(guard) = self.0.try_lock() {
                return guard;
            }
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    /// The value, without the lock: nobody else knows this.
    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }

    /// Where the value is. For the holder of a guard that it cannot name.
    pub(crate) fn data_ptr(&self) -> *mut T {
        self.0.data_ptr()
    }
}

impl<T> Deref for GatedGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for GatedGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

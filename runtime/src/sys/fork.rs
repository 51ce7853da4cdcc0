//! `fork`: what must be done around one, and what keeps one away for a moment.
//!
//! # Problem
//!
//! A child has one thread. What another thread of the parent was changing at the fork stays half-changed there, and what
//! it had locked stays locked. And code memory is shared: mapped from one file in parent and child, so that either would
//! patch the other.
//!
//! # Idea
//!
//! Whoever must do something around a fork says so: three functions, and an order ([`Around`]). Three handlers, which
//! `fork` itself runs in the thread that calls it, run them:
//!
//! ```text
//!   prepare    order 0, 1, 2 ..., then the lock over stores, and a new epoch
//!   parent     the lock over stores is free again, then ... 2, 1, 0
//!   child      the same, and the child is one fork further from the process that was executed
//! ```
//!
//! The **epoch** says how many forks this process has seen, as the parent or as the child. Code memory remembers the epoch
//! in which it came to be this process's own ([`super::memory`]). Where that is an earlier one, another process may have it
//! mapped, and it is copied before it is written. So a fork costs no copy, and nor does a child that replaces nothing.
//!
//! **Stores** to code memory are made under a lock of their own ([`hold_off`]), so that none is under way at the fork, and
//! none is made between the look at the epoch and the store.
//!
//! # Invariants
//!
//! 1. The epoch changes only while somebody holds the lock over stores, and before they look at it. So it stays for as long as a
//!    [`HeldOff`] lives.
//! 2. Whoever holds the lock over stores waits for nothing, calls nobody, and does not allocate: the allocator may be
//!    behind a slot, and a handler of its own may keep it locked around the fork. So every fork gets that lock, one
//!    from inside the closure of `replace_with` or of an edit, too.
//! 3. Between the handlers the forking thread holds the lock, and does not get it again: another's handler that replaces
//!    something there is refused, and not waited for.
//!
//! The handlers do not allocate, and nothing here or in [`Around`] has a destructor in a thread's storage: a thread may
//! fork while that is being destroyed.
//!
//! `vfork` and `posix_spawn` run no handlers and need none: their child only replaces itself.
//!
//! # `clone` by hand
//!
//! One that shares no memory runs no handlers either, and its child is not supported. But it must not write what its parent
//! executes. So there is a page that the kernel empties in every child ([`Unwiped`]): who is about to store, and finds it empty,
//! is in such a child, and in a new epoch.
#![allow(unsafe_code)]
#![cfg_attr(not(patched), allow(dead_code, reason = "the portable backend writes no code"))]

use core::cell::Cell;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, Once, OnceLock, PoisonError};

/// What somebody does around a fork, in the thread that forks. None of it allocates.
#[derive(Debug)]
pub(crate) struct Around {
    /// The lowest prepares first, and is done last.
    order: usize,
    prepare: fn(),
    parent: fn(),
    child: fn(),
}

/// How many there may be.
const ORDERS: usize = 4;

impl Around {
    /// One of each order, below [`ORDERS`].
    pub(crate) const fn new(order: usize, prepare: fn(), parent: fn(), child: fn()) -> Self {
        assert!(order < ORDERS, "there is room for so many");
        Self { order, prepare, parent, child }
    }
}

/// Those that have been registered, by their order. Each is null, or from a `&'static Around`.
static AROUND: [AtomicPtr<Around>; ORDERS] = [const { AtomicPtr::new(ptr::null_mut()) }; ORDERS];

/// The lock over stores.
static STORES: Mutex<()> = Mutex::new(());
/// See the head of this file. Relaxed everywhere: invariant 1.
static EPOCH: AtomicU32 = AtomicU32::new(0);
/// A page in which there is a one; in a child, after a fork of whatever kind, there is nothing until it says so again.
struct Unwiped(OnceLock<&'static AtomicU8>);

static UNWIPED: Unwiped = Unwiped(OnceLock::new());

impl Unwiped {
    fn make(&self) {
        let Some(page) = super::pages::pages(1) else { return };
        // SAFETY: the page is nobody else's. A kernel before 4.14 refuses, and then there is no such page.
        let refused =
            unsafe { libc::madvise(page.as_ptr().cast(), rustix::param::page_size(), libc::MADV_WIPEONFORK) };
        if refused == 0 {
            // SAFETY: the page stays for ever, and is of zeroes.
            let byte: &'static AtomicU8 = unsafe { page.cast().as_ref() };
            byte.store(1, Ordering::Relaxed);
            let _ = self.0.set(byte);
        }
    }

    /// Whether this is the first look in a child.
    fn is_wiped(&self) -> bool {
        self.0.get().is_some_and(|byte| byte.swap(1, Ordering::Relaxed) == 0)
    }
}

/// How many forks this process is away from the one that was executed. Written before the child has a second thread.
static GENERATION: AtomicU32 = AtomicU32::new(0);

type Stores = ManuallyDrop<MutexGuard<'static, ()>>;

thread_local! {
    /// Between the handlers: the lock over stores. Without a destructor.
    static FORKING: Cell<Option<Stores>> = const { Cell::new(None) };
    static IS_FORKING: Cell<bool> = const { Cell::new(false) };
    /// Between the handlers: of which orders `prepare` has run. Others may be registered meanwhile.
    static PREPARED: Cell<usize> = const { Cell::new(0) };
}

/// From now on, forks do this too. Idempotent.
pub(crate) fn register(around: &'static Around) {
    // Release, partner of the Acquire in `each`.
    AROUND[around.order].store(ptr::from_ref(around).cast_mut(), Ordering::Release);
    register_handlers();
}

/// Registers the handlers, the first time.
pub(crate) fn register_handlers() {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        UNWIPED.make();
        // SAFETY: the three have the signature asked for and live for ever.
        let refused = unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) };
        if refused != 0 {
            let error = std::io::Error::from_raw_os_error(refused);
            tracing::warn!(target: "hotcall", %error, "pthread_atfork was refused: do not replace after a fork");
        }
    });
}

fn registered(order: usize) -> Option<&'static Around> {
    // Acquire, partner of the Release in `register`.
    let around = AROUND[order].load(Ordering::Acquire);
    // SAFETY: null, or from a `&'static Around`.
    unsafe { around.as_ref() }
}

/// Those that have prepared, the highest order first.
fn prepared() -> impl Iterator<Item = &'static Around> {
    let prepared = PREPARED.replace(0);
    (0..ORDERS).rev().filter(move |order| prepared & (1 << order) != 0).filter_map(registered)
}

extern "C" fn prepare() {
    let mut prepared = 0;
    for around in (0..ORDERS).filter_map(registered) {
        (around.prepare)();
        prepared |= 1 << around.order;
    }
    PREPARED.set(prepared);
    let stores = STORES.lock().unwrap_or_else(PoisonError::into_inner);
    EPOCH.fetch_add(1, Ordering::Relaxed);
    FORKING.set(Some(ManuallyDrop::new(stores)));
    IS_FORKING.set(true);
}

fn let_stores_go_on() {
    IS_FORKING.set(false);
    drop(FORKING.take().map(ManuallyDrop::into_inner));
}

extern "C" fn parent() {
    let_stores_go_on();
    prepared().for_each(|around| (around.parent)());
}

extern "C" fn child() {
    // It is known here.
    UNWIPED.is_wiped();
    GENERATION.fetch_add(1, Ordering::Relaxed);
    let_stores_go_on();
    prepared().for_each(|around| (around.child)());
}

/// How many forks this process is away from the one that was executed.
pub(crate) fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// The epoch: see the head of this file. By the time that this is answered it may be over, unless a [`HeldOff`] lives.
pub(crate) fn epoch() -> u32 {
    EPOCH.load(Ordering::Relaxed)
}

/// No fork comes, and nobody else stores to code memory, while this lives. Invariant 2 of this file is its holder's.
#[derive(Debug)]
pub(crate) struct HeldOff {
    _stores: MutexGuard<'static, ()>,
    not_send: PhantomData<*const ()>,
}

impl HeldOff {
    /// The epoch, which does not change while this lives.
    pub(crate) fn epoch(&self) -> u32 {
        epoch()
    }
}

/// Keeps forks away, and everybody else who stores to code memory. `None` between the handlers of this thread's own fork
/// (invariant 3).
pub(crate) fn hold_off() -> Option<HeldOff> {
    if IS_FORKING.get() {
        return None;
    }
    let stores = STORES.lock().unwrap_or_else(PoisonError::into_inner);
    if UNWIPED.is_wiped() {
        // Nobody else stores, and what is looked at from here on is of this epoch (invariant 1).
        EPOCH.fetch_add(1, Ordering::Relaxed);
    }
    Some(HeldOff { _stores: stores, not_send: PhantomData })
}

#[cfg(test)]
/// Runs `child` in a forked child; whether it said yes.
pub(crate) fn in_child(child: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child leaves by `_exit`; what it allocates before is glibc's to allow, which locks around `fork`.
    match unsafe { libc::fork() } {
        0 => {
            let code = i32::from(!child());
            // SAFETY: ends the child.
            unsafe { libc::_exit(code) }
        }
        pid => {
            let mut status = 0;
            // SAFETY: waits for our own child.
            let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
            waited == pid && libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fork_is_another_epoch_in_both() {
        register_handlers();
        let before = epoch();
        assert!(in_child(|| epoch() > before && generation() > 0 && hold_off().is_some()));
        assert!(epoch() > before);
        assert_eq!(generation(), 0);
    }
}

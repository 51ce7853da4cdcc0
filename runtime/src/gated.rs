//! Locks that a fork waits for.
//!
//! # Problem
//!
//! A child has one thread. A lock that another thread of the parent held at the fork stays locked there for ever; and what
//! it protects may be half-changed. Some locks are statics that the handlers of a fork can name and take. Others come by the
//! thousand: those of chains, arenas, libraries.
//!
//! # Idea
//!
//! One gate stands before all of them. A thread passes it with its first such lock, and leaves it with its last. A fork
//! closes the gate: it waits until nobody is past it, and nobody passes until the fork is over. So the child finds
//! every lock free.
//!
//! ```text
//!  thread A   ──pass── lock 1 ── lock 2 ── unlock ── unlock ──leave──
//!  thread B       fork: ................................ close | fork | open ──
//!  thread C                               pass: ..........................──pass── lock 1 ──
//! ```
//!
//! A fork cannot wait for code of the user's that runs past the gate, while a library is loaded: its constructors may wait for the thread that forks, or be it. Such a thread **rests** ([`rest`]): it has changed
//! nothing by halves, and when it would go on, it waits until the gate is open. Nor can a fork wait for who waits for a
//! lock of such a thread's: while there is one, who waits for a lock rests, too. What a thread that rests has locked is
//! free in the child: there nobody is left who holds it. What it was about to change may be as before or as after.
//!
//! # What a fork waits for
//!
//! | it waits for | which ends because |
//! |---|---|
//! | threads past the gate that do not rest | they run no code of the user's but the allocator's, and wait for none |
//! | the locks of the reclaimer's queue, of the guards' registry, and over stores to code memory | they are held for a few instructions, and no lock is waited for under them |
//!
//! An allocator that locks something around a fork, by handlers that it registers *after* the first replacement, keeps those
//! threads from ending. One that registers them when the program starts does not: handlers run in the reverse order.
//!
//! # Invariants
//!
//! 1. Whoever waits for or holds a [`Gated`] lock is past the gate; `DEPTH` says how many it waits for or holds.
//! 2. A lock's `owner` names its holder: the thread, and the process in which it was locked. In another process a lock is
//!    held if its holder is the thread that forked. That thread is the only one that a child has.
//! 3. All waiting is done with locks and condition variables of `std`, words for `futex`: who waits is known to the kernel
//!    alone, and a child begins with nobody waiting. Their own short locks are held by the thread that forks.

use core::cell::{Cell, UnsafeCell};
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use crate::lock::{Condvar, Mutex, MutexGuard, lock};
#[cfg(target_os = "linux")]
use crate::sys::fork::Around;

/// Who is where.
#[derive(Debug)]
struct Gate {
    past: usize,
    /// Of those past it.
    resting: usize,
    /// Closures of the user's that are running past the gate.
    in_closures: usize,
    /// Threads that fork, or wait to do so: nobody passes, and nobody who rests goes on.
    closing: usize,
}

impl Gate {
    const OPEN: Self = Self { past: 0, resting: 0, in_closures: 0, closing: 0 };

    /// Whether a fork may come; `own` is 1 where the thread that forks is past the gate and does not rest.
    #[cfg(target_os = "linux")]
    fn lets_fork(&self, own: usize) -> bool {
        self.past - self.resting == own && (self.resting == 0 || self.in_closures != 0)
    }
}

static GATE: Mutex<Gate> = Mutex::new(Gate::OPEN);
/// Somebody left, rests, or opened the gate.
static MOVED: Condvar = Condvar::new();

/// Who waits for a [`Gated`] lock does so here. Held for a few instructions.
static PARK: Mutex<()> = Mutex::new(());
static FREED: Condvar = Condvar::new();

/// In a child: the thread that forked. Partner: written in the handlers, when the child has no other thread.
static SURVIVOR: AtomicU32 = AtomicU32::new(0);

type Held<T> = Cell<Option<ManuallyDrop<MutexGuard<'static, T>>>>;

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    static RESTS: Cell<bool> = const { Cell::new(false) };
    /// In how many closures of the user's the thread is, one inside the other.
    static IN_CLOSURES: Cell<usize> = const { Cell::new(0) };
    /// Between the handlers of a fork. Without destructors: a thread may fork while its storage is being destroyed.
    static CLOSED: Held<Gate> = const { Cell::new(None) };
    static PARKED: Held<()> = const { Cell::new(None) };
    static ME: Cell<u32> = const { Cell::new(0) };
}

/// A number for the calling thread that no other has had, here or in the processes that this one was forked from.
pub(crate) fn this_thread() -> u32 {
    static LAST: AtomicU32 = AtomicU32::new(0);
    if ME.get() == 0 {
        ME.set(LAST.fetch_add(1, Ordering::Relaxed) + 1);
    }
    ME.get()
}

/// Waits until no thread forks.
fn wait_until_open() -> MutexGuard<'static, Gate> {
    let mut gate = lock(&GATE);
    while gate.closing != 0 {
        (gate, _) = crate::lock::wait(&MOVED, gate, None);
    }
    gate
}

/// After a step that a fork may wait for.
fn moved(gate: &Gate) {
    if gate.closing != 0 {
        MOVED.notify_all();
    }
}

/// The thread is past the gate until this is dropped. No fork comes meanwhile.
#[derive(Debug)]
pub(crate) struct Past {
    /// The thread rested: it is in a closure that has called back.
    rested: bool,
    not_send: PhantomData<*const ()>,
}

/// Passes the gate.
pub(crate) fn pass() -> Past {
    let depth = DEPTH.get();
    let rested = RESTS.get();
    if depth == 0 {
        wait_until_open().past += 1;
    } else if rested {
        go_on();
    }
    DEPTH.set(depth + 1);
    Past { rested, not_send: PhantomData }
}

impl Drop for Past {
    fn drop(&mut self) {
        let depth = DEPTH.get() - 1;
        DEPTH.set(depth);
        if depth == 0 {
            let mut gate = lock(&GATE);
            gate.past -= 1;
            moved(&gate);
        } else if self.rested {
            begin_rest();
        }
    }
}

fn begin_rest() {
    RESTS.set(true);
    let mut gate = lock(&GATE);
    gate.resting += 1;
    moved(&gate);
}

/// Ends a rest. While no closure runs, a fork waits for who had to wait for a lock.
fn go_on() {
    let mut gate = lock(&GATE);
    while gate.closing != 0 && gate.in_closures != 0 {
        (gate, _) = crate::lock::wait(&MOVED, gate, None);
    }
    gate.resting -= 1;
    drop(gate);
    RESTS.set(false);
}

/// Runs code of the user's past the gate: nothing is changed by halves, and what it does may wait for others.
#[cfg(patched)]
pub(crate) fn rest<R>(user: impl FnOnce() -> R) -> R {
    struct InClosure;
    impl Drop for InClosure {
        fn drop(&mut self) {
            go_on();
            IN_CLOSURES.set(IN_CLOSURES.get() - 1);
            lock(&GATE).in_closures -= 1;
        }
    }
    IN_CLOSURES.set(IN_CLOSURES.get() + 1);
    lock(&GATE).in_closures += 1;
    begin_rest();
    let _in_closure = InClosure;
    user()
}

/// The gate, around a fork: before everything else, for whoever is past it may need all other locks.
#[cfg(target_os = "linux")]
static AROUND_FORK: Around = Around::new(0, close, open_in_parent, open_in_child);

/// From now on, a fork waits until nobody is past the gate.
pub(crate) fn register_fork() {
    #[cfg(target_os = "linux")]
    crate::sys::fork::register(&AROUND_FORK);
}

/// Closes the gate: see the head of this file.
#[cfg(target_os = "linux")]
fn close() {
    let is_past = DEPTH.get() != 0;
    // From an allocator past the gate, for instance.
    let own = usize::from(is_past && !RESTS.get());
    let mut gate = lock(&GATE);
    gate.closing += 1;
    // Its own locks may be waited for.
    gate.in_closures += usize::from(is_past);
    while !gate.lets_fork(own) {
        (gate, _) = crate::lock::wait(&MOVED, gate, None);
    }
    CLOSED.set(Some(ManuallyDrop::new(gate)));
    PARKED.set(Some(ManuallyDrop::new(lock(&PARK))));
    // The handlers that follow may use the locks.
    DEPTH.set(DEPTH.get() + 1);
}

#[cfg(target_os = "linux")]
fn open_in_parent() {
    open(|gate| {
        gate.closing -= 1;
        gate.in_closures -= usize::from(DEPTH.get() != 0);
    });
    MOVED.notify_all();
}

/// There is no other thread here.
#[cfg(target_os = "linux")]
fn open_in_child() {
    // Relaxed: whoever reads it was started by this thread.
    SURVIVOR.store(this_thread(), Ordering::Relaxed);
    open(|gate| {
        let (past, resting) = (usize::from(DEPTH.get() != 0), usize::from(RESTS.get()));
        *gate = Gate { past, resting, in_closures: IN_CLOSURES.get(), closing: 0 };
    });
}

#[cfg(target_os = "linux")]
fn open(change: impl FnOnce(&mut Gate)) {
    DEPTH.set(DEPTH.get() - 1);
    drop(PARKED.take().map(ManuallyDrop::into_inner));
    if let Some(mut gate) = CLOSED.take().map(ManuallyDrop::into_inner) {
        change(&mut gate);
    }
}

/// How many forks this process is away from the one that was executed.
pub(crate) fn forks() -> u32 {
    #[cfg(target_os = "linux")]
    return crate::sys::fork::generation();
    #[cfg(not(target_os = "linux"))]
    0
}

/// Whether a thread that ran when [`forks`] was `then` is in this process.
pub(crate) fn is_here(thread: u32, then: u32) -> bool {
    then == forks() || thread == SURVIVOR.load(Ordering::Relaxed)
}

/// Whether the calling thread is past the gate.
pub(crate) fn is_past() -> bool {
    DEPTH.get() != 0
}

/// A holder: the process in which it locked, and the thread.
#[derive(Clone, Copy)]
struct Owner(u64);

impl Owner {
    fn this() -> Self {
        Self(u64::from(forks()) << 32 | u64::from(this_thread()))
    }

    /// Whether there is no such thread in this process: invariant 2.
    fn is_gone(self) -> bool {
        // 0 is who has just locked it, and has not said so yet.
        self.0 != 0 && (self.0 >> 32) as u32 != forks() && self.0 as u32 != SURVIVOR.load(Ordering::Relaxed)
    }
}

const FREE: u8 = 0;
const LOCKED: u8 = 1;
/// Somebody waits for it.
const AWAITED: u8 = 2;

/// A lock behind the gate. There may be many; a fork finds all of them free, or held by who rests.
///
/// Invariant 4: `value` is used by the holder of the lock, and by whoever has this exclusively.
#[derive(Debug)]
pub(crate) struct Gated<T> {
    state: AtomicU8,
    owner: AtomicU64,
    value: UnsafeCell<T>,
}

// SAFETY: invariant 4: one thread at a time uses the value, which may go from one to the other.
#[allow(unsafe_code)]
unsafe impl<T: Send> Sync for Gated<T> {}

/// A [`Gated`] lock is held.
#[derive(Debug)]
pub(crate) struct GatedGuard<'a, T> {
    // Dropped first: invariant 1.
    held: Locked<'a, T>,
    _past: Past,
}

#[derive(Debug)]
struct Locked<'a, T>(&'a Gated<T>);

impl<T> Gated<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self { state: AtomicU8::new(FREE), owner: AtomicU64::new(0), value: UnsafeCell::new(value) }
    }

    pub(crate) fn lock(&self) -> GatedGuard<'_, T> {
        let past = pass();
        // Acquire, partner of the Release in the drop of `Locked`.
        if self.state.compare_exchange(FREE, LOCKED, Ordering::Acquire, Ordering::Relaxed).is_err() {
            self.wait();
        }
        // Relaxed: read by who waits, under `PARK`, and believed only if it is of another process.
        self.owner.store(Owner::this().0, Ordering::Relaxed);
        GatedGuard { held: Locked(self), _past: past }
    }

    #[cold]
    fn wait(&self) {
        begin_rest();
        let mut park = lock(&PARK);
        // Acquire, partner of the Release in the drop of `Locked`. Who frees an awaited lock takes `PARK` to say so.
        while self.state.swap(AWAITED, Ordering::Acquire) != FREE {
            if Owner(self.owner.load(Ordering::Relaxed)).is_gone() {
                break;
            }
            (park, _) = crate::lock::wait(&FREED, park, None);
        }
        // Under `PARK`, so that nobody else finds a holder that is gone.
        self.owner.store(Owner::this().0, Ordering::Relaxed);
        drop(park);
        go_on();
    }

    /// The value, without the lock: nobody else knows this.
    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<T: Default> Default for Gated<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> Drop for Locked<'_, T> {
    fn drop(&mut self) {
        // Relaxed: a lock that is held at a fork names its holder, one that is free names nobody.
        self.0.owner.store(0, Ordering::Relaxed);
        // Release, partner of the Acquires in `lock` and `wait`.
        if self.0.state.swap(FREE, Ordering::Release) == AWAITED {
            let _park = lock(&PARK);
            FREED.notify_all();
        }
    }
}

impl<T> Deref for GatedGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: invariant 4.
        #[allow(unsafe_code)]
        unsafe {
            &*self.held.0.value.get()
        }
    }
}

impl<T> DerefMut for GatedGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: invariant 4; the guard is borrowed exclusively.
        #[allow(unsafe_code)]
        unsafe {
            &mut *self.held.0.value.get()
        }
    }
}

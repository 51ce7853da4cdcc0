//! Guards: one epoch pin, hoisted out of a loop.

use core::cell::{Cell, RefCell};
use core::fmt;
use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::Arc;

use crate::gated;
use crate::lock::{RwLock, RwLockWriteGuard, read, write};
use crossbeam_epoch::{Collector, LocalHandle};

/// The collector of this runtime. A private one: crossbeam's default is a static of which every shared
/// library has its own. A forked child gets a new one, for in the old one threads stay pinned that it has not.
static COLLECTOR: RwLock<Option<Collector>> = RwLock::new(None);
/// In a child: guards that its first thread holds from before the fork.
static INHERITED: AtomicUsize = AtomicUsize::new(0);

/// Guards of threads that are no part of the collector: see [`epoch_pin`].
static ANONYMOUS: AtomicUsize = AtomicUsize::new(0);

/// A thread's part in the collector.
struct Registered {
    handle: LocalHandle,
    forks: u32,
}

thread_local! {
    static REGISTERED: RefCell<Registered> = RefCell::new(register());
    /// The thread is becoming a part of the collector.
    static REGISTERING: Cell<bool> = const { Cell::new(false) };
    /// How many guards the thread holds, pinned sections among them.
    static HELD: Cell<usize> = const { Cell::new(0) };
}

fn register() -> Registered {
    struct Registering;
    impl Drop for Registering {
        fn drop(&mut self) {
            REGISTERING.set(false);
        }
    }
    REGISTERING.set(true);
    let _registering = Registering;
    let forks = gated::forks();
    if let Some(collector) = &*read(&COLLECTOR) {
        return Registered { handle: collector.register(), forks };
    }
    let mut collector = write(&COLLECTOR);
    Registered { handle: collector.get_or_insert_with(Collector::new).register(), forks }
}

/// Pins the calling thread: nothing that a slot holds from now on is freed before the guard is dropped.
///
/// A guard costs a full fence, once; calls through what is bound to it cost what a direct call costs. Hold
/// it for a block of work, not for ever: while any guard is held, what is replaced waits.
///
/// * A guard that is held for ever costs memory and nothing else: replacing goes on, every call is right, and
///   nothing is freed. Guards that overlap on one thread count as one, from the first to the last.
/// * Waiting for a [`Retired`](crate::Retired) with a guard held is refused: it would never end.
/// * Not from a signal handler: a pin may allocate, and the handler may have interrupted another.
///
/// ```
/// # use hotcall::{dispatch, slot};
/// # #[dispatch] pub trait Effect: Send + Sync { fn process(&self, sample: f32) -> f32; }
/// # struct Bypass; impl Effect for Bypass { fn process(&self, s: f32) -> f32 { s } }
/// # #[slot] pub static EFFECT: dyn Effect = Bypass;
/// let mut block = [0.5_f32; 64];
/// let guard = hotcall::pin();
/// let effect = EFFECT.bind(&guard);
/// for sample in &mut block {
///     *sample = effect.process(*sample);
/// }
/// ```
#[must_use = "what is bound to a guard is only protected while the guard lives"]
pub fn pin() -> Guard {
    let (epoch, forks) = epoch_pin();
    // Nothing to count in a thread whose storage is being destroyed: it ends.
    let _ = HELD.try_with(|held| held.set(held.get() + 1));
    super::section::serialise_if_stale();
    Guard { epoch, forks }
}

/// Pins the thread's part in the collector. `None` where it has none, and there the guard is merely counted: while
/// any such guard is held, no grace period ends. That is so in two moments, both of them short: while the thread
/// registers, which allocates, and the allocator may be behind a slot; and while its storage is being destroyed.
fn epoch_pin() -> (Option<crossbeam_epoch::Guard>, u32) {
    let pinned = if REGISTERING.get() { None } else { REGISTERED.try_with(pin_registered).ok() };
    let Some((epoch, forks)) = pinned else {
        ANONYMOUS.fetch_add(1, Ordering::SeqCst);
        // Partner of the fence in `wait_until_passed`: it sees the count, or this guard sees what has replaced.
        fence(Ordering::SeqCst);
        return (None, gated::forks());
    };
    (Some(epoch), forks)
}

fn pin_registered(registered: &RefCell<Registered>) -> (crossbeam_epoch::Guard, u32) {
    let forks = gated::forks();
    if registered.borrow().forks != forks {
        // The old handle is of the parent's collector, which is never used here again.
        core::mem::forget(registered.replace(register()));
    }
    (registered.borrow().handle.pin(), forks)
}

/// Waits until every guard that is held now is gone; `pause` is called between looks.
pub(crate) fn wait_until_passed(mut pause: impl FnMut()) {
    let registered = register();
    let passed = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&passed);
    let pinned = registered.handle.pin();
    // Release, partner of the Acquire below: what the guards protected was last used before.
    pinned.defer(move || told.store(true, Ordering::Release));
    drop(pinned);
    // Partner of the fence in `epoch_pin`.
    fence(Ordering::SeqCst);
    // Acquire, partners of the Releases in `Guard::drop`.
    let counted = || INHERITED.load(Ordering::Acquire) != 0 || ANONYMOUS.load(Ordering::Acquire) != 0;
    while !passed.load(Ordering::Acquire) || counted() {
        // Moves the epoch on if every pinned thread has seen the current one.
        registered.handle.pin().flush();
        pause();
    }
}

thread_local! {
    /// In the handlers of a fork: the lock, so that the child does not inherit it from a thread that it has not.
    ///
    /// Without a destructor: a thread may fork while its storage is being destroyed.
    static FORKING: Cell<Option<ManuallyDrop<RwLockWriteGuard<'static, Option<Collector>>>>> =
        const { Cell::new(None) };
}

/// Keeps threads from registering until the fork is over.
pub(crate) fn before_fork() {
    FORKING.set(Some(ManuallyDrop::new(write(&COLLECTOR))));
}

pub(crate) fn after_fork_in_parent() {
    drop(FORKING.take().map(ManuallyDrop::into_inner));
}

/// In a forked child: the guards of other threads are gone, those of this one are counted by hand.
pub(crate) fn after_fork_in_child() {
    INHERITED.store(HELD.try_with(Cell::get).unwrap_or(0), Ordering::Relaxed);
    ANONYMOUS.store(0, Ordering::Relaxed);
    if let Some(mut collector) = FORKING.take().map(ManuallyDrop::into_inner) {
        // Nobody runs what is left in the old one: its threads are not here. The next is made when it is needed, for the
        // handlers of a fork do not allocate.
        core::mem::forget(collector.take());
    }
}

/// Whether the calling thread holds a guard.
pub(crate) fn is_pinned() -> bool {
    HELD.try_with(Cell::get).unwrap_or(0) != 0
}

/// Protects what is bound to it. Made by [`pin`]; not `Send`.
pub struct Guard {
    epoch: Option<crossbeam_epoch::Guard>,
    forks: u32,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = HELD.try_with(|held| held.set(held.get() - 1));
        let inherited = self.forks != gated::forks();
        // Release, partner of the Acquire in `wait_until_passed`.
        match (&self.epoch, inherited) {
            (Some(_), false) => {}
            (_, true) => {
                INHERITED.fetch_sub(1, Ordering::Release);
            }
            (None, false) => {
                ANONYMOUS.fetch_sub(1, Ordering::Release);
            }
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guard")
    }
}

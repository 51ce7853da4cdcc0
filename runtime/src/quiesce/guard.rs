//! Guards: one epoch pin, hoisted out of a loop.

use core::cell::Cell;
use core::fmt;
use std::sync::OnceLock;

use crossbeam_epoch::{Collector, LocalHandle};

/// The collector of this runtime. A private one: crossbeam's default is a static of which every shared
/// library has its own.
pub(crate) fn collector() -> &'static Collector {
    static COLLECTOR: OnceLock<Collector> = OnceLock::new();
    COLLECTOR.get_or_init(Collector::new)
}

thread_local! {
    static HANDLE: LocalHandle = collector().register();
    /// How many guards and pinned sections the thread holds.
    static HELD: Cell<usize> = const { Cell::new(0) };
}

/// Pins the calling thread: nothing that a slot holds from now on is freed before the guard is dropped.
///
/// A guard costs a full fence, once; calls through what is bound to it cost what a direct call costs. Hold
/// it for a block of work, not for ever: while any guard is held, what is replaced waits.
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
    let epoch = epoch_pin();
    // Nothing to count in a thread whose storage is being destroyed: it ends.
    let _ = HELD.try_with(|held| held.set(held.get() + 1));
    super::section::serialise_if_stale();
    Guard { _epoch: epoch }
}

fn epoch_pin() -> crossbeam_epoch::Guard {
    // In a destructor of thread-local storage the handle may be gone: a handle for this one pin does.
    HANDLE.try_with(LocalHandle::pin).unwrap_or_else(|_| collector().register().pin())
}

/// Whether the calling thread holds a guard.
pub(crate) fn is_pinned() -> bool {
    HELD.try_with(Cell::get).unwrap_or(0) != 0
}

/// Protects what is bound to it. Made by [`pin`]; not `Send`.
pub struct Guard {
    _epoch: crossbeam_epoch::Guard,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = HELD.try_with(|held| held.set(held.get() - 1));
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guard")
    }
}

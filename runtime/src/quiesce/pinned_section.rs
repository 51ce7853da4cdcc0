//! The section where there are no records: an epoch pin around every call. On Linux it is only tested
//! (`--cfg hotcall_epoch`); forks are not provided for.
//!
//! Mirrors `section.rs`, name for name.

use core::cell::Cell;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Arc, OnceLock};

use crossbeam_epoch::{Collector, LocalHandle};

use super::Sections;

/// Which kind of section the calling thread's next plain call takes: always pinned, here.
#[must_use]
pub fn sections() -> Sections {
    Sections::Pinned
}

/// Forces the calling thread's plain calls into pinned sections: they are, here.
pub fn force_pinned_sections(_force: bool) {}

/// The collector of this runtime. A private one: crossbeam's default is a static of which every shared library has its own.
static COLLECTOR: OnceLock<Collector> = OnceLock::new();

/// Sections of threads that are no part of the collector: see [`Section::enter`].
static ANONYMOUS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static LOCAL: LocalHandle = register();
    /// The thread is becoming a part of the collector.
    static REGISTERING: Cell<bool> = const { Cell::new(false) };
    /// How many of the thread's sections are anonymous.
    static HELD: Cell<usize> = const { Cell::new(0) };
}

fn register() -> LocalHandle {
    struct Registering;
    impl Drop for Registering {
        fn drop(&mut self) {
            REGISTERING.set(false);
        }
    }
    REGISTERING.set(true);
    let _registering = Registering;
    COLLECTOR.get_or_init(Collector::new).register()
}

/// While it lives, nothing that the thread finds in a slot is freed. Not `Send`.
pub struct Section {
    pin: Option<crossbeam_epoch::Guard>,
}

impl Section {
    /// Begins a section: pins the thread's part in the collector. Where it has none, the section is merely counted: while
    /// there is any such section, no grace period ends. That is so in two moments, both of them short: while the thread
    /// registers, which allocates, and the allocator may be behind a slot; and while its storage is being destroyed.
    #[inline]
    pub(crate) fn enter() -> Self {
        let pin = if REGISTERING.get() { None } else { LOCAL.try_with(LocalHandle::pin).ok() };
        if pin.is_none() {
            HELD.set(HELD.get() + 1);
            ANONYMOUS.fetch_add(1, Ordering::SeqCst);
            // Partner of the fence in `wait_for_readers`: it sees the count, or this section sees what has replaced.
            fence(Ordering::SeqCst);
        }
        Self { pin }
    }
}

impl Drop for Section {
    #[inline]
    fn drop(&mut self) {
        if self.pin.is_none() {
            HELD.set(HELD.get() - 1);
            // Release, partner of the Acquire in `wait_for_readers`.
            ANONYMOUS.fetch_sub(1, Ordering::Release);
        }
    }
}

/// Whether the calling thread is inside a call or holds a guard: then it must not wait for a grace period.
pub(crate) fn is_protected() -> bool {
    let pinned = !REGISTERING.get() && LOCAL.try_with(LocalHandle::is_pinned).unwrap_or(false);
    pinned || HELD.get() != 0
}

/// No code is written here, and pins have fences of their own.
pub(crate) fn heavy_barrier() {}

/// As above.
pub(crate) fn serialise_if_stale() {}

/// Waits until every section that is there now is over; or until `go_on`, which is asked between looks, says no. Whether they are
/// over.
pub(crate) fn wait_for_readers(mut go_on: impl FnMut() -> bool) -> bool {
    let local = register();
    let passed = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&passed);
    let pinned = local.pin();
    // Release, partner of the Acquire below: what the sections protected was last used before.
    pinned.defer(move || told.store(true, Ordering::Release));
    drop(pinned);
    // Partner of the fence in `enter`.
    fence(Ordering::SeqCst);
    // Acquire, partner of the Releases in `drop`.
    while !passed.load(Ordering::Acquire) || ANONYMOUS.load(Ordering::Acquire) != 0 {
        // Moves the epoch on if every pinned thread has seen the current one.
        local.pin().flush();
        if !go_on() {
            return false;
        }
    }
    true
}

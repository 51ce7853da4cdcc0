//! The section that every plain call runs in and every guard holds, and how a thread chooses between its two kinds.

use core::cell::Cell;
use core::marker::PhantomData;

use super::recordless;
use super::record::{Counter, Record};
use super::registry::{self, NEGATIVE};
use crate::sabotage::{self, Sabotage};
use crate::sys::barrier;

/// How plain calls and guards of a thread are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sections {
    /// Two plain stores to the thread's record; who replaces pays with `membarrier`.
    Asymmetric,
    /// A full fence at each beginning: where the system has no `membarrier`; and on systems other than Linux, where it is
    /// that of an epoch pin.
    ///
    /// Elsewhere than on Linux, a signal handler may not call slots: it may have interrupted a pin of its own thread half-way.
    Pinned,
}

thread_local! {
    static FORCED: Cell<bool> = const { Cell::new(false) };
}

/// Which kind of section the calling thread's next plain call takes.
///
/// ```
/// println!("calls are protected by {:?} sections", hotcall::sections());
/// ```
#[must_use]
pub fn sections() -> Sections {
    if FORCED.get() || !barrier::is_available() { Sections::Pinned } else { Sections::Asymmetric }
}

/// Forces the calling thread's sections to be pinned ones, or lets it choose again.
///
/// Both kinds are always waited for, so threads may differ, and a thread may change its mind inside a call. For tests and
/// comparisons.
pub fn force_pinned_sections(force: bool) {
    FORCED.set(force);
    registry::choose(sections() == Sections::Asymmetric);
}

/// While it lives, nothing that the thread finds in a slot is freed. Not `Send`.
///
/// Sections of a thread nest, and overlap, and end in any order.
///
/// Invariant: `counter` is one of the thread's record, in which this section is counted, and held `count` before; or it is
/// [`NEGATIVE`], the section is one of [`recordless`], and `count` says which.
pub struct Section {
    counter: &'static Counter,
    count: isize,
    not_send: PhantomData<*const ()>,
}

impl Section {
    /// Begins a section. Small enough to be inlined at every call.
    #[inline(always)]
    pub(crate) fn enter() -> Self {
        let counter = registry::current().now();
        let count = counter.get();
        if count < 0 {
            return Self::enter_slowly();
        }
        counter.enter(count);
        Self::counted(counter, count)
    }

    #[inline(always)]
    fn counted(counter: &'static Counter, count: isize) -> Self {
        Self { counter, count, not_send: PhantomData }
    }

    /// The thread has no record yet, or is not to use it without a fence.
    #[cold]
    #[inline(never)]
    fn enter_slowly() -> Self {
        let fast = sections() == Sections::Asymmetric;
        match registry::own_or_register() {
            Some(record) if fast => {
                registry::choose(true);
                Self::enter_asymmetric(record)
            }
            Some(record) => Self::enter_fenced(record),
            None => Self::counted(&NEGATIVE, recordless::enter()),
        }
    }

    fn enter_asymmetric(record: &'static Record) -> Self {
        let counter = record.now();
        let count = counter.get();
        counter.enter(count);
        Self::counted(counter, count)
    }

    fn enter_fenced(record: &'static Record) -> Self {
        let counter = record.now();
        let count = counter.get();
        counter.enter_fenced(count);
        stale::serialise();
        Self::counted(counter, count)
    }

    /// Sections that do not nest, or a thread without a record.
    #[cold]
    #[inline(never)]
    fn leave_slowly(counter: &'static Counter, count: isize) {
        if core::ptr::eq(counter, &NEGATIVE) {
            recordless::leave(count);
        } else if sabotage::is(Sabotage::SectionsNest) {
            counter.reset(count);
        } else {
            counter.leave_any();
        }
    }
}

impl Drop for Section {
    #[inline(always)]
    fn drop(&mut self) {
        if !self.counter.leave_nested(self.count) {
            Self::leave_slowly(self.counter, self.count);
        }
    }
}

/// Whether the calling thread is inside a call or holds a guard: then it must not wait for a grace period.
pub(crate) fn is_protected() -> bool {
    #[cfg(patched)]
    if super::linked::is_protected() {
        return true;
    }
    is_protected_here()
}

/// The same, as far as this copy of hotcall knows.
pub(crate) fn is_protected_here() -> bool {
    registry::own().is_some_and(|record| !record.is_outside()) || recordless::is_inside()
}

/// After something was made unreachable, or code was written: every running thread passes a full barrier and, where calls are
/// patched, drops what it has prefetched.
///
/// Without `membarrier`, only this thread passes one, and the others do as they begin sections.
pub(crate) fn heavy_barrier() {
    if barrier::is_available() {
        barrier::heavy();
    } else {
        core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
        stale::code_written();
        #[cfg(patched)]
        super::linked::code_written();
    }
}

/// Whether [`heavy_barrier`] reaches other threads at once.
#[cfg(patched)]
pub(crate) fn has_barrier() -> bool {
    barrier::is_available()
}

pub(crate) use stale::serialise as serialise_if_stale;
#[cfg(patched)]
pub(crate) use stale::code_written;

/// Where no `membarrier` is to be had: a thread serialises its core if code was written since it last did.
#[cfg(patched)]
mod stale {
    use core::cell::Cell;
    use core::sync::atomic::{AtomicUsize, Ordering};

    use crate::sys::barrier;

    /// Counts what has been retargeted where no barrier reaches other threads.
    static CODE_VERSION: AtomicUsize = AtomicUsize::new(0);

    thread_local! {
        static SEEN_VERSION: Cell<usize> = const { Cell::new(0) };
    }

    /// Sections that begin from now on serialise their cores first.
    pub(crate) fn code_written() {
        // SeqCst, partner of the load in `serialise`.
        CODE_VERSION.fetch_add(1, Ordering::SeqCst);
    }

    /// Called when a section has begun, so that it runs the new target if it began after the retarget.
    #[inline]
    pub(crate) fn serialise() {
        if !barrier::is_available() {
            // SeqCst, partner of the increment in `code_written`.
            let version = CODE_VERSION.load(Ordering::SeqCst);
            let seen = SEEN_VERSION.replace(version);
            if seen != version {
                crate::arch::serialise();
            }
        }
    }
}

/// No code is written in the portable backend.
#[cfg(not(patched))]
mod stale {
    pub(crate) fn code_written() {}
    #[inline(always)]
    pub(crate) fn serialise() {}
}

/// Waits until every section that is there now is over; `pause` is called between looks. The caller has passed the
/// heavy barrier.
pub(crate) fn wait_for_readers(mut pause: impl FnMut()) {
    let cookie = registry::GRACE.cookie();
    while !registry::GRACE.poll(cookie, &registry::All) {
        pause();
    }
}

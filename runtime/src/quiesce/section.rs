//! The section that every plain call runs in, and how a thread chooses between its two kinds.

use core::cell::Cell;
use core::marker::PhantomData;
use core::sync::atomic::{AtomicUsize, Ordering};

use super::guard::{self, Guard};
use super::linked;
use super::record::{OUTSIDE, Record, UNREGISTERED};
use super::registry;
use crate::sys::barrier;

/// How plain calls of a thread are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sections {
    /// Two plain stores to the thread's record; who replaces pays with `membarrier`.
    Asymmetric,
    /// An epoch pin around each call: where the system has no `membarrier`, and in the portable backend.
    ///
    /// A signal handler may not call slots then: it may have interrupted a pin of its own thread half-way.
    Pinned,
}

/// Counts what has been retargeted where no barrier reaches other threads: they serialise themselves.
static CODE_VERSION: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static FORCED: Cell<bool> = const { Cell::new(false) };
    static SEEN_VERSION: Cell<usize> = const { Cell::new(0) };
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

/// Forces the calling thread's plain calls into pinned sections, or lets it choose again.
///
/// Both kinds are always waited for, so threads may differ. For tests and comparisons.
pub fn force_pinned_sections(force: bool) {
    FORCED.set(force);
    registry::forget_current();
}

/// While it lives, nothing that the thread finds in a slot is freed. Not `Send`.
///
/// The common case, small enough to be inlined at every call: a thread that has a record, and is outside.
pub struct Section {
    record: &'static Record,
    not_send: PhantomData<*const ()>,
}

impl Section {
    /// Begins an outermost section. `None` where it takes a [`SlowSection`]: in a nested call, in a thread's
    /// first one, and where sections are pinned.
    #[inline(always)]
    pub(crate) fn enter() -> Option<Self> {
        let record = registry::current();
        if record.state() != OUTSIDE {
            return None;
        }
        Some(Self::begin(record))
    }

    /// The record is the calling thread's, and outside.
    #[inline(always)]
    fn begin(record: &'static Record) -> Self {
        record.enter();
        Self { record, not_send: PhantomData }
    }
}

impl Drop for Section {
    #[inline(always)]
    fn drop(&mut self) {
        self.record.leave();
    }
}

/// A section of any kind.
pub struct SlowSection {
    /// What is to be undone at its end.
    _end: End,
}

#[allow(dead_code, reason = "held for their drop")]
enum End {
    Outermost(Section),
    Nested,
    Pinned(Guard),
}

impl SlowSection {
    /// Begins a section.
    #[inline]
    pub(crate) fn enter() -> Self {
        // Looked at once: between two looks, a signal handler that calls a slot may give the thread its record,
        // and what had none at the first look would pass for a nested call at the second.
        let record = registry::current();
        let end = match record.state() {
            OUTSIDE => End::Outermost(Section::begin(record)),
            UNREGISTERED => Self::first(),
            _ => End::Nested,
        };
        Self { _end: end }
    }

    #[cold]
    fn first() -> End {
        let asymmetric = sections() == Sections::Asymmetric;
        match asymmetric.then(registry::register).flatten() {
            // A signal that came after the registration has ended its own section by now.
            Some(record) => End::Outermost(Section::begin(record)),
            None => End::Pinned(guard::pin()),
        }
    }
}

/// Whether the calling thread is inside a call or holds a guard: then it must not wait for a grace period.
pub(crate) fn is_protected() -> bool {
    is_protected_here() || linked::is_protected()
}

/// The same, as far as this copy of hotcall knows.
pub(crate) fn is_protected_here() -> bool {
    let state = registry::current().state();
    (state != OUTSIDE && state != UNREGISTERED) || guard::is_pinned()
}

/// After code was written: every running thread passes a full barrier and drops what it has prefetched.
///
/// Without `membarrier`, pinned threads do so themselves: see [`serialise_if_stale`].
pub(crate) fn heavy_barrier() {
    if barrier::is_available() {
        barrier::heavy();
    } else {
        code_written();
        linked::code_written();
    }
}

/// Whether [`heavy_barrier`] reaches other threads at once.
pub(crate) fn has_barrier() -> bool {
    barrier::is_available()
}

/// Pinned sections that begin from now on serialise their cores first.
pub(crate) fn code_written() {
    // SeqCst, partner of the load in `serialise_if_stale`.
    CODE_VERSION.fetch_add(1, Ordering::SeqCst);
}

/// Where no `membarrier` is to be had: serialises the calling core if code was written since it last did.
///
/// Called after a pin, so that a section that begins after a retarget runs the new target.
#[inline]
pub(crate) fn serialise_if_stale() {
    if !barrier::is_available() {
        // SeqCst, partner of the increment in `heavy_barrier`.
        let version = CODE_VERSION.load(Ordering::SeqCst);
        let seen = SEEN_VERSION.replace(version);
        if seen != version {
            crate::arch::serialise();
        }
    }
}

/// The sections that a grace period waits for.
pub(crate) struct Passing {
    phase: usize,
    waiting: Vec<&'static Record>,
}

/// W3 of [`super::record`]: begins a phase. A reclaimer calls it, its own or that of a linked runtime, after a heavy
/// barrier.
pub(crate) fn begin_phase() -> Passing {
    static LAST: AtomicUsize = AtomicUsize::new(super::record::FIRST_PHASE);
    let phase = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    registry::begin_phase(phase);
    Passing { phase, waiting: registry::records().collect() }
}

impl Passing {
    /// W4 of [`super::record`]: whether each record has once shown that the old calls are over.
    pub(crate) fn have_passed(&mut self) -> bool {
        let phase = self.phase;
        self.waiting.retain(|record| !record.has_passed(phase));
        self.waiting.is_empty()
    }
}

//! The section of the portable backend: an epoch pin around every call.
//!
//! Mirrors `section.rs`, name for name.

use super::guard::{self, Guard};

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

/// Which kind of section the calling thread's next plain call takes: always pinned, in this backend.
#[must_use]
pub fn sections() -> Sections {
    Sections::Pinned
}

/// Forces the calling thread's plain calls into pinned sections: they are, in this backend.
pub fn force_pinned_sections(_force: bool) {}

/// While it lives, nothing that the thread finds in a slot is freed. Not `Send`.
pub struct Section {
    _guard: Guard,
}

impl Section {
    /// Begins a section.
    #[inline]
    pub(crate) fn enter() -> Option<Self> {
        Some(Self { _guard: guard::pin() })
    }
}

/// A section of any kind.
pub struct SlowSection {
    _guard: Guard,
}

impl SlowSection {
    /// Begins a section.
    pub(crate) fn enter() -> Self {
        Self { _guard: guard::pin() }
    }
}

/// Whether the calling thread is inside a call or holds a guard: then it must not wait for a grace period.
pub(crate) fn is_protected() -> bool {
    guard::is_pinned()
}

/// No code is written here, and pins have fences of their own.
pub(crate) fn heavy_barrier() {}

/// As above.
pub(crate) fn serialise_if_stale() {}

/// The sections that a grace period waits for: none, since each is a guard.
pub(crate) struct Passing;

/// Begins a phase.
pub(crate) fn begin_phase() -> Passing {
    Passing
}

impl Passing {
    /// Whether all sections have passed.
    pub(crate) fn have_passed(&mut self) -> bool {
        true
    }
}

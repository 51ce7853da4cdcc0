//! Who disposes of a retired instance: the runtime, when it has drained, or whoever holds its retirement.
//!
//! Either may come first, and a fork may come between, so there is no lock but two marks, set once each. Whoever sets the
//! second has the instance to itself: the other is done with it.
//!
//! The loom model of this file (`tests/loom/handover.rs`) checks that there is just one, and that it sees all that the
//! other has done.

use crate::primitive::{AtomicUsize, Ordering};

/// No thread can be inside the instance any more.
pub(crate) const DRAINED: usize = 1;
/// Nobody will ask for the instance again.
pub(crate) const ABANDONED: usize = 2;
/// For an instance that was never retired, and that only the caller knows.
pub(crate) const BOTH: usize = DRAINED | ABANDONED;

/// The two marks. They are never unset.
#[derive(Debug)]
pub(crate) struct Handover(AtomicUsize);

impl Handover {
    /// Without marks.
    pub(crate) fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// Sets a mark, or both. Whether that has made them complete: then the instance is the caller's.
    pub(crate) fn set(&self, mark: usize) -> bool {
        // AcqRel: who sets the second mark has seen all that was done before the first.
        let before = self.0.fetch_or(mark, Ordering::AcqRel);
        before != BOTH && before | mark == BOTH
    }

    /// Whether the mark is set.
    pub(crate) fn has(&self, mark: usize) -> bool {
        // Acquire, partner of the Release half in `set`.
        self.0.load(Ordering::Acquire) & mark == mark
    }
}

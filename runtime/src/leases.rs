//! How many leases there are of an instance, and who lets it go: the reclaimer, or the last of them.
//!
//! # Problem
//!
//! A lease is taken of what is installed, and lasts as long as its owner likes, on whichever thread. When the instance has
//! been replaced and no thread can be inside it any more, it may be freed; unless it is leased.
//!
//! # Idea
//!
//! One word: the number of leases, and a mark that says that nothing leads to the instance any more. The reclaimer sets the
//! mark; where there are leases, it leaves the instance to whoever gives the last one back.
//!
//! # Invariants
//!
//! 1. A lease is *taken* inside a section in which the instance was found installed, or of a lease. So none is taken after
//!    the grace period that the reclaimer waits for has ended and there is none: the count stays 0.
//! 2. So either [`Leases::settle`] finds no lease, or just one [`Leases::give_back`] finds the mark and no other lease. That
//!    one lets the instance go, and has seen all that others did with it.
//!
//! The loom model of this file (`tests/loom/leases.rs`) checks the second, and that each step taken away is seen.

use crate::primitive::{AtomicUsize, Ordering};

/// Nothing leads to the instance any more.
const PAST: usize = 1;
const ONE: usize = 2;

/// The leases of one instance.
#[derive(Debug)]
pub(crate) struct Leases(AtomicUsize);

impl Leases {
    /// None.
    pub(crate) fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// One more: invariant 1.
    pub(crate) fn take(&self) {
        // Relaxed: the section, or the lease that it is taken of, comes before its end for whoever waits for that.
        self.0.fetch_add(ONE, Ordering::Relaxed);
    }

    /// One less. Whether the instance is the caller's to let go.
    pub(crate) fn give_back(&self) -> bool {
        // AcqRel, partner of itself and of `settle`: who is the last has seen what all others did.
        self.0.fetch_sub(ONE, Ordering::AcqRel) == ONE | PAST
    }

    /// How many there are. After the grace period of invariant 1, 0 is final, and who sees it has seen what all did.
    pub(crate) fn count(&self) -> usize {
        // Acquire, partner of the Release half of `give_back`.
        self.0.load(Ordering::Acquire) / ONE
    }

    /// After that grace period, once: whether there are leases, the last of which lets the instance go. Else the caller does.
    pub(crate) fn settle(&self) -> bool {
        // AcqRel, partner of `give_back`, in both directions.
        self.0.fetch_or(PAST, Ordering::AcqRel) >= ONE
    }
}

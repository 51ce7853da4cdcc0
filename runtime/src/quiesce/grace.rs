//! The grace period: when has every section that may hold on to something been over once?
//!
//! # Problem
//!
//! W3 of [`super::record`]: after the heavy barrier, each of the two counters of each record must be seen at 0. A thread that
//! calls in a hot loop, whose guards overlap, or whose coroutines take turns never lets the counter go to 0 that its sections
//! begin on. Several reclaimers wait at once: this runtime's, and those of programs whose slots are called from here.
//!
//! # Idea
//!
//! One grace period at a time, for all who wait, in four steps (the kernel's polled grace periods, `get_state_synchronize_srcu` and
//! `poll_state_synchronize_srcu`, over SRCU's two counters):
//!
//! ```text
//!   G1  sequence + 1 (odd: it has begun), full fence
//!   G2  see the counter that no section begins on at 0, in every record
//!   G3  turn `now` to it, in every record
//!   G4  see the other one, which is now the one that no section begins on, at 0 in every record; sequence + 1
//! ```
//!
//! Who waits takes a *cookie* after its heavy barrier: the sequence at which a grace period has ended that began after
//! the cookie. Then it polls: whoever gets the lock takes the steps that can be taken, and gives it back. Nobody
//! waits while holding it, and nobody waits for it: who does not get it looks again later.
//!
//! # Why it holds
//!
//! **Nothing is freed too early.** Between G1 and the end, each counter of each record has been seen at 0. That must have been
//! after W2 of the waiter: the fence in `cookie` comes after W2 and before its load of the sequence; that load has read a value
//! from before G1's store, and a fence follows that one. So what was visible at W2 is visible to G2 and G4. The
//! end is a release store: who acquires it has seen what the polls, each of which acquires the lock from the one
//! before, have acquired from the readers.
//!
//! **Nobody starves.** A section that begins after G3 does not hold back G4; one that was there before ends. G2 is over at once,
//! for G4 of the grace period before has seen the same counter at 0, but for readers that had read `now` before it was
//! turned: one section of each thread. A waiter needs the end of the grace period under way, if there is one, and of the next.
//!
//! A record that is claimed meanwhile may begin with the `now` of before G3. G4 finds that counter not at 0, and turns it again.

use super::record::Record;
use crate::primitive::{AtomicBool, AtomicUsize, Ordering, fence};

/// What a grace period walks over.
pub trait Records {
    /// All records but the first `position`. Those that are added later come last.
    fn from(&self, position: usize) -> impl Iterator<Item = &Record>;

    /// Whether nothing is counted in that counter of the record.
    fn has_drained(&self, record: &Record, index: usize) -> bool {
        record.counter(index).is_zero()
    }

    /// Sections of the record's owner begin on that counter from now on.
    fn turn(&self, record: &Record, index: usize) {
        record.turn(index);
    }
}

/// The grace periods of this copy of hotcall.
///
/// Invariant: only the holder of `held` writes the other fields, in a running process.
#[derive(Debug)]
pub struct GracePeriods {
    /// Odd while a grace period is under way.
    sequence: AtomicUsize,
    /// The counter on which sections begin.
    index: AtomicUsize,
    /// G3 is behind.
    turned: AtomicBool,
    /// Before it, every record has passed the step that is under way.
    position: AtomicUsize,
    held: AtomicBool,
}

/// Tells when a grace period has ended that began after it was taken.
#[derive(Clone, Copy, Debug)]
pub struct Cookie(usize);

impl GracePeriods {
    /// None yet.
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        Self {
            sequence: AtomicUsize::new(0),
            index: AtomicUsize::new(0),
            turned: AtomicBool::new(false),
            position: AtomicUsize::new(0),
            held: AtomicBool::new(false),
        }
    }

    /// None yet.
    #[cfg(loom)]
    pub fn new() -> Self {
        Self {
            sequence: AtomicUsize::new(0),
            index: AtomicUsize::new(0),
            turned: AtomicBool::new(false),
            position: AtomicUsize::new(0),
            held: AtomicBool::new(false),
        }
    }

    /// The counter on which a section is to begin.
    #[inline]
    pub fn index(&self) -> usize {
        // Relaxed: nothing depends on which it is.
        self.index.load(Ordering::Relaxed)
    }

    /// To be taken after the heavy barrier.
    pub fn cookie(&self) -> Cookie {
        // Partner of the fence of G1; and, where there is no heavy barrier, of that in `Counter::enter_fenced`.
        fence(Ordering::SeqCst);
        // If one is under way (odd), the one after it; else the next.
        Cookie((self.sequence.load(Ordering::Relaxed).wrapping_add(3)) & !1)
    }

    /// Whether that grace period has ended.
    pub fn has_passed(&self, cookie: Cookie) -> bool {
        // Acquire, partner of the Releases of G1 and of the end.
        self.sequence.load(Ordering::Acquire).wrapping_sub(cookie.0).cast_signed() >= 0
    }

    /// Takes what steps can be taken. Whether that grace period has ended.
    pub fn poll(&self, cookie: Cookie, records: &impl Records) -> bool {
        // Acquire and Release: what the polls before have seen, this one and whoever it tells has seen.
        if self.held.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok() {
            self.advance(cookie, records);
            self.held.store(false, Ordering::Release);
        }
        self.has_passed(cookie)
    }

    fn advance(&self, cookie: Cookie, records: &impl Records) {
        while !self.has_passed(cookie) {
            let sequence = self.sequence.load(Ordering::Relaxed);
            if sequence & 1 == 0 {
                // G1. Release, as at the end: who waited for the one before may find that this has begun. The fence is the
                // partner of that in `cookie`.
                self.sequence.store(sequence.wrapping_add(1), Ordering::Release);
                fence(Ordering::SeqCst);
                self.restart(false);
            }
            // G2, then G4.
            if !self.has_drained(records) {
                return;
            }
            if self.turned.load(Ordering::Relaxed) {
                // The end. Release, partner of the Acquire in `has_passed`.
                let sequence = self.sequence.load(Ordering::Relaxed);
                self.sequence.store(sequence.wrapping_add(1), Ordering::Release);
            } else {
                self.turn(records);
            }
        }
    }

    fn restart(&self, turned: bool) {
        self.turned.store(turned, Ordering::Relaxed);
        self.position.store(0, Ordering::Relaxed);
    }

    /// G3.
    fn turn(&self, records: &impl Records) {
        let index = self.index() ^ 1;
        self.index.store(index, Ordering::Relaxed);
        records.from(0).for_each(|record| records.turn(record, index));
        self.restart(true);
    }

    /// Whether every record has shown a 0 in the counter on which no section begins.
    fn has_drained(&self, records: &impl Records) -> bool {
        let index = self.index();
        let begun = self.position.load(Ordering::Relaxed);
        for (passed, record) in records.from(begun).enumerate() {
            if !records.has_drained(record, index ^ 1) {
                // It may have been claimed after G3 with what was before.
                records.turn(record, index);
                self.position.store(begun + passed, Ordering::Relaxed);
                return false;
            }
        }
        true
    }

    /// In a forked child, where nobody polls: a grace period that was under way is begun again, and every record is turned as
    /// it should be.
    #[cfg(not(loom))]
    pub(crate) fn after_fork(&self, records: &impl Records) {
        self.held.store(false, Ordering::Relaxed);
        self.restart(false);
        records.from(0).for_each(|record| records.turn(record, self.index()));
    }
}

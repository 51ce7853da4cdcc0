//! The per-call section: how a thread says, without a fence, that it is inside a call.
//!
//! # Problem
//!
//! A call through a slot must keep alive whatever it may be running: the instance, the thunk, the
//! trampoline. An epoch pin says so with a full fence, which costs several times the call. The caller's
//! side must therefore be plain stores, and the thread that replaces must pay.
//!
//! # Idea
//!
//! Each thread owns a *record* of two words. `state` is 0 outside any call, else the *phase* in which the
//! outermost call began. `now` is the phase that the thread is to announce; only reclaimers write it.
//!
//! ```text
//!   caller                                  writer, then reclaimer
//!   ------                                  ----------------------
//!   p = now                                 W1  store the new target (stub, `this` word)
//!   C1  state = p          (release)        W2  heavy barrier: every running thread passes a full
//!   C2  load `this`, fetch the stub             barrier and a core-serialising instruction
//!       ... runs the plugin ...             W3  now = q, in every record           (q > all before)
//!   C3  state = 0          (release)        W4  wait until each record has once shown 0 or >= q
//!                                           W5  free what W1 replaced
//! ```
//!
//! # Invariants
//!
//! 1. Only its owner writes `state`; only reclaimers write `now` (this runtime's, and those of runtimes whose slots are
//!    called from here), and phases only grow.
//! 2. Between C1 and C3 of an outermost call, `state` is the phase that C1 stored: nested calls find it
//!    nonzero and leave it alone.
//!
//! # Why it holds
//!
//! Take a call and a grace period, and suppose that W4 saw the record pass.
//!
//! * It saw **0 from before C1**. The barrier W2 fell on the caller's core either before C1 or after it in
//!   program order. After it: the store C1 would have been visible to W4, which follows W2, and W4
//!   would not have seen 0. So W2 precedes C1, thus C2, and C2 finds what W1 stored: the new target. This is
//!   the store-buffer (Dekker) pattern with the fence of one side moved into W2.
//! * It saw **0 from after C3**, or a later call's state: the call is over, and the acquire load of W4 has
//!   seen the release store C3 after everything the call did.
//! * It saw **a phase p >= q**. The caller read `now` after W3, thus after W2 had serialised its core.
//!   Whatever it loads and fetches after that read is no older than W1: the new target. And its calls before
//!   that one are over: C1 is a release store, too, so the acquire load of W4 has seen them end.
//!
//! A caller that reads `now` just before W3 and stores it just after is merely waited for longer. A
//! thread in a hot loop is inside some call at every look; the phase tells the reclaimer that it is not the
//! *same* call, where a depth counter would starve it.
//!
//! A signal handler that calls a slot between the caller's load of `state` and C1 finds 0, announces itself,
//! and puts 0 back before the caller goes on; after C1 it is a nested call.
//!
//! The loom models of this file (`tests/loom.rs`) check the three cases, and that each step taken away is seen.

use crate::primitive::{AtomicUsize, Ordering, light_barrier};

/// `state` of a thread outside any call.
pub(crate) const OUTSIDE: usize = 0;
/// `state` of the sentinel that stands in for the record of a thread that has none yet.
pub(crate) const UNREGISTERED: usize = usize::MAX;
/// The phase before the first grace period.
pub(crate) const FIRST_PHASE: usize = 1;

/// What a thread announces. See the file's head for its invariants.
#[derive(Debug)]
#[repr(align(128))]
pub struct Record {
    state: AtomicUsize,
    now: AtomicUsize,
}

impl Record {
    /// A record outside any call.
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        Self { state: AtomicUsize::new(OUTSIDE), now: AtomicUsize::new(FIRST_PHASE) }
    }

    /// A record outside any call.
    #[cfg(loom)]
    pub fn new() -> Self {
        Self { state: AtomicUsize::new(OUTSIDE), now: AtomicUsize::new(FIRST_PHASE) }
    }

    /// The record that unregistered threads point to: never outside, never entered.
    #[cfg(not(loom))]
    pub(crate) const fn sentinel() -> Self {
        Self { state: AtomicUsize::new(UNREGISTERED), now: AtomicUsize::new(FIRST_PHASE) }
    }

    /// What the owner announces just now.
    #[inline(always)]
    pub(crate) fn state(&self) -> usize {
        // Relaxed: read by the owner, who also wrote it (invariant 1).
        self.state.load(Ordering::Relaxed)
    }

    /// C1: begins an outermost call. The caller has found `state() == OUTSIDE`.
    #[inline(always)]
    pub fn enter(&self) {
        // Acquire, partner of the Release in `begin_phase`: what is loaded after a phase was read is no
        // older than what was stored before the phase began.
        let phase = self.now.load(Ordering::Acquire);
        // Release, partner of the Acquire in `has_passed`: who sees this phase has seen the owner's calls before
        // it, whose `leave` it may have missed. `light_barrier` keeps it before the call; the heavy barrier makes
        // it seen in time.
        self.state.store(phase, Ordering::Release);
        light_barrier();
    }

    /// C3: ends the outermost call.
    #[inline(always)]
    pub fn leave(&self) {
        // Release, partner of the Acquire in `has_passed`: everything the call did is over before it is freed.
        self.state.store(OUTSIDE, Ordering::Release);
    }

    /// W3: from now on, the owner announces `phase`, or a later one if it does already.
    pub fn begin_phase(&self, phase: usize) {
        self.now.fetch_max(phase, Ordering::AcqRel);
    }

    /// W4: whether no call that began before `phase` is running on the owner.
    pub fn has_passed(&self, phase: usize) -> bool {
        let state = self.state.load(Ordering::Acquire);
        state == OUTSIDE || state >= phase
    }

    /// The owner has ended, or does not exist in this forked child: it is inside nothing.
    #[cfg(not(loom))]
    pub(crate) fn abandon(&self) {
        // Release, like the store that it repeats in `leave`: an acquire load that finds this one has seen the
        // owner's last call, too.
        self.state.store(OUTSIDE, Ordering::Release);
    }
}

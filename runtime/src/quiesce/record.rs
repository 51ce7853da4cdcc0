//! The section: how a thread says, without a fence, that it is inside a call or holds a guard.
//!
//! # Problem
//!
//! A call through a slot must keep alive whatever it may be running: the instance, the thunk, the
//! trampoline. An epoch pin says so with a full fence, which costs several times the call. The caller's
//! side must therefore be plain stores, and the thread that replaces must pay. Calls nest, and those of the
//! coroutines of one thread overlap without nesting, as guards do that are dropped in any order: none of them may end
//! the protection of another.
//!
//! # Idea
//!
//! Each section has a *flag* of its own. A thread owns a *record* of several, and one that is free is used again and again. A flag
//! is two words. `state` is *free* while no section is in the flag, else the *phase* in which its section began. `now` is the phase
//! that is to be announced next; only reclaimers write it.
//!
//! ```text
//!   reader, in a flag of its own             writer, then reclaimer
//!   ----------------------------             ----------------------
//!   state is free; p = now                   W1  store the new target (sites, `this` word)
//!   C1  state = p          (release)         W2  heavy barrier: every running thread passes a full
//!   C2  load `this`, fetch the call              barrier and, if it runs patched code, a core-serialising
//!       ... runs the plugin ...                  instruction
//!   C3  state = free       (release)         W3  q > all phases before; now = q, in each flag that is not free
//!                                            W4  wait until each flag has once shown free or >= q
//!                                            W5  free what W1 replaced
//! ```
//!
//! Which flag is found by one load: the thread remembers the one that it used last ([`super::registry`]). If that is taken, the
//! section is nested, or overlaps; it looks for a free flag, and the thread remembers that instead. So a loop of calls
//! under a guard, inside a call, or in a coroutine costs what it costs anywhere else.
//!
//! Free is written as the flag's own address: what a call compares with, and stores when it is over, is then in a register. A flag
//! that was never used is free, too, and shows 0; its first section takes the slow path.
//!
//! (Two counters a thread, as in SRCU, were measured, too: McKenney, "Sleepable RCU", 2006. A section that is to add one and take
//! one away in any order reads what it wrote: 15 to 20 % of a plain call.)
//!
//! # Invariants
//!
//! 1. Only its owner writes `state`; only reclaimers write `now` (this runtime's, and those of runtimes whose slots are
//!    called from here), and phases only grow.
//! 2. From C1 to C3 of a section, the `state` of its flag is the phase that C1 stored: who finds a flag that is not free
//!    leaves it alone.
//! 3. A phase is taken by adding to one counter, with acquire and release: who takes a later one has seen what came
//!    before the earlier.
//! 4. A phase is odd, and the address of a flag is even: what is free is no phase. A flag stays where it is once it is used.
//!
//! # Why it holds
//!
//! Take a section and a grace period, and suppose that W4 saw the section's flag pass.
//!
//! * It saw **free from before C1**. The barrier W2 fell on the reader's core either before C1 or after it in
//!   program order. After it: the store C1 would have been visible to W4, which follows W2, and W4
//!   would not have seen it free. So W2 precedes C1, thus C2, and C2 finds what W1 stored: the new target. This is
//!   the store-buffer (Dekker) pattern with the fence of one side moved into W2.
//! * It saw **free from after C3**, or the state of a later section in this flag: the section is over, and the acquire load of W4 has
//!   seen the release store C3 after everything it did.
//! * It saw **a phase p >= q**. The reader loaded `now` after a W3 that stored p, whose reclaimer took p after q was taken (invariant
//!   3), thus after W2 had serialised the reader's core. Whatever it loads and fetches after that is no older than W1: the new
//!   target. And the sections before that one in this flag are over: C1 is a release store, too, so the acquire load of W4 has seen them
//!   end.
//!
//! A reader that loads `now` just before W3 and stores it just after is merely waited for longer, once. A
//! thread in a hot loop is inside some call at every look; the phase tells the reclaimer that it is not the
//! *same* call, where a depth counter would starve it. So it is with guards and coroutines that overlap: each has its phase.
//!
//! A flag that is free is not told of the new phase. It may announce an old one later: then another grace period tells it.
//! So nothing has to be done for records that are claimed meanwhile. If the owner's C1 comes before W2, so do the claim and the
//! link that put the record into the list, and W4, which comes after W2, finds it there.
//!
//! A signal handler that calls a slot between the reader's load of `state` and C1 finds the flag free, announces
//! itself, and frees it before the reader goes on; after C1 it takes another flag.
//!
//! # Without the heavy barrier
//!
//! C1 is followed by a full fence ([`Flag::enter_fenced`]), and W2 is one. It is the same argument with the fence back in its
//! place, and threads of both kinds may be mixed. Loom, which knows no `membarrier`, models just this.
//!
//! The loom models of this file (`tests/loom/section.rs`) check the cases, and that each step taken away is seen.

use crate::primitive::{AtomicU64, Ordering, light_barrier};

/// `state` of a flag that was never used.
pub(crate) const OUTSIDE: u64 = 0;
/// `state` of the sentinel that stands in for a flag of a thread that has none: never free, never entered.
pub(crate) const UNREGISTERED: u64 = u64::MAX;
/// The phase before the first grace period.
pub(crate) const FIRST_PHASE: u64 = 1;

/// What one section announces. See the file's head for its invariants.
#[derive(Debug)]
#[repr(C, align(16))]
pub struct Flag {
    state: AtomicU64,
    now: AtomicU64,
}

impl Flag {
    /// A flag that is free.
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        Self { state: AtomicU64::new(OUTSIDE), now: AtomicU64::new(FIRST_PHASE) }
    }

    /// A flag that is free.
    #[cfg(loom)]
    pub fn new() -> Self {
        Self { state: AtomicU64::new(OUTSIDE), now: AtomicU64::new(FIRST_PHASE) }
    }

    /// What unregistered threads point to.
    #[cfg(not(loom))]
    pub(crate) const fn sentinel() -> Self {
        Self { state: AtomicU64::new(UNREGISTERED), now: AtomicU64::new(FIRST_PHASE) }
    }

    /// `state` while no section is in it.
    #[inline(always)]
    fn free(&self) -> u64 {
        // Loom's models move flags.
        if cfg!(loom) { OUTSIDE } else { core::ptr::from_ref(self).addr() as u64 }
    }

    /// Whether it was used before, and no section of the owner, who asks, is in it.
    #[cfg(not(loom))]
    #[allow(unsafe_code)]
    #[inline(always)]
    pub fn is_ready(&self) -> bool {
        // Not an atomic load, which the compiler would not make a part of the comparison.
        // SAFETY: only the owner writes it (invariant 1), and it is the owner who reads.
        let state = unsafe { self.state.as_ptr().read() };
        state == self.free()
    }

    /// Whether no section of the owner, who asks, is in it.
    #[inline]
    pub fn is_free(&self) -> bool {
        // Relaxed: read by the owner, who also wrote it (invariant 1).
        self.shows_free(self.state.load(Ordering::Relaxed))
    }

    #[inline(always)]
    fn shows_free(&self, state: u64) -> bool {
        state == OUTSIDE || state == self.free()
    }

    /// C1: begins a section. The caller has found the flag free.
    #[inline(always)]
    pub fn enter(&self) {
        // Release, partner of the Acquire in `has_passed`: who sees this phase has seen the owner's sections before
        // it, whose `leave` it may have missed. `light_barrier` keeps it before the call; the heavy barrier makes
        // it seen in time.
        self.state.store(self.phase(), Ordering::Release);
        light_barrier();
    }

    /// C1, where there is no heavy barrier: it is seen at once.
    #[inline]
    pub fn enter_fenced(&self) {
        // Partner of the fence of W2. A locked instruction is a full fence on x86, and cheaper than `mfence`.
        #[cfg(all(target_arch = "x86_64", not(loom)))]
        {
            self.state.swap(self.phase(), Ordering::SeqCst);
            light_barrier();
        }
        #[cfg(any(not(target_arch = "x86_64"), loom))]
        {
            self.state.store(self.phase(), Ordering::Release);
            crate::primitive::fence(Ordering::SeqCst);
        }
    }

    #[inline(always)]
    fn phase(&self) -> u64 {
        // Acquire, partner of the Release in `raise`: what is loaded after a phase was read is no
        // older than what was stored before the phase began.
        self.now.load(Ordering::Acquire)
    }

    /// C3: ends the section.
    #[inline(always)]
    pub fn leave(&self) {
        // Release, partner of the Acquire in `has_passed`: everything the section did is over before it is freed.
        self.state.store(self.free(), Ordering::Release);
    }

    /// W3: from now on, `phase` is announced, or a later one if one is already.
    pub fn raise(&self, phase: u64) {
        self.now.fetch_max(phase, Ordering::AcqRel);
    }

    /// W4: whether no section that began before `phase` is in it.
    pub fn has_passed(&self, phase: u64) -> bool {
        let state = self.state.load(Ordering::Acquire);
        self.shows_free(state) || state >= phase
    }
}

/// Where phases come from: invariant 3.
#[derive(Debug)]
pub struct Phases(AtomicU64);

impl Phases {
    /// None taken yet.
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(FIRST_PHASE))
    }

    /// None taken yet.
    #[cfg(loom)]
    pub fn new() -> Self {
        Self(AtomicU64::new(FIRST_PHASE))
    }

    /// W3: a phase later than all that were taken before.
    pub fn next(&self) -> u64 {
        // AcqRel, partner of itself. Odd: invariant 4.
        self.0.fetch_add(2, Ordering::AcqRel) + 2
    }
}

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
//! That of SRCU (McKenney, "Sleepable RCU", 2006; `kernel/rcu/srcutree.c`). Each thread owns a *record* of two counters, and
//! of a word that says which of them a section that begins *now* is counted in. A section remembers its counter
//! and what it found there.
//!
//! ```text
//!   reader                                   writer, then reclaimer
//!   ------                                   ----------------------
//!       w = now                              W1  store the new target (stub, `this` word)
//!       s = *w                               W2  heavy barrier: every running thread passes a full
//!   C1  *w = s + 1                               barrier and, if it runs patched code, a
//!   C2  load `this`, fetch the stub              core-serialising instruction
//!       ... runs the plugin ...              W3  see each of the two counters of each record at 0,
//!   C3  *w = s           (release)               once, at any time after W2
//!       or *w -= 1, where *w is not s + 1    W5  free what W1 replaced
//! ```
//!
//! The comparison in C3 foretells what the counter holds: what is stored was in a register all along, so the stores of
//! consecutive calls do not wait for each other. It fails only where sections of one thread do not nest.
//!
//! A counter that ever more sections begin on may never be seen at 0. So reclaimers turn `now` to the other counter, and
//! then see the one that nobody begins on any more drain: [`super::grace`]. That is W4, and only about *when*: which
//! counter a section is counted in matters to nothing that is said below.
//!
//! # Invariants
//!
//! 1. Only its owner writes the counters of a record, and adds and takes away one for each of its sections.
//! 2. `now` points to one of the record's own counters, or is the sentinel's, whose counter is negative and never written.
//! 3. From C1 to C3 of a section, its counter is at least 1.
//!
//! # Why it holds
//!
//! Take a section, and a reclaimer that has seen its counter at 0 after W2. The barrier W2 fell on the reader's thread
//! either before C1 or after it in program order.
//!
//! * **Before C1**: then C2 comes after it, too, and finds what W1 stored: the new target.
//! * **After C1**: then C1 is visible to whatever is loaded after W2 (the store-buffer, or Dekker, pattern, with the fence of
//!   one side moved into W2). By invariant 3 the 0 that was seen is from after C3: the section is over. A 0 is only ever
//!   stored by a C3, which releases, so the load that acquires it has seen everything that the section did; and
//!   what the owner's other sections did before.
//!
//! Invariant 3: C1 stores one more than it loaded, and what comes between C1 and C3 on this thread is whole sections, or
//! parts of sections that do not nest: each adds one and takes one away that it has added itself. `*w = s` is stored only where
//! it is the same as `*w -= 1`.
//!
//! A **signal handler** that calls a slot between the load of `s` and C1, or inside the two steps of `*w -= 1`, has
//! put back what it found when it returns. One that makes its thread's first call finds, or leaves behind, a record; the
//! interrupted caller has the sentinel in hand, sees its counter negative, and asks again.
//!
//! A reader that loads `now` **before it is turned and stores C1 after** counts itself where nobody looks for new sections any
//! more. If its C1 came before W2, that is seen, as above; else it runs the new target, and is waited for or not.
//! It delays whoever waits for that counter next, once for each thread: those that begin after it read the new `now`.
//!
//! A record that is **claimed while a reclaimer walks** the list, or is in a block linked meanwhile: if its owner's C1 comes
//! before W2, so did the claim and the link, and the walk, which comes after W2, finds it.
//!
//! # Without the heavy barrier
//!
//! C1 is followed by a full fence ([`Counter::enter_fenced`]), and W2 is one. It is the same argument with the fence back in its
//! place; threads of both kinds may be mixed. Loom, which knows no `membarrier`, models just this.
//!
//! The models of this file and of [`super::grace`] (`tests/loom/section.rs`, `tests/loom/grace.rs`) check each case, and that each
//! step taken away is seen.
#![allow(unsafe_code)]

use core::ptr;

use crate::primitive::{AtomicIsize, AtomicPtr, Ordering, fence, light_barrier};

/// How many sections of one thread are counted in it.
#[derive(Debug)]
#[repr(transparent)]
pub struct Counter(AtomicIsize);

impl Counter {
    const ZERO: isize = 0;

    /// The sentinel's: no section begins on it.
    #[cfg(not(loom))]
    pub(crate) const fn negative() -> Self {
        Self(AtomicIsize::new(isize::MIN))
    }

    /// For the owner: how many there are. Negative in the sentinel.
    #[inline(always)]
    pub fn get(&self) -> isize {
        // Relaxed: read by the owner, who also wrote it (invariant 1).
        self.0.load(Ordering::Relaxed)
    }

    /// C1, for the owner, who has found `count`.
    #[inline(always)]
    pub fn enter(&self, count: isize) {
        // Relaxed: who looks for a 0 learns nothing from this one. `light_barrier` keeps it before the call; the heavy barrier
        // makes it seen in time.
        self.0.store(count + 1, Ordering::Relaxed);
        light_barrier();
    }

    /// C1, where there is no heavy barrier: it is seen at once.
    #[inline(always)]
    pub fn enter_fenced(&self, count: isize) {
        // Partner of the fence in `GracePeriods::cookie`. A locked instruction is a full fence on x86, and cheaper than `mfence`.
        #[cfg(all(target_arch = "x86_64", not(loom)))]
        {
            self.0.swap(count + 1, Ordering::SeqCst);
            light_barrier();
        }
        #[cfg(any(not(target_arch = "x86_64"), loom))]
        {
            self.0.store(count + 1, Ordering::Relaxed);
            fence(Ordering::SeqCst);
        }
    }

    /// C3, where nothing has been counted since that is not over. Whether that is so; else nothing has been done.
    #[inline(always)]
    pub fn leave_nested(&self, count: isize) -> bool {
        let nested = self.get() == count + 1;
        if nested {
            // Release, partner of the Acquire in `is_zero`: everything the section did is over before it is freed.
            self.0.store(count, Ordering::Release);
        }
        nested
    }

    /// C3, where sections overlap.
    pub fn leave_any(&self) {
        // Release: as above.
        self.0.store(self.get() - 1, Ordering::Release);
    }

    /// W3.
    pub fn is_zero(&self) -> bool {
        // Acquire, partner of the Releases above.
        self.0.load(Ordering::Acquire) == Self::ZERO
    }

    /// For sections that many threads count in one counter, each of which passes a fence after it.
    #[cfg(not(loom))]
    pub(crate) fn add(&self, by: isize) {
        // Release: as in `leave_nested`.
        self.0.fetch_add(by, Ordering::AcqRel);
        fence(Ordering::SeqCst);
    }

    /// In a forked child: what other threads were inside is gone.
    #[cfg(not(loom))]
    pub(crate) fn reset(&self, count: isize) {
        self.0.store(count, Ordering::Release);
    }
}

/// What a thread's sections are counted in. See the file's head for its invariants.
#[derive(Debug)]
#[repr(C, align(128))]
pub struct Record {
    now: AtomicPtr<Counter>,
    counters: [Counter; 2],
}

impl Record {
    /// A record outside any section, which [`turn`](Self::turn) has yet to give a `now`.
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        let counters = [const { Counter(AtomicIsize::new(Counter::ZERO)) }; 2];
        Self { now: AtomicPtr::new(ptr::null_mut()), counters }
    }

    /// As above.
    #[cfg(loom)]
    pub fn new() -> Self {
        let counters = core::array::from_fn(|_| Counter(AtomicIsize::new(Counter::ZERO)));
        Self { now: AtomicPtr::new(ptr::null_mut()), counters }
    }

    /// The record of threads that have none: its counter is negative.
    #[cfg(not(loom))]
    pub(crate) const fn sentinel(counter: &'static Counter) -> Self {
        let counters = [const { Counter(AtomicIsize::new(Counter::ZERO)) }; 2];
        Self { now: AtomicPtr::new(ptr::from_ref(counter).cast_mut()), counters }
    }

    /// The counter of a section that begins now.
    #[inline(always)]
    pub fn now(&self) -> &Counter {
        // Relaxed: nothing depends on which it is.
        let now = self.now.load(Ordering::Relaxed);
        // SAFETY: invariant 2; the record was turned before its owner got it.
        unsafe { &*now }
    }

    /// W4: sections that begin from now on are counted in that counter.
    pub fn turn(&self, index: usize) {
        // Relaxed: as above.
        self.now.store(ptr::from_ref(self.counter(index)).cast_mut(), Ordering::Relaxed);
    }

    /// One of the two.
    #[inline(always)]
    pub fn counter(&self, index: usize) -> &Counter {
        &self.counters[index & 1]
    }

    /// Whether no section is counted: asked by the owner, or where there is none.
    pub fn is_outside(&self) -> bool {
        self.counters.iter().all(Counter::is_zero)
    }

    /// In a forked child: its owner is a thread that does not exist here.
    #[cfg(not(loom))]
    pub(crate) fn abandon(&self) {
        self.counters.iter().for_each(|counter| counter.reset(Counter::ZERO));
    }
}

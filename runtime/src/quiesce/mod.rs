//! Quiescence: when may something that was replaced be freed?
//!
//! [`record`] holds the algorithm of sections and grace periods, and its argument; [`registry`] gives records to threads;
//! [`section`] is what a call runs in; [`guard`] hoists the protection out of a loop; [`reclaimer`]
//! runs the grace periods, or who has [claimed](claim) that or [stands in](stand_in) for it; [`held`] is what leases keep; [`quiet`] waits while calls wait. Where there are no records, off Linux,
//! `crossbeam-epoch` stands in for the first two.

mod claim;
pub(crate) mod guard;
pub(crate) mod held;
#[cfg(patched)]
pub(crate) mod linked;
#[cfg(all(asymmetric, target_os = "linux"))]
pub(crate) mod quiet;
pub(crate) mod reclaimer;
#[cfg(asymmetric)]
pub(crate) mod record;
#[cfg(asymmetric)]
mod registry;
#[cfg(asymmetric)]
pub(crate) mod section;
#[cfg(not(asymmetric))]
#[path = "pinned_section.rs"]
pub(crate) mod section;

pub(crate) mod stand_in;

pub use claim::{AlreadyReclaimed, Reclaimer};
pub use guard::{Guard, pin};
pub use section::{Section, force_pinned_sections, sections};

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

/// Whether a wait for a grace period would never end on the calling thread: it is inside a call or holds a
/// guard, which the grace period waits for; or it is the reclaimer, or holds the writers' lock that the
/// reclaimer needs; or it changes a chain or slot, which a destructor that the reclaimer runs may wait to change.
pub(crate) fn would_deadlock() -> bool {
    #[cfg(patched)]
    if linked::would_deadlock_in_host() {
        return true;
    }
    section::is_protected()
        || reclaimer::is_current()
        || crate::slot::commit::is_writing()
        || crate::turn::has_any()
}

/// How many threads that have not ended have a record of their own.
pub(crate) fn registered_threads() -> usize {
    #[cfg(asymmetric)]
    return registry::owned();
    #[cfg(not(asymmetric))]
    0
}

/// Visits the number of each thread that the grace period which is under way waits for, more than once where it has several
/// sections. Where there are no records nobody knows them.
pub(crate) fn for_each_waited_for(visit: &mut dyn FnMut(u32)) {
    #[cfg(asymmetric)]
    section::for_each_waited_for(visit);
    #[cfg(patched)]
    linked::for_each_waited_for(visit);
    #[cfg(not(asymmetric))]
    let _ = visit;
}

/// Readers, their grace periods and what waits for them, around a fork: after the gate is closed.
#[cfg(target_os = "linux")]
static AROUND_FORK: crate::sys::fork::Around =
    crate::sys::fork::Around::new(1, before_fork, after_fork_in_parent, after_fork_in_child);

/// Keeps what a child inherits of this right: before anything is replaced, deferred or linked.
pub(crate) fn register_fork() {
    crate::gated::register_fork();
    #[cfg(target_os = "linux")]
    crate::sys::fork::register(&AROUND_FORK);
}

#[cfg(target_os = "linux")]
fn before_fork() {
    reclaimer::before_fork();
}

#[cfg(target_os = "linux")]
fn after_fork_in_parent() {
    reclaimer::after_fork_in_parent();
}

/// In a forked child: other threads' sections and guards are gone, and the barrier is registered anew.
#[cfg(target_os = "linux")]
pub(crate) fn after_fork_in_child() {
    #[cfg(asymmetric)]
    {
        crate::sys::barrier::register();
        registry::after_fork();
    }
    reclaimer::after_fork_in_child();
}

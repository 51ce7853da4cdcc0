//! A barrier on every core by going there: for a process that `membarrier` is forbidden to after it was had.
//!
//! A thread that runs on a core has taken it from whoever ran there, and to change from one thread to another the kernel passes
//! a full memory barrier. So when a thread has run on every core in turn, every other thread of the process has either been off
//! its core meanwhile or not run at all. That is how grace periods of the kernel were once explained (McKenney, "What is RCU,
//! Fundamentally?", 2007: `synchronize_rcu` as a walk over all processors).
//!
//! It stands in for the serialising of cores, too: a thread that was put off its core goes on by `iret`, which serialises; and one
//! that gave it up by itself has been through the kernel's code since, so that nothing of what it had prefetched of ours is left.
//!
//! It takes some microseconds a core, or more where the cores are busy. What it cannot see is a thread in another *cpuset*, on cores
//! where the caller may not go (a thread of its own control group).

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Runs on every core that the caller may run on. Whether it did.
pub(crate) fn of_all_cores() -> bool {
    let Ok(before) = sched_getaffinity(None) else { return false };
    let mut visited = 0;
    for core in 0..CpuSet::MAX_CPU {
        let mut only = CpuSet::new();
        only.set(core);
        // Refused for a core that is not there, is off, or is not the process's: none of its threads runs there.
        visited += usize::from(sched_setaffinity(None, &only).is_ok());
    }
    // Where the caller's threads were kept to some cores, this one is again.
    sched_setaffinity(None, &before).is_ok() && visited != 0
}

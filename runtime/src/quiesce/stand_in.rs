//! Where the reclaimer's thread cannot be made, who waits or replaces does its work.
//!
//! A system may refuse the process one more thread (`RLIMIT_NPROC`, the pids of a cgroup, a seccomp filter). Then what was deferred
//! would stay, and whoever waits for it would wait for ever. So threads *stand in*, one at a time: they take what is in the
//! queue through a grace period, as the reclaimer would.
//!
//! * Who waits has nothing else to do, and stays until the grace period is over or its own time is up.
//! * Who replaces must not be made to wait for a reader. It looks a few times whether the readers that there were are gone; where
//!   they are not, what was deferred goes back to the queue, for the next.
//!
//! Nobody stands in who would wait for itself ([`super::would_deadlock`]), or who keeps a fork waiting: what it runs ends with
//! destructors of the user's. And not while there is a reclaimer, which is not started while somebody stands in. Starting it is
//! tried again now and then.
//!
//! Readers of linked libraries are waited for without a limit: they cannot be asked otherwise.

use core::sync::atomic::Ordering;
use std::collections::LinkedList;
use std::time::Instant;

use super::reclaimer::{CURRENT, QUEUE, REFUSED, drain_next, pause_until, run_next, wait_for_grace_period};
use crate::gated;
use crate::lock::lock;
use crate::sabotage::{self, Sabotage};

/// How often who replaces looks.
const LOOKS: u32 = 4;

/// After a replacement: does what is due, where there is nobody else to do it and nobody has to be waited for.
pub(crate) fn help() {
    if !is_wanted() || gated::is_past() || super::would_deadlock() {
        return;
    }
    let mut looks = 0;
    turn(|| {
        looks += 1;
        std::thread::yield_now();
        looks < LOOKS
    });
}

/// For who waits, and may: takes what is deferred through a grace period. Whether it stood in; else somebody else does.
pub(super) fn wait(deadline: Option<Instant>) -> bool {
    turn(pause_until(deadline))
}

/// Whether the last attempt to start the reclaimer failed, and something is deferred.
fn is_wanted() -> bool {
    // Relaxed: a hint. Every replacement asks.
    if !REFUSED.load(Ordering::Relaxed) {
        return false;
    }
    let queue = lock(&QUEUE);
    !queue.running && !queue.is_empty()
}

/// One grace period, for as long as `go_on` says so between looks at the readers.
fn turn(go_on: impl FnMut() -> bool) -> bool {
    {
        let mut queue = lock(&QUEUE);
        if queue.running || queue.stands_in || sabotage::is(Sabotage::NobodyStandsIn) {
            return false;
        }
        queue.stands_in = true;
    }
    CURRENT.set(true);
    // What another stand-in, or the parent, did not come to.
    while run_next() {}
    while drain_next() {}
    {
        let mut queue = lock(&QUEUE);
        queue.waiting = core::mem::take(&mut queue.deferred);
    }
    if wait_for_grace_period(go_on) {
        {
            let mut queue = lock(&QUEUE);
            let mut past = core::mem::take(&mut queue.waiting);
            queue.due.append(&mut past);
        }
        while run_next() {}
    } else {
        let mut queue = lock(&QUEUE);
        let mut all: LinkedList<_> = core::mem::take(&mut queue.waiting);
        all.append(&mut queue.deferred);
        queue.deferred = all;
    }
    CURRENT.set(false);
    lock(&QUEUE).stands_in = false;
    true
}

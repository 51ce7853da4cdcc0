//! What is leased when its grace period has ended is *held*: listed, so that [`crate::report()`] can name it, until the last
//! lease lets it go.

use std::collections::LinkedList;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::reclaimer::{DONE, QUEUE, wait_until_queue, wake};
use crate::gated;
use crate::installed::{Installed, drop_drained};
use crate::lock::lock;
use crate::sabotage::{self, Sabotage};

/// An instance that leases hold back.
pub(crate) struct Held {
    pub(crate) installed: Arc<Installed>,
    pub(crate) since: Instant,
    number: u64,
}

/// Waits until what is held at the call has been let go. Whether it was before `deadline`.
pub(crate) fn wait_for_leases(deadline: Option<Instant>) -> bool {
    let so_far = lock(&QUEUE).held_so_far;
    wait_until_queue(|queue| queue.held.iter().all(|held| held.number >= so_far), deadline)
}

/// Whether there are leases of it: then the last of them lets it go, and until then it is listed.
pub(super) fn hold(one: &Arc<Installed>) -> bool {
    if one.leases() == 0 || sabotage::is(Sabotage::LeasesHoldNothing) {
        return false;
    }
    let held = Held { installed: Arc::clone(one), since: Instant::now(), number: 0 };
    let mut held = LinkedList::from([held]);
    {
        let mut queue = lock(&QUEUE);
        held.iter_mut().for_each(|held| held.number = queue.held_so_far);
        queue.held_so_far += 1;
        queue.held.append(&mut held);
    }
    if one.settle_leases(let_go) {
        return true;
    }
    // The last of them went meanwhile.
    drop(unlist(Arc::as_ptr(one)));
    false
}

/// Takes one out of the list of those that are held. To be dropped without the queue's lock.
fn unlist(one: *const Installed) -> LinkedList<Held> {
    let mut queue = lock(&QUEUE);
    let is_it = |held: &Held| core::ptr::eq(Arc::as_ptr(&held.installed), one);
    let Some(at) = queue.held.iter().position(is_it) else { return LinkedList::new() };
    let mut found = queue.held.split_off(at);
    let mut rest = found.split_off(1);
    queue.held.append(&mut rest);
    found
}

/// The last lease of what is held was given back: it is dropped here, where nobody will ask for it.
fn let_go(one: *const Installed) {
    let (mut instance, mut waker) = (None, None);
    {
        let _no_fork = gated::pass();
        for held in unlist(one) {
            (instance, waker) = held.installed.drain();
        }
        if lock(&QUEUE).waiters != 0 {
            DONE.notify_all();
        }
    }
    // The user's code, which finds nothing locked.
    waker.into_iter().for_each(wake);
    instance.into_iter().for_each(drop_drained);
}

/// What is held, for a report: how long each is.
pub(crate) fn for_each_held(mut visit: impl FnMut(&Installed, Duration)) {
    // What is visited is copied before: the visitor allocates.
    let mut held: Vec<(Arc<Installed>, Instant)> = Vec::new();
    loop {
        let queue = lock(&QUEUE);
        if held.capacity() >= queue.held.len() {
            held.extend(queue.held.iter().map(|held| (Arc::clone(&held.installed), held.since)));
            break;
        }
        let wanted = queue.held.len() + 4;
        drop(queue);
        held.reserve(wanted);
    }
    held.iter().for_each(|(installed, since)| visit(installed, since.elapsed()));
}

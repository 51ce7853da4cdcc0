//! Grace periods: what is deferred runs when no thread can be inside what it frees.
//!
//! One background thread, started at the first retirement, takes whatever has been deferred, waits for one
//! grace period on behalf of all of it, and runs it. Nobody has to call again for something to be freed.
//!
//! A grace period ends when every section that was under way when it began is over, those of plain calls and those of guards
//! alike: see [`super::record`].
//!
//! Deferred work may itself defer: settling a slot defers the release of its thunks.
//!
//! What is deferred is run behind the gate of [`crate::gated`], so that a fork finds it in the queue or done. The user's
//! instances are dropped outside, in the order in which they were replaced.
//!
//! What is leased when its grace period has ended is held: see [`super::held`].
//!
//! The allocator may itself be behind a slot, and replace what it finds there from inside an allocation. So nothing is allocated
//! or freed, and no thread is started, while the queue's lock is held: what is added to it is made before, what is
//! taken from it is freed after.

use core::cell::Cell;
use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::task::Waker;
use std::collections::LinkedList;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use crate::lock::{Condvar, Mutex, MutexGuard, lock, wait};

use super::held::{Held, hold};
use super::{section, stand_in};
use crate::gated;
use crate::installed::{Installed, drop_drained};
use crate::sabotage::{self, Sabotage};
use crate::slot::backend::{Committed, finish};
use crate::slot::commit::Writing;

/// Something to be done when it is safe. It is done on the reclaimer's thread, outside any section.
pub(super) enum Deferred {
    /// What slots have replaced. Several are finished under one hold of the writers' lock: a writer in a hurry would
    /// otherwise outrun the reclaimer, which waits for the lock each time.
    Commit(Committed),
    Other(Work),
}

/// Adds the instances that nobody is inside any more to the list.
type Work = Box<dyn FnOnce(&mut Vec<Arc<Installed>>) + Send>;

/// What is done under one hold of a lock, at most: commits finished, instances drained.
const TOGETHER: usize = 64;

/// How long the reclaimer gathers before it begins a grace period that nobody waits for. It bounds how often
/// callers are interrupted by its barrier: 1,000 times a second.
const GATHER: Duration = Duration::from_millis(1);

/// How long after a failed attempt to start the reclaimer there may be another.
const RETRY: Duration = Duration::from_millis(100);

#[derive(Default)]
pub(super) struct Queue {
    pub(super) deferred: LinkedList<Deferred>,
    /// In the grace period that is under way.
    pub(super) waiting: LinkedList<Deferred>,
    /// Past their grace period, not yet run.
    pub(super) due: LinkedList<Deferred>,
    /// Past their grace period, and nothing leads to them: to be drained in this order.
    past: LinkedList<std::vec::IntoIter<Arc<Installed>>>,
    /// Past their grace period, and leased.
    pub(super) held: LinkedList<Held>,
    /// How many were held so far.
    pub(super) held_so_far: u64,
    /// Since when the grace period that is under way lasts.
    waiting_since: Option<Instant>,
    /// Somebody waits: do not gather.
    urgent: bool,
    pub(super) running: bool,
    /// Not before this there is to be another attempt to start the reclaimer.
    retry: Option<Instant>,
    /// A thread does the reclaimer's work: see [`super::stand_in`].
    pub(super) stands_in: bool,
    /// The reclaimer waits for the first work.
    idle: bool,
    /// Threads in [`wait_until`].
    pub(super) waiters: usize,
}

impl Queue {
    /// Whether nothing is left to be done.
    pub(super) fn is_empty(&self) -> bool {
        self.deferred.is_empty() && self.waiting.is_empty() && self.due.is_empty() && self.past.is_empty()
    }
}

/// Whether the last attempt to start the reclaimer failed.
pub(super) static REFUSED: AtomicBool = AtomicBool::new(false);

pub(super) static QUEUE: Mutex<Queue> = Mutex::new(Queue {
    deferred: LinkedList::new(),
    waiting: LinkedList::new(),
    due: LinkedList::new(),
    past: LinkedList::new(),
    held: LinkedList::new(),
    held_so_far: 0,
    waiting_since: None,
    urgent: false,
    running: false,
    retry: None,
    stands_in: false,
    idle: false,
    waiters: 0,
});
static WORK: Condvar = Condvar::new();
/// Threads in [`wait_until`] wait here, with the queue's lock.
pub(super) static DONE: Condvar = Condvar::new();
static GRACE_PERIODS: AtomicU64 = AtomicU64::new(0);

/// How many grace periods have ended.
pub(crate) fn grace_periods() -> u64 {
    GRACE_PERIODS.load(Ordering::Relaxed)
}

/// Defers work past a grace period that begins after this call. What the work frees has been made
/// unreachable already.
///
/// It adds the instances that nobody is inside any more to the list that it is given.
pub(crate) fn defer(work: impl FnOnce(&mut Vec<Arc<Installed>>) + Send + 'static) {
    push(Deferred::Other(Box::new(work)));
}

/// As [`defer`], for slots.
pub(crate) fn defer_commit(commit: Committed) {
    push(Deferred::Commit(commit));
}

fn push(deferred: Deferred) {
    let mut one = LinkedList::from([deferred]);
    let mut queue = lock(&QUEUE);
    queue.deferred.append(&mut one);
    // A system call, which a writer in a hurry is spared while the reclaimer is awake.
    let wake = core::mem::take(&mut queue.idle);
    let start = is_to_be_started(&mut queue);
    drop(queue);
    if wake {
        WORK.notify_one();
    }
    if start {
        report(start_reclaimer());
    }
}

/// Asks for grace periods now rather than soon, and waits until `done`, which some deferred work brings about. Whether
/// it did before `deadline`.
pub(crate) fn wait_until(done: impl Fn() -> bool, deadline: Option<Instant>) -> bool {
    wait_until_queue(|_| done(), deadline)
}

pub(super) fn wait_until_queue(done: impl Fn(&Queue) -> bool, deadline: Option<Instant>) -> bool {
    let mut queue = lock(&QUEUE);
    while !done(&queue) {
        let now = Instant::now();
        if deadline.is_some_and(|deadline| deadline <= now) {
            return false;
        }
        queue.urgent = true;
        let start = is_to_be_started(&mut queue);
        if start || !queue.running {
            drop(queue);
            if start {
                report(start_reclaimer());
            }
            let alone = stand_in::wait(deadline);
            // It may be done by now.
            queue = lock(&QUEUE);
            if start || alone || done(&queue) {
                continue;
            }
        }
        WORK.notify_one();
        // It may have been deferred in the program that this library follows, whose reclaimer does not wake this thread.
        #[cfg(patched)]
        let elsewhere = super::linked::hurry_host();
        #[cfg(not(patched))]
        let elsewhere = false;
        // Or another thread stands in for it, and may not have come to what this one waits for.
        let look_again = (elsewhere || !queue.running).then(|| now + GATHER);
        queue.waiters += 1;
        (queue, _) = wait(&DONE, queue, deadline.into_iter().chain(look_again).min());
        queue.waiters -= 1;
    }
    true
}

/// Asks for a grace period now rather than soon.
#[cfg(patched)]
pub(crate) fn hurry() {
    let _ = hurry_here();
}

/// The same, of whichever copy of hotcall has what the caller waits for. Where its thread cannot be started, nobody will wake the
/// caller.
pub(crate) fn hurry_everywhere() -> Result<(), ()> {
    #[cfg(patched)]
    super::linked::hurry_host();
    hurry_here()
}

fn hurry_here() -> Result<(), ()> {
    let mut queue = lock(&QUEUE);
    queue.urgent = true;
    let start = is_to_be_started(&mut queue);
    drop(queue);
    WORK.notify_one();
    if start {
        report(start_reclaimer());
    }
    stand_in::help();
    let queue = lock(&QUEUE);
    if queue.running || queue.stands_in || queue.is_empty() { Ok(()) } else { Err(()) }
}

/// Whether the caller is to start the reclaimer, once it has given the lock back: there is none, and nobody else will.
pub(super) fn is_to_be_started(queue: &mut Queue) -> bool {
    if queue.running || queue.stands_in || queue.retry.is_some_and(|retry| Instant::now() < retry) {
        return false;
    }
    queue.running = true;
    true
}

/// Why that failed.
pub(super) fn start_reclaimer() -> Option<std::io::Error> {
    // Before there is a thread that a child would not have.
    super::register_fork();
    // Not one of the standard library's: somebody may wait for it while a library is being loaded.
    #[cfg(target_os = "linux")]
    let spawned = {
        static BODY: crate::sys::spawn::Body = crate::sys::spawn::Body(run);
        crate::sys::spawn::spawn(c"hotcall-reclaim", &BODY)
    };
    #[cfg(not(target_os = "linux"))]
    let spawned = std::thread::Builder::new().name("hotcall-reclaim".into()).spawn(|| run()).map(drop);
    let mut queue = lock(&QUEUE);
    // Relaxed: a hint, for `stand_in`.
    REFUSED.store(spawned.is_err(), Ordering::Relaxed);
    queue.running = spawned.is_ok();
    queue.retry = spawned.is_err().then(|| Instant::now() + RETRY);
    drop(queue);
    if spawned.is_err() {
        // Who began to wait meanwhile took it to be started, and stands in.
        DONE.notify_all();
    }
    spawned.err()
}

/// Without the queue's lock: a subscriber may itself be behind a slot. Nothing is lost: what is deferred stays in the
/// queue, and others do it. It is said once.
pub(super) fn report(failed: Option<std::io::Error>) {
    static SAID: Once = Once::new();
    if let Some(error) = failed {
        SAID.call_once(|| {
            tracing::warn!(
                target: "hotcall", %error,
                "the thread that frees what was replaced could not be started (ulimit -u, the pids of the cgroup): who waits or \
                 replaces frees it meanwhile; starting is tried again"
            );
        });
    }
}

thread_local! {
    /// It is the reclaimer, or stands in for it.
    pub(super) static CURRENT: Cell<bool> = const { Cell::new(false) };
}

/// Whether the calling thread is the reclaimer: it runs destructors of plugins, which may not wait for it.
pub(crate) fn is_current() -> bool {
    CURRENT.get()
}

pub(super) fn run() -> ! {
    CURRENT.set(true);
    while drain_next() {}
    loop {
        // Whatever is deferred is in the queue until it is run: a child that is forked meanwhile has it, too.
        wait_for_work();
        wait_for_grace_period(pause_until(None));
        {
            let mut queue = lock(&QUEUE);
            let mut past = core::mem::take(&mut queue.waiting);
            queue.waiting_since = None;
            queue.due.append(&mut past);
        }
        while run_next() {}
    }
}

/// Does what is due next. Whether there was any.
pub(super) fn run_next() -> bool {
    {
        let is_commit = matches!(lock(&QUEUE).due.front(), Some(Deferred::Commit(_)));
        // While the writers' lock is waited for a fork may come: nothing has left the queue by then.
        let writing = is_commit.then(Writing::begin).and_then(Result::ok);
        let _no_fork = gated::pass();
        let next = {
            let mut queue = lock(&QUEUE);
            let commits =
                queue.due.iter().take_while(|due| matches!(due, Deferred::Commit(_))).take(TOGETHER);
            // What is neither is done alone.
            let count = commits.count().max(1).min(queue.due.len());
            let rest = queue.due.split_off(count);
            core::mem::replace(&mut queue.due, rest)
        };
        if next.is_empty() {
            return false;
        }
        let mut commits = Vec::new();
        let mut past = Vec::new();
        for deferred in next {
            match deferred {
                Deferred::Commit(commit) => commits.push(commit),
                Deferred::Other(work) => work(&mut past),
            }
        }
        if !commits.is_empty() {
            finish(writing, commits, &mut past);
        }
        let mut past = LinkedList::from([past.into_iter()]);
        lock(&QUEUE).past.append(&mut past);
    }
    while drain_next() {}
    true
}

/// Tells somebody that what he waits for has drained. It is the user's code: its panic goes no further.
pub(super) fn wake(waker: Waker) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
        tracing::error!(target: "hotcall", "a waker panicked");
        core::mem::forget(payload);
    }
}

/// How long the grace period that is under way has lasted, and how many are waiting for its end.
pub(crate) fn grace_period_lasts() -> Option<Duration> {
    lock(&QUEUE).waiting_since.map(|since| since.elapsed())
}

/// Drains until one is to be dropped, and drops that: those before it are dropped by then. Whether there was any.
pub(super) fn drain_next() -> bool {
    let mut instance = None;
    let mut wakers = Vec::new();
    {
        let _no_fork = gated::pass();
        let mut next = {
            let mut queue = lock(&QUEUE);
            let one = queue.past.len().min(1);
            let rest = queue.past.split_off(one);
            core::mem::replace(&mut queue.past, rest)
        };
        let Some(some) = next.front_mut() else { return false };
        for one in some.by_ref().take(TOGETHER) {
            if hold(&one) {
                continue;
            }
            let waker;
            (instance, waker) = one.drain();
            wakers.extend(waker);
            if instance.is_some() {
                break;
            }
        }
        let mut queue = lock(&QUEUE);
        if next.front().is_some_and(|some| some.len() != 0) {
            next.append(&mut queue.past);
            queue.past = core::mem::take(&mut next);
        }
        if queue.waiters != 0 {
            DONE.notify_all();
        }
    }
    // The user's code, which finds nothing locked.
    wakers.into_iter().for_each(wake);
    if let Some(instance) = instance {
        drop_drained(instance);
    }
    true
}

fn wait_for_work() {
    let mut queue = lock(&QUEUE);
    while queue.deferred.is_empty() {
        queue.urgent = false;
        queue.idle = true;
        (queue, _) = wait(&WORK, queue, None);
    }
    queue.idle = false;
    let deadline = Instant::now() + GATHER;
    while !queue.urgent {
        let timed_out;
        (queue, timed_out) = wait(&WORK, queue, Some(deadline));
        if timed_out {
            break;
        }
    }
    queue.urgent = false;
    queue.waiting = core::mem::take(&mut queue.deferred);
    queue.waiting_since = Some(Instant::now());
}

thread_local! {
    /// In the handlers of a fork: the lock, held from the first to the last. Without a destructor: a fork may come in those of
    /// other storage.
    static FORKING: Cell<Option<ManuallyDrop<MutexGuard<'static, Queue>>>> = const { Cell::new(None) };
}

/// Keeps the reclaimer out until the fork is over.
pub(crate) fn before_fork() {
    FORKING.set(Some(ManuallyDrop::new(lock(&QUEUE))));
}

pub(crate) fn after_fork_in_parent() {
    drop(FORKING.take().map(ManuallyDrop::into_inner));
}

/// The child has no reclaimer yet. What it has inherited waits for a grace period of its own.
pub(crate) fn after_fork_in_child() {
    let Some(mut queue) = FORKING.take().map(ManuallyDrop::into_inner) else { return };
    let queue = &mut *queue;
    queue.waiting.append(&mut queue.deferred);
    queue.due.append(&mut queue.waiting);
    queue.deferred.append(&mut queue.due);
    queue.waiting_since = None;
    queue.running = false;
    // The thread that forks may itself be in a destructor of what it frees.
    queue.stands_in = CURRENT.get();
    queue.retry = None;
    queue.idle = false;
    queue.waiters = 0;
}

/// Waits until every section that was there at the call is over, guards' included; or until `go_on`, which is asked between looks,
/// says no. Whether they are over.
pub(super) fn wait_for_grace_period(go_on: impl FnMut() -> bool) -> bool {
    if sabotage::is(Sabotage::NoQuiescence) {
        GRACE_PERIODS.fetch_add(1, Ordering::Relaxed);
        return true;
    }
    // W2 of `record`: everything deferred so far was made unreachable by stores before this.
    section::heavy_barrier();
    if !section::wait_for_readers(go_on) {
        return false;
    }
    #[cfg(patched)]
    super::linked::wait_for_readers();
    GRACE_PERIODS.fetch_add(1, Ordering::Relaxed);
    true
}

/// Waits until the sections of this copy of hotcall that are there at the call are over, guards' included. The caller has
/// passed the heavy barrier.
#[cfg(patched)]
pub(crate) fn wait_for_readers() {
    section::wait_for_readers(pause_until(None));
}

/// Pauses longer and longer, and says whether there is time left.
pub(super) fn pause_until(deadline: Option<Instant>) -> impl FnMut() -> bool {
    let mut pause = Backoff::new();
    move || {
        pause.snooze();
        deadline.is_none_or(|deadline| Instant::now() < deadline)
    }
}

/// Yields a few times, then sleeps longer and longer, up to a millisecond.
pub(super) struct Backoff {
    step: u32,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { step: 0 }
    }

    pub(super) fn snooze(&mut self) {
        if self.step < 6 {
            std::thread::yield_now();
        } else {
            let micros = 10_u64 << (self.step - 6).min(7);
            std::thread::sleep(Duration::from_micros(micros.min(1_000)));
        }
        self.step += 1;
    }
}

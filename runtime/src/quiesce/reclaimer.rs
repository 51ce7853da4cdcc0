//! Grace periods: what is deferred runs when no thread can be inside what it frees.
//!
//! One background thread, started at the first retirement, takes whatever has been deferred, waits for one
//! grace period on behalf of all of it, and runs it. Nobody has to call again for something to be freed.
//!
//! A grace period ends when both have passed:
//!
//! * every **guard** that was held when it began: `crossbeam-epoch` tells, by running a function deferred to
//!   its collector;
//! * every **per-call section** that was under way: the records tell (see [`super::record`]).
//!
//! Deferred work may itself defer: settling a slot defers the release of its thunks.
//!
//! What is deferred is run behind the gate of [`crate::gated`], so that a fork finds it in the queue or done. The user's
//! instances are dropped outside, in the order in which they were replaced.

use core::cell::Cell;
use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicU64, Ordering};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::lock::{Condvar, Mutex, MutexGuard, lock, wait};

use super::{guard, section};
use crate::gated;
use crate::installed::{Installed, drop_drained};
use crate::sabotage::{self, Sabotage};
use crate::slot::backend::{Committed, finish};
use crate::slot::commit::Writing;

/// Something to be done when it is safe. It is done on the reclaimer's thread, outside any section.
enum Deferred {
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

/// How long a thread waits before it tries again to start the reclaimer.
const RETRY: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Queue {
    deferred: Vec<Deferred>,
    /// In the grace period that is under way.
    waiting: Vec<Deferred>,
    /// Past their grace period, not yet run.
    due: VecDeque<Deferred>,
    /// Past their grace period, and nothing leads to them: to be drained in this order.
    past: VecDeque<Arc<Installed>>,
    /// Somebody waits: do not gather.
    urgent: bool,
    running: bool,
    /// The reclaimer waits for the first work.
    idle: bool,
    /// Threads in [`wait_until`].
    waiters: usize,
}

static QUEUE: Mutex<Queue> = Mutex::new(Queue {
    deferred: Vec::new(),
    waiting: Vec::new(),
    due: VecDeque::new(),
    past: VecDeque::new(),
    urgent: false,
    running: false,
    idle: false,
    waiters: 0,
});
static WORK: Condvar = Condvar::new();
/// Threads in [`wait_until`] wait here, with the queue's lock.
static DONE: Condvar = Condvar::new();
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
    let mut queue = lock(&QUEUE);
    queue.deferred.push(deferred);
    // A system call, which a writer in a hurry is spared while the reclaimer is awake.
    let wake = core::mem::take(&mut queue.idle);
    let failed = ensure_running(&mut queue);
    drop(queue);
    if wake {
        WORK.notify_one();
    }
    report(failed);
}

/// Asks for grace periods now rather than soon, and waits until `done`, which some deferred work brings about. Whether
/// it did before `deadline`.
pub(crate) fn wait_until(done: impl Fn() -> bool, deadline: Option<Instant>) -> bool {
    let mut queue = lock(&QUEUE);
    while !done() {
        let now = Instant::now();
        if deadline.is_some_and(|deadline| deadline <= now) {
            return false;
        }
        queue.urgent = true;
        let failed = ensure_running(&mut queue);
        WORK.notify_one();
        // Without a reclaimer, nobody wakes this thread: it tries again.
        let retry = failed.is_some().then(|| now + RETRY);
        queue.waiters += 1;
        (queue, _) = wait(&DONE, queue, deadline.into_iter().chain(retry).min());
        queue.waiters -= 1;
        if failed.is_some() {
            drop(queue);
            report(failed);
            queue = lock(&QUEUE);
        }
    }
    true
}

/// Starts the reclaimer where there is none. Why that failed.
fn ensure_running(queue: &mut Queue) -> Option<std::io::Error> {
    if queue.running {
        return None;
    }
    // Before there is a thread that a child would not have.
    super::register_fork();
    // Not one of the standard library's: somebody may wait for it while a library is being loaded.
    #[cfg(target_os = "linux")]
    let spawned = {
        static BODY: crate::sys::thread::Body = crate::sys::thread::Body(run);
        crate::sys::thread::spawn(c"hotcall-reclaim", &BODY)
    };
    #[cfg(not(target_os = "linux"))]
    let spawned = std::thread::Builder::new().name("hotcall-reclaim".into()).spawn(|| run()).map(drop);
    queue.running = spawned.is_ok();
    spawned.err()
}

/// Without the queue's lock: a subscriber may itself be behind a slot. Nothing is lost: what is deferred stays in the
/// queue, and the next call tries again.
fn report(failed: Option<std::io::Error>) {
    if let Some(error) = failed {
        tracing::warn!(target: "hotcall", %error, "the reclaimer could not be started; will retry");
    }
}

thread_local! {
    static CURRENT: Cell<bool> = const { Cell::new(false) };
}

/// Whether the calling thread is the reclaimer: it runs destructors of plugins, which may not wait for it.
pub(crate) fn is_current() -> bool {
    CURRENT.get()
}

fn run() -> ! {
    CURRENT.set(true);
    inherit();
    while drain_next() {}
    loop {
        // Whatever is deferred is in the queue until it is run: a child that is forked meanwhile has it, too.
        wait_for_work();
        wait_for_grace_period();
        {
            let mut queue = lock(&QUEUE);
            let past = core::mem::take(&mut queue.waiting);
            queue.due.extend(past);
        }
        while run_next() {}
    }
}

/// Does what is due next. Whether there was any.
fn run_next() -> bool {
    {
        let is_commit = matches!(lock(&QUEUE).due.front(), Some(Deferred::Commit(_)));
        // While the writers' lock is waited for a fork may come: nothing has left the queue by then.
        let writing = is_commit.then(Writing::begin).and_then(Result::ok);
        let _no_fork = gated::pass();
        let mut commits = Vec::new();
        let mut other = None;
        {
            let mut queue = lock(&QUEUE);
            while other.is_none() && commits.len() < TOGETHER {
                match queue.due.pop_front() {
                    Some(Deferred::Commit(commit)) => commits.push(commit),
                    Some(Deferred::Other(work)) => other = Some(work),
                    None => break,
                }
            }
        }
        if commits.is_empty() && other.is_none() {
            return false;
        }
        let mut past = Vec::new();
        if !commits.is_empty() {
            finish(writing, commits, &mut past);
        }
        if let Some(work) = other {
            work(&mut past);
        }
        lock(&QUEUE).past.extend(past);
    }
    while drain_next() {}
    true
}

/// Drains until one is to be dropped, and drops that: those before it are dropped by then. Whether there was any.
fn drain_next() -> bool {
    let mut drained = 0;
    let mut instance = None;
    {
        let _no_fork = gated::pass();
        let mut queue = lock(&QUEUE);
        while instance.is_none() && drained < TOGETHER {
            let Some(next) = queue.past.pop_front() else { break };
            instance = next.drain();
            drained += 1;
        }
        if queue.waiters != 0 {
            DONE.notify_all();
        }
    }
    // The user's code, which finds nothing locked.
    if let Some(instance) = instance {
        drop_drained(instance);
    }
    drained != 0
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
}

thread_local! {
    /// In the handlers of a fork: the lock, held from the first to the last.
    ///
    /// Without a destructor: a thread may fork while its storage is being destroyed.
    static FORKING: Cell<Option<ManuallyDrop<MutexGuard<'static, Queue>>>> = const { Cell::new(None) };
}

/// Keeps the reclaimer out until the fork is over.
pub(crate) fn before_fork() {
    FORKING.set(Some(ManuallyDrop::new(lock(&QUEUE))));
}

pub(crate) fn after_fork_in_parent() {
    drop(FORKING.take().map(ManuallyDrop::into_inner));
}

/// The child has no reclaimer yet. What it has inherited waits for that: see [`inherit`].
pub(crate) fn after_fork_in_child() {
    let Some(queue) = FORKING.take() else { return };
    let mut queue = ManuallyDrop::into_inner(queue);
    queue.running = false;
    queue.idle = false;
    queue.waiters = 0;
}

/// In a child, its reclaimer takes over what the parent's was about to do: it waits for a grace period of the child's.
fn inherit() {
    let mut queue = lock(&QUEUE);
    let mut all: Vec<_> = queue.due.drain(..).collect();
    all.append(&mut queue.waiting);
    all.append(&mut queue.deferred);
    queue.deferred = all;
}

/// Waits until every guard and every section that was there at the call is gone.
fn wait_for_grace_period() {
    if sabotage::is(Sabotage::NoQuiescence) {
        GRACE_PERIODS.fetch_add(1, Ordering::Relaxed);
        return;
    }
    // W2 and W3 of `record`: everything deferred so far was made unreachable by stores before this.
    section::heavy_barrier();
    wait_for_readers();
    #[cfg(patched)]
    super::linked::wait_for_readers();
    GRACE_PERIODS.fetch_add(1, Ordering::Relaxed);
}

/// Waits until the sections and the guards of this copy of hotcall that are there at the call are gone. The caller has
/// passed the heavy barrier.
pub(crate) fn wait_for_readers() {
    let mut sections = section::begin_phase();
    let mut pause = Backoff::new();
    guard::wait_until_passed(|| pause.snooze());
    let mut pause = Backoff::new();
    while !sections.have_passed() {
        pause.snooze();
    }
}

/// Yields a few times, then sleeps longer and longer, up to a millisecond.
struct Backoff {
    step: u32,
}

impl Backoff {
    fn new() -> Self {
        Self { step: 0 }
    }

    fn snooze(&mut self) {
        if self.step < 6 {
            std::thread::yield_now();
        } else {
            let micros = 10_u64 << (self.step - 6).min(7);
            std::thread::sleep(Duration::from_micros(micros.min(1_000)));
        }
        self.step += 1;
    }
}

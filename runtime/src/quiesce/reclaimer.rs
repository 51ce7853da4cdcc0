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

use core::cell::Cell;
use core::sync::atomic::{AtomicU64, Ordering};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::lock::{Condvar, Mutex, MutexGuard};

use super::{guard, section};
use crate::sabotage::{self, Sabotage};

/// Something to be done when it is safe. Runs on the reclaimer's thread, outside any section.
pub(crate) type Deferred = Box<dyn FnOnce() + Send>;

/// How long the reclaimer gathers before it begins a grace period that nobody waits for. It bounds how often
/// callers are interrupted by its barrier: 1,000 times a second.
const GATHER: Duration = Duration::from_millis(1);

#[derive(Default)]
struct Queue {
    deferred: Vec<Deferred>,
    /// In the grace period that is under way.
    waiting: Vec<Deferred>,
    /// Past their grace period, not yet run.
    due: VecDeque<Deferred>,
    /// Somebody waits: do not gather.
    urgent: bool,
    running: bool,
}

static QUEUE: Mutex<Queue> = Mutex::new(Queue {
    deferred: Vec::new(),
    waiting: Vec::new(),
    due: VecDeque::new(),
    urgent: false,
    running: false,
});
static WORK: Condvar = Condvar::new();
static GRACE_PERIODS: AtomicU64 = AtomicU64::new(0);

/// How many grace periods have ended.
pub(crate) fn grace_periods() -> u64 {
    GRACE_PERIODS.load(Ordering::Relaxed)
}

/// Defers work past a grace period that begins after this call. What the work frees has been made
/// unreachable already.
pub(crate) fn defer(work: Deferred) {
    let mut queue = QUEUE.lock();
    queue.deferred.push(work);
    ensure_running(&mut queue);
    WORK.notify_one();
}

/// Asks for a grace period now rather than soon.
pub(crate) fn hurry() {
    let mut queue = QUEUE.lock();
    queue.urgent = true;
    ensure_running(&mut queue);
    WORK.notify_one();
}

fn ensure_running(queue: &mut Queue) {
    if queue.running {
        return;
    }
    // Before there is a thread that a child would not have.
    #[cfg(target_os = "linux")]
    crate::sys::fork::register();
    let spawned = std::thread::Builder::new().name("hotcall-reclaim".into()).spawn(run);
    match spawned {
        Ok(_) => queue.running = true,
        // Nothing is lost: what is deferred stays in the queue, and the next call tries again.
        Err(error) => {
            tracing::warn!(target: "hotcall", %error, "the reclaimer could not be started; will retry")
        }
    }
}

thread_local! {
    static CURRENT: Cell<bool> = const { Cell::new(false) };
}

/// Whether the calling thread is the reclaimer: it runs destructors of plugins, which may not wait for it.
pub(crate) fn is_current() -> bool {
    CURRENT.get()
}

fn run() {
    CURRENT.set(true);
    loop {
        // Whatever is deferred is in the queue until it is run: a child that is forked meanwhile has it, too.
        wait_for_work();
        wait_for_grace_period();
        {
            let mut queue = QUEUE.lock();
            let past = core::mem::take(&mut queue.waiting);
            queue.due.extend(past);
        }
        while let Some(work) = next_due() {
            // A plugin's destructor may panic: its plugin is gone, the others are still to be freed.
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err() {
                tracing::error!(target: "hotcall", "a replaced plugin panicked in its destructor");
            }
        }
    }
}

fn next_due() -> Option<Deferred> {
    QUEUE.lock().due.pop_front()
}

fn wait_for_work() {
    let mut queue = QUEUE.lock();
    while queue.deferred.is_empty() {
        queue.urgent = false;
        WORK.wait(&mut queue);
    }
    let deadline = Instant::now() + GATHER;
    while !queue.urgent {
        if WORK.wait_until(&mut queue, deadline).timed_out() {
            break;
        }
    }
    queue.urgent = false;
    queue.waiting = core::mem::take(&mut queue.deferred);
}

thread_local! {
    /// In the handlers of a fork: the lock, held from the first to the last.
    static FORKING: Cell<Option<MutexGuard<'static, Queue>>> = const { Cell::new(None) };
}

/// Keeps the reclaimer out until the fork is over.
pub(crate) fn before_fork() {
    FORKING.set(Some(QUEUE.lock()));
}

pub(crate) fn after_fork_in_parent() {
    FORKING.set(None);
}

/// The child has no reclaimer yet. What it has inherited waits for a grace period of its own.
pub(crate) fn after_fork_in_child() {
    let Some(mut queue) = FORKING.take() else { return };
    let waiting = core::mem::take(&mut queue.waiting);
    let due = core::mem::take(&mut queue.due);
    queue.deferred.extend(waiting);
    queue.deferred.extend(due);
    queue.running = false;
}

/// Waits until every guard and every section that was there at the call is gone.
fn wait_for_grace_period() {
    if sabotage::is(Sabotage::NoQuiescence) {
        GRACE_PERIODS.fetch_add(1, Ordering::Relaxed);
        return;
    }
    // W2 and W3 of `record`: everything deferred so far was made unreachable by stores before this.
    section::heavy_barrier();
    let mut sections = section::begin_phase();
    let mut pause = Backoff::new();
    guard::wait_until_passed(|| pause.snooze());
    let mut pause = Backoff::new();
    while !sections.have_passed() {
        pause.snooze();
    }
    GRACE_PERIODS.fetch_add(1, Ordering::Relaxed);
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

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

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::guard::collector;
use super::section;
use crate::sabotage::{self, Sabotage};

/// Something to be done when it is safe. Runs on the reclaimer's thread, outside any section.
pub(crate) type Deferred = Box<dyn FnOnce() + Send>;

/// How long the reclaimer gathers before it begins a grace period that nobody waits for. It bounds how often
/// callers are interrupted by its barrier: 1,000 times a second.
const GATHER: Duration = Duration::from_millis(1);

#[derive(Default)]
struct Queue {
    deferred: Vec<Deferred>,
    /// Somebody waits: do not gather.
    urgent: bool,
    running: bool,
}

static QUEUE: Mutex<Queue> =
    Mutex::new(Queue { deferred: Vec::new(), urgent: false, running: false });
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
    let spawned = std::thread::Builder::new().name("hotcall-reclaim".into()).spawn(run);
    match spawned {
        Ok(_) => queue.running = true,
        // Nothing is lost: what is deferred stays in the queue, and the next call tries again.
        Err(error) => tracing::warn!(target: "hotcall", %error, "the reclaimer could not be started; will retry"),
    }
}

fn run() {
    loop {
        for work in next_batch() {
            // A plugin's destructor may panic: its plugin is gone, the others are still to be freed.
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err() {
                tracing::error!(target: "hotcall", "a replaced plugin panicked in its destructor");
            }
        }
    }
}

fn next_batch() -> Vec<Deferred> {
    let batch = {
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
        core::mem::take(&mut queue.deferred)
    };
    wait_for_grace_period();
    batch
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
    let guards_passed = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&guards_passed);
    let collector_handle = collector().register();
    let pinned = collector_handle.pin();
    // Release, partner of the Acquire below: what guards protected was last used before.
    pinned.defer(move || told.store(true, Ordering::Release));
    drop(pinned);
    let mut pause = Backoff::new();
    while !guards_passed.load(Ordering::Acquire) {
        // Moves the epoch on if every pinned thread has seen the current one.
        collector_handle.pin().flush();
        pause.snooze();
    }
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

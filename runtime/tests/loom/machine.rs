//! What the models are made of: memory that is freed, a core that fetches ahead, a writer's grace period.

use loom::cell::UnsafeCell;
use loom::sync::Mutex;
use loom::sync::atomic::{AtomicUsize, Ordering, fence};

use crate::record::Flag;

/// An instance, or a piece of code: used by callers, freed by a writer.
///
/// Loom rejects an execution in which a use and the freeing are not ordered by "happens before", even where the
/// one came earlier by luck.
#[derive(Debug)]
pub struct Freeable {
    freed: UnsafeCell<bool>,
}

impl Freeable {
    pub fn new() -> Self {
        Self { freed: UnsafeCell::new(false) }
    }

    /// Runs it.
    pub fn run(&self) {
        self.freed.with(|freed| {
            // SAFETY: a shared access that loom checks against the exclusive one below.
            let freed = unsafe { *freed };
            assert!(!freed, "used after it was freed");
        });
    }

    /// W5 of `record`.
    pub fn free(&self) {
        // SAFETY: an exclusive access that loom checks against the shared one above.
        self.freed.with_mut(|freed| unsafe { *freed = true });
    }
}

/// The part of a core that is not coherent with memory: code that it has fetched or decoded and not yet run.
///
/// It runs what it holds, however old, until a barrier empties it. A real core forgets more often than
/// this one, which forgets only when it must.
#[derive(Debug, Default)]
pub struct Core {
    fetched: Mutex<Vec<(usize, usize)>>,
}

impl Core {
    /// Runs the code at `address`, which is in `memory`: answers what it was when it was fetched.
    pub fn run(&self, address: usize, memory: &AtomicUsize) -> usize {
        let mut fetched = self.fetched.lock().unwrap();
        if let Some(&(_, code)) = fetched.iter().find(|(held, _)| *held == address) {
            return code;
        }
        let code = memory.load(Ordering::Acquire);
        fetched.push((address, code));
        code
    }

    /// A core-serialising instruction.
    pub fn serialise(&self) {
        self.fetched.lock().unwrap().clear();
    }
}

/// W2: `section::heavy_barrier`, with the cores that it interrupts.
pub fn heavy_barrier(cores: &[&Core]) {
    fence(Ordering::SeqCst);
    cores.iter().for_each(|core| core.serialise());
    fence(Ordering::SeqCst);
}

/// W4.
pub fn wait_until_passed(flag: &Flag, phase: u64) {
    while !flag.has_passed(phase) {
        loom::thread::yield_now();
    }
}

/// `reclaimer::wait_for_grace_period`: W2, W3, W4.
pub fn grace_period(flag: &Flag, phase: u64, cores: &[&Core]) {
    heavy_barrier(cores);
    flag.raise(phase);
    wait_until_passed(flag, phase);
}

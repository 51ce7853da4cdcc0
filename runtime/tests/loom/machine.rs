//! What the models are made of: memory that is freed, a core that fetches ahead, a writer's grace period.

use loom::cell::UnsafeCell;
use loom::sync::Mutex;
use loom::sync::atomic::{AtomicUsize, Ordering, fence};

use crate::grace::{GracePeriods, Records};
use crate::record::{Counter, Record};

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

/// A thread's record, and the grace periods of a runtime in which it is the only one.
#[derive(Debug)]
pub struct Reader {
    pub record: Record,
    pub grace: GracePeriods,
    /// No atomic of loom's: the owner's own.
    claimed: std::sync::atomic::AtomicBool,
}

impl Records for Reader {
    fn from(&self, position: usize) -> impl Iterator<Item = &Record> {
        core::iter::once(&self.record).skip(position)
    }
}

impl Reader {
    pub fn new() -> Self {
        let claimed = std::sync::atomic::AtomicBool::new(false);
        Self { record: Record::new(), grace: GracePeriods::new(), claimed }
    }

    /// `Section::enter`; the first time, `registry::register`.
    pub fn enter(&self) -> Section<'_> {
        if !self.claimed.swap(true, std::sync::atomic::Ordering::Relaxed) {
            self.record.turn(self.grace.index());
        }
        Section::enter(&self.record)
    }

    /// `section::wait_for_readers`, after the heavy barrier: W3, by way of G1 to G4.
    pub fn wait(&self) {
        wait(&self.grace, self);
    }
}

/// `section::wait_for_readers`.
pub fn wait(grace: &GracePeriods, records: &impl Records) {
    let cookie = grace.cookie();
    while !grace.poll(cookie, records) {
        loom::thread::yield_now();
    }
}

/// `section::Section`, which ends where the model says.
#[derive(Debug)]
pub struct Section<'r> {
    counter: &'r Counter,
    count: isize,
}

impl<'r> Section<'r> {
    pub fn enter(record: &'r Record) -> Self {
        let counter = record.now();
        Self::enter_on(counter)
    }

    pub fn enter_on(counter: &'r Counter) -> Self {
        let count = counter.get();
        counter.enter(count);
        Self { counter, count }
    }

    pub fn leave(self) {
        if !self.counter.leave_nested(self.count) {
            self.counter.leave_any();
        }
    }

    pub fn parts(self) -> (&'r Counter, isize) {
        (self.counter, self.count)
    }
}

/// `reclaimer::wait_for_grace_period`: W2, W3.
pub fn grace_period(reader: &Reader, cores: &[&Core]) {
    heavy_barrier(cores);
    reader.wait();
}

//! The head of `slot/patched/writer/keys.rs`: a key is turned, and one of its branches is patched for the first time, while a
//! thread asks.
//!
//! Another thread that has learnt that `set` is over finds what was set, whatever its core had fetched; and a branch that is patched
//! meanwhile does not say for ever what the key was.

use std::sync::Arc;

use loom::sync::Mutex;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::machine::{Core, heavy_barrier};

/// What stands at the branch.
const LOADS: usize = 0;
const OFF: usize = 1;
const ON: usize = 2;
/// Where the branch is.
const BRANCH: usize = 0;

#[derive(Clone, Copy, PartialEq)]
enum Writer {
    Right,
    /// Nothing is said to cores.
    NoBarrier,
    /// What the key is is looked up before the lock is had under which the branch is patched.
    LooksBeforeTheLock,
}

struct Shared {
    core: Core,
    branch: AtomicUsize,
    /// The key's word.
    on: AtomicUsize,
    /// The writers' lock.
    lock: Mutex<()>,
    returned: AtomicUsize,
}

impl Shared {
    fn is_on(&self) -> bool {
        match self.core.run(BRANCH, &self.branch) {
            LOADS => self.on.load(Ordering::Relaxed) == 1,
            branch => branch == ON,
        }
    }

    /// `Key::set(true)`.
    fn set(&self, writer: Writer) {
        let lock = self.lock.lock().unwrap();
        let patched = self.branch.load(Ordering::Relaxed) != LOADS;
        self.on.store(1, Ordering::Relaxed);
        if patched {
            self.branch.store(ON, Ordering::Release);
        }
        if writer != Writer::NoBarrier {
            heavy_barrier(&[&self.core]);
        }
        drop(lock);
        self.returned.store(1, Ordering::Release);
    }

    /// `Writer::patch_branches`, for another commit, which changes nothing of the key.
    fn patch(&self, writer: Writer) {
        let looked = self.on.load(Ordering::Relaxed);
        let _lock = self.lock.lock().unwrap();
        let on = if writer == Writer::LooksBeforeTheLock { looked } else { self.on.load(Ordering::Relaxed) };
        self.branch.store(if on == 1 { ON } else { OFF }, Ordering::Release);
    }
}

fn model(writer: Writer) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || {
        let shared = Arc::new(Shared {
            core: Core::default(),
            branch: AtomicUsize::new(LOADS),
            on: AtomicUsize::new(0),
            lock: Mutex::new(()),
            returned: AtomicUsize::new(0),
        });
        let asking = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for _ in 0..2 {
                    let returned = shared.returned.load(Ordering::Acquire) == 1;
                    let on = shared.is_on();
                    assert!(on || !returned, "off after it was turned on");
                }
            }
        });
        let patching = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.patch(writer)
        });
        shared.set(writer);
        patching.join().unwrap();
        asking.join().unwrap();
        assert_ne!(shared.branch.load(Ordering::Relaxed), OFF, "patched as it was");
    });
}

#[test]
fn nobody_finds_what_was_before_set_has_returned() {
    model(Writer::Right);
}

#[test]
#[should_panic = "off after it was turned on"]
fn broken_no_barrier() {
    model(Writer::NoBarrier);
}

#[test]
#[should_panic]
fn broken_looks_before_the_lock() {
    model(Writer::LooksBeforeTheLock);
}

//! A batch of two slots: after it has returned, no call that begins runs what either of them held.

use std::sync::Arc;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::machine::{Core, heavy_barrier};
use crate::record::Flag;

const OLD: usize = 0;
const NEW: usize = 1;

/// Where the one barrier is.
#[derive(Clone, Copy, PartialEq)]
enum Barrier {
    AfterBoth,
    BetweenThem,
    Nowhere,
}

struct Shared {
    flag: Flag,
    core: Core,
    stubs: [AtomicUsize; 2],
    returned: AtomicUsize,
}

fn model(barrier: Barrier) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || {
        let shared = Arc::new(Shared {
            flag: Flag::new(),
            core: Core::default(),
            stubs: [AtomicUsize::new(OLD), AtomicUsize::new(OLD)],
            returned: AtomicUsize::new(0),
        });
        let calling = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for _ in 0..2 {
                    // Relaxed: however the caller comes to know that the batch has returned.
                    let returned = shared.returned.load(Ordering::Relaxed) == 1;
                    shared.flag.enter();
                    let found = [0, 1].map(|stub| shared.core.run(stub, &shared.stubs[stub]));
                    assert!(!returned || found == [NEW, NEW], "stale: a call after the batch runs the old");
                    shared.flag.leave();
                }
            }
        });
        // `Writer::commit`: all stores, then one barrier.
        shared.stubs[0].store(NEW, Ordering::Release);
        if barrier == Barrier::BetweenThem {
            heavy_barrier(&[&shared.core]);
        }
        shared.stubs[1].store(NEW, Ordering::Release);
        if barrier == Barrier::AfterBoth {
            heavy_barrier(&[&shared.core]);
        }
        shared.returned.store(1, Ordering::Relaxed);
        calling.join().unwrap();
    });
}

#[test]
fn a_batch_has_happened_when_it_returns() {
    model(Barrier::AfterBoth);
}

#[test]
#[should_panic = "stale"]
fn broken_barrier_between_the_stores() {
    model(Barrier::BetweenThem);
}

#[test]
#[should_panic = "stale"]
fn broken_without_barrier() {
    model(Barrier::Nowhere);
}

//! "In place" in the head of `slot/patched/mod.rs`: one store of the `this` word swaps instances of one type. No call that
//! begins later runs the old one, no call runs one that was freed, and another type may follow at once.

use std::sync::Arc;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::machine::{Core, Freeable, grace_period, heavy_barrier};
use crate::record::{FIRST_PHASE, Flag};

/// Where the stub jumps to.
const A_METHOD: usize = 0;
const FIRST_THUNK: usize = 1;
const B_THUNK: usize = 2;
/// What the `this` word says: two instances of A, and one of B.
const FIRST: usize = 0;
const SECOND: usize = 1;
const B: usize = 2;
/// Where the stub is.
const STUB: usize = 0;

/// What the writer does.
#[derive(Clone, Copy, PartialEq)]
enum Writer {
    Right,
    /// The slot has not settled: its stub goes to a thunk, which brings the first instance along.
    WhileUnsettled,
    /// Its stub went straight a moment ago: a core may have fetched the jump to the thunk.
    WithoutBarrier,
    /// The first instance is freed as soon as nothing leads to it.
    FreesAtOnce,
}

struct Shared {
    flag: Flag,
    core: Core,
    stub: AtomicUsize,
    this: AtomicUsize,
    instances: [Freeable; 3],
    replaced: AtomicUsize,
}

impl Shared {
    fn new() -> Self {
        Self {
            flag: Flag::new(),
            core: Core::default(),
            stub: AtomicUsize::new(FIRST_THUNK),
            this: AtomicUsize::new(FIRST),
            instances: [Freeable::new(), Freeable::new(), Freeable::new()],
            replaced: AtomicUsize::new(0),
        }
    }

    /// A plain call: it loads `this` inside its section, and runs the stub with it.
    fn call(&self) {
        // Acquire: the caller has come to know of the replacement by something that orders it.
        let replaced = self.replaced.load(Ordering::Acquire) == 1;
        self.flag.enter();
        let this = self.this.load(Ordering::Acquire);
        let runs = match self.core.run(STUB, &self.stub) {
            A_METHOD => {
                assert_ne!(this, B, "A's method runs on B");
                this
            }
            FIRST_THUNK => FIRST,
            _ => B,
        };
        assert!(!replaced || runs != FIRST, "stale: a call after the replacement runs the old instance");
        self.instances[runs].run();
        self.flag.leave();
    }

    fn replace(&self, writer: Writer) {
        // `Writer::straighten`, and the barrier that the grace period after it begins with.
        if writer != Writer::WhileUnsettled {
            self.stub.store(A_METHOD, Ordering::Release);
        }
        if writer != Writer::WithoutBarrier {
            heavy_barrier(&[&self.core]);
        }
        // `Writer::commit`, in place.
        self.this.store(SECOND, Ordering::Release);
        self.replaced.store(1, Ordering::Release);
        if writer != Writer::FreesAtOnce {
            grace_period(&self.flag, FIRST_PHASE + 1, &[&self.core]);
        }
        // Left there in the models that are to show what a stale call is.
        if !matches!(writer, Writer::WhileUnsettled | Writer::WithoutBarrier) {
            self.instances[FIRST].free();
        }
        // `Writer::commit`, of another type.
        self.stub.store(B_THUNK, Ordering::Release);
        heavy_barrier(&[&self.core]);
        self.this.store(B, Ordering::Release);
    }
}

fn model(writer: Writer, calls: usize) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || {
        let shared = Arc::new(Shared::new());
        let calling = thread::spawn({
            let shared = Arc::clone(&shared);
            move || (0..calls).for_each(|_| shared.call())
        });
        shared.replace(writer);
        calling.join().unwrap();
    });
}

#[test]
fn an_instance_of_the_same_type_takes_one_store() {
    model(Writer::Right, 2);
}

#[test]
#[should_panic = "stale"]
fn broken_in_place_while_unsettled() {
    model(Writer::WhileUnsettled, 2);
}

#[test]
#[should_panic = "stale"]
fn broken_in_place_without_barrier() {
    model(Writer::WithoutBarrier, 2);
}

#[test]
#[should_panic = "Causality violation"]
fn broken_frees_at_once() {
    model(Writer::FreesAtOnce, 1);
}

//! Transition and settling: the head of `slot/patched/mod.rs`. No method runs on another type's instance, and what
//! is no longer reached is freed.

use std::sync::Arc;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::machine::{Core, Freeable, grace_period, heavy_barrier};
use crate::record::{FIRST_PHASE, Flag};

/// Where the stub jumps to.
const A_METHOD: usize = 0;
const B_THUNK: usize = 1;
const B_METHOD: usize = 2;
/// What the `this` word says.
const A: usize = 0;
const B: usize = 1;
/// Where the stub is.
const STUB: usize = 0;

/// What the writer does.
#[derive(Clone, Copy, PartialEq)]
enum Writer {
    Right,
    /// `this` becomes B before the stub does: `A::f(B)`.
    PublishesFirst,
    /// `this` becomes B before the barrier: a core that has fetched the old jump runs `A::f(B)`.
    WithoutBarrier,
    /// The stub goes to `B::f` before the grace period: `B::f(A)`.
    SettlesAtOnce,
    /// The thunk is freed with what was replaced: a caller may be inside it.
    FreesThunkAtOnce,
}

struct Shared {
    flag: Flag,
    core: Core,
    stub: AtomicUsize,
    this: AtomicUsize,
    instances: [Freeable; 2],
    thunk: Freeable,
}

impl Shared {
    fn new() -> Self {
        Self {
            flag: Flag::new(),
            core: Core::default(),
            stub: AtomicUsize::new(A_METHOD),
            this: AtomicUsize::new(A),
            instances: [Freeable::new(), Freeable::new()],
            thunk: Freeable::new(),
        }
    }

    /// C1 to C3: `BoundCore::this` loads `this`, the stub is run with it.
    fn call(&self) {
        self.flag.enter();
        let this = self.this.load(Ordering::Acquire);
        match self.core.run(STUB, &self.stub) {
            A_METHOD => {
                assert_eq!(this, A, "A's method runs on B");
                self.instances[A].run();
            }
            B_THUNK => {
                self.thunk.run();
                self.instances[B].run();
            }
            _ => {
                assert_eq!(this, B, "B's method runs on A");
                self.instances[B].run();
            }
        }
        self.flag.leave();
    }

    fn replace(&self, writer: Writer) {
        // `Writer::commit`: publish, barrier, install.
        if writer == Writer::PublishesFirst {
            self.this.store(B, Ordering::Release);
        }
        self.stub.store(B_THUNK, Ordering::Release);
        if writer != Writer::WithoutBarrier {
            heavy_barrier(&[&self.core]);
        }
        self.this.store(B, Ordering::Release);
        if writer == Writer::SettlesAtOnce {
            self.stub.store(B_METHOD, Ordering::Release);
        }
        // `after_grace_period`: settle, drain.
        grace_period(&self.flag, FIRST_PHASE + 1, &[&self.core]);
        self.stub.store(B_METHOD, Ordering::Release);
        self.instances[A].free();
        // `release_later`.
        if writer != Writer::FreesThunkAtOnce {
            grace_period(&self.flag, FIRST_PHASE + 2, &[&self.core]);
        }
        self.thunk.free();
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
fn code_and_instance_change_together() {
    model(Writer::Right, 2);
}

#[test]
#[should_panic = "A's method runs on B"]
fn broken_publishes_first() {
    model(Writer::PublishesFirst, 1);
}

#[test]
#[should_panic = "A's method runs on B"]
fn broken_without_barrier() {
    model(Writer::WithoutBarrier, 2);
}

#[test]
#[should_panic = "B's method runs on A"]
fn broken_settles_at_once() {
    model(Writer::SettlesAtOnce, 1);
}

#[test]
#[should_panic = "Causality violation"]
fn broken_frees_thunk_at_once() {
    model(Writer::FreesThunkAtOnce, 1);
}

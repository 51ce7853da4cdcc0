//! "Where there is no barrier" in the head of `slot/patched/mod.rs`: a core drops what it has fetched when its thread pins and
//! finds that code was written. A grace period stands in for the barrier.

use std::sync::Arc;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::machine::{Core, Freeable, wait_until_passed};
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
    /// `this` is stored at once, as where there is a barrier.
    PublishesAtOnce,
    /// The grace period after which `this` is stored is the one after which the stub goes straight, too.
    SettlesWithIt,
    /// Pins do not learn that code was written.
    TellsNobody,
}

struct Shared {
    flag: Flag,
    core: Core,
    /// `section::CODE_VERSION`.
    version: AtomicUsize,
    stub: AtomicUsize,
    this: AtomicUsize,
    instances: [Freeable; 2],
}

impl Shared {
    fn new() -> Self {
        Self {
            flag: Flag::new(),
            core: Core::default(),
            version: AtomicUsize::new(0),
            stub: AtomicUsize::new(A_METHOD),
            this: AtomicUsize::new(A),
            instances: [Freeable::new(), Freeable::new()],
        }
    }

    /// A call in a pinned section; `seen` is the thread's own.
    fn call(&self, seen: &mut usize) {
        self.flag.enter();
        // `serialise_if_stale`, after the pin.
        let version = self.version.load(Ordering::SeqCst);
        if core::mem::replace(seen, version) != version {
            self.core.serialise();
        }
        let this = self.this.load(Ordering::Acquire);
        match self.core.run(STUB, &self.stub) {
            A_METHOD => {
                assert_eq!(this, A, "A's method runs on B");
                self.instances[A].run();
            }
            B_THUNK => self.instances[B].run(),
            _ => {
                assert_eq!(this, B, "B's method runs on A");
                self.instances[B].run();
            }
        }
        self.flag.leave();
    }

    /// `section::heavy_barrier`, where there is none.
    fn tell(&self, writer: Writer) {
        if writer != Writer::TellsNobody {
            self.version.fetch_add(1, Ordering::SeqCst);
        }
        loom::sync::atomic::fence(Ordering::SeqCst);
    }

    fn grace_period(&self, writer: Writer, phase: u64) {
        self.tell(writer);
        self.flag.raise(phase);
        wait_until_passed(&self.flag, phase);
    }

    fn replace(&self, writer: Writer) {
        // `Writer::commit`.
        self.stub.store(B_THUNK, Ordering::Release);
        self.tell(writer);
        if writer == Writer::PublishesAtOnce {
            self.this.store(B, Ordering::Release);
        }
        // `Writer::advance`: published, straight.
        self.grace_period(writer, FIRST_PHASE + 1);
        self.this.store(B, Ordering::Release);
        self.instances[A].free();
        if writer != Writer::SettlesWithIt {
            self.grace_period(writer, FIRST_PHASE + 2);
        }
        self.stub.store(B_METHOD, Ordering::Release);
    }
}

fn model(writer: Writer) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || {
        let shared = Arc::new(Shared::new());
        let calling = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let mut seen = 0;
                (0..2).for_each(|_| shared.call(&mut seen));
            }
        });
        shared.replace(writer);
        calling.join().unwrap();
    });
}

#[test]
fn a_grace_period_stands_in_for_the_barrier() {
    model(Writer::Right);
}

#[test]
#[should_panic = "A's method runs on B"]
fn broken_publishes_at_once() {
    model(Writer::PublishesAtOnce);
}

#[test]
#[should_panic = "B's method runs on A"]
fn broken_settles_with_it() {
    model(Writer::SettlesWithIt);
}

#[test]
#[should_panic]
fn broken_tells_nobody() {
    model(Writer::TellsNobody);
}

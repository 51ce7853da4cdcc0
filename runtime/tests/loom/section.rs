//! A caller's section against the retirement of what it runs: the argument of `record.rs`.

use std::sync::Arc;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::machine::{Core, Freeable, heavy_barrier, wait_until_passed};
use crate::record::{FIRST_PHASE, OUTSIDE, Record};

const PHASE: usize = FIRST_PHASE + 1;

/// What a writer does between W1 and W5.
#[derive(Clone, Copy)]
enum Writer {
    /// W2, W3, W4.
    Right,
    /// No W2: a caller that was seen outside may still find the old target.
    WithoutBarrier,
    /// W3 before W2: a caller may announce the new phase and still run the old jump that its core has fetched.
    PhaseBeforeBarrier,
    /// No W4.
    WithoutWait,
}

/// What a caller does around its use of the target.
#[derive(Clone, Copy)]
enum Caller {
    /// C1, C2, C3, so many times.
    Calls(usize),
    /// A call inside a call, which finds the state nonzero and leaves it alone (invariant 2).
    Nests,
    /// C2 without C1 and C3: the section that is a no-op.
    Unannounced,
    /// A nested call that ends the outer one's section.
    NestsAndLeaves,
}

struct Shared {
    record: Record,
    core: Core,
    /// The stub's displacement: which of the two.
    target: AtomicUsize,
    targets: [Freeable; 2],
}

impl Shared {
    /// C2.
    fn run(&self) {
        let target = self.core.run(0, &self.target);
        self.targets[target].run();
    }

    /// `SlowSection::enter`, and what follows.
    fn call(&self, inside: impl FnOnce()) {
        let nested = self.record.state() != OUTSIDE;
        if !nested {
            self.record.enter();
        }
        inside();
        if !nested {
            self.record.leave();
        }
    }

    fn calls(&self, caller: Caller) {
        match caller {
            Caller::Calls(times) => (0..times).for_each(|_| self.call(|| self.run())),
            Caller::Nests => self.call(|| {
                self.call(|| self.run());
                self.run();
            }),
            Caller::Unannounced => self.run(),
            Caller::NestsAndLeaves => {
                // What the outer call found at C2, it goes on using.
                self.record.enter();
                let target = self.core.run(0, &self.target);
                self.record.leave();
                self.targets[target].run();
            }
        }
    }

    fn retires(&self, writer: Writer) {
        // W1.
        self.target.store(1, Ordering::Release);
        match writer {
            Writer::Right => {
                heavy_barrier(&[&self.core]);
                self.record.begin_phase(PHASE);
                wait_until_passed(&self.record, PHASE);
            }
            Writer::WithoutBarrier => {
                self.record.begin_phase(PHASE);
                wait_until_passed(&self.record, PHASE);
            }
            Writer::PhaseBeforeBarrier => {
                self.record.begin_phase(PHASE);
                heavy_barrier(&[&self.core]);
                wait_until_passed(&self.record, PHASE);
            }
            Writer::WithoutWait => {
                heavy_barrier(&[&self.core]);
                self.record.begin_phase(PHASE);
            }
        }
        // W5.
        self.targets[0].free();
    }
}

fn model(writer: Writer, caller: Caller) {
    loom::model(move || {
        let shared = Arc::new(Shared {
            record: Record::new(),
            core: Core::default(),
            target: AtomicUsize::new(0),
            targets: [Freeable::new(), Freeable::new()],
        });
        let calling = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.calls(caller)
        });
        shared.retires(writer);
        calling.join().unwrap();
    });
}

#[test]
fn a_call_keeps_what_it_runs() {
    model(Writer::Right, Caller::Calls(1));
}

#[test]
fn calls_in_a_row_keep_what_they_run() {
    model(Writer::Right, Caller::Calls(3));
}

/// `record.rs` with a C1 that is relaxed, as it once was: who sees the second call's phase has not seen the
/// first call end.
#[test]
#[should_panic = "Causality violation"]
fn broken_announcement_without_release() {
    announcements(Ordering::Relaxed);
}

#[test]
fn an_announcement_says_that_earlier_calls_are_over() {
    announcements(Ordering::Release);
}

fn announcements(announce: Ordering) {
    loom::model(move || {
        let state = Arc::new(AtomicUsize::new(OUTSIDE));
        let old = Arc::new(Freeable::new());
        let calling = thread::spawn({
            let (state, old) = (Arc::clone(&state), Arc::clone(&old));
            move || {
                state.store(FIRST_PHASE, announce);
                old.run();
                state.store(OUTSIDE, Ordering::Release);
                // The next call has read the new phase, and runs something else.
                state.store(PHASE, announce);
            }
        });
        if state.load(Ordering::Acquire) == PHASE {
            old.free();
        }
        calling.join().unwrap();
    });
}

#[test]
fn nested_calls_keep_what_the_outer_one_runs() {
    model(Writer::Right, Caller::Nests);
}

#[test]
#[should_panic = "Causality violation"]
fn broken_without_barrier() {
    model(Writer::WithoutBarrier, Caller::Calls(1));
}

#[test]
#[should_panic = "Causality violation"]
fn broken_phase_before_barrier() {
    model(Writer::PhaseBeforeBarrier, Caller::Calls(2));
}

#[test]
#[should_panic = "Causality violation"]
fn broken_without_wait() {
    model(Writer::WithoutWait, Caller::Calls(1));
}

#[test]
#[should_panic = "Causality violation"]
fn broken_section_that_is_a_no_op() {
    model(Writer::Right, Caller::Unannounced);
}

#[test]
#[should_panic = "Causality violation"]
fn broken_nested_call_that_leaves() {
    model(Writer::Right, Caller::NestsAndLeaves);
}

/// A thread that calls in a hot loop is inside some call whenever the reclaimer looks: a call that began after
/// the phase must not be waited for.
fn hot_loop(begin_phase: impl Fn(&Record) + Send + Sync + Copy + 'static) {
    loom::model(move || {
        let record = Arc::new(Record::new());
        let begun = Arc::new(AtomicUsize::new(0));
        let calling = thread::spawn({
            let (record, begun) = (Arc::clone(&record), Arc::clone(&begun));
            move || {
                for _ in 0..2 {
                    let after = begun.load(Ordering::Acquire) == 1;
                    record.enter();
                    assert!(!after || record.has_passed(PHASE), "starved: a later call is waited for");
                    record.leave();
                }
            }
        });
        begin_phase(&record);
        begun.store(1, Ordering::Release);
        calling.join().unwrap();
    });
}

#[test]
fn a_hot_loop_does_not_starve_the_reclaimer() {
    hot_loop(|record| record.begin_phase(PHASE));
}

/// Without phases, the record says no more than a depth counter: inside, or outside.
#[test]
#[should_panic = "starved"]
fn broken_depth_counter() {
    hot_loop(|_| {});
}

//! A reader's sections against the retirement of what they run: the argument of `record.rs`.

use std::sync::Arc;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::machine::{Core, Freeable, Reader, Section, heavy_barrier};

/// What a writer does between W1 and W5.
#[derive(Clone, Copy, PartialEq)]
enum Writer {
    /// W2, W3.
    Right,
    /// No W2: a reader whose counters were seen at 0 may still find the old target.
    WithoutBarrier,
    /// W2 after W3: a section may begin in between, and run the old jump that its core has fetched.
    BarrierLast,
    /// No W3.
    WithoutWait,
    /// W3 looks at the counter on which no section begins, alone.
    OneCounter,
}

/// What a reader does around its use of the target.
#[derive(Clone, Copy)]
enum Caller {
    /// C1, C2, C3, so many times.
    Calls(usize),
    /// A call inside a call.
    Nests,
    /// C2 without C1 and C3: the section that is a no-op.
    Unannounced,
    /// It goes on using what it found after C3.
    LeavesEarly,
    /// Two coroutines: the section that began first ends first, and the other goes on.
    Overlaps,
    /// As above, and C3 is "put back what was there" without the comparison.
    OverlapsBlindly,
}

struct Shared {
    reader: Reader,
    core: Core,
    /// The stub's displacement: which of the two.
    target: AtomicUsize,
    targets: [Freeable; 2],
}

impl Shared {
    /// C2, so far as it finds what to run.
    fn find(&self) -> usize {
        self.core.run(0, &self.target)
    }

    fn run(&self) {
        self.targets[self.find()].run();
    }

    fn calls(&self, caller: Caller) {
        match caller {
            Caller::Calls(times) => (0..times).for_each(|_| {
                let section = self.reader.enter();
                self.run();
                section.leave();
            }),
            Caller::Nests => {
                let outer = self.reader.enter();
                let found = self.find();
                let inner = self.reader.enter();
                self.run();
                inner.leave();
                self.targets[found].run();
                outer.leave();
            }
            Caller::Unannounced => self.run(),
            Caller::LeavesEarly => {
                let section = self.reader.enter();
                let found = self.find();
                section.leave();
                self.targets[found].run();
            }
            Caller::Overlaps | Caller::OverlapsBlindly => {
                let first = self.reader.enter();
                self.run();
                let second = self.reader.enter();
                let found = self.find();
                if matches!(caller, Caller::Overlaps) {
                    first.leave();
                } else {
                    let (counter, count) = first.parts();
                    // `*w = s`, whatever it holds.
                    while !counter.leave_nested(count) {
                        counter.leave_any();
                    }
                }
                self.targets[found].run();
                second.leave();
            }
        }
    }

    fn retires(&self, writer: Writer) {
        // W1.
        self.target.store(1, Ordering::Release);
        if matches!(writer, Writer::Right | Writer::WithoutWait | Writer::OneCounter) {
            heavy_barrier(&[&self.core]);
        }
        match writer {
            Writer::WithoutWait => {}
            Writer::OneCounter => {
                while !self.reader.record.counter(self.reader.grace.index() ^ 1).is_zero() {
                    thread::yield_now();
                }
            }
            _ => self.wait_without_fence(writer),
        }
        if writer == Writer::BarrierLast {
            heavy_barrier(&[&self.core]);
        }
        // W5.
        self.targets[0].free();
    }

    /// W3. Without W2 it is done by hand, for there are fences in a grace period of its own.
    fn wait_without_fence(&self, writer: Writer) {
        if writer == Writer::Right {
            return self.reader.wait();
        }
        for index in 0..2 {
            while !self.reader.record.counter(index).is_zero() {
                thread::yield_now();
            }
        }
    }
}

fn model(writer: Writer, caller: Caller) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(4);
    builder.check(move || {
        let shared = Arc::new(Shared {
            reader: Reader::new(),
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

#[test]
fn nested_calls_keep_what_the_outer_one_runs() {
    model(Writer::Right, Caller::Nests);
}

#[test]
fn calls_that_overlap_keep_what_the_later_one_runs() {
    model(Writer::Right, Caller::Overlaps);
}

#[test]
#[should_panic = "Causality violation"]
fn broken_without_comparison() {
    model(Writer::Right, Caller::OverlapsBlindly);
}

#[test]
#[should_panic = "Causality violation"]
fn broken_without_barrier() {
    model(Writer::WithoutBarrier, Caller::Calls(1));
}

#[test]
#[should_panic = "Causality violation"]
fn broken_barrier_last() {
    model(Writer::BarrierLast, Caller::Calls(2));
}

#[test]
#[should_panic = "Causality violation"]
fn broken_without_wait() {
    model(Writer::WithoutWait, Caller::Calls(1));
}

#[test]
#[should_panic = "Causality violation"]
fn broken_one_counter() {
    model(Writer::OneCounter, Caller::Calls(1));
}

#[test]
#[should_panic = "Causality violation"]
fn broken_section_that_is_a_no_op() {
    model(Writer::Right, Caller::Unannounced);
}

#[test]
#[should_panic = "Causality violation"]
fn broken_call_that_leaves_early() {
    model(Writer::Right, Caller::LeavesEarly);
}

/// A section of a signal handler, between two steps of the section that it interrupts, changes nothing.
#[test]
fn a_handler_between_two_steps() {
    let reader = std::sync::Mutex::new(());
    let _one_at_a_time = reader.lock();
    loom::model(|| {
        let reader = Arc::new(Reader::new());
        reader.enter().leave();
        let counter = reader.record.now();
        let count = counter.get();
        Section::enter_on(counter).leave();
        counter.enter(count);
        Section::enter_on(counter).leave();
        assert!(counter.leave_nested(count));
        assert!(reader.record.is_outside());
    });
}

//! A retired instance: drained by the reclaimer, abandoned by whoever holds the retirement, disposed of by one of them.

use std::sync::Arc;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::handover::{ABANDONED, BOTH, DRAINED, Handover};
use crate::machine::Freeable;

/// What sets the marks.
trait Marks: Send + Sync + 'static {
    fn new() -> Self;
    fn set(&self, mark: usize) -> bool;
}

impl Marks for Handover {
    fn new() -> Self {
        Self::new()
    }
    fn set(&self, mark: usize) -> bool {
        self.set(mark)
    }
}

/// A load and a store where there must be one operation.
struct Torn(AtomicUsize);

impl Marks for Torn {
    fn new() -> Self {
        Self(AtomicUsize::new(0))
    }
    fn set(&self, mark: usize) -> bool {
        let before = self.0.load(Ordering::Acquire);
        self.0.store(before | mark, Ordering::Release);
        before | mark == BOTH
    }
}

/// The operation, without its order.
struct Relaxed(AtomicUsize);

impl Marks for Relaxed {
    fn new() -> Self {
        Self(AtomicUsize::new(0))
    }
    fn set(&self, mark: usize) -> bool {
        self.0.fetch_or(mark, Ordering::Relaxed) | mark == BOTH
    }
}

fn model<M: Marks>() {
    loom::model(|| {
        let shared = Arc::new((M::new(), Freeable::new(), AtomicUsize::new(0)));
        let dispose = |shared: &(M, Freeable, AtomicUsize), mark: usize| {
            let (marks, instance, disposed) = shared;
            // A look at it, while it is not yet the other's.
            instance.run();
            if marks.set(mark) {
                instance.free();
                disposed.fetch_add(1, Ordering::Relaxed);
            }
        };
        let reclaimer = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || dispose(&shared, DRAINED))
        };
        dispose(&shared, ABANDONED);
        reclaimer.join().unwrap();
        assert_eq!(shared.2.load(Ordering::Relaxed), 1, "disposed of once");
    });
}

#[test]
fn one_disposes_of_what_both_are_done_with() {
    model::<Handover>();
}

#[test]
#[should_panic = "disposed of once"]
fn broken_in_two_steps() {
    model::<Torn>();
}

#[test]
#[should_panic = "Causality violation"]
fn broken_without_order() {
    model::<Relaxed>();
}

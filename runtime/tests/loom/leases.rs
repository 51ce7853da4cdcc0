//! A leased instance: the reclaimer lets it go, or the last lease that is given back.

use std::sync::Arc;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::leases::Leases;
use crate::machine::Freeable;

/// What counts leases.
trait Counts: Send + Sync + 'static {
    fn new() -> Self;
    fn take(&self);
    fn give_back(&self) -> bool;
    fn settle(&self) -> bool;
}

impl Counts for Leases {
    fn new() -> Self {
        Self::new()
    }
    fn take(&self) {
        self.take();
    }
    fn give_back(&self) -> bool {
        self.give_back()
    }
    fn settle(&self) -> bool {
        self.count() != 0 && self.settle()
    }
}

/// The same words, with a mark that is not set in one step with the look at the count.
struct Torn(AtomicUsize);

impl Counts for Torn {
    fn new() -> Self {
        Self(AtomicUsize::new(0))
    }
    fn take(&self) {
        self.0.fetch_add(2, Ordering::Relaxed);
    }
    fn give_back(&self) -> bool {
        self.0.fetch_sub(2, Ordering::AcqRel) == 3
    }
    fn settle(&self) -> bool {
        let leased = self.0.load(Ordering::Acquire) >= 2;
        self.0.fetch_or(1, Ordering::AcqRel);
        leased
    }
}

/// The same, without order.
struct Relaxed(AtomicUsize);

impl Counts for Relaxed {
    fn new() -> Self {
        Self(AtomicUsize::new(0))
    }
    fn take(&self) {
        self.0.fetch_add(2, Ordering::Relaxed);
    }
    fn give_back(&self) -> bool {
        self.0.fetch_sub(2, Ordering::Relaxed) == 3
    }
    fn settle(&self) -> bool {
        self.0.fetch_or(1, Ordering::Relaxed) >= 2
    }
}

fn model<C: Counts>() {
    loom::model(|| {
        let shared = Arc::new((C::new(), Freeable::new(), AtomicUsize::new(0)));
        // Taken in sections that the reclaimer has waited for.
        shared.0.take();
        shared.0.take();
        let lets_go = |shared: &(C, Freeable, AtomicUsize)| {
            shared.1.free();
            shared.2.fetch_add(1, Ordering::Relaxed);
        };
        let leases: Vec<_> = (0..2)
            .map(|_| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    shared.1.run();
                    if shared.0.give_back() {
                        lets_go(&shared);
                    }
                })
            })
            .collect();
        if !shared.0.settle() {
            lets_go(&shared);
        }
        leases.into_iter().for_each(|lease| lease.join().unwrap());
        assert_eq!(shared.2.load(Ordering::Relaxed), 1, "let go once");
    });
}

#[test]
fn one_lets_go_of_what_nobody_leases() {
    model::<Leases>();
}

#[test]
#[should_panic = "let go once"]
fn broken_in_two_steps() {
    model::<Torn>();
}

#[test]
#[should_panic = "Causality violation"]
fn broken_without_order() {
    model::<Relaxed>();
}

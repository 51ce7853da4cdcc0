//! State is saved while nobody is inside the old instance, and those who come wait: the argument of `quiesce/quiet.rs`, with the gate of
//! `host/gate.rs`.

use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::sync::Mutex;
use loom::sync::atomic::{AtomicUsize, Ordering, fence};
use loom::thread;

use crate::record::{Flag, Phases};

/// What the host does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Host {
    /// All of it.
    Right,
    /// The phase is taken while the gate is open to everybody.
    WithoutClosing,
    /// Nobody asks for what was handed in.
    WithoutHandedIn,
    /// The old instance is saved at once.
    WithoutWait,
    /// No W2 between the replacement and the phase.
    WithoutBarrier,
}

/// `host::gate::State`.
enum State {
    Everybody,
    Closing,
    Older(u64, bool),
    Nobody,
}

const OLD: usize = 0;
const GATE: usize = 1;

struct Shared {
    flag: Flag,
    phases: Phases,
    target: AtomicUsize,
    gate: Mutex<State>,
    /// What a call of the old instance changes, and what is saved.
    old: UnsafeCell<u64>,
}

impl Shared {
    /// A plain call. One that would wait at the gate ends instead: what it would run then is not the old instance.
    fn call(&self) {
        self.flag.enter();
        if self.target.load(Ordering::Acquire) == OLD || self.passes() {
            self.old.with_mut(|old| {
                // SAFETY: loom says so where somebody else is inside.
                unsafe { *old += 1 }
            });
        }
        self.flag.leave();
    }

    /// `Gate::pass`: whether it runs the old instance.
    fn passes(&self) -> bool {
        loop {
            match &mut *self.gate.lock().unwrap() {
                State::Everybody => return true,
                State::Closing => {}
                State::Older(phase, handed_in) => {
                    let is_older = !self.flag.has_passed(*phase);
                    *handed_in |= is_older;
                    return is_older;
                }
                State::Nobody => return false,
            }
            thread::yield_now();
        }
    }

    fn set(&self, state: State) {
        *self.gate.lock().unwrap() = state;
    }

    /// `Closed::close`, with `Quiet::begin` and `Quiet::wait`; and the saving.
    fn hand_over(&self, host: Host) {
        // W1.
        self.target.store(GATE, Ordering::Release);
        if host != Host::WithoutClosing {
            self.set(State::Closing);
        }
        if host != Host::WithoutBarrier {
            fence(Ordering::SeqCst);
        }
        let phase = self.phases.next();
        if host == Host::WithoutClosing {
            // What another grace period does, whose phase is later.
            self.flag.raise(self.phases.next());
        }
        self.set(State::Older(phase, false));
        if host != Host::WithoutWait {
            loop {
                self.flag.raise(phase);
                if self.flag.has_passed(phase) {
                    let mut state = self.gate.lock().unwrap();
                    let handed_in = match &mut *state {
                        State::Older(_, handed_in) => core::mem::take(handed_in),
                        _ => false,
                    };
                    if !handed_in || host == Host::WithoutHandedIn {
                        *state = State::Nobody;
                        break;
                    }
                }
                thread::yield_now();
            }
        }
        self.old.with(|old| {
            // SAFETY: as above.
            unsafe { *old }
        });
    }
}

fn model(host: Host, calls: usize) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || {
        let shared = Arc::new(Shared {
            flag: Flag::new(),
            phases: Phases::new(),
            target: AtomicUsize::new(OLD),
            gate: Mutex::new(State::Everybody),
            old: UnsafeCell::new(0),
        });
        let caller = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || (0..calls).for_each(|_| shared.call()))
        };
        shared.hand_over(host);
        caller.join().unwrap();
    });
}

#[test]
fn nobody_is_inside_what_is_saved() {
    model(Host::Right, 2);
}

#[test]
#[should_panic = "Causality violation"]
fn broken_quiet_with_a_gate_that_is_open_while_the_phase_is_taken() {
    model(Host::WithoutClosing, 2);
}

#[test]
#[should_panic = "Causality violation"]
fn broken_quiet_that_does_not_ask_who_was_let_through() {
    model(Host::WithoutHandedIn, 2);
}

#[test]
#[should_panic = "Causality violation"]
fn broken_quiet_without_a_wait() {
    model(Host::WithoutWait, 1);
}

#[test]
#[should_panic = "Causality violation"]
fn broken_quiet_without_a_barrier() {
    model(Host::WithoutBarrier, 1);
}

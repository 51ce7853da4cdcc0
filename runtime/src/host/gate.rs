//! A stand-in for a plugin: calls of it wait until the hand-over is over, and then run what came out of it.
//!
//! # Problem
//!
//! State that is to be handed over without losing an update must not change while it is saved. So nobody may be inside the old
//! instance, and nobody may be inside the new one before it has the state. Yet callers call.
//!
//! # Idea
//!
//! For that while the slot holds an [`Instance`] that has no implementor of its own but this gate. An instance implements its
//! interface by asking for its implementor's code, at each call: the gate answers when it is open.
//!
//! ```text
//!   calls ---> old            calls ---> gate . . .          calls ---> new
//!                                        old drains, saves
//!                                        new restores
//!                                        gate opens: those who waited run new
//! ```
//!
//! Nobody is inside the old instance: not those who called it before, and not those who were let through since
//! ([`crate::quiesce::quiet`] says who is, and why). A thread that was inside before the gate was there goes on inside: when it calls the slot
//! again, or holds a guard from before, it runs the old instance, which waits for it.
//!
//! # Invariants
//!
//! 1. A gate is opened once, to the new instance or back to the old one; whoever is to open it does so when it is dropped, too
//!    ([`Closed`]).
//! 2. What it is open to it keeps: a caller that it let through is inside the gate's own instance, and so protected.
//! 3. In a forked child nobody opens it: there it is open to the old instance, which the child has as it was.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use super::owner::Owner;
use crate::instance::{Instance, RawInstance};
use crate::interface::Implements;
use crate::lock::{Condvar, Mutex, MutexGuard, lock, wait};
#[cfg(asymmetric)]
use crate::quiesce::quiet::{self, Flags, Quiet};
use crate::sabotage::{self, Sabotage};

/// Who is let through to the old instance.
enum State {
    /// Everybody.
    Everybody,
    /// Whoever comes waits until that is known.
    #[cfg(asymmetric)]
    Closing,
    /// Threads with a section from before this phase, which they hand in.
    #[cfg(asymmetric)]
    Older(u64, Flags),
    /// Nobody: all wait.
    Nobody,
}

/// See the module.
pub(crate) struct Gate {
    old: Arc<Owner>,
    through: OnceLock<Arc<Owner>>,
    state: Mutex<State>,
    moved: Condvar,
    process: u32,
}

impl Gate {
    /// What a call runs that is inside the gate's instance: it may have to wait for it.
    pub(crate) fn pass(&self) -> &Owner {
        if self.through.get().is_none() && std::process::id() != self.process {
            return &self.old;
        }
        let mut state = None;
        loop {
            if let Some(owner) = self.through.get() {
                return owner;
            }
            let mut guard: MutexGuard<'_, State> = state.take().unwrap_or_else(|| lock(&self.state));
            match &mut *guard {
                State::Everybody => return &self.old,
                #[cfg(asymmetric)]
                State::Older(phase, handed_in) => {
                    let mut older = quiet::own_before(*phase);
                    if !older.is_empty() {
                        handed_in.append(&mut older);
                        return &self.old;
                    }
                }
                #[cfg(asymmetric)]
                State::Closing => {}
                State::Nobody => {}
            }
            // Who opens it does so under the lock.
            if self.through.get().is_none() {
                state = Some(wait(&self.moved, guard, None).0);
            }
        }
    }

    /// What it opens to where nothing comes of the hand-over.
    pub(crate) fn old(&self) -> &Owner {
        &self.old
    }

    fn set(&self, state: State) {
        *lock(&self.state) = state;
        self.moved.notify_all();
    }

    fn open(&self, to: Arc<Owner>) {
        let guard = lock(&self.state);
        let _ = self.through.set(to);
        drop(guard);
        self.moved.notify_all();
    }
}

/// A gate, which opens to the old instance if nobody opens it to another.
pub(super) struct Closed(Arc<Gate>);

impl Closed {
    /// One that lets everybody through to the old instance, until it is in the slot.
    pub(super) fn new(old: Arc<Owner>) -> Self {
        let (state, moved) = (Mutex::new(State::Everybody), Condvar::new());
        Self(Arc::new(Gate { old, through: OnceLock::new(), state, moved, process: std::process::id() }))
    }

    pub(super) fn gate(&self) -> Arc<Gate> {
        Arc::clone(&self.0)
    }

    /// The gate is in the slot. Waits until nobody is inside the old instance, at most until `deadline`: from then on nobody
    /// comes in.
    ///
    /// # Errors
    ///
    /// Why that cannot be done here, or `None` where the time is up.
    pub(super) fn close(&self, deadline: Option<Instant>) -> Result<(), Option<&'static str>> {
        if sabotage::is(Sabotage::HandOverAtOnce) {
            self.0.set(State::Nobody);
            return Ok(());
        }
        self.close_quietly(deadline)
    }

    #[cfg(asymmetric)]
    fn close_quietly(&self, deadline: Option<Instant>) -> Result<(), Option<&'static str>> {
        let gate = &self.0;
        // Before the phase is taken: a section that has it, or a later one, does not find the gate open to everybody.
        gate.set(State::Closing);
        let quiet = Quiet::begin().map_err(Some)?;
        gate.set(State::Older(quiet.phase(), Flags::new()));
        let handed_in = || {
            let mut state = lock(&gate.state);
            if let State::Older(_, flags) = &mut *state
                && !flags.is_empty()
            {
                return Some(core::mem::take(flags));
            }
            *state = State::Nobody;
            None
        };
        if quiet.wait(deadline, handed_in) { Ok(()) } else { Err(None) }
    }

    #[cfg(not(asymmetric))]
    fn close_quietly(&self, _: Option<Instant>) -> Result<(), Option<&'static str>> {
        Err(Some("this build's sections do not tell who is older"))
    }

    pub(super) fn open(self, to: Arc<Owner>) {
        self.0.open(to);
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        if self.0.through.get().is_none() {
            self.0.open(Arc::clone(&self.0.old));
        }
    }
}

/// Makes what a slot of an interface holds while a gate is closed.
pub(super) type StandIn = fn(Arc<Gate>) -> RawInstance;

/// That of the interface `I`.
pub(super) fn stand_in<I: ?Sized + Implements<Instance<I>>>(gate: Arc<Gate>) -> RawInstance {
    RawInstance::boxed::<I, Instance<I>>(Instance::from_raw(RawInstance::gate(gate)))
}

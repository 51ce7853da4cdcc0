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
//! # Invariants
//!
//! 1. A gate is opened once, to the new instance or back to the old one; whoever is to open it does so when it is dropped, too
//!    ([`Closed`]).
//! 2. What it is open to it keeps: a caller that it let through is inside the gate's own instance, and so protected.
//! 3. In a forked child nobody opens it: there it is open to the old instance, which the child has as it was.

use std::sync::{Arc, OnceLock};

use super::owner::Owner;
use crate::instance::{Instance, RawInstance};
use crate::interface::Implements;
use crate::lock::{Condvar, Mutex, lock, wait};

/// See the module.
pub(crate) struct Gate {
    old: Arc<Owner>,
    through: OnceLock<Arc<Owner>>,
    /// Whoever waits does so here; nothing is under the lock.
    waiting: Mutex<()>,
    opened: Condvar,
    process: u32,
}

impl Gate {
    /// What calls run, once it is open.
    pub(crate) fn pass(&self) -> &Owner {
        if let Some(owner) = self.through.get() {
            return owner;
        }
        if std::process::id() != self.process {
            return &self.old;
        }
        let mut guard = lock(&self.waiting);
        loop {
            if let Some(owner) = self.through.get() {
                return owner;
            }
            (guard, _) = wait(&self.opened, guard, None);
        }
    }

    /// What it opens to where nothing comes of the hand-over.
    pub(crate) fn old(&self) -> &Owner {
        &self.old
    }

    fn open(&self, to: Arc<Owner>) {
        let _ = self.through.set(to);
        // Whoever has looked and not found it waits by the time that this has the lock.
        drop(lock(&self.waiting));
        self.opened.notify_all();
    }
}

/// A gate that is closed, and opens to the old instance if nobody opens it to another.
pub(super) struct Closed(Arc<Gate>);

impl Closed {
    pub(super) fn new(old: Arc<Owner>) -> Self {
        let (through, process) = (OnceLock::new(), std::process::id());
        Self(Arc::new(Gate { old, through, waiting: Mutex::new(()), opened: Condvar::new(), process }))
    }

    pub(super) fn gate(&self) -> Arc<Gate> {
        Arc::clone(&self.0)
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

//! Who changes what: one thread at a time each, and nobody in a circle.
//!
//! # Problem
//!
//! What [`Chain::edit`](crate::Chain::edit) and [`Slot::replace_with`](crate::Slot::replace_with) run is the user's: it may
//! change other chains and slots, load libraries, wait for threads. A lock that is held meanwhile would be waited for by a
//! fork, and then by everybody who waits for the fork; and two threads, of which one edits a chain inside an edit of another
//! chain, and the other the other way round, would wait for each other for ever.
//!
//! # Idea
//!
//! A change is made in a *turn* of its chain or slot. Turns are no locks, but entries of one table, which is locked to look
//! and not longer. Who finds the turn taken looks on: for what does the thread that has it wait, if for anything, and who
//! has that? Where this leads back to itself, it is refused; else it waits, with an entry in the table that says so.
//!
//! ```text
//!   turns    chain A: thread 1    slot B: thread 2
//!   waiting  thread 1: slot B
//!   thread 2 asks for chain A ──▶ thread 1 has it ──▶ waits for B ──▶ thread 2 has it: refused
//! ```
//!
//! # Invariants
//!
//! 1. A chain or slot has one turn at most, whose thread is in this process. (What a fork left behind is forgotten.)
//! 2. Nobody waits in a circle: each entry of `waiting` was checked, under the table's lock, as it was made; and who waits
//!    begins no turn meanwhile.
//! 3. Nobody waits past the gate of [`crate::gated`]: a fork would wait for them.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use crate::error::Error;
use crate::gated::{self, Gated};
use crate::lock::{Condvar, Mutex, lock, wait};
use crate::sabotage::{self, Sabotage};

/// A thread of some process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Thread {
    number: u32,
    forks: u32,
}

impl Thread {
    fn this() -> Self {
        Self { number: gated::this_thread(), forks: gated::forks() }
    }

    fn is_here(self) -> bool {
        gated::is_here(self.number, self.forks) || sabotage::is(Sabotage::TurnsLeftBehind)
    }
}

/// Rung once, for one thread.
#[derive(Debug, Default)]
struct Bell {
    rung: Mutex<bool>,
    heard: Condvar,
}

impl Bell {
    fn ring(&self) {
        *lock(&self.rung) = true;
        self.heard.notify_one();
    }

    fn wait(&self) {
        let mut rung = lock(&self.rung);
        while !*rung {
            (rung, _) = wait(&self.heard, rung, None);
        }
    }
}

#[derive(Debug)]
struct Waiting {
    thread: Thread,
    subject: usize,
    bell: Arc<Bell>,
}

#[derive(Debug)]
struct Table {
    /// Chains and slots, by their addresses, and who changes them.
    turns: Vec<(usize, Thread)>,
    waiting: Vec<Waiting>,
}

/// How many turns there are, or more: those that a fork left behind are not taken off.
static TAKEN: AtomicUsize = AtomicUsize::new(0);

static TABLE: Gated<Table> = Gated::new(Table { turns: Vec::new(), waiting: Vec::new() });

impl Table {
    fn holder(&self, subject: usize) -> Option<u32> {
        self.turns.iter().find(|(taken, _)| *taken == subject).map(|(_, thread)| thread.number)
    }

    /// Whether the thread waits for `other`, or for somebody who does.
    fn waits_for(&self, mut thread: u32, other: u32) -> bool {
        if sabotage::is(Sabotage::TurnsInCircles) {
            return false;
        }
        // Invariant 2: there is no circle without `other`, so this ends.
        loop {
            let Some(waits) = self.waiting.iter().find(|one| one.thread.number == thread) else {
                return false;
            };
            match self.holder(waits.subject) {
                Some(holder) if holder == other => return true,
                Some(holder) => thread = holder,
                // Its bell has rung, or is about to.
                None => return false,
            }
        }
    }

    /// Invariant 1.
    fn forget_who_is_not_here(&mut self) {
        self.turns.retain(|(_, thread)| thread.is_here());
        self.waiting.retain(|one| one.thread.is_here());
    }
}

/// The calling thread changes a chain or slot until this is dropped. It holds no lock.
#[derive(Debug)]
pub(crate) struct Turn {
    subject: usize,
    thread: u32,
}

impl Turn {
    /// Waits for those who change the chain or slot at this address.
    ///
    /// # Errors
    ///
    /// [`Error::Reentrant`] where the wait would not end: the turn is this thread's already, or whoever has it waits for
    /// this thread; or where this thread may not wait, for it holds a lock, as in a constructor of a library.
    pub(crate) fn begin(subject: usize) -> Result<Self, Error> {
        let me = Thread::this();
        loop {
            let bell = {
                let may_wait = !gated::is_past();
                let mut table = TABLE.lock();
                table.forget_who_is_not_here();
                let Some(holder) = table.holder(subject) else {
                    table.turns.push((subject, me));
                    TAKEN.fetch_add(1, Ordering::Relaxed);
                    return Ok(Self { subject, thread: me.number });
                };
                // Invariants 2 and 3.
                if holder == me.number || !may_wait || table.waits_for(holder, me.number) {
                    return Err(Error::Reentrant);
                }
                let bell = Arc::new(Bell::default());
                table.waiting.push(Waiting { thread: me, subject, bell: Arc::clone(&bell) });
                bell
            };
            bell.wait();
        }
    }
}

impl Turn {
    /// Whether it is that of the chain or slot at this address.
    pub(crate) fn is_of(&self, subject: usize) -> bool {
        self.subject == subject
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let next = {
            let mut table = TABLE.lock();
            TAKEN.fetch_sub(1, Ordering::Relaxed);
            table.turns.retain(|(subject, thread)| (*subject, thread.number) != (self.subject, self.thread));
            // Of threads that a fork left behind, somebody may have held the bell.
            table.forget_who_is_not_here();
            let next = table.waiting.iter().position(|one| one.subject == self.subject);
            next.map(|next| table.waiting.remove(next).bell)
        };
        if let Some(bell) = next {
            bell.ring();
        }
    }
}

/// Whether the calling thread has the turn of the chain or slot at this address.
pub(crate) fn is_mine(subject: usize) -> bool {
    TABLE.lock().holder(subject) == Some(gated::this_thread())
}

/// Whether some thread has the turn of the chain or slot at this address: one that began before the caller took a lock that
/// the other has held since.
pub(crate) fn is_taken(subject: usize) -> bool {
    // Relaxed: the lock orders it.
    if TAKEN.load(Ordering::Relaxed) == 0 || sabotage::is(Sabotage::TurnsNotAsked) {
        return false;
    }
    let mut table = TABLE.lock();
    table.forget_who_is_not_here();
    table.holder(subject).is_some()
}

/// Whether the calling thread has any turn: destructors that the reclaimer runs may wait for it.
pub(crate) fn has_any() -> bool {
    let me = gated::this_thread();
    !sabotage::is(Sabotage::WaitInsideEdit)
        && TABLE.lock().turns.iter().any(|(_, thread)| thread.number == me)
}

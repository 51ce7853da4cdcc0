//! Who edits which chain: one thread at a time each, and nobody in a circle.
//!
//! # Problem
//!
//! What [`Chain::edit`](crate::Chain::edit) runs is the user's: it may edit other chains, replace what slots hold, wait for
//! threads. A lock that is held meanwhile would be waited for by a fork, and then by everybody who waits for the fork; and
//! two threads, of which one edits a chain inside an edit of another chain, and the other the other way round, would wait
//! for each other for ever.
//!
//! # Idea
//!
//! An edit is made in a *turn* of its chain. Turns are no locks, but entries of one table, which is locked to look and
//! not longer. Who finds the chain taken looks on: for what does the thread that has it wait, if for anything, and who
//! has that? Where this leads back to itself, it is refused; else it waits, with an entry in the table that says so.
//!
//! ```text
//!   turns    chain A: thread 1    chain B: thread 2
//!   waiting  thread 1: chain B
//!   thread 2 asks for chain A ──▶ thread 1 has it ──▶ waits for B ──▶ thread 2 has it: refused
//! ```
//!
//! # Invariants
//!
//! 1. A chain has one turn at most, whose thread is in this process. (What a fork left behind is forgotten.)
//! 2. Nobody waits in a circle: each entry of `waiting` was checked, under the table's lock, as it was made; and who waits
//!    begins no turn meanwhile.
//! 3. Nobody waits past the gate of [`crate::gated`]: a fork would wait for them.

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
    chain: usize,
    bell: Arc<Bell>,
}

#[derive(Debug)]
struct Table {
    /// Chains, by their addresses, and who edits them.
    turns: Vec<(usize, Thread)>,
    waiting: Vec<Waiting>,
}

static TABLE: Gated<Table> = Gated::new(Table { turns: Vec::new(), waiting: Vec::new() });

impl Table {
    fn editor(&self, chain: usize) -> Option<u32> {
        self.turns.iter().find(|(taken, _)| *taken == chain).map(|(_, thread)| thread.number)
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
            match self.editor(waits.chain) {
                Some(editor) if editor == other => return true,
                Some(editor) => thread = editor,
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

/// The calling thread edits a chain until this is dropped. It holds no lock.
#[derive(Debug)]
pub(super) struct Turn {
    chain: usize,
    thread: u32,
}

impl Turn {
    /// Waits for those who edit the chain at this address.
    ///
    /// # Errors
    ///
    /// [`Error::Reentrant`] where the wait would not end: the chain is this thread's already, or whoever has it waits for
    /// this thread; or where this thread may not wait, inside the closure of `replace_with`.
    pub(super) fn begin(chain: usize) -> Result<Self, Error> {
        let me = Thread::this();
        loop {
            let bell = {
                let may_wait = !gated::is_past();
                let mut table = TABLE.lock();
                table.forget_who_is_not_here();
                let Some(editor) = table.editor(chain) else {
                    table.turns.push((chain, me));
                    return Ok(Self { chain, thread: me.number });
                };
                // Invariants 2 and 3.
                if editor == me.number || !may_wait || table.waits_for(editor, me.number) {
                    return Err(Error::Reentrant);
                }
                let bell = Arc::new(Bell::default());
                table.waiting.push(Waiting { thread: me, chain, bell: Arc::clone(&bell) });
                bell
            };
            bell.wait();
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let next = {
            let mut table = TABLE.lock();
            table.turns.retain(|(chain, thread)| (*chain, thread.number) != (self.chain, self.thread));
            // Of threads that a fork left behind, somebody may have held the bell.
            table.forget_who_is_not_here();
            let next = table.waiting.iter().position(|one| one.chain == self.chain);
            next.map(|next| table.waiting.remove(next).bell)
        };
        if let Some(bell) = next {
            bell.ring();
        }
    }
}

/// Whether the calling thread edits the chain at this address.
pub(super) fn is_mine(chain: usize) -> bool {
    TABLE.lock().editor(chain) == Some(gated::this_thread())
}

/// Whether the calling thread edits any chain: destructors that the reclaimer runs may wait for it.
pub(crate) fn is_editing() -> bool {
    let me = gated::this_thread();
    !sabotage::is(Sabotage::WaitInsideEdit)
        && TABLE.lock().turns.iter().any(|(_, thread)| thread.number == me)
}

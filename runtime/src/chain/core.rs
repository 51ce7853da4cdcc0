//! The part of a chain that does not depend on its interface: who may edit, and how an edit takes effect.
//!
//! # Problem
//!
//! Threads call the chain while others edit it. A call must see the list before an edit or the list after it, and
//! what it is running must stay.
//!
//! # Idea
//!
//! An edit changes a copy of the list, in its thread's turn (see [`crate::turn`]) and without a lock, for what it does may be
//! the user's code. Then, under the lock, it makes of the copy whatever calls need (a [`Program`]: emitted code; and links,
//! for methods that are loops), and publishes that with one store for each method. What was published before is freed a
//! grace period later, with the elements that are gone:
//!
//! ```text
//!   entry point of a method ──▶ program ──▶ elements
//!          │ one store
//!          └───────────────────▶ next program ──▶ elements, less one, and another
//! ```
//!
//! One element that is replaced by another of its type needs no new program where the old one can be retargeted:
//! see [`Program::retarget`].
//!
//! # Invariants
//!
//! 1. Only a thread whose turn it is changes the list and publishes, and it does so under the lock: with the turn the list
//!    stays as it is, with the lock nobody sees it half-changed.
//! 2. What is published is made of elements in the list; an element leaves the list before the grace period
//!    begins after which it drains.
//! 3. An edit that fails or panics leaves the list, and what is published, as they were: only the user's closure may, which
//!    comes before the first store.
//! 4. No code of the user's runs under the lock: no closure, and no destructor.

use std::sync::Arc;

use super::backend::{self, Program, Retarget};
use super::changes::Changes;
use super::link::{EntryPoint, Link, Links, Published};
use super::rule::{Combine, MethodRule};
use crate::error::Error;
use crate::gated::{self, Gated};
use crate::installed::{Installed, drop_each};
use crate::quiesce::{reclaimer, stand_in};
use crate::sabotage::{self, Sabotage};
use crate::turn::{self, Turn};

/// The elements, in order.
pub(super) type List = Vec<Arc<Installed>>;

/// What the interface of a chain says, and where its entry points are.
#[derive(Clone, Copy)]
pub(super) struct Interface<'c> {
    pub(super) rules: &'static [MethodRule],
    pub(super) entries: &'c [EntryPoint],
}

/// See the head of this file. The links come first: `#[dispatch]` gives loops the address of this.
#[repr(C)]
pub(super) struct ChainCore {
    links: Published,
    state: Gated<State>,
}

struct State {
    list: List,
    program: Option<Program>,
}

/// What left a list. Whoever drops this asks for none of it again, and drops what has drained.
pub(super) struct Leaving(List);

impl Leaving {
    pub(super) fn list(&self) -> &List {
        &self.0
    }

    /// To be asked for one by one.
    pub(super) fn into_list(mut self) -> List {
        core::mem::take(&mut self.0)
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        drop_each(self.0.iter().filter_map(|one| one.abandon()));
    }
}

impl ChainCore {
    pub(super) const fn new() -> Self {
        let state = State { list: Vec::new(), program: None };
        Self { links: Published::empty(), state: Gated::new(state) }
    }

    /// What tells this chain from others for as long as it is edited, and therefore borrowed.
    fn address(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }

    /// Looks at the list. `None` while this thread is editing it.
    pub(super) fn look<R>(&self, look: impl FnOnce(&List) -> R) -> Option<R> {
        (!turn::is_mine(self.address())).then(|| look(&self.state.lock().list))
    }

    /// Changes the list with `change`. What left it.
    pub(super) fn edit<R>(
        &self,
        of: Interface<'_>,
        change: impl FnOnce(Changes) -> Result<(R, Changes), Error>,
    ) -> Result<(R, Leaving), Error> {
        let turn = Turn::begin(self.address())?;
        let list = Changes::of(&self.state.lock().list);
        // The user's code, without a lock.
        let kept_out = sabotage::is(Sabotage::EditPastTheGate).then(gated::pass);
        let (answer, changes) = change(list)?;
        drop(kept_out);
        let new = changes.list();
        let gone = self.take_effect(of, new, changes);
        // Before whatever is dropped here: its destructors find the chain free.
        drop(turn);
        backend::tell();
        stand_in::help();
        Ok((answer, gone))
    }

    /// The caller has the turn.
    fn take_effect(&self, of: Interface<'_>, new: List, changes: Changes) -> Leaving {
        Program::prepare(new.len());
        // A fork finds the list as it was, or what left it on its way out.
        let _no_fork = gated::pass();
        let mut state = self.state.lock();
        let (program, codes) = Program::new(of.rules, &new, state.program.as_ref());
        let before = core::mem::replace(&mut state.list, new);
        let old = self.publish(of, &mut state, program, &codes);
        drop(state);
        let gone = Leaving(changes.published());
        // Each of them is in the new list or among what left it.
        drop(before);
        retire(old, gone.list().clone());
        gone
    }

    /// Replaces the element at `index`: in place where that can be done.
    pub(super) fn replace(
        &self,
        of: Interface<'_>,
        index: usize,
        new: Arc<Installed>,
    ) -> Result<Arc<Installed>, Error> {
        let old = self.replace_in_turn(of, index, new)?;
        backend::tell();
        stand_in::help();
        Ok(old)
    }

    fn replace_in_turn(
        &self,
        of: Interface<'_>,
        index: usize,
        new: Arc<Installed>,
    ) -> Result<Arc<Installed>, Error> {
        let _turn = Turn::begin(self.address())?;
        let (len, old) = self.look_in_turn(|list| (list.len(), list.get(index).cloned()));
        let Some(old) = old else { return Err(Error::NoElement { index, len }) };
        Program::prepare(len);
        let _no_fork = gated::pass();
        let mut locked = self.state.lock();
        let state = &mut *locked;
        let same_type = old.table().is_same_type(new.table());
        if same_type
            && let Some(program) = &mut state.program
            && let Some(unused) = program.retarget(of.rules, index, &new)
        {
            state.list[index] = new;
            drop(locked);
            retire(unused, vec![Arc::clone(&old)]);
            return Ok(old);
        }
        let mut list = state.list.clone();
        list[index] = new;
        let (program, codes) = Program::new(of.rules, &list, state.program.as_ref());
        state.list = list;
        let replaced = self.publish(of, state, program, &codes);
        drop(locked);
        retire(replaced, vec![Arc::clone(&old)]);
        Ok(old)
    }

    /// Looks at the list, in this thread's turn.
    fn look_in_turn<R>(&self, look: impl FnOnce(&List) -> R) -> R {
        look(&self.state.lock().list)
    }

    /// Stores that cannot fail. Gives what was published before.
    fn publish(
        &self,
        of: Interface<'_>,
        state: &mut State,
        program: Program,
        codes: &[crate::interface::Code],
    ) -> (Option<Program>, Option<Box<Links>>) {
        let links = program.needs_links().then(|| state.list.iter().map(|one| Link::new(one)).collect());
        // Links first: an entry point that is a loop finds them. One that was a loop before finds the new ones, too.
        let links = self.links.publish(links);
        for ((rule, entry), code) in of.rules.iter().zip(of.entries).zip(codes) {
            if rule.combine != Combine::Own {
                entry.store(*code);
            }
        }
        (state.program.replace(program), links)
    }

    /// The chain is dropped: nobody calls it, and nobody will. Its elements, to be dropped now.
    pub(super) fn close(&mut self) -> List {
        let state = self.state.get_mut();
        let old = (state.program.take(), self.links.publish(None));
        if old.0.is_some() || old.1.is_some() {
            // Calls that are over may still have another thread's section behind them; the code goes back as ever.
            reclaimer::defer(move |_| drop(old));
        }
        core::mem::take(&mut state.list)
    }

    /// For tests: what has been emitted for the list as it is now.
    pub(super) fn inspect<R>(&self, look: impl FnOnce(&List, Option<&Program>) -> R) -> Result<R, Error> {
        if turn::is_mine(self.address()) {
            return Err(Error::Reentrant);
        }
        let state = self.state.lock();
        Ok(look(&state.list, state.program.as_ref()))
    }
}

/// Frees, a grace period from now, what calls may still be running.
fn retire<T: Send + 'static>(unused: T, gone: List) {
    crate::drain::retired(gone.len() as u64);
    reclaimer::defer(move |past| {
        drop(unused);
        past.extend(gone);
    });
}

/// What [`Program::retarget`] gives is retired as any program is.
const _: fn(Retarget) = |unused| retire(unused, List::new());

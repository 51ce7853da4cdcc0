//! The part of a chain that does not depend on its interface: who may edit, and how an edit takes effect.
//!
//! # Problem
//!
//! Threads call the chain while others edit it. A call must see the list before an edit or the list after it, and
//! what it is running must stay.
//!
//! # Idea
//!
//! An edit changes the list under a lock, makes of it whatever calls need (a [`Program`]: emitted code; and links, for
//! methods that are loops), and publishes that with one store for each method. What was published before is freed a
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
//! 1. Only the holder of the lock publishes.
//! 2. What is published is made of elements in the list; an element leaves the list before the grace period
//!    begins after which it drains.
//! 3. An edit that fails leaves the list, and what is published, as they were.

use core::cell::Cell;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use super::backend::{Program, Retarget};
use super::link::{EntryPoint, Link, Links, Published};
use super::rule::{Combine, MethodRule};
use crate::error::Error;
use crate::gated::{Gated, GatedGuard};
use crate::installed::{Installed, RETIRED};
use crate::quiesce::reclaimer;

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
    /// Which thread is editing; 0 for none.
    editor: AtomicUsize,
    state: Gated<State>,
}

struct State {
    list: List,
    program: Option<Program>,
}

/// The lock, and the mark that this thread holds it.
struct Editing<'c> {
    core: &'c ChainCore,
    state: GatedGuard<'c, State>,
}

impl Drop for Editing<'_> {
    fn drop(&mut self) {
        self.core.editor.store(0, Ordering::Relaxed);
    }
}

/// A number for the calling thread that no other live thread has.
fn this_thread() -> usize {
    thread_local! {
        static MARK: Cell<u8> = const { Cell::new(0) };
    }
    MARK.with(|mark| core::ptr::from_ref(mark).addr())
}

impl ChainCore {
    pub(super) const fn new() -> Self {
        let state = State { list: Vec::new(), program: None };
        Self { links: Published::empty(), editor: AtomicUsize::new(0), state: Gated::new(state) }
    }

    fn begin(&self) -> Result<Editing<'_>, Error> {
        let me = this_thread();
        // Relaxed: only this very thread stores its own number.
        if self.editor.load(Ordering::Relaxed) == me {
            return Err(Error::Reentrant);
        }
        let state = self.state.lock();
        self.editor.store(me, Ordering::Relaxed);
        Ok(Editing { core: self, state })
    }

    /// Looks at the list. `None` while this thread is editing it.
    pub(super) fn look<R>(&self, look: impl FnOnce(&List) -> R) -> Option<R> {
        self.begin().ok().map(|editing| look(&editing.state.list))
    }

    /// Changes the list with `change`, which says what left it; where the change cannot take effect, `undo` takes it back.
    pub(super) fn edit<R>(
        &self,
        of: Interface<'_>,
        change: impl FnOnce(&mut List) -> Result<(R, List), Error>,
        undo: impl FnOnce(&mut List, R, List),
    ) -> Result<(R, List), Error> {
        let mut editing = self.begin()?;
        let state = &mut *editing.state;
        let (answer, gone) = change(&mut state.list)?;
        match Program::new(of.rules, &state.list, state.program.as_ref()) {
            Ok((program, codes)) => {
                let old = self.publish(of, state, program, &codes);
                retire(old, gone.clone());
                Ok((answer, gone))
            }
            Err(error) => {
                // Invariant 3.
                undo(&mut state.list, answer, gone);
                Err(error)
            }
        }
    }

    /// Replaces the element at `index`: in place where that can be done.
    pub(super) fn replace(
        &self,
        of: Interface<'_>,
        index: usize,
        new: Arc<Installed>,
    ) -> Result<Arc<Installed>, Error> {
        let mut editing = self.begin()?;
        let state = &mut *editing.state;
        let len = state.list.len();
        let Some(old) = state.list.get(index).cloned() else { return Err(Error::NoElement { index, len }) };
        let same_type = old.table().is_same_type(new.table());
        if same_type
            && let Some(program) = &mut state.program
            && let Some(unused) = program.retarget(of.rules, index, &new)
        {
            state.list[index] = new;
            drop(editing);
            retire(unused, vec![Arc::clone(&old)]);
            return Ok(old);
        }
        state.list[index] = new;
        match Program::new(of.rules, &state.list, state.program.as_ref()) {
            Ok((program, codes)) => {
                let replaced = self.publish(of, state, program, &codes);
                drop(editing);
                retire(replaced, vec![Arc::clone(&old)]);
                Ok(old)
            }
            Err(error) => {
                state.list[index] = old;
                Err(error)
            }
        }
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
        let editing = self.begin()?;
        Ok(look(&editing.state.list, editing.state.program.as_ref()))
    }
}

/// Frees, a grace period from now, what calls may still be running.
fn retire<T: Send + 'static>(unused: T, gone: List) {
    RETIRED.fetch_add(gone.len() as u64, Ordering::Relaxed);
    reclaimer::defer(move |past| {
        drop(unused);
        past.extend(gone);
    });
}

/// What [`Program::retarget`] gives is retired as any program is.
const _: fn(Retarget) = |unused| retire(unused, List::new());

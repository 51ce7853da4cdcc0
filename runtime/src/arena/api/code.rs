//! Committed code: run under a guard, freed by quiescence.
#![allow(unsafe_code)]

use core::fmt;
use core::sync::atomic::Ordering;
use std::sync::Arc;

use super::assembler::{Identity, Marked, Placed};
use super::route::{Route, Shared};
use super::signature::Signature;
use super::site::Site;
use crate::arena::{Block, WriteAddr};
use crate::error::{Error, MemoryError};
use crate::gated::Gated;
use crate::quiesce::{Guard, Section, reclaimer, section};
use crate::sabotage::{self, Sabotage};
use crate::{arch, arena::ExecAddr};

/// Code in an arena.
///
/// It may be run inside [`call`](Self::call), or under a [`Guard`], with [`get`](Self::get). It is freed when the last handle
/// to it, and to its sites, is gone and no thread can be inside: a grace period later.
#[derive(Clone)]
pub struct Code {
    pub(super) owner: Arc<Owner>,
}

/// A published block, and where its sites go.
///
/// Invariants:
/// 1. `block` holds the code, and lives until a grace period after this is dropped.
/// 2. The opcode of each site is at 3 mod 8 inside `block`, no two sites share a byte, and each one's route is that of
///    `states`.
/// 3. A mark of the assembler `by` with the signature `F` has an index in `states`, whose target is an `F`.
pub(super) struct Owner {
    shared: Arc<Shared>,
    block: Option<Block>,
    len: usize,
    /// The assembler that wrote it.
    by: Identity,
    states: Vec<(usize, Gated<State>)>,
}

#[derive(Clone, Copy)]
struct State {
    target: usize,
    route: Route,
}

impl Code {
    pub(super) fn new(
        shared: Arc<Shared>,
        block: Block,
        len: usize,
        sites: Vec<Placed>,
        by: Identity,
    ) -> Self {
        shared.sites.fetch_add(sites.len(), Ordering::Relaxed);
        let state = |placed: Placed| {
            (placed.offset, Gated::new(State { target: placed.target, route: placed.route }))
        };
        let states = sites.into_iter().map(state).collect();
        Self { owner: Arc::new(Owner { shared, block: Some(block), len, by, states }) }
    }

    /// Where it begins.
    #[must_use]
    pub fn address(&self) -> *const u8 {
        core::ptr::with_exposed_provenance(self.owner.start().get())
    }

    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.owner.len
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.owner.len == 0
    }

    /// Runs it.
    ///
    /// # Safety
    ///
    /// It is a function of type `F`, and what that demands.
    pub unsafe fn call<F: Signature>(&self, arguments: F::Arguments) -> F::Result {
        let _section = Section::enter();
        // SAFETY: the caller's promise.
        let function = unsafe { F::at(self.owner.start().get()) };
        // SAFETY: the caller's promise; the section keeps code and trampolines.
        unsafe { function.call(arguments) }
    }

    /// As a function, to be called while the guard is held.
    ///
    /// # Safety
    ///
    /// It is a function of type `F`, and is not called after the guard is gone.
    #[must_use]
    pub unsafe fn get<F: Signature>(&self, _guard: &Guard) -> F {
        // SAFETY: the caller's promise.
        unsafe { F::at(self.owner.start().get()) }
    }

    /// The site that was marked while this was written.
    ///
    /// # Errors
    ///
    /// [`MemoryError::ForeignMark`] where it was marked in other code, also by another assembler of the same reservation.
    pub fn site<F: Signature>(&self, marked: Marked<F>) -> Result<Site<F>, Error> {
        self.clone().into_site(marked)
    }

    pub(super) fn into_site<F: Signature>(self, marked: Marked<F>) -> Result<Site<F>, Error> {
        let own = marked.assembler == self.owner.by || sabotage::is(Sabotage::AnyMark);
        if own && marked.index < self.owner.states.len() {
            return Ok(Site::new(self, marked.index));
        }
        Err(MemoryError::ForeignMark { code: self.owner.start().get() }.into())
    }
}

impl Owner {
    pub(super) fn start(&self) -> ExecAddr {
        self.block.as_ref().map_or(ExecAddr::new(0), Block::exec)
    }

    pub(super) fn site_address(&self, index: usize) -> ExecAddr {
        self.start().add(self.states[index].0)
    }

    pub(super) fn target(&self, index: usize) -> usize {
        self.states[index].1.lock().target
    }

    pub(super) fn retarget(&self, index: usize, target: usize) -> Result<(), Error> {
        let (offset, state) = &self.states[index];
        let mut state = state.lock();
        if state.target == target {
            return Ok(());
        }
        let site = self.site_address(index);
        let route = self.shared.route(site, target)?;
        let Some(block) = self.block.as_ref() else { unreachable!("only `drop` takes the block") };
        // Invariant 2: the site lies inside its block.
        let store = |start: WriteAddr| arch::retarget(site, start.add(*offset), route.displacement);
        let stored = self.shared.heap.lock().patch(block, store);
        if let Err(error) = stored {
            self.shared.leave(route);
            return Err(error.into());
        }
        let old = core::mem::replace(&mut *state, State { target, route });
        drop(state);
        section::heavy_barrier();
        if old.route.trampoline.is_some() {
            let shared = Arc::clone(&self.shared);
            reclaimer::defer(move |_| shared.leave(old.route));
        }
        Ok(())
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let shared = Arc::clone(&self.shared);
        let block = self.block.take();
        let routes: Vec<_> = self.states.iter().map(|(_, state)| state.lock().route).collect();
        self.shared.sites.fetch_sub(routes.len(), Ordering::Relaxed);
        // Whoever is inside is so under a guard or in a section.
        reclaimer::defer(move |_| {
            shared.heap.release(block);
            routes.into_iter().for_each(|route| shared.leave(route));
        });
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Code")
            .field("start", &self.owner.start())
            .field("len", &self.owner.len)
            .finish_non_exhaustive()
    }
}

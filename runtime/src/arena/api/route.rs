//! How a site reaches its target: straight, or through a trampoline that it shares.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::collections::HashMap;
use std::sync::{Arc, Weak};

use crate::arch;
use crate::arena::{Block, CodeHeap, ExecAddr, SharedHeap};
use crate::error::{Error, MemoryError};
use crate::gated::Gated;

/// What the handles of one arena share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) heap: Arc<SharedHeap>,
    /// By target: the trampoline, and how many sites lead to it.
    trampolines: Gated<HashMap<usize, (Block, usize)>>,
    pub(super) sites: AtomicUsize,
    /// Where the arena was asked to be.
    near: usize,
}

/// Where a site's branch goes; and whose trampoline that is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    pub(super) displacement: i32,
    pub(super) trampoline: Option<usize>,
}

/// All arenas, for [`all`].
static ARENAS: Gated<Vec<Weak<Shared>>> = Gated::new(Vec::new());

/// The arenas that somebody holds, or code of which is left.
pub(super) fn all() -> Vec<Arc<Shared>> {
    ARENAS.lock().iter().filter_map(Weak::upgrade).collect()
}

impl Shared {
    pub(super) fn new(heap: CodeHeap, near: usize) -> Arc<Self> {
        let (trampolines, sites) = (Gated::default(), AtomicUsize::new(0));
        let shared = Arc::new(Self { heap: SharedHeap::new(heap), trampolines, sites, near });
        let mut arenas = ARENAS.lock();
        arenas.retain(|arena| arena.strong_count() != 0);
        arenas.push(Arc::downgrade(&shared));
        shared
    }

    /// The way from `site` to `target`. One that is not used goes back with [`Shared::leave`].
    pub(super) fn route(&self, site: ExecAddr, target: usize) -> Result<Route, Error> {
        if let Some(displacement) = arch::displacement(site, ExecAddr::new(target)) {
            return Ok(Route { displacement, trampoline: None });
        }
        let mut trampolines = self.trampolines.lock();
        let at = match trampolines.get(&target) {
            Some((block, _)) => block.exec(),
            None => {
                let code = arch::trampoline(ExecAddr::new(target));
                let block = self.heap.lock().emit(code.as_bytes().len(), |_| code)?;
                let at = block.exec();
                trampolines.insert(target, (block, 0));
                at
            }
        };
        let Some(displacement) = arch::displacement(site, at) else {
            // The arena's own parts are too far apart.
            let unused = Self::take_if_unused(&mut trampolines, target);
            drop(trampolines);
            self.heap.release(unused);
            return Err(self.no_room(1).into());
        };
        if let Some((_, sites)) = trampolines.get_mut(&target) {
            *sites += 1;
        }
        Ok(Route { displacement, trampoline: Some(target) })
    }

    /// A site has left the route, and no thread is on it any more.
    pub(super) fn leave(&self, route: Route) {
        let Some(target) = route.trampoline else { return };
        let mut trampolines = self.trampolines.lock();
        if let Some((_, sites)) = trampolines.get_mut(&target) {
            *sites -= 1;
        }
        let unused = Self::take_if_unused(&mut trampolines, target);
        // What the release reports, it reports without the lock.
        drop(trampolines);
        self.heap.release(unused);
    }

    fn take_if_unused(trampolines: &mut HashMap<usize, (Block, usize)>, target: usize) -> Option<Block> {
        let (_, sites) = trampolines.get(&target)?;
        if *sites != 0 {
            return None;
        }
        trampolines.remove(&target).map(|(block, _)| block)
    }

    pub(super) fn no_room(&self, length: usize) -> MemoryError {
        MemoryError::NoRoom { near: self.near, length, reach: arch::REACH }
    }

    pub(super) fn trampolines(&self) -> usize {
        self.trampolines.lock().len()
    }

    pub(super) fn site_count(&self) -> usize {
        self.sites.load(Ordering::Relaxed)
    }
}

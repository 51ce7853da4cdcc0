//! A heap that several hold, and whose blocks go back by way of quiescence.
//!
//! A fork finds its lock free ([`crate::gated`]), and its memory is copied by whoever writes to it next
//! ([`crate::sys::memory`]): so it takes no part in forks itself.

use std::sync::Arc;

use super::heap::{Block, CodeHeap};
use crate::gated::{self, Gated, GatedGuard};
use crate::quiesce::reclaimer;

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct SharedHeap {
    heap: Gated<CodeHeap>,
}

impl SharedHeap {
    pub(crate) fn new(heap: CodeHeap) -> Arc<Self> {
        gated::register_fork();
        Arc::new(Self { heap: Gated::new(heap) })
    }

    /// The heap, for a moment: nothing is called meanwhile that might come back here.
    pub(crate) fn lock(&self) -> GatedGuard<'_, CodeHeap> {
        self.heap.lock()
    }

    /// Takes blocks back that nobody is inside and nothing leads to: they are `int3` now, and may become other code
    /// a grace period later, which begins with a barrier on every core.
    pub(crate) fn release(self: &Arc<Self>, blocks: impl IntoIterator<Item = Block>) {
        let mark = {
            let mut heap = self.lock();
            let before = heap.mark();
            blocks.into_iter().for_each(|block| heap.release(block));
            let after = heap.mark();
            if before == after {
                return;
            }
            after
        };
        let heap = Arc::clone(self);
        reclaimer::defer(move |_| heap.lock().recycle(mark));
    }
}

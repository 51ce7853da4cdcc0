//! A heap that several hold, and whose blocks go back by way of quiescence.
#![allow(unsafe_code)]

use core::cell::Cell;
use core::mem::ManuallyDrop;
use std::sync::{Arc, Weak};

use super::heap::{Block, CodeHeap};
use crate::gated::{Gated, GatedGuard};
use crate::quiesce::reclaimer;

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct SharedHeap {
    heap: Gated<CodeHeap>,
}

/// All heaps of this kind, for a fork.
static HEAPS: Gated<Vec<Weak<SharedHeap>>> = Gated::new(Vec::new());

impl SharedHeap {
    pub(crate) fn new(heap: CodeHeap) -> Arc<Self> {
        crate::sys::fork::register();
        let shared = Arc::new(Self { heap: Gated::new(heap) });
        let mut heaps = HEAPS.lock();
        heaps.retain(|heap| heap.strong_count() != 0);
        heaps.push(Arc::downgrade(&shared));
        shared
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

/// A heap that is locked around a fork, with its content.
struct Held {
    heap: GatedGuard<'static, CodeHeap>,
    content: Vec<Vec<u8>>,
    /// From `Arc::into_raw`: what `heap` locks.
    shared: *const SharedHeap,
}

impl Held {
    fn new(shared: Arc<SharedHeap>) -> Self {
        let shared = Arc::into_raw(shared);
        // SAFETY: the count that `into_raw` gave keeps it until `release` takes that back, after the guard is gone.
        let heap = unsafe { &*shared }.lock();
        Self { content: heap.copy_of_contents(), heap, shared }
    }

    fn release(self) {
        drop(self.heap);
        // SAFETY: it came from `into_raw`, and nothing refers to it any more.
        drop(unsafe { Arc::from_raw(self.shared) });
    }
}

/// What the thread that forks holds meanwhile.
struct Forking {
    _heaps: GatedGuard<'static, Vec<Weak<SharedHeap>>>,
    held: Vec<Held>,
}

thread_local! {
    /// Without a destructor: a fork may come in those of other storage.
    static FORKING: Cell<Option<ManuallyDrop<Forking>>> = const { Cell::new(None) };
}

/// Around a fork: see [`crate::sys::fork`]. All locks are taken, so that the child finds no thread's but its own.
///
/// A site that another thread retargets just then is in the child as it was, or as it was to be.
pub(crate) fn before_fork() {
    let heaps = HEAPS.lock();
    let held = heaps.iter().filter_map(Weak::upgrade).map(Held::new).collect();
    FORKING.set(Some(ManuallyDrop::new(Forking { _heaps: heaps, held })));
}

/// In the parent.
pub(crate) fn after_fork_in_parent() {
    if let Some(forking) = FORKING.take().map(ManuallyDrop::into_inner) {
        forking.held.into_iter().for_each(Held::release);
    }
}

/// In the child: memory of its own, so that it does not write to its parent's.
pub(crate) fn after_fork_in_child() {
    let Some(forking) = FORKING.take().map(ManuallyDrop::into_inner) else { return };
    for mut held in forking.held {
        if let Err(error) = held.heap.privatise(&held.content) {
            // The writable view went first: nothing reaches the parent, and what is emitted here never runs.
            tracing::error!(target: "hotcall", %error, "a forked child has no code memory of its own for chains");
        }
        held.release();
    }
}

//! What the runtime holds and has done, in numbers.

use core::sync::atomic::Ordering;

use crate::chain;
use crate::installed::{FREED, RETIRED};
use crate::quiesce::{self, reclaimer};
use crate::slot::commit::Writing;

/// Counts since the program began, and sizes as of now. See [`stats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Instances that were replaced.
    pub retired: u64,
    /// Those of them that no thread can be inside any more: dropped, or given back.
    pub freed: u64,
    /// Those that were replaced by another instance of their type by one store: no code was written.
    pub in_place: u64,
    /// Grace periods that have ended.
    pub grace_periods: u64,
    /// Threads that have a record of their own: they have called a slot and live.
    pub threads: usize,
    /// Slots that have been replaced at least once.
    pub slots: usize,
    /// Cells of those slots, through which every call goes that is not patched: one a method, in each image that declares the slot.
    pub sites: usize,
    /// Calls of the program and its libraries that are patched: they go straight to what is installed.
    pub callers: usize,
    /// Calls of slots that have not been replaced yet.
    pub waiting: usize,
    /// Calls that are left alone, by why. They are as right, and slower.
    pub kept: Kept,
    /// Keys: in the patched backend those that are declared in images that were looked through, in the portable one those that were
    /// changed.
    pub keys: usize,
    /// Branches of keys that are patched: no-ops and jumps.
    pub branches: usize,
    /// Branches that are left alone, by why. They load their key.
    pub kept_branches: Kept,
    /// Thunks in use, because their slot has not settled yet.
    pub thunks: usize,
    /// Trampolines to code out of reach.
    pub trampolines: usize,
    /// Images whose slots or calls have been looked up, and are near code memory of their own.
    pub images: usize,
    /// Pages of those images that were mapped anew, because patched calls are on them.
    pub pages_remapped: usize,
    /// The same in bytes.
    pub bytes_remapped: usize,
    /// Programs of chains that are emitted: one for each chain with elements, and one for each list before that
    /// a call may still be running.
    pub chain_programs: usize,
    /// Calls in those programs that go to an element, or to the thunk of one.
    pub chain_sites: usize,
    /// Thunks of elements that were replaced in place.
    pub chain_thunks: usize,
    /// Arenas that are held, or whose code is.
    pub arenas: usize,
    /// Sites in the code of those arenas.
    pub arena_sites: usize,
    /// Code memory mapped beside the images, for chains and in arenas, in bytes.
    pub code_bytes_mapped: usize,
    /// Code memory in use there, in bytes.
    pub code_bytes_used: usize,
}

/// Calls that are left alone, or branches, by why: part of [`Stats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Kept {
    /// The compiler has put no direct call to the stub where the record says. For branches: another instruction stands there.
    pub no_call: usize,
    /// What would be rewritten crosses an aligned 8 bytes.
    pub crosses: usize,
    /// The page that it lies on could not be mapped anew.
    pub page: usize,
    /// The page that it lies on is not what its file says: a debugger or a probe has put a breakpoint there.
    pub changed: usize,
    /// The program has asked for it: [`patch_callers`](crate::patch_callers).
    pub unwanted: usize,
    /// Branches alone: the system has no `membarrier`, without which a thread might go on for a while as before.
    pub no_barrier: usize,
}

impl Kept {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> usize {
        self.no_call + self.crosses + self.page + self.changed + self.unwanted + self.no_barrier
    }
}

/// What the runtime holds and has done.
///
/// Takes the writers' lock for a moment; called where this thread is
/// replacing, by an allocator behind a slot, it leaves the sizes of slots at 0.
///
/// ```
/// let stats = hotcall::stats();
/// assert!(stats.freed <= stats.retired);
/// assert!(stats.code_bytes_used <= stats.code_bytes_mapped);
/// ```
#[must_use]
pub fn stats() -> Stats {
    let freed = FREED.load(Ordering::Relaxed);
    let mut stats = Stats {
        retired: RETIRED.load(Ordering::Relaxed),
        freed,
        grace_periods: reclaimer::grace_periods(),
        threads: quiesce::registered_threads(),
        ..Stats::default()
    };
    if let Ok(mut writer) = Writing::begin() {
        let counts = writer.counts();
        stats.in_place = counts.in_place;
        stats.slots = counts.slots;
        stats.sites = counts.sites;
        stats.callers = counts.callers;
        stats.waiting = counts.waiting;
        stats.kept = counts.kept;
        stats.keys = counts.keys;
        stats.branches = counts.branches;
        stats.kept_branches = counts.kept_branches;
        stats.pages_remapped = counts.pages_remapped;
        stats.bytes_remapped = counts.bytes_remapped;
        stats.thunks = counts.thunks;
        stats.trampolines = counts.trampolines;
        stats.images = counts.regions;
        stats.code_bytes_mapped = counts.code_bytes_mapped;
        stats.code_bytes_used = counts.code_bytes_used;
    }
    let chains = chain::counts();
    stats.chain_programs = chains.programs;
    stats.chain_sites = chains.sites;
    stats.chain_thunks = chains.thunks;
    stats.code_bytes_mapped += chains.bytes_mapped;
    stats.code_bytes_used += chains.bytes_used;
    #[cfg(patched)]
    for arena in crate::arena::api::all() {
        stats.arenas += 1;
        stats.arena_sites += arena.sites;
        stats.code_bytes_mapped += arena.bytes_mapped;
        stats.code_bytes_used += arena.bytes_used;
    }
    stats
}

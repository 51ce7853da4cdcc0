//! What a key is made of, whichever the backend: the word that says whether it is on, and who wants it to be.

use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use crate::slot::Identity;

/// The part of a key that does not depend on its declaration.
///
/// `repr(C)`, with `on` first: a branch that is not patched loads the static's first byte, and the program writes to the keys of
/// libraries that are linked.
///
/// Invariants:
/// 1. Only the holder of the writers' lock stores to `on` and `id`.
/// 2. `on` is 0 or 1, and the key's branches that are patched say the same as it, but for while the lock is held.
#[repr(C)]
pub struct KeyCore {
    on: AtomicBool,
    default: bool,
    /// Where the writer keeps who wants it on, plus one; 0 where it does not yet.
    id: AtomicU32,
    /// Holders that are gone without the writer's knowing: see [`KeyCore::release_later`].
    released: AtomicUsize,
    name: &'static str,
    identity: &'static Identity,
}

/// There is a key with holders that are gone without the writer's knowing.
static LATE: AtomicBool = AtomicBool::new(false);

impl KeyCore {
    pub(crate) const fn new(name: &'static str, identity: &'static Identity, default: bool) -> Self {
        Self {
            on: AtomicBool::new(default),
            default,
            id: AtomicU32::new(0),
            released: AtomicUsize::new(0),
            name,
            identity,
        }
    }

    /// The key's name, with its module's path.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    #[cfg(patched)]
    pub(crate) fn identity(&self) -> &'static Identity {
        self.identity
    }

    /// What it was declared with.
    pub(crate) fn default(&self) -> bool {
        self.default
    }

    /// For `#[key]`: whether it is on, as a branch that is not patched finds it.
    #[doc(hidden)]
    #[inline(always)]
    pub fn __is_on(&self) -> bool {
        self.is_on()
    }

    #[inline(always)]
    pub(crate) fn is_on(&self) -> bool {
        // Relaxed: a key orders nothing but itself.
        self.on.load(Ordering::Relaxed)
    }

    /// Invariants 1 and 2 are the caller's.
    pub(crate) fn store(&self, on: bool) {
        self.on.store(on, Ordering::Relaxed);
    }

    pub(super) fn index(&self) -> Option<usize> {
        // Relaxed: written and read under the writers' lock (invariant 1).
        (self.id.load(Ordering::Relaxed) as usize).checked_sub(1)
    }

    pub(super) fn set_index(&self, index: usize) {
        let id = u32::try_from(index + 1).expect("fewer than 2^32 keys fit an address space");
        self.id.store(id, Ordering::Relaxed);
    }

    /// A holder is gone, and the writer cannot take that in now: it does with the next change of anything. Called in the copy of
    /// hotcall that writes the key.
    pub(crate) fn release_later(&self) {
        // Relaxed: the store to `LATE` releases it.
        self.released.fetch_add(1, Ordering::Relaxed);
        // Release, partner of the Acquire in `has_late`.
        LATE.store(true, Ordering::Release);
    }

    /// How many holders are gone that were not counted yet.
    pub(super) fn take_released(&self) -> usize {
        self.released.swap(0, Ordering::Relaxed)
    }
}

/// Whether a key may have holders that are gone and were not counted yet. Asked once: whoever is answered "yes" counts them.
pub(super) fn has_late() -> bool {
    // A load first: there hardly ever is one. Acquire, partner of the Release in `release_later`.
    LATE.load(Ordering::Relaxed) && LATE.swap(false, Ordering::Acquire)
}

impl fmt::Debug for KeyCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyCore").field("name", &self.name).field("on", &self.is_on()).finish_non_exhaustive()
    }
}

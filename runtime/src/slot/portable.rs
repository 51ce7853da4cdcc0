//! The portable backend: a slot is an atomic pointer, and its methods are called through a table.
//!
//! No code is emitted and nothing is patched. A plain call runs in a section. It is what runs on every
//! platform but Linux on x86-64, and the reference that the patched backend is tested against. Mirrors
//! `patched`, name for name.
#![allow(unsafe_code)]

use core::fmt;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, Ordering, fence};
use std::sync::Arc;

use crate::error::Error;
use crate::installed::Installed;
use crate::instance::RawInstance;
use crate::interface::{Code, Description, Table};
use crate::key::Keys;
use crate::quiesce::reclaimer;
use crate::slot::commit::{Change, Changes, Outcome, Writing};
use crate::slot::identity::Identity;
use crate::slot::inspect::{Account, Counts, Emitted, News};

/// A cell of the patched backend: here there are none.
#[derive(Debug)]
pub struct CodeCell(());

/// The part of a slot that does not depend on its interface.
///
/// Invariant: `installed` is null, for the default, or a pointer from `Arc::into_raw` whose count the slot holds.
/// Only the holder of the writers' lock stores to it.
pub struct SlotCore {
    installed: AtomicPtr<Installed>,
    name: &'static str,
    default_data: NonNull<()>,
    default_table: &'static Table,
}

// SAFETY: the default is a static of a `Sync` type (`Slot::__new`); all else is atomic.
unsafe impl Send for SlotCore {}
// SAFETY: as above.
unsafe impl Sync for SlotCore {}

impl SlotCore {
    #[allow(clippy::too_many_arguments, reason = "each is another thing that the macro says")]
    pub(crate) const fn new(
        name: &'static str,
        _identity: &'static Identity,
        _description: &'static Description,
        default_data: NonNull<()>,
        default_table: &'static Table,
        _defaults: &'static [Code],
        _cells: fn() -> &'static [CodeCell],
        _exclusive: bool,
    ) -> Self {
        Self { installed: AtomicPtr::new(ptr::null_mut()), name, default_data, default_table }
    }

    /// The slot's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn default_data(&self) -> NonNull<()> {
        self.default_data
    }

    pub(crate) fn default_table(&self) -> &'static Table {
        self.default_table
    }

    /// What is installed. The caller holds a guard, a section or the writers' lock while it uses the answer.
    #[inline]
    pub(crate) fn current(&self) -> (*mut (), &'static Table) {
        match self.holder() {
            Some(installed) => (installed.data(), installed.table()),
            None => (self.default_data.as_ptr(), self.default_table),
        }
    }

    /// The same, with what holds it; nothing, for the default. As above, of the caller.
    #[inline]
    pub(crate) fn holder(&self) -> Option<&Installed> {
        // Acquire, partner of the AcqRel swap in `install`: the instance is there.
        let installed = self.installed.load(Ordering::Acquire);
        // SAFETY: the type's invariant; the caller's protection keeps the count from going to zero.
        unsafe { installed.as_ref() }
    }

    /// What is installed, with a count of its own. The caller holds the writers' lock.
    pub(crate) fn installed(&self) -> Arc<Installed> {
        let installed = self.installed.load(Ordering::Acquire);
        if installed.is_null() {
            return Arc::new(Installed::new(RawInstance::borrowed(self.default_data, self.default_table)));
        }
        // SAFETY: the type's invariant, and only the holder of the lock takes the slot's count away.
        unsafe { Arc::increment_strong_count(installed) };
        // SAFETY: as above; the count has just been made.
        unsafe { Arc::from_raw(installed) }
    }

    /// Refuses a slot of another's: in this backend there is none.
    pub(crate) fn check_is_own(&self) -> Result<(), Error> {
        Ok(())
    }

    fn install(&self, new: Arc<Installed>) -> Arc<Installed> {
        let old = self.installed.swap(Arc::into_raw(new).cast_mut(), Ordering::AcqRel);
        if old.is_null() {
            return Arc::new(Installed::new(RawInstance::borrowed(self.default_data, self.default_table)));
        }
        // SAFETY: the type's invariant: the pointer came from `Arc::into_raw`, and the slot gives its count away.
        unsafe { Arc::from_raw(old) }
    }
}

impl fmt::Debug for SlotCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlotCore").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a bound slot carries: the slot. Each call loads what is installed, so every swap is seen.
pub(crate) struct BoundCore<'g> {
    core: &'g SlotCore,
}

impl<'g> BoundCore<'g> {
    #[inline(always)]
    pub(crate) fn new(core: &'g SlotCore) -> Self {
        Self { core }
    }

    pub(crate) fn this(&self) -> *const () {
        self.core.current().0
    }

    #[inline(always)]
    pub(crate) fn load(&self, index: usize) -> (*const (), Code) {
        let (data, table) = self.core.current();
        (data, table.method(index))
    }
}

/// Whether the program's own call instructions are patched: there is nothing to patch in this backend.
pub fn patch_callers(_patch: bool) {}

/// All state of the writers, behind their lock.
pub(crate) struct Writer {
    keys: Keys,
}

impl Writer {
    pub(crate) const fn new() -> Self {
        Self { keys: Keys::new() }
    }

    /// All changes. None is ever refused.
    pub(crate) fn commit(&mut self, Changes { slots, keys }: Changes) -> Outcome {
        let overdue = self.keys.plan_overdue();
        overdue.stores.iter().for_each(|&(index, on)| self.keys.store(index, on));
        self.keys.confirm(&overdue);
        let plan = self.keys.plan(&keys);
        plan.stores.iter().for_each(|&(index, on)| self.keys.store(index, on));
        self.keys.confirm(&plan);
        // Whoever learns that this is over finds the keys as they are now.
        fence(Ordering::SeqCst);
        let old: Vec<_> = slots.into_iter().map(|Change { slot, new }| slot.install(new)).collect();
        let replaced = old.clone();
        if !replaced.is_empty() {
            reclaimer::defer_commit(Committed { replaced });
        }
        Ok(old)
    }

    pub(crate) fn news(&mut self) -> Vec<News> {
        Vec::new()
    }

    pub(crate) fn counts(&mut self) -> Counts {
        Counts { keys: self.keys.len(), ..Counts::default() }
    }

    /// Nothing is emitted or patched for any slot or key.
    pub(crate) fn account(&mut self) -> Account {
        Account { keys: self.keys.account(|_| 0), ..Account::default() }
    }
}

/// A commit that took effect: what is left to do a grace period later.
pub(crate) struct Committed {
    replaced: Vec<Arc<Installed>>,
}

/// A grace period has passed since the commits: nobody is inside what they replaced. That goes to `past`.
pub(crate) fn finish(_writing: Option<Writing>, commits: Vec<Committed>, past: &mut Vec<Arc<Installed>>) {
    past.extend(commits.into_iter().flat_map(|commit| commit.replaced));
}

/// For tests: everything emitted, which is nothing.
///
/// # Errors
///
/// None in this backend.
pub fn emitted() -> Result<Vec<Emitted>, Error> {
    Ok(Vec::new())
}

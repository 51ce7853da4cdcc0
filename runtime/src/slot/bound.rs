//! What is bound to a guard, to a section or to a lock: calls of it need no protection of their own.
#![allow(unsafe_code)]

use core::fmt;
use core::marker::PhantomData;
use core::ops::Deref;

use super::{Definition, SlotCore, backend};
use crate::interface::{Code, Interface, Lent};
use crate::quiesce::section;

/// Whoever has it shares the implementor with others.
#[derive(Debug)]
pub enum SharedAccess {}

/// Whoever has it is alone with the implementor: the slot is locked.
#[derive(Debug)]
pub enum SoleAccess {}

/// A slot within a protection: what the methods that `#[dispatch]` writes are called on.
///
/// Invariants:
/// 1. While `'g` lasts, a guard or a section of this thread protects what the slot holds.
/// 2. Where `K` is [`SoleAccess`], nobody else calls the slot, nor looks at what it holds; and there is one of it.
/// 3. Where `K` is [`SharedAccess`], nobody has what the slot holds by `&mut`.
pub struct Within<'g, D: Definition, K> {
    core: backend::BoundCore<'g>,
    kind: PhantomData<fn() -> (D, K)>,
    /// Whether it goes to other threads is said below.
    not_by_itself: PhantomData<*const ()>,
}

// SAFETY: who has it by value, or by `&mut`, has what the slot holds as it would have a reference or a box of it, and that is
// `Send`.
unsafe impl<D: Definition, K> Send for Within<'_, D, K> {}
// SAFETY: calls of `&self` methods through it may come from several threads where `Lent` says so.
unsafe impl<D: Definition<Interface: Lent<K>>, K> Sync for Within<'_, D, K> {}

impl<'g, D: Definition, K> Within<'g, D, K> {
    /// The caller sees to the invariants.
    #[cfg_attr(not(debug_assertions), inline(always))]
    #[cfg_attr(debug_assertions, inline)]
    pub(super) fn new(core: &'g SlotCore) -> Self {
        Self { core: backend::BoundCore::new(core), kind: PhantomData, not_by_itself: PhantomData }
    }

    /// Where no `membarrier` reaches this thread, it may hold prefetched what was rewritten before its pin.
    pub(super) fn new_where_fetches_may_be_stale(core: &'g SlotCore) -> Self {
        let bound = Self::new(core);
        section::serialise_if_stale();
        bound
    }

    /// For `#[dispatch]`: what the slot's method takes as its instance.
    #[doc(hidden)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    #[cfg_attr(debug_assertions, inline)]
    #[must_use]
    pub fn __this(&self) -> *const () {
        self.core.this()
    }

    /// For `#[dispatch]`, in the portable backend: the instance, and the code of method `index`.
    #[doc(hidden)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    #[cfg_attr(debug_assertions, inline)]
    #[must_use]
    pub fn __load(&self, index: usize) -> (*const (), Code) {
        self.core.load(index)
    }

    /// What is installed now, as the trait object that it is.
    #[must_use]
    pub fn object(&self) -> &D::Interface {
        let (data, table) = D::core().current();
        // SAFETY: what a slot of the interface holds has a table for it.
        let object = unsafe { table.object::<D::Interface>(data) };
        // SAFETY: invariants 1 to 3.
        unsafe { &*object }
    }
}

impl<D: Definition> Within<'_, D, SoleAccess> {
    /// As [`object`](Self::object), exclusively.
    #[must_use]
    pub fn object_mut(&mut self) -> &mut D::Interface {
        let (data, table) = D::core().current();
        // SAFETY: as above.
        let object = unsafe { table.object::<D::Interface>(data) };
        // SAFETY: invariants 1 and 2.
        unsafe { &mut *object }
    }
}

/// What the trait's methods are called on, for `within`.
pub(super) fn methods<I: ?Sized + Interface, V>(within: &V) -> &I::Methods<V> {
    let within: *const V = within;
    // SAFETY: `Interface`: it is `V`, or a `repr(transparent)` type of it.
    unsafe { &*within.cast() }
}

/// As [`methods`], exclusively.
pub(super) fn methods_mut<I: ?Sized + Interface, V>(within: &mut V) -> &mut I::Methods<V> {
    let within: *mut V = within;
    // SAFETY: as above.
    unsafe { &mut *within.cast() }
}

/// A slot bound to a guard, see [`Slot::bind`](super::Slot::bind).
///
/// It has the methods of the slot's trait; what it derefs to has those that it cannot have itself, and in the end that is the
/// trait object.
pub struct Bound<'g, D: Definition> {
    within: Within<'g, D, SharedAccess>,
}

impl<'g, D: Definition> Bound<'g, D> {
    /// The caller sees to the invariants of `Within`.
    pub(super) fn new(core: &'g SlotCore) -> Self {
        Self { within: Within::new_where_fetches_may_be_stale(core) }
    }

    /// For `#[dispatch]`: what is called.
    #[doc(hidden)]
    #[inline(always)]
    #[must_use]
    pub fn __within(&self) -> &Within<'g, D, SharedAccess> {
        &self.within
    }
}

impl<'g, D: Definition> Deref for Bound<'g, D> {
    type Target = <D::Interface as Interface>::Methods<Within<'g, D, SharedAccess>>;

    #[inline(always)]
    fn deref(&self) -> &Self::Target {
        methods::<D::Interface, _>(&self.within)
    }
}

impl<D: Definition> fmt::Debug for Bound<'_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(result) = self.within.object().debug(f) {
            return result;
        }
        f.debug_struct("Bound").field("slot", &D::NAME).finish_non_exhaustive()
    }
}

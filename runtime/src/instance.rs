//! An owned plugin behind an interface: what goes into a slot, and what comes back out.
#![allow(unsafe_code)]

use core::any::{Any, TypeId};
use core::fmt;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use std::sync::Arc;

#[cfg(target_os = "linux")]
use crate::host::Gate;
use crate::interface::{Code, Exclusive, Implements, Interface, Table};

/// What keeps the code of an instance in memory: a loaded library.
pub(crate) type Keeper = Arc<dyn Any + Send + Sync>;

/// An instance without its interface's type.
///
/// Invariants:
/// 1. `data` points to a live implementor of the type for which `table` was made.
/// 2. Where `kind` is `Owned`, it came from `Box::into_raw` and nobody else drops it.
/// 3. `keeper` outlives every use of `table` and of the code it names; where `kind` is not `Owned`, also that of `data`.
/// 4. Where `kind` is `Gate`, `keeper` is a [`Gate`] for the interface of `table`.
pub(crate) struct RawInstance {
    data: NonNull<()>,
    table: &'static Table,
    kind: Kind,
    keeper: Option<Keeper>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Dropped with this.
    Owned,
    /// A static, or somebody else's whom `keeper` keeps.
    Borrowed,
    /// Whatever the gate that `keeper` is opens to.
    #[cfg(target_os = "linux")]
    Gate,
}

// SAFETY: `RawInstance` is only ever handed across threads inside an `Instance<I>`, whose own bounds
// decide, or by a slot, which takes `Send + Sync` instances only (see `Slot::replace`).
unsafe impl Send for RawInstance {}
// SAFETY: as above.
unsafe impl Sync for RawInstance {}

impl RawInstance {
    /// Boxes `value`.
    pub(crate) fn boxed<I: ?Sized + Implements<T>, T: 'static>(value: T) -> Self {
        let data = NonNull::from(Box::leak(Box::new(value))).cast();
        Self { data, table: Table::of::<I, T>(), kind: Kind::Owned, keeper: None }
    }

    /// Takes over a box.
    pub(crate) fn from_box<I: ?Sized + Implements<T>, T: 'static>(value: Box<T>) -> Self {
        let data = NonNull::from(Box::leak(value)).cast();
        Self { data, table: Table::of::<I, T>(), kind: Kind::Owned, keeper: None }
    }

    /// Borrows a static.
    pub(crate) fn borrowed(data: NonNull<()>, table: &'static Table) -> Self {
        Self { data, table, kind: Kind::Borrowed, keeper: None }
    }

    /// Takes over what a library's constructor gave.
    ///
    /// # Safety
    ///
    /// `data` came from `Box::into_raw` of the type of `table`; `keeper` keeps the library loaded.
    pub(crate) unsafe fn from_library(data: NonNull<()>, table: &'static Table, keeper: Keeper) -> Self {
        Self { data, table, kind: Kind::Owned, keeper: Some(keeper) }
    }

    /// Borrows what `keeper` keeps.
    ///
    /// # Safety
    ///
    /// `data` is an implementor of the type of `table`, which is `Send` and `Sync`; it and its code live as long as `keeper`.
    #[cfg(target_os = "linux")]
    pub(crate) unsafe fn kept(data: NonNull<()>, table: &'static Table, keeper: Keeper) -> Self {
        Self { data, table, kind: Kind::Borrowed, keeper: Some(keeper) }
    }

    /// Stands for what a gate opens to.
    #[cfg(target_os = "linux")]
    pub(crate) fn gate(gate: Arc<Gate>) -> Self {
        let (data, table) = gate.old().parts();
        let data = NonNull::new(data).unwrap_or(NonNull::dangling());
        Self { data, table, kind: Kind::Gate, keeper: Some(gate) }
    }

    /// The implementor and its table: for a gate, once it is open.
    #[inline(always)]
    fn reach(&self) -> (*mut (), &'static Table) {
        #[cfg(target_os = "linux")]
        if self.kind == Kind::Gate {
            return self.pass();
        }
        (self.data.as_ptr(), self.table)
    }

    #[cfg(target_os = "linux")]
    #[cold]
    fn pass(&self) -> (*mut (), &'static Table) {
        let gate = self.keeper.as_ref().and_then(|keeper| keeper.downcast_ref::<Gate>());
        gate.expect("invariant 4").pass().parts()
    }

    pub(crate) fn data(&self) -> *mut () {
        self.data.as_ptr()
    }

    pub(crate) fn table(&self) -> &'static Table {
        self.table
    }
}

impl Drop for RawInstance {
    fn drop(&mut self) {
        if self.kind == Kind::Owned {
            // SAFETY: invariants 1 and 2; `keeper` is dropped after this body (invariant 3).
            unsafe { self.table.drop_box(self.data.as_ptr()) }
        }
    }
}

/// An owned implementor of the interface `I`, of any type and from anywhere: this program or a library.
///
/// It derefs to the trait object, so every method of the trait and of its supertraits can be called on it; and it
/// implements the trait itself wherever a type other than the implementor can, so it stands where a `Box<dyn Trait>` could.
///
/// ```
/// use hotcall::{dispatch, Instance};
/// #[dispatch]
/// trait Shape: Send + Sync {
///     fn area(&self) -> f64;
/// }
/// struct Square(f64);
/// impl Shape for Square {
///     fn area(&self) -> f64 { self.0 * self.0 }
/// }
/// let shape: Instance<dyn Shape> = Instance::new(Square(3.0));
/// assert_eq!(shape.area(), 9.0);
/// ```
pub struct Instance<I: ?Sized> {
    raw: RawInstance,
    interface: PhantomData<Box<I>>,
}

// SAFETY: `Instance::new` takes a `T` that may be less than `Send`; `I: Send` is only true of interfaces
// whose trait demands it of `T`.
unsafe impl<I: ?Sized + Send> Send for Instance<I> {}
// SAFETY: as above, for `Sync`.
unsafe impl<I: ?Sized + Sync> Sync for Instance<I> {}

impl<I: ?Sized + Interface> Instance<I> {
    /// Boxes an implementor. An `Instance<I>` given as the value is passed on, not boxed again.
    #[must_use]
    pub fn new<T: 'static>(value: T) -> Self
    where
        I: Implements<T>,
    {
        if TypeId::of::<T>() == TypeId::of::<Self>() {
            let value = ManuallyDrop::new(value);
            // SAFETY: `T` is `Self`, so the read has the right type; `value` is not dropped, so the
            // instance is moved and not copied.
            return unsafe { core::ptr::from_ref(&*value).cast::<Self>().read() };
        }
        Self::from_raw(RawInstance::boxed::<I, T>(value))
    }

    /// For `#[slot]`, which says elsewhere that `T` is an implementor.
    ///
    /// # Safety
    ///
    /// `table` is that of `T` for this interface.
    #[doc(hidden)]
    #[must_use]
    pub unsafe fn __with_table<T: 'static>(value: T, table: &'static Table) -> Self {
        let data = NonNull::from(Box::leak(Box::new(value))).cast();
        Self::from_raw(RawInstance { data, table, kind: Kind::Owned, keeper: None })
    }

    pub(crate) fn from_raw(raw: RawInstance) -> Self {
        Self { raw, interface: PhantomData }
    }

    pub(crate) fn into_raw(self) -> RawInstance {
        self.raw
    }

    /// The implementor's type, as the compiler prints it.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        self.raw.table.type_name()
    }

    /// The implementor, if it is a `T` that this program boxed.
    ///
    /// # Errors
    ///
    /// The instance itself, where it is of another type or was borrowed from a static (a slot's default).
    pub fn downcast<T: 'static>(self) -> Result<Box<T>, Self> {
        if self.raw.kind != Kind::Owned || !self.raw.table.is::<T>() || self.raw.keeper.is_some() {
            return Err(self);
        }
        let raw = ManuallyDrop::new(self.raw);
        // SAFETY: invariants 1 and 2: `data` came from `Box::<T>::into_raw`; `raw` is not dropped, and
        // has no keeper to leak.
        Ok(unsafe { Box::from_raw(raw.data.as_ptr().cast::<T>()) })
    }

    /// The instance as the box that it is.
    ///
    /// What comes from a library keeps that loaded for ever: a box knows nothing of it.
    ///
    /// # Errors
    ///
    /// The instance itself, where it was borrowed: from a static, a slot's default; or from a [`Plugins`](crate::Plugins) host that
    /// owns it, too.
    pub fn into_box(self) -> Result<Box<I>, Self> {
        if self.raw.kind != Kind::Owned {
            return Err(self);
        }
        let raw = ManuallyDrop::new(self.raw);
        if let Some(keeper) = &raw.keeper {
            core::mem::forget(Arc::clone(keeper));
        }
        // SAFETY: the table of an `Instance<I>` was made for `I`.
        let object = unsafe { raw.table.object::<I>(raw.data.as_ptr()) };
        // SAFETY: invariants 1 and 2: it came from `Box::into_raw`, and `raw` is not dropped.
        Ok(unsafe { Box::from_raw(object) })
    }

    /// For `#[dispatch]`: as [`into_box`](Self::into_box), for a method that takes `self: Box<Self>`.
    #[doc(hidden)]
    #[must_use]
    pub fn __into_box(self) -> Box<I> {
        match self.into_box() {
            Ok(object) => object,
            Err(instance) => panic!(
                "`{}` is a slot's default, or its host's: it has no box that a method could take",
                instance.type_name()
            ),
        }
    }

    /// For `#[dispatch]`: the instance, and the code of method `index`.
    #[doc(hidden)]
    #[must_use]
    pub fn __load(&self, index: usize) -> (*const (), Code) {
        let (data, table) = self.raw.reach();
        (data.cast_const(), table.method(index))
    }
}

impl<I: ?Sized + Interface> Deref for Instance<I> {
    type Target = I;

    fn deref(&self) -> &I {
        let (data, table) = self.raw.reach();
        // SAFETY: the table of an `Instance<I>` was made for `I`, and so was that of what a gate opens to.
        let object = unsafe { table.object::<I>(data) };
        // SAFETY: invariants 1 and 3: it lives, and is lent as this is.
        unsafe { &*object }
    }
}

/// Where the interface has `&mut self`: then a slot's default comes out of it once, and is nobody else's. Of other interfaces
/// a default may be in its slot again; [`into_box`](Instance::into_box) gives what is owned.
impl<I: ?Sized + Exclusive> DerefMut for Instance<I> {
    fn deref_mut(&mut self) -> &mut I {
        // SAFETY: the table of an `Instance<I>` was made for `I`. Gates are for interfaces that everybody shares.
        let object = unsafe { self.raw.table.object::<I>(self.raw.data()) };
        // SAFETY: invariant 1, and nobody else uses it: it is owned, or the default of a slot that never has it again; what a host
        // owns, too, is of interfaces that everybody shares.
        unsafe { &mut *object }
    }
}

impl<I: ?Sized + Interface> fmt::Debug for Instance<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(result) = (**self).debug(f) {
            return result;
        }
        f.debug_struct("Instance")
            .field("interface", &I::DESCRIPTION.name)
            .field("type", &self.type_name())
            .finish_non_exhaustive()
    }
}

//! What the macros' expansions name. Not part of the API: it changes with the macros, which are pinned to the same version.

pub use crate::instance::Instance;
pub use crate::interface::{
    Code, Description, Exclusive, Implements, Interface, Method, Shared, Stubs, Table, TypeDefinition,
};
pub use crate::key::{Key, KeyControl, KeyCore, KeyDefinition, OpenKey};
pub use crate::lease::Lease;
pub use crate::passing::{Word, pair, place, unpair, unplace, unword, word};
pub use crate::patched::{Handle as PatchedHandle, Patched};
pub use crate::plain::{Asked, Otherwise};
pub use crate::refusals::{LendsByItself, MayLend, MayShare};
#[cfg(feature = "negative-controls")]
pub use crate::rehearsal::{Point, fail_at_step, grace_periods_so_far, rehearse};
#[cfg(feature = "negative-controls")]
pub use crate::sabotage::{Sabotage, sabotage};
#[cfg(patched)]
pub use crate::slot::backend::call_padding;
pub use crate::slot::backend::{CodeCell, emitted};
pub use crate::slot::inspect::Emitted;
#[cfg(patched)]
pub use crate::slot::installed_of;
pub use crate::slot::{
    Bound, Control, DefaultCell, Definition, Entered, Function, Handle, Held, Identity, MaybeEmpty, Open,
    Retarget, SharedAccess, Slot, SlotCore, SoleAccess, Within, as_static, cell_of, table_of,
};
#[cfg(patched)]
pub use crate::sys::image::runtime_anchor;
pub use crate::{
    __call as call, __caught as caught, __cells as cells, __handle as handle, __key_load as key_load,
    __key_record as key_record, __methods as methods, __slot_record as slot_record, __stub as stub,
};
pub use core;
pub use core::mem::{ManuallyDrop, MaybeUninit};
pub use core::option::Option::{None, Some};
pub use std;

/// A type that is the primitive `P`, whatever the name that it is written with stands for.
///
/// # Safety
///
/// `Self` and `P` are one type: its values are passed in the registers of `P`.
#[diagnostic::on_unimplemented(
    message = "this name stands for `{Self}` here, and not for the primitive type `{P}`",
    label = "not the primitive type of this name",
    note = "`#[dispatch]` chooses registers by the names of primitive types: give the other type another name"
)]
#[allow(unsafe_code)]
pub unsafe trait IsPrimitive<P: ?Sized> {}

// SAFETY: one type.
#[allow(unsafe_code)]
unsafe impl<P: ?Sized> IsPrimitive<P> for P {}

/// For `#[dispatch]`: refuses another type that has the name of the primitive `P`.
pub const fn assert_primitive<T: ?Sized + IsPrimitive<P>, P: ?Sized>() {}

/// A method's result, where it does not leave in a register.
///
/// # Safety
///
/// A result may be written to `out`.
#[allow(unsafe_code)]
#[inline]
pub unsafe fn give<R>(out: *mut MaybeUninit<R>, result: R) {
    // SAFETY: the caller's promise.
    unsafe { out.cast::<R>().write(result) };
}

/// For `#[dispatch]`: `It` is the type itself, in a way that lets a `where` clause be about a type without parameters.
pub trait Same<'a> {
    /// The type.
    type It: ?Sized;
}

impl<T: ?Sized> Same<'_> for T {
    type It = T;
}

/// For `#[dispatch]`: size and alignment.
#[must_use]
pub const fn layout<T>() -> (usize, usize) {
    (size_of::<T>(), align_of::<T>())
}

/// For `#[dispatch]`: whether a value owns something that whoever drops it frees.
#[must_use]
pub const fn owns<T: ?Sized>() -> bool {
    core::mem::needs_drop::<T>()
}

/// What the expansion of `#[dispatch]` names for chains.
pub mod chain {
    pub use crate::chain::inspect::EmittedChain;
    pub use crate::chain::link::{EntryPoint, links};
    pub use crate::chain::rule::{Class, Combine, MethodRule, Word, again, entry_point, step};
    pub use crate::chain::{BoundChain, Chain, Chainable, First};
}

/// For `#[dispatch]`: what stands for an implementor where the compiler checks what a plain call may lend. Nothing runs it.
///
/// # What is checked, and where
///
/// An implementor may be replaced and freed as soon as a plain call has returned. So nothing that carries the lifetime of
/// its `self` may leave the call: not the result, and no argument that the caller goes on to use. The body of every plain call
/// begins with a branch that is never taken, and that calls the trait's *own* method on what a local of this type
/// lends:
///
/// ```ignore
/// if false {
///     let local = Local::<dyn Trait>::new();
///     return <dyn Trait as Trait>::method(local.lend(), arguments);
/// }
/// ```
///
/// So the compiler's borrow checker decides, with the trait's signature and the call's types: whatever a signature says of
/// the lifetimes, by name or by a bound, hidden or left out, a borrow of a local cannot outlive the body. `dyn Trait` has
/// every method that is dispatched, whatever its supertraits ask for.
#[derive(Debug)]
pub struct Local<I: ?Sized>(core::marker::PhantomData<Box<I>>);

impl<I: ?Sized> Local<I> {
    /// A local, to be borrowed from.
    #[allow(clippy::new_without_default)]
    #[must_use]
    pub const fn new() -> Self {
        Self(core::marker::PhantomData)
    }

    /// An implementor that is lent for as long as the local is.
    #[must_use]
    pub fn lend(&self) -> &I {
        unreachable!("this is checked, and never run")
    }

    /// As [`lend`](Self::lend), for a method that takes `&mut self`.
    #[must_use]
    pub fn lend_mut(&mut self) -> &mut I {
        unreachable!("this is checked, and never run")
    }
}

/// What the tables of plugins are made of.
pub use crate::plugin::boundary::{Boundary, Caught, Watched};
pub use crate::plugin::catch::BY_FRAME;
#[cfg(all(target_os = "linux", target_arch = "x86_64", target_pointer_width = "64", panic = "unwind"))]
pub use crate::plugin::catch::{personality_of_caught, raise_caught};

/// What the expansion of `export!` names.
pub mod plugin {
    pub use crate::interface::Interface;
    pub use crate::plugin::boundary::{Exported, Host};
    pub use crate::plugin::export::*;
    pub use crate::plugin::header::*;
    pub use crate::plugin::note::{Note, SlotNote};
}

/// The instance behind a shim's first argument.
///
/// # Safety
///
/// `this` points to a `T` that lives as long as `'a`, or `T` has no bytes.
#[allow(unsafe_code)]
#[cfg_attr(not(debug_assertions), inline(always))]
#[cfg_attr(debug_assertions, inline)]
pub unsafe fn instance<'a, T>(this: *const ()) -> &'a T {
    let this = if size_of::<T>() == 0 { core::ptr::dangling() } else { this.cast::<T>() };
    // SAFETY: the caller's promise; a type without bytes may be anywhere but null and unaligned.
    unsafe { &*this }
}

/// As [`instance`], for a method that takes `&mut self`.
///
/// # Safety
///
/// As there, and nobody else uses the instance.
#[allow(unsafe_code)]
#[cfg_attr(not(debug_assertions), inline(always))]
#[cfg_attr(debug_assertions, inline)]
pub unsafe fn instance_mut<'a, T>(this: *const ()) -> &'a mut T {
    let this = if size_of::<T>() == 0 { core::ptr::dangling_mut() } else { this.cast::<T>().cast_mut() };
    // SAFETY: as above, and exclusive.
    unsafe { &mut *this }
}

/// For `#[dispatch]`: how a shim finds the implementor whose method it calls.
#[allow(unsafe_code)]
pub trait Receiver<T: ?Sized> {
    /// The implementor.
    ///
    /// # Safety
    ///
    /// `this` is what the slot or the table that names the shim has for an instance, and that lives as long as `'a`.
    unsafe fn receive<'a>(this: *const ()) -> &'a T;

    /// As [`receive`](Self::receive), for a method that takes `&mut self`.
    ///
    /// # Safety
    ///
    /// As there, and nobody else uses the implementor.
    unsafe fn receive_mut<'a>(this: *const ()) -> &'a mut T;
}

/// It is behind the shim's first argument.
pub struct Behind;

#[allow(unsafe_code)]
impl<T> Receiver<T> for Behind {
    #[cfg_attr(not(debug_assertions), inline(always))]
    #[cfg_attr(debug_assertions, inline)]
    unsafe fn receive<'a>(this: *const ()) -> &'a T {
        // SAFETY: the caller's promise: the instance is one of the table's type.
        unsafe { instance(this) }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    #[cfg_attr(debug_assertions, inline)]
    unsafe fn receive_mut<'a>(this: *const ()) -> &'a mut T {
        // SAFETY: as above, and exclusive.
        unsafe { instance_mut(this) }
    }
}

/// It is the default of the slot `D`, whatever the argument.
pub struct DefaultOf<D>(core::marker::PhantomData<D>);

#[allow(unsafe_code)]
impl<D: Definition> Receiver<D::Interface> for DefaultOf<D> {
    #[cfg_attr(not(debug_assertions), inline(always))]
    #[cfg_attr(debug_assertions, inline)]
    unsafe fn receive<'a>(_: *const ()) -> &'a D::Interface {
        // SAFETY: `Definition`: it is a static, and the caller shares it with those who do.
        unsafe { &*D::default() }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    #[cfg_attr(debug_assertions, inline)]
    unsafe fn receive_mut<'a>(_: *const ()) -> &'a mut D::Interface {
        // SAFETY: as above, and the caller is alone with it.
        unsafe { &mut *D::default() }
    }
}

//! What the macros' expansions name. Not part of the API: it changes with the macros, which are pinned to the same version.

pub use crate::instance::Instance;
pub use crate::interface::{Code, Description, Implements, Interface, Method, Stubs, Table, TypeDefinition};
pub use crate::patched::Patched;
#[cfg(feature = "negative-controls")]
pub use crate::sabotage::{Sabotage, sabotage};
pub use crate::slot::backend::emitted;
pub use crate::slot::inspect::Emitted;
pub use crate::slot::{
    Bound, Control, Definition, Entered, Function, Held, MaybeEmpty, Open, Retarget, Slot, SlotCore, table_of,
};
#[cfg(patched)]
pub use crate::sys::image::runtime_anchor;
pub use crate::{__call as call, __caught as caught, __stub as stub, __stubs as stubs};
pub use core;
pub use core::mem::MaybeUninit;
pub use core::option::Option::{None, Some};
pub use std;

/// A type that the C calling convention returns in registers, whatever the name it is written with stands for.
pub trait Register {}

macro_rules! register {
    ($($ty:ty)*) => { $(impl Register for $ty {})* };
}
register!(bool char u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64);

/// For `#[dispatch]`: refuses a type of the user's that has the name of a primitive.
pub const fn assert_register<T: Register>() {}

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

/// For `#[dispatch]`: nothing has it. Where a method's result borrows from the implementor, a slot would have the
/// trait only under this condition: so the compiler says which rule is in the way.
#[diagnostic::on_unimplemented(
    message = "a result that borrows from the implementor cannot leave a plain call",
    label = "what is behind this may be replaced and freed as soon as the call returns",
    note = "hold a guard: `let guard = hotcall::pin();`, then call `SLOT.bind(&guard).method()`, or call on what \
            `get(&guard)` gives; or return a value"
)]
pub trait MayLend {}

/// What the tables of plugins are made of.
pub use crate::plugin::boundary::{Boundary, Caught, Watched};
pub use crate::plugin::catch::in_registers;
#[cfg(all(target_os = "linux", target_arch = "x86_64", target_pointer_width = "64", panic = "unwind"))]
pub use crate::plugin::catch::{personality_of_caught, raise_caught};

/// What the expansion of `export!` names.
pub mod plugin {
    pub use crate::interface::Interface;
    pub use crate::plugin::boundary::{Exported, Host};
    pub use crate::plugin::export::*;
    pub use crate::plugin::header::*;
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
}

/// It is the default of the slot `D`, whatever the argument.
pub struct DefaultOf<D>(core::marker::PhantomData<D>);

#[allow(unsafe_code)]
impl<D: Definition> Receiver<D::Interface> for DefaultOf<D> {
    #[cfg_attr(not(debug_assertions), inline(always))]
    #[cfg_attr(debug_assertions, inline)]
    unsafe fn receive<'a>(_: *const ()) -> &'a D::Interface {
        D::default()
    }
}

//! What `#[dispatch]` says of a trait: its description, and the code of each implementor.
#![allow(unsafe_code)]

use core::any::TypeId;
use core::fmt;
use core::sync::atomic::AtomicU8;
use std::collections::LinkedList;

use crate::gated::Gated;
use crate::plugin::boundary::{Boundary as _, Caught};
use crate::slot::{SharedAccess, SoleAccess};

/// The address of a method's code, as one implementor gives it.
///
/// Behind it is an `extern "C-unwind"` function whose first argument is the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Code(*const ());

// SAFETY: an address of code is a number; nothing is read or written through it here.
unsafe impl Send for Code {}
// SAFETY: as above.
unsafe impl Sync for Code {}

impl Code {
    /// Wraps the address of a function.
    #[must_use]
    pub const fn new(address: *const ()) -> Self {
        Self(address)
    }

    /// The address, as a pointer to be cast to a function.
    #[must_use]
    pub const fn as_ptr(self) -> *const () {
        self.0
    }

    /// The address, as a number.
    #[must_use]
    pub fn address(self) -> usize {
        self.0.addr()
    }
}

/// One method of an interface: what a plugin must agree on.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Method {
    /// The method's name.
    pub name: &'static str,
    /// Its signature, as written.
    pub signature: &'static str,
    /// Size and alignment, in bytes, of each argument's type and, last, of the result's.
    pub layout: &'static [(usize, usize)],
}

/// What a trait looks like from outside: compared, byte by byte, before a plugin's code is let in.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Description {
    /// The interface as written: `dyn Effect`.
    pub name: &'static str,
    /// The crate that declares the trait.
    pub crate_name: &'static str,
    /// The version of that crate.
    pub crate_version: &'static str,
    /// The oldest version of that crate whose interface this is still compatible with, as `#[dispatch(since = "1.2.0")]` says it;
    /// empty where nothing is said: then a plugin and its host have the same version.
    pub since: &'static str,
    /// The types of this crate that the methods name, and a hash of what they are defined by.
    pub definitions: &'static [TypeDefinition],
    /// Values that own memory may pass through the methods, so that one side frees what the other allocated.
    pub shares_memory: bool,
    /// What the methods take and give leads nowhere into the implementor's library: numbers and text. So a library whose instances
    /// are all of such interfaces may go with the last of them: see [`Library`](crate::Library#unloading).
    pub leaves_nothing: bool,
    /// The methods, in the order in which their code stands in [`Implements::METHODS`].
    pub methods: &'static [Method],
}

/// What a name in the methods of an interface stands for: a type, a trait or a constant of the crate that declares it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct TypeDefinition {
    /// The name, as written.
    pub name: &'static str,
    /// A hash of its definition and of all that this names in turn, as they stand in the crate's sources: without comments,
    /// without the bodies of functions, with the features and `--cfg`s that they ask for.
    pub hash: u64,
}

/// A trait-object type that `#[dispatch]` has seen: `dyn Effect`.
///
/// # Safety
///
/// Only `#[dispatch]` implements it. The order of `DESCRIPTION.methods` is the order in which every
/// [`Implements::METHODS`] of this interface lists its code.
///
/// `Itself` is the type itself. `Methods<V>` is `V`, or a `repr(transparent)` type of it. `EXCLUSIVE` is true where a method of the trait, or of a supertrait
/// that can be called through it, takes `&mut self` and slots have a lock; see [`Shared`] and [`Exclusive`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no interface of hotcall's",
    label = "no slot, no handle and no instance can hold this",
    note = "mark the trait `#[dispatch]`; for a trait of another crate write `hotcall::foreign!(path::to::Trait);`"
)]
pub unsafe trait Interface: 'static {
    /// The interface: where there is none, everything that is made of it is silent.
    #[doc(hidden)]
    type Itself: ?Sized;

    /// Names, signatures and layouts.
    const DESCRIPTION: Description;

    /// Whether a slot is used through its lock.
    const EXCLUSIVE: bool;

    /// How those who use what a slot holds get at it: `SoleAccess` where `EXCLUSIVE` is true.
    #[doc(hidden)]
    type Access;

    /// What has the trait's methods, for whatever calls them.
    #[doc(hidden)]
    type Methods<V>;

    /// What the implementor itself says of itself, where the trait asks for `Debug`.
    #[doc(hidden)]
    fn debug(&self, _: &mut fmt::Formatter<'_>) -> Option<fmt::Result> {
        None
    }
}

/// What a slot may hold whose interface has the access `A`: it is used from any thread, from many at a time where `A` is
/// `SharedAccess`.
///
/// # Safety
///
/// Only hotcall implements it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be in a slot, which is used from any thread",
    note = "what a slot holds is `Send`; and `Sync`, where no method of the trait takes `&mut self`"
)]
pub unsafe trait Crosses<A> {}

// SAFETY: it may be used from many threads at a time.
unsafe impl<T: Send + Sync> Crosses<SharedAccess> for T {}
// SAFETY: it may be used from any thread, one at a time.
unsafe impl<T: Send> Crosses<SoleAccess> for T {}

/// What an access of `A` gives may be used from several threads at a time: what is shared is `Sync` whatever the interface
/// says, for a slot takes nothing else; and what a lock gives is where the interface is.
///
/// # Safety
///
/// Only hotcall implements it.
pub unsafe trait Lent<A> {}

// SAFETY: see above.
unsafe impl<I: ?Sized> Lent<SharedAccess> for I {}
// SAFETY: implementors of a `Sync` interface are `Sync`.
unsafe impl<I: ?Sized + Sync> Lent<SoleAccess> for I {}

/// An interface without `&mut self`: everybody shares what a slot of it holds, and calls it plainly.
///
/// # Safety
///
/// Only `#[dispatch]` and `foreign!` implement it, where `EXCLUSIVE` is false.
#[diagnostic::on_unimplemented(
    message = "a slot of `{Self}` is used through its lock",
    label = "a method of the trait takes `&mut self`, so one at a time may use what the slot holds",
    note = "write `let mut plugin = SLOT.lock();` and call the methods on that; or `SLOT.read()` for those with `&self`"
)]
pub unsafe trait Shared: Interface {}

/// An interface with `&mut self`: one at a time uses what a slot of it holds.
///
/// # Safety
///
/// Only `#[dispatch]` and `foreign!` implement it, where `EXCLUSIVE` is true.
#[diagnostic::on_unimplemented(
    message = "a slot of `{Self}` has no lock",
    label = "no method of the trait takes `&mut self`, so everybody shares what the slot holds",
    note = "call its methods on the slot itself, or on `SLOT.bind(&guard)`"
)]
pub unsafe trait Exclusive: Interface {}

/// `dyn Effect: Implements<Gain>` says that `Gain` implements `Effect`, and where its code is.
///
/// # Safety
///
/// Only `#[dispatch]` and `foreign!` implement it. Entry `i` of `METHODS` is an `extern "C-unwind"` function with the
/// signature that the interface gives method `i`, sound to call with a pointer to a live `T`.
#[diagnostic::on_unimplemented(
    message = "`{T}` cannot stand behind `{Self}`",
    label = "`{T}` does not implement what `{Self}` asks for",
    note = "what a slot holds implements the slot's trait, or is a function or closure of the slot's type: a closure's \
            arguments are written with their types, `|x: u32| ..`"
)]
pub unsafe trait Implements<T>: Interface {
    /// The code of each method for `T`.
    const METHODS: &'static [Code];

    /// The implementor as the trait object that it is: the same address, with the table of the compiler.
    #[doc(hidden)]
    fn object(this: *mut ()) -> *mut Self;
    /// The same, for a library that is built to be loaded: see `plugin::boundary::Watched`.
    const WATCHED: &'static [Code] = Self::METHODS;

    /// The same, where panics are caught and raised again in the host: see `plugin::boundary::Caught`.
    const CAUGHT: &'static [Code] = Self::METHODS;
}

/// `dyn Effect: Stubs<D>` says what the static of the slot `D` is made of.
///
/// # Safety
///
/// Only `#[dispatch]` and `foreign!` implement it. `Cells` is what `cells!` gives for the number of methods. `DEFAULTS` holds
/// the code of each method for the static that `D` gives. `Static` is `Slot<D>`, or a `repr(transparent)` type that holds
/// nothing else and derefs to it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the type of a slot",
    label = "no slot can hold this",
    note = "name the associated types of its trait, as in `dyn Codec<Error = E>`"
)]
pub unsafe trait Stubs<D>: Interface {
    /// The type of the static.
    type Static;

    /// A cell for each method, in their order; none where the backend has none.
    type Cells: AsRef<[crate::slot::backend::CodeCell]> + Send + Sync + 'static;

    /// What they begin with.
    const CELLS: Self::Cells;

    /// The code of the slot's default, which is found whatever the instance is said to be.
    const DEFAULTS: &'static [Code];
}

/// The code and the destructor of one implementor: hotcall's own vtable.
///
/// Invariants, which [`Table::of`] and the two for exports establish:
/// 1. `methods` points to `len` codes in the order of the interface for which the table was made.
/// 2. `drop_box` is sound to call once with a pointer that came from `Box::<T>::into_raw`.
/// 3. `zero_sized` says that `T` has no bytes: its methods read nothing through `this`.
/// 4. `object` is a `fn(*mut ()) -> *mut I`, for the interface for which the table was made.
/// 5. Where `made_by` is this copy's `MADE_BY` and `exported` is false, this program was compiled with `T`: then
///    `type_id` says which type it is. A library's may be equal to one of the program's although the types differ.
#[repr(C)]
#[derive(Debug)]
pub struct Table {
    methods: &'static [Code],
    drop_box: unsafe extern "C-unwind" fn(*mut ()),
    type_name: fn() -> &'static str,
    type_id: fn() -> TypeId,
    object: Code,
    zero_sized: bool,
    exported: bool,
    made_by: &'static MadeBy,
}

/// Its address says which copy of hotcall made a table: each library has its own.
#[derive(Debug)]
struct MadeBy(#[allow(dead_code, reason = "it is its address that counts, so it has a byte")] AtomicU8);

static MADE_BY: MadeBy = MadeBy(AtomicU8::new(0));

unsafe extern "C-unwind" fn drop_box<T>(data: *mut ()) {
    // SAFETY: invariant 2 of `Table`: `data` came from `Box::<T>::into_raw` and this is the only call.
    drop(unsafe { Box::from_raw(data.cast::<T>()) });
}

/// As [`drop_box`], where a panic of this library's becomes one of the host's.
unsafe extern "C-unwind" fn drop_box_caught<T>(data: *mut ()) {
    Caught::run(|| {
        // SAFETY: as above.
        drop(unsafe { Box::from_raw(data.cast::<T>()) });
    });
}

/// A copy that is kept for ever: one of each name.
fn kept(name: &str) -> &'static str {
    static NAMES: Gated<LinkedList<&'static str>> = Gated::new(LinkedList::new());
    let known = |names: &LinkedList<&'static str>| names.iter().find(|known| **known == name).copied();
    if let Some(known) = known(&NAMES.lock()) {
        return known;
    }
    // The allocator may itself be behind a slot: it finds nothing locked.
    let copy: &'static str = Box::leak(Box::from(name));
    let mut copy = LinkedList::from([copy]);
    let mut names = NAMES.lock();
    names.append(&mut copy);
    known(&names).unwrap_or_default()
}

impl Table {
    /// The table of `T` for the interface `I`.
    #[must_use]
    pub const fn of<I: ?Sized + Implements<T>, T: 'static>() -> &'static Table {
        const { &Self::new::<I, T>(I::METHODS, false) }
    }

    /// For `#[slot]`: that of its default, and how the interface sees it.
    #[must_use]
    pub const fn of_default<I: ?Sized + Implements<T>, T: 'static>() -> (&'static Table, fn(*mut ()) -> *mut I)
    {
        (Self::of::<I, T>(), <I as Implements<T>>::object)
    }

    /// That of a library's export, with the code that was chosen for it: `methods` are those of `T` for its interface.
    pub(crate) fn exported<I: ?Sized + Implements<T>, T: 'static>(methods: &'static [Code]) -> Self {
        Self::new::<I, T>(methods, true)
    }

    const fn new<I: ?Sized + Implements<T>, T: 'static>(methods: &'static [Code], exported: bool) -> Self {
        Self {
            methods,
            drop_box: drop_box::<T>,
            type_name: core::any::type_name::<T>,
            type_id: TypeId::of::<T>,
            object: Code::new(<I as Implements<T>>::object as *const ()),
            zero_sized: size_of::<T>() == 0,
            exported,
            made_by: &MADE_BY,
        }
    }

    /// The same, whose destructor lets no panic of this library's out.
    pub(crate) fn exported_caught<I: ?Sized + Implements<T>, T: 'static>(methods: &'static [Code]) -> Self {
        Self { drop_box: drop_box_caught::<T>, ..Self::exported::<I, T>(methods) }
    }

    /// The code of method `index`.
    #[must_use]
    pub fn method(&self, index: usize) -> Code {
        self.methods[index]
    }

    /// The code of every method.
    #[must_use]
    pub fn methods(&self) -> &'static [Code] {
        self.methods
    }

    /// The implementor's name, as the compiler prints it. It outlives the library that the implementor comes from.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        let name = (self.type_name)();
        if self.exported { kept(name) } else { name }
    }

    /// Whether the implementor is a `T` of this program. What comes from a library never is: two builds of one crate may
    /// give one identity to types that differ.
    #[must_use]
    pub fn is<T: 'static>(&self) -> bool {
        self.is_of_this_copy() && (self.type_id)() == TypeId::of::<T>()
    }

    /// Whether both are of one type, and it is this program's.
    #[must_use]
    pub(crate) fn is_same_type(&self, other: &Self) -> bool {
        // One table is that of one type, whoever's it is.
        core::ptr::eq(self, other)
            || (self.is_of_this_copy() && other.is_of_this_copy() && (self.type_id)() == (other.type_id)())
    }

    /// Invariant 5.
    fn is_of_this_copy(&self) -> bool {
        !self.exported && core::ptr::eq(self.made_by, &raw const MADE_BY)
    }

    /// Whether the implementor has no bytes.
    #[must_use]
    pub fn is_zero_sized(&self) -> bool {
        self.zero_sized
    }

    /// The implementor at `data` as a trait object.
    ///
    /// # Safety
    ///
    /// The table was made for `I`.
    pub(crate) unsafe fn object<I: ?Sized + Interface>(&self, data: *mut ()) -> *mut I {
        // SAFETY: invariant 4, and the caller's promise.
        let object =
            unsafe { core::mem::transmute::<*const (), fn(*mut ()) -> *mut I>(self.object.as_ptr()) };
        object(data)
    }

    /// Drops a boxed implementor.
    ///
    /// # Safety
    ///
    /// `data` came from `Box::<T>::into_raw` for the `T` of this table, and nobody uses it any more.
    pub(crate) unsafe fn drop_box(&self, data: *mut ()) {
        // SAFETY: the caller's promise is that of invariant 2.
        unsafe { (self.drop_box)(data) }
    }
}

//! What `#[dispatch]` says of a trait: its description, and the code of each implementor.
#![allow(unsafe_code)]

use core::any::TypeId;

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
    /// The methods, in the order in which their code stands in [`Implements::METHODS`].
    pub methods: &'static [Method],
}

/// A trait-object type that `#[dispatch]` has seen: `dyn Effect`.
///
/// # Safety
///
/// Only `#[dispatch]` implements it. The order of `DESCRIPTION.methods` is the order in which every
/// [`Implements::METHODS`] of this interface lists its code.
pub unsafe trait Interface: 'static {
    /// Names, signatures and layouts.
    const DESCRIPTION: Description;
}

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
    note = "mark the trait `#[dispatch]`, name its associated types, as in `dyn Codec<Error = E>`, and let its methods \
            take `&self`; for a trait with `&mut self` own a `Patched<dyn Trait>`; for a trait of another crate see \
            `hotcall::foreign!`"
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
/// Invariants, which only [`Table::of`] establishes:
/// 1. `methods` points to `len` codes in the order of the interface for which the table was made.
/// 2. `drop_box` is sound to call once with a pointer that came from `Box::<T>::into_raw`.
/// 3. `zero_sized` says that `T` has no bytes: its methods read nothing through `this`.
#[repr(C)]
#[derive(Debug)]
pub struct Table {
    methods: &'static [Code],
    drop_box: unsafe extern "C-unwind" fn(*mut ()),
    type_name: fn() -> &'static str,
    type_id: fn() -> TypeId,
    zero_sized: bool,
}

unsafe extern "C-unwind" fn drop_box<T>(data: *mut ()) {
    // SAFETY: invariant 2 of `Table`: `data` came from `Box::<T>::into_raw` and this is the only call.
    drop(unsafe { Box::from_raw(data.cast::<T>()) });
}

impl Table {
    /// The table of `T` for the interface `I`.
    #[must_use]
    pub const fn of<I: ?Sized + Implements<T>, T: 'static>() -> &'static Table {
        const {
            &Table {
                methods: I::METHODS,
                drop_box: drop_box::<T>,
                type_name: core::any::type_name::<T>,
                type_id: TypeId::of::<T>,
                zero_sized: size_of::<T>() == 0,
            }
        }
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

    /// The implementor's name, as the compiler prints it.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        (self.type_name)()
    }

    /// The implementor's identity.
    #[must_use]
    pub fn type_id(&self) -> TypeId {
        (self.type_id)()
    }

    /// Whether the implementor has no bytes.
    #[must_use]
    pub fn is_zero_sized(&self) -> bool {
        self.zero_sized
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

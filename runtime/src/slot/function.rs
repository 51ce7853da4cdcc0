//! Function slots: a static that is called like a function.
//!
//! `#[slot] static F: fn(A) -> R = f;` writes a hidden interface with one method, which every function and every
//! closure of that type implements. So a function slot is a slot like any other; what is added here is that it is
//! called as `F(x)`: it derefs to a pointer to a function that calls the slot. The pointer is a constant,
//! so the compiler sees through it and the call is a direct one.
#![allow(unsafe_code)]

use core::ops::Deref;

use super::control::{self, Control, Open};
use super::{Definition, Slot};
use crate::error::ReplaceError;
use crate::instance::Instance;
use crate::interface::{Implements, Table};
use crate::quiesce::Section;
use crate::retired::Retired;

/// A slot of a function type.
///
/// # Safety
///
/// Only `#[slot]` implements it. What `POINTER` points to calls the static of this definition.
pub unsafe trait Function: Definition {
    /// The function's type, as written.
    type Pointer: 'static;

    /// A function that calls the slot.
    const POINTER: &'static Self::Pointer;
}

/// A slot of a function type that may be empty: `Option<fn(A) -> R>`.
///
/// # Safety
///
/// Only `#[slot]` implements it.
#[diagnostic::on_unimplemented(
    message = "this function slot is never empty",
    label = "only a slot of an `Option` can be emptied",
    note = "declare it as `static NAME: Option<fn(A) -> R> = Some(default);`"
)]
pub unsafe trait MaybeEmpty: Function<Interface: Implements<Self::Empty>> {
    /// A function that does nothing and returns the default.
    type Empty: Send + Sync + 'static;

    /// It.
    const EMPTY: Self::Empty;
}

/// For `#[slot]`: the table of a value whose type cannot be written, as that of a function.
#[must_use]
pub const fn table_of<I: ?Sized + Implements<T>, T: 'static>(_: &T) -> &'static Table {
    Table::of::<I, T>()
}

impl<D: Function> Deref for Slot<D> {
    type Target = D::Pointer;

    #[inline(always)]
    fn deref(&self) -> &D::Pointer {
        D::POINTER
    }
}

impl<D: Function> Slot<D> {
    /// Empties the slot: calls do nothing, and return the default of their type.
    ///
    /// ```
    /// use hotcall::slot;
    ///
    /// #[slot]
    /// static LIMIT: Option<fn(u32) -> u32> = None;
    ///
    /// assert_eq!(LIMIT(7), 0);
    /// LIMIT.replace(|x: u32| x.min(5))?;
    /// assert_eq!(LIMIT(7), 5);
    /// LIMIT.clear()?;
    /// assert!(LIMIT.is_empty());
    /// # Ok::<(), hotcall::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`replace`](Slot::replace).
    pub fn clear(&'static self) -> Result<Retired<D::Interface>, ReplaceError<D::Interface>>
    where
        D: Open + MaybeEmpty,
    {
        control::install(&self.core, Instance::new(D::EMPTY))
    }

    /// Whether the slot is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool
    where
        D: MaybeEmpty,
    {
        let _section = Section::enter();
        self.core.current().1.is::<D::Empty>()
    }
}

impl<D: Function> Control<D> {
    /// As [`Slot::clear`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn clear(&self) -> Result<Retired<D::Interface>, ReplaceError<D::Interface>>
    where
        D: MaybeEmpty,
    {
        control::install(self.core(), Instance::new(D::EMPTY))
    }
}

//! What `#[dispatch]` declares beside a trait: the type that has the trait's methods for whatever calls them.
//!
//! It belongs to the crate of the trait. So it may implement a trait of another crate; and it may have the trait's
//! methods as its own, which come before those of the slot that it derefs to, whatever their names are.
#![allow(unsafe_code)]

use core::cell::UnsafeCell;
use core::fmt;
use core::mem::ManuallyDrop;
use core::ptr;

use super::{Definition, Slot};

/// For `#[dispatch]`: declares the type, which holds what it calls through and nothing else.
#[doc(hidden)]
#[macro_export]
macro_rules! __methods {
    ($module:ident :: $name:ident) => {
        mod $module {
            #[repr(transparent)]
            #[allow(non_camel_case_types, missing_docs)]
            pub struct $name<V>(pub(super) V);
        }

        impl<D: $crate::__private::Definition> $module::$name<$crate::__private::Slot<D>> {
            /// For `#[slot]`.
            #[doc(hidden)]
            #[inline(always)]
            pub const fn __slot(&self) -> &$crate::__private::Slot<D> {
                &self.0
            }
        }

        impl<D: $crate::__private::Definition> ::core::ops::Deref
            for $module::$name<$crate::__private::Slot<D>>
        {
            type Target = $crate::__private::Slot<D>;

            #[inline(always)]
            fn deref(&self) -> &$crate::__private::Slot<D> {
                &self.0
            }
        }

        impl<'g, D: $crate::__private::Definition, K> ::core::ops::Deref
            for $module::$name<$crate::__private::Within<'g, D, K>>
        {
            type Target = <D as $crate::__private::Definition>::Interface;

            #[inline]
            fn deref(&self) -> &Self::Target {
                $crate::__private::Within::object(&self.0)
            }
        }

        impl<'g, D: $crate::__private::Definition> ::core::ops::DerefMut
            for $module::$name<$crate::__private::Within<'g, D, $crate::__private::SoleAccess>>
        {
            #[inline]
            fn deref_mut(&mut self) -> &mut Self::Target {
                $crate::__private::Within::object_mut(&mut self.0)
            }
        }

        impl<V: ::core::fmt::Display> ::core::fmt::Display for $module::$name<V> {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                ::core::fmt::Display::fmt(&self.0, f)
            }
        }

        impl<V: ::core::error::Error> ::core::error::Error for $module::$name<V> {}

        impl<V: ::core::clone::Clone> ::core::clone::Clone for $module::$name<V> {
            fn clone(&self) -> Self {
                Self(::core::clone::Clone::clone(&self.0))
            }
        }

        impl<V: ::core::fmt::Debug> ::core::fmt::Debug for $module::$name<V> {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                ::core::fmt::Debug::fmt(&self.0, f)
            }
        }

        // SAFETY: the core is that of the slot that this is.
        unsafe impl<D: $crate::__private::Open> $crate::__private::Retarget
            for $module::$name<$crate::__private::Slot<D>>
        {
            type Interface = <D as $crate::__private::Definition>::Interface;

            fn __core(&'static self) -> &'static $crate::__private::SlotCore {
                $crate::__private::Slot::__core(&self.0)
            }
        }
    };
}

/// For `foreign!`: what implements the trait by value.
#[doc(hidden)]
#[macro_export]
macro_rules! __handle {
    ($module:ident :: $name:ident) => {
        impl<D: $crate::__private::Definition> $module::$name<$crate::__private::Slot<D>> {
            /// What implements the trait by calling this slot, for where a reference will not do.
            #[allow(dead_code)]
            pub const fn handle(&'static self) -> $module::$name<$crate::__private::Handle<D>> {
                $module::$name($crate::__private::Handle::new(&self.0))
            }
        }
    };
}

/// For `#[slot]`: a slot as the type of its static.
///
/// # Safety
///
/// `S` is `Slot<D>`, or a `repr(transparent)` type of it.
pub const unsafe fn as_static<D: Definition, S>(slot: Slot<D>) -> S {
    const { assert!(size_of::<Slot<D>>() == size_of::<S>() && align_of::<Slot<D>>() == align_of::<S>()) };
    let slot = ManuallyDrop::new(slot);
    // SAFETY: the caller's promise; the slot is not dropped, so that it moves.
    unsafe { ptr::from_ref(&slot).cast::<S>().read() }
}

/// A slot's default, where it may be written to: one with methods that take `&mut self`.
#[repr(transparent)]
#[derive(Debug)]
pub struct DefaultCell<T>(UnsafeCell<T>);

// SAFETY: the slot lends it to any thread, to many at a time or to one exclusively.
unsafe impl<T: Send + Sync> Sync for DefaultCell<T> {}

impl<T> DefaultCell<T> {
    /// For `#[slot]`.
    #[must_use]
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Where it is.
    #[must_use]
    pub const fn get(&self) -> *mut T {
        self.0.get()
    }
}

/// A slot by value: see `__handle`.
pub struct Handle<D: Definition>(&'static Slot<D>);

impl<D: Definition> Handle<D> {
    /// For the slot.
    #[must_use]
    pub const fn new(slot: &'static Slot<D>) -> Self {
        Self(slot)
    }

    /// The slot.
    #[inline(always)]
    #[must_use]
    pub fn slot(self) -> &'static Slot<D> {
        self.0
    }
}

impl<D: Definition> Clone for Handle<D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D: Definition> Copy for Handle<D> {}

impl<D: Definition> fmt::Debug for Handle<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

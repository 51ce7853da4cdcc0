//! A trait object in a static, to be loaded at each call: what a slot is compared with.
#![allow(unsafe_code)]

use core::cell::UnsafeCell;

use hotcall_bench_step::{Stateless, Step};

/// A fat pointer that the compiler believes to change at any time.
///
/// Invariant: it is set by one thread while no other reads it: see [`Pointer::set`].
pub struct Pointer(UnsafeCell<&'static dyn Step>);

// SAFETY: the type's invariant.
unsafe impl Sync for Pointer {}

impl core::fmt::Debug for Pointer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Pointer")
    }
}

impl Pointer {
    /// To an implementor without state.
    pub(crate) const fn empty() -> Self {
        Self(UnsafeCell::new(&Stateless))
    }

    /// What it points to.
    #[inline(always)]
    pub(crate) fn load(&self) -> &'static dyn Step {
        // SAFETY: the type's invariant: nobody writes meanwhile.
        unsafe { self.0.get().read_volatile() }
    }

    /// Lets it point to something else.
    ///
    /// # Safety
    ///
    /// No other thread calls through any pointer of this crate meanwhile.
    pub(crate) unsafe fn set(&self, to: &'static dyn Step) {
        // SAFETY: the caller's promise.
        unsafe { self.0.get().write_volatile(to) };
    }
}

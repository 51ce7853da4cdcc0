//! The types of functions that a site may lead to.
#![allow(unsafe_code)]

/// A function pointer type of the C calling convention: `unsafe extern "C-unwind" fn(A, B) -> R` and its relatives, with
/// up to six arguments.
///
/// # Safety
///
/// A value is the address of a function, and nothing else.
pub unsafe trait Signature: Copy + Send + Sync + 'static {
    /// The arguments, as a tuple.
    type Arguments;
    /// What it returns.
    type Result;

    /// The function's address.
    fn address(self) -> usize;

    /// The function at an address.
    ///
    /// # Safety
    ///
    /// There is a function of this type.
    unsafe fn at(address: usize) -> Self;

    /// Calls it.
    ///
    /// # Safety
    ///
    /// What the function demands.
    unsafe fn call(self, arguments: Self::Arguments) -> Self::Result;
}

macro_rules! signature {
    ([$($modifier:tt)*] $($argument:ident $value:ident),*) => {
        // SAFETY: a function pointer is an address.
        unsafe impl<R: 'static, $($argument: 'static),*> Signature for $($modifier)* fn($($argument),*) -> R {
            type Arguments = ($($argument,)*);
            type Result = R;

            fn address(self) -> usize {
                self as *const () as usize
            }

            unsafe fn at(address: usize) -> Self {
                let code: *const () = core::ptr::with_exposed_provenance(address);
                // SAFETY: the caller's promise; a function pointer and a data pointer are of one size here.
                unsafe { core::mem::transmute::<*const (), Self>(code) }
            }

            #[allow(unused_unsafe, reason = "some of these types are safe to call")]
            unsafe fn call(self, ($($value,)*): Self::Arguments) -> Self::Result {
                // SAFETY: the caller's promise.
                unsafe { self($($value),*) }
            }
        }
    };
}

macro_rules! signatures {
    ($($argument:ident $value:ident),*) => {
        signature!([unsafe extern "C-unwind"] $($argument $value),*);
        signature!([extern "C-unwind"] $($argument $value),*);
        signature!([unsafe extern "C"] $($argument $value),*);
        signature!([extern "C"] $($argument $value),*);
    };
}

signatures!();
signatures!(A a);
signatures!(A a, B b);
signatures!(A a, B b, C c);
signatures!(A a, B b, C c, D d);
signatures!(A a, B b, C c, D d, E e);
signatures!(A a, B b, C c, D d, E e, F f);

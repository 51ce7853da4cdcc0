//! Where no frame can be asked whose an exception is: every panic is caught, and a foreign one aborts.
//!
//! With `panic = "abort"` there is nothing to catch.

use core::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a panic carries.
pub(super) type Payload = Box<dyn Any + Send>;

/// Runs `closure`, and catches a panic.
pub(super) fn attempt<F: FnOnce() -> R, R>(closure: F) -> Result<R, Payload> {
    catch_unwind(AssertUnwindSafe(closure))
}

/// The same.
#[inline]
pub(super) fn attempt_learnt<F: FnOnce() -> R, R>(closure: F) -> Result<R, Payload> {
    catch_unwind(AssertUnwindSafe(closure))
}

/// Nothing is known of exceptions here: no two copies are one.
pub(super) fn learn() -> usize {
    0
}

/// For `#[dispatch]`: no frame catches here.
#[doc(hidden)]
#[macro_export]
macro_rules! __caught {
    (shim = [$($shim:tt)*], $($signature:tt)*) => {
        #[allow(unused_variables)]
        $($signature)* {
            $crate::__private::std::process::abort()
        }
    };
}

/// For `#[dispatch]`: no, so that no such frame is called.
#[doc(hidden)]
pub const BY_FRAME: bool = false;

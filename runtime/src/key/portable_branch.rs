//! A branch in the portable backend: a load. Mirrors `branch.rs`.

use super::KeyDefinition;

/// Whether the key is on, where it hardly ever is.
#[inline(always)]
pub(super) fn unlikely<D: KeyDefinition>() -> bool {
    let on = D::load();
    if on {
        seldom();
    }
    on
}

/// Whether the key is on, where it is more often than not.
#[inline(always)]
pub(super) fn likely<D: KeyDefinition>() -> bool {
    let on = D::load();
    if !on {
        seldom();
    }
    on
}

/// Says to the compiler that what calls it hardly ever does.
#[cold]
#[inline]
fn seldom() {}

/// For `#[key]`: no records in this backend.
#[doc(hidden)]
#[macro_export]
macro_rules! __key_record {
    ($($ignored:tt)*) => {};
}

/// For `#[key]`: whether the static is on.
#[doc(hidden)]
#[macro_export]
macro_rules! __key_load {
    ($key:ident) => {
        $crate::__private::KeyCore::__is_on($crate::__private::Key::__core(&$key))
    };
}

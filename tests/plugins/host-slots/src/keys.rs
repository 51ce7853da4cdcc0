//! Keys that a program and its plugins share.

use hotcall::key;

/// The key.
#[key]
pub static SHARED: bool = false;

/// Asked in functions that are compiled elsewhere, and named by nobody there.
#[key]
static PRIVATE: bool = false;

/// Asked in this crate.
#[inline(never)]
#[must_use]
pub fn asked() -> bool {
    SHARED.is_on()
}

/// Asked where it is compiled.
#[must_use]
pub fn asked_generic<T: Default + PartialEq>() -> bool {
    SHARED.is_on() && T::default() == T::default()
}

/// As above.
#[inline]
#[must_use]
pub fn asked_inline() -> bool {
    SHARED.is_likely_on()
}

/// As above.
#[inline]
#[must_use]
pub fn asked_private() -> bool {
    PRIVATE.is_on()
}

/// Turns the one that is not public.
///
/// # Panics
///
/// Where that is refused.
#[inline]
pub fn set_private(on: bool) {
    PRIVATE.set(on).expect("it can be turned");
}

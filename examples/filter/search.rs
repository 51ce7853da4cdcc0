//! How a text is compared with a needle: what the leaves' code jumps to.
#![allow(unsafe_code)]

/// Whether a field has what is looked for: where the field's text is, the needle's bytes, how many.
///
/// Unsafe to call: the text is valid, the needle is so many bytes of UTF-8. It does not unwind.
pub type Search = unsafe extern "C-unwind" fn(*const &'static str, *const u8, usize) -> bool;

/// The arguments as what they are.
///
/// # Safety
///
/// As [`Search`] says, for as long as `'a`.
unsafe fn both<'a>(text: *const &'static str, needle: *const u8, len: usize) -> (&'a str, &'a str) {
    // SAFETY: the caller's promise.
    let text = unsafe { *text };
    // SAFETY: the caller's promise.
    let needle = unsafe { std::slice::from_raw_parts(needle, len) };
    // SAFETY: the caller's promise.
    (text, unsafe { std::str::from_utf8_unchecked(needle) })
}

/// Whether they are equal.
pub unsafe extern "C-unwind" fn equals(text: *const &'static str, needle: *const u8, len: usize) -> bool {
    // SAFETY: the caller's promise.
    let (text, needle) = unsafe { both(text, needle, len) };
    text == needle
}

/// Whether the needle is in the text: the standard library's search.
pub unsafe extern "C-unwind" fn contains(text: *const &'static str, needle: *const u8, len: usize) -> bool {
    // SAFETY: the caller's promise.
    let (text, needle) = unsafe { both(text, needle, len) };
    text.contains(needle)
}

/// The same, place by place. For short texts and needles it is the faster one.
pub unsafe extern "C-unwind" fn contains_plainly(
    text: *const &'static str,
    needle: *const u8,
    len: usize,
) -> bool {
    // SAFETY: the caller's promise.
    let (text, needle) = unsafe { both(text, needle, len) };
    len == 0 || text.as_bytes().windows(len).any(|place| place == needle.as_bytes())
}

//! The branch, and what it leaves in the image.
//!
//! ```text
//!  caller                              section hotcall_branches     section hotcall_keys, one record a key
//!  ------                              ------------------------     ---------------------------------------
//!       .p2align 3,,4                  .long  to 2                  .quad  fn() -> the key's core
//!  2:   jmp slow      at first         .long  to slow               .quad  this copy of hotcall
//!       nop5          patched, off     .long  to on
//!       jmp on        patched, on      .long  to that fn()          and the note: see `slot::patched::stub`
//!       off: ...                       .long  1: it jumps when on
//!       ...
//!  slow: load the key; branch          A likely branch has `on` and `off` exchanged, and 0 at the end.
//!  on:  ...
//! ```
//!
//! # The branch
//!
//! It is inline assembly that may jump to labels of the compiler's: so the arms are the compiler's own, and lie where it
//! puts what is hardly ever run. `.p2align 3,,4` pads to a multiple of 8 where four bytes or fewer do it. Without it the
//! instruction begins at 0 to 3 mod 8, after it at 0: either way its five bytes lie in one aligned 8 bytes, and are exchanged by one
//! store.
//!
//! # Why it begins with a jump to a load
//!
//! A no-op would be as right as long as the key is what it was declared with, and could never be made right where the page
//! cannot be written to. The load can. It also names the key, in code: so no linker takes two functions for one that
//! differ only in the keys that they ask.
//!
//! # The load
//!
//! It is assembly, too, with the address in it: the compiler would compute that ahead of a loop, and keep it in a register
//! for code that is hardly ever run.

use super::KeyDefinition;

/// Writes the branch. `$jumps` is 1 where it jumps when the key is on, to `$there`; else 0, where it jumps when the key is off.
macro_rules! branch {
    ($definition:ty, $jumps:literal, $there:block) => {
        // SAFETY: five bytes that lead to one of three places: to where both ways part, by a load of the key; or where the
        // key, as the runtime has it, sends every branch of its.
        unsafe {
            core::arch::asm!(
                ".p2align 3,,4",
                "2:",
                ".byte 0xe9",
                ".long {slow} - . - 4",
                ".pushsection hotcall_branches, \"aR\", @progbits",
                ".balign 4",
                ".long 2b - .",
                ".long {slow} - .",
                ".long {there} - .",
                ".long {core}@PLT - .",
                concat!(".long ", $jumps),
                ".popsection",
                $crate::__note!(),
                slow = label { return <$definition as KeyDefinition>::load() },
                there = label $there,
                core = sym <$definition as KeyDefinition>::core,
                options(nomem, nostack, preserves_flags),
            );
        }
    };
}

/// Whether the key is on, where it hardly ever is.
#[inline(always)]
pub(super) fn unlikely<D: KeyDefinition>() -> bool {
    branch!(D, 1, { return true });
    false
}

/// Whether the key is on, where it is more often than not.
#[inline(always)]
pub(super) fn likely<D: KeyDefinition>() -> bool {
    branch!(D, 0, { return false });
    true
}

/// For `#[key]`: writes the key's record. In the body of the function that gives the key's core.
#[doc(hidden)]
#[macro_export]
macro_rules! __key_record {
    ($definition:ty) => {
        // SAFETY: no instruction: a record in a section of its own.
        unsafe {
            ::core::arch::asm!(
                ".pushsection hotcall_keys, \"awR\", @progbits",
                ".balign 8",
                ".quad {core}",
                ".quad {runtime}",
                ".popsection",
                $crate::__note!(),
                core = sym <$definition as $crate::__private::KeyDefinition>::core,
                runtime = sym $crate::__private::runtime_anchor,
                options(nomem, nostack, preserves_flags),
            );
        }
    };
}

/// For `#[key]`: whether the static is on.
#[doc(hidden)]
#[macro_export]
macro_rules! __key_load {
    ($key:ident) => {{
        let on: u32;
        // SAFETY: loads the static's first byte, which is its core's `on`: atomic, as any aligned load is. Through the global
        // offset table, for the static may be another image's; the linker knows where it is not.
        unsafe {
            ::core::arch::asm!(
                "mov {on:r}, qword ptr [rip + {key}@GOTPCREL]",
                "movzx {on:e}, byte ptr [{on:r}]",
                key = sym $key,
                on = out(reg) on,
                options(readonly, nostack, preserves_flags),
            );
        }
        on != 0
    }};
}

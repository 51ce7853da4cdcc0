//! The stub, as the assembler sees it.
//!
//! ```text
//!  section hotcall_stubs                section hotcall_sites (written by the dynamic linker only)
//!  ---------------------                --------------------------------------------------
//!  0:  0f 1f 00      nop                .quad  address of the opcode at 3
//!  3:  e9 dddddddd   jmp default        .quad  fn() -> the slot's core
//!  8:  dddddddd      to the record      .quad  this copy of hotcall
//! 12:  cc ...        up to 16           .quad  the method's index
//!  section .note.hotcall (one an object file)
//!  ---------------------
//!  owner "hotcall", type 1: distances to the start and the end of this image's hotcall_sites
//! ```
//!
//! The opcode is at 3 mod 8, so the displacement is 4-aligned and the instruction lies in one aligned quadword.
//! The distance to its record, which nobody reads, makes each stub different from all others: linkers that fold identical
//! code (`--icf=all`) leave it alone, even where two slots begin with the same code.
//!
//! The stub is a tail jump: it leaves no frame, so arguments on the stack are where the method expects them,
//! and a panic unwinds as if the stub were not there.

/// For `#[dispatch]`: declares the stub of one method, a naked function of the signature given.
#[doc(hidden)]
#[macro_export]
macro_rules! __stub {
    (method = $method:expr, definition = [$($definition:tt)*], default = [$($default:tt)*], $($signature:tt)*) => {
        #[unsafe(naked)]
        #[unsafe(link_section = "hotcall_stubs")]
        $($signature)* {
            ::core::arch::naked_asm!(
                ".balign 16",
                ".byte 0x0f, 0x1f, 0x00",
                "2:",
                "jmp {default}@PLT",
                ".long 4f - .",
                ".balign 16, 0xcc",
                ".pushsection hotcall_sites, \"awR\", @progbits",
                ".balign 8",
                "4:",
                ".quad 2b",
                ".quad {slot}",
                ".quad {runtime}",
                ".quad {method}",
                ".popsection",
                ".ifndef hotcall_note_defined",
                ".set hotcall_note_defined, 1",
                ".pushsection .note.hotcall, \"aGR\", @note, hotcall_note, comdat",
                ".balign 4",
                ".long 8, 16, 1",
                ".asciz \"hotcall\"",
                ".hidden __start_hotcall_sites",
                ".hidden __stop_hotcall_sites",
                "3:",
                ".quad __start_hotcall_sites - 3b",
                ".quad __stop_hotcall_sites - 3b",
                ".popsection",
                ".endif",
                default = sym $($default)*,
                slot = sym <$($definition)* as $crate::__private::Definition>::core,
                runtime = sym $crate::__private::runtime_anchor,
                method = const $method,
            )
        }
    };
}

/// For `#[dispatch]`: the addresses of stubs.
#[doc(hidden)]
#[macro_export]
macro_rules! __stubs {
    ($($(#[$attribute:meta])* [$($stub:tt)*]),* $(,)?) => {
        &[$($(#[$attribute])* $crate::__private::Code::new($($stub)* as *const ())),*]
    };
}

/// For `#[dispatch]`: calls a slot's method on what is bound.
#[doc(hidden)]
#[macro_export]
macro_rules! __call {
    ($bound:expr, method = $method:expr, stub = $stub:expr, table = $table:expr, ($($argument:expr),* $(,)?)) => {
        // SAFETY: `Bound` protects what the slot holds; the stub passes control to the method for which
        // `this` was loaded, or to a thunk that replaces it (invariant 1 of `slot::patched`).
        unsafe { $stub($crate::__private::Bound::__this($bound), $($argument),*) }
    };
    ($bound:expr, method = $method:expr, stub = $stub:expr, table = $table:expr, out, ($($argument:expr),* $(,)?)) => {{
        let mut result = $crate::__private::MaybeUninit::uninit();
        // SAFETY: as above.
        unsafe { $stub($crate::__private::Bound::__this($bound), &raw mut result, $($argument),*) };
        // SAFETY: a method that returns has written its result.
        unsafe { result.assume_init() }
    }};
}

//! The stub, the call, and what they leave in the image.
//!
//! ```text
//!  caller                              section hotcall_calls        section hotcall_slots, one record a slot
//!  ------                              ---------------------        ------------------------------------------
//!       this, arguments: in registers  .long  to 2                  .quad  fn() -> the slot's core
//!       .p2align 3                     .long  to the stub           .quad  this copy of hotcall
//!  2:   call stub                      .long  to that fn()
//!                                      .long  the method's index    section .note.hotcall (one an object file)
//!  stub                                                             ------------------------------------------
//!  ----                                                             owner "hotcall", type 3: distances to the start and
//!       cell null?   the default's method                           the end of hotcall_calls, of hotcall_slots, and of
//!       INSTALLED?   the method of what the slot holds              hotcall_branches and hotcall_keys (see `key::branch`)
//!       else         jmp *cell
//! ```
//!
//! # The call
//!
//! The call is the compiler's own: it unwinds as any call does. All that is added is a piece of inline assembly without an
//! instruction, just before it, that takes each argument and gives it back in the very register in which the call will pass
//! it. So nothing is left to be done between the two, and the call begins at the label, at a multiple of 8. The runtime believes
//! none of this: it looks whether a call to the stub stands there, and whether it lies so that it can be patched.
//! Arguments go as words (`passing.rs`), so that none is on the stack, where the compiler would push it after the assembly.
//!
//! # The stub
//!
//! It must not be inlined, or there is no call to patch; and the compiler must call it directly, which it does only where it
//! knows that no other image can interpose. A function that is `inline(never)` it exports from library crates, and calls
//! through the global offset table. So the stub is `inline`, of which each unit of code has a copy of its own; and it is
//! compiled for a processor that the caller is not compiled for (a feature that no instruction here needs), which LLVM does not
//! inline. Where it does all the same, nothing is wrong: then the stub's load of the cell stands in the caller.
//!
//! Without optimisation the compiler makes one copy of an `inline` function after all, and exports it from library crates. It has
//! a copy for each unit of one that is to be inlined always. So that is what the stub says it is in builds with debug assertions;
//! and LLVM does not inline a function that calls itself, as the stub seems to do: where a cell holds what no cell ever holds.
//!
//! Whatever the default's code is, the other arm calls what nobody knows. So the compiler can conclude nothing from the one
//! for the other: not that it never unwinds, nor that it has no effects.

/// The note by which the tables are found. Once in an object file: the tables hold a record of nothing each, so that all
/// sections are there.
#[doc(hidden)]
#[macro_export]
macro_rules! __note {
    () => {
        ::core::concat!(
            ".ifndef hotcall_note_defined\n",
            ".set hotcall_note_defined, 1\n",
            ".pushsection hotcall_calls, \"aR\", @progbits\n",
            ".balign 4\n",
            ".long 0, 0, 0, 0\n",
            ".popsection\n",
            ".pushsection hotcall_slots, \"awR\", @progbits\n",
            ".balign 8\n",
            ".quad 0, 0\n",
            ".popsection\n",
            ".pushsection hotcall_branches, \"aR\", @progbits\n",
            ".balign 4\n",
            ".long 0, 0, 0, 0, 0\n",
            ".popsection\n",
            ".pushsection hotcall_keys, \"awR\", @progbits\n",
            ".balign 8\n",
            ".quad 0, 0\n",
            ".popsection\n",
            ".pushsection .note.hotcall, \"aGR\", @note, hotcall_note, comdat\n",
            ".balign 4\n",
            ".long 8, 64, 3\n",
            ".asciz \"hotcall\"\n",
            ".hidden __start_hotcall_calls\n",
            ".hidden __stop_hotcall_calls\n",
            ".hidden __start_hotcall_slots\n",
            ".hidden __stop_hotcall_slots\n",
            ".hidden __start_hotcall_branches\n",
            ".hidden __stop_hotcall_branches\n",
            ".hidden __start_hotcall_keys\n",
            ".hidden __stop_hotcall_keys\n",
            "3:\n",
            ".quad __start_hotcall_calls - 3b\n",
            ".quad __stop_hotcall_calls - 3b\n",
            ".quad __start_hotcall_slots - 3b\n",
            ".quad __stop_hotcall_slots - 3b\n",
            ".quad __start_hotcall_branches - 3b\n",
            ".quad __stop_hotcall_branches - 3b\n",
            ".quad __start_hotcall_keys - 3b\n",
            ".quad __stop_hotcall_keys - 3b\n",
            ".popsection\n",
            ".endif\n",
        )
    };
}

/// For `#[slot]`: writes the slot's record. In the body of the function that gives the slot's core.
#[doc(hidden)]
#[macro_export]
macro_rules! __slot_record {
    ($definition:ty) => {
        // SAFETY: no instruction: a record in a section of its own.
        unsafe {
            ::core::arch::asm!(
                ".pushsection hotcall_slots, \"awR\", @progbits",
                ".balign 8",
                ".quad {core}",
                ".quad {runtime}",
                ".popsection",
                $crate::__note!(),
                core = sym <$definition as $crate::__private::Definition>::core,
                runtime = sym $crate::__private::runtime_anchor,
                options(nomem, nostack, preserves_flags),
            );
        }
    };
}

/// For `#[dispatch]`: declares the stub of one method.
#[doc(hidden)]
#[macro_export]
macro_rules! __stub {
    (
        method = $method:expr,
        definition = [$($definition:tt)*],
        itself = [$($itself:tt)*],
        erased = [$($erased:tt)*],
        default = [$($default:tt)*],
        arguments = [$this:ident $(, $argument:ident)*],
        $($signature:tt)*
    ) => {
        #[cfg_attr(not(debug_assertions), inline, target_feature(enable = "widekl"))]
        #[cfg_attr(debug_assertions, inline(always))]
        $($signature)* {
            let code = $crate::__private::cell_of::<$($definition)*>($method).load();
            #[cfg(debug_assertions)]
            if code == $crate::__private::CodeCell::NEVER {
                // SAFETY: the caller's promises, passed on.
                let result = unsafe { $($itself)*($this $(, $argument)*) };
                // Not the last thing that it does, or this is made a loop.
                $crate::__private::core::hint::black_box(());
                return result;
            }
            // One comparison where there is code.
            if code.addr() <= $crate::__private::CodeCell::INSTALLED.addr() {
                if !code.is_null() {
                    if let $crate::__private::Some((installed, code)) =
                        $crate::__private::installed_of::<$($definition)*>($method)
                    {
                        // SAFETY: it is this method's code in the table of what the slot holds.
                        let code = unsafe { ::core::mem::transmute::<*const (), $($erased)*>(code.as_ptr()) };
                        // SAFETY: with the instance that the table is of, which the caller's section keeps; the other
                        // promises are the caller's.
                        return unsafe { code(installed $(, $argument)*) };
                    }
                }
                // SAFETY: the caller's promise is that of the default's shim, which ignores `this`.
                return unsafe { $($default)*($this $(, $argument)*) };
            }
            // SAFETY: what is in the cell is code of this method, for the `this` that was loaded with it, or code that brings
            // its own (invariant 1 of `slot::patched`).
            let code = unsafe { ::core::mem::transmute::<*const (), $($erased)*>(code) };
            // SAFETY: as above; the other promises are the caller's.
            unsafe { code($this $(, $argument)*) }
        }
    };
}

/// For `#[dispatch]`: the cells of a slot with so many methods.
#[doc(hidden)]
#[macro_export]
macro_rules! __cells {
    ($count:expr) => {
        [$crate::__private::CodeCell; $count]
    };
    (empty $count:expr) => {
        [$crate::__private::CodeCell::EMPTY; $count]
    };
}

/// For `#[dispatch]`: calls a slot's method on what is bound. Arguments are variables that are words or floats, each with the
/// register in which it is passed; `$padding` is where the label is to be, mod 8, where nothing is optimised.
#[doc(hidden)]
#[macro_export]
macro_rules! __call {
    (
        $bound:expr,
        method = $method:expr,
        definition = [$($definition:tt)*],
        stub = [$($stub:tt)*],
        table = [$($table:tt)*],
        padding = $padding:literal,
        arguments = [$($register:tt $argument:ident),*]
    ) => {{
        let mut this = $crate::__private::Within::__this($bound);
        // SAFETY: no instruction but padding, and a record in a section of its own.
        unsafe {
            ::core::arch::asm!(
                ".p2align 3",
                ".skip {padding}, 0x90",
                "2:",
                ".pushsection hotcall_calls, \"aR\", @progbits",
                ".balign 4",
                ".long 2b - .",
                ".long {stub}@PLT - .",
                ".long {core}@PLT - .",
                ".long {method}",
                ".popsection",
                $crate::__note!(),
                stub = sym $($stub)*,
                core = sym <$($definition)* as $crate::__private::Definition>::core,
                method = const $method,
                padding = const $crate::__private::call_padding($crate::__private::core::cfg!(debug_assertions), $padding),
                inout("rdi") this,
                $(inout($register) $argument,)*
                options(nostack, preserves_flags),
            );
        }
        // SAFETY: `Bound` protects what the slot holds; the stub, or what the call is patched to, passes control to the
        // method for which `this` was loaded, or to a thunk that replaces it (invariant 1 of `slot::patched`).
        unsafe { $($stub)*(this $(, $argument)*) }
    }};
}

/// How far behind a multiple of 8 the label before a call is. With optimisation the call is the label, or an instruction of three
/// bytes has come between, which the compiler may move there: then it lies right at 0 and at 3. Without optimisation each argument
/// is stored behind the label and loaded again, by instructions whose lengths are known as long as the function's frame is small: so the
/// label is moved, within 0 to 3 mod 8, for the call to come to lie right. It lies right with optimisation, too, where the call is
/// the label.
///
/// `is_debug` is that of the crate that the trait stands in, whatever hotcall itself was built with.
#[must_use]
pub const fn call_padding(is_debug: bool, padding: u32) -> u32 {
    if is_debug { padding } else { 0 }
}

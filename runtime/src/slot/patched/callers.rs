//! Callers: the program's own `call` instructions, patched past the stub.
//!
//! # Problem
//!
//! A stub is a second branch. On processors that follow one taken branch a cycle it costs that cycle, and it
//! takes an entry of the branch-target buffer. The caller's own `call` could go to the method at once; but the compiler and
//! the linker leave no record of where it is.
//!
//! # Idea
//!
//! Look for it. A `call` or `jmp` to a stub is one of two opcodes and a displacement that adds up to the
//! stub's address. Bytes that do so by chance, in the middle of something else, must not be touched; so a
//! candidate counts only if a disassembly of its function, from the function's first instruction, has an
//! instruction beginning there. The exception tables (`.eh_frame_hdr`) know where functions begin, because every
//! function that the compiler emits can be unwound.
//!
//! # Invariants
//!
//! 1. A caller is a whole `call rel32` or `jmp rel32` whose target was a stub of this runtime.
//! 2. Its displacement lies in one naturally aligned 8 bytes: those, and only those, are stored at once. About five
//!    in eight lie so by chance; the others keep going through their stub.
//!
//! From there on a caller is a site like the stub itself, retargeted together with it: the argument of the parent
//! module holds for each site by itself.
//!
//! The price: pages of code with callers on them are mapped from a memfd, where a debugger cannot set software
//! breakpoints and `perf` does not find symbols. So debug builds leave callers alone.

use core::ops::Range;
use core::sync::atomic::{AtomicU8, Ordering};
use std::collections::HashMap;

use crate::arch;
use crate::arena::ExecAddr;
use crate::sys::image::Image;

const BY_BUILD: u8 = 0;
const NEVER: u8 = 1;
const ALWAYS: u8 = 2;

static CHOICE: AtomicU8 = AtomicU8::new(BY_BUILD);

/// Whether the program's own call instructions are patched past the stubs, where they lie so that they can be.
///
/// By default they are in release builds, and are left alone in builds with debug assertions: on pages that hold a
/// patched instruction no software breakpoint can be set. Takes effect for programs and libraries whose slots have not
/// been replaced yet; call it first thing. The portable backend has nothing to patch.
///
/// ```
/// hotcall::patch_callers(false);
/// ```
pub fn patch_callers(patch: bool) {
    CHOICE.store(if patch { ALWAYS } else { NEVER }, Ordering::Relaxed);
}

fn is_wanted() -> bool {
    match CHOICE.load(Ordering::Relaxed) {
        BY_BUILD => !cfg!(debug_assertions),
        choice => choice == ALWAYS,
    }
}

/// Finds the callers of `stubs`, by the address of the stub's first instruction, in an image's code.
pub(super) fn find<T: Copy>(image: &Image, stubs: &HashMap<usize, T>) -> Vec<(ExecAddr, T)> {
    if !is_wanted() {
        return Vec::new();
    }
    let (Some(first), Some(last)) = (stubs.keys().min(), stubs.keys().max()) else { return Vec::new() };
    let among = *first..*last + 1;
    let mut found = Vec::new();
    for code in &image.code {
        for (address, stub) in candidates(code, &among) {
            if let Some(of) = stubs.get(&stub)
                && arch::is_patchable_in_place(address)
                && begins_instruction(image, code, address)
            {
                found.push((ExecAddr::new(address), *of));
            }
        }
    }
    found
}

/// Where the bytes read as a branch into the range of the stubs, and where to.
fn candidates<'a>(code: &'a [u8], among: &'a Range<usize>) -> impl Iterator<Item = (usize, usize)> + 'a {
    let start = code.as_ptr().addr();
    code.windows(arch::BRANCH_LEN).enumerate().filter_map(move |(offset, bytes)| {
        let address = start + offset;
        let target = arch::branch_target(bytes, address)?;
        among.contains(&target).then_some((address, target))
    })
}

/// Whether a disassembly from the function's start comes by the address.
fn begins_instruction(image: &Image, code: &[u8], address: usize) -> bool {
    let start = code.as_ptr().addr();
    let function = image.functions.start_of(address).filter(|function| *function >= start);
    function.is_some_and(|function| arch::instruction_begins_at(&code[function - start..], function, address))
}

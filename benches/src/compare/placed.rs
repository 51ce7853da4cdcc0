//! Implementors in as many copies as there are placements: where a method lies costs up to a cycle a call, and one
//! copy would give that cycle to one row and not to another.
#![allow(unsafe_code)]

use hotcall_bench_step::{KEY, Step, turn};

/// An implementor without bytes; copy `P`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stateless<const P: usize>;

impl<const P: usize> Step for Stateless<P> {
    #[inline]
    fn step(&self, x: u64) -> u64 {
        distinct::<P>();
        turn(x, KEY)
    }
}

/// An implementor that reads its own state; copy `P`.
#[derive(Clone, Copy, Debug)]
pub struct Stateful<const P: usize> {
    key: u64,
}

impl<const P: usize> Stateful<P> {
    /// An implementor that does what [`Stateless`] does.
    #[must_use]
    pub const fn new() -> Self {
        Self { key: KEY }
    }
}

impl<const P: usize> Default for Stateful<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const P: usize> Step for Stateful<P> {
    #[inline]
    fn step(&self, x: u64) -> u64 {
        distinct::<P>();
        turn(x, self.key)
    }
}

/// Keeps the compiler from merging functions that differ in `P` alone.
#[inline(always)]
pub fn distinct<const P: usize>() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a comment.
    unsafe {
        core::arch::asm!("/* {p} */", p = const P, options(nomem, nostack, preserves_flags));
    }
}

/// A reference that the compiler takes to be loaded from memory at each use: what a replaceable
/// `Box<dyn Step>` in a static comes down to for who calls it.
#[inline(always)]
#[must_use]
pub fn reloaded(cell: &&'static (dyn Step + Sync)) -> &'static dyn Step {
    // SAFETY: `cell` is a reference: aligned, live, initialised.
    unsafe { core::ptr::from_ref(cell).read_volatile() }
}

//! The interface that the benchmarks call: one method of about two cycles, whose result the next call takes.
//!
//! A crate of its own, as a plugin's interface is: the program and the shared library both depend on it.
#![forbid(unsafe_code)]

use hotcall::dispatch;

/// What a stateless implementor mixes in, and a stateful one keeps.
///
/// It fits a signed byte, so that either's code fits 16 bytes, which the compiler aligns functions to: code that crosses a
/// line of the cache takes a fifth longer, and which function does so would be up to the linker.
pub const KEY: u64 = 0x6d;

/// The work of one call: short, so that the cost of the call shows, and nothing that a compiler can fold
/// over many calls. Linear in no arithmetic, so that a chain does not come back to where it was.
#[inline(always)]
#[must_use]
pub const fn turn(x: u64, key: u64) -> u64 {
    x.rotate_left(9).wrapping_add(x ^ key)
}

/// One step of a chain.
#[dispatch]
pub trait Step: Send + Sync {
    /// The next value.
    fn step(&self, x: u64) -> u64;
}

/// An implementor without bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stateless;

impl Step for Stateless {
    #[inline]
    fn step(&self, x: u64) -> u64 {
        turn(x, KEY)
    }
}

/// An implementor that reads its own state.
#[derive(Clone, Copy, Debug)]
pub struct Stateful {
    key: u64,
}

impl Stateful {
    /// An implementor with this state; with [`KEY`] it does what [`Stateless`] does.
    #[must_use]
    pub const fn new(key: u64) -> Self {
        Self { key }
    }
}

impl Step for Stateful {
    #[inline]
    fn step(&self, x: u64) -> u64 {
        turn(x, self.key)
    }
}

/// Does what [`Stateful`] does, by code of its own: what a slot that changes its type is given in turn with that.
#[derive(Clone, Copy, Debug)]
pub struct Twin {
    inverted: u64,
}

impl Twin {
    /// An implementor with this state, kept in another form.
    #[must_use]
    pub const fn new(key: u64) -> Self {
        Self { inverted: !key }
    }
}

impl Step for Twin {
    #[inline]
    fn step(&self, x: u64) -> u64 {
        turn(x, !self.inverted)
    }
}

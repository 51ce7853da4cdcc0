//! A library crate, or a dylib, with slots and callers.
#![forbid(unsafe_code)]
#![allow(missing_docs)]

use hotcall::slot;
use sites_shapes::{Nothing, Shapes, callers};

#[slot]
pub static FIRST: dyn Shapes = Nothing;
#[slot]
pub static SECOND: dyn Shapes = Nothing;
#[slot]
pub static SCALE: fn(u64, u64) -> u64 = double;
#[slot]
pub static MAYBE: Option<fn(&str) -> usize> = None;

fn double(x: u64, y: u64) -> u64 {
    x.wrapping_mul(2).wrapping_add(y)
}

callers!(FIRST, SECOND; SCALE, MAYBE);

/// Inlined into other images.
#[inline]
pub fn inlined(x: u64) -> u64 {
    FIRST.one(x).wrapping_add(SECOND.none())
}

//! The default is of the slot's type.
#![allow(dead_code)]
#![forbid(unsafe_code)]
#[allow(unused_imports)]
use hotcall::{dispatch, slot};

fn double(x: u64) -> u64 {
    x * 2
}
#[slot]
static F: fn(u64) -> u64 = double;

fn main() {}

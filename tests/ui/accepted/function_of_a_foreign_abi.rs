//! A function slot has its own calling convention.
#![allow(dead_code)]
#![forbid(unsafe_code)]
#[allow(unused_imports)]
use hotcall::{dispatch, slot};

extern "C" fn double(x: u64) -> u64 {
    x * 2
}
#[slot]
static F: fn(u64) -> u64 = |x| double(x);

fn main() {}

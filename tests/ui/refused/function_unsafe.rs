//! A function slot is safe to call.
#![allow(dead_code)]
#[allow(unused_imports)]
use hotcall::{dispatch, slot};

unsafe fn double(x: u64) -> u64 {
    x * 2
}
#[slot]
static F: unsafe fn(u64) -> u64 = double;

fn main() {}

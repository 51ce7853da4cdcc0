//! Only an `Option` is emptied.
#![allow(dead_code)]
#![forbid(unsafe_code)]
#[allow(unused_imports)]
use hotcall::{dispatch, slot};

fn double(x: u64) -> u64 {
    x * 2
}
#[slot]
static F: Option<fn(u64) -> u64> = Some(double);

fn main() {
    drop(F.clear());
}

//! No `impl Trait` argument.
#![allow(dead_code)]
#![forbid(unsafe_code)]
#[allow(unused_imports)]
use hotcall::{dispatch, slot};

#[dispatch]
pub trait Plugin: Send + Sync {
    fn run(&self, x: impl Fn() -> u32) -> u32;
}

fn main() {}

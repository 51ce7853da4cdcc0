//! No `impl Trait` result.
#![allow(dead_code)]
#![forbid(unsafe_code)]
#[allow(unused_imports)]
use hotcall::{dispatch, slot};

#[dispatch]
pub trait Plugin: Send + Sync {
    fn run(&self) -> Box<dyn Iterator<Item = u32>>;
}

fn main() {}

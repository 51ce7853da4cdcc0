//! No generic method.
#![allow(dead_code)]
#![forbid(unsafe_code)]
#[allow(unused_imports)]
use hotcall::{dispatch, slot};

#[dispatch]
pub trait Plugin: Send + Sync {
    fn run<T: Into<u32>>(&self, x: T) -> u32
    where
        Self: Sized;
}

fn main() {}

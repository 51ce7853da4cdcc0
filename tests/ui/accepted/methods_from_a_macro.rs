//! Methods are written out.
#![allow(dead_code)]
#![forbid(unsafe_code)]
#[allow(unused_imports)]
use hotcall::{dispatch, slot};

#[dispatch]
pub trait Plugin: Send + Sync {
    fn run(&self);
}
#[allow(unused_macros)]
macro_rules! methods {
    () => { fn run(&self); };
}

fn main() {}

//! No associated constant.
#![allow(dead_code)]
#![forbid(unsafe_code)]
#[allow(unused_imports)]
use hotcall::{dispatch, slot};

#[dispatch]
pub trait Plugin: Send + Sync {
    fn id(&self) -> u32;
    fn run(&self);
}

fn main() {}

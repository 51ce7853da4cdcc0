//! No associated constant.
#![allow(dead_code)]
#![forbid(unsafe_code)]
#[allow(unused_imports)]
use hotcall::{dispatch, slot};

#[dispatch]
pub trait Plugin: Send + Sync {
    const ID: u32;
    fn run(&self);
}

fn main() {}

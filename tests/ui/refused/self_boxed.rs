//! A slot lends.
#![allow(dead_code)]
#![forbid(unsafe_code)]
#[allow(unused_imports)]
use hotcall::{dispatch, slot};

#[dispatch]
pub trait Plugin: Send + Sync {
    fn finish(self: Box<Self>) -> u32;
}

fn main() {}

//! A slot lives for ever.
#![allow(dead_code)]
#![forbid(unsafe_code)]
#[allow(unused_imports)]
use hotcall::{dispatch, slot};

#[dispatch]
pub trait Plugin<'a>: Send + Sync {
    fn run(&self, text: &'a str);
}

fn main() {}

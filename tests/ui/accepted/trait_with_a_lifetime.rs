//! A slot lives for ever.
#![allow(dead_code)]
#![forbid(unsafe_code)]
#[allow(unused_imports)]
use hotcall::{dispatch, slot};

#[dispatch]
pub trait Plugin: Send + Sync {
    fn run<'a>(&self, text: &'a str);
}

fn main() {}

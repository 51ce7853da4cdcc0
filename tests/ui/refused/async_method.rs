//! No async method.
#![allow(dead_code)]
#![forbid(unsafe_code)]
#[allow(unused_imports)]
use hotcall::{dispatch, slot};

#[dispatch]
pub trait Plugin: Send + Sync {
    async fn run(&self) -> u32;
}

fn main() {}

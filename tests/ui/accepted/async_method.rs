//! No async method.
#![allow(dead_code)]
#![forbid(unsafe_code)]
#[allow(unused_imports)]
use hotcall::{dispatch, slot};

#[dispatch]
pub trait Plugin: Send + Sync {
    fn run(&self) -> std::pin::Pin<Box<dyn Future<Output = u32> + Send>>;
}

fn main() {}

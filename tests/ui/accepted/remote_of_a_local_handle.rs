//! A remote moves instances between threads.
#![allow(dead_code)]
#![forbid(unsafe_code)]
#[allow(unused_imports)]
use hotcall::{dispatch, slot};

#[dispatch]
pub trait Local: Send {
    fn run(&self);
}
pub struct Zero;
impl Local for Zero {
    fn run(&self) {}
}

fn main() {
    let handle: hotcall::Patched<dyn Local> = hotcall::Patched::new(Zero);
    let _ = handle.remote();
}

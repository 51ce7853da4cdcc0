//! A key is not assigned to.
#![allow(dead_code)]
#![forbid(unsafe_code)]

#[hotcall::key]
static mut TRACING: bool = false;

fn main() {}

//! A key is not assigned to.
#![allow(dead_code)]
#![forbid(unsafe_code)]

#[hotcall::key]
static TRACING: bool = false;

fn main() {}

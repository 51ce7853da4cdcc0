//! The default is a constant of the right type.
#![allow(dead_code)]
#![forbid(unsafe_code)]

#[hotcall::key]
static TRACING: bool = 1 > 0;

fn main() {}

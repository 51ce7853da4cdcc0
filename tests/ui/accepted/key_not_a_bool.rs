//! A key is on or off.
#![allow(dead_code)]
#![forbid(unsafe_code)]

#[hotcall::key]
static LEVEL: bool = false;

fn main() {}

//! A slot holds a trait or a function.
#![allow(dead_code)]
#![forbid(unsafe_code)]
#[allow(unused_imports)]
use hotcall::{dispatch, slot};

#[slot]
static LEVEL: u32 = 1;

fn main() {}

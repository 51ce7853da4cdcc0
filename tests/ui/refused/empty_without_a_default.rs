//! An empty slot returns the default.
#![allow(dead_code)]
#![forbid(unsafe_code)]
#[allow(unused_imports)]
use hotcall::{dispatch, slot};

pub struct Reply;
#[slot]
static F: Option<fn() -> Reply> = None;

fn main() {}

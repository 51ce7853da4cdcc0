//! An empty slot begins with `None` or `Some`.
#![allow(dead_code)]
#![forbid(unsafe_code)]
#[allow(unused_imports)]
use hotcall::{dispatch, slot};

fn run() {}
#[slot]
static F: Option<fn()> = run;

fn main() {}

//! The result's lifetime is clear.
#![allow(dead_code)]
#![forbid(unsafe_code)]
#[allow(unused_imports)]
use hotcall::{dispatch, slot};

fn first<'a>(a: &'a str, _: &str) -> &'a str {
    a
}
#[slot]
static F: for<'a> fn(&'a str, &str) -> &'a str = first;

fn main() {}

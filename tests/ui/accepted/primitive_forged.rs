//! A type that has the name of a primitive is none.
#![allow(dead_code)]
#![forbid(unsafe_code)]
#[allow(unused_imports)]
use hotcall::{dispatch, slot};

#[allow(non_camel_case_types)]
#[derive(Clone, Copy)]
pub struct f32(pub [u64; 8]);
fn main() {
    println!("{}", f32([0; 8]).0.len());
}

//! A foreign slot does not lend.
#![allow(dead_code)]
#![forbid(unsafe_code)]
#[allow(unused_imports)]
use hotcall::{dispatch, slot};

hotcall::foreign! {
    trait std::fmt::Display as Displayed {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result;
    }
}

fn main() {}

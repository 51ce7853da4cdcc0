//! A foreign slot does not lend.
#![allow(dead_code)]
#![forbid(unsafe_code)]
#[allow(unused_imports)]
use hotcall::{dispatch, slot};

hotcall::foreign! {
    trait std::ops::Deref as Pointing {
        fn deref(&self) -> &str;
    }
}

fn main() {}

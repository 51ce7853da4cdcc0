//! A foreign method has no body here.
#![allow(dead_code)]
#![forbid(unsafe_code)]
#[allow(unused_imports)]
use hotcall::{dispatch, slot};

hotcall::foreign! {
    trait log::Log {
        fn flush(&self) {}
    }
}

fn main() {}

//! The local name is another.
#![allow(dead_code)]
#![forbid(unsafe_code)]
#[allow(unused_imports)]
use hotcall::{dispatch, slot};

use log::Log;
hotcall::foreign! {
    trait Log {
        fn flush(&self);
    }
}

fn main() {}

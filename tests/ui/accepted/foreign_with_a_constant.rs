//! A foreign trait has methods and associated types.
#![allow(dead_code)]
#![forbid(unsafe_code)]
#[allow(unused_imports)]
use hotcall::{dispatch, slot};

hotcall::foreign! {
    trait log::Log {
        fn enabled(&self, metadata: &log::Metadata<'_>) -> bool;
        fn log(&self, record: &log::Record<'_>);
        fn flush(&self);
    }
}

fn main() {}

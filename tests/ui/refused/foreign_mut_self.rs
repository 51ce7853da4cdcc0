//! A foreign slot is shared, too.
#![allow(dead_code)]
#![forbid(unsafe_code)]
#[allow(unused_imports)]
use hotcall::{dispatch, slot};

hotcall::foreign! {
    trait std::io::Write as Writing {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize>;
        fn flush(&mut self) -> std::io::Result<()>;
    }
}

fn main() {}

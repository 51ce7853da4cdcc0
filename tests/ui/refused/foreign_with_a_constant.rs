//! A foreign trait has methods and associated types.
#![allow(dead_code)]
#![forbid(unsafe_code)]
#[allow(unused_imports)]
use hotcall::{dispatch, slot};

hotcall::foreign! {
    trait std::iter::IntoIterator as Iterable {
        const SIZE: usize;
    }
}

fn main() {}

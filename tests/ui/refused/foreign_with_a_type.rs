//! A foreign trait has methods only.
#![allow(dead_code)]
#![forbid(unsafe_code)]
#[allow(unused_imports)]
use hotcall::{dispatch, slot};

hotcall::foreign! {
    trait std::iter::IntoIterator as Iterable {
        type Item;
    }
}

fn main() {}

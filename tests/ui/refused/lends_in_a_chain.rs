//! A chain lends no more than a slot: an element may be gone when the call returns.
#![allow(dead_code)]
#![forbid(unsafe_code)]
#[allow(unused_imports)]
use hotcall::{dispatch, slot};


#[dispatch]
pub trait Named: Send + Sync {
    #[chain(all)]
    fn names<'a>(&'a self, to: &mut Vec<&'a str>);
}

fn main() {}

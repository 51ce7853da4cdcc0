//! What the tokens do not show, the types do: an argument whose type a macro writes.
#![allow(dead_code)]
#![forbid(unsafe_code)]
#[allow(unused_imports)]
use hotcall::{dispatch, slot};

macro_rules! list {
    ($lifetime:lifetime) => {
        Vec<&$lifetime str>
    };
}
#[dispatch]
pub trait Named: Send + Sync {
    fn name<'a>(&'a self, to: &mut Vec<&'a str>);
}

fn main() {
    let _: list!('static) = Vec::new();
}

//! A method that asks for `self` for ever cannot be called plainly.
#![allow(dead_code)]
#![forbid(unsafe_code)]
#[allow(unused_imports)]
use hotcall::{dispatch, slot};

#[dispatch]
pub trait Named: Send + Sync {
    fn name(&'static self) -> &'static str;
    fn length(&self) -> usize;
}
struct Owner(String);
impl Named for Owner {
    fn name(&'static self) -> &'static str {
        &self.0
    }
    fn length(&self) -> usize {
        self.0.len()
    }
}
#[slot]
static NAMED: dyn Named = Owner(String::new());
fn main() {
    println!("{}", NAMED.name());
}

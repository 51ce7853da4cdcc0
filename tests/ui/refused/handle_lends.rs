//! A handle lends under a guard only.
#![allow(dead_code)]
#![forbid(unsafe_code)]
#[allow(unused_imports)]
use hotcall::{dispatch, slot};

#[dispatch]
pub trait Lender: Send + Sync {
    fn text(&self) -> &str;
}
pub struct Owner;
impl Lender for Owner {
    fn text(&self) -> &str {
        "text"
    }
}
#[slot]
static LENDER: dyn Lender = Owner;

fn main() {
    let handle: hotcall::Patched<dyn Lender> = hotcall::Patched::new(Owner);
    println!("{}", handle.text());
}

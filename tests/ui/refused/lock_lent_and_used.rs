//! What is lent by `&self` keeps `&mut self` away.
#![allow(dead_code)]
#![forbid(unsafe_code)]
#[allow(unused_imports)]
use hotcall::{dispatch, slot};

#[dispatch]
pub trait Lender: Send {
    fn touch(&mut self);
    fn name(&self) -> &str;
}
pub struct Owner(String);
impl Lender for Owner {
    fn touch(&mut self) {}
    fn name(&self) -> &str {
        &self.0
    }
}
#[slot]
static LENDER: dyn Lender = Owner(String::new());

fn main() {
    let mut lender = LENDER.lock();
    let name = lender.name();
    lender.touch();
    println!("{name}");
}

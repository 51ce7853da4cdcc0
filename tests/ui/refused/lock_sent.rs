//! A lock stays in its thread.
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
    std::thread::spawn(move || lender.touch());
}

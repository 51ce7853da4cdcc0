//! What is put into an argument is lent, too: where `self` must be `'static`, and on a handle.
#![allow(dead_code)]
#![forbid(unsafe_code)]
#[allow(unused_imports)]
use hotcall::{dispatch, slot};

#[dispatch]
pub trait Named: Send + 'static {
    fn name<'a>(&'a self, to: &mut Vec<&'a str>);
    fn touch(&mut self);
}
struct Owner(String);
impl Named for Owner {
    fn name<'a>(&'a self, to: &mut Vec<&'a str>) {
        to.push(&self.0);
    }
    fn touch(&mut self) {}
}
fn main() {
    let owned: hotcall::Instance<dyn Named> = hotcall::Instance::new(Owner(String::new()));
    let mut names = Vec::new();
    owned.name(&mut names);
    println!("{names:?}");
}

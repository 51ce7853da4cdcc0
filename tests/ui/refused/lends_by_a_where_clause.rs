//! What a `where` clause lets a result borrow needs a guard, too.
#![allow(dead_code)]
#![forbid(unsafe_code)]
#[allow(unused_imports)]
use hotcall::{dispatch, slot};

#[dispatch]
pub trait Named: Send + Sync {
    fn name<'a, 'b>(&'a self, or: &'b str) -> &'b str
    where
        'a: 'b;
}
struct Owner(String);
impl Named for Owner {
    fn name<'a, 'b>(&'a self, _: &'b str) -> &'b str
    where
        'a: 'b,
    {
        &self.0
    }
}
#[slot]
static NAMED: dyn Named = Owner(String::new());
fn main() {
    let name: &'static str = NAMED.name("");
    println!("{name}");
}

//! What is lent goes back before the guard does.
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
    let guard = hotcall::pin();
    let held = LENDER.get(&guard);
    let text = held.text();
    drop(guard);
    println!("{text}");
}

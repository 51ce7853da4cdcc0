//! A slot of a trait with `&mut self` is used through its lock.
#![allow(dead_code)]
#![forbid(unsafe_code)]
#[allow(unused_imports)]
use hotcall::{dispatch, slot};

#[dispatch]
pub trait Filter: Send + Sync {
    fn run(&mut self);
    fn order(&self) -> usize;
}
pub struct Gain(pub f32);
impl Filter for Gain {
    fn run(&mut self) {}
    fn order(&self) -> usize {
        1
    }
}
#[slot]
static FILTER: dyn Filter = Gain(1.0);

fn main() {
    let mut filter = FILTER.lock();
    filter.run();
    println!("{}", filter.order());
    drop(filter);
    println!("{}", FILTER.read().order());
}

//! The trait is marked.
#![allow(dead_code)]
#![forbid(unsafe_code)]
#[allow(unused_imports)]
use hotcall::{dispatch, slot};

#[dispatch]
pub trait Effect: Send + Sync {
    fn process(&self, sample: f32) -> f32;
}
pub struct Gain(pub f32);
impl Effect for Gain {
    fn process(&self, sample: f32) -> f32 {
        sample * self.0
    }
}
pub trait Plain: Send + Sync {
    fn run(&self);
}
impl Plain for Gain {
    fn run(&self) {}
}
#[slot]
static PLAIN: dyn Plain = Gain(1.0);

fn main() {}

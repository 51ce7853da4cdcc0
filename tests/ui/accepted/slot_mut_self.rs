//! A slot is shared.
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
#[dispatch]
pub trait Filter: Send + Sync {
    fn run(&mut self);
}
impl Filter for Gain {
    fn run(&mut self) {}
}

fn main() {
    let mut filter: hotcall::Patched<dyn Filter> = hotcall::Patched::new(Gain(1.0));
    filter.run();
}

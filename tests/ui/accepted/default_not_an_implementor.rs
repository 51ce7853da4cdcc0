//! The default implements the trait.
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
#[slot]
static EFFECT: dyn Effect = Gain(1.0);

fn main() {}

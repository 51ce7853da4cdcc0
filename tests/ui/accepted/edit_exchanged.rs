//! The edits of two chains change places, and elements leave one list by the other's door.
#![allow(dead_code)]
#![forbid(unsafe_code)]
use hotcall::{Chain, dispatch};

#[dispatch]
pub trait Effect: Send + Sync {
    #[chain(through)]
    fn process(&self, sample: f32) -> f32;
}
pub struct Gain(pub f32);
impl Effect for Gain {
    fn process(&self, sample: f32) -> f32 {
        sample * self.0
    }
}

fn main() {
    let (left, right): (Chain<dyn Effect>, Chain<dyn Effect>) = (Chain::EMPTY, Chain::EMPTY);
    let edited = left.edit(|of_left| {
        let edited = right.edit(|of_right| {
            of_left.clear();
            of_right.clear();
        });
        drop(edited);
    });
    drop(edited);
}

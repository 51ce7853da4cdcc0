//! An edit is put in the place of another, whose list is then that of whoever has it.
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

fn take(list: &mut hotcall::Edit<dyn Effect>, other: &mut hotcall::Edit<dyn Effect>) {
    list.clear();
    other.push(Gain(1.0));
}

fn main() {
    let _chain: Chain<dyn Effect> = Chain::EMPTY;
}

//! An edit is kept for later, where its chain is no longer being edited.
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
    let chain: Chain<dyn Effect> = Chain::EMPTY;
    let mut kept = None;
    let edited = chain.edit(|list| kept = Some(list.len()));
    drop(edited);
    if let Some(len) = kept {
        assert_eq!(len, 0);
    }
}

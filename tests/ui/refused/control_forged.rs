//! Nobody else makes a control.
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
mod library {
    use super::{Effect, Gain};
    #[hotcall::slot(control = EFFECT_CONTROL)]
    pub static EFFECT: dyn Effect = Gain(1.0);
    pub fn set(gain: f32) {
        drop(EFFECT_CONTROL.replace(Gain(gain)));
    }
}

fn main() {
    type Definition<D> = hotcall::Slot<D>;
    let _ = hotcall::__private::Control::__new(library::EFFECT.__slot(), &library::__hotcall_EFFECT::EFFECT(()));
}

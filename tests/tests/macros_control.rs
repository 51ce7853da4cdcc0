//! Calling and retargeting apart: a slot that only its control retargets. And what is installed.
#![forbid(unsafe_code)]
#![allow(missing_docs)]

use hotcall::dispatch;

#[dispatch]
pub trait Effect: Send + Sync {
    fn process(&self, sample: f32) -> f32;
}
pub struct Gain(f32);
impl Effect for Gain {
    fn process(&self, sample: f32) -> f32 {
        sample * self.0
    }
}

mod owner {
    use super::{Effect, Gain};
    use hotcall::{Retarget, slot};

    #[slot(control = EFFECT_CONTROL)]
    pub static EFFECT: dyn Effect = Gain(1.0);
    #[slot(control = pub(crate) LENT_CONTROL)]
    pub static LENT: dyn Effect = Gain(1.0);
    #[slot]
    pub static OPEN: dyn Effect = Gain(1.0);
    /// Another test than that of the rest retargets it.
    #[slot]
    pub static ASKED: dyn Effect = Gain(1.0);

    pub fn set(gain: f32) {
        drop(EFFECT_CONTROL.replace(Gain(gain)).unwrap());
    }
    pub fn double() {
        let make = |old: &hotcall::Held<'_, dyn Effect>| Gain(old.downcast_ref::<Gain>().unwrap().0 * 2.0);
        drop(EFFECT_CONTROL.replace_with(make).unwrap());
    }
    pub fn reset() {
        drop(EFFECT_CONTROL.restore().unwrap());
    }
    pub fn control() -> &'static impl Retarget<Interface = dyn Effect> {
        &EFFECT_CONTROL
    }
}

#[test]
fn only_the_control_retargets() {
    assert_eq!(owner::EFFECT.process(2.0), 2.0);
    owner::set(3.0);
    assert_eq!(owner::EFFECT.process(2.0), 6.0);
    owner::double();
    assert_eq!(owner::EFFECT.process(2.0), 12.0);
    owner::reset();
    assert_eq!(owner::EFFECT.process(2.0), 2.0);

    let lent = owner::LENT_CONTROL;
    std::thread::spawn(move || drop(lent.replace(Gain(7.0)).unwrap())).join().unwrap();
    assert_eq!(owner::LENT.process(1.0), 7.0);
    assert_eq!(lent.slot().process(1.0), 7.0);

    let retired = hotcall::batch(|b| {
        b.replace(owner::control(), Gain(4.0));
        b.replace(&owner::LENT_CONTROL, Gain(5.0));
        b.replace(&owner::OPEN, Gain(6.0));
    });
    assert_eq!(retired.unwrap().len(), 3);
    let all = [owner::EFFECT.process(1.0), owner::LENT.process(1.0), owner::OPEN.process(1.0)];
    assert_eq!(all, [4.0, 5.0, 6.0]);
    assert!(format!("{lent:?}").contains("LENT"));
}

#[test]
fn what_is_installed_can_be_asked() {
    let target = owner::ASKED.target();
    assert!(target.type_name().ends_with("Gain"));
    assert_eq!(target.library(), None);
    assert!(target.to_string().ends_with("Gain"));
    drop(owner::ASKED.replace(Unity).unwrap());
    assert!(owner::ASKED.target().type_name().ends_with("Unity"));
}
struct Unity;
impl Effect for Unity {
    fn process(&self, sample: f32) -> f32 {
        sample
    }
}

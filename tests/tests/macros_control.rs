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

mod backups {
    use hotcall::{dispatch, slot};

    #[derive(Debug)]
    pub struct Lost;
    /// Whose methods are called as a slot's own are.
    #[dispatch]
    pub trait Backup: Send + Sync {
        fn restore(&self) -> Result<u64, Lost>;
        fn target(&self) -> u64;
        fn replace(&self, by: u64) -> u64;
        fn replace_with(&self) -> u64 {
            1
        }
        fn bind(&self) -> u64 {
            2
        }
        fn get(&self) -> u64 {
            3
        }
        fn lock(&self) -> u64 {
            4
        }
        fn clone(&self) -> u64 {
            5
        }
        fn is_empty(&self) -> bool {
            true
        }
    }
    pub struct NoBackup;
    impl Backup for NoBackup {
        fn restore(&self) -> Result<u64, Lost> {
            Err(Lost)
        }
        fn target(&self) -> u64 {
            0
        }
        fn replace(&self, by: u64) -> u64 {
            by
        }
    }
    pub struct Disk;
    impl Backup for Disk {
        fn restore(&self) -> Result<u64, Lost> {
            Ok(42)
        }
        fn target(&self) -> u64 {
            7
        }
        fn replace(&self, by: u64) -> u64 {
            by + 1
        }
    }
    #[slot]
    pub static BACKUP: dyn Backup = NoBackup;
}

#[test]
fn a_method_named_as_a_slots_own_is_the_traits() {
    // `Backup` is not in scope: what is called is the trait's all the same.
    use backups::{BACKUP, Disk};
    assert!(BACKUP.restore().is_err());
    drop(hotcall::Slot::replace(&BACKUP, Disk).unwrap());
    assert_eq!((BACKUP.restore().unwrap(), BACKUP.target(), BACKUP.replace(2)), (42, 7, 3));
    assert_eq!(
        [BACKUP.replace_with(), BACKUP.bind(), BACKUP.get(), BACKUP.lock(), BACKUP.clone()],
        [1, 2, 3, 4, 5]
    );
    assert!(BACKUP.is_empty());
    assert!(hotcall::Slot::target(&BACKUP).type_name().ends_with("Disk"));
    drop(hotcall::Slot::restore(&BACKUP).unwrap());
    assert!(BACKUP.restore().is_err());
}

//! A plugin that has a slot of its own, calls it and retargets it.
#![forbid(unsafe_code)]

use hotcall::slot;
use hotcall_probe::Probe;

fn one() -> u32 {
    1
}

#[slot]
static STEP: fn() -> u32 = one;

struct Slotted;

impl Slotted {
    fn from_config(_: &str) -> Self {
        Self
    }
}

impl Probe for Slotted {
    /// What the slot gives; and it gives ten more from then on.
    fn count(&self) -> u32 {
        let now = STEP();
        match STEP.replace(move || now + 10) {
            Ok(_) => now,
            Err(_) => 0,
        }
    }
}

hotcall::export!(dyn Probe, Slotted::from_config);

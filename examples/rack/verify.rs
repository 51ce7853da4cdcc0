//! Says of every sample which effect made it, by comparing it with the offline renderings, bit by bit.

use std::ops::Range;

use crate::rotation::{Rotation, same_bits};
use crate::timeline::EffectSet;

/// What was found wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Samples that no effect makes.
    pub torn: u64,
    /// Blocks with a sample of an effect that was no longer, or not yet, in force.
    pub stale: u64,
}

/// Checks the blocks of one thread.
pub struct Checker<'a> {
    rotation: &'a Rotation,
    /// The effect that made the last sample: where several could have, it is most likely still this one.
    last: usize,
    faults: Faults,
}

impl<'a> Checker<'a> {
    pub fn new(rotation: &'a Rotation) -> Self {
        Self { rotation, last: 0, faults: Faults::default() }
    }

    /// What was found wrong so far.
    pub fn faults(&self) -> Faults {
        self.faults
    }

    /// Checks `output`, what the slot made of the sound's samples in `range` while `allowed` could be in force.
    ///
    /// Notes in `trace`, which is empty or as long, which effect made each sample.
    pub fn check(&mut self, range: Range<usize>, output: &[f32], allowed: EffectSet, trace: &mut [u8]) {
        let made_all = |effect: usize| {
            allowed.has(effect) && same_bits(&self.rotation.entries[effect].rendering[range.clone()], output)
        };
        let effects = self.rotation.entries.len();
        if let Some(effect) = [self.last].into_iter().chain(0..effects).find(|&effect| made_all(effect)) {
            self.last = effect;
            trace.fill(effect as u8);
            return;
        }
        // A swap came between, or something is wrong: sample by sample.
        let mut stale = false;
        for (offset, (position, sample)) in range.zip(output).enumerate() {
            let made = self.who_made(position, *sample);
            let made_in_force = made.and(allowed);
            if made == EffectSet::NONE {
                self.faults.torn += 1;
            } else if made_in_force == EffectSet::NONE {
                stale = true;
            } else if !made_in_force.has(self.last) {
                self.last = made_in_force.first().unwrap_or(self.last);
            }
            if let Some(noted) = trace.get_mut(offset) {
                *noted = self.last as u8;
            }
        }
        self.faults.stale += u64::from(stale);
    }

    /// The effects that make `sample` of the sound at `position`.
    fn who_made(&self, position: usize, sample: f32) -> EffectSet {
        let entries = self.rotation.entries.iter().enumerate();
        entries
            .filter(|(_, entry)| entry.rendering[position].to_bits() == sample.to_bits())
            .fold(EffectSet::NONE, |set, (effect, _)| set.with(effect))
    }
}

#[cfg(test)]
mod tests {
    use super::{Checker, EffectSet, Faults};
    use crate::rotation::tests::without_plugins;

    /// Bypass and the first gain.
    fn first_two() -> EffectSet {
        EffectSet::NONE.with(0).with(1)
    }

    #[test]
    fn a_block_of_two_effects_is_fine_while_both_can_be_in_force() {
        let rotation = without_plugins();
        let mut checker = Checker::new(&rotation);
        let mut output = rotation.entries[0].rendering[1000..1100].to_vec();
        output[40..].copy_from_slice(&rotation.entries[1].rendering[1040..1100]);
        let mut trace = [9; 100];
        checker.check(1000..1100, &output, first_two(), &mut trace);
        assert_eq!(checker.faults(), Faults::default());
        assert_eq!(trace[..40], [0; 40]);
        assert_eq!(trace[40..], [1; 60]);
    }

    #[test]
    fn a_sample_that_no_effect_makes_is_torn() {
        let rotation = without_plugins();
        let mut checker = Checker::new(&rotation);
        let mut output = rotation.entries[0].rendering[1000..1100].to_vec();
        output[7] = f32::from_bits(output[7].to_bits() + 1);
        output[8] *= 0.6 * -0.5;
        checker.check(1000..1100, &output, first_two(), &mut []);
        assert_eq!(checker.faults(), Faults { torn: 2, stale: 0 });
    }

    #[test]
    fn a_sample_of_an_effect_that_is_not_in_force_is_stale() {
        let rotation = without_plugins();
        let mut checker = Checker::new(&rotation);
        let output = rotation.entries[2].rendering[1000..1100].to_vec();
        checker.check(1000..1100, &output, first_two(), &mut []);
        checker.check(1000..1100, &output, EffectSet::NONE.with(2), &mut []);
        assert_eq!(checker.faults(), Faults { torn: 0, stale: 1 });
    }
}

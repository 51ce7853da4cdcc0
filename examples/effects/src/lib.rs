//! The interface between the effects rack and its plugins, and the effects that need no plugin.
#![forbid(unsafe_code)]

use hotcall::dispatch;

/// An audio effect without memory.
///
/// All threads of the rack share one instance, and each has a sound of its own. So an effect's output is a
/// function of the sample alone: the rack can then say of every sample which effect made it.
#[dispatch]
pub trait Effect: Send + Sync {
    /// One sample in, one sample out. Full scale is -1 to 1.
    fn process(&self, sample: f32) -> f32;

    /// The effect and its setting, for a person to read.
    fn name(&self) -> String {
        "unnamed".into()
    }
}

/// Lets every sample through as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bypass;

impl Effect for Bypass {
    fn process(&self, sample: f32) -> f32 {
        sample
    }

    fn name(&self) -> String {
        "bypass".into()
    }
}

/// Makes every sample louder or softer.
#[derive(Clone, Copy, Debug)]
pub struct Gain {
    factor: f32,
}

impl Gain {
    /// An effect that multiplies by `factor`.
    #[must_use]
    pub const fn new(factor: f32) -> Self {
        Self { factor }
    }
}

impl Effect for Gain {
    fn process(&self, sample: f32) -> f32 {
        sample * self.factor
    }

    fn name(&self) -> String {
        format!("gain {}", self.factor)
    }
}

#[cfg(test)]
mod tests {
    use super::{Bypass, Effect, Gain};

    #[test]
    fn bypass_changes_nothing_and_gain_multiplies() {
        assert_eq!(Bypass.process(0.3), 0.3);
        assert_eq!(Gain::new(0.5).process(0.3), 0.15);
        assert_eq!(Gain::new(0.5).name(), "gain 0.5");
    }

    #[test]
    fn an_effect_without_a_name_has_one() {
        struct Nameless;
        impl Effect for Nameless {
            fn process(&self, sample: f32) -> f32 {
                sample
            }
        }
        assert_eq!(Nameless.name(), "unnamed");
    }
}

//! A bit crusher: rounds every sample to one of a few levels, as old samplers did.
#![forbid(unsafe_code)]

use hotcall_effects::Effect;

/// Rounds to `2^bits` levels, which lie on both sides of silence and not on it: what was silent becomes audible.
///
/// So no output of one number of bits is an output of another.
struct Crusher {
    bits: u8,
    /// Levels on each side of silence.
    levels: f32,
}

impl Crusher {
    /// Reads the number of bits, 2 to 12. Nothing stands for 5.
    fn from_config(config: &str) -> Result<Self, String> {
        let config = config.trim();
        let bits = if config.is_empty() { Ok(5) } else { config.parse::<u8>() };
        match bits {
            Ok(bits @ 2..=12) => Ok(Self { bits, levels: f32::from(1_u16 << (bits - 1)) }),
            _ => Err(format!("a bit crusher has 2 to 12 bits, not `{config}`")),
        }
    }
}

impl Effect for Crusher {
    fn process(&self, sample: f32) -> f32 {
        let level = (sample * self.levels).floor().clamp(-self.levels, self.levels - 1.0);
        (level + 0.5) / self.levels
    }

    fn name(&self) -> String {
        format!("crusher {}", self.bits)
    }
}

hotcall::export!(dyn Effect, Crusher::from_config);

#[cfg(test)]
mod tests {
    use super::{Crusher, Effect};

    #[test]
    fn rounds_to_the_nearest_level() {
        let crusher = Crusher::from_config("2").unwrap();
        for (sample, rounded) in
            [(-2.0, -0.75), (-0.6, -0.75), (-0.1, -0.25), (0.0, 0.25), (0.4, 0.25), (1.0, 0.75)]
        {
            assert_eq!(crusher.process(sample), rounded, "{sample}");
        }
    }

    #[test]
    fn different_numbers_of_bits_never_agree() {
        let (fine, coarse) = (Crusher::from_config("5").unwrap(), Crusher::from_config("3").unwrap());
        for step in -1000..=1000 {
            let sample = step as f32 / 1000.0;
            assert_ne!(fine.process(sample), coarse.process(sample), "{sample}");
        }
    }

    #[test]
    fn refuses_a_number_of_bits_out_of_range() {
        assert!(Crusher::from_config("").is_ok());
        for config in ["1", "13", "-3", "few"] {
            assert!(Crusher::from_config(config).is_err(), "{config}");
        }
    }
}

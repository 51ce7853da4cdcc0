//! A bit crusher: rounds every sample to one of a few levels, as old samplers did.
#![forbid(unsafe_code)]

use hotcall_effects::Effect;

/// Rounds to one of `levels` steps from silence to full scale, on each side of it.
struct Crusher {
    bits: u8,
    levels: f32,
}

impl Crusher {
    /// Reads the number of bits, 2 to 12. Nothing stands for 5.
    fn from_config(config: &str) -> Result<Self, String> {
        let config = config.trim();
        let bits = if config.is_empty() { Ok(5) } else { config.parse::<u8>() };
        match bits {
            Ok(bits @ 2..=12) => Ok(Self { bits, levels: f32::from((1_u16 << (bits - 1)) - 1) }),
            _ => Err(format!("a bit crusher has 2 to 12 bits, not `{config}`")),
        }
    }
}

impl Effect for Crusher {
    fn process(&self, sample: f32) -> f32 {
        (sample * self.levels + 0.5).floor() / self.levels
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
        let crusher = Crusher::from_config("3").unwrap();
        // Three bits: silence, and three levels on each side of it.
        for (sample, rounded) in [(0.0, 0.0), (0.1, 0.0), (0.3, 1.0 / 3.0), (-0.6, -2.0 / 3.0), (1.0, 1.0)] {
            assert_eq!(crusher.process(sample), rounded, "{sample}");
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

//! A wave folder: the sound is overdriven, and what exceeds full scale folds back instead of clipping.
#![forbid(unsafe_code)]

use hotcall_effects::Effect;

/// Folds at full scale after multiplying by `drive`, then rounds the corners.
struct Folder {
    drive: f32,
}

impl Folder {
    /// Reads the drive, 1 to 20. Nothing stands for 2.5.
    fn from_config(config: &str) -> Result<Self, String> {
        let config = config.trim();
        let drive = if config.is_empty() { Ok(2.5) } else { config.parse::<f32>() };
        match drive {
            Ok(drive) if (1.0..=20.0).contains(&drive) => Ok(Self { drive }),
            _ => Err(format!("the drive of a wave folder is a number from 1 to 20, not `{config}`")),
        }
    }
}

impl Effect for Folder {
    fn process(&self, sample: f32) -> f32 {
        // A triangle wave of period 4 that is the identity from -1 to 1.
        let phase = (sample * self.drive + 1.0) * 0.25;
        let folded = 1.0 - 4.0 * (phase - phase.floor() - 0.5).abs();
        folded * (1.5 - 0.5 * folded * folded)
    }

    fn name(&self) -> String {
        format!("folder {}", self.drive)
    }
}

hotcall::export!(dyn Effect, Folder::from_config);

#[cfg(test)]
mod tests {
    use super::{Effect, Folder};

    #[test]
    fn stays_within_full_scale_and_keeps_silence() {
        let folder = Folder::from_config("6").unwrap();
        assert_eq!(folder.process(0.0), 0.0);
        for step in -1000..=1000 {
            assert!(folder.process(step as f32 / 1000.0).abs() <= 1.0 + 1e-6);
        }
    }

    #[test]
    fn folds_back_what_exceeds_full_scale() {
        let folder = Folder::from_config("2").unwrap();
        assert!((folder.process(0.5) - 1.0).abs() < 1e-6, "full scale is the turning point");
        assert!((folder.process(0.6) - folder.process(0.4)).abs() < 1e-6, "both sides of it are alike");
    }

    #[test]
    fn refuses_a_drive_out_of_range() {
        assert!(Folder::from_config("").is_ok());
        for config in ["0", "21", "NaN", "loud"] {
            assert!(Folder::from_config(config).is_err(), "{config}");
        }
    }
}

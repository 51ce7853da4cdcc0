//! Draws what was heard: the whole sound coloured by effect, how densely it was swapped, and a few milliseconds
//! of it close up.
//!
//! The size of the picture does not depend on the length of the sound or the number of swaps: the whole sound
//! is drawn a column a pixel, the swaps are counted in a few hundred parts of the run, and the close-up is at most
//! 60 ms long.

mod closeup;
mod overview;
mod svg;

use std::io;

use crate::recorder::Recording;
use crate::report::grouped;
use crate::rotation::Rotation;
use crate::swap::Marks;
use svg::{Anchor, Area, Svg};

const WIDTH: f64 = 1200.0;
const HEIGHT: f64 = 720.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 1180.0;

/// Everything that the picture shows.
pub struct Picture<'a> {
    pub rotation: &'a Rotation,
    pub recording: &'a Recording,
    pub marks: Option<&'a Marks>,
    pub swaps: u64,
    /// How long the run took. The sound was spread over it.
    pub run_seconds: f64,
}

impl Picture<'_> {
    /// Writes the picture as SVG.
    pub fn write(&self, file: impl io::Write) -> io::Result<()> {
        self.draw().write(file)
    }

    fn draw(&self) -> Svg {
        let mut svg = Svg::new(WIDTH, HEIGHT);
        let sound = &self.rotation.sound;
        svg.title(
            LEFT,
            34.0,
            &format!(
                "{}, {:.1} s, through one slot: {} swaps in {:.1} s",
                sound.title,
                sound.seconds(),
                grouped(self.swaps),
                self.run_seconds
            ),
        );
        self.legend(&mut svg);
        let area = |top, bottom| Area { left: LEFT, right: RIGHT, top, bottom };
        overview::draw(self, &mut svg, area(112.0, 322.0));
        overview::draw_density(self, &mut svg, area(360.0, 410.0));
        closeup::draw(self, &mut svg, area(478.0, 670.0));
        svg
    }

    fn legend(&self, svg: &mut Svg) {
        let step = ((RIGHT - LEFT) / self.rotation.entries.len() as f64).min(170.0);
        for (effect, entry) in self.rotation.entries.iter().enumerate() {
            let x = LEFT + step * effect as f64;
            svg.rectangle(x, 52.0, 12.0, 12.0, &self.colour(effect));
            let from = if entry.is_plugin() { "plugin" } else { "built in" };
            // About 7 px a letter: what does not fit would cover its neighbour.
            let room = ((step - 24.0) / 7.0).max(1.0) as usize;
            let name: String = entry.name.chars().take(room).collect();
            svg.text(x + 18.0, 63.0, Anchor::Start, &name);
            svg.faint_text(x + 18.0, 79.0, Anchor::Start, from);
        }
    }

    /// The colour of an effect.
    fn colour(&self, effect: usize) -> String {
        // Told apart by people who see colours differently too.
        const COLOURS: [&str; 8] =
            ["#7a7a7a", "#e69f00", "#56b4e9", "#0072b2", "#009e73", "#d55e00", "#cc79a7", "#b8a500"];
        COLOURS
            .get(effect)
            .map_or_else(|| format!("hsl({},60%,40%)", effect * 137 % 360), |colour| (*colour).to_owned())
    }

    fn channels(&self) -> usize {
        usize::from(self.rotation.sound.channels)
    }

    fn frames(&self) -> usize {
        self.recording.samples.len() / self.channels()
    }

    /// What was heard at `frame` on the first channel.
    fn heard(&self, frame: usize) -> f32 {
        self.recording.samples[frame * self.channels()]
    }

    /// The effect that made it.
    fn effect(&self, frame: usize) -> usize {
        usize::from(self.recording.effects[frame * self.channels()])
    }

    /// The loudest that the picture has room for: full scale, or more where a sample exceeds it.
    fn full_scale(&self) -> f64 {
        let loudest =
            |samples: &[f32]| samples.iter().fold(1.0_f32, |loudest, sample| loudest.max(sample.abs()));
        f64::from(loudest(&self.recording.samples).max(loudest(&self.rotation.sound.samples)))
    }

    /// Ticks and a caption for amplitudes.
    fn amplitude_axis(&self, svg: &mut Svg, area: Area) {
        let full_scale = self.full_scale();
        for part in [-1.0, -0.5, 0.0, 0.5, 1.0] {
            svg.tick_left(area, area.y(part), &format!("{:.1}", part * full_scale));
        }
        let channel = if self.channels() == 1 { "" } else { ", left channel" };
        svg.caption_left(area, &format!("amplitude{channel}"));
    }
}

#[cfg(test)]
mod tests {
    use super::{Marks, Picture};
    use crate::recorder::Recording;
    use crate::rotation::tests::without_plugins;

    fn drawn(effects: impl Fn(usize) -> u8) -> String {
        let rotation = without_plugins();
        let effects: Vec<u8> = (0..rotation.sound.samples.len()).map(effects).collect();
        let heard = effects.iter().enumerate();
        let samples =
            heard.map(|(at, effect)| rotation.entries[usize::from(*effect)].rendering[at]).collect();
        let marks = Marks { counts: vec![150; 1000] };
        let picture = Picture {
            rotation: &rotation,
            recording: &Recording { samples, effects },
            marks: Some(&marks),
            swaps: 150_000,
            run_seconds: 30.0,
        };
        let mut bytes = Vec::new();
        picture.write(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn stays_small_when_every_block_has_another_effect() {
        let svg = drawn(|sample| (sample / 128 % 3) as u8);
        assert!(svg.len() < 500_000, "{} bytes", svg.len());
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        for word in ["150,000 swaps", "gain 0.6", "time (s)", "time (ms)", "amplitude", "swaps per"] {
            assert!(svg.contains(word), "{word}");
        }
        assert!(!svg.contains("NaN"));
    }

    #[test]
    fn a_sound_without_a_swap_can_be_drawn() {
        assert!(!drawn(|_| 0).contains("NaN"));
    }
}

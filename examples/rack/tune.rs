//! The tune that is played where no file is given.

use std::f32::consts::TAU;

use crate::wav::Sound;

const RATE: u32 = 44_100;
/// Seconds a beat.
const BEAT: f32 = 0.5;
const BEATS: usize = 16;

/// Four bars, a chord each: A, F sharp minor, D, E. Numbers are half-tones from the A of 220 Hz.
const CHORDS: [[i32; 4]; 4] = [[-12, 0, 4, 7], [-15, -3, 0, 4], [-19, -7, -3, 0], [-17, -5, -1, 2]];

/// The melody: a note's beat, its length in beats, its pitch.
const MELODY: [(f32, f32, i32); 20] = [
    (0.0, 1.0, 16),
    (1.0, 0.5, 19),
    (1.5, 0.5, 16),
    (2.0, 1.5, 12),
    (3.5, 0.5, 14),
    (4.0, 1.0, 16),
    (5.0, 0.5, 12),
    (5.5, 0.5, 9),
    (6.0, 1.5, 7),
    (7.5, 0.5, 9),
    (8.0, 1.0, 14),
    (9.0, 0.5, 17),
    (9.5, 0.5, 14),
    (10.0, 1.0, 12),
    (11.0, 1.0, 9),
    (12.0, 0.5, 11),
    (12.5, 0.5, 14),
    (13.0, 1.0, 16),
    (14.0, 1.0, 14),
    (15.0, 1.0, 11),
];

/// A plucked string, roughly: a few partials, the higher the sooner gone.
struct Note {
    start: f32,
    length: f32,
    half_tones: i32,
    loudness: f32,
}

impl Note {
    /// Adds the note to `samples`. What rings past the end goes on at the beginning, so that the tune can loop.
    fn add_to(&self, samples: &mut [f32]) {
        const PARTIALS: [f32; 5] = [1.0, 0.45, 0.28, 0.12, 0.06];
        const RELEASE: f32 = 0.12;
        let rate = RATE as f32;
        let frequency = 220.0 * (self.half_tones as f32 / 12.0).exp2();
        let start = (self.start * rate) as usize;
        let end = self.length + RELEASE;
        for frame in 0..(end * rate) as usize {
            let time = frame as f32 / rate;
            let attack = (time / 0.006).min(1.0);
            let release = ((end - time) / RELEASE).clamp(0.0, 1.0);
            let tone: f32 = (1_u8..)
                .map(f32::from)
                .zip(PARTIALS)
                .map(|(number, strength)| {
                    let fading = (-time * (1.2 + 1.1 * number)).exp();
                    strength * fading * (TAU * frequency * number * time).sin()
                })
                .sum();
            samples[(start + frame) % samples.len()] += self.loudness * attack * release * tone;
        }
    }
}

/// Makes the tune: eight seconds, mono, seamless when it is played again and again.
pub fn synthesise() -> Sound {
    let mut samples = vec![0.0; (BEATS as f32 * BEAT * RATE as f32) as usize];
    for (bar, chord) in (0_u8..).zip(CHORDS) {
        for (string, half_tones) in (0_u8..).zip(chord) {
            // Strummed: each string a little later than the last; twice a bar.
            for half in [0.0, 2.0] {
                let start = (f32::from(bar) * 4.0 + half) * BEAT + f32::from(string) * 0.018;
                Note { start, length: 2.0 * BEAT, half_tones, loudness: 0.5 }.add_to(&mut samples);
            }
        }
    }
    for (beat, beats, half_tones) in MELODY {
        Note { start: beat * BEAT, length: beats * BEAT, half_tones, loudness: 0.9 }.add_to(&mut samples);
    }
    let peak = samples.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
    samples.iter_mut().for_each(|sample| *sample *= 0.8 / peak);
    Sound { title: "a tune".into(), samples, channels: 1, rate: RATE }
}

#[cfg(test)]
mod tests {
    use super::synthesise;

    #[test]
    fn the_tune_is_loud_enough_and_loops_without_a_click() {
        let sound = synthesise();
        assert_eq!(sound.seconds(), 8.0);
        let peak = sound.samples.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
        assert!((peak - 0.8).abs() < 1e-3);
        let widest = sound.samples.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
        let seam = (sound.samples[0] - sound.samples[sound.samples.len() - 1]).abs();
        assert!(seam <= widest, "{seam} at the seam, {widest} elsewhere");
    }
}

//! Records what the first thread hears: the whole sound once, spread evenly over the run.

use std::ops::Range;
use std::time::{Duration, Instant};

/// The next block of a sound that is played over and over.
pub struct Loop {
    position: usize,
    length: usize,
    block: usize,
}

impl Loop {
    /// Starts at `position` of a sound of `length` samples, in blocks of `block` samples.
    pub fn starting_at(position: usize, length: usize, block: usize) -> Self {
        Self { position, length, block }
    }

    /// The samples of the next block. The last block before the end is shorter, where it must be.
    pub fn next(&mut self) -> Range<usize> {
        let start = if self.position >= self.length { 0 } else { self.position };
        self.position = (start + self.block).min(self.length);
        start..self.position
    }
}

/// What was heard. Its memory is taken up front, so that the run itself takes none.
pub struct Recording {
    pub samples: Vec<f32>,
    /// The effect that made each sample, by its place in the rotation.
    pub effects: Vec<u8>,
}

/// Says when a block is due, and keeps what became of it.
pub struct Recorder {
    recording: Recording,
    blocks: Loop,
    recorded: usize,
    started: Instant,
    duration: Duration,
}

impl Recorder {
    /// Records a sound of `length` samples within `duration` from now on.
    pub fn start(length: usize, block: usize, duration: Duration) -> Self {
        // Not zero: pages of zeros would be taken only when they are first written.
        let recording =
            Recording { samples: vec![f32::MIN_POSITIVE; length], effects: vec![u8::MAX; length] };
        let blocks = Loop::starting_at(0, length, block);
        Self { recording, blocks, recorded: 0, started: Instant::now(), duration }
    }

    /// The block to record now, if one is due at `now`.
    pub fn due(&mut self, now: Instant) -> Option<Range<usize>> {
        let passed = now.duration_since(self.started).as_secs_f64() / self.duration.as_secs_f64();
        let due = self.recorded as f64 <= passed * self.recording.samples.len() as f64;
        if due { self.rest() } else { None }
    }

    /// The block to record next, due or not; none once the whole sound is recorded.
    pub fn rest(&mut self) -> Option<Range<usize>> {
        (self.recorded < self.recording.samples.len()).then(|| self.blocks.next())
    }

    /// Where to note the effects of the block at `range`.
    pub fn trace(&mut self, range: Range<usize>) -> &mut [u8] {
        &mut self.recording.effects[range]
    }

    /// Keeps the block at `range`.
    pub fn keep(&mut self, range: Range<usize>, output: &[f32]) {
        self.recorded = range.end;
        self.recording.samples[range].copy_from_slice(output);
    }

    /// What was heard.
    pub fn finish(self) -> Recording {
        self.recording
    }
}

#[cfg(test)]
mod tests {
    use super::{Loop, Recorder};
    use std::time::{Duration, Instant};

    #[test]
    fn a_loop_covers_the_sound_again_and_again() {
        let mut blocks = Loop::starting_at(6, 10, 4);
        let ranges: Vec<_> = (0..5).map(|_| blocks.next()).collect();
        assert_eq!(ranges, [6..10, 0..4, 4..8, 8..10, 0..4]);
    }

    #[test]
    fn blocks_are_due_evenly_and_once() {
        let second = Duration::from_secs(1);
        let mut recorder = Recorder::start(10, 4, second);
        let start = Instant::now();
        assert_eq!(recorder.due(start), Some(0..4));
        recorder.keep(0..4, &[0.5; 4]);
        assert_eq!(recorder.due(start + second / 10), None);
        assert_eq!(recorder.due(start + second / 2), Some(4..8));
        recorder.keep(4..8, &[0.25; 4]);
        assert_eq!(recorder.rest(), Some(8..10));
        recorder.keep(8..10, &[0.125; 2]);
        assert_eq!(recorder.due(start + second * 2), None);
        assert_eq!(recorder.finish().samples, [0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.125, 0.125]);
    }
}

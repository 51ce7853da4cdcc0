//! One thread of the rack: takes block after block through the slot, times it, and checks every sample.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use hotcall_effects::Effect;

use crate::EFFECT;
use crate::histogram::Histogram;
use crate::recorder::{Loop, Recorder};
use crate::rotation::Rotation;
use crate::timeline::{EffectSet, Timeline};
use crate::verify::{Checker, Faults};

/// Takes every sample of `input` through `effect`: one call a sample.
pub fn pass<E: Effect + ?Sized>(effect: &E, input: &[f32], output: &mut [f32]) {
    for (output, input) in output.iter_mut().zip(input) {
        *output = effect.process(*input);
    }
}

/// Takes a block through the slot: each call finds its effect by itself.
pub fn pass_calls(input: &[f32], output: &mut [f32]) {
    pass(&EFFECT, input, output);
}

/// Takes a block through the slot: the protection is hoisted out of the loop.
pub fn pass_bound(input: &[f32], output: &mut [f32]) {
    let guard = hotcall::pin();
    pass(&EFFECT.bind(&guard), input, output);
}

/// What the threads of a run share.
pub struct Run<'a> {
    pub rotation: &'a Rotation,
    pub timeline: Timeline,
    pub stop: AtomicBool,
    /// Samples in a block, of all channels.
    pub block: usize,
}

/// What a thread has done so far, for the progress line. On a cache line of its own.
#[derive(Default)]
#[repr(align(128))]
pub struct Meter {
    pub calls: AtomicU64,
    pub torn: AtomicU64,
    pub stale: AtomicU64,
}

/// How long the blocks of a thread took, and what was wrong with them.
#[derive(Clone, Default)]
pub struct Heard {
    /// Blocks taken through the slot with plain calls.
    pub calls: Histogram,
    /// Blocks taken through a binding of the slot.
    pub bound: Histogram,
    /// Samples processed, each by one call.
    pub samples: u64,
    pub faults: Faults,
}

impl Heard {
    /// Adds what another thread, or an earlier run, heard.
    pub fn add(&mut self, other: &Self) {
        self.calls.add(&other.calls);
        self.bound.add(&other.bound);
        self.samples += other.samples;
        self.faults.torn += other.faults.torn;
        self.faults.stale += other.faults.stale;
    }
}

/// Works until the run stops. The thread's voice is the sound, from `offset` on, over and over.
pub fn work(run: &Run<'_>, meter: &Meter, offset: usize, recorder: Option<&mut Recorder>) -> Heard {
    let mut voice = Loop::starting_at(offset, run.rotation.sound.samples.len(), run.block);
    let mut worker = Worker {
        run,
        meter,
        heard: Heard::default(),
        checker: Checker::new(run.rotation),
        output: vec![0.0; run.block],
    };
    let Some(recorder) = recorder else {
        while !run.stop.load(Ordering::Relaxed) {
            worker.block(voice.next(), None);
        }
        return worker.heard;
    };
    while !run.stop.load(Ordering::Relaxed) {
        match recorder.due(Instant::now()) {
            Some(range) => worker.block(range, Some(recorder)),
            None => worker.block(voice.next(), None),
        }
    }
    while let Some(range) = recorder.rest() {
        worker.block(range, Some(recorder));
    }
    worker.heard
}

struct Worker<'a> {
    run: &'a Run<'a>,
    meter: &'a Meter,
    heard: Heard,
    checker: Checker<'a>,
    output: Vec<f32>,
}

impl Worker<'_> {
    /// Takes one block through the slot: half of them with plain calls, half with a binding.
    fn block(&mut self, range: Range<usize>, recorder: Option<&mut Recorder>) {
        let rotation = self.run.rotation;
        let input = &rotation.sound.samples[range.clone()];
        let output = &mut self.output[..range.len()];
        let bound = range.start / self.run.block % 2 == 1;

        let from = self.run.timeline.from();
        let started = Instant::now();
        if bound {
            pass_bound(input, output);
        } else {
            pass_calls(input, output);
        }
        let took = started.elapsed();
        let allowed = EffectSet::of_turns(from, self.run.timeline.upto(), rotation.entries.len());

        // A short block, at the end of the sound, would only blur the figures.
        if output.len() == self.run.block {
            let latency = if bound { &mut self.heard.bound } else { &mut self.heard.calls };
            latency.record(took);
        }
        match recorder {
            None => self.checker.check(range, output, allowed, &mut []),
            Some(recorder) => {
                self.checker.check(range.clone(), output, allowed, recorder.trace(range.clone()));
                recorder.keep(range, output);
            }
        }
        self.heard.samples += output.len() as u64;
        self.heard.faults = self.checker.faults();
        self.meter.calls.store(self.heard.samples, Ordering::Relaxed);
        self.meter.torn.store(self.heard.faults.torn, Ordering::Relaxed);
        self.meter.stale.store(self.heard.faults.stale, Ordering::Relaxed);
    }
}

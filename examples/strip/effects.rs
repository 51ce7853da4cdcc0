//! The effects: each remembers what it has heard, so each takes `&mut self`.

use std::f32::consts::TAU;

use hotcall::{Instance, dispatch};

/// Samples a second.
const RATE: f32 = 48_000.0;

/// An effect of an audio host. The host calls it with one block after another.
#[dispatch]
pub trait Effect: Send + Sync {
    /// Works on a block, in place.
    #[chain(all)]
    fn process(&mut self, block: &mut [f32]);

    /// How many blocks it has worked on.
    #[chain(own)]
    fn blocks(&self) -> u64 {
        0
    }

    /// The effect, for a person to read. It lends what the effect holds: on a lock and on an instance.
    #[chain(own)]
    fn name(&self) -> &str {
        "rack"
    }
}

/// Lets every sample through as it is.
#[derive(Debug)]
pub struct Bypass {
    blocks: u64,
}

impl Bypass {
    pub const NEW: Self = Self { blocks: 0 };
}

impl Effect for Bypass {
    fn process(&mut self, _: &mut [f32]) {
        self.blocks += 1;
    }
    fn blocks(&self) -> u64 {
        self.blocks
    }
    fn name(&self) -> &str {
        "bypass"
    }
}

/// A filter of second order.
#[derive(Debug)]
pub struct LowPass {
    name: String,
    /// Of the input, of the output.
    factors: ([f32; 3], [f32; 2]),
    heard: [f32; 2],
    blocks: u64,
}

impl LowPass {
    pub fn new(hertz: f32) -> Self {
        let (sine, cosine) = (TAU * hertz / RATE).sin_cos();
        let alpha = sine / 2.0_f32.sqrt();
        let whole = 1.0 + alpha;
        let outer = (1.0 - cosine) / 2.0 / whole;
        Self {
            name: format!("low pass {hertz} Hz"),
            factors: ([outer, 2.0 * outer, outer], [-2.0 * cosine / whole, (1.0 - alpha) / whole]),
            heard: [0.0; 2],
            blocks: 0,
        }
    }
}

impl Effect for LowPass {
    fn process(&mut self, block: &mut [f32]) {
        let ([b0, b1, b2], [a1, a2]) = self.factors;
        for sample in block {
            let (input, output) = (*sample, b0 * *sample + self.heard[0]);
            self.heard = [b1 * input - a1 * output + self.heard[1], b2 * input - a2 * output];
            *sample = output;
        }
        self.blocks += 1;
    }
    fn blocks(&self) -> u64 {
        self.blocks
    }
    fn name(&self) -> &str {
        &self.name
    }
}

/// Repeats what it has heard, softer and softer.
#[derive(Debug)]
pub struct Echo {
    name: String,
    line: Vec<f32>,
    at: usize,
    feedback: f32,
    blocks: u64,
}

impl Echo {
    pub fn new(samples: usize, feedback: f32) -> Self {
        let name = format!("echo after {samples} samples");
        Self { name, line: vec![0.0; samples], at: 0, feedback, blocks: 0 }
    }
}

impl Effect for Echo {
    fn process(&mut self, block: &mut [f32]) {
        for sample in block {
            *sample += self.line[self.at] * self.feedback;
            self.line[self.at] = *sample;
            self.at = (self.at + 1) % self.line.len();
        }
        self.blocks += 1;
    }
    fn blocks(&self) -> u64 {
        self.blocks
    }
    fn name(&self) -> &str {
        &self.name
    }
}

/// Makes softer what is loud for longer.
#[derive(Debug)]
pub struct Compressor {
    threshold: f32,
    level: f32,
    blocks: u64,
}

impl Compressor {
    pub fn new(threshold: f32) -> Self {
        Self { threshold, level: 0.0, blocks: 0 }
    }
}

impl Effect for Compressor {
    fn process(&mut self, block: &mut [f32]) {
        for sample in block {
            let loud = sample.abs();
            self.level += (loud - self.level) * if loud > self.level { 0.01 } else { 0.000_1 };
            if self.level > self.threshold {
                *sample *= self.threshold / self.level;
            }
        }
        self.blocks += 1;
    }
    fn blocks(&self) -> u64 {
        self.blocks
    }
    fn name(&self) -> &str {
        "compressor"
    }
}

/// How many kinds there are.
pub const KINDS: usize = 4;

/// The effect of a kind, as whatever `make` makes of it.
macro_rules! of_kind {
    ($kind:expr, $make:expr) => {
        match $kind % KINDS {
            0 => $make(LowPass::new(2_000.0)),
            1 => $make(Echo::new(1_201, 0.4)),
            2 => $make(Compressor::new(0.2)),
            _ => $make(LowPass::new(700.0)),
        }
    };
}

/// What goes into slots and chains.
pub fn instance(kind: usize) -> Instance<dyn Effect> {
    of_kind!(kind, Instance::new)
}

/// What most programs have.
pub fn boxed(kind: usize) -> Box<dyn Effect> {
    fn boxed(effect: impl Effect + 'static) -> Box<dyn Effect> {
        Box::new(effect)
    }
    of_kind!(kind, boxed)
}

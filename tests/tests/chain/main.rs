//! Chains from the outside.
//!
//! | file | concept |
//! |---|---|
//! | `rules` | how the results of the elements combine, against a loop over a `Vec` |
//! | `edits` | one edit after another, and who owns what they take out |
//! | `threads` | edits while others call and edit |
//! | `loops` | methods that are loops, while the list grows and shrinks |
//! | `panics` | panics and backtraces through emitted code |
//! | `reentry` | edits from inside an element, and from inside an edit |
//! | `unwinding` | edits that panic half-way, and destructors that panic |
//! | `turns` | edits inside edits, of one thread and of several |
//! | `kinds` | long chains, static ones, chains in chains and in slots |
#![forbid(unsafe_code)]
#![allow(missing_docs)]

mod edits;
mod kinds;
mod loops;
mod panics;
mod reentry;
mod rules;
mod threads;
mod turns;
mod unwinding;

use hotcall::dispatch;

#[dispatch]
pub trait Effect: Send + Sync {
    #[chain(through)]
    fn process(&self, sample: f32) -> f32;
    fn note(&self, log: &mut Vec<u32>);
    fn name(&self) -> String {
        "a chain".into()
    }
}

struct Gain(f32);
impl Effect for Gain {
    fn process(&self, sample: f32) -> f32 {
        sample * self.0
    }
    fn note(&self, log: &mut Vec<u32>) {
        log.push(self.0 as u32);
    }
}
struct Add(f32);
impl Effect for Add {
    fn process(&self, sample: f32) -> f32 {
        sample + self.0
    }
    fn note(&self, log: &mut Vec<u32>) {
        log.push(100 + self.0 as u32);
    }
    fn name(&self) -> String {
        "never asked".into()
    }
}
struct Nothing;
impl Effect for Nothing {
    fn process(&self, sample: f32) -> f32 {
        sample
    }
    fn note(&self, _: &mut Vec<u32>) {}
}

fn notes(of: &dyn Effect) -> Vec<u32> {
    let mut log = Vec::new();
    of.note(&mut log);
    log
}

/// A generator whose seed is all there is to know.
struct Random(u64);
impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % n.max(1)
    }
}

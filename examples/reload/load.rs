//! Threads that call the plugin all the time, and look at every answer.

use std::panic::catch_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hotcall_tally::{Tally, seal};

use crate::TALLY;

/// What the threads have seen together.
#[derive(Debug, Default)]
pub struct Load {
    stop: AtomicBool,
    calls: AtomicU64,
    sent: AtomicU64,
    torn: AtomicU64,
    panics: AtomicU64,
}

impl Load {
    /// Calls until it is told to stop. A call that panics is made again, as a program would that has another to fall back to.
    pub fn run(&self, seed: u64) {
        let mut x = seed;
        while !self.stop.load(Ordering::Relaxed) {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let add = x >> 44;
            let answer = loop {
                match catch_unwind(|| TALLY.add(add)) {
                    Ok(answer) => break answer,
                    Err(_) => self.panics.fetch_add(1, Ordering::Relaxed),
                };
            };
            if answer.seal != seal(answer.version, add) {
                self.torn.fetch_add(1, Ordering::Relaxed);
            }
            self.sent.fetch_add(add, Ordering::Relaxed);
            self.calls.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Has the threads end.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Calls that were answered.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// The sum of all that was added by calls that were answered.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Answers that no version gives.
    pub fn torn(&self) -> u64 {
        self.torn.load(Ordering::Relaxed)
    }

    /// Calls that panicked, and were made again.
    pub fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }
}

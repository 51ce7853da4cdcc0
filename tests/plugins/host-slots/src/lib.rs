//! A slot that a program and its plugins share, and the interface of those plugins.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

use hotcall::{dispatch, slot};

/// What stands behind the slot.
#[dispatch]
pub trait Tally: Send + Sync {
    /// What the implementor makes of `x`, after looking at its memory `rounds` times.
    fn tally(&self, x: u64, rounds: u32) -> u64;
    /// How often it was called.
    fn calls(&self) -> u64;
}

/// Counts its calls. Each image that contains this crate has one of its own.
pub struct Counts(AtomicU64);

impl Tally for Counts {
    fn tally(&self, x: u64, _: u32) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed);
        x
    }
    fn calls(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The slot.
#[slot]
pub static TALLY: dyn Tally = Counts(AtomicU64::new(0));

/// A plugin that calls [`TALLY`].
#[dispatch]
pub trait Caller: Send + Sync {
    /// A plain call.
    fn call(&self, x: u64, rounds: u32) -> u64;
    /// Many calls under one guard, and as many on one instance.
    fn call_guarded(&self, x: u64, times: u32) -> bool;
    /// What is installed, as the plugin sees it.
    fn target(&self) -> String;
    /// What the plugin is told when it replaces.
    fn replace(&self) -> String;
}

//! Slots that a program and its plugins share, and the interface of those plugins.
#![forbid(unsafe_code)]

#[cfg(unix)]
pub mod early;
pub mod keys;
pub mod named;

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

/// One that nobody replaces.
#[slot]
pub static UNTOUCHED: dyn Tally = Counts(AtomicU64::new(0));

/// A plugin that calls [`TALLY`], and has a slot of its own.
#[dispatch]
pub trait Caller: Send + Sync {
    /// A plain call.
    fn call(&self, x: u64, rounds: u32) -> u64;
    /// A call of [`UNTOUCHED`], and what it has counted.
    fn call_untouched(&self, x: u64) -> [u64; 2];
    /// Many calls under one guard, and as many on one instance.
    fn call_guarded(&self, x: u64, times: u32) -> bool;
    /// What is installed, as the plugin sees it.
    fn target(&self) -> String;
    /// What the plugin is told when it replaces.
    fn replace(&self) -> String;
    /// What the slots of [`named`] hold in the plugin.
    fn numbers(&self) -> Vec<u64>;
    /// Leases what the slot holds, or the plugin's own slot, and keeps that.
    fn lease(&self, own: bool);
    /// What the implementor that it leases makes of `x`.
    fn leased(&self, x: u64) -> u64;
    /// Gives it back.
    fn give_back(&self);
    /// What the plugin's own slot holds.
    fn own(&self) -> u64;
    /// Replaces it. Waits for what it held, and gives that, if told so.
    fn replace_own(&self, number: u64, wait: bool) -> Result<Option<u64>, String>;
    /// Replaces it in other ways: by one more, with another slot of the plugin's in a batch, and back.
    fn replace_own_otherwise(&self) -> Result<Vec<u64>, String>;
    /// Replaces it in a batch with [`TALLY`]. What it holds then, and what the plugin is told.
    fn replace_own_and_shared(&self) -> (u64, String);
    /// What the plugin finds when it asks [`keys::SHARED`] in three places, and its own key.
    fn keys(&self) -> [bool; 4];
    /// Turns the shared key, and its own. What the plugin is told where that is refused.
    fn turn(&self, shared: bool, own: bool) -> Result<(), String>;
    /// Holds the shared key on while `run` runs.
    fn hold(&self, run: &dyn Fn()) -> Result<(), String>;
    /// How many of its own implementors the plugin has dropped.
    fn dropped(&self) -> u64;
}

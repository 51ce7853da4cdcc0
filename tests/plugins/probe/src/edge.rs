//! The interfaces of a plugin that does what it is told: panic, keep something of its thread, pass types that were edited.

use hotcall::dispatch;

/// Does what its configuration says.
#[dispatch]
pub trait Edge: Send + Sync {
    /// Something with a number.
    fn act(&self, x: u64) -> u64;
    /// What it was told, in memory of the plugin's.
    fn told(&self) -> String;
    /// Calls back.
    fn call_back(&self, x: u64, function: &mut dyn FnMut(u64) -> u64) -> u64;
    /// Takes more than registers hold, by value.
    fn weigh(&self, parts: [u64; 9], name: String, last: f32) -> String;
}

/// Numbers only.
#[dispatch]
pub trait Numbers: Send + Sync {
    /// One more.
    #[chain(through)]
    fn next(&self, x: u64) -> u64;
}

/// A loudness.
#[cfg(not(probe = "definition"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Low.
    Low,
    /// High.
    High,
}
/// A loudness.
#[cfg(probe = "definition")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// High.
    High,
    /// Low.
    Low,
}

/// A mode, one step away from the interface.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The mode.
    pub mode: Mode,
}

/// Passes a type that names another.
#[dispatch]
pub trait Typed: Send + Sync {
    /// The mode's number.
    fn mode(&self, settings: &Settings) -> u64;
}

/// An implementor that both sides have.
#[derive(Debug)]
pub struct Shared {
    #[cfg(probe = "definition")]
    before: [u64; 4],
    number: u64,
}

impl Shared {
    /// For an export.
    #[must_use]
    pub fn new(_: &str) -> Self {
        Self {
            #[cfg(probe = "definition")]
            before: [0; 4],
            number: 7,
        }
    }

    /// The number, where this crate's `Shared` has it.
    #[must_use]
    pub fn number(&self) -> u64 {
        #[cfg(probe = "definition")]
        let _ = self.before;
        self.number
    }
}

impl Numbers for Shared {
    fn next(&self, x: u64) -> u64 {
        x + self.number
    }
}

//! The interface between the example `reload` and its plugin.
#![forbid(unsafe_code)]

use hotcall::dispatch;

/// Counts, and says which version did it.
#[dispatch]
pub trait Tally: Send + Sync {
    /// Adds to the count.
    fn add(&self, x: u64) -> Answer;

    /// What has been added by now.
    fn total(&self) -> u64;
}

/// What a call answers: the version that the instance has, sealed by the version that the code has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The instance's.
    pub version: u64,
    /// [`seal`] of the code's version and of what was added.
    pub seal: u64,
}

/// Tells of which version and which argument it is.
#[must_use]
pub const fn seal(version: u64, x: u64) -> u64 {
    (x ^ version.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// What is there before there is a plugin: it adds nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Empty;

impl Tally for Empty {
    fn add(&self, x: u64) -> Answer {
        Answer { version: 0, seal: seal(0, x) }
    }

    fn total(&self) -> u64 {
        0
    }
}

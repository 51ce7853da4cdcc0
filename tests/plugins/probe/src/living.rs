//! The interface of a plugin that is replaced by versions of itself while it counts.

use hotcall::dispatch;

/// Counts.
#[dispatch]
pub trait Tally: Send + Sync {
    /// Adds, and answers what there is now.
    fn add(&self, x: u64) -> u64;
    /// What the file says of itself, and the configuration.
    fn who(&self) -> String;
    /// Calls back from inside.
    fn inside(&self, function: &dyn Fn(u64) -> u64) -> u64;
}

/// The slot's own: loses what it is told.
#[derive(Debug)]
pub struct Nobody;

impl Tally for Nobody {
    fn add(&self, _: u64) -> u64 {
        0
    }

    fn who(&self) -> String {
        "nobody".to_owned()
    }

    fn inside(&self, function: &dyn Fn(u64) -> u64) -> u64 {
        function(0)
    }
}

//! What `torture` is made of. See `bin/torture.rs`.

pub mod callers;
pub mod chains;
pub mod coroutines;
#[cfg(target_os = "linux")]
pub mod edges;
#[cfg(target_os = "linux")]
pub mod forks;
pub mod keys;
pub mod report;
#[cfg(target_os = "linux")]
pub mod signals;
pub mod slots;
pub mod tally;
pub mod threads;
pub mod writers;

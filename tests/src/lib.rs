//! What the tests share.

#[cfg(target_os = "linux")]
pub mod forking;
#[cfg(target_os = "linux")]
pub mod living;
pub mod negative;
pub mod package;
pub mod plugin;
pub mod random;
mod waiting;

pub use waiting::{LONG, eventually};

//! What the tests share.

#[cfg(target_os = "linux")]
pub mod forking;
pub mod negative;
pub mod package;
pub mod plugin;
mod waiting;

pub use waiting::{LONG, eventually};

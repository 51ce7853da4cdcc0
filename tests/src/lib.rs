//! What the tests share.

pub mod negative;
pub mod package;
#[cfg(target_os = "linux")]
pub mod forking;
pub mod plugin;

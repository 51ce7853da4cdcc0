//! What the tests share.

pub mod negative;
pub mod package;
pub mod plugin;

//! What the system is asked for: code memory, the loaded images, barriers. A port adds its own.

pub(crate) mod barrier;
pub(crate) mod gap;
pub(crate) mod image;
pub(crate) mod memory;

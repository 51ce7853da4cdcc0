//! What the system is asked for: code memory, the loaded images, barriers. A port adds its own.

#[cfg(asymmetric)]
pub(crate) mod barrier;
#[cfg(target_os = "linux")]
pub(crate) mod fork;
#[cfg(patched)]
pub(crate) mod gap;
#[cfg(patched)]
pub(crate) mod image;
#[cfg(patched)]
pub(crate) mod image_pages;
#[cfg(patched)]
pub(crate) mod jitdump;
#[cfg(patched)]
pub(crate) mod memory;
#[cfg(patched)]
pub(crate) mod near;
#[cfg(target_os = "linux")]
pub(crate) mod pages;
#[cfg(patched)]
mod selftest;
#[cfg(target_os = "linux")]
pub(crate) mod spawn;
pub(crate) mod symbol;
#[cfg(asymmetric)]
pub(crate) mod thread;
#[cfg(asymmetric)]
mod tour;

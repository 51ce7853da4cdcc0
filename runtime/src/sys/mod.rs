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
#[cfg(target_os = "linux")]
pub(crate) mod loaded;
#[cfg(patched)]
pub(crate) mod memory;
#[cfg(patched)]
pub(crate) mod near;
pub(crate) mod note;
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

/// What a thread of this process is called; empty where nobody knows.
pub(crate) fn name_of_thread(number: u32) -> String {
    let name = if cfg!(target_os = "linux") {
        std::fs::read_to_string(format!("/proc/self/task/{number}/comm")).unwrap_or_default()
    } else {
        String::new()
    };
    name.trim_end().to_owned()
}

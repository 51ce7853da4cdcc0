//! Settings that only a namespace of its own has, which takes root.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

fn is_root() -> bool {
    // SAFETY: it only asks.
    unsafe { libc::geteuid() == 0 }
}

/// Children of this process are in a namespace of their own, of which the system may be told something. Whether there is one.
pub fn with_children_apart() -> bool {
    // SAFETY: it concerns the children of this process alone.
    is_root() && unsafe { libc::unshare(libc::CLONE_NEWPID) } == 0
}

/// In such a child: no memory without a name can be executed from now on. Whether the system knows that.
pub fn without_executable_memfds() -> bool {
    std::fs::write("/proc/sys/vm/memfd_noexec", "2").is_ok()
}

/// Copies the file to a file system that can neither be written nor executed from, and that only this process sees.
pub fn on_noexec(file: &Path) -> Option<PathBuf> {
    if !is_root() {
        return None;
    }
    // SAFETY: it concerns this process alone.
    let apart = unsafe { libc::unshare(libc::CLONE_NEWNS) } == 0;
    let folder = std::env::temp_dir().join(format!("hotcall-noexec-{}", std::process::id()));
    std::fs::create_dir(&folder).ok()?;
    let none = c"none";
    let at = CString::new(folder.as_os_str().as_bytes()).ok()?;
    let mount = |at: &std::ffi::CStr, flags: libc::c_ulong| {
        // SAFETY: C strings.
        unsafe { libc::mount(none.as_ptr(), at.as_ptr(), c"tmpfs".as_ptr(), flags, std::ptr::null()) == 0 }
    };
    let quiet = apart && mount(c"/", libc::MS_REC | libc::MS_PRIVATE) && mount(&at, libc::MS_NOEXEC);
    let there = folder.join("libplugin.so");
    let copied = quiet
        && std::fs::copy(file, &there).is_ok()
        && mount(&at, libc::MS_REMOUNT | libc::MS_NOEXEC | libc::MS_RDONLY);
    // Below the mount it is empty, and goes.
    if !copied {
        let _ = std::fs::remove_dir(&folder);
    }
    copied.then_some(there)
}

/// Takes away what `on_noexec` has made.
pub fn clean(there: &Path) {
    let Some(folder) = there.parent() else { return };
    let Ok(at) = CString::new(folder.as_os_str().as_bytes()) else { return };
    // SAFETY: a C string.
    unsafe { libc::umount2(at.as_ptr(), libc::MNT_DETACH) };
    let _ = std::fs::remove_dir(folder);
}

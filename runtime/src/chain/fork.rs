//! What must not be half-done when the process forks: the lists of emitted code that debuggers and libgcc keep.
//!
//! # Problem
//!
//! A child has only the thread that forked. A lock that another thread held is held there for ever.
//!
//! * The debugger's list has a lock of this crate. A handler takes it before a fork, and lets go in parent and child.
//! * libgcc has a lock that no handler reaches. Until version 13 of gcc it is taken for every frame that a panic passes. So a
//!   child neither asks libgcc to forget what its parent registered, nor frees that code: whatever a child inherits
//!   stays until the child ends.
//!
//! What a child itself emits is registered as ever: with an older libgcc, a child of a process in which another
//! thread was just unwinding hangs there, as it does in its first panic.
#![allow(unsafe_code)]

use core::cell::Cell;
use core::sync::atomic::{AtomicU32, Ordering};
use std::sync::Once;

use crate::lock::{Mutex, MutexGuard};

static LOCK: Mutex<()> = Mutex::new(());

/// How many forks lie between this process and the one that began.
static FORKS: AtomicU32 = AtomicU32::new(0);

thread_local! {
    /// Held by the thread that forks.
    static FORKING: Cell<Option<MutexGuard<'static, ()>>> = const { Cell::new(None) };
}

/// The lock over changes of the debugger's list and of libgcc's. Nothing else is locked under it.
pub(super) fn lock() -> MutexGuard<'static, ()> {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        // SAFETY: the three have the signature asked for and live for ever.
        let refused = unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) };
        if refused != 0 {
            let error = std::io::Error::from_raw_os_error(refused);
            tracing::warn!(target: "hotcall", %error, "pthread_atfork was refused: do not edit chains after a fork");
        }
    });
    LOCK.lock()
}

extern "C" fn prepare() {
    FORKING.set(Some(LOCK.lock()));
}

extern "C" fn parent() {
    FORKING.set(None);
}

extern "C" fn child() {
    // Relaxed: there is one thread.
    FORKS.fetch_add(1, Ordering::Relaxed);
    FORKING.set(None);
}

/// The process that something was made in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process(u32);

impl Process {
    pub(super) fn this() -> Self {
        Self(FORKS.load(Ordering::Relaxed))
    }
}

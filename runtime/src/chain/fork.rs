//! What must not be half-done when the process forks: the lists of emitted code that debuggers and libgcc keep.
//!
//! Both are changed under a lock that a fork waits for ([`crate::gated`]), so a child finds them whole.
//!
//! But libgcc has a lock of its own, which no handler of a fork reaches. Until version 13 of gcc it is taken for every frame
//! that a panic passes, once anything has been registered. So a child does not ask libgcc to forget what its parent
//! registered, nor frees that code: whatever a child inherits stays until the child ends. And before a child registers
//! anything itself, a thread that may be lost finds out whether the lock can be had. Where it cannot, chains that are
//! edited there become loops, which need no registration.
//!
//! In a child whose parent was unwinding in another thread as it forked, a panic hangs: that is libgcc's.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use super::frames;
use crate::gated::{self, Gated, GatedGuard};

static LISTS: Gated<()> = Gated::new(());

/// The lock over changes of the debugger's list and of libgcc's. Nothing else is locked under it.
pub(super) fn lock() -> GatedGuard<'static, ()> {
    LISTS.lock()
}

/// The last process, of those that forks made of the first, in which libgcc's lock was had.
static HAD_IN: AtomicU32 = AtomicU32::new(0);
/// It is lost, here and in every child.
static LOST: AtomicBool = AtomicBool::new(false);

/// How long a lock that somebody holds is waited for in a child. Who waits in vain emits loops: slower, and right.
const PATIENCE: Duration = Duration::from_millis(500);

/// Whether code with frames may be emitted: in a child, libgcc's lock may be lost.
pub(super) fn can_register() -> bool {
    // Relaxed: they say nothing of other memory. Two threads may both find out.
    if LOST.load(Ordering::Relaxed) {
        return false;
    }
    let here = gated::forks();
    if HAD_IN.load(Ordering::Relaxed) == here {
        return true;
    }
    if can_be_had() {
        HAD_IN.store(here, Ordering::Relaxed);
        return true;
    }
    LOST.store(true, Ordering::Relaxed);
    tracing::warn!(target: "hotcall", "forked while another thread unwound: chains that are edited here are loops");
    false
}

/// Takes libgcc's lock in a thread that is left behind where it never gets it.
fn can_be_had() -> bool {
    let (had, waits) = mpsc::channel();
    let tries = move || {
        frames::probe();
        // Nobody listens any more where it took too long.
        let _ = had.send(());
    };
    let spawned = std::thread::Builder::new().name("hotcall-probe".into()).spawn(tries);
    spawned.is_ok() && waits.recv_timeout(PATIENCE).is_ok()
}

/// The process that something was made in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process(u32);

impl Process {
    /// One that no fork made.
    pub(super) const FIRST: Self = Self(0);

    pub(super) fn this() -> Self {
        Self(gated::forks())
    }
}

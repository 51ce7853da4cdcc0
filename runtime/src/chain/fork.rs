//! What must not be half-done when the process forks: the lists of emitted code that debuggers and libgcc keep.
//!
//! Both are changed under a lock that a fork waits for ([`crate::gated`]), so a child finds them whole. But libgcc has a lock
//! of its own, which no handler of a fork reaches: until version 13 of gcc it is taken for every frame that a panic
//! passes, and a child in which a vanished thread holds it hangs there. So a child neither asks libgcc to forget
//! what its parent registered, nor frees that code: whatever a child inherits stays until the child ends.
//!
//! What a child itself emits is registered as ever: with an older libgcc, a child of a process in which another
//! thread was just unwinding hangs there, as it does in its first panic.

use crate::gated::{self, Gated, GatedGuard};

static LISTS: Gated<()> = Gated::new(());

/// The lock over changes of the debugger's list and of libgcc's. Nothing else is locked under it.
pub(super) fn lock() -> GatedGuard<'static, ()> {
    LISTS.lock()
}

/// The process that something was made in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process(u32);

impl Process {
    pub(super) fn this() -> Self {
        Self(gated::forks())
    }
}

//! `membarrier`: the writer's half of the asymmetric barrier.
//!
//! `PRIVATE_EXPEDITED` interrupts every core that runs a thread of this process, and no other. When it returns, each of those
//! threads has passed a full memory barrier. With `SYNC_CORE`, which is asked for where code is patched, each has also passed, before
//! it goes on in user space, a core-serialising instruction: nothing that it prefetched or decoded before is left.
#![allow(unsafe_code)]

use core::sync::atomic::{AtomicU8, Ordering};

use rustix::thread::{MembarrierCommand, membarrier, membarrier_query};

#[cfg(patched)]
const BARRIER: MembarrierCommand = MembarrierCommand::PrivateExpeditedSyncCore;
#[cfg(patched)]
const REGISTER: MembarrierCommand = MembarrierCommand::RegisterPrivateExpeditedSyncCore;
#[cfg(not(patched))]
const BARRIER: MembarrierCommand = MembarrierCommand::PrivateExpedited;
#[cfg(not(patched))]
const REGISTER: MembarrierCommand = MembarrierCommand::RegisterPrivateExpedited;

const UNKNOWN: u8 = 0;
const AVAILABLE: u8 = 1;
const MISSING: u8 = 2;

static STATE: AtomicU8 = AtomicU8::new(UNKNOWN);

/// Whether the system has the barrier and lets this process use it. Asks, and registers, once.
#[inline]
pub(crate) fn is_available() -> bool {
    match STATE.load(Ordering::Acquire) {
        UNKNOWN => register(),
        state => state == AVAILABLE,
    }
}

/// Registers the process. Idempotent. A first call from a signal handler or from inside the global allocator
/// may come here: no lock, no allocation.
#[cold]
pub(crate) fn register() -> bool {
    // SAFETY: the argument is a C string. A program that changes its environment while other threads
    // read it is in error already, by POSIX.
    let refused = unsafe { libc::getenv(c"HOTCALL_NO_MEMBARRIER".as_ptr()) };
    let available = refused.is_null() && ask();
    STATE.store(if available { AVAILABLE } else { MISSING }, Ordering::Release);
    available
}

fn ask() -> bool {
    let query = membarrier_query();
    query.contains_command(BARRIER) && membarrier(REGISTER).is_ok() && membarrier(BARRIER).is_ok()
}

/// The heavy barrier. The caller has asked [`is_available`].
///
/// Partner: [`crate::primitive::light_barrier`] in every caller of a slot.
pub(crate) fn heavy() {
    // A full barrier of this thread's own, and one that the compiler sees.
    core::sync::atomic::fence(Ordering::SeqCst);
    if let Err(error) = membarrier(BARRIER) {
        // Registered and tried: the kernel has no way to refuse it but memory for its own mask of cores.
        // Going on would break every promise of this crate; there is nothing to undo. Nor can threads be told to pass a fence
        // from now on: one that a signal handler has interrupted just before C1 does not hear of it.
        tracing::error!(target: "hotcall", %error, "membarrier failed after it was registered");
        std::process::abort();
    }
    core::sync::atomic::fence(Ordering::SeqCst);
}

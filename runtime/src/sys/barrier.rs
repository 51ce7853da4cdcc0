//! `membarrier`: the writer's half of the asymmetric barrier.
//!
//! `PRIVATE_EXPEDITED` interrupts every core that runs a thread of this process, and no other. When it returns, each of those
//! threads has passed a full memory barrier. With `SYNC_CORE`, which is asked for where code is patched, each has also passed, before
//! it goes on in user space, a core-serialising instruction: nothing that it prefetched or decoded before is left.
#![allow(unsafe_code)]

use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use rustix::thread::{MembarrierCommand, membarrier, membarrier_query};

use super::tour;

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

/// It was had, and then refused: see [`heavy`].
static REFUSED: AtomicBool = AtomicBool::new(false);
static TOLD: AtomicBool = AtomicBool::new(false);

/// The heavy barrier. The caller has asked [`is_available`].
///
/// A filter of system calls may forbid it at any time, to this process or a child of it. Threads cannot be told to pass a fence
/// from then on: one that a signal handler has interrupted just before C1 does not hear of it. So the caller takes the barrier to
/// every core itself.
///
/// Partner: [`crate::primitive::light_barrier`] in every caller of a slot.
pub(crate) fn heavy() {
    // A full barrier of this thread's own, and one that the compiler sees.
    core::sync::atomic::fence(Ordering::SeqCst);
    if let Err(error) = membarrier(BARRIER) {
        REFUSED.store(true, Ordering::Relaxed);
        if !tour::of_all_cores() {
            // Going on would break every promise of this crate, and there is nothing to undo.
            tracing::error!(
                target: "hotcall", %error,
                "membarrier, which this process had, is refused, and so is sched_setaffinity: allow one of them, or set \
                 HOTCALL_NO_MEMBARRIER from the start"
            );
            std::process::abort();
        }
    }
    core::sync::atomic::fence(Ordering::SeqCst);
}

/// Says once, by an event, that the barrier was had and is refused now. The caller holds no lock.
pub(crate) fn tell_if_refused() {
    // Relaxed: a hint, for people.
    if REFUSED.load(Ordering::Relaxed) && !TOLD.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            target: "hotcall",
            "membarrier, which this process had, is refused: replacing goes to every core instead, which is slower; allow it, or \
             set HOTCALL_NO_MEMBARRIER from the start"
        );
    }
}

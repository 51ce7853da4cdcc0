//! The atomics and barriers that the algorithms are written with: those of `core`, or loom's models.

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicUsize, Ordering};

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicUsize, Ordering};

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU64, fence};

#[cfg(all(asymmetric, not(loom)))]
pub(crate) use core::sync::atomic::AtomicU64;
#[cfg(all(asymmetric, not(target_arch = "x86_64"), not(loom)))]
pub(crate) use core::sync::atomic::fence;

/// The reader's half of an asymmetric pair of barriers: it only keeps the compiler from reordering.
///
/// Partner: [`crate::sys::barrier::heavy`], which makes every running thread of the process execute a full
/// barrier. Loom knows no such call, so there both halves are sequentially consistent fences, which order
/// the same pairs of accesses.
#[cfg(any(asymmetric, loom))]
#[inline(always)]
pub(crate) fn light_barrier() {
    #[cfg(loom)]
    loom::sync::atomic::fence(Ordering::SeqCst);
    #[cfg(not(loom))]
    core::sync::atomic::compiler_fence(Ordering::SeqCst);
}

//! Branches that the compiler placed: recognised, checked against a disassembly, and retargeted in place.
//!
//! They lie where they lie. Those whose displacement is within one naturally aligned 8 bytes can be retargeted
//! while they are executed, by one aligned 64-bit store of the quadword with the four bytes replaced:
//!
//! ```text
//!   address mod 8   7 | 0    1    2    3    4    5    6    7 | 0
//!                     ┌────┬───────────────────┬─────────────
//!                     │ e8 │   displacement    │ what follows       opcode at 7, 0, 1, 2 or 3
//!                     └────┴───────────────────┴─────────────
//! ```
#![allow(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

use iced_x86::{Decoder, DecoderOptions};

use super::x86_64::{BRANCH_LEN, CALL, JMP};
use crate::arena::{ExecAddr, WriteAddr};

/// Whether the displacement of the branch whose opcode is at `address` lies in one aligned 8 bytes.
pub(crate) fn is_patchable_in_place(address: usize) -> bool {
    (address + 1) % 8 <= 4
}

/// Where the bytes, read as a branch at `address`, lead; `None` where they are no `call rel32` or `jmp rel32`.
#[inline]
pub(crate) fn branch_target(bytes: &[u8], address: usize) -> Option<usize> {
    let &[CALL | JMP, a, b, c, d, ..] = bytes else { return None };
    let displacement = i32::from_le_bytes([a, b, c, d]);
    Some((address + BRANCH_LEN).wrapping_add_signed(displacement as isize))
}

/// Whether a disassembly of `code`, which begins with the first instruction of the function at `start`, has an
/// instruction beginning at `address`.
pub(crate) fn instruction_begins_at(code: &[u8], start: usize, address: usize) -> bool {
    let mut decoder = Decoder::with_ip(64, code, start as u64, DecoderOptions::NONE);
    while decoder.ip() < address as u64 && decoder.can_decode() {
        if decoder.decode().is_invalid() {
            return false;
        }
    }
    decoder.ip() == address as u64
}

/// Where the branch at `caller` goes.
pub(crate) fn target_of_caller(caller: ExecAddr) -> ExecAddr {
    let at: *const i32 = core::ptr::with_exposed_provenance(caller.add(1).get());
    // SAFETY: invariant 1 of `ExecAddr`: code is mapped there, readable. The caller has the writers' lock.
    let displacement = unsafe { at.read_unaligned() };
    caller.add(BRANCH_LEN).add(displacement as usize)
}

/// Retargets a caller: one aligned 64-bit store. `displacement_at` is the writable address of its displacement.
///
/// Ordering, partner and post-invariant are those of [`super::store_displacement`]. Safe to name within this crate
/// for the same reason, with [`is_patchable_in_place`] in place of `branch_at`; writers are serialised, so
/// nobody else changes the bytes around it.
pub(crate) fn retarget_caller(displacement_at: WriteAddr, displacement: i32) {
    let offset = displacement_at.get() % 8;
    debug_assert!(offset <= 4, "the displacement crosses an aligned 8 bytes");
    let quadword = WriteAddr::of_quadword(displacement_at).as_ptr::<AtomicU64>().cast_const();
    // SAFETY: invariant 1 of `WriteAddr`: mapped and writable, and pages are whole quadwords; aligned.
    let quadword = unsafe { &*quadword };
    let mut bytes = quadword.load(Ordering::Relaxed).to_le_bytes();
    bytes[offset..offset + 4].copy_from_slice(&displacement.to_le_bytes());
    quadword.store(u64::from_le_bytes(bytes), Ordering::Release);
}

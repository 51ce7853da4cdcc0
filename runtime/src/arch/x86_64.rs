//! x86-64.
//!
//! # A site
//!
//! The only bytes that are ever rewritten while they may be executed are the four of a displacement:
//!
//! ```text
//!   address mod 8    3    4    5    6    7
//!                  ┌────┬───────────────────┐
//!                  │ e9 │   displacement    │   jmp, or e8: call
//!                  └────┴───────────────────┘
//!                    └ never changes
//! ```
//!
//! The whole instruction lies in one aligned 8 bytes, and the displacement is aligned to 4. So the store is
//! one aligned 32-bit store, and no processor fetches half of it: a displacement that crosses a 32-byte
//! boundary was seen torn, even within a cacheline.
//!
//! Intel's manual does not promise that code may be modified while another core runs it without that core
//! being serialised; AMD's does for aligned quadwords, and HotSpot, HHVM and V8 rely on it on both.
//!
//! # What is emitted
//!
//! ```text
//!  thunk, target within ±2 GiB      thunk, target anywhere             trampoline
//!   0  48 bf  mov rdi, this          0  48 bf  mov rdi, this            0  ff 25  jmp [rip+0]
//!  10  90     nop                   10  ff 25  jmp [rip+0]              6  .quad target
//!  11  e9     jmp target            16  .quad target                   14
//!  16                               24
//! ```
//!
//! Each is assembled once, by `dynasm`, with zeroes; an instance of it is a copy with its immediates filled in.
#![allow(unsafe_code)]

use core::sync::atomic::{AtomicI32, Ordering};
use std::sync::LazyLock;

use dynasmrt::VecAssembler;
use dynasmrt::x64::X64Relocation;
use dynasmrt::{DynasmApi, DynasmError, DynasmLabelApi, dynasm};

use crate::arena::{ExecAddr, WriteAddr};

/// A site's opcode is at [`SITE_OFFSET`] modulo this.
pub(crate) const SITE_ALIGN: usize = 8;
/// See [`SITE_ALIGN`].
pub(crate) const SITE_OFFSET: usize = 3;
/// The length of a site's instruction: opcode and displacement.
pub(crate) const BRANCH_LEN: usize = 5;
/// How far code memory may be from what it must reach: 2 GiB, less a margin that covers the lengths of
/// instructions and of whatever stands at the far end.
pub(crate) const REACH: usize = (2 << 30) - (1 << 16);
/// What free code memory is filled with: `int3`.
pub(crate) const TRAP: u8 = 0xcc;
/// Room for any thunk.
pub(crate) const THUNK_LEN: usize = FAR_THUNK_LEN;
/// The alignment that thunks and trampolines are emitted for.
pub(crate) const CODE_ALIGN: usize = 16;

pub(super) const JMP: u8 = 0xe9;
pub(super) const CALL: u8 = 0xe8;
const NEAR_THUNK_LEN: usize = 16;
const FAR_THUNK_LEN: usize = 24;
const TRAMPOLINE_LEN: usize = 14;
/// Where a thunk's `this` is.
const THIS_AT: usize = 2;
/// Where a near thunk's `jmp` is.
pub(crate) const NEAR_JUMP_AT: usize = 11;
/// Where a far thunk's target is.
const FAR_TARGET_AT: usize = 16;
/// Where a trampoline's target is.
const TRAMPOLINE_TARGET_AT: usize = 6;

const _: () = assert!(NEAR_JUMP_AT % SITE_ALIGN == SITE_OFFSET && CODE_ALIGN.is_multiple_of(SITE_ALIGN));

/// What stands at a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Branch {
    Jump,
    Call,
}

/// A thunk's or a trampoline's bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CodeBytes {
    bytes: [u8; THUNK_LEN],
    len: u8,
}

impl CodeBytes {
    fn of<const N: usize>(template: &[u8; N]) -> Self {
        let mut bytes = [TRAP; THUNK_LEN];
        bytes[..N].copy_from_slice(template);
        Self { bytes, len: N as u8 }
    }

    fn put<const N: usize>(mut self, at: usize, value: [u8; N]) -> Self {
        self.bytes[at..at + N].copy_from_slice(&value);
        self
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl AsRef<[u8]> for CodeBytes {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

type Assembler = VecAssembler<X64Relocation>;

fn assemble_near_thunk(at: ExecAddr, this: usize, target: ExecAddr) -> Result<Vec<u8>, DynasmError> {
    let mut ops = Assembler::new(at.get());
    dynasm!(ops
        ; .arch x64
        ; mov rdi, QWORD this as i64
        ; nop
        ; jmp extern target.get()
    );
    ops.finalize()
}

fn assemble_far_thunk(at: ExecAddr, this: usize, target: ExecAddr) -> Result<Vec<u8>, DynasmError> {
    let mut ops = Assembler::new(at.get());
    dynasm!(ops
        ; .arch x64
        ; mov rdi, QWORD this as i64
        ; jmp QWORD [>target]
        ; target:
        ; .u64 target.get() as u64
    );
    ops.finalize()
}

fn assemble_trampoline(at: ExecAddr, target: ExecAddr) -> Result<Vec<u8>, DynasmError> {
    let mut ops = Assembler::new(at.get());
    dynasm!(ops
        ; .arch x64
        ; jmp QWORD [>target]
        ; target:
        ; .u64 target.get() as u64
    );
    ops.finalize()
}

/// What is emitted, with zero for each immediate.
struct Templates {
    near: CodeBytes,
    far: CodeBytes,
    trampoline: CodeBytes,
}

static TEMPLATES: LazyLock<Templates> = LazyLock::new(|| {
    fn template<const N: usize>(assembled: Result<Vec<u8>, DynasmError>) -> CodeBytes {
        let bytes = assembled.expect("every label of a template is defined in it");
        CodeBytes::of::<N>(
            bytes.as_slice().try_into().expect("a template's length is fixed by its instructions"),
        )
    }
    let (zero, end) = (ExecAddr::new(0), ExecAddr::new(NEAR_THUNK_LEN));
    Templates {
        near: template::<NEAR_THUNK_LEN>(assemble_near_thunk(zero, 0, end)),
        far: template::<FAR_THUNK_LEN>(assemble_far_thunk(zero, 0, zero)),
        trampoline: template::<TRAMPOLINE_LEN>(assemble_trampoline(zero, zero)),
    }
});

/// The thunk, to be placed at `at`, that makes `this` the first argument and goes on to `target`.
///
/// Up to [`THUNK_LEN`] bytes. `at` is a multiple of [`CODE_ALIGN`].
pub(crate) fn thunk(at: ExecAddr, this: usize, target: ExecAddr) -> CodeBytes {
    debug_assert!(at.get().is_multiple_of(CODE_ALIGN));
    let this = (this as u64).to_le_bytes();
    match displacement(at.add(NEAR_JUMP_AT), target) {
        Some(near) => TEMPLATES.near.put(THIS_AT, this).put(NEAR_JUMP_AT + 1, near.to_le_bytes()),
        None => {
            let target = (target.get() as u64).to_le_bytes();
            TEMPLATES.far.put(THIS_AT, this).put(FAR_TARGET_AT, target)
        }
    }
}

/// The trampoline to `target`. It may be placed anywhere.
pub(crate) fn trampoline(target: ExecAddr) -> CodeBytes {
    TEMPLATES.trampoline.put(TRAMPOLINE_TARGET_AT, (target.get() as u64).to_le_bytes())
}

/// What a branch whose opcode is at `site` must hold to go to `target`; `None` where that is out of reach.
#[inline]
pub(crate) fn displacement(site: ExecAddr, target: ExecAddr) -> Option<i32> {
    let next = site.add(BRANCH_LEN).get();
    i32::try_from(target.get().wrapping_sub(next) as isize).ok()
}

/// Which branch `bytes` is at `site`; `None` where it is none, or may not be retargeted there.
pub(crate) fn decode_site(site: ExecAddr, bytes: &[u8]) -> Option<Branch> {
    if site.get() % SITE_ALIGN != SITE_OFFSET || bytes.len() < BRANCH_LEN {
        return None;
    }
    match bytes[0] {
        JMP => Some(Branch::Jump),
        CALL => Some(Branch::Call),
        _ => None,
    }
}

/// Which branch stands at `site`; see [`decode_site`].
pub(crate) fn branch_at(site: ExecAddr) -> Option<Branch> {
    let bytes: *const [u8; BRANCH_LEN] = core::ptr::with_exposed_provenance(site.get());
    // SAFETY: invariant 1 of `ExecAddr`: code is mapped there, readable. Volatile: a displacement may change.
    let bytes = unsafe { bytes.read_volatile() };
    decode_site(site, &bytes)
}

/// Where the branch at `site` goes.
#[cfg(test)]
pub(crate) fn target_of(site: ExecAddr) -> ExecAddr {
    debug_assert!(branch_at(site).is_some(), "no site at {site:?}");
    let at: *const AtomicI32 = core::ptr::with_exposed_provenance(site.add(1).get());
    // SAFETY: invariant 1 of `ExecAddr`; aligned, for the opcode is at 3 mod 8. A load of what is mapped
    // read-only is sound for an aligned 32 bits.
    let displacement = unsafe { &*at }.load(Ordering::Acquire);
    site.add(BRANCH_LEN).add(displacement as usize)
}

/// Stores the displacement of the branch whose opcode is at `site`: one aligned 32-bit store.
///
/// Release. Its partner is instruction fetch, on every core: what was written before it, code and data, is
/// there for whoever runs the new target. *When* the other cores run it, nothing says but a
/// barrier that serialises them ([`crate::sys::barrier::heavy`]).
///
/// Post-invariant: the opcode is as it was; the branch goes to the old target or to the new one, never elsewhere.
///
/// # Safety
///
/// 1. A branch that [`decode_site`] accepts stands at `site`.
/// 2. The address that it makes of `displacement` is code that may be run in place of what ran before.
#[inline]
pub(crate) unsafe fn store_displacement(site: WriteAddr, displacement: i32) {
    debug_assert_eq!(site.get() % SITE_ALIGN, SITE_OFFSET);
    let at: *const AtomicI32 = site.add(1).as_ptr::<AtomicI32>();
    // SAFETY: invariant 1 of `WriteAddr`: mapped, writable; aligned, by the caller's promise 1.
    unsafe { &*at }.store(displacement, Ordering::Release);
}

/// Retargets the branch at `site`, whose writable address is `write`. See [`store_displacement`].
///
/// Safe to name within this crate because the promises are kept by what is passed: the caller has a
/// `WriteAddr` of a site that [`branch_at`] accepted, and got `displacement` from [`displacement()`] for code that
/// it keeps alive until a grace period after the site has left it.
#[inline]
pub(crate) fn retarget(site: ExecAddr, write: WriteAddr, displacement: i32) {
    debug_assert!(branch_at(site).is_some(), "no site at {site:?}");
    // SAFETY: the promises are the caller's, as above; the first is checked in debug builds.
    unsafe { store_displacement(write, displacement) }
}

/// A function that answers `number`: `mov eax, number; ret`.
pub(crate) fn answer(number: u8) -> [u8; 6] {
    [0xb8, number, 0, 0, 0, 0xc3]
}

/// Serialises this core: nothing that it fetched or decoded before is run after.
pub(crate) fn serialise() {
    // `cpuid` is the one serialising instruction that every x86-64 has in user mode.
    core::hint::black_box(core::arch::x86_64::__cpuid(0));
}

#[cfg(test)]
#[path = "x86_64_tests.rs"]
mod tests;

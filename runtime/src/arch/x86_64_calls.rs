//! Calls that the compiler placed: recognised where a record says that one stands, and retargeted in place.
//!
//! The assembler aligns them (see `slot::patched::stub`), so that what is rewritten lies in one naturally aligned 8 bytes,
//! which is stored at once:
//!
//! ```text
//!   address mod 8   7 | 0    1    2    3    4    5    6    7 | 0
//!                     ┌────┬───────────────────┬─────────────
//!   near              │ e8 │   displacement    │ what follows        opcode at 7, 0, 1, 2 or 3
//!                     └────┴───────────────────┴─────────────
//!                     ┌─────────┬───────────────────┬────────
//!   prefixed          │ 67   e8 │   displacement    │             first byte at 6, 7, 0, 1 or 2
//!                     └─────────┴───────────────────┴────────
//!                     ┌─────────┬───────────────────┬────────
//!   through a pointer │ ff   15 │ to the pointer    │             first byte at 0, 1 or 2
//!                     └─────────┴───────────────────┴────────
//! ```
//!
//! The first two keep their opcode for ever. The third is what the compiler writes where a linker may have to interpose: an
//! indirect call through the global offset table. It is as long as the second, and all of it lies in one aligned 8 bytes, so
//! that it becomes the second by one store. (Jumps likewise: `e9`, `67 e9`, `ff 25`. They are calls at the end of a function.)
//!
//! That a whole instruction can be exchanged for another of its length by one aligned 8-byte store, under the threads that
//! run it, is what `benches/src/bin/seam.rs` shows; AMD's manual promises it for aligned quadwords.
#![allow(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

use super::x86_64::{CALL, JMP};
use crate::arena::{ExecAddr, WriteAddr};

/// `addr32`: without effect on a near branch, and a byte long.
const PREFIX: u8 = 0x67;
const INDIRECT: u8 = 0xff;
const INDIRECT_CALL: u8 = 0x15;
const INDIRECT_JMP: u8 = 0x25;

/// How far behind its record's label a call may stand: in builds without optimisation the arguments are loaded in between.
/// Where the label is the call, nothing is searched.
const WINDOW: usize = 160;

/// How a call reaches its target. See the head of this file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Opcode and displacement.
    Near,
    /// A prefix, opcode and displacement.
    Prefixed,
    /// Through a pointer. It becomes `Prefixed` when it is first retargeted.
    Pointer,
}

impl Form {
    /// Where the displacement begins, in bytes from the first of the instruction.
    fn displacement_at(self) -> usize {
        match self {
            Self::Near => 1,
            Self::Prefixed | Self::Pointer => 2,
        }
    }

    /// The instruction's length in bytes.
    pub(crate) fn len(self) -> usize {
        self.displacement_at() + 4
    }
}

/// A call that can be retargeted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallSite {
    /// Its first byte.
    pub(crate) at: ExecAddr,
    pub(crate) form: Form,
    /// Where the compiler had it go.
    pub(crate) stub: ExecAddr,
}

/// Why a recorded call or branch is left alone: it goes through its stub for ever, or loads its key, which is right, and slower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kept {
    /// The compiler has put no direct call to the stub there; or what stands there is not the branch that was recorded.
    NoCall,
    /// What would be rewritten crosses an aligned 8 bytes.
    Crosses,
    /// The page that it lies on could not be remapped.
    Page,
    /// That page is not what its file says.
    Changed,
    /// The program has asked for it: [`patch_callers`](crate::patch_callers).
    Unwanted,
    /// A branch, and the system has no barrier: nothing would tell when every thread has seen it exchanged.
    NoBarrier,
}

/// Finds the call to `stub` that the compiler placed at `label`, or soon behind it. `code` is the segment that the label is in,
/// which is loaded at `base`; `pointer` reads a pointer of the image's, where there is one at an address.
pub(crate) fn find_call(
    code: &[u8],
    base: usize,
    label: usize,
    stub: usize,
    pointer: impl Fn(usize) -> Option<usize>,
) -> Result<CallSite, Kept> {
    let start = label.wrapping_sub(base);
    let Some(code) = code.get(start..) else { return Err(Kept::NoCall) };
    let window = &code[..code.len().min(WINDOW)];
    // A displacement that leads just there is no accident: 32 bits agree.
    let mut candidates = (0..window.len()).filter_map(|offset| {
        let form = branch(&window[offset..], label + offset, stub, &pointer)?;
        Some(CallSite { at: ExecAddr::new(label + offset), form, stub: ExecAddr::new(stub) })
    });
    let Some(site) = candidates.next() else { return Err(Kept::NoCall) };
    if is_patchable(site) { Ok(site) } else { Err(Kept::Crosses) }
}

/// The form of the branch to `stub` that `bytes` are at `address`; `None` where they are none.
fn branch(
    bytes: &[u8],
    address: usize,
    stub: usize,
    pointer: &impl Fn(usize) -> Option<usize>,
) -> Option<Form> {
    let form = match *bytes {
        [CALL | JMP, ..] => Form::Near,
        [PREFIX, CALL | JMP, ..] => Form::Prefixed,
        [INDIRECT, INDIRECT_CALL | INDIRECT_JMP, ..] => Form::Pointer,
        _ => return None,
    };
    let displacement = bytes.get(form.displacement_at()..form.len())?.try_into().ok()?;
    let leads = (address + form.len()).wrapping_add_signed(i32::from_le_bytes(displacement) as isize);
    let target = if form == Form::Pointer { pointer(leads)? } else { leads };
    (target == stub).then_some(form)
}

/// Whether what is rewritten lies in one aligned 8 bytes.
fn is_patchable(site: CallSite) -> bool {
    let (first, len) = match site.form {
        Form::Near | Form::Prefixed => (site.at.get() + site.form.displacement_at(), 4),
        Form::Pointer => (site.at.get(), site.form.len()),
    };
    first % 8 + len <= 8
}

/// What the call must hold to go to `target`; `None` where that is out of reach.
pub(crate) fn call_displacement(site: CallSite, target: ExecAddr) -> Option<i32> {
    let next = site.at.add(site.form.len()).get();
    i32::try_from(target.get().wrapping_sub(next) as isize).ok()
}

/// Where the call goes. It has been retargeted, or is direct from the beginning.
pub(crate) fn target_of_call(site: CallSite) -> ExecAddr {
    let at: *const i32 = core::ptr::with_exposed_provenance(site.at.add(site.form.displacement_at()).get());
    // SAFETY: invariant 1 of `ExecAddr`: code is mapped there, readable. The caller has the writers' lock.
    let displacement = unsafe { at.read_unaligned() };
    site.at.add(site.form.len()).add(displacement as usize)
}

/// Retargets a call whose first byte is written at `write`: one aligned 64-bit store. Gives the form that it has now.
///
/// Ordering, partner and post-invariant are those of [`super::store_displacement`]. Safe to name within this crate for the
/// same reason, with [`find_call`] in place of `branch_at`; writers are serialised, so nobody else changes the bytes around it.
pub(crate) fn retarget_call(site: CallSite, write: WriteAddr, displacement: i32) -> Form {
    debug_assert!(is_patchable(site), "{site:?} crosses an aligned 8 bytes");
    let displacement_at = write.add(site.form.displacement_at());
    let start = WriteAddr::of_quadword(displacement_at);
    let quadword = start.as_ptr::<AtomicU64>().cast_const();
    // SAFETY: invariant 1 of `WriteAddr`: mapped and writable, and pages are whole quadwords; aligned.
    let quadword = unsafe { &*quadword };
    let mut bytes = quadword.load(Ordering::Relaxed).to_le_bytes();
    let offset = displacement_at.get() - start.get();
    bytes[offset..offset + 4].copy_from_slice(&displacement.to_le_bytes());
    let form = match site.form {
        Form::Pointer => {
            let opcode = if bytes[offset - 1] == INDIRECT_JMP { JMP } else { CALL };
            bytes[offset - 2..offset].copy_from_slice(&[PREFIX, opcode]);
            Form::Prefixed
        }
        form => form,
    };
    quadword.store(u64::from_le_bytes(bytes), Ordering::Release);
    form
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Code at an address that is a multiple of 64.
    #[repr(align(64))]
    struct Aligned([u8; 256]);

    fn near(code: &mut Aligned, at: usize, opcode: u8, stub: usize) {
        let displacement = stub.wrapping_sub(code.0.as_ptr().addr() + at + 5) as i32;
        code.0[at] = opcode;
        code.0[at + 1..at + 5].copy_from_slice(&displacement.to_le_bytes());
    }

    fn find(code: &Aligned, at: usize, stub: usize) -> Result<usize, Kept> {
        let start = code.0.as_ptr().addr();
        find_call(&code.0, start, start + at, stub, |_| None).map(|site| site.at.get() - start)
    }

    #[test]
    fn a_call_is_found_where_the_label_is_or_soon_behind() {
        for opcode in [CALL, JMP] {
            let mut code = Box::new(Aligned([0x90; 256]));
            let stub = code.0.as_ptr().addr() + 0x4000;
            near(&mut code, 16, opcode, stub);
            assert_eq!(find(&code, 16, stub), Ok(16));
            assert_eq!(find(&code, 0, stub), Ok(16));
            assert_eq!(find(&code, 17, stub), Err(Kept::NoCall));
            assert_eq!(find(&code, 16, stub + 1), Err(Kept::NoCall));
        }
    }

    #[test]
    fn only_what_lies_in_one_quadword_is_taken() {
        for at in 32..40 {
            let mut code = Box::new(Aligned([0x90; 256]));
            let stub = code.0.as_ptr().addr() + 0x4000;
            near(&mut code, at, CALL, stub);
            let expected = if matches!(at % 8, 7 | 0..=3) { Ok(at) } else { Err(Kept::Crosses) };
            assert_eq!(find(&code, at, stub), expected, "{at}");
        }
    }

    #[test]
    fn a_call_through_a_pointer_becomes_direct() {
        let mut code = Box::new(Aligned([0x90; 256]));
        code.0[64..70].copy_from_slice(&[0xff, 0x15, 0x10, 0, 0, 0]);
        let start = code.0.as_ptr().addr();
        let pointer = |at: usize| (at == start + 64 + 6 + 0x10).then_some(0x1234);
        let site = find_call(&code.0, start, start + 64, 0x1234, pointer).unwrap();
        assert_eq!(site.form, Form::Pointer);
        // The test's bytes are not executed: one address serves for both views.
        let write = WriteAddr::new(code.0.as_mut_ptr().expose_provenance() + 64);
        let target = ExecAddr::new(start + 0x1000);
        let form = retarget_call(site, write, call_displacement(site, target).unwrap());
        assert_eq!(form, Form::Prefixed);
        assert_eq!(code.0[64..66], [PREFIX, CALL]);
        assert_eq!(target_of_call(CallSite { form, ..site }), target);
        assert_eq!(code.0[70], 0x90);
    }
}

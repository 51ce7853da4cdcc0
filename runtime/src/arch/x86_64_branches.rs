//! Branches of keys: recognised where a record says that one stands, and exchanged in place.
//!
//! A branch is one instruction of five bytes (see `key::branch`), which lies in one naturally aligned 8 bytes and is stored at
//! once:
//!
//! ```text
//!   address mod 8     0    1    2    3    4    5    6    7 | 0
//!                     ┌────┬───────────────────┬─────────────
//!   a jump            │ e9 │   displacement    │ what follows        first byte at 0, 1, 2 or 3
//!                     └────┴───────────────────┴─────────────
//!                     ┌────────────────────────┬─────────────
//!   a no-op           │ 0f   1f   44   00   00 │
//!                     └────────────────────────┴─────────────
//! ```
#![allow(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

use super::x86_64::{BRANCH_LEN, JMP};
use super::x86_64_calls::Kept;
use crate::arena::{ExecAddr, WriteAddr};

/// `nop dword ptr [rax + rax]`: the five bytes that both manuals recommend.
const NOP: [u8; BRANCH_LEN] = [0x0f, 0x1f, 0x44, 0x00, 0x00];

/// A branch that can be exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BranchSite {
    /// Its first byte.
    pub(crate) at: ExecAddr,
    /// Where it jumps to.
    there: ExecAddr,
    /// It jumps when the key is that, and is a no-op when it is not.
    jumps_when: bool,
}

impl BranchSite {
    /// The branch's length in bytes.
    pub(crate) const LEN: usize = BRANCH_LEN;

    /// Where control goes from it when the key is `on`.
    pub(crate) fn leads(self, on: bool) -> ExecAddr {
        if on == self.jumps_when { self.there } else { self.at.add(BRANCH_LEN) }
    }
}

/// Looks whether the branch stands at `at` that a record describes: a jump to `slow`. `code` is the segment that `at` is in.
pub(crate) fn find_branch(
    code: &[u8],
    at: usize,
    slow: usize,
    there: usize,
    jumps_when: bool,
) -> Result<BranchSite, Kept> {
    let start = code.as_ptr().addr();
    let bytes = code.get(at.wrapping_sub(start)..).and_then(|code| code.first_chunk::<BRANCH_LEN>());
    let site = BranchSite { at: ExecAddr::new(at), there: ExecAddr::new(there), jumps_when };
    let stands = bytes.is_some_and(|bytes| Some(*bytes) == jump(at, slow));
    // Where it jumps to is in the same function.
    if !stands || !(start..start + code.len()).contains(&there) || jump(at, there).is_none() {
        return Err(Kept::NoCall);
    }
    if at % 8 + BRANCH_LEN <= 8 { Ok(site) } else { Err(Kept::Crosses) }
}

/// A jump at `at` to `to`; `None` where that is out of reach.
fn jump(at: usize, to: usize) -> Option<[u8; BRANCH_LEN]> {
    let displacement = i32::try_from(to.wrapping_sub(at + BRANCH_LEN) as isize).ok()?;
    let mut bytes = [JMP; BRANCH_LEN];
    bytes[1..].copy_from_slice(&displacement.to_le_bytes());
    Some(bytes)
}

/// Makes a branch what a key that is `on` asks for: one aligned 64-bit store. `write` is where its first byte is written.
///
/// Ordering, partner and post-invariant are those of [`super::store_displacement`]. Writers are serialised, so nobody else
/// changes the bytes around it.
pub(crate) fn exchange_branch(site: BranchSite, write: WriteAddr, on: bool) {
    let new = if on == site.jumps_when {
        jump(site.at.get(), site.there.get()).expect("it was found within reach")
    } else {
        NOP
    };
    let start = WriteAddr::of_quadword(write);
    let offset = write.get() - start.get();
    debug_assert!(offset + BRANCH_LEN <= 8, "{site:?} crosses an aligned 8 bytes");
    // SAFETY: invariant 1 of `WriteAddr`: mapped and writable, and pages are whole quadwords; aligned.
    let quadword = unsafe { &*start.as_ptr::<AtomicU64>().cast_const() };
    let mut bytes = quadword.load(Ordering::Relaxed).to_le_bytes();
    bytes[offset..offset + BRANCH_LEN].copy_from_slice(&new);
    quadword.store(u64::from_le_bytes(bytes), Ordering::Release);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Code at an address that is a multiple of 64.
    #[repr(align(64))]
    struct Aligned([u8; 256]);

    /// A jump at `at` to the byte 200.
    fn code(at: usize) -> Box<Aligned> {
        let mut code = Box::new(Aligned([0x90; 256]));
        let start = code.0.as_ptr().addr();
        let bytes = jump(start + at, start + 200).unwrap();
        code.0[at..at + BRANCH_LEN].copy_from_slice(&bytes);
        code
    }

    fn find(code: &Aligned, at: usize, slow: usize, there: usize) -> Result<BranchSite, Kept> {
        let start = code.0.as_ptr().addr();
        find_branch(&code.0, start.wrapping_add(at), start + slow, start + there, true)
    }

    #[test]
    fn only_what_lies_in_one_quadword_is_taken() {
        for at in 32..40 {
            let code = code(at);
            let found = find(&code, at, 200, 100).map(|site| site.at.get() - code.0.as_ptr().addr());
            assert_eq!(found, if at % 8 <= 3 { Ok(at) } else { Err(Kept::Crosses) }, "{at}");
        }
    }

    #[test]
    fn only_the_branch_that_is_described_is_taken() {
        let code = code(32);
        assert_eq!(find(&code, 32, 201, 100), Err(Kept::NoCall), "it leads elsewhere");
        assert_eq!(find(&code, 33, 200, 100), Err(Kept::NoCall), "none stands there");
        assert_eq!(find(&code, 32, 200, 300), Err(Kept::NoCall), "where it jumps to is no code");
        assert_eq!(find(&code, 252, 200, 100), Err(Kept::NoCall), "the code ends");
        assert_eq!(find(&code, usize::MAX, 200, 100), Err(Kept::NoCall), "outside");
    }

    #[test]
    fn it_is_exchanged_and_nothing_beside_it() {
        for (at, on_jumps) in [(32, true), (33, false), (35, true)] {
            let mut code = code(at);
            let start = code.0.as_ptr().addr();
            let site = find_branch(&code.0, start + at, start + 200, start + 100, on_jumps).unwrap();
            // The test's bytes are not executed: one address serves for both views.
            let write = WriteAddr::new(code.0.as_mut_ptr().expose_provenance() + at);
            for on in [false, true, false, true, true] {
                exchange_branch(site, write, on);
                let expected = if on == on_jumps { jump(start + at, start + 100).unwrap() } else { NOP };
                assert_eq!(code.0[at..at + BRANCH_LEN], expected);
                assert_eq!(code.0[at - 1], 0x90);
                assert_eq!(code.0[at + BRANCH_LEN], 0x90);
                let leads = if on == on_jumps { 100 } else { at + BRANCH_LEN };
                assert_eq!(site.leads(on), ExecAddr::new(start + leads));
            }
        }
    }
}

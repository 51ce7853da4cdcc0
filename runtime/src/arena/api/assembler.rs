//! A dynasm assembler whose base is the final address, with sites aligned for it.

use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use dynasmrt::x64::X64Relocation;
use dynasmrt::{DynasmApi, VecAssembler};

use super::route::{Route, Shared};
use super::signature::Signature;
use crate::arch;
use crate::arena::ExecAddr;
use crate::error::{Error, MemoryError};
use crate::sabotage::{self, Sabotage};

/// A number that nothing else has: of a reservation, or of an assembler. Addresses are used again, and prove nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity(u64);

impl Identity {
    pub(super) fn new() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        // Relaxed: it says nothing of other memory.
        Self(LAST.fetch_add(1, Ordering::Relaxed))
    }
}

/// Writes code for a [`Reservation`](super::Reservation), at its final address.
///
/// It dereferences to a `dynasmrt::VecAssembler`: `dynasm!(ops ; mov rax, 1)` works on it. [`call`](Self::call) and
/// [`jump`](Self::jump) write branches that can be retargeted later, and fill up with a nop of up to 7 bytes so that
/// the opcode comes to be at 3 modulo 8.
///
/// What a mark stands for must still be there when the code is committed: a `VecAssembler` that is exchanged for another
/// (`*ops = ..`) takes the branches with it that were written into it, and the commit is refused then.
pub struct Assembler {
    ops: VecAssembler<X64Relocation>,
    shared: Arc<Shared>,
    base: ExecAddr,
    identity: Identity,
    /// Of the reservation that this was made for.
    reservation: Identity,
    /// Taken by `finish`; what is left at the drop was never published.
    sites: Vec<Placed>,
}

/// A site in code that is being written: ask the [`Code`](super::Code) for it with [`site`](super::Code::site).
///
/// It knows the assembler that made it: only the code that this very assembler wrote has the site.
#[derive(Debug)]
#[must_use = "`Code::site` makes a site of it"]
pub struct Marked<F> {
    pub(super) index: usize,
    /// The assembler that it belongs to.
    pub(super) assembler: Identity,
    signature: PhantomData<F>,
}

impl<F> Clone for Marked<F> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<F> Copy for Marked<F> {}

/// Where a site is, and where it goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub(super) offset: usize,
    opcode: u8,
    pub(super) target: usize,
    pub(super) route: Route,
}

impl Placed {
    /// The instruction, as it was written.
    fn bytes(&self) -> [u8; arch::BRANCH_LEN] {
        let [a, b, c, d] = self.route.displacement.to_le_bytes();
        [self.opcode, a, b, c, d]
    }
}

/// What an assembler has written.
pub(super) struct Pending {
    pub(super) bytes: Vec<u8>,
    /// One after another, and each of them a branch in `bytes`.
    pub(super) sites: Vec<Placed>,
    /// The assembler that wrote it.
    pub(super) by: Identity,
}

const JMP: u8 = 0xe9;
const CALL: u8 = 0xe8;

impl Assembler {
    pub(super) fn new(shared: Arc<Shared>, base: ExecAddr, reservation: Identity) -> Self {
        let ops = VecAssembler::new(base.get());
        Self { ops, shared, base, identity: Identity::new(), reservation, sites: Vec::new() }
    }

    /// Writes a call to `target`. The stack pointer must be a multiple of 16 there.
    ///
    /// # Errors
    ///
    /// Where `target` is out of reach and there is no memory for a trampoline.
    pub fn call<F: Signature>(&mut self, target: F) -> Result<Marked<F>, Error> {
        self.branch(CALL, target)
    }

    /// Writes a jump to `target`: a tail call, if the stack is as it was at the start.
    ///
    /// # Errors
    ///
    /// As for [`call`](Self::call).
    pub fn jump<F: Signature>(&mut self, target: F) -> Result<Marked<F>, Error> {
        self.branch(JMP, target)
    }

    fn branch<F: Signature>(&mut self, opcode: u8, target: F) -> Result<Marked<F>, Error> {
        let at = self.ops.offset().0;
        let place = at + (arch::SITE_ALIGN + arch::SITE_OFFSET - at % arch::SITE_ALIGN) % arch::SITE_ALIGN;
        let target = target.address();
        let route = self.shared.route(self.base.add(place), target)?;
        self.ops.extend(nop(place - at).iter().copied());
        self.ops.push(opcode);
        self.ops.extend(route.displacement.to_le_bytes());
        self.sites.push(Placed { offset: place, opcode, target, route });
        Ok(Marked { index: self.sites.len() - 1, assembler: self.identity, signature: PhantomData })
    }

    /// What has been written, for this reservation.
    pub(super) fn finish(mut self, reservation: Identity) -> Result<Pending, Error> {
        if self.reservation != reservation {
            return Err(refused("the assembler is another reservation's".to_owned()));
        }
        let ops = core::mem::replace(&mut self.ops, VecAssembler::new(0));
        let bytes = ops.finalize().map_err(|error| refused(error.to_string()))?;
        if !sabotage::is(Sabotage::AnyBranch) {
            self.check_sites(&bytes)?;
        }
        Ok(Pending { bytes, sites: core::mem::take(&mut self.sites), by: self.identity })
    }

    /// The inner assembler was the user's, to exchange and to rewrite.
    fn check_sites(&self, bytes: &[u8]) -> Result<(), Error> {
        let mut free = 0;
        for site in &self.sites {
            let end = site.offset + arch::BRANCH_LEN;
            if site.offset < free || bytes.get(site.offset..end) != Some(&site.bytes()) {
                return Err(refused(format!(
                    "the branch that was marked at offset {} is not there any more: the code was exchanged for other code, \
                     or written over",
                    site.offset
                )));
            }
            free = end;
        }
        Ok(())
    }
}

fn refused(reason: String) -> Error {
    MemoryError::Assembly { reason }.into()
}

impl Drop for Assembler {
    fn drop(&mut self) {
        for site in &self.sites {
            self.shared.leave(site.route);
        }
    }
}

impl Deref for Assembler {
    type Target = VecAssembler<X64Relocation>;
    fn deref(&self) -> &Self::Target {
        &self.ops
    }
}

impl DerefMut for Assembler {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.ops
    }
}

impl core::fmt::Debug for Assembler {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Assembler")
            .field("base", &self.base)
            .field("sites", &self.sites)
            .finish_non_exhaustive()
    }
}

/// One instruction that does nothing, of so many bytes.
fn nop(len: usize) -> &'static [u8] {
    match len {
        0 => &[],
        1 => &[0x90],
        2 => &[0x66, 0x90],
        3 => &[0x0f, 0x1f, 0x00],
        4 => &[0x0f, 0x1f, 0x40, 0x00],
        5 => &[0x0f, 0x1f, 0x44, 0x00, 0x00],
        6 => &[0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00],
        _ => &[0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00],
    }
}

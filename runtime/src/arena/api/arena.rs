//! Memory near an address, in transactions: reserve, then commit or abort.
#![allow(unsafe_code)]

use std::sync::Arc;

use super::assembler::{Assembler, Identity, Pending};
use super::code::Code;
use super::route::{self, Shared};
use super::signature::Signature;
use super::site::Site;
use crate::arch;
use crate::arena::{Block, CodeHeap, ExecAddr};
use crate::error::{Error, MemoryError};

/// Executable memory for a code generator, never writable and executable at one address.
///
/// Code is published as a transaction: [`reserve`](Self::reserve) says where it will lie, an [`Assembler`] whose base is
/// that address writes it, [`Reservation::commit`] makes it executable there. Dropping the reservation aborts. What is
/// committed is a [`Code`], and the branches in it that were marked are [`Site`]s, which can be retargeted while they
/// are executed.
///
/// Handles are cheap to clone. On other platforms than Linux x86-64 an arena is refused with
/// [`MemoryError::Unsupported`].
///
/// ```
/// use hotcall::{Arena, Signature};
/// use hotcall::dynasmrt::DynasmApi;
///
/// type F = unsafe extern "C-unwind" fn(u64) -> u64;
/// unsafe extern "C-unwind" fn double(x: u64) -> u64 { x * 2 }
/// unsafe extern "C-unwind" fn square(x: u64) -> u64 { x * x }
///
/// let arena = Arena::near(double as *const u8)?;
/// let reservation = arena.reserve(64)?;
/// let mut ops = reservation.assembler();
/// ops.extend([0x48, 0x83, 0xec, 0x08]);                  // sub rsp, 8
/// let leaf = ops.call::<F>(double)?;                     // a call that can be retargeted
/// ops.extend([0x48, 0xff, 0xc0]);                        // inc rax
/// ops.extend([0x48, 0x83, 0xc4, 0x08, 0xc3]);            // add rsp, 8; ret
/// // SAFETY: the code is a function of type `F`, and balances the stack.
/// let code = unsafe { reservation.commit(ops)? };
/// let site = code.site(leaf)?;
/// // SAFETY: as above.
/// let call = |x| unsafe { code.call::<F>((x,)) };
/// assert_eq!(call(5), 11);
/// // SAFETY: `square` is a function that may be called there.
/// unsafe { site.retarget(square)? };
/// assert_eq!(call(5), 26);
/// # Ok::<(), hotcall::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Arena {
    shared: Arc<Shared>,
}

impl Arena {
    /// An arena whose code reaches `address`, and is reached from there: within ±2 GiB, as near as there is room.
    ///
    /// # Errors
    ///
    /// Where there is no room, or the system refuses executable memory.
    pub fn near(address: *const u8) -> Result<Self, Error> {
        let near = address.addr();
        Self::first_chunk(CodeHeap::new(near..near.saturating_add(1)), near)
    }

    /// An arena wherever the system likes.
    ///
    /// # Errors
    ///
    /// Where the system refuses executable memory.
    pub fn anywhere() -> Result<Self, Error> {
        Self::first_chunk(CodeHeap::anywhere(), 0)
    }

    /// Maps the first chunk, so that what is refused is refused here.
    fn first_chunk(mut heap: CodeHeap, near: usize) -> Result<Self, Error> {
        let probe = heap.allocate(1)?;
        heap.release(probe);
        // Never executed, and nothing led there.
        let mark = heap.mark();
        heap.recycle(mark);
        Ok(Self { shared: Shared::new(heap, near) })
    }

    /// Sets memory aside for at most `len` bytes of code. Its address is final.
    ///
    /// # Errors
    ///
    /// Where the arena had to grow and could not; [`MemoryError::NoRoom`] where `len` is more than a branch reaches.
    pub fn reserve(&self, len: usize) -> Result<Reservation, Error> {
        if len > arch::REACH {
            // No end of it would reach the other; and memory for it would have to be found.
            return Err(self.shared.no_room(len).into());
        }
        let block = self.shared.heap.lock().allocate(len.max(1))?;
        Ok(Reservation { shared: Arc::clone(&self.shared), block: Some(block), identity: Identity::new() })
    }

    /// A branch on its own: a function that jumps to `target`, and can be made to jump elsewhere.
    ///
    /// # Errors
    ///
    /// Where the arena had to grow and could not.
    ///
    /// # Safety
    ///
    /// Whoever calls [`Site::entry`] may call `target`.
    pub unsafe fn site<F: Signature>(&self, target: F) -> Result<Site<F>, Error> {
        let reservation = self.reserve(arch::SITE_OFFSET + arch::BRANCH_LEN)?;
        let mut ops = reservation.assembler();
        let marked = ops.jump::<F>(target)?;
        // SAFETY: the code is one jump, to what the caller vouches for.
        let code = unsafe { reservation.commit(ops)? };
        code.into_site(marked)
    }

    /// What the arena holds.
    #[must_use]
    pub fn stats(&self) -> ArenaStats {
        stats_of(&self.shared)
    }
}

/// The statistics of all arenas: see [`crate::stats`].
pub(crate) fn all() -> impl Iterator<Item = ArenaStats> {
    route::all().into_iter().map(|shared| stats_of(&shared))
}

fn stats_of(shared: &Shared) -> ArenaStats {
    let heap = shared.heap.lock().stats();
    ArenaStats {
        bytes_mapped: heap.bytes_mapped,
        bytes_used: heap.bytes_used,
        bytes_waiting: heap.bytes_quarantined,
        blocks: heap.blocks,
        chunks: heap.chunks,
        bytes_in_free_pages: heap.bytes_in_free_pages,
        longest_free_run: heap.longest_free_run,
        sites: shared.site_count(),
        trampolines: shared.trampolines(),
    }
}

/// What an arena holds: see [`Arena::stats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArenaStats {
    /// Memory mapped for code.
    pub bytes_mapped: usize,
    /// What reservations, code and trampolines take up.
    pub bytes_used: usize,
    /// What has been freed and waits for quiescence.
    pub bytes_waiting: usize,
    /// How many blocks are in use.
    pub blocks: usize,
    /// How many mappings.
    pub chunks: usize,
    /// Free pages, in bytes.
    pub bytes_in_free_pages: usize,
    /// The largest block that can be had without growing.
    pub longest_free_run: usize,
    /// Sites that can be retargeted.
    pub sites: usize,
    /// Trampolines to targets out of reach.
    pub trampolines: usize,
}

impl ArenaStats {
    /// How much of the free memory is not in one piece: 0 for none, towards 1 for all of it.
    #[must_use]
    pub fn fragmentation(&self) -> f64 {
        if self.bytes_in_free_pages == 0 {
            return 0.0;
        }
        1.0 - self.longest_free_run as f64 / self.bytes_in_free_pages as f64
    }
}

/// Memory set aside for code that is being written. Dropping it gives the memory back.
#[derive(Debug)]
#[must_use = "a reservation that is dropped is aborted"]
pub struct Reservation {
    shared: Arc<Shared>,
    /// Taken by `commit`.
    block: Option<Block>,
    identity: Identity,
}

impl Reservation {
    fn exec(&self) -> ExecAddr {
        self.block.as_ref().map_or(ExecAddr::new(0), Block::exec)
    }

    /// Where the code will begin. A multiple of 16. Nothing is there yet.
    #[must_use]
    pub fn address(&self) -> *const u8 {
        core::ptr::with_exposed_provenance(self.exec().get())
    }

    /// The most bytes that can be committed.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.block.as_ref().map_or(0, Block::len)
    }

    /// An assembler whose base is the final address.
    #[must_use]
    pub fn assembler(&self) -> Assembler {
        Assembler::new(Arc::clone(&self.shared), self.exec(), self.identity)
    }

    /// Publishes the code: from here on it may be run.
    ///
    /// # Errors
    ///
    /// [`MemoryError::TooLong`] where it is longer than what was reserved, [`MemoryError::Assembly`] where a label is missing,
    /// the assembler is another reservation's, or a branch that was marked is not there any more. The reservation is aborted
    /// then.
    ///
    /// # Safety
    ///
    /// Whoever runs the code runs it as what it is. Each marked branch is executed as the instruction that it is. Until the last thread is through, nothing of it depends on anything
    /// that goes away.
    pub unsafe fn commit(mut self, ops: Assembler) -> Result<Code, Error> {
        let Pending { bytes, sites, by } = ops.finish(self.identity)?;
        let capacity = self.capacity();
        if bytes.len() > capacity {
            // Never published: nobody is on the way.
            sites.iter().for_each(|site| self.shared.leave(site.route));
            return Err(MemoryError::TooLong { length: bytes.len(), reserved: capacity }.into());
        }
        let Some(block) = self.block.take() else {
            unreachable!("only `commit` takes the block, and it takes `self`")
        };
        let written = self.shared.heap.lock().write(&block, &bytes);
        if let Err(error) = written {
            sites.iter().for_each(|site| self.shared.leave(site.route));
            // Aborted when `self` is dropped, which it is now.
            self.block = Some(block);
            return Err(error.into());
        }
        Ok(Code::new(Arc::clone(&self.shared), block, bytes.len(), sites, by))
    }

    /// Gives the memory back. As dropping it does.
    pub fn abort(self) {}
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.shared.heap.release(self.block.take());
    }
}

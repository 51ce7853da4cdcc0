//! Whether two copies of the standard library allocate from one allocator.
//!
//! A value that owns memory and is passed between a host and its plugin is allocated by one and freed by the other. Nothing
//! that links says which allocator a library has: the functions that `#[global_allocator]` gives are private to it.
//!
//! So it is tried. An allocator that is given a block back gives the same block to whoever asks for that size next, on that
//! thread: true of the allocators of glibc, jemalloc, mimalloc and others. Where it is true of both sides, alone, it is true across
//! the two just if they are one; a layer that passes every call on as it is counts as what it passes it on to. Each side
//! frees only what it allocated.
#![allow(unsafe_code)]

use core::alloc::Layout;
use core::ptr::NonNull;

/// An allocator, as another copy of hotcall can call it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Allocator {
    allocate: extern "C-unwind" fn(usize) -> Option<NonNull<u8>>,
    free: unsafe extern "C-unwind" fn(NonNull<u8>, usize),
}

/// What was found out about two allocators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kin {
    Same,
    Differ,
    /// One of them does not give back what it got last.
    Unknown,
}

/// Sizes that small-object caches hold, of different classes.
const SIZES: [usize; 6] = [24, 40, 72, 104, 200, 408];
const ALIGNMENT: usize = 8;

fn layout(size: usize) -> Option<Layout> {
    Layout::from_size_align(size.max(1), ALIGNMENT).ok()
}

extern "C-unwind" fn allocate(size: usize) -> Option<NonNull<u8>> {
    // SAFETY: the layout is not empty.
    NonNull::new(unsafe { std::alloc::alloc(layout(size)?) })
}

unsafe extern "C-unwind" fn free(block: NonNull<u8>, size: usize) {
    let Some(layout) = layout(size) else { return };
    // SAFETY: the caller's promise: `allocate` gave it for this size.
    unsafe { std::alloc::dealloc(block.as_ptr(), layout) };
}

impl Allocator {
    /// This copy's.
    pub(crate) const THIS: Self = Self { allocate, free };

    /// Takes a block and gives it back. Where it was.
    fn passing(&self, size: usize) -> Option<usize> {
        let block = (self.allocate)(size)?;
        // SAFETY: it has just been allocated, for this size.
        unsafe { (self.free)(block, size) };
        Some(block.addr().get())
    }

    /// Whether `self` and `other` are one.
    pub(crate) fn kin(&self, other: &Self) -> Kin {
        let mut same = true;
        for size in SIZES {
            // The first may bring a cache in order: glibc's takes the blocks of a list along, and is full when one comes back.
            let _ = (self.passing(size), other.passing(size));
            let (one, two) = (self.passing(size), self.passing(size));
            let (three, four) = (other.passing(size), other.passing(size));
            if one.is_none() || one != two || three != four {
                return Kin::Unknown;
            }
            same &= two == three && self.passing(size) == two;
        }
        if same { Kin::Same } else { Kin::Differ }
    }

    /// Whether this copy allocates as the system does.
    pub(crate) fn this_is_the_systems() -> Kin {
        extern "C-unwind" fn allocate(size: usize) -> Option<NonNull<u8>> {
            let layout = layout(size)?;
            // SAFETY: the layout is not empty.
            NonNull::new(unsafe { core::alloc::GlobalAlloc::alloc(&std::alloc::System, layout) })
        }
        unsafe extern "C-unwind" fn free(block: NonNull<u8>, size: usize) {
            let Some(layout) = layout(size) else { return };
            // SAFETY: the caller's promise, as above.
            unsafe { core::alloc::GlobalAlloc::dealloc(&std::alloc::System, block.as_ptr(), layout) };
        }
        Self { allocate, free }.kin(&Self::THIS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allocator_is_its_own() {
        assert_ne!(Allocator::THIS.kin(&Allocator::THIS), Kin::Differ);
        assert_ne!(Allocator::this_is_the_systems(), Kin::Differ);
    }

    #[test]
    fn one_that_puts_something_before_each_block_is_another() {
        extern "C-unwind" fn headed(size: usize) -> Option<NonNull<u8>> {
            // SAFETY: inside the block, which is 16 longer.
            Some(unsafe { allocate(size + 16)?.add(16) })
        }
        unsafe extern "C-unwind" fn free_headed(block: NonNull<u8>, size: usize) {
            // SAFETY: `headed` gave it.
            let block = unsafe { block.sub(16) };
            // SAFETY: as above.
            unsafe { free(block, size + 16) };
        }
        let headed = Allocator { allocate: headed, free: free_headed };
        assert_ne!(Allocator::THIS.kin(&headed), Kin::Same);
        if Allocator::THIS.kin(&Allocator::THIS) == Kin::Same {
            assert_eq!(headed.kin(&Allocator::THIS), Kin::Differ);
        }
    }
}

//! Code memory of the tools' own: one memfd, mapped once to execute and once to write, never both at
//! one address.
//!
//! The tools measure the processor, not the runtime, so they do not borrow the runtime's arenas.
#![allow(unsafe_code)]

use core::ffi::c_void;
use core::ptr::NonNull;
use std::io;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// Two views of one piece of memory.
///
/// Invariants:
/// 1. `execute` and `write` are live mappings of the same `length` bytes, unmapped only by `drop`.
/// 2. `execute` is never writable, `write` is never executable.
#[derive(Debug)]
pub struct CodeMemory {
    execute: NonNull<c_void>,
    write: NonNull<c_void>,
    length: usize,
}

// SAFETY: the views are plain memory; who writes and who executes is the caller's concern (`put` takes
// `&mut self`, and executing is unsafe).
unsafe impl Send for CodeMemory {}
// SAFETY: as above.
unsafe impl Sync for CodeMemory {}

impl CodeMemory {
    /// Maps `length` bytes, zeroes until they are written.
    ///
    /// # Errors
    ///
    /// What the system answers where it refuses the memory, or refuses to let it be executed.
    pub fn new(length: usize) -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC;
        let file = match memfd_create("hotcall-benches", flags | MemfdFlags::EXEC) {
            // Kernels before 6.3 do not know the flag and allow executing without it.
            Err(Errno::INVAL) => memfd_create("hotcall-benches", flags)?,
            other => other?,
        };
        ftruncate(&file, length as u64)?;
        let map = |protection| {
            // SAFETY: a new mapping at an address of the kernel's choosing replaces nothing.
            unsafe { mmap(core::ptr::null_mut(), length, protection, MapFlags::SHARED, &file, 0) }
        };
        let execute = map(ProtFlags::READ | ProtFlags::EXEC)?;
        let write = match map(ProtFlags::READ | ProtFlags::WRITE) {
            Ok(write) => write,
            Err(refused) => {
                // SAFETY: mapped above, with this length, and not handed out.
                unsafe { munmap(execute, length) }?;
                return Err(refused.into());
            }
        };
        match (NonNull::new(execute), NonNull::new(write)) {
            (Some(execute), Some(write)) => Ok(Self { execute, write, length }),
            _ => Err(io::Error::other("mmap answered a null pointer")),
        }
    }

    /// The address at which the byte at `offset` is executed.
    ///
    /// # Panics
    ///
    /// When `offset` is past the end.
    #[must_use]
    pub fn execute_address(&self, offset: usize) -> *const u8 {
        assert!(offset < self.length, "{offset:#x} is past the end of the code memory");
        self.execute.as_ptr().cast::<u8>().wrapping_add(offset).cast_const()
    }

    /// The address at which the byte at `offset` is written.
    ///
    /// # Panics
    ///
    /// When `offset` is past the end.
    #[must_use]
    pub fn write_address(&self, offset: usize) -> *mut u8 {
        assert!(offset < self.length, "{offset:#x} is past the end of the code memory");
        self.write.as_ptr().cast::<u8>().wrapping_add(offset)
    }

    /// Copies `bytes` to `offset`, before any of them is executed.
    ///
    /// # Panics
    ///
    /// When they do not fit.
    pub fn put(&mut self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= self.length, "{} bytes at {offset:#x} do not fit", bytes.len());
        // SAFETY: invariant 1 and the check above: the range is mapped writable; `&mut self`: no other
        // `put` runs; `bytes` is a Rust slice and so not this mapping.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), self.write_address(offset), bytes.len()) }
    }
}

impl Drop for CodeMemory {
    fn drop(&mut self) {
        for view in [self.execute, self.write] {
            // SAFETY: invariant 1: a live mapping of this length, unmapped here and nowhere else. The
            // caller that executed code in it has returned, as it borrowed `self`.
            let unmapped = unsafe { munmap(view.as_ptr(), self.length) };
            debug_assert!(unmapped.is_ok(), "munmap: {unmapped:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::CodeMemory;

    #[test]
    fn what_is_written_runs() -> std::io::Result<()> {
        let mut memory = CodeMemory::new(4096)?;
        memory.put(16, &[0xb8, 42, 0, 0, 0, 0xc3]); // mov eax, 42; ret
        // SAFETY: the bytes above are such a function.
        let answer: extern "sysv64" fn() -> u32 = unsafe { core::mem::transmute(memory.execute_address(16)) };
        assert_eq!(answer(), 42);
        Ok(())
    }
}

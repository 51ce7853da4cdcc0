//! Code memory: one memory, mapped twice.
//!
//! # Problem
//!
//! Code is written while other threads run the code beside it, on the same page. Making the page writable for that
//! would stop them, or would make it writable and executable at once.
//!
//! # Idea
//!
//! The memory is a file without a name (a memfd), and it has two views. One executes and is never writable, the
//! other writes and is never executable, and nobody but this process knows where:
//!
//! ```text
//!   near the code that it serves                    anywhere
//!   ┌───────┬──────────────────────┬───────┐        ┌──────────────────────┐
//!   │ guard │ executable view  R+X │ guard │        │ writable view    R+W │
//!   └───────┴──────────┬───────────┴───────┘        └──────────┬───────────┘
//!                      └───────────── one memfd ───────────────┘
//! ```
//!
//! A page of the running image becomes such memory by being copied into the memfd, which is then mapped over it. That
//! is one system call, under which the page is at every moment the old one or the new one, and both hold the
//! same bytes: threads may be running on it.
//!
//! The memfd is sealed against growing and shrinking, so that no view can come to lie past its end, and
//! closed once it is mapped.
//!
//! # Debuggers
//!
//! A debugger cannot write to a shared mapping that is not writable, so it cannot set a software breakpoint in
//! code memory, or on a page of the image that has been mapped over; a hardware breakpoint (`hbreak`) it can. One that
//! is set on such a page *before* it is mapped over is copied along and cannot be taken out again.
//!
//! # fork
//!
//! Both views are shared, and remain so in a forked child, which would patch its parent. [`DualMap::privatise`]
//! gives the child a memory of its own, at the same addresses.
#![allow(unsafe_code)]

use core::ffi::c_void;
use core::mem::ManuallyDrop;
use core::ops::Range;
use core::ptr;
use std::io;
use std::os::fd::OwnedFd;

use memmap2::{MmapMut, MmapOptions};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

use super::gap;
use crate::arch::{REACH, TRAP};
use crate::arena::{ExecAddr, WriteAddr};
use crate::error::MemoryError;

/// The name of the memory in `/proc/self/maps`.
const NAME: &str = "hotcall";
/// How often another thread may take the gap that was found, before that is an error.
const TRIES: usize = 64;

const READ_EXECUTE: ProtFlags = ProtFlags::READ.union(ProtFlags::EXEC);
const READ_WRITE: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

/// Code memory with its two views.
///
/// Invariants:
/// 1. `exec` is mapped R+X, and `write` R+W, from the same memfd at the same offsets, and they are equally long:
///    a multiple of the page size.
/// 2. Where `reserved` is something, `exec` lies inside it with a page on either side that cannot be accessed, and
///    all of it is this map's to unmap. Where it is not, `exec` is a part of an image, and both views stay for ever.
#[derive(Debug)]
pub(crate) struct DualMap {
    exec: Range<usize>,
    write: ManuallyDrop<MmapMut>,
    reserved: Option<Reserved>,
}

impl DualMap {
    /// Fresh memory of at least `len` bytes as near to `reach` as there is room. All of it is `int3`.
    ///
    /// # Errors
    ///
    /// [`MemoryError::NoRoom`] where no gap is within [`REACH`] of all of `reach`; else what the system refused.
    pub(crate) fn near(reach: Range<usize>, len: usize) -> Result<Self, MemoryError> {
        let no_room = MemoryError::NoRoom { near: reach.start, length: len, reach: REACH };
        let Some(len) = len.checked_next_multiple_of(page()).filter(|len| *len < REACH) else {
            return Err(no_room);
        };
        let total = len + 2 * page();
        for _ in 0..TRIES {
            let areas = gap::areas().map_err(no_maps)?;
            let Some(start) = gap::nearest(&areas, &reach, total, REACH, page()) else {
                return Err(no_room);
            };
            match Reserved::at(start, total) {
                Ok(reserved) => return Self::inside(reserved, len),
                // Another thread has mapped something there since.
                Err(Errno::EXIST) => {}
                Err(errno) => {
                    return Err(refused("mmap of a gap", format!("{total} bytes at {start:#x}"), errno));
                }
            }
        }
        Err(refused("mmap of a gap", format!("{total} bytes, {TRIES} times"), Errno::EXIST))
    }

    /// Fresh memory of at least `len` bytes wherever the system likes. All of it is `int3`.
    ///
    /// # Errors
    ///
    /// What the system refused.
    pub(crate) fn anywhere(len: usize) -> Result<Self, MemoryError> {
        let too_long = || refused("mmap of a gap", format!("{len} bytes"), Errno::NOMEM);
        let rounded = len.checked_next_multiple_of(page()).ok_or_else(too_long)?;
        let total = rounded.checked_add(2 * page()).ok_or_else(too_long)?;
        let reserved = Reserved::anywhere(total)
            .map_err(|errno| refused("mmap of a gap", format!("{total} bytes"), errno))?;
        Self::inside(reserved, rounded)
    }

    /// The `len` bytes of the running image from `start` on, with the content that they have. Whole pages.
    ///
    /// Other threads may be running there. It stays for ever, even if the answer is dropped.
    ///
    /// # Errors
    ///
    /// What the system refused, or that the range is not executable, is writable, or has been mapped over before.
    pub(crate) fn over_image(start: ExecAddr, len: usize) -> Result<Self, MemoryError> {
        let exec = start.get()..start.get().saturating_add(len);
        check_image(&exec)?;
        let at: *const u8 = ptr::with_exposed_provenance(start.get());
        // SAFETY: `check_image` saw these pages: readable, and writable to nobody, so they do not change.
        let bytes = unsafe { core::slice::from_raw_parts(at, len) };
        let memory = sealed_memory(len)?;
        let mut write = map_writable(&memory, len)?;
        write.copy_from_slice(bytes);
        // SAFETY: what it replaces has the same content and the same permissions, so that whoever runs or reads it
        // sees no difference; and nobody unmaps it, for it is part of an image.
        unsafe { map_fixed(exec.start, len, READ_EXECUTE, &memory) }?;
        Ok(Self { exec, write: ManuallyDrop::new(write), reserved: None })
    }

    fn inside(reserved: Reserved, len: usize) -> Result<Self, MemoryError> {
        let memory = sealed_memory(len)?;
        let mut write = map_writable(&memory, len)?;
        write.fill(TRAP);
        let start = reserved.start + page();
        // SAFETY: what it replaces is a part of `reserved`, which nobody else uses.
        unsafe { map_fixed(start, len, READ_EXECUTE, &memory) }?;
        Ok(Self { exec: start..start + len, write: ManuallyDrop::new(write), reserved: Some(reserved) })
    }

    /// Where it executes.
    pub(crate) fn exec_range(&self) -> Range<usize> {
        self.exec.clone()
    }

    /// Where that byte of code can be written; `None` where it is not of this memory.
    pub(crate) fn write_addr(&self, exec: ExecAddr) -> Option<WriteAddr> {
        let offset = self.offset(exec)?;
        Some(WriteAddr::new(self.write.as_ptr().expose_provenance() + offset))
    }

    fn offset(&self, exec: ExecAddr) -> Option<usize> {
        self.exec.contains(&exec.get()).then(|| exec.get() - self.exec.start)
    }

    /// Writes `bytes` at `exec`, through the other view. Nobody executes or patches those bytes meanwhile.
    ///
    /// # Panics
    ///
    /// Where they are not all of this memory.
    pub(crate) fn write(&mut self, exec: ExecAddr, bytes: &[u8]) {
        let offset = self.offset(exec).expect("code is written to the memory that it was allocated from");
        self.write[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    /// Fills `len` bytes at `exec` with `int3`, as [`DualMap::write`] would.
    ///
    /// # Panics
    ///
    /// Where they are not all of this memory.
    pub(crate) fn erase(&mut self, exec: ExecAddr, len: usize) {
        let offset = self.offset(exec).expect("code is erased from the memory that it was allocated from");
        self.write[offset..offset + len].fill(TRAP);
    }

    /// All bytes. The caller lets nobody patch them meanwhile.
    pub(crate) fn copy_of_contents(&self) -> Vec<u8> {
        self.write.to_vec()
    }

    /// In a forked child: a memory of its own, with the content of `snapshot`, under both views, at the same
    /// addresses. The snapshot was taken before the fork, under the lock that keeps writers out.
    ///
    /// # Errors
    ///
    /// What the system refused. The writable view goes first: whatever happens, after an error about
    /// the executable view nothing that this process writes reaches its parent, or its own code.
    ///
    /// # Panics
    ///
    /// Where the snapshot is of another memory.
    pub(crate) fn privatise(&mut self, snapshot: &[u8]) -> Result<(), MemoryError> {
        let len = self.exec.len();
        let memory = sealed_memory(len)?;
        map_writable(&memory, len)?.copy_from_slice(snapshot);
        let write = self.write.as_mut_ptr().expose_provenance();
        // SAFETY: what it replaces is the writable view, which this has exclusively. Whoever keeps a `WriteAddr` finds
        // the same bytes there.
        unsafe { map_fixed(write, len, READ_WRITE, &memory) }?;
        // SAFETY: what it replaces is the executable view (invariant 1), of the same content and permissions.
        unsafe { map_fixed(self.exec.start, len, READ_EXECUTE, &memory) }
    }
}

impl Drop for DualMap {
    fn drop(&mut self) {
        if self.reserved.is_some() {
            // SAFETY: dropped nowhere else. `reserved` unmaps the executable view after this.
            unsafe { ManuallyDrop::drop(&mut self.write) };
        }
    }
}

/// A part of the address space. Unmapped, with all that was mapped into it, when it is dropped.
///
/// Invariant 1: `start..start + len` was mapped for this, and nobody else uses it.
#[derive(Debug)]
struct Reserved {
    start: usize,
    len: usize,
}

impl Reserved {
    fn at(start: usize, len: usize) -> Result<Self, Errno> {
        let reserved = Self::map(start, len, MapFlags::FIXED_NOREPLACE)?;
        // A kernel before 4.17 takes the address for a hint.
        if reserved.start == start { Ok(reserved) } else { Err(Errno::EXIST) }
    }

    fn anywhere(len: usize) -> Result<Self, Errno> {
        Self::map(0, len, MapFlags::empty())
    }

    fn map(start: usize, len: usize, flags: MapFlags) -> Result<Self, Errno> {
        let flags = flags | MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: without `MAP_FIXED` nothing that is mapped is replaced.
        let at =
            unsafe { mmap_anonymous(ptr::without_provenance_mut(start), len, ProtFlags::empty(), flags) }?;
        Ok(Self { start: at.expose_provenance(), len })
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let at: *mut c_void = ptr::with_exposed_provenance_mut(self.start);
        // SAFETY: invariant 1. Whoever drops code memory vouches that nothing leads there any more.
        let unmapped = unsafe { munmap(at, self.len) };
        debug_assert!(unmapped.is_ok(), "{:#x}: {unmapped:?}", self.start);
    }
}

fn page() -> usize {
    rustix::param::page_size()
}

/// A file without a name, of `len` zeroes, that can be mapped executable and keeps its length.
fn sealed_memory(len: usize) -> Result<OwnedFd, MemoryError> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = match memfd_create(NAME, flags | MemfdFlags::EXEC) {
        // A kernel before 6.3 knows no `MFD_EXEC`, and needs none.
        Err(Errno::INVAL) => memfd_create(NAME, flags),
        other => other,
    };
    let memory = memory.map_err(|errno| refused("memfd_create", "executable".to_owned(), errno))?;
    ftruncate(&memory, len as u64).map_err(|errno| refused("ftruncate", format!("{len} bytes"), errno))?;
    let seals = SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    fcntl_add_seals(&memory, seals)
        .map_err(|errno| refused("fcntl(F_ADD_SEALS)", format!("{seals:?}"), errno))?;
    Ok(memory)
}

fn map_writable(memory: &OwnedFd, len: usize) -> Result<MmapMut, MemoryError> {
    // SAFETY: the file has no name and cannot shrink. Its other view is executed, not referred to; and whoever
    // writes here vouches that the bytes are not executed meanwhile, or stores to them as to an atomic.
    let mapped = unsafe { MmapOptions::new().len(len).map_mut(memory) };
    mapped.map_err(|source| MemoryError::System {
        operation: "mmap of the writable view",
        detail: format!("{len} bytes"),
        hint: hint(source.raw_os_error().map(Errno::from_raw_os_error)),
        source,
    })
}

/// Maps `memory` at `start`, replacing what is there.
///
/// # Safety
///
/// Nobody minds: what is there is the caller's, or the caller's memory has the same content.
unsafe fn map_fixed(start: usize, len: usize, prot: ProtFlags, memory: &OwnedFd) -> Result<(), MemoryError> {
    // The pages are there: mapping them all now spares whoever executes them first a fault.
    let flags = MapFlags::SHARED | MapFlags::FIXED | MapFlags::POPULATE;
    // SAFETY: the caller's promise.
    match unsafe { mmap(ptr::with_exposed_provenance_mut(start), len, prot, flags, memory, 0) } {
        Ok(_) => Ok(()),
        Err(errno) => {
            let which = if prot == READ_EXECUTE {
                "mmap of the executable view"
            } else {
                "mmap of the writable view"
            };
            Err(refused(which, format!("{len} bytes at {start:#x}"), errno))
        }
    }
}

/// Whether these are whole pages of an image's code, and not yet mapped over.
fn check_image(range: &Range<usize>) -> Result<(), MemoryError> {
    let wrong = |reason: &str| MemoryError::System {
        operation: "check of the pages to be mapped over",
        detail: format!("{:#x}..{:#x}", range.start, range.end),
        source: io::Error::new(io::ErrorKind::InvalidInput, reason),
        hint: "keep the section `hotcall_stubs` in a segment that is read and executed, and not written",
    };
    if range.is_empty() || !range.start.is_multiple_of(page()) || !range.len().is_multiple_of(page()) {
        return Err(wrong("they are not whole pages"));
    }
    let mut covered = range.start;
    for area in gap::areas().map_err(no_maps)? {
        if covered < range.end && area.range.contains(&covered) {
            if !area.permissions.starts_with(b"r-x") {
                return Err(wrong("they are not read-and-execute"));
            }
            if area.name.strip_prefix("/memfd:").is_some_and(|name| name.starts_with(NAME)) {
                return Err(wrong("they have been mapped over before"));
            }
            covered = area.range.end;
        }
    }
    if covered < range.end { Err(wrong("they are not mapped")) } else { Ok(()) }
}

fn no_maps(source: io::Error) -> MemoryError {
    MemoryError::System {
        operation: "read",
        detail: "/proc/self/maps".to_owned(),
        source,
        hint: "mount /proc: without it no gap near the program's code can be found",
    }
}

#[cold]
fn refused(operation: &'static str, detail: String, errno: Errno) -> MemoryError {
    MemoryError::System { operation, detail, source: errno.into(), hint: hint(Some(errno)) }
}

fn hint(errno: Option<Errno>) -> &'static str {
    match errno {
        Some(Errno::ACCESS | Errno::PERM) => {
            "a policy forbids executable memory: allow it (sysctl vm.memfd_noexec below 2; SELinux: execmem and \
             map on tmpfs files; no noexec on shared memory)"
        }
        Some(Errno::NOMEM) => {
            "a limit is reached: raise it (ulimit -v, the memory of the cgroup, sysctl vm.max_map_count)"
        }
        Some(Errno::MFILE | Errno::NFILE) => "too many files are open: raise the limit (ulimit -n)",
        Some(Errno::NOSYS) => "a seccomp filter hides the call: allow it",
        Some(Errno::EXIST) => "another thread maps memory there: try again",
        _ => "this is a limit of the system that hotcall does not know: please report it",
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;

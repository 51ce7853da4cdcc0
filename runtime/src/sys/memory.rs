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
//! code memory, or on a page of the image that has been mapped over; a hardware breakpoint (`hbreak`) it can. A page that
//! has one before is not mapped over: see [`super::image_pages`].
//!
//! # fork
//!
//! Both views are shared, and remain so between a forked child and its parent: either would patch the other. So a map
//! remembers the epoch ([`super::fork`]) in which its memory came to be this process's own. Whoever is about to write to it
//! in a later one, parent or child, first *makes it its own*: copies it into a fresh memfd, which is mapped over both views
//! at the same addresses. As with a page of the image, both hold the same bytes, and threads may be running there.
//!
//! So from the moment of the fork neither process writes what the other can see. Where the copy is refused, so is
//! the write, and nothing has changed; the next one tries again.
#![allow(unsafe_code)]

use core::ffi::c_void;
use core::mem::ManuallyDrop;
use core::ops::Range;
use core::ptr;
use std::io;
use std::os::fd::OwnedFd;

use memmap2::{MmapMut, MmapOptions};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::io::{Errno, pwrite};
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use rustix::process::{Resource, getrlimit};

use super::fork::{self, HeldOff};
use super::image_pages::{self, ImagePages};
use super::{gap, selftest};
use crate::arch::{REACH, TRAP};
use crate::arena::{ExecAddr, WriteAddr};
use crate::error::MemoryError;
use crate::sabotage::{self, Sabotage};

/// The name of the memory in `/proc/self/maps`.
pub(super) const NAME: &str = "hotcall";
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
/// 3. Where `epoch` is that of the process, nobody else has the memory mapped. It is written to only then, and only
///    while forks are held off.
#[derive(Debug)]
pub(crate) struct DualMap {
    exec: Range<usize>,
    write: ManuallyDrop<MmapMut>,
    reserved: Option<Reserved>,
    /// In which the memory came to be this process's own.
    epoch: u32,
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
        selftest::pass()?;
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
        selftest::pass()?;
        let rounded = len.checked_next_multiple_of(page()).ok_or_else(too_long)?;
        let total = rounded.checked_add(2 * page()).ok_or_else(too_long)?;
        let reserved = Reserved::anywhere(total)
            .map_err(|errno| refused("mmap of a gap", format!("{total} bytes"), errno))?;
        Self::inside(reserved, rounded)
    }

    /// A page for [`selftest`], which is before all other code memory.
    pub(super) fn for_self_test() -> Result<Self, MemoryError> {
        let len = page();
        let reserved = Reserved::anywhere(3 * len);
        let reserved =
            reserved.map_err(|errno| refused("mmap of a gap", format!("{} bytes", 3 * len), errno))?;
        Self::inside(reserved, len)
    }

    /// The `len` bytes of the running image from `start` on, with the content that they have. Whole pages.
    ///
    /// Other threads may be running there. It stays for ever, even if the answer is dropped.
    ///
    /// # Errors
    ///
    /// What the system refused, or that the range is not executable, is writable, has been mapped over before, or differs from
    /// its file.
    pub(crate) fn over_image(pages: &ImagePages, start: ExecAddr, len: usize) -> Result<Self, MemoryError> {
        let exec = start.get()..start.get().saturating_add(len);
        pages.check(&exec)?;
        selftest::pass()?;
        // A fork from here on may share what is made below.
        let epoch = fork::epoch();
        // SAFETY: these pages have been checked: readable, and writable to nobody, so they do not change.
        let memory = unsafe { copy_of(&exec) }?;
        // A debugger may have changed them meanwhile.
        if !pages.changed(&exec).is_empty() {
            return Err(image_pages::wrong(&exec, "they differ from their file"));
        }
        let write = map_writable(&memory, len)?;
        // SAFETY: what it replaces has the same content and the same permissions, so that whoever runs or reads it
        // sees no difference; and nobody unmaps it, for it is part of an image.
        unsafe { map_fixed(exec.start, len, READ_EXECUTE, &memory) }?;
        Ok(Self { exec, write: ManuallyDrop::new(write), reserved: None, epoch })
    }

    fn inside(reserved: Reserved, len: usize) -> Result<Self, MemoryError> {
        // A fork from here on may share what is made below.
        let epoch = fork::epoch();
        let memory = sealed_memory(len)?;
        let mut write = map_writable(&memory, len)?;
        write.fill(TRAP);
        let start = reserved.start + page();
        // SAFETY: what it replaces is a part of `reserved`, which nobody else uses.
        unsafe { map_fixed(start, len, READ_EXECUTE, &memory) }?;
        let (exec, write) = (start..start + len, ManuallyDrop::new(write));
        Ok(Self { exec, write, reserved: Some(reserved), epoch })
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
    /// # Errors
    ///
    /// Where the memory is another process's, too, and could not be copied: see [`DualMap::make_own`].
    ///
    /// # Panics
    ///
    /// Where they are not all of this memory.
    pub(crate) fn write(&mut self, exec: ExecAddr, bytes: &[u8]) -> Result<(), MemoryError> {
        let offset = self.offset(exec).expect("code is written to the memory that it was allocated from");
        self.patch(|map| map.write[offset..offset + bytes.len()].copy_from_slice(bytes))
    }

    /// Fills `len` bytes at `exec` with `int3`, as [`DualMap::write`] would.
    ///
    /// # Errors
    ///
    /// As for [`DualMap::write`].
    ///
    /// # Panics
    ///
    /// Where they are not all of this memory.
    pub(crate) fn erase(&mut self, exec: ExecAddr, len: usize) -> Result<(), MemoryError> {
        let offset = self.offset(exec).expect("code is erased from the memory that it was allocated from");
        self.patch(|map| map.write[offset..offset + len].fill(TRAP))
    }

    /// Runs `store`, which writes to this memory, on memory that is this process's own. It allocates nothing, waits for
    /// nothing and calls nobody: forks are held off.
    ///
    /// # Errors
    ///
    /// As for [`DualMap::write`].
    pub(crate) fn patch<R>(&mut self, store: impl FnOnce(&mut Self) -> R) -> Result<R, MemoryError> {
        let stored = match fork::hold_off() {
            Some(held_off) => self.make_own(&held_off).map(|()| store(self)),
            None => Err(Refusal::IN_HANDLER),
        };
        stored.map_err(Refusal::after_fork)
    }

    /// Makes the memory this process's own, where another may have it mapped: a copy, under both views, at the same
    /// addresses.
    ///
    /// # Errors
    ///
    /// What the system refused. Both views still hold what they did, and nothing may be written; the next attempt begins
    /// anew.
    pub(crate) fn make_own(&mut self, held_off: &HeldOff) -> Result<(), Refusal> {
        if self.epoch == held_off.epoch() || sabotage::is(Sabotage::SharedAfterFork) {
            return Ok(());
        }
        if sabotage::is(Sabotage::NoMemoryOfItsOwn) {
            return Err(Refusal::errno("memfd_create", self.exec.len(), Errno::MFILE));
        }
        let len = self.exec.len();
        // SAFETY: the executable view (invariant 1), which nobody writes to: here, because forks and other stores are held
        // off; in the process that it is shared with, by invariant 3.
        let memory = unsafe { copy_of(&self.exec) }?;
        // The executable view first. Where the other is refused after that, the two are of two memories with one content.
        // SAFETY: what it replaces is the executable view (invariant 1), of the same content and permissions.
        unsafe { map_fixed(self.exec.start, len, READ_EXECUTE, &memory) }?;
        let write = self.write.as_mut_ptr().expose_provenance();
        // SAFETY: what it replaces is the writable view, of the same content, and nobody stores to it meanwhile. Whoever
        // keeps a `WriteAddr` finds the same bytes there.
        unsafe { map_fixed(write, len, READ_WRITE, &memory) }?;
        self.epoch = held_off.epoch();
        Ok(())
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
fn sealed_memory(len: usize) -> Result<OwnedFd, Refusal> {
    let limit = getrlimit(Resource::Fsize).current;
    // Growing a file past it would not only be refused: the signal that tells of it kills.
    if limit.is_some_and(|limit| limit < len as u64) {
        return Err(Refusal::errno("ftruncate", len, Errno::FBIG));
    }
    let refused = |operation| move |errno| Refusal::errno(operation, len, errno);
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = match memfd_create(NAME, flags | MemfdFlags::EXEC) {
        // A kernel before 6.3 knows no `MFD_EXEC`, and needs none.
        Err(Errno::INVAL) => memfd_create(NAME, flags),
        other => other,
    };
    let memory = memory.map_err(refused("memfd_create"))?;
    ftruncate(&memory, len as u64).map_err(refused("ftruncate"))?;
    let seals = SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    fcntl_add_seals(&memory, seals).map_err(refused("fcntl(F_ADD_SEALS)"))?;
    Ok(memory)
}

/// Such a file with the content of `range`. The system reads it, and says so where it has no memory for the copy.
///
/// # Safety
///
/// The range is mapped and readable, and nobody writes to it meanwhile.
unsafe fn copy_of(range: &Range<usize>) -> Result<OwnedFd, Refusal> {
    let at: *const u8 = ptr::with_exposed_provenance(range.start);
    // SAFETY: the caller's promise.
    let bytes = unsafe { core::slice::from_raw_parts(at, range.len()) };
    let memory = sealed_memory(bytes.len())?;
    let mut written = 0;
    while written < bytes.len() {
        match pwrite(&memory, &bytes[written..], written as u64) {
            Ok(0) => return Err(Refusal::errno("write to a memfd", bytes.len(), Errno::NOSPC)),
            Ok(more) => written += more,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Refusal::errno("write to a memfd", bytes.len(), errno)),
        }
    }
    Ok(memory)
}

fn map_writable(memory: &OwnedFd, len: usize) -> Result<MmapMut, Refusal> {
    // SAFETY: the file has no name and cannot shrink. Its other view is executed, not referred to; and whoever
    // writes here vouches that the bytes are not executed meanwhile, or stores to them as to an atomic.
    let mapped = unsafe { MmapOptions::new().len(len).map_mut(memory) };
    mapped.map_err(|source| {
        let errno = source.raw_os_error().map_or(Errno::NOMEM, Errno::from_raw_os_error);
        Refusal::errno("mmap of the writable view", len, errno)
    })
}

/// Maps `memory` at `start`, replacing what is there.
///
/// # Safety
///
/// Nobody minds: what is there is the caller's, or the caller's memory has the same content.
unsafe fn map_fixed(start: usize, len: usize, prot: ProtFlags, memory: &OwnedFd) -> Result<(), Refusal> {
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
            Err(Refusal { operation: which, start, len, errno: Some(errno) })
        }
    }
}

/// What the system refused, without an allocation: it may be said while forks are held off.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    operation: &'static str,
    /// 0 where the system was to choose.
    start: usize,
    len: usize,
    /// Nothing where it was not the system that refused.
    errno: Option<Errno>,
}

impl Refusal {
    /// Code is written in a handler of the very thread that forks.
    pub(crate) const IN_HANDLER: Self =
        Self { operation: "a write from a handler of fork", start: 0, len: 0, errno: None };

    fn errno(operation: &'static str, len: usize, errno: Errno) -> Self {
        Self { operation, start: 0, len, errno: Some(errno) }
    }

    /// As the error of whoever would have written.
    #[cold]
    pub(crate) fn after_fork(self) -> MemoryError {
        let reason = match self.errno {
            Some(_) => MemoryError::from(self).to_string(),
            None => format!("{} comes too early; replace after `fork` has returned", self.operation),
        };
        MemoryError::AfterFork { reason }
    }
}

impl From<Refusal> for MemoryError {
    #[cold]
    fn from(refusal: Refusal) -> Self {
        let Refusal { operation, start, len, errno } = refusal;
        let detail = if start == 0 { format!("{len} bytes") } else { format!("{len} bytes at {start:#x}") };
        refused(operation, detail, errno.unwrap_or(Errno::AGAIN))
    }
}

/// `/proc/self/maps` could not be read.
pub(super) fn no_maps(source: io::Error) -> MemoryError {
    MemoryError::System {
        operation: "read",
        detail: "/proc/self/maps".to_owned(),
        hint: match source.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOENT) | None => {
                "mount /proc: without it no gap near the program's code can be found"
            }
            errno => hint(errno),
        },
        source,
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
        Some(Errno::NOMEM | Errno::NOSPC) => {
            "a limit is reached: raise it (ulimit -v, the memory of the cgroup, sysctl vm.max_map_count)"
        }
        Some(Errno::MFILE) => {
            "this process has too many files open: raise its limit (ulimit -n, RLIMIT_NOFILE)"
        }
        Some(Errno::NFILE) => "the system has too many files open: raise its limit (sysctl fs.file-max)",
        Some(Errno::FBIG) => {
            "code memory is a file without a name, and would be longer than this process may make one: raise \
             the limit (ulimit -f, RLIMIT_FSIZE)"
        }
        Some(Errno::NOSYS) => "a seccomp filter hides the call: allow it",
        Some(Errno::EXIST) => "another thread maps memory there: try again",
        _ => "this is a limit of the system that hotcall does not know: please report it",
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;

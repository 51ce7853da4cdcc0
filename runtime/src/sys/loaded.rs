//! What is loaded, as the dynamic linker lists it.
#![allow(unsafe_code)]

use core::ffi::{CStr, c_int, c_void};
use core::ops::Range;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Calls `visit` with each image until it answers false.
pub(super) fn walk(visit: &mut dyn FnMut(&libc::dl_phdr_info) -> bool) {
    extern "C" fn each(info: *mut libc::dl_phdr_info, _size: usize, data: *mut c_void) -> c_int {
        // SAFETY: `data` is the pointer to `visit` below, which outlives the walk.
        let visit = unsafe { &mut *data.cast::<&mut dyn FnMut(&libc::dl_phdr_info) -> bool>() };
        // SAFETY: the dynamic linker gives a valid `info` for the duration of this call.
        let info = unsafe { &*info };
        c_int::from(!visit(info))
    }
    let mut visit = visit;
    // SAFETY: `each` has the signature asked for and does not unwind: `visit` only reads memory and pushes.
    unsafe { libc::dl_iterate_phdr(Some(each), (&raw mut visit).cast()) };
}

/// The bytes of a segment.
///
/// # Safety
///
/// It is loaded and readable, and its image stays loaded while the bytes are used.
#[cfg(patched)]
pub(super) unsafe fn segment(base: usize, header: &Phdr) -> &'static [u8] {
    let start = base.wrapping_add(header.p_vaddr as usize);
    // SAFETY: the caller's promise.
    unsafe { core::slice::from_raw_parts(start as *const u8, header.p_memsz as usize) }
}

/// A copy of the bytes of a segment, and where that is.
///
/// Not by the compiler's own loads: between the statics that a segment is made of, a sanitizer's padding would be reported.
///
/// # Safety
///
/// It is loaded and readable, and its image stays loaded meanwhile.
pub(super) unsafe fn copy_of_segment(base: usize, header: &Phdr) -> (usize, Vec<u8>) {
    let (start, length) = (base.wrapping_add(header.p_vaddr as usize), header.p_memsz as usize);
    let mut bytes = vec![0_u8; length];
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the caller's promise: so many bytes can be read there, and as many written to `bytes`. The direction flag is clear.
    unsafe {
        core::arch::asm!(
            "rep movsb",
            inout("rcx") length => _, inout("rsi") start => _, inout("rdi") bytes.as_mut_ptr() => _,
            options(nostack, preserves_flags)
        );
    }
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: as above.
    unsafe {
        core::ptr::copy_nonoverlapping(start as *const u8, bytes.as_mut_ptr(), length);
    }
    (start, bytes)
}

#[cfg(target_pointer_width = "32")]
use libc::Elf32_Phdr as Phdr;
#[cfg(target_pointer_width = "64")]
use libc::Elf64_Phdr as Phdr;

/// A segment of notes.
pub(crate) struct Notes {
    /// Its image's file; empty for the program.
    pub(crate) file: PathBuf,
    /// Where it is.
    pub(crate) addresses: Range<usize>,
    /// A copy of it.
    pub(crate) bytes: Vec<u8>,
}

/// The notes of all that is loaded.
pub(crate) fn notes() -> Vec<Notes> {
    let mut found = Vec::new();
    walk(&mut |info| {
        if info.dlpi_phdr.is_null() {
            return true;
        }
        // SAFETY: the dynamic linker describes `dlpi_phnum` headers at `dlpi_phdr`.
        let headers = unsafe { core::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
        for header in headers.iter().filter(|header| header.p_type == libc::PT_NOTE) {
            // SAFETY: a segment of notes is part of a loaded one that can be read; the image stays while it is listed.
            let (start, bytes) = unsafe { copy_of_segment(info.dlpi_addr as usize, header) };
            let name = if info.dlpi_name.is_null() {
                &[]
            } else {
                // SAFETY: the dynamic linker gives a C string.
                unsafe { CStr::from_ptr(info.dlpi_name) }.to_bytes()
            };
            found.push(Notes {
                file: PathBuf::from(OsStr::from_bytes(name)),
                addresses: start..start + bytes.len(),
                bytes,
            });
        }
        true
    });
    found
}

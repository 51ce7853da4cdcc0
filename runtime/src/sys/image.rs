//! Finding the stubs: each loaded image says in an ELF note where its table of records is.
//!
//! Every stub writes a record (see [`SiteRecord`]) into the section `hotcall_sites`, and a note of type 1 and
//! owner `hotcall` that holds the distance from itself to the section's start and end. Notes are in a
//! segment of their own, so they are found without section headers, in the program and in every shared
//! library, by whichever of them this code runs in.
#![allow(unsafe_code)]

use core::ffi::{CStr, c_int, c_void};

use crate::slot::backend::SlotCore;

/// What a stub says of itself. Written by the assembler, in [`crate::stub!`](crate::__stub).
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct SiteRecord {
    /// The address of the opcode of the stub's `jmp`.
    pub(crate) site: usize,
    /// Gives the slot, in the runtime that `runtime` names.
    pub(crate) slot: extern "C" fn() -> &'static SlotCore,
    /// Which copy of hotcall the stub was compiled with: each shared library may have its own.
    pub(crate) runtime: extern "C" fn(),
    /// The method's index in its interface.
    pub(crate) method: usize,
}

/// Names this copy of hotcall. Every stub's record carries its address.
#[doc(hidden)]
#[inline(never)]
pub extern "C" fn runtime_anchor() {}

const OWNER: &[u8] = b"hotcall\0";
const TYPE_SITES: u32 = 1;

/// What a walk over the loaded images gives.
pub(crate) struct Tables {
    /// How many images had been loaded so far: where it has not changed, nor have the tables.
    pub(crate) loads: u64,
    /// The tables of records, each with the name of its image.
    pub(crate) tables: Vec<(String, &'static [SiteRecord])>,
}

/// How many images have been loaded so far.
pub(crate) fn loads() -> u64 {
    let mut loads = 0;
    walk(&mut |info| {
        loads = info.dlpi_adds;
        false
    });
    loads
}

/// Finds the tables of all images.
pub(crate) fn tables() -> Tables {
    let mut found = Tables { loads: 0, tables: Vec::new() };
    walk(&mut |info| {
        found.loads = info.dlpi_adds;
        if !info.dlpi_phdr.is_null() {
            tables_of(info, &mut found.tables);
        }
        true
    });
    found
}

/// Calls `visit` with each image until it answers false.
fn walk(visit: &mut dyn FnMut(&libc::dl_phdr_info) -> bool) {
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

fn tables_of(info: &libc::dl_phdr_info, found: &mut Vec<(String, &'static [SiteRecord])>) {
    // SAFETY: the dynamic linker describes `dlpi_phnum` headers at `dlpi_phdr`.
    let headers = unsafe { core::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let base = info.dlpi_addr as usize;
    for header in headers.iter().filter(|header| header.p_type == libc::PT_NOTE) {
        let start = base.wrapping_add(header.p_vaddr as usize);
        let align = if header.p_align == 8 { 8 } else { 4 };
        // SAFETY: a note segment is part of a loaded segment: readable, `p_memsz` bytes long, there as long as
        // its image is.
        let notes = unsafe { core::slice::from_raw_parts(start as *const u8, header.p_memsz as usize) };
        for (at, description) in notes_of_ours(notes, align) {
            let address = start + at;
            if let Some(table) = table_at(address, description)
                && !found.iter().any(|(_, known)| core::ptr::eq(known.as_ptr(), table.as_ptr()))
            {
                let name = if info.dlpi_name.is_null() {
                    String::new()
                } else {
                    // SAFETY: the dynamic linker gives a C string.
                    unsafe { CStr::from_ptr(info.dlpi_name) }.to_string_lossy().into_owned()
                };
                found.push((name, table));
            }
        }
    }
}

/// The notes of a segment that hotcall wrote: where each description starts, and its bytes.
fn notes_of_ours(notes: &[u8], align: usize) -> Vec<(usize, [u8; 16])> {
    let word = |at: usize| -> Option<usize> {
        let bytes: [u8; 4] = notes.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_ne_bytes(bytes) as usize)
    };
    let mut ours = Vec::new();
    let mut at = 0;
    while let (Some(name), Some(length), Some(kind)) = (word(at), word(at + 4), word(at + 8)) {
        let description = (at + 12 + name).next_multiple_of(align);
        if kind == TYPE_SITES as usize
            && notes.get(at + 12..at + 12 + name) == Some(OWNER)
            && let Some(Ok(bytes)) = notes.get(description..description + 16).map(<[u8; 16]>::try_from)
        {
            ours.push((description, bytes));
        }
        at = (description + length).next_multiple_of(align);
    }
    ours
}

/// Follows a description: two distances, from its own first byte to the table's start, and to its end.
fn table_at(address: usize, description: [u8; 16]) -> Option<&'static [SiteRecord]> {
    let (start, stop) = description.split_at(8);
    let start = address.wrapping_add_signed(isize::from_ne_bytes(start.try_into().ok()?));
    let stop = address.wrapping_add_signed(isize::from_ne_bytes(stop.try_into().ok()?));
    let count = stop.checked_sub(start)? / size_of::<SiteRecord>();
    // SAFETY: the linker made the section `hotcall_sites` of whole records (`stub!` is what writes to it) and the
    // dynamic linker has relocated them before any code of the image ran. The image stays loaded: the
    // runtime that the records belong to is part of it, or it is never unloaded (see `Library`).
    Some(unsafe { core::slice::from_raw_parts(start as *const SiteRecord, count) })
}

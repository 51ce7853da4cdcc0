//! Emitted code, as a debugger sees it: gdb's interface for code that is made at run time.
//!
//! gdb knows nothing of what is registered with libgcc. It looks for a list of object files in memory behind the symbol
//! `__jit_debug_descriptor`, and stops in `__jit_debug_register_code` to learn of changes. So each program of a
//! chain gets a small ELF file with one symbol for each method and the same unwind information; without it a backtrace
//! ends at the first emitted frame.
//!
//! The symbols are weak: a program that contains another code generator has them once.
#![allow(unsafe_code)]

use core::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::fork;

core::arch::global_asm!(
    ".pushsection .text.__jit_debug_register_code, \"ax\", @progbits",
    ".weak __jit_debug_register_code",
    ".type __jit_debug_register_code, @function",
    "__jit_debug_register_code: ret",
    ".size __jit_debug_register_code, . - __jit_debug_register_code",
    ".popsection",
    ".pushsection .data.__jit_debug_descriptor, \"aw\", @progbits",
    ".balign 8",
    ".weak __jit_debug_descriptor",
    ".type __jit_debug_descriptor, @object",
    "__jit_debug_descriptor:",
    ".long 1, 0",
    ".quad 0, 0",
    ".size __jit_debug_descriptor, . - __jit_debug_descriptor",
    ".popsection",
);

unsafe extern "C" {
    static __jit_debug_descriptor: AtomicDescriptor;
    fn __jit_debug_register_code();
}

/// As gdb's manual has it. Atomics, for a debugger reads it whenever it likes.
#[repr(C)]
struct AtomicDescriptor {
    version: u32,
    action: std::sync::atomic::AtomicU32,
    relevant: AtomicPtr<Entry>,
    first: AtomicPtr<Entry>,
}

#[repr(C)]
struct Entry {
    next: *mut Entry,
    previous: *mut Entry,
    file: *const u8,
    length: u64,
}

const ADDED: u32 = 1;
const REMOVED: u32 = 2;

/// A piece of code with a name.
pub(super) struct Named {
    pub(super) start: usize,
    pub(super) len: usize,
    pub(super) name: String,
}

/// An object file that debuggers know of.
///
/// Invariant: `entry` came from `Box::into_raw`, and is in the list, whose links only the holder of [`fork::lock`] follows
/// and changes; `file` neither moves nor changes.
#[derive(Debug)]
pub(super) struct Listed {
    entry: *mut Entry,
    _file: Box<[u8]>,
}

// SAFETY: the entry is only touched under the list's lock.
unsafe impl Send for Listed {}
// SAFETY: as above; nothing can be done through a shared reference.
unsafe impl Sync for Listed {}

fn tell(action: u32, entry: *mut Entry) {
    // SAFETY: defined above, or by another code generator, with this layout.
    let descriptor = unsafe { &__jit_debug_descriptor };
    descriptor.relevant.store(entry, Ordering::Relaxed);
    descriptor.action.store(action, Ordering::Relaxed);
    // SAFETY: it does nothing; a debugger stops in it.
    unsafe { __jit_debug_register_code() };
}

impl Listed {
    /// Lists code and its unwind information.
    pub(super) fn new(pieces: &[Named], frames: &[u8]) -> Self {
        let file = object(pieces, frames).into_boxed_slice();
        let _lock = fork::lock();
        // SAFETY: as in `tell`.
        let descriptor = unsafe { &__jit_debug_descriptor };
        let next = descriptor.first.load(Ordering::Relaxed);
        let entry = Entry { next, previous: ptr::null_mut(), file: file.as_ptr(), length: file.len() as u64 };
        let entry = Box::into_raw(Box::new(entry));
        if !next.is_null() {
            // SAFETY: the invariant, and the lock is held.
            unsafe { (*next).previous = entry };
        }
        descriptor.first.store(entry, Ordering::Relaxed);
        tell(ADDED, entry);
        Self { entry, _file: file }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let _lock = fork::lock();
        // SAFETY: the invariant, and the lock is held.
        let Entry { next, previous, .. } = *unsafe { &*self.entry };
        if !next.is_null() {
            // SAFETY: as above.
            unsafe { (*next).previous = previous };
        }
        if previous.is_null() {
            // SAFETY: as in `tell`.
            let descriptor = unsafe { &__jit_debug_descriptor };
            descriptor.first.store(next, Ordering::Relaxed);
        } else {
            // SAFETY: as above.
            unsafe { (*previous).next = next };
        }
        tell(REMOVED, self.entry);
        // SAFETY: the invariant; the entry is no longer in the list.
        drop(unsafe { Box::from_raw(self.entry) });
    }
}

const HEADER: usize = 64;
const SECTION: usize = 64;
const SYMBOL: usize = 24;

/// An ELF file: code that is elsewhere, its unwind information, its symbols.
fn object(pieces: &[Named], frames: &[u8]) -> Vec<u8> {
    let start = pieces.iter().map(|piece| piece.start).min().unwrap_or(0);
    let end = pieces.iter().map(|piece| piece.start + piece.len).max().unwrap_or(0);
    let mut names = vec![0_u8];
    let mut symbols = vec![0_u8; SYMBOL];
    for piece in pieces {
        symbols.extend((names.len() as u32).to_le_bytes());
        symbols.extend([0x12, 0]); // global function
        symbols.extend(1_u16.to_le_bytes()); // in section 1
        symbols.extend(((piece.start - start) as u64).to_le_bytes());
        symbols.extend((piece.len as u64).to_le_bytes());
        names.extend(piece.name.bytes());
        names.push(0);
    }
    let section_names = b"\0.text\0.eh_frame\0.symtab\0.strtab\0.shstrtab\0";
    let at_frames = HEADER;
    let at_symbols = (at_frames + frames.len()).next_multiple_of(8);
    let at_names = at_symbols + symbols.len();
    let at_section_names = at_names + names.len();
    let at_sections = (at_section_names + section_names.len()).next_multiple_of(8);

    let mut file = Vec::with_capacity(at_sections + 6 * SECTION);
    file.extend([0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for half in [1_u16, 62] {
        file.extend(half.to_le_bytes()); // relocatable, x86-64
    }
    file.extend(1_u32.to_le_bytes());
    for word in [0, 0, at_sections as u64] {
        file.extend(word.to_le_bytes()); // no entry, no segments
    }
    file.extend(0_u32.to_le_bytes());
    for half in [HEADER as u16, 0, 0, SECTION as u16, 6, 5] {
        file.extend(half.to_le_bytes());
    }
    file.extend(frames);
    file.resize(at_symbols, 0);
    file.extend(&symbols);
    file.extend(&names);
    file.extend(section_names);
    file.resize(at_sections, 0);
    // Name, type, flags, address, offset, size, link, info, alignment, size of an entry.
    let mut section = |name: u32, kind: u32, rest: [u64; 4], link: (u32, u32), last: [u64; 2]| {
        file.extend(name.to_le_bytes());
        file.extend(kind.to_le_bytes());
        rest.iter().for_each(|word| file.extend(word.to_le_bytes()));
        file.extend(link.0.to_le_bytes());
        file.extend(link.1.to_le_bytes());
        last.iter().for_each(|word| file.extend(word.to_le_bytes()));
    };
    section(0, 0, [0; 4], (0, 0), [0; 2]);
    section(1, 8, [6, start as u64, 0, (end - start) as u64], (0, 0), [16, 0]); // elsewhere; allocated, executable
    section(7, 1, [2, 0, at_frames as u64, frames.len() as u64], (0, 0), [8, 0]);
    section(17, 2, [0, 0, at_symbols as u64, symbols.len() as u64], (4, 1), [8, SYMBOL as u64]);
    section(25, 3, [0, 0, at_names as u64, names.len() as u64], (0, 0), [1, 0]);
    section(33, 3, [0, 0, at_section_names as u64, section_names.len() as u64], (0, 0), [1, 0]);
    file
}

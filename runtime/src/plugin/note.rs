//! What a program says of itself: the build of its hotcall, and each interface that it knows, in ELF notes.
//!
//! A library says in its header what it was built against. The other side of the comparison is a constant of the program,
//! which nobody sees before it runs; so the program carries the same records, for tools that look from outside
//! (`hotcall inspect --host`). Nothing of the runtime reads them.
//!
//! Notes, because linkers keep them where nothing names them, and `strip` does as well. Their owner is `hotcall`, as that of the
//! tables of calls (`sys::image`), and their type another.
#![allow(unsafe_code)]

use super::header::{OF_THIS_BUILD, Record};

/// The owner of the notes.
pub(crate) const OWNER: [u8; 8] = *b"hotcall\0";
/// The type of those that hold a record.
pub(crate) const TYPE_RECORD: u32 = 3;
/// What every name of a section with such notes begins with: compilers take it for a section of notes.
#[cfg(all(feature = "cli", target_os = "linux"))]
pub(crate) const SECTIONS: &str = ".note.hotcall";

/// A note with a record of `N` bytes.
#[repr(C, align(4))]
#[derive(Debug)]
pub struct Note<const N: usize> {
    owner_length: u32,
    length: u32,
    kind: u32,
    owner: [u8; 8],
    record: [u8; N],
}

impl<const N: usize> Note<N> {
    /// The note of `record`, whose length is `N`.
    #[must_use]
    pub const fn new(record: &Record) -> Self {
        assert!(N <= u32::MAX as usize, "the record is too long");
        Self {
            owner_length: OWNER.len() as u32,
            length: N as u32,
            kind: TYPE_RECORD,
            owner: OWNER,
            record: record.encode(),
        }
    }
}

/// This program, or whatever this copy of hotcall is part of. It names no interface.
#[cfg_attr(target_os = "linux", unsafe(link_section = ".note.hotcall.record"))]
#[used]
static THIS: Note<{ OF_THIS_BUILD.length() }> = Note::new(&OF_THIS_BUILD);

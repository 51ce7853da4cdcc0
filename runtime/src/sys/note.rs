//! The ELF notes that hotcall writes: what they begin with, what they hold, and how they are found.
//!
//! Linkers keep notes where nothing names them, and `strip` does as well.

/// The owner of all of them.
const OWNER: [u8; 8] = *b"hotcall\0";

/// What a note holds: its type. Two of one number do not compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[cfg_attr(not(patched), allow(dead_code, reason = "without patching there are no tables"))]
pub(crate) enum Kind {
    /// Where an image's tables of records are: see `image`. The assembler writes it, in `slot/patched/stub.rs`.
    Tables = 3,
    /// What tells a slot's declaration from others, and its name.
    Slot = 4,
    /// What hotcall was built with, or an interface.
    Record = 5,
}

/// What a note begins with. The description follows at once.
#[repr(C, align(4))]
#[derive(Debug)]
pub(crate) struct Head {
    owner_length: u32,
    length: u32,
    kind: u32,
    owner: [u8; 8],
}

impl Head {
    /// That of a note whose description has so many bytes.
    pub(crate) const fn new(kind: Kind, length: usize) -> Self {
        assert!(length <= u32::MAX as usize, "the description is too long");
        Self { owner_length: OWNER.len() as u32, length: length as u32, kind: kind as u32, owner: OWNER }
    }
}

/// The descriptions of hotcall's notes of a kind: where each starts in the segment or section, and its bytes.
///
/// Notes are padded to 4 bytes or to 8, which their section's alignment says. A segment has one alignment, and linkers
/// differ in what they put into it: mold writes notes of 4 into segments of 8, and others may do the reverse. So the bytes
/// between two notes cannot be told from the segment, and nothing is walked: every note begins at a multiple of 4, and ours
/// begin with twenty bytes that others do not have.
#[cfg(target_os = "linux")]
pub(crate) fn descriptions(notes: &[u8], kind: Kind) -> impl Iterator<Item = (usize, &[u8])> {
    const HEAD: usize = size_of::<Head>();
    (0..notes.len()).step_by(4).filter_map(move |at| {
        let head = notes.get(at..at + HEAD)?;
        let word = |at: usize| head[at..at + 4].try_into().ok().map(u32::from_ne_bytes);
        if word(0) != Some(OWNER.len() as u32) || word(8) != Some(kind as u32) || !head.ends_with(&OWNER) {
            return None;
        }
        let start = at + HEAD;
        Some((start, notes.get(start..start.checked_add(word(4)? as usize)?)?))
    })
}

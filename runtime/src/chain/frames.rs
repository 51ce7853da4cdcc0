//! Unwind information for emitted code: so that panics and backtraces pass through it.
//!
//! An `.eh_frame` section, as a compiler would write it, made by hand and registered with libgcc: one common entry
//! (CIE) and, for each piece of code, one that says at which instruction what has been pushed (FDE). It is exact at every
//! instruction, so that a debugger or a profiler may stop anywhere.
//!
//! `__register_frame` takes the whole section in libgcc, one entry in LLVM's libunwind. This file is built for glibc
//! only, where Rust's standard library unwinds with libgcc.
#![allow(unsafe_code)]

use super::fork;

unsafe extern "C" {
    fn __register_frame(section: *const u8);
    fn __deregister_frame(section: *const u8);
}

const DW_CFA_DEF_CFA_OFFSET: u8 = 0x0e;
const DW_CFA_ADVANCE_LOC4: u8 = 0x04;
const DW_CFA_OFFSET: u8 = 0x80;
const DW_CFA_RESTORE: u8 = 0xc0;

/// What changes where in the frame of a method: as counted from the first instruction of its head, or of its tail.
#[derive(Clone, Debug, Default)]
pub(super) struct Unwind {
    head: Vec<(usize, Change)>,
    tail: Vec<(usize, Change)>,
    depth: usize,
}

#[derive(Clone, Copy, Debug)]
struct Change {
    /// From the stack pointer to where the caller's was, after it.
    depth: usize,
    /// The register that has been saved or restored.
    register: Option<(u8, bool)>,
}

impl Unwind {
    /// The instruction before `at` pushed the register.
    pub(super) fn pushed(&mut self, at: usize, register: u8) {
        self.depth += 8;
        self.head.push((at, Change { depth: 8 + self.depth, register: Some((register, true)) }));
    }

    /// The instruction before `at` took so many bytes more.
    pub(super) fn grown(&mut self, at: usize, bytes: usize) {
        self.depth += bytes;
        self.head.push((at, Change { depth: 8 + self.depth, register: None }));
    }

    /// In the tail, the instruction before `at` gave so many bytes back.
    pub(super) fn shrunk(&mut self, at: usize, bytes: usize) {
        self.depth -= bytes;
        self.tail.push((at, Change { depth: 8 + self.depth, register: None }));
    }

    /// In the tail, the instruction before `at` popped the register.
    pub(super) fn popped(&mut self, at: usize, register: u8) {
        self.depth -= 8;
        self.tail.push((at, Change { depth: 8 + self.depth, register: Some((register, false)) }));
    }

    /// As instructions of an FDE, where the tail begins at `tail`.
    fn instructions(&self, tail: usize, to: &mut Vec<u8>) {
        let mut now = 0;
        let tail = self.tail.iter().map(|(at, change)| (tail + at, change));
        for (at, change) in self.head.iter().map(|(at, change)| (*at, change)).chain(tail) {
            to.push(DW_CFA_ADVANCE_LOC4);
            to.extend(((at - now) as u32).to_le_bytes());
            now = at;
            // All depths of a frame of five registers and eight floats fit seven bits.
            to.extend([DW_CFA_DEF_CFA_OFFSET, change.depth as u8]);
            match change.register {
                // Saved at the depth that it was pushed to, in words.
                Some((register, true)) => to.extend([DW_CFA_OFFSET | register, (change.depth / 8) as u8]),
                Some((register, false)) => to.push(DW_CFA_RESTORE | register),
                None => {}
            }
        }
    }
}

/// One piece of code with a frame.
pub(super) struct Piece<'u> {
    pub(super) start: usize,
    pub(super) len: usize,
    /// Where its tail begins, counted from its start.
    pub(super) tail: usize,
    pub(super) unwind: &'u Unwind,
}

/// The section for these pieces of code.
pub(super) fn section(pieces: &[Piece<'_>]) -> Vec<u8> {
    let mut section = Vec::with_capacity(64 + 160 * pieces.len());
    entry(&mut section, |to| {
        to.extend(0_u32.to_le_bytes()); // a CIE
        to.extend([1, b'z', b'R', 0]); // version, augmentation
        to.extend([1, 0x78, 16]); // code by 1, data by -8, the return address is register 16
        to.extend([1, 0]); // of the augmentation: addresses are absolute
        to.extend([0x0c, 7, 8]); // at first the caller's stack pointer is rsp + 8
        to.extend([DW_CFA_OFFSET | 16, 1]); // and the return address just below
    });
    for piece in pieces {
        let here = section.len();
        entry(&mut section, |to| {
            to.extend((here as u32 + 4).to_le_bytes()); // how far back the CIE is
            to.extend((piece.start as u64).to_le_bytes());
            to.extend((piece.len as u64).to_le_bytes());
            to.push(0); // nothing in the augmentation
            piece.unwind.instructions(piece.tail, to);
        });
    }
    section.extend(0_u32.to_le_bytes());
    section
}

/// An entry with its length in front, filled up to a multiple of 8.
fn entry(section: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = section.len();
    section.extend([0; 4]);
    fill(section);
    let len = (section.len() - start).next_multiple_of(8);
    section.resize(start + len, 0);
    section[start..start + 4].copy_from_slice(&(len as u32 - 4).to_le_bytes());
}

/// Registered unwind information.
///
/// Invariant: `section` is registered, and neither moves nor changes.
#[derive(Debug)]
pub(super) struct Frames {
    section: Box<[u8]>,
}

impl Frames {
    /// The section.
    pub(super) fn section(&self) -> &[u8] {
        &self.section
    }

    /// Registers a section made by [`section()`].
    pub(super) fn register(section: Vec<u8>) -> Self {
        let section = section.into_boxed_slice();
        let _lock = fork::lock();
        // SAFETY: a well-formed section that ends with an empty entry, and that stays where it is until `drop`.
        unsafe { __register_frame(section.as_ptr()) };
        Self { section }
    }
}

/// Registers nothing, and takes it back: returns when libgcc's lock can be had. See [`fork`].
pub(super) fn probe() {
    let empty = section(&[]);
    // SAFETY: a well-formed section that stays where it is until it is taken back.
    unsafe { __register_frame(empty.as_ptr()) };
    // SAFETY: it was registered just now, and describes no code.
    unsafe { __deregister_frame(empty.as_ptr()) };
}

impl Drop for Frames {
    fn drop(&mut self) {
        let _lock = fork::lock();
        // SAFETY: the invariant; nobody unwinds through the code any more, for nobody is inside it.
        unsafe { __deregister_frame(self.section.as_ptr()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_entries_and_an_end() {
        let mut unwind = Unwind::default();
        unwind.pushed(1, 3);
        unwind.grown(5, 8);
        unwind.shrunk(4, 8);
        unwind.popped(5, 3);
        let section = section(&[Piece { start: 0x1000, len: 0x100, tail: 0x80, unwind: &unwind }]);
        let word = |at: usize| u32::from_le_bytes(section[at..at + 4].try_into().unwrap()) as usize;
        let cie = 4 + word(0);
        assert_eq!(cie % 8, 0);
        assert_eq!(word(cie + 4), cie + 4, "the distance back to the CIE");
        assert_eq!(section[cie + 8..cie + 16], 0x1000_u64.to_le_bytes());
        assert_eq!(cie + 4 + word(cie) + 4, section.len());
        assert_eq!(word(section.len() - 4), 0);
        let wanted = [4, 1, 0, 0, 0, 0x0e, 16, 0x83, 2, 4, 4, 0, 0, 0, 0x0e, 24, 4, 0x7f, 0, 0, 0, 0x0e, 16];
        assert_eq!(section[cie + 25..][..wanted.len()], wanted);
    }
}

//! The code of one cell.
//!
//! ```text
//! loop (rdi: turns, rsi: counters)             sixteen targets, one for each mixture of bytes
//!   entry: xor eax,eax; ecx; r8d; r9d            0000  all four bytes of A     "old"
//!   top:   <fill>                                0001  byte 0 of B, rest of A  torn
//!          call rel32  <- A or B ------------->  ....                          torn
//!          cmp eax, ecx   (another than last?)   1111  all four bytes of B     "new"
//!          setne r8b; mov ecx, eax; add r9, r8   each: inc [rsi+8*i]; mov eax, i; ret
//!          dec rdi; jnz top
//!          mov rax, r9; ret
//! ```
//!
//! The displacements A and B differ in every byte, by amounts that add without a carry. So a
//! displacement that took some bytes from A and the others from B is again the displacement of a target,
//! and that target's number says which bytes came from B. Nothing is lost and nothing crashes: the
//! number of every call is counted.

use std::io;

use super::cell::{Cell, Fill, LINE};
use crate::code::CodeMemory;

/// How far B lies beyond A, byte by byte of the displacement.
const STEPS: [u32; 4] = [0x40, 0x10 << 8, 0x10 << 16, 0x01 << 24];
/// The displacement A. No byte of it carries when the same byte of `STEPS` is added.
const A: u32 = 0x0020_2020;
/// One target for every set of bytes taken from B.
pub const TARGETS: usize = 16;

/// The line that holds the instruction, from the start of the memory. Lines before it belong to the loop.
const SITE_LINE: usize = 0x2000;
/// Where the loop stands when the instruction is in a stub.
const LOOP_LINE: usize = 0x1000;
/// All of it: the farthest target, and a page.
const LENGTH: usize = 0x0200_0000;

/// A cell ready to run.
#[derive(Debug)]
pub struct Emitted {
    memory: CodeMemory,
    entry: usize,
    displacement: usize,
}

impl Emitted {
    /// Writes the loop and the targets.
    ///
    /// # Errors
    ///
    /// What the system answers where it refuses code memory.
    pub fn new(cell: Cell) -> io::Result<Self> {
        let mut memory = CodeMemory::new(LENGTH)?;
        let displacement = SITE_LINE + usize::from(cell.offset);
        let next = displacement + 4;
        for mixture in 0..TARGETS {
            memory.put(next + displacement_of(mixture) as usize, &target(mixture));
        }

        let site = displacement - cell.form.opcode().len();
        let entry = if cell.form.in_stub() {
            emit_before(&mut memory, cell, site);
            let loop_at = LOOP_LINE;
            let stub = site - fill_length(cell);
            let mut call = vec![0xe8];
            call.extend(relative(loop_at + 5, stub));
            memory.put(loop_at, &call);
            emit_after(&mut memory, loop_at + 5, loop_at);
            loop_at
        } else {
            let top = emit_before(&mut memory, cell, site);
            emit_after(&mut memory, next, top);
            top
        };
        memory.put(site, cell.form.opcode());
        memory.put(displacement, &A.to_le_bytes());
        let prologue = emit_prologue(&mut memory, entry);
        Ok(Self { memory, entry: prologue, displacement })
    }

    /// The loop: a `LoopFn`.
    #[must_use]
    pub fn entry(&self) -> *const u8 {
        self.memory.execute_address(self.entry)
    }

    /// The displacement, where it is written.
    #[must_use]
    pub fn displacement(&self) -> *mut u8 {
        self.memory.write_address(self.displacement)
    }
}

/// The displacement that takes the bytes of `mixture` from B and the others from A.
#[must_use]
pub fn displacement_of(mixture: usize) -> u32 {
    A + (0..4).filter(|byte| mixture >> byte & 1 == 1).map(|byte| STEPS[byte]).sum::<u32>()
}

/// `inc qword [rsi + 8*i]; mov eax, i; ret`.
#[allow(clippy::cast_possible_truncation, reason = "there are sixteen targets")]
fn target(number: usize) -> [u8; 10] {
    [0x48, 0xff, 0x46, 8 * number as u8, 0xb8, number as u8, 0, 0, 0, 0xc3]
}

/// The instructions before the site, ending at it. Answers where they start: the top of the loop or the
/// stub's entry.
fn emit_before(memory: &mut CodeMemory, cell: Cell, site: usize) -> usize {
    let mut bytes = fill(cell.fill);
    if cell.form.opcode()[0] == 0x0f {
        bytes.extend([0x31, 0xc0]); // xor eax, eax: sets the flag that jz tests
    }
    let start = site - fill_length(cell);
    if let Fill::JumpFrom(_) = cell.fill {
        let tail = bytes.split_off(2);
        let landing = site - tail.len();
        bytes[1] = relative(start + 2, landing)[0];
        memory.put(landing, &tail);
    }
    memory.put(start, &bytes);
    start
}

/// Bytes from the start of the fill to the site.
fn fill_length(cell: Cell) -> usize {
    let flag = if cell.form.opcode()[0] == 0x0f { 2 } else { 0 };
    match cell.fill {
        Fill::JumpFrom(at) => {
            // From that offset of the line before the instruction's.
            let start = usize::from(cell.offset) + usize::from(LINE) - cell.form.opcode().len();
            start - usize::from(at)
        }
        other => fill(other).len() + flag,
    }
}

fn fill(fill: Fill) -> Vec<u8> {
    match fill {
        Fill::Nops(count) => vec![0x90; usize::from(count)],
        Fill::LongNop(length) => long_nop(length).to_vec(),
        Fill::Adds(count) => [0x49, 0x83, 0xc2, 0x01].repeat(usize::from(count)), // add r10, 1
        Fill::JumpFrom(_) => vec![0xeb, 0],
    }
}

/// The nops that the vendors' manuals recommend, by length.
fn long_nop(length: u8) -> &'static [u8] {
    match length {
        0 => &[],
        1 => &[0x90],
        2 => &[0x66, 0x90],
        3 => &[0x0f, 0x1f, 0x00],
        4 => &[0x0f, 0x1f, 0x40, 0x00],
        5 => &[0x0f, 0x1f, 0x44, 0x00, 0x00],
        6 => &[0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00],
        7 => &[0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00],
        8 => &[0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
        _ => &[0x66, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
    }
}

/// What follows the call: compares the number, counts a change, turns back to `top`.
fn emit_after(memory: &mut CodeMemory, at: usize, top: usize) {
    let mut bytes = vec![
        0x39, 0xc8, // cmp eax, ecx
        0x41, 0x0f, 0x95, 0xc0, // setne r8b
        0x89, 0xc1, // mov ecx, eax
        0x4d, 0x01, 0xc1, // add r9, r8
        0x48, 0xff, 0xcf, // dec rdi
        0x0f, 0x85, // jnz top
    ];
    bytes.extend(relative(at + bytes.len() + 4, top));
    bytes.extend([0x4c, 0x89, 0xc8, 0xc3]); // mov rax, r9; ret
    memory.put(at, &bytes);
}

/// Clears the registers and jumps to `top`, from a line far from it.
fn emit_prologue(memory: &mut CodeMemory, top: usize) -> usize {
    let at = LOOP_LINE / 2;
    let mut bytes = vec![
        0x31, 0xc9, // xor ecx, ecx
        0x45, 0x31, 0xc0, // xor r8d, r8d
        0x45, 0x31, 0xc9, // xor r9d, r9d
        0xe9, // jmp top
    ];
    bytes.extend(relative(at + bytes.len() + 4, top));
    memory.put(at, &bytes);
    at
}

/// The displacement from the end of an instruction to `to`, inside one `CodeMemory`.
#[allow(
    clippy::cast_possible_truncation,
    reason = "the memory is shorter than 2 GiB: wrapping is two's complement"
)]
fn relative(next: usize, to: usize) -> [u8; 4] {
    (to.wrapping_sub(next) as u32).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::{A, STEPS, TARGETS, displacement_of};

    #[test]
    fn a_mixture_of_bytes_is_the_displacement_of_a_target() {
        let b: u32 = A + STEPS.iter().sum::<u32>();
        for mixture in 0..TARGETS {
            let mut bytes = A.to_le_bytes();
            for (byte, from_b) in b.to_le_bytes().into_iter().enumerate() {
                if mixture >> byte & 1 == 1 {
                    bytes[byte] = from_b;
                }
            }
            assert_eq!(u32::from_le_bytes(bytes), displacement_of(mixture));
        }
        for (from_a, from_b) in A.to_le_bytes().into_iter().zip(b.to_le_bytes()) {
            assert_ne!(from_a, from_b);
        }
    }
}

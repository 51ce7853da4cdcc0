//! Programs with many call sites, written as machine code: the compiler would not keep them apart.
//!
//! ```text
//! entry(x, table, rounds):  push rbx, r12, r13; rbx = table; r12 = rounds; rsi = x
//!   top: site 0: mov rdi, [rbx + 0]     the instance of site 0
//!                call ...               direct | stub 0 | through the vtable of table[0]
//!                mov rsi, rax           the next call takes the result
//!        site 1: ...
//!        dec r12; jnz top; rax = rsi; pop; ret
//! ```
#![allow(unsafe_code)]

use std::io;

use hotcall_bench_step::KEY;

use crate::code::CodeMemory;

/// How the sites call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    /// `call target`, as if each site were patched in place.
    Direct,
    /// `call stub; stub: jmp target`, the stubs so many bytes apart.
    Stubs(usize),
    /// Through a fat pointer and its vtable, both loaded at each call.
    Vtable,
}

/// Distinct implementors that the sites call in rotation.
const TARGETS: usize = 64;
/// Bytes between two of them.
const TARGET_SPACE: usize = 64;

/// `mov rax, rsi; rol rax, 9; xor rsi, [rdi]; add rax, rsi; ret`: a step that reads its state.
const TARGET: [u8; 14] = [0x48, 0x89, 0xf0, 0x48, 0xc1, 0xc0, 0x09, 0x48, 0x33, 0x37, 0x48, 0x01, 0xf0, 0xc3];

/// What a site's two words hold: the instance and its vtable.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct FatPointer {
    data: *const u64,
    table: *const [usize; 4],
}

/// A program with so many call sites.
#[derive(Debug)]
pub struct Program {
    memory: CodeMemory,
    entry: usize,
    pointers: Vec<FatPointer>,
    /// What `pointers` point to.
    _keys: Box<[u64]>,
    _tables: Box<[[usize; 4]]>,
}

impl Program {
    /// Writes it.
    ///
    /// # Errors
    ///
    /// What the system answers where it refuses code memory.
    pub fn new(calls: Calls, sites: usize) -> io::Result<Self> {
        let stubs_at = TARGETS * TARGET_SPACE;
        let stub_space = if let Calls::Stubs(space) = calls { space } else { 0 };
        let entry = stubs_at + (sites * stub_space).next_multiple_of(64);
        let mut memory = CodeMemory::new((entry + sites * 24 + 256).next_multiple_of(4096))?;

        let target = |site: usize| site % TARGETS * TARGET_SPACE;
        for number in 0..TARGETS {
            memory.put(target(number), &TARGET);
        }
        for site in 0..if stub_space == 0 { 0 } else { sites } {
            let stub = stubs_at + site * stub_space + 3;
            memory.put(stub - 3, &[0x0f, 0x1f, 0x00]);
            memory.put(stub, &branch(0xe9, stub, target(site)));
        }

        let mut code = vec![
            0x53, 0x41, 0x54, 0x41, 0x55, // push rbx; push r12; push r13
            0x48, 0x89, 0xf3, // mov rbx, rsi
            0x49, 0x89, 0xd4, // mov r12, rdx
            0x48, 0x89, 0xfe, // mov rsi, rdi
        ];
        let top = code.len();
        for site in 0..sites {
            code.extend([0x48, 0x8b, 0xbb]); // mov rdi, [rbx + 16 * site]
            code.extend(word(site * 16));
            let at = entry + code.len();
            match calls {
                Calls::Direct => code.extend(branch(0xe8, at, target(site))),
                Calls::Stubs(space) => code.extend(branch(0xe8, at, stubs_at + site * space)),
                Calls::Vtable => {
                    code.extend([0x48, 0x8b, 0x83]); // mov rax, [rbx + 16 * site + 8]
                    code.extend(word(site * 16 + 8));
                    code.extend([0xff, 0x50, 0x18]); // call [rax + 24]
                }
            }
            code.extend([0x48, 0x89, 0xc6]); // mov rsi, rax
        }
        code.extend([0x49, 0xff, 0xcc, 0x0f, 0x85]); // dec r12; jnz top
        code.extend(word(top.wrapping_sub(code.len() + 4)));
        code.extend([0x48, 0x89, 0xf0, 0x41, 0x5d, 0x41, 0x5c, 0x5b, 0xc3]); // mov rax, rsi; pop ..; ret
        memory.put(entry, &code);

        let keys: Box<[u64]> = vec![KEY; TARGETS].into();
        let tables: Box<[[usize; 4]]> =
            (0..TARGETS).map(|number| [0, 8, 8, memory.execute_address(target(number)).addr()]).collect();
        let pointers = (0..sites)
            .map(|site| FatPointer {
                data: &raw const keys[site % TARGETS],
                table: &raw const tables[site % TARGETS],
            })
            .collect();
        Ok(Self { memory, entry, pointers, _keys: keys, _tables: tables })
    }

    /// Passes `x` through all sites, so many times.
    #[must_use]
    pub fn run(&self, x: u64, rounds: u64) -> u64 {
        type Entry = unsafe extern "sysv64" fn(u64, *const FatPointer, u64) -> u64;
        // SAFETY: `new` wrote a function of this type there.
        let entry: Entry = unsafe { core::mem::transmute(self.memory.execute_address(self.entry)) };
        // SAFETY: it reads the table of as many sites as it was written for, and what that points to, all of
        // which `self` owns; it keeps to the ABI. The code was written before this thread first ran it.
        unsafe { entry(x, self.pointers.as_ptr(), rounds.max(1)) }
    }
}

/// Code that takes the place of everything in the caches: a jump in each line of so many bytes.
#[derive(Debug)]
pub struct OtherCode {
    memory: CodeMemory,
}

impl OtherCode {
    /// Writes it.
    ///
    /// # Errors
    ///
    /// What the system answers where it refuses code memory.
    pub fn new(bytes: usize) -> io::Result<Self> {
        let mut memory = CodeMemory::new(bytes.next_multiple_of(4096))?;
        let lines = bytes / 64;
        for line in 0..lines {
            let last = line + 1 == lines;
            memory.put(line * 64, if last { &[0xc3, 0x90] } else { &[0xeb, 62] });
        }
        Ok(Self { memory })
    }

    /// Runs through all of it.
    pub fn run(&self) {
        // SAFETY: `new` wrote a function that jumps from line to line and returns from the last.
        let code: extern "sysv64" fn() = unsafe { core::mem::transmute(self.memory.execute_address(0)) };
        code();
    }
}

/// A call or jump at `at` to `to`.
fn branch(opcode: u8, at: usize, to: usize) -> [u8; 5] {
    let [a, b, c, d] = word(to.wrapping_sub(at + 5));
    [opcode, a, b, c, d]
}

/// The low 32 bits, as a displacement.
#[allow(clippy::cast_possible_truncation, reason = "all code is within 2 GiB: wrapping is two's complement")]
fn word(value: usize) -> [u8; 4] {
    (value as u32).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::{Calls, OtherCode, Program};
    use crate::compare::chain::expected;

    #[test]
    fn every_program_passes_its_value_through_all_sites() -> std::io::Result<()> {
        for calls in [Calls::Direct, Calls::Stubs(8), Calls::Stubs(64), Calls::Vtable] {
            for sites in [1, 3, 256, 5_000] {
                let program = Program::new(calls, sites)?;
                assert_eq!(program.run(7, 2), expected(7, 2 * sites as u64), "{calls:?} {sites}");
            }
        }
        OtherCode::new(1 << 16)?.run();
        Ok(())
    }
}

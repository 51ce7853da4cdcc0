//! Whole instructions, exchanged while they are executed: what keys do to a branch.
//!
//! One thread runs a loop with an instruction of five bytes in it. Another exchanges that for one of its length: a call, a jump, a
//! no-op, an `xor` with three prefixes, by one 8-byte store. The loop notices which of them it ran, by two registers. Anything but
//! the two is *wrong*; where a mixture is no instruction, or leads nowhere, the process dies, which is why each cell has
//! one of its own.
#![allow(unsafe_code)]

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::race::{jitter, pin_to, two_cpus};
use crate::code::CodeMemory;

/// Bytes of each instruction.
const LENGTH: usize = 5;
/// Where the line with the instruction begins, in code memory.
const SITE_LINE: usize = 0x1000;
/// What a call and a jump lead to.
const CALLED: usize = 0x1800;
const JUMPED: usize = 0x1840;
/// Outcomes: `eax` and four times `edx`.
const OUTCOMES: usize = 16;
const TURNS: u64 = 4_096;

/// An instruction of five bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Instruction {
    /// `call rel32`, to a function that sets `eax` to 1.
    Call,
    /// `jmp rel32`, to code that sets `eax` to 2 and jumps back.
    Jmp,
    /// The no-op of five bytes.
    Nop,
    /// `xor edx, edx` with three prefixes.
    Xor,
}

impl Instruction {
    /// Its bytes, `site` bytes into code memory.
    fn bytes(self, site: usize) -> [u8; LENGTH] {
        let branch = |opcode: u8, to: usize| {
            let mut bytes = [opcode; LENGTH];
            bytes[1..].copy_from_slice(&(to.wrapping_sub(site + LENGTH) as u32).to_le_bytes());
            bytes
        };
        match self {
            Self::Call => branch(0xe8, CALLED),
            Self::Jmp => branch(0xe9, JUMPED),
            Self::Nop => [0x0f, 0x1f, 0x44, 0x00, 0x00],
            Self::Xor => [0x3e, 0x3e, 0x3e, 0x31, 0xd2],
        }
    }

    /// What `eax` and `edx`, which are 0 and 3 before it, say after it.
    const fn outcome(self) -> usize {
        match self {
            Self::Call => 1 + 4 * 3,
            Self::Jmp => 2 + 4 * 3,
            Self::Nop => 4 * 3,
            Self::Xor => 0,
        }
    }
}

/// The exchanges that are tried.
pub const PAIRS: [(Instruction, Instruction); 4] = [
    (Instruction::Jmp, Instruction::Nop),
    (Instruction::Call, Instruction::Nop),
    (Instruction::Call, Instruction::Xor),
    (Instruction::Call, Instruction::Jmp),
];

/// One cell.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Cell {
    /// Where the instruction begins in its cacheline.
    pub offset: u8,
    /// What is exchanged for what.
    pub pair: (Instruction, Instruction),
    /// For how long, in seconds.
    pub seconds: f64,
}

impl Cell {
    /// Whether it lies as a key's branch does: in one aligned 8 bytes.
    #[must_use]
    pub const fn ours(self) -> bool {
        self.offset as usize % 8 + LENGTH <= 8
    }

    /// Whether it crosses a cacheline.
    #[must_use]
    pub const fn crosses_line(self) -> bool {
        self.offset as usize + LENGTH > 64
    }
}

/// What one cell showed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It ran.
    Counted {
        /// Exchanges.
        writes: u64,
        /// How often each of the two ran.
        ran: [u64; 2],
        /// How often something else did.
        wrong: u64,
    },
    /// The process died: by this signal, or with this exit code if negative.
    Crashed(i32),
}

/// The cells: every offset of every pair.
#[must_use]
pub fn cells(seconds: f64) -> Vec<Cell> {
    let of_pair = |pair| (0..64).map(move |offset| Cell { offset, pair, seconds });
    PAIRS.into_iter().flat_map(of_pair).collect()
}

/// Runs a cell in a process of its own.
///
/// # Errors
///
/// It cannot be started, or says nothing that can be read.
pub fn in_a_child(cell: Cell) -> io::Result<Outcome> {
    let order = serde_json::to_string(&cell)?;
    let output = Command::new(std::env::current_exe()?).args(["--whole-cell", &order]).output()?;
    if output.status.success() {
        return Ok(serde_json::from_slice(&output.stdout)?);
    }
    Ok(Outcome::Crashed(output.status.signal().unwrap_or_else(|| -output.status.code().unwrap_or(0))))
}

/// Where the instruction is written; only the writer has it.
struct Writable(*mut u8);

// SAFETY: a shared mapping, stored to by one thread; it outlives the scope of the threads.
unsafe impl Send for Writable {}

/// Runs a cell in this process, which may die of it.
///
/// # Errors
///
/// What the system answers where it refuses code memory.
pub fn run(cell: Cell) -> io::Result<Outcome> {
    let site = SITE_LINE + usize::from(cell.offset);
    let (first, second) = cell.pair;
    let mut memory = CodeMemory::new(0x2000)?;
    let entry = emit(&mut memory, site, first);
    let counters: [AtomicU64; OUTCOMES] = Default::default();
    let (stop, cpus) = (AtomicBool::new(false), two_cpus());
    let writable = Writable(memory.write_address(site));
    let written = thread::scope(|scope| {
        // SAFETY: `emit` has written a function of this type there.
        let code = unsafe {
            core::mem::transmute::<*const u8, unsafe extern "sysv64" fn(u64, *const AtomicU64)>(
                memory.execute_address(entry),
            )
        };
        let (counters, stop) = (&counters, &stop);
        scope.spawn(move || {
            pin_to(cpus.map(|cpus| cpus[0]));
            while !stop.load(Ordering::Relaxed) {
                // SAFETY: the loop writes to the counters that it is given and to registers that the ABI lets it. What a
                // mixture of two instructions does is what is asked here; the process is there for nothing else.
                unsafe { code(TURNS, counters.as_ptr()) };
            }
        });
        let writer = scope.spawn(move || {
            pin_to(cpus.map(|cpus| cpus[1]));
            exchange(&writable, cell, [second.bytes(site), first.bytes(site)], stop)
        });
        thread::sleep(Duration::from_secs_f64(cell.seconds));
        stop.store(true, Ordering::Relaxed);
        writer.join()
    });
    let writes = written.map_err(|_| io::Error::other("the writer panicked"))?;
    let counts = counters.map(AtomicU64::into_inner);
    let ran = [counts[first.outcome()], counts[second.outcome()]];
    Ok(Outcome::Counted { writes, ran, wrong: counts.iter().sum::<u64>() - ran[0] - ran[1] })
}

/// The loop, with `instruction` at `site`. Where it is entered.
fn emit(memory: &mut CodeMemory, site: usize, instruction: Instruction) -> usize {
    let relative = |next: usize, to: usize| (to.wrapping_sub(next) as u32).to_le_bytes();
    // mov eax, 0; mov edx, 3: they set no flags, and no byte of them is the site's.
    let before = [0xb8, 0, 0, 0, 0, 0xba, 3, 0, 0, 0];
    let top = site - before.len();
    memory.put(top, &before);
    memory.put(site, &instruction.bytes(site));
    let mut after = vec![
        0x8d, 0x04, 0x90, // lea eax, [rax + 4*rdx]
        0x48, 0xff, 0x04, 0xc6, // inc qword [rsi + 8*rax]
        0x48, 0xff, 0xcf, // dec rdi
        0x0f, 0x85, // jnz top
    ];
    let at = site + LENGTH;
    after.extend(relative(at + after.len() + 4, top));
    after.push(0xc3);
    memory.put(at, &after);
    memory.put(CALLED, &[0xb8, 1, 0, 0, 0, 0xc3]);
    let mut jumped = vec![0xb8, 2, 0, 0, 0, 0xe9];
    jumped.extend(relative(JUMPED + 10, at));
    memory.put(JUMPED, &jumped);
    top
}

/// Stores one and the other in turn until told to stop: 8 bytes, those that the instruction lies in where it lies in one aligned
/// quadword, else those that it begins.
fn exchange(writable: &Writable, cell: Cell, instructions: [[u8; LENGTH]; 2], stop: &AtomicBool) -> u64 {
    let skew = if cell.ours() { usize::from(cell.offset) % 8 } else { 0 };
    let at = writable.0.wrapping_sub(skew);
    // SAFETY: mapped for the whole run, and nobody writes there yet.
    let old = unsafe { at.cast::<[u8; 8]>().read_unaligned() };
    let values = instructions.map(|instruction| {
        let mut bytes = old;
        bytes[skew..skew + LENGTH].copy_from_slice(&instruction);
        u64::from_le_bytes(bytes)
    });
    let (mut writes, mut random) = (0_u64, 0x9e37_79b9_u32);
    while !stop.load(Ordering::Relaxed) {
        for value in values {
            // SAFETY: eight bytes that are mapped writable for the whole run, with no Rust reference to them. Aligned or not:
            // the experiment is about both.
            unsafe {
                core::arch::asm!("mov qword ptr [{at}], {value}", at = in(reg) at, value = in(reg) value,
                    options(nostack, preserves_flags));
            }
            jitter(&mut random);
        }
        writes += 2;
    }
    writes
}

#[cfg(test)]
mod tests {
    use super::{Cell, Outcome, PAIRS, run};

    #[test]
    fn nothing_else_runs_where_keys_lie() -> std::io::Result<()> {
        for pair in PAIRS {
            for offset in [0, 3, 8, 35, 59] {
                let cell = Cell { offset, pair, seconds: 0.01 };
                assert!(cell.ours());
                let Outcome::Counted { wrong, ran, .. } = run(cell)? else { panic!("{cell:?}") };
                assert!(wrong == 0 && ran[0] + ran[1] != 0, "{cell:?}: {wrong}, {ran:?}");
            }
        }
        Ok(())
    }

    #[test]
    fn offsets_are_told_apart() {
        let cell = |offset| Cell { offset, pair: PAIRS[0], seconds: 1.0 };
        let ours = (0..64).filter(|offset| cell(*offset).ours()).count();
        let across = (0..64).filter(|offset| cell(*offset).crosses_line()).count();
        assert_eq!((ours, across), (32, 4));
    }
}

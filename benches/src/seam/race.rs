//! Runs one cell: one thread executes, another stores, and every call is counted.
#![allow(unsafe_code)]

use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::io;
use std::thread;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::{Deserialize, Serialize};

use super::cell::{Cell, Store};
use super::emit::{Emitted, TARGETS, displacement_of};

/// How the loop is called: turns, counters; answers how often the target was another than the last.
type LoopFn = unsafe extern "sysv64" fn(u64, *const AtomicU64) -> u64;

/// Calls between two looks at the stop flag.
const TURNS: u64 = 16_384;

/// What one cell showed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Counts {
    /// Times the writer replaced the displacement.
    pub writes: u64,
    /// Times the executing thread found another target than at its last call.
    pub seen: u64,
    /// Calls that reached each target; bit `i` of the index says that byte `i` came from B.
    pub targets: [u64; TARGETS],
}

impl Counts {
    /// Calls that reached A.
    #[must_use]
    pub fn calls_old(&self) -> u64 {
        self.targets[0]
    }

    /// Calls that reached B.
    #[must_use]
    pub fn calls_new(&self) -> u64 {
        self.targets[TARGETS - 1]
    }

    /// Calls that reached a mixture.
    #[must_use]
    pub fn torn(&self) -> u64 {
        self.targets[1..TARGETS - 1].iter().sum()
    }
}

/// Where the displacement is written; only the writer thread has it.
struct Writable(*mut u8);

// SAFETY: a shared mapping, written with atomic stores only; it outlives the scope of the threads.
unsafe impl Send for Writable {}

/// Runs `cell` for `time`.
///
/// # Errors
///
/// What the system answers where it refuses code memory.
pub fn run(cell: Cell, time: Duration) -> io::Result<Counts> {
    let emitted = Emitted::new(cell)?;
    let counters: [AtomicU64; TARGETS] = Default::default();
    let stop = AtomicBool::new(false);
    let seen = AtomicU64::new(0);
    let cpus = two_cpus();
    let written = thread::scope(|scope| {
        // SAFETY: `Emitted` holds a function of this type at its entry.
        let code: LoopFn = unsafe { core::mem::transmute(emitted.entry()) };
        let (counters, stop, seen) = (&counters, &stop, &seen);
        scope.spawn(move || {
            pin_to(cpus.map(|cpus| cpus[0]));
            while !stop.load(Ordering::Relaxed) {
                // SAFETY: the loop's code writes to the sixteen counters it is given and to registers
                // that the ABI lets it. Every displacement that can be read there, whole or mixed, is
                // that of a target: this is what the experiment arranges.
                let changes = unsafe { code(TURNS, counters.as_ptr()) };
                seen.fetch_add(changes, Ordering::Relaxed);
            }
        });
        let writable = Writable(emitted.displacement());
        let writer = scope.spawn(move || {
            pin_to(cpus.map(|cpus| cpus[1]));
            flip(&writable, cell.store, stop)
        });
        thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        writer.join()
    });
    let writes = written.map_err(|_| io::Error::other("the writer panicked"))?;
    let targets = counters.map(AtomicU64::into_inner);
    Ok(Counts { writes, seen: seen.into_inner(), targets })
}

/// Stores A and B in turn until told to stop. The pause between two stores varies, so that they meet
/// the other thread in every phase of its loop.
fn flip(writable: &Writable, store: Store, stop: &AtomicBool) -> u64 {
    let ends = [displacement_of(TARGETS - 1), displacement_of(0)];
    let mut writes = 0_u64;
    let mut random = 0x9e37_79b9_u32;
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..64 {
            for value in ends {
                put(writable, store, value.to_le_bytes());
                jitter(&mut random);
            }
        }
        writes += 128;
    }
    writes
}

fn put(writable: &Writable, store: Store, bytes: [u8; 4]) {
    let at = writable.0;
    match store {
        Store::Whole => whole(at, bytes),
        // The pause holds the mixture long enough for the other processor to fetch it.
        Store::Halves => {
            half(at, [bytes[0], bytes[1]]);
            core::hint::spin_loop();
            half(at.wrapping_add(2), [bytes[2], bytes[3]]);
        }
        Store::OneThree => {
            single(at, bytes[0]);
            core::hint::spin_loop();
            half(at.wrapping_add(1), [bytes[1], bytes[2]]);
            single(at.wrapping_add(3), bytes[3]);
        }
    }
}

/// One plain 32-bit store, aligned or not: the experiment is about the ones that are not, and Rust's
/// atomics demand alignment.
fn whole(at: *mut u8, bytes: [u8; 4]) {
    if at.addr().is_multiple_of(4) {
        // SAFETY: `at` is aligned, mapped writable for the whole run, and accessed with atomics only.
        let displacement = unsafe { AtomicU32::from_ptr(at.cast()) };
        displacement.store(u32::from_le_bytes(bytes), Ordering::Relaxed);
        return;
    }
    // SAFETY: `at` is mapped writable for the whole run. The instruction stores four bytes and touches
    // nothing else; no Rust reference to them exists.
    unsafe {
        core::arch::asm!("mov dword ptr [{at}], {value:e}", at = in(reg) at,
            value = in(reg) u32::from_le_bytes(bytes), options(nostack, preserves_flags));
    }
}

/// One 16-bit store.
fn half(at: *mut u8, bytes: [u8; 2]) {
    if at.addr().is_multiple_of(2) {
        // SAFETY: as in `whole`.
        let half = unsafe { AtomicU16::from_ptr(at.cast()) };
        half.store(u16::from_le_bytes(bytes), Ordering::Relaxed);
        return;
    }
    // SAFETY: as in `whole`, two bytes.
    unsafe {
        core::arch::asm!("mov word ptr [{at}], {value:x}", at = in(reg) at,
            value = in(reg) u16::from_le_bytes(bytes), options(nostack, preserves_flags));
    }
}

/// One 8-bit store.
fn single(at: *mut u8, byte: u8) {
    // SAFETY: as in `whole`, one byte.
    let single = unsafe { AtomicU8::from_ptr(at) };
    single.store(byte, Ordering::Relaxed);
}

/// Two processors that this process may use.
pub(super) fn two_cpus() -> Option<[usize; 2]> {
    let allowed = sched_getaffinity(None).ok()?;
    let mut cpus = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu));
    Some([cpus.next()?, cpus.next()?])
}

/// Keeps the thread on its processor. Where this is refused the scheduler decides, and the run is
/// weaker, not wrong.
pub(super) fn pin_to(cpu: Option<usize>) {
    if let Some(cpu) = cpu {
        let mut set = CpuSet::new();
        set.set(cpu);
        let _weaker = sched_setaffinity(None, &set);
    }
}

/// Waits for up to seven turns, as many as come by chance (xorshift32, by Marsaglia): so that writes fall at every moment of a fetch.
pub(super) fn jitter(random: &mut u32) {
    *random ^= *random << 13;
    *random ^= *random >> 17;
    *random ^= *random << 5;
    for _ in 0..*random & 7 {
        core::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::cell::{Cell, Fill, Form, Store};
    use super::run;

    #[test]
    fn every_form_and_fill_runs_and_nothing_is_lost() -> std::io::Result<()> {
        let fills = [Fill::Nops(0), Fill::Nops(9), Fill::LongNop(9), Fill::Adds(3), Fill::JumpFrom(16)];
        for form in Form::ALL {
            for fill in fills {
                for offset in [0, 4, 31, 63] {
                    let cell = Cell { offset, form, store: Store::Whole, fill };
                    let counts = run(cell, Duration::from_millis(2))?;
                    assert!(counts.targets.iter().sum::<u64>().is_multiple_of(super::TURNS), "{cell:?}");
                    assert!(!cell.ours() || counts.torn() == 0, "{cell:?}: {counts:?}");
                }
            }
        }
        Ok(())
    }

    #[test]
    fn a_store_in_two_parts_is_seen_to_tear() -> std::io::Result<()> {
        // Enough time for a loaded machine to run both threads at once for a while.
        let torn = |store| -> std::io::Result<bool> {
            for _ in 0..50 {
                let cell = Cell { store, ..Cell::plain(4) };
                if run(cell, Duration::from_millis(100))?.torn() > 0 {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        assert!(torn(Store::Halves)?);
        assert!(torn(Store::OneThree)?);
        Ok(())
    }
}

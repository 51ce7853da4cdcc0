//! Whether code that was written is the code that runs.
//!
//! On a processor it is, once a barrier has been passed. Under an emulator that translates code it is only where the emulator sees
//! the write; and one that watches the address where code executes (qemu-user; valgrind, but for `--smc-check=all`) does not see
//! a write through another view. Nothing tells it apart but to try: before the first code memory is given out, a function is
//! written, called, rewritten, and called again. Where the old one answers, no code memory is given out at all, so that whoever
//! would have used it does without.
#![allow(unsafe_code)]

use core::sync::atomic::{AtomicU8, Ordering};
use std::io;

use super::memory::DualMap;
use crate::arch;
use crate::arena::ExecAddr;
use crate::error::MemoryError;
use crate::quiesce::section;
use crate::sabotage::{self, Sabotage};

const UNKNOWN: u8 = 0;
const SEEN: u8 = 1;
const UNSEEN: u8 = 2;

/// Relaxed everywhere: two threads that find out at once find the same.
static VERDICT: AtomicU8 = AtomicU8::new(UNKNOWN);

/// Finds out, the first time.
///
/// # Errors
///
/// That it is not; or what the system refused, in which case the next attempt finds out.
pub(crate) fn pass() -> Result<(), MemoryError> {
    match VERDICT.load(Ordering::Relaxed) {
        SEEN => return Ok(()),
        UNKNOWN => {
            let verdict = if sees_what_is_written()? { SEEN } else { UNSEEN };
            VERDICT.store(verdict, Ordering::Relaxed);
            if verdict == SEEN {
                return Ok(());
            }
        }
        _ => {}
    }
    Err(MemoryError::System {
        operation: "self-test of code memory",
        detail: "a function that had been rewritten ran as it was before".to_owned(),
        source: io::ErrorKind::Unsupported.into(),
        hint: "an emulator does not see what is written: run valgrind with --smc-check=all; under qemu-user slots are swapped, \
               and chains run, without code memory",
    })
}

fn sees_what_is_written() -> Result<bool, MemoryError> {
    let mut map = DualMap::for_self_test()?;
    let start = ExecAddr::new(map.exec_range().start);
    map.write(start, &arch::answer(1))?;
    let function: *const () = core::ptr::with_exposed_provenance(start.get());
    // SAFETY: a function without arguments that answers a number has just been written there, and stays for as long as `map`.
    let function = unsafe { core::mem::transmute::<*const (), extern "C" fn() -> u32>(function) };
    let before = function();
    if !sabotage::is(Sabotage::StaleCode) {
        map.write(start, &arch::answer(2))?;
    }
    section::heavy_barrier();
    // This thread's own core: where there is no barrier, that is all that is asked for here.
    arch::serialise();
    Ok((before, function()) == (1, 2))
}

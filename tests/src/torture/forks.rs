//! Forks in the middle of it: the child replaces and is not heard of in its parent.
#![allow(unsafe_code)]

use std::time::{Duration, Instant};

use hotcall_work::{SMALL, Work, unpack};

use super::slots::{Maker, SLOTS, STATES, with_slot};
use super::tally::{TALLY, count};
use hotcall_tests::random::Random;

/// Later than any generation of the parent: if one is seen there, the child has changed its parent.
const CHILD: u64 = (1 << 39) / hotcall_work::KINDS * hotcall_work::KINDS + SMALL;

/// Forks now and then, until told to stop.
pub fn run(random: &mut Random, stop: impl Fn() -> bool) {
    while !stop() {
        std::thread::sleep(Duration::from_millis(50 + random.below(400)));
        // SAFETY: the child calls slots and the runtime, which are ready for it, and leaves by `_exit`.
        let child = unsafe { libc::fork() };
        match child {
            0 => {
                let passed = std::panic::catch_unwind(in_child).unwrap_or(false);
                // SAFETY: ends the child without running what belongs to its parent.
                unsafe { libc::_exit(i32::from(!passed)) };
            }
            1.. => {
                count(&TALLY.forks);
                if !has_passed(child) {
                    count(&TALLY.failed);
                }
            }
            _ => count(&TALLY.failed),
        }
        for slot in 0..SLOTS {
            let answer = with_slot!(slot, slot => slot.answer(9));
            if unpack(slot as u64, 9, answer).is_ok_and(|generation| generation >= CHILD) {
                count(&TALLY.torn);
            }
        }
    }
}

/// What the child does. The locks of this test may be held by threads that it has not: it takes none.
fn in_child() -> bool {
    let wrong = TALLY.counts().wrong();
    super::chains::callers::from_signal(3);
    if TALLY.counts().wrong() != wrong {
        return false;
    }
    let maker = Maker::new(None);
    (0..SLOTS).all(|slot| {
        let floor = STATES[slot].floor();
        let inherited = with_slot!(slot, slot => slot.answer(1));
        let Some(instance) = maker.make(slot, CHILD) else { return false };
        let Ok(retired) = with_slot!(slot, slot => slot.replace(instance)) else { return false };
        let own = with_slot!(slot, slot => slot.answer(2));
        let drained = retired.wait_timeout(Duration::from_secs(20)).is_ok();
        let slot = slot as u64;
        unpack(slot, 1, inherited).is_ok_and(|seen| seen >= floor)
            && unpack(slot, 2, own) == Ok(CHILD)
            && drained
    })
}

fn has_passed(child: libc::pid_t) -> bool {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut status = 0;
    loop {
        // SAFETY: `child` is one of this process; `status` is a valid place.
        let done = unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) };
        match done {
            0 if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(1)),
            0 => {
                eprintln!("a forked child hangs");
                // SAFETY: a child that has not been waited for yet.
                unsafe { libc::kill(child, libc::SIGKILL) };
                // SAFETY: as above.
                unsafe { libc::waitpid(child, &raw mut status, 0) };
                return false;
            }
            _ => {
                let passed = libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0;
                if !passed {
                    eprintln!("a forked child ended with status {status:#x}");
                }
                return passed;
            }
        }
    }
}

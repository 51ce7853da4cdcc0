//! Signals at random to threads that call and replace: the handler calls slots and chains.
#![allow(unsafe_code)]

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::slots::SLOTS;
use super::tally::{TALLY, count};
use hotcall_tests::random::Random;

/// Threads that live as long as the run.
static TARGETS: Mutex<Vec<libc::pthread_t>> = Mutex::new(Vec::new());
static QUESTION: AtomicU64 = AtomicU64::new(0);

/// Installs the handler. Where sections are pinned, no signals: a handler may not call slots there.
pub fn prepare() -> bool {
    if hotcall::sections() != hotcall::Sections::Asymmetric {
        return false;
    }
    // SAFETY: an action without a mask and flags is all zeroes.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    let handler: extern "C" fn(libc::c_int) = handle;
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the handler calls slots and chains, whose plain calls may come from anywhere, and atomics.
    let refused = unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) };
    refused == 0
}

extern "C" fn handle(_: libc::c_int) {
    let question = QUESTION.fetch_add(1, Ordering::Relaxed);
    for slot in 0..SLOTS {
        super::callers::from_signal(slot, question);
    }
    super::chains::callers::from_signal(question);
}

/// The calling thread is one to send signals to, until the run ends.
pub fn enlist() {
    // SAFETY: has no conditions.
    let own = unsafe { libc::pthread_self() };
    TARGETS.lock().expect("no thread panics with it").push(own);
}

/// Sends, until told to stop. The targets live on.
pub fn run(random: &mut Random, stop: impl Fn() -> bool) {
    while !stop() {
        let target = {
            let targets = TARGETS.lock().expect("no thread panics with it");
            targets.get(random.below(targets.len().max(1) as u64) as usize).copied()
        };
        if let Some(target) = target {
            // SAFETY: the target was enlisted, and threads that are live until the run ends.
            unsafe { libc::pthread_kill(target, libc::SIGUSR1) };
            count(&TALLY.signals);
        }
        std::thread::sleep(Duration::from_micros(20 + random.below(200)));
    }
}
